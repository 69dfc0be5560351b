//! Which aligned blocks of a pattern are not empty.
//!
//! Statistics, detection and the `bsr` format all cut the matrix into aligned R x C blocks and look at the same
//! thing; this module walks the blocks once for all of them.

use crate::pattern::{Pattern, ratio};

/// Counts of the aligned R x C blocks of a pattern. Blocks at the lower and right border may stick out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockCensus {
    /// All blocks, empty ones included.
    pub total: usize,
    /// Blocks with at least one nonzero.
    pub nonempty: usize,
    /// Elements of the matrix inside nonempty blocks; what sticks out is not counted.
    pub covered: usize,
    /// Nonzeros of the pattern.
    pub nnz: usize,
}

impl BlockCensus {
    /// Nonzeros / elements of the matrix inside nonempty blocks; 1 when all blocks are full or empty.
    pub fn covered_fill(&self) -> f64 {
        ratio(self.nnz, self.covered)
    }
}

/// Counts the aligned `r` x `c` blocks of a pattern; a zero in `r` or `c` is taken as 1.
pub fn count_blocks(pattern: &Pattern, r: u32, c: u32) -> BlockCensus {
    let (r, c) = (r.max(1) as usize, c.max(1) as usize);
    let (rows, cols) = (pattern.rows(), pattern.cols());
    let total = rows.div_ceil(r) * cols.div_ceil(c);
    let mut census = BlockCensus { total, nonempty: 0, covered: 0, nnz: pattern.nnz() };
    // Only the last block of a row of blocks can be narrower.
    let (last, short) = (cols.div_ceil(c).saturating_sub(1) as u32, cols.next_multiple_of(c) - cols);
    walk_block_rows(pattern, r, c, |block_row, block_cols| {
        let height = r.min(rows - block_row * r);
        let missing = if short > 0 && block_cols.contains(&last) { short } else { 0 };
        census.nonempty += block_cols.len();
        census.covered += height * (block_cols.len() * c - missing);
    });
    census
}

/// Calls `visit(block row, nonempty block columns in increasing order)` for every row of blocks.
pub(crate) fn for_each_block_row(pattern: &Pattern, r: usize, c: usize, mut visit: impl FnMut(usize, &[u32])) {
    walk_block_rows(pattern, r, c, |block_row, block_cols| {
        block_cols.sort_unstable();
        visit(block_row, block_cols);
    });
}

/// Calls `visit(block row, nonempty block columns in the order of their first nonzero)` for every row of blocks.
fn walk_block_rows(pattern: &Pattern, r: usize, c: usize, mut visit: impl FnMut(usize, &mut [u32])) {
    // The row of blocks that saw a block column last, plus one; rows of blocks are below 2^32.
    let mut seen = vec![0u32; pattern.cols().div_ceil(c)];
    let mut found: Vec<u32> = Vec::new();
    let width = c as u32;
    for block_row in 0..pattern.rows().div_ceil(r) {
        let stamp = block_row as u32 + 1;
        found.clear();
        for row in block_row * r..((block_row + 1) * r).min(pattern.rows()) {
            for &col in pattern.row(row) {
                let block = col / width;
                let last = &mut seen[block as usize];
                if *last != stamp {
                    *last = stamp;
                    found.push(block);
                }
            }
        }
        visit(block_row, &mut found);
    }
}
