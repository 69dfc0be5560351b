//! Operators that move elements without computing.

use super::{Cx, InferError, MAX_RANK};
use crate::{DType, Dim, SliceAxis, TensorType};

pub(super) fn reshape(cx: &Cx<'_>, shape: &[Dim]) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    let ty = TensorType::new(x.dtype, shape);
    cx.check_size(&ty)?;
    let (from, to) = (x.elements(), ty.elements());
    // A quotient may be exact though the expressions differ (`2*floordiv(n, 2)` and `n`): checked when it is bound.
    let undecided = !(from.clone() - to.clone()).is_polynomial();
    if from != to && !undecided {
        return Err(InferError::extents(cx.op, "the number of elements", &from, &to));
    }
    Ok(ty)
}

pub(super) fn transpose(cx: &Cx<'_>, perm: &[usize]) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    let mut sorted = perm.to_vec();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..x.rank()) {
        return Err(cx.attribute(format!("{perm:?} is no permutation of the axes of {x}")));
    }
    Ok(TensorType::new(x.dtype, perm.iter().map(|&p| x.shape[p].clone()).collect::<Vec<_>>()))
}

pub(super) fn expand(cx: &Cx<'_>, shape: &[Dim]) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    if x.rank() > shape.len() {
        return Err(cx.attribute(format!("{x} has more than {} dimensions", shape.len())));
    }
    for (from, to) in x.shape.iter().rev().zip(shape.iter().rev()) {
        if !from.is(1) {
            cx.same_extent("an expanded axis", from, to)?;
        }
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn slice(cx: &Cx<'_>, axes: &[SliceAxis]) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    if axes.len() != x.rank() {
        return Err(cx.attribute(format!("{} ranges for an operand of type {x}", axes.len())));
    }
    for (axis, (range, extent)) in axes.iter().zip(&x.shape).enumerate() {
        let bad = |reason: &str| {
            let SliceAxis { start, len, step } = range;
            Err(cx.attribute(format!("{reason}: ({start}, {len}, {step}) on axis {axis} of extent {extent}")))
        };
        if range.step == 0 {
            return bad("a step of 0");
        }
        let (start, len) = (range.start.as_const(), range.len.as_const());
        if start.is_some_and(|s| s < 0) || len.is_some_and(|l| l < 0) {
            return bad("a negative start or length");
        }
        if let (Some(start), Some(len), Some(extent)) = (start, len, extent.as_const())
            && len > 0
        {
            let last = i128::from(start) + i128::from(len - 1) * i128::from(range.step);
            if start >= extent || !(0..i128::from(extent)).contains(&last) {
                return bad("a range outside the operand");
            }
        }
    }
    Ok(TensorType::new(x.dtype, axes.iter().map(|a| a.len.clone()).collect::<Vec<_>>()))
}

pub(super) fn concat(cx: &Cx<'_>, axis: usize) -> Result<TensorType, InferError> {
    let Some((first, rest)) = cx.operands.split_first() else {
        return Err(cx.arity("1 or more"));
    };
    let mut sum = cx.axis(axis, first)?;
    for (i, ty) in rest.iter().enumerate() {
        cx.same_dtype(first, ty)?;
        if ty.rank() != first.rank() {
            let expected = first.rank().to_string();
            return Err(InferError::Rank { op: cx.op, operand: i + 1, expected, found: ty.rank() });
        }
        for (other, (a, b)) in first.shape.iter().zip(&ty.shape).enumerate() {
            if other != axis {
                cx.same_extent(&format!("axis {other}"), a, b)?;
            }
        }
        sum = sum + ty.shape[axis].clone();
    }
    let mut ty = (*first).clone();
    ty.shape[axis] = sum;
    Ok(ty)
}

pub(super) fn gather(cx: &Cx<'_>, axis: usize) -> Result<TensorType, InferError> {
    let [x, index] = cx.exactly()?;
    cx.axis(axis, x)?;
    cx.want(1, index, "an integer type", index.dtype.is_int())?;
    let shape = [&x.shape[..axis], &index.shape, &x.shape[axis + 1..]].concat();
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn pad(cx: &Cx<'_>, amounts: &[(i64, i64)]) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    if amounts.len() != x.rank() {
        return Err(cx.attribute(format!("{} amounts for an operand of type {x}", amounts.len())));
    }
    let limit = -(1i64 << 40)..=1i64 << 40;
    let mut shape = Vec::with_capacity(amounts.len());
    for (&(before, after), extent) in amounts.iter().zip(&x.shape) {
        if !limit.contains(&before) || !limit.contains(&after) {
            return Err(cx.attribute(format!("amounts ({before}, {after})")));
        }
        shape.push(extent.clone() + Dim::constant(before + after));
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn shape_of(cx: &Cx<'_>, shape: &[Dim]) -> Result<TensorType, InferError> {
    let [] = cx.exactly()?;
    if shape.len() > MAX_RANK {
        return Err(cx.attribute(format!("more than {MAX_RANK} extents")));
    }
    Ok(TensorType::fixed(DType::I64, &[shape.len() as i64]))
}
