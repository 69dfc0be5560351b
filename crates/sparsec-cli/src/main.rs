//! The command `sparsec`.
//!
//! One file a command under `commands/`. Exit codes: 0, 1 for what is wrong with the input, 2 for wrong usage, 70 for a
//! defect of sparsec itself.
#![allow(clippy::print_stdout, reason = "this is a command")]

mod commands;
mod failure;
mod gpu;
mod native;
mod options;
mod output;
mod progress;
mod tensors;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Stack of the thread that does the work: deeply nested models must end in an error, not in an overflow.
const STACK_BYTES: usize = 256 << 20;

/// Compiles sparse neural networks ahead of time.
#[derive(Debug, Parser)]
#[command(name = "sparsec", version, long_version = long_version(), max_term_width = 110)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compile a model to a native library
    Compile(commands::compile::Arguments),
    /// Compile a model, run it on arrays, and write its outputs
    Run(commands::run::Arguments),
    /// Time the compiled model
    Bench(commands::bench::Arguments),
    /// Measure this machine, for predictions that fit it
    Calibrate(commands::calibrate::Arguments),
    /// Time formats and schedules for the weights of a model, and keep the fastest
    Tune(commands::tune::Arguments),
    /// Show what was found in each weight, and what was chosen
    Inspect(commands::inspect::Arguments),
    /// Set the smallest weights of a model to zero
    Prune(commands::prune::Arguments),
    /// Run passes on a textual IR
    Opt(commands::opt::Arguments),
    /// Install the CMake package, the C++ header, manual pages and shell completions
    Integrate(commands::integrate::Arguments),
}

/// What `--version` says beside the number: the LLVM that is linked, and what it makes code for.
fn long_version() -> String {
    let (major, minor, patch) = sparsec::llvm_version();
    let number = env!("CARGO_PKG_VERSION");
    format!("{number}\nLLVM {major}.{minor}.{patch}\ntargets: {}", sparsec::architectures().join(", "))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    failure::install_panic_hook();
    let work = std::thread::Builder::new().name("sparsec".into()).stack_size(STACK_BYTES).spawn(|| run(cli));
    match work.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(()))) => ExitCode::SUCCESS,
        Ok(Ok(Err(failure))) => failure.report(),
        // The hook has reported it.
        Ok(Err(_panic)) => ExitCode::from(failure::BUG),
        Err(error) => Failure::input(format!("cannot start a thread: {error}")).report(),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Compile(arguments) => commands::compile::run(arguments),
        Command::Run(arguments) => commands::run::run(arguments),
        Command::Bench(arguments) => commands::bench::run(arguments),
        Command::Calibrate(arguments) => commands::calibrate::run(arguments),
        Command::Tune(arguments) => commands::tune::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(arguments),
        Command::Prune(arguments) => commands::prune::run(arguments),
        Command::Opt(arguments) => commands::opt::run(arguments),
        Command::Integrate(arguments) => commands::integrate::run(arguments),
    }
}
