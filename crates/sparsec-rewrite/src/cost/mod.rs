//! Predicted time of every operator on a machine.
//!
//! A roofline: an operator takes as long as its arithmetic or its memory traffic, whichever is longer, plus what
//! packing and transposing its operands cost, plus the start of a kernel. Only additions, products and comparisons
//! are used, so predictions are the same bits on every machine.

mod activation;
mod machine;
mod scalar;
mod weight;

pub use machine::{Efficiency, Machine};
pub(crate) use weight::{Product, StoredFacts, product_seconds, rows_in_flight, takes_vector};

use std::collections::BTreeMap;

use egg::Id;
use sparsec_graph::{Bindings, Dim, Format, Op, TensorType, ValueId};

use crate::egraph::EGraph;
use crate::lang::{ENode, OpInfo};
use crate::rules::weight_of;
use crate::weights::Weight;

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
        self.seconds(egraph, class, node, SPARSE_HANDICAP)
    }

    /// Seconds of one e-node, its operands not included.
    pub(crate) fn node_seconds(&self, egraph: &EGraph, class: Id, node: &ENode) -> f64 {
        self.seconds(egraph, class, node, 1.0)
    }

    fn seconds(&self, egraph: &EGraph, class: Id, node: &ENode, handicap: f64) -> f64 {
        let ENode::Op(op, operands) = node else { return 0.0 };
        let info = egraph.analysis.op(*op);
        let Some(result) = egraph[class].data.ty.as_ref() else { return UNFORMATTED };
        let types: Option<Vec<&TensorType>> = operands.iter().map(|&x| egraph[x].data.ty.as_ref()).collect();
        let Some(types) = types else { return UNFORMATTED };
        let anchor = match weight_of(egraph, info, operands).and_then(|value| self.weights.get(&value)) {
            Some(weight) => {
                let facts = info.format.as_ref().and_then(|format| weight.stored(format));
                let Some(facts) = facts else { return UNFORMATTED };
                let product = self.product(info, &types, result);
                if product.is_vector && !weight.forced && !takes_vector(&facts.format) {
                    return UNFORMATTED;
                }
                let handicap = if facts.format == Format::Dense { 1.0 } else { handicap };
                product_seconds(self.machine, facts, &product) * handicap
                    + self.layout_seconds(info, &types, result, &product)
            }
            None => self.operator_seconds(info, &types, result),
        };
        anchor + self.epilogue_seconds(info, &types, result) + self.launch_seconds(&info.op)
    }

    /// The product that an anchor with a constant weight computes.
    pub(crate) fn product(&self, info: &OpInfo, types: &[&TensorType], result: &TensorType) -> Product {
        let (columns, is_vector) = match (&info.op, types) {
            (Op::Contract(spec), [_, x, ..]) => {
                let tokens = || spec.rhs.iter().zip(&x.shape).filter(|(label, _)| spec.out.contains(label));
                (tokens().map(|(_, d)| self.extent(d)).product(), tokens().all(|(_, d)| d.is(1)))
            }
            _ => {
                let pixels = || result.shape.iter().take(1).chain(result.shape.iter().skip(2));
                (pixels().map(|d| self.extent(d)).product(), false)
            }
        };
        Product { n: columns, is_vector, weight_set: self.weight_set }
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

    /// Seconds to touch these tensors once.
    fn traffic(&self, types: &[&TensorType], result: &TensorType) -> f64 {
        let bytes = types.iter().map(|ty| self.bytes(ty)).sum::<f64>() + self.bytes(result);
        self.machine.seconds_for_bytes(bytes, bytes)
    }

    fn launch_seconds(&self, op: &Op) -> f64 {
        // A reshape has no kernel; what it costs here only makes fewer of them better.
        if matches!(op, Op::Reshape(_)) { 1e-10 } else { self.machine.launch_seconds }
    }
}
