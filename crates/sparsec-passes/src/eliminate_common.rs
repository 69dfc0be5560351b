//! Common subexpression elimination.

use std::collections::BTreeMap;

use sparsec_graph::{Graph, NodeId, TensorData, ValueId};

use crate::matching::replace_value;
use crate::{PassError, PassStats};

/// Computes each expression once: of nodes with the same operator, attributes and operands the first is kept, and of
/// constants with the same bytes, type and shape too.
///
/// # Errors
/// None; the signature is that of every pass.
pub fn eliminate_common(graph: &mut Graph) -> Result<PassStats, PassError> {
    let constants = share_constants(graph);
    let nodes = share_nodes(graph);
    let mut stats = PassStats::changed(constants + nodes);
    if stats.changed > 0 {
        stats.notes.push(format!("{nodes} nodes and {constants} constants were there already"));
    }
    Ok(stats)
}

fn share_constants(graph: &mut Graph) -> usize {
    let mut groups: BTreeMap<(String, Vec<u8>), Vec<ValueId>> = BTreeMap::new();
    for value in graph.use_counts().into_keys() {
        if let Some(constant) = graph.constant(value) {
            let key = (graph.ty(value).to_string(), sample(&constant.data));
            groups.entry(key).or_default().push(value);
        }
    }
    let mut same = BTreeMap::new();
    for group in groups.into_values() {
        let mut firsts: Vec<ValueId> = Vec::new();
        for value in group {
            let bytes = |v: ValueId| graph.constant(v).map(|c| &c.data.bytes);
            match firsts.iter().find(|&&first| bytes(first) == bytes(value)) {
                Some(&first) => {
                    same.insert(value, first);
                }
                None => firsts.push(value),
            }
        }
    }
    let shared = same.len();
    substitute(graph, &same);
    shared
}

/// A few bytes spread over a constant: what differs mostly differs here, so that whole weights are seldom compared.
fn sample(data: &TensorData) -> Vec<u8> {
    let step = (data.bytes.len() / 64).max(1);
    data.bytes.iter().step_by(step).copied().collect()
}

/// Replaces operands and outputs, in one sweep over the graph.
fn substitute(graph: &mut Graph, by: &BTreeMap<ValueId, ValueId>) {
    if by.is_empty() {
        return;
    }
    let ids: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in ids {
        let operands = &graph.node(id).operands;
        if operands.iter().any(|v| by.contains_key(v)) {
            let operands = operands.iter().map(|v| by.get(v).copied().unwrap_or(*v)).collect();
            graph.set_operands(id, operands);
        }
    }
    let outputs: Vec<ValueId> = graph.outputs().iter().map(|(_, v)| *v).collect();
    for output in outputs {
        if let Some(&to) = by.get(&output) {
            graph.replace_uses(output, to);
        }
    }
}

fn share_nodes(graph: &mut Graph) -> usize {
    let mut seen: BTreeMap<String, NodeId> = BTreeMap::new();
    let mut shared = 0;
    for id in graph.topological_order() {
        let node = graph.node(id);
        if node.results.len() != 1 || node.op.is_control() {
            continue;
        }
        // `Debug` of a float names every bit of it but a NaN's payload.
        let key = format!("{:?} {:?} {:?} {:?}", node.op, node.operands, node.epilogue, node.format);
        match seen.get(&key) {
            Some(&first) => {
                let by = graph.node(first).result();
                replace_value(graph, id, by);
                shared += 1;
            }
            None => {
                seen.insert(key, id);
            }
        }
    }
    shared
}
