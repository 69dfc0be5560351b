//! The arrays that the documentation of each format shows for the worked example.

mod common;

use common::worked_example;
use sparsec_sparse::{Bitmap, Bsr, Csr, Format, Hyb, HybParams, Nm, Pattern, PatternError, Pruned, Storage, Stored};

#[test]
fn pattern() {
    let (rows, cols, values) = worked_example();
    let pattern = Pattern::of(rows, cols, &values).unwrap();
    assert_eq!(pattern.row_ptr(), [0, 3, 3, 6, 7]);
    assert_eq!(pattern.col_idx(), [0, 2, 5, 0, 2, 7, 0]);
    assert_eq!(pattern.nnz(), 7);
    assert_eq!(pattern.density(), 7.0 / 32.0);
    assert_eq!(pattern.row(2), [0, 2, 7]);
    assert_eq!(pattern.row(4), [0u32; 0]);
    assert_eq!(pattern.row(usize::MAX), [0u32; 0]);
    assert_eq!(pattern.zero_rows(), [1]);
    assert_eq!(pattern.zero_cols(), [1, 3, 4, 6]);
    assert_eq!(pattern.transpose().row(0), [0, 2, 3]);
    let reduced = pattern.without_zero_rows_and_cols();
    assert_eq!((reduced.rows(), reduced.cols()), (3, 4));
    assert_eq!(reduced.col_idx(), [0, 1, 2, 0, 1, 3, 0]);
    assert_eq!(reduced.validate(), Ok(()));
}

#[test]
fn pattern_parts_are_validated() {
    let of = |row_ptr: &[usize], col_idx: &[u32]| Pattern::from_parts(2, 3, row_ptr.to_vec(), col_idx.to_vec());
    assert!(of(&[0, 1, 3], &[2, 0, 1]).is_ok());
    assert_eq!(of(&[0, 1], &[2]), Err(PatternError::RowPtrLength { len: 2, expected: 3 }));
    assert_eq!(of(&[1, 1, 3], &[2, 0, 1]), Err(PatternError::RowPtrOrder { row: 0, nnz: 3 }));
    assert_eq!(of(&[0, 2, 1], &[0, 1]), Err(PatternError::RowPtrOrder { row: 1, nnz: 2 }));
    assert_eq!(of(&[0, 1, 9], &[0, 1]), Err(PatternError::RowPtrOrder { row: 1, nnz: 2 }));
    assert_eq!(of(&[0, 1, 1], &[0, 1]), Err(PatternError::RowPtrOrder { row: 2, nnz: 2 }));
    assert_eq!(of(&[0, 1, 2], &[0, 3]), Err(PatternError::ColumnRange { row: 1, col: 3, cols: 3 }));
    assert_eq!(of(&[0, 2, 2], &[1, 1]), Err(PatternError::ColumnOrder { row: 0, col: 1 }));
}

#[test]
fn csr() {
    let (rows, cols, values) = worked_example();
    let csr = Csr::from_dense(rows, cols, &values).unwrap();
    assert_eq!(csr.row_ptr(), [0, 3, 3, 6, 7]);
    assert_eq!(csr.col_idx(), [0, 2, 5, 0, 2, 7, 0]);
    assert_eq!(csr.values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!(csr.stored_bytes(), 5 * 4 + 7 * (2 + 4));
}

#[test]
fn bitmap() {
    let (rows, cols, values) = worked_example();
    let bitmap = Bitmap::from_dense(rows, cols, &values).unwrap();
    assert_eq!((bitmap.row_ptr(), bitmap.tile_cols(), bitmap.starts()), (&[0, 1][..], &[0][..], &[0][..]));
    assert_eq!(bitmap.masks(), [[0b0000_0001_1000_0101_0000_0000_0010_0101, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(bitmap.values(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    assert_eq!(bitmap.stored_bytes(), 2 * 4 + (2 + 4 + 32) + 7 * 4);
    // The second tile is left out; the last one is cut off.
    let mut values = vec![0; 33 * 5];
    (values[4], values[4 * 5], values[32 * 5 + 1]) = (3, 4, 5);
    let bitmap = Bitmap::from_dense(33, 5, &values).unwrap();
    assert_eq!((bitmap.row_ptr(), bitmap.starts()), (&[0, 1, 1, 2][..], &[0, 2][..]));
    assert_eq!(bitmap.masks(), [[16, 0, 0, 0, 1, 0, 0, 0], [2, 0, 0, 0, 0, 0, 0, 0]]);
    assert_eq!(bitmap.values(), [3, 4, 5]);
}

#[test]
fn bsr() {
    let (rows, cols, values) = worked_example();
    let bsr = Bsr::from_dense(rows, cols, &values, 2, 1).unwrap();
    assert_eq!(bsr.row_ptr(), [0, 3, 6]);
    assert_eq!(bsr.col_idx(), [0, 2, 5, 0, 2, 7]);
    assert_eq!(bsr.values(), [1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 7.0, 5.0, 0.0, 6.0, 0.0]);
    assert_eq!(bsr.block(3), [4.0, 7.0]);
    assert_eq!(bsr.block(6), [0f32; 0]);
    // Outputs are fastest within a block.
    let bsr = Bsr::from_dense(2, 3, &[1, 2, 3, 4, 5, 6], 2, 2).unwrap();
    assert_eq!(bsr.values(), [1, 4, 2, 5, 3, 6, 0, 0]);
}

#[test]
fn nm() {
    let (rows, cols, values) = worked_example();
    let nm = Nm::from_dense(rows, cols, &values, 2, 4).unwrap();
    assert_eq!(nm.values(), [1., 2., 0., 3., 0., 0., 0., 0., 4., 5., 0., 6., 7., 0., 0., 0.]);
    assert_eq!(nm.selectors(), [0, 2, 0, 1, 0, 1, 0, 1, 0, 2, 0, 3, 0, 1, 0, 1]);
    assert_eq!(nm.packed_selectors(), [0b0100_1000, 0b0100_0100, 0b1100_1000, 0b0100_0100]);
    assert_eq!(nm.stored_bytes(), 16 * 4 + 4);
    // A last group of one column repeats it.
    let nm = Nm::from_dense(1, 5, &[0, 8, 0, 9, 7], 2, 4).unwrap();
    assert_eq!((nm.values(), nm.selectors()), (&[8, 9, 7, 0][..], &[1, 3, 0, 0][..]));
    // One-bit and eight-bit selectors.
    let nm = Nm::from_dense(1, 10, &[1, 0, 0, 1, 1, 0, 0, 1, 0, 1], 1, 2).unwrap();
    assert_eq!(nm.packed_selectors(), [0b0001_1010]);
    let nm = Nm::from_dense(1, 17, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5], 1, 17).unwrap();
    assert_eq!(nm.packed_selectors(), [16]);
}

#[test]
fn hyb() {
    let (rows, cols, values) = worked_example();
    let hyb = Hyb::from_dense(rows, cols, &values, HybParams::new(4, 1, 2)).unwrap();
    let partitions: Vec<_> = hyb.partitions().iter().map(|p| (p.col_start, p.cols, p.buckets)).collect();
    assert_eq!(partitions, [(0, 4, 2), (4, 4, 1)]);
    let buckets: Vec<_> = hyb.buckets().iter().map(|b| (b.len, b.groups, b.group_start, b.entry_start)).collect();
    assert_eq!(buckets, [(1, 1, 0, 0), (2, 1, 1, 2), (1, 1, 2, 6)]);
    assert_eq!(hyb.row_ids(), [3, 4, 0, 2, 0, 2]);
    assert_eq!(hyb.columns(), [0, 0, 0, 0, 2, 2, 1, 3]);
    assert_eq!(hyb.values(), [7.0, 0.0, 1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn hyb_steps_of_four_and_a_tail_of_two() {
    let values: Vec<i32> = (1..=12).collect();
    let hyb = Hyb::from_dense(2, 6, &values, HybParams::new(6, 2, 2).with_unit(4)).unwrap();
    assert_eq!(hyb.values(), [1, 2, 3, 4, 7, 8, 9, 10, 5, 6, 11, 12]);
    let group = hyb.groups(&hyb.buckets()[0]).next().unwrap();
    assert_eq!(group.len(), 6);
    let steps: Vec<_> = group.steps().map(|step| (step.slot, step.columns.to_vec())).collect();
    assert_eq!(steps, [(0, vec![0, 1, 2, 3]), (1, vec![0, 1, 2, 3]), (0, vec![4, 5]), (1, vec![4, 5])]);
}

#[test]
fn hyb_moves_rows_up_or_pads_whichever_stores_less() {
    // Lengths 3 and 4: moving the short row up costs one entry, a dummy row would cost seven.
    let hyb = Hyb::from_dense(2, 4, &[1, 1, 1, 0, 1, 1, 1, 1], HybParams::new(4, 1, 2)).unwrap();
    assert_eq!((hyb.row_ids(), hyb.stored_entries()), (&[0, 1][..], 8));
    // The padding of row 0 repeats its last column.
    assert_eq!(hyb.columns(), [0, 0, 1, 1, 2, 2, 2, 3]);
    // Lengths 1, 9 and 9: a dummy row for the first costs one entry.
    let mut values = vec![0; 27];
    values[4] = 1;
    values[9..].fill(1);
    let hyb = Hyb::from_dense(3, 9, &values, HybParams::new(9, 1, 2)).unwrap();
    assert_eq!((hyb.row_ids(), hyb.stored_entries()), (&[0, 3, 1, 2][..], 20));
}

#[test]
fn pruned() {
    let (rows, cols, values) = worked_example();
    let pruned = Pruned::from_dense(rows, cols, &values, &Format::Dense).unwrap();
    assert_eq!(pruned.kept_rows(), [0, 2, 3]);
    assert_eq!(pruned.kept_cols(), [0, 2, 5, 7]);
    assert_eq!(pruned.inner().to_dense(), [1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 0.0, 6.0, 7.0, 0.0, 0.0, 0.0]);
    assert_eq!(pruned.stored_bytes(), 4 * 7 + 12 * 4);
}

#[test]
fn special_values_survive() {
    let values = [f32::NAN, f32::INFINITY, -0.0, f32::MIN_POSITIVE / 2.0];
    for text in ["dense", "csr", "bitmap", "bsr<2,2>", "nm<2,2>", "hyb<2,2,2>", "pruned<csr>"] {
        let stored = Stored::encode(&text.parse().unwrap(), 2, 2, &values).unwrap();
        let dense = stored.to_dense();
        assert!(dense[0].is_nan() && dense[1] == f32::INFINITY && dense[2] == 0.0 && dense[3] == values[3], "{text}");
        assert_eq!(stored.nnz(), 3, "{text}");
    }
}

/// The bytes that `docs/formats.md` works out.
#[test]
fn sizes() {
    let (rows, cols, values) = worked_example();
    let pattern = Pattern::of(rows, cols, &values).unwrap();
    let bytes = |text: &str| text.parse::<Format>().unwrap().stored_bytes(&pattern, 4).unwrap();
    assert_eq!(bytes("dense"), 128);
    assert_eq!(bytes("csr"), 62);
    assert_eq!(bytes("bitmap"), 74);
    assert_eq!(bytes("bsr<2,1>"), 72);
    assert_eq!(bytes("nm<2,4>"), 68);
    assert_eq!(bytes("hyb<4,1,2>"), 128);
    assert_eq!(bytes("pruned<dense>"), 76);
}
