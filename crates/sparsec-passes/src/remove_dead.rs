//! Dead code elimination.

use std::collections::BTreeSet;

use sparsec_graph::{Graph, NodeId, Symbol};

use crate::{PassError, PassStats};

/// Removes the nodes that no output depends on, neither for its elements nor for its extents. Graph inputs stay, used or not: they are the model's signature.
///
/// # Errors
/// None; the signature is that of every pass.
pub fn remove_dead(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut live = BTreeSet::new();
    let mut work: Vec<NodeId> = graph.outputs().iter().filter_map(|(_, value)| graph.producer(*value)).collect();
    let found = graph.found_extents();
    let extents = |symbols: BTreeSet<Symbol>| symbols.into_iter().filter_map(|s| found.get(&s).copied());
    for (_, value) in graph.outputs() {
        let mut symbols = BTreeSet::new();
        graph.ty(*value).shape.iter().for_each(|dim| dim.collect_symbols(&mut symbols));
        work.extend(extents(symbols));
    }
    while let Some(id) = work.pop() {
        if live.insert(id) {
            if !found.is_empty() {
                work.extend(extents(graph.symbols_of(graph.node(id))));
            }
            work.extend(graph.node(id).operands.iter().filter_map(|&operand| graph.producer(operand)));
        }
    }
    let dead: Vec<NodeId> = graph.nodes().map(|(id, _)| id).filter(|id| !live.contains(id)).collect();
    for &id in &dead {
        graph.remove_node(id);
    }
    Ok(PassStats::changed(dead.len()))
}
