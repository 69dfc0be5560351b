//! `csr`: compressed sparse rows.
//!
//! Each row keeps its nonzeros with their columns, in increasing order. It pays for a matrix with few columns or few
//! nonzeros, where cutting the columns into partitions (`hyb`) would leave segments of one or two entries, and it
//! stores no padding at all. The worked example:
//!
//! ```text
//! row_ptr   0     3  3     6  7
//! col_idx   0 2 5    0 2 7 0
//! values    1 2 3    4 5 6 7
//! ```

use crate::element::Element;
use crate::error::FormatError;
use crate::pattern::Pattern;
use crate::size::{check_entries, csr_bytes};
use crate::storage::Storage;

/// Compressed sparse rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Csr<T> {
    rows: usize,
    cols: usize,
    row_ptr: Vec<u32>,
    col_idx: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> Csr<T> {
    /// Stores the nonzeros of a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Shape`] or [`FormatError::TooLarge`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T]) -> Result<Self, FormatError> {
        let pattern = Pattern::of(rows, cols, values)?;
        check_entries(&pattern, pattern.nnz())?;
        Ok(Self {
            rows,
            cols,
            row_ptr: pattern.row_ptr().iter().map(|&bound| bound as u32).collect(),
            col_idx: pattern.col_idx().to_vec(),
            values: values.iter().copied().filter(|value| !value.is_zero()).collect(),
        })
    }

    /// Bounds of the rows in the other two arrays: `rows + 1` elements.
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// Columns of the nonzeros, increasing within a row.
    pub fn col_idx(&self) -> &[u32] {
        &self.col_idx
    }

    /// Values of the nonzeros, parallel to [`Csr::col_idx`].
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T: Element> Storage<T> for Csr<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn stored_entries(&self) -> usize {
        self.values.len()
    }

    fn stored_bytes(&self) -> usize {
        csr_bytes(self.rows, self.cols, self.values.len(), T::BYTES)
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        for (row, bounds) in self.row_ptr.windows(2).enumerate() {
            for entry in bounds[0] as usize..bounds[1] as usize {
                visit(row, self.col_idx[entry] as usize, self.values[entry]);
            }
        }
    }
}
