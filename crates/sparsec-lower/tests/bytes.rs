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
