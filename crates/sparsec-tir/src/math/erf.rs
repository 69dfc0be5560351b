//! The error function.

use super::emit::{Emit, format, op};
use super::exp::{at_most, exp};
use crate::{BinaryOp, CompareOp, Expr, Scalar, UnaryOp};

/// `erf(x) / x` as a polynomial in `x^2`, below 1.
const SMALL_F32: [f64; 7] = [
    1.1283791065216064,
    -0.3761262595653534,
    0.1128358468413353,
    -0.026853807270526886,
    0.005188317969441414,
    -0.0008010101155377924,
    7.853527495171875e-05,
];

/// `1 - erf(x)` as a polynomial in `x - MIDDLE_F32`, from 1 to [`LIMIT_F32`]. A quotient of polynomials in `x^2` for
/// both ranges costs as much (a division is ten multiplications) and loses 5 ulp near 1.
const LARGE_F32: [f64; 13] = [
    0.0005665140924975276,
    -0.002965696854516864,
    0.0072303758934140205,
    -0.010759520344436169,
    0.010692160576581955,
    -0.007202393840998411,
    0.0030306531116366386,
    -0.00038617823156528175,
    -0.0004535362822934985,
    0.0003125576477032155,
    -4.498495763982646e-05,
    -2.7881433197762817e-05,
    9.11029928829521e-06,
];
const MIDDLE_F32: f64 = 2.4375;

/// From here on, the function is 1 in `f32`.
const LIMIT_F32: f64 = 3.921;

/// As [`SMALL_F32`].
const SMALL_F64: [f64; 13] = [
    std::f64::consts::FRAC_2_SQRT_PI,
    -0.3761263890318375,
    0.11283791670954885,
    -0.02686617064507782,
    0.005223977624827863,
    -0.0008548326981391792,
    0.00012055331131683331,
    -1.4925595740623647e-05,
    1.646100795623361e-06,
    -1.6350390535133424e-07,
    1.4660289432226646e-08,
    -1.1374799991484865e-09,
    5.960415540472053e-11,
];

/// From here on, the function is 1 in `f64`.
const LIMIT_F64: f64 = 6.0;

/// `e^(x^2) (1 - erf(x)) = P(x) / Q(x)`, from 1 to 6.
const P_F64: [f64; 9] = [
    1.0000000003703444,
    1.9985729090907212,
    1.9781180937956997,
    1.231741109510918,
    0.52230575364587,
    0.1539997471856075,
    0.030923245399297285,
    0.003902758699766584,
    0.00024231031738394985,
];
const Q_F64: [f64; 10] = [
    1.0,
    3.126952080625963,
    4.506505652397705,
    3.9420889972724797,
    2.3162293306551347,
    0.9529526864399368,
    0.27641620241547493,
    0.05502476604336977,
    0.006917459724015156,
    0.0004294838546348204,
];

/// `erf(x)`.
pub(super) fn erf(m: &mut Emit<'_>, s: Scalar, x: Expr) -> Expr {
    let limit = if s == Scalar::F64 { LIMIT_F64 } else { LIMIT_F32 };
    let size = at_most(m, s, limit, Expr::unary(UnaryOp::Abs, x.clone()));
    let size = m.bind("x", s, size);
    let z = m.bind("z", s, op(BinaryOp::Mul, size.clone(), size.clone()));
    let (small, rest) = if s == Scalar::F64 {
        let decay = exp(m, s, Expr::unary(UnaryOp::Neg, z.clone()));
        let ratio = op(BinaryOp::Div, m.polynomial(s, &size, &P_F64), m.polynomial(s, &size, &Q_F64));
        (m.polynomial(s, &z, &SMALL_F64), op(BinaryOp::Mul, decay, ratio))
    } else {
        let t = m.bind("t", s, op(BinaryOp::Sub, size.clone(), m.float(MIDDLE_F32, s)));
        (m.polynomial(s, &z, &SMALL_F32), m.polynomial(s, &t, &LARGE_F32))
    };
    let small = op(BinaryOp::Mul, size.clone(), small);
    let large = op(BinaryOp::Sub, m.float(1.0, s), rest);
    let value = Expr::select(Expr::compare(CompareOp::Lt, size, m.float(1.0, s)), small, large);
    let sign = op(BinaryOp::And, m.bits(x, s), m.int(format(s).sign, s));
    m.float_of_bits(op(BinaryOp::Or, m.bits(value, s), sign), s)
}
