//! `sparsec opt`.

use std::path::{Path, PathBuf};

use clap::Args;
use sparsec::graph::{self, Graph};
use sparsec::passes::{self, PIPELINE, Pass};

use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Textual IR: a graph (.graph) or kernels (.tir)
    file: PathBuf,

    /// Passes in order; those of a compilation where none are given. A graph has the passes that `--list` shows, kernels
    /// have `lower_to_flat` and `expand_math`
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
