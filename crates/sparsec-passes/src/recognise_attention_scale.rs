//! Moves the scale of attention scores into the query projection.
//!
//! `softmax(q k^T / sqrt(d))` scales `heads * tokens * tokens` scores. Where `q` comes from a projection with a constant
//! weight, through reshapes and transposes, the scale goes into that weight and its bias and costs nothing. With `d` = 64
//! the scale is a power of two and the result the same to the last bit; otherwise each weight is rounded once more.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, ValueId};

use crate::linear::Linear;
use crate::matching::{is_single_use, plain, replace_value, with_scalar};
use crate::{PassError, PassStats};

/// A projection is at most this many operators away; also a bound on recursion.
const MAX_DEPTH: usize = 8;

/// Folds a multiplication (or division) by a scalar constant into the projection before it, through reshapes, transposes
/// and one side of a contraction, where each value in between is used once. What can't be folded stays a multiplication.
///
/// # Errors
/// None on a verified graph.
pub fn recognise_attention_scale(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if graph.contains(id) && fold(graph, id)? {
            stats.changed += 1;
        }
    }
    Ok(stats)
}

fn fold(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let Some((scores, factor)) = scaled(graph, id) else { return Ok(false) };
    let Some(projected) = projection(graph, scores, MAX_DEPTH) else { return Ok(false) };
    let Some(linear) = Linear::of(graph, projected) else { return Ok(false) };
    let (scale, shift) = (vec![factor; linear.channels], vec![0.0; linear.channels]);
    let Some(by) = linear.scaled(graph, &scale, &shift)? else { return Ok(false) };
    let Some(old) = graph.producer(projected) else { return Ok(false) };
    replace_value(graph, old, by);
    // Where the projection itself is scaled, it has just been replaced.
    let scores = if scores == projected { by } else { scores };
    replace_value(graph, id, scores);
    Ok(true)
}

fn scaled(graph: &Graph, id: NodeId) -> Option<(ValueId, f64)> {
    let result = *graph.node(id).results.first()?;
    let divided = || with_scalar(graph, result, BinaryOp::Div).map(|(x, c)| (x, 1.0 / c));
    with_scalar(graph, result, BinaryOp::Mul).or_else(divided)
}

/// The projection that `value` depends on linearly.
fn projection(graph: &Graph, value: ValueId, depth: usize) -> Option<ValueId> {
    if depth == 0 || !is_single_use(graph, value) {
        return None;
    }
    if Linear::of(graph, value).is_some() {
        return Some(value);
    }
    let node = plain(graph, value)?;
    match &node.op {
        Op::Reshape(_) | Op::Transpose(_) => projection(graph, *node.operands.first()?, depth - 1),
        // The query is on the left as a rule; either side will do.
        Op::Contract(_) => node.operands.iter().find_map(|&operand| projection(graph, operand, depth - 1)),
        _ => None,
    }
}
