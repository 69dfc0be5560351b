//! Regions: how a graph enters the e-graph, and where a large one is cut.
//!
//! A region is a run of nodes in topological order. Values from before it are leaves; values that are used after it
//! are its roots and keep their layout, so a cut costs what a layout could have gained across it. Graphs of the usual
//! size are one region. Larger ones are cut where only one value is live, such as between two blocks of a network,
//! and anywhere if there is no such place. A node that the e-graph can't hold (one with several results) is a region
//! of its own, which is taken over as it is.

use std::collections::BTreeMap;

use egg::Id;
use sparsec_graph::{Def, Graph, Node, NodeId, Op, TensorData, ValueId};

use crate::egraph::{EGraph, add_op};
use crate::error::RewriteError;
use crate::lang::{ENode, Leaf, OpInfo, Tables};

/// The nodes of one region, in order.
pub(crate) struct Region {
    /// Its nodes.
    pub(crate) nodes: Vec<NodeId>,
    /// Values that later regions or the outputs need, in order of their nodes.
    pub(crate) roots: Vec<ValueId>,
    /// Whether this is one node that is copied.
    pub(crate) opaque: bool,
}

/// A region in an e-graph.
pub(crate) struct Encoded {
    /// The e-graph.
    pub(crate) egraph: EGraph,
    /// The class of every value of the source graph that the region knows.
    pub(crate) classes: BTreeMap<ValueId, Id>,
}

/// Cuts a graph into regions of at most `limit` nodes.
///
/// # Errors
/// [`RewriteError::Malformed`] for nodes on a cycle.
pub(crate) fn cut_regions(graph: &Graph, limit: usize) -> Result<Vec<Region>, RewriteError> {
    let order = graph.topological_order();
    if order.len() < graph.node_count() {
        return Err(RewriteError::Malformed { node: graph.name().to_owned(), reason: "it has a cycle".into() });
    }
    let position: BTreeMap<NodeId, usize> = order.iter().enumerate().map(|(i, &n)| (n, i)).collect();
    // The last position at which each node's result is used; outputs are used behind the end.
    let mut last_use = vec![0; order.len()];
    for (at, &id) in order.iter().enumerate() {
        let node = graph.node(id);
        for producer in node.operands.iter().filter_map(|&x| graph.producer(x)) {
            if let Some(&source) = position.get(&producer) {
                last_use[source] = last_use[source].max(at);
            }
        }
    }
    for (_, value) in graph.outputs() {
        if let Some(source) = graph.producer(*value).and_then(|n| position.get(&n)) {
            last_use[*source] = order.len();
        }
    }
    let mut regions = Vec::new();
    let mut start = 0;
    while start < order.len() {
        let opaque = |i: &usize| is_opaque(graph.node(order[*i]));
        let stop = (start..order.len()).find(opaque).unwrap_or(order.len());
        if stop == start {
            let id = order[start];
            regions.push(Region { nodes: vec![id], roots: graph.node(id).results.clone(), opaque: true });
            start += 1;
            continue;
        }
        let end = region_end(&last_use[..stop], start, limit.max(1));
        let nodes = order[start..end].to_vec();
        let roots = (start..end).filter(|&i| last_use[i] >= end).map(|i| graph.node(order[i]).result()).collect();
        regions.push(Region { nodes, roots, opaque: false });
        start = end;
    }
    Ok(regions)
}

/// Whether a class of the e-graph, which stands for one value, can't stand for this node, or graphs within it are rewritten for themselves.
fn is_opaque(node: &Node) -> bool {
    node.results.len() != 1 || node.op.is_control()
}

/// Where the region from `start` ends: the last place within the limit at which one value is live, or else the limit.
fn region_end(last_use: &[usize], start: usize, limit: usize) -> usize {
    if last_use.len() - start <= limit {
        return last_use.len();
    }
    let latest = start + limit;
    let live = |end: usize| (0..end).filter(|&i| last_use[i] >= end).count();
    // Not in the first half: many small regions would lose more than one cut in a busy place.
    (start + limit / 2 + 1..=latest).rev().find(|&end| live(end) <= 1).unwrap_or(latest)
}

/// Puts a region into an e-graph.
///
/// # Errors
/// [`RewriteError::Infer`] where a node does not type-check.
pub(crate) fn encode(graph: &Graph, region: &Region) -> Result<Encoded, RewriteError> {
    let uses = graph.use_counts();
    let uses_of = |value: ValueId| uses.get(&value).map_or(0, |&n| u32::try_from(n).unwrap_or(u32::MAX));
    let mut egraph = EGraph::new(Tables::default());
    let mut classes: BTreeMap<ValueId, Id> = BTreeMap::new();
    for &id in &region.nodes {
        let node = graph.node(id);
        let mut operands = Vec::with_capacity(node.operands.len());
        for &value in &node.operands {
            let class = match classes.get(&value) {
                Some(&class) => class,
                None => {
                    let leaf = leaf_of(graph, value, uses_of(value));
                    let leaf = egraph.analysis.intern_leaf(leaf);
                    let class = egraph.add(ENode::Leaf(leaf));
                    classes.insert(value, class);
                    class
                }
            };
            operands.push(class);
        }
        let anchor = matches!(node.op, Op::Contract(_) | Op::Conv(_)).then_some(id);
        let info = OpInfo { op: node.op.clone(), epilogue: node.epilogue.clone(), format: node.format.clone(), anchor };
        let Some(class) = add_op(&mut egraph, info, &operands) else {
            let Err(error) = graph.infer_node(node) else {
                let reason = "it does not type-check".into();
                return Err(RewriteError::Malformed { node: node.name.clone(), reason });
            };
            return Err(RewriteError::Infer { node: node.name.clone(), error: Box::new(error) });
        };
        let value = node.result();
        // Equal nodes share a class, and then all users of each count.
        let mut facts = egraph[class].data.clone();
        let shared = classes.values().any(|&known| egraph.find(known) == egraph.find(class));
        facts.uses = uses_of(value).saturating_add(if shared { facts.uses } else { 0 }).max(facts.uses);
        facts.origin = Some(facts.origin.map_or(value, |known| known.min(value)));
        egraph.set_analysis_data(class, facts);
        classes.insert(value, class);
    }
    egraph.rebuild();
    Ok(Encoded { egraph, classes })
}

fn leaf_of(graph: &Graph, value: ValueId, uses: u32) -> Leaf {
    let constant = graph.constant(value);
    Leaf {
        value,
        steps: Vec::new(),
        ty: graph.ty(value).clone(),
        constant: matches!(graph.value(value).def, Def::Const(_)) && constant.is_some(),
        scalar: constant.and_then(|c| float_scalar(&c.data)),
        uses,
    }
}

/// The value of a floating-point constant of one element.
fn float_scalar(data: &TensorData) -> Option<f64> {
    if data.elements() != 1 {
        return None;
    }
    match data.dtype {
        sparsec_graph::DType::F32 => data.as_f32()?.first().map(|&v| f64::from(v)),
        sparsec_graph::DType::F64 => data.values::<f64>()?.first().copied(),
        _ => None,
    }
}
