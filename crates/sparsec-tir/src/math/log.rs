//! Natural logarithm and powers.
//!
//! `x = 2^k m` with `m` in `√½..√2`: subtracting the bits of `√½` makes the exponent field `k`.

use super::emit::{Emit, format, int_of, op};
use super::exp::exp;
use crate::{BinaryOp, CompareOp, Expr, Scalar, UnaryOp};

/// `(log(1 + f) - f) / f^2`.
const LOG_F32: [f64; 8] = [
    -0.4999998211860657,
    0.3333393633365631,
    -0.25002601742744446,
    0.19963298738002777,
    -0.16551260650157928,
    0.14885284006595612,
    -0.1443139612674713,
    0.08979997783899307,
];

/// `(log((1 + s) / (1 - s)) / s - 2) / s^2` in `s^2`.
const LOG_F64: [f64; 7] = [
    0.6666666666666735,
    0.39999999999407493,
    0.28571428744140903,
    0.22222198378527763,
    0.18183575162699028,
    0.15313755835977214,
    0.14799065293384825,
];

/// `log(x)`: -inf at 0, NaN below.
pub(super) fn log(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    let f = format(s);
    let int = int_of(s);
    let (smallest, half_root_bits) = match s {
        Scalar::F64 => (f64::MIN_POSITIVE, 0x3FE6_A09E_667F_3BCD),
        _ => (f64::from(f32::MIN_POSITIVE), 0x3F35_04F3),
    };
    // Subnormal numbers are scaled up.
    let tiny = m.bind("tiny", Scalar::Bool, Expr::compare(CompareOp::Lt, x.clone(), m.float(smallest, s)));
    let scale = m.float((1_u64 << f.mantissa) as f64, s);
    let scaled = Expr::select(tiny.clone(), op(BinaryOp::Mul, x.clone(), scale), x.clone());
    let bits = m.bind("bits", int, m.bits(scaled, s));
    let k = op(BinaryOp::Shr, op(BinaryOp::Sub, bits.clone(), m.int(half_root_bits, s)), m.int(f.mantissa, s));
    let k = m.bind("k", int, k);
    let mantissa = op(BinaryOp::Sub, bits, op(BinaryOp::Shl, k.clone(), m.int(f.mantissa, s)));
    let y = m.bind("f", s, op(BinaryOp::Sub, m.float_of_bits(mantissa, s), m.float(1.0, s)));
    let shift = Expr::select(tiny, m.int(-f.mantissa, s), m.int(0, s));
    let k = m.bind("k", s, op(BinaryOp::Add, k, shift).convert(s));
    let value = if s == Scalar::F64 {
        // log(1 + f) = f - (f^2/2 - s (f^2/2 + R)), s = f / (2 + f): Tang, as in many libraries. ln 2 is split so that
        // k times its first part is exact.
        let (hi, lo) = (6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10);
        let ratio = m.bind("s", s, op(BinaryOp::Div, y.clone(), op(BinaryOp::Add, m.float(2.0, s), y.clone())));
        let z = m.bind("z", s, op(BinaryOp::Mul, ratio.clone(), ratio.clone()));
        let half = op(BinaryOp::Mul, op(BinaryOp::Mul, m.float(0.5, s), y.clone()), y.clone());
        let half = m.bind("half", s, half);
        let rest = Expr::fma(z.clone(), m.polynomial(s, &z, &LOG_F64), half.clone());
        let low = Expr::fma(ratio, rest, op(BinaryOp::Mul, k.clone(), m.float(lo, s)));
        let low = op(BinaryOp::Sub, y, op(BinaryOp::Sub, half, low));
        Expr::fma(k, m.float(hi, s), low)
    } else {
        let q = m.polynomial(s, &y, &LOG_F32);
        let p = Expr::fma(op(BinaryOp::Mul, y.clone(), y.clone()), q, y);
        Expr::fma(k, m.float(std::f64::consts::LN_2, s), p)
    };
    let value = m.bind("log", s, value);
    let infinite = Expr::compare(CompareOp::Eq, x.clone(), m.float(f64::INFINITY, s));
    let value = Expr::select(infinite, x.clone(), value);
    let zero = m.float(0.0, s);
    let is_zero = Expr::compare(CompareOp::Eq, x.clone(), zero.clone());
    let other = Expr::select(is_zero, m.float(f64::NEG_INFINITY, s), m.float(f64::NAN, s));
    Expr::select(Expr::compare(CompareOp::Gt, x, zero), value, other)
}

/// `x^y`, with the special values of C's `pow`.
pub(super) fn pow(m: &mut Emit<'_>, s: Scalar, x: Expr, y: Expr) -> Expr {
    if s != Scalar::F64 {
        // In f64, log's error times the largest product is still far below an f32 ulp.
        let wide_x = m.bind("x", Scalar::F64, x.convert(Scalar::F64));
        let wide_y = m.bind("y", Scalar::F64, y.convert(Scalar::F64));
        return pow(m, Scalar::F64, wide_x, wide_y).convert(s);
    }
    let (zero, one) = (m.float(0.0, s), m.float(1.0, s));
    let equal = |a: &Expr, b: &Expr| Expr::compare(CompareOp::Eq, a.clone(), b.clone());
    let size = m.bind("size", s, Expr::unary(UnaryOp::Abs, x.clone()));
    let log_size = log(m, s, size.clone());
    let product = m.bind("product", s, op(BinaryOp::Mul, y.clone(), log_size));
    let power = exp(m, s, product);
    // 1 where x is ±1, whatever y.
    let power = m.bind("power", s, Expr::select(equal(&size, &one), one.clone(), power));
    let floor = |e: Expr| Expr::unary(UnaryOp::Floor, e);
    let whole = m.bind("whole", Scalar::Bool, equal(&floor(y.clone()), &y));
    let half = m.bind("half", s, op(BinaryOp::Mul, y.clone(), m.float(0.5, s)));
    let odd = op(BinaryOp::And, whole.clone(), Expr::compare(CompareOp::Ne, floor(half.clone()), half));
    let negative = Expr::compare(CompareOp::Lt, m.bits(x.clone(), s), m.int(0, s));
    let flip = op(BinaryOp::And, odd, negative);
    let signed = Expr::select(flip, Expr::unary(UnaryOp::Neg, power.clone()), power);
    // Below 0, only whole powers exist, and those of infinity.
    let infinite = equal(&size, &m.float(f64::INFINITY, s));
    let not_below = Expr::unary(UnaryOp::Not, Expr::compare(CompareOp::Lt, x.clone(), zero.clone()));
    let exists = op(BinaryOp::Or, op(BinaryOp::Or, whole, infinite), not_below);
    let signed = Expr::select(exists, signed, m.float(f64::NAN, s));
    // 1 where y is 0 or x is 1, whatever the other.
    let ones = op(BinaryOp::Or, equal(&y, &zero), equal(&x, &one));
    Expr::select(ones, one, signed)
}
