//! A model for several CPUs: rewritten and lowered for each, packaged as one.
//!
//! Schedules, formats and the tables of sparse weights differ between CPUs, so there is a program for each. Constants that are
//! the same bytes for two of them are stored once.

use std::io::Write;

use sparsec_graph::Graph;
use sparsec_lower::{Constants, Lowered};
use sparsec_tir::{Argument, BinaryOp, ConstantData, ConstantInfo, Expr, Location, LoopStep, Program, Step, TripCount};

use crate::inspect::{Inspection, LevelReport};
use crate::pipeline::{lower, rewrite};
use crate::{CompileError, CompileOptions, Silent, Target};

/// The model for one CPU above the lowest.
pub(crate) struct Level {
    pub(crate) target: Target,
    pub(crate) program: Program,
    data: Constants,
    report: LevelReport,
}

/// Rewrites and lowers a graph, as it was read, for each CPU above the lowest.
pub(crate) fn lower_levels(label: &str, graph: &Graph, options: &CompileOptions) -> Result<Vec<Level>, CompileError> {
    let mut levels = Vec::new();
    for target in &options.levels {
        let own = CompileOptions { target: target.clone().into(), levels: Vec::new(), output: None, ..options.clone() };
        let rewriting = rewrite(label, graph.clone(), &own, &mut Silent)?;
        let Lowered { program, data, .. } =
            lower(label, &rewriting.graph, (&rewriting.nominal, None), &own, &mut Silent)?;
        let report = LevelReport::new(target.cpu(), &rewriting.inspection);
        levels.push(Level { target: target.clone(), program, data, report });
    }
    Ok(levels)
}

/// Programs for all CPUs that share their constants.
pub(crate) struct Whole {
    /// The lowest CPU's, with the constants and kernels of all, and memory that is enough for each.
    pub(crate) program: Program,
    /// For each CPU, the lowest first.
    pub(crate) versions: Vec<(Target, Program)>,
    pub(crate) data: Shared,
}

/// The constants of several programs.
pub(crate) struct Shared {
    data: Vec<Constants>,
    /// For each constant whose it is, and which of its.
    from: Vec<(usize, usize)>,
}

impl ConstantData for Shared {
    fn write(&self, index: usize, out: &mut dyn Write) -> std::io::Result<()> {
        match self.from.get(index).and_then(|&(level, own)| Some((self.data.get(level)?, own))) {
            Some((data, own)) => data.write(own, out),
            None => Err(std::io::Error::other(format!("there is no constant {index}"))),
        }
    }
}

/// Puts the lowest CPU's program and those above it together.
pub(crate) fn join(target: &Target, lowest: (Program, Constants), levels: Vec<Level>) -> Result<Whole, CompileError> {
    let (base, base_data) = lowest;
    let name = base.name.clone();
    let mut infos: Vec<ConstantInfo> = base.constants.clone();
    let mut shared = Shared { data: vec![base_data], from: (0..infos.len()).map(|i| (0, i)).collect() };
    let mut versions = vec![(target.clone(), base)];
    for Level { target, mut program, data, .. } in levels {
        program.name.clone_from(&name);
        shared.data.push(data);
        let level = shared.data.len() - 1;
        let mut numbers = Vec::new();
        for (i, info) in program.constants.iter().enumerate() {
            let number = match equal(&shared, &infos, (level, i), info).map_err(CompileError::Constants)? {
                Some(same) => same,
                None => {
                    infos.push(ConstantInfo { name: format!("{}@{}", info.name, target.cpu()), ..info.clone() });
                    shared.from.push((level, i));
                    infos.len() - 1
                }
            };
            numbers.push(number as u32);
        }
        renumber(&mut program, &numbers);
        versions.push((target, program));
    }
    let mut whole = Program { constants: infos.clone(), ..versions[0].1.clone() };
    for (_, program) in &mut versions {
        program.constants.clone_from(&infos);
    }
    for (_, program) in &versions[1..] {
        whole.kernels.extend(program.kernels.iter().cloned());
        whole.arena_bytes = larger(whole.arena_bytes.take(), program.arena_bytes.clone());
    }
    Ok(Whole { program: whole, versions, data: shared })
}

/// Adds what is said of the CPUs above the lowest; of that, too.
pub(crate) fn report(inspection: &mut Inspection, target: &str, levels: &[Level]) {
    if !levels.is_empty() {
        inspection.levels = vec![LevelReport::new(target, inspection)];
        inspection.levels.extend(levels.iter().map(|level| level.report.clone()));
    }
}

/// The constant that is there already with this name's beginning and these bytes.
fn equal(
    shared: &Shared,
    infos: &[ConstantInfo],
    (level, index): (usize, usize),
    info: &ConstantInfo,
) -> std::io::Result<Option<usize>> {
    let alike = |other: &ConstantInfo| {
        let named = other.name.split('@').next() == Some(&info.name);
        named && (other.bytes, other.align) == (info.bytes, info.align)
    };
    let mut own: Option<Vec<u8>> = None;
    for (number, _) in infos.iter().enumerate().filter(|(_, other)| alike(other)) {
        let bytes = match &own {
            Some(bytes) => bytes,
            None => {
                let mut bytes = Vec::new();
                shared.data[level].write(index, &mut bytes)?;
                own.insert(bytes)
            }
        };
        let mut theirs = Vec::new();
        shared.write(number, &mut theirs)?;
        if theirs == *bytes {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn larger(x: Option<Expr>, y: Option<Expr>) -> Option<Expr> {
    match (x, y) {
        (Some(x), Some(y)) => Some(match (x.as_int(), y.as_int()) {
            (Some(a), Some(b)) => Expr::int(a.max(b)),
            _ if x == y => x,
            _ => Expr::binary(BinaryOp::Max, x, y),
        }),
        (x, y) => x.or(y),
    }
}

fn renumber(program: &mut Program, numbers: &[u32]) {
    for launch in &mut program.launches {
        launch.arguments.iter_mut().for_each(|l| renumber_location(l, numbers));
    }
    renumber_steps(&mut program.steps, numbers);
}

fn renumber_location((argument, _): &mut Location, numbers: &[u32]) {
    if let Argument::Constant(k) = argument
        && let Some(number) = numbers.get(*k as usize)
    {
        *k = *number;
    }
}

fn renumber_steps(steps: &mut [Step], numbers: &[u32]) {
    let all = |locations: &mut [&mut Location]| locations.iter_mut().for_each(|l| renumber_location(l, numbers));
    for step in steps {
        match step {
            Step::Launch(_) | Step::Require(_) => {}
            Step::If { condition, then, otherwise } => {
                all(&mut [condition]);
                renumber_steps(then, numbers);
                renumber_steps(otherwise, numbers);
            }
            Step::Find(find) => all(&mut [&mut find.from]),
            Step::Loop(step) => {
                let LoopStep { trip, condition, index, body, .. } = step.as_mut();
                if let TripCount::Load(from) = trip {
                    all(&mut [from]);
                }
                if let Some((before, last)) = condition {
                    all(&mut [before, last]);
                }
                if let Some(index) = index {
                    all(&mut [index]);
                }
                renumber_steps(body, numbers);
            }
        }
    }
}
