//! What the tests share.

use sparsec_graph::{Graph, LoopsSpec, Node, Op, TensorData, interpret, verify};

/// Runs a kernel on inputs, as the only node of a graph.
#[track_caller]
pub(crate) fn run(spec: LoopsSpec, inputs: &[TensorData]) -> Vec<TensorData> {
    let mut graph = Graph::new("g");
    let operands = inputs.iter().enumerate().map(|(i, x)| graph.add_input(format!("x{i}"), x.ty())).collect();
    let node =
        graph.append_node(Node::new(Op::Loops(Box::new(spec)), operands, "n")).expect("operands suit the kernel");
    for (i, value) in graph.node(node).results.clone().into_iter().enumerate() {
        graph.add_output(format!("y{i}"), value);
    }
    assert_eq!(verify(&graph), Ok(()));
    interpret(&graph, inputs).expect("runs")
}
