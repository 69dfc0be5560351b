//! Trigonometric and hyperbolic functions and their inverses, from the few that the graph has.
//!
//! Each form is chosen such that nothing cancels: near 0 the results have the precision of the argument.

use sparsec_graph::{BinaryOp, UnaryOp};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `Tan`: sine by cosine.
pub(super) fn tan(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (sine, cosine) = (cx.unary(UnaryOp::Sin, x)?, cx.unary(UnaryOp::Cos, x)?);
    Ok(vec![cx.binary(BinaryOp::Div, sine, cosine)?])
}

/// `Atan`.
pub(super) fn atan(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![cx.unary(UnaryOp::Atan, node.input(0)?)?])
}

/// `1 - x` and `1 + x`.
fn distances_from_one(cx: &mut Context, x: Operand) -> Result<(Operand, Operand), Fault> {
    let one = cx.scalar(cx.dtype(x), 1.0);
    Ok((cx.binary(BinaryOp::Sub, one, x)?, cx.with_number(BinaryOp::Add, x, 1.0)?))
}

/// `Asin`: `atan(x / sqrt((1 - x) (1 + x)))`.
pub(super) fn asin(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (below, above) = distances_from_one(cx, x)?;
    let square = cx.binary(BinaryOp::Mul, below, above)?;
    let cosine = cx.unary(UnaryOp::Sqrt, square)?;
    let tangent = cx.binary(BinaryOp::Div, x, cosine)?;
    Ok(vec![cx.unary(UnaryOp::Atan, tangent)?])
}

/// `Acos`: `2 atan(sqrt((1 - x) / (1 + x)))`.
pub(super) fn acos(cx: &mut Context, node: &Node<'_>) -> Results {
    let (below, above) = distances_from_one(cx, node.input(0)?)?;
    let square = cx.binary(BinaryOp::Div, below, above)?;
    let tangent = cx.unary(UnaryOp::Sqrt, square)?;
    let half = cx.unary(UnaryOp::Atan, tangent)?;
    Ok(vec![cx.with_number(BinaryOp::Mul, half, 2.0)?])
}

/// `log(1 + u)` for `u` of at least 0: what `1 + u` loses is put back as a factor.
fn log_one_plus(cx: &mut Context, u: Operand) -> Result<Operand, Fault> {
    let sum = cx.with_number(BinaryOp::Add, u, 1.0)?;
    let log = cx.unary(UnaryOp::Log, sum)?;
    let kept = cx.with_number(BinaryOp::Sub, sum, 1.0)?;
    let factor = cx.binary(BinaryOp::Div, u, kept)?;
    let exact = cx.binary(BinaryOp::Mul, log, factor)?;
    let is_lost = cx.with_number(BinaryOp::Equal, kept, 0.0)?;
    let is_infinite = cx.with_number(BinaryOp::Equal, u, f64::INFINITY)?;
    let small = cx.select(is_lost, u, exact)?;
    cx.select(is_infinite, u, small)
}

/// The magnitude with the sign of `x`.
fn signed(cx: &mut Context, x: Operand, magnitude: Operand) -> Result<Operand, Fault> {
    let negated = cx.unary(UnaryOp::Neg, magnitude)?;
    let is_below = cx.with_number(BinaryOp::Less, x, 0.0)?;
    cx.select(is_below, negated, magnitude)
}

/// `Asinh`: `log(1 + (|x| + x^2 / (1 + sqrt(x^2 + 1))))` with the sign of `x`.
pub(super) fn asinh(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let size = cx.unary(UnaryOp::Abs, x)?;
    let square = cx.binary(BinaryOp::Mul, x, x)?;
    let sum = cx.with_number(BinaryOp::Add, square, 1.0)?;
    let root = cx.unary(UnaryOp::Sqrt, sum)?;
    let divisor = cx.with_number(BinaryOp::Add, root, 1.0)?;
    let fraction = cx.binary(BinaryOp::Div, square, divisor)?;
    let u = cx.binary(BinaryOp::Add, size, fraction)?;
    let magnitude = log_one_plus(cx, u)?;
    Ok(vec![signed(cx, x, magnitude)?])
}

/// `Acosh`: `log(1 + (t + sqrt(t (2 + t))))` with `t = x - 1`.
pub(super) fn acosh(cx: &mut Context, node: &Node<'_>) -> Results {
    let t = cx.with_number(BinaryOp::Sub, node.input(0)?, 1.0)?;
    let sum = cx.with_number(BinaryOp::Add, t, 2.0)?;
    let square = cx.binary(BinaryOp::Mul, t, sum)?;
    let root = cx.unary(UnaryOp::Sqrt, square)?;
    let u = cx.binary(BinaryOp::Add, t, root)?;
    Ok(vec![log_one_plus(cx, u)?])
}

/// `Atanh`: `log(1 + 2 |x| / (1 - |x|)) / 2` with the sign of `x`.
pub(super) fn atanh(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let size = cx.unary(UnaryOp::Abs, x)?;
    let (below, _) = distances_from_one(cx, size)?;
    let twice = cx.with_number(BinaryOp::Mul, size, 2.0)?;
    let u = cx.binary(BinaryOp::Div, twice, below)?;
    let log = log_one_plus(cx, u)?;
    let magnitude = cx.with_number(BinaryOp::Mul, log, 0.5)?;
    Ok(vec![signed(cx, x, magnitude)?])
}

/// `e^(x/2)` halved by its reciprocal halved: `(e^x, e^-x) / 2` as products, which overflow no earlier than their sum.
fn half_exponentials(cx: &mut Context, x: Operand) -> Result<(Operand, Operand), Fault> {
    let half = cx.with_number(BinaryOp::Mul, x, 0.5)?;
    let root = cx.unary(UnaryOp::Exp, half)?;
    let halved = cx.with_number(BinaryOp::Mul, root, 0.5)?;
    let rising = cx.binary(BinaryOp::Mul, halved, root)?;
    let negated = cx.unary(UnaryOp::Neg, half)?;
    let root = cx.unary(UnaryOp::Exp, negated)?;
    let halved = cx.with_number(BinaryOp::Mul, root, 0.5)?;
    Ok((rising, cx.binary(BinaryOp::Mul, halved, root)?))
}

/// `Cosh`.
pub(super) fn cosh(cx: &mut Context, node: &Node<'_>) -> Results {
    let (rising, falling) = half_exponentials(cx, node.input(0)?)?;
    Ok(vec![cx.binary(BinaryOp::Add, rising, falling)?])
}

/// `Sinh`: below 1 by its power series, whose term of degree 17 is less than `1e-14` of the sum.
pub(super) fn sinh(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (rising, falling) = half_exponentials(cx, x)?;
    let large = cx.binary(BinaryOp::Sub, rising, falling)?;
    let square = cx.binary(BinaryOp::Mul, x, x)?;
    let mut series = cx.scalar(cx.dtype(x), 1.0);
    for n in (1..=7).rev() {
        let term = cx.binary(BinaryOp::Mul, series, square)?;
        let term = cx.with_number(BinaryOp::Div, term, f64::from(2 * n * (2 * n + 1)))?;
        series = cx.with_number(BinaryOp::Add, term, 1.0)?;
    }
    let small = cx.binary(BinaryOp::Mul, x, series)?;
    let size = cx.unary(UnaryOp::Abs, x)?;
    let is_small = cx.with_number(BinaryOp::Less, size, 1.0)?;
    Ok(vec![cx.select(is_small, small, large)?])
}
