//! Which kind of sparsity a pattern has.
//!
//! Pruning tools leave no note of what they did, so the kind is read from the pattern. The questions are asked in
//! this order, and the first yes decides:
//!
//! 1. *Zero*: no nonzero at all.
//! 2. *Dense*: density of at least 0.95. A few stray zeros give no format anything to gain.
//! 3. *Channel*: zero rows and columns are at least 5 % of the matrix, and the rest has a density of at least 0.98,
//!    which a random pattern would have with a probability below 10^-6. Asked before blocks, since whole zero rows also
//!    look like blocks.
//! 4. *Block*: the nonempty blocks of some candidate shape have a fill of at least 0.98, and a random pattern of this
//!    density would show as many full blocks with a probability below 10^-6. The largest such shape wins; of equal
//!    areas the taller one, which shares each load of X between more outputs. Asked before N:M, since a block needs
//!    one index for all its elements.
//! 5. *N:M*: every aligned group of M columns holds at most N nonzeros, at least 0.95 N on average over the rows that
//!    are not empty, and at least 16 groups testify. The mean keeps a random pattern of low density, most of whose
//!    groups hold few nonzeros, from being taken for N:M. Candidates are asked in the order of [`NM_CANDIDATES`], the
//!    smallest M first, which says most.
//! 6. *Unstructured*: everything else.
//!
//! A block or N:M pruner may keep a weight that is itself zero; this is why fills are compared with 0.98 and 0.95
//! and not with 1.

use std::fmt;

use serde::Serialize;

use crate::blocks::{BlockCensus, count_blocks};
use crate::pattern::{Pattern, ratio};
use crate::stats::NmStats;

/// Block shapes (R outputs, C inputs) that detection knows, the preferred first; their sides are powers of two.
pub const BLOCK_CANDIDATES: [(u32, u32); 15] = [
    (32, 32),
    (16, 16),
    (8, 8),
    (32, 1),
    (1, 32),
    (16, 1),
    (4, 4),
    (1, 16),
    (8, 1),
    (1, 8),
    (4, 1),
    (2, 2),
    (1, 4),
    (2, 1),
    (1, 2),
];

/// N:M shapes (N kept of M consecutive inputs) that detection knows, in the order in which they are asked.
pub const NM_CANDIDATES: [(u32, u32); 8] = [(1, 2), (1, 4), (2, 4), (1, 8), (2, 8), (4, 8), (2, 16), (4, 16)];

const DENSE: f64 = 0.95;
const CHANNEL_REST: f64 = 0.98;
const CHANNEL_SHARE: f64 = 0.05;
const BLOCK_FILL: f64 = 0.98;
const CHANCE_LOG10: f64 = -6.0;
const NM_FILL: f64 = 0.95;
const NM_GROUPS: usize = 16;

/// The kind of sparsity of a weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum PatternKind {
    /// Hardly a zero.
    Dense,
    /// Nonzeros without a structure that a format could use.
    Unstructured,
    /// Aligned blocks, each full or empty.
    Block {
        /// Outputs in a block.
        r: u32,
        /// Inputs in a block.
        c: u32,
    },
    /// N of M consecutive inputs kept.
    #[serde(rename = "nm")]
    NM {
        /// Nonzeros that a group holds.
        n: u32,
        /// Columns of a group.
        m: u32,
    },
    /// Whole rows or columns are zero, the rest is dense.
    Channel {
        /// Rows with a nonzero.
        rows_kept: u32,
        /// Columns with a nonzero.
        cols_kept: u32,
    },
    /// No nonzero.
    Zero,
}

impl fmt::Display for PatternKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dense => f.write_str("dense"),
            Self::Unstructured => f.write_str("unstructured"),
            Self::Block { r, c } => write!(f, "block<{r},{c}>"),
            Self::NM { n, m } => write!(f, "nm<{n},{m}>"),
            Self::Channel { rows_kept, cols_kept } => write!(f, "channel<{rows_kept},{cols_kept}>"),
            Self::Zero => f.write_str("zero"),
        }
    }
}

/// The kind of sparsity of a pattern; see the module's source for the questions and their order.
///
/// All decisions are thresholds on counts, so equal patterns have equal kinds. A matrix without elements is
/// [`PatternKind::Zero`].
pub fn detect(pattern: &Pattern) -> PatternKind {
    if pattern.nnz() == 0 {
        PatternKind::Zero
    } else if pattern.density() >= DENSE {
        PatternKind::Dense
    } else {
        detect_channel(pattern)
            .or_else(|| detect_block(pattern))
            .or_else(|| detect_nm(pattern))
            .unwrap_or(PatternKind::Unstructured)
    }
}

fn detect_channel(pattern: &Pattern) -> Option<PatternKind> {
    let (rows_kept, cols_kept) = (pattern.kept_rows().len(), pattern.kept_cols().len());
    let rest = rows_kept * cols_kept;
    let removed = 1.0 - ratio(rest, pattern.rows() * pattern.cols());
    let is_channel = removed >= CHANNEL_SHARE && ratio(pattern.nnz(), rest) >= CHANNEL_REST;
    // As many nonzeros as keep the rows and columns alive are given; the others would all be there by chance.
    let free = rest - rows_kept.max(cols_kept);
    let is_channel = is_channel && free as f64 * pattern.density().log10() <= CHANCE_LOG10;
    is_channel.then_some(PatternKind::Channel { rows_kept: rows_kept as u32, cols_kept: cols_kept as u32 })
}

fn detect_block(pattern: &Pattern) -> Option<PatternKind> {
    // Cutting blocks into smaller aligned ones never lowers the fill, so pairs rule out most candidates at once.
    let fill = |r, c| count_blocks(pattern, r, c).covered_fill();
    let (has_tall, has_wide) = (fill(2, 1) >= BLOCK_FILL, fill(1, 2) >= BLOCK_FILL);
    let is_possible = |&&(r, c): &&(u32, u32)| (r == 1 || has_tall) && (c == 1 || has_wide);
    let is_block = |&&(r, c): &&(u32, u32)| {
        let census = count_blocks(pattern, r, c);
        census.covered_fill() >= BLOCK_FILL && chance_log10(&census, pattern.density()) <= CHANCE_LOG10
    };
    BLOCK_CANDIDATES.iter().filter(is_possible).find(is_block).map(|&(r, c)| PatternKind::Block { r, c })
}

/// The base-10 logarithm of the probability that all nonempty blocks of a random pattern of density `d` are full.
///
/// A block of `s` elements is full with probability d^s and not empty with 1 - (1 - d)^s. At the border `s` is the mean
/// number of elements inside the matrix, so a matrix of one row never testifies for blocks of four rows.
fn chance_log10(census: &BlockCensus, density: f64) -> f64 {
    let size = ratio(census.covered, census.nonempty);
    let not_empty = 1.0 - (1.0 - density).powf(size);
    census.nonempty as f64 * (size * density.log10() - not_empty.log10())
}

fn detect_nm(pattern: &Pattern) -> Option<PatternKind> {
    let full_rows = pattern.iter_rows().filter(|columns| !columns.is_empty()).count();
    let is_nm = |&&(n, m): &&(u32, u32)| {
        let stats = NmStats::of(pattern, n, m);
        full_rows * (pattern.cols() / m as usize) >= NM_GROUPS && stats.conforms && stats.fill >= NM_FILL
    };
    NM_CANDIDATES.iter().find(is_nm).map(|&(n, m)| PatternKind::NM { n, m })
}
