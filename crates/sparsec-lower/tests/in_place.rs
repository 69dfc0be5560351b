//! Results that take the memory of an operand of the epilogue: every family of kernels, and values that somebody else needs.

mod common;

use common::check;
use sparsec_graph::parse;
use sparsec_lower::{TargetInfo, lower};

/// Places of the arena that a graph takes on a CPU, and on a GPU.
fn slots(text: &str) -> [usize; 2] {
    let graph = parse(text).expect("the text is a graph");
    [TargetInfo::AVX512, TargetInfo::WARP]
        .map(|target| lower(&graph, &target).expect("the graph lowers").program.arena.len())
}

/// A convolution to which `relu(z)` is added.
fn conv(format: &str, x: &str, w: &str, y: &str, attrs: &str) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[{x}]
  input %1 "z": f32[{y}]
  const %2 "w": f32[{w}] random(seed=5, density=0.3)
  %3 = map relu($0) (%1)
  %4 = conv (%0, %2) {attrs} epilogue relu(add(acc, $0)) (%3) format {format}
  %5 = map neg($0) (%4)
  output "y" = %5
}}"#
    )
}

fn linear(format: &str, [tokens, inputs, outputs]: [usize; 3]) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[{tokens}, {inputs}]
  input %1 "z": f32[{tokens}, {outputs}]
  const %2 "w": f32[{outputs}, {inputs}] random(seed=5, density=0.3)
  %3 = map relu($0) (%1)
  %4 = contract "mk,bk->bm" (%2, %0) epilogue gelu(add(acc, $0)) (%3) format {format}
  %5 = map neg($0) (%4)
  output "y" = %5
}}"#
    )
}

#[test]
fn convolutions() {
    for format in ["dense", "csr", "bsr<4,1>", "bsr<1,4>", "hyb<64,4,2>", "pruned<dense>"] {
        for (x, w, y, attrs) in [
            (
                "n, 6, 9, 11",
                "8, 6, 1, 1",
                "n, 8, 9, 11",
                "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1",
            ),
            (
                "n, 6, 14, 14",
                "8, 6, 3, 3",
                "n, 8, 14, 14",
                "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1",
            ),
            (
                "1, 150, 7, 70",
                "40, 150, 1, 1",
                "1, 40, 7, 70",
                "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1",
            ),
            (
                "n, 6, 13, 15",
                "8, 6, 3, 3",
                "n, 8, 7, 8",
                "strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1",
            ),
            (
                "n, 8, 9, 11",
                "8, 1, 3, 3",
                "n, 8, 9, 11",
                "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 8",
            ),
            (
                "n, 32, 15, 14",
                "33, 32, 3, 3",
                "n, 33, 15, 14",
                "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1",
            ),
            (
                "n, 3, 31, 64",
                "20, 3, 7, 7",
                "n, 20, 16, 32",
                "strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1] groups 1",
            ),
        ] {
            let text = conv(format, x, w, y, attrs);
            assert_eq!(slots(&text), [1, 2], "{format} {w}");
            check(&text, if x.starts_with('n') { &[("n", 2)] } else { &[] });
        }
    }
}

#[test]
fn linear_layers() {
    for format in ["dense", "csr", "bsr<4,1>", "bsr<1,4>", "hyb<64,4,2>"] {
        for shape in [[1, 75, 16], [3, 20, 9], [19, 150, 13], [130, 40, 50], [97, 700, 33]] {
            let text = linear(format, shape);
            assert_eq!(slots(&text), [1, 2], "{format} {shape:?}");
            check(&text, &[]);
        }
    }
}

/// The operand is used once more, is another shape's view of what is used once more, is an output, is the factor, too, or is broadcast.
#[test]
fn operands_that_are_needed() {
    let graph = |between: &str, epilogue: &str, behind: &str| {
        format!(
            r#"graph @g {{
  input %0 "x": f32[5, 16]
  const %2 "w": f32[16, 16] random(seed=5, density=0.3)
  %3 = map relu($0) (%0)
  {between}
  %8 = contract "mk,bk->bm" (%2, %0) epilogue add(acc, $0) ({epilogue}) format csr
  %9 = map neg($0) (%8)
  output "y" = %9
  {behind}
}}"#
        )
    };
    let free = graph("", "%3", "");
    assert_eq!(slots(&free)[0], 1);
    let view = graph("%4 = reshape (%3) to [80]\n  %5 = reshape (%4) to [5, 16]", "%5", "");
    assert_eq!(slots(&view)[0], 1);
    let later = graph(
        "%4 = map exp($0) (%3)",
        "%3",
        "%10 = map add($0, $1) (%3, %9)\n  output \"z\" = %10\n  output \"v\" = %4",
    );
    let earlier = graph("%4 = map exp($0) (%3)", "%3", "output \"v\" = %4");
    assert_eq!(slots(&earlier)[0], 1);
    let viewed = graph("%4 = reshape (%3) to [80]", "%3", "%10 = map exp($0) (%4)\n  output \"z\" = %10");
    let output = graph("", "%3", "output \"z\" = %3");
    let factor = free.replace("(%2, %0)", "(%2, %3)");
    let broadcast = graph("%4 = map relu($0) (%0)", "%3", "").replace("f32[5, 16]", "f32[1, 16]");
    for text in [&free, &view, &earlier, &later, &viewed, &output, &factor, &broadcast] {
        check(text, &[]);
    }
    for needed in [&later, &viewed, &factor] {
        assert_eq!(slots(needed)[0], 2, "{needed}");
    }
}
