//! Attention becomes one operator, where the kernel takes its layout, and computes the same.

mod common;

use sparsec_graph::{Graph, Op};
use sparsec_rewrite::{Machine, RewriteOptions, Rewritten, rewrite};

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

/// On GPUs scores are computed by a product of their own, which has more warps, unless a constant leaves few of them.
#[test]
fn gpus_have_one_operator_where_few_scores_are_kept() {
    let local: Vec<&str> = (0..64 * 64i32).map(|i| if (i / 64 - i % 64).abs() < 4 { "0.0" } else { "-inf" }).collect();
    let constant = format!("const %m \"mask\" = f32[1, 1, 64, 64] {{{}}}", local.join(", "));
    let text = encoder("1", "64", "");
    let masked = text.replace("input %m \"mask\": f32[1, 1, 1, 64]", &constant);
    let gpu = Machine::for_target("sm_80").expect("known");
    for (text, wanted) in [(text, 0), (masked, 1)] {
        let graph = common::graph(&text);
        let rewritten =
            rewrite(&graph, &RewriteOptions { machine: gpu.clone(), ..common::options() }).expect("rewrites");
        common::assert_equal(&graph, &rewritten.graph);
        assert_eq!(attentions(&rewritten.graph), wanted, "{}", rewritten.graph);
    }
}
