//! Where the nonzeros of a matrix are, without their values.
//!
//! Everything that is decided while compiling - statistics, the kind of sparsity, the size in each format, the order
//! of rows - depends on the pattern alone, so it has a type of its own that does not know the element type. It is
//! held as compressed rows.
//!
//! The worked example of the crate: `row_ptr = [0, 3, 3, 6, 7]`, `col_idx = [0, 2, 5,  0, 2, 7,  0]`.

use crate::element::Element;
use crate::error::{FormatError, PatternError};

/// The nonzero positions of a `rows` x `cols` matrix, row by row with increasing columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    rows: usize,
    cols: usize,
    row_ptr: Vec<usize>,
    col_idx: Vec<u32>,
}

impl Pattern {
    /// The pattern of a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Shape`] when `values` does not hold `rows * cols` elements and [`FormatError::TooLarge`] when a
    /// dimension exceeds 32 bits.
    pub fn of<T: Element>(rows: usize, cols: usize, values: &[T]) -> Result<Self, FormatError> {
        check_shape(rows, cols, values.len())?;
        let mut row_ptr = Vec::with_capacity(rows + 1);
        let mut col_idx = Vec::new();
        row_ptr.push(0);
        for row in 0..rows {
            let line = &values[row * cols..(row + 1) * cols];
            col_idx.extend(line.iter().zip(0u32..).filter(|(value, _)| !value.is_zero()).map(|(_, col)| col));
            row_ptr.push(col_idx.len());
        }
        Ok(Self { rows, cols, row_ptr, col_idx })
    }

    /// The pattern of the elements for which `is_nonzero(row, col)` holds: of values in any order, without a copy.
    ///
    /// # Errors
    /// When the matrix has more columns than an index can name, or a size overflows.
    pub fn from_fn(rows: usize, cols: usize, is_nonzero: impl Fn(usize, usize) -> bool) -> Result<Self, FormatError> {
        check_shape(rows, cols, rows.saturating_mul(cols))?;
        let mut row_ptr = Vec::with_capacity(rows + 1);
        let mut col_idx = Vec::new();
        row_ptr.push(0);
        for row in 0..rows {
            col_idx.extend((0..cols).zip(0u32..).filter(|&(col, _)| is_nonzero(row, col)).map(|(_, col)| col));
            row_ptr.push(col_idx.len());
        }
        Ok(Self { rows, cols, row_ptr, col_idx })
    }

    /// A pattern from compressed rows: row `i` holds `col_idx[row_ptr[i]..row_ptr[i + 1]]`.
    ///
    /// # Errors
    /// See [`Pattern::validate`].
    pub fn from_parts(rows: usize, cols: usize, row_ptr: Vec<usize>, col_idx: Vec<u32>) -> Result<Self, PatternError> {
        let pattern = Self { rows, cols, row_ptr, col_idx };
        pattern.validate()?;
        Ok(pattern)
    }

    /// Checks that `row_ptr` has `rows + 1` increasing bounds from 0 to the number of column indices, and that the
    /// columns of each row increase strictly and stay below `cols`.
    ///
    /// # Errors
    /// The first violation in row order.
    pub fn validate(&self) -> Result<(), PatternError> {
        let nnz = self.col_idx.len();
        if self.row_ptr.len() != self.rows.saturating_add(1) {
            let expected = self.rows.saturating_add(1);
            return Err(PatternError::RowPtrLength { len: self.row_ptr.len(), expected });
        }
        if self.row_ptr.first() != Some(&0) {
            return Err(PatternError::RowPtrOrder { row: 0, nnz });
        }
        for (row, bounds) in self.row_ptr.windows(2).enumerate() {
            let columns = self.col_idx.get(bounds[0]..bounds[1]);
            let columns = columns.ok_or(PatternError::RowPtrOrder { row, nnz })?;
            for (i, &col) in columns.iter().enumerate() {
                if col as usize >= self.cols {
                    return Err(PatternError::ColumnRange { row, col, cols: self.cols });
                }
                if i > 0 && col <= columns[i - 1] {
                    return Err(PatternError::ColumnOrder { row, col });
                }
            }
        }
        if self.row_ptr.last() != Some(&nnz) {
            return Err(PatternError::RowPtrOrder { row: self.rows, nnz });
        }
        Ok(())
    }

    /// Rows (outputs, M).
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns (inputs, K).
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Number of nonzeros.
    pub fn nnz(&self) -> usize {
        self.col_idx.len()
    }

    /// Nonzeros / elements, from 0 to 1; 0 for a matrix without elements.
    pub fn density(&self) -> f64 {
        ratio(self.nnz(), self.rows * self.cols)
    }

    /// Bounds of the rows in [`Pattern::col_idx`]: `rows + 1` elements, the first is 0, the last is the number of
    /// nonzeros.
    pub fn row_ptr(&self) -> &[usize] {
        &self.row_ptr
    }

    /// Columns of all nonzeros, row after row.
    pub fn col_idx(&self) -> &[u32] {
        &self.col_idx
    }

    /// Columns of the nonzeros of row `row`, increasing; empty when there is no such row.
    pub fn row(&self, row: usize) -> &[u32] {
        match (self.row_ptr.get(row), self.row_ptr.get(row.saturating_add(1))) {
            (Some(&start), Some(&end)) => &self.col_idx[start..end],
            _ => &[],
        }
    }

    /// The columns of each row in turn.
    pub fn iter_rows(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.row_ptr.windows(2).map(|bounds| &self.col_idx[bounds[0]..bounds[1]])
    }

    /// The pattern of the transposed matrix (`cols` x `rows`).
    pub fn transpose(&self) -> Self {
        let mut row_ptr = vec![0; self.cols + 1];
        for &col in &self.col_idx {
            row_ptr[col as usize + 1] += 1;
        }
        for i in 0..self.cols {
            row_ptr[i + 1] += row_ptr[i];
        }
        let mut next = row_ptr.clone();
        let mut col_idx = vec![0; self.nnz()];
        for (row, columns) in (0u32..).zip(self.iter_rows()) {
            for &col in columns {
                let slot = &mut next[col as usize];
                col_idx[*slot] = row;
                *slot += 1;
            }
        }
        Self { rows: self.cols, cols: self.rows, row_ptr, col_idx }
    }

    /// The rows without a nonzero, increasing.
    pub fn zero_rows(&self) -> Vec<u32> {
        self.select_rows(|columns| columns.is_empty())
    }

    /// The columns without a nonzero, increasing.
    pub fn zero_cols(&self) -> Vec<u32> {
        self.select_cols(false)
    }

    /// The rows with a nonzero, increasing.
    pub fn kept_rows(&self) -> Vec<u32> {
        self.select_rows(|columns| !columns.is_empty())
    }

    /// The columns with a nonzero, increasing.
    pub fn kept_cols(&self) -> Vec<u32> {
        self.select_cols(true)
    }

    /// The pattern that is left when zero rows and zero columns are removed.
    pub fn without_zero_rows_and_cols(&self) -> Self {
        let kept = self.kept_cols();
        let mut renamed = vec![0u32; self.cols];
        for (new, &old) in (0u32..).zip(&kept) {
            renamed[old as usize] = new;
        }
        let mut row_ptr = vec![0];
        row_ptr.extend(self.row_ptr.windows(2).filter(|bounds| bounds[0] != bounds[1]).map(|bounds| bounds[1]));
        let col_idx = self.col_idx.iter().map(|&col| renamed[col as usize]).collect();
        Self { rows: row_ptr.len() - 1, cols: kept.len(), row_ptr, col_idx }
    }

    fn select_rows(&self, keep: impl Fn(&[u32]) -> bool) -> Vec<u32> {
        (0u32..).zip(self.iter_rows()).filter(|(_, columns)| keep(columns)).map(|(row, _)| row).collect()
    }

    fn select_cols(&self, used: bool) -> Vec<u32> {
        let mut is_used = vec![false; self.cols];
        for &col in &self.col_idx {
            is_used[col as usize] = true;
        }
        (0u32..).zip(is_used).filter(|&(_, u)| u == used).map(|(col, _)| col).collect()
    }
}

/// Checks that a slice of `len` elements is a `rows` x `cols` matrix whose dimensions fit 32 bits.
pub(crate) fn check_shape(rows: usize, cols: usize, len: usize) -> Result<(), FormatError> {
    if rows.checked_mul(cols) != Some(len) {
        return Err(FormatError::Shape { rows, cols, len });
    }
    // A matrix without elements has no data to justify its row pointers, so its dimensions are bounded tighter.
    let limit = if len == 0 { 1 << 20 } else { u32::MAX as usize };
    if rows >= limit || cols >= limit {
        return Err(FormatError::TooLarge { rows, cols, entries: 0 });
    }
    Ok(())
}

/// `part / whole`, and 0 where there is no whole.
pub(crate) fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
