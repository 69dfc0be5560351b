//! Changing graphs: uses, replacement, removal, symbols.

mod common;

use common::random_graph;
use proptest::prelude::*;
use sparsec_graph::{
    BinaryOp, Dim, Graph, InferError, Node, Op, ScalarExpr, Symbol, TensorData, UnaryOp, ValueId, VerifyError, parse,
    verify,
};

/// `a = neg x`, `b = a + x`, `c = b * a`, output `c`.
fn diamond() -> (Graph, [ValueId; 4]) {
    let mut g = Graph::new("g");
    let x = g.input_f32("x", &[2]);
    let a = g.unary(UnaryOp::Neg, x).expect("appends");
    let b = g.binary(BinaryOp::Add, a, x).expect("appends");
    let c = g.binary(BinaryOp::Mul, b, a).expect("appends");
    g.add_output("y", c);
    (g, [x, a, b, c])
}

#[test]
fn users_and_uses() {
    let (g, [x, a, b, c]) = diamond();
    let users = |v| g.users(v).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(users(x), ["n0", "n1"]);
    assert_eq!(users(a), ["n1", "n2"]);
    assert!(users(c).is_empty() && g.is_output(c) && !g.is_output(b));
    assert_eq!(g.use_counts().into_values().collect::<Vec<_>>(), [2, 2, 1, 1]);
}

#[test]
fn replaced_values_are_free_to_remove() {
    let (mut g, [x, a, b, c]) = diamond();
    g.replace_uses(b, x);
    let add = g.producer(b).expect("a node");
    assert!(g.users(b).is_empty());
    g.remove_node(add);
    assert!(!g.contains(add) && g.node_count() == 2);
    assert_eq!(verify(&g), Ok(()));
    assert_eq!(g.node(g.producer(c).expect("a node")).operands, [x, a]);
    // A new node may take the number of the removed one; it must not inherit its users.
    let again = g.unary(UnaryOp::Abs, c).expect("appends");
    assert!(g.users(again).is_empty());
    g.replace_uses(c, again);
    assert_eq!(g.outputs()[0].1, again);
    assert_eq!(g.topological_order().len(), 2, "`abs` now uses itself, so it is on a cycle");
}

#[test]
fn order_puts_operands_first() {
    let (mut g, [x, a, _, c]) = diamond();
    // `neg x` now depends on a node that was added after it.
    let late = g.unary(UnaryOp::Abs, x).expect("appends");
    let neg = g.producer(a).expect("a node");
    g.set_operands(neg, vec![late]);
    let order: Vec<String> = g.topological_order().iter().map(ToString::to_string).collect();
    assert_eq!(order, ["n3", "n0", "n1", "n2"]);
    assert_eq!(verify(&g), Ok(()));
    assert!(g.is_output(c));
}

#[test]
fn appending_what_does_not_fit_changes_nothing() {
    let (mut g, [x, ..]) = diamond();
    let before = (g.to_string(), g.value_count());
    let wide = TensorData::f32(&[3], vec![0.0; 3]);
    assert!(g.append(Op::Binary(BinaryOp::Add), &[x, ValueId::from_u32(50)], "sum").is_err());
    assert!(g.append_node(Node::new(Op::Where, vec![x, x, x], "w")).is_err());
    assert_eq!((g.to_string(), g.value_count()), before);
    let wide = g.add_constant("wide", wide);
    assert!(g.binary(BinaryOp::Add, x, wide).is_err());
    assert!(g.contract("mk,bk->mm", x, wide).is_err());
}

#[test]
fn scalar_expressions_substitute() {
    let relu = ScalarExpr::unary(UnaryOp::Relu, ScalarExpr::binary(BinaryOp::Add, ScalarExpr::Acc, ScalarExpr::Arg(0)));
    let outer = ScalarExpr::binary(BinaryOp::Mul, ScalarExpr::Acc, ScalarExpr::Arg(0));
    let chained = outer.substitute(&relu, &mut |i| ScalarExpr::Arg(i + 1));
    assert_eq!(chained.to_string(), "mul(relu(add(acc, $0)), $1)");
    assert_eq!(chained.operations(), 3);
}

#[test]
fn symbols_become_extents() {
    let text = r#"graph @g {
        input %0 "x": f32[batch, seq, 6]
        %1 = reshape (%0) to [batch*seq, 6]
        %2 = slice (%1) ranges [(0, floordiv(batch*seq, 2), 1), (0, 6, 1)]
        %3 = shape_of () of [batch + seq]
        output "y" = %2
        output "n" = %3
    }"#;
    let mut graph = parse(text).expect("parses");
    graph.substitute_symbols(&[(Symbol::new("batch"), Dim::constant(2))].into());
    assert_eq!(verify(&graph), Ok(()));
    insta::assert_snapshot!("substituted", graph);
}

proptest! {
    /// Fixing symbols keeps a graph well-formed, unless a window is larger than what a symbol turns out to be.
    #[test]
    fn substitution_keeps_inferred_types(bytes in prop::collection::vec(any::<u8>(), 0..300), n in 1i64..5) {
        let mut graph = random_graph(&bytes);
        graph.substitute_symbols(&[(Symbol::new("batch"), n.into()), (Symbol::new("seq"), Dim::sym("batch"))].into());
        for error in verify(&graph).err().unwrap_or_default() {
            let window = matches!(&error, VerifyError::Infer { error: InferError::Attribute { op: "pool", .. }, .. });
            prop_assert!(window, "{}\n{}", error, graph);
        }
    }
}
