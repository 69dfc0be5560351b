//! Formats and the report.

mod common;

use std::collections::BTreeMap;

use common::{graph, network, options};
use sparsec_graph::{DType, Format, Graph, Op, Precision, TensorData, ValueId, random_data};
use sparsec_rewrite::{Machine, Report, RewriteError, RewriteOptions, rewrite};

/// `y = W x` for a `[512, 512]` weight and `columns` tokens.
fn linear(weight: TensorData, columns: i64) -> Graph {
    let mut graph = Graph::new("linear");
    let x = graph.input_f32("x", &[columns, 512]);
    let w = graph.add_constant("w", weight);
    let y = graph.contract("mk,bk->bm", w, x).expect("type-checks");
    graph.add_output("y", y);
    graph
}

fn masked(keep: impl Fn(usize, usize) -> bool) -> TensorData {
    let values = (0..512 * 512).map(|i| if keep(i / 512, i % 512) { 1.0 + (i % 7) as f32 } else { 0.0 });
    TensorData::f32(&[512, 512], values.collect())
}

fn hash(row: usize, col: usize) -> usize {
    (row * 0x9E37_79B1 + col * 0x85EB_CA6B) >> 7
}

fn report(graph: &Graph) -> Report {
    rewrite(graph, &options()).expect("rewrites").report
}

/// The choice for the machine whose kernels the shipped costs were measured on.
fn chosen(graph: &Graph) -> Format {
    let machine = Machine::for_target("x86-64-v4").expect("a known target");
    rewrite(graph, &RewriteOptions::new(machine)).expect("rewrites").report.decisions[0].chosen.clone()
}

#[test]
fn each_pattern_gets_its_format() {
    let block = masked(|row, col| hash(row / 4, col) % 10 < 2);
    let nm = masked(|row, col| [hash(row, col / 4) % 4, (hash(row, col / 4) + 1) % 4].contains(&(col % 4)));
    let channel = masked(|row, col| row % 2 == 0 && col % 2 == 0);
    let unstructured = random_data(DType::F32, &[512, 512], 1, 0.1);
    let dense = random_data(DType::F32, &[512, 512], 1, 0.9);
    assert_eq!(chosen(&linear(block.clone(), 128)), Format::Bsr { r: 4, c: 1 });
    // Half of the weights: selectors and plain rows are about as fast.
    assert!(matches!(chosen(&linear(nm.clone(), 128)), Format::Nm { n: 2, m: 4 } | Format::Csr));
    assert_eq!(chosen(&linear(channel, 128)), Format::pruned(Format::Dense));
    assert!(matches!(chosen(&linear(unstructured.clone(), 128)), Format::Hyb { .. }));
    assert_eq!(chosen(&linear(dense.clone(), 128)), Format::Dense);
    // Matrix-vector products have kernels of their own.
    assert_eq!(chosen(&linear(block, 1)), Format::Bsr { r: 4, c: 1 });
    assert_eq!(chosen(&linear(nm, 1)), Format::Nm { n: 2, m: 4 });
    assert_eq!(chosen(&linear(unstructured, 1)), Format::Csr);
    assert_eq!(chosen(&linear(dense, 1)), Format::Dense);
}

/// Bitmaps are for GPUs at 16 bits, for weights of which a fifth to a half is left, and for few tokens.
#[test]
fn bitmaps_are_for_few_tokens_on_gpus_at_16_bits() {
    let of = |target: &str, precision: Option<Precision>, density: f64, columns: i64| {
        let machine = Machine::for_target(target).expect("a known target").with_precision(precision);
        let graph = linear(random_data(DType::F32, &[512, 512], 1, density), columns);
        let report = rewrite(&graph, &RewriteOptions::new(machine)).expect("rewrites").report;
        let decision = &report.decisions[0];
        (decision.chosen.clone(), decision.candidates.iter().any(|c| c.format == Format::Bitmap))
    };
    for target in ["sm_80", "sm_90a"] {
        for density in [0.2, 0.3, 0.5] {
            for columns in [1, 4, 16, 32] {
                for precision in [Precision::F16, Precision::BF16] {
                    let found = of(target, Some(precision), density, columns);
                    assert_eq!(found, (Format::Bitmap, true), "{target} {density} {columns}");
                }
            }
            assert_ne!(of(target, Some(Precision::F16), density, 1 << 16).0, Format::Bitmap, "{target} {density}");
        }
        assert!(!of(target, Some(Precision::TF32), 0.3, 8).1);
        assert!(!of(target, None, 0.3, 8).1);
    }
    for target in ["x86-64-v3", "x86-64-v4", "neoverse"] {
        assert!(!of(target, None, 0.3, 8).1);
    }
}

#[test]
fn dense_is_always_compared_and_explained() {
    for density in [0.05, 0.3, 0.6, 0.8, 1.0] {
        let report = report(&linear(random_data(DType::F32, &[512, 512], 9, density), 64));
        let decision = &report.decisions[0];
        let dense = decision.candidates.iter().find(|c| c.format == Format::Dense).expect("dense is a candidate");
        let own = decision.candidates.iter().find(|c| c.format == decision.chosen).expect("the choice is a candidate");
        assert!(own.seconds <= dense.seconds);
        assert!(!decision.reason.is_empty());
        assert!((decision.density - density).abs() < 0.01);
    }
}

#[test]
fn every_weight_has_a_format_on_every_machine() {
    for target in ["x86-64-v2", "x86-64-v3", "x86-64-v4", "neoverse"] {
        let machine = Machine::for_target(target).expect("a known target");
        for (name, _) in common::NETWORKS {
            let graph = rewrite(&network(name), &RewriteOptions::new(machine.clone())).expect("rewrites").graph;
            for (_, node) in graph.nodes() {
                let weight: Option<&ValueId> = match &node.op {
                    Op::Contract(_) => node.operands.first(),
                    Op::Conv(_) => node.operands.get(1),
                    _ => None,
                };
                let constant = weight.is_some_and(|w| graph.constant(*w).is_some());
                assert_eq!(constant, node.format.is_some(), "{}", node.name);
            }
        }
    }
}

#[test]
fn forced_formats_are_obeyed_or_refused() {
    let graph = linear(random_data(DType::F32, &[512, 512], 1, 0.4), 64);
    let with = |name: &str, format: Format| {
        let forced = BTreeMap::from([(name.to_owned(), format)]);
        rewrite(&graph, &RewriteOptions { forced, ..options() })
    };
    let csr = with("w", Format::Csr).expect("csr holds any pattern");
    assert_eq!(csr.report.decisions[0].chosen, Format::Csr);
    assert_eq!(csr.report.decisions[0].reason, "set by the user");
    let refused = with("w", Format::Nm { n: 1, m: 4 }).map(|r| r.report);
    assert!(matches!(&refused, Err(RewriteError::Format { name, .. }) if name == "w"), "{refused:?}");
    let unknown = with("v", Format::Csr).map(|r| r.report);
    assert_eq!(unknown, Err(RewriteError::UnknownWeight { name: "v".into() }));
}

#[test]
fn the_report_serialises() {
    let json = serde_json::to_value(report(&network("transformer"))).expect("serialises");
    assert_eq!(json["decisions"].as_array().map(Vec::len), Some(6));
    assert!(json["decisions"][0]["candidates"][0]["format"].is_string());
}

#[test]
fn regions_are_cut_and_still_right() {
    let mut options = options();
    options.limits.region_nodes = 5;
    for (name, _) in common::NETWORKS {
        let graph = network(name);
        let rewritten = rewrite(&graph, &options).expect("rewrites");
        assert!(rewritten.report.regions.len() > 1);
        common::assert_equal(&graph, &rewritten.graph);
    }
}

#[test]
fn a_search_that_is_cut_short_is_still_right() {
    let mut options = options();
    for nodes in [1, 40, 200] {
        options.limits.nodes = nodes;
        for (name, _) in common::NETWORKS {
            let graph = network(name);
            common::assert_equal(&graph, &rewrite(&graph, &options).expect("rewrites").graph);
        }
    }
}

#[test]
fn graphs_without_nodes_pass() {
    let graph = graph("graph @id {\n  input %x \"x\": f32[2]\n  output \"y\" = %x\n}");
    common::assert_equal(&graph, &rewrite(&graph, &options()).expect("rewrites").graph);
}
