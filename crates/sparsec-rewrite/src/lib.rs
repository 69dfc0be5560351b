//! Equality saturation over the graph IR: fusion, layout and weight format by predicted cost.
//!
//! [`rewrite()`] takes a normalised graph and returns one of the same inputs, outputs and meaning in which
//!
//! * element-wise chains are fused, into the epilogue of a contraction or convolution or into a `map`,
//! * layouts are chosen. A layout is nothing but an order of axes, so the only thing that changes are transposes: they
//!   are absorbed by labels and axes of operators, cancel each other, or are paid,
//! * every contraction with a constant weight `mk` and every convolution with constant weights names the format in
//!   which its weight is stored.
//!
//! All three are decided together: alternatives live side by side in an e-graph ([egg](https://docs.rs/egg)), and
//! extraction takes the cheapest set under a cost model of the target. The way of a graph through this crate:
//!
//! Graphs within control flow are rewritten each for itself (`control`); a branch or loop is a region of its own.
//! `attention` then replaces softmax between two contractions by one operator.
//!
//! `weights` looks at the constant weights; `region` encodes nodes as an e-graph (`lang`, `egraph`); `rules` adds
//! equal alternatives; `extract` chooses by `cost`; `emit` writes the new graph, and [`Report`] says why.
//!
//! *Invariant:* the outcome depends on the graph and the options only. No limit is a time, and no map is unordered.
//! *Invariant:* results stay the same to the last bit, as far as kernels sum in the same order: no rule uses
//! associativity, and fused expressions keep their operands in order.

mod attention;
mod control;
mod cost;
mod decide;
mod egraph;
mod emit;
mod error;
mod extract;
mod lang;
mod options;
mod perm;
mod region;
mod report;
mod rules;
mod single;
mod weights;

use sparsec_graph::{Bindings, Graph, Op};

pub use cost::{Constants, Gpu, Machine, Term, Work};
pub use error::RewriteError;
pub use options::{Limits, RewriteOptions};
pub use report::{Candidate, Decision, OperatorReport, RegionReport, Report};
pub use single::{RULE_NAMES, apply_rules};

/// A rewritten graph and what was decided.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The new graph.
    pub graph: Graph,
    /// The decisions.
    pub report: Report,
}

/// Chooses fusion, layouts and formats. See the crate's documentation for what the result looks like.
///
/// # Errors
/// When a forced format can't hold its weight or names none, and when the graph is malformed.
pub fn rewrite(graph: &Graph, options: &RewriteOptions) -> Result<Rewritten, RewriteError> {
    let dims = options.nominal_dims(graph);
    weights::check_forced(graph, &options.forced)?;
    weights::check_forced(graph, &options.measured)?;
    rewrite_graph(graph, options, &dims)
}

/// Rewrites a graph, and the graphs within it, whose symbols have the values that `dims` gives to those of the model.
fn rewrite_graph(graph: &Graph, options: &RewriteOptions, dims: &Bindings) -> Result<Rewritten, RewriteError> {
    let weights = weights::analyse_weights(graph, &options.machine, &options.forced, &options.measured)?;
    let model = cost::CostModel::new(&options.machine, dims, &weights);
    let formats = weights.iter().map(|(&value, weight)| (value, weight.offered())).collect();
    let mut emitter = emit::Emitter::new(graph);
    let (mut decisions, mut operators, mut regions, mut seconds) = (Vec::new(), Vec::new(), Vec::new(), 0.0);
    for region in region::cut_regions(graph, options.limits.region_nodes)? {
        if region.opaque {
            for &id in &region.nodes {
                let node = graph.node(id);
                if node.op.is_control() {
                    let inner = control::rewrite_control(node, options, dims)?;
                    emitter.copy_node(id, inner.op)?;
                    seconds += inner.seconds;
                    decisions.extend(inner.decisions);
                    operators.extend(inner.operators);
                    regions.extend(inner.regions);
                } else {
                    let report = model.opaque_node(graph, node);
                    seconds += report.seconds;
                    operators.push(report);
                    emitter.copy_node(id, node.op.clone())?;
                }
            }
            continue;
        }
        let encoded = region::encode(graph, &region)?;
        let (egraph, log) = rules::saturate(encoded.egraph, &options.limits, &formats);
        let roots: Vec<egg::Id> =
            region.roots.iter().filter_map(|root| encoded.classes.get(root)).map(|&c| egraph.find(c)).collect();
        let selection = extract::extract(&egraph, &roots, |class, node| model.node_cost(&egraph, class, node));
        let Some(selection) = selection else {
            let reason = "no way to compute an output was found".to_owned();
            return Err(RewriteError::Malformed { node: graph.name().to_owned(), reason });
        };
        let nodes = emitter.emit_region(&egraph, &region, &encoded.classes, &selection)?;
        decisions.extend(decide::decisions(&model, &egraph, &selection, &emitter, &nodes));
        operators.extend(nodes.iter().filter_map(|&id| {
            let class = emitter.classes.get(&id)?;
            let work = model.node_work(&egraph, *class, selection.nodes.get(class)?)?;
            let seconds = options.machine.seconds(&work);
            Some(OperatorReport { node: emitter.graph.node(id).name.clone(), seconds, work })
        }));
        seconds += selection.nodes.iter().map(|(&class, node)| model.node_seconds(&egraph, class, node)).sum::<f64>();
        regions.push(RegionReport {
            nodes: region.nodes.len(),
            classes: egraph.number_of_classes(),
            alternatives: egraph.total_number_of_nodes(),
            rounds: log.iter().map(|s| s.rounds).collect(),
            saturated: log.iter().all(|s| s.saturated),
        });
    }
    let mut rewritten = emitter.finish();
    let fused = attention::fuse_attention(&mut rewritten, options.machine.gpu.is_some())?;
    seconds += account_for(&model, &rewritten, &fused, &mut operators);
    let report = Report {
        decisions,
        nodes: (graph.node_count(), rewritten.node_count()),
        fused: count(graph, Op::is_elementwise).saturating_sub(count(&rewritten, Op::is_elementwise)),
        transposes: (count(graph, is_transpose), count(&rewritten, is_transpose)),
        seconds,
        operators,
        regions,
    };
    Ok(Rewritten { graph: rewritten, report })
}

/// Drops nodes that are gone from the list, and predicts the ones that stand for them. Returns the seconds that are more.
fn account_for(
    model: &cost::CostModel<'_>,
    graph: &Graph,
    fused: &[(String, String)],
    operators: &mut Vec<OperatorReport>,
) -> f64 {
    let mut more = 0.0;
    operators.retain(|operator| {
        let gone = fused.iter().any(|(gone, _)| *gone == operator.node);
        more -= if gone { operator.seconds } else { 0.0 };
        !gone
    });
    for (_, node) in graph.nodes().filter(|(_, node)| matches!(node.op, Op::Attention(_))) {
        let work = model.plain_work(
            &node.op,
            &node.operands.iter().map(|&x| graph.ty(x)).collect::<Vec<_>>(),
            graph.ty(node.result()),
        );
        let seconds = model.machine.seconds(&work);
        if let Some(operator) = operators.iter_mut().find(|o| o.node == node.name) {
            more += seconds - operator.seconds;
            *operator = OperatorReport { node: node.name.clone(), seconds, work };
        }
    }
    more
}

fn count(graph: &Graph, pick: impl Fn(&Op) -> bool) -> usize {
    graph.nodes().filter(|(_, node)| pick(&node.op)).count()
}

fn is_transpose(op: &Op) -> bool {
    matches!(op, Op::Transpose(_))
}
