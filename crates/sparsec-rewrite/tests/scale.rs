//! A network of full depth: the search ends by itself, and layouts are paid at the ends only.

mod common;

use common::{assert_equal, graph, options};
use sparsec_graph::{Graph, Op};
use sparsec_rewrite::rewrite;

/// An encoder of `layers` layers of width `width` with heads of `width / heads`, and a pooled output.
fn encoder(layers: usize, width: usize, heads: usize) -> Graph {
    let layer = include_str!("networks/transformer.graph");
    let (body, head) = (layer.split_once('{').expect("a body").1, width / heads);
    let mut consts = String::new();
    let mut nodes = String::new();
    let mut input = "x".to_owned();
    for i in 0..layers {
        for line in body.lines().map(str::trim).filter(|l| l.starts_with('%') || l.starts_with("const")) {
            let named = line.replace('%', &format!("%l{i}")).replacen(" \"", &format!(" \"{i}."), 1);
            let named = named.replace(&format!("%l{i}x"), &format!("%{input}")).replace(&format!("%l{i}mask"), "%mask");
            let sized = named
                .replace("[64, 32]", &format!("[{}, {width}]", 4 * width))
                .replace("[32, 64]", &format!("[{width}, {}]", 4 * width))
                .replace("[32, 32]", &format!("[{width}, {width}]"))
                .replace("f32[64]", &format!("f32[{}]", 4 * width))
                .replace("f32[32]", &format!("f32[{width}]"))
                .replace("seq, 32]", &format!("seq, {width}]"))
                .replace("seq, 4, 8]", &format!("seq, {heads}, {head}]"));
            let target = if line.starts_with("const") { &mut consts } else { &mut nodes };
            target.push_str(&sized);
            target.push('\n');
        }
        input = format!("l{i}n2");
    }
    graph(&format!(
        "graph @encoder {{\n input %x \"x\": f32[batch, seq, {width}]\n input %mask \"mask\": f32[batch, 1, 1, seq]\n\
         {consts}{nodes} output \"y\" = %{input}\n}}"
    ))
}

#[test]
fn twelve_layers_pay_two_transposes() {
    let graph = encoder(12, 32, 4);
    let rewritten = rewrite(&graph, &options()).expect("rewrites");
    let report = &rewritten.report;
    assert!(report.regions.iter().all(|r| r.saturated), "{:?}", report.regions);
    assert_eq!(report.transposes, (48, 2), "{}", rewritten.graph);
    assert_eq!(report.decisions.len(), 72);
    let alone = rewritten.graph.nodes().filter(|(_, n)| n.op.is_elementwise()).count();
    assert_eq!(alone, 0, "{}", rewritten.graph);
    let fused = rewritten.graph.nodes().filter(|(_, n)| matches!(n.op, Op::Attention(_))).count();
    assert_eq!(fused, 12);
    assert_eq!(report.operators.len(), rewritten.graph.node_count());
    assert_equal(&graph, &rewritten.graph);
}
