//! The inverse tangent as arithmetic.
//!
//! `atan(u) = pi/2 - atan(1/u)` brings arguments to at most 1, and `atan(u) = pi/4 + atan((u - 1) / (u + 1))` to at most
//! `tan(pi/8)`, where a polynomial in the square follows `atan(u) / u`.

use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp};

use crate::context::Context;

/// `atan(u) / u` by powers of `u^2` for `u` up to `tan(pi/8)`, interpolated at Chebyshev's points: the relative error is
/// below `3e-16`.
const SERIES: [f64; 11] = [
    1.0,
    -0.333_333_333_333_284_4,
    0.199_999_999_988_556_7,
    -0.142_857_141_810_155_7,
    0.111_111_061_818_847_2,
    -0.090_907_731_052_014_5,
    0.076_899_538_914_657_9,
    -0.066_402_371_134_211_4,
    0.056_883_647_299_283_2,
    -0.043_480_940_623_627_8,
    0.021_135_853_930_415_7,
];

/// `atan(x)`; NaN stays NaN.
pub(crate) fn atan(c: &mut Context, x: Expr, s: Scalar) -> Expr {
    let number = |v: f64| Expr::Float(v, s);
    let mut bind = |name: &str, value: Expr| c.bind(name, Type::scalar(s), value);
    let size = bind("size", Expr::unary(UnaryOp::Abs, x.clone()));
    let is_large = Expr::compare(CompareOp::Gt, size.clone(), number(1.0));
    let inverse = Expr::binary(BinaryOp::Div, number(1.0), size.clone());
    let folded = bind("folded", Expr::select(is_large.clone(), inverse, size));
    let is_middle = Expr::compare(CompareOp::Gt, folded.clone(), number(std::f64::consts::SQRT_2 - 1.0));
    let turned = Expr::binary(BinaryOp::Div, folded.clone() - number(1.0), folded.clone() + number(1.0));
    let u = bind("u", Expr::select(is_middle.clone(), turned, folded));
    let z = bind("z", u.clone() * u.clone());
    let [rest @ .., last] = SERIES;
    let series = rest.iter().rev().fold(number(last), |sum, &c| Expr::fma(sum, z.clone(), number(c)));
    let offset = Expr::select(is_middle, number(std::f64::consts::FRAC_PI_4), number(0.0));
    let angle = bind("angle", Expr::fma(series, u, offset));
    let angle = Expr::select(is_large, number(std::f64::consts::FRAC_PI_2) - angle.clone(), angle);
    let is_negative = Expr::compare(CompareOp::Lt, x, number(0.0));
    let angle = bind("angle", angle);
    Expr::select(is_negative, Expr::unary(UnaryOp::Neg, angle.clone()), angle)
}
