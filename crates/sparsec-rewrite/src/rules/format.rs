//! Formats of constant weights: every anchor gets one e-node for each format that is worth a try.

use std::collections::BTreeMap;

use egg::Id;
use sparsec_graph::{Format, Op, ValueId};

use crate::egraph::EGraph;
use crate::lang::{ENode, OpInfo};

use super::contract::weight_labels;

/// The operand that holds the weight of an anchor: the lhs `mk` of a contraction, `w` of a convolution. `None` for
/// all other operators.
pub(crate) fn weight_operand(op: &Op) -> Option<usize> {
    match op {
        Op::Contract(spec) => weight_labels(spec).map(|_| 0),
        Op::Conv(_) => Some(1),
        _ => None,
    }
}

/// The constant weight of an anchor, in the layout that the source graph has it in.
pub(crate) fn weight_of(egraph: &EGraph, info: &OpInfo, operands: &[Id]) -> Option<ValueId> {
    let weight = operands.get(weight_operand(&info.op)?)?;
    let leaf = egraph.analysis.leaf(egraph[*weight].data.constant?);
    leaf.steps.is_empty().then_some(leaf.value)
}

/// Adds the alternatives `choose-format` to every anchor that has none: formats depend on nothing else, so one pass
/// over the saturated e-graph finds them all.
pub(crate) fn offer_formats(egraph: &mut EGraph, formats: &BTreeMap<ValueId, Vec<Format>>) {
    let mut found: Vec<(Id, OpInfo, Vec<Id>, ValueId)> = Vec::new();
    for class in egraph.classes() {
        for node in &class.nodes {
            let ENode::Op(op, operands) = node else { continue };
            let info = egraph.analysis.op(*op);
            if info.format.is_none()
                && let Some(weight) = weight_of(egraph, info, operands)
            {
                found.push((class.id, info.clone(), operands.clone(), weight));
            }
        }
    }
    for (class, info, operands, weight) in found {
        for format in formats.get(&weight).into_iter().flatten() {
            let op = egraph.analysis.intern(OpInfo { format: Some(format.clone()), ..info.clone() });
            let stored = egraph.add(ENode::Op(op, operands.clone()));
            egraph.union_trusted(class, stored, "choose-format");
        }
    }
    egraph.rebuild();
}
