//! The way of a model, stage by stage.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use sparsec_graph::{Bindings, Graph, Symbol};
use sparsec_lower::{LowerOptions, Lowered};
use sparsec_passes::{Event, Macs};
use sparsec_rewrite::{Machine, Report, RewriteOptions};
use sparsec_tir::{ConstantData, Program};

use crate::code::{self, Code};
use crate::inspect::{Inspection, Shapes, weight_shapes};
use crate::layers::{LayerReport, layers};
use crate::levels::{self, Level};
use crate::observer::stage;
use crate::tuning::{self, Decisions, Tuning, TuningError};
use crate::{Backend, CompileError, CompileOptions, Emit, ModelSource, Observer, Silent, package};

/// A compiled model.
#[derive(Debug)]
pub struct Compiled {
    /// Name of the library and prefix of its symbols.
    pub name: String,
    /// The graph as it was lowered, without its constants, whose bytes are in the library.
    pub graph: Graph,
    /// Kernels, memory and launches.
    pub program: Program,
    /// The machine code.
    pub code: Code,
    /// What was found and chosen.
    pub inspection: Inspection,
    /// The steps of a run.
    pub layers: Vec<LayerReport>,
    /// Values that open dimensions were assumed to have where time was predicted.
    pub nominal: Bindings,
    /// The files that were written.
    pub files: Vec<PathBuf>,
}

/// A graph whose weights have formats, and the account of how they were chosen.
#[derive(Debug)]
pub struct Rewriting {
    /// The graph.
    pub graph: Graph,
    /// What was found and chosen.
    pub inspection: Inspection,
    /// What the rewriting decided and predicts.
    pub report: Report,
    /// Values that open dimensions were assumed to have where time was predicted.
    pub nominal: Bindings,
    /// What was measured, or read from a file, and obeyed.
    pub tuning: Option<Tuning>,
}

/// Names of the stages in the order in which they run; a pass that runs twice is named twice.
#[must_use]
pub fn stage_names() -> Vec<&'static str> {
    let passes = sparsec_passes::PIPELINE.iter().map(|pass| pass.name);
    std::iter::once("read").chain(passes).chain(["rewrite", "lower", "weights", "emit", "package"]).collect()
}

/// Compiles a model: read, verify, fold and recognise, propagate sparsity, choose formats, lower, write the
/// weights, emit, package.
///
/// The model is let go of before machine code is made, so the memory that each takes does not add up.
///
/// # Errors
/// Where the model is invalid or uses what is not supported, where a file can't be written, and where the observer stops.
pub fn compile(
    source: ModelSource,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Compiled, CompileError> {
    let label = source.label();
    let name = library_name(options.name.as_deref().unwrap_or(&source.stem()));
    let graph = read(&source, options, observer)?;
    let levels = levels::lower_levels(&label, &graph, options)?;
    let mut rewriting = rewrite(&label, graph, options, observer)?;
    rewriting.inspection.model = source.file_name();
    generate(&label, &name, rewriting, levels, options, observer)
}

/// Compiles a graph that no pass has to look at: one operator or a few, to be timed.
///
/// # Errors
/// As [`compile`].
pub fn compile_graph(name: &str, graph: &Graph, options: &CompileOptions) -> Result<Compiled, CompileError> {
    let macs = sparsec_passes::count_macs(graph);
    let rewriting = choose(name, graph, ([macs, macs], &Shapes::new()), options, &mut Silent)?;
    generate(name, &library_name(name), rewriting, Vec::new(), options, &mut Silent)
}

/// Compiles a graph whose nodes have their formats; the tuning of the options sets schedules.
pub(crate) fn compile_as_it_is(
    name: &str,
    graph: &Graph,
    nominal: &Bindings,
    options: &CompileOptions,
) -> Result<Compiled, CompileError> {
    let report = Report {
        decisions: Vec::new(),
        nodes: (graph.node_count(), graph.node_count()),
        fused: 0,
        transposes: (0, 0),
        seconds: 0.0,
        operators: Vec::new(),
        regions: Vec::new(),
    };
    let macs = Macs::default();
    let inspection = Inspection::new(name, [macs, macs], nominal, &Shapes::new(), &report);
    let (graph, nominal, tuning) = (graph.clone(), nominal.clone(), options.tuning.clone());
    let rewriting = Rewriting { graph, inspection, report, nominal, tuning };
    generate(name, &library_name(name), rewriting, Vec::new(), options, &mut Silent)
}

/// The stages of [`compile`] behind the rewriting.
fn generate(
    label: &str,
    name: &str,
    rewriting: Rewriting,
    levels: Vec<Level>,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Compiled, CompileError> {
    let Rewriting { mut graph, mut inspection, report, nominal, tuning } = rewriting;
    let name = name.to_owned();
    let Lowered { mut program, data, dumps, .. } =
        lower(label, &graph, (&nominal, tuning.as_ref()), options, observer)?;
    program.name.clone_from(&name);
    levels::report(&mut inspection, options.target.name(), &levels);
    let (program, versions, data): (_, _, Box<dyn ConstantData>) = match levels.is_empty() {
        true => (program, Vec::new(), Box::new(data)),
        false => {
            let whole = levels::join(options.target.cpu()?, (program, data), levels)?;
            (whole.program, whole.versions, Box::new(whole.data))
        }
    };
    inspection.add_program(&program);
    let layers = layers(&graph, &program, &report, &nominal);
    let text = options.emits(Emit::Graph).then(|| graph.to_string());
    let write = || package::stage_weights(label, &program, data.as_ref(), options);
    let weights = stage(observer, "weights", write, |_| list_constants(&program))?;
    drop(data);
    graph.strip_constants();
    let run = || code::emit(label, &program, &versions, options);
    let code = stage(observer, "emit", run, |code| code.text().unwrap_or_default().to_owned())?;
    let parts =
        package::Parts { label, graph: text, program: &program, dumps: &dumps, code: &code, inspection: &inspection };
    let files = stage(observer, "package", || package::package(weights, &parts, options), |files| list_files(files))?;
    Ok(Compiled { name, graph, program, code, inspection, layers, nominal, files })
}

/// The account of a compilation without the machine code: the stages of [`compile`] up to the lowering.
///
/// # Errors
/// As [`compile`].
pub fn inspect(
    source: &ModelSource,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Inspection, CompileError> {
    let label = source.label();
    let graph = read(source, options, observer)?;
    let levels = levels::lower_levels(&label, &graph, options)?;
    let Rewriting { graph, mut inspection, nominal, tuning, .. } = rewrite(&label, graph, options, observer)?;
    inspection.model = source.file_name();
    inspection.add_program(&lower(&label, &graph, (&nominal, tuning.as_ref()), options, observer)?.program);
    levels::report(&mut inspection, options.target.name(), &levels);
    Ok(inspection)
}

/// Measures the formats and schedules of a model's weights on this machine: what [`CompileOptions::tune`] asks for.
///
/// # Errors
/// As [`compile`], and where the cache of measurements can't be used.
pub fn tune(
    source: &ModelSource,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Tuning, CompileError> {
    let graph = read(source, options, observer)?;
    let rewriting = rewrite(&source.label(), graph, options, observer)?;
    Ok(rewriting.tuning.unwrap_or_else(|| Tuning::new(options.target.name())))
}

/// The first stage of [`compile`]: the graph as the model has it, verified.
///
/// # Errors
/// As [`compile`].
pub fn read(
    source: &ModelSource,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Graph, CompileError> {
    let reading =
        sparsec_onnx::Options { dims: options.dims.clone(), bind: options.bind.clone(), items: options.items.clone() };
    let run = || {
        let graph = match source {
            ModelSource::File(path) => sparsec_onnx::read_file(path, &reading),
            ModelSource::Bytes { bytes, folder, .. } => {
                sparsec_onnx::read_bytes(bytes.clone(), folder.as_deref(), &reading)
            }
        };
        let graph = graph.map_err(|source_error| CompileError::Read { model: source.label(), source: source_error })?;
        verify(&source.label(), "read", &graph)?;
        Ok(graph)
    };
    stage(observer, "read", run, Graph::to_string)
}

/// The stages of [`compile`] that work on the graph: the passes, then fusion, layout and formats.
///
/// # Errors
/// As [`compile`].
pub fn rewrite(
    label: &str,
    mut graph: Graph,
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Rewriting, CompileError> {
    let read_macs = sparsec_passes::count_macs(&graph);
    let shapes = run_passes(label, &mut graph, observer)?;
    let macs = sparsec_passes::count_macs(&graph);
    let account = ([read_macs, macs], &shapes);
    let Some(how) = &options.tune else { return choose(label, &graph, account, options, observer) };
    options.target.cpu()?;
    let untuned = CompileOptions { tuning: None, tune: None, output: None, ..options.clone() };
    let rewriting = choose(label, &graph, account, &untuned, &mut Silent)?;
    observer.started("tune");
    let start = Instant::now();
    let tuning = tuning::tune(&rewriting, how, &untuned, observer)?;
    drop(rewriting);
    let shown = serde_json::to_string_pretty(&tuning).unwrap_or_default();
    if observer.finished("tune", start.elapsed(), &shown).is_break() {
        return Err(CompileError::Stopped { stage: "tune".to_owned() });
    }
    let tuned = CompileOptions { tuning: Some(tuning), tune: None, ..options.clone() };
    choose(label, &graph, account, &tuned, observer)
}

/// Fusion, layout and formats.
fn choose(
    label: &str,
    graph: &Graph,
    (macs, shapes): ([Macs; 2], &Shapes),
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Rewriting, CompileError> {
    let mut rewriting = RewriteOptions::new(machine(options)?);
    rewriting.forced.clone_from(&options.formats);
    let decisions = options.tuning.as_ref().map(Tuning::decisions).transpose()?.unwrap_or_default();
    rewriting.measured = decisions.formats;
    rewriting.measured.retain(|tensor, _| !rewriting.forced.contains_key(tensor));
    rewriting.nominal = options.nominal.iter().map(|(name, &n)| (Symbol::new(name), n)).collect();
    let nominal = rewriting.nominal_dims(graph);
    let run = || {
        let rewritten = sparsec_rewrite::rewrite(graph, &rewriting)
            .map_err(|source| CompileError::Rewrite { model: label.to_owned(), source: Box::new(source) })?;
        verify(label, "rewrite", &rewritten.graph)?;
        Ok(rewritten)
    };
    let rewritten = stage(observer, "rewrite", run, |r| r.graph.to_string())?;
    let mut inspection = Inspection::new(label, macs, &nominal, shapes, &rewritten.report);
    inspection.add_arithmetic(&sparsec_passes::product_arithmetic(graph));
    if let Some(tuning) = &options.tuning {
        inspection.add_tuning(tuning);
    }
    Ok(Rewriting {
        graph: rewritten.graph,
        inspection,
        report: rewritten.report,
        nominal,
        tuning: options.tuning.clone(),
    })
}

/// Runs the passes; returns the shapes that the weights had before channels were removed.
fn run_passes(label: &str, graph: &mut Graph, observer: &mut dyn Observer) -> Result<Shapes, CompileError> {
    let mut start = Instant::now();
    let mut stopped = None;
    let mut shapes = Shapes::new();
    let result = sparsec_passes::run_pipeline(graph, &mut |event| match event {
        Event::Before { pass, graph } => {
            if pass.name == "propagate_sparsity" {
                shapes = weight_shapes(graph);
            }
            observer.started(pass.name);
            start = Instant::now();
            ControlFlow::Continue(())
        }
        Event::After { pass, graph, .. } => {
            let flow = observer.finished(pass.name, start.elapsed(), graph);
            if flow.is_break() {
                stopped = Some(pass.name.to_owned());
            }
            flow
        }
    });
    result.map_err(|source| CompileError::Pass { model: label.to_owned(), source: Box::new(source) })?;
    match stopped {
        Some(stage) => Err(CompileError::Stopped { stage }),
        None => Ok(shapes),
    }
}

pub(crate) fn lower(
    label: &str,
    graph: &Graph,
    (nominal, tuning): (&Bindings, Option<&Tuning>),
    options: &CompileOptions,
    observer: &mut dyn Observer,
) -> Result<Lowered, CompileError> {
    let info = options.target.schedules();
    let info = info.with_precision(options.compute.filter(|_| matches!(options.target, Backend::Cuda(_))));
    let Decisions { schedules, .. } = tuning.map(Tuning::decisions).transpose()?.unwrap_or_default();
    let lowering = LowerOptions { coordinates: options.emits(Emit::Tir), schedules, nominal: nominal.clone() };
    let run = || {
        let lowered = sparsec_lower::lower_with(graph, &info, &lowering)
            .map_err(|source| CompileError::Lower { model: label.to_owned(), source })?;
        // A schedule that nobody could obey would be a measurement that means nothing.
        let obeyed = |node: &String| lowered.schedules.get(node).and_then(|own| own.first());
        if let Some((node, wanted)) = lowering.schedules.iter().find(|(node, wanted)| obeyed(node) != Some(wanted)) {
            let found =
                obeyed(node).map_or("no choice of a schedule".to_owned(), |own| format!("only {own} or the like"));
            return Err(TuningError::Misfit(format!("`{node}` is to have {wanted}, but has {found}")).into());
        }
        Ok(lowered)
    };
    stage(observer, "lower", run, |lowered| package::kernels_text(&lowered.program, &lowered.dumps))
}

fn verify(label: &str, stage: &'static str, graph: &Graph) -> Result<(), CompileError> {
    sparsec_graph::verify(graph).map_err(|errors| CompileError::Verify { model: label.to_owned(), stage, errors })
}

/// The machine that the cost model is asked about.
pub(crate) fn machine(options: &CompileOptions) -> Result<Machine, CompileError> {
    let known = || CompileError::NoMachine(options.target.name().to_owned());
    let machine = options.machine.clone().or_else(|| Machine::for_target(options.target.family())).ok_or_else(known)?;
    Ok(machine.with_precision(options.compute))
}

/// The name as a C identifier.
fn library_name(name: &str) -> String {
    let mut clean: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    if !clean.starts_with(|c: char| c.is_ascii_alphabetic()) {
        clean.insert_str(0, "model_");
    }
    clean
}

/// One line per constant: its size and its name.
fn list_constants(program: &Program) -> String {
    program.constants.iter().map(|c| format!("{:>12} {}\n", c.bytes, c.name)).collect()
}

fn list_files(files: &[PathBuf]) -> String {
    files.iter().map(|file| format!("{}\n", file.display())).collect()
}
