//! Weights on tensor cores where there are enough rows and pixels: a team of four warps computes 128 rows by 64 pixels, each warp 64 by 32.
//!
//! The weight is cut into steps of 16 rows as in `tensor.rs`, and two steps of columns are a *part*. The team goes from part to part. The steps
//! that are not all zeros lie one after the other in the weight's table, so those of a part are one piece, which is copied to shared
//! memory parts ahead. X is `f32` and has to be rounded, so it goes through registers: loaded while the present part is
//! multiplied, and stored for the next one.
//!
//! ```text
//! parallel team:
//!   warps warp in 0..4:
//!     copy the steps of the first parts; pack X of the first
//!     for part:                      those in which the 128 rows have a step
//!       await the part's steps; barrier
//!       load X of the next part; copy the steps of a later one
//!       multiply the warp's steps: sums[b, t] += step * X
//!       pack X of the next part
//!     for each block of rows: save the sums, and apply the epilogue
//! ```
//!
//! One barrier for each part is enough: X has two places and the steps have one more than are on their way, so what a warp
//! writes behind a barrier was read before it. Without a step of zeros ([`Cut::full`]) all bounds are constants and the products are written
//! out; else tables say which parts and steps there are.

use sparsec_graph::Dim;
use sparsec_sparse::Format;
use sparsec_tir::{
    Access, BufferId, BufferKind, CompareOp, Expr, Precision, Product, RegisterId, Scalar, Stmt, TILE_COLUMNS,
    TILE_ROWS, TILE_SUMS, Tile, Type, load,
};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tensor::{by_channel, rounded, row_of, sparse_at, stored};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Warps of a team: two by rows, two by pixels.
const WARPS: usize = 4;
/// Blocks of 16 rows of a warp, and of a team.
const WARP_BLOCKS: usize = 4;
const TEAM_BLOCKS: usize = 2 * WARP_BLOCKS;
const WARP_ROWS: usize = WARP_BLOCKS * TILE_ROWS;
const TEAM_ROWS: usize = 2 * WARP_ROWS;
const WARP_PIXELS: usize = 32;
const TEAM_PIXELS: usize = 2 * WARP_PIXELS;
/// Products of 8 pixels next to each other.
const TILES: usize = WARP_PIXELS / TILE_COLUMNS;
/// Steps of columns in a part.
const STEPS: usize = 2;
/// Teams that keep a GPU busy: one for each multiprocessor of an H100.
const BUSY_TEAMS: usize = 132;
/// Bytes of a step's values, whatever the precision: what a warp copies at once.
const STEP_BYTES: usize = 512;
/// Words of a step's places.
const PLACES: usize = TILE_ROWS;
/// Words that a warp copies at once.
const COPIED_PLACES: usize = 128;

/// How a weight is cut.
struct Cut {
    precision: Precision,
    sparse: bool,
    /// Columns of a step, and of a part.
    depth: usize,
    part: usize,
    /// Places for the steps of a part in shared memory.
    stages: usize,
    /// Teams on top of each other, and parts side by side.
    groups: usize,
    parts: usize,
    entries: Vec<Entry>,
}

/// One step that is not all zeros: its first row and column.
#[derive(Clone, Copy)]
struct Entry {
    row: usize,
    column: usize,
}

impl Cut {
    fn new(p: &WeightProblem, weight: &WeightMatrix, precision: Precision, sparse: bool) -> Cut {
        let depth = precision.depth() * if sparse { 2 } else { 1 };
        let (part, groups) = (STEPS * depth, p.m.div_ceil(TEAM_ROWS));
        // Two places where X takes twice the memory: 48 KiB have to do.
        let (stages, parts) = (if sparse { 2 } else { 3 }, p.k().div_ceil(part));
        let mut cut = Cut { precision, sparse, depth, part, stages, groups, parts, entries: Vec::new() };
        let (m, k, dense) = (p.m, p.k(), weight.dense());
        for (group, part, block, step) in cut.places() {
            let (row, column) = (group * TEAM_ROWS + block * TILE_ROWS, part * cut.part + step * depth);
            let columns = column.min(k)..(column + depth).min(k);
            let zero = |r: usize| dense[r * k..][columns.clone()].iter().all(|v| *v == 0.0);
            if !(row.min(m)..(row + TILE_ROWS).min(m)).all(zero) {
                cut.entries.push(Entry { row, column });
            }
        }
        cut
    }

    /// Group, part, block and step of all steps, in the order of the table.
    fn places(&self) -> Vec<(usize, usize, usize, usize)> {
        let parts = (0..self.groups).flat_map(|g| (0..self.parts).map(move |p| (g, p)));
        let blocks = parts.flat_map(|(g, p)| (0..TEAM_BLOCKS).map(move |b| (g, p, b)));
        blocks.flat_map(|(g, p, b)| (0..STEPS).map(move |s| (g, p, b, s))).collect()
    }

    /// Whether no step is all zeros.
    fn full(&self) -> bool {
        self.entries.len() == self.groups * self.parts * TEAM_BLOCKS * STEPS
    }

    /// Values of a step.
    fn values(&self) -> usize {
        TILE_ROWS * self.precision.depth()
    }

    /// The parts in which each group has steps; and where the steps of each block of each of them begin.
    fn walk(&self) -> (Vec<i32>, Vec<i32>, Vec<i32>) {
        let (mut firsts, mut parts, mut starts) = (vec![0], Vec::new(), vec![0]);
        let mut entries = self.entries.iter().enumerate().peekable();
        for group in 0..self.groups {
            for part in 0..self.parts {
                let of = |e: &Entry, block: usize| {
                    e.row == group * TEAM_ROWS + block * TILE_ROWS && e.column / self.part == part
                };
                if !entries.peek().is_some_and(|(_, e)| e.row / TEAM_ROWS == group && e.column / self.part == part) {
                    continue;
                }
                parts.push(part as i32);
                for block in 0..TEAM_BLOCKS {
                    while entries.next_if(|(_, e)| of(e, block)).is_some() {}
                    starts.push(entries.peek().map_or(self.entries.len(), |(i, _)| *i) as i32);
                }
            }
            firsts.push(parts.len() as i32);
        }
        (firsts, parts, starts)
    }
}

/// The kernel and its tables; `None` where it would leave most of a GPU idle, or not fit.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Option<Multiplication> {
    let (precision, sparse) = sparse_at(p, weight, format, target)?;
    let pixels = p.tokens.and_then(|n| usize::try_from(n).ok())?;
    let wide = p.y.shape[3].as_const().is_none_or(|n| n > WARP_PIXELS as i64);
    let busy = p.m.div_ceil(TEAM_ROWS) * pixels.div_ceil(TEAM_PIXELS) >= BUSY_TEAMS;
    (p.m > WARP_ROWS && wide && busy).then(|| Kernel::build(p, weight, Cut::new(p, weight, precision, sparse)))
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

fn tables(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut) -> Vec<Table> {
    let (extents, precision, sparse, depth) = ((p.m, p.k()), cut.precision, cut.sparse, cut.depth);
    let mut places: Vec<u32> = Vec::new();
    if sparse {
        let dense = weight.dense();
        for e in &cut.entries {
            places.extend((0..TILE_ROWS).map(|i| stored(&row_of(&dense, extents, e.row + i, e.column, depth), true).1));
        }
    }
    let (weight, entries) = (weight.clone(), cut.entries.clone());
    let values = Table::lazy("values", precision.storage(), (entries.len() * cut.values()) as u64, move |out| {
        let (dense, mut bytes) = (weight.dense(), Vec::new());
        for e in &entries {
            bytes.clear();
            let row = |i| stored(&row_of(&dense, extents, e.row + i, e.column, depth), sparse).0;
            blocks_of(&(0..TILE_ROWS).map(row).collect::<Vec<_>>(), precision, &mut bytes);
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

/// What says which steps there are.
struct Walk {
    firsts: BufferId,
    parts: BufferId,
    starts: BufferId,
    steps: BufferId,
}

/// Where a warp is.
struct Task {
    batch: Expr,
    line: Expr,
    /// First pixel of the team.
    pixel: Expr,
    /// Number of 128 rows.
    group: Expr,
    warp: Expr,
    /// Which half of the rows and of the pixels is the warp's.
    lower: Expr,
    right: Expr,
}

struct Kernel<'p> {
    p: &'p WeightProblem,
    cut: Cut,
    activations: Activations,
    /// The weight's values and places, in global memory and what is there of them in shared memory.
    values: (BufferId, BufferId),
    places: Option<(BufferId, BufferId)>,
    walk: Option<Walk>,
    window: BufferId,
    /// Distances of channels and pixels in the window, and elements of one of its two places.
    strides: [i64; 2],
    window_size: i64,
    results: BufferId,
    sums: RegisterId,
    staged: RegisterId,
    /// Lanes of a vector that is packed, and how many a warp packs.
    lanes: u16,
    vectors: usize,
}

fn int(value: usize) -> Expr {
    Expr::int(value as i64)
}

fn word(table: BufferId, i: Expr) -> Expr {
    load(table, vec![i]).convert(Scalar::I64)
}

impl<'p> Kernel<'p> {
    fn build(p: &'p WeightProblem, weight: &WeightMatrix, cut: Cut) -> Multiplication {
        let mut c = Context::new(if cut.sparse { "spmm_team_2_4" } else { "gemm_team" });
        c.describe(format!(
            "tensor cores at {}: {WARPS} warps share {TEAM_ROWS} rows, {TEAM_PIXELS} pixels, {} channels at a time; {} parts of the weight \
             in shared memory; {}",
            cut.precision.name(),
            cut.part,
            cut.stages,
            if cut.full() { "all steps have entries" } else { "steps of zeros left out" },
        ));
        c.describe(format!("chosen for at least {BUSY_TEAMS} teams and more than {WARP_ROWS} rows"));
        let tables = tables(p, weight, &cut);
        let activations = declare_activations(&mut c, p);
        let ids = declare_tables(&mut c, &tables);
        let named = |name: &str| tables.iter().position(|t| t.name == name).map(|i| ids[i]);
        let team =
            |c: &mut Context, name, elem, size: usize| c.buffer(name, elem, BufferKind::Team, vec![int(size)], vec![]);
        let elem = cut.precision.storage();
        let part_steps = TEAM_BLOCKS * STEPS;
        let staged_values = team(&mut c, "staged_values", elem, cut.stages * part_steps * cut.values());
        let places = named("places")
            .map(|global| (global, team(&mut c, "staged_places", Scalar::U32, cut.stages * part_steps * PLACES)));
        // The distance of packed rows keeps lanes of a fragment in different banks.
        let (outer, inner) = if by_channel(&p.x) { (TEAM_PIXELS, cut.part) } else { (cut.part, TEAM_PIXELS) };
        let pitch = inner + if cut.precision == Precision::TF32 && by_channel(&p.x) { 4 } else { 8 };
        let window = team(&mut c, "window", elem, 2 * outer * pitch);
        let (lines, length) = if by_channel(&p.y) { (TILE_COLUMNS, WARP_ROWS) } else { (TILE_ROWS, WARP_PIXELS) };
        let results = c.buffer("results", Scalar::F32, BufferKind::Scratch, vec![int(lines * (length + 1))], vec![]);
        let sums = c.register("sums", TILE_SUMS, vec![WARP_BLOCKS as u32, TILES as u32]);
        let lanes = inner.min(32);
        let vectors = outer * inner / lanes / WARPS;
        let staged = c.register("staged", Type::vector(Scalar::F32, lanes as u16), vec![vectors as u32]);
        let walk = named("firsts").zip(named("parts")).zip(named("starts")).zip(named("steps"));
        let walk = walk.map(|(((firsts, parts), starts), steps)| Walk { firsts, parts, starts, steps });
        let pitch = pitch as i64;
        let k = Kernel {
            p,
            values: (ids[0], staged_values),
            places,
            walk,
            window,
            strides: if by_channel(&p.x) { [1, pitch] } else { [pitch, 1] },
            window_size: outer as i64 * pitch,
            results,
            sums,
            staged,
            lanes: lanes as u16,
            vectors,
            activations,
            cut,
        };
        k.for_each_task(&mut c, |c, task| k.team(c, &task));
        Multiplication::new(c.finish(), tables)
    }

    /// The parallel loop: rows of the weight vary fastest, so that neighbouring teams read the same X.
    fn for_each_task(&self, c: &mut Context, f: impl FnOnce(&mut Context, Task)) {
        let shape = &self.p.y.shape;
        let tiles = shape[3].ceil_div(&Dim::constant(TEAM_PIXELS as i64));
        let lines = shape[2].clone();
        let groups = self.cut.groups;
        let all = shape[0].clone() * lines.clone() * tiles.clone() * Dim::constant(groups as i64);
        let (count, tiles, lines) = (c.dim(&all), c.dim(&tiles), c.dim(&lines));
        c.parallel("task", count, |c, task| {
            let group = c.bind_index("group", task.clone().rem(int(groups)));
            let place = c.bind_index("place", task.floor_div(int(groups)));
            let pixel = c.bind_index("pixel", place.clone().rem(tiles.clone()) * int(TEAM_PIXELS));
            let outer = c.bind_index("outer", place.floor_div(tiles));
            let line = c.bind_index("line", outer.clone().rem(lines.clone()));
            let batch = c.bind_index("batch", outer.floor_div(lines));
            c.warps("warp", WARPS as u32, |c, warp| {
                let lower = c.bind_index("lower", warp.clone().floor_div(Expr::int(2)));
                let right = c.bind_index("right", warp.clone().rem(Expr::int(2)));
                f(c, Task { batch, line, pixel, group, warp, lower, right });
            });
        });
    }

    fn team(&self, c: &mut Context, task: &Task) {
        // The part's number counts those of all groups where tables list them, else those of this group.
        let (first, last) = match &self.walk {
            Some(walk) => (
                c.bind_index("first", word(walk.firsts, task.group.clone())),
                c.bind_index("last", word(walk.firsts, task.group.clone() + Expr::int(1))),
            ),
            None => (Expr::int(0), int(self.cut.parts)),
        };
        let below = |s: Expr| Expr::compare(CompareOp::Lt, s, last.clone());
        self.for_each_sum(c, |c, b, t| c.set(self.sums, vec![b, t], Expr::f32(0.0)));
        for ahead in 0..self.cut.stages - 1 {
            let s = first.clone() + int(ahead);
            c.branch(below(s.clone()), |c| self.copy(c, task, &s), |_| {});
            c.push(Stmt::CommitCopies);
        }
        c.branch(
            below(first.clone()),
            |c| {
                self.load_window(c, task, &first);
                self.store_window(c, task, &first);
            },
            |_| {},
        );
        c.serial("s", first, last.clone(), 1, |c, s| {
            c.push(Stmt::AwaitCopies(self.cut.stages as u32 - 2));
            c.push(Stmt::Barrier);
            let next = c.bind_index("next", s.clone() + Expr::int(1));
            c.branch(below(next.clone()), |c| self.load_window(c, task, &next), |_| {});
            let later = c.bind_index("later", s.clone() + int(self.cut.stages - 1));
            c.branch(below(later.clone()), |c| self.copy(c, task, &later), |_| {});
            c.push(Stmt::CommitCopies);
            self.multiply(c, task, &s);
            c.branch(below(next.clone()), |c| self.store_window(c, task, &next), |_| {});
        });
        self.store(c, task);
    }

    fn for_each_sum(&self, c: &mut Context, f: impl FnOnce(&mut Context, Expr, Expr)) {
        c.unroll("b", WARP_BLOCKS as u32, |c, b| {
            c.unroll("t", TILES as u32, |c, t| f(c, b, t));
        });
    }

    /// The number of a part's first step in the table.
    fn first_step(&self, task: &Task, s: &Expr) -> Expr {
        match &self.walk {
            Some(walk) => word(walk.starts, s.clone() * int(TEAM_BLOCKS)),
            None => (task.group.clone() * int(self.cut.parts) + s.clone()) * int(TEAM_BLOCKS * STEPS),
        }
    }

    /// The number of the first step of a part's place in shared memory.
    fn place(&self, s: &Expr) -> Expr {
        s.clone().rem(int(self.cut.stages)) * int(TEAM_BLOCKS * STEPS)
    }

    /// Begins to copy the steps of a part.
    fn copy(&self, c: &mut Context, task: &Task, s: &Expr) {
        let from = c.bind_index("from", self.first_step(task, s));
        let place = c.bind_index("place", self.place(s));
        let size = self.cut.values();
        let lanes = (STEP_BYTES / self.cut.precision.storage().size()) as u16;
        let whole = |buffer, at: Expr, lanes| Access { lanes, ..Access::element(buffer, vec![at]) };
        let step = |c: &mut Context, e: Expr| {
            let to = whole(self.values.1, (place.clone() + e.clone()) * int(size), lanes);
            c.push(Stmt::CopyAsync(to, whole(self.values.0, (from.clone() + e) * int(size), lanes)));
        };
        let count = match &self.walk {
            Some(walk) => {
                let count = word(walk.starts, (s.clone() + Expr::int(1)) * int(TEAM_BLOCKS)) - from.clone();
                let count = c.bind_index("count", count);
                c.serial("e", task.warp.clone(), count.clone(), WARPS as i64, step);
                count
            }
            None => {
                c.unroll("e", (TEAM_BLOCKS * STEPS / WARPS) as u32, |c, e| {
                    step(c, e * int(WARPS) + task.warp.clone());
                });
                int(TEAM_BLOCKS * STEPS)
            }
        };
        if let Some((global, shared)) = self.places {
            let copies = TEAM_BLOCKS * STEPS * PLACES / COPIED_PLACES;
            c.serial("h", task.warp.clone(), int(copies), WARPS as i64, |c, h| {
                let at = h * int(COPIED_PLACES);
                let lanes = COPIED_PLACES as u16;
                let active = count * int(PLACES) - at.clone();
                let source = whole(global, from.clone() * int(PLACES) + at.clone(), lanes);
                let source = Access { active: Some(Box::new(active)), ..source };
                c.push(Stmt::CopyAsync(whole(shared, place.clone() * int(PLACES) + at, lanes), source));
            });
        }
    }

    /// First channel of a part.
    fn first_channel(&self, s: &Expr) -> Expr {
        let part = self.walk.as_ref().map_or_else(|| s.clone(), |walk| word(walk.parts, s.clone()));
        part * int(self.cut.part)
    }

    /// Row in the window of a vector of the warp, and where in the row it begins.
    fn vector_place(&self, task: &Task, v: Expr) -> (Expr, Expr) {
        let number = task.warp.clone() * int(self.vectors) + v;
        let inner = if by_channel(&self.p.x) { self.cut.part } else { TEAM_PIXELS };
        let each = inner / usize::from(self.lanes);
        if each == 1 {
            return (number, Expr::int(0));
        }
        (number.clone().floor_div(int(each)), number.rem(int(each)) * int(self.lanes.into()))
    }

    /// Loads the warp's share of a part's channels of X for the team's pixels; zeros beyond both.
    fn load_window(&self, c: &mut Context, task: &Task, s: &Expr) {
        let first = c.bind_index("first_channel", self.first_channel(s));
        let (width, k) = (c.dim(&self.p.x.shape[3]), int(self.p.k()));
        c.unroll("v", self.vectors as u32, |c, v| {
            let (line, at) = self.vector_place(task, v.clone());
            let below = |x: &Expr, end: &Expr| Expr::compare(CompareOp::Lt, x.clone(), end.clone());
            let channels = by_channel(&self.p.x);
            let (channel, pixel) = match channels {
                true => (first.clone() + at, task.pixel.clone() + line),
                false => (first.clone() + line, task.pixel.clone() + at),
            };
            let active = match channels {
                true => Expr::select(below(&pixel, &width), k.clone() - channel.clone(), Expr::int(0)),
                false => Expr::select(below(&channel, &k), width.clone() - pixel.clone(), Expr::int(0)),
            };
            c.vector(self.lanes, Some(active), |c, l| {
                let (channel, pixel) = if channels { (channel + l, pixel) } else { (channel, pixel + l) };
                let value = load(self.activations.x, vec![task.batch.clone(), channel, task.line.clone(), pixel]);
                c.set(self.staged, vec![v], value);
            });
        });
    }

    /// The element of the window where a part's begins.
    fn window_place(&self, s: &Expr) -> Expr {
        s.clone().rem(Expr::int(2)) * Expr::int(self.window_size)
    }

    /// Stores what was loaded of X, rounded.
    fn store_window(&self, c: &mut Context, task: &Task, s: &Expr) {
        let place = c.bind_index("window_place", self.window_place(s));
        let pitch = self.strides[0].max(self.strides[1]);
        c.unroll("v", self.vectors as u32, |c, v| {
            let (line, at) = self.vector_place(task, v.clone());
            let to = place.clone() + line * Expr::int(pitch) + at;
            c.vector(self.lanes, None, |c, l| {
                let value = Expr::Reg(self.staged, vec![v]);
                let value = match self.cut.precision {
                    Precision::TF32 => value,
                    other => value.convert(other.storage()),
                };
                c.store(self.window, vec![to + l], value);
            });
        });
    }

    /// Multiplies the warp's steps of a part.
    fn multiply(&self, c: &mut Context, task: &Task, s: &Expr) {
        let place = c.bind_index("place", self.place(s));
        let window = c.bind_index("window_place", self.window_place(s));
        let window =
            c.bind_index("window_pixel", window + task.right.clone() * Expr::int(WARP_PIXELS as i64 * self.strides[1]));
        let block = c.bind_index("first_block", task.lower.clone() * int(WARP_BLOCKS));
        match &self.walk {
            Some(walk) => {
                let from = c.bind_index("from", self.first_step(task, s));
                c.unroll("b", WARP_BLOCKS as u32, |c, b| {
                    let at = s.clone() * int(TEAM_BLOCKS) + block + b.clone();
                    let begin = c.bind_index("begin", word(walk.starts, at.clone()));
                    let end = c.bind_index("end", word(walk.starts, at + Expr::int(1)));
                    c.serial("e", begin, end, 1, |c, e| {
                        let step = c.bind_index("step", word(walk.steps, e.clone()));
                        let at = c.bind_index("at", place.clone() + e - from);
                        self.products(c, &b, &at, &step, &window);
                    });
                });
            }
            None => c.unroll("step", STEPS as u32, |c, step| {
                c.unroll("b", WARP_BLOCKS as u32, |c, b| {
                    let at = place.clone() + (block + b.clone()) * int(STEPS) + step.clone();
                    self.products(c, &b, &at, &step, &window);
                });
            }),
        }
    }

    /// The products of one step, at a place among the copied ones.
    fn products(&self, c: &mut Context, b: &Expr, at: &Expr, step: &Expr, window: &Expr) {
        let (size, storage) = (self.cut.values(), self.cut.precision.storage());
        let block = (8 * 16 / storage.size()) as i64;
        c.unroll("t", TILES as u32, |c, t| {
            let element = |buffer, at: Expr| Access::element(buffer, vec![at]);
            let left = element(self.values.1, at.clone() * int(size));
            let right = window.clone()
                + step.clone() * Expr::int(self.cut.depth as i64 * self.strides[0])
                + t.clone() * Expr::int(TILE_COLUMNS as i64 * self.strides[1]);
            c.push(Stmt::Product(Box::new(Product {
                precision: self.cut.precision,
                sums: (self.sums, vec![b.clone(), t]),
                left: Tile::in_blocks(left, [block, 2 * block].map(Expr::int)),
                right: Tile::new(element(self.window, right), self.strides.map(Expr::int)),
                kept: self.places.map(|(_, shared)| element(shared, at.clone() * int(PLACES))),
            })));
        });
    }

    /// Saves the sums piece by piece, applies the epilogue, and stores: blocks of rows, or, where channels are neighbours, 8 pixels of all
    /// the warp's rows.
    fn store(&self, c: &mut Context, task: &Task) {
        let width = c.dim(&self.p.y.shape[3]);
        let warp_row = task.group.clone() * int(TEAM_ROWS) + task.lower.clone() * int(WARP_ROWS);
        let row = c.bind_index("row", warp_row);
        let pixel = c.bind_index("warp_pixel", task.pixel.clone() + task.right.clone() * int(WARP_PIXELS));
        let m = int(self.p.m);
        let save = |c: &mut Context, at: Expr, strides: [usize; 2], sum: Vec<Expr>| {
            let to = Tile::new(Access::element(self.results, vec![at]), strides.map(int));
            c.push(Stmt::SaveTile(to, self.sums, sum));
        };
        let result = |line: Expr, pitch: usize, at: Expr| load(self.results, vec![line * int(pitch) + at]);
        let place = |row: Expr, pixel: Expr| [task.batch.clone(), row, task.line.clone(), pixel];
        if by_channel(&self.p.y) {
            let pitch = WARP_ROWS + 1;
            c.unroll("t", TILES as u32, |c, t| {
                c.unroll("b", WARP_BLOCKS as u32, |c, b| {
                    save(c, b.clone() * int(TILE_ROWS), [1, pitch], vec![b, t.clone()]);
                });
                let first = c.bind_index("first_pixel", pixel.clone() + t * int(TILE_COLUMNS));
                let pixels = (width.clone() - first.clone()).min(int(TILE_COLUMNS));
                c.serial("j", Expr::int(0), pixels, 1, |c, j| {
                    c.unroll("h", (WARP_ROWS / 32) as u32, |c, h| {
                        let from = h * Expr::int(32);
                        let at = row.clone() + from.clone();
                        c.vector(32, Some(m.clone() - at.clone()), |c, l| {
                            let sum = result(j.clone(), pitch, from + l.clone());
                            store_pixel(c, self.p, &self.activations, &place(at + l, first + j), sum);
                        });
                    });
                });
            });
            return;
        }
        let pitch = WARP_PIXELS + 1;
        c.unroll("b", WARP_BLOCKS as u32, |c, b| {
            c.unroll("t", TILES as u32, |c, t| {
                save(c, t.clone() * int(TILE_COLUMNS), [pitch, 1], vec![b.clone(), t]);
            });
            let first = c.bind_index("first_row", row.clone() + b * int(TILE_ROWS));
            let rows = (m.clone() - first.clone()).min(int(TILE_ROWS));
            c.serial("r", Expr::int(0), rows, 1, |c, r| {
                c.vector(32, Some(width - pixel.clone()), |c, l| {
                    let sum = result(r.clone(), pitch, l.clone());
                    store_pixel(c, self.p, &self.activations, &place(first + r, pixel + l), sum);
                });
            });
        });
    }
}
