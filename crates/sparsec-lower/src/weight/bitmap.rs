//! `bitmap` weights on tensor cores, for few tokens: what is stored is sparse, what is multiplied is dense.
//!
//! A product with few tokens takes as long as its weight takes to arrive, so the weight's bytes count, and that multiplications by zero
//! are done does not. The idea is that of "Flash-LLM" (Xia et al., VLDB 2023), bitmaps for it that of "SpInfer" (Fan et al., EuroSys 2025).
//!
//! A *piece* of the weight is one or two blocks of 16 rows by 32 columns: up to four tiles of the format `bitmap`. A team computes
//! one or two blocks of rows by 8, 16 or 32 pixels; its warps take pieces in turn, each with sums of its own, which are added up at
//! the end. So a weight of few rows keeps a GPU busy, too. The pieces of a warp are copied to shared memory ahead, masks and
//! nonzeros, and are put together in registers when they are multiplied.
//!
//! ```text
//! parallel team:
//!   warps warp in 0..W:
//!     copy the first pieces; pack X of the first
//!     for round:
//!       await the warp's piece; barrier
//!       load X of the next piece; copy a later one
//!       for each tile of the piece: sums[b, t] += tile * X
//!       pack X of the next piece
//!     for each block of rows: save the sums; barrier; add up, and apply the epilogue
//! ```
//!
//! Pieces without a nonzero are not stored, nor are such tiles of a piece. Where there are none ([`Cut::full`]) all tiles are written
//! out one after the other; else the piece says for each of its places whether there is a tile.

use sparsec_graph::Dim;
use sparsec_sparse::{BITMAP_TILE, BITMAP_WORDS, Format, bitmap_place};
use sparsec_tir::{
    Access, BufferId, BufferKind, CompareOp, Expr, Precision, Product, RegisterId, Scalar, Stmt, TILE_COLUMNS,
    TILE_ROWS, TILE_SUMS, Tile, Type, load,
};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::{WeightProblem, Window};
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tensor::{by_channel, rounded};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Tiles of a piece next to each other, and its columns.
const STEPS: usize = 2;
const PART: usize = STEPS * BITMAP_TILE;
/// Words before the masks of a piece: for each place where its nonzeros begin and the number of its mask.
const HEAD: usize = 4;
/// A place without a tile.
const ABSENT: u32 = u32::MAX;
/// Elements that a warp copies at once.
const COPIED_VALUES: usize = 256;
const COPIED_WORDS: usize = 128;
/// Values in 16 bytes, where a piece begins.
const ALIGNED: usize = 8;
/// Warps of a team, and pieces of a warp in shared memory, in the order in which they are tried.
const WARPS: [usize; 2] = [8, 4];
const STAGES: [usize; 3] = [4, 3, 2];
/// Shared memory of a block, less what alignment may take.
const SHARED_BYTES: usize = 47 << 10;
/// Warps that keep a GPU busy: as in `tensor.rs`.
const BUSY_WARPS: usize = 1056;
/// Products of 8 pixels that a team may have next to each other.
const TILES: [usize; 3] = [1, 2, 4];

/// The masks and nonzeros of the pieces of a weight.
#[derive(Default)]
struct Pieces {
    masks: Vec<u32>,
    values: Vec<f32>,
    /// Where each piece's values begin, in units of 8, and its words, in units of 4; and where the last ones end.
    starts: Vec<i32>,
    /// The first piece of each group of rows, and the last one's end.
    firsts: Vec<i32>,
    /// Which columns a piece has, in units of 32.
    parts: Vec<i32>,
    /// Most values of a piece.
    longest: usize,
    tiles: usize,
}

impl Pieces {
    fn of(dense: &[f32], (m, k): (usize, usize), blocks: usize) -> Pieces {
        let mut pieces = Pieces { firsts: vec![0], ..Pieces::default() };
        for row in (0..m).step_by(blocks * TILE_ROWS) {
            for column in (0..k).step_by(PART) {
                pieces.push(dense, (m, k), (row, column), blocks);
            }
            pieces.firsts.push(pieces.parts.len() as i32);
        }
        pieces.end_piece();
        pieces
    }

    fn end_piece(&mut self) {
        self.starts.extend([(self.values.len() / ALIGNED) as i32, (self.masks.len() / HEAD) as i32]);
    }

    fn push(&mut self, dense: &[f32], (m, k): (usize, usize), (row, column): (usize, usize), blocks: usize) {
        let (mut heads, mut masks, mut values) = ([ABSENT; HEAD], Vec::new(), Vec::new());
        for (place, head) in heads.iter_mut().enumerate().take(blocks * STEPS) {
            let (row, column) = (row + place / STEPS * TILE_ROWS, column + place % STEPS * BITMAP_TILE);
            let (mut mask, from) = ([0_u32; BITMAP_WORDS], values.len());
            for (number, word) in mask.iter_mut().enumerate() {
                for bit in 0..32 {
                    let (i, j) = bitmap_place(number, bit);
                    let (i, j) = (row + i, column + j);
                    if i < m && j < k && dense[i * k + j] != 0.0 {
                        *word |= 1 << bit;
                        values.push(dense[i * k + j]);
                    }
                }
            }
            if mask != [0; BITMAP_WORDS] {
                *head = (masks.len() / BITMAP_WORDS) as u32 | (from as u32) << 16;
                masks.extend(mask);
            }
        }
        if masks.is_empty() {
            return;
        }
        self.end_piece();
        self.parts.push((column / PART) as i32);
        self.tiles += masks.len() / BITMAP_WORDS;
        self.masks.extend(heads);
        self.masks.extend(masks);
        values.resize(values.len().next_multiple_of(ALIGNED), 0.0);
        self.longest = self.longest.max(values.len());
        self.values.extend(values);
    }
}

/// How a weight is cut.
struct Cut {
    precision: Precision,
    /// Blocks of 16 rows of a team, its warps, pieces of each in shared memory, and products next to each other.
    blocks: usize,
    warps: usize,
    stages: usize,
    tiles: usize,
    groups: usize,
    parts: usize,
    pieces: Pieces,
}

impl Cut {
    fn new(p: &WeightProblem, weight: &WeightMatrix, precision: Precision) -> Cut {
        let extents = (p.m, p.k());
        let pixels = p.tokens.and_then(|n| usize::try_from(n).ok());
        let width = p.y.shape[3].as_const().and_then(|n| usize::try_from(n).ok()).or(pixels);
        let tiles = width.and_then(|n| TILES.into_iter().find(|t| n <= t * TILE_COLUMNS)).unwrap_or(4);
        let dense = weight.dense();
        let cut = |blocks: usize| {
            let (groups, parts) = (p.m.div_ceil(blocks * TILE_ROWS), extents.1.div_ceil(PART));
            let pieces = Pieces::of(&dense, extents, blocks);
            let mut cut = Cut { precision, blocks, warps: WARPS[1], stages: 2, tiles, groups, parts, pieces };
            let fits = cut.fit(p);
            (cut, fits)
        };
        let teams = |n: usize| p.m.div_ceil(2 * TILE_ROWS) * n.div_ceil(tiles * TILE_COLUMNS);
        if pixels.is_none_or(|n| teams(n) * WARPS[0] >= BUSY_WARPS)
            && let (two, true) = cut(2)
        {
            return two;
        }
        // One block of rows always fits with four warps.
        cut(1).0
    }

    /// Takes as many warps and pieces in shared memory as there is room for; whether that is enough.
    fn fit(&mut self, p: &WeightProblem) -> bool {
        for warps in WARPS {
            // Each warp has two pieces or more, where there are as many.
            if warps > WARPS[1] && self.parts < 2 * warps {
                continue;
            }
            for stages in STAGES {
                (self.warps, self.stages) = (warps, stages);
                if self.shared_bytes(p) <= SHARED_BYTES {
                    return true;
                }
            }
        }
        false
    }

    fn pixels(&self) -> usize {
        self.tiles * TILE_COLUMNS
    }

    fn rows(&self) -> usize {
        self.blocks * TILE_ROWS
    }

    /// Values and words of the longest piece.
    fn room(&self) -> (usize, usize) {
        (self.pieces.longest.max(ALIGNED), HEAD + self.blocks * STEPS * BITMAP_WORDS)
    }

    /// Lines of the packed X, their elements, and the distance of lines, which keeps lanes of a fragment in different banks.
    fn window(&self, p: &WeightProblem) -> (usize, usize, usize) {
        match by_channel(&p.x) {
            true => (self.pixels(), PART, PART + 8),
            false => (PART, self.pixels(), self.pixels().max(16) + 8),
        }
    }

    /// Lines and length of a warp's sums of a block of rows.
    fn results(&self, p: &WeightProblem) -> (usize, usize) {
        if by_channel(&p.y) { (self.pixels(), TILE_ROWS) } else { (TILE_ROWS, self.pixels()) }
    }

    fn shared_bytes(&self, p: &WeightProblem) -> usize {
        let ((values, words), (lines, _, pitch)) = (self.room(), self.window(p));
        let (result_lines, length) = self.results(p);
        self.warps * (self.stages * (2 * values + 4 * words) + 2 * lines * pitch + 4 * result_lines * (length + 1))
    }

    /// Whether every place of every piece has a tile.
    fn full(&self) -> bool {
        self.pieces.tiles == self.groups * self.parts * self.blocks * STEPS
    }
}

/// The kernel and its tables, or why there is none.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    format: &Format,
    target: &TargetInfo,
) -> Result<Multiplication, &'static str> {
    if *format != Format::Bitmap {
        return Err("bitmap is not a format of what pruning whole rows and columns leaves");
    }
    check(p, weight, target).map(|precision| Kernel::build(p, Cut::new(p, weight, precision)))
}

fn check(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Result<Precision, &'static str> {
    let precision = match target.precision {
        Some(precision) if precision != Precision::TF32 => precision,
        _ => {
            return Err(
                "the format bitmap is for tensor cores at 16 bits: compile for a GPU with --compute f16 or bf16",
            );
        }
    };
    if p.rows != Window::POINT || p.cols != Window::POINT || weight.is_grouped() {
        return Err("the format bitmap is for products and windows of one pixel");
    }
    if p.x.elem != Scalar::F32 {
        return Err("the format bitmap is for activations of f32");
    }
    Ok(precision)
}

fn tables(cut: &Cut) -> Vec<Table> {
    let precision = cut.precision;
    let mut bytes = Vec::new();
    cut.pieces.values.iter().for_each(|v| rounded(precision, *v, &mut bytes));
    let count = cut.pieces.values.len() as u64;
    let values = Table::lazy("values", precision.storage(), count, move |out| out.write_all(&bytes));
    let mut tables = vec![
        values,
        Table::of("masks", Scalar::U32, cut.pieces.masks.clone()),
        Table::of("pieces", Scalar::I32, cut.pieces.starts.clone()),
    ];
    if !cut.full() {
        tables.push(Table::of("firsts", Scalar::I32, cut.pieces.firsts.clone()));
        tables.push(Table::of("parts", Scalar::I32, cut.pieces.parts.clone()));
    }
    tables
}

/// What says which pieces there are.
struct Walk {
    firsts: BufferId,
    parts: BufferId,
}

/// Where a warp is.
struct Task {
    batch: Expr,
    line: Expr,
    /// First pixel of the team.
    pixel: Expr,
    /// First row of the team.
    row: Expr,
    warp: Expr,
    /// The pieces of the team: from, to.
    pieces: (Expr, Expr),
    /// The number of the first one's part, where all are there.
    first_part: Expr,
}

struct Kernel<'p> {
    p: &'p WeightProblem,
    cut: Cut,
    activations: Activations,
    /// Nonzeros and masks, in global memory and what is there of them in shared memory.
    values: (BufferId, BufferId),
    masks: (BufferId, BufferId),
    starts: BufferId,
    walk: Option<Walk>,
    window: BufferId,
    pitch: usize,
    results: BufferId,
    sums: RegisterId,
    staged: RegisterId,
    /// Lanes of a vector that is packed, and how many there are.
    lanes: u16,
    vectors: usize,
}

fn int(value: usize) -> Expr {
    Expr::int(value as i64)
}

fn word(table: BufferId, i: Expr) -> Expr {
    load(table, vec![i]).convert(Scalar::I64)
}

fn below(x: &Expr, end: &Expr) -> Expr {
    Expr::compare(CompareOp::Lt, x.clone(), end.clone())
}

impl<'p> Kernel<'p> {
    fn build(p: &'p WeightProblem, cut: Cut) -> Multiplication {
        let mut c = Context::new("gemm_bitmap");
        c.describe(format!(
            "tensor cores at {}: {} warps share {} rows, {} pixels, each with {PART} channels of a bitmap at a time, {} in shared memory; {}",
            cut.precision.name(),
            cut.warps,
            cut.rows(),
            cut.pixels(),
            cut.stages,
            if cut.full() { "all tiles have nonzeros" } else { "tiles without nonzeros left out" },
        ));
        let tables = tables(&cut);
        let activations = declare_activations(&mut c, p);
        let ids = declare_tables(&mut c, &tables);
        let team = |c: &mut Context, name, elem, kind, size: usize| c.buffer(name, elem, kind, vec![int(size)], vec![]);
        let (elem, (values, words), places) = (cut.precision.storage(), cut.room(), cut.stages * cut.warps);
        let staged_values = team(&mut c, "staged_values", elem, BufferKind::Team, places * values);
        let staged_masks = team(&mut c, "staged_masks", Scalar::U32, BufferKind::Team, places * words);
        let (lines, inner, pitch) = cut.window(p);
        let window = team(&mut c, "window", elem, BufferKind::Scratch, lines * pitch);
        let (result_lines, length) = cut.results(p);
        let results = cut.warps * result_lines * (length + 1);
        let results = team(&mut c, "results", Scalar::F32, BufferKind::Team, results);
        let sums = c.register("sums", TILE_SUMS, vec![cut.blocks as u32, cut.tiles as u32]);
        let lanes = inner as u16;
        let staged = c.register("staged", Type::vector(Scalar::F32, lanes), vec![lines as u32]);
        let walk = (!cut.full()).then(|| Walk { firsts: ids[3], parts: ids[4] });
        let k = Kernel {
            p,
            values: (ids[0], staged_values),
            masks: (ids[1], staged_masks),
            starts: ids[2],
            walk,
            window,
            pitch,
            results,
            sums,
            staged,
            lanes,
            vectors: lines,
            activations,
            cut,
        };
        k.for_each_task(&mut c, |c, task| k.team(c, &task));
        Multiplication::new(c.finish(), tables)
    }

    /// The parallel loop: rows of the weight vary fastest, so that neighbouring teams read the same X.
    fn for_each_task(&self, c: &mut Context, f: impl FnOnce(&mut Context, Task)) {
        let shape = &self.p.y.shape;
        let tiles = shape[3].ceil_div(&Dim::constant(self.cut.pixels() as i64));
        let lines = shape[2].clone();
        let groups = self.cut.groups;
        let all = shape[0].clone() * lines.clone() * tiles.clone() * Dim::constant(groups as i64);
        let (count, tiles, lines) = (c.dim(&all), c.dim(&tiles), c.dim(&lines));
        c.parallel("task", count, |c, task| {
            let group = c.bind_index("group", task.clone().rem(int(groups)));
            let place = c.bind_index("place", task.floor_div(int(groups)));
            let pixel = c.bind_index("pixel", place.clone().rem(tiles.clone()) * int(self.cut.pixels()));
            let outer = c.bind_index("outer", place.floor_div(tiles));
            let line = c.bind_index("line", outer.clone().rem(lines.clone()));
            let batch = c.bind_index("batch", outer.floor_div(lines));
            let row = c.bind_index("row", group.clone() * int(self.cut.rows()));
            let first_part = group.clone() * int(self.cut.parts);
            let (from, to) = match &self.walk {
                Some(walk) => (word(walk.firsts, group.clone()), word(walk.firsts, group + Expr::int(1))),
                None => (first_part.clone(), first_part.clone() + int(self.cut.parts)),
            };
            let pieces = (c.bind_index("first", from), c.bind_index("last", to));
            c.warps("warp", self.cut.warps as u32, |c, warp| {
                f(c, Task { batch, line, pixel, row, warp, pieces, first_part });
            });
        });
    }

    fn team(&self, c: &mut Context, task: &Task) {
        self.for_each_sum(c, |c, b, t| c.set(self.sums, vec![b, t], Expr::f32(0.0)));
        let own = |round: Expr| task.pieces.0.clone() + round * int(self.cut.warps) + task.warp.clone();
        let last = &task.pieces.1;
        for early in 0..self.cut.stages - 1 {
            let piece = c.bind_index("piece", own(int(early)));
            c.branch(below(&piece, last), |c| self.copy(c, task, &piece, &int(early)), |_| {});
            c.push(Stmt::CommitCopies);
        }
        let first = c.bind_index("piece", own(Expr::int(0)));
        let ready = below(&first, last);
        c.branch(
            ready,
            |c| {
                self.load_window(c, task, &first);
                self.store_window(c);
            },
            |_| {},
        );
        let rounds = (last.clone() - task.pieces.0.clone()).ceil_div(int(self.cut.warps));
        let rounds = c.bind_index("rounds", rounds);
        c.serial("round", Expr::int(0), rounds, 1, |c, round| {
            c.push(Stmt::AwaitCopies(self.cut.stages as u32 - 2));
            c.push(Stmt::Barrier);
            let piece = c.bind_index("piece", own(round.clone()));
            let next = c.bind_index("next", own(round.clone() + Expr::int(1)));
            c.branch(below(&next, last), |c| self.load_window(c, task, &next), |_| {});
            let late = c.bind_index("late", round.clone() + int(self.cut.stages - 1));
            let later = c.bind_index("later", own(late.clone()));
            c.branch(below(&later, last), |c| self.copy(c, task, &later, &late), |_| {});
            c.push(Stmt::CommitCopies);
            c.branch(below(&piece, last), |c| self.multiply(c, task, &round), |_| {});
            c.branch(below(&next, last), |c| self.store_window(c), |_| {});
        });
        self.store(c, task);
    }

    fn for_each_sum(&self, c: &mut Context, f: impl FnOnce(&mut Context, Expr, Expr)) {
        c.unroll("b", self.cut.blocks as u32, |c, b| {
            c.unroll("t", self.cut.tiles as u32, |c, t| f(c, b, t));
        });
    }

    /// The number of a round's place in shared memory.
    fn place(&self, task: &Task, round: &Expr) -> Expr {
        round.clone().rem(int(self.cut.stages)) * int(self.cut.warps) + task.warp.clone()
    }

    /// Begins to copy a piece to the place of a round.
    fn copy(&self, c: &mut Context, task: &Task, piece: &Expr, round: &Expr) {
        let place = c.bind_index("place", self.place(task, round));
        let start = |c: &mut Context, name: &str, at: i64, unit: usize| {
            let at = piece.clone() * Expr::int(2) + Expr::int(at);
            c.bind_index(name, word(self.starts, at) * int(unit))
        };
        let (values, words) = (start(c, "values_from", 0, ALIGNED), start(c, "words_from", 1, HEAD));
        let (values_end, words_end) = (start(c, "values_end", 2, ALIGNED), start(c, "words_end", 3, HEAD));
        let room = self.cut.room();
        let one =
            |c: &mut Context, (global, shared): (BufferId, BufferId), ends: (Expr, Expr), room: usize, step: usize| {
                let size = c.bind_index("size", ends.1 - ends.0.clone());
                for at in (0..room).step_by(step) {
                    let whole = |buffer, at: Expr| Access { lanes: step as u16, ..Access::element(buffer, vec![at]) };
                    let active = Some(Box::new(size.clone() - int(at)));
                    let from = Access { active, ..whole(global, ends.0.clone() + int(at)) };
                    c.push(Stmt::CopyAsync(whole(shared, place.clone() * int(room) + int(at)), from));
                }
            };
        one(c, self.masks, (words, words_end), room.1, COPIED_WORDS);
        one(c, self.values, (values, values_end), room.0, COPIED_VALUES);
    }

    /// Loads a piece's channels of X for the team's pixels; zeros beyond both.
    fn load_window(&self, c: &mut Context, task: &Task, piece: &Expr) {
        let part = match &self.walk {
            Some(walk) => word(walk.parts, piece.clone()),
            None => piece.clone() - task.first_part.clone(),
        };
        let first = c.bind_index("first_channel", part * int(PART));
        let (width, k) = (c.dim(&self.p.x.shape[3]), int(self.p.k()));
        let channels = by_channel(&self.p.x);
        c.unroll("v", self.vectors as u32, |c, v| {
            let (channel, pixel) = match channels {
                true => (first.clone(), task.pixel.clone() + v.clone()),
                false => (first.clone() + v.clone(), task.pixel.clone()),
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

    /// Stores what was loaded of X, rounded.
    fn store_window(&self, c: &mut Context) {
        c.unroll("v", self.vectors as u32, |c, v| {
            let to = v.clone() * int(self.pitch);
            c.vector(self.lanes, None, |c, l| {
                let value = Expr::Reg(self.staged, vec![v]).convert(self.cut.precision.storage());
                c.store(self.window, vec![to + l], value);
            });
        });
    }

    /// Multiplies the piece of a round.
    fn multiply(&self, c: &mut Context, task: &Task, round: &Expr) {
        let place = c.bind_index("place", self.place(task, round));
        let (values, words) = self.cut.room();
        let words_at = c.bind_index("words_at", place.clone() * int(words));
        let values_at = c.bind_index("values_at", place * int(values));
        for b in 0..self.cut.blocks {
            for step in 0..STEPS {
                let number = b * STEPS + step;
                let head = c.bind_index("head", word(self.masks.1, words_at.clone() + int(number)));
                let from = values_at.clone() + head.clone().floor_div(Expr::int(1 << 16));
                if self.walk.is_none() {
                    let mask = words_at.clone() + int(HEAD + number * BITMAP_WORDS);
                    self.products(c, (b, step), from, mask);
                    continue;
                }
                let mask = words_at.clone() + int(HEAD) + head.clone().rem(Expr::int(1 << 16)) * int(BITMAP_WORDS);
                let there = Expr::compare(CompareOp::Ne, head, Expr::int(ABSENT.into()));
                c.branch(there, |c| self.products(c, (b, step), from, mask), |_| {});
            }
        }
    }

    /// The products of a tile.
    fn products(&self, c: &mut Context, (b, step): (usize, usize), from: Expr, mask: Expr) {
        let (from, mask) = (c.bind_index("from", from), c.bind_index("mask", mask));
        let strides = if by_channel(&self.p.x) { [1, self.pitch] } else { [self.pitch, 1] };
        c.unroll("t", self.cut.tiles as u32, |c, t| {
            let element = |buffer, at: Expr| Access::element(buffer, vec![at]);
            let right = int(step * BITMAP_TILE * strides[0]) + t.clone() * int(TILE_COLUMNS * strides[1]);
            c.push(Stmt::Product(Box::new(Product {
                precision: self.cut.precision,
                group: None,
                sums: (self.sums, vec![int(b), t]),
                left: Tile::packed(element(self.values.1, from)),
                right: Tile::new(element(self.window, right), strides.map(int)),
                kept: None,
                masked: Some(element(self.masks.1, mask)),
            })));
        });
    }

    /// Adds up the sums of the warps, block by block of rows, applies the epilogue, and stores: each warp some of the lines.
    fn store(&self, c: &mut Context, task: &Task) {
        let width = c.dim(&self.p.y.shape[3]);
        let channels = by_channel(&self.p.y);
        let (lines, length) = self.cut.results(self.p);
        let pitch = length + 1;
        let of_warp = |warp: Expr| warp * int(lines * pitch);
        let strides = if channels { [1, pitch] } else { [pitch, 1] };
        c.unroll("b", self.cut.blocks as u32, |c, b| {
            c.push(Stmt::Barrier);
            c.unroll("t", self.cut.tiles as u32, |c, t| {
                let at = of_warp(task.warp.clone()) + t.clone() * int(TILE_COLUMNS * strides[1]);
                let to = Tile::new(Access::element(self.results, vec![at]), strides.map(int));
                c.push(Stmt::SaveTile(to, self.sums, vec![b.clone(), t]));
            });
            c.push(Stmt::Barrier);
            let row = c.bind_index("first_row", task.row.clone() + b * int(TILE_ROWS));
            let (rows, pixels) = (int(self.p.m) - row.clone(), width - task.pixel.clone());
            let (outer, inner) = if channels { (pixels, rows) } else { (rows, pixels) };
            c.serial("line", task.warp.clone(), outer.min(int(lines)), self.cut.warps as i64, |c, line| {
                c.vector(length as u16, Some(inner), |c, l| {
                    let at = line.clone() * int(pitch) + l.clone();
                    let one = |warp: usize| load(self.results, vec![of_warp(int(warp)) + at.clone()]);
                    let sum = (1..self.cut.warps).fold(one(0), |sum, warp| sum + one(warp));
                    let (i, pixel) = if channels { (l, line) } else { (line, l) };
                    let place = [task.batch.clone(), row + i, task.line.clone(), task.pixel.clone() + pixel];
                    store_pixel(c, self.p, &self.activations, &place, sum);
                });
            });
        });
    }
}
