//! Kernels against values computed by hand, run by the graph interpreter.

use sparsec_graph::{DType, Dim, Graph, LoopsSpec, Node, Op, TensorData, TensorType, interpret, verify};
use sparsec_loops::{Extreme, arg_extreme, top_k};

/// Runs a kernel on inputs, as the only node of a graph.
#[track_caller]
fn run(spec: LoopsSpec, inputs: &[TensorData]) -> Vec<TensorData> {
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

fn line(values: &[f32]) -> (TensorType, TensorData) {
    let ty = TensorType::fixed(DType::F32, &[1, values.len() as i64]);
    (ty, TensorData::f32(&[1, values.len()], values.to_vec()))
}

#[test]
fn first_or_last_of_equal_extremes() {
    let (ty, x) = line(&[2.0, 5.0, 1.0, 5.0, 1.0]);
    for (extreme, last, place) in
        [(Extreme::Max, false, 1), (Extreme::Max, true, 3), (Extreme::Min, false, 2), (Extreme::Min, true, 4)]
    {
        let result = run(arg_extreme(&ty, 1, extreme, last), std::slice::from_ref(&x));
        assert_eq!(result[0].as_i64(), Some(vec![place]), "{extreme:?} {last}");
    }
}

#[test]
fn top_of_a_line_is_sorted_and_stable() {
    let (ty, x) = line(&[2.0, 5.0, 1.0, 5.0, 3.0]);
    for (k, largest, values, places) in [
        (3, true, vec![5.0, 5.0, 3.0], vec![1, 3, 4]),
        (2, false, vec![1.0, 2.0], vec![2, 0]),
        (5, true, vec![5.0, 5.0, 3.0, 2.0, 1.0], vec![1, 3, 4, 0, 2]),
        (1, true, vec![5.0], vec![1]),
        (0, true, vec![], vec![]),
    ] {
        let result = run(top_k(&ty, 1, &Dim::constant(k), largest), std::slice::from_ref(&x));
        assert_eq!(result[0].as_f32().as_deref(), Some(values.as_slice()), "{k} {largest}");
        assert_eq!(result[1].as_i64(), Some(places), "{k} {largest}");
    }
}
