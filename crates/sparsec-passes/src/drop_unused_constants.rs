//! Lets go of the bytes of constants that nothing uses.
//!
//! Passes add constants and never change them, so a folded weight leaves the weight that it was made from in the store;
//! large ones are removed at once, small ones stay. Ids are never used again, hence this pass builds the graph anew. It
//! also numbers nodes in the order in which they are computed.

use std::collections::BTreeMap;

use sparsec_graph::{ConstId, Def, Graph, ValueId};

use crate::{PassError, PassStats};

/// Rebuilds the graph with the constants that nodes and outputs use. Ids change; names, types and order do not.
///
/// # Errors
/// None; the signature is that of every pass.
pub fn drop_unused_constants(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut used: Vec<ValueId> = graph.use_counts().into_keys().filter(|v| graph.constant(*v).is_some()).collect();
    used.sort_unstable();
    let dropped = graph.constants().count().saturating_sub(used.len());
    if dropped == 0 {
        return Ok(PassStats::default());
    }
    let mut fresh = Graph::new(graph.name());
    fresh.set_pages(graph.pages().cloned());
    let mut values: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for &input in graph.inputs() {
        let value = graph.value(input);
        values.insert(input, fresh.add_input(value.name.clone(), value.ty.clone()));
    }
    // Two values may hold one constant; then its bytes are shared, and the second is as cheap as the first.
    let mut ids: Vec<(ConstId, ValueId)> = used
        .into_iter()
        .filter_map(|v| match graph.value(v).def {
            Def::Const(id) => Some((id, v)),
            _ => None,
        })
        .collect();
    ids.sort_unstable();
    for (_, value) in ids {
        if let Some(constant) = graph.constant(value) {
            values.insert(value, fresh.add_constant(constant.name.clone(), constant.data.clone()));
        }
    }
    for id in graph.topological_order() {
        let mut node = graph.node(id).clone();
        let results = std::mem::take(&mut node.results);
        node.operands = node.operands.iter().map(|v| values.get(v).copied().unwrap_or(*v)).collect();
        let types = results.iter().map(|&r| graph.ty(r).clone()).collect();
        let new = fresh.add_node(node, types);
        for (i, old) in results.into_iter().enumerate() {
            let result = fresh.node(new).results[i];
            fresh.value_mut(result).name.clone_from(&graph.value(old).name);
            values.insert(old, result);
        }
    }
    for (name, value) in graph.outputs() {
        fresh.add_output(name.clone(), values.get(value).copied().unwrap_or(*value));
    }
    *graph = fresh;
    Ok(PassStats::changed(dropped))
}
