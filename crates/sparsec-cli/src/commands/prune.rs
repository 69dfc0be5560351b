//! `sparsec prune`.

use std::path::PathBuf;

use clap::Args;
use sparsec::onnx::{self, PrunePattern};

use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The model (ONNX)
    model: PathBuf,

    /// The pruned model
    #[arg(short, long, value_name = "OUT.onnx")]
    output: PathBuf,

    /// un:0.9 (of all weights), nm:2:4, block:4:1:0.8 (outputs, inputs, of all blocks) or channel:0.5
    #[arg(long)]
    pattern: String,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let pattern: PrunePattern = arguments.pattern.parse().map_err(Failure::usage)?;
    let mut model = onnx::proto::read(&arguments.model).map_err(Failure::input)?;
    let report = onnx::prune(&mut model, arguments.model.parent(), &pattern)
        .map_err(|e| Failure::in_file(&arguments.model, e))?;
    onnx::proto::write(&model, &arguments.output).map_err(Failure::input)?;
    let mut rows = vec![vec!["tensor".to_owned(), "elements".to_owned(), "nonzeros".to_owned(), "zeros".to_owned()]];
    for tensor in &report.tensors {
        let zeros = 100.0 * (1.0 - tensor.nonzeros as f64 / tensor.elements.max(1) as f64);
        let (elements, nonzeros) = (tensor.elements.to_string(), tensor.nonzeros.to_string());
        rows.push(vec![tensor.name.clone(), elements, nonzeros, format!("{zeros:.1} %")]);
    }
    let summary = format!("{} tensors pruned, {:.1} % zeros\n", report.tensors.len(), 100.0 * report.sparsity());
    output::print(&(output::table(&rows) + &summary))
}
