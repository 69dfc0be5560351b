//! Measures a machine: its peak, its bandwidths, and what the compiler's own kernels make of them.
//!
//! A few graphs of each kernel family are compiled, run and timed ([`shapes`](mod@shapes) lists them). What they do and how
//! long they took goes into [`fit()`], which finds the constants of the cost model.

mod fit;
mod shapes;

use std::time::{Duration, Instant};

use sparsec_rewrite::{Machine, Term};

pub use fit::{Sample, fit, median_error};
pub use shapes::{Case, cases};

use crate::machine_file::{MachineFile, VERSION};
use crate::native::Native;
use crate::{CompileError, CompileOptions, Target, pipeline, probe};

/// How long each kernel is run in a round.
const RUN_FOR: Duration = Duration::from_millis(12);
/// Rounds: others of a shared machine are seldom in the way in all of them.
const ROUNDS: usize = 3;
/// Kernels that take turns.
const IN_TURN: usize = 8;
/// Bytes of the copies that measure bandwidths: in the second-level cache, the last one, and memory.
const COPIES: [usize; 3] = [128 << 10, 3 << 20, 96 << 20];

/// Measures this machine. `progress` is told of each kernel before it is run: its number, how many there are, its name.
/// Returns the file and the samples that it was made from.
///
/// # Errors
/// When a kernel can't be compiled or run.
pub fn calibrate(
    target: &Target,
    progress: &mut dyn FnMut(usize, usize, &str),
) -> Result<(MachineFile, Vec<Sample>), CompileError> {
    calibrate_with(target, &cases(), progress)
}

/// [`calibrate`] with these kernels alone; what they don't say anything about keeps its default.
///
/// # Errors
/// As [`calibrate`].
pub fn calibrate_with(
    target: &Target,
    cases: &[Case],
    progress: &mut dyn FnMut(usize, usize, &str),
) -> Result<(MachineFile, Vec<Sample>), CompileError> {
    let mut options = CompileOptions::new(target.clone());
    let mut machine = pipeline::machine(&options)?;
    machine.name = target.cpu().to_owned();
    let mut peak = probe::Peak::new(target)?;
    machine.fma_gflops = peak.gflops()?;
    [machine.l2_gbs, machine.l3_gbs, machine.dram_gbs] = COPIES.map(copy_gbs);
    options.machine = Some(machine.clone());
    let mut samples = Vec::new();
    for (i, turn) in cases.chunks(IN_TURN).enumerate() {
        let first = turn.first().map_or("", |case| &case.name);
        progress(i * IN_TURN, cases.len(), first);
        samples.extend(measure(turn, &mut options)?);
        // A shared machine's speed changes: the best that was seen is the peak.
        machine.fma_gflops = machine.fma_gflops.max(peak.gflops()?);
    }
    let solved = fit(&machine, &samples);
    for &term in Term::ALL {
        machine.constants.set(term, round(solved.get(term)));
    }
    for figure in [&mut machine.fma_gflops, &mut machine.l2_gbs, &mut machine.l3_gbs, &mut machine.dram_gbs] {
        *figure = round(*figure);
    }
    let file = MachineFile {
        sparsec_machine: VERSION,
        compiler_version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu: target.cpu().to_owned(),
        family: crate::Backend::from(target.clone()).family().to_owned(),
        median_error: round(median_error(&machine, &samples)),
        machine,
    };
    Ok((file, samples))
}

/// Times a few cases in turns; the best round of each counts.
fn measure(cases: &[Case], options: &mut CompileOptions) -> Result<Vec<Sample>, CompileError> {
    let mut loaded = Vec::new();
    for case in cases {
        options.formats.clone_from(&case.formats);
        loaded.push((case, Native::new("calibration", &case.graph()?, options)?));
    }
    for _ in 0..ROUNDS {
        for (_, native) in &mut loaded {
            native.run_for(RUN_FOR)?;
        }
    }
    let samples = loaded.iter().flat_map(|(case, native)| {
        native.layers().into_iter().map(|timed| Sample {
            label: format!("{}: {}", case.name, timed.layer.kernel),
            work: timed.layer.work,
            seconds: timed.seconds,
        })
    });
    Ok(samples.collect())
}

/// Four digits behind the point: no measurement is better, and files stay readable.
fn round(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// Bytes read and written by a copy, in GB/s: the best of a few.
#[must_use]
pub fn copy_gbs(bytes: usize) -> f64 {
    let from = vec![1u8; bytes];
    let mut to = vec![0u8; bytes];
    let repeats = (64 << 20) / bytes.max(1) + 1;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..repeats {
            to.copy_from_slice(std::hint::black_box(&from));
            std::hint::black_box(&mut to);
        }
        best = best.min(start.elapsed().as_secs_f64() / repeats as f64);
    }
    2.0 * bytes as f64 / best / 1e9
}

/// The peak of a machine description as the probe measures it, for reports.
#[must_use]
pub fn describe(machine: &Machine) -> String {
    format!(
        "FMA peak {:.1} GFLOP/s; L2 {:.0} GB/s, L3 {:.0} GB/s, memory {:.1} GB/s",
        machine.fma_gflops, machine.l2_gbs, machine.l3_gbs, machine.dram_gbs
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calibrated_machine_predicts_the_models_that_are_compiled_with_it() {
        let target = Target::host().expect("this machine");
        let few: Vec<Case> =
            cases().into_iter().filter(|c| c.name == "gelu" || c.name.ends_with("512x512x1")).collect();
        let mut told = 0;
        let (file, samples) = calibrate_with(&target, &few, &mut |_, count, _| told = count).expect("measured");
        assert!(told == few.len() && samples.len() >= few.len() && samples.iter().all(|s| s.seconds > 0.0));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("machine.json");
        file.write(&path).expect("written");
        let machine =
            MachineFile::read(&path).and_then(|f| f.for_target(&path, &target.clone().into())).expect("read back");
        assert_eq!(machine, file.machine);
        let options = CompileOptions { machine: Some(machine.clone()), ..CompileOptions::new(target) };
        let graph = few[0].graph().expect("a graph");
        let compiled = crate::compile_graph("one", &graph, &options).expect("compiles");
        let predicted: f64 = compiled.layers.iter().map(|l| machine.seconds(&l.work) * 1e6).sum();
        assert!(
            predicted > 0.0
                && (predicted / compiled.layers.iter().map(|l| l.predicted_us).sum::<f64>() - 1.0).abs() < 1e-9
        );
    }
}
