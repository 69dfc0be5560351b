//! Steps of optimisers (`ai.onnx.preview.training`): element-wise, for any number of tensors at once.

use sparsec_graph::{BinaryOp, UnaryOp};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Rate, count of updates, and as many groups of tensors as the optimiser keeps.
fn groups(node: &Node<'_>, kinds: usize) -> Result<(Operand, Operand, Vec<Vec<Operand>>), Fault> {
    let all = node.all_inputs()?;
    let [rate, count, tensors @ ..] = all.as_slice() else { return Err(Fault::MissingInput(1)) };
    if tensors.is_empty() || tensors.len() % kinds != 0 {
        return Err(Fault::invalid(format!("{} tensors are not {kinds} for each that is trained", tensors.len())));
    }
    Ok((*rate, *count, tensors.chunks(tensors.len() / kinds).map(<[Operand]>::to_vec).collect()))
}

/// `norm x + gradient`.
fn regularised(cx: &mut Context, node: &Node<'_>, x: Operand, gradient: Operand) -> Result<Operand, Fault> {
    let norm = node.float_or("norm_coefficient", 0.0)?;
    let pull = cx.with_number(BinaryOp::Mul, x, norm)?;
    cx.binary(BinaryOp::Add, pull, gradient)
}

/// `a x + b y`.
fn blend(cx: &mut Context, (a, x): (f64, Operand), (b, y): (f64, Operand)) -> Result<Operand, Fault> {
    let (x, y) = (cx.with_number(BinaryOp::Mul, x, a)?, cx.with_number(BinaryOp::Mul, y, b)?);
    cx.binary(BinaryOp::Add, x, y)
}

/// `x - rate * direction / (sqrt(squares) + epsilon)`.
fn scaled_step(
    cx: &mut Context,
    x: Operand,
    rate: Operand,
    (direction, squares): (Operand, Operand),
    epsilon: f64,
) -> Result<Operand, Fault> {
    let root = cx.unary(UnaryOp::Sqrt, squares)?;
    let divisor = cx.with_number(BinaryOp::Add, root, epsilon)?;
    let step = cx.binary(BinaryOp::Mul, rate, direction)?;
    let step = cx.binary(BinaryOp::Div, step, divisor)?;
    cx.binary(BinaryOp::Sub, x, step)
}

/// `Adagrad`: steps shrink with the sum of the squares of all gradients.
pub(super) fn adagrad(cx: &mut Context, node: &Node<'_>) -> Results {
    let (rate, count, groups) = groups(node, 3)?;
    let count = cx.cast(count, cx.dtype(rate))?;
    let decay = cx.with_number(BinaryOp::Mul, count, node.float_or("decay_factor", 0.0)?)?;
    let decay = cx.with_number(BinaryOp::Add, decay, 1.0)?;
    let rate = cx.binary(BinaryOp::Div, rate, decay)?;
    let (mut trained, mut sums) = (Vec::new(), Vec::new());
    for ((&x, &gradient), &squares) in groups[0].iter().zip(&groups[1]).zip(&groups[2]) {
        let gradient = regularised(cx, node, x, gradient)?;
        let square = cx.binary(BinaryOp::Mul, gradient, gradient)?;
        let squares = cx.binary(BinaryOp::Add, squares, square)?;
        trained.push(scaled_step(cx, x, rate, (gradient, squares), node.float_or("epsilon", 1e-6)?)?);
        sums.push(squares);
    }
    Ok([trained, sums].concat())
}

/// `Adam`: averages of the gradients and of their squares.
pub(super) fn adam(cx: &mut Context, node: &Node<'_>) -> Results {
    let (rate, count, groups) = groups(node, 4)?;
    let (alpha, beta) = (node.float_or("alpha", 0.9)?, node.float_or("beta", 0.999)?);
    // The averages start from 0, which is made up for from the first update on.
    let dtype = cx.dtype(rate);
    let float = cx.cast(count, dtype)?;
    let mut missing = [alpha, beta];
    let mut weights = Vec::new();
    for base in &mut missing {
        let base = cx.scalar(dtype, *base);
        let power = cx.binary(BinaryOp::Pow, base, float)?;
        let one = cx.scalar(dtype, 1.0);
        weights.push(cx.binary(BinaryOp::Sub, one, power)?);
    }
    let root = cx.unary(UnaryOp::Sqrt, weights[1])?;
    let factor = cx.binary(BinaryOp::Div, root, weights[0])?;
    let corrected = cx.binary(BinaryOp::Mul, rate, factor)?;
    let begun = cx.with_number(BinaryOp::Greater, count, 0.0)?;
    let rate = cx.select(begun, corrected, rate)?;
    let post = 1.0 - node.float_or("norm_coefficient_post", 0.0)?;
    let (mut trained, mut means, mut squares) = (Vec::new(), Vec::new(), Vec::new());
    for (i, &x) in groups[0].iter().enumerate() {
        let gradient = regularised(cx, node, x, groups[1][i])?;
        let mean = blend(cx, (alpha, groups[2][i]), (1.0 - alpha, gradient))?;
        let square = cx.binary(BinaryOp::Mul, gradient, gradient)?;
        let square = blend(cx, (beta, groups[3][i]), (1.0 - beta, square))?;
        let new = scaled_step(cx, x, rate, (mean, square), node.float_or("epsilon", 1e-6)?)?;
        trained.push(cx.with_number(BinaryOp::Mul, new, post)?);
        means.push(mean);
        squares.push(square);
    }
    Ok([trained, means, squares].concat())
}

/// `Momentum`: a step goes on in the direction of those before.
pub(super) fn momentum(cx: &mut Context, node: &Node<'_>) -> Results {
    let (rate, count, groups) = groups(node, 3)?;
    let float = |name: &str| node.float(name)?.map(f64::from).ok_or_else(|| Fault::attribute(name, "is missing"));
    let (alpha, beta) = (float("alpha")?, float("beta")?);
    let nesterov = match node.string("mode")? {
        Some("standard") => false,
        Some("nesterov") => true,
        _ => return Err(Fault::attribute("mode", "must be standard or nesterov")),
    };
    let begun = cx.with_number(BinaryOp::Greater, count, 0.0)?;
    let (beta, one) = (cx.scalar(cx.dtype(rate), beta), cx.scalar(cx.dtype(rate), 1.0));
    let beta = cx.select(begun, beta, one)?;
    let (mut trained, mut moments) = (Vec::new(), Vec::new());
    for ((&x, &gradient), &moment) in groups[0].iter().zip(&groups[1]).zip(&groups[2]) {
        let gradient = regularised(cx, node, x, gradient)?;
        let fresh = cx.binary(BinaryOp::Mul, beta, gradient)?;
        let kept = cx.with_number(BinaryOp::Mul, moment, alpha)?;
        let moment = cx.binary(BinaryOp::Add, kept, fresh)?;
        let mut direction = moment;
        if nesterov {
            let ahead = cx.with_number(BinaryOp::Mul, moment, alpha)?;
            direction = cx.binary(BinaryOp::Add, gradient, ahead)?;
        }
        let step = cx.binary(BinaryOp::Mul, rate, direction)?;
        trained.push(cx.binary(BinaryOp::Sub, x, step)?);
        moments.push(moment);
    }
    Ok([trained, moments].concat())
}
