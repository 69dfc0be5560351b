//! Quantised operators of the domain `com.microsoft`, which ONNX Runtime's quantiser writes: the operator in `f32` between
//! conversions, or a product of integers that is scaled.

use sparsec_graph::{BinaryOp, DType, Op, ReduceKind, UnaryOp};

use super::activation::leaky;
use super::cast::cast_to;
use super::context::{Context, Operand};
use super::elementwise::{apply, apply_scalar};
use super::node::{Node, axis};
use super::quantize::{Along, dequantized, dynamic, integer_product, quantized, rounded};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Operand `at`, whose scale and zero point are behind it, as `f32`.
fn dequantized_at(cx: &mut Context, node: &Node<'_>, at: usize) -> Result<Operand, Fault> {
    let (x, scale, zero) = (node.input(at)?, node.input(at + 1)?, node.optional(at + 2));
    dequantized(cx, x, scale, zero, Along::axis(0))
}

/// The result with the scale and zero point at `at`; of the type `otherwise` where there is no zero point.
fn quantized_at(cx: &mut Context, node: &Node<'_>, y: Operand, at: usize, otherwise: DType) -> Results {
    let single = Along::axis(0);
    let scale = single.spread(cx, node.input(at)?, y)?;
    let zero = node.optional(at + 1).map(|zero| single.spread(cx, zero, y)).transpose()?;
    let to = zero.map_or(otherwise, |zero| cx.dtype(zero));
    Ok(vec![quantized(cx, y, scale, zero, to)?])
}

/// `QLinearMul`.
pub(super) fn multiply(cx: &mut Context, node: &Node<'_>) -> Results {
    let (a, b) = (dequantized_at(cx, node, 0)?, dequantized_at(cx, node, 3)?);
    let y = apply(cx, BinaryOp::Mul, a, b)?;
    let dtype = cx.dtype(node.input(0)?);
    quantized_at(cx, node, y, 6, dtype)
}

/// `QLinearAdd`: `round(ra a + (rb b + (zc - (ra za + rb zb))))`, where `ra` and `rb` are the scales over that of the result, in `f32` with
/// one rounding for each bracket. So ONNX Runtime computes it on machines with fused multiply-adds, and sums half-way between two steps
/// of the result are common, since scales are often multiples of each other: another order moves those by a step.
pub(super) fn add(cx: &mut Context, node: &Node<'_>) -> Results {
    let (a, b, scale) = (node.input(0)?, node.input(3)?, node.input(6)?);
    let ratio_of_a = cx.append(Op::Binary(BinaryOp::Div), &[node.input(1)?, scale])?;
    let ratio_of_b = cx.append(Op::Binary(BinaryOp::Div), &[node.input(4)?, scale])?;
    let mut zeros = Vec::new();
    for at in [2, 5, 7] {
        zeros.push(match node.optional(at) {
            Some(zero) => cast_to(cx, zero, DType::F32)?,
            None => cx.scalar(DType::F32, 0.0),
        });
    }
    let of_b = apply(cx, BinaryOp::Mul, ratio_of_b, zeros[1])?;
    let of_both = fused(cx, ratio_of_a, zeros[0], of_b)?;
    let fixed = apply(cx, BinaryOp::Sub, zeros[2], of_both)?;
    let y = fused(cx, ratio_of_b, b, fixed)?;
    let y = fused(cx, ratio_of_a, a, y)?;
    let to = node.optional(7).map_or(cx.dtype(a), |zero| cx.dtype(zero));
    Ok(vec![rounded(cx, y, None, to)?])
}

/// `x y + z` in `f32` with one rounding, where the product has at most 32 bits: in `f64` it is exact.
fn fused(cx: &mut Context, x: Operand, y: Operand, z: Operand) -> Result<Operand, Fault> {
    let (x, y, z) = (cast_to(cx, x, DType::F64)?, cast_to(cx, y, DType::F64)?, cast_to(cx, z, DType::F64)?);
    let product = apply(cx, BinaryOp::Mul, x, y)?;
    let sum = apply(cx, BinaryOp::Add, product, z)?;
    cast_to(cx, sum, DType::F32)
}

/// `QLinearSigmoid`, `QLinearLeakyRelu`, `QLinearSoftmax`, `QLinearGlobalAveragePool`.
pub(super) fn unary(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = dequantized_at(cx, node, 0)?;
    let rank = cx.rank(x);
    let y = match node.proto.op_type() {
        "QLinearSigmoid" => cx.append(Op::Unary(UnaryOp::Sigmoid), &[x])?,
        "QLinearLeakyRelu" => leaky(cx, x, node.float_or("alpha", 0.01)?)?,
        "QLinearSoftmax" => {
            let along = axis(node.int_or("axis", -1)?, rank)?;
            if node.int_or("opset", 13)? < 13 && along + 1 != rank {
                return Err(Fault::unsupported("softmax over several axes"));
            }
            cx.append(Op::Softmax { axis: along }, &[x])?
        }
        _ if node.int_or("channels_last", 0)? != 0 => return Err(Fault::unsupported("channels in the last axis")),
        _ if rank < 3 => return Err(Fault::invalid("the operand has no spatial dimensions")),
        _ => cx.append(Op::Reduce { kind: ReduceKind::Mean, axes: (2..rank).collect(), keep: true }, &[x])?,
    };
    let dtype = cx.dtype(node.input(0)?);
    quantized_at(cx, node, y, 3, dtype)
}

/// `QLinearConcat`: the result's scale and zero point come first.
pub(super) fn concat(cx: &mut Context, node: &Node<'_>) -> Results {
    let first = node.input(2)?;
    let at = axis(node.int("axis")?.ok_or_else(|| Fault::attribute("axis", "is missing"))?, cx.rank(first))?;
    let parts =
        (2..node.inputs.len()).step_by(3).map(|i| dequantized_at(cx, node, i)).collect::<Result<Vec<_>, _>>()?;
    let y = cx.append(Op::Concat { axis: at }, &parts)?;
    let dtype = cx.dtype(first);
    quantized_at(cx, node, y, 0, dtype)
}

/// Sums in `i32` as `f32`, times the scales of rows and columns, plus a bias.
fn scaled(
    cx: &mut Context,
    sums: Operand,
    (rows, columns): (Operand, Operand),
    bias: Option<Operand>,
) -> Result<Operand, Fault> {
    let rows = Along::axis(-2).spread(cx, rows, sums)?;
    let columns = Along::axis(-1).spread(cx, columns, sums)?;
    let scale = cx.append(Op::Binary(BinaryOp::Mul), &[rows, columns])?;
    let y = cast_to(cx, sums, DType::F32)?;
    let y = cx.append(Op::Binary(BinaryOp::Mul), &[y, scale])?;
    match bias {
        Some(bias) => cx.append(Op::Binary(BinaryOp::Add), &[y, bias]),
        None => Ok(y),
    }
}

/// `MatMulIntegerToFloat`.
pub(super) fn matmul_to_float(cx: &mut Context, node: &Node<'_>) -> Results {
    let zeros = (node.optional(4), node.optional(5));
    let sums = integer_product(cx, (node.input(0)?, node.input(1)?), zeros)?;
    let scales = (node.input(2)?, node.input(3)?);
    Ok(vec![scaled(cx, sums, scales, node.optional(6))?])
}

/// `DynamicQuantizeMatMul`: the first operand is quantised on the way.
pub(super) fn dynamic_matmul(cx: &mut Context, node: &Node<'_>) -> Results {
    let (a, a_scale, a_zero) = dynamic(cx, node.input(0)?)?;
    let sums = integer_product(cx, (a, node.input(1)?), (Some(a_zero), node.optional(3)))?;
    let scales = (a_scale, node.input(2)?);
    Ok(vec![scaled(cx, sums, scales, node.optional(4))?])
}

/// `QGemm`: `alpha A' B' + C`, with C in the scale of the sums; quantised where the result has a scale.
pub(super) fn gemm(cx: &mut Context, node: &Node<'_>) -> Results {
    let (mut a, mut b) = (node.input(0)?, node.input(3)?);
    if cx.rank(a) != 2 || cx.rank(b) != 2 {
        return Err(Fault::invalid("both operands must be matrices"));
    }
    if node.int_or("transA", 0)? != 0 {
        a = cx.append(Op::Transpose(vec![1, 0]), &[a])?;
    }
    if node.int_or("transB", 0)? != 0 {
        b = cx.append(Op::Transpose(vec![1, 0]), &[b])?;
    }
    let mut sums = integer_product(cx, (a, b), (node.optional(2), node.optional(5)))?;
    if let Some(c) = node.optional(6) {
        sums = apply(cx, BinaryOp::Add, sums, c)?;
    }
    let mut y = scaled(cx, sums, (node.input(1)?, node.input(4)?), None)?;
    let alpha = node.float_or("alpha", 1.0)?;
    if alpha != 1.0 {
        y = apply_scalar(cx, BinaryOp::Mul, y, alpha)?;
    }
    match node.optional(7) {
        Some(_) => {
            let dtype = cx.dtype(node.input(0)?);
            quantized_at(cx, node, y, 7, dtype)
        }
        None => Ok(vec![y]),
    }
}
