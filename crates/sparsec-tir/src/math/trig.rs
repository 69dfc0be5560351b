//! Sine and cosine for arguments up to 1e5 in size.
//!
//! `x = k π/2 + r`, `|r| <= π/4`; `k mod 4` picks sine or cosine of `r` and the sign.

use super::emit::{Emit, format, int_of, op};
use crate::{BinaryOp, CompareOp, Expr, Scalar};

/// `(sin(r) / r - 1) / r^2` in `r^2`.
const SIN_F32: [f64; 3] = [-0.16666655242443085, 0.008332173340022564, -0.00019516656175255775];
const SIN_F64: [f64; 6] = [
    -0.16666666666666632,
    0.008333333333322316,
    -0.00019841269829725213,
    2.75573136620568e-06,
    -2.5050753263889675e-08,
    1.5896504885903798e-10,
];

/// `(cos(r) - 1 + r^2 / 2) / r^4` in `r^2`.
const COS_F32: [f64; 3] = [0.04166664555668831, -0.001388736185617745, 2.4437729734927416e-05];
const COS_F64: [f64; 6] = [
    0.0416666666666666,
    -0.001388888888887399,
    2.4801587289394892e-05,
    -2.7557314326016415e-07,
    2.0875719556310397e-09,
    -1.1359448539030654e-11,
];

/// `sin(x)`.
pub(super) fn sin(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    quarter_turns(m, s, x, 0)
}

/// `cos(x) = sin(x + π/2)`.
pub(super) fn cos(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    quarter_turns(m, s, x, 1)
}

/// `sin(x + turns π/2)`.
fn quarter_turns(m: &mut Emit<'_>, s: Scalar, x: Expr, turns: i64) -> Expr {
    let int = int_of(s);
    let (k, r) = reduce(m, s, x);
    let k = m.bind("turns", int, op(BinaryOp::Add, k, m.int(turns, s)));
    let z = m.bind("z", s, op(BinaryOp::Mul, r.clone(), r.clone()));
    let (sin, cos): (&[f64], &[f64]) = if s == Scalar::F64 { (&SIN_F64, &COS_F64) } else { (&SIN_F32, &COS_F32) };
    let cubic = op(BinaryOp::Mul, r.clone(), z.clone());
    let sine = Expr::fma(cubic, m.polynomial(s, &z, sin), r);
    let parabola = Expr::fma(z.clone(), m.float(-0.5, s), m.float(1.0, s));
    let cosine = Expr::fma(op(BinaryOp::Mul, z.clone(), z.clone()), m.polynomial(s, &z, cos), parabola);
    let is_odd = Expr::compare(CompareOp::Ne, op(BinaryOp::And, k.clone(), m.int(1, s)), m.int(0, s));
    let value = Expr::select(is_odd, cosine, sine);
    let sign_bit = if s == Scalar::F64 { 62 } else { 30 };
    let sign = op(BinaryOp::Shl, op(BinaryOp::And, k, m.int(2, s)), m.int(sign_bit, s));
    m.float_of_bits(op(BinaryOp::Xor, m.bits(value, s), sign), s)
}

/// `k` (at least its lowest bits) as an integer, and `r`.
fn reduce(m: &mut Emit<'_>, s: Scalar, x: Expr) -> (Expr, Expr) {
    let wide = Scalar::F64;
    let x = if s == wide { x } else { m.bind("x", wide, x.convert(wide)) };
    let f = format(wide);
    let magic = m.float(f.magic, wide);
    let t = Expr::fma(x.clone(), m.float(std::f64::consts::FRAC_2_PI, wide), magic.clone());
    let t = m.bind("t", wide, t);
    let k = m.bind("k", wide, op(BinaryOp::Sub, t.clone(), magic));
    let low = op(BinaryOp::And, m.bits(t, wide), m.int(3, wide)).convert(int_of(s));
    if s != wide {
        let r = Expr::fma(k.clone(), m.float(-std::f64::consts::FRAC_PI_2, wide), x);
        let r = Expr::fma(k, m.float(-6.123_233_995_736_766e-17, wide), r);
        let r = m.bind("r", s, r.convert(s));
        return (low, r);
    }
    // π/2 in three parts; products of the first two (33 bits each) with k are exact, and what the second difference
    // rounds off goes into the third.
    let (first, second, third) = (1.570_796_326_734_125_6, 6.077_100_506_303_966e-11, 2.022_266_248_795_950_6e-21);
    let a = m.bind("a", wide, Expr::fma(k.clone(), m.float(-first, wide), x));
    let b = m.bind("b", wide, op(BinaryOp::Mul, k.clone(), m.float(second, wide)));
    let c = m.bind("c", wide, op(BinaryOp::Sub, a.clone(), b.clone()));
    let lost = op(BinaryOp::Sub, op(BinaryOp::Sub, a, c.clone()), b);
    let lost = Expr::fma(k, m.float(-third, wide), lost);
    let r = m.bind("r", wide, op(BinaryOp::Add, c, lost));
    (low, r)
}
