//! Scalar expressions of the graph as expressions of the tensor IR.
//!
//! Composite functions (GELU, sigmoid, ...) are written out here; `exp`, `erf` and their like stay single operations
//! until the tensor IR expands them. A part that is used twice is named by a `let` first.

use sparsec_graph::{BinaryOp as GraphBinary, Op, ScalarExpr, UnaryOp as GraphUnary};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp};

use crate::context::{Context, scalar_of};
use crate::gelu::gelu;
use crate::remainder::remainder;
use crate::trig::atan;

/// A value and its type.
pub(crate) type Typed = (Expr, Scalar);

/// Emits a scalar expression. `args` are loaded on demand; constants take the type of what they meet, or `wanted`.
pub(crate) fn emit_scalar(
    b: &mut Context,
    expr: &ScalarExpr,
    acc: Option<&Typed>,
    args: &mut dyn FnMut(&mut Context, u32) -> Typed,
    wanted: Scalar,
) -> Typed {
    match expr {
        ScalarExpr::Acc => acc.cloned().unwrap_or_else(|| constant(0.0, wanted)),
        ScalarExpr::Arg(i) => args(b, *i),
        ScalarExpr::Const(v) => constant(*v, wanted),
        ScalarExpr::Unary(op, x) => {
            let x = emit_scalar(b, x, acc, args, wanted);
            emit_unary(b, *op, x)
        }
        ScalarExpr::Convert(to, x) => {
            let (x, from) = emit_scalar(b, x, acc, args, scalar_of(*to));
            let to = scalar_of(*to);
            (if from == to { x } else { x.convert(to) }, to)
        }
        ScalarExpr::Binary(op, x, y) => {
            // A constant takes the type of its neighbour.
            let (x, y) = if matches!(**x, ScalarExpr::Const(_)) {
                let y = emit_scalar(b, y, acc, args, wanted);
                (emit_scalar(b, x, acc, args, y.1), y)
            } else {
                let x = emit_scalar(b, x, acc, args, wanted);
                let y = emit_scalar(b, y, acc, args, x.1);
                (x, y)
            };
            emit_binary(b, *op, x, y)
        }
        ScalarExpr::Select(c, x, y) => {
            let c = emit_scalar(b, c, acc, args, Scalar::Bool);
            let x = emit_scalar(b, x, acc, args, wanted);
            let y = emit_scalar(b, y, acc, args, x.1);
            (Expr::select(c.0, x.0, y.0), x.1)
        }
    }
}

/// The expression of an element-wise operator; `None` for others. Casts are not scalar expressions.
pub(crate) fn elementwise_expr(op: &Op) -> Option<ScalarExpr> {
    let arg = ScalarExpr::Arg;
    Some(match op {
        Op::Unary(op) => ScalarExpr::unary(*op, arg(0)),
        Op::Binary(op) => ScalarExpr::binary(*op, arg(0), arg(1)),
        Op::Where => ScalarExpr::Select(Box::new(arg(0)), Box::new(arg(1)), Box::new(arg(2))),
        Op::Clip { lo, hi } => {
            let mut x = arg(0);
            if *lo > f64::NEG_INFINITY {
                x = ScalarExpr::binary(GraphBinary::Max, x, ScalarExpr::Const(*lo));
            }
            if *hi < f64::INFINITY {
                x = ScalarExpr::binary(GraphBinary::Min, x, ScalarExpr::Const(*hi));
            }
            x
        }
        Op::Map(expr) => expr.clone(),
        _ => return None,
    })
}

/// A constant of a type.
pub(crate) fn constant(value: f64, scalar: Scalar) -> Typed {
    let expr = if scalar.is_float() { Expr::Float(value, scalar) } else { Expr::Int(value as i64, scalar) };
    (expr, scalar)
}

fn named(b: &mut Context, x: Typed) -> Typed {
    match x.0 {
        Expr::Var(_) | Expr::Int(..) | Expr::Float(..) => x,
        expr => (b.bind("v", Type::scalar(x.1), expr), x.1),
    }
}

fn emit_unary(b: &mut Context, op: GraphUnary, x: Typed) -> Typed {
    let s = x.1;
    let c = |v: f64| constant(v, s).0;
    let simple = |op: UnaryOp, x: Typed| (Expr::unary(op, x.0), s);
    match op {
        GraphUnary::Neg => simple(UnaryOp::Neg, x),
        GraphUnary::Abs => simple(UnaryOp::Abs, x),
        GraphUnary::Exp => simple(UnaryOp::Exp, x),
        GraphUnary::Log => simple(UnaryOp::Log, x),
        GraphUnary::Sqrt => simple(UnaryOp::Sqrt, x),
        GraphUnary::Erf => simple(UnaryOp::Erf, x),
        GraphUnary::Tanh => simple(UnaryOp::Tanh, x),
        GraphUnary::Floor => simple(UnaryOp::Floor, x),
        GraphUnary::Ceil => simple(UnaryOp::Ceil, x),
        GraphUnary::Round => simple(UnaryOp::Round, x),
        GraphUnary::Sin => simple(UnaryOp::Sin, x),
        GraphUnary::Cos => simple(UnaryOp::Cos, x),
        GraphUnary::Not => simple(UnaryOp::Not, x),
        GraphUnary::Atan => {
            let x = named(b, x);
            (atan(b, x.0, s), s)
        }
        GraphUnary::Reciprocal => (Expr::binary(BinaryOp::Div, c(1.0), x.0), s),
        GraphUnary::Rsqrt => (Expr::binary(BinaryOp::Div, c(1.0), Expr::unary(UnaryOp::Sqrt, x.0)), s),
        // The second operand is the result where either is NaN.
        GraphUnary::Relu => (Expr::binary(BinaryOp::Max, c(0.0), x.0), s),
        GraphUnary::Sigmoid => {
            let x = named(b, x);
            (sigmoid(b, x.0, s), s)
        }
        GraphUnary::Silu => {
            let x = named(b, x);
            (x.0.clone() * sigmoid(b, x.0, s), s)
        }
        GraphUnary::Gelu if s == Scalar::F32 => {
            let x = named(b, x);
            (gelu(b, x.0), s)
        }
        GraphUnary::Gelu => {
            let x = named(b, x);
            let erf = Expr::unary(UnaryOp::Erf, x.0.clone() * c(std::f64::consts::FRAC_1_SQRT_2));
            (x.0 * c(0.5) * (erf + c(1.0)), s)
        }
        GraphUnary::GeluTanh => {
            let x = named(b, x);
            let cubic = Expr::fma(x.0.clone() * x.0.clone() * x.0.clone(), c(0.044_715), x.0.clone());
            let inner = cubic * c((2.0 / std::f64::consts::PI).sqrt());
            (x.0 * c(0.5) * (Expr::unary(UnaryOp::Tanh, inner) + c(1.0)), s)
        }
    }
}

/// Coefficients of `sigmoid x = 1/2 + x p(x^2) / q(x^2)` on -18..18, as Eigen and ONNX Runtime have them: why, see
/// `tanh` of the tensor IR. The error is below 2e-7, and not relative: towards -18 what is left is that of the sum.
const SIGMOID_P: [f64; 5] = [
    2.482_879_470_615_29e-1,
    8.513_771_333_047_01e-3,
    6.085_748_646_001_43e-5,
    1.156_273_244_599_42e-7,
    4.370_310_125_798_01e-11,
];
const SIGMOID_Q: [f64; 6] = [
    9.931_519_210_231_8e-1,
    1.168_176_569_044_53e-1,
    1.701_988_173_740_94e-3,
    6.291_067_850_170_4e-6,
    5.761_021_369_934_27e-9,
    6.102_473_897_556_81e-13,
];

/// `1 / (1 + e^-x)`.
fn sigmoid(b: &mut Context, x: Expr, s: Scalar) -> Expr {
    if s == Scalar::F32 {
        return sigmoid_f32(b, x);
    }
    let one = constant(1.0, s).0;
    Expr::binary(BinaryOp::Div, one.clone(), one + Expr::unary(UnaryOp::Exp, Expr::unary(UnaryOp::Neg, x)))
}

/// The second operand of a minimum or maximum is the result where either is NaN.
fn sigmoid_f32(b: &mut Context, x: Expr) -> Expr {
    let limited = Expr::binary(BinaryOp::Max, Expr::f32(-18.0), x);
    let x = b.bind("x", Type::scalar(Scalar::F32), Expr::binary(BinaryOp::Min, Expr::f32(18.0), limited));
    let square = b.bind("square", Type::scalar(Scalar::F32), x.clone() * x.clone());
    let polynomial = |c: &[f64]| {
        let terms = c.iter().rev().map(|&c| Expr::Float(c, Scalar::F32));
        terms.reduce(|sum, c| Expr::fma(sum, square.clone(), c)).unwrap_or(Expr::f32(0.0))
    };
    let ratio = Expr::binary(BinaryOp::Div, polynomial(&SIGMOID_P) * x, polynomial(&SIGMOID_Q));
    Expr::binary(BinaryOp::Max, Expr::f32(0.0), ratio + Expr::f32(0.5))
}

fn emit_binary(b: &mut Context, op: GraphBinary, x: Typed, y: Typed) -> Typed {
    let s = x.1;
    let compare = |op: CompareOp, x: Typed, y: Typed| (Expr::compare(op, x.0, y.0), Scalar::Bool);
    let plain = |op: BinaryOp, x: Typed, y: Typed| (Expr::Binary(op, Box::new(x.0), Box::new(y.0)), s);
    match op {
        GraphBinary::Add => plain(BinaryOp::Add, x, y),
        GraphBinary::Sub => plain(BinaryOp::Sub, x, y),
        GraphBinary::Mul => plain(BinaryOp::Mul, x, y),
        GraphBinary::Div => plain(BinaryOp::Div, x, y),
        GraphBinary::Pow if matches!(y.0, Expr::Float(v, _) if v == 2.0) => {
            let x = named(b, x);
            (x.0.clone() * x.0, s)
        }
        GraphBinary::Pow if !s.is_float() => (integer_power(b, x, y), s),
        GraphBinary::Pow => plain(BinaryOp::Pow, x, y),
        GraphBinary::Rem if s.is_float() => {
            let (x, y) = (named(b, x), named(b, y));
            (remainder(b, x.0, y.0, s), s)
        }
        GraphBinary::Rem => plain(BinaryOp::Rem, x, y),
        GraphBinary::And => plain(BinaryOp::And, x, y),
        GraphBinary::Or => plain(BinaryOp::Or, x, y),
        GraphBinary::Xor => plain(BinaryOp::Xor, x, y),
        GraphBinary::ShiftLeft | GraphBinary::ShiftRight => shift(b, op, x, y),
        GraphBinary::Min => nan_keeping(b, BinaryOp::Min, x, y),
        GraphBinary::Max => nan_keeping(b, BinaryOp::Max, x, y),
        GraphBinary::Equal => compare(CompareOp::Eq, x, y),
        GraphBinary::Less => compare(CompareOp::Lt, x, y),
        GraphBinary::LessEqual => compare(CompareOp::Le, x, y),
        GraphBinary::Greater => compare(CompareOp::Gt, x, y),
        GraphBinary::GreaterEqual => compare(CompareOp::Ge, x, y),
    }
}

/// A shift, whose amount the tensor IR wants below the number of bits.
fn shift(b: &mut Context, op: GraphBinary, x: Typed, y: Typed) -> Typed {
    let s = x.1;
    let int = |v: i64| Expr::Int(v, s);
    let last = s.size() as i64 * 8 - 1;
    let y = named(b, y);
    // An amount below 0 is none, either.
    let mut fits = Expr::compare(CompareOp::Le, y.0.clone(), int(last));
    if s.is_signed() {
        fits = Expr::binary(BinaryOp::And, fits, Expr::compare(CompareOp::Ge, y.0.clone(), int(0)));
    }
    let amount = Expr::select(fits.clone(), y.0, int(last));
    let shifted = match op {
        GraphBinary::ShiftLeft => Expr::select(fits, Expr::binary(BinaryOp::Shl, x.0, amount), int(0)),
        _ if s.is_signed() => Expr::binary(BinaryOp::Shr, x.0, amount),
        _ => Expr::select(fits, Expr::binary(BinaryOp::Shr, x.0, amount), int(0)),
    };
    (shifted, s)
}

/// `x^y` of integers, by the bits of the exponent; a negative one gives the reciprocal, truncated.
fn integer_power(b: &mut Context, x: Typed, y: Typed) -> Expr {
    let s = x.1;
    let int = |v: i64| Expr::Int(v, s);
    let (base, exponent) = (named(b, x).0, named(b, y).0);
    let negative = s.is_signed().then(|| Expr::compare(CompareOp::Lt, exponent.clone(), int(0)));
    // Powers beyond the 63rd are of 0, 1 and -1, or wrap: for the former the lowest bit of the exponent decides.
    let (exponent, bits) = match exponent.as_int() {
        Some(v) if (0..1 << 20).contains(&v) => (exponent, 64 - i64::from(v.leading_zeros())),
        _ => {
            let lowest = Expr::Binary(BinaryOp::And, Box::new(exponent.clone()), Box::new(int(1)));
            let most = b.bind("most", Type::scalar(s), int(62) + lowest);
            (b.bind("exponent", Type::scalar(s), exponent.min(most)), 6)
        }
    };
    let (mut power, mut result) = (base.clone(), int(1));
    for bit in 0..bits {
        let taken = Expr::Binary(BinaryOp::And, Box::new(exponent.clone()), Box::new(int(1 << bit)));
        let taken = Expr::compare(CompareOp::Ne, taken, int(0));
        result = b.bind("power", Type::scalar(s), Expr::select(taken, result.clone() * power.clone(), result));
        if bit + 1 < bits {
            power = b.bind("square", Type::scalar(s), power.clone() * power);
        }
    }
    let Some(negative) = negative else { return result };
    // Of a negative exponent the lowest bit is right, and the others make no difference to 1 and -1. Of a reciprocal nothing is left but where the base is 1 or -1, for which the lowest bit of the exponent decides.
    let unit = Expr::compare(CompareOp::Eq, base.clone() * base, int(1));
    Expr::select(negative, Expr::select(unit, result.clone(), int(0)), result)
}

/// The machine's minimum and maximum give the second operand where either is NaN; a constant first operand is enough.
fn nan_keeping(b: &mut Context, op: BinaryOp, x: Typed, y: Typed) -> Typed {
    let s = x.1;
    let is_constant = |e: &Expr| matches!(e, Expr::Float(v, _) if !v.is_nan()) || matches!(e, Expr::Int(..));
    if !s.is_float() || is_constant(&x.0) {
        return (Expr::Binary(op, Box::new(x.0), Box::new(y.0)), s);
    }
    if is_constant(&y.0) {
        return (Expr::Binary(op, Box::new(y.0), Box::new(x.0)), s);
    }
    let x = named(b, x);
    let result = Expr::Binary(op, Box::new(x.0.clone()), Box::new(y.0));
    (Expr::select(Expr::compare(CompareOp::Ne, x.0.clone(), x.0.clone()), x.0, result), s)
}
