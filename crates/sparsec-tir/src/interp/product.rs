//! Products of matrices, as mathematics has them: products are exact, are added up in `f64` by ascending columns, and the sum is
//! rounded once. What a GPU leaves open is the order of the sum and how it is rounded on the way.

use super::{
    InterpError,
    eval::Machine,
    lane,
    node::{Matrix, Memory, Place, Product},
};
use crate::{Precision, Scalar, TILE_COLUMNS, TILE_ROWS, round_to_tf32};

type Result<T> = std::result::Result<T, InterpError>;

impl Machine<'_> {
    /// `sums += left * right`.
    pub(super) fn product(&mut self, p: &Product) -> Result<()> {
        let stored = p.precision.depth();
        let kept = match &p.kept {
            Some(kept) => Some(self.kept(kept)?),
            None => None,
        };
        let depth = if kept.is_some() { 2 * stored } else { stored };
        let left = self.read(&p.left, (TILE_ROWS, stored), p.precision)?;
        let right = self.read(&p.right, (depth, TILE_COLUMNS), p.precision)?;
        let at = self.register(&p.sums)?;
        for (i, row) in left.chunks_exact(stored).enumerate() {
            let word = kept.as_ref().and_then(|words| words.get(i)).copied();
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
        Ok(())
    }

    /// Writes sums to memory.
    pub(super) fn save(&mut self, to: &Matrix, sums: &Place) -> Result<()> {
        let from = self.register(sums)?;
        let places = self.places(to, (TILE_ROWS, TILE_COLUMNS))?;
        for (i, at) in places.into_iter().enumerate() {
            let value = self.registers[from + i];
            self.buffers[to.at.buffer].data.set(at, value);
        }
        Ok(())
    }

    fn read(&mut self, matrix: &Matrix, extents: (usize, usize), precision: Precision) -> Result<Vec<f64>> {
        let places = self.places(matrix, extents)?;
        let data = &self.buffers[matrix.at.buffer].data;
        let value = |at: usize| {
            let bits = data.get(at).unwrap_or(0);
            match precision {
                Precision::TF32 => f64::from(round_to_tf32(f32::from_bits(bits as u32))),
                _ => f64::from_bits(lane::convert(precision.storage(), Scalar::F64, bits)),
            }
        };
        Ok(places.into_iter().map(value).collect())
    }

    /// The words of the rows of a sparse factor.
    fn kept(&mut self, first: &Memory) -> Result<Vec<u32>> {
        let start = self.address(first)?.map_or(0, |(start, _)| start);
        let words: Vec<u32> = (0..TILE_ROWS)
            .map(|i| {
                let at = self.flat(first.buffer, (start + i) as i64, 1)?;
                Ok(self.buffers[first.buffer].data.get(at).unwrap_or(0) as u32)
            })
            .collect::<Result<_>>()?;
        let ascends = |word: &u32| (0..8).all(|g| word >> (4 * g) & 3 < word >> (4 * g + 2) & 3);
        if words.iter().all(ascends) {
            return Ok(words);
        }
        let (kernel, reason) = (self.kernel.name.clone(), "places of a sparse factor do not ascend".to_owned());
        Err(InterpError::Unsupported { kernel, reason })
    }

    /// The elements of a matrix, row by row.
    fn places(&mut self, matrix: &Matrix, (rows, columns): (usize, usize)) -> Result<Vec<usize>> {
        let start = self.address(&matrix.at)?.map_or(0, |(start, _)| start as i64);
        let [down, right] = [self.int(&matrix.strides[0])?, self.int(&matrix.strides[1])?];
        let mut places = Vec::with_capacity(rows * columns);
        for i in 0..rows as i64 {
            for j in 0..columns as i64 {
                let (row, column, inner) = match matrix.blocks {
                    Some(width) => (i / 8, j / width, i % 8 * width + j % width),
                    None => (i, j, 0),
                };
                let steps = row.saturating_mul(down).saturating_add(column.saturating_mul(right));
                let at = start.saturating_add(steps).saturating_add(inner);
                places.push(self.flat(matrix.at.buffer, at, 1)?);
            }
        }
        Ok(places)
    }
}
