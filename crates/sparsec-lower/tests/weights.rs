//! Constant weights in every format, as linear layers and as convolutions.

mod common;

use common::{check, check_with};
use sparsec_graph::Symbol;
use sparsec_lower::LowerOptions;

const FORMATS: &[&str] =
    &["dense", "csr", "bsr<4,1>", "bsr<1,4>", "bsr<8,8>", "hyb<64,4,2>", "hyb<256,1,4>", "pruned<dense>"];

fn linear(format: &str, density: f64, (m, k): (usize, usize), x: &str, spec: &str) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[{x}]
  const %1 "w": f32[{m}, {k}] random(seed=5, density={density:?})
  const %2 "b": f32[{m}] random(seed=6, density=1.0)
  %3 = contract "{spec}" (%1, %0) epilogue relu(add(acc, $0)) (%2) format {format}
  output "y" = %3
}}"#
    )
}

#[test]
fn linear_layers() {
    for format in FORMATS {
        for density in [0.0, 0.1, 0.5, 1.0] {
            check(&linear(format, density, (13, 150), "batch, 150", "mk,bk->bm"), &[("batch", 19)]);
            check(&linear(format, density, (9, 20), "3, seq, 20", "mk,bsk->bsm"), &[("seq", 1)]);
        }
    }
}

#[test]
fn single_vectors() {
    for format in FORMATS {
        for density in [0.0, 0.1, 1.0] {
            check(&linear(format, density, (16, 75), "1, 75", "mk,bk->bm"), &[]);
        }
    }
    check(&linear("csr", 0.5, (1, 1), "1, 1", "mk,bk->bm"), &[]);
    check(&linear("dense", 0.5, (7, 33), "1, 33", "mk,bk->bm"), &[]);
    // Columns beyond 16 bits.
    check(&linear("csr", 0.01, (3, 70_000), "1, 70000", "mk,bk->bm"), &[]);
}

/// An open extent that is expected to be small, whatever it is then.
#[test]
fn few_tokens() {
    let nominal = |name: &str| [(Symbol::new(name), 1)].into_iter().collect();
    let check = |text: &str, name: &str, extents: &[i64]| {
        let graph = sparsec_graph::parse(text).expect("the text is a graph");
        let options = LowerOptions { nominal: nominal(name), ..LowerOptions::default() };
        for &extent in extents {
            let kernels = check_with(&graph, &[(name, extent)], &options);
            assert!(kernels.iter().all(|name| name.ends_with("gemm_outputs")), "{kernels:?}");
        }
    };
    check(&linear("dense", 1.0, (13, 50), "batch, 50", "mk,bk->bm"), "batch", &[0, 1, 2, 3, 7, 50]);
    check(&linear("dense", 1.0, (200, 17), "batch, 17", "mk,bk->bm"), "batch", &[1, 11]);
    check(&linear("dense", 1.0, (70, 9), "seq, 3, 9", "mk,bsk->bsm"), "seq", &[1, 5]);
}

/// What is computed of each sum takes longer than the sum, so outputs are finished side by side.
#[test]
fn gates_of_one_token() {
    for outputs in [16, 130, 256] {
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[1, 19]
  input %3 "z": f32[1, {outputs}]
  const %1 "w": f32[{outputs}, 19] random(seed=5, density=1.0)
  %2 = contract "mk,bk->bm" (%1, %0) epilogue tanh(add(acc, $0)) (%3) format dense
  output "y" = %2
}}"#
        );
        check(&text, &[]);
    }
}

#[test]
fn features_first() {
    for format in ["dense", "hyb<64,4,2>"] {
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[40, 2, seq]
  const %1 "w": f32[12, 40] random(seed=5, density=0.2)
  const %2 "b": f32[12, 1, 1] random(seed=6, density=1.0)
  %3 = contract "mk,kbs->mbs" (%1, %0) epilogue gelu(add(acc, $0)) (%2) format {format}
  output "y" = %3
}}"#
        );
        // GELU needs `expand_math` in compiled code; the interpreter computes it as it is.
        check(&text, &[("seq", 50)]);
    }
}

fn conv(format: &str, density: f64, x: &str, w: &str, attrs: &str) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": f32[{x}]
  const %1 "w": f32[{w}] random(seed=5, density={density:?})
  const %2 "b": f32[8] random(seed=6, density=1.0)
  %3 = conv (%0, %1, %2) {attrs} epilogue relu(acc) () format {format}
  output "y" = %3
}}"#
    )
}

#[test]
fn convolutions() {
    for format in FORMATS {
        for (x, w, attrs) in [
            ("n, 6, 9, 11", "8, 6, 3, 3", "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1"),
            ("n, 6, 9, 11", "8, 6, 3, 3", "strides [2, 2] pads [(1, 1), (0, 1)] dilations [1, 1] groups 1"),
            ("n, 6, 9, 40", "8, 6, 1, 1", "strides [2, 2] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1"),
            ("n, 6, 9, 11", "8, 6, 1, 1", "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1"),
            ("n, 6, 9, 30", "8, 6, 3, 2", "strides [1, 2] pads [(2, 0), (0, 3)] dilations [2, 3] groups 1"),
            ("n, 4, 7, 90", "8, 4, 1, 7", "strides [1, 1] pads [(0, 0), (3, 3)] dilations [1, 1] groups 1"),
            // Wider than a tile and without a border: a tile is whole vectors, but more than one plane or row is packed.
            ("n, 6, 1, 90", "8, 6, 1, 3", "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 4] groups 1"),
            ("n, 6, 5, 90", "8, 6, 3, 1", "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1"),
            ("n, 6, 5, 90", "8, 6, 3, 3", "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1"),
            ("n, 3, 19, 19", "8, 3, 7, 7", "strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1] groups 1"),
            ("n, 8, 9, 11", "8, 1, 3, 3", "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 8"),
            ("n, 8, 9, 11", "8, 4, 3, 3", "strides [2, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 2"),
        ] {
            check(&conv(format, 0.3, x, w, attrs), &[("n", 2)]);
        }
    }
}

/// A convolution with a group for each channel, from numbers that a test draws.
fn depthwise(format: &str, outputs: usize, x: &str, [kh, kw, sh, sw, dh, dw, top, left]: [usize; 8]) -> String {
    let attrs = format!(
        "strides [{sh}, {sw}] pads [({top}, 1), ({left}, 0)] dilations [{dh}, {dw}] groups {}",
        x.split(", ").nth(1).unwrap_or("1")
    );
    format!(
        r#"graph @g {{
  input %0 "x": f32[{x}]
  const %1 "w": f32[{outputs}, 1, {kh}, {kw}] random(seed=5, density=0.7)
  const %2 "b": f32[{outputs}] random(seed=6, density=1.0)
  %3 = conv (%0, %1, %2) {attrs} epilogue relu(acc) () format {format}
  output "y" = %3
}}"#
    )
}

#[test]
fn depthwise_convolutions() {
    let mut numbers = common::Numbers(23);
    let mut draw = |from: usize, to: usize| from + numbers.next() as usize % (to - from);
    for case in 0..40 {
        let (kh, kw, dh, dw) = (draw(1, 4), draw(1, 6), draw(1, 3), draw(1, 3));
        let (sh, sw) = (draw(1, 4), draw(1, 5));
        let (top, left) = (draw(0, 3), draw(0, 4));
        let (channels, multiplier) = (draw(2, 4), draw(1, 4));
        let (height, width) = ((kh - 1) * dh + draw(1, 12), (kw - 1) * dw + draw(1, 140));
        let window = [kh, kw, sh, sw, dh, dw, top, left];
        let format = FORMATS[case % FORMATS.len()];
        let known = format!("n, {channels}, {height}, {width}");
        check(&depthwise(format, channels * multiplier, &known, window), &[("n", 2)]);
        let open = format!("1, {channels}, h, w");
        let symbols = [("h", height as i64), ("w", width as i64)];
        check(&depthwise(format, channels * multiplier, &open, window), &symbols);
    }
}

/// Dense weights on images of many sizes: pieces with and without tails, several parts, rows that are cut.
#[test]
fn dense_convolutions() {
    let mut numbers = common::Numbers(29);
    let mut draw = |from: usize, to: usize| from + numbers.next() as usize % (to - from);
    for case in 0..24 {
        let (kh, kw) = [(1, 1), (1, 1), (3, 3), (draw(1, 4), draw(1, 5))][case % 4];
        let (sh, sw, dh, dw) = (draw(1, 4), draw(1, 5), draw(1, 3), draw(1, 3));
        let (sh, sw) = if case % 8 < 4 { (1, 1) } else { (sh, sw) };
        let (top, left) = [(0, 0), (draw(0, 3), draw(0, 3))][case / 2 % 2];
        let channels = [draw(1, 6), draw(100, 150)][case % 2];
        let side = [7, 10, 14, draw(1, 20)][case / 4 % 4];
        let (height, width) = ((kh - 1) * dh + side, (kw - 1) * dw + side);
        let attrs =
            format!("strides [{sh}, {sw}] pads [({top}, {top}), ({left}, {left})] dilations [{dh}, {dw}] groups 1");
        let weight = format!("8, {channels}, {kh}, {kw}");
        check(&conv("dense", 0.9, &format!("n, {channels}, {height}, {width}"), &weight, &attrs), &[("n", 2)]);
        let symbols = [("h", height as i64), ("w", width as i64)];
        check(&conv("dense", 0.9, &format!("1, {channels}, h, w"), &weight, &attrs), &symbols);
    }
    for outputs in [1, 3, 7, 11, 16, 50] {
        for pixels in [2, 15, 16, 17, 47, 48, 49, 50, 65, 97, 196] {
            check(&linear("dense", 0.9, (outputs, 20), &format!("{pixels}, 20"), "mk,bk->bm"), &[]);
        }
        check(&linear("dense", 0.9, (outputs, 700), "batch, 700", "mk,bk->bm"), &[("batch", 113)]);
    }
}

/// 3x3 convolutions of stride 1 with enough outputs and channels for minimal filtering.
#[test]
fn minimal_filtering() {
    for (m, channels, height, width, pads) in [
        (32, 32, 14, 14, "(1, 1), (1, 1)"),
        (40, 33, 28, 28, "(1, 1), (1, 1)"),
        (33, 32, 15, 40, "(1, 1), (1, 1)"),
        (34, 32, 21, 22, "(0, 0), (2, 1)"),
        (32, 35, 14, 34, "(2, 0), (0, 0)"),
    ] {
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[n, {channels}, {height}, {width}]
  const %1 "w": f32[{m}, {channels}, 3, 3] random(seed=5, density=1.0)
  const %2 "b": f32[{m}] random(seed=6, density=1.0)
  %3 = conv (%0, %1, %2) strides [1, 1] pads [{pads}] dilations [1, 1] groups 1 epilogue relu(acc) () format dense
  output "y" = %3
}}"#
        );
        let lowered = check(&text, &[("n", 2)]);
        assert!(lowered.iter().any(|name| name.ends_with("winograd")), "{lowered:?}");
    }
}

/// High windows, filtered along the rows of the image: strides, strips that hang over the edge, paddings, blocks of vectors.
#[test]
fn high_windows() {
    for (x, w, attrs) in [
        ("n, 3, 31, 64", "20, 3, 7, 7", "strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1]"),
        ("n, 3, 24, 190", "16, 3, 7, 7", "strides [2, 2] pads [(3, 2), (3, 3)] dilations [1, 1]"),
        ("n, 2, 16, 31", "17, 2, 5, 3", "strides [1, 2] pads [(2, 2), (0, 1)] dilations [1, 1]"),
        ("n, 1, 12, 64", "24, 1, 5, 5", "strides [1, 1] pads [(4, 0), (2, 2)] dilations [1, 1]"),
        ("n, 4, 48, 40", "16, 4, 11, 1", "strides [3, 3] pads [(0, 0), (0, 0)] dilations [1, 1]"),
        ("n, 2, 22, 48", "18, 2, 6, 3", "strides [2, 1] pads [(0, 9), (9, 0)] dilations [1, 2]"),
    ] {
        let m = w.split(',').next().unwrap_or_default();
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[{x}]
  const %1 "w": f32[{w}] random(seed=5, density=1.0)
  const %2 "b": f32[{m}] random(seed=6, density=1.0)
  %3 = conv (%0, %1, %2) {attrs} groups 1 epilogue relu(acc) () format dense
  output "y" = %3
}}"#
        );
        let lowered = check(&text, &[("n", 2)]);
        assert!(lowered.iter().any(|name| name.ends_with("toom_cook")), "{x} {w} {attrs}: {lowered:?}");
    }
}

#[test]
fn convolutions_of_unknown_size() {
    let attrs = "strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1";
    for format in ["dense", "hyb<64,4,2>"] {
        check(&conv(format, 0.3, "1, 6, h, w", "8, 6, 3, 3", attrs), &[("h", 9), ("w", 150)]);
    }
}

/// Values of `rows` x `cols`, `n` of every `m` neighbours along `cols` kept.
fn n_of_m(rows: usize, cols: usize, (n, m): (usize, usize)) -> Vec<f32> {
    let mut numbers = common::Numbers(3);
    let mut values = vec![0.0; rows * cols];
    for row in 0..rows {
        for group in (0..cols).step_by(m) {
            for _ in 0..n {
                let at = group + numbers.next() as usize % m.min(cols - group);
                values[row * cols + at] = numbers.signed();
            }
        }
    }
    values
}

fn inline(values: &[f32]) -> String {
    values.iter().map(|v| format!("{v:?}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn n_of_m_linear() {
    for (shape, m, k) in [((2, 4), 6, 16), ((2, 4), 7, 150), ((1, 4), 5, 40), ((4, 8), 9, 37), ((1, 2), 3, 8)] {
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[n, {k}]
  const %1 "w" = f32[{m}, {k}] {{{}}}
  %2 = contract "mk,bk->bm" (%1, %0) format nm<{},{}>
  output "y" = %2
}}"#,
            inline(&n_of_m(m, k, shape)),
            shape.0,
            shape.1
        );
        check(&text, &[("n", 11)]);
    }
}

#[test]
fn n_of_m_single_vectors() {
    for (shape, m, k) in [
        ((2, 4), 6, 16),
        ((2, 4), 8, 256),
        ((2, 4), 7, 150),
        ((1, 4), 5, 41),
        ((3, 4), 66, 90),
        ((4, 8), 9, 37),
        ((1, 2), 3, 8),
        // The bits of a vector of entries take more than a word.
        ((2, 16), 5, 80),
    ] {
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[1, {k}]
  const %1 "w" = f32[{m}, {k}] {{{}}}
  const %2 "b": f32[{m}] random(seed=6, density=1.0)
  %3 = contract "mk,bk->bm" (%1, %0) epilogue relu(add(acc, $0)) (%2) format nm<{},{}>
  output "y" = %3
}}"#,
            inline(&n_of_m(m, k, shape)),
            shape.0,
            shape.1
        );
        check(&text, &[]);
    }
}

#[test]
fn n_of_m_convolution() {
    for channels in [8, 10] {
        // Groups lie along the channels: make the weight in (output, element, channel) order and move the channels.
        let by_element = n_of_m(6 * 9, channels, (2, 4));
        let mut values = vec![0.0; by_element.len()];
        for row in 0..6 {
            for element in 0..9 {
                for channel in 0..channels {
                    values[(row * channels + channel) * 9 + element] =
                        by_element[(row * 9 + element) * channels + channel];
                }
            }
        }
        let text = format!(
            r#"graph @g {{
  input %0 "x": f32[1, {channels}, 9, 20]
  const %1 "w" = f32[6, {channels}, 3, 3] {{{}}}
  %2 = conv (%0, %1) strides [1, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 format nm<2,4>
  output "y" = %2
}}"#,
            inline(&values)
        );
        check(&text, &[]);
    }
}
