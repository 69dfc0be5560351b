//! `bitmap`: tiles of 16 x 16, each a bit for every entry and its nonzeros without padding.
//!
//! One bit an entry is less than an index for each nonzero from a density of 1/16 on, so it is the format for weights of which a fifth to
//! a half is left, where bytes decide and arithmetic does not: tensor cores multiply the whole tile. Tiles without a nonzero are left out.
//! Loading sparse and computing dense is described in "Flash-LLM" (Xia et al., VLDB 2023), bitmaps for it in "SpInfer" (Fan et al.,
//! EuroSys 2025).
//!
//! A tile has eight words of 32 bits, each of 4 rows x 8 columns, bit `8 i + j` for row `i` and column `j` of them. Words 0 to 3 are the
//! upper halves of the four quarters of the tile, words 4 to 7 the lower ones:
//!
//! ```text
//!            columns 0-7   columns 8-15
//! rows  0-3       0             2
//! rows  4-7       4             6
//! rows  8-11      1             3
//! rows 12-15      5             7
//! ```
//!
//! That is the order in which the lanes of a warp hold the left factor of a matrix product: lane `l` has the bits `2 (l % 16)` and the next of
//! words `4 (l / 16)` to `4 (l / 16) + 3`. Values follow the bits. The worked example is one tile, of which word 0 is used:
//!
//! ```text
//! word 0   row 3      row 2      row 1      row 0         lowest bit last
//!          00000001   10000101   00000000   00100101
//! values   1 2 3   4 5 6   7
//! ```

use crate::blocks::for_each_block_row;
use crate::element::Element;
use crate::error::FormatError;
use crate::pattern::Pattern;
use crate::size::{bitmap_bytes, check_entries};
use crate::storage::Storage;

/// Rows and columns of a tile.
pub const BITMAP_TILE: usize = 16;
/// Words of a tile's mask.
pub const BITMAP_WORDS: usize = 8;

/// Row and column in a tile of a bit of one of its words.
#[must_use]
pub fn bitmap_place(word: usize, bit: usize) -> (usize, usize) {
    let (half, quarter) = (word / 4, word % 4);
    (8 * (quarter % 2) + 4 * half + bit / 8, 8 * (quarter / 2) + bit % 8)
}

/// Bitmaps of tiles, and nonzeros.
#[derive(Debug, Clone, PartialEq)]
pub struct Bitmap<T> {
    rows: usize,
    cols: usize,
    row_ptr: Vec<u32>,
    tile_cols: Vec<u32>,
    starts: Vec<u32>,
    masks: Vec<[u32; BITMAP_WORDS]>,
    values: Vec<T>,
}

impl<T: Element> Bitmap<T> {
    /// Stores the nonzeros of a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Shape`] or [`FormatError::TooLarge`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T]) -> Result<Self, FormatError> {
        let pattern = Pattern::of(rows, cols, values)?;
        check_entries(&pattern, pattern.nnz())?;
        let (mut row_ptr, mut tile_cols) = (vec![0], Vec::new());
        for_each_block_row(&pattern, BITMAP_TILE, BITMAP_TILE, |_, columns| {
            tile_cols.extend_from_slice(columns);
            row_ptr.push(tile_cols.len() as u32);
        });
        let mut stored =
            Self { rows, cols, row_ptr, tile_cols, starts: Vec::new(), masks: Vec::new(), values: Vec::new() };
        for tile_row in 0..stored.row_ptr.len() - 1 {
            for tile in stored.row_ptr[tile_row] as usize..stored.row_ptr[tile_row + 1] as usize {
                stored.push_tile((tile_row * BITMAP_TILE, stored.tile_cols[tile] as usize * BITMAP_TILE), values);
            }
        }
        Ok(stored)
    }

    fn push_tile(&mut self, (row0, col0): (usize, usize), values: &[T]) {
        self.starts.push(self.values.len() as u32);
        let mut mask = [0; BITMAP_WORDS];
        for (number, word) in mask.iter_mut().enumerate() {
            for bit in 0..32 {
                let (i, j) = bitmap_place(number, bit);
                let (row, col) = (row0 + i, col0 + j);
                if row < self.rows && col < self.cols && !values[row * self.cols + col].is_zero() {
                    *word |= 1 << bit;
                    self.values.push(values[row * self.cols + col]);
                }
            }
        }
        self.masks.push(mask);
    }

    /// Bounds of the rows of tiles: `ceil(rows / 16) + 1` elements.
    pub fn row_ptr(&self) -> &[u32] {
        &self.row_ptr
    }

    /// Columns of the tiles, in tiles, increasing within a row of tiles.
    pub fn tile_cols(&self) -> &[u32] {
        &self.tile_cols
    }

    /// Where the values of each tile begin.
    pub fn starts(&self) -> &[u32] {
        &self.starts
    }

    /// Masks of the tiles.
    pub fn masks(&self) -> &[[u32; BITMAP_WORDS]] {
        &self.masks
    }

    /// Nonzeros, tile after tile, in the order of the bits.
    pub fn values(&self) -> &[T] {
        &self.values
    }
}

impl<T: Element> Storage<T> for Bitmap<T> {
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
        bitmap_bytes(self.rows, self.cols, self.masks.len(), self.values.len(), T::BYTES)
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        for (tile_row, bounds) in self.row_ptr.windows(2).enumerate() {
            for tile in bounds[0] as usize..bounds[1] as usize {
                let (row0, col0) = (tile_row * BITMAP_TILE, self.tile_cols[tile] as usize * BITMAP_TILE);
                let mut values = self.values[self.starts[tile] as usize..].iter();
                for (number, word) in self.masks[tile].iter().enumerate() {
                    for bit in (0..32).filter(|bit| word >> bit & 1 == 1) {
                        let (i, j) = bitmap_place(number, bit);
                        values.next().into_iter().for_each(|&value| visit(row0 + i, col0 + j, value));
                    }
                }
            }
        }
    }
}
