//! `dense`: every element, row by row.
//!
//! It pays when more than about a third of the elements are nonzero, since a dense kernel needs no indices and reuses
//! what it loads. The worked example stores all 32 elements, zeros included.

use crate::element::Element;
use crate::error::FormatError;
use crate::pattern::check_shape;
use crate::storage::Storage;

/// A dense row-major matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense<T> {
    rows: usize,
    cols: usize,
    values: Vec<T>,
}

impl<T: Element> Dense<T> {
    /// Copies a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Shape`] or [`FormatError::TooLarge`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T]) -> Result<Self, FormatError> {
        check_shape(rows, cols, values.len())?;
        Ok(Self { rows, cols, values: values.to_vec() })
    }

    /// The elements, row by row.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T: Element> Storage<T> for Dense<T> {
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
        self.values.len() * T::BYTES
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        for (i, &value) in self.values.iter().enumerate() {
            visit(i / self.cols, i % self.cols, value);
        }
    }
}
