//! One broken graph for each invariant of the verifier.

use sparsec_graph::{
    BinaryOp, DType, Dim, Epilogue, Format, Graph, Node, Op, ScalarExpr, TensorData, TensorType, UnaryOp, ValueId,
    parse, verify,
};

/// The verifier's report.
fn report(graph: &Graph) -> String {
    match verify(graph) {
        Ok(()) => "well-formed".into(),
        Err(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
    }
}

/// `x -> a = neg x -> b = neg a`, and their ids.
fn chain() -> (Graph, [ValueId; 3]) {
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[2]);
    let a = g.append(Op::Unary(UnaryOp::Neg), &[x], "a").expect("appends");
    let b = g.append(Op::Unary(UnaryOp::Neg), &[a], "b").expect("appends");
    g.add_output("y", b);
    assert_eq!(report(&g), "well-formed");
    (g, [x, a, b])
}

fn nodes(graph: &Graph) -> Vec<sparsec_graph::NodeId> {
    graph.nodes().map(|(id, _)| id).collect()
}

#[test]
fn operands_are_defined() {
    let (mut g, _) = chain();
    let ids = nodes(&g);
    g.set_operands(ids[0], vec![ValueId::from_u32(99)]);
    assert_eq!(report(&g), "n0 neg `a`: operand %99 is not defined");
    let (mut g, [x, ..]) = chain();
    g.set_operands(ids[0], vec![x]);
    g.remove_node(ids[0]);
    assert_eq!(report(&g), "n1 neg `b`: operand %1 is not defined");
}

#[test]
fn nodes_are_on_no_cycle() {
    let (mut g, [_, _, b]) = chain();
    let ids = nodes(&g);
    g.set_operands(ids[0], vec![b]);
    insta::assert_snapshot!(report(&g), @r"
    n0 neg `a`: depends on its own result
    n1 neg `b`: depends on its own result
    ");
}

#[test]
fn inference_succeeds() {
    let (mut g, [x, ..]) = chain();
    let ids = nodes(&g);
    g.set_operands(ids[0], vec![x, x]);
    assert_eq!(report(&g), "n0 neg `a`: `neg` takes 1 operands, found 2");
    let (mut g, _) = chain();
    *g.node_attrs_mut(ids[0]).0 = Op::Unary(UnaryOp::Not);
    assert_eq!(report(&g), "n0 not `a`: `not`: operand 0 must have bool or an integer type, found f32");
    let mut g = Graph::new("g");
    let (x, y) = (g.input_f32("x", &[2]), g.input_f32("y", &[3]));
    g.add_node(Node::new(Op::Binary(BinaryOp::Add), vec![x, y], "sum"), vec![TensorType::fixed(DType::F32, &[2])]);
    assert_eq!(report(&g), "n0 add `sum`: `add`: axis 0 of the broadcast shape has extents `2` and `3`, which differ");
}

#[test]
fn contractions_are_valid() {
    let mut g = Graph::new("g");
    let (x, y) = (g.input_f32("x", &[2, 3]), g.input_f32("y", &[3, 2]));
    let mut spec = sparsec_graph::ContractSpec::parse("ik,kj->ij").expect("valid");
    spec.out = vec!['i', 'i'];
    g.add_node(Node::new(Op::Contract(spec), vec![x, y], "dot"), vec![TensorType::fixed(DType::F32, &[2, 2])]);
    assert_eq!(report(&g), "n0 contract `dot`: `contract`: `ik,kj->ii` is no valid contraction");
}

#[test]
fn epilogues_are_in_range_and_broadcast() {
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[2, 3]);
    let wide = g.input_f32("wide", &[4, 2, 1]);
    let ty = TensorType::fixed(DType::F32, &[2, 1]);
    let op = Op::Reduce { kind: sparsec_graph::ReduceKind::Sum, axes: vec![1], keep: true };
    let mut node = Node::new(op, vec![x], "sum");
    node.epilogue = Some(Epilogue {
        first_operand: 1,
        expr: ScalarExpr::binary(BinaryOp::Add, ScalarExpr::Acc, ScalarExpr::Arg(0)),
    });
    g.add_node(node.clone(), vec![ty.clone()]);
    node.operands.push(wide);
    g.add_node(node.clone(), vec![ty.clone()]);
    if let Some(epilogue) = &mut node.epilogue {
        epilogue.first_operand = 3;
    }
    g.add_node(node, vec![ty]);
    insta::assert_snapshot!(report(&g), @r"
    n0 reduce `sum`: epilogue of `reduce`: scalar expression: `$0` is not among the 0 operands
    n1 reduce `sum`: epilogue of `reduce`: an operand of type f32[4, 2, 1] doesn't broadcast to the result f32[2, 1]
    n2 reduce `sum`: `reduce` takes at least 3 (its epilogue's start) operands, found 2
    ");
}

#[test]
fn stored_types_are_the_inferred_ones() {
    let (mut g, [_, a, _]) = chain();
    g.value_mut(a).ty = TensorType::fixed(DType::F32, &[1]);
    insta::assert_snapshot!(report(&g), @r"
    n0 neg `a`: result 0 is stored as f32[1], but is f32[2]
    n1 neg `b`: result 0 is stored as f32[2], but is f32[1]
    ");
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[2]);
    g.add_node(Node::new(Op::Unary(UnaryOp::Neg), vec![x], "none"), vec![]);
    assert_eq!(report(&g), "n0 neg `none`: 0 results instead of 1");
}

#[test]
fn results_point_back() {
    let (mut g, [_, a, _]) = chain();
    g.value_mut(a).def = sparsec_graph::Def::Input(0);
    assert_eq!(report(&g), "n0 neg `a`: result %1 does not point back to it");
}

#[test]
fn formats_need_constant_weights() {
    let (mut g, _) = chain();
    let ids = nodes(&g);
    *g.node_attrs_mut(ids[1]).2 = Some(Format::Csr);
    assert_eq!(report(&g), "n1 neg `b`: format `csr` without a constant weight");
    let text = r#"graph @g {
        input %0 "x": f32[2, 3]
        %1 "dot" = contract "mk,bk->bm" (%0, %0) format csr
    }"#;
    assert_eq!(report(&parse(text).expect("parses")), "n0 contract `dot`: format `csr` without a constant weight");
}

#[test]
fn constants_have_their_bytes() {
    let mut g = Graph::new("g");
    g.add_constant("short", TensorData { dtype: DType::F32, shape: vec![2], bytes: vec![0; 4].into() });
    g.add_constant("bool", TensorData { dtype: DType::Bool, shape: vec![1], bytes: vec![2].into() });
    let typed = g.add_constant("typed", TensorData::f32(&[1], vec![0.0]));
    g.value_mut(typed).ty.dtype = DType::I32;
    insta::assert_snapshot!(report(&g), @r"
    constant `short`: 4 bytes for f32[2]
    constant `bool`: a bool that is neither 0 nor 1
    constant `typed`: is f32[1], but its value %2 is stored as i32[1]
    ");
}

#[test]
fn interfaces_have_unique_names_and_sane_shapes() {
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[1]);
    g.input_f32("x", &[1]);
    g.input_f32("", &[1]);
    g.input_f32("negative", &[-1]);
    g.input_f32("huge", &[1 << 30, 1 << 30]);
    g.add_output("y", x);
    g.add_output("y", x);
    g.add_output("", x);
    g.add_output("z", ValueId::from_u32(77));
    insta::assert_snapshot!(report(&g), @r"
    two inputs are called `x`
    input %2 has no name
    input `negative`: a negative extent -1 in f32[-1]
    input `huge`: f32[1073741824, 1073741824] has more than 2^40 elements
    two outputs are called `y`
    an output has no name
    output `z`: %77 is not defined
    ");
}

#[test]
fn symbols_are_bound_by_inputs() {
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[1]);
    g.append(Op::Expand(vec![Dim::sym("n")]), &[x], "wide").expect("appends");
    assert_eq!(report(&g), "n0 expand `wide`: no input's shape binds the symbol `n`");
}
