//! Element-wise operators that the graph has itself.

use sparsec_graph::{BinaryOp, DType, Dim, Op, UnaryOp};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use super::random::training_dropout;
use super::symbolic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Operators of one operand that have the same name and meaning.
pub(super) fn unary(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.proto.op_type() {
        "Abs" => UnaryOp::Abs,
        "Ceil" => UnaryOp::Ceil,
        "Cos" => UnaryOp::Cos,
        "Erf" => UnaryOp::Erf,
        "Exp" => UnaryOp::Exp,
        "Floor" => UnaryOp::Floor,
        "Log" => UnaryOp::Log,
        "Neg" => UnaryOp::Neg,
        "Not" => UnaryOp::Not,
        "Reciprocal" => UnaryOp::Reciprocal,
        "Relu" => UnaryOp::Relu,
        "Round" => UnaryOp::Round,
        "Sigmoid" => UnaryOp::Sigmoid,
        "Sin" => UnaryOp::Sin,
        "Sqrt" => UnaryOp::Sqrt,
        "Tanh" => UnaryOp::Tanh,
        other => return Err(Fault::unsupported(format!("the operator {other}"))),
    };
    node.only_inputs(1)?;
    let x = node.input(0)?;
    let known = cx.ints(x).and_then(|ints| known_unary(op, &ints));
    match known {
        Some(ints) => Ok(vec![cx.add_ints(cx.ty(x).clone(), ints)?]),
        None => Ok(vec![cx.append(Op::Unary(op), &[x])?]),
    }
}

fn known_unary(op: UnaryOp, ints: &[Dim]) -> Option<Vec<Dim>> {
    let zero = Dim::constant(0);
    match op {
        UnaryOp::Neg if ints.iter().all(symbolic::is_tame) => {
            Some(ints.iter().map(|d| zero.clone() - d.clone()).collect())
        }
        UnaryOp::Not => ints.iter().map(|d| Some(Dim::constant(i64::from(d.as_const()? == 0)))).collect(),
        _ => None,
    }
}

/// Operators of two operands that have the same meaning.
pub(super) fn binary(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.proto.op_type() {
        "Add" => BinaryOp::Add,
        "And" => BinaryOp::And,
        "Div" => BinaryOp::Div,
        "Equal" => BinaryOp::Equal,
        "Greater" => BinaryOp::Greater,
        "GreaterOrEqual" => BinaryOp::GreaterEqual,
        "Less" => BinaryOp::Less,
        "LessOrEqual" => BinaryOp::LessEqual,
        "Mul" => BinaryOp::Mul,
        "Or" => BinaryOp::Or,
        "Sub" => BinaryOp::Sub,
        other => return Err(Fault::unsupported(format!("the operator {other}"))),
    };
    node.only_inputs(2)?;
    let x = node.input(0)?;
    let y = aligned(cx, node, x, node.input(1)?)?;
    Ok(vec![apply(cx, op, x, y)?])
}

/// The second operand of an operator set before 7, whose first axis belongs to axis `axis` of the first operand.
fn aligned(cx: &mut Context, node: &Node<'_>, x: Operand, y: Operand) -> Result<Operand, Fault> {
    let Some(at) = node.int("axis")?.filter(|_| node.opset < 7) else { return Ok(y) };
    let at = axis(at, cx.rank(x))?;
    let missing = cx.rank(x).checked_sub(at + cx.rank(y));
    let missing = missing.ok_or_else(|| Fault::attribute("axis", "leaves no room for the second operand"))?;
    let places: Vec<usize> = (cx.rank(y)..cx.rank(y) + missing).collect();
    cx.insert_axes(y, &places)
}

/// A binary operator, on known integers or at run time.
pub(super) fn apply(cx: &mut Context, op: BinaryOp, x: Operand, y: Operand) -> Result<Operand, Fault> {
    match symbolic::binary(cx, op, x, y)? {
        Some(known) => Ok(known),
        None => cx.append(Op::Binary(op), &[x, y]),
    }
}

/// A binary operator with a number of the operand's element type.
pub(super) fn apply_scalar(cx: &mut Context, op: BinaryOp, x: Operand, y: f64) -> Result<Operand, Fault> {
    let y = cx.scalar(cx.dtype(x), y);
    cx.append(Op::Binary(op), &[x, y])
}

/// `Max`, `Min`, `Sum`, `Mean` of any number of operands.
pub(super) fn variadic(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.proto.op_type() {
        "Max" => BinaryOp::Max,
        "Min" => BinaryOp::Min,
        _ => BinaryOp::Add,
    };
    let inputs = node.all_inputs()?;
    let mut result = node.input(0)?;
    for &x in inputs.iter().skip(1) {
        result = apply(cx, op, result, x)?;
    }
    if node.proto.op_type() == "Mean" && inputs.len() > 1 {
        result = apply_scalar(cx, BinaryOp::Div, result, inputs.len() as f64)?;
    }
    Ok(vec![result])
}

/// `Pow`: the exponent may be of another type.
pub(super) fn pow(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, mut y) = (node.input(0)?, node.input(1)?);
    let (base, exponent) = (cx.dtype(x), cx.dtype(y));
    if base.is_int() && exponent.is_float() {
        // In binary64, as NumPy computes it, and truncated; what is an integer but for rounding is that integer.
        let (x, y) = (cx.append(Op::Cast(DType::F64), &[x])?, cx.append(Op::Cast(DType::F64), &[y])?);
        let power = cx.append(Op::Binary(BinaryOp::Pow), &[x, y])?;
        let nearest = cx.append(Op::Unary(UnaryOp::Round), &[power])?;
        let off = cx.append(Op::Binary(BinaryOp::Sub), &[power, nearest])?;
        let off = cx.append(Op::Unary(UnaryOp::Abs), &[off])?;
        let size = cx.append(Op::Unary(UnaryOp::Abs), &[nearest])?;
        let bound = apply_scalar(cx, BinaryOp::Mul, size, 1e-7)?;
        let whole = cx.append(Op::Binary(BinaryOp::LessEqual), &[off, bound])?;
        let power = cx.append(Op::Where, &[whole, nearest, power])?;
        return Ok(vec![cx.append(Op::Cast(base), &[power])?]);
    }
    if base != exponent {
        y = match cx.number(y) {
            Some(number) if cx.rank(y) == 0 => cx.scalar(base, number),
            _ => cx.append(Op::Cast(base), &[y])?,
        };
    }
    Ok(vec![cx.append(Op::Binary(BinaryOp::Pow), &[x, y])?])
}

/// `Xor` of truth values: they differ.
pub(super) fn xor(cx: &mut Context, node: &Node<'_>) -> Results {
    let same = cx.append(Op::Binary(BinaryOp::Equal), &[node.input(0)?, node.input(1)?])?;
    Ok(vec![cx.append(Op::Unary(UnaryOp::Not), &[same])?])
}

/// `Where`.
pub(super) fn select(cx: &mut Context, node: &Node<'_>) -> Results {
    let (c, x, y) = (node.input(0)?, node.input(1)?, node.input(2)?);
    match symbolic::select(cx, c, x, y)? {
        Some(known) => Ok(vec![known]),
        None => Ok(vec![cx.append(Op::Where, &[c, x, y])?]),
    }
}

/// `Clip`: bounds are inputs since operator set 11, which older exporters did not always heed.
pub(super) fn clip(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (lo, hi) = (node.optional(1), node.optional(2));
    let attribute = |name, missing| Ok::<_, Fault>(node.float(name)?.map_or(missing, f64::from));
    let number = |bound: Option<Operand>, missing| bound.map_or(Some(missing), |b| cx.number(b));
    let (fixed_lo, fixed_hi) = (attribute("min", f64::NEG_INFINITY)?, attribute("max", f64::INFINITY)?);
    match (number(lo, fixed_lo), number(hi, fixed_hi)) {
        (Some(lo), Some(hi)) if lo == f64::NEG_INFINITY && hi == f64::INFINITY => Ok(vec![x]),
        // Numbers as large as this would lose digits on the way.
        (Some(lo), Some(hi))
            if cx.dtype(x).is_float() || [lo, hi].iter().all(|b| b.is_infinite() || b.abs() < 1e15) =>
        {
            Ok(vec![cx.append(Op::Clip { lo, hi }, &[x])?])
        }
        _ => {
            let mut result = x;
            for (op, bound) in [(BinaryOp::Max, lo), (BinaryOp::Min, hi)] {
                if let Some(bound) = bound {
                    result = cx.append(Op::Binary(op), &[result, bound])?;
                }
            }
            Ok(vec![result])
        }
    }
}

/// `Identity`.
pub(super) fn identity(_: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![node.input(0)?])
}

/// `Dropout`. When nothing is trained nothing is dropped, and the mask says so.
pub(super) fn dropout(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    match node.optional(2) {
        // With a ratio of 0 nothing is dropped in training, either.
        Some(_) if node.optional(1).and_then(|ratio| cx.number(ratio)) == Some(0.0) => {}
        Some(training) => match cx.number(training) {
            Some(0.0) => {}
            Some(_) => return training_dropout(cx, node, x, None),
            None => {
                let training = cx.reshape(training, Vec::new())?;
                return training_dropout(cx, node, x, Some(training));
            }
        },
        None if node.opset < 7 && node.int_or("is_test", 0)? == 0 => {
            return Err(Fault::unsupported("training mode, which `is_test` is about,"));
        }
        None => {}
    }
    if !node.wants_output(1) {
        return Ok(vec![x]);
    }
    let mask = if node.opset < 10 { cx.scalar(cx.dtype(x), 1.0) } else { cx.scalar(DType::Bool, 1.0) };
    let mask = cx.append(Op::Expand(cx.shape(x)), &[mask])?;
    Ok(vec![x, mask])
}

/// `IsNaN`: nothing else differs from itself.
pub(super) fn is_nan(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let same = cx.binary(BinaryOp::Equal, x, x)?;
    Ok(vec![cx.unary(UnaryOp::Not, same)?])
}

/// `IsInf`, of either sign or of one.
pub(super) fn is_inf(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (negative, positive) = (node.int_or("detect_negative", 1)? != 0, node.int_or("detect_positive", 1)? != 0);
    Ok(vec![match (negative, positive) {
        (true, true) => {
            let size = cx.unary(UnaryOp::Abs, x)?;
            cx.with_number(BinaryOp::Equal, size, f64::INFINITY)?
        }
        (true, false) => cx.with_number(BinaryOp::Equal, x, f64::NEG_INFINITY)?,
        (false, true) => cx.with_number(BinaryOp::Equal, x, f64::INFINITY)?,
        (false, false) => {
            let no = cx.scalar(DType::Bool, 0.0);
            cx.append(Op::Expand(cx.shape(x)), &[no])?
        }
    }])
}
