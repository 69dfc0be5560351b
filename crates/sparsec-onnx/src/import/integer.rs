//! Remainders, and operators on the bits of integers.

use sparsec_graph::{BinaryOp, DType, Op, UnaryOp};

use super::context::{Context, Operand};
use super::elementwise::apply;
use super::node::Node;
use super::symbolic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `Mod`: the remainder has the sign of the dividend where `fmod` is set, and of the divisor otherwise.
pub(super) fn modulo(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, y) = (node.input(0)?, node.input(1)?);
    let follows_dividend = node.int_or("fmod", 0)? != 0;
    let dtype = cx.dtype(x);
    if dtype.is_float() && !follows_dividend {
        return Err(Fault::attribute("fmod", "must be 1 for floating-point numbers"));
    }
    if !follows_dividend && let Some(known) = symbolic::floored_remainder(cx, x, y)? {
        return Ok(vec![known]);
    }
    let remainder = apply(cx, BinaryOp::Rem, x, y)?;
    let unsigned = matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64);
    if follows_dividend || unsigned {
        return Ok(vec![remainder]);
    }
    let zero = cx.scalar(dtype, 0.0);
    let below = apply(cx, BinaryOp::Less, remainder, zero)?;
    let divisor_below = apply(cx, BinaryOp::Less, y, zero)?;
    let agrees = apply(cx, BinaryOp::Equal, below, divisor_below)?;
    let is_zero = apply(cx, BinaryOp::Equal, remainder, zero)?;
    let stays = apply(cx, BinaryOp::Or, agrees, is_zero)?;
    let moved = apply(cx, BinaryOp::Add, remainder, y)?;
    match symbolic::select(cx, stays, remainder, moved)? {
        Some(known) => Ok(vec![known]),
        None => Ok(vec![cx.select(stays, remainder, moved)?]),
    }
}

/// `BitShift` of unsigned integers.
pub(super) fn bit_shift(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.string("direction")? {
        Some("LEFT") => BinaryOp::ShiftLeft,
        Some("RIGHT") => BinaryOp::ShiftRight,
        _ => return Err(Fault::attribute("direction", "must be LEFT or RIGHT")),
    };
    Ok(vec![cx.binary(op, node.input(0)?, node.input(1)?)?])
}

/// `BitwiseAnd`, `BitwiseOr`, `BitwiseXor`.
pub(super) fn bitwise(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.proto.op_type() {
        "BitwiseAnd" => BinaryOp::And,
        "BitwiseOr" => BinaryOp::Or,
        _ => BinaryOp::Xor,
    };
    let (x, y) = (node.input(0)?, node.input(1)?);
    if !cx.dtype(x).is_int() {
        return Err(Fault::invalid("the operands must be integers"));
    }
    Ok(vec![apply(cx, op, x, y)?])
}

/// `BitwiseNot`.
pub(super) fn bitwise_not(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    if !cx.dtype(x).is_int() {
        return Err(Fault::invalid("the operand must be of integers"));
    }
    Ok(vec![cx.append(Op::Unary(UnaryOp::Not), &[x])?])
}
