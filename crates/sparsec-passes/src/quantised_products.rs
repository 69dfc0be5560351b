//! Products of quantised operands, computed on their integers.
//!
//! ```text
//! ((x - zx) * sx) . ((w - zw) * sw)              becomes   ((x - zx) . (w - zw)) * (sx * sw)
//! round(((x - zx) . (w - zw)) * s / sy)          becomes   round(((x - zx) . (w - zw)) * (s / sy))
//! (x - zx) . (w - zw) in i32                     becomes   the same in f32, converted
//! ```
//!
//! Products of 8-bit operands with a weight are computed on bytes: see `quantised_bytes.rs` and `quantised_convolutions.rs`. What
//! follows is for the others.
//!
//! Integers up to 2^24 are exact in `f32`, and so are sums of products of them while no partial sum can leave that range.
//! Where the weights say that none can (the magnitudes of each output's weights, times the largest operand, add up to no
//! more), the contraction or convolution of integers has the kernels and the sparse formats of `f32`, and its sums are those
//! that integer arithmetic gives, to the last bit. Zeros of a weight are counted from its zero point. Where the bound does not
//! hold, `i32` stays `i32`, and `f32` stays as it is.
//!
//! This runs before constants are folded: a folded weight no longer shows its integers.

use sparsec_graph::{BinaryOp, DType, Graph, Node, NodeId, Op, TensorData, UnaryOp, ValueId};

use crate::evaluate::evaluate;
use crate::matching::{is_plain, is_single_use, plain, replace_node, replace_value};
use crate::quantised_bytes::{ByteProduct, byte_product};
use crate::quantised_convolutions::{ByteConvolution, byte_convolution};
use crate::tensor::{channel_shape, to_f64};
use crate::{PassError, PassStats};

/// The largest magnitude up to which every integer is an `f32`.
const EXACT: f64 = (1 << 24) as f64;

/// Moves scales behind products of dequantised operands, and computes products of small integers in `f32`, where both are
/// exact.
///
/// # Errors
/// None on a verified graph.
pub fn quantised_products(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if !graph.contains(id) || !is_plain(graph.node(id)) {
            continue;
        }
        let node = graph.node(id);
        if !matches!(node.op, Op::Contract(_) | Op::Conv(_)) {
            continue;
        }
        let dtype = graph.ty(node.result()).dtype;
        let changed = match dtype {
            DType::F32 => move_scales(graph, id)?,
            DType::I32 => in_f32(graph, id)?,
            _ => false,
        };
        stats.changed += usize::from(changed);
    }
    Ok(stats)
}

/// A value that is a constant, or conversions, reshapes, transpositions and arithmetic of constants.
pub(crate) fn constant(graph: &Graph, value: ValueId) -> Option<TensorData> {
    if let Some(constant) = graph.constant(value) {
        return Some(constant.data.clone());
    }
    let node = plain(graph, value)?;
    if !matches!(node.op, Op::Cast(_) | Op::Binary(_) | Op::Reshape(_) | Op::Transpose(_)) {
        return None;
    }
    let operands = node.operands.iter().map(|&v| constant(graph, v)).collect::<Option<Vec<_>>>()?;
    evaluate(&node.op, &operands.iter().collect::<Vec<_>>(), &node.name).ok()
}

/// The numbers of a constant of whatever number type.
pub(crate) fn numbers(data: &TensorData) -> Option<Vec<f64>> {
    to_f64(data).or_else(|| Some(data.as_i64()?.into_iter().map(|v| v as f64).collect()))
}

/// The least and the largest number that a value of integers can hold; `None` where it may hold others.
pub(crate) fn interval(graph: &Graph, value: ValueId) -> Option<(f64, f64)> {
    let of_type = match graph.ty(value).dtype {
        DType::Bool => Some((0.0, 1.0)),
        DType::I4 => Some((-8.0, 7.0)),
        DType::U4 => Some((0.0, 15.0)),
        DType::I8 => Some((-128.0, 127.0)),
        DType::U8 => Some((0.0, 255.0)),
        _ => None,
    };
    if let Some(data) = graph.constant(value).map(|c| &c.data) {
        let values = numbers(data)?;
        let whole = values.iter().all(|v| v.fract() == 0.0 && v.abs() <= EXACT);
        let bounds = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        return (whole && !values.is_empty()).then_some(bounds);
    }
    let inner = || {
        let node = plain(graph, value)?;
        match (&node.op, node.operands.as_slice()) {
            // Nothing is lost on the way to a type that holds all of it.
            (Op::Cast(DType::F32 | DType::I32), &[x])
            | (Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Expand(_), &[x]) => interval(graph, x),
            (Op::Binary(BinaryOp::Add), &[x, y]) if matches!(graph.ty(x).dtype, DType::F32 | DType::I32) => {
                let (x, y) = (interval(graph, x)?, interval(graph, y)?);
                Some((x.0 + y.0, x.1 + y.1))
            }
            (Op::Binary(BinaryOp::Sub), &[x, y]) if matches!(graph.ty(x).dtype, DType::F32 | DType::I32) => {
                let (x, y) = (interval(graph, x)?, interval(graph, y)?);
                Some((x.0 - y.1, x.1 - y.0))
            }
            _ => None,
        }
    };
    inner().or(of_type)
}

/// The largest magnitude of a value of integers.
fn magnitude(graph: &Graph, value: ValueId) -> Option<f64> {
    interval(graph, value).map(|(lo, hi)| lo.abs().max(hi.abs()))
}

/// The number of terms of a sum, and the axis of operand `i` that distinguishes the outputs.
fn output_axis(node: &Node, i: usize) -> Option<usize> {
    match &node.op {
        Op::Conv(_) => (i == 1).then_some(0),
        Op::Contract(spec) => {
            let (own, other) = if i == 0 { (&spec.lhs, &spec.rhs) } else { (&spec.rhs, &spec.lhs) };
            own.iter().position(|label| !other.contains(label) && spec.out.contains(label))
        }
        _ => None,
    }
}

/// The axis of the result along which operand `i` distinguishes the outputs.
fn result_axis(node: &Node, i: usize) -> Option<usize> {
    match &node.op {
        Op::Contract(spec) => {
            let own = if i == 0 { &spec.lhs } else { &spec.rhs };
            let label = own.get(output_axis(node, i)?)?;
            spec.out.iter().position(|l| l == label)
        }
        _ => Some(1),
    }
}

/// The largest sum of magnitudes along all axes but one.
fn largest_sum(data: &TensorData, axis: Option<usize>) -> Option<f64> {
    let axis = axis?;
    let run: usize = data.shape.get(axis + 1..)?.iter().product::<usize>().max(1);
    let mut sums = vec![0.0f64; *data.shape.get(axis)?];
    let count = sums.len().max(1);
    for (i, v) in numbers(data)?.into_iter().enumerate() {
        if let Some(sum) = sums.get_mut(i / run % count) {
            *sum += v.abs();
        }
    }
    Some(sums.into_iter().fold(0.0, f64::max))
}

/// Whether no partial sum of a node on these integers leaves the exact range; `weights` are those of them that are constant.
fn is_exact(graph: &Graph, node: &Node, operands: [ValueId; 2], weights: &[Option<TensorData>; 2], bias: f64) -> bool {
    let bound = || {
        for (i, weight) in weights.iter().enumerate() {
            if let Some(weight) = weight {
                return Some(largest_sum(weight, output_axis(node, i))? * magnitude(graph, operands[1 - i])?);
            }
        }
        let Op::Contract(spec) = &node.op else { return None };
        let mut terms = 1.0;
        for label in spec.summed() {
            let axis = spec.lhs.iter().position(|l| *l == label)?;
            terms *= graph.ty(operands[0]).shape.get(axis)?.as_const()? as f64;
        }
        Some(terms * magnitude(graph, operands[0])? * magnitude(graph, operands[1])?)
    };
    bound().is_some_and(|bound| bound + bias <= EXACT)
}

/// `q * scale`: integers in `f32`, and their scale.
struct Dequantised {
    integers: ValueId,
    /// One number, or one for each index of an axis.
    scale: Vec<f32>,
    axis: Option<usize>,
}

fn dequantised(graph: &Graph, value: ValueId) -> Option<Dequantised> {
    let node = plain(graph, value).filter(|n| n.op == Op::Binary(BinaryOp::Mul))?;
    let &[integers, scale] = node.operands.as_slice() else { return None };
    if graph.ty(integers) != graph.ty(value) {
        return None;
    }
    let scale = constant(graph, scale)?;
    let rank = graph.ty(value).rank();
    let lead = rank.checked_sub(scale.shape.len())?;
    let mut varying = (0..scale.shape.len()).filter(|&axis| scale.shape[axis] != 1);
    let axis = varying.next().map(|axis| axis + lead);
    if varying.next().is_some() {
        return None;
    }
    Some(Dequantised { integers, scale: scale.as_f32()?.into_owned(), axis })
}

fn move_scales(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let Some((operands, scale, axis, exact)) = integers_and_scale(graph, id) else { return Ok(false) };
    let node = graph.node(id).clone();
    let rank = graph.ty(node.result()).rank();
    let bytes = of_bytes(graph, &node, operands.0);
    if bytes.is_none() && !exact {
        return Ok(false);
    }
    // What is divided by a scale and rounded next is multiplied once.
    let quotient = quantised_next(graph, node.result());
    let scale: Vec<f32> = scale.into_iter().map(|s| quotient.map_or(s, |(_, divisor)| s / divisor)).collect();
    let shape = match axis {
        Some(axis) if scale.len() > 1 => channel_shape(rank, axis, scale.len()),
        _ => Vec::new(),
    };
    let scale = graph.add_constant(format!("{}.scale", node.name), TensorData::f32(&shape, scale));
    let product = if let Some(bytes) = bytes {
        let bias = operands.1.as_ref().and_then(numbers);
        let sums = bytes.append(graph, id, bias.as_deref())?;
        graph.append(Op::Cast(DType::F32), &[sums], "")?
    } else {
        let mut values = operands.0.to_vec();
        values.extend(operands.1.map(|bias| graph.add_constant(format!("{}.bias", node.name), bias)));
        graph.append(node.op.clone(), &values, &node.name)?
    };
    let replaced = quotient.map_or(id, |(next, _)| next);
    replace_node(graph, replaced, Op::Binary(BinaryOp::Mul), &[product, scale])?;
    Ok(true)
}

/// A product that is computed on bytes.
enum OfBytes {
    Contraction(ByteProduct),
    Convolution(ByteConvolution),
}

/// The product of a node on these integers, where bytes hold them.
fn of_bytes(graph: &Graph, node: &Node, operands: [ValueId; 2]) -> Option<OfBytes> {
    let contraction = || byte_product(graph, node, operands).map(OfBytes::Contraction);
    contraction().or_else(|| byte_convolution(graph, node, operands).map(OfBytes::Convolution))
}

impl OfBytes {
    /// Appends the `i32` sums, and a bias for each output added to them.
    fn append(self, graph: &mut Graph, id: NodeId, bias: Option<&[f64]>) -> Result<ValueId, PassError> {
        let bias: Option<Vec<i64>> = bias.map(|bias| bias.iter().map(|&b| b as i64).collect());
        match self {
            OfBytes::Contraction(product) => product.append(graph, id, bias.as_deref()),
            OfBytes::Convolution(product) => product.append(graph, id, bias.as_deref()),
        }
    }
}

/// The division by one number whose result is rounded, where it is all that uses a value.
fn quantised_next(graph: &Graph, value: ValueId) -> Option<(NodeId, f32)> {
    let [user] = graph.users(value)[..] else { return None };
    let node = graph.node(user);
    let divides = is_plain(node) && node.op == Op::Binary(BinaryOp::Div) && is_single_use(graph, value);
    let (&[x, y], true) = (node.operands.as_slice(), divides) else { return None };
    let divisor = constant(graph, y).filter(|d| x == value && d.elements() == 1)?;
    let result = node.result();
    let rounds = |n: &NodeId| graph.node(*n).op == Op::Unary(UnaryOp::Round);
    let fits = graph.users(result).iter().all(rounds) && !graph.is_output(result) && graph.ty(result) == graph.ty(x);
    let divisor = divisor.as_f32()?.first().copied()?;
    fits.then_some((user, divisor))
}

/// Operands of integers, a bias of integers, the scale of the sums, the axis of the result along which it varies, and whether
/// `f32` adds them up exactly.
type Integers = (([ValueId; 2], Option<TensorData>), Vec<f32>, Option<usize>, bool);

fn integers_and_scale(graph: &Graph, id: NodeId) -> Option<Integers> {
    let node = graph.node(id);
    let (x, y) = (dequantised(graph, *node.operands.first()?)?, dequantised(graph, *node.operands.get(1)?)?);
    let sides = [&x, &y];
    let along = |i: usize| sides[i].axis.is_none() || sides[i].axis == output_axis(node, i);
    let varies = (0..2).find(|&i| sides[i].scale.len() > 1);
    if !along(0) || !along(1) || (x.scale.len() > 1 && y.scale.len() > 1) {
        return None;
    }
    let pairs = x.scale.len().max(y.scale.len());
    let at = |s: &[f32], i: usize| s.get(i).or(s.first()).copied();
    let scale = (0..pairs).map(|i| Some(at(&x.scale, i)? * at(&y.scale, i)?)).collect::<Option<Vec<f32>>>()?;
    let bias = match node.operands.get(2) {
        Some(&bias) => Some(integer_bias(graph, bias, &scale)?),
        None => None,
    };
    let largest =
        bias.as_ref().map_or(Some(0.0), |b| Some(numbers(b)?.iter().fold(0.0, |m: f64, v| m.max(v.abs()))))?;
    let operands = [x.integers, y.integers];
    let weights = operands.map(|v| constant(graph, v));
    if weights.iter().flatten().any(|w| numbers(w).is_none_or(|n| n.iter().any(|v| v.fract() != 0.0))) {
        return None;
    }
    let axis = varies.map_or(Some(None), |i| result_axis(node, i).map(Some))?;
    let exact = is_exact(graph, node, operands, &weights, largest);
    Some(((operands, bias), scale, axis, exact))
}

/// A bias whose scale is that of the sums, as integers.
fn integer_bias(graph: &Graph, bias: ValueId, scale: &[f32]) -> Option<TensorData> {
    let bias = dequantised(graph, bias)?;
    let fits = |(i, s): (usize, &f32)| {
        let sums = scale.get(i).or(scale.first()).copied().unwrap_or(0.0);
        (s - sums).abs() <= 1e-5 * sums.abs()
    };
    let matches = bias.scale.len() >= scale.len() && bias.scale.iter().enumerate().all(fits);
    constant(graph, bias.integers).filter(|data| matches && data.dtype == DType::F32)
}

/// A node of `i32` whose sums are exact in `f32`.
fn in_f32(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id).clone();
    let [x, y, rest @ ..] = node.operands.as_slice() else { return Ok(false) };
    if [x, y].iter().any(|&&v| graph.ty(v).dtype != DType::I32) {
        // A product of bytes already.
        return Ok(false);
    }
    let weights = [x, y].map(|&v| constant(graph, v));
    let bias = rest.first().map(|&v| constant(graph, v).and_then(|data| numbers(&data)));
    let largest = match &bias {
        Some(Some(bias)) => bias.iter().fold(0.0, |m: f64, v| m.max(v.abs())),
        Some(None) => return Ok(false),
        None => 0.0,
    };
    if let Some(bytes) = of_bytes(graph, &node, [*x, *y]) {
        let sums = bytes.append(graph, id, bias.flatten().as_deref())?;
        replace_value(graph, id, sums);
        return Ok(true);
    }
    // Without a weight there is nothing to gain: products of activations are packed anyway.
    if weights.iter().all(Option::is_none) || !is_exact(graph, &node, [*x, *y], &weights, largest) {
        return Ok(false);
    }
    let mut wide = |&v: &ValueId| graph.append(Op::Cast(DType::F32), &[v], "");
    let operands = node.operands.iter().map(&mut wide).collect::<Result<Vec<_>, _>>()?;
    let sums = graph.append(node.op, &operands, &node.name)?;
    replace_node(graph, id, Op::Cast(DType::I32), &[sums])?;
    Ok(true)
}
