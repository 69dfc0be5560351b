//! Control flow: nested graphs are rewritten like graphs, and predictions count how often they run.

use sparsec_graph::{Bindings, Node, Op, Trip};

use crate::error::RewriteError;
use crate::options::RewriteOptions;
use crate::report::{Decision, OperatorReport, RegionReport};
use crate::{Rewritten, rewrite_graph};

/// A control node with rewritten graphs, and the account of it.
pub(crate) struct RewrittenControl {
    pub(crate) op: Op,
    pub(crate) seconds: f64,
    pub(crate) decisions: Vec<Decision>,
    pub(crate) operators: Vec<OperatorReport>,
    pub(crate) regions: Vec<RegionReport>,
}

/// Rewrites the graphs within a node.
///
/// # Errors
/// Those of [`crate::rewrite()`].
pub(crate) fn rewrite_control(
    node: &Node,
    options: &RewriteOptions,
    dims: &Bindings,
) -> Result<RewrittenControl, RewriteError> {
    let mut op = node.op.clone();
    // What is not known to run is taken to run once.
    let times = match &node.op {
        Op::Loop(spec) => match &spec.trip {
            Trip::Known(trip) => trip.eval(dims).unwrap_or(1).max(0) as f64,
            Trip::Operand | Trip::Unbounded => 1.0,
        },
        _ => 1.0,
    };
    let mut all = RewrittenControl {
        op: node.op.clone(),
        seconds: 0.0,
        decisions: Vec::new(),
        operators: Vec::new(),
        regions: Vec::new(),
    };
    let mut longest = 0.0_f64;
    for graph in op.graphs_mut() {
        let Rewritten { graph: rewritten, report } = rewrite_graph(graph, options, dims)?;
        *graph = rewritten;
        // One of two branches runs.
        longest = longest.max(report.seconds * times);
        all.decisions.extend(report.decisions);
        all.operators.extend(report.operators.into_iter().map(|o| o.repeated(times)));
        all.regions.extend(report.regions);
    }
    all.seconds = longest;
    all.op = op;
    Ok(all)
}
