//! Products of matrices, as mathematics has them: products are exact, are added up in `f64` by ascending columns, and the sum is
//! rounded once. What a GPU leaves open is the order of the sum and how it is rounded on the way.

use sparsec_sparse::{BITMAP_TILE, BITMAP_WORDS, bitmap_place};

use super::{
    InterpError,
    eval::Machine,
    lane,
    node::{Matrix, Memory, Place, Product},
};
use crate::{GROUP_WARPS, Layout, Precision, Scalar, TILE_COLUMNS, TILE_ROWS, round_to_tf32};

type Result<T> = std::result::Result<T, InterpError>;

impl Machine<'_> {
    /// `sums += left * right`; of a group's product the rows that the warp has.
    pub(super) fn product(&mut self, p: &Product) -> Result<()> {
        let stored = p.precision.depth();
        let (tiles, first) = match p.group {
            Some((tiles, warp)) => (tiles, self.vars[warp] as usize % GROUP_WARPS * TILE_ROWS),
            None => (1, 0),
        };
        let kept = match &p.kept {
            Some(kept) => Some(self.kept(kept, first)?),
            None => None,
        };
        let depth = if kept.is_some() { 2 * stored } else { stored };
        let left = match &p.masked {
            Some(masked) => self.selected(&p.left, masked, p.precision)?,
            None => self.read(&p.left, (first, 0), (TILE_ROWS, stored), p.precision)?,
        };
        let at = self.register(&p.sums)?;
        for tile in 0..tiles {
            let right = self.read(&p.right, (0, tile * TILE_COLUMNS), (depth, TILE_COLUMNS), p.precision)?;
            self.add_tile(&left, &right, kept.as_deref(), at + tile * TILE_ROWS * TILE_COLUMNS);
        }
        Ok(())
    }

    /// Adds a product to the sums whose registers begin there.
    fn add_tile(&mut self, left: &[f64], right: &[f64], kept: Option<&[u32]>, at: usize) {
        let stored = left.len() / TILE_ROWS;
        for (i, row) in left.chunks_exact(stored).enumerate() {
            let word = kept.and_then(|words| words.get(i)).copied();
            for j in 0..TILE_COLUMNS {
                let mut sum = 0.0;
                for (e, a) in row.iter().enumerate() {
                    // Two of each four columns are stored.
                    let column = word.map_or(e, |word| e / 2 * 4 + (word >> (2 * e) & 3) as usize);
                    sum += a * right[column * TILE_COLUMNS + j];
                }
                let slot = &mut self.registers[at + i * TILE_COLUMNS + j];
                let before = f64::from(f32::from_bits(*slot as u32));
                *slot = u64::from(((sum + before) as f32).to_bits());
            }
        }
    }

    /// Writes sums to memory.
    pub(super) fn save(&mut self, to: &Matrix, sums: &Place) -> Result<()> {
        let from = self.register(sums)?;
        let places = self.places(to, (0, 0), (TILE_ROWS, TILE_COLUMNS))?;
        for (i, at) in places.into_iter().enumerate() {
            let value = self.registers[from + i];
            self.buffers[to.at.buffer].data.set(at, value);
        }
        Ok(())
    }

    fn read(
        &mut self,
        matrix: &Matrix,
        first: (usize, usize),
        extents: (usize, usize),
        precision: Precision,
    ) -> Result<Vec<f64>> {
        let places = self.places(matrix, first, extents)?;
        Ok(self.values(matrix.at.buffer, &places, precision))
    }

    fn values(&self, buffer: usize, places: &[usize], precision: Precision) -> Vec<f64> {
        let data = &self.buffers[buffer].data;
        let value = |at: &usize| {
            let bits = data.get(*at).unwrap_or(0);
            match precision {
                Precision::TF32 => f64::from(round_to_tf32(f32::from_bits(bits as u32))),
                _ => f64::from_bits(lane::convert(precision.storage(), Scalar::F64, bits)),
            }
        };
        places.iter().map(value).collect()
    }

    /// A left factor of which a mask says where its nonzeros are.
    fn selected(&mut self, matrix: &Matrix, masked: &Memory, precision: Precision) -> Result<Vec<f64>> {
        let words = self.words(masked, 0, BITMAP_WORDS)?;
        let start = self.address(&matrix.at)?.map_or(0, |(start, _)| start as i64);
        let bits = words.iter().enumerate().flat_map(|(w, word)| (0..32).map(move |b| (w, b, word >> b & 1 == 1)));
        let (mut slots, mut places) = (Vec::new(), Vec::new());
        for (word, bit, _) in bits.filter(|(_, _, set)| *set) {
            let (row, column) = bitmap_place(word, bit);
            slots.push(row * BITMAP_TILE + column);
            places.push(self.flat(matrix.at.buffer, start.saturating_add(places.len() as i64), 1)?);
        }
        let mut dense = vec![0.0; TILE_ROWS * BITMAP_TILE];
        for (slot, value) in slots.into_iter().zip(self.values(matrix.at.buffer, &places, precision)) {
            dense[slot] = value;
        }
        Ok(dense)
    }

    /// Words from a place on.
    fn words(&mut self, first: &Memory, skipped: usize, count: usize) -> Result<Vec<u32>> {
        let start = skipped + self.address(first)?.map_or(0, |(start, _)| start);
        (0..count)
            .map(|i| {
                let at = self.flat(first.buffer, (start + i) as i64, 1)?;
                Ok(self.buffers[first.buffer].data.get(at).unwrap_or(0) as u32)
            })
            .collect()
    }

    /// The words of the rows of a sparse factor, from a row on.
    fn kept(&mut self, first: &Memory, row: usize) -> Result<Vec<u32>> {
        let words = self.words(first, row, TILE_ROWS)?;
        let ascends = |word: &u32| (0..8).all(|g| word >> (4 * g) & 3 < word >> (4 * g + 2) & 3);
        if words.iter().all(ascends) {
            return Ok(words);
        }
        let (kernel, reason) = (self.kernel.name.clone(), "places of a sparse factor do not ascend".to_owned());
        Err(InterpError::Unsupported { kernel, reason })
    }

    /// The elements of a part of a matrix, row by row.
    fn places(
        &mut self,
        matrix: &Matrix,
        (row, column): (usize, usize),
        (rows, columns): (usize, usize),
    ) -> Result<Vec<usize>> {
        let start = self.address(&matrix.at)?.map_or(0, |(start, _)| start as i64);
        let [down, right] = [self.int(&matrix.strides[0])?, self.int(&matrix.strides[1])?];
        let mut places = Vec::with_capacity(rows * columns);
        for i in (row..row + rows).map(|i| i as i64) {
            for j in (column..column + columns).map(|j| j as i64) {
                let width = matrix.piece;
                let (row, column, inner) = match matrix.layout {
                    Layout::Blocks => (i / 8, j / width, i % 8 * width + j % width),
                    Layout::Columns => (i / width, j / 8, j % 8 * width + i % width),
                    Layout::Elements => (i, j, 0),
                };
                let steps = row.saturating_mul(down).saturating_add(column.saturating_mul(right));
                let at = start.saturating_add(steps).saturating_add(inner);
                places.push(self.flat(matrix.at.buffer, at, 1)?);
            }
        }
        Ok(places)
    }
}
