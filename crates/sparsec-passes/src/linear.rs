//! Convolutions and contractions with a constant weight: what a scale and a shift per output channel can be folded into.

use sparsec_graph::{BinaryOp, Graph, NodeId, Op, TensorData, ValueId};

use crate::PassError;
use crate::matching::{binary_operands, extent, is_single_use, plain};
use crate::tensor::{channel_shape, from_f64, per_channel, to_f64};

/// A linear operator with a constant weight, and the constant bias that follows it.
pub(crate) struct Linear {
    /// The convolution or contraction.
    pub(crate) id: NodeId,
    /// Which operand is the weight.
    pub(crate) weight: usize,
    /// The weight's axis of output channels.
    weight_axis: usize,
    /// The result's axis of output channels.
    pub(crate) axis: usize,
    /// Number of output channels.
    pub(crate) channels: usize,
    /// The bias per channel.
    bias: Option<Vec<f64>>,
    /// The addition of the bias after a contraction.
    add: Option<NodeId>,
}

impl Linear {
    /// The linear operator whose result, with its bias, `value` is.
    pub(crate) fn of(graph: &Graph, value: ValueId) -> Option<Self> {
        if let Some(linear) = Self::without_add(graph, value) {
            return Some(linear);
        }
        let (x, y) = binary_operands(graph, value, BinaryOp::Add)?;
        let add = graph.producer(value)?;
        [(x, y), (y, x)].into_iter().find_map(|(product, bias)| {
            let linear = Self::without_add(graph, product)?;
            let rank = graph.ty(value).rank();
            let bias = per_channel(graph, bias, rank, linear.axis, linear.channels)?;
            let fits =
                linear.is_contraction(graph) && graph.ty(product) == graph.ty(value) && is_single_use(graph, product);
            fits.then_some(Linear { bias: Some(bias), add: Some(add), ..linear })
        })
    }

    fn without_add(graph: &Graph, value: ValueId) -> Option<Self> {
        let id = graph.producer(value)?;
        let node = plain(graph, value)?;
        let channels = |axis| extent(graph.ty(value), axis);
        let is_weight = |i: usize| {
            let constant = node.operands.get(i).and_then(|&v| graph.constant(v));
            constant.is_some_and(|c| c.data.dtype.is_float())
        };
        match &node.op {
            Op::Conv(_) if is_weight(1) => {
                let bias = match node.operands.get(2) {
                    Some(&bias) => Some(to_f64(&graph.constant(bias)?.data)?),
                    None => None,
                };
                Some(Linear { id, weight: 1, weight_axis: 0, axis: 1, channels: channels(1)?, bias, add: None })
            }
            Op::Contract(spec) => {
                let weight = (0..2).find(|&i| is_weight(i))?;
                let (own, other) = if weight == 0 { (&spec.lhs, &spec.rhs) } else { (&spec.rhs, &spec.lhs) };
                let weight_axis = own.iter().position(|label| !other.contains(label))?;
                let axis = spec.out.iter().position(|label| *label == own[weight_axis])?;
                Some(Linear { id, weight, weight_axis, axis, channels: channels(axis)?, bias: None, add: None })
            }
            _ => None,
        }
    }

    pub(crate) fn is_contraction(&self, graph: &Graph) -> bool {
        matches!(graph.node(self.id).op, Op::Contract(_))
    }

    /// Whether the operator, its bias included, is a lone contraction, to which a shift is a bias and nothing to fold.
    pub(crate) fn is_bare_contraction(&self, graph: &Graph) -> bool {
        self.is_contraction(graph) && self.add.is_none()
    }

    /// Adds the operator that computes `scale * this + shift`, channel by channel, and returns its result. `None` where
    /// the element type has no such arithmetic or a scale is not finite.
    pub(crate) fn scaled(&self, graph: &mut Graph, scale: &[f64], shift: &[f64]) -> Result<Option<ValueId>, PassError> {
        if scale.iter().chain(shift).any(|v| !v.is_finite()) {
            return Ok(None);
        }
        let node = graph.node(self.id).clone();
        let old = node.operands[self.weight];
        let Some(constant) = graph.constant(old) else { return Ok(None) };
        let (name, dtype) = (constant.name.clone(), constant.data.dtype);
        let mut operands = node.operands.clone();
        if scale.iter().any(|&s| s != 1.0) {
            let Some(weight) = scale_along(&constant.data, self.weight_axis, scale) else { return Ok(None) };
            operands[self.weight] = graph.add_constant(name.clone(), weight);
        }
        let bias: Option<Vec<f64>> = match &self.bias {
            Some(bias) => Some(bias.iter().zip(scale).zip(shift).map(|((b, s), t)| b * s + t).collect()),
            None if shift.iter().any(|&t| t != 0.0) => Some(shift.to_vec()),
            None => None,
        };
        let contraction = self.is_contraction(graph);
        let rank = graph.ty(node.result()).rank();
        let shape = if contraction { channel_shape(rank, self.axis, self.channels) } else { vec![self.channels] };
        let bias = match bias {
            Some(bias) => {
                let Some(data) = from_f64(dtype, &shape, bias) else { return Ok(None) };
                Some(graph.add_constant(format!("{name}.bias"), data))
            }
            None => None,
        };
        if !contraction {
            operands.truncate(2);
            operands.extend(bias);
            return Ok(Some(graph.append(node.op, &operands, &node.name)?));
        }
        let product = graph.append(node.op, &operands, &node.name)?;
        match bias {
            Some(bias) => {
                let name = self.add.map_or_else(String::new, |add| graph.node(add).name.clone());
                Ok(Some(graph.append(Op::Binary(BinaryOp::Add), &[product, bias], &name)?))
            }
            None => Ok(Some(product)),
        }
    }
}

/// Multiplies a tensor by a factor per index of an axis, in `f64`. What is zero, or meets a factor of zero, is `+0`.
fn scale_along(data: &TensorData, axis: usize, factors: &[f64]) -> Option<TensorData> {
    let run = data.shape.get(axis + 1..)?.iter().product::<usize>().max(1);
    let product = |v: f64, factor: f64| if v == 0.0 || factor == 0.0 { 0.0 } else { v * factor };
    let factor = |i: usize| factors[i / run % factors.len()];
    // Weights are `f32` as a rule, and large: no `f64` copy of them.
    if let Some(values) = data.as_f32() {
        let mut scaled = Vec::with_capacity(values.len());
        for (row, &factor) in values.chunks(run).zip(factors.iter().cycle()) {
            scaled.extend(row.iter().map(|&v| product(f64::from(v), factor) as f32));
        }
        return Some(TensorData::f32(&data.shape, scaled));
    }
    let scaled = to_f64(data)?.into_iter().enumerate().map(|(i, v)| product(v, factor(i))).collect();
    from_f64(data.dtype, &data.shape, scaled)
}
