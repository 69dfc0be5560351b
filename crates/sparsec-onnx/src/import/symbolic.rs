//! Arithmetic on integers that are known as expressions over the symbols.
//!
//! Symbols are extents, so they are not negative. `None` always means that the result is not known, and the caller
//! computes it at run time instead.

use sparsec_graph::infer::broadcast_shapes;
use sparsec_graph::{BinaryOp, DType, Dim, TensorType};

use super::context::{Context, Operand};
use crate::error::Fault;

/// Whether an expression is at least 0 for every value of the symbols, as far as its terms tell.
pub(super) fn is_nonnegative(dim: &Dim) -> bool {
    dim.is_never_negative()
}

/// Whether `a <= b` for every value of the symbols, as far as the terms tell.
pub(super) fn is_at_most(a: &Dim, b: &Dim) -> bool {
    is_nonnegative(&(b.clone() - a.clone()))
}

/// The smaller of two, folded where the terms tell which it is.
pub(super) fn min(a: &Dim, b: &Dim) -> Dim {
    match (is_at_most(a, b), is_at_most(b, a)) {
        (true, _) => a.clone(),
        (_, true) => b.clone(),
        _ => a.minimum(b),
    }
}

/// The larger of two, folded where the terms tell which it is.
pub(super) fn max(a: &Dim, b: &Dim) -> Dim {
    match (is_at_most(a, b), is_at_most(b, a)) {
        (true, _) => b.clone(),
        (_, true) => a.clone(),
        _ => a.maximum(b),
    }
}

/// Whether arithmetic on this can't overflow.
pub(super) fn is_tame(dim: &Dim) -> bool {
    super::context::weight(dim) <= 256 && dim.terms().all(|(_, c)| c.unsigned_abs() < 1 << 31)
}

/// A binary operator on known integers; `None` where an operand or the result is not known.
pub(super) fn binary(cx: &mut Context, op: BinaryOp, x: Operand, y: Operand) -> Result<Option<Operand>, Fault> {
    let (tx, ty) = (cx.ty(x).clone(), cx.ty(y).clone());
    let (Some(a), Some(b)) = (cx.ints(x), cx.ints(y)) else { return Ok(None) };
    let bitwise = matches!(op, BinaryOp::And | BinaryOp::Or) && tx.dtype != DType::Bool;
    if tx.dtype != ty.dtype || bitwise {
        return Ok(None);
    }
    let shape = broadcast_shapes(op.name(), &[&tx.shape, &ty.shape])?;
    let (Some(left), Some(right)) = (broadcast(&a, &tx.shape, &shape), broadcast(&b, &ty.shape, &shape)) else {
        return Ok(None);
    };
    let values: Option<Vec<Dim>> = left.iter().zip(&right).map(|(a, b)| scalar(op, a, b)).collect();
    let dtype = if op.is_comparison() { DType::Bool } else { tx.dtype };
    values.map(|values| cx.add_ints(TensorType::new(dtype, shape), values)).transpose()
}

/// The remainder of known integers that has the sign of the divisor, which is one positive number.
pub(super) fn floored_remainder(cx: &mut Context, x: Operand, y: Operand) -> Result<Option<Operand>, Fault> {
    let (ty, divisor) = (cx.ty(x).clone(), cx.ints(y));
    let (Some(values), Some([divisor])) = (cx.ints(x), divisor.as_deref()) else { return Ok(None) };
    if divisor.as_const().is_none_or(|d| d <= 0) || !values.iter().all(is_tame) || cx.rank(y) > ty.rank() {
        return Ok(None);
    }
    let remainder = |a: &Dim| a.clone() - a.floor_div(divisor) * divisor.clone();
    let values = values.iter().map(remainder).collect();
    cx.add_ints(ty, values).map(Some)
}

/// `if c { x } else { y }` on known integers.
pub(super) fn select(cx: &mut Context, c: Operand, x: Operand, y: Operand) -> Result<Option<Operand>, Fault> {
    let types = [c, x, y].map(|v| cx.ty(v).clone());
    let [Some(c), Some(x), Some(y)] = [c, x, y].map(|v| cx.ints(v)) else { return Ok(None) };
    let shape = broadcast_shapes("where", &[&types[0].shape, &types[1].shape, &types[2].shape])?;
    let parts = [(&c, &types[0]), (&x, &types[1]), (&y, &types[2])].map(|(v, t)| broadcast(v, &t.shape, &shape));
    let [Some(c), Some(x), Some(y)] = parts else { return Ok(None) };
    let values: Option<Vec<Dim>> =
        c.iter().zip(x.into_iter().zip(y)).map(|(c, (x, y))| Some(if c.as_const()? != 0 { x } else { y })).collect();
    values.map(|values| cx.add_ints(TensorType::new(types[1].dtype, shape), values)).transpose()
}

/// Elements repeated to a shape; both shapes are constants.
pub(super) fn broadcast(values: &[Dim], from: &[Dim], to: &[Dim]) -> Option<Vec<Dim>> {
    let fixed = |shape: &[Dim]| shape.iter().map(|d| usize::try_from(d.as_const()?).ok()).collect::<Option<Vec<_>>>();
    let (from, to) = (fixed(from)?, fixed(to)?);
    let count = to.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n <= 1024)?;
    let lead = to.len().checked_sub(from.len())?;
    let place = |mut at: usize| {
        let (mut source, mut stride) = (0, 1);
        for (i, &extent) in to.iter().enumerate().rev() {
            let index = at % extent;
            at /= extent;
            if let Some(&own) = i.checked_sub(lead).and_then(|i| from.get(i)) {
                source += if own == 1 { 0 } else { index * stride };
                stride *= own;
            }
        }
        source
    };
    (0..count).map(|at| values.get(place(at)).cloned()).collect()
}

fn scalar(op: BinaryOp, a: &Dim, b: &Dim) -> Option<Dim> {
    let truth = |t: bool| Some(Dim::constant(i64::from(t)));
    match op {
        BinaryOp::Equal => equal(a, b).map(|t| Dim::constant(i64::from(t))),
        BinaryOp::And => truth(a.as_const()? != 0 && b.as_const()? != 0),
        BinaryOp::Or => truth(a.as_const()? != 0 || b.as_const()? != 0),
        BinaryOp::Less => less(a, b).and_then(truth),
        BinaryOp::GreaterEqual => less(a, b).and_then(|t| truth(!t)),
        BinaryOp::Greater => less(b, a).and_then(truth),
        BinaryOp::LessEqual => less(b, a).and_then(|t| truth(!t)),
        _ if !is_tame(a) || !is_tame(b) => None,
        BinaryOp::Add => Some(a.clone() + b.clone()),
        BinaryOp::Sub => Some(a.clone() - b.clone()),
        BinaryOp::Mul if a.terms().count() * b.terms().count() <= 256 => Some(a.clone() * b.clone()),
        BinaryOp::Div => divide(a, b),
        BinaryOp::Min => Some(min(a, b)),
        BinaryOp::Max => Some(max(a, b)),
        BinaryOp::Rem => match (a.as_const(), b.as_const()?) {
            (Some(a), b) => a.checked_rem(b).map(Dim::constant),
            // Of numbers that are not negative, how ever the remainder's sign is chosen.
            (None, b) => (b > 0 && is_nonnegative(a)).then(|| {
                let by = Dim::constant(b);
                a.clone() - a.floor_div(&by) * by
            }),
        },
        BinaryOp::Mul | BinaryOp::Pow | BinaryOp::Xor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => None,
    }
}

fn equal(a: &Dim, b: &Dim) -> Option<bool> {
    if a == b {
        return Some(true);
    }
    let one = Dim::constant(1);
    if let (Some(a), Some(b)) = (a.as_const(), b.as_const()) {
        return Some(a == b);
    }
    // An extent is never -1, whatever the symbols are.
    (is_at_most(&(a.clone() + one.clone()), b) || is_at_most(&(b.clone() + one), a)).then_some(false)
}

fn less(a: &Dim, b: &Dim) -> Option<bool> {
    if let (Some(a), Some(b)) = (a.as_const(), b.as_const()) {
        return Some(a < b);
    }
    match (is_at_most(&(a.clone() + Dim::constant(1)), b), is_at_most(b, a)) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// The quotient, truncated toward zero.
fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    if let (Some(a), Some(b)) = (a.as_const(), b.as_const()) {
        return a.checked_div(b).map(Dim::constant);
    }
    let positive = b.as_const().is_none_or(|b| b > 0);
    (positive && is_nonnegative(a) && is_nonnegative(b)).then(|| a.floor_div(b))
}
