//! Times the candidates of one layer against each other.
//!
//! All candidates are nodes of one graph, one after the other, so that they take turns within each run, on the same input and
//! in the same memory. Each has a weight of its own. Between two runs a buffer is read that is larger than the second-level
//! cache: in a network other weights pass through before a layer's turn comes again. A node in front, which is not
//! timed, brings the activations there.

use std::collections::BTreeMap;
use std::time::Duration;

use sparsec_graph::{Bindings, Format, Graph, Node, ValueId};
use sparsec_lower::{LowerOptions, Schedule};

use super::{TunedLayer, Tuning};
use crate::native::Native;
use crate::pipeline::machine;
use crate::{CompileError, CompileOptions};

/// Rounds: others of a shared machine are seldom in the way in all of them.
const ROUNDS: u32 = 5;

/// A way to compute a layer.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) format: Format,
    pub(super) schedule: Option<Schedule>,
}

/// The name of a candidate's node.
fn label(i: usize) -> String {
    format!("candidate {i}")
}

/// A graph that computes a node once for each candidate, and once before.
fn graph_of(graph: &Graph, node: &Node, weight: ValueId, formats: &[&Format]) -> Graph {
    let mut timed = Graph::new("candidates");
    let mut shared: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for &value in node.operands.iter().filter(|&&value| value != weight) {
        shared.entry(value).or_insert_with(|| match graph.constant(value) {
            Some(constant) => timed.add_constant(constant.name.clone(), constant.data.clone()),
            None => timed.add_input(format!("x{}", value.index()), graph.ty(value).clone()),
        });
    }
    let mut add = |name: String, format: &Format| {
        let own = graph.constant(weight).map(|c| timed.add_constant(format!("weight of {name}"), c.data.clone()));
        let operands = node.operands.iter().filter_map(|v| if *v == weight { own } else { shared.get(v).copied() });
        let copy = Node {
            op: node.op.clone(),
            operands: operands.collect(),
            results: Vec::new(),
            name,
            epilogue: node.epilogue.clone(),
            format: Some(format.clone()),
        };
        timed.add_node(copy, vec![graph.ty(node.result()).clone()])
    };
    let first = formats.first().map(|format| add("first".to_owned(), format));
    for (i, format) in formats.iter().enumerate() {
        add(label(i), format);
    }
    if let Some(first) = first {
        let result = timed.node(first).result();
        timed.add_output("y", result);
    }
    timed.set_pages(graph.pages().cloned());
    timed
}

/// For each format the schedules that its kernel could have, its own choice first.
pub(super) fn schedules(
    graph: &Graph,
    node: &Node,
    weight: ValueId,
    formats: &[Format],
    (nominal, options): (&Bindings, &CompileOptions),
) -> Result<Vec<Vec<Schedule>>, CompileError> {
    let timed = graph_of(graph, node, weight, &formats.iter().collect::<Vec<_>>());
    let lowering = LowerOptions { nominal: nominal.clone(), ..LowerOptions::default() };
    let lowered = sparsec_lower::lower_with(&timed, &options.target.schedules(), &lowering)
        .map_err(|source| CompileError::Lower { model: node.name.clone(), source })?;
    Ok((0..formats.len()).map(|i| lowered.schedules.get(&label(i)).cloned().unwrap_or_default()).collect())
}

/// Seconds of each candidate.
pub(super) fn time(
    graph: &Graph,
    node: &Node,
    weight: ValueId,
    candidates: &[Candidate],
    (nominal, options, budget): (&Bindings, &CompileOptions, Duration),
) -> Result<Vec<f64>, CompileError> {
    let timed = graph_of(graph, node, weight, &candidates.iter().map(|c| &c.format).collect::<Vec<_>>());
    let mut tuning = Tuning::new(options.target.name());
    tuning.layers.extend(candidates.iter().enumerate().map(|(i, candidate)| TunedLayer {
        node: label(i),
        tensor: label(i),
        format: candidate.format.to_string(),
        schedule: candidate.schedule.map(|s| s.to_string()),
        timings: Vec::new(),
    }));
    let options = CompileOptions { tuning: Some(tuning), ..options.clone() };
    let mut native = Native::as_it_is(&node.name, &timed, nominal, &options)?;
    let mut other = vec![1u64; (2.0 * machine(&options)?.l2_bytes) as usize / 8];
    for _ in 0..ROUNDS {
        native.run_after(budget / ROUNDS, &mut || {
            other.iter_mut().for_each(|word| *word = word.wrapping_add(1));
            std::hint::black_box(&other);
        })?;
    }
    let layers = native.layers();
    let seconds = |i: usize| layers.iter().filter(|t| t.layer.label == label(i)).map(|t| t.seconds).sum();
    Ok((0..candidates.len()).map(seconds).collect())
}
