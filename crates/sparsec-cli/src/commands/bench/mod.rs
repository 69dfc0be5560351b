//! `sparsec bench`.

mod layers;

use std::path::Path;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use sparsec::{ModelSource, probe};
use sparsec_runtime::{Model, Tensor};

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
    let mut options = arguments.model.native_options()?;
    options.profile = arguments.layers;
    let source = ModelSource::File(arguments.model.model.clone());
    let target = options.target.clone();
    let native = native::load(source, options, &arguments.dumps, arguments.threads.into())?;
    let Some(mut native) = native else { return Ok(()) };
    let compile_seconds = started.elapsed().as_secs_f64();
    let folder = tempfile::TempDir::with_prefix("sparsec-").map_err(Failure::input)?;
    let mut peak = Peak::new(&target, folder.path())?;

    let inputs = tensors::seeded_inputs(&native.compiled.graph, &native.compiled.nominal)?;
    let inputs: Vec<Tensor> = inputs.iter().map(tensors::to_runtime).collect::<Result<_, _>>()?;
    let mut outputs = native.model.run(&inputs).map_err(Failure::input)?;
    native.model.run_into(&inputs, &mut outputs).map_err(Failure::input)?;

    let mut times = Vec::new();
    let mut of_layers = layers::Times::default();
    let (mut gflops, mut bandwidth) = (Vec::new(), vec![copy_gbs()]);
    let limit = Duration::from_secs_f64(arguments.seconds);
    let start = Instant::now();
    while start.elapsed() < limit || times.len() < MIN_RUNS {
        // The peak is measured again and again between the runs, because a shared machine's speed changes.
        if times.len() % 16 == 0 {
            gflops.push(peak.gflops()?);
        }
        let start = Instant::now();
        native.model.run_into(&inputs, &mut outputs).map_err(Failure::input)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
        if let Some(launches) = native.model.profile().map_err(Failure::bug)? {
            of_layers.add(launches);
        }
    }
    bandwidth.push(copy_gbs());
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

/// The loop that measures the peak.
struct Peak {
    model: Model,
    input: [Tensor; 1],
    output: Vec<Tensor>,
    flops: f64,
}

impl Peak {
    fn new(target: &sparsec::Target, folder: &Path) -> Result<Self, Failure> {
        let library = probe::compile(target, folder).map_err(Failure::bug)?;
        let mut model = Model::load(&library, probe::NAME).map_err(Failure::bug)?;
        let n = probe::elements(target);
        // Below 1, so that the sums neither grow without bound nor become denormal.
        let input = [Tensor::from_slice(&[n as i64], &vec![0.5f32; n])];
        let output = model.run(&input).map_err(Failure::bug)?;
        Ok(Peak { model, input, output, flops: probe::flops(target) })
    }

    /// The best of a few runs, in GFLOP/s.
    fn gflops(&mut self) -> Result<f64, Failure> {
        let mut best = f64::INFINITY;
        for _ in 0..5 {
            let start = Instant::now();
            self.model.run_into(&self.input, &mut self.output).map_err(Failure::bug)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(self.flops / best / 1e9)
    }
}

/// Bytes read and written by a large copy, in GB/s: the best of a few.
fn copy_gbs() -> f64 {
    let from = vec![1u8; COPY_BYTES];
    let mut to = vec![0u8; COPY_BYTES];
    let mut best = f64::INFINITY;
    for _ in 0..4 {
        let start = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        best = best.min(start.elapsed().as_secs_f64());
    }
    2.0 * COPY_BYTES as f64 / best / 1e9
}
