//! The error function.

use super::emit::{Emit, format, op};
use super::exp::{at_least, at_most, exp};
use crate::{BinaryOp, CompareOp, Expr, Scalar, UnaryOp};

/// `erf(x) = x P(x^2) / Q(x^2)` up to [`LIMIT_F32`].
const P_F32: [f64; 6] = [
    1.1283791065216064,
    0.19084039330482483,
    0.05279740318655968,
    0.003781860927119851,
    0.0002848299336619675,
    2.041201014435501e-06,
];
const Q_F32: [f64; 6] =
    [1.0, 0.5024605989456177, 0.11428055167198181, 0.01500206720083952, 0.0011656980495899916, 3.799710611929186e-05];

/// Where the rational function, computed in `f32`, is exactly 1.
const LIMIT_F32: f64 = 3.92;

/// `erf(x) / x` as a polynomial in `x^2`, below 1.
const SMALL_F64: [f64; 13] = [
    1.1283791670955126,
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
    if s == Scalar::F64 {
        return erf_f64(m, x);
    }
    let x = at_least(m, s, -LIMIT_F32, at_most(m, s, LIMIT_F32, x));
    let x = m.bind("x", s, x);
    let z = m.bind("z", s, op(BinaryOp::Mul, x.clone(), x.clone()));
    let p = op(BinaryOp::Mul, x, m.polynomial(s, &z, &P_F32));
    op(BinaryOp::Div, p, m.polynomial(s, &z, &Q_F32))
}

fn erf_f64(m: &mut Emit<'_>, x: Expr) -> Expr {
    let s = Scalar::F64;
    let size = at_most(m, s, 6.0, Expr::unary(UnaryOp::Abs, x.clone()));
    let size = m.bind("x", s, size);
    let z = m.bind("z", s, op(BinaryOp::Mul, size.clone(), size.clone()));
    let small = m.bind("small", s, op(BinaryOp::Mul, size.clone(), m.polynomial(s, &z, &SMALL_F64)));
    let decay = exp(m, s, Expr::unary(UnaryOp::Neg, z));
    let ratio = op(BinaryOp::Div, m.polynomial(s, &size, &P_F64), m.polynomial(s, &size, &Q_F64));
    let large = op(BinaryOp::Sub, m.float(1.0, s), op(BinaryOp::Mul, decay, ratio));
    let value = Expr::select(Expr::compare(CompareOp::Lt, size, m.float(1.0, s)), small, large);
    let sign = op(BinaryOp::And, m.bits(x, s), m.int(format(s).sign, s));
    m.from_bits(op(BinaryOp::Or, m.bits(value, s), sign), s)
}
