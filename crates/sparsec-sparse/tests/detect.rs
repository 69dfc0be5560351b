//! The kind of sparsity that is read from a pattern.

mod common;

use common::{Random, random_mask, worked_example};
use sparsec_sparse::{Pattern, PatternKind, PatternStats, StatsOptions, detect};

fn kind(rows: usize, cols: usize, values: &[f32]) -> PatternKind {
    detect(&Pattern::of(rows, cols, values).unwrap())
}

/// Aligned blocks, each kept with probability `density`.
fn blocks(rows: usize, cols: usize, r: usize, c: usize, density: f64, seed: u64) -> Vec<f32> {
    let mask = random_mask(rows.div_ceil(r), cols.div_ceil(c), density, seed);
    (0..rows * cols).map(|i| mask[i / cols / r * cols.div_ceil(c) + i % cols / c]).collect()
}

/// `n` of every `m` columns, at random.
fn n_of_m(rows: usize, cols: usize, n: usize, m: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let mut values = vec![0.0; rows * cols];
    for group in values.chunks_mut(cols).flat_map(|line| line.chunks_mut(m)) {
        let mut left = n.min(group.len());
        while left > 0 {
            let slot = random.below(group.len());
            left -= usize::from(group[slot] == 0.0);
            group[slot] = 1.0;
        }
    }
    values
}

/// Zeros a share of the nonzeros, as a weight that is kept and happens to be zero.
fn knock_out(mut values: Vec<f32>, share: f64, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    values.iter_mut().for_each(|value| *value *= f32::from(u8::from(random.unit() >= share)));
    values
}

#[test]
fn random_is_unstructured_at_every_density() {
    for seed in 0..4 {
        for density in [0.005, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9] {
            for (rows, cols) in [(64, 64), (512, 128), (33, 77), (768, 768), (10, 576), (3, 40), (1, 300), (300, 1)] {
                let values = random_mask(rows, cols, density, seed);
                // The smallest matrices may by chance have no nonzeros or hardly a zero.
                let drawn = values.iter().sum::<f32>() / values.len() as f32;
                if drawn > 0.0 && drawn < 0.95 {
                    assert_eq!(kind(rows, cols, &values), PatternKind::Unstructured, "{rows} x {cols} at {density}");
                }
            }
        }
    }
}

#[test]
fn dense_and_zero() {
    assert_eq!(kind(64, 64, &[1.0; 4096]), PatternKind::Dense);
    assert_eq!(kind(64, 64, &random_mask(64, 64, 0.97, 1)), PatternKind::Dense);
    assert_eq!(kind(1, 1, &[1.0]), PatternKind::Dense);
    assert_eq!(kind(64, 64, &[0.0; 4096]), PatternKind::Zero);
    assert_eq!(kind(0, 5, &[]), PatternKind::Zero);
}

#[test]
fn blocks_of_every_candidate() {
    for (r, c) in sparsec_sparse::BLOCK_CANDIDATES {
        for density in [0.1, 0.2, 0.5] {
            let expected = PatternKind::Block { r, c };
            let values = blocks(256, 512, r as usize, c as usize, density, 3);
            assert_eq!(kind(256, 512, &values), expected, "{r} x {c} at {density}");
            assert_eq!(kind(256, 512, &knock_out(values, 0.005, 5)), expected, "{r} x {c} at {density}, some zero");
        }
    }
    // Shapes that no block size divides.
    assert_eq!(kind(66, 147, &blocks(66, 147, 4, 1, 0.2, 1)), PatternKind::Block { r: 4, c: 1 });
}

#[test]
fn n_of_m_of_every_candidate() {
    for (n, m) in sparsec_sparse::NM_CANDIDATES {
        let values = n_of_m(64, 256, n as usize, m as usize, 9);
        let expected = PatternKind::NM { n, m };
        assert_eq!(kind(64, 256, &values), expected, "{n}:{m}");
        assert_eq!(kind(64, 256, &knock_out(values, 0.01, 2)), expected, "{n}:{m}, some zero");
    }
    // A short last group, and rows of zeros, do not hide it.
    let mut values = n_of_m(64, 147, 2, 4, 4);
    values[..147 * 20].fill(0.0);
    assert_eq!(kind(64, 147, &values), PatternKind::NM { n: 2, m: 4 });
    // One group with one too many does.
    let mut values = n_of_m(64, 256, 2, 4, 4);
    values[8..12].fill(1.0);
    assert_eq!(kind(64, 256, &values), PatternKind::Unstructured);
}

#[test]
fn sparse_groups_are_not_n_of_m() {
    // At most two of four everywhere, but mostly fewer: a random pattern with the excess removed.
    let mut values = random_mask(128, 256, 0.1, 6);
    for group in values.chunks_mut(4) {
        group.iter_mut().filter(|value| **value != 0.0).skip(2).for_each(|value| *value = 0.0);
    }
    assert_eq!(kind(128, 256, &values), PatternKind::Unstructured);
    // A few groups testify to nothing.
    assert_eq!(kind(1, 8, &[1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]), PatternKind::Unstructured);
}

#[test]
fn channels() {
    let mut values = vec![1.0; 64 * 144];
    for row in (0..64).step_by(2) {
        values[row * 144..(row + 1) * 144].fill(0.0);
    }
    assert_eq!(kind(64, 144, &values), PatternKind::Channel { rows_kept: 32, cols_kept: 144 });
    // Input channels of a 3 x 3 convolution: the same columns at each of the nine kernel positions.
    for (i, value) in values.iter_mut().enumerate() {
        *value *= f32::from(u8::from(i % 16 < 12));
    }
    assert_eq!(kind(64, 144, &values), PatternKind::Channel { rows_kept: 32, cols_kept: 108 });
    assert_eq!(
        kind(64, 144, &knock_out(values, 0.01, 1)),
        PatternKind::Channel { rows_kept: 32, cols_kept: 108 },
        "kept weights may be zero"
    );
    // Zero rows that happen to form blocks are still channels.
    let mut values = vec![1.0; 64 * 64];
    values[..32 * 64].fill(0.0);
    assert_eq!(kind(64, 64, &values), PatternKind::Channel { rows_kept: 32, cols_kept: 64 });
    // Removing channels from a random pattern leaves a random pattern.
    let mut values = random_mask(64, 64, 0.3, 8);
    values[..32 * 64].fill(0.0);
    assert_eq!(kind(64, 64, &values), PatternKind::Unstructured);
    // One dead channel of 64 is not worth a format.
    let mut values = vec![1.0; 64 * 64];
    values[..64].fill(0.0);
    assert_eq!(kind(64, 64, &values), PatternKind::Dense);
}

#[test]
fn kinds_have_a_text_and_json() {
    let texts = [
        (PatternKind::Dense, "dense", r#"{"kind":"dense"}"#),
        (PatternKind::Unstructured, "unstructured", r#"{"kind":"unstructured"}"#),
        (PatternKind::Block { r: 4, c: 1 }, "block<4,1>", r#"{"kind":"block","r":4,"c":1}"#),
        (PatternKind::NM { n: 2, m: 4 }, "nm<2,4>", r#"{"kind":"nm","n":2,"m":4}"#),
        (
            PatternKind::Channel { rows_kept: 8, cols_kept: 9 },
            "channel<8,9>",
            r#"{"kind":"channel","rows_kept":8,"cols_kept":9}"#,
        ),
        (PatternKind::Zero, "zero", r#"{"kind":"zero"}"#),
    ];
    for (kind, text, json) in texts {
        assert_eq!(kind.to_string(), text);
        assert_eq!(serde_json::to_string(&kind).unwrap(), json);
    }
}

#[test]
fn statistics_of_the_worked_example() {
    let (rows, cols, values) = worked_example();
    let pattern = Pattern::of(rows, cols, &values).unwrap();
    let options = StatsOptions { blocks: vec![(2, 1), (4, 3)], nm: vec![(2, 4), (1, 4)], partitions: vec![4, 5] };
    let stats = PatternStats::with_options(&pattern, &options);
    assert_eq!((stats.rows, stats.cols, stats.nnz), (4, 8, 7));
    assert_eq!((stats.empty_rows, stats.empty_cols), (1, 4));
    let lengths = &stats.row_lengths;
    assert_eq!((lengths.min, lengths.max, lengths.distinct), (0, 3, 3));
    assert_eq!((lengths.mean, lengths.stddev), (1.75, 1.6875f64.sqrt()));
    let blocks: Vec<_> = stats.blocks.iter().map(|b| (b.nonempty, b.fill, b.density)).collect();
    assert_eq!(blocks, [(6, 7.0 / 12.0, 6.0 / 16.0), (3, 7.0 / 36.0, 1.0)]);
    let nm: Vec<_> = stats.nm.iter().map(|s| (s.conforms, s.violations, s.fill)).collect();
    assert_eq!(nm, [(true, 0, 7.0 / 12.0), (false, 2, 5.0 / 6.0)]);
    let partitions: Vec<_> = stats.partitions.iter().map(|p| (p.segments, p.entries_by_2, p.entries_by_4)).collect();
    assert_eq!(partitions, [(5, 10, 20), (5, 10, 20)]);
    assert_eq!(stats.partitions[0].fill, [5.0 / 16.0, 2.0 / 16.0]);
    assert_eq!(stats.partitions[1].fill, [5.0 / 20.0, 2.0 / 12.0]);
    let json: serde_json::Value = serde_json::to_value(&stats).unwrap();
    assert_eq!(json["blocks"][0]["fill"], 7.0 / 12.0);
}

#[test]
fn statistics_of_nothing() {
    let stats = PatternStats::of(&Pattern::of::<f32>(0, 0, &[]).unwrap());
    assert_eq!((stats.density, stats.row_lengths.mean, stats.row_lengths.stddev), (0.0, 0.0, 0.0));
    assert!(stats.blocks.iter().all(|blocks| blocks.fill == 0.0));
    assert!(stats.partitions.iter().all(|partition| partition.fill.is_empty()));
}
