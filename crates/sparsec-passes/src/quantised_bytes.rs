//! Products of 8-bit operands, computed on their bytes.
//!
//! ```text
//! sum over k of (w[m, k] - zw) * (x[k, n] - zx)
//!   = sum over k of w'[m, k] * x'[k, n]  -  zx' * sum over k of w'[m, k]
//!       w' = w - zw in i8, known at compile time; x' = x in u8; i8 becomes u8 by adding 128 to x and to zx
//! ```
//!
//! Where `w - zw` is no `i8`, as that of `u8` around a zero point other than 128, a number `d` is added to all of it, and `d` times the
//! sums of the columns of `x - zx` is subtracted again.
//!
//! The first sum is a contraction of `i8` and `u8`, which adds up in `i32`. The second one is a constant for each output, or
//! the zero point times one where it is known at run time only. Zeros of `w'` are the weight's zero points, so that sparse
//! formats leave out what contributes nothing. Nothing is rounded before the sums are scaled.

use sparsec_graph::{BinaryOp, ContractSpec, DType, Graph, Node, NodeId, Op, ReduceKind, TensorData, ValueId};

use crate::PassError;
use crate::matching::plain;
use crate::quantised_products::{constant, numbers};
use crate::tensor::channel_shape;

/// A quantised operand before its zero point is subtracted.
pub(crate) struct Quantised {
    /// Of type `u8` or `i8`.
    pub(crate) value: ValueId,
    pub(crate) zero: Zero,
}

pub(crate) enum Zero {
    Known(i64),
    /// A scalar.
    Computed(ValueId),
}

/// A product that bytes can compute.
pub(crate) struct ByteProduct {
    spec: ContractSpec,
    /// The constant that the weight comes from.
    name: String,
    /// (outputs, inputs), the zero point subtracted.
    weight: TensorData,
    /// What was added to the weight so that it is `i8`.
    added: i64,
    /// Sums of the rows of the weight before.
    sums: Vec<i64>,
    x: Quantised,
    /// The axis of the operand along which inputs lie.
    inputs: usize,
    /// The axis of the result along which outputs lie, and its rank.
    axis: (usize, usize),
}

/// The product of a contraction of integers with a constant weight, where bytes hold both operands.
pub(crate) fn byte_product(graph: &Graph, node: &Node, operands: [ValueId; 2]) -> Option<ByteProduct> {
    let Op::Contract(spec) = &node.op else { return None };
    let weights = operands.map(|v| constant(graph, v));
    let (side, weight) = weights.into_iter().enumerate().find_map(|(i, w)| w.map(|w| (i, w)))?;
    let (own, other) = if side == 0 { (&spec.lhs, &spec.rhs) } else { (&spec.rhs, &spec.lhs) };
    let &[first, second] = own.as_slice() else { return None };
    let is_output = |label: char| spec.out.contains(&label) && !other.contains(&label);
    let is_input = |label: char| other.contains(&label) && !spec.out.contains(&label);
    let turned = match () {
        () if is_output(first) && is_input(second) => false,
        () if is_output(second) && is_input(first) => true,
        () => return None,
    };
    let (m, k) = if turned { (second, first) } else { (first, second) };
    let (weight, added) = bytes_of(&weight, turned)?;
    let &[outputs, inputs] = weight.shape.as_slice() else { return None };
    // With more inputs sums could overflow `i32`: 255 * 128 * 2^16 is less than 2^31, and so is 255 * 255 * 2^15.
    let most = if added == 0 { 1 << 16 } else { 1 << 15 };
    if inputs == 0 || outputs == 0 || inputs > most {
        return None;
    }
    let sum = |row: &[u8]| row.iter().map(|&byte| i64::from(byte as i8) - added).sum();
    let sums = weight.bytes.chunks_exact(inputs).map(sum).collect();
    let at = other.iter().position(|&label| label == k)?;
    // Sums of columns broadcast along the outputs.
    let aligned = || other.iter().zip(&spec.out).all(|(a, b)| a == b || (*a == k && *b == m));
    if added != 0 && !(other.len() == spec.out.len() && aligned()) {
        return None;
    }
    let x = quantised(graph, operands[1 - side])?;
    let axis = (spec.out.iter().position(|&label| label == m)?, spec.out.len());
    let spec = ContractSpec { lhs: vec![m, k], rhs: other.clone(), out: spec.out.clone() };
    let name = source_name(graph, operands[side]).unwrap_or_else(|| format!("{}.weight", node.name));
    Some(ByteProduct { spec, name, weight, added, sums, x, inputs: at, axis })
}

/// The name of the constant that conversions and arithmetic start from.
pub(crate) fn source_name(graph: &Graph, value: ValueId) -> Option<String> {
    match graph.constant(value) {
        Some(constant) => Some(constant.name.clone()),
        None => source_name(graph, *plain(graph, value)?.operands.first()?),
    }
}

/// A matrix of integers as `i8`, transposed where `turned`, and what was added to make it so; `None` where they don't fit into
/// 8 bits, or most of them are zeros, which a sum would not be.
fn bytes_of(data: &TensorData, turned: bool) -> Option<(TensorData, i64)> {
    let &[rows, cols] = data.shape.as_slice() else { return None };
    let values = numbers(data)?;
    let (lo, hi) = values.iter().fold((0.0f64, 0.0f64), |(lo, hi), &v| (lo.min(v), hi.max(v)));
    let fits = lo >= -128.0 && hi <= 127.0;
    let zeros = values.iter().filter(|&&v| v == 0.0).count();
    if !fits && (hi - lo > 255.0 || 2 * zeros > values.len()) {
        return None;
    }
    let added = if fits { 0.0 } else { -128.0 - lo };
    let byte = |v: f64| (v.fract() == 0.0).then_some((v + added) as i8);
    let bytes: Vec<i8> = values.into_iter().map(byte).collect::<Option<_>>()?;
    if !turned {
        return Some((TensorData::from_vec(DType::I8, &[rows, cols], bytes), added as i64));
    }
    let at = |i: usize| bytes.get(i % rows * cols + i / rows).copied();
    let bytes = (0..rows * cols).map(at).collect::<Option<Vec<i8>>>()?;
    Some((TensorData::from_vec(DType::I8, &[cols, rows], bytes), added as i64))
}

/// `x` or `x - zero point`, converted to `f32` or `i32`.
pub(crate) fn quantised(graph: &Graph, value: ValueId) -> Option<Quantised> {
    let node = plain(graph, value)?;
    match (&node.op, node.operands.as_slice()) {
        (Op::Binary(BinaryOp::Sub), &[x, zero]) => {
            let value = widened(graph, x)?;
            let one = graph.ty(zero).shape.iter().all(|d| d.is(1));
            let zero = match constant(graph, zero) {
                Some(data) => {
                    let &[zero] = numbers(&data)?.as_slice() else { return None };
                    Zero::Known((zero.fract() == 0.0).then_some(zero as i64)?)
                }
                None => Zero::Computed(widened(graph, zero).filter(|_| one)?),
            };
            Some(Quantised { value, zero })
        }
        _ => Some(Quantised { value: widened(graph, value)?, zero: Zero::Known(0) }),
    }
}

/// `x` of 8 bits, where a value is nothing but its conversion to a type that holds all of it.
fn widened(graph: &Graph, value: ValueId) -> Option<ValueId> {
    let node = plain(graph, value)?;
    let (Op::Cast(DType::F32 | DType::I32), &[x]) = (&node.op, node.operands.as_slice()) else { return None };
    matches!(graph.ty(x).dtype, DType::I8 | DType::U8).then_some(x)
}

/// A value of 8 bits as `u8`: 128 is added to signed ones.
pub(crate) fn unsigned(graph: &mut Graph, value: ValueId, name: &str) -> Result<ValueId, PassError> {
    if graph.ty(value).dtype != DType::I8 {
        return Ok(value);
    }
    let sign = graph.add_constant(format!("{name}.sign"), TensorData::from_vec(DType::I8, &[], vec![i8::MIN]));
    let moved = graph.append(Op::Binary(BinaryOp::Xor), &[value, sign], "")?;
    Ok(graph.append(Op::Cast(DType::U8), &[moved], "")?)
}

impl ByteProduct {
    /// Appends the `i32` sums, and `bias` added to them: a number for each output, or one.
    pub(crate) fn append(self, graph: &mut Graph, id: NodeId, bias: Option<&[i64]>) -> Result<ValueId, PassError> {
        let name = graph.node(id).name.clone();
        let (axis, rank) = self.axis;
        let outputs = self.sums.len();
        let shape = channel_shape(rank, axis, outputs);
        let weight = graph.add_constant(self.name.clone(), self.weight);
        let is_signed = graph.ty(self.x.value).dtype == DType::I8;
        let x = unsigned(graph, self.x.value, &name)?;
        let mut sums = graph.append(Op::Contract(self.spec), &[weight, x], &name)?;
        if self.added != 0 {
            let wide = graph.append(Op::Cast(DType::I32), &[x], "")?;
            let all = Op::Reduce { kind: ReduceKind::Sum, axes: vec![self.inputs], keep: true };
            let columns = graph.append(all, &[wide], "")?;
            let added = TensorData::from_vec(DType::I32, &[], vec![self.added as i32]);
            let added = graph.add_constant(format!("{name}.added"), added);
            let columns = graph.append(Op::Binary(BinaryOp::Mul), &[columns, added], "")?;
            sums = graph.append(Op::Binary(BinaryOp::Sub), &[sums, columns], "")?;
        }
        let moved = if is_signed { 128 } else { 0 };
        let bias = |i: usize| bias.and_then(|b| b.get(i).or(b.first())).copied().unwrap_or(0);
        let constants = |graph: &mut Graph, what: &str, shape: &[usize], values: Vec<i32>| {
            graph.add_constant(format!("{name}.{what}"), TensorData::from_vec(DType::I32, shape, values))
        };
        let rows = |zero: i64| self.sums.iter().enumerate().map(move |(i, sum)| zero * sum - bias(i));
        match self.x.zero {
            Zero::Known(zero) => {
                // `i32` wraps, as the sums do.
                let start: Vec<i32> = rows(zero + moved).map(|v| v as i32).collect();
                if start.iter().any(|&v| v != 0) {
                    let start = constants(graph, "start", &shape, start);
                    sums = graph.append(Op::Binary(BinaryOp::Sub), &[sums, start], "")?;
                }
            }
            Zero::Computed(zero) => {
                let zero = graph.append(Op::Cast(DType::I32), &[zero], "")?;
                let zero = graph.append(Op::Reshape(Vec::new()), &[zero], "")?;
                let of_rows = constants(graph, "row_sums", &shape, self.sums.iter().map(|&v| v as i32).collect());
                let fixed: Vec<i32> = rows(moved).map(|v| v as i32).collect();
                let mut start = graph.append(Op::Binary(BinaryOp::Mul), &[of_rows, zero], "")?;
                if fixed.iter().any(|&v| v != 0) {
                    let fixed = constants(graph, "start", &shape, fixed);
                    start = graph.append(Op::Binary(BinaryOp::Add), &[start, fixed], "")?;
                }
                sums = graph.append(Op::Binary(BinaryOp::Sub), &[sums, start], "")?;
            }
        }
        Ok(sums)
    }
}
