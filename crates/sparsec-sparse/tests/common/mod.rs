//! Matrices that several test files use.

#![allow(dead_code, reason = "each test file is a crate of its own and uses a part of this one")]

use proptest::prelude::*;

/// Rows, columns and row-major values.
pub(crate) type Matrix = (usize, usize, Vec<f32>);

/// The 4 x 8 matrix of the crate's documentation.
pub(crate) fn worked_example() -> Matrix {
    let mut values = vec![0.0; 32];
    for (row, col, value) in [(0, 0, 1.0), (0, 2, 2.0), (0, 5, 3.0), (2, 0, 4.0), (2, 2, 5.0), (2, 7, 6.0), (3, 0, 7.0)]
    {
        values[row * 8 + col] = value;
    }
    (4, 8, values)
}

/// A small generator of reproducible numbers (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// A number from 0 up to but not including 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An integer below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }
}

/// A mask of the given density.
pub(crate) fn random_mask(rows: usize, cols: usize, density: f64, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    (0..rows * cols).map(|_| if random.unit() < density { 1.0 } else { 0.0 }).collect()
}

/// Matrices of small integers of every density, with empty rows, full rows and empty columns among them. Integers
/// keep sums exact in `f32`, so products can be compared with `==`.
pub(crate) fn matrix() -> impl Strategy<Value = Matrix> {
    let density = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0f64, 0.0..0.2f64];
    (0usize..40, 0usize..70, density, any::<u64>()).prop_map(|(rows, cols, density, seed)| {
        let mut random = Random(seed);
        let row_density: Vec<f64> = (0..rows)
            .map(|_| match random.below(6) {
                0 => 0.0,
                1 => 1.0,
                _ => density,
            })
            .collect();
        let is_empty: Vec<bool> = (0..cols).map(|_| random.below(8) == 0).collect();
        let mut values = vec![0.0; rows * cols];
        for row in 0..rows {
            for col in 0..cols {
                if !is_empty[col] && random.unit() < row_density[row] {
                    let size = 1 + random.below(9);
                    values[row * cols + col] = if random.below(2) == 0 { size as f32 } else { -(size as f32) };
                }
            }
        }
        (rows, cols, values)
    })
}

/// The plain triple loop.
pub(crate) fn dense_product((rows, cols, values): &Matrix, x: &[f32], n: usize) -> Vec<f32> {
    let mut y = vec![0f64; rows * n];
    for row in 0..*rows {
        for col in 0..*cols {
            for i in 0..n {
                y[row * n + i] += f64::from(values[row * cols + col]) * f64::from(x[col * n + i]);
            }
        }
    }
    y.into_iter().map(|sum| sum as f32).collect()
}
