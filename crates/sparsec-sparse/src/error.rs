//! What can go wrong when a matrix is stored, and when a format's name is read.

use crate::format::Format;

/// A matrix can't be stored in the wanted format, or a format's parameters or name are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The slice does not hold `rows * cols` elements, or that product overflows.
    #[error("a {rows} x {cols} matrix does not match a slice of {len} elements")]
    Shape {
        /// Rows that the caller named.
        rows: usize,
        /// Columns that the caller named.
        cols: usize,
        /// Elements in the slice.
        len: usize,
    },
    /// A dimension, or the number of stored entries, does not fit the 32-bit indices of the formats.
    #[error("a {rows} x {cols} matrix with {entries} stored entries is too large for 32-bit indices")]
    TooLarge {
        /// Rows of the matrix.
        rows: usize,
        /// Columns of the matrix.
        cols: usize,
        /// Entries that would be stored.
        entries: usize,
    },
    /// A group of M columns holds more than N nonzeros.
    #[error("nm<{n},{m}> can't store row {row}: the group of columns from {col} on holds {count} nonzeros")]
    GroupTooFull {
        /// Nonzeros that a group may hold.
        n: u32,
        /// Columns in a group.
        m: u32,
        /// Row of the group.
        row: usize,
        /// First column of the group.
        col: usize,
        /// Nonzeros found in it.
        count: usize,
    },
    /// A format's parameters are out of range.
    #[error("format `{format}`: {reason}")]
    Parameter {
        /// The format as given.
        format: Format,
        /// What is wrong, in words.
        reason: &'static str,
    },
    /// A text is not the name of a format.
    #[error("`{text}` is no format: {reason} (examples: dense, csr, bsr<4,1>, nm<2,4>, hyb<256,4,2>, pruned<dense>)")]
    Parse {
        /// The text, cut where it is long.
        text: String,
        /// What is wrong, in words.
        reason: &'static str,
    },
    /// The dense operand of a product has the wrong length.
    #[error("the dense operand has {len} elements where {cols} x {n} are needed")]
    Operand {
        /// Columns of the sparse matrix.
        cols: usize,
        /// Columns of the dense operand.
        n: usize,
        /// Elements that were given.
        len: usize,
    },
}

/// A [`crate::Pattern`] breaks one of its invariants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// `row_ptr` does not have `rows + 1` elements.
    #[error("row_ptr has {len} elements, {expected} are needed")]
    RowPtrLength {
        /// Elements found.
        len: usize,
        /// `rows + 1`.
        expected: usize,
    },
    /// `row_ptr` does not start at 0, decreases, or does not end at the number of column indices.
    #[error("row_ptr is not a partition of the {nnz} column indices at row {row}")]
    RowPtrOrder {
        /// First row whose bounds are wrong; `rows` when the end is wrong.
        row: usize,
        /// Number of column indices.
        nnz: usize,
    },
    /// A column index is not below `cols`.
    #[error("row {row} holds column {col}, the matrix has {cols}")]
    ColumnRange {
        /// Row of the index.
        row: usize,
        /// The index.
        col: u32,
        /// Columns of the matrix.
        cols: usize,
    },
    /// The column indices of a row do not increase strictly.
    #[error("the columns of row {row} do not increase at column {col}")]
    ColumnOrder {
        /// Row of the index.
        row: usize,
        /// The index that is not above the one before it.
        col: u32,
    },
}
