//! Operators that walk along lines or matrices with something in hand: running sums, reversed sequences, determinants.

use super::context::{Context, Operand};
use super::node::{Node, axis};
use super::scatter::widen;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `CumSum`.
pub(super) fn cum_sum(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let along = match cx.const_ints(node.input(1)?, "the axis")?.as_slice() {
        &[along] => axis(along, cx.rank(x))?,
        _ => return Err(Fault::invalid("the axis is not one number")),
    };
    let dtype = cx.dtype(x);
    let x = widen(cx, x)?;
    let (exclusive, reverse) = (node.int_or("exclusive", 0)? != 0, node.int_or("reverse", 0)? != 0);
    let spec = sparsec_loops::cumulative_sum(cx.ty(x), along, exclusive, reverse);
    let results = cx.append_loops(spec, &[x])?;
    results.into_iter().map(|y| cx.cast(y, dtype)).collect()
}

/// `ReverseSequence`.
pub(super) fn reverse_sequence(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, lengths) = (node.input(0)?, node.input(1)?);
    let rank = cx.rank(x);
    let (batch, time) = (axis(node.int_or("batch_axis", 1)?, rank)?, axis(node.int_or("time_axis", 0)?, rank)?);
    if batch.max(time) != 1 || batch == time {
        return Err(Fault::invalid(format!("batches are axis {batch}, time is axis {time}")));
    }
    cx.append_loops(sparsec_loops::reverse_sequence(cx.ty(x), cx.ty(lengths), batch == 0), &[x, lengths])
}

/// `Det`.
pub(super) fn det(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let dtype = cx.dtype(x);
    let square = matches!(cx.shape(x).as_slice(), [.., rows, columns] if rows == columns);
    if !square || !dtype.is_float() {
        return Err(Fault::invalid(format!("{} is no square matrix of floating-point numbers", cx.ty(x))));
    }
    let x = widen(cx, x)?;
    let mut results = cx.append_loops(sparsec_loops::determinant(cx.ty(x)), &[x])?;
    results.truncate(1);
    results.into_iter().map(|y| cx.cast(y, dtype)).collect()
}
