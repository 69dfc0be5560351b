//! `sparsec bench`.

mod layers;

use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use sparsec::probe::Peak;
use sparsec::{ModelSource, calibrate};
use sparsec_runtime::Tensor;

use crate::failure::Failure;
use crate::options::ModelArguments;
use crate::progress::DumpArguments;
use crate::{native, output, tensors};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Threads to run on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    threads: u16,

    /// Seconds to measure for
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,

    /// Time every layer, beside what was predicted for it
    #[arg(long)]
    layers: bool,

    /// Print one line of JSON
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    dumps: DumpArguments,
}

/// Fewest timed runs.
const MIN_RUNS: usize = 5;

/// Bytes of the copy that measures the memory's bandwidth: larger than caches.
const COPY_BYTES: usize = 64 << 20;

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    if !(arguments.seconds > 0.0 && arguments.seconds < 1e6) {
        return Err(Failure::usage("`--seconds` must be positive"));
    }
    let started = Instant::now();
    let mut options = arguments.model.library_options()?;
    options.profile = arguments.layers;
    let source = ModelSource::File(arguments.model.model.clone());
    let target = options.target.cpu().map_err(Failure::usage)?.clone();
    let native = native::load(source, options, &arguments.dumps, arguments.threads.into())?;
    let Some(mut native) = native else { return Ok(()) };
    let compile_seconds = started.elapsed().as_secs_f64();
    let mut peak = Peak::new(&target).map_err(Failure::bug)?;

    let inputs = tensors::seeded_inputs(&native.compiled.graph, &native.compiled.nominal)?;
    let inputs: Vec<Tensor> = inputs.iter().map(tensors::to_runtime).collect::<Result<_, _>>()?;
    let mut outputs = native.model.run(&inputs).map_err(Failure::input)?;
    native.model.run_into(&inputs, &mut outputs).map_err(Failure::input)?;

    let mut times = Vec::new();
    let mut of_layers = layers::Times::default();
    let (mut gflops, mut bandwidth) = (Vec::new(), vec![calibrate::copy_gbs(COPY_BYTES)]);
    let limit = Duration::from_secs_f64(arguments.seconds);
    let start = Instant::now();
    while start.elapsed() < limit || times.len() < MIN_RUNS {
        // The peak is measured again and again between the runs, because a shared machine's speed changes.
        if times.len() % 16 == 0 {
            gflops.push(peak.gflops().map_err(Failure::bug)?);
        }
        let start = Instant::now();
        native.model.run_into(&inputs, &mut outputs).map_err(Failure::input)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if let Some(launches) = native.model.profile().map_err(Failure::bug)? {
            of_layers.add(launches);
        }
    }
    bandwidth.push(calibrate::copy_gbs(COPY_BYTES));
    times.sort_by(f64::total_cmp);
    let (median, min) = (times[times.len() / 2], times[0]);
    let fma_peak = gflops.into_iter().fold(0.0, f64::max);
    let copy = bandwidth.into_iter().fold(0.0, f64::max);

    let inspection = &native.compiled.inspection;
    let kept = inspection.kept_macs as f64 * 2.0 / (median * 1e6);
    if arguments.json {
        let mut line = json!({
            "model": arguments.model.model.file_name().map(|n| n.to_string_lossy()),
            "engine": "sparsec",
            "cpu": target.cpu(),
            "threads": arguments.threads,
            "runs": times.len(),
            "median_ms": round(median),
            "min_ms": round(min),
            "fma_peak_gflops": round(fma_peak),
            "copy_gbs": round(copy),
            "kept_gflops": round(kept),
            "predicted_ms": round(inspection.predicted_ms),
            "compile_seconds": round(compile_seconds),
            "dims": inspection.dims,
            "launches": inspection.launches,
            "layers": inspection.weights,
        });
        if arguments.layers {
            line["profile"] = of_layers.json(&native.compiled.layers, fma_peak);
        }
        return output::print(&format!("{line}\n"));
    }
    if arguments.layers {
        output::print(&(of_layers.render(&native.compiled.layers, fma_peak) + "\n"))?;
    }
    output::print(&format!(
        "median {median:.3} ms, best {min:.3} ms, {} runs, {} threads, {}\n\
         FMA peak {fma_peak:.1} GFLOP/s (one thread), copy {copy:.1} GB/s, model {kept:.1} GFLOP/s on kept weights\n\
         predicted {:.3} ms, compiled in {compile_seconds:.2} s\n",
        times.len(),
        arguments.threads,
        target.cpu(),
        inspection.predicted_ms,
    ))
}

/// Three digits after the point.
fn round(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
