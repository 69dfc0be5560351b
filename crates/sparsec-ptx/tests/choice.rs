//! What the cost model chooses for weights at 16 bits, and the machine instructions that come of it: from a graph without formats,
//! through rewriting and lowering, to what both assemblers make of the PTX.

use std::collections::BTreeMap;

use sparsec_graph::{Format, Graph, TensorData};
use sparsec_lower::{LowerOptions, TargetInfo, lower_with};
use sparsec_ptx::{Target, emit_program, print_module};
use sparsec_ptxas::{Ptxas, Tools};
use sparsec_rewrite::{Machine, RewriteOptions, rewrite};
use sparsec_tir::Precision;

fn hash(row: usize, col: usize) -> usize {
    (row * 0x9E37_79B1 + col * 0x85EB_CA6B) >> 7
}

/// Two of four inputs, anywhere.
fn two_of_four(row: usize, col: usize) -> bool {
    let first = hash(row, col / 4) % 4;
    [first, (first + 1 + hash(col / 4, row) % 3) % 4].contains(&(col % 4))
}

/// A fifth of the blocks of 16 x 16, and none of every eighth row of blocks.
fn blocks(row: usize, col: usize) -> bool {
    row / 16 % 8 != 3 && hash(row / 16, col / 16).is_multiple_of(5)
}

/// Three of ten, anywhere.
fn three_of_ten(row: usize, col: usize) -> bool {
    hash(row * 31, col * 17 + row) % 10 < 3
}

/// A layer of `m` outputs, `k` inputs and `n` tokens, whose weight is not zero where `keep` says so.
fn linear((m, k, n): (usize, usize, usize), keep: fn(usize, usize) -> bool) -> Graph {
    let mut graph = Graph::new("linear");
    let x = graph.input_f32("x", &[n as i64, k as i64]);
    let values = (0..m * k).map(|i| if keep(i / k, i % k) { 1.0 + (i % 7) as f32 } else { 0.0 });
    let w = graph.add_constant("w", TensorData::f32(&[m, k], values.collect()));
    let y = graph.contract("mk,bk->bm", w, x).expect("type-checks");
    graph.add_output("y", y);
    graph
}

/// The choice, and the PTX of its kernel.
fn compile(graph: &Graph, target: Target, precision: Precision) -> (Format, String) {
    let machine = Machine::for_target(target.name()).expect("is known").with_precision(Some(precision));
    let rewritten = rewrite(graph, &RewriteOptions::new(machine)).expect("rewrites");
    let warp = TargetInfo::WARP.with_precision(Some(precision)).with_capability(target.capability());
    let lowered = lower_with(&rewritten.graph, &warp, &LowerOptions::default()).expect("lowers");
    let emitted = emit_program(&lowered.program, target).unwrap_or_else(|e| panic!("{e}"));
    (rewritten.report.decisions[0].chosen.clone(), print_module(&emitted.module))
}

/// A layer of BERT-base at 128 and at 64 tokens, and one with as many tasks as a GPU likes.
const SHAPES: [(usize, usize, usize); 3] = [(768, 768, 128), (768, 768, 64), (1024, 512, 2112)];

/// Layers of BERT-base and one of a language model with few tokens, where the bytes of the weight decide.
const FEW_TOKENS: [(usize, usize, usize); 4] = [(768, 3072, 8), (768, 768, 16), (768, 768, 1), (2048, 2048, 32)];

/// Compiles all shapes for both targets; `sass` is how the matrix instructions of the kernel begin, of which all have to be so.
fn all_choose(
    shapes: &[(usize, usize, usize)],
    keep: fn(usize, usize) -> bool,
    chosen: &Format,
    (ptx, sass): (&str, &str),
) -> Vec<String> {
    let tools = Tools::find();
    let mut usages = Vec::new();
    for &shape in shapes {
        let graph = linear(shape, keep);
        for target in Target::ALL {
            let (format, text) = compile(&graph, *target, Precision::F16);
            assert_eq!(format, *chosen, "{shape:?} {}", target.name());
            let products = text.lines().filter(|l| l.trim_start().starts_with("mma."));
            assert!(products.clone().count() > 0 && products.clone().all(|l| l.contains(ptx)), "{text}");
            let Some(tools) = &tools else { continue };
            for ptxas in Ptxas::ALL {
                let assembled = tools.assemble(ptxas, &text, target.name()).unwrap_or_else(|e| panic!("{ptxas}: {e}"));
                assert_eq!(assembled.warnings, Vec::<String>::new());
                let found = tools.mnemonics(&assembled.cubin).expect("is read back");
                let matrix: BTreeMap<_, _> = found.iter().filter(|(m, _)| m.starts_with("HMMA")).collect();
                assert!(!matrix.is_empty() && matrix.keys().all(|m| m.starts_with(sass)), "{found:?}");
                for (name, usage) in &assembled.usage {
                    let (m, k, n) = shape;
                    usages.push(format!(
                        "{m}x{k}x{n} {} {ptxas} {name}: {} registers, {} bytes spilled, {}",
                        target.name(),
                        usage.registers,
                        usage.spill_stores + usage.spill_loads,
                        matrix.iter().map(|(m, n)| format!("{n} {m}")).collect::<Vec<_>>().join(", "),
                    ));
                }
            }
        }
    }
    usages
}

#[test]
fn two_of_four_is_chosen_and_is_hmma_sp() {
    let usages = all_choose(&SHAPES, two_of_four, &Format::Nm { n: 2, m: 4 }, ("mma.sp::ordered_metadata", "HMMA.SP."));
    if !usages.is_empty() {
        insta::assert_snapshot!(usages.join("\n"));
    }
}

#[test]
fn blocks_are_chosen_and_are_hmma() {
    let usages = all_choose(&SHAPES, blocks, &Format::Bsr { r: 16, c: 16 }, ("mma.sync", "HMMA.16"));
    if !usages.is_empty() {
        insta::assert_snapshot!(usages.join("\n"));
    }
}

#[test]
fn bitmaps_are_chosen_for_few_tokens_and_are_hmma() {
    let usages = all_choose(&FEW_TOKENS, three_of_ten, &Format::Bitmap, ("mma.sync", "HMMA.16"));
    if !usages.is_empty() {
        insta::assert_snapshot!(usages.join("\n"));
    }
}

/// A convolution of 3x3 without zeros: tensor cores, by a warp where there are few pixels and by teams or groups where there are many.
#[test]
fn dense_windows_are_hmma() {
    let tools = Tools::find();
    for (images, kernel) in [(1, "conv_tensor"), (32, "conv_team")] {
        let graph = sparsec_graph::parse(&format!(
            "graph @g {{\n input %0 \"x\": f32[{images}, 128, 28, 28]\n const %1 \"w\": f32[128, 128, 3, 3] random(seed=5, density=1.0)\n \
             %2 \"c\" = conv (%0, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1\n output \"y\" = %2\n}}"
        ))
        .expect("the text is a graph");
        for target in Target::ALL {
            let (format, text) = compile(&graph, *target, Precision::F16);
            assert_eq!(format, Format::Dense);
            let (kernel, ptx, sass) = match (kernel, *target) {
                ("conv_team", Target::Sm90a) => ("conv_group", "wgmma.mma_async", "HGMMA.64x64x16"),
                _ => (kernel, "mma.sync", "HMMA.16"),
            };
            assert!(text.contains(kernel) && text.contains(ptx), "{text}");
            let Some(tools) = &tools else { continue };
            for ptxas in Ptxas::ALL {
                let assembled = tools.assemble(ptxas, &text, target.name()).unwrap_or_else(|e| panic!("{ptxas}: {e}"));
                let found = tools.mnemonics(&assembled.cubin).expect("is read back");
                assert!(found.keys().any(|m| m.starts_with(sass)), "{found:?}");
                assert_eq!(assembled.warnings, Vec::<String>::new());
                assert!(assembled.usage.values().all(|usage| usage.spill_stores + usage.spill_loads == 0));
            }
        }
    }
}

#[test]
fn without_tensor_cores_there_is_no_matrix_instruction() {
    let machine = Machine::for_target("sm_80").expect("is known");
    let graph = linear((64, 64, 128), two_of_four);
    let rewritten = rewrite(&graph, &RewriteOptions::new(machine)).expect("rewrites");
    let lowered = lower_with(&rewritten.graph, &TargetInfo::WARP, &LowerOptions::default()).expect("lowers");
    let emitted = emit_program(&lowered.program, Target::Sm80).unwrap_or_else(|e| panic!("{e}"));
    assert!(!print_module(&emitted.module).contains("mma."));
}
