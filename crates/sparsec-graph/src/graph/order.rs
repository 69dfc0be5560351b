//! The order in which nodes run.

use std::collections::{BTreeMap, BTreeSet};

use petgraph::Direction;
use petgraph::stable_graph::NodeIndex;
use petgraph::visit::EdgeRef;

use super::{Graph, NodeId, index};
use crate::{Dim, Node, Op, Symbol};

impl Graph {
    /// The nodes such that each stands after those whose results it uses; among the ready ones the smallest id comes
    /// first, so the order depends on nothing but the graph. Nodes on a cycle are left out (the verifier reports them).
    /// A node comes after those that find out the extents in its types and attributes, too.
    #[must_use]
    pub fn topological_order(&self) -> Vec<NodeId> {
        let mut missing: BTreeMap<NodeIndex, usize> = BTreeMap::new();
        let mut ready = BTreeSet::new();
        let waiting = self.waiting_for_extents();
        let waits: BTreeMap<NodeId, usize> = waiting.values().flatten().fold(BTreeMap::new(), |mut counts, &id| {
            *counts.entry(id).or_default() += 1;
            counts
        });
        for i in self.topology.node_indices() {
            let edges = self.topology.edges_directed(i, Direction::Incoming).count();
            let count = edges + waits.get(&node_id(i)).copied().unwrap_or(0);
            missing.insert(i, count);
            if count == 0 {
                ready.insert(i);
            }
        }
        let mut order = Vec::with_capacity(missing.len());
        while let Some(next) = ready.pop_first() {
            let id = node_id(next);
            order.push(id);
            let targets = self.topology.edges_directed(next, Direction::Outgoing).map(|edge| edge.target());
            let more = waiting.get(&id).into_iter().flatten().map(|&id| index(id));
            for target in targets.chain(more) {
                if let Some(count) = missing.get_mut(&target) {
                    *count -= 1;
                    if *count == 0 {
                        ready.insert(target);
                    }
                }
            }
        }
        order
    }

    /// The nodes that find out extents, each with the nodes in whose types or attributes these stand.
    fn waiting_for_extents(&self) -> BTreeMap<NodeId, BTreeSet<NodeId>> {
        let found = self.found_extents();
        let mut waiting: BTreeMap<NodeId, BTreeSet<NodeId>> = BTreeMap::new();
        if found.is_empty() {
            return waiting;
        }
        for (id, node) in self.nodes() {
            for source in self.symbols_of(node).iter().filter_map(|symbol| found.get(symbol)) {
                if *source != id {
                    waiting.entry(*source).or_default().insert(id);
                }
            }
        }
        waiting
    }

    /// The extents that nodes find out, and which.
    #[must_use]
    pub fn found_extents(&self) -> BTreeMap<Symbol, NodeId> {
        let specs = self.nodes().filter_map(|(id, node)| match &node.op {
            Op::Loops(spec) => Some((id, spec)),
            _ => None,
        });
        specs.flat_map(|(id, spec)| spec.counts.iter().map(move |count| (count.symbol.clone(), id))).collect()
    }

    /// The symbols in the attributes of a node and in the types of its results.
    #[must_use]
    pub fn symbols_of(&self, node: &Node) -> BTreeSet<Symbol> {
        let mut symbols = BTreeSet::new();
        let shapes = node.results.iter().filter_map(|&result| self.get_value(result)).flat_map(|value| &value.ty.shape);
        shapes.for_each(|dim| dim.collect_symbols(&mut symbols));
        let collected: Result<Op, std::convert::Infallible> = node.op.try_map_dims(|dim: &Dim| {
            dim.collect_symbols(&mut symbols);
            Ok(dim.clone())
        });
        drop(collected);
        symbols
    }
}

fn node_id(index: NodeIndex) -> NodeId {
    NodeId(index.index() as u32)
}
