//! What a layer computes, in `f64`.

/// The largest difference of `found` (M x N) from `relu(W x)`, relative to the largest magnitude; of at most `columns` columns, evenly spread.
pub(crate) fn error(
    (weight, x, found): (&[f32], &[f32], &[f32]),
    (m, k, n): (usize, usize, usize),
    columns: usize,
) -> f64 {
    let step = n.div_ceil(columns.max(1)).max(1);
    let (mut worst, mut largest) = (0f64, 0f64);
    for (row, found) in (0..m).zip(found.chunks(n.max(1))) {
        let weights = &weight[row * k..(row + 1) * k];
        for col in (0..n).step_by(step) {
            let entries = weights.iter().enumerate().filter(|(_, w)| **w != 0.0);
            let sum: f64 = entries.map(|(i, w)| f64::from(*w) * f64::from(x[i * n + col])).sum();
            let expected = sum.max(0.0);
            largest = largest.max(sum.abs());
            let difference = (f64::from(found[col]) - expected).abs();
            worst = if difference.is_nan() { f64::INFINITY } else { worst.max(difference) };
        }
    }
    if largest > 0.0 { worst / largest } else { worst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_element_is_seen() {
        // (1 2; 0 -3) (1; 1) = (3; -3).
        let (weight, x) = ([1.0, 2.0, 0.0, -3.0], [1.0, 1.0]);
        assert_eq!(error((&weight, &x, &[3.0, 0.0]), (2, 2, 1), 8), 0.0);
        assert_eq!(error((&weight, &x, &[3.0, 1.5]), (2, 2, 1), 8), 0.5);
        assert_eq!(error((&weight, &x, &[f32::NAN, 0.0]), (2, 2, 1), 8), f64::INFINITY);
    }
}
