//! `sparsec opt`.

use std::path::{Path, PathBuf};

use clap::Args;
use sparsec::graph::{self, Graph};
use sparsec::passes::{self, PIPELINE, Pass};
use sparsec::tir::{self, AnyKernel, Kernel, Stage};

use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Textual IR: a graph (.graph) or kernels (.tir)
    file: PathBuf,

    /// Passes in order; those of a compilation where none are given. Kernels have the passes lower_to_flat and
    /// expand_math; a graph has those that a wrong name lists
    #[arg(long, value_delimiter = ',')]
    passes: Vec<String>,

    /// Only check the text and print it again
    #[arg(long, conflicts_with = "passes")]
    verify: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let text = std::fs::read_to_string(&arguments.file).map_err(|e| Failure::in_file(&arguments.file, e))?;
    match arguments.file.extension().and_then(|e| e.to_str()) {
        Some("graph") => optimise_graph(&arguments, &text),
        Some("tir") => optimise_kernels(&arguments, &text),
        _ => Err(Failure::usage(format!("{}: the file must end in .graph or .tir", arguments.file.display()))),
    }
}

fn optimise_graph(arguments: &Arguments, text: &str) -> Result<(), Failure> {
    let file = arguments.file.as_path();
    let mut graph = graph::parse(text).map_err(|e| Failure::input(format!("{}:{e}", file.display())))?;
    verify(file, &graph)?;
    let passes: Vec<Pass> = match arguments.passes.as_slice() {
        _ if arguments.verify => Vec::new(),
        [] => PIPELINE.to_vec(),
        names => names.iter().map(|name| passes::find_pass(name)).collect::<Result<_, _>>().map_err(Failure::usage)?,
    };
    passes::run_passes(&mut graph, &passes, &mut |_| std::ops::ControlFlow::Continue(()))
        .map_err(|e| Failure::in_file(file, e))?;
    // Everything is written out, so that what is printed can be read again.
    let options = graph::PrintOptions { max_inline_elements: usize::MAX };
    output::print(&graph::print(&graph, &options))
}

fn verify(file: &Path, graph: &Graph) -> Result<(), Failure> {
    graph::verify(graph).map_err(|errors| {
        let list: String = errors.iter().map(|e| format!("\n  {e}")).collect();
        Failure::in_file(file, format!("the graph is not valid:{list}"))
    })
}

/// The passes on kernels, in the order in which a compilation runs them.
const KERNEL_PASSES: [&str; 2] = ["lower_to_flat", "expand_math"];

fn optimise_kernels(arguments: &Arguments, text: &str) -> Result<(), Failure> {
    let file = arguments.file.as_path();
    let kernels = tir::parse_kernels(text).map_err(|e| Failure::input(format!("{}:{e}", file.display())))?;
    let names: Vec<&str> = match arguments.passes.as_slice() {
        _ if arguments.verify => Vec::new(),
        [] => KERNEL_PASSES.to_vec(),
        names => names.iter().map(String::as_str).collect(),
    };
    if let Some(unknown) = names.iter().find(|name| !KERNEL_PASSES.contains(name)) {
        let known = KERNEL_PASSES.join(", ");
        return Err(Failure::usage(format!("there is no pass `{unknown}` on kernels; the passes are {known}")));
    }
    let mut printed = String::new();
    for kernel in kernels {
        printed += &match kernel {
            AnyKernel::Coordinate(kernel) => {
                tir::verify_coordinate(&kernel).map_err(|e| Failure::in_file(file, e))?;
                tir::print_coordinate(&kernel)
            }
            AnyKernel::Kernel(kernel) => tir::print_kernel(&optimise_kernel(file, kernel, &names)?),
        };
        printed.push('\n');
    }
    output::print(&printed)
}

fn optimise_kernel(file: &Path, mut kernel: Kernel, passes: &[&str]) -> Result<Kernel, Failure> {
    verify_kernel(file, &kernel)?;
    for pass in passes {
        match *pass {
            "lower_to_flat" if kernel.stage == Stage::Position => {
                kernel = tir::lower_to_flat(&kernel).map_err(|e| Failure::in_file(file, e))?;
            }
            "expand_math" => tir::expand_math(&mut kernel).map_err(|e| Failure::in_file(file, e))?,
            // A kernel of Stage III is flat already.
            _ => {}
        }
        verify_kernel(file, &kernel)?;
    }
    Ok(kernel)
}

fn verify_kernel(file: &Path, kernel: &Kernel) -> Result<(), Failure> {
    match kernel.stage {
        Stage::Position => tir::verify_position(kernel),
        Stage::Flat => tir::verify_flat(kernel),
    }
    .map_err(|e| Failure::in_file(file, e))
}
