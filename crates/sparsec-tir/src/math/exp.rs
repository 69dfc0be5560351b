//! `e^x` and `tanh`.
//!
//! `x = k ln 2 + r` with `|r| <= ln 2 / 2`. `k` is found by adding `1.5 * 2^mantissa`, which rounds to an integer and
//! leaves it in the sum's lowest bits: no conversion. `e^r = 1 + r + r^2 q(r)`.

use super::emit::{Emit, format, op};
use crate::{BinaryOp, Expr, Scalar, UnaryOp};

/// `(e^r - 1 - r) / r^2`, weighted for `e^r`.
const EXP_F32: [f64; 5] = [0.5, 0.166665181517601, 0.04166620224714279, 0.008369024842977524, 0.001395072671584785];
const EXP_F64: [f64; 10] = [
    0.5000000000000013,
    0.166666666666667,
    0.04166666666651311,
    0.008333333333306787,
    0.001388888894768168,
    0.00019841269918289948,
    2.4801489199996845e-05,
    2.7557215487910843e-06,
    2.7631561854488133e-07,
    2.511811995925888e-08,
];

/// The same, weighted for `e^r - 1`.
const EXPM1_F32: [f64; 5] =
    [0.5, 0.16666541993618011, 0.04166628047823906, 0.008366710506379604, 0.0013946669641882181];
const EXPM1_F64: [f64; 11] = [
    0.5,
    0.16666666666666677,
    0.0416666666666667,
    0.008333333333321436,
    0.0013888888888866483,
    0.00019841269886673504,
    2.48015873612628e-05,
    2.7557243609110263e-06,
    2.7557242150848253e-07,
    2.5109261831078665e-08,
    2.0924632619483417e-09,
];

/// `ln 2` as a sum of two constants.
fn ln2(s: Scalar) -> (f64, f64) {
    match s {
        Scalar::F64 => (std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17),
        _ => (f64::from(std::f32::consts::LN_2), -1.904_654_299_957_767_8e-9),
    }
}

/// `t`, whose lowest bits are `k`, and `r`.
fn reduce(m: &mut Emit<'_>, s: Scalar, x: &Expr) -> (Expr, Expr) {
    let (hi, lo) = ln2(s);
    let magic = m.float(format(s).magic, s);
    let t = m.bind("t", s, Expr::fma(x.clone(), m.float(std::f64::consts::LOG2_E, s), magic.clone()));
    let k = m.bind("k", s, op(BinaryOp::Sub, t.clone(), magic));
    let r = Expr::fma(k.clone(), m.float(-hi, s), x.clone());
    let r = m.bind("r", s, Expr::fma(k, m.float(-lo, s), r));
    (t, r)
}

/// `r + r^2 q(r)`.
fn tail(m: &mut Emit<'_>, s: Scalar, r: &Expr, c32: &[f64], c64: &[f64]) -> Expr {
    let q = m.polynomial(s, r, if s == Scalar::F64 { c64 } else { c32 });
    Expr::fma(op(BinaryOp::Mul, r.clone(), r.clone()), q, r.clone())
}

/// Limits `x` from above; NaN stays.
pub(super) fn at_most(m: &Emit<'_>, s: Scalar, limit: f64, x: Expr) -> Expr {
    op(BinaryOp::Min, m.float(limit, s), x)
}

/// Limits `x` from below; NaN stays.
pub(super) fn at_least(m: &Emit<'_>, s: Scalar, limit: f64, x: Expr) -> Expr {
    op(BinaryOp::Max, m.float(limit, s), x)
}

/// `e^x`. The scale `2^k` is applied in two halves, so that subnormal results are rounded once.
pub(super) fn exp(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    let f = format(s);
    let (lo, hi) = if s == Scalar::F64 { (-746.0, 710.0) } else { (-104.0, 89.0) };
    let x = at_least(m, s, lo, at_most(m, s, hi, x));
    let x = m.bind("x", s, x);
    let (t, r) = reduce(m, s, &x);
    let p = op(BinaryOp::Add, tail(m, s, &r, &EXP_F32, &EXP_F64), m.float(1.0, s));
    let int = super::emit::int_of(s);
    let k = m.bind("k", int, op(BinaryOp::Sub, m.bits(t, s), m.int(f.magic_bits, s)));
    let half = m.bind("k", int, op(BinaryOp::Shr, k.clone(), m.int(1, s)));
    let scale = |k: Expr| {
        let biased = op(BinaryOp::Add, k, m.int(f.bias, s));
        m.float_of_bits(op(BinaryOp::Shl, biased, m.int(f.mantissa, s)), s)
    };
    let rest = op(BinaryOp::Sub, k, half.clone());
    op(BinaryOp::Mul, op(BinaryOp::Mul, p, scale(half)), scale(rest))
}

/// `x p(x^2) / q(x^2)` on -9..9, where `tanh` is 1 in `f32`: the rational approximation of Eigen (`generic_fast_tanh_float`),
/// which ONNX Runtime has too. Equal bits are worth more than the units in the last place of a better fit where a result
/// is rounded to an integer next, as in models that are quantised while they run.
const TANH_P: [f64; 7] = [
    4.893_524_558_917_86e-3,
    6.372_619_288_754_36e-4,
    1.485_722_357_179_79e-5,
    5.122_297_090_371_14e-8,
    -8.604_671_522_137_35e-11,
    2.000_187_904_824_77e-13,
    -2.760_768_477_423_55e-16,
];
const TANH_Q: [f64; 4] =
    [4.893_525_185_543_85e-3, 2.268_434_632_439e-3, 1.185_347_056_866_54e-4, 1.198_258_394_667_02e-6];

/// `tanh x` in `f32`.
fn tanh_f32(m: &mut Emit<'_>, x: Expr) -> Expr {
    let s = Scalar::F32;
    let x = at_most(m, s, 9.0, at_least(m, s, -9.0, x));
    let x = m.bind("x", s, x);
    let square = m.bind("square", s, op(BinaryOp::Mul, x.clone(), x.clone()));
    let p = m.polynomial(s, &square, &TANH_P);
    op(BinaryOp::Div, op(BinaryOp::Mul, p, x), m.polynomial(s, &square, &TANH_Q))
}

/// `tanh x`; in `f64`, `tanh |x| = m / (m + 2)` with `m = e^(2|x|) - 1 = 2^k (e^r - 1) + (2^k - 1)`, and the sign of `x`.
pub(super) fn tanh(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    if s != Scalar::F64 {
        return tanh_f32(m, x);
    }
    let f = format(s);
    let int = super::emit::int_of(s);
    // From here on, tanh is 1.
    let limit = 40.0;
    let size = Expr::unary(UnaryOp::Abs, x.clone());
    let twice = at_most(m, s, limit, op(BinaryOp::Add, size.clone(), size));
    let twice = m.bind("x", s, twice);
    let (t, r) = reduce(m, s, &twice);
    let q = tail(m, s, &r, &EXPM1_F32, &EXPM1_F64);
    // The magic number's own bits are shifted out.
    let shifted = op(BinaryOp::Shl, m.bits(t, s), m.int(f.mantissa, s));
    let one = m.int(f.bias << f.mantissa, s);
    let scale = m.bind("scale", s, m.float_of_bits(op(BinaryOp::Add, shifted, one), s));
    let m1 = Expr::fma(q, scale.clone(), op(BinaryOp::Sub, scale, m.float(1.0, s)));
    let m1 = m.bind("m", s, m1);
    let size = op(BinaryOp::Div, m1.clone(), op(BinaryOp::Add, m1, m.float(2.0, s)));
    let sign = op(BinaryOp::And, m.bits(x, s), m.int(f.sign, s));
    let signed = m.bind("sign", int, op(BinaryOp::Or, m.bits(size, s), sign));
    m.float_of_bits(signed, s)
}
