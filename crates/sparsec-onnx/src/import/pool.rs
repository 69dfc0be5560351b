//! Sliding window reductions.

use sparsec_graph::{BinaryOp, Dim, Op, PoolAttrs, PoolKind, ReduceKind, TensorType, UnaryOp};

use super::context::{Context, Operand};
use super::node::Node;
use super::window::Window;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `MaxPool`, with the places of the maxima where they are asked for.
pub(super) fn max_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    if !node.wants_output(1) {
        return pool(cx, node, PoolKind::Max);
    }
    let x = node.input(0)?;
    let attrs = attributes(cx, node, x, PoolKind::Max)?;
    let y = sparsec_graph::infer::infer_pool(&attrs, cx.ty(x))?;
    let column_major = node.int_or("storage_order", 0)? != 0;
    cx.append_loops(sparsec_loops::max_pool_places(cx.ty(x), &attrs, &y, column_major), &[x])
}

/// `AveragePool`.
pub(super) fn average_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    pool(cx, node, average_kind(node)?)
}

fn average_kind(node: &Node<'_>) -> Result<PoolKind, Fault> {
    let with_pad = node.int_or("count_include_pad", 0)? != 0;
    Ok(if with_pad { PoolKind::AverageWithPad } else { PoolKind::Average })
}

/// `LpPool`: `(sum of |x|^p)^(1/p)` over windows, padding counted as zeros. The sum is the mean times the elements of a window.
pub(super) fn lp_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let p = node.int_or("p", 2)?;
    let attrs = attributes(cx, node, x, PoolKind::AverageWithPad)?;
    let elements: i64 = attrs.kernel.iter().product();
    let powers = power(cx, x, p as f64)?;
    let mean = pool_axes(cx, powers, attrs)?;
    let sum = cx.with_number(BinaryOp::Mul, mean, elements as f64)?;
    Ok(vec![power(cx, sum, 1.0 / p as f64)?])
}

/// `GlobalLpPool`.
pub(super) fn global_lp_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let p = node.int_or("p", 2)? as f64;
    let axes: Vec<usize> = (2..cx.rank(x)).collect();
    let powers = power(cx, x, p)?;
    let sum = cx.append(Op::Reduce { kind: ReduceKind::Sum, axes, keep: true }, &[powers])?;
    Ok(vec![power(cx, sum, 1.0 / p)?])
}

/// `|x|^p`.
fn power(cx: &mut Context, x: Operand, p: f64) -> Result<Operand, Fault> {
    let x = cx.unary(UnaryOp::Abs, x)?;
    if p == 1.0 { Ok(x) } else { cx.with_number(BinaryOp::Pow, x, p) }
}

/// `MaxUnpool`: elements back at the places that `MaxPool` gave.
pub(super) fn max_unpool(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, places) = (node.input(0)?, node.input(1)?);
    let ty = cx.ty(x).clone();
    let spatial = ty.rank().saturating_sub(2);
    let list = |name: &str, count: usize, default: i64| -> Result<Vec<i64>, Fault> {
        let list = node.ints(name)?.map_or_else(|| vec![default; count], <[i64]>::to_vec);
        if list.len() != count || list.iter().any(|v| !(0..1 << 31).contains(v)) {
            return Err(Fault::attribute(name, format!("is {list:?}")));
        }
        Ok(list)
    };
    let (kernel, strides) = (list("kernel_shape", spatial, 1)?, list("strides", spatial, 1)?);
    let pads = list("pads", 2 * spatial, 0)?;
    let mut shape = ty.shape.get(..2).ok_or_else(|| Fault::invalid("the operand has no channels"))?.to_vec();
    for i in 0..spatial {
        let steps = (ty.shape[2 + i].clone() - Dim::constant(1)) * Dim::constant(strides[i]);
        shape.push(steps + Dim::constant(kernel[i] - pads[i] - pads[i + spatial]));
    }
    let y = TensorType::new(ty.dtype, shape.clone());
    super::context::check_type(&y)?;
    let y = cx.append_loops(sparsec_loops::max_unpool(&ty, cx.ty(places), &y), &[x, places])?;
    let y = *y.first().ok_or_else(|| Fault::invalid("the operator has a result"))?;
    let Some(wanted) = node.optional(2) else { return Ok(vec![y]) };
    let wanted = cx.const_ints(wanted, "the shape of the result")?;
    let mut amounts = Vec::new();
    for (i, extent) in shape.iter().enumerate() {
        let rest = wanted.get(i).map_or(Dim::constant(0), |&w| Dim::constant(w) - extent.clone());
        amounts.push((0, cx.const_dim(&rest, "the shape of the result")?));
    }
    Ok(vec![cx.append(Op::Pad { amounts, value: 0.0 }, &[y])?])
}

fn attributes(cx: &Context, node: &Node<'_>, x: Operand, kind: PoolKind) -> Result<PoolAttrs, Fault> {
    attributes_of(node, window(cx, node, x)?.closed(cx, x)?, kind)
}

fn window(cx: &Context, node: &Node<'_>, x: Operand) -> Result<Window, Fault> {
    let kernel = node.ints("kernel_shape")?.ok_or_else(|| Fault::attribute("kernel_shape", "is missing"))?;
    Window::of(cx, node, x, kernel.to_vec())
}

fn attributes_of(node: &Node<'_>, window: Window, kind: PoolKind) -> Result<PoolAttrs, Fault> {
    let Window { kernel, strides, pads, dilations, .. } = window;
    let ceil = node.int_or("ceil_mode", 0)? != 0;
    Ok(PoolAttrs { kind, kernel, strides, pads, dilations, ceil })
}

fn pool(cx: &mut Context, node: &Node<'_>, kind: PoolKind) -> Results {
    let x = node.input(0)?;
    let window = window(cx, node, x)?;
    let (x, window) = match kind {
        // An integer has no negative infinity.
        PoolKind::Max if cx.dtype(x).is_float() => (window.surround(cx, x, f64::NEG_INFINITY)?, window),
        PoolKind::AverageWithPad => (window.surround(cx, x, 0.0)?, window),
        PoolKind::Max | PoolKind::Average => (x, window.closed(cx, x)?),
    };
    let attrs = attributes_of(node, window, kind)?;
    Ok(vec![pool_axes(cx, x, attrs)?])
}

/// A pooling over any number of axes: the last two, then the others one by one. A window is a box, so a maximum of maxima is its
/// maximum, and a mean of means its mean, whichever elements count.
fn pool_axes(cx: &mut Context, x: Operand, attrs: PoolAttrs) -> Result<Operand, Fault> {
    let shape = cx.shape(x);
    let Some(others) = shape.len().checked_sub(4).filter(|&n| n > 0) else {
        return cx.append(Op::Pool(attrs), &[x]);
    };
    // Also checks the attributes of all axes together.
    let result = sparsec_graph::infer::infer_pool(&attrs, cx.ty(x))?.shape;
    let part = |from: usize, to: usize| PoolAttrs {
        kind: attrs.kind,
        kernel: attrs.kernel[from..to].to_vec(),
        strides: attrs.strides[from..to].to_vec(),
        pads: attrs.pads[from..to].to_vec(),
        dilations: attrs.dilations[from..to].to_vec(),
        ceil: attrs.ceil,
    };
    let channels = Dim::product(&shape[1..2 + others]);
    let flat = vec![shape[0].clone(), channels, shape[2 + others].clone(), shape[3 + others].clone()];
    let mut y = cx.reshape(x, flat)?;
    y = cx.append(Op::Pool(part(others, others + 2)), &[y])?;
    for i in (0..others).rev() {
        // [n, axes before, axis, axes behind]
        let lead = Dim::product(&shape[1..2 + i]);
        let inner = Dim::product(&result[3 + i..]);
        y = cx.reshape(y, vec![shape[0].clone(), lead, shape[2 + i].clone(), inner])?;
        let mut attrs = part(i, i + 1);
        attrs.kernel.push(1);
        attrs.strides.push(1);
        attrs.dilations.push(1);
        attrs.pads.push((0, 0));
        y = cx.append(Op::Pool(attrs), &[y])?;
    }
    cx.reshape(y, result)
}

/// `GlobalAveragePool` and `GlobalMaxPool`: reductions over all spatial axes.
pub(super) fn global_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let kind = if node.proto.op_type() == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    let rank = cx.rank(x);
    if rank < 3 {
        return Err(Fault::invalid("the operand has no spatial dimensions"));
    }
    Ok(vec![cx.append(Op::Reduce { kind, axes: (2..rank).collect(), keep: true }, &[x])?])
}
