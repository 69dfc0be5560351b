//! Weights of 8 bits, dense and sparse, against the graph interpreter; sums are exact.

mod common;

use common::check;

/// `y = requantised(W x - $0)` and the sums themselves.
fn product(format: &str, density: f64, (m, k): (usize, usize), x: &str, spec: &str) -> String {
    format!(
        r#"graph @g {{
  input %0 "x": u8[{x}]
  const %1 "w": i8[{m}, {k}] random(seed=5, density={density:?})
  const %2 "start": i32[{m}] random(seed=6, density=1.0)
  const %3 "scale": f32[{m}] random(seed=7, density=1.0)
  %4 = contract "{spec}" (%1, %0) epilogue u8(max(0.0, min(255.0, round(mul(f32(sub(acc, $0)), $1))))) (%2, %3) format {format}
  %5 = contract "{spec}" (%1, %0) format {format}
  output "y" = %4
  output "sums" = %5
}}"#
    )
}

#[test]
fn linear_layers() {
    for (format, kernel) in [("dense", "gemm_bytes"), ("bsr<1,4>", "rows_bytes"), ("csr", "rows_bytes")] {
        for density in [0.0, 0.1, 0.5, 1.0] {
            let names = check(&product(format, density, (13, 150), "batch, 150", "mk,bk->bm"), &[("batch", 19)]);
            assert!(names.iter().all(|name| name.contains(kernel)), "{names:?}");
            // Whole words, which are read where they lie; more outputs than a panel has; one token of a dynamic number.
            check(&product(format, density, (70, 36), "3, seq, 36", "mk,bsk->bsm"), &[("seq", 1)]);
            check(&product(format, density, (40, 36), "53, 36", "mk,bk->bm"), &[]);
            // K in several parts, the last of them shorter and ending in half a word.
            if density == 0.1 {
                check(&product(format, density, (7, 2602), "130, 2602", "mk,bk->bm"), &[]);
            }
        }
    }
}

#[test]
fn single_vectors() {
    for (format, kernel) in [("dense", "gemv_bytes"), ("bsr<1,4>", "spmv_bytes")] {
        for density in [0.0, 0.1, 1.0] {
            for (m, k) in [(16, 75), (65, 64), (1, 1), (200, 4)] {
                let names = check(&product(format, density, (m, k), &format!("1, {k}"), "mk,bk->bm"), &[]);
                assert!(names.iter().all(|name| name.contains(kernel)), "{names:?}");
            }
        }
    }
}

#[test]
fn features_first() {
    for format in ["dense", "bsr<1,4>"] {
        let text = product(format, 0.3, (21, 39), "39, 2, seq", "mk,kbs->bsm");
        check(&text, &[("seq", 37)]);
    }
}

#[test]
fn the_largest_sums_are_exact() {
    // 255 * -128 in every product: vectors of 16 bits would saturate.
    for format in ["dense", "bsr<1,4>"] {
        let bytes = |value: &str, count: usize| vec![value; count].join(", ");
        let graph = format!(
            r#"graph @g {{
  const %0 "w" = i8[2, 64] {{{}}}
  input %1 "x": u8[2, 64]
  const %2 "most" = u8[2, 64] {{{}}}
  %3 = max (%1, %2)
  %4 = contract "mk,bk->bm" (%0, %3) format {format}
  output "y" = %4
}}"#,
            bytes("-128", 128),
            bytes("255", 128)
        );
        check(&graph, &[]);
    }
}

/// A convolution of bytes and its requantised result; `zero` is the zero point's definition, or nothing.
fn convolution(weight: &str, x: &str, attributes: &str, zero: &str) -> String {
    let operand = if zero.is_empty() { "" } else { ", %2" };
    let outputs = weight.split(&['[', ','][..]).nth(1).expect("a shape");
    let ones = vec!["1"; x.split(',').count() - 2].join(", ");
    format!(
        r#"graph @g {{
  input %0 "x": u8[{x}]
  const %1 "w" = {weight}
  {zero}
  const %3 "scale" = f32[{outputs}, {ones}] random(seed=7, density=1.0)
  %4 = conv (%0, %1{operand}) {attributes} epilogue u8(max(0.0, min(255.0, round(mul(f32(acc), mul($0, 0.01)))))) (%3)
  %5 = conv (%0, %1{operand}) {attributes}
  output "y" = %4
  output "sums" = %5
}}"#
    )
}

const ZERO: &str = "input %2 \"zero\": u8[]";

#[test]
fn convolutions() {
    let window = "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1";
    let point = "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1";
    let bytes = "random(seed=5, density=1.0)";
    for zero in ["", ZERO, "const %2 \"zero\" = u8[] {128}"] {
        for (shape, x, attributes) in [
            // Channels of whole words, of one byte, and of a word and a byte; outputs of more than a panel.
            ("13, 8, 3, 3", "2, 8, 7, 19", window),
            ("5, 1, 3, 3", "1, 1, 6, w", window),
            ("8, 5, 1, 1", "2, 5, 4, w", point),
            ("17, 6, 3, 2", "1, 6, 9, 11", "strides [2, 3] pads [(1, 0), (2, 1)] dilations [1, 2] groups 1"),
            ("6, 3, 2, 2", "1, 3, 5, 1", "strides [1, 1] pads [(0, 1), (1, 1)] dilations [1, 1] groups 1"),
            // More words than a part has; one spatial axis.
            ("4, 150, 3, 3", "1, 150, 3, w", window),
            ("7, 9, 4", "2, 9, w", "strides [2] pads [(3, 2)] dilations [1] groups 1"),
        ] {
            let widths: &[i64] = if x.contains('w') { &[1, 23, 70] } else { &[0] };
            for &width in widths.iter().filter(|&&width| width > 1 || !x.contains("9, w")) {
                let text = convolution(&format!("i8[{shape}] {bytes}"), x, attributes, zero);
                let symbols = [("w", width)];
                let names = check(&text, if x.contains('w') { &symbols } else { &[] });
                assert!(names.iter().all(|name| name.contains("conv_bytes")), "{names:?}");
            }
        }
    }
}

#[test]
fn convolutions_with_weights_that_are_moved() {
    let values = |seed: usize, count: usize, from: i32| {
        let value = |i: usize| (from + ((i * 97 + seed * 31) % 256) as i32).to_string();
        (0..count).map(value).collect::<Vec<_>>().join(", ")
    };
    // Two outputs whose weights lie elsewhere, and two that are bytes.
    let rows = [values(1, 54, -255), values(2, 54, 0), values(3, 54, -128), values(4, 54, -128)].join(", ");
    let weight = format!("i16[4, 6, 3, 3] {{{rows}}}");
    for zero in ["", ZERO] {
        let attributes = "strides [1, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1";
        let names = check(&convolution(&weight, "2, 6, 5, w", attributes, zero), &[("w", 37)]);
        assert!(names.iter().all(|name| name.contains("conv_bytes")), "{names:?}");
    }
    let parts = format!("i16[9, 200, 1, 1] {{{}}}", values(5, 1800, -100));
    check(
        &convolution(&parts, "1, 200, 3, 43", "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1", ZERO),
        &[],
    );
}

#[test]
fn convolutions_without_a_kernel_of_their_own() {
    for (weight, x, attributes) in [
        ("i8[4, 3, 3, 3]", "1, 6, 5, 9", "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 2"),
        ("i16[1, 2, 1, 2]", "1, 2, 5, 9", "strides [1, 1] pads [(0, 0), (1, 1)] dilations [1, 1] groups 1"),
        (
            "i8[2, 3, 2, 1, 3]",
            "2, 3, 4, 2, 19",
            "strides [1, 1, 1] pads [(1, 0), (0, 0), (1, 1)] dilations [1, 1, 1] groups 1",
        ),
    ] {
        let values = if weight.contains("i16") { "{-200, 300, 5, 7}" } else { "random(seed=5, density=1.0)" };
        let weight = format!("{weight} {values}");
        let names = check(&convolution(&weight, x, attributes, ZERO), &[]);
        assert!(names.iter().all(|name| name.contains("conv_plain")), "{names:?}");
    }
}

#[test]
fn convolutions_of_floats_store_bytes() {
    for (shape, x, groups, format) in [
        ([40, 33, 3, 3], "1, 33, 14, 17", 1, "dense"),
        ([13, 6, 3, 3], "2, 6, 7, w", 1, "csr"),
        ([16, 8, 1, 1], "1, 8, 5, 9", 1, "bsr<4,1>"),
        ([12, 8, 5, 5], "1, 8, 9, 20", 1, "hyb<16,1,4>"),
        ([8, 1, 3, 3], "1, 8, 9, 19", 8, "dense"),
    ] {
        // Integers, so that no order of a sum moves it across a step of the result.
        let value = |i: usize| format!("{}.0", if i.is_multiple_of(3) { 0 } else { (i * 37 % 5) as i64 - 2 });
        let values: Vec<String> = (0..shape.iter().product()).map(value).collect();
        let text = format!(
            r#"graph @g {{
  input %0 "x": u8[{x}]
  const %1 "w" = f32{shape:?} {{{}}}
  %2 = cast f32 (%0)
  %3 = conv (%2, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups {groups} epilogue u8(max(0.0, min(255.0, floor(add(mul(acc, 0.0625), 100.03125))))) () format {format}
  output "y" = %3
}}"#,
            values.join(", ")
        );
        check(&text, if x.contains('w') { &[("w", 21)] } else { &[] });
    }
}
