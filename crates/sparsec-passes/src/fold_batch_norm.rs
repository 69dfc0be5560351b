//! Folds scales and shifts per channel into the weights before them.
//!
//! `BatchNorm(Conv(x, w) + b)` is a convolution with the weight `s w` and the bias `s b + t`, where
//! `s = scale / sqrt(variance + epsilon)` and `t = bias - s * mean`. A scale of 0 makes a row of zeros, which
//! [`crate::propagate_sparsity`] then removes; a zero weight stays an exact zero. All arithmetic on weights is in `f64`, rounded
//! once to the weight's type.

use sparsec_graph::{BinaryOp, DType, Graph, Node, NodeId, Op, ValueId};

use crate::canonicalise::is_rounded;
use crate::linear::Linear;
use crate::matching::{extent, is_plain, is_single_use, replace_node, replace_value};
use crate::tensor::{channel_shape, from_f64, per_channel, to_f64};
use crate::{PassError, PassStats};

/// Folds BatchNorm, multiplication and addition of constants per channel into the convolution or contraction before
/// them. A BatchNorm that follows no such operator becomes a multiplication and an addition.
///
/// # Errors
/// None on a verified graph.
pub fn fold_batch_norm(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if graph.contains(id) && is_plain(graph.node(id)) && (fold(graph, id)? || expand_batch_norm(graph, id)?) {
            stats.changed += 1;
        }
    }
    Ok(stats)
}

/// `x * scale + shift`, channel by channel.
struct Affine {
    x: ValueId,
    scale: Vec<f64>,
    shift: Vec<f64>,
}

fn fold(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    // Weights that are integers stay what they are: the sums are exact, and so is the one rounding that follows.
    if is_rounded(graph, id) {
        return Ok(false);
    }
    let Some((linear, affine)) = affine_of_linear(graph, id) else { return Ok(false) };
    let Some(result) = linear.scaled(graph, &affine.scale, &affine.shift)? else { return Ok(false) };
    replace_value(graph, id, result);
    Ok(true)
}

fn affine_of_linear(graph: &Graph, id: NodeId) -> Option<(Linear, Affine)> {
    let node = graph.node(id);
    let &x = node.operands.iter().find(|&&v| graph.producer(v).is_some())?;
    let linear = Linear::of(graph, x)?;
    let affine = affine(graph, node, linear.axis, linear.channels)?;
    let shift_only = affine.scale.iter().all(|&s| s == 1.0);
    let foldable = affine.x == x
        && is_single_use(graph, x)
        && graph.ty(x) == graph.ty(node.result())
        && !(shift_only && linear.is_bare_contraction(graph));
    foldable.then_some((linear, affine))
}

fn affine(graph: &Graph, node: &Node, axis: usize, channels: usize) -> Option<Affine> {
    let rank = graph.ty(node.result()).rank();
    match (&node.op, node.operands.as_slice()) {
        (Op::BatchNorm { epsilon }, &[x, ..]) if axis == 1 => {
            let (scale, shift) = batch_norm(graph, node, *epsilon)?;
            Some(Affine { x, scale, shift })
        }
        (Op::Binary(op), &[x, y]) => {
            let per_channel = |v| per_channel(graph, v, rank, axis, channels);
            let (x, c, swapped) = match (per_channel(y), per_channel(x)) {
                (Some(c), _) => (x, c, false),
                (None, Some(c)) => (y, c, true),
                (None, None) => return None,
            };
            let (ones, zeros) = (vec![1.0; channels], vec![0.0; channels]);
            let (scale, shift) = match (op, swapped) {
                (BinaryOp::Mul, _) => (c, zeros),
                (BinaryOp::Add, _) => (ones, c),
                (BinaryOp::Sub, false) => (ones, c.iter().map(|v| -v).collect()),
                (BinaryOp::Sub, true) => (vec![-1.0; channels], c),
                (BinaryOp::Div, false) => (c.iter().map(|v| 1.0 / v).collect(), zeros),
                _ => return None,
            };
            Some(Affine { x, scale, shift })
        }
        _ => None,
    }
}

/// Scale and shift of a BatchNorm with constant parameters.
fn batch_norm(graph: &Graph, node: &Node, epsilon: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut parameters = node.operands.iter().skip(1).map(|&v| to_f64(&graph.constant(v)?.data));
    let mut next = || parameters.next().flatten();
    let (scale, bias, mean, variance) = (next()?, next()?, next()?, next()?);
    let scale: Vec<f64> = scale.iter().zip(&variance).map(|(s, v)| s / (v + epsilon).sqrt()).collect();
    let shift = bias.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
    Some((scale, shift))
}

/// The same in `f32`, each operation rounded. One that is folded into no weight is most often followed by a quantisation, which
/// keeps the bits of ONNX Runtime's result only where scale and shift have its bits.
fn batch_norm_in_f32(graph: &Graph, node: &Node, epsilon: f64) -> Option<(Vec<f64>, Vec<f64>)> {
    let mut parameters = node.operands.iter().skip(1).map(|&v| graph.constant(v)?.data.as_f32());
    let mut next = || parameters.next().flatten();
    let (scale, bias, mean, variance) = (next()?, next()?, next()?, next()?);
    let inverse = |v: &f32| 1.0 / (v + epsilon as f32).sqrt();
    let scale: Vec<f32> = scale.iter().zip(variance.iter()).map(|(s, v)| inverse(v) * s).collect();
    let shift = bias.iter().zip(mean.iter()).zip(&scale).map(|((b, m), s)| f64::from(b - m * s)).collect();
    Some((scale.into_iter().map(f64::from).collect(), shift))
}

fn expand_batch_norm(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    let (Op::BatchNorm { epsilon }, Some(&x)) = (&node.op, node.operands.first()) else { return Ok(false) };
    let ty = graph.ty(x).clone();
    let parameters = match ty.dtype {
        DType::F32 => batch_norm_in_f32(graph, node, *epsilon),
        _ => batch_norm(graph, node, *epsilon),
    };
    let (Some((scale, shift)), Some(channels)) = (parameters, extent(&ty, 1)) else { return Ok(false) };
    let shape = channel_shape(ty.rank(), 1, channels);
    let (Some(scale), Some(shift)) = (from_f64(ty.dtype, &shape, scale), from_f64(ty.dtype, &shape, shift)) else {
        return Ok(false);
    };
    let name = node.name.clone();
    let scale = graph.add_constant(format!("{name}.scale"), scale);
    let shift = graph.add_constant(format!("{name}.shift"), shift);
    let scaled = graph.append(Op::Binary(BinaryOp::Mul), &[x, scale], &name)?;
    replace_node(graph, id, Op::Binary(BinaryOp::Add), &[scaled, shift])?;
    Ok(true)
}
