//! One spelling for what can be spelled in several ways, so that later passes and the lowering see one. Contractions have
//! a pass of their own, [`crate::normalise_contractions`].
//!
//! | before | after |
//! |---|---|
//! | `c + x`, `c * x`, `min(c, x)`, `max(c, x)` | the constant on the right |
//! | `x - c`, `x / c` | `x + (-c)`, `x * (1 / c)` |
//! | `max(x, 0)`, `clip(x, 0, inf)` | `relu(x)` |
//! | `max(x, s)`, `min(x, s)`, `s` a scalar | `clip(x, s, inf)`, `clip(x, -inf, s)` |
//! | `clip(relu(x), lo, hi)`, `relu(clip(x, lo, hi))` | one clip |
//! | `x ^ 2`, `x ^ 0.5` | `x * x`, `sqrt(x)` |
//! | a pool over whole images | a reduction over the spatial axes |
//!
//! `x * (1 / c)` differs from `x / c` by a unit in the last place at most, and not at all where `c` is a power of two.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, PoolAttrs, PoolKind, ReduceKind, UnaryOp, ValueId};

use crate::matching::{is_plain, is_single_use, plain, replace_node, scalar, unary_operand};
use crate::tensor::{from_f64, to_f64};
use crate::{PassError, PassStats};

/// Rewrites nodes to their canonical spelling, as the table in `canonicalise.rs` says.
///
/// # Errors
/// None on a verified graph.
pub fn canonicalise(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    loop {
        let before = stats.changed;
        for id in graph.topological_order() {
            if graph.contains(id) && is_plain(graph.node(id)) && rewrite(graph, id)? {
                stats.changed += 1;
            }
        }
        if stats.changed == before {
            return Ok(stats);
        }
    }
}

fn rewrite(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    match (&node.op, node.operands.as_slice()) {
        (Op::Binary(op), &[x, y]) => binary(graph, id, *op, x, y),
        (&Op::Clip { lo, hi }, &[x]) => clip(graph, id, x, lo, hi),
        (Op::Unary(UnaryOp::Relu), &[x]) => relu(graph, id, x),
        (Op::Pool(attrs), &[x]) => {
            let attrs = attrs.clone();
            global_pool(graph, id, x, &attrs)
        }
        _ => Ok(false),
    }
}

fn binary(graph: &mut Graph, id: NodeId, op: BinaryOp, x: ValueId, y: ValueId) -> Result<bool, PassError> {
    let is_constant = |v| graph.constant(v).is_some();
    if is_constant(x) && !is_constant(y) {
        let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::Min | BinaryOp::Max);
        if commutes {
            graph.set_operands(id, vec![y, x]);
        }
        return Ok(commutes);
    }
    if is_constant(x) || !is_constant(y) || !graph.ty(x).dtype.is_float() {
        return Ok(false);
    }
    let same_shape = graph.ty(x) == graph.ty(graph.node(id).result());
    let replacement = match (op, scalar(graph, y).filter(|_| same_shape)) {
        (BinaryOp::Max, Some(0.0)) => Some((Op::Unary(UnaryOp::Relu), vec![x])),
        (BinaryOp::Max, Some(lo)) if !lo.is_nan() => Some((Op::Clip { lo, hi: f64::INFINITY }, vec![x])),
        (BinaryOp::Min, Some(hi)) if !hi.is_nan() => Some((Op::Clip { lo: f64::NEG_INFINITY, hi }, vec![x])),
        (BinaryOp::Pow, Some(2.0)) => Some((Op::Binary(BinaryOp::Mul), vec![x, x])),
        (BinaryOp::Pow, Some(0.5)) => Some((Op::Unary(UnaryOp::Sqrt), vec![x])),
        (BinaryOp::Sub, _) => mapped(graph, y, |c| -c).map(|c| (Op::Binary(BinaryOp::Add), vec![x, c])),
        (BinaryOp::Div, _) if is_rounded(graph, id) => None,
        (BinaryOp::Div, _) => mapped(graph, y, |c| 1.0 / c).map(|c| (Op::Binary(BinaryOp::Mul), vec![x, c])),
        _ => None,
    };
    match replacement {
        Some((op, operands)) => replace_node(graph, id, op, &operands).map(|_| true),
        None => Ok(false),
    }
}

/// Whether the last bit of a result decides which integer comes of it: a quotient must then stay one. So must one that is
/// divided by, as the scale of a tensor that is quantised while the model runs: `round(x / ((max - min) / 255))`.
pub(crate) fn is_rounded(graph: &Graph, id: NodeId) -> bool {
    let result = graph.node(id).result();
    graph.users(result).into_iter().any(|user| match &graph.node(user).op {
        Op::Unary(UnaryOp::Round | UnaryOp::Floor | UnaryOp::Ceil) => true,
        Op::Cast(to) => !to.is_float(),
        Op::Binary(BinaryOp::Div) => graph.node(user).operands.get(1) == Some(&result),
        _ => false,
    })
}

/// A new constant of `f` of each element; `None` where one is not finite.
fn mapped(graph: &mut Graph, value: ValueId, f: impl Fn(f64) -> f64) -> Option<ValueId> {
    let constant = graph.constant(value)?;
    let values: Vec<f64> = to_f64(&constant.data)?.into_iter().map(f).collect();
    let (name, dtype, shape) = (constant.name.clone(), constant.data.dtype, constant.data.shape.clone());
    if values.iter().any(|v| !v.is_finite()) {
        return None;
    }
    let data = from_f64(dtype, &shape, values)?;
    // A reciprocal may overflow or vanish only once it is rounded to the element type.
    if to_f64(&data)?.iter().any(|v| !v.is_finite() || v.is_subnormal()) {
        return None;
    }
    Some(graph.add_constant(name, data))
}

fn clip(graph: &mut Graph, id: NodeId, x: ValueId, lo: f64, hi: f64) -> Result<bool, PassError> {
    if !graph.ty(x).dtype.is_float() {
        return Ok(false);
    }
    let replacement = if lo == 0.0 && hi == f64::INFINITY {
        Some((Op::Unary(UnaryOp::Relu), x))
    } else {
        unary_operand(graph, x, UnaryOp::Relu)
            .filter(|_| is_single_use(graph, x) && lo <= hi && hi >= 0.0)
            .map(|inner| (Op::Clip { lo: lo.max(0.0), hi }, inner))
    };
    match replacement {
        Some((op, x)) => replace_node(graph, id, op, &[x]).map(|_| true),
        None => Ok(false),
    }
}

fn relu(graph: &mut Graph, id: NodeId, x: ValueId) -> Result<bool, PassError> {
    let Some(inner) = plain(graph, x).filter(|_| is_single_use(graph, x)) else { return Ok(false) };
    match (&inner.op, inner.operands.as_slice()) {
        (&Op::Clip { lo, hi }, &[x]) => {
            let op = Op::Clip { lo: lo.max(0.0), hi: hi.max(0.0) };
            replace_node(graph, id, op, &[x]).map(|_| true)
        }
        _ => Ok(false),
    }
}

/// A pool whose window is the whole image is a reduction over the spatial axes that keeps them, with extent 1.
fn global_pool(graph: &mut Graph, id: NodeId, x: ValueId, attrs: &PoolAttrs) -> Result<bool, PassError> {
    let ty = graph.ty(x);
    let axes: Vec<usize> = (2..ty.rank()).collect();
    let whole = attrs.kernel.len() == axes.len()
        && axes.iter().zip(&attrs.kernel).all(|(&axis, &k)| ty.shape[axis].is(k))
        && attrs.pads.iter().all(|&p| p == (0, 0))
        && attrs.dilations.iter().all(|&d| d == 1);
    if !whole || axes.is_empty() {
        return Ok(false);
    }
    let kind = match attrs.kind {
        PoolKind::Max => ReduceKind::Max,
        PoolKind::Average | PoolKind::AverageWithPad => ReduceKind::Mean,
    };
    replace_node(graph, id, Op::Reduce { kind, axes, keep: true }, &[x]).map(|_| true)
}
