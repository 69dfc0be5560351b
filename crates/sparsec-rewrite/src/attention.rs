//! Attention as one operator, once layouts are chosen: the scores of all pairs are then never in memory together.
//!
//! This is no rule of the e-graph. A rule would have to carry layouts through the operator to compete with the parts,
//! and gives nothing that replacing them afterwards does not: what is fused costs less in every layout that is accepted.

use std::collections::BTreeSet;

use sparsec_graph::{AttentionSpec, ContractSpec, DType, Dim, Graph, Node, NodeId, Op, ScalarExpr, ValueId};

use crate::RewriteError;

/// A product of fewer queries is left: vectors run along them.
const LEAST_QUERIES: i64 = 16;
/// The largest depth, and the largest number of features, of a head.
const LARGEST_HEAD: i64 = 256;

/// Replaces `softmax(f(q k)) v` by one operator, where the queries are the last axis of the result, and scores and weights are used
/// nowhere else. With `any_layout` the queries may be any axis where a constant masks most scores: the lanes of a GPU's warp store
/// wherever they like, and computing few scores is worth more than their order. Without a mask, three kernels have more warps than one. Returns the names of the nodes that are gone, and of the one that stands for each.
///
/// # Errors
/// None on a graph that type-checks.
pub(crate) fn fuse_attention(graph: &mut Graph, any_layout: bool) -> Result<Vec<(String, String)>, RewriteError> {
    let mut gone = Vec::new();
    for id in graph.topological_order() {
        if !graph.contains(id) {
            continue;
        }
        let Some(found) = find(graph, id, any_layout) else { continue };
        let name = graph.node(id).name.clone();
        let op = Op::Attention(Box::new(found.spec));
        let by = graph
            .append(op, &found.operands, &name)
            .map_err(|error| RewriteError::Infer { node: name.clone(), error: Box::new(error) })?;
        graph.replace_uses(graph.node(id).result(), by);
        gone.extend(found.parts[1..].iter().map(|&part| (graph.node(part).name.clone(), name.clone())));
        for part in found.parts {
            graph.remove_node(part);
        }
    }
    Ok(gone)
}

/// A score of this or less has no weight beside any other.
const MASKED: f32 = -1e30;

struct Found {
    spec: AttentionSpec,
    operands: Vec<ValueId>,
    /// The nodes that are replaced, users first.
    parts: [NodeId; 3],
}

fn find(graph: &Graph, id: NodeId, any_layout: bool) -> Option<Found> {
    let node = graph.node(id);
    let values = contraction(node).filter(|_| node.epilogue.is_none())?;
    let &[lhs, rhs] = node.operands.as_slice() else { return None };
    [(lhs, rhs, values.clone()), (rhs, lhs, swapped(values))]
        .into_iter()
        .find_map(|(weights, v, values)| of_weights(graph, (id, weights, v), &values, any_layout))
}

/// The spec of a contraction of two activations.
fn contraction(node: &Node) -> Option<&ContractSpec> {
    match &node.op {
        Op::Contract(spec) if node.format.is_none() => Some(spec),
        _ => None,
    }
}

fn swapped(spec: &ContractSpec) -> ContractSpec {
    ContractSpec { lhs: spec.rhs.clone(), rhs: spec.lhs.clone(), out: spec.out.clone() }
}

/// The node that computes a value for one other node alone.
fn only_for_one(graph: &Graph, value: ValueId) -> Option<NodeId> {
    let once = graph.users(value).len() == 1 && !graph.is_output(value);
    graph.producer(value).filter(|_| once)
}

fn of_weights(
    graph: &Graph,
    (id, weights, v): (NodeId, ValueId, ValueId),
    values: &ContractSpec,
    any_layout: bool,
) -> Option<Found> {
    let softmax = only_for_one(graph, weights)?;
    let (&Op::Softmax { axis }, &[x]) = (&graph.node(softmax).op, graph.node(softmax).operands.as_slice()) else {
        return None;
    };
    let scores = only_for_one(graph, x).filter(|_| v != weights)?;
    let node = graph.node(scores);
    let mut spec = contraction(node)?.clone();
    let keys = *spec.out.get(axis)?;
    let (expr, first) = match &node.epilogue {
        Some(epilogue) => (epilogue.expr.clone(), epilogue.first_operand as usize),
        None => (ScalarExpr::Acc, 2),
    };
    let (own, args) = node.operands.split_at_checked(first)?;
    let &[mut q, mut k] = own else { return None };
    if !spec.rhs.contains(&keys) {
        (q, k, spec) = (k, q, swapped(&spec));
    }
    let values = renamed(values, &spec)?;
    let any_layout = any_layout && args.iter().any(|&arg| masks_most(graph, arg));
    let spec = AttentionSpec { scores: spec, expr, keys, values };
    let result = graph.node(id).result();
    if ![q, k, v, x, result].iter().all(|&v| graph.ty(v).dtype == DType::F32)
        || !suits(graph, &spec, [q, k, v], any_layout)
    {
        return None;
    }
    let mut operands = vec![q, k, v];
    operands.extend_from_slice(args);
    Some(Found { spec, operands, parts: [id, softmax, scores] })
}

/// Whether an operand is a constant that masks half of the scores or more, as far as its own elements tell: lowering knows what the
/// expression makes of them, and leaves out what it can.
fn masks_most(graph: &Graph, value: ValueId) -> bool {
    let Some(data) = graph.constant(value).map(|c| &c.data) else { return false };
    match data.as_f32() {
        Some(values) => 2 * values.iter().filter(|&&v| v <= MASKED).count() >= values.len(),
        None => data.dtype == DType::Bool,
    }
}

/// The second contraction in the letters of the first.
fn renamed(values: &ContractSpec, scores: &ContractSpec) -> Option<ContractSpec> {
    let mut free = ('a'..='z').chain('A'..='Z').filter(|c| !scores.lhs.contains(c) && !scores.rhs.contains(c));
    let mut names: Vec<(char, char)> = values.lhs.iter().copied().zip(scores.out.iter().copied()).collect();
    for label in values.rhs.iter().filter(|c| !values.lhs.contains(c)) {
        names.push((*label, free.next()?));
    }
    let name = |labels: &[char]| -> Option<Vec<char>> {
        labels.iter().map(|l| names.iter().find(|(from, _)| from == l).map(|(_, to)| *to)).collect()
    };
    Some(ContractSpec { lhs: name(&values.lhs)?, rhs: name(&values.rhs)?, out: name(&values.out)? })
}

/// Whether the kernel takes these layouts: one axis each of queries, keys, depth and features, the queries last in the
/// result unless `any_layout`, and at most two axes of batches. Axes of extent 1 don't count.
fn suits(graph: &Graph, spec: &AttentionSpec, [q, k, v]: [ValueId; 3], any_layout: bool) -> bool {
    let (scores, values) = (&spec.scores, &spec.values);
    let extent = |label: char| {
        [(&scores.lhs, q), (&scores.rhs, k), (&values.rhs, v)].into_iter().find_map(|(labels, value)| {
            let axis = labels.iter().position(|&l| l == label)?;
            graph.ty(value).shape.get(axis).cloned()
        })
    };
    let long = |labels: &mut dyn Iterator<Item = char>| -> Vec<(char, Dim)> {
        labels.filter_map(|l| Some((l, extent(l)?))).filter(|(_, e)| !e.is(1)).collect()
    };
    let is_query = |c: &char| scores.lhs.contains(c) && !scores.rhs.contains(c);
    let queries = long(&mut scores.out.iter().copied().filter(is_query));
    let depth = long(&mut scores.summed().into_iter());
    let features = long(&mut values.out.iter().copied().filter(|c| !scores.out.contains(c)));
    let batch = long(&mut scores.out.iter().copied().filter(|c| !is_query(c) && *c != spec.keys));
    let (&[(query, ref count)], [(_, depth)], [(_, features)]) = (&queries[..], &depth[..], &features[..]) else {
        return false;
    };
    let shared: BTreeSet<char> = batch.iter().map(|(label, _)| *label).collect();
    let small = |e: &Dim| e.as_const().is_some_and(|e| (1..=LARGEST_HEAD).contains(&e));
    let last = long(&mut values.out.iter().copied()).last().is_some_and(|(label, _)| *label == query);
    !scores.lhs.contains(&spec.keys)
        && values.rhs.contains(&spec.keys)
        && !values.out.contains(&spec.keys)
        && !values.rhs.contains(&query)
        && (last || any_layout)
        && count.as_const().is_none_or(|n| n >= LEAST_QUERIES)
        && small(depth)
        && small(features)
        && shared.len() <= 2
        && shared.iter().all(|c| values.out.contains(c))
}
