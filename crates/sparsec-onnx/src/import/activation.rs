//! Activation functions, where the graph has none of that name composed of simpler operators.

use sparsec_graph::{BinaryOp, DType, Op, UnaryOp};

use super::context::{Context, Operand};
use super::elementwise::apply_scalar;
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

fn unary(cx: &mut Context, op: UnaryOp, x: Operand) -> Result<Operand, Fault> {
    cx.append(Op::Unary(op), &[x])
}

fn binary(cx: &mut Context, op: BinaryOp, x: Operand, y: Operand) -> Result<Operand, Fault> {
    cx.append(Op::Binary(op), &[x, y])
}

/// `if x < 0 { negative } else { positive }`.
fn where_negative(cx: &mut Context, x: Operand, negative: Operand, positive: Operand) -> Results {
    let below = apply_scalar(cx, BinaryOp::Less, x, 0.0)?;
    Ok(vec![cx.append(Op::Where, &[below, negative, positive])?])
}

/// `Gelu`, by the error function or by the hyperbolic tangent.
pub(super) fn gelu(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = match node.string("approximate")?.unwrap_or("none") {
        "none" => UnaryOp::Gelu,
        "tanh" => UnaryOp::GeluTanh,
        other => return Err(Fault::attribute("approximate", format!("is `{other}`"))),
    };
    Ok(vec![unary(cx, op, node.input(0)?)?])
}

/// `com.microsoft.FastGelu`: the form by the hyperbolic tangent, of `x + bias`.
pub(super) fn fast_gelu(cx: &mut Context, node: &Node<'_>) -> Results {
    let mut x = node.input(0)?;
    if let Some(bias) = node.optional(1) {
        x = binary(cx, BinaryOp::Add, x, bias)?;
    }
    Ok(vec![unary(cx, UnaryOp::GeluTanh, x)?])
}

/// `com.microsoft.BiasGelu`: the form by the error function, of `x + bias`.
pub(super) fn bias_gelu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = binary(cx, BinaryOp::Add, node.input(0)?, node.input(1)?)?;
    Ok(vec![unary(cx, UnaryOp::Gelu, x)?])
}

/// `LeakyRelu`: `alpha x` below 0.
pub(super) fn leaky_relu(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![leaky(cx, node.input(0)?, node.float_or("alpha", 0.01)?)?])
}

/// `alpha x` below 0.
pub(super) fn leaky(cx: &mut Context, x: Operand, alpha: f64) -> Result<Operand, Fault> {
    let negative = apply_scalar(cx, BinaryOp::Mul, x, alpha)?;
    let zero = cx.scalar(cx.dtype(x), 0.0);
    let below = cx.append(Op::Binary(BinaryOp::Less), &[x, zero])?;
    cx.append(Op::Where, &[below, negative, x])
}

/// `PRelu`: `slope x` below 0. Before operator set 7 a vector of slopes belongs to axis 1.
pub(super) fn prelu(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, mut slope) = (node.input(0)?, node.input(1)?);
    if node.opset < 7 && cx.rank(slope) == 1 && cx.rank(x) > 2 && !cx.shape(slope)[0].is(1) {
        let places: Vec<usize> = (1..cx.rank(x) - 1).collect();
        slope = cx.insert_axes(slope, &places)?;
    }
    let negative = binary(cx, BinaryOp::Mul, x, slope)?;
    where_negative(cx, x, negative, x)
}

/// `alpha (e^(x / divisor) - 1)`.
fn exponential(cx: &mut Context, x: Operand, alpha: f64, divisor: f64) -> Result<Operand, Fault> {
    let scaled = if divisor == 1.0 { x } else { apply_scalar(cx, BinaryOp::Div, x, divisor)? };
    let exp = unary(cx, UnaryOp::Exp, scaled)?;
    let less = apply_scalar(cx, BinaryOp::Sub, exp, 1.0)?;
    if alpha == 1.0 { Ok(less) } else { apply_scalar(cx, BinaryOp::Mul, less, alpha) }
}

/// `Elu`: `alpha (e^x - 1)` below 0.
pub(super) fn elu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let negative = exponential(cx, x, node.float_or("alpha", 1.0)?, 1.0)?;
    where_negative(cx, x, negative, x)
}

/// `Celu`: `alpha (e^(x / alpha) - 1)` below 0.
pub(super) fn celu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let alpha = node.float_or("alpha", 1.0)?;
    let negative = exponential(cx, x, alpha, alpha)?;
    where_negative(cx, x, negative, x)
}

/// `Selu`: `gamma x`, and `gamma alpha (e^x - 1)` below 0.
pub(super) fn selu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    // The defaults of the standard, rounded to `f32` as it stores them.
    let (alpha, gamma) = (node.float_or("alpha", 1.673_263_2)?, node.float_or("gamma", 1.050_701)?);
    let negative = exponential(cx, x, alpha * gamma, 1.0)?;
    let positive = apply_scalar(cx, BinaryOp::Mul, x, gamma)?;
    where_negative(cx, x, negative, positive)
}

/// `ThresholdedRelu`: 0 up to `alpha`.
pub(super) fn thresholded_relu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let above = apply_scalar(cx, BinaryOp::Greater, x, node.float_or("alpha", 1.0)?)?;
    let zero = cx.scalar(cx.dtype(x), 0.0);
    Ok(vec![cx.append(Op::Where, &[above, x, zero])?])
}

/// `clip(alpha x + beta, 0, 1)`.
fn clipped_line(cx: &mut Context, x: Operand, alpha: f64, beta: f64) -> Result<Operand, Fault> {
    let scaled = apply_scalar(cx, BinaryOp::Mul, x, alpha)?;
    let line = apply_scalar(cx, BinaryOp::Add, scaled, beta)?;
    cx.append(Op::Clip { lo: 0.0, hi: 1.0 }, &[line])
}

/// `HardSigmoid`.
pub(super) fn hard_sigmoid(cx: &mut Context, node: &Node<'_>) -> Results {
    let (alpha, beta) = (node.float_or("alpha", 0.2)?, node.float_or("beta", 0.5)?);
    Ok(vec![clipped_line(cx, node.input(0)?, alpha, beta)?])
}

/// `HardSwish`: `x clip(x / 6 + 1/2, 0, 1)`.
pub(super) fn hard_swish(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let gate = clipped_line(cx, x, 1.0 / 6.0, 0.5)?;
    Ok(vec![binary(cx, BinaryOp::Mul, x, gate)?])
}

/// `Swish`: `x sigmoid(alpha x)`.
pub(super) fn swish(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let alpha = node.float_or("alpha", 1.0)?;
    if alpha == 1.0 {
        return Ok(vec![unary(cx, UnaryOp::Silu, x)?]);
    }
    let scaled = apply_scalar(cx, BinaryOp::Mul, x, alpha)?;
    let gate = unary(cx, UnaryOp::Sigmoid, scaled)?;
    Ok(vec![binary(cx, BinaryOp::Mul, x, gate)?])
}

/// `log(1 + e^x)`, as `max(x, 0) + log(1 + e^-|x|)`, which can't overflow.
fn log_one_plus_exp(cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
    let magnitude = unary(cx, UnaryOp::Abs, x)?;
    let negated = unary(cx, UnaryOp::Neg, magnitude)?;
    let exp = unary(cx, UnaryOp::Exp, negated)?;
    let sum = apply_scalar(cx, BinaryOp::Add, exp, 1.0)?;
    let log = unary(cx, UnaryOp::Log, sum)?;
    let positive = unary(cx, UnaryOp::Relu, x)?;
    binary(cx, BinaryOp::Add, positive, log)
}

/// `Softplus`.
pub(super) fn softplus(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![log_one_plus_exp(cx, node.input(0)?)?])
}

/// `Mish`: `x tanh(softplus(x))`.
pub(super) fn mish(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let inner = log_one_plus_exp(cx, x)?;
    let gate = unary(cx, UnaryOp::Tanh, inner)?;
    Ok(vec![binary(cx, BinaryOp::Mul, x, gate)?])
}

/// `Softsign`: `x / (1 + |x|)`.
pub(super) fn softsign(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let magnitude = unary(cx, UnaryOp::Abs, x)?;
    let divisor = apply_scalar(cx, BinaryOp::Add, magnitude, 1.0)?;
    Ok(vec![binary(cx, BinaryOp::Div, x, divisor)?])
}

/// `Sign`: -1, 0 or 1.
pub(super) fn sign(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let dtype = cx.dtype(x);
    let above = apply_scalar(cx, BinaryOp::Greater, x, 0.0)?;
    let zero = cx.scalar(dtype, 0.0);
    let one = cx.scalar(dtype, 1.0);
    let positive = cx.append(Op::Where, &[above, one, zero])?;
    if matches!(dtype, DType::U8 | DType::U16 | DType::U32 | DType::U64) {
        return Ok(vec![positive]);
    }
    let minus_one = cx.scalar(dtype, -1.0);
    where_negative(cx, x, minus_one, positive)
}

/// `Shrink`: `x + bias` below `-lambd`, `x - bias` above `lambd`, 0 between.
pub(super) fn shrink(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (lambd, bias) = (node.float_or("lambd", 0.5)?, node.float_or("bias", 0.0)?);
    let below = apply_scalar(cx, BinaryOp::Less, x, -lambd)?;
    let above = apply_scalar(cx, BinaryOp::Greater, x, lambd)?;
    let raised = apply_scalar(cx, BinaryOp::Add, x, bias)?;
    let lowered = apply_scalar(cx, BinaryOp::Sub, x, bias)?;
    let rest = cx.select_or(above, lowered, 0.0)?;
    Ok(vec![cx.select(below, raised, rest)?])
}

/// `com.microsoft.QuickGelu`: `x sigmoid(alpha x)`.
pub(super) fn quick_gelu(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let scaled = apply_scalar(cx, BinaryOp::Mul, x, node.float_or("alpha", 1.702)?)?;
    let gate = unary(cx, UnaryOp::Sigmoid, scaled)?;
    Ok(vec![binary(cx, BinaryOp::Mul, x, gate)?])
}

/// An activation function of a recurrent operator, and whether it takes alpha and beta.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activation {
    name: &'static str,
    alpha: Option<f64>,
    beta: Option<f64>,
}

/// The functions by name, with the defaults of what they take.
const ACTIVATIONS: &[Activation] = &[
    Activation { name: "Relu", alpha: None, beta: None },
    Activation { name: "Tanh", alpha: None, beta: None },
    Activation { name: "Sigmoid", alpha: None, beta: None },
    Activation { name: "Softsign", alpha: None, beta: None },
    Activation { name: "Softplus", alpha: None, beta: None },
    Activation { name: "Affine", alpha: Some(1.0), beta: Some(0.0) },
    Activation { name: "LeakyRelu", alpha: Some(0.01), beta: None },
    Activation { name: "ThresholdedRelu", alpha: Some(1.0), beta: None },
    Activation { name: "ScaledTanh", alpha: Some(1.7159), beta: Some(0.666_67) },
    Activation { name: "HardSigmoid", alpha: Some(0.2), beta: Some(0.5) },
    Activation { name: "Elu", alpha: Some(1.0), beta: None },
];

impl Activation {
    /// The function of this name; what it takes of `alphas` and `betas` it takes from their front.
    pub(super) fn new(
        name: &str,
        alphas: &mut impl Iterator<Item = f32>,
        betas: &mut impl Iterator<Item = f32>,
    ) -> Result<Self, Fault> {
        let known = ACTIVATIONS.iter().find(|a| a.name.eq_ignore_ascii_case(name));
        let mut found = *known.ok_or_else(|| Fault::attribute("activations", format!("names `{name}`")))?;
        found.alpha = found.alpha.map(|default| alphas.next().map_or(default, f64::from));
        found.beta = found.beta.map(|default| betas.next().map_or(default, f64::from));
        Ok(found)
    }

    /// The function of an operand.
    pub(super) fn apply(self, cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
        let (alpha, beta) = (self.alpha.unwrap_or(1.0), self.beta.unwrap_or(0.0));
        let negative = |cx: &mut Context, below| {
            let is_negative = apply_scalar(cx, BinaryOp::Less, x, 0.0)?;
            cx.append(Op::Where, &[is_negative, below, x])
        };
        match self.name {
            "Relu" => unary(cx, UnaryOp::Relu, x),
            "Tanh" => unary(cx, UnaryOp::Tanh, x),
            "Sigmoid" => unary(cx, UnaryOp::Sigmoid, x),
            "Softplus" => log_one_plus_exp(cx, x),
            "HardSigmoid" => clipped_line(cx, x, alpha, beta),
            "Softsign" => {
                let magnitude = unary(cx, UnaryOp::Abs, x)?;
                let divisor = apply_scalar(cx, BinaryOp::Add, magnitude, 1.0)?;
                binary(cx, BinaryOp::Div, x, divisor)
            }
            "Affine" => {
                let scaled = apply_scalar(cx, BinaryOp::Mul, x, alpha)?;
                apply_scalar(cx, BinaryOp::Add, scaled, beta)
            }
            "LeakyRelu" => {
                let below = apply_scalar(cx, BinaryOp::Mul, x, alpha)?;
                negative(cx, below)
            }
            "ThresholdedRelu" => {
                let above = apply_scalar(cx, BinaryOp::GreaterEqual, x, alpha)?;
                let zero = cx.scalar(cx.dtype(x), 0.0);
                cx.append(Op::Where, &[above, x, zero])
            }
            "ScaledTanh" => {
                let scaled = apply_scalar(cx, BinaryOp::Mul, x, beta)?;
                let tanh = unary(cx, UnaryOp::Tanh, scaled)?;
                apply_scalar(cx, BinaryOp::Mul, tanh, alpha)
            }
            _ => {
                let below = exponential(cx, x, alpha, 1.0)?;
                negative(cx, below)
            }
        }
    }
}
