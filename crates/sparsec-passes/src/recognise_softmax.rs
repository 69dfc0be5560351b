//! Recognises softmax written as exponentials and a sum.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, ReduceKind, UnaryOp, ValueId};

use crate::matching::{binary_operands, plain, replace_node, unary_operand};
use crate::{PassError, PassStats};

/// Replaces `e / sum(e)` with `e = exp(x - max(x))`, both reductions along one axis that stays, by softmax. The form
/// without the maximum is left: it overflows where softmax does not.
///
/// # Errors
/// None on a verified graph.
pub fn recognise_softmax(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if !graph.contains(id) {
            continue;
        }
        if let Some((x, axis)) = softmax(graph, id) {
            replace_node(graph, id, Op::Softmax { axis }, &[x])?;
            stats.changed += 1;
        }
    }
    Ok(stats)
}

fn softmax(graph: &Graph, id: NodeId) -> Option<(ValueId, usize)> {
    let result = *graph.node(id).results.first()?;
    let (e, sum) = binary_operands(graph, result, BinaryOp::Div)?;
    let (summed, axis) = reduced(graph, sum, ReduceKind::Sum)?;
    let difference = unary_operand(graph, e, UnaryOp::Exp)?;
    let (x, largest) = binary_operands(graph, difference, BinaryOp::Sub)?;
    let of_maximum = reduced(graph, largest, ReduceKind::Max)?;
    (summed == e && of_maximum == (x, axis)).then_some((x, axis))
}

/// The operand and the only axis of a reduction that keeps it.
fn reduced(graph: &Graph, value: ValueId, wanted: ReduceKind) -> Option<(ValueId, usize)> {
    let node = plain(graph, value)?;
    match (&node.op, node.operands.as_slice()) {
        (Op::Reduce { kind, axes, keep: true }, [x]) if *kind == wanted && axes.len() == 1 => Some((*x, axes[0])),
        _ => None,
    }
}
