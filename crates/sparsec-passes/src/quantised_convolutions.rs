//! Convolutions of 8-bit operands, computed on their bytes.
//!
//! ```text
//! conv(x - zx, w - zw)    becomes    conv(x in u8, w - zw in i8 or i16, zx in u8) in i32
//! ```
//!
//! Which is the same: such a convolution counts x from its third operand, so what surrounds the image is the zero point. That number
//! may be known at run time only. An `i8` becomes a `u8` by adding 128 to x and to zx. Weights of `u8` lie around a zero point that
//! is anywhere, and 9 bits hold `w - zw`; what the kernel needs is that those of one output span at most 255.

use sparsec_graph::{BinaryOp, DType, Graph, Node, NodeId, Op, TensorData, ValueId};

use crate::PassError;
use crate::quantised_bytes::{Quantised, Zero, quantised, source_name, unsigned};
use crate::quantised_products::{constant, numbers};
use crate::tensor::channel_shape;

/// Channels below which words would be mostly empty.
const FEWEST_CHANNELS: usize = 3;
/// The largest number of products of a sum: 255 * 255 * 2^15 is less than 2^31.
const MOST_PRODUCTS: usize = 1 << 15;
/// The share of zeros from which on the formats of `f32` are faster, in tenths.
const MANY_ZEROS: usize = 8;

/// A convolution that bytes can compute.
pub(crate) struct ByteConvolution {
    op: Op,
    /// The constant that the weight comes from.
    name: String,
    /// Its zero point subtracted.
    weight: TensorData,
    x: Quantised,
}

/// The convolution of integers with a constant weight, where bytes hold both operands.
pub(crate) fn byte_convolution(graph: &Graph, node: &Node, [x, w]: [ValueId; 2]) -> Option<ByteConvolution> {
    let Op::Conv(attrs) = &node.op else { return None };
    if attrs.groups != 1 || attrs.strides.len() > 2 {
        return None;
    }
    let weight = small_integers(&constant(graph, w)?)?;
    let x = quantised(graph, x)?;
    if let Zero::Known(zero) = x.zero {
        u8::try_from(zero + moved(graph, x.value)).ok()?;
    }
    let name = source_name(graph, w).unwrap_or_else(|| format!("{}.weight", node.name));
    Some(ByteConvolution { op: node.op.clone(), name, weight, x })
}

/// What [`unsigned`] adds to a value.
fn moved(graph: &Graph, value: ValueId) -> i64 {
    if graph.ty(value).dtype == DType::I8 { 128 } else { 0 }
}

/// A weight as `i8` or `i16`; `None` where those of an output span more than a byte, and where bytes are not worth it.
fn small_integers(data: &TensorData) -> Option<TensorData> {
    let &[_, channels, ..] = data.shape.as_slice() else { return None };
    let products = data.shape.iter().skip(1).product::<usize>();
    let values = numbers(data)?;
    let zeros = values.iter().filter(|&&v| v == 0.0).count();
    if channels < FEWEST_CHANNELS || products > MOST_PRODUCTS || zeros * 10 > values.len() * MANY_ZEROS {
        return None;
    }
    let mut all = (0.0f64, 0.0f64);
    for row in values.chunks_exact(products) {
        let (lo, hi) = row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), &v| (lo.min(v), hi.max(v)));
        // Written so that it holds for no number that is none.
        if !(hi - lo <= 255.0 && lo >= -255.0 && hi <= 255.0) || row.iter().any(|v| v.fract() != 0.0) {
            return None;
        }
        all = (all.0.min(lo), all.1.max(hi));
    }
    Some(if all.0 >= -128.0 && all.1 <= 127.0 {
        TensorData::from_vec(DType::I8, &data.shape, values.into_iter().map(|v| v as i8).collect::<Vec<_>>())
    } else {
        TensorData::from_vec(DType::I16, &data.shape, values.into_iter().map(|v| v as i16).collect::<Vec<_>>())
    })
}

impl ByteConvolution {
    /// Appends the `i32` sums, and `bias` added to them: a number for each output.
    pub(crate) fn append(self, graph: &mut Graph, id: NodeId, bias: Option<&[i64]>) -> Result<ValueId, PassError> {
        let name = graph.node(id).name.clone();
        let weight = graph.add_constant(self.name, self.weight);
        let from = moved(graph, self.x.value);
        let x = unsigned(graph, self.x.value, &name)?;
        let zero = match self.x.zero {
            Zero::Known(zero) if zero + from == 0 => None,
            Zero::Known(zero) => {
                let zero = TensorData::from_vec(DType::U8, &[], vec![(zero + from) as u8]);
                Some(graph.add_constant(format!("{name}.zero"), zero))
            }
            Zero::Computed(zero) => {
                let zero = unsigned(graph, zero, &name)?;
                Some(if graph.ty(zero).rank() == 0 {
                    zero
                } else {
                    graph.append(Op::Reshape(Vec::new()), &[zero], "")?
                })
            }
        };
        let operands: Vec<ValueId> = [x, weight].into_iter().chain(zero).collect();
        let sums = graph.append(self.op, &operands, &name)?;
        let Some(bias) = bias.filter(|bias| bias.iter().any(|&b| b != 0)) else { return Ok(sums) };
        let shape = channel_shape(graph.ty(sums).rank(), 1, bias.len());
        // `i32` wraps, as the sums do.
        let bias = TensorData::from_vec(DType::I32, &shape, bias.iter().map(|&b| b as i32).collect::<Vec<_>>());
        let bias = graph.add_constant(format!("{name}.bias"), bias);
        Ok(graph.append(Op::Binary(BinaryOp::Add), &[sums, bias], "")?)
    }
}
