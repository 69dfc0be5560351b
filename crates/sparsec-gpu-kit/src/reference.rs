//! What a layer computes, in `f64`.

use sparsec_tir::Precision;

/// The most that an element may differ by where factors are rounded and sums are `f32` (docs/ptx.md): `size` is the sum of `|w x|`,
/// `sizes` that of `|w| + |x|`, both over `k` entries.
fn bound(compute: Option<Precision>, (size, sizes): (f64, f64), k: usize) -> f64 {
    let (unit, least) = match compute {
        None => (0.0, 0.0),
        Some(Precision::F16) => (2f64.powi(-11), 2f64.powi(-25)),
        Some(Precision::TF32) => (2f64.powi(-11), 0.0),
        Some(Precision::BF16) => (2f64.powi(-8), 0.0),
    };
    (2.0 * unit + unit * unit + (k + 1) as f64 * 2f64.powi(-23)) * size + 2.0 * least * sizes
}

/// The largest difference of `found` (M x N) from `relu(W x)`, relative to the largest magnitude, and whether each is within its bound;
/// of at most `columns` columns, evenly spread.
pub(crate) fn error(
    (weight, x, found): (&[f32], &[f32], &[f32]),
    (m, k, n): (usize, usize, usize),
    columns: usize,
    compute: Option<Precision>,
) -> (f64, bool) {
    let step = n.div_ceil(columns.max(1)).max(1);
    let (mut worst, mut largest, mut bounded) = (0f64, 0f64, true);
    for (row, found) in (0..m).zip(found.chunks(n.max(1))) {
        let weights = &weight[row * k..(row + 1) * k];
        for col in (0..n).step_by(step) {
            let entries = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
            let (mut sum, mut size, mut sizes) = (0f64, 0f64, 0f64);
            for (i, w) in entries {
                let (w, x) = (f64::from(*w), f64::from(x[i * n + col]));
                sum += w * x;
                size += (w * x).abs();
                sizes += w.abs() + x.abs();
            }
            let expected = sum.max(0.0);
            largest = largest.max(sum.abs());
            let difference = (f64::from(found[col]) - expected).abs();
            bounded &= difference <= bound(compute, (size, sizes), k);
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        }
    }
    (if largest > 0.0 { worst / largest } else { worst }, bounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_element_is_seen() {
        // (1 2; 0 -3) (1; 1) = (3; -3).
        let (weight, x) = ([1.0, 2.0, 0.0, -3.0], [1.0, 1.0]);
        assert_eq!(error((&weight, &x, &[3.0, 0.0]), (2, 2, 1), 8, None), (0.0, true));
        assert_eq!(error((&weight, &x, &[3.0, 1.5]), (2, 2, 1), 8, None), (0.5, false));
        assert_eq!(error((&weight, &x, &[f32::NAN, 0.0]), (2, 2, 1), 8, None), (f64::INFINITY, false));
        // Rounding both factors may move 3 by 3 * 2^-10 and a little, at 8 bits by eight times as much.
        for (compute, moved) in [(Precision::F16, 0.0029), (Precision::TF32, 0.0029), (Precision::BF16, 0.0234)] {
            assert!(error((&weight, &x, &[3.0 + moved, 0.0]), (2, 2, 1), 8, Some(compute)).1);
            assert!(!error((&weight, &x, &[3.0 + 1.1 * moved, 0.0]), (2, 2, 1), 8, Some(compute)).1);
        }
    }
}
