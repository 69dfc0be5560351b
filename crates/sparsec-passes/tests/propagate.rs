//! Sparsity propagation on random networks: what remains computes the same, and the parts that must go are gone.

mod common;

use proptest::prelude::*;
use sparsec_graph::{BinaryOp, ConvAttrs, Graph, Op, PoolAttrs, PoolKind, ReduceKind, TensorData, UnaryOp, ValueId};
use sparsec_passes::{count_macs, propagate_sparsity};

/// One layer of a random network; the numbers choose among what is possible.
#[derive(Clone, Debug)]
enum Layer {
    /// Convolution to `outputs` channels with a 1x1 or 3x3 kernel, with or without padding.
    Conv { outputs: usize, kernel: usize, padded: bool, bias: bool },
    /// Depthwise convolution with `multiplier` outputs a channel.
    Depthwise { padded: bool, multiplier: usize },
    /// Convolution of two groups, where the channels divide.
    Grouped,
    /// An activation.
    Activation(UnaryOp),
    /// Multiplication or addition of a constant per channel.
    Affine(BinaryOp),
    /// Addition of an earlier value of the same shape.
    Residual(usize),
    /// Concatenation with an earlier value of the same image.
    Concat(usize),
    /// A pool that keeps the image.
    Pool(PoolKind),
    /// A slice of the channels.
    Slice,
}

fn layer() -> impl Strategy<Value = Layer> {
    let conv = (1usize..6, prop::sample::select(vec![1usize, 3]), any::<bool>(), any::<bool>());
    prop_oneof![
        4 => conv.prop_map(|(outputs, kernel, padded, bias)| Layer::Conv { outputs, kernel, padded, bias }),
        1 => (any::<bool>(), 1usize..3).prop_map(|(padded, multiplier)| Layer::Depthwise { padded, multiplier }),
        1 => Just(Layer::Grouped),
        2 => prop::sample::select(vec![UnaryOp::Relu, UnaryOp::Gelu, UnaryOp::Sigmoid, UnaryOp::Abs])
            .prop_map(Layer::Activation),
        1 => prop::sample::select(vec![BinaryOp::Mul, BinaryOp::Add]).prop_map(Layer::Affine),
        2 => any::<usize>().prop_map(Layer::Residual),
        1 => any::<usize>().prop_map(Layer::Concat),
        1 => prop::sample::select(vec![PoolKind::Max, PoolKind::Average, PoolKind::AverageWithPad])
            .prop_map(Layer::Pool),
        1 => Just(Layer::Slice),
    ]
}

/// A network under construction. The image is small, so that borders matter.
struct Network {
    graph: Graph,
    seed: u64,
    /// How many rows and columns in ten are zero.
    zeros: u64,
    values: Vec<ValueId>,
}

impl Network {
    fn new(seed: u64, zeros: u64) -> Self {
        let mut graph = Graph::new("random");
        let x = graph.input_f32("x", &[1, 2, 5, 5]);
        Network { graph, seed, zeros, values: vec![x] }
    }

    fn last(&self) -> ValueId {
        self.values[self.values.len() - 1]
    }

    fn shape(&self, value: ValueId) -> Vec<usize> {
        self.graph.ty(value).const_shape().unwrap().into_iter().map(|d| d as usize).collect()
    }

    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.seed >> 33
    }

    /// A weight with zero rows, zero columns, and zeros elsewhere.
    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let rows: Vec<bool> = (0..shape[0]).map(|_| self.random() % 10 < self.zeros).collect();
        let columns: Vec<bool> = (0..shape[1]).map(|_| self.random() % 10 < self.zeros / 2).collect();
        let kernel: usize = shape[2..].iter().product();
        let mut values = Vec::new();
        for row in &rows {
            for column in &columns {
                for _ in 0..kernel {
                    let v = self.random() % 16;
                    values.push(if *row || *column || v == 0 { 0.0 } else { v as f32 / 8.0 - 1.0 });
                }
            }
        }
        self.graph.constant_f32("w", shape, values)
    }

    fn vector(&mut self, shape: &[usize]) -> ValueId {
        let count = shape.iter().product();
        let values = (0..count).map(|_| (self.random() % 9) as f32 / 4.0 - 1.0).collect();
        self.graph.constant_f32("b", shape, values)
    }

    fn conv(&mut self, outputs: usize, kernel: usize, padded: bool, bias: bool, groups: usize) -> Option<()> {
        let x = self.last();
        let shape = self.shape(x);
        if !shape[1].is_multiple_of(groups)
            || !outputs.is_multiple_of(groups)
            || (!padded && shape[2].min(shape[3]) < kernel)
        {
            return None;
        }
        let w = self.weight(&[outputs, shape[1] / groups, kernel, kernel]);
        let mut operands = vec![x, w];
        if bias {
            operands.push(self.vector(&[outputs]));
        }
        let pad = if padded { (kernel / 2) as i64 } else { 0 };
        let attrs =
            ConvAttrs { strides: vec![1, 1], pads: vec![(pad, pad); 2], dilations: vec![1, 1], groups: groups as i64 };
        self.push(Op::Conv(attrs), &operands);
        Some(())
    }

    fn push(&mut self, op: Op, operands: &[ValueId]) {
        let value = self.graph.append(op, operands, "").unwrap();
        self.values.push(value);
    }

    /// Adds a layer where it fits.
    fn layer(&mut self, layer: &Layer) {
        let x = self.last();
        let shape = self.shape(x);
        match *layer {
            Layer::Conv { outputs, kernel, padded, bias } => {
                self.conv(outputs, kernel, padded, bias, 1);
            }
            Layer::Depthwise { padded, multiplier } => {
                self.conv(shape[1] * multiplier, 3, padded, true, shape[1]);
            }
            Layer::Grouped => {
                self.conv(4, 1, false, true, 2);
            }
            Layer::Activation(op) => self.push(Op::Unary(op), &[x]),
            Layer::Affine(op) => {
                let c = self.vector(&[shape[1], 1, 1]);
                self.push(Op::Binary(op), &[x, c]);
            }
            Layer::Residual(pick) => {
                let same: Vec<ValueId> = self.values.iter().copied().filter(|&v| self.shape(v) == shape).collect();
                self.push(Op::Binary(BinaryOp::Add), &[x, same[pick % same.len()]]);
            }
            Layer::Concat(pick) => {
                let fits = |v: &ValueId| self.shape(*v)[2..] == shape[2..] && shape[1] < 8;
                let same: Vec<ValueId> = self.values.iter().copied().filter(fits).collect();
                if !same.is_empty() {
                    self.push(Op::Concat { axis: 1 }, &[same[pick % same.len()], x]);
                }
            }
            Layer::Pool(kind) => {
                let attrs = PoolAttrs {
                    kind,
                    kernel: vec![3, 3],
                    strides: vec![1, 1],
                    pads: vec![(1, 1); 2],
                    dilations: vec![1, 1],
                    ceil: false,
                };
                self.push(Op::Pool(attrs), &[x]);
            }
            Layer::Slice if shape[1] > 1 => {
                let range = |len: usize, start: i64| sparsec_graph::SliceAxis {
                    start: start.into(),
                    len: (len as i64 - start).into(),
                    step: 1,
                };
                let ranges = vec![range(shape[0], 0), range(shape[1], 1), range(shape[2], 0), range(shape[3], 0)];
                self.push(Op::Slice(ranges), &[x]);
            }
            Layer::Slice => {}
        }
    }

    /// Ends in a linear layer, over all pixels or over their mean.
    fn finish(mut self, flatten: bool) -> Graph {
        let x = self.last();
        let shape = self.shape(x);
        let (features, columns) = if flatten {
            let columns = shape[1..].iter().product();
            (self.graph.append(Op::Reshape(vec![1.into(), (columns as i64).into()]), &[x], "").unwrap(), columns)
        } else {
            let mean = Op::Reduce { kind: ReduceKind::Mean, axes: vec![2, 3], keep: false };
            (self.graph.append(mean, &[x], "").unwrap(), shape[1])
        };
        let w = self.weight(&[3, columns]);
        let y = self.graph.contract("mk,nk->nm", w, features).unwrap();
        self.graph.add_output("y", y);
        self.graph
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn computes_the_same(
        layers in prop::collection::vec(layer(), 1..9),
        seed in any::<u64>(),
        zeros in 0u64..11,
        flatten in any::<bool>(),
    ) {
        let mut network = Network::new(seed, zeros);
        for layer in &layers {
            network.layer(layer);
        }
        let before = network.finish(flatten);
        let mut after = before.clone();
        propagate_sparsity(&mut after).unwrap();
        common::assert_equivalent(&before, &after, seed).map_err(TestCaseError::fail)?;
        let (dense, sparse) = (count_macs(&before), count_macs(&after));
        prop_assert!(sparse.dense <= dense.dense, "{dense:?} became {sparse:?}");
        let mut again = after.clone();
        let stats = propagate_sparsity(&mut again).unwrap();
        common::assert_equivalent(&after, &again, seed).map_err(TestCaseError::fail)?;
        prop_assert!(stats.changed == 0 || count_macs(&again).dense <= sparse.dense);
    }
}

#[test]
fn half_the_channels_are_a_quarter_of_the_work() {
    // Three 3x3 layers whose odd rows are zero and whose biases survive the ReLU: padded, so that carriers are needed.
    let mut graph = Graph::new("g");
    let mut x = graph.input_f32("x", &[1, 8, 6, 6]);
    for (i, outputs) in [64usize, 64, 8].into_iter().enumerate() {
        let inputs = graph.ty(x).const_shape().unwrap()[1] as usize;
        let mut values = Vec::new();
        for row in 0..outputs {
            let zero = i < 2 && row % 2 == 1;
            values.extend((0..inputs * 9).map(|k| if zero { 0.0 } else { ((row + 3 * k) % 7) as f32 / 64.0 + 0.01 }));
        }
        let w = graph.constant_f32("w", &[outputs, inputs, 3, 3], values);
        let b = graph.add_constant("b", TensorData::f32(&[outputs], (0..outputs).map(|o| o as f32 / 50.0).collect()));
        let attrs = ConvAttrs { strides: vec![1, 1], pads: vec![(1, 1); 2], dilations: vec![1, 1], groups: 1 };
        x = graph.append(Op::Conv(attrs), &[x, w, b], "").unwrap();
        x = graph.unary(UnaryOp::Relu, x).unwrap();
    }
    graph.add_output("y", x);
    let mut after = graph.clone();
    propagate_sparsity(&mut after).unwrap();
    common::assert_equivalent(&graph, &after, 5).unwrap();
    // One carrier stays beside each 32 channels: its row is zero, its column is not.
    let pixels = 36 * 9;
    assert_eq!(count_macs(&graph).dense, pixels * (8 * 64 + 64 * 64 + 64 * 8));
    assert_eq!(count_macs(&after).dense, pixels * (8 * 33 + 33 * 33 + 33 * 8));
    assert_eq!(count_macs(&after).nonzero, pixels * (8 * 32 + 33 * 32 + 33 * 8));
}
