//! Single rules, for tests and for `sparsec opt`.

use sparsec_graph::Graph;

use crate::egraph::EGraph;
use crate::emit::Emitter;
use crate::error::RewriteError;
use crate::extract::extract;
use crate::lang::ENode;
use crate::options::Limits;
use crate::region::{cut_regions, encode};
use crate::rules::{FAMILIES, Rule, run_rules};

/// The names of all rewrite rules, in the order in which they run.
pub const RULE_NAMES: [&str; 23] = [
    "transpose-inverse",
    "transpose-compose",
    "transpose-view",
    "transpose-constant",
    "reshape-constant",
    "reshape-compose",
    "transpose-reshape",
    "reshape-transpose",
    "transpose-elementwise",
    "elementwise-transpose",
    "transpose-softmax",
    "transpose-layer-norm",
    "transpose-reduce",
    "transpose-concat",
    "transpose-slice",
    "transpose-pad",
    "transpose-expand",
    "contract-operand",
    "contract-result",
    "contract-feature-major",
    "contract-vector-operand",
    "fuse-map",
    "fuse-epilogue",
];

/// Every graph to which some rules alone lead: one for each e-node that they added, which computes the value in that way
/// and everything else as before. Empty where no rule applies or there is none of these names.
///
/// # Errors
/// As [`crate::rewrite()`], for malformed graphs.
pub fn apply_rules(graph: &Graph, rules: &[&str], limits: &Limits) -> Result<Vec<Graph>, RewriteError> {
    let rules: Vec<Rule> = rules.iter().filter_map(|name| find_rule(name)).copied().collect();
    let mut graphs = Vec::new();
    for region in cut_regions(graph, usize::MAX)? {
        let encoded = encode(graph, &region)?;
        let before = encode(graph, &region)?;
        let known = |node: &ENode| is_known(&before.egraph, node);
        let egraph = run_rules(encoded.egraph, &rules, limits);
        let roots: Vec<egg::Id> =
            region.roots.iter().filter_map(|root| encoded.classes.get(root)).map(|&c| egraph.find(c)).collect();
        let added: Vec<(egg::Id, ENode)> = egraph
            .classes()
            .flat_map(|class| class.nodes.iter().map(move |node| (class.id, node.clone())))
            .filter(|(_, node)| !known(node))
            .collect();
        for (class, wanted) in added {
            // The wanted e-node costs nothing and its class has no other way; elsewhere, old e-nodes are preferred.
            let cost = |id: egg::Id, node: &ENode| match (id == class, *node == wanted) {
                (true, true) => 1.0,
                (true, false) => 1e9,
                (false, _) if known(node) => 1.0,
                (false, _) => 1e3,
            };
            let Some(selection) = extract(&egraph, &roots, cost) else { continue };
            if selection.nodes.get(&class) != Some(&wanted) {
                continue;
            }
            let mut emitter = Emitter::new(graph);
            emitter.emit_region(&egraph, &region, &encoded.classes, &selection)?;
            graphs.push(emitter.finish());
        }
    }
    Ok(graphs)
}

fn find_rule(name: &str) -> Option<&'static Rule> {
    FAMILIES.iter().flat_map(|(_, families)| families.iter().copied().flatten()).find(|rule| rule.name == name)
}

/// Whether an e-node was in the e-graph before the rule ran. Interned ids and classes only ever grow, so an e-node that
/// mentions newer ones is new.
fn is_known(before: &EGraph, node: &ENode) -> bool {
    before.classes().any(|class| class.nodes.contains(node))
}
