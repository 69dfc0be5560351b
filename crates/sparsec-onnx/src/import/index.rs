//! Operators that compare indices: triangles, diagonals, one-hot vectors.

use sparsec_graph::{BinaryOp, DType, Dim, ReduceKind};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// Column less row of a matrix of these extents, `i64`.
pub(super) fn diagonals(cx: &mut Context, rows: &Dim, columns: &Dim) -> Result<Operand, Fault> {
    let row = cx.iota(DType::I64, rows, 2, 0)?;
    let column = cx.iota(DType::I64, columns, 2, 1)?;
    cx.binary(BinaryOp::Sub, column, row)
}

/// `Trilu`: what is above the diagonal of number `k`, with it, or below.
pub(super) fn trilu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let [.., rows, columns] = shape.as_slice() else {
        return Err(Fault::invalid("the operand must have at least 2 dimensions"));
    };
    let k = match node.optional(1) {
        Some(k) => cx.reshape(k, Vec::new())?,
        None => cx.int_scalar(0),
    };
    let op = if node.int_or("upper", 1)? != 0 { BinaryOp::GreaterEqual } else { BinaryOp::LessEqual };
    let place = diagonals(cx, rows, columns)?;
    let kept = cx.binary(op, place, k)?;
    Ok(vec![cx.select_or(kept, x, 0.0)?])
}

/// `EyeLike`: ones on the diagonal of number `k`.
pub(super) fn eye_like(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let dtype = match node.int("dtype")? {
        Some(number) => tensor::dtype(i32::try_from(number).unwrap_or(-1))?,
        None => cx.dtype(x),
    };
    let shape = cx.shape(x);
    let [rows, columns] = shape.as_slice() else { return Err(Fault::invalid("the operand must be a matrix")) };
    let k = cx.int_scalar(node.int_or("k", 0)?);
    let place = diagonals(cx, rows, columns)?;
    let ones = cx.binary(BinaryOp::Equal, place, k)?;
    Ok(vec![cx.cast(ones, dtype)?])
}

/// `OneHot`: a new axis, on which one index has the second of the values, and all others have the first.
pub(super) fn one_hot(cx: &mut Context, node: &Node<'_>) -> Results {
    let (indices, values) = (node.input(0)?, node.input(2)?);
    let rank = cx.rank(indices) + 1;
    let place = axis(node.int_or("axis", -1)?, rank)?;
    let depth = node.input(1)?;
    let depth = match cx.ints(depth).as_deref() {
        Some([depth]) => depth.clone(),
        _ => {
            let depth = cx.number(depth).ok_or_else(|| cx.unresolved(depth, "the depth"))?;
            Dim::constant(depth as i64)
        }
    };
    let indices = cx.cast(indices, DType::I64)?;
    let indices = cx.insert_axes(indices, &[place])?;
    let numbers = cx.iota(DType::I64, &depth, rank, place)?;
    let extent = cx.int_vector(vec![depth])?;
    let from_end = cx.binary(BinaryOp::Sub, numbers, extent)?;
    let from_start = cx.binary(BinaryOp::Equal, indices, numbers)?;
    let from_end = cx.binary(BinaryOp::Equal, indices, from_end)?;
    let is_hot = cx.binary(BinaryOp::Or, from_start, from_end)?;
    let off = cx.element(values, 0)?;
    let on = cx.element(values, 1)?;
    Ok(vec![cx.select(is_hot, on, off)?])
}

/// `Hardmax`: 1 at the first of the largest elements along an axis, 0 elsewhere. Before operator set 13 over all axes from
/// that one on.
pub(super) fn hardmax(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let flattens = node.opset < 13;
    let first = axis(node.int_or("axis", if flattens { 1 } else { -1 })?, shape.len())?;
    let (mut y, mut along) = (x, first);
    if flattens {
        let (outer, inner) = shape.split_at(first);
        (y, along) = (cx.reshape(x, vec![Dim::product(outer), Dim::product(inner)])?, 1);
    }
    let max = cx.reduce(ReduceKind::Max, y, &[along])?;
    let is_max = cx.binary(BinaryOp::Equal, y, max)?;
    let (extent, rank) = (cx.shape(y)[along].clone(), cx.rank(y));
    let numbers = cx.iota(DType::I64, &extent, rank, along)?;
    let places = cx.select_or(is_max, numbers, i64::MAX as f64)?;
    let place = cx.reduce(ReduceKind::Min, places, &[along])?;
    let hot = cx.binary(BinaryOp::Equal, numbers, place)?;
    let result = cx.cast(hot, cx.dtype(x))?;
    Ok(vec![cx.reshape(result, shape)?])
}
