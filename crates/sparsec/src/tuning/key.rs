//! What a measurement depends on, as text: the name under which it is kept.
//!
//! Two weights with the same key are the same problem to a kernel: the same machine and compiler, the same operator and
//! extents, zeros of the same kind and number, roughly as evenly spread. Names of nodes and tensors are no part of it.

use sparsec_graph::{Bindings, Format, Graph, Node, TensorType};
use sparsec_rewrite::Decision;

use crate::CompileOptions;

/// To be raised with every change of kernels or of the way in which they are timed.
const KERNELS: u32 = 1;

/// The key of a node whose weight may have one of these formats.
pub(super) fn key(
    graph: &Graph,
    node: &Node,
    decision: &Decision,
    formats: &[Format],
    (dims, options): (&Bindings, &CompileOptions),
) -> String {
    let shape = |ty: &TensorType| {
        let extent = |d: &sparsec_graph::Dim| match d.as_const() {
            Some(n) => n.to_string(),
            // Code for an open extent differs from code for a known one.
            None => format!("{d}={}", d.eval(dims).unwrap_or_default()),
        };
        format!("{}[{}]", ty.dtype.name(), ty.shape.iter().map(extent).collect::<Vec<_>>().join(","))
    };
    let operand = |&value: &sparsec_graph::ValueId| {
        let constant = if graph.constant(value).is_some() { "const " } else { "" };
        format!("{constant}{}", shape(graph.ty(value)))
    };
    let operands: Vec<String> = node.operands.iter().map(operand).collect();
    let epilogue = node.epilogue.as_ref().map_or(String::new(), |e| format!("{} {:?}", e.first_operand, e.expr));
    let stats = decision.stats.as_ref().map_or(String::new(), |s| {
        let mean = s.row_lengths.mean.max(1e-9);
        let per = |n: usize, of: usize| n as f64 / of.max(1) as f64;
        format!(
            " deviation {:.1} longest {:.1} empty {:.2} x {:.2}",
            s.row_lengths.stddev / mean,
            s.row_lengths.max as f64 / mean,
            per(s.empty_rows, s.rows),
            per(s.empty_cols, s.cols)
        )
    });
    let info = options.target.schedules();
    [
        format!("sparsec {} kernels {KERNELS}", env!("CARGO_PKG_VERSION")),
        format!("cpu {} {info:?}", options.target.name()),
        format!("{:?} ({}) -> {}", node.op, operands.join(", "), shape(graph.ty(node.result()))),
        format!("epilogue {epilogue}"),
        format!("pattern {} density {:.2}{stats}", decision.pattern, decision.density),
        format!("formats {}", formats.iter().map(kind).collect::<Vec<_>>().join(" ")),
    ]
    .join("\n")
}

/// A format as far as its kernel goes: parameters of `hyb` are those of the schedule.
pub(super) fn kind(format: &Format) -> String {
    match format {
        Format::Hyb { .. } => "hyb".to_owned(),
        other => other.to_string(),
    }
}
