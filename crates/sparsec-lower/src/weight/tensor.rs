//! Weights on tensor cores: `dense`, `pruned<dense>`, `bsr` of 16 rows, and `nm<2,4>` at 16 bits.
//!
//! The weight is cut into *steps*: 16 rows by as many columns as one product takes. Steps of zeros are left out, so a row of blocks
//! without entries costs no iteration. A task computes up to 64 rows by 32 pixels, whose sums stay in registers:
//!
//! ```text
//! parallel (tile, rows):
//!   for part:                          pack the part's channels of X, rounded
//!     unroll b in 0..B:                the blocks of 16 rows
//!       for e in entries of (part, b):
//!         unroll t in 0..4: sums[b, t] += values(e) * window[step(e), t]
//!   save the sums, and apply the epilogue row by row
//! ```
//!
//! B is 4, 2 or 1: packing is done once for B blocks, but a product with few tasks leaves most of a GPU idle.
//!
//! Windows larger than a pixel are the same product, of columns in another order (`columns.rs`) and with X packed from where the windows
//! are (`patches.rs`).
//!
//! A 2:4 step stores 16 of 32 columns and, for each row, a word that tells which ones.

use sparsec_graph::Dim;
use sparsec_sparse::Format;
use sparsec_tir::{
    Access, BufferId, BufferKind, CompareOp, Expr, Precision, Product, RegisterId, Scalar, Stmt, TILE_COLUMNS,
    TILE_ROWS, TILE_SUMS, Tile, Type, load, round_to_tf32,
};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::columns::Columns;
use crate::weight::matrix::WeightMatrix;
use crate::weight::patches::{Patches, Windows, numbered};
use crate::weight::problem::{View, WeightProblem};
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Blocks of 16 rows that a task may have, most first.
const BLOCKS: [usize; 3] = [4, 2, 1];
/// Pixels of a task.
const PIXELS: usize = 32;
/// Tasks that keep a GPU busy: eight warps on each of an H100's 132 multiprocessors. The cost model of `sparsec-rewrite` counts
/// with the same number.
const BUSY_TASKS: usize = 1056;
/// Lanes of a warp, which packs and stores as many elements at a time.
const LANES: u16 = 32;
/// Loads of X that are under way together.
const LOADS: u32 = 8;

/// How a weight is cut.
struct Cut {
    precision: Precision,
    sparse: bool,
    /// Columns of a step.
    depth: usize,
    /// Channels of X that are packed together.
    part: usize,
    /// Blocks of 16 rows in a task.
    blocks: usize,
    columns: Columns,
}

impl Cut {
    /// Rows of a task.
    fn rows(&self) -> usize {
        self.blocks * TILE_ROWS
    }
}

/// One step that is not all zeros.
#[derive(Clone, Copy)]
struct Entry {
    /// First row and column.
    row: usize,
    column: usize,
}

/// The kernel and its tables; `None` where tensor cores are not asked for, or don't fit.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Option<Multiplication> {
    let (precision, sparse) = sparse_at(p, weight, format, target)?;
    let (numbered, windows) = numbered(p)?;
    let depth = precision.depth() * if sparse { 2 } else { 1 };
    let part = if precision == Precision::TF32 { 32 } else { 64 };
    let columns = Columns::choose(p, weight, depth, sparse);
    let cut = Cut { precision, sparse, depth, part, blocks: blocks(p), columns };
    Some(build(&numbered, weight, &cut, windows))
}

/// Where tensor cores are asked for and take the weight: at which precision, and whether as 2:4 entries.
pub(super) fn sparse_at(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Option<(Precision, bool)> {
    let precision = target.precision?;
    let fits = !weight.is_grouped() && p.x.elem == Scalar::F32;
    let sparse = match format {
        Format::Nm { n: 2, m: 4 } if precision != Precision::TF32 => true,
        Format::Bsr { r, .. } if r.is_multiple_of(TILE_ROWS as u32) => false,
        Format::Dense => false,
        Format::Pruned(kept) if **kept == Format::Dense => false,
        _ => return None,
    };
    fits.then_some((precision, sparse))
}

/// As many blocks of rows as leave enough tasks; where the number of pixels is not known, all.
fn blocks(p: &WeightProblem) -> usize {
    let Some(pixels) = p.tokens.and_then(|n| usize::try_from(n).ok()) else { return BLOCKS[0] };
    let enough = |b: &usize| p.m.div_ceil(b * TILE_ROWS) * pixels.div_ceil(PIXELS) >= BUSY_TASKS;
    BLOCKS.into_iter().find(enough).unwrap_or(1)
}

/// The steps with nonzeros by part and block of rows, and where those of each begin.
fn entries(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut) -> (Vec<Entry>, Vec<i32>) {
    let (m, k, dense) = (p.m, cut.columns.count(), cut.columns.dense(weight));
    let (mut entries, mut starts) = (Vec::new(), vec![0]);
    for from in (0..k).step_by(cut.part) {
        for row in (0..m.next_multiple_of(cut.rows())).step_by(TILE_ROWS) {
            for column in (from..(from + cut.part).min(k)).step_by(cut.depth) {
                let columns = column..(column + cut.depth).min(k);
                let zero = |r: usize| dense[r * k..][columns.clone()].iter().all(|v| *v == 0.0);
                if !(row..(row + TILE_ROWS).min(m)).all(zero) {
                    entries.push(Entry { row, column });
                }
            }
            starts.push(entries.len() as i32);
        }
    }
    (entries, starts)
}

/// The two places of a group that are stored: those of its nonzeros, filled up with their neighbours.
fn places(group: [f32; 4]) -> [usize; 2] {
    let mut nonzero = (0..4).filter(|&i| group[i] != 0.0);
    match (nonzero.next(), nonzero.next()) {
        (Some(i), Some(j)) => [i, j],
        (Some(3), None) => [2, 3],
        (Some(i), None) => [i, i + 1],
        _ => [0, 1],
    }
}

/// A row of an entry, zeros beyond the weight.
pub(super) fn row_of(dense: &[f32], (m, k): (usize, usize), row: usize, column: usize, depth: usize) -> Vec<f32> {
    let value = |c: usize| if row < m && c < k { dense[row * k + c] } else { 0.0 };
    (column..column + depth).map(value).collect()
}

/// The values of a row that are stored, and which ones of each four these are.
pub(super) fn stored(row: &[f32], sparse: bool) -> (Vec<f32>, u32) {
    if !sparse {
        return (row.to_vec(), 0);
    }
    let (mut values, mut word) = (Vec::new(), 0);
    for group in row.as_chunks::<4>().0 {
        for place in places(*group) {
            word |= (place as u32) << (2 * values.len());
            values.push(group[place]);
        }
    }
    (values, word)
}

pub(super) fn rounded(precision: Precision, value: f32, bytes: &mut Vec<u8>) {
    match precision {
        Precision::F16 => bytes.extend(half::f16::from_f32(value).to_le_bytes()),
        Precision::BF16 => bytes.extend(half::bf16::from_f32(value).to_le_bytes()),
        Precision::TF32 => bytes.extend(round_to_tf32(value).to_le_bytes()),
    }
}

fn tables(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut) -> Vec<Table> {
    let (entries, starts) = entries(p, weight, cut);
    let (extents, precision, sparse, depth) = ((p.m, cut.columns.count()), cut.precision, cut.sparse, cut.depth);
    let steps = entries.iter().map(|e| (e.column % cut.part / depth) as i32).collect();
    let mut places = Vec::new();
    if sparse {
        let dense = cut.columns.dense(weight);
        for e in &entries {
            let word = |i| stored(&row_of(&dense, extents, e.row + i, e.column, depth), true).1;
            places.extend((0..TILE_ROWS).map(word));
        }
    }
    let (weight, columns, count) =
        (weight.clone(), cut.columns.clone(), (entries.len() * TILE_ROWS * precision.depth()) as u64);
    let values = Table::lazy("values", precision.storage(), count, move |out| {
        let (dense, mut bytes) = (columns.dense(&weight), Vec::new());
        for e in &entries {
            bytes.clear();
            for i in 0..TILE_ROWS {
                let row = row_of(&dense, extents, e.row + i, e.column, depth);
                stored(&row, sparse).0.into_iter().for_each(|v| rounded(precision, v, &mut bytes));
            }
            out.write_all(&bytes)?;
        }
        Ok(())
    });
    let mut tables = vec![Table::of("starts", Scalar::I32, starts), Table::of("steps", Scalar::I32, steps), values];
    if sparse {
        tables.push(Table::of("places", Scalar::U32, places));
    }
    tables
}

/// Whether channels, and not pixels, are neighbours in memory.
pub(super) fn by_channel(view: &View) -> bool {
    view.strides[1].is(1) && !view.strides[3].is(1)
}

/// Where a task is.
struct Task {
    batch: Expr,
    line: Expr,
    pixel: Expr,
    /// First row of the weight.
    row: Expr,
}

fn build(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut, windows: Option<Windows>) -> Multiplication {
    let mut c = Context::new(match (&windows, cut.sparse) {
        (Some(_), true) => "conv_tensor_2_4",
        (Some(_), false) => "conv_tensor",
        (None, true) => "spmm_tensor_2_4",
        (None, false) => "gemm_tensor",
    });
    let packed = if by_channel(&p.x) { "pixel" } else { "channel" };
    c.describe(format!(
        "tensor cores at {}: {} rows, {PIXELS} pixels, {} channels, packed {packed} by {packed}; steps of zeros left out",
        cut.precision.name(),
        cut.rows(),
        cut.part
    ));
    if let Some(windows) = &windows {
        c.describe(format!("windows of {}, columns {}", windows.describe(), cut.columns.describe()));
    }
    let activations = declare_activations(&mut c, p);
    let patches = windows.map(|w| Patches::declare(&mut c, w, cut.columns.clone(), activations.x, 1));
    // The distance of packed rows keeps lanes of a fragment in different banks.
    let (outer, inner) = if by_channel(&p.x) { (PIXELS, cut.part) } else { (cut.part, PIXELS) };
    let pitch = inner + if cut.precision == Precision::TF32 && by_channel(&p.x) { 4 } else { 8 };
    let size = Expr::int((outer * pitch) as i64);
    let window = c.buffer("window", cut.precision.storage(), BufferKind::Scratch, vec![size], vec![]);
    let (lines, length) = if by_channel(&p.y) { (PIXELS, cut.rows()) } else { (cut.rows(), PIXELS) };
    let result_pitch = 1 + length;
    let size = Expr::int((lines * result_pitch) as i64);
    let results = c.buffer("results", Scalar::F32, BufferKind::Scratch, vec![size], vec![]);
    let tiles = PIXELS / TILE_COLUMNS;
    let sums = c.register("sums", TILE_SUMS, vec![cut.blocks as u32, tiles as u32]);
    let tables = tables(p, weight, cut);
    let ids = declare_tables(&mut c, &tables);
    let (starts, steps, values) = (ids[0], ids[1], ids[2]);
    let word = |table, i: Expr| load(table, vec![i]).convert(Scalar::I64);
    let (parts, all_blocks) = (cut.columns.count().div_ceil(cut.part), p.m.next_multiple_of(cut.rows()) / TILE_ROWS);
    let stored = cut.precision.depth();
    // Distances of rows (channels) and columns (pixels) in the window.
    let pitch = pitch as i64;
    let strides = if by_channel(&p.x) { [1, pitch] } else { [pitch, 1] };

    for_each_task(&mut c, p, cut, |c, task| {
        for_each_sum(c, cut, |c, b, t| c.set(sums, vec![b, t], Expr::f32(0.0)));
        if let Some(patches) = &patches {
            patches.begin(c, &task.pixel);
        }
        c.serial("part", Expr::int(0), Expr::int(parts as i64), 1, |c, part| {
            let first = c.bind_index("first_channel", part.clone() * Expr::int(cut.part as i64));
            match &patches {
                Some(patches) => pack_patches(c, cut, (patches, &task), &first, (window, pitch)),
                None => pack(c, p, cut, &task, &first, (activations.x, window, pitch)),
            }
            c.unroll("b", cut.blocks as u32, |c, b| {
                let block = part.clone() * Expr::int(all_blocks as i64) + block_of(&task) + b.clone();
                let from = c.bind_index("from", word(starts, block.clone()));
                let to = c.bind_index("to", word(starts, block + Expr::int(1)));
                c.serial("e", from, to, 1, |c, e| {
                    let step = c.bind_index("step", word(steps, e.clone()));
                    c.unroll("t", tiles as u32, |c, t| {
                        let tile = |buffer, at: Expr, strides: [i64; 2]| {
                            Tile::new(Access::element(buffer, vec![at]), strides.map(Expr::int))
                        };
                        let left = e.clone() * Expr::int((TILE_ROWS * stored) as i64);
                        let right = step * Expr::int(cut.depth as i64 * strides[0])
                            + t.clone() * Expr::int(TILE_COLUMNS as i64 * strides[1]);
                        let row = e * Expr::int(TILE_ROWS as i64);
                        c.push(Stmt::Product(Box::new(Product {
                            precision: cut.precision,
                            group: None,
                            sums: (sums, vec![b, t]),
                            left: tile(values, left, [stored as i64, 1]),
                            right: tile(window, right, strides),
                            kept: ids.get(3).map(|&places| Access::element(places, vec![row])),
                            masked: None,
                        })));
                    });
                });
            });
        });
        let distances = if by_channel(&p.y) { [1, result_pitch as i64] } else { [result_pitch as i64, 1] };
        for_each_sum(c, cut, |c, b, t| {
            let at = b.clone() * Expr::int(TILE_ROWS as i64 * distances[0])
                + t.clone() * Expr::int(TILE_COLUMNS as i64 * distances[1]);
            let to = Tile::new(Access::element(results, vec![at]), distances.map(Expr::int));
            c.push(Stmt::SaveTile(to, sums, vec![b, t]));
        });
        store(c, p, cut, &activations, &task, (results, result_pitch as i64));
    });
    Multiplication::new(c.finish(), tables)
}

fn for_each_sum(c: &mut Context, cut: &Cut, f: impl FnOnce(&mut Context, Expr, Expr)) {
    c.unroll("b", cut.blocks as u32, |c, b| {
        c.unroll("t", (PIXELS / TILE_COLUMNS) as u32, |c, t| f(c, b, t));
    });
}

fn block_of(task: &Task) -> Expr {
    task.row.clone().floor_div(Expr::int(TILE_ROWS as i64))
}

/// The parallel loop: rows of the weight vary fastest, so that neighbouring warps read the same X.
fn for_each_task(c: &mut Context, p: &WeightProblem, cut: &Cut, f: impl FnOnce(&mut Context, Task)) {
    let groups = p.m.div_ceil(cut.rows()) as i64;
    let tiles = p.y.shape[3].ceil_div(&Dim::constant(PIXELS as i64));
    let lines = p.y.shape[2].clone();
    let count = c.dim(&(p.y.shape[0].clone() * lines.clone() * tiles.clone() * Dim::constant(groups)));
    let (tiles, lines) = (c.dim(&tiles), c.dim(&lines));
    c.parallel("task", count, |c, task| {
        let row = c.bind_index("first_row", task.clone().rem(Expr::int(groups)) * Expr::int(cut.rows() as i64));
        let place = c.bind_index("place", task.floor_div(Expr::int(groups)));
        let pixel = c.bind_index("pixel", place.clone().rem(tiles.clone()) * Expr::int(PIXELS as i64));
        let outer = c.bind_index("outer", place.floor_div(tiles));
        let line = c.bind_index("line", outer.clone().rem(lines.clone()));
        let batch = c.bind_index("batch", outer.floor_div(lines));
        f(c, Task { batch, line, pixel, row });
    });
}

/// Copies the part's channels of X for the task's pixels, rounded; zeros beyond both.
fn pack(
    c: &mut Context,
    p: &WeightProblem,
    cut: &Cut,
    task: &Task,
    first: &Expr,
    (x, window, pitch): (BufferId, BufferId, i64),
) {
    let lanes = i64::from(LANES);
    let staged = c.register("staged", Type::vector(Scalar::F32, LANES), vec![LOADS]);
    let width = c.dim(&p.x.shape[3]);
    let k = Expr::int(p.k() as i64);
    // A vector is 32 pixels of a channel, or 32 channels of a pixel.
    let vectors = if by_channel(&p.x) { PIXELS * cut.part / 32 } else { cut.part };
    let place = |v: Expr| {
        let each = Expr::int(cut.part as i64 / lanes);
        if by_channel(&p.x) {
            (v.clone().floor_div(each.clone()), v.rem(each) * Expr::int(lanes))
        } else {
            (v, Expr::int(0))
        }
    };
    let rounds = vectors as i64 / i64::from(LOADS);
    c.serial("round", Expr::int(0), Expr::int(rounds), 1, |c, round| {
        c.unroll("v", LOADS, |c, v| {
            let (line, at) = place(round.clone() * Expr::int(i64::from(LOADS)) + v.clone());
            let (channel, pixel, inside, count) = if by_channel(&p.x) {
                let pixel = task.pixel.clone() + line;
                let channel = first.clone() + at;
                let inside = Expr::compare(CompareOp::Lt, pixel.clone(), width.clone());
                (channel.clone(), pixel, inside, k - channel)
            } else {
                let channel = first.clone() + line;
                let inside = Expr::compare(CompareOp::Lt, channel.clone(), k);
                (channel, task.pixel.clone(), inside, width - task.pixel.clone())
            };
            let active = Expr::select(inside, count, Expr::int(0));
            c.vector(LANES, Some(active), |c, l| {
                let (channel, pixel) = if by_channel(&p.x) { (channel + l, pixel) } else { (channel, pixel + l) };
                let value = load(x, vec![task.batch.clone(), channel, task.line.clone(), pixel]);
                c.set(staged, vec![v], value);
            });
        });
        c.unroll("v", LOADS, |c, v| {
            let (line, at) = place(round * Expr::int(i64::from(LOADS)) + v.clone());
            store_staged(c, cut.precision, (staged, v), (window, line * Expr::int(pitch) + at));
        });
    });
}

/// Copies the part's columns of X for the task's pixels, rounded, as far as there are steps.
fn pack_patches(
    c: &mut Context,
    cut: &Cut,
    (patches, task): (&Patches, &Task),
    first: &Expr,
    (window, pitch): (BufferId, i64),
) {
    let staged = c.register("staged", Type::vector(Scalar::F32, LANES), vec![LOADS]);
    let loads = Expr::int(LOADS.into());
    let rest = Expr::int(cut.columns.count().next_multiple_of(cut.depth) as i64) - first.clone();
    let rounds = rest.min(Expr::int(cut.part as i64)).floor_div(loads.clone());
    c.serial("round", Expr::int(0), rounds, 1, |c, round| {
        let from = c.bind_index("from_column", round * loads);
        patches.load(c, &task.batch, (&(first.clone() + from.clone()), LOADS), staged);
        c.unroll("v", LOADS, |c, v| {
            let to = (from + v.clone()) * Expr::int(pitch);
            store_staged(c, cut.precision, (staged, v), (window, to));
        });
    });
}

/// Stores a vector that was loaded, rounded.
pub(super) fn store_staged(
    c: &mut Context,
    precision: Precision,
    (staged, v): (RegisterId, Expr),
    (window, to): (BufferId, Expr),
) {
    c.vector(LANES, None, |c, l| {
        let value = Expr::Reg(staged, vec![v]);
        let value = match precision {
            Precision::TF32 => value,
            other => value.convert(other.storage()),
        };
        c.store(window, vec![to + l], value);
    });
}

/// Applies the epilogue to the saved sums and stores them.
fn store(
    c: &mut Context,
    p: &WeightProblem,
    cut: &Cut,
    activations: &Activations,
    task: &Task,
    (results, pitch): (BufferId, i64),
) {
    let width = c.dim(&p.y.shape[3]);
    let lanes = i64::from(LANES);
    let pixels = width - task.pixel.clone();
    let rows = (Expr::int(p.m as i64) - task.row.clone()).min(Expr::int(cut.rows() as i64));
    let at = |row: Expr, pixel: Expr| {
        [task.batch.clone(), task.row.clone() + row, task.line.clone(), task.pixel.clone() + pixel]
    };
    if by_channel(&p.y) {
        c.serial("j", Expr::int(0), pixels.min(Expr::int(PIXELS as i64)), 1, |c, j| {
            c.unroll("h", (cut.rows() as u32).div_ceil(u32::from(LANES)), |c, h| {
                let first = h * Expr::int(lanes);
                c.vector(LANES, Some(rows - first.clone()), |c, l| {
                    let row = first + l;
                    let sum = load(results, vec![j.clone() * Expr::int(pitch) + row.clone()]);
                    store_pixel(c, p, activations, &at(row, j), sum);
                });
            });
        });
        return;
    }
    c.serial("r", Expr::int(0), rows, 1, |c, r| {
        c.vector(LANES, Some(pixels), |c, l| {
            let sum = load(results, vec![r.clone() * Expr::int(pitch) + l.clone()]);
            store_pixel(c, p, activations, &at(r, l), sum);
        });
    });
}
