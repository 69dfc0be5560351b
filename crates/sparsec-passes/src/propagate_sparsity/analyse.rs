//! The forward step: which channels a value has, which belong together, and which are constant.

use std::collections::BTreeMap;

use sparsec_graph::{ContractSpec, ConvAttrs, DType, Graph, Node, NodeId, Op, TensorData, ValueId};

use super::classes::Classes;
use super::{elementwise, movement};
use crate::PassError;
use crate::matching::{extent, is_plain};

/// A channel axis of more extent than this is not followed. A flattened 2048 x 7 x 7 image has fewer; and the model's text
/// does not justify memory for many more.
pub(super) const MAX_CHANNELS: usize = 1 << 17;

/// The channels of a value.
#[derive(Clone, Debug)]
pub(super) struct Channels {
    /// The axis.
    pub(super) axis: usize,
    /// The class of each index.
    pub(super) classes: Vec<u32>,
    /// The constant that each index is known to be.
    pub(super) constants: Vec<Option<f32>>,
}

impl Channels {
    /// The same channels of unknown value on another axis.
    pub(super) fn unknown(&self, axis: usize) -> Self {
        Channels { axis, classes: self.classes.clone(), constants: vec![None; self.classes.len()] }
    }
}

/// A convolution or contraction with a constant weight that reads whole columns of channels.
#[derive(Clone, Debug)]
pub(super) struct Consumer {
    pub(super) node: NodeId,
    /// The operand that holds channels.
    pub(super) data: ValueId,
    pub(super) weight: WeightAxes,
    /// Whether zeros surround the data.
    pub(super) padded: bool,
}

/// Where a weight has what.
#[derive(Clone, Copy, Debug)]
pub(super) struct WeightAxes {
    /// Which operand it is.
    pub(super) operand: usize,
    /// Its axis of output channels.
    pub(super) rows: usize,
    /// Its axis of input channels.
    pub(super) columns: usize,
}

/// What is known of a graph's channels.
#[derive(Debug, Default)]
pub(super) struct Analysis {
    pub(super) classes: Classes,
    pub(super) channels: BTreeMap<ValueId, Channels>,
    pub(super) consumers: Vec<Consumer>,
    /// Nodes that make channels with a constant weight.
    pub(super) producers: Vec<(NodeId, WeightAxes)>,
}

/// Follows channels from the convolutions and contractions that make them to the operators that end them.
pub(super) fn analyse(graph: &Graph) -> Result<Analysis, PassError> {
    let mut analysis = Analysis::default();
    for id in graph.topological_order() {
        let node = graph.node(id);
        if let Some(channels) = analysis.flow(graph, id, node)? {
            analysis.channels.insert(node.result(), channels);
        }
    }
    for (_, output) in graph.outputs() {
        analysis.pin_value(*output);
    }
    Ok(analysis)
}

impl Analysis {
    /// The channels of a node's result.
    fn flow(&mut self, graph: &Graph, id: NodeId, node: &Node) -> Result<Option<Channels>, PassError> {
        if is_plain(node) {
            let flown = match (&node.op, node.operands.as_slice()) {
                (Op::Conv(attrs), &[x, w, ..]) => self.conv(graph, id, attrs, x, w),
                (Op::Contract(spec), &[x, y]) => self.contract(graph, id, spec, x, y),
                (op, _) if op.is_elementwise() => elementwise::flow(self, graph, node)?,
                _ => movement::flow(self, graph, node),
            };
            if flown.is_some() {
                return Ok(flown);
            }
        }
        for &operand in &node.operands {
            self.pin_value(operand);
        }
        Ok(None)
    }

    /// Keeps all channels of a value.
    pub(super) fn pin_value(&mut self, value: ValueId) {
        if let Some(channels) = self.channels.get(&value) {
            for &class in &channels.classes {
                self.classes.pin(class);
            }
        }
    }

    /// Keeps all of these channels.
    pub(super) fn pin_all(&mut self, classes: &[u32]) {
        for &class in classes {
            self.classes.pin(class);
        }
    }

    /// The channels of a value, where they are along this axis.
    pub(super) fn along(&self, value: ValueId, axis: usize) -> Option<&Channels> {
        self.channels.get(&value).filter(|channels| channels.axis == axis)
    }

    fn conv(&mut self, graph: &Graph, id: NodeId, attrs: &ConvAttrs, x: ValueId, w: ValueId) -> Option<Channels> {
        let weight = weight_data(graph, w)?;
        let bias = match graph.node(id).operands.get(2) {
            Some(&bias) => Some(graph.constant(bias)?.data.as_f32()?),
            None => None,
        };
        let bias = |row: usize| bias.as_ref().map_or(0.0, |b| f64::from(b[row]));
        let count = channel_count(weight.shape[0])?;
        let padded = attrs.pads.iter().any(|&p| p != (0, 0));
        let groups = usize::try_from(attrs.groups).ok()?;
        // Channels on another axis of the operand, a spatial one, end here.
        if self.along(x, 1).is_none() {
            self.pin_value(x);
        }
        let classes = self.classes.add(count);
        if groups != 1 {
            self.tie_groups(x, &classes, groups);
        }
        let axes = WeightAxes { operand: 1, rows: 0, columns: 1 };
        if groups == 1 {
            self.producers.push((id, axes));
        }
        let inputs = self.along(x, 1).map(|channels| channels.constants.as_slice());
        let constants = row_constants(graph, weight, axes, groups, inputs, padded, bias)?;
        if groups == 1 && inputs.is_some() {
            self.consumers.push(Consumer { node: id, data: x, weight: axes, padded });
        }
        Some(Channels { axis: 1, classes, constants })
    }

    /// The inputs and outputs of a group of a convolution stand or fall together; for a depthwise convolution a group is
    /// one channel.
    fn tie_groups(&mut self, x: ValueId, outputs: &[u32], groups: usize) {
        let Some(inputs) = self.along(x, 1).map(|channels| channels.classes.clone()) else {
            self.pin_all(outputs);
            return;
        };
        let of_group = |all: &[u32], group: usize| -> Vec<u32> {
            let size = all.len() / groups;
            all[group * size..(group + 1) * size].to_vec()
        };
        for group in 0..groups {
            let members = [of_group(&inputs, group), of_group(outputs, group)].concat();
            for pair in members.windows(2) {
                self.classes.union(pair[0], pair[1]);
            }
        }
    }

    fn contract(&mut self, graph: &Graph, id: NodeId, spec: &ContractSpec, x: ValueId, y: ValueId) -> Option<Channels> {
        let (operand, weight, data, own, other) = match (weight_data(graph, x), weight_data(graph, y)) {
            (Some(weight), None) => (0, weight, y, &spec.lhs, &spec.rhs),
            (None, Some(weight)) => (1, weight, x, &spec.rhs, &spec.lhs),
            _ => return None,
        };
        let is_summed = |label: &char| other.contains(label) && !spec.out.contains(label);
        let (rows, columns) = match own.as_slice() {
            [a, b] if !other.contains(a) && is_summed(b) => (0, 1),
            [a, b] if is_summed(a) && !other.contains(b) => (1, 0),
            _ => return None,
        };
        let count = channel_count(weight.shape[rows])?;
        let axis = spec.out.iter().position(|label| *label == own[rows])?;
        let data_axis = other.iter().position(|label| *label == own[columns])?;
        let axes = WeightAxes { operand, rows, columns };
        if self.along(data, data_axis).is_none() {
            self.pin_value(data);
        }
        self.producers.push((id, axes));
        let inputs = self.along(data, data_axis).map(|channels| channels.constants.as_slice());
        let constants = row_constants(graph, weight, axes, 1, inputs, false, |_| 0.0)?;
        if inputs.is_some() {
            self.consumers.push(Consumer { node: id, data, weight: axes, padded: false });
        }
        Some(Channels { axis, classes: self.classes.add(count), constants })
    }
}

/// The bytes of an `f32` constant.
pub(super) fn weight_data(graph: &Graph, value: ValueId) -> Option<&TensorData> {
    graph.constant(value).map(|c| &c.data).filter(|data| data.dtype == DType::F32)
}

fn channel_count(extent: usize) -> Option<usize> {
    (1..=MAX_CHANNELS).contains(&extent).then_some(extent)
}

/// The number of channels of a value along an axis, where it is a constant and reasonable.
pub(super) fn channels_along(graph: &Graph, value: ValueId, axis: usize) -> Option<usize> {
    channel_count(extent(graph.ty(value), axis)?)
}

/// The constant that each output channel is: the bias where the row is zero, or meets constants only. With padding the only
/// constant that is the same everywhere is 0.
fn row_constants(
    graph: &Graph,
    weight: &TensorData,
    axes: WeightAxes,
    groups: usize,
    inputs: Option<&[Option<f32>]>,
    padded: bool,
    bias: impl Fn(usize) -> f64,
) -> Option<Vec<Option<f32>>> {
    let values = graph.values::<f32>(weight)?;
    let (rows, columns) = (weight.shape[axes.rows], weight.shape[axes.columns]);
    // Row-major with rows and columns in either order, and any kernel after them.
    let kernel: usize = weight.shape[2..].iter().product();
    let at = |row: usize, column: usize| {
        let matrix = if axes.rows == 0 { row * columns + column } else { column * rows + row };
        &values[matrix * kernel..(matrix + 1) * kernel]
    };
    let rows_per_group = (rows / groups).max(1);
    let constant = |row: usize| {
        let mut sum = bias(row);
        for column in 0..columns {
            let taps = at(row, column);
            if taps.iter().all(|&v| v == 0.0) {
                continue;
            }
            match *inputs?.get(row / rows_per_group * columns + column)? {
                Some(0.0) => {}
                Some(c) if !padded => sum += f64::from(c) * taps.iter().map(|&v| f64::from(v)).sum::<f64>(),
                _ => return None,
            }
        }
        Some(sum as f32).filter(|v| v.is_finite())
    };
    Some((0..rows).map(constant).collect())
}
