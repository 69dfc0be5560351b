//! Operators that draw random numbers.
//!
//! A compiled model keeps no state, so a run draws what the last one drew. The numbers follow from the attribute `seed`, and where there is
//! none from the node's name: two nodes draw different numbers, and the same model compiles to the same library.

use sparsec_graph::{BinaryOp, DType, Dim, Op, TensorType, UnaryOp};
use sparsec_loops::{Extreme, arg_extreme, random_uniform};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// FNV-1a, 64 bits (Fowler, Noll, Vo).
fn hash(bytes: impl IntoIterator<Item = u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn seed(cx: &Context, node: &Node<'_>) -> Result<u64, Fault> {
    Ok(match node.float("seed")? {
        Some(seed) => u64::from(seed.to_bits()),
        // Dropout has an integer.
        None => hash(cx.node_name.bytes()),
    })
}

/// Uniform numbers from 0 to below 1.
fn uniform(cx: &mut Context, dtype: DType, shape: &[Dim], seed: u64) -> Result<Operand, Fault> {
    super::context::check_type(&TensorType::new(dtype, shape))?;
    let drawn = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    cx.only(random_uniform(drawn, shape, seed), &[])
}

/// Numbers of a normal distribution, by the method of Box and Muller.
fn normal(cx: &mut Context, dtype: DType, shape: &[Dim], seed: u64) -> Result<Operand, Fault> {
    let length = uniform(cx, dtype, shape, seed)?;
    let turn = uniform(cx, dtype, shape, hash(seed.to_le_bytes()))?;
    // From (0, 1], so that the logarithm is finite.
    let one = cx.scalar(cx.dtype(length), 1.0);
    let length = cx.binary(BinaryOp::Sub, one, length)?;
    let log = cx.unary(UnaryOp::Log, length)?;
    let square = cx.with_number(BinaryOp::Mul, log, -2.0)?;
    let radius = cx.unary(UnaryOp::Sqrt, square)?;
    let angle = cx.with_number(BinaryOp::Mul, turn, std::f64::consts::TAU)?;
    let cosine = cx.unary(UnaryOp::Cos, angle)?;
    cx.binary(BinaryOp::Mul, radius, cosine)
}

/// The type that the attribute `dtype` names.
fn named_type(node: &Node<'_>) -> Result<Option<DType>, Fault> {
    node.int("dtype")?.map(|number| Ok(tensor::dtype(i32::try_from(number).unwrap_or(-1))?)).transpose()
}

/// `RandomUniform`, `RandomNormal`, and both like another tensor.
pub(super) fn random(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = node.proto.op_type();
    let (shape, dtype) = if op.ends_with("Like") {
        let x = node.input(0)?;
        let shape = if cx.is_text(x) { return Err(Fault::invalid("random texts")) } else { cx.shape(x) };
        (shape, named_type(node)?.unwrap_or(cx.dtype(x)))
    } else {
        let shape = node.ints("shape")?.ok_or_else(|| Fault::attribute("shape", "is missing"))?;
        (shape.iter().copied().map(Dim::constant).collect(), named_type(node)?.unwrap_or(DType::F32))
    };
    if !dtype.is_float() {
        return Err(Fault::unsupported(format!("random numbers of type {dtype}")));
    }
    let seed = seed(cx, node)?;
    let (numbers, offset, scale) = if op.starts_with("RandomUniform") {
        let (low, high) = (node.float_or("low", 0.0)?, node.float_or("high", 1.0)?);
        (uniform(cx, dtype, &shape, seed)?, low, high - low)
    } else {
        (normal(cx, dtype, &shape, seed)?, node.float_or("mean", 0.0)?, node.float_or("scale", 1.0)?)
    };
    let scaled = cx.with_number(BinaryOp::Mul, numbers, scale)?;
    let moved = cx.with_number(BinaryOp::Add, scaled, offset)?;
    Ok(vec![cx.cast(moved, dtype)?])
}

/// `Bernoulli`: 1 with the probability that each element is.
pub(super) fn bernoulli(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    if !cx.dtype(x).is_float() {
        return Err(Fault::invalid(format!("probabilities of type {}", cx.ty(x))));
    }
    let to = named_type(node)?.unwrap_or(cx.dtype(x));
    let seed = seed(cx, node)?;
    let numbers = uniform(cx, cx.dtype(x), &cx.shape(x), seed)?;
    let x = cx.cast(x, cx.dtype(numbers))?;
    let hits = cx.binary(BinaryOp::Less, numbers, x)?;
    Ok(vec![cx.cast(hits, to)?])
}

/// `Multinomial`: classes with probabilities of which the logarithms are given, unnormalised. The class of the largest logarithm plus
/// noise of the standard Gumbel distribution has these probabilities.
pub(super) fn multinomial(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let [batch, classes] = shape.as_slice() else { return Err(Fault::invalid("the operand must be a matrix")) };
    if !cx.dtype(x).is_float() {
        return Err(Fault::invalid(format!("logarithms of type {}", cx.ty(x))));
    }
    let to = named_type(node)?.unwrap_or(DType::I32);
    let samples = Dim::constant(node.int_or("sample_size", 1)?);
    let seed = seed(cx, node)?;
    let numbers = uniform(cx, cx.dtype(x), &[batch.clone(), samples, classes.clone()], seed)?;
    let one = cx.scalar(cx.dtype(numbers), 1.0);
    let positive = cx.binary(BinaryOp::Sub, one, numbers)?;
    let log = cx.unary(UnaryOp::Log, positive)?;
    let log = cx.unary(UnaryOp::Neg, log)?;
    let log = cx.unary(UnaryOp::Log, log)?;
    let x = cx.cast(x, cx.dtype(numbers))?;
    let x = cx.insert_axes(x, &[1])?;
    let noisy = cx.binary(BinaryOp::Sub, x, log)?;
    let spec = arg_extreme(cx.ty(noisy), 2, Extreme::Max, false);
    let places = cx.only(spec, &[noisy])?;
    let mut shape = cx.shape(noisy);
    shape.truncate(2);
    let places = cx.reshape(places, shape)?;
    Ok(vec![cx.cast(places, to)?])
}

/// `Dropout` in training: elements are zero with a probability, and the others grow by as much as that takes away; whether this is
/// training may be known only when the model runs. The mask says what stays.
pub(super) fn training_dropout(cx: &mut Context, node: &Node<'_>, x: Operand, training: Option<Operand>) -> Results {
    let dtype = cx.dtype(x);
    if !dtype.is_float() {
        return Err(Fault::invalid(format!("dropout of {}", cx.ty(x))));
    }
    let shape = cx.shape(x);
    let ratio = match node.optional(1) {
        Some(ratio) if cx.rank(ratio) == 0 => ratio,
        Some(ratio) => cx.append(Op::Reshape(Vec::new()), &[ratio])?,
        None => {
            let ratio = node.float_or("ratio", 0.5)?;
            cx.scalar(DType::F32, ratio)
        }
    };
    let seed = match node.int("seed")? {
        Some(seed) => seed as u64,
        None => hash(cx.node_name.bytes()),
    };
    let numbers = uniform(cx, dtype, &shape, seed)?;
    let share = cx.cast(ratio, cx.dtype(numbers))?;
    let mut mask = cx.binary(BinaryOp::GreaterEqual, numbers, share)?;
    let ratio = cx.cast(ratio, dtype)?;
    let one = cx.scalar(dtype, 1.0);
    let rest = cx.binary(BinaryOp::Sub, one, ratio)?;
    let grown = cx.binary(BinaryOp::Div, x, rest)?;
    let mut y = cx.select_or(mask, grown, 0.0)?;
    if let Some(training) = training {
        y = cx.select(training, y, x)?;
        let inference = cx.unary(UnaryOp::Not, training)?;
        mask = cx.binary(BinaryOp::Or, mask, inference)?;
    }
    let mask = if node.opset < 10 { cx.cast(mask, dtype)? } else { mask };
    Ok(vec![y, mask])
}
