//! `pruned<F>`: zero rows and zero columns removed, the rest stored as F.
//!
//! A zero row is a constant output and a zero column an input that nobody reads, so a channel-pruned weight is a
//! smaller weight, usually a dense one. It pays when the kept rows and columns leave a real share out and what is left
//! suits F. The worked example as `pruned<dense>`:
//!
//! ```text
//! kept_rows  0 2 3            inner  [ 1 2 3 . ]
//! kept_cols  0 2 5 7                 [ 4 5 . 6 ]
//!                                    [ 7 . . . ]
//! ```

use crate::element::Element;
use crate::error::FormatError;
use crate::format::Format;
use crate::pattern::Pattern;
use crate::size::pruned_bytes;
use crate::storage::Storage;
use crate::stored::Stored;

/// The nonzero rows and columns of a matrix, stored in another format.
#[derive(Debug, Clone, PartialEq)]
pub struct Pruned<T> {
    rows: usize,
    cols: usize,
    kept_rows: Vec<u32>,
    kept_cols: Vec<u32>,
    inner: Box<Stored<T>>,
}

impl<T: Element> Pruned<T> {
    /// Removes the zero rows and columns of a dense row-major matrix and stores the rest as `inner`.
    ///
    /// # Errors
    /// [`FormatError::Parameter`] when `inner` is itself pruned, [`FormatError::Shape`], [`FormatError::TooLarge`],
    /// and the errors of the inner format, whose rows and columns count within the reduced matrix.
    pub fn from_dense(rows: usize, cols: usize, values: &[T], inner: &Format) -> Result<Self, FormatError> {
        Format::pruned(inner.clone()).validate()?;
        let pattern = Pattern::of(rows, cols, values)?;
        let (kept_rows, kept_cols) = (pattern.kept_rows(), pattern.kept_cols());
        let mut reduced = Vec::with_capacity(kept_rows.len() * kept_cols.len());
        for &row in &kept_rows {
            let line = &values[row as usize * cols..(row as usize + 1) * cols];
            reduced.extend(kept_cols.iter().map(|&col| line[col as usize]));
        }
        let inner = Box::new(Stored::encode(inner, kept_rows.len(), kept_cols.len(), &reduced)?);
        Ok(Self { rows, cols, kept_rows, kept_cols, inner })
    }

    /// The nonzero rows, increasing: row `i` of the inner matrix is row `kept_rows[i]`.
    pub fn kept_rows(&self) -> &[u32] {
        &self.kept_rows
    }

    /// The nonzero columns, increasing: column `j` of the inner matrix is column `kept_cols[j]`.
    pub fn kept_cols(&self) -> &[u32] {
        &self.kept_cols
    }

    /// The reduced matrix.
    pub fn inner(&self) -> &Stored<T> {
        &self.inner
    }
}

impl<T: Element> Storage<T> for Pruned<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn stored_entries(&self) -> usize {
        self.inner.stored_entries()
    }

    fn stored_bytes(&self) -> usize {
        pruned_bytes(self.kept_rows.len(), self.kept_cols.len(), self.inner.stored_bytes())
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        self.inner.for_each_entry(&mut |row, col, value| {
            visit(self.kept_rows[row] as usize, self.kept_cols[col] as usize, value);
        });
    }
}
