//! `bsr<R,C>`: aligned blocks of R outputs x C inputs, empty blocks left out.
//!
//! One index serves R x C values, and one load of x updates R outputs, so a kernel broadcasts x and needs no gather
//! along the outputs. It pays when the nonempty blocks are nearly full, which only pruning by blocks achieves.
//! Within a block the R outputs are fastest: for each of the C columns, R consecutive values. Rows and columns that
//! stick out of the matrix are zeros. The worked example as `bsr<2,1>`:
//!
//! ```text
//! block row 0 = rows 0, 1     block row 1 = rows 2, 3
//! row_ptr   0             3             6
//! col_idx   0    2    5    0    2    7
//! values    1 0  2 0  3 0  4 7  5 0  6 0
//! ```

use crate::blocks::for_each_block_row;
use crate::element::Element;
use crate::error::FormatError;
use crate::format::Format;
use crate::pattern::Pattern;
use crate::size::{bsr_bytes, check_entries};
use crate::storage::Storage;

/// Block compressed sparse rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Bsr<T> {
    rows: usize,
    cols: usize,
    r: usize,
    c: usize,
    row_ptr: Vec<u32>,
    col_idx: Vec<u32>,
    values: Vec<T>,
}

impl<T: Element> Bsr<T> {
    /// Stores the nonempty `r` x `c` blocks of a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Shape`], [`FormatError::TooLarge`], or [`FormatError::Parameter`] when `r` or `c` is 0 or above
    /// [`crate::MAX_BLOCK`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T], r: u32, c: u32) -> Result<Self, FormatError> {
        Format::Bsr { r, c }.validate()?;
        let pattern = Pattern::of(rows, cols, values)?;
        let (r, c) = (r as usize, c as usize);
        let mut row_ptr = vec![0usize];
        let mut col_idx = Vec::new();
        for_each_block_row(&pattern, r, c, |_, block_cols| {
            col_idx.extend_from_slice(block_cols);
            row_ptr.push(col_idx.len());
        });
        check_entries(&pattern, col_idx.len().saturating_mul(r * c))?;
        let mut stored = vec![T::default(); col_idx.len() * r * c];
        for block_row in 0..row_ptr.len() - 1 {
            for block in row_ptr[block_row]..row_ptr[block_row + 1] {
                let (row0, col0) = (block_row * r, col_idx[block] as usize * c);
                for row in row0..(row0 + r).min(rows) {
                    for col in col0..(col0 + c).min(cols) {
                        stored[block * r * c + (col - col0) * r + (row - row0)] = values[row * cols + col];
                    }
                }
            }
        }
        let row_ptr = row_ptr.into_iter().map(|bound| bound as u32).collect();
        Ok(Self { rows, cols, r, c, row_ptr, col_idx, values: stored })
    }

    /// Outputs in a block (R).
    pub fn block_rows(&self) -> usize {
        self.r
    }

    /// Inputs in a block (C).
    pub fn block_cols(&self) -> usize {
        self.c
    }

    /// Bounds of the rows of blocks in [`Bsr::col_idx`]: `ceil(rows / R) + 1` elements.
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// Block columns, increasing within a row of blocks; the first column of block `b` is `col_idx[b] * C`.
    pub fn col_idx(&self) -> &[u32] {
        &self.col_idx
    }

    /// Values, R x C for each block, the R outputs fastest.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The values of block `block`: `R * C` elements, or none when there is no such block.
    pub fn block(&self, block: usize) -> &[T] {
        let size = self.r * self.c;
        self.values.chunks_exact(size).nth(block).unwrap_or(&[])
    }
}

impl<T: Element> Storage<T> for Bsr<T> {
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
        bsr_bytes(self.rows, self.cols, self.r, self.c, self.col_idx.len(), T::BYTES)
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        let size = self.r * self.c;
        for (block_row, bounds) in self.row_ptr.windows(2).enumerate() {
            for block in bounds[0] as usize..bounds[1] as usize {
                let col0 = self.col_idx[block] as usize * self.c;
                for (i, &value) in self.values[block * size..(block + 1) * size].iter().enumerate() {
                    let (row, col) = (block_row * self.r + i % self.r, col0 + i / self.r);
                    if row < self.rows && col < self.cols {
                        visit(row, col, value);
                    }
                }
            }
        }
    }
}
