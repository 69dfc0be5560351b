//! Predicted time of every operator on a machine.
//!
//! An operator is described as [`Work`]: how often its kernel multiplies, loads, packs, begins a row of sums, and so on.
//! A machine has a cost for each kind of work, and the time is the sum of the products. Only additions, products,
//! quotients and comparisons are used, so predictions are the same bits on every machine.

mod activation;
mod bytes;
mod gpu;
mod machine;
mod scalar;
mod tile;
mod weight;
mod work;

pub use gpu::Gpu;
pub(crate) use gpu::takes_bitmap;
pub use machine::Machine;
pub(crate) use weight::{Product, StoredFacts, product_work, rows_in_flight, takes_vector};
pub use work::{Constants, Term, Work};

use std::collections::BTreeMap;

use egg::Id;
use sparsec_graph::{Bindings, ConvAttrs, DType, Dim, Format, Graph, Node, Op, TensorType, ValueId};

use crate::egraph::EGraph;
use crate::lang::{ENode, OpInfo};
use crate::report::OperatorReport;
use crate::rules::weight_of;
use crate::weights::Weight;
use tile::{Image, Window};

/// Seconds of an anchor whose weight has no format: no extraction takes it while there is another way.
const UNFORMATTED: f64 = 1e6;

/// A sparse format has to be predicted faster than dense by this factor.
pub(crate) const SPARSE_HANDICAP: f64 = 1.05;

/// The cost model of one rewrite.
pub(crate) struct CostModel<'a> {
    /// The machine.
    pub(crate) machine: &'a Machine,
    /// Values of symbols.
    pub(crate) dims: &'a Bindings,
    /// The constant weights of anchors.
    pub(crate) weights: &'a BTreeMap<ValueId, Weight>,
    /// Bytes of all weights, each in its smallest format.
    pub(crate) weight_set: f64,
}

impl<'a> CostModel<'a> {
    /// The model for a machine, values of symbols, and weights.
    pub(crate) fn new(machine: &'a Machine, dims: &'a Bindings, weights: &'a BTreeMap<ValueId, Weight>) -> Self {
        let smallest = |w: &Weight| w.candidates.iter().map(|c| c.bytes).fold(f64::INFINITY, f64::min);
        CostModel { machine, dims, weights, weight_set: weights.values().map(smallest).sum() }
    }

    /// What extraction minimises: the seconds of an e-node, with a handicap for sparse products, so that a gain within
    /// the model's error does not make a weight sparse. Never lose to dense.
    pub(crate) fn node_cost(&self, egraph: &EGraph, class: Id, node: &ENode) -> f64 {
        let ENode::Op(op, _) = node else { return 0.0 };
        let info = egraph.analysis.op(*op);
        let Some(work) = self.node_work(egraph, class, node) else { return UNFORMATTED };
        // A reshape has no kernel; what it costs here only makes fewer of them better.
        let reshape = if matches!(info.op, Op::Reshape(_)) { 1e-10 } else { 0.0 };
        let sparse = info.format.as_ref().is_some_and(|format| *format != Format::Dense);
        self.machine.seconds(&work) * if sparse { SPARSE_HANDICAP } else { 1.0 } + reshape
    }

    /// Seconds of one e-node, its operands not included.
    pub(crate) fn node_seconds(&self, egraph: &EGraph, class: Id, node: &ENode) -> f64 {
        self.node_work(egraph, class, node).map_or(UNFORMATTED, |work| self.machine.seconds(&work))
    }

    /// Work of one e-node, its operands not included; `None` where it is not to be chosen.
    pub(crate) fn node_work(&self, egraph: &EGraph, class: Id, node: &ENode) -> Option<Work> {
        let ENode::Op(op, operands) = node else { return Some(Work::default()) };
        let info = egraph.analysis.op(*op);
        let result = egraph[class].data.ty.as_ref()?;
        let types: Vec<&TensorType> = operands.iter().map(|&x| egraph[x].data.ty.as_ref()).collect::<Option<_>>()?;
        let Some(weight) = weight_of(egraph, info, operands).and_then(|value| self.weights.get(&value)) else {
            if let Some(gpu) = &self.machine.gpu {
                return Some(self.gpu_operator(gpu, info, &types, result));
            }
            let mut work = Work::default();
            self.operator_work(&mut work, info, &types, result);
            self.epilogue_work(&mut work, info, &types, result);
            if !matches!(info.op, Op::Reshape(_)) {
                work.add(Term::Launch, 1.0);
            }
            return Some(work);
        };
        let facts = info.format.as_ref().and_then(|format| weight.stored(format))?;
        let product = self.product(info, &types, result);
        if product.is_vector && !weight.is_set(&facts.format) && !takes_vector(&facts.format) {
            return None;
        }
        Some(self.anchor_work(info, &types, result, (facts, &product)))
    }

    /// Work of an operator alone.
    pub(crate) fn plain_work(&self, op: &Op, types: &[&TensorType], result: &TensorType) -> Work {
        if let Some(gpu) = &self.machine.gpu {
            return self.gpu_operator(gpu, &OpInfo::plain(op.clone()), types, result);
        }
        let mut work = Work::default();
        self.operator_work(&mut work, &OpInfo::plain(op.clone()), types, result);
        work.add(Term::Launch, 1.0);
        work
    }

    /// The prediction for a node that is taken over as it is.
    pub(crate) fn opaque_node(&self, graph: &Graph, node: &Node) -> OperatorReport {
        let types: Vec<&TensorType> = node.operands.iter().map(|&x| graph.ty(x)).collect();
        if self.machine.gpu.is_some() {
            let seconds = |&result| self.machine.seconds(&self.plain_work(&node.op, &types, graph.ty(result)));
            let seconds = node.results.iter().map(seconds).sum();
            return OperatorReport { node: node.name.clone(), seconds, work: Work::whole(seconds) };
        }
        let mut work = Work::default();
        for &result in &node.results {
            self.operator_work(&mut work, &OpInfo::plain(node.op.clone()), &types, graph.ty(result));
        }
        work.add(Term::Launch, 1.0);
        OperatorReport { node: node.name.clone(), seconds: self.machine.seconds(&work), work }
    }

    /// Work of an operator with a constant weight in one of its formats, with the epilogue.
    pub(crate) fn anchor_work(
        &self,
        info: &OpInfo,
        types: &[&TensorType],
        result: &TensorType,
        (facts, product): (&StoredFacts, &Product),
    ) -> Work {
        if let Some(gpu) = &self.machine.gpu {
            return self.gpu_product(gpu, info, (facts, product), types, result);
        }
        let mut work = match types {
            [w, ..] if w.dtype == DType::I8 => bytes::product_work(self.machine, facts, product),
            [x, w, ..] if x.dtype == DType::U8 && w.dtype.size() <= 2 && product.groups == 1 => {
                bytes::convolution_work(self.machine, facts, product)
            }
            _ => product_work(self.machine, facts, product),
        };
        if let Some(x) = types.get(usize::from(matches!(info.op, Op::Contract(_)))) {
            self.touch(&mut work, &[x], result);
        }
        self.epilogue_work(&mut work, info, types, result);
        work.add(Term::Launch, 1.0);
        work
    }

    /// The product that an anchor with a constant weight computes.
    pub(crate) fn product(&self, info: &OpInfo, types: &[&TensorType], result: &TensorType) -> Product {
        match (&info.op, types) {
            (Op::Contract(spec), [w, x, ..]) => {
                let count = |d: &Dim| self.extent(d) as usize;
                let (outputs, channels) = (w.shape.first().map_or(1, count), w.shape.get(1).map_or(1, count));
                let long = |labels: &[char], ty: &TensorType| -> Vec<(char, f64)> {
                    let all = labels.iter().zip(&ty.shape).filter(|(_, d)| !d.is(1));
                    all.map(|(label, d)| (*label, self.extent(d))).collect()
                };
                let (rhs, out) = (long(&spec.rhs, x), long(&spec.out, result));
                let is_token = |label: &char| spec.rhs.contains(label) && spec.out.contains(label);
                // Tokens behind the outputs lie side by side; where none do, all of them are the columns.
                let split = out.iter().rposition(|(label, _)| !is_token(label)).map_or(0, |at| at + 1);
                let (before, behind) = out.split_at(split);
                let product = |labels: &[(char, f64)]| -> f64 {
                    labels.iter().filter(|(label, _)| is_token(label)).map(|(_, d)| d).product()
                };
                let (batch, columns) =
                    if behind.is_empty() { (1.0, product(before)) } else { (product(before), product(behind)) };
                let column = behind.last().or(before.iter().rfind(|(label, _)| is_token(label)));
                let x_beside = match (rhs.last(), column) {
                    (Some((label, _)), Some((column, _))) => label == column,
                    _ => true,
                };
                let is_vector = spec.rhs.iter().zip(&x.shape).all(|(label, d)| !spec.out.contains(label) || d.is(1));
                let image = Image {
                    extents: (1, columns as usize),
                    windows: (Window::POINT, Window::POINT),
                    channels,
                    outputs,
                    density: 1.0,
                };
                let side_by_side = (x_beside, !behind.is_empty());
                let (n, weight_set) = (batch * columns, self.weight_set);
                Product { image, batch, n, is_vector, groups: 1, side_by_side, weight_set }
            }
            (Op::Conv(attrs), [_, w, ..]) => self.convolution(attrs, w, result),
            _ => Product {
                image: Image {
                    extents: (1, 1),
                    windows: (Window::POINT, Window::POINT),
                    channels: 1,
                    outputs: 1,
                    density: 1.0,
                },
                batch: 1.0,
                n: 1.0,
                is_vector: false,
                groups: 1,
                side_by_side: (true, true),
                weight_set: self.weight_set,
            },
        }
    }

    fn convolution(&self, attrs: &ConvAttrs, w: &TensorType, result: &TensorType) -> Product {
        let count = |ty: &TensorType, axis: usize| ty.shape.get(axis).map_or(1, |d| self.extent(d) as usize);
        let spatial = w.shape.len().saturating_sub(2);
        let window = |axis: usize| {
            let positive = |values: &[i64]| values.get(axis).map_or(1, |&v| v.max(1) as usize);
            let (stride, dilation) = (positive(&attrs.strides), positive(&attrs.dilations));
            Window { kernel: count(w, axis + 2).max(1), stride, dilation }
        };
        let (windows, mut extents) = match spatial {
            1 => ((Window::POINT, window(0)), (1, count(result, 2))),
            _ => ((window(0), window(1)), (count(result, 2), count(result, 3))),
        };
        let padded = attrs.pads.iter().any(|&(before, behind)| before != 0 || behind != 0);
        if windows == (Window::POINT, Window::POINT) && !padded {
            extents = (1, extents.0 * extents.1);
        }
        let groups = attrs.groups.max(1) as usize;
        let batch = count(result, 0) as f64;
        Product {
            image: Image { extents, windows, channels: count(w, 1) * groups, outputs: count(w, 0), density: 1.0 },
            batch,
            n: batch * (extents.0 * extents.1) as f64,
            is_vector: false,
            groups,
            side_by_side: (true, true),
            weight_set: self.weight_set,
        }
    }

    /// The nominal value of an extent.
    pub(crate) fn extent(&self, dim: &Dim) -> f64 {
        dim.eval(self.dims).map_or(1.0, |v| v.max(0) as f64)
    }

    fn elements(&self, ty: &TensorType) -> f64 {
        ty.shape.iter().map(|d| self.extent(d)).product()
    }

    fn bytes(&self, ty: &TensorType) -> f64 {
        self.elements(ty) * ty.dtype.size() as f64
    }

    /// Vectors that the elements of a tensor fill, row by row.
    fn vectors(&self, ty: &TensorType) -> f64 {
        let lanes = self.machine.lanes() * 4.0 / ty.dtype.size().max(1) as f64;
        // Loops merge axes where memory allows it, so only short tensors have a tail that counts.
        (self.elements(ty) / lanes).ceil()
    }
}
