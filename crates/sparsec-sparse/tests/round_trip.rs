//! Every format stores every matrix exactly, multiplies it correctly, and predicts its size.

mod common;

use common::{Matrix, Random, dense_product, matrix};
use half::{bf16, f16};
use proptest::prelude::*;
use sparsec_sparse::{
    Bitmap, BlockCensus, Element, Format, FormatError, Hyb, HybParams, Pattern, Storage, Stored, count_blocks,
};

/// A format that can store any matrix.
fn plain_format() -> impl Strategy<Value = Format> {
    prop_oneof![
        Just(Format::Dense),
        Just(Format::Csr),
        Just(Format::Bitmap),
        (1u32..9, 1u32..9).prop_map(|(r, c)| Format::Bsr { r, c }),
        (1u32..20).prop_map(|m| Format::Nm { n: m, m }),
        (1u32..80, 1u32..6, 1u32..6).prop_map(|(partition, bucket, rows)| Format::Hyb { partition, bucket, rows }),
    ]
}

fn format() -> impl Strategy<Value = Format> {
    prop_oneof![3 => plain_format(), 1 => plain_format().prop_map(Format::pruned)]
}

fn check<T: Element>(format: &Format, rows: usize, cols: usize, values: &[T]) -> Result<(), TestCaseError> {
    let stored = Stored::encode(format, rows, cols, values).unwrap();
    prop_assert_eq!(stored.to_dense(), values);
    prop_assert_eq!(&stored.format(), format);
    prop_assert_eq!((stored.rows(), stored.cols()), (rows, cols));
    let pattern = Pattern::of(rows, cols, values).unwrap();
    prop_assert_eq!(stored.nnz(), pattern.nnz());
    prop_assert!(stored.stored_entries() >= pattern.nnz());
    prop_assert_eq!(format.stored_bytes(&pattern, T::BYTES).unwrap(), stored.stored_bytes());
    Ok(())
}

/// Zeros all but the first `n` nonzeros of each group of `m` columns.
fn to_nm((rows, cols, mut values): Matrix, n: usize, m: usize) -> Matrix {
    for line in values.chunks_mut(cols.max(1)) {
        for group in line.chunks_mut(m) {
            group.iter_mut().filter(|value| **value != 0.0).skip(n).for_each(|value| *value = 0.0);
        }
    }
    (rows, cols, values)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn encode_and_decode((rows, cols, values) in matrix(), format in format()) {
        check(&format, rows, cols, &values)?;
    }

    #[test]
    fn other_element_types((rows, cols, values) in matrix(), format in format()) {
        check(&format, rows, cols, &values.iter().map(|&v| f64::from(v)).collect::<Vec<_>>())?;
        check(&format, rows, cols, &values.iter().map(|&v| v as i8).collect::<Vec<_>>())?;
        check(&format, rows, cols, &values.iter().map(|&v| v.abs() as u8).collect::<Vec<_>>())?;
        check(&format, rows, cols, &values.iter().map(|&v| v as i32).collect::<Vec<_>>())?;
        check(&format, rows, cols, &values.iter().map(|&v| f16::from_f32(v)).collect::<Vec<_>>())?;
        check(&format, rows, cols, &values.iter().map(|&v| bf16::from_f32(v)).collect::<Vec<_>>())?;
    }

    #[test]
    fn nm_round_trip(matrix in matrix(), n in 1u32..6, extra in 0u32..12) {
        let m = n + extra;
        let (rows, cols, values) = to_nm(matrix, n as usize, m as usize);
        check(&Format::Nm { n, m }, rows, cols, &values)?;
        // Zero rows and columns gone, the groups may hold more than N: an error, never a wrong matrix.
        match Stored::encode(&Format::pruned(Format::Nm { n, m }), rows, cols, &values) {
            Ok(stored) => prop_assert_eq!(stored.to_dense(), values),
            Err(error) => {
                let is_too_full = matches!(error, FormatError::GroupTooFull { .. });
                prop_assert!(is_too_full, "{}", error);
            }
        }
    }

    #[test]
    fn nm_selectors_increase(matrix in matrix(), n in 1u32..5, extra in 0u32..5) {
        let m = n + extra;
        let (rows, cols, values) = to_nm(matrix, n as usize, m as usize);
        let nm = sparsec_sparse::Nm::from_dense(rows, cols, &values, n, m).unwrap();
        let groups = nm.groups();
        for (i, group) in nm.selectors().chunks(n as usize).enumerate() {
            let width = (cols - i % groups * m as usize).min(m as usize);
            prop_assert!(group.iter().all(|&s| usize::from(s) < width));
            let is_short = width < n as usize;
            prop_assert!(group.windows(2).all(|pair| pair[0] < pair[1] || (is_short && pair[0] == pair[1])));
        }
    }

    /// Tiles with a nonzero, in order; each lane of a warp finds what it needs by counting bits.
    #[test]
    fn bitmap_lanes((rows, cols, values) in matrix()) {
        let bitmap = Bitmap::from_dense(rows, cols, &values).unwrap();
        for (tile_row, bounds) in bitmap.row_ptr().windows(2).enumerate() {
            let tiles = bounds[0] as usize..bounds[1] as usize;
            prop_assert!(bitmap.tile_cols()[tiles.clone()].is_sorted_by(|a, b| a < b));
            for tile in tiles {
                let (mask, col0) = (bitmap.masks()[tile], bitmap.tile_cols()[tile] as usize * 16);
                prop_assert!(mask != [0; 8]);
                // Lane, register and half of it of a fragment of the left factor of `mma.m16n8k16`.
                for (lane, register, half) in (0..256).map(|i| (i / 8, i / 2 % 4, i % 2)) {
                    let (row, col) = (tile_row * 16 + lane / 4 + register % 2 * 8, col0 + lane % 4 * 2 + register / 2 * 8 + half);
                    let expected = if row < rows && col < cols { values[row * cols + col] } else { 0.0 };
                    let (word, bit) = (lane / 16 * 4 + register, lane % 16 * 2 + half);
                    let below = mask[word] & ((1 << bit) - 1);
                    let before: u32 = mask[..word].iter().map(|w| w.count_ones()).sum::<u32>() + below.count_ones();
                    let at = (bitmap.starts()[tile] + before) as usize;
                    let found = if mask[word] >> bit & 1 == 1 { bitmap.values()[at] } else { 0.0 };
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn product(matrix in matrix(), format in format(), n in 0usize..5, seed in any::<u64>()) {
        let mut random = Random(seed);
        let x: Vec<f32> = (0..matrix.1 * n).map(|_| random.below(19) as f32 - 9.0).collect();
        let stored = Stored::encode(&format, matrix.0, matrix.1, &matrix.2).unwrap();
        prop_assert_eq!(stored.matmul(&x, n).unwrap(), dense_product(&matrix, &x, n));
    }

    #[test]
    fn hyb_invariants(
        (rows, cols, values) in matrix(), partition in 1u32..80, bucket in 1u32..5, in_flight in 1u32..6, units in 1u32..4,
    ) {
        let params = HybParams::new(partition, bucket, in_flight).with_unit(bucket * units);
        let hyb = Hyb::from_dense(rows, cols, &values, params).unwrap();
        prop_assert_eq!(hyb.to_dense(), values.clone());
        let (mut groups, mut entries) = (0, 0);
        for part in hyb.partitions() {
            let mut seen = vec![false; rows];
            let mut longest = 0;
            for bucket_of_part in hyb.buckets_of(part) {
                prop_assert!(bucket_of_part.len > longest && bucket_of_part.len % bucket as usize == 0);
                longest = bucket_of_part.len;
                prop_assert_eq!((bucket_of_part.group_start, bucket_of_part.entry_start), (groups, entries));
                for group in hyb.groups(bucket_of_part) {
                    groups += 1;
                    entries += group.values.len();
                    prop_assert_eq!(group.len(), bucket_of_part.len);
                    prop_assert!(group.columns.iter().all(|&col| usize::from(col) < part.cols));
                    prop_assert!(group.row_ids.iter().any(|&row| (row as usize) < rows));
                    for &row in group.row_ids.iter().filter(|&&row| row as usize != rows) {
                        prop_assert!(!std::mem::replace(&mut seen[row as usize], true), "row {} twice", row);
                    }
                    let stepped: Vec<f32> = group.steps().flat_map(|step| step.values.to_vec()).collect();
                    prop_assert_eq!(stepped, group.values);
                }
            }
            for (row, seen) in seen.into_iter().enumerate() {
                let line = &values[row * cols..(row + 1) * cols];
                let used = line[part.col_start..part.col_start + part.cols].iter().any(|&value| value != 0.0);
                prop_assert_eq!(used, seen);
            }
        }
        prop_assert_eq!(entries, hyb.stored_entries());
        prop_assert_eq!(groups * in_flight as usize, hyb.row_ids().len());
    }

    #[test]
    fn block_census((rows, cols, values) in matrix(), r in 1usize..9, c in 1usize..9) {
        let mut census = BlockCensus { total: 0, nonempty: 0, covered: 0, nnz: 0 };
        for row0 in (0..rows).step_by(r) {
            for col0 in (0..cols).step_by(c) {
                let (height, width) = (r.min(rows - row0), c.min(cols - col0));
                let inside = (0..height * width).map(|i| values[(row0 + i / width) * cols + col0 + i % width]);
                let nnz = inside.filter(|&value| value != 0.0).count();
                census.total += 1;
                census.nonempty += usize::from(nnz > 0);
                census.covered += if nnz > 0 { height * width } else { 0 };
                census.nnz += nnz;
            }
        }
        let pattern = Pattern::of(rows, cols, &values).unwrap();
        prop_assert_eq!(count_blocks(&pattern, r as u32, c as u32), census);
    }

    #[test]
    fn pattern_transpose_twice((rows, cols, values) in matrix()) {
        let pattern = Pattern::of(rows, cols, &values).unwrap();
        prop_assert_eq!(pattern.validate(), Ok(()));
        let transposed = pattern.transpose();
        prop_assert_eq!(transposed.validate(), Ok(()));
        prop_assert_eq!(transposed.zero_rows(), pattern.zero_cols());
        prop_assert_eq!(transposed.transpose(), pattern);
    }

    #[test]
    fn wrong_shapes_are_errors((rows, cols, values) in matrix(), format in format()) {
        let shape = FormatError::Shape { rows: rows + 1, cols: cols + 1, len: values.len() };
        prop_assert_eq!(Stored::encode(&format, rows + 1, cols + 1, &values), Err(shape));
        let huge = Stored::encode(&format, usize::MAX, 2, &values);
        prop_assert!(matches!(huge, Err(FormatError::Shape { .. })), "overflowing dimensions");
    }
}

#[test]
fn fixed_shapes() {
    for format in ["dense", "csr", "bitmap", "bsr<4,1>", "bsr<3,5>", "nm<4,4>", "hyb<4,2,2>", "pruned<hyb<2,1,3>>"] {
        let format: Format = format.parse().unwrap();
        for (rows, cols) in [(0, 0), (0, 3), (3, 0), (1, 1), (1, 13), (13, 1), (7, 11), (16, 16), (17, 33), (40, 30)] {
            for density in [0.0, 0.3, 1.0] {
                check(&format, rows, cols, &common::random_mask(rows, cols, density, 7)).unwrap();
            }
        }
    }
}

#[test]
fn errors_name_the_place() {
    let values = [1, 0, 0, 0, 0, 1, 1, 1];
    let error = Stored::encode(&Format::Nm { n: 2, m: 4 }, 1, 8, &values).unwrap_err();
    assert_eq!(error, FormatError::GroupTooFull { n: 2, m: 4, row: 0, col: 4, count: 3 });
    let pattern = Pattern::of(1, 8, &values).unwrap();
    assert_eq!(Format::Nm { n: 2, m: 4 }.stored_bytes(&pattern, 4), Err(error));
    let csr = Stored::encode(&Format::Csr, 1, 8, &values).unwrap();
    assert_eq!(csr.matmul(&[0.0; 8], 2), Err(FormatError::Operand { cols: 8, n: 2, len: 8 }));
    let params = HybParams::new(4, 2, 2).with_unit(3);
    assert!(matches!(Hyb::from_dense(1, 8, &values, params), Err(FormatError::Parameter { .. })));
    // No data stands behind these rows, so nothing is allocated for them.
    let empty = Stored::<f32>::encode(&Format::Csr, 1 << 40, 0, &[]);
    assert!(matches!(empty, Err(FormatError::TooLarge { .. })));
}
