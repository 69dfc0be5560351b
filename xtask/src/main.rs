//! Project tasks, run as `cargo xtask TASK`.
//!
//! This crate has no dependencies, so it builds before LLVM is installed; installing LLVM is its first task. Everything
//! heavier (the demo, the mutated files) is a program of its own that a task builds and starts.
#![allow(clippy::print_stdout, reason = "tasks talk to a person")]

mod bench;
mod command;
mod gpu_kit;
mod layers;
mod node_tests;
mod ptx_tools;
mod python;
mod setup;
mod test;

use std::process::ExitCode;

use command::{Outcome, Task, root, target_dir};
use setup::Purpose;

const USAGE: &str = "\
cargo xtask TASK

  setup     installs what the build needs (LLVM 19, a C compiler, Python's venv), and what the tests need (an emulator
            of 64-bit Arm and a C compiler for it), where it is missing
  test      sets up, then runs every check of the project
  node-tests  sets up, then compiles and runs ONNX's own operator tests and compares with tests/onnx_node_tests.toml;
            --filter NAME (some, with the reasons of failures), --interpret (no machine code), --simulate (for a GPU, on a
            simulated one; compares with tests/onnx_node_tests_cuda.toml), --update (writes the list)
  ptx-tools  fetches NVIDIA's assembler and disassembler of PTX, which the tests of the GPU backend run
  gpu-kit   builds target/gpu-kit, a folder to carry to a machine with a GPU, and runs it here on the simulator; arguments
            go to its kit.py; --docs updates docs/benchmarks-gpu.md
  cuda-matrix  sets up, then compiles the full-size networks for GPUs in every pattern, has both assemblers accept every kernel
            without spilling, and prints a table; arguments go to tests/models/cuda_matrix.py
  demo      sets up, then compiles and runs the digits networks and a pruned ResNet-50; writes target/demo/report.html
  models    sets up, then compares the full-size networks with ONNX Runtime; arguments go to tests/models/compare.py
  bench     sets up, then times networks against ONNX Runtime, OpenVINO and DeepSparse in turns; --quick, --models a,b,
            --seconds S, --kernels (single layers over densities), --prepare, --docs; a full run updates docs/benchmarks.md
  fuzz      sets up, then feeds mutated models to the compiler; arguments: --count 2000, --seed 1
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((task, rest)) = arguments.split_first() else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    let outcome = match task.as_str() {
        "setup" if rest.is_empty() => setup::run(Purpose::Test),
        "test" if rest.is_empty() => test::run(),
        "node-tests" => setup::run(Purpose::Build).and_then(|()| node_tests::run(rest)),
        "ptx-tools" if rest.is_empty() => setup::run(Purpose::Build).and_then(|()| ptx_tools::fetch().map(|_| ())),
        "gpu-kit" => gpu_kit::run(rest),
        "cuda-matrix" => cuda_matrix(rest),
        "demo" => demo(rest),
        "models" => models(rest),
        "bench" => bench::run(rest),
        "fuzz" => fuzz(rest),
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            Ok(())
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &[String]) -> Outcome {
    setup::run(Purpose::Build)?;
    Task::cargo("the demo")
        .args(["run", "--release", "--quiet", "--package", "sparsec-demo", "--"])
        .args(["--digits", "examples/digits", "--output"])
        .arg(target_dir().join("demo"))
        .args(arguments)
        .run()
}

fn models(arguments: &[String]) -> Outcome {
    setup::run(Purpose::Build)?;
    let sparsec = build_release()?;
    python::compare(&sparsec, &target_dir().join("models"), arguments)
}

fn cuda_matrix(arguments: &[String]) -> Outcome {
    setup::run(Purpose::Build)?;
    let (sparsec, tools) = (build_release()?, ptx_tools::fetch()?);
    python::cuda_matrix(&sparsec, &tools, &target_dir().join("models"), arguments)
}

fn fuzz(arguments: &[String]) -> Outcome {
    setup::run(Purpose::Build)?;
    let sparsec = build_release()?;
    Task::cargo("mutated models")
        .args(["run", "--release", "--quiet", "--package", "sparsec-tests", "--bin", "fuzz", "--", "--sparsec"])
        .arg(sparsec)
        .args(arguments)
        .run()
}

/// Builds the command in release mode; returns its path.
fn build_release() -> Result<std::path::PathBuf, String> {
    Task::cargo("building sparsec").args(["build", "--release", "--package", "sparsec-cli"]).run()?;
    Ok(root().join(target_dir()).join("release/sparsec"))
}
