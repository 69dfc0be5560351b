//! Which weights a pattern keeps.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// A pattern of zeros to prune to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PrunePattern {
    /// `un:0.9`: this fraction of each tensor is zeroed, the smallest magnitudes first.
    Unstructured {
        /// Fraction of zeros.
        sparsity: f64,
    },
    /// `nm:2:4`: of each `group` consecutive weights along the inputs the `keep` largest stay.
    NOfM {
        /// How many stay.
        keep: usize,
        /// Of how many.
        group: usize,
    },
    /// `block:4:1:0.8`: whole blocks of `rows` outputs and `columns` inputs are zeroed, those of the smallest sum of
    /// magnitudes first.
    Block {
        /// Outputs of a block.
        rows: usize,
        /// Inputs of a block.
        columns: usize,
        /// Fraction of blocks that are zeroed.
        sparsity: f64,
    },
    /// `channel:0.5`: whole outputs are zeroed, those of the smallest sum of magnitudes first.
    Channel {
        /// Fraction of outputs that are zeroed.
        sparsity: f64,
    },
}

/// A text that names no pattern.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no pattern: write un:SPARSITY, nm:N:M, block:ROWS:COLUMNS:SPARSITY or channel:SPARSITY, \
     with a sparsity from 0 to 1, for example un:0.9 or nm:2:4"
)]
pub struct PatternError(String);

impl FromStr for PrunePattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        parse(text).ok_or_else(|| PatternError(text.to_owned()))
    }
}

fn parse(text: &str) -> Option<PrunePattern> {
    let fraction = |text: &str| text.parse::<f64>().ok().filter(|s| (0.0..=1.0).contains(s));
    let count = |text: &str| text.parse::<usize>().ok().filter(|&n| n > 0);
    Some(match *text.split(':').collect::<Vec<_>>().as_slice() {
        ["un", s] => PrunePattern::Unstructured { sparsity: fraction(s)? },
        ["nm", n, m] => {
            let (keep, group) = (count(n)?, count(m)?);
            (keep <= group).then_some(PrunePattern::NOfM { keep, group })?
        }
        ["block", r, c, s] => PrunePattern::Block { rows: count(r)?, columns: count(c)?, sparsity: fraction(s)? },
        ["channel", s] => PrunePattern::Channel { sparsity: fraction(s)? },
        _ => return None,
    })
}

impl fmt::Display for PrunePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PrunePattern::Unstructured { sparsity } => write!(f, "un:{sparsity}"),
            PrunePattern::NOfM { keep, group } => write!(f, "nm:{keep}:{group}"),
            PrunePattern::Block { rows, columns, sparsity } => write!(f, "block:{rows}:{columns}:{sparsity}"),
            PrunePattern::Channel { sparsity } => write!(f, "channel:{sparsity}"),
        }
    }
}

impl PrunePattern {
    /// Which elements of a matrix (row-major) stay; `None` where its extents do not fit the pattern.
    pub(super) fn keep(&self, matrix: &[f32], rows: usize, columns: usize) -> Option<Vec<bool>> {
        let magnitudes: Vec<f32> = matrix.iter().map(|v| v.abs()).collect();
        match *self {
            PrunePattern::Unstructured { sparsity } => Some(at_least_threshold(&magnitudes, sparsity)),
            PrunePattern::NOfM { keep, group } => columns
                .is_multiple_of(group)
                .then(|| magnitudes.chunks_exact(group).flat_map(|g| largest(g, keep)).collect()),
            PrunePattern::Block { rows: r, columns: c, sparsity } => {
                if !rows.is_multiple_of(r) || !columns.is_multiple_of(c) {
                    return None;
                }
                let across = columns / c;
                let mut norms = vec![0f32; rows / r * across];
                for (i, part) in magnitudes.chunks_exact(c).enumerate() {
                    let (row, block_column) = (i / across, i % across);
                    norms[row / r * across + block_column] += pairwise_sum(part);
                }
                let keep = at_least_threshold(&norms, sparsity);
                Some((0..matrix.len()).map(|i| keep[i / columns / r * across + i % columns / c]).collect())
            }
            PrunePattern::Channel { sparsity } => {
                let norms: Vec<f32> = magnitudes.chunks_exact(columns.max(1)).map(pairwise_sum).collect();
                let keep = at_least_threshold(&norms, sparsity);
                Some((0..matrix.len()).map(|i| keep[i / columns]).collect())
            }
        }
    }
}

/// Keeps the scores that are not among the smallest `sparsity` of all; equal ones stay together.
fn at_least_threshold(scores: &[f32], sparsity: f64) -> Vec<bool> {
    let count = (sparsity * scores.len() as f64) as usize;
    if count >= scores.len() {
        return vec![false; scores.len()];
    }
    let mut sorted = scores.to_vec();
    let (_, &mut threshold, _) = sorted.select_nth_unstable_by(count, f32::total_cmp);
    scores.iter().map(|&s| s >= threshold).collect()
}

/// Keeps the largest `keep` of a group; of equal ones the first.
fn largest(group: &[f32], keep: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..group.len()).collect();
    order.sort_by(|&a, &b| group[b].total_cmp(&group[a]));
    let mut kept = vec![false; group.len()];
    for &i in order.iter().take(keep) {
        kept[i] = true;
    }
    kept
}

/// The sum in `f32` by halves, in eight interleaved parts: the rounding of numpy, whose pruning scripts decide between
/// nearly equal channels by it.
fn pairwise_sum(values: &[f32]) -> f32 {
    match values.len() {
        0..8 => values.iter().fold(0.0, |sum, v| sum + v),
        8..=128 => {
            let mut parts = [0f32; 8];
            let chunks = values.chunks_exact(8);
            let rest = chunks.remainder();
            for chunk in chunks {
                for (part, v) in parts.iter_mut().zip(chunk) {
                    *part += v;
                }
            }
            let [a, b, c, d, e, f, g, h] = parts;
            rest.iter().fold(((a + b) + (c + d)) + ((e + f) + (g + h)), |sum, v| sum + v)
        }
        n => {
            let half = n / 2 - n / 2 % 8;
            let (left, right) = values.split_at(half);
            pairwise_sum(left) + pairwise_sum(right)
        }
    }
}
