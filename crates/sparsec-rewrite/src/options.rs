//! What a rewrite may do.

use std::collections::BTreeMap;

use sparsec_graph::{Bindings, Dim, Format, Graph, Op, Symbol};

use crate::cost::Machine;

/// Options of [`crate::rewrite`].
#[derive(Clone, Debug)]
pub struct RewriteOptions {
    /// The machine for which time is predicted.
    pub machine: Machine,
    /// Extents that symbols are taken to have when time is predicted; [`RewriteOptions::nominal_dims`] fills the gaps.
    pub nominal: Bindings,
    /// Formats that the user wants, by the name of the constant. They are used whatever they cost.
    pub forced: BTreeMap<String, Format>,
    /// Formats that were measured to be the fastest, by the name of the constant. They are used instead of predictions,
    /// which are still made and reported.
    pub measured: BTreeMap<String, Format>,
    /// When to stop searching.
    pub limits: Limits,
}

/// Limits of the search. They count nodes and rounds, never time, so that a model gives the same code everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most e-nodes in one region before formats are offered.
    pub nodes: usize,
    /// Most rounds of each family of rules.
    pub iterations: usize,
    /// Most graph nodes in one region; a larger graph is cut, by preference where one value alone is live.
    pub region_nodes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { nodes: 60_000, iterations: 60, region_nodes: 600 }
    }
}

impl RewriteOptions {
    /// The options for a machine, everything else as by default.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        RewriteOptions {
            machine,
            nominal: Bindings::new(),
            forced: BTreeMap::new(),
            measured: BTreeMap::new(),
            limits: Limits::default(),
        }
    }

    /// Extents for all symbols of a graph. Those without a given extent are taken to be 1 where the symbol is
    /// the first axis of the first input (a batch) or is called `batch`, and 64 otherwise.
    #[must_use]
    pub fn nominal_dims(&self, graph: &Graph) -> Bindings {
        let mut dims = self.nominal.clone();
        let shapes = || graph.inputs().iter().map(|&input| graph.ty(input).shape.as_slice());
        let batch = shapes().next().and_then(|s| s.first()).and_then(Dim::as_symbol).cloned();
        let mut symbols = std::collections::BTreeSet::new();
        shapes().flatten().for_each(|dim| dim.collect_symbols(&mut symbols));
        for symbol in symbols {
            let extent = if Some(&symbol) == batch.as_ref() || is_batch(&symbol) { 1 } else { 64 };
            dims.entry(symbol).or_insert(extent);
        }
        // What is found out at run time is taken to be half of what it can be.
        for id in graph.topological_order() {
            let Op::Loops(spec) = &graph.node(id).op else { continue };
            for count in &spec.counts {
                let extent = count.capacity.eval(&dims).map_or(64, |most| (most + 1) / 2);
                dims.entry(count.symbol.clone()).or_insert(extent);
            }
        }
        dims
    }
}

fn is_batch(symbol: &Symbol) -> bool {
    symbol.name().to_ascii_lowercase().contains("batch")
}
