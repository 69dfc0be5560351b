//! Scalar operations on floats, in `f64`.
//!
//! `erf` is libm's (the port of FreeBSD's `s_erf.c`, below 1 ulp of error); the others are the standard library's.

use super::element::Acc;
use crate::{BinaryOp, UnaryOp};

pub(super) fn unary(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Exp => x.exp(),
        UnaryOp::Log => x.ln(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Reciprocal => 1.0 / x,
        UnaryOp::Rsqrt => 1.0 / x.sqrt(),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Tanh => x.tanh(),
        UnaryOp::Sigmoid => sigmoid(x),
        UnaryOp::Relu => x.larger(0.0),
        UnaryOp::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        UnaryOp::GeluTanh => {
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
            0.5 * x * (1.0 + inner.tanh())
        }
        UnaryOp::Silu => x * sigmoid(x),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Sin => x.sin(),
        UnaryOp::Cos => x.cos(),
        UnaryOp::Atan => x.atan(),
        // Typing admits it for `bool` only.
        UnaryOp::Not => f64::from(x == 0.0),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A binary operation that is no comparison.
pub(super) fn binary(op: BinaryOp, x: f64, y: f64) -> f64 {
    match op {
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div => x / y,
        BinaryOp::Rem => x % y,
        BinaryOp::Pow => x.powf(y),
        BinaryOp::Min => x.smaller(y),
        BinaryOp::Max => x.larger(y),
        _ => x + y,
    }
}

/// A binary operation on integers of so many bits that is no comparison, before it wraps; `None` where a divisor is zero.
pub(super) fn integer(op: BinaryOp, x: i128, y: i128, bits: u32) -> Option<i128> {
    let shift = u32::try_from(y).ok().filter(|&by| by < bits);
    Some(match op {
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div => x.checked_div(y)?,
        BinaryOp::Rem => x.checked_rem(y)?,
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::ShiftLeft => shift.map_or(0, |by| x << by),
        BinaryOp::ShiftRight => x >> shift.unwrap_or(127),
        BinaryOp::Pow => power(x, y)?,
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        _ => x + y,
    })
}

fn power(mut base: i128, exponent: i128) -> Option<i128> {
    if exponent < 0 {
        // The reciprocal, truncated.
        return match base {
            0 => None,
            1 => Some(1),
            -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
            _ => Some(0),
        };
    }
    let (mut rest, mut result) = (exponent, 1i128);
    while rest > 0 {
        if rest & 1 == 1 {
            result = result.wrapping_mul(base);
        }
        base = base.wrapping_mul(base);
        rest >>= 1;
    }
    Some(result)
}

/// A comparison.
pub(super) fn compare<T: PartialOrd>(op: BinaryOp, x: &T, y: &T) -> bool {
    match op {
        BinaryOp::Less => x < y,
        BinaryOp::LessEqual => x <= y,
        BinaryOp::Greater => x > y,
        BinaryOp::GreaterEqual => x >= y,
        _ => x == y,
    }
}
