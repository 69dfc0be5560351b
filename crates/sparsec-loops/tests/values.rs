//! Kernels against values computed by hand, run by the graph interpreter.

mod common;

use common::run;
use sparsec_graph::{BinaryOp, DType, Dim, Graph, Node, Op, Symbol, TensorData, TensorType, interpret, parse, verify};
use sparsec_loops::{
    Extreme, Suppression, arg_extreme, compress, iota, nonzero, random_uniform, suppress, top_k, unique,
};

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

#[test]
fn places_of_nonzeros_are_as_many_as_there_are() {
    let x = TensorData::f32(&[2, 3], vec![0.0, 1.0, 0.0, 2.0, -0.0, f32::NAN]);
    let result = run(nonzero(&x.ty(), &Symbol::new("k")), std::slice::from_ref(&x));
    assert_eq!(result[0].shape, [2, 3]);
    assert_eq!(result[0].as_i64(), Some(vec![0, 1, 1, 1, 0, 2]));
    assert_eq!(result[1].as_i64(), Some(vec![3]));
    let none = TensorData::f32(&[2, 3], vec![0.0; 6]);
    assert_eq!(run(nonzero(&none.ty(), &Symbol::new("k")), &[none])[0].shape, [2, 0]);
}

#[test]
fn an_extent_is_found_before_it_is_used() {
    let text = r#"graph @g {
  input %0 "x": f32[4]
  const %1 "v" = f32[] {2.0}
  %2, %3 = loops (%0) params [4] gives [i64[1, k], i64[]] counts [(k, 4)] {
KERNEL
  }
  %4 = expand (%1) to [k]
  output "y" = %4
}"#;
    let x = TensorData::f32(&[4], vec![0.0, 1.0, 3.0, 0.0]);
    let kernel = sparsec_tir::print_kernel(&nonzero(&x.ty(), &Symbol::new("k")).kernel);
    let text = text.replace("params [4]", "params []").replace("KERNEL", &kernel);
    let mut graph = parse(&text).expect("parses");
    // The expansion does not use what the kernel computes, only its extent.
    assert_eq!(interpret(&graph, std::slice::from_ref(&x)).expect("runs")[0].shape, [2]);
    let node = graph.producer(graph.outputs()[0].1).expect("a node");
    let clone = graph.node(node).clone();
    graph.append_node(clone).expect("suits");
    let order = graph.topological_order();
    let finder = graph.found_extents()[&Symbol::new("k")];
    let at = |id| order.iter().position(|&n| n == id);
    assert!(at(finder) < at(node));
}

#[test]
fn what_is_computed_from_found_extents_has_them() {
    let x = TensorData::f32(&[2, 2], vec![0.0, 1.0, 3.0, 0.0]);
    let mut graph = Graph::new("g");
    let input = graph.add_input("x", x.ty());
    let spec = nonzero(&x.ty(), &Symbol::new("k"));
    let node = graph.append_node(Node::new(Op::Loops(Box::new(spec)), vec![input], "n")).expect("suits");
    let places = graph.node(node).result();
    let turned = graph.append(Op::Transpose(vec![1, 0]), &[places], "t").expect("suits");
    let twice = graph.binary(BinaryOp::Add, turned, turned).expect("suits");
    let shape = graph.append(Op::ShapeOf(graph.ty(twice).shape.clone()), &[], "s").expect("suits");
    graph.add_output("y", twice);
    graph.add_output("shape", shape);
    assert_eq!(verify(&graph), Ok(()));
    let results = interpret(&graph, &[x]).expect("runs");
    assert_eq!((results[0].shape.as_slice(), results[0].as_i64()), ([2, 2].as_slice(), Some(vec![0, 2, 2, 0])));
    assert_eq!(results[1].as_i64(), Some(vec![2, 2]));
    let text = graph.to_string();
    assert_eq!(parse(&text).expect("reads back").to_string(), text);
}

#[test]
fn numbers_from_zero_on() {
    assert_eq!(run(iota(&Dim::constant(4)), &[])[0].as_i64(), Some(vec![0, 1, 2, 3]));
    assert_eq!(run(iota(&Dim::constant(0)), &[])[0].as_i64(), Some(vec![]));
}

#[test]
fn conditions_pick_slices() {
    let x = TensorData::f32(&[2, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for (axis, condition, shape, values) in [
        (Some(1), vec![0u8, 1, 1], vec![2, 2], vec![2.0, 3.0, 5.0, 6.0]),
        (Some(0), vec![0, 1], vec![1, 3], vec![4.0, 5.0, 6.0]),
        (None, vec![0, 1, 0, 0, 1], vec![2], vec![2.0, 5.0]),
        (Some(1), vec![0, 0, 0], vec![2, 0], vec![]),
    ] {
        let condition = TensorData::from_vec(DType::Bool, &[condition.len()], condition);
        let spec = compress(&x.ty(), &condition.ty(), axis, &Symbol::new("k"));
        let result = run(spec, &[x.clone(), condition]);
        assert_eq!((&result[0].shape, result[0].as_f32().as_deref()), (&shape, Some(values.as_slice())), "{axis:?}");
    }
}

#[test]
fn different_elements_and_slices() {
    let x = TensorData::f32(&[5], vec![3.0, 1.0, 3.0, 2.0, 1.0]);
    let ints = |t: &TensorData| t.as_i64().expect("integers");
    for (sorted, values, first, often, which) in [
        (true, [1.0, 2.0, 3.0], vec![1, 3, 0], vec![2, 1, 2], vec![2, 0, 2, 1, 0]),
        (false, [3.0, 1.0, 2.0], vec![0, 1, 3], vec![2, 2, 1], vec![0, 1, 0, 2, 1]),
    ] {
        let result = run(unique(&x.ty(), None, sorted, &Symbol::new("k")), std::slice::from_ref(&x));
        assert_eq!(result[0].as_f32().as_deref(), Some(values.as_slice()));
        assert_eq!([ints(&result[1]), ints(&result[2]), ints(&result[3])], [first, often, which]);
    }
    // Columns (2, 1), (0, 5), (2, 1): two different ones, the second before the first.
    let x = TensorData::f32(&[2, 3], vec![2.0, 0.0, 2.0, 1.0, 5.0, 1.0]);
    let result = run(unique(&x.ty(), Some(1), true, &Symbol::new("k")), &[x]);
    assert_eq!((result[0].shape.as_slice(), ints(&result[3])), ([2, 2].as_slice(), vec![1, 0, 1]));
    assert_eq!(result[0].as_f32().as_deref(), Some([0.0, 2.0, 5.0, 1.0].as_slice()));
}

#[test]
fn boxes_that_overlap_a_better_one_go() {
    // Two boxes that share 9/11 of their union, and one apart; by corners.
    let boxes = vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.1, 1.0, 1.1, 2.0, 2.0, 1.5, 3.0];
    let boxes = TensorData::f32(&[1, 3, 4], boxes);
    let scores = TensorData::f32(&[1, 2, 3], vec![0.5, 0.9, 0.1, 0.6, 0.2, 0.7]);
    let one = |v: f32| TensorData::f32(&[1], vec![v]);
    for (most, share, threshold, rows) in [
        (Some(3), 0.5, 0.0, vec![0, 0, 1, 0, 0, 2, 0, 1, 2, 0, 1, 0]),
        (Some(3), 0.9, 0.3, vec![0, 0, 1, 0, 0, 0, 0, 1, 2, 0, 1, 0]),
        (None, 0.5, 0.0, vec![0, 0, 1, 0, 1, 2]),
        (Some(0), 0.5, 0.0, vec![]),
    ] {
        let what = Suppression { centred: false, most, score_threshold: true };
        let spec = suppress(&boxes.ty(), &scores.ty(), &what, &Symbol::new("k"));
        let limit = TensorData::i64(&[1], vec![most.unwrap_or(1)]);
        let result = run(spec, &[boxes.clone(), scores.clone(), limit, one(share), one(threshold)]);
        assert_eq!(result[0].as_i64(), Some(rows), "{most:?} {share} {threshold}");
    }
}

#[test]
fn random_numbers_follow_from_a_counter() {
    // The first words for a counter and a key of zeros, as its authors publish them: 6627e8d5 e169c58d.
    let shape = [Dim::constant(2)];
    let single = run(random_uniform(DType::F32, &shape, 0), &[]);
    let expected = (0x0066_27e8 as f32) / (1 << 24) as f32;
    assert_eq!(single[0].as_f32().map(|v| v[0]), Some(expected));
    let double = run(random_uniform(DType::F64, &shape, 0), &[]);
    let bits = (0x6627_e8d5_u64 >> 5) << 26 | 0xe169_c58d_u64 >> 6;
    assert_eq!(double[0].values::<f64>().map(|v| v[0]), Some(bits as f64 / (1u64 << 53) as f64));
    assert_ne!(run(random_uniform(DType::F32, &shape, 1 << 40), &[])[0], single[0]);
}
