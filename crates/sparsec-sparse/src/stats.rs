//! Numbers about a pattern, for the cost model and for `inspect`.
//!
//! Everything here is a count or a ratio of counts; no statistic depends on values or on the order of threads.

use serde::Serialize;

use crate::blocks::count_blocks;
use crate::detect::{BLOCK_CANDIDATES, NM_CANDIDATES};
use crate::pattern::{Pattern, ratio};

/// What [`PatternStats::with_options`] looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatsOptions {
    /// Block shapes (R outputs, C inputs).
    pub blocks: Vec<(u32, u32)>,
    /// Group shapes (N kept, M consecutive inputs).
    pub nm: Vec<(u32, u32)>,
    /// Widths of column partitions.
    pub partitions: Vec<u32>,
}

impl Default for StatsOptions {
    /// The shapes that detection knows, and partitions of 128, 192 and 256 columns.
    fn default() -> Self {
        Self { blocks: BLOCK_CANDIDATES.to_vec(), nm: NM_CANDIDATES.to_vec(), partitions: vec![128, 192, 256] }
    }
}

/// Statistics of a pattern.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PatternStats {
    /// Outputs (M).
    pub rows: usize,
    /// Inputs (K).
    pub cols: usize,
    /// Nonzeros.
    pub nnz: usize,
    /// Nonzeros / elements, 0 for a matrix without elements.
    pub density: f64,
    /// Nonzeros of the rows.
    pub row_lengths: RowLengths,
    /// Rows without a nonzero.
    pub empty_rows: usize,
    /// Columns without a nonzero.
    pub empty_cols: usize,
    /// One entry for each block shape asked for, in that order.
    pub blocks: Vec<BlockStats>,
    /// One entry for each N:M asked for, in that order.
    pub nm: Vec<NmStats>,
    /// One entry for each partition width asked for, in that order.
    pub partitions: Vec<PartitionStats>,
}

/// How many nonzeros the rows have, empty rows included.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RowLengths {
    /// Nonzeros of the shortest row.
    pub min: usize,
    /// Mean over all rows.
    pub mean: f64,
    /// Nonzeros of the longest row.
    pub max: usize,
    /// Population standard deviation.
    pub stddev: f64,
    /// Number of different lengths.
    pub distinct: usize,
}

/// How well aligned `r` x `c` blocks cover a pattern.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BlockStats {
    /// Outputs in a block.
    pub r: u32,
    /// Inputs in a block.
    pub c: u32,
    /// Blocks with a nonzero.
    pub nonempty: usize,
    /// Nonzeros / stored elements of the nonempty blocks, padding at the borders included.
    pub fill: f64,
    /// Nonempty blocks / blocks.
    pub density: f64,
}

/// How a pattern stands to N:M.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NmStats {
    /// Nonzeros allowed in a group.
    pub n: u32,
    /// Columns of a group.
    pub m: u32,
    /// Whether every aligned group holds at most `n`.
    pub conforms: bool,
    /// Groups that hold more than `n`.
    pub violations: usize,
    /// Nonzeros that fit (at most `n` a group) / `n` slots of all groups, of rows that are not empty.
    pub fill: f64,
}

/// What is left of the rows when the columns are cut into partitions of equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PartitionStats {
    /// Columns in a partition.
    pub width: u32,
    /// Density of each partition from left to right.
    pub fill: Vec<f64>,
    /// (row, partition) pairs with a nonzero: how often a kernel loads and stores a row of Y.
    pub segments: usize,
    /// Entries when the length of each segment is rounded up to a multiple of 2.
    pub entries_by_2: usize,
    /// Entries when the length of each segment is rounded up to a multiple of 4.
    pub entries_by_4: usize,
}

impl PatternStats {
    /// Statistics with the default options.
    pub fn of(pattern: &Pattern) -> Self {
        Self::with_options(pattern, &StatsOptions::default())
    }

    /// Statistics for the block shapes, N:M and partition widths of `options`; zeros among these are taken as 1.
    pub fn with_options(pattern: &Pattern, options: &StatsOptions) -> Self {
        Self {
            rows: pattern.rows(),
            cols: pattern.cols(),
            nnz: pattern.nnz(),
            density: pattern.density(),
            row_lengths: RowLengths::of(pattern),
            empty_rows: pattern.zero_rows().len(),
            empty_cols: pattern.zero_cols().len(),
            blocks: options.blocks.iter().map(|&(r, c)| BlockStats::of(pattern, r, c)).collect(),
            nm: options.nm.iter().map(|&(n, m)| NmStats::of(pattern, n, m)).collect(),
            partitions: options.partitions.iter().map(|&width| PartitionStats::of(pattern, width)).collect(),
        }
    }
}

impl RowLengths {
    /// Statistics of the row lengths; all zero for a matrix without rows.
    pub fn of(pattern: &Pattern) -> Self {
        let mut lengths: Vec<usize> = pattern.iter_rows().map(<[u32]>::len).collect();
        lengths.sort_unstable();
        let mean = ratio(pattern.nnz(), pattern.rows());
        let squares: f64 = lengths.iter().map(|&len| (len as f64 - mean).powi(2)).sum();
        let stddev = if lengths.is_empty() { 0.0 } else { (squares / lengths.len() as f64).sqrt() };
        let (min, max) = (lengths.first().copied().unwrap_or(0), lengths.last().copied().unwrap_or(0));
        lengths.dedup();
        Self { min, mean, max, stddev, distinct: lengths.len() }
    }
}

impl BlockStats {
    /// Statistics of the aligned `r` x `c` blocks.
    pub fn of(pattern: &Pattern, r: u32, c: u32) -> Self {
        let (r, c) = (r.max(1), c.max(1));
        let census = count_blocks(pattern, r, c);
        let stored = census.nonempty.saturating_mul(r as usize * c as usize);
        let (fill, density) = (ratio(census.nnz, stored), ratio(census.nonempty, census.total));
        Self { r, c, nonempty: census.nonempty, fill, density }
    }
}

impl NmStats {
    /// Statistics of the aligned groups of `m` columns. A short last group has `min(n, its columns)` slots.
    pub fn of(pattern: &Pattern, n: u32, m: u32) -> Self {
        let (n, m) = (n.max(1), m.max(1));
        let (limit, width) = (n as usize, m as usize);
        let slots_of_row = pattern.cols() / width * limit.min(width) + limit.min(pattern.cols() % width);
        let (mut violations, mut fitting, mut slots) = (0, 0, 0);
        for columns in pattern.iter_rows().filter(|columns| !columns.is_empty()) {
            slots += slots_of_row;
            for group in columns.chunk_by(|a, b| a / m == b / m) {
                fitting += group.len().min(limit);
                violations += usize::from(group.len() > limit);
            }
        }
        Self { n, m, conforms: violations == 0, violations, fill: ratio(fitting, slots) }
    }
}

impl PartitionStats {
    /// Statistics of partitions of `width` columns; the last one may be narrower.
    pub fn of(pattern: &Pattern, width: u32) -> Self {
        let width = width.max(1);
        let mut counts = vec![0usize; pattern.cols().div_ceil(width as usize)];
        let (mut segments, mut entries_by_2, mut entries_by_4) = (0, 0, 0);
        for columns in pattern.iter_rows() {
            for segment in columns.chunk_by(|a, b| a / width == b / width) {
                counts[(segment[0] / width) as usize] += segment.len();
                segments += 1;
                entries_by_2 += segment.len().next_multiple_of(2);
                entries_by_4 += segment.len().next_multiple_of(4);
            }
        }
        let starts = (0..pattern.cols()).step_by(width as usize);
        let widths = starts.map(|start| (width as usize).min(pattern.cols() - start));
        let fill = counts.iter().zip(widths).map(|(&count, cols)| ratio(count, pattern.rows() * cols)).collect();
        Self { width, fill, segments, entries_by_2, entries_by_4 }
    }
}
