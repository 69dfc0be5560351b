//! Explains the choice of formats.

use egg::Id;
use sparsec_graph::{Format, Graph, NodeId, TensorType};
use sparsec_sparse::PatternKind;

use crate::cost::{CostModel, Product, SPARSE_HANDICAP, StoredFacts, takes_vector};
use crate::egraph::EGraph;
use crate::emit::Emitter;
use crate::extract::Selection;
use crate::lang::ENode;
use crate::report::{Candidate, Decision};
use crate::rules::weight_of;
use crate::weights::Weight;

/// The decisions about the new nodes of a region, in order.
pub(crate) fn decisions(
    model: &CostModel<'_>,
    egraph: &EGraph,
    selection: &Selection,
    emitter: &Emitter<'_>,
    nodes: &[NodeId],
) -> Vec<Decision> {
    let decide = |&id: &NodeId| {
        let class = emitter.classes.get(&id)?;
        let ENode::Op(op, operands) = selection.nodes.get(class)? else { return None };
        let info = egraph.analysis.op(*op);
        let weight = model.weights.get(&weight_of(egraph, info, operands)?)?;
        let types: Vec<&TensorType> =
            operands.iter().map(|&x: &Id| egraph[x].data.ty.as_ref()).collect::<Option<_>>()?;
        let result = egraph[*class].data.ty.as_ref()?;
        let product = model.product(info, &types, result);
        let seconds =
            |facts: &StoredFacts| model.machine.seconds(&model.anchor_work(info, &types, result, (facts, &product)));
        decision(&seconds, weight, &product, &emitter.graph, id)
    };
    nodes.iter().filter_map(decide).collect()
}

fn decision(
    seconds: &dyn Fn(&StoredFacts) -> f64,
    weight: &Weight,
    product: &Product,
    graph: &Graph,
    id: NodeId,
) -> Option<Decision> {
    let node = graph.node(id);
    let chosen = node.format.clone()?;
    let mut candidates: Vec<Candidate> = weight
        .candidates
        .iter()
        .filter(|facts| weight.is_set(&facts.format) || !product.is_vector || takes_vector(&facts.format))
        .map(|facts| Candidate {
            format: facts.format.clone(),
            seconds: seconds(facts),
            bytes: facts.bytes as u64,
            why: why(weight, facts, product),
        })
        .collect();
    candidates.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then_with(|| a.format.cmp(&b.format)));
    Some(Decision {
        node: node.name.clone(),
        tensor: weight.name.clone(),
        shape: weight.shape,
        columns: product.n,
        pattern: weight.kind,
        density: weight.density,
        stats: weight.stats.clone(),
        reason: reason(weight, &candidates, &chosen),
        candidates,
        chosen,
    })
}

fn why(weight: &Weight, facts: &StoredFacts, product: &Product) -> String {
    let elements = (weight.shape.0 * weight.shape.1).max(1) as f64;
    let multiplied = if facts.format == Format::Bitmap { elements } else { facts.entries };
    let work = format!("{:.0} % of the multiplications", 100.0 * multiplied / elements);
    let kind = match &facts.format {
        Format::Dense => "no index to read".to_owned(),
        Format::Csr if product.is_vector => "one gathered load for each nonzero".to_owned(),
        Format::Csr => "rows of any length, X not kept in L1".to_owned(),
        Format::Bsr { r, .. } => format!("each load serves {r} outputs"),
        Format::Bitmap => "a bit for each entry, zeros are not loaded".to_owned(),
        Format::Nm { .. } => "rows of equal length, packed selectors".to_owned(),
        Format::Hyb { .. } => format!("{:.1} entries of a row in a partition", facts.segment),
        Format::Pruned(_) => "a smaller matrix".to_owned(),
    };
    format!("{work}, {kind}")
}

fn reason(weight: &Weight, candidates: &[Candidate], chosen: &Format) -> String {
    if weight.forced {
        return "set by the user".to_owned();
    }
    if weight.measured.is_some() {
        return "measured".to_owned();
    }
    let seconds = |format: &Format| candidates.iter().find(|c| c.format == *format).map(|c| c.seconds);
    let (Some(dense), Some(own)) = (seconds(&Format::Dense), seconds(chosen)) else { return String::new() };
    if *chosen != Format::Dense {
        return format!("predicted {:.2} times as fast as dense", dense / own);
    }
    match candidates.iter().find(|c| c.format != Format::Dense) {
        None if weight.kind == PatternKind::Dense => "hardly a zero".to_owned(),
        None => "no other format is supported here".to_owned(),
        Some(best) => format!(
            "{} is predicted {:.2} times as fast as dense, less than the {SPARSE_HANDICAP} that a sparse format must reach",
            best.format,
            dense / best.seconds
        ),
    }
}
