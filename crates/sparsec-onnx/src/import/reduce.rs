//! Reductions over axes.

use sparsec_graph::{BinaryOp, DType, Dim, Op, ReduceKind, TensorType, UnaryOp};

use super::context::{Context, Operand};
use super::node::{Node, axes};
use super::symbolic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Which axes, and whether they stay. Newer operator sets pass the axes as an input.
struct Over {
    axes: Vec<usize>,
    keep: bool,
    /// Nothing is reduced at all.
    nothing: bool,
}

fn over(cx: &Context, node: &Node<'_>, x: Operand) -> Result<Over, Fault> {
    let rank = cx.rank(x);
    let list = node.ints_input_or_attribute(cx, 1, "axes")?.unwrap_or_default();
    let keep = node.int_or("keepdims", 1)? != 0;
    if !list.is_empty() {
        return Ok(Over { axes: axes(&list, rank)?, keep, nothing: false });
    }
    let nothing = node.int_or("noop_with_empty_axes", 0)? != 0;
    Ok(Over { axes: (0..rank).collect(), keep, nothing })
}

/// The reductions that the graph has itself.
pub(super) fn reduce(cx: &mut Context, node: &Node<'_>) -> Results {
    let kind = match node.proto.op_type() {
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Prod,
        "ReduceSum" => ReduceKind::Sum,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        other => return Err(Fault::unsupported(format!("the operator {other}"))),
    };
    let mut x = node.input(0)?;
    let over = over(cx, node, x)?;
    if cx.dtype(x) == DType::Bool && matches!(kind, ReduceKind::Max | ReduceKind::Min) {
        x = cx.cast(x, DType::U8)?;
        let reduced = cx.append(Op::Reduce { kind, axes: over.axes, keep: over.keep }, &[x])?;
        return Ok(vec![cx.cast(reduced, DType::Bool)?]);
    }
    if let Some(result) = of_nothing(cx, kind, x, &over)? {
        return Ok(vec![result]);
    }
    if over.nothing || over.axes.is_empty() {
        // The element-wise part of the reduction remains.
        return Ok(vec![match kind {
            ReduceKind::SumSquare => cx.append(Op::Binary(BinaryOp::Mul), &[x, x])?,
            ReduceKind::L1 | ReduceKind::L2 => cx.append(Op::Unary(UnaryOp::Abs), &[x])?,
            _ => x,
        }]);
    }
    if let Some(total) = known(cx, kind, x, &over) {
        let shape = if over.keep { vec![Dim::constant(1)] } else { Vec::new() };
        return Ok(vec![cx.add_ints(TensorType::new(cx.dtype(x), shape), vec![total])?]);
    }
    let truth = cx.dtype(x) == DType::Bool && matches!(kind, ReduceKind::Max | ReduceKind::Min);
    let x = if truth { cx.append(Op::Cast(DType::U8), &[x])? } else { x };
    let result = cx.append(Op::Reduce { kind, axes: over.axes, keep: over.keep }, &[x])?;
    Ok(vec![if truth { cx.append(Op::Cast(DType::Bool), &[result])? } else { result }])
}

/// The largest or smallest of no elements: what all others are above or below.
fn of_nothing(cx: &mut Context, kind: ReduceKind, x: Operand, over: &Over) -> Result<Option<Operand>, Fault> {
    let value = match kind {
        ReduceKind::Max => f64::NEG_INFINITY,
        ReduceKind::Min => f64::INFINITY,
        _ => return Ok(None),
    };
    let shape = cx.shape(x);
    if over.nothing || !over.axes.iter().any(|&a| shape[a].is(0)) {
        return Ok(None);
    }
    let left = |(i, d): (usize, Dim)| match over.axes.contains(&i) {
        true => over.keep.then(|| Dim::constant(1)),
        false => Some(d),
    };
    let result: Vec<Dim> = shape.into_iter().enumerate().filter_map(left).collect();
    // Of integers, the ends of the type: conversions to them saturate.
    let value = cx.scalar(cx.dtype(x), value);
    cx.append(Op::Expand(result), &[value]).map(Some)
}

/// The reduction of a vector of known integers, as models use it to count elements.
fn known(cx: &Context, kind: ReduceKind, x: Operand, over: &Over) -> Option<Dim> {
    if cx.rank(x) != 1 || over.axes != [0] {
        return None;
    }
    let ints = cx.ints(x).filter(|ints| ints.len() <= 16 && !ints.is_empty())?;
    ints.iter().skip(1).try_fold(ints.first()?.clone(), |total, d| {
        let tame =
            symbolic::is_tame(&total) && symbolic::is_tame(d) && total.terms().count() * d.terms().count() <= 256;
        match kind {
            _ if !tame => None,
            ReduceKind::Prod => Some(total * d.clone()),
            ReduceKind::Sum => Some(total + d.clone()),
            ReduceKind::Max => Some(symbolic::max(&total, d)),
            ReduceKind::Min => Some(symbolic::min(&total, d)),
            _ => None,
        }
    })
}

/// `ReduceLogSum`: the logarithm of the sum.
pub(super) fn log_sum(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let over = over(cx, node, x)?;
    let sum = match over.nothing || over.axes.is_empty() {
        true => x,
        false => cx.append(Op::Reduce { kind: ReduceKind::Sum, axes: over.axes, keep: over.keep }, &[x])?,
    };
    Ok(vec![cx.append(Op::Unary(UnaryOp::Log), &[sum])?])
}

/// `ReduceLogSumExp`: `max + log(sum(exp(x - max)))`, which can't overflow.
pub(super) fn log_sum_exp(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let over = over(cx, node, x)?;
    if over.nothing || over.axes.is_empty() {
        return Ok(vec![x]);
    }
    if let Some(result) = of_nothing(cx, ReduceKind::Max, x, &over)? {
        return Ok(vec![result]);
    }
    let (shifted, max) = shift_by_max(cx, x, &over.axes)?;
    let exp = cx.append(Op::Unary(UnaryOp::Exp), &[shifted])?;
    let sum = cx.append(Op::Reduce { kind: ReduceKind::Sum, axes: over.axes.clone(), keep: true }, &[exp])?;
    let log = cx.append(Op::Unary(UnaryOp::Log), &[sum])?;
    let mut result = cx.append(Op::Binary(BinaryOp::Add), &[log, max])?;
    if !over.keep {
        let shape = cx.shape(x).into_iter().enumerate().filter(|(i, _)| !over.axes.contains(i)).map(|(_, d)| d);
        result = cx.append(Op::Reshape(shape.collect()), &[result])?;
    }
    Ok(vec![result])
}

/// `x - max(x)` over axes, and the maximum.
pub(super) fn shift_by_max(cx: &mut Context, x: Operand, axes: &[usize]) -> Result<(Operand, Operand), Fault> {
    let max = cx.append(Op::Reduce { kind: ReduceKind::Max, axes: axes.to_vec(), keep: true }, &[x])?;
    Ok((cx.append(Op::Binary(BinaryOp::Sub), &[x, max])?, max))
}
