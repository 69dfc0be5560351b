//! Recognises layer normalisation written as means, a square root and a quotient.
//!
//! ```text
//! d = x - mean(x)      v = mean(d * d)      y = d / sqrt(v + epsilon)      y * scale + bias
//! ```
//!
//! The square may be a product, a power or a sum of squares; the quotient a division or a multiplication by the reciprocal
//! (square root); scale and bias may be missing.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, ReduceKind, TensorData, UnaryOp, ValueId};

use crate::matching::{binary_operands, is_single_use, plain, replace_node, unary_operand, with_scalar};
use crate::tensor::from_f64;
use crate::{PassError, PassStats};

/// Normalised extents of more elements than this are left alone: a missing scale or bias is written out in full.
const MAX_PARAMETERS: usize = 1 << 20;

/// Replaces spelled-out layer normalisation over trailing axes by one operator (Ba, Kiros, Hinton: "Layer
/// Normalization", 2016).
///
/// # Errors
/// None on a verified graph.
pub fn recognise_layer_norm(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if !graph.contains(id) {
            continue;
        }
        if let Some(normalised) = normalised(graph, id)
            && rewrite(graph, id, &normalised)?
        {
            stats.changed += 1;
        }
    }
    Ok(stats)
}

/// `(x - mean) / sqrt(variance + epsilon)` over the axes from `axis` on.
struct Normalised {
    x: ValueId,
    axis: usize,
    epsilon: f64,
}

fn normalised(graph: &Graph, id: NodeId) -> Option<Normalised> {
    let result = *graph.node(id).results.first()?;
    let (centred, squared_deviation) = quotient(graph, result)?;
    let (variance, epsilon) = with_scalar(graph, squared_deviation, BinaryOp::Add)?;
    let (square, axis) = trailing_mean(graph, variance)?;
    let (x, mean) = binary_operands(graph, centred, BinaryOp::Sub)?;
    // Without CSE the difference may be there twice.
    let is_centred = |v: ValueId| v == centred || binary_operands(graph, v, BinaryOp::Sub) == Some((x, mean));
    let is_square = binary_operands(graph, square, BinaryOp::Mul).is_some_and(|(a, b)| is_centred(a) && is_centred(b))
        || with_scalar(graph, square, BinaryOp::Pow).is_some_and(|(base, n)| n == 2.0 && is_centred(base));
    let matches = is_square && trailing_mean(graph, mean) == Some((x, axis)) && graph.ty(x).dtype.is_float();
    matches.then_some(Normalised { x, axis, epsilon })
}

/// `a, b` of `a / sqrt(b)` in any of its spellings.
fn quotient(graph: &Graph, value: ValueId) -> Option<(ValueId, ValueId)> {
    if let Some((a, root)) = binary_operands(graph, value, BinaryOp::Div) {
        return Some((a, square_root(graph, root)?));
    }
    let (x, y) = binary_operands(graph, value, BinaryOp::Mul)?;
    [(x, y), (y, x)].into_iter().find_map(|(a, inverse)| {
        if let Some(b) = unary_operand(graph, inverse, UnaryOp::Rsqrt) {
            return Some((a, b));
        }
        let root = unary_operand(graph, inverse, UnaryOp::Reciprocal)?;
        Some((a, square_root(graph, root)?))
    })
}

fn square_root(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let power = || with_scalar(graph, value, BinaryOp::Pow).filter(|(_, n)| *n == 0.5).map(|(x, _)| x);
    unary_operand(graph, value, UnaryOp::Sqrt).or_else(power)
}

/// The operand and the first axis of a mean over all axes from one on, which stay.
fn trailing_mean(graph: &Graph, value: ValueId) -> Option<(ValueId, usize)> {
    let node = plain(graph, value)?;
    let (Op::Reduce { kind: ReduceKind::Mean, axes, keep: true }, &[x]) = (&node.op, node.operands.as_slice()) else {
        return None;
    };
    let first = *axes.first()?;
    axes.iter().copied().eq(first..graph.ty(x).rank()).then_some((x, first))
}

fn rewrite(graph: &mut Graph, id: NodeId, normalised: &Normalised) -> Result<bool, PassError> {
    let ty = graph.ty(normalised.x).clone();
    let dims = &ty.shape[normalised.axis..];
    let Some(shape) = dims.iter().map(|d| usize::try_from(d.as_const()?).ok()).collect::<Option<Vec<_>>>() else {
        return Ok(false);
    };
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > MAX_PARAMETERS) {
        return Ok(false);
    }
    let mut last = id;
    let mut parameter = |graph: &mut Graph, op: BinaryOp, neutral: f64| {
        if let Some((user, value)) = parameter_after(graph, last, op, &shape) {
            last = user;
            return Some(value);
        }
        let data = from_f64(ty.dtype, &shape, vec![neutral; shape.iter().product()])?;
        Some(graph.add_constant("", data))
    };
    let Some(scale) = parameter(graph, BinaryOp::Mul, 1.0) else { return Ok(false) };
    let Some(bias) = parameter(graph, BinaryOp::Add, 0.0) else { return Ok(false) };
    let op = Op::LayerNorm { axis: normalised.axis, axes: shape.len(), epsilon: normalised.epsilon };
    replace_node(graph, last, op, &[normalised.x, scale, bias])?;
    Ok(true)
}

/// The node that is the only user of `id`'s result and combines it with a constant of exactly this shape.
fn parameter_after(graph: &mut Graph, id: NodeId, op: BinaryOp, shape: &[usize]) -> Option<(NodeId, ValueId)> {
    let result = graph.node(id).result();
    if !is_single_use(graph, result) {
        return None;
    }
    let user = *graph.users(result).first()?;
    let (a, b) = binary_operands(graph, *graph.node(user).results.first()?, op)?;
    let parameter = if a == result { b } else { a };
    let constant = graph.constant(parameter)?;
    let data = &constant.data;
    let first = data.shape.iter().position(|&d| d != 1).unwrap_or(data.shape.len());
    let own_first = shape.iter().position(|&d| d != 1).unwrap_or(shape.len());
    if graph.ty(result) != graph.ty(graph.node(user).result()) || data.shape[first..] != shape[own_first..] {
        return None;
    }
    let (name, reshaped) =
        (constant.name.clone(), TensorData { shape: shape.to_vec(), dtype: data.dtype, bytes: data.bytes.clone() });
    let value = if data.shape == shape { parameter } else { graph.add_constant(name, reshaped) };
    Some((user, value))
}
