//! The remainder of floating-point numbers.

use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp};

use crate::context::Context;

/// `x - y trunc(x / y)`, with the sign of `x`: exact where the quotient is below the type's number of exact integers
/// (`2^24` in `f32`), which is where a remainder means anything.
///
/// The quotient is rounded, so it may be an integer too far; then the remainder is off by `y`, which is seen from its sign
/// or its size.
pub(crate) fn remainder(c: &mut Context, x: Expr, y: Expr, s: Scalar) -> Expr {
    let zero = || Expr::Float(0.0, s);
    let mut bind = |name: &str, value: Expr| c.bind(name, Type::scalar(s), value);
    // Both without their signs: the remainder has that of `x`, and that of `y` has no influence.
    let a = bind("a", Expr::unary(UnaryOp::Abs, x.clone()));
    let b = bind("b", Expr::unary(UnaryOp::Abs, y));
    let quotient = Expr::unary(UnaryOp::Floor, Expr::binary(BinaryOp::Div, a.clone(), b.clone()));
    let quotient = bind("quotient", quotient);
    let r = bind("r", Expr::fma(Expr::unary(UnaryOp::Neg, quotient), b.clone(), a.clone()));
    let below = Expr::compare(CompareOp::Lt, r.clone(), zero());
    let r = bind("r", Expr::select(below, r.clone() + b.clone(), r));
    let above = Expr::compare(CompareOp::Ge, r.clone(), b.clone());
    let r = bind("r", Expr::select(above, r.clone() - b.clone(), r));
    // By an infinity nothing is divided.
    let whole = Expr::compare(CompareOp::Lt, a.clone(), b.clone());
    let r = bind("r", Expr::select(whole, a, r));
    Expr::select(Expr::compare(CompareOp::Lt, x, zero()), Expr::unary(UnaryOp::Neg, r.clone()), r)
}
