//! The half of the GPU bench kit that is sparsec: `sparsec-gpu-kit --output results.json`.
//!
//! It compiles layers and networks for the GPU of the machine, checks each kernel against `f64` and against the simulator, and
//! times what it checked. `python/kit.py` is the command that people run: it starts this program, has other
//! libraries compute the same (`python/peers.py`), and writes tables.
//!
//! The program needs no LLVM, no toolkit and no files, so that it is one file to carry to a machine with a GPU; `cargo xtask gpu-kit`
//! builds it. It can't be linked statically: the driver's library is loaded at run time, which is for programs that use the
//! machine's own libc. With `--simulate` everything runs on the simulator, in sizes that it can take.
#![allow(clippy::print_stdout, reason = "this is a command")]

mod build;
mod cases;
mod kernels;
mod models;
mod networks;
mod place;
mod reference;
mod report;

/// Models written node by node, and numbers to fill them with, as the demo has them.
#[path = "../../../examples/demo/src/model.rs"]
#[allow(dead_code, unreachable_pub, reason = "the demo uses all of it")]
mod model;
#[path = "../../../examples/demo/src/random.rs"]
#[allow(dead_code, unreachable_pub, reason = "the demo uses all of it")]
mod random;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use place::{Clock, Place};
use report::Results;

/// Checks and times sparsec's kernels and networks on a GPU.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to write the results, as JSON
    #[arg(long)]
    output: PathBuf,

    /// On the simulator, in sizes that it can take
    #[arg(long)]
    simulate: bool,

    /// Which GPU of the machine
    #[arg(long, default_value_t = 0)]
    device: usize,

    /// The architecture to compile for [default: the GPU's; simulated, sm_80]
    #[arg(long)]
    gpu: Option<String>,

    /// What to run
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["check", "layers", "networks"])]
    parts: Vec<Part>,

    /// Only every n-th layer: a look at all kinds in little time
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    every: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Kernels of all formats, small, against `f64` and the simulator
    Check,
    /// Layers of networks, timed
    Layers,
    /// Whole networks, timed
    Networks,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let place = if arguments.simulate { Place::Simulated } else { Place::Device(arguments.device) };
    match run(&arguments, place) {
        Ok(results) => {
            println!("{} checks, {} failed", results.checked(), results.failures());
            if results.failures() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(message) => {
            eprintln!("sparsec-gpu-kit: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments, place: Place) -> Result<Results, String> {
    let gpu = place.gpu(arguments.gpu.as_deref())?;
    let mut results = Results::new(place.describe()?, gpu.name(), arguments.simulate);
    if arguments.parts.contains(&Part::Check) {
        for case in cases::checks() {
            results.checks.push(on(place, gpu, &mut Check(&case))?);
            println!("check {}", results.checks.last().map(ToString::to_string).unwrap_or_default());
        }
    }
    // What was found is kept, whatever ends the run.
    results.write(&arguments.output)?;
    if arguments.parts.contains(&Part::Layers) {
        for case in cases::layers(arguments.simulate).into_iter().step_by(arguments.every as usize) {
            results.layers.push(on(place, gpu, &mut Layer(&case))?);
            println!("layer {}", results.layers.last().map(ToString::to_string).unwrap_or_default());
            results.write(&arguments.output)?;
        }
    }
    if arguments.parts.contains(&Part::Networks) {
        for case in networks::all(arguments.simulate) {
            results.networks.push(on(place, gpu, &mut Network(&case))?);
            println!("network {}", results.networks.last().map(ToString::to_string).unwrap_or_default());
            results.write(&arguments.output)?;
        }
    }
    Ok(results)
}

/// Work on a device of any kind.
trait Work {
    type Result;
    fn run<D: Clock>(&mut self, device: D, gpu: sparsec_ptx::Target) -> Result<Self::Result, String>;
}

struct Check<'c>(&'c cases::Layer);
struct Layer<'c>(&'c cases::Layer);
struct Network<'c>(&'c networks::Network);

impl Work for Check<'_> {
    type Result = report::Layer;
    fn run<D: Clock>(&mut self, device: D, gpu: sparsec_ptx::Target) -> Result<report::Layer, String> {
        kernels::layer(self.0, device, gpu, false)
    }
}

impl Work for Layer<'_> {
    type Result = report::Layer;
    fn run<D: Clock>(&mut self, device: D, gpu: sparsec_ptx::Target) -> Result<report::Layer, String> {
        kernels::layer(self.0, device, gpu, true)
    }
}

impl Work for Network<'_> {
    type Result = report::Network;
    fn run<D: Clock>(&mut self, device: D, gpu: sparsec_ptx::Target) -> Result<report::Network, String> {
        models::network(self.0, device, gpu)
    }
}

/// Runs work on a fresh device.
fn on<W: Work>(place: Place, gpu: sparsec_ptx::Target, work: &mut W) -> Result<W::Result, String> {
    match place {
        Place::Simulated => work.run(sparsec_ptxsim::Simulated::new(), gpu),
        Place::Device(ordinal) => {
            let device = sparsec_cuda::Cuda::new(ordinal, gpu.name()).map_err(|e| e.to_string())?;
            work.run(device, gpu)
        }
    }
}
