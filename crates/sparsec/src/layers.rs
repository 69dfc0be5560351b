//! What `run` does, step by step: the material of `sparsec bench --layers`.
//!
//! A layer is a node of the graph with everything fused into it. Most are one launch; a reduction over several axes or a
//! concatenation is a few, one after the other. What is in a loop is one layer, however often it runs, and its time and
//! its prediction are those of all iterations together.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use sparsec_graph::{Bindings, Dim, Graph, Node, Op, TensorType};
use sparsec_rewrite::{OperatorReport, Report, Work};
use sparsec_tir::Program;

/// One layer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerReport {
    /// Name of the node, and of its launches.
    pub label: String,
    /// The operator.
    pub op: String,
    /// Number of the first launch, and how many there are.
    pub launches: (usize, usize),
    /// Kernel of the first launch, with its number in the program.
    pub kernel: String,
    /// The same without the number: layers of one family differ in extents and fused operators only.
    pub family: String,
    /// Format of the weight, where there is one.
    pub format: Option<String>,
    /// M x K x N of a product with a weight (outputs, inputs, columns), the shape of the result otherwise.
    pub shape: String,
    /// Multiply-adds that are not by a zero weight.
    pub kept_macs: f64,
    /// Predicted microseconds on one thread.
    pub predicted_us: f64,
    /// What the prediction is made of.
    #[serde(skip)]
    pub work: Work,
}

/// The layers of a program in the order in which they run. Open dimensions have their nominal values.
pub(crate) fn layers(graph: &Graph, program: &Program, report: &Report, nominal: &Bindings) -> Vec<LayerReport> {
    let mut predicted: BTreeMap<&str, VecDeque<&OperatorReport>> = BTreeMap::new();
    for operator in &report.operators {
        predicted.entry(&operator.node).or_default().push_back(operator);
    }
    let mut nodes: BTreeMap<&str, VecDeque<(&Graph, &Node)>> = BTreeMap::new();
    collect_nodes(graph, &mut nodes);
    let mut layers: Vec<LayerReport> = Vec::new();
    for (i, launch) in program.launches.iter().enumerate() {
        let waiting = nodes.get(launch.label.as_str()).is_some_and(|nodes| !nodes.is_empty());
        if let Some(last) = layers.last_mut().filter(|last| last.label == launch.label && !waiting) {
            last.launches.1 += 1;
            continue;
        }
        let kernel = program.kernels.get(launch.kernel as usize).map_or(String::new(), |k| k.name.clone());
        let family = kernel.trim_start_matches('k').trim_start_matches(|c: char| c.is_ascii_digit());
        let node = nodes.get_mut(launch.label.as_str()).and_then(VecDeque::pop_front);
        let decision = report.decisions.iter().find(|d| d.node == launch.label);
        let (shape, kept_macs) = match (decision, node) {
            (Some(d), _) => {
                let (m, k) = d.shape;
                (format!("{m}x{k}x{:.0}", d.columns), (m * k) as f64 * d.density * d.columns)
            }
            (None, Some((graph, node))) => describe(graph, node, nominal),
            (None, None) => (String::new(), 0.0),
        };
        let predicted = predicted.get_mut(launch.label.as_str()).and_then(VecDeque::pop_front);
        layers.push(LayerReport {
            label: launch.label.clone(),
            op: node.map_or("copy", |(_, node)| node.op.name()).to_owned(),
            launches: (i, 1),
            family: family.trim_start_matches('_').to_owned(),
            kernel,
            format: decision.map(|d| d.chosen.to_string()),
            shape,
            kept_macs,
            predicted_us: predicted.map_or(0.0, |p| p.seconds * 1e6),
            work: predicted.map_or_else(Work::default, |p| p.work.clone()),
        });
    }
    layers
}

/// The nodes that are computed, by name, with the graph that each is in.
fn collect_nodes<'g>(graph: &'g Graph, nodes: &mut BTreeMap<&'g str, VecDeque<(&'g Graph, &'g Node)>>) {
    for (_, node) in graph.nodes().filter(|(_, node)| !matches!(node.op, Op::Reshape(_))) {
        match node.op.graphs().as_slice() {
            [] => nodes.entry(&node.name).or_default().push_back((graph, node)),
            nested => nested.iter().for_each(|graph| collect_nodes(graph, nodes)),
        }
    }
}

/// Shape and multiply-adds of a node without a constant weight.
fn describe(graph: &Graph, node: &Node, nominal: &Bindings) -> (String, f64) {
    let extent = |d: &Dim| d.eval(nominal).unwrap_or(1).max(0);
    let elements = |ty: &TensorType| ty.shape.iter().map(|d| extent(d) as f64).product::<f64>();
    let result = graph.ty(node.result());
    let shape: Vec<String> = result.shape.iter().map(|d| extent(d).to_string()).collect();
    let summed = match (&node.op, node.operands.as_slice()) {
        (Op::Contract(spec), &[lhs, ..]) => spec
            .lhs
            .iter()
            .zip(&graph.ty(lhs).shape)
            .filter(|(label, _)| !spec.out.contains(label))
            .map(|(_, d)| extent(d) as f64)
            .product(),
        (Op::Conv(_), &[_, w, ..]) => {
            let w = graph.ty(w);
            elements(w) / w.shape.first().map_or(1, extent).max(1) as f64
        }
        _ => 0.0,
    };
    (shape.join("x"), elements(result) * summed)
}
