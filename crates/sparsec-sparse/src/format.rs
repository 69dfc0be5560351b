//! The names of the storage formats and their parameters.
//!
//! A [`Format`] is a choice, not data: the cost model compares formats, `inspect` prints them, and the command line
//! takes them as text (see `format_text.rs` for the grammar). [`crate::Stored`] holds a matrix in one.

use crate::error::FormatError;

/// Largest R or C of a `bsr` block.
pub const MAX_BLOCK: u32 = 256;
/// Largest M of `nm`, so that a selector fits a byte.
pub const MAX_NM: u32 = 256;
/// Widest partition of `hyb`, so that a column within it fits 16 bits.
pub const MAX_PARTITION: u32 = 1 << 16;
/// Largest length rounding and group height of `hyb`.
pub const MAX_HYB_ROWS: u32 = 64;

/// A way to store a weight matrix.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Every element, row by row: `dense`.
    Dense,
    /// Compressed sparse rows: `csr`.
    Csr,
    /// Aligned blocks of `r` outputs x `c` inputs: `bsr<4,1>`.
    Bsr {
        /// Outputs (rows) in a block.
        r: u32,
        /// Inputs (columns) in a block.
        c: u32,
    },
    /// Tiles of 16 x 16 with a bit for each entry and their nonzeros: `bitmap`.
    Bitmap,
    /// `n` values for every aligned group of `m` columns: `nm<2,4>`.
    Nm {
        /// Values kept in a group.
        n: u32,
        /// Columns in a group.
        m: u32,
    },
    /// Columns cut into partitions, rows of a partition bucketed by length: `hyb<256,4,2>`.
    Hyb {
        /// Columns in a partition.
        partition: u32,
        /// Row lengths are rounded up to a multiple of this.
        bucket: u32,
        /// Rows in flight: a kernel works on a group of this many rows of equal length.
        rows: u32,
    },
    /// Zero rows and zero columns removed, the rest in another format: `pruned<dense>`.
    Pruned(Box<Format>),
}

impl Format {
    /// `pruned<inner>`.
    pub fn pruned(inner: Self) -> Self {
        Self::Pruned(Box::new(inner))
    }

    /// Checks the ranges of the parameters: blocks from 1 to [`MAX_BLOCK`], `1 <= n <= m <=` [`MAX_NM`], partitions
    /// from 1 to [`MAX_PARTITION`], bucket and rows from 1 to [`MAX_HYB_ROWS`], no `pruned` inside `pruned`.
    ///
    /// # Errors
    /// [`FormatError::Parameter`].
    pub fn validate(&self) -> Result<(), FormatError> {
        let reason = match self {
            Self::Dense | Self::Csr | Self::Bitmap => return Ok(()),
            Self::Bsr { r, c } if !(1..=MAX_BLOCK).contains(r) || !(1..=MAX_BLOCK).contains(c) => {
                "R and C must be from 1 to 256"
            }
            Self::Nm { n, m } if !(1..=MAX_NM).contains(m) || !(1..=*m).contains(n) => {
                "N must be from 1 to M, and M at most 256"
            }
            Self::Hyb { partition, .. } if !(1..=MAX_PARTITION).contains(partition) => {
                "a partition must have from 1 to 65536 columns"
            }
            Self::Hyb { bucket, rows, .. }
                if !(1..=MAX_HYB_ROWS).contains(bucket) || !(1..=MAX_HYB_ROWS).contains(rows) =>
            {
                "the length rounding and the rows in flight must be from 1 to 64"
            }
            Self::Pruned(inner) if matches!(**inner, Self::Pruned(_)) => "a pruned matrix can't be pruned again",
            Self::Pruned(inner) => return inner.validate(),
            Self::Bsr { .. } | Self::Nm { .. } | Self::Hyb { .. } => return Ok(()),
        };
        Err(FormatError::Parameter { format: self.clone(), reason })
    }
}
