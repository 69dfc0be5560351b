//! Attention becomes one operator, where the kernel takes its layout, and computes the same.

mod common;

use sparsec_graph::{Graph, Op};
use sparsec_rewrite::{Rewritten, rewrite};

fn rewritten(text: &str) -> (Graph, Rewritten) {
    let graph = common::graph(text);
    let rewritten = rewrite(&graph, &common::options()).expect("rewrites");
    common::assert_equal(&graph, &rewritten.graph);
    (graph, rewritten)
}

fn attentions(graph: &Graph) -> usize {
    graph.nodes().filter(|(_, node)| matches!(node.op, Op::Attention(_))).count()
}

/// Projections, heads, a mask, and the way back, as an encoder has them; `seq` queries and keys.
fn encoder(batch: &str, seq: &str, outputs: &str) -> String {
    format!(
        r#"graph @g {{
  input %x "x": f32[{batch}, {seq}, 24]
  input %m "mask": f32[{batch}, 1, 1, {seq}]
  const %wq "wq": f32[24, 24] random(seed=1, density=0.1)
  const %wk "wk": f32[24, 24] random(seed=2, density=0.1)
  const %wv "wv": f32[24, 24] random(seed=3, density=0.1)
  %q1 = contract "mk,bsk->bsm" (%wq, %x)
  %k1 = contract "mk,bsk->bsm" (%wk, %x)
  %v1 = contract "mk,bsk->bsm" (%wv, %x)
  %q2 = reshape (%q1) to [{batch}, {seq}, 3, 8]
  %k2 = reshape (%k1) to [{batch}, {seq}, 3, 8]
  %v2 = reshape (%v1) to [{batch}, {seq}, 3, 8]
  %s = contract "bqhd,bkhd->bhqk" (%q2, %k2)
  %t = add (%s, %m)
  %p = softmax (%t) axis 3
  %o = contract "bhqk,bkhd->bqhd" (%p, %v2)
  %y = reshape (%o) to [{batch}, {seq}, 24]
  %z = contract "mk,bsk->bsm" (%wq, %y)
  output "z" = %z
{outputs}}}"#
    )
}

#[test]
fn encoders_have_one_operator() {
    for (batch, seq) in [("1", "32"), ("1", "seq"), ("batch", "seq")] {
        let (_, rewritten) = rewritten(&encoder(batch, seq, ""));
        assert_eq!(attentions(&rewritten.graph), 1, "{}", rewritten.graph);
        let left = |op: &Op| matches!(op, Op::Softmax { .. });
        assert!(!rewritten.graph.nodes().any(|(_, node)| left(&node.op)), "{}", rewritten.graph);
    }
}

#[test]
fn text_of_a_fused_encoder() {
    let (_, rewritten) = rewritten(&encoder("1", "32", ""));
    insta::assert_snapshot!("attention", rewritten.graph.to_string());
}

#[test]
fn weights_that_are_wanted_and_single_queries_are_left() {
    let (_, rewritten_graph) = rewritten(&encoder("1", "32", "  output \"p\" = %p\n"));
    assert_eq!(attentions(&rewritten_graph.graph), 0);
    let (_, rewritten_graph) = rewritten(&encoder("1", "1", ""));
    assert_eq!(attentions(&rewritten_graph.graph), 0);
    let (_, rewritten_graph) = rewritten(common::NETWORKS[3].1);
    assert_eq!(attentions(&rewritten_graph.graph), 0, "{}", rewritten_graph.graph);
}
