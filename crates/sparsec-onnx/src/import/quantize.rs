//! Linear quantisation: `x = (q - zero point) * scale`, and products of quantised operands.
//!
//! All of it is composed of conversions and arithmetic. Quantised integers of 16 bits and less are exact in `f32`, and so
//! are their differences: dequantising rounds once, in the product with the scale. Quantising divides, rounds to nearest
//! with halves to even, adds the zero point, limits to the range of the type and converts, which is then exact.

use sparsec_graph::{BinaryOp, DType, Dim, Op, ReduceKind, UnaryOp};

use super::cast::{cast_to, saturated};
use super::context::{Context, Operand};
use super::conv::attributes;
use super::elementwise::apply;
use super::matmul::product;
use super::node::{Node, axis};
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// How scales and zero points lie along the operand.
#[derive(Clone, Copy)]
pub(super) struct Along {
    axis: i64,
    block: i64,
}

impl Along {
    /// The attributes of a node.
    fn of(node: &Node<'_>) -> Result<Self, Fault> {
        let along = Along { axis: node.int_or("axis", 1)?, block: node.int_or("block_size", 0)? };
        if along.block < 0 {
            return Err(Fault::attribute("block_size", "is negative"));
        }
        Ok(along)
    }

    /// One entry for each element of an axis.
    pub(super) fn axis(axis: i64) -> Self {
        Along { axis, block: 0 }
    }

    /// A scale or zero point such that it broadcasts to `x`.
    pub(super) fn spread(self, cx: &mut Context, parameter: Operand, x: Operand) -> Result<Operand, Fault> {
        let (shape, target) = (cx.shape(parameter), cx.shape(x));
        if shape.is_empty() {
            return Ok(parameter);
        }
        if shape.len() == 1 && shape[0].is(1) && self.block == 0 {
            return cx.append(Op::Reshape(Vec::new()), &[parameter]);
        }
        let at = axis(self.axis, target.len())?;
        if self.block == 0 {
            if shape.len() != 1 {
                return Err(Fault::invalid("a scale of several dimensions needs `block_size`"));
            }
            let mut whole = vec![shape[0].clone()];
            whole.resize(target.len() - at, Dim::constant(1));
            return cx.append(Op::Reshape(whole), &[parameter]);
        }
        if shape.len() != target.len() {
            return Err(Fault::invalid("the scales of blocks need as many dimensions as the operand"));
        }
        // Each entry is repeated along the axis, and what is beyond a last block that is shorter is cut off.
        let (blocks, block) = (shape[at].clone(), Dim::constant(self.block));
        let with = |middle: &[Dim]| [&shape[..at], middle, &shape[at + 1..]].concat();
        let pairs = cx.append(Op::Reshape(with(&[blocks.clone(), Dim::constant(1)])), &[parameter])?;
        let pairs = cx.append(Op::Expand(with(&[blocks.clone(), block.clone()])), &[pairs])?;
        let repeated = cx.append(Op::Reshape(with(&[blocks.clone() * block.clone()])), &[pairs])?;
        if blocks * block == target[at] {
            return Ok(repeated);
        }
        let ranges = cx.shape(repeated).into_iter().zip(&target).map(|(extent, wanted)| {
            let len = if extent.is(1) { extent } else { wanted.clone() };
            sparsec_graph::SliceAxis { start: Dim::default(), len, step: 1 }
        });
        let ranges = ranges.collect();
        cx.append(Op::Slice(ranges), &[repeated])
    }
}

/// Whether a zero point is left out or known to be zero.
fn is_zero(cx: &Context, zero: Option<Operand>) -> bool {
    zero.is_none_or(|z| cx.ints(z).is_some_and(|ints| ints.iter().all(|v| v.is(0))))
}

/// A constant of integers or any operand in another type; constants of the file are converted at once.
fn as_type(cx: &mut Context, x: Operand, to: DType) -> Result<Operand, Fault> {
    let known = cx.constant(x).filter(|_| to == DType::F32).and_then(|data| Some((data.shape.clone(), data.as_i64()?)));
    if let Some((shape, values)) = known
        && values.iter().all(|v| v.unsigned_abs() < 1 << 24)
    {
        let values = values.into_iter().map(|v| v as f32).collect();
        let name = cx.node_name.clone();
        return Ok(cx.add_data(&name, sparsec_graph::TensorData::f32(&shape, values)));
    }
    cast_to(cx, x, to)
}

/// `(x - zero point) * scale` in `f32`.
pub(super) fn dequantized(
    cx: &mut Context,
    x: Operand,
    scale: Operand,
    zero: Option<Operand>,
    along: Along,
) -> Result<Operand, Fault> {
    let from = cx.dtype(x);
    let small = from.small_float().is_some();
    let zero = zero.filter(|&z| !small && !is_zero(cx, Some(z)));
    let mut value = x;
    if let Some(zero) = zero {
        // Differences of wide integers are not exact in `f32`.
        let exact = if from.size() <= 2 { DType::F32 } else { from };
        let zero = as_type(cx, zero, exact)?;
        let zero = along.spread(cx, zero, x)?;
        value = cast_to(cx, value, exact)?;
        value = apply(cx, BinaryOp::Sub, value, zero)?;
    }
    let value = cast_to(cx, value, DType::F32)?;
    let scale = along.spread(cx, scale, x)?;
    let scale = cast_to(cx, scale, DType::F32)?;
    cx.append(Op::Binary(BinaryOp::Mul), &[value, scale])
}

/// `DequantizeLinear`.
pub(super) fn dequantize_linear(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, scale) = (node.input(0)?, node.input(1)?);
    let result = dequantized(cx, x, scale, node.optional(2), Along::of(node)?)?;
    let to = match node.int_or("output_dtype", 0)? {
        0 => cx.dtype(scale),
        number => tensor::dtype(i32::try_from(number).unwrap_or(-1))?,
    };
    Ok(vec![cast_to(cx, result, to)?])
}

/// The least and the largest number of a quantised type.
fn range(dtype: DType) -> Option<(f64, f64)> {
    Some(match dtype {
        DType::I4 => (-8.0, 7.0),
        DType::U4 => (0.0, 15.0),
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        _ => return None,
    })
}

/// `ratio` in `f32` rounded, moved by the zero point, limited, and as the type.
pub(super) fn rounded(cx: &mut Context, ratio: Operand, zero: Option<Operand>, to: DType) -> Result<Operand, Fault> {
    let (lo, hi) = range(to).ok_or_else(|| Fault::unsupported(format!("quantisation to {to}")))?;
    let mut value = cx.append(Op::Unary(UnaryOp::Round), &[ratio])?;
    if let Some(zero) = zero.filter(|&z| !is_zero(cx, Some(z))) {
        let zero = as_type(cx, zero, DType::F32)?;
        value = cx.append(Op::Binary(BinaryOp::Add), &[value, zero])?;
    }
    let value = cx.append(Op::Clip { lo, hi }, &[value])?;
    cx.append(Op::Cast(to), &[value])
}

/// A number in `f32` as a quantised integer.
pub(super) fn quantized(
    cx: &mut Context,
    x: Operand,
    scale: Operand,
    zero: Option<Operand>,
    to: DType,
) -> Result<Operand, Fault> {
    let ratio = cx.append(Op::Binary(BinaryOp::Div), &[x, scale])?;
    let ratio = cast_to(cx, ratio, DType::F32)?;
    rounded(cx, ratio, zero, to)
}

/// `QuantizeLinear`.
pub(super) fn quantize_linear(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, scale, zero) = (node.input(0)?, node.input(1)?, node.optional(2));
    let along = Along::of(node)?;
    let to = match (zero, node.int_or("output_dtype", 0)?) {
        (Some(zero), _) => cx.dtype(zero),
        (None, 0) => DType::U8,
        (None, number) => tensor::dtype(i32::try_from(number).unwrap_or(-1))?,
    };
    // The precision of the division.
    let precision = match node.int_or("precision", 0)? {
        0 if cx.dtype(x).is_float() && cx.dtype(x) == cx.dtype(scale) => cx.dtype(x),
        0 => DType::F32,
        number => tensor::dtype(i32::try_from(number).unwrap_or(-1))?,
    };
    let divided = cast_to(cx, x, precision)?;
    let scale = along.spread(cx, scale, x)?;
    let scale = cast_to(cx, scale, precision)?;
    if to.small_float().is_some() {
        let ratio = cx.append(Op::Binary(BinaryOp::Div), &[divided, scale])?;
        let ratio = if node.int_or("saturate", 1)? != 0 { saturated(cx, ratio, to)? } else { ratio };
        return Ok(vec![cast_to(cx, ratio, to)?]);
    }
    let zero = zero.map(|z| along.spread(cx, z, x)).transpose()?;
    Ok(vec![quantized(cx, divided, scale, zero, to)?])
}

/// `DynamicQuantizeLinear`: scale and zero point such that the range of the operand, with zero in it, is that of `u8`.
pub(super) fn dynamic_quantize_linear(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (y, scale, zero) = dynamic(cx, x)?;
    Ok(vec![y, scale, zero])
}

/// The operand as `u8`, the scale, and the zero point as `u8`.
pub(super) fn dynamic(cx: &mut Context, x: Operand) -> Result<(Operand, Operand, Operand), Fault> {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    let nothing = cx.scalar(DType::F32, 0.0);
    let bound = |cx: &mut Context, kind, op| -> Result<Operand, Fault> {
        let end = match axes.is_empty() {
            true => x,
            false => cx.append(Op::Reduce { kind, axes: axes.clone(), keep: false }, &[x])?,
        };
        cx.append(Op::Binary(op), &[end, nothing])
    };
    let least = bound(cx, ReduceKind::Min, BinaryOp::Min)?;
    let largest = bound(cx, ReduceKind::Max, BinaryOp::Max)?;
    let width = cx.append(Op::Binary(BinaryOp::Sub), &[largest, least])?;
    let (one, levels) = (cx.scalar(DType::F32, 1.0), cx.scalar(DType::F32, 255.0));
    let flat = cx.append(Op::Binary(BinaryOp::Equal), &[width, nothing])?;
    let width = cx.append(Op::Where, &[flat, one, width])?;
    let scale = cx.append(Op::Binary(BinaryOp::Div), &[width, levels])?;
    let ratio = cx.append(Op::Binary(BinaryOp::Div), &[least, scale])?;
    let zero = cx.append(Op::Unary(UnaryOp::Neg), &[ratio])?;
    let zero = cx.append(Op::Clip { lo: 0.0, hi: 255.0 }, &[zero])?;
    let zero = cx.append(Op::Unary(UnaryOp::Round), &[zero])?;
    let ratio = cx.append(Op::Binary(BinaryOp::Div), &[x, scale])?;
    let y = rounded(cx, ratio, Some(zero), DType::U8)?;
    let zero = cx.append(Op::Cast(DType::U8), &[zero])?;
    Ok((y, scale, zero))
}

/// `x - zero point` as `i32`; one zero point, or one for each element of an axis.
fn centred(cx: &mut Context, x: Operand, zero: Option<Operand>, along: Along) -> Result<Operand, Fault> {
    let wide = cast_to(cx, x, DType::I32)?;
    let Some(zero) = zero.filter(|&z| !is_zero(cx, Some(z))) else { return Ok(wide) };
    let zero = cast_to(cx, zero, DType::I32)?;
    let zero = if cx.rank(zero) > 1 { zero } else { along.spread(cx, zero, x)? };
    apply(cx, BinaryOp::Sub, wide, zero)
}

/// The product of quantised matrices, less their zero points: of rows of the first, of columns of the second.
pub(super) fn integer_product(
    cx: &mut Context,
    (a, b): (Operand, Operand),
    zeros: (Option<Operand>, Option<Operand>),
) -> Result<Operand, Fault> {
    let rows = Along::axis(if cx.rank(a) > 1 { -2 } else { -1 });
    let a = centred(cx, a, zeros.0, rows)?;
    let b = centred(cx, b, zeros.1, Along::axis(-1))?;
    product(cx, a, b)
}

/// `MatMulInteger`.
pub(super) fn matmul_integer(cx: &mut Context, node: &Node<'_>) -> Results {
    let operands = (node.input(0)?, node.input(1)?);
    Ok(vec![integer_product(cx, operands, (node.optional(2), node.optional(3)))?])
}

/// `first * second / result` of scales, in their own type and then as `f32`.
fn ratio_of_scales(cx: &mut Context, (first, second): (Operand, Operand), result: Operand) -> Result<Operand, Fault> {
    let both = cx.append(Op::Binary(BinaryOp::Mul), &[first, second])?;
    let ratio = cx.append(Op::Binary(BinaryOp::Div), &[both, result])?;
    cast_to(cx, ratio, DType::F32)
}

/// Sums in `i32` times a scale, rounded to the type of the zero point.
fn requantized(cx: &mut Context, sums: Operand, scale: Operand, zero: Operand) -> Result<Operand, Fault> {
    let value = cast_to(cx, sums, DType::F32)?;
    let value = cx.append(Op::Binary(BinaryOp::Mul), &[value, scale])?;
    let to = cx.dtype(zero);
    rounded(cx, value, Some(zero), to)
}

/// `QLinearMatMul`.
pub(super) fn qlinear_matmul(cx: &mut Context, node: &Node<'_>) -> Results {
    let (a, b) = (node.input(0)?, node.input(3)?);
    let sums = integer_product(cx, (a, b), (Some(node.input(2)?), Some(node.input(5)?)))?;
    let rows = Along::axis(-2);
    let a_scale = rows.spread(cx, node.input(1)?, sums)?;
    let b_scale = Along::axis(-1).spread(cx, node.input(4)?, sums)?;
    let y_scale = rows.spread(cx, node.input(6)?, sums)?;
    let zero = rows.spread(cx, node.input(7)?, sums)?;
    let scale = ratio_of_scales(cx, (a_scale, b_scale), y_scale)?;
    Ok(vec![requantized(cx, sums, scale, zero)?])
}

/// A convolution of quantised operands, less their zero points.
fn integer_conv(
    cx: &mut Context,
    node: &Node<'_>,
    (x, w): (Operand, Operand),
    zeros: (Option<Operand>, Option<Operand>),
    bias: Option<Operand>,
) -> Result<Operand, Fault> {
    let attrs = attributes(cx, node, x, w)?;
    let x = centred(cx, x, zeros.0, Along::axis(1))?;
    let w = centred(cx, w, zeros.1, Along::axis(0))?;
    let operands: Vec<Operand> = [x, w].into_iter().chain(bias).collect();
    cx.append(Op::Conv(attrs), &operands)
}

/// `ConvInteger`.
pub(super) fn conv_integer(cx: &mut Context, node: &Node<'_>) -> Results {
    let operands = (node.input(0)?, node.input(1)?);
    Ok(vec![integer_conv(cx, node, operands, (node.optional(2), node.optional(3)), None)?])
}

/// `QLinearConv`: the bias is `i32`, of the scale of the sums.
pub(super) fn qlinear_conv(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, w) = (node.input(0)?, node.input(3)?);
    let zeros = (Some(node.input(2)?), Some(node.input(5)?));
    let sums = integer_conv(cx, node, (x, w), zeros, node.optional(8))?;
    let single = Along::axis(0);
    let x_scale = single.spread(cx, node.input(1)?, sums)?;
    let w_scale = Along::axis(1).spread(cx, node.input(4)?, sums)?;
    let y_scale = single.spread(cx, node.input(6)?, sums)?;
    let zero = single.spread(cx, node.input(7)?, sums)?;
    let scale = ratio_of_scales(cx, (x_scale, w_scale), y_scale)?;
    Ok(vec![requantized(cx, sums, scale, zero)?])
}
