//! Times a compiled model in turns: the half of `cargo xtask bench` that calls sparsec's libraries.
//!
//! ```text
//! turns --library libm.so --name m --threads 1 x=x.npy     a model, through its C interface
//! turns --machine                                          the machine: FMA peak and copy bandwidth
//! ```
//!
//! The model stays loaded. Each line of standard input is a number of seconds to run for, and is answered by one line of
//! JSON: `{"ms": [...]}`, milliseconds a run, or `{"fma_peak_gflops": .., "copy_gbs": ..}`. So the benchmark can let
//! several engines take turns, and a drift of the machine's speed meets all of them alike. The first line, before any
//! turn, says `{"ready": true}`.
#![allow(clippy::print_stdout, reason = "this is a command")]

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};
use sparsec::{Target, probe};
use sparsec_runtime::{DType, Model, Tensor};

/// Times a compiled model in turns.
#[derive(Debug, Parser)]
struct Arguments {
    /// Measure the machine, not a model
    #[arg(long, conflicts_with_all = ["library", "name", "threads", "inputs"])]
    machine: bool,

    /// The shared library of a compiled model
    #[arg(long, required_unless_present = "machine")]
    library: Option<PathBuf>,

    /// Name of the model
    #[arg(long, required_unless_present = "machine")]
    name: Option<String>,

    /// Threads to run on
    #[arg(long, default_value_t = 1)]
    threads: usize,

    /// Input arrays
    #[arg(value_name = "NAME=FILE.npy")]
    inputs: Vec<String>,
}

/// Shortest time that is measured at once; faster models run several times within it.
const SAMPLE: Duration = Duration::from_micros(50);

/// Most times that one turn reports; of more, every second, third, ... is kept.
const MAX_SAMPLES: usize = 400;

/// Fewest runs of a turn.
const MIN_RUNS: usize = 3;

/// Bytes of the copy that measures the memory's bandwidth: larger than caches.
const COPY_BYTES: usize = 64 << 20;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("turns: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match (&arguments.library, &arguments.name) {
        (Some(library), Some(name)) => {
            let mut contender = Contender::load(library, name, arguments)?;
            serve(|seconds| contender.turn(seconds))
        }
        _ => {
            let mut machine = Machine::new()?;
            serve(|_| machine.turn())
        }
    }
}

/// Answers each line of standard input until it ends.
fn serve(mut turn: impl FnMut(Duration) -> Result<Value, Box<dyn Error>>) -> Result<(), Box<dyn Error>> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", json!({ "ready": true }))?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let seconds = Duration::try_from_secs_f64(line?.trim().parse()?)?;
        writeln!(out, "{}", turn(seconds)?)?;
        out.flush()?;
    }
    Ok(())
}

/// A loaded model with its inputs and outputs.
struct Contender {
    model: Model,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
}

impl Contender {
    fn load(library: &Path, name: &str, arguments: &Arguments) -> Result<Self, Box<dyn Error>> {
        let mut model = Model::load(library, name)?;
        model.set_threads(arguments.threads)?;
        let mut inputs = Vec::new();
        for port in model.inputs() {
            let find = |pair: &String| pair.strip_prefix(&port.name)?.strip_prefix('=').map(PathBuf::from);
            let file = arguments.inputs.iter().find_map(find).ok_or_else(|| format!("no array for `{}`", port.name))?;
            inputs.push(read(&file)?);
        }
        let outputs = model.run(&inputs)?;
        Ok(Contender { model, inputs, outputs })
    }

    /// Runs for so long; the first run warms up and is not reported.
    fn turn(&mut self, seconds: Duration) -> Result<Value, Box<dyn Error>> {
        self.model.run_into(&self.inputs, &mut self.outputs)?;
        let start = Instant::now();
        self.model.run_into(&self.inputs, &mut self.outputs)?;
        let once = start.elapsed().max(Duration::from_nanos(1));
        let repeat = (SAMPLE.as_nanos() / once.as_nanos()).clamp(1, 10_000) as u32;
        let mut times = Vec::new();
        let start = Instant::now();
        while start.elapsed() < seconds || times.len() < MIN_RUNS {
            let sample = Instant::now();
            for _ in 0..repeat {
                self.model.run_into(&self.inputs, &mut self.outputs)?;
            }
            times.push(sample.elapsed().as_secs_f64() * 1e3 / f64::from(repeat));
        }
        let step = times.len().div_ceil(MAX_SAMPLES);
        Ok(json!({ "ms": times.into_iter().step_by(step).collect::<Vec<f64>>() }))
    }
}

/// An array file as a tensor of the runtime.
fn read(file: &Path) -> Result<Tensor, Box<dyn Error>> {
    let data = sparsec::npy::read(file)?;
    let dtype = DType::from_name(data.dtype.name()).ok_or_else(|| format!("{}: element type", file.display()))?;
    let shape: Vec<i64> = data.shape.iter().map(|&d| d as i64).collect();
    Ok(Tensor::from_bytes(dtype, &shape, &data.bytes)?)
}

/// The loop of [`probe`], and two buffers to copy between.
struct Machine {
    model: Model,
    input: [Tensor; 1],
    output: Vec<Tensor>,
    flops: f64,
    from: Vec<u8>,
    to: Vec<u8>,
    /// Holds the library.
    _folder: tempfile::TempDir,
}

impl Machine {
    fn new() -> Result<Self, Box<dyn Error>> {
        let (target, folder) = (Target::host()?, tempfile::tempdir()?);
        let mut model = Model::load(probe::compile(&target, folder.path())?, probe::NAME)?;
        let elements = probe::elements(&target);
        // Below 1, so that the sums neither grow without bound nor become denormal.
        let input = [Tensor::from_slice(&[elements as i64], &vec![0.5f32; elements])];
        let output = model.run(&input)?;
        let flops = probe::flops(&target);
        Ok(Machine { model, input, output, flops, from: vec![1; COPY_BYTES], to: vec![0; COPY_BYTES], _folder: folder })
    }

    /// The best of a few runs: a disturbance only ever makes a machine slower than its peak.
    fn turn(&mut self) -> Result<Value, Box<dyn Error>> {
        let (mut peak, mut copy) = (f64::INFINITY, f64::INFINITY);
        for _ in 0..8 {
            let start = Instant::now();
            self.model.run_into(&self.input, &mut self.output)?;
            peak = peak.min(start.elapsed().as_secs_f64());
        }
        for _ in 0..3 {
            let start = Instant::now();
            self.to.copy_from_slice(std::hint::black_box(&self.from));
            std::hint::black_box(&mut self.to);
            copy = copy.min(start.elapsed().as_secs_f64());
        }
        let copied = 2.0 * COPY_BYTES as f64;
        Ok(json!({ "fma_peak_gflops": self.flops / peak / 1e9, "copy_gbs": copied / copy / 1e9 }))
    }
}
