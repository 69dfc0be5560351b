//! What all stored matrices can do.
//!
//! A format only has to list its entries. Going back to dense and the reference product follow from that list, so
//! the oracle is the same few lines for every format and can't share a mistake with a kernel.

use crate::element::Element;
use crate::error::FormatError;

/// A matrix stored in some format.
pub trait Storage<T: Element> {
    /// Rows (outputs, M) of the matrix that was stored.
    fn rows(&self) -> usize;

    /// Columns (inputs, K) of the matrix that was stored.
    fn cols(&self) -> usize;

    /// Entries in memory, padding included: what a kernel multiplies.
    fn stored_entries(&self) -> usize;

    /// Bytes of values and index tables, counted as [`crate::Format::stored_bytes`] predicts them.
    fn stored_bytes(&self) -> usize;

    /// Calls `visit(row, column, value)` for every stored entry in the order of memory.
    ///
    /// Padding appears as zero values, possibly at the position of another entry. Padding outside the matrix is left
    /// out.
    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T));

    /// The dense row-major matrix: `rows * cols` elements, equal to what was stored.
    fn to_dense(&self) -> Vec<T> {
        let cols = self.cols();
        let mut dense = vec![T::default(); self.rows() * cols];
        self.for_each_entry(&mut |row, col, value| {
            if !value.is_zero() {
                dense[row * cols + col] = value;
            }
        });
        dense
    }

    /// Nonzeros among the stored entries.
    fn nnz(&self) -> usize {
        let mut count = 0;
        self.for_each_entry(&mut |_, _, value| count += usize::from(!value.is_zero()));
        count
    }

    /// Reference product `Y = W X`: `x` is `cols` x `n` row-major, the result is `rows` x `n` row-major.
    ///
    /// It accumulates in `f64` and rounds once. Zeros are skipped, so an infinity or NaN in `x` reaches only the rows
    /// that have a nonzero there.
    ///
    /// # Errors
    /// [`FormatError::Operand`] when `x` does not hold `cols * n` elements.
    fn matmul(&self, x: &[f32], n: usize) -> Result<Vec<f32>, FormatError> {
        let cols = self.cols();
        if cols.checked_mul(n) != Some(x.len()) {
            return Err(FormatError::Operand { cols, n, len: x.len() });
        }
        let mut y = vec![0f64; self.rows() * n];
        self.for_each_entry(&mut |row, col, value| {
            if !value.is_zero() {
                let weight = value.to_f64();
                for (sum, &input) in y[row * n..(row + 1) * n].iter_mut().zip(&x[col * n..(col + 1) * n]) {
                    *sum += weight * f64::from(input);
                }
            }
        });
        Ok(y.into_iter().map(|sum| sum as f32).collect())
    }
}
