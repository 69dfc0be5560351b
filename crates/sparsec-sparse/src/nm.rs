//! `nm<N,M>`: every aligned group of M columns of a row holds at most N nonzeros.
//!
//! Each group stores exactly N values and N selectors, a selector being the column within its group. All rows are
//! equally long, a selector needs only `log2(M)` bits, and sparse tensor cores read 2:4 directly. It pays where memory
//! traffic decides. Selectors of a group increase; unused slots hold a zero value and an unused column, as
//! `mma.sp::ordered_metadata` wants them. A last group with fewer than N columns repeats its last column. The worked
//! example as `nm<2,4>`:
//!
//! ```text
//!            group 0 = columns 0-3   group 1 = columns 4-7
//!            values    selectors     values    selectors
//! row 0       1 2       0 2           0 3       0 1
//! row 1       0 0       0 1           0 0       0 1
//! row 2       4 5       0 2           0 6       0 3
//! row 3       7 0       0 1           0 0       0 1
//! ```

use crate::element::Element;
use crate::error::FormatError;
use crate::format::Format;
use crate::pattern::check_shape;
use crate::size::{check_total, nm_bytes, selector_bits};
use crate::storage::Storage;

/// N values and N selectors for each aligned group of M columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Nm<T> {
    rows: usize,
    cols: usize,
    n: usize,
    m: usize,
    values: Vec<T>,
    selectors: Vec<u8>,
}

impl<T: Element> Nm<T> {
    /// Stores a dense row-major matrix whose groups of `m` columns hold at most `n` nonzeros each.
    ///
    /// # Errors
    /// [`FormatError::GroupTooFull`] for the first group with more, [`FormatError::Parameter`] unless
    /// `1 <= n <= m <= 256`, [`FormatError::Shape`] or [`FormatError::TooLarge`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T], n: u32, m: u32) -> Result<Self, FormatError> {
        Format::Nm { n, m }.validate()?;
        check_shape(rows, cols, values.len())?;
        let (group_n, group_m) = (n as usize, m as usize);
        let entries = check_total(rows, cols, rows.saturating_mul(cols.div_ceil(group_m)).saturating_mul(group_n))?;
        let mut stored = Vec::with_capacity(entries);
        let mut selectors = Vec::with_capacity(entries);
        for row in 0..rows {
            for (group, line) in values[row * cols..(row + 1) * cols].chunks(group_m).enumerate() {
                let count = line.iter().filter(|value| !value.is_zero()).count();
                if count > group_n {
                    return Err(FormatError::GroupTooFull { n, m, row, col: group * group_m, count });
                }
                // Nonzeros, and the first zeros until N slots are taken.
                let mut spare = group_n - count;
                for (selector, &value) in (0..=u8::MAX).zip(line) {
                    let is_padding = value.is_zero();
                    if is_padding && spare == 0 {
                        continue;
                    }
                    spare -= usize::from(is_padding);
                    stored.push(value);
                    selectors.push(selector);
                }
                let last = (line.len() - 1) as u8;
                stored.extend(std::iter::repeat_n(T::default(), spare));
                selectors.extend(std::iter::repeat_n(last, spare));
            }
        }
        Ok(Self { rows, cols, n: group_n, m: group_m, values: stored, selectors })
    }

    /// Values kept in a group (N).
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns in a group (M).
    pub fn m(&self) -> usize {
        self.m
    }

    /// Groups in a row: `ceil(cols / M)`.
    pub fn groups(&self) -> usize {
        self.cols.div_ceil(self.m)
    }

    /// Values: `rows * groups * N` elements.
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// Columns within the groups, parallel to [`Nm::values`]; the column of entry `e` of group `g` is
    /// `g * M + selectors[e]`.
    pub fn selectors(&self) -> &[u8] {
        &self.selectors
    }

    /// The selectors packed into 1, 2, 4 or 8 bits each (the smallest that holds `M - 1`), the first in the lowest
    /// bits of a byte. Unused bits of the last byte are zero.
    pub fn packed_selectors(&self) -> Vec<u8> {
        let bits = selector_bits(self.m);
        let pack = |chunk: &[u8]| chunk.iter().rev().fold(0u8, |byte, &s| byte.checked_shl(bits).unwrap_or(0) | s);
        self.selectors.chunks(8 / bits as usize).map(pack).collect()
    }
}

impl<T: Element> Storage<T> for Nm<T> {
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
        nm_bytes(self.m, self.values.len(), T::BYTES)
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        let groups = self.groups();
        for (entry, (&value, &selector)) in self.values.iter().zip(&self.selectors).enumerate() {
            let group = entry / self.n;
            visit(group / groups, group % groups * self.m + usize::from(selector), value);
        }
    }
}
