//! Bytes that a format takes.
//!
//! The prediction from a pattern and the count of a stored matrix share these formulas, and a test checks that both
//! agree. Index tables count as the narrowest width of 16 or 32 bits that holds their indices, row bounds and row
//! numbers as 32 bits, selectors as packed.

use crate::bitmap::{BITMAP_TILE, BITMAP_WORDS};
use crate::blocks::count_blocks;
use crate::error::FormatError;
use crate::format::Format;
use crate::hyb_plan::{HybParams, HybPlan};
use crate::pattern::Pattern;

impl Format {
    /// Bytes of values and index tables when a matrix with this pattern and elements of `elem_bytes` bytes is stored.
    ///
    /// # Errors
    /// What [`crate::Stored::encode`] would report: [`FormatError::Parameter`], [`FormatError::GroupTooFull`] or
    /// [`FormatError::TooLarge`].
    pub fn stored_bytes(&self, pattern: &Pattern, elem_bytes: usize) -> Result<usize, FormatError> {
        self.validate()?;
        let (rows, cols) = (pattern.rows(), pattern.cols());
        Ok(match self {
            Self::Dense => rows * cols * elem_bytes,
            Self::Csr => csr_bytes(rows, cols, check_entries(pattern, pattern.nnz())?, elem_bytes),
            &Self::Bsr { r, c } => {
                let blocks = count_blocks(pattern, r, c).nonempty;
                let (r, c) = (r as usize, c as usize);
                check_entries(pattern, blocks.saturating_mul(r * c))?;
                bsr_bytes(rows, cols, r, c, blocks, elem_bytes)
            }
            Self::Bitmap => {
                let tiles = count_blocks(pattern, BITMAP_TILE as u32, BITMAP_TILE as u32).nonempty;
                bitmap_bytes(rows, cols, tiles, check_entries(pattern, pattern.nnz())?, elem_bytes)
            }
            &Self::Nm { n, m } => {
                check_groups(pattern, n, m)?;
                let groups = rows.saturating_mul(cols.div_ceil(m as usize));
                let entries = check_entries(pattern, groups.saturating_mul(n as usize))?;
                nm_bytes(m as usize, entries, elem_bytes)
            }
            &Self::Hyb { partition, bucket, rows } => {
                HybPlan::of(pattern, HybParams::new(partition, bucket, rows))?.stored_bytes(elem_bytes)
            }
            Self::Pruned(inner) => {
                let kept = pattern.without_zero_rows_and_cols();
                pruned_bytes(kept.rows(), kept.cols(), inner.stored_bytes(&kept, elem_bytes)?)
            }
        })
    }
}

/// The first group of `m` columns with more than `n` nonzeros, as an error.
fn check_groups(pattern: &Pattern, n: u32, m: u32) -> Result<(), FormatError> {
    for (row, columns) in pattern.iter_rows().enumerate() {
        for group in columns.chunk_by(|a, b| a / m == b / m) {
            if group.len() > n as usize {
                let col = (group[0] / m * m) as usize;
                return Err(FormatError::GroupTooFull { n, m, row, col, count: group.len() });
            }
        }
    }
    Ok(())
}

/// Returns `entries` when positions fit 32 bits.
pub(crate) fn check_entries(pattern: &Pattern, entries: usize) -> Result<usize, FormatError> {
    check_total(pattern.rows(), pattern.cols(), entries)
}

/// Returns `entries` when positions fit 32 bits.
pub(crate) fn check_total(rows: usize, cols: usize, entries: usize) -> Result<usize, FormatError> {
    if entries > u32::MAX as usize { Err(FormatError::TooLarge { rows, cols, entries }) } else { Ok(entries) }
}

/// Bytes of an index that takes `count` different values.
pub(crate) fn index_bytes(count: usize) -> usize {
    if count <= 1 << 16 { 2 } else { 4 }
}

pub(crate) fn csr_bytes(rows: usize, cols: usize, nnz: usize, elem_bytes: usize) -> usize {
    4 * (rows + 1) + nnz * (index_bytes(cols) + elem_bytes)
}

pub(crate) fn bsr_bytes(rows: usize, cols: usize, r: usize, c: usize, blocks: usize, elem_bytes: usize) -> usize {
    4 * (rows.div_ceil(r) + 1) + blocks * (index_bytes(cols.div_ceil(c)) + r * c * elem_bytes)
}

/// Bounds of the rows of tiles; for each tile its column, where its values begin, and a bit an entry.
pub(crate) fn bitmap_bytes(rows: usize, cols: usize, tiles: usize, nnz: usize, elem_bytes: usize) -> usize {
    let tile = index_bytes(cols.div_ceil(BITMAP_TILE)) + 4 + 4 * BITMAP_WORDS;
    4 * (rows.div_ceil(BITMAP_TILE) + 1) + tiles * tile + nnz * elem_bytes
}

pub(crate) fn nm_bytes(m: usize, entries: usize, elem_bytes: usize) -> usize {
    entries * elem_bytes + entries.div_ceil(8 / selector_bits(m) as usize)
}

pub(crate) fn pruned_bytes(kept_rows: usize, kept_cols: usize, inner: usize) -> usize {
    4 * (kept_rows + kept_cols) + inner
}

/// Bits of a packed selector below `m`: 1, 2, 4 or 8, so that none straddles a byte.
pub(crate) fn selector_bits(m: usize) -> u32 {
    match m {
        0..=2 => 1,
        3..=4 => 2,
        5..=16 => 4,
        _ => 8,
    }
}
