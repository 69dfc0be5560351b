//! Reductions and normalisations.

use super::{Cx, InferError};
use crate::{Dim, ReduceKind, TensorType};

pub(super) fn reduce(cx: &Cx<'_>, kind: ReduceKind, axes: &[usize], keep: bool) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    cx.numeric(0, x)?;
    if matches!(kind, ReduceKind::Mean | ReduceKind::L2) {
        cx.float(0, x)?;
    }
    if !axes.is_sorted_by(|a, b| a < b) {
        return Err(cx.attribute(format!("axes {axes:?} are not ascending")));
    }
    for &axis in axes {
        let extent = cx.axis(axis, x)?;
        if extent.is(0) && matches!(kind, ReduceKind::Max | ReduceKind::Min | ReduceKind::Mean) {
            return Err(cx.attribute(format!("`{kind}` of no elements (axis {axis} of {x})")));
        }
    }
    let mut shape = Vec::new();
    for (axis, extent) in x.shape.iter().enumerate() {
        match (axes.contains(&axis), keep) {
            (false, _) => shape.push(extent.clone()),
            (true, true) => shape.push(Dim::constant(1)),
            (true, false) => {}
        }
    }
    Ok(TensorType::new(x.dtype, shape))
}

pub(super) fn softmax(cx: &Cx<'_>, axis: usize) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    cx.float(0, x)?;
    cx.axis(axis, x)?;
    Ok(x.clone())
}

pub(super) fn layer_norm(cx: &Cx<'_>, axis: usize, axes: usize, epsilon: f64) -> Result<TensorType, InferError> {
    let [x, scale, bias] = cx.exactly()?;
    cx.float(0, x)?;
    check_epsilon(cx, epsilon)?;
    let normalised = axis.checked_add(axes).and_then(|end| x.shape.get(axis..end));
    let Some(normalised) = normalised.filter(|n| !n.is_empty()) else {
        return Err(cx.attribute(format!("axes {axis} and on ({axes} of them) of an operand of type {x}")));
    };
    if axes != 1 && axis + axes != x.rank() {
        return Err(cx.attribute("several axes are normalised only where they are the last ones"));
    }
    for (operand, ty) in [(1, scale), (2, bias)] {
        cx.same_dtype(x, ty)?;
        if ty.rank() != axes {
            return Err(InferError::Rank { op: cx.op, operand, expected: axes.to_string(), found: ty.rank() });
        }
        for (a, b) in normalised.iter().zip(&ty.shape) {
            cx.same_extent("a normalised axis", a, b)?;
        }
    }
    Ok(x.clone())
}

pub(super) fn batch_norm(cx: &Cx<'_>, epsilon: f64) -> Result<TensorType, InferError> {
    let [x, rest @ ..] = cx.exactly::<5>()?;
    cx.float(0, x)?;
    check_epsilon(cx, epsilon)?;
    let channels = cx.axis(1, x)?;
    for (i, ty) in rest.into_iter().enumerate() {
        cx.same_dtype(x, ty)?;
        let [extent] = ty.shape.as_slice() else {
            return Err(InferError::Rank { op: cx.op, operand: i + 1, expected: "1".into(), found: ty.rank() });
        };
        cx.same_extent("the channel axis", &channels, extent)?;
    }
    Ok(x.clone())
}

fn check_epsilon(cx: &Cx<'_>, epsilon: f64) -> Result<(), InferError> {
    if epsilon.is_finite() && epsilon >= 0.0 { Ok(()) } else { Err(cx.attribute(format!("epsilon {epsilon}"))) }
}
