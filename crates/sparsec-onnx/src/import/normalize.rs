//! Normalisations and softmax.

use sparsec_graph::{BinaryOp, DType, Dim, Op, PoolAttrs, PoolKind, ReduceKind, UnaryOp};

use super::context::{Context, Operand};
use super::elementwise::apply_scalar;
use super::node::{Node, axes, axis};
use super::reduce::shift_by_max;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `BatchNormalization`, with fixed statistics or those of the operand.
pub(super) fn batch_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let epsilon = node.float_or("epsilon", 1e-5)?;
    if node.opset >= 14 && node.int_or("training_mode", 0)? != 0 {
        return batch_normalization_of_training(cx, node, epsilon);
    }
    if node.opset < 7 && node.int_or("is_test", 0)? == 0 {
        return Err(Fault::unsupported("training mode"));
    }
    node.only_outputs(1)?;
    let operands = (0..5).map(|i| node.input(i)).collect::<Result<Vec<_>, _>>()?;
    Ok(vec![cx.append(Op::BatchNorm { epsilon }, &operands)?])
}

/// Normalises by the mean and the variance of each channel; the further results are running averages of both.
fn batch_normalization_of_training(cx: &mut Context, node: &Node<'_>, epsilon: f64) -> Results {
    let (x, scale, bias) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (shape, momentum) = (cx.shape(x), node.float_or("momentum", 0.9)?);
    let channels = shape.get(1).cloned().ok_or_else(|| Fault::invalid("the operand has no channels"))?;
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
    let mean = cx.reduce(ReduceKind::Mean, x, &axes)?;
    let centred = cx.binary(BinaryOp::Sub, x, mean)?;
    let square = cx.binary(BinaryOp::Mul, centred, centred)?;
    let variance = cx.reduce(ReduceKind::Mean, square, &axes)?;
    let mean = cx.reshape(mean, vec![channels.clone()])?;
    let variance = cx.reshape(variance, vec![channels])?;
    let mut results = vec![cx.append(Op::BatchNorm { epsilon }, &[x, scale, bias, mean, variance])?];
    for (i, new) in [(3, mean), (4, variance)] {
        if !node.wants_output(i - 2) {
            break;
        }
        let old = node.input(i)?;
        let new = cx.cast(new, cx.dtype(old))?;
        let old = cx.with_number(BinaryOp::Mul, old, momentum)?;
        let new = cx.with_number(BinaryOp::Mul, new, 1.0 - momentum)?;
        results.push(cx.binary(BinaryOp::Add, old, new)?);
    }
    Ok(results)
}

/// `LayerNormalization` over the trailing axes; mean and inverse deviation are computed beside it where they are used.
pub(super) fn layer_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    if node.int_or("stash_type", 1)? != 1 {
        return Err(Fault::unsupported("a stash_type other than float"));
    }
    let rank = cx.rank(x);
    let first = axis(node.int_or("axis", -1)?, rank)?;
    let inner = cx.shape(x).split_off(first);
    let scale = expand_to(cx, node.input(1)?, &inner)?;
    let bias = match node.optional(2) {
        Some(bias) => bias,
        None => cx.scalar(cx.dtype(x), 0.0),
    };
    let bias = expand_to(cx, bias, &inner)?;
    let epsilon = node.float_or("epsilon", 1e-5)?;
    let normal = cx.append(Op::LayerNorm { axis: first, axes: inner.len(), epsilon }, &[x, scale, bias])?;
    if !node.wants_output(1) && !node.wants_output(2) {
        return Ok(vec![normal]);
    }
    let (mean, _, factor) = statistics(cx, x, (first..rank).collect(), epsilon)?;
    Ok(vec![normal, mean, factor])
}

/// `RMSNormalization`: `x / sqrt(mean(x^2) + epsilon) * scale`.
pub(super) fn rms_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    let axes: Vec<usize> = (axis(node.int_or("axis", -1)?, rank)?..rank).collect();
    let square = cx.append(Op::Binary(BinaryOp::Mul), &[x, x])?;
    let mean = cx.append(Op::Reduce { kind: ReduceKind::Mean, axes, keep: true }, &[square])?;
    let sum = apply_scalar(cx, BinaryOp::Add, mean, node.float_or("epsilon", 1e-5)?)?;
    let factor = cx.append(Op::Unary(UnaryOp::Rsqrt), &[sum])?;
    let normal = cx.append(Op::Binary(BinaryOp::Mul), &[x, factor])?;
    Ok(vec![cx.append(Op::Binary(BinaryOp::Mul), &[normal, node.input(1)?])?])
}

/// `InstanceNormalization`: each channel of each image by its own mean and variance.
pub(super) fn instance_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    if rank < 3 {
        return Err(Fault::invalid("the operand has no spatial dimensions"));
    }
    let normal = standardize(cx, x, (2..rank).collect(), node.float_or("epsilon", 1e-5)?)?;
    Ok(vec![scale_channels(cx, normal, node.input(1)?, node.input(2)?)?])
}

/// `GroupNormalization`: each group of channels of each image by its own mean and variance.
pub(super) fn group_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, scale, bias) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let shape = cx.shape(x);
    let groups = node.int("num_groups")?.ok_or_else(|| Fault::attribute("num_groups", "is missing"))?;
    let channels = shape.get(1).and_then(Dim::as_const).filter(|c| groups > 0 && c % groups == 0);
    let channels = channels.ok_or_else(|| Fault::attribute("num_groups", "does not divide the channels"))?;
    let mut grouped = vec![shape[0].clone(), Dim::constant(groups), Dim::constant(channels / groups)];
    grouped.extend_from_slice(&shape[2..]);
    let axes = (2..grouped.len()).collect();
    let split = cx.append(Op::Reshape(grouped.clone()), &[x])?;
    let mut normal = standardize(cx, split, axes, node.float_or("epsilon", 1e-5)?)?;
    // Operator set 18 had one scale a group, 21 has one a channel.
    let per_group = cx.shape(scale) == [Dim::constant(groups)] && node.opset < 21;
    if per_group {
        normal = scale_channels(cx, normal, scale, bias)?;
    }
    let joined = cx.append(Op::Reshape(shape), &[normal])?;
    Ok(vec![if per_group { joined } else { scale_channels(cx, joined, scale, bias)? }])
}

/// `(x - mean) / sqrt(variance + epsilon)` over axes.
fn standardize(cx: &mut Context, x: Operand, axes: Vec<usize>, epsilon: f64) -> Result<Operand, Fault> {
    let (_, centred, factor) = statistics(cx, x, axes, epsilon)?;
    cx.append(Op::Binary(BinaryOp::Mul), &[centred, factor])
}

/// The mean over axes, `x - mean`, and `1 / sqrt(variance + epsilon)`.
fn statistics(
    cx: &mut Context,
    x: Operand,
    axes: Vec<usize>,
    epsilon: f64,
) -> Result<(Operand, Operand, Operand), Fault> {
    let mean = cx.append(Op::Reduce { kind: ReduceKind::Mean, axes: axes.clone(), keep: true }, &[x])?;
    let centred = cx.append(Op::Binary(BinaryOp::Sub), &[x, mean])?;
    let square = cx.append(Op::Binary(BinaryOp::Mul), &[centred, centred])?;
    let variance = cx.append(Op::Reduce { kind: ReduceKind::Mean, axes, keep: true }, &[square])?;
    let sum = apply_scalar(cx, BinaryOp::Add, variance, epsilon)?;
    let factor = cx.append(Op::Unary(UnaryOp::Rsqrt), &[sum])?;
    Ok((mean, centred, factor))
}

/// `x * scale + bias`, with one entry per index of axis 1.
fn scale_channels(cx: &mut Context, x: Operand, scale: Operand, bias: Operand) -> Result<Operand, Fault> {
    let mut result = x;
    for (op, vector) in [(BinaryOp::Mul, scale), (BinaryOp::Add, bias)] {
        let mut shape = cx.shape(vector);
        if shape.len() != 1 {
            return Err(Fault::invalid("scale and bias must be vectors"));
        }
        shape.resize(cx.rank(x) - 1, Dim::constant(1));
        let column = cx.append(Op::Reshape(shape), &[vector])?;
        result = cx.append(Op::Binary(op), &[result, column])?;
    }
    Ok(result)
}

fn expand_to(cx: &mut Context, x: Operand, shape: &[Dim]) -> Result<Operand, Fault> {
    if cx.shape(x) == shape { Ok(x) } else { cx.append(Op::Expand(shape.to_vec()), &[x]) }
}

/// `Softmax` along an axis; before operator set 13 over all axes from that one on.
pub(super) fn softmax(cx: &mut Context, node: &Node<'_>) -> Results {
    along_axis(cx, node, |cx, x, axis| cx.append(Op::Softmax { axis }, &[x]))
}

/// `LogSoftmax`: `x - max - log(sum(exp(x - max)))`.
pub(super) fn log_softmax(cx: &mut Context, node: &Node<'_>) -> Results {
    along_axis(cx, node, log_probabilities)
}

/// The logarithm of softmax along an axis.
pub(super) fn log_probabilities(cx: &mut Context, x: Operand, axis: usize) -> Result<Operand, Fault> {
    let (shifted, _) = shift_by_max(cx, x, &[axis])?;
    let exp = cx.append(Op::Unary(UnaryOp::Exp), &[shifted])?;
    let sum = cx.append(Op::Reduce { kind: ReduceKind::Sum, axes: vec![axis], keep: true }, &[exp])?;
    let log = cx.append(Op::Unary(UnaryOp::Log), &[sum])?;
    cx.append(Op::Binary(BinaryOp::Sub), &[shifted, log])
}

fn along_axis(
    cx: &mut Context,
    node: &Node<'_>,
    apply: fn(&mut Context, Operand, usize) -> Result<Operand, Fault>,
) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    if !matches!(cx.dtype(x), DType::F16 | DType::BF16 | DType::F32 | DType::F64) {
        return Err(Fault::invalid("the operand must be of a floating-point type"));
    }
    let flattens = node.opset < 13;
    let first = axis(node.int_or("axis", if flattens { 1 } else { -1 })?, shape.len())?;
    if !flattens || first + 1 == shape.len() {
        return Ok(vec![apply(cx, x, first)?]);
    }
    let (outer, inner) = shape.split_at(first);
    let flat = cx.append(Op::Reshape(vec![Dim::product(outer), Dim::product(inner)]), &[x])?;
    let result = apply(cx, flat, 1)?;
    Ok(vec![cx.append(Op::Reshape(shape), &[result])?])
}

/// `LpNormalization`: divided by the norm along an axis.
pub(super) fn lp_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let along = axis(node.int_or("axis", -1)?, cx.rank(x))?;
    let kind = match node.int_or("p", 2)? {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        p => return Err(Fault::attribute("p", format!("is {p}, and must be 1 or 2"))),
    };
    let norm = cx.reduce(kind, x, &[along])?;
    Ok(vec![cx.binary(BinaryOp::Div, x, norm)?])
}

/// `MeanVarianceNormalization`: `(x - mean) / (deviation + 1e-9)`.
pub(super) fn mean_variance_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let list = node.ints("axes")?.unwrap_or(&[0, 2, 3]);
    let axes = axes(list, cx.rank(x))?;
    let mean = cx.reduce(ReduceKind::Mean, x, &axes)?;
    let centred = cx.binary(BinaryOp::Sub, x, mean)?;
    let square = cx.binary(BinaryOp::Mul, centred, centred)?;
    let variance = cx.reduce(ReduceKind::Mean, square, &axes)?;
    let deviation = cx.unary(UnaryOp::Sqrt, variance)?;
    let divisor = cx.with_number(BinaryOp::Add, deviation, 1e-9)?;
    Ok(vec![cx.binary(BinaryOp::Div, centred, divisor)?])
}

/// `LRN`: `x / (bias + alpha mean(x^2))^beta`, the mean over `size` channels about each, with zeros beyond the ends: an
/// average pooling whose only moving axis is that of the channels.
pub(super) fn lrn(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let size = node.int("size")?.filter(|s| (1..1 << 20).contains(s));
    let size = size.ok_or_else(|| Fault::attribute("size", "is missing or out of range"))?;
    let [batch, channels, inner @ ..] = shape.as_slice() else {
        return Err(Fault::invalid("the operand has no channels"));
    };
    let square = cx.binary(BinaryOp::Mul, x, x)?;
    let image = vec![batch.clone(), Dim::constant(1), channels.clone(), Dim::product(inner)];
    let image = cx.reshape(square, image)?;
    let before = (size - 1) / 2;
    let pool = PoolAttrs {
        kind: PoolKind::AverageWithPad,
        kernel: vec![size, 1],
        strides: vec![1, 1],
        pads: vec![(before, size - 1 - before), (0, 0)],
        dilations: vec![1, 1],
        ceil: false,
    };
    let mean = cx.append(Op::Pool(pool), &[image])?;
    let mean = cx.reshape(mean, shape)?;
    let scaled = cx.with_number(BinaryOp::Mul, mean, node.float_or("alpha", 1e-4)?)?;
    let base = cx.with_number(BinaryOp::Add, scaled, node.float_or("bias", 1.0)?)?;
    let divisor = cx.with_number(BinaryOp::Pow, base, node.float_or("beta", 0.75)?)?;
    Ok(vec![cx.binary(BinaryOp::Div, x, divisor)?])
}
