//! Rewrite rules, one file per family.
//!
//! A rule looks at one e-node and offers equalities that follow from it. Rules have a direction and a name, and the
//! right side is never worse than the left; there is no commutativity and no associativity, so results are the same
//! to the last bit. Every rule is tested alone (`tests/rules.rs`): all that it offers for a graph is computed by the
//! interpreter and compared with the original.
//!
//! The families run one after the other, since each only builds upon the one before: layouts of bare operators, then
//! fusion for every layout, then formats for every fused anchor.

mod constant;
mod contract;
mod format;
mod fuse;
mod layout;
mod reshape;
mod transpose;

use std::collections::BTreeMap;
use std::time::Duration;

use egg::{Applier, Id, PatternAst, Rewrite, Runner, SearchMatches, Searcher, SimpleScheduler, Subst, Symbol, Var};
use sparsec_graph::{Format, Op, ValueId};

use crate::egraph::{EGraph, distinct_ops};
use crate::lang::{ENode, OpInfo, Tables};

use crate::options::Limits;

pub(crate) use format::{weight_of, weight_operand};

/// Two classes that are equal.
type Equal = (Id, Id);

/// A rewrite rule.
#[derive(Clone, Copy)]
pub(crate) struct Rule {
    /// Its name, as in [`crate::RULE_NAMES`].
    pub(crate) name: &'static str,
    /// Which operators it starts from.
    pub(crate) from: fn(&Op) -> bool,
    /// The equalities that follow from this operator in this class.
    pub(crate) offer: fn(&mut EGraph, Id, &OpInfo, &[Id]) -> Vec<Equal>,
}

/// Layout rules, then fusion, each with the share of the node limit up to which it may fill the e-graph.
pub(crate) const FAMILIES: [(f64, &[&[Rule]]); 2] = [
    (0.5, &[&transpose::RULES, &constant::RULES, &reshape::RULES, &layout::RULES, &contract::RULES]),
    (1.0, &[&fuse::RULES]),
];

/// Most e-nodes for each node that a region begins with. Where transposes, reversals and
/// extents of 1 meet, a dozen nodes have tens of thousands of equals, none of them faster.
const NODES_FOR_EACH: usize = 500;

/// How the saturation of one family ended.
pub(crate) struct Saturation {
    /// Rounds of rewriting.
    pub(crate) rounds: usize,
    /// Whether nothing was left to find.
    pub(crate) saturated: bool,
}

/// Runs all families. `formats` are the formats worth a try for each constant weight.
///
/// Only numbers of nodes and rounds end a run early, never time, so the outcome is the same on every machine.
pub(crate) fn saturate(
    mut egraph: EGraph,
    limits: &Limits,
    formats: &BTreeMap<ValueId, Vec<Format>>,
) -> (EGraph, Vec<Saturation>) {
    let mut log = Vec::new();
    let most = limits.nodes.min(NODES_FOR_EACH * egraph.total_size().max(1));
    for (share, rules) in FAMILIES {
        let nodes = (most as f64 * share) as usize;
        let rewrites: Vec<_> = rules.iter().copied().flatten().filter_map(|&rule| rewrite(rule, nodes)).collect();
        let (saturated, how) = run(egraph, &rewrites, nodes, limits.iterations);
        egraph = saturated;
        log.push(how);
    }
    format::offer_formats(&mut egraph, formats);
    (egraph, log)
}

/// Runs some rules alone to saturation.
pub(crate) fn run_rules(egraph: EGraph, rules: &[Rule], limits: &Limits) -> EGraph {
    let rewrites: Vec<_> = rules.iter().filter_map(|&rule| rewrite(rule, limits.nodes)).collect();
    run(egraph, &rewrites, limits.nodes, limits.iterations).0
}

fn run(egraph: EGraph, rewrites: &[Rewrite<ENode, Tables>], nodes: usize, iterations: usize) -> (EGraph, Saturation) {
    let runner = Runner::<ENode, Tables>::new(Tables::default())
        .with_egraph(egraph)
        .with_node_limit(nodes)
        .with_iter_limit(iterations)
        .with_time_limit(Duration::MAX)
        .with_scheduler(SimpleScheduler)
        .run(rewrites);
    let saturated = matches!(runner.stop_reason, Some(egg::StopReason::Saturated));
    let how = Saturation { rounds: runner.iterations.len(), saturated };
    (runner.egraph, how)
}

/// A rule that offers nothing more to an e-graph of so many nodes. The runner looks at its limit between rounds only,
/// and within a round each application sees what the ones before it added.
#[derive(Clone, Copy)]
struct Limited {
    rule: Rule,
    nodes: usize,
}

fn rewrite(rule: Rule, nodes: usize) -> Option<Rewrite<ENode, Tables>> {
    let limited = Limited { rule, nodes };
    // `Rewrite::new` fails only for a pattern with unbound variables, and these rules have no patterns.
    Rewrite::new(rule.name, limited, limited).ok()
}

impl Searcher<ENode, Tables> for Limited {
    fn search_eclass_with_limit(&self, egraph: &EGraph, class: Id, limit: usize) -> Option<SearchMatches<'_, ENode>> {
        let starts = egraph[class].nodes.iter().any(|node| match node {
            ENode::Op(op, _) => (self.rule.from)(&egraph.analysis.op(*op).op),
            ENode::Leaf(_) => false,
        });
        (starts && limit > 0).then(|| SearchMatches { eclass: class, substs: vec![Subst::default()], ast: None })
    }

    fn vars(&self) -> Vec<Var> {
        Vec::new()
    }
}

impl Applier<ENode, Tables> for Limited {
    fn apply_one(
        &self,
        egraph: &mut EGraph,
        class: Id,
        _: &Subst,
        _: Option<&PatternAst<ENode>>,
        name: Symbol,
    ) -> Vec<Id> {
        let class = egraph.find(class);
        let mut changed = Vec::new();
        for (op, operands) in distinct_ops(egraph, class, |info| (self.rule.from)(&info.op)) {
            if egraph.total_size() > self.nodes {
                break;
            }
            let info = egraph.analysis.op(op).clone();
            for (a, b) in (self.rule.offer)(egraph, class, &info, &operands) {
                let (a, b) = (egraph.find(a), egraph.find(b));
                if a != b && egraph[a].data.ty == egraph[b].data.ty && egraph.union_trusted(a, b, name) {
                    changed.push(egraph.find(a));
                }
            }
        }
        changed
    }
}
