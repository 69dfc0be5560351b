//! Padding by amounts that extents of the inputs decide: what fills a sound up to whole frames, or an image up to whole windows.
//!
//! An amount that may turn out negative crops, as a negative amount in a file does.

use sparsec_graph::{BinaryOp, DType, Dim, Op, SliceAxis};

use super::super::context::{Context, Operand};
use super::super::symbolic::{is_nonnegative, max};
use crate::error::Fault;

/// Elements before and after, per axis.
pub(super) type Amounts = Vec<(Dim, Dim)>;

/// Where the elements come from that do not lie in the tensor.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    /// They are the nearest element.
    Edge,
    /// They mirror the tensor, whose outermost elements are not repeated.
    Reflect,
    /// They are those of the other end.
    Wrap,
}

/// `x` between constants.
pub(super) fn constant(cx: &mut Context, x: Operand, amounts: &Amounts, value: f64) -> Result<Operand, Fault> {
    let zero = Dim::constant(0);
    let dtype = cx.dtype(x);
    let mut result = x;
    for (axis, (before, after)) in amounts.iter().enumerate() {
        let mut fill = |amount: &Dim| -> Result<Option<Operand>, Fault> {
            let amount = max(&zero, amount);
            if amount.is(0) {
                return Ok(None);
            }
            let mut shape = cx.shape(result);
            shape[axis] = amount;
            let number = cx.scalar(dtype, value);
            cx.append(Op::Expand(shape), &[number]).map(Some)
        };
        let (first, last) = (fill(before)?, fill(after)?);
        let parts: Vec<Operand> = first.into_iter().chain([result]).chain(last).collect();
        result = if parts.len() > 1 { cx.append(Op::Concat { axis }, &parts)? } else { result };
        if !is_nonnegative(before) || !is_nonnegative(after) {
            result = cropped(cx, result, axis, &cx.shape(x)[axis], before, after)?;
        }
    }
    Ok(result)
}

/// What is left of an axis of `extent` elements and the fill around it.
fn cropped(
    cx: &mut Context,
    x: Operand,
    axis: usize,
    extent: &Dim,
    before: &Dim,
    after: &Dim,
) -> Result<Operand, Fault> {
    let zero = Dim::constant(0);
    let whole = |d: &Dim| SliceAxis { start: zero.clone(), len: d.clone(), step: 1 };
    let mut parts: Vec<SliceAxis> = cx.shape(x).iter().map(whole).collect();
    parts[axis].start = max(&zero, &(zero.clone() - before.clone()));
    parts[axis].len = extent.clone() + before.clone() + after.clone();
    cx.append(Op::Slice(parts), &[x])
}

/// `x` between elements of itself.
pub(super) fn indexed(cx: &mut Context, x: Operand, amounts: &Amounts, mode: Mode) -> Result<Operand, Fault> {
    let shape = cx.shape(x);
    let mut result = x;
    for (axis, (before, after)) in amounts.iter().enumerate().filter(|(_, (b, a))| !b.is(0) || !a.is(0)) {
        let extent = &shape[axis];
        let index = cx.iota(DType::I64, &(before.clone() + extent.clone() + after.clone()), 1, 0)?;
        let index = with(cx, BinaryOp::Sub, index, before)?;
        let index = match mode {
            Mode::Edge => index,
            Mode::Wrap => remainder(cx, index, extent)?,
            Mode::Reflect => {
                let one = Dim::constant(1);
                let period = max(&one, &(Dim::constant(2) * (extent.clone() - one.clone())));
                let index = remainder(cx, index, &period)?;
                let period = cx.int_vector(vec![period])?;
                let mirrored = cx.binary(BinaryOp::Sub, period, index)?;
                cx.binary(BinaryOp::Min, index, mirrored)?
            }
        };
        let index = with(cx, BinaryOp::Max, index, &Dim::constant(0))?;
        let index = with(cx, BinaryOp::Min, index, &(extent.clone() - Dim::constant(1)))?;
        result = cx.append(Op::Gather { axis }, &[result, index])?;
    }
    Ok(result)
}

fn with(cx: &mut Context, op: BinaryOp, x: Operand, y: &Dim) -> Result<Operand, Fault> {
    let y = cx.int_vector(vec![y.clone()])?;
    cx.binary(op, x, y)
}

/// The remainder that is not negative.
fn remainder(cx: &mut Context, x: Operand, by: &Dim) -> Result<Operand, Fault> {
    let signed = with(cx, BinaryOp::Rem, x, by)?;
    let above = with(cx, BinaryOp::Add, signed, by)?;
    with(cx, BinaryOp::Rem, above, by)
}
