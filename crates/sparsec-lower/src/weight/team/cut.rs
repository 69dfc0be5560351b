//! How a weight is cut into steps, and the tables that hold them.

use sparsec_tir::{GROUP_ROWS, Precision, Scalar, TILE_ROWS};

use super::{STEPS, TEAM_PIXELS, TEAM_ROWS};
use crate::weight::columns::Columns;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::Table;
use crate::weight::tensor::{rounded, row_of, stored};

/// Who multiplies a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// One warp: 16 rows.
    Warp,
    /// The four warps of a group: 64 rows.
    Group,
}

/// How a weight is cut.
pub(super) struct Cut {
    pub(super) precision: Precision,
    pub(super) sparse: bool,
    pub(super) unit: Unit,
    /// Rows of a step.
    pub(super) height: usize,
    /// Columns of a step, and of a part.
    pub(super) depth: usize,
    pub(super) part: usize,
    /// Pixels of a team.
    pub(super) pixels: usize,
    /// Places for the steps of a part in shared memory.
    pub(super) stages: usize,
    /// Teams on top of each other, and parts side by side.
    pub(super) bands: usize,
    pub(super) parts: usize,
    pub(super) columns: Columns,
    pub(super) entries: Vec<Entry>,
}

/// One step that is not all zeros: its first row and column.
#[derive(Clone, Copy)]
pub(super) struct Entry {
    row: usize,
    column: usize,
}

impl Cut {
    pub(super) fn new(p: &WeightProblem, weight: &WeightMatrix, precision: Precision, sparse: bool, unit: Unit) -> Cut {
        let depth = precision.depth() * if sparse { 2 } else { 1 };
        let height = if unit == Unit::Group { GROUP_ROWS } else { TILE_ROWS };
        let (part, bands) = (STEPS * depth, p.m.div_ceil(TEAM_ROWS));
        // Two places where X takes twice the memory: 48 KiB have to do.
        let columns = Columns::choose(p, weight, depth, sparse);
        let (stages, parts) = (if sparse { 2 } else { 3 }, columns.count().div_ceil(part));
        let (pixels, entries) = (TEAM_PIXELS, Vec::new());
        let (m, k, order) = (p.m, columns.count(), columns.clone());
        let mut cut =
            Cut { precision, sparse, unit, height, depth, part, pixels, stages, bands, parts, columns, entries };
        let dense = order.dense(weight);
        for (band, part, block, step) in cut.places() {
            let (row, column) = (band * TEAM_ROWS + block * height, part * cut.part + step * depth);
            let columns = column.min(k)..(column + depth).min(k);
            let zero = |r: usize| dense[r * k..][columns.clone()].iter().all(|v| *v == 0.0);
            if !(row.min(m)..(row + height).min(m)).all(zero) {
                cut.entries.push(Entry { row, column });
            }
        }
        cut
    }

    /// Steps on top of each other in a team.
    pub(super) fn blocks(&self) -> usize {
        TEAM_ROWS / self.height
    }

    /// Steps of a part, zeros included.
    pub(super) fn part_steps(&self) -> usize {
        self.blocks() * STEPS
    }

    /// Band, part, block and step of all steps, in the order of the table.
    fn places(&self) -> Vec<(usize, usize, usize, usize)> {
        let parts = (0..self.bands).flat_map(|t| (0..self.parts).map(move |p| (t, p)));
        let blocks = parts.flat_map(|(t, p)| (0..self.blocks()).map(move |b| (t, p, b)));
        blocks.flat_map(|(t, p, b)| (0..STEPS).map(move |s| (t, p, b, s))).collect()
    }

    /// Whether no step is all zeros.
    pub(super) fn full(&self) -> bool {
        self.entries.len() == self.bands * self.parts * self.part_steps()
    }

    /// Values of a step.
    pub(super) fn values(&self) -> usize {
        self.height * self.precision.depth()
    }

    /// The parts in which each band has steps; and where the steps of each block of each of them begin.
    fn walk(&self) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
        let (mut firsts, mut parts, mut starts) = (vec![0], Vec::new(), vec![0]);
        let mut entries = self.entries.iter().enumerate().peekable();
        for band in 0..self.bands {
            for part in 0..self.parts {
                let of = |e: &Entry, block: usize| {
                    e.row == band * TEAM_ROWS + block * self.height && e.column / self.part == part
                };
                if !entries.peek().is_some_and(|(_, e)| e.row / TEAM_ROWS == band && e.column / self.part == part) {
                    continue;
                }
                parts.push(part as i32);
                for block in 0..self.blocks() {
                    while entries.next_if(|(_, e)| of(e, block)).is_some() {}
                    starts.push(entries.peek().map_or(self.entries.len(), |(i, _)| *i) as i32);
                }
            }
            firsts.push(parts.len() as i32);
        }
        (firsts, parts, starts)
    }
}

/// The values of a step in blocks of 8 rows of 16 bytes, the upper ones first.
fn blocks_of(rows: &[Vec<f32>], precision: Precision, bytes: &mut Vec<u8>) {
    let width = 16 / precision.storage().size();
    for column in (0..precision.depth()).step_by(width) {
        for row in rows {
            row[column..column + width].iter().for_each(|v| rounded(precision, *v, bytes));
        }
    }
}

pub(super) fn tables(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut) -> Vec<Table> {
    let (extents, precision, sparse, depth) = ((p.m, cut.columns.count()), cut.precision, cut.sparse, cut.depth);
    let height = cut.height;
    let mut places: Vec<u32> = Vec::new();
    if sparse {
        let dense = cut.columns.dense(weight);
        for e in &cut.entries {
            places
                .extend((0..cut.height).map(|i| stored(&row_of(&dense, extents, e.row + i, e.column, depth), true).1));
        }
    }
    let (weight, columns, entries) = (weight.clone(), cut.columns.clone(), cut.entries.clone());
    let values = Table::lazy("values", precision.storage(), (entries.len() * cut.values()) as u64, move |out| {
        let (dense, mut bytes) = (columns.dense(&weight), Vec::new());
        for e in &entries {
            bytes.clear();
            let row = |i| stored(&row_of(&dense, extents, e.row + i, e.column, depth), sparse).0;
            blocks_of(&(0..height).map(row).collect::<Vec<_>>(), precision, &mut bytes);
            out.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut tables = vec![values];
    if sparse {
        tables.push(Table::of("places", Scalar::U32, places));
    }
    if !cut.full() {
        let (firsts, parts, starts) = cut.walk();
        let steps = cut.entries.iter().map(|e| (e.column % cut.part / depth) as i32).collect();
        tables.push(Table::of("firsts", Scalar::I32, firsts));
        tables.push(Table::of("parts", Scalar::I32, parts));
        tables.push(Table::of("starts", Scalar::I32, starts));
        tables.push(Table::of("steps", Scalar::I32, steps));
    }
    tables
}
