//! Element-wise operators and broadcasting.

use super::scalar::{accepts_binary, accepts_unary};
use super::{Cx, InferError, infer_scalar_type};
use crate::{BinaryOp, DType, Dim, ScalarExpr, TensorType, UnaryOp};

/// Broadcasts shapes together (numpy rules). A symbol agrees with 1 and with the same expression.
pub(super) fn broadcast(cx: &Cx<'_>, shapes: &[&[Dim]]) -> Result<Vec<Dim>, InferError> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut result = vec![Dim::constant(1); rank];
    for shape in shapes {
        let offset = rank - shape.len();
        for (axis, extent) in shape.iter().enumerate() {
            let slot = &mut result[offset + axis];
            if slot.is(1) {
                slot.clone_from(extent);
            } else if !extent.is(1) && slot != extent {
                let what = format!("axis {} of the broadcast shape", offset + axis);
                return Err(InferError::extents(cx.op, &what, slot, extent));
            }
        }
    }
    Ok(result)
}

pub(super) fn unary(cx: &Cx<'_>, op: UnaryOp) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    let expected = match op {
        UnaryOp::Not => "bool or an integer type",
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu => "a number type",
        _ => "a floating-point type",
    };
    cx.want(0, x, expected, accepts_unary(op, x.dtype))?;
    Ok(x.clone())
}

pub(super) fn binary(cx: &Cx<'_>, op: BinaryOp) -> Result<TensorType, InferError> {
    let [x, y] = cx.exactly()?;
    cx.same_dtype(x, y)?;
    let expected = match op {
        BinaryOp::And | BinaryOp::Or => "bool or an integer type",
        BinaryOp::Xor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => "an integer type",
        _ => "a number type",
    };
    cx.want(0, x, expected, accepts_binary(op, x.dtype))?;
    let dtype = if op.is_comparison() { DType::Bool } else { x.dtype };
    Ok(TensorType::new(dtype, broadcast(cx, &[&x.shape, &y.shape])?))
}

pub(super) fn select(cx: &Cx<'_>) -> Result<TensorType, InferError> {
    let [c, x, y] = cx.exactly()?;
    cx.want(0, c, "bool", c.dtype == DType::Bool)?;
    cx.same_dtype(x, y)?;
    Ok(TensorType::new(x.dtype, broadcast(cx, &[&c.shape, &x.shape, &y.shape])?))
}

pub(super) fn clip(cx: &Cx<'_>, lo: f64, hi: f64) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    cx.numeric(0, x)?;
    if lo.is_nan() || hi.is_nan() {
        return Err(cx.attribute("a bound is NaN"));
    }
    Ok(x.clone())
}

pub(super) fn cast(cx: &Cx<'_>, to: DType) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    Ok(TensorType::new(to, x.shape.clone()))
}

pub(super) fn map(cx: &Cx<'_>, expr: &ScalarExpr) -> Result<TensorType, InferError> {
    if cx.operands.is_empty() {
        return Err(cx.arity("1 or more"));
    }
    let dtypes: Vec<DType> = cx.operands.iter().map(|t| t.dtype).collect();
    let shapes: Vec<&[Dim]> = cx.operands.iter().map(|t| t.shape.as_slice()).collect();
    Ok(TensorType::new(infer_scalar_type(expr, None, &dtypes)?, broadcast(cx, &shapes)?))
}
