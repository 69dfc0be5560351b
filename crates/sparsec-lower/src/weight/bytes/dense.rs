//! All words of a weight: lanes along the outputs, a word of X broadcast to each.
//!
//! ```text
//! parallel tile of tokens, share of the panels:
//!   (X packed into whole words, where it does not lie in them)
//!   for panel of T vectors of outputs:
//!     for R tokens, then for what is left of them by smaller R:
//!       for word of K:
//!         unroll r: x = word of token r;  unroll t: sums[r, t] = dot4(sums[r, t], x, weight(panel, word, t))
//! ```
//!
//! What is left of the tokens after as many as fill R is computed by twos and one by one.
//!
//! | table | type | layout |
//! |---|---|---|
//! | `words` | i32 | T x L outputs for each word of K; order: panel, word |

use sparsec_graph::Dim;
use sparsec_tir::{Access, BufferId, BufferKind, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::bytes::pack::{declare, is_word_major, turned, word_of_x};
use crate::weight::bytes::{ByteMatrix, WORD, store_sum};
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::Activations;

/// Tokens of a tile, whose X stays in the second-level cache.
const TILE: i64 = 48;
/// Tasks that a product is cut into where it has that many panels.
const TASKS: i64 = 8;
/// Bytes that are packed at a time.
const PACK_LANES: u16 = 64;

/// How a product is cut.
struct Cut {
    lanes: usize,
    /// Tokens in registers, for as long as that many are left, from the most to one.
    heights: Vec<usize>,
    /// Vectors of outputs in registers.
    vectors: usize,
    /// Tokens of a tile.
    tile: i64,
    /// Panels of `vectors` vectors.
    panels: usize,
    /// Parts of the panels, each a task of its own.
    shares: i64,
}

impl Cut {
    fn of(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Cut {
        let lanes = usize::from(target.lanes);
        let wide = target.registers >= 32;
        let tokens = p.y.shape[3].as_const().unwrap_or(i64::MAX).max(1);
        let most = if wide { 6 } else { 4 };
        // Groups of equal size.
        let groups = if tokens > TILE { 1 } else { (tokens + most - 1) / most };
        let height = if tokens > TILE { most } else { (tokens + groups - 1) / groups };
        let mut heights: Vec<usize> = [height, 2, 1].into_iter().filter(|&h| h <= height).map(|h| h as usize).collect();
        heights.dedup();
        if tokens % height == 0 && p.y.shape[3].as_const().is_some() {
            heights.truncate(1);
        }
        let height = height as usize;
        // Sums that hide the latency of a product, and leave registers for a weight and a word.
        let sums = if wide { 24 } else { 8 };
        let most = (sums / height).min(if height <= 2 { 8 } else { 4 }).max(1);
        let all = weight.outputs().div_ceil(lanes);
        let panels = all.div_ceil(most);
        let vectors = all.div_ceil(panels);
        let tile = TILE.min((tokens.saturating_add(height as i64 - 1)) / height as i64 * height as i64);
        let tiles = p.y.shape[3].as_const().map_or(1, |n| (n + tile - 1) / tile);
        let images = [0, 2].iter().map(|&i| p.y.shape[i].as_const().unwrap_or(1)).product::<i64>();
        let shares = (TASKS / (tiles * images).max(1)).clamp(1, panels as i64);
        Cut { lanes, heights, vectors, tile, panels, shares }
    }

    /// Outputs of a panel.
    fn width(&self) -> usize {
        self.vectors * self.lanes
    }
}

/// The kernel and its table.
pub(super) fn lower(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Multiplication {
    let cut = Cut::of(p, weight, target);
    let tables = vec![words(weight, &cut)];
    let mut c = Context::new(if p.y.shape[3].is(1) { "gemv_bytes" } else { "gemm_bytes" });
    let heights: Vec<String> = cut.heights.iter().map(usize::to_string).collect();
    let heights = heights.join(", then ");
    c.describe(format!("{heights} tokens x {} vectors of outputs, words of four bytes along K", cut.vectors));
    let b = declare(&mut c, p);
    let values = declare_tables(&mut c, &tables)[0];
    let packed = (!is_word_major(p)).then(|| {
        let pitch = (p.channels as i64 + i64::from(PACK_LANES) - 1) / i64::from(PACK_LANES) * i64::from(PACK_LANES);
        let shape = vec![Expr::int(cut.tile), Expr::int(pitch)];
        c.buffer("packed", Scalar::U8, BufferKind::Scratch, shape, vec![])
    });
    let vector = Type::vector(Scalar::I32, cut.lanes as u16);
    let (most, vectors) = (cut.heights[0] as u32, cut.vectors as u32);
    let kernel = Kernel {
        p,
        words: weight.words() as i64,
        b,
        values,
        packed,
        acc: c.register("acc", vector, vec![most, vectors]),
        weights: c.register("weights", vector, vec![vectors]),
        cut,
    };
    kernel.tasks(&mut c);
    Multiplication::new(c.finish(), tables)
}

struct Kernel<'a> {
    p: &'a WeightProblem,
    cut: Cut,
    /// Words of a row.
    words: i64,
    b: Activations,
    values: BufferId,
    /// X in whole words, where it does not lie in them.
    packed: Option<BufferId>,
    acc: RegisterId,
    weights: RegisterId,
}

/// Where a task computes.
struct Line {
    batch: Expr,
    row: Expr,
    /// First token of the tile.
    first: Expr,
}

impl Kernel<'_> {
    fn tasks(&self, c: &mut Context) {
        let (p, cut) = (self.p, &self.cut);
        let staged = c.register("staged", Type::vector(Scalar::U8, PACK_LANES), vec![]);
        let tiles = p.y.shape[3].ceil_div(&Dim::constant(cut.tile));
        let (tasks, tiles_of) = (p.y.shape[0].clone() * p.y.shape[2].clone() * tiles.clone(), c.dim(&tiles));
        let tasks = c.dim(&(tasks * Dim::constant(cut.shares)));
        let (rows, tokens) = (c.dim(&p.y.shape[2]), c.dim(&p.y.shape[3]));
        let panels = cut.panels as i64;
        c.parallel("task", tasks, |c, task| {
            let share = c.bind_index("share", task.clone().rem(Expr::int(cut.shares)));
            let place = c.bind_index("place", task.floor_div(Expr::int(cut.shares)));
            let tile = c.bind_index("tile", place.clone().rem(tiles_of.clone()));
            let line = c.bind_index("line", place.floor_div(tiles_of));
            let row = c.bind_index("row", line.clone().rem(rows.clone()));
            let batch = c.bind_index("batch", line.floor_div(rows));
            let first = c.bind_index("first", tile * Expr::int(cut.tile));
            let count = c.bind_index("count", (tokens - first.clone()).min(Expr::int(cut.tile)));
            if let Some(packed) = self.packed {
                pack(c, (p, &self.b, packed), staged, [&batch, &row, &first, &count]);
            }
            let from = c.bind_index("from", (share.clone() * Expr::int(panels)).floor_div(Expr::int(cut.shares)));
            let to = (share + Expr::int(1)) * Expr::int(panels);
            let to = c.bind_index("to", to.floor_div(Expr::int(cut.shares)));
            let line = Line { batch, row, first };
            c.serial("panel", from, to, 1, |c, panel| {
                let mut next = Expr::int(0);
                for &height in &cut.heights {
                    let height = height as i64;
                    let behind = match cut.heights.len() {
                        1 => count.clone(),
                        _ => {
                            let whole = (count.clone() - next.clone()).floor_div(Expr::int(height)) * Expr::int(height);
                            c.bind_index("behind", next.clone() + whole)
                        }
                    };
                    c.serial("token", next, behind.clone(), height, |c, token| {
                        self.tokens(c, &line, (&panel, &token), height as u32);
                    });
                    next = behind;
                }
            });
        });
    }

    /// All outputs of a panel for `height` tokens.
    fn tokens(&self, c: &mut Context, line: &Line, (panel, token): (&Expr, &Expr), height: u32) {
        let (p, b, width) = (self.p, &self.b, self.cut.width() as i64);
        let (lanes, vectors) = (self.cut.lanes as u16, self.cut.vectors as u32);
        let col = |r: &Expr| line.first.clone() + (token.clone() + r.clone());
        let sum = |r: &Expr, t: &Expr| Expr::Reg(self.acc, vec![r.clone(), t.clone()]);
        c.unroll("r", height, |c, r| {
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, _| c.set(self.acc, vec![r, t], Expr::Int(0, Scalar::I32)));
            });
        });
        let base = c.bind_index("base", panel.clone() * Expr::int(self.words * width));
        c.serial("word", Expr::int(0), Expr::int(self.words), 1, |c, word| {
            let at = c.bind_index("at", base + word.clone() * Expr::int(width));
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, l| {
                    let at = at.clone() + (t.clone() * Expr::int(lanes.into()) + l);
                    c.set(self.weights, vec![t], load(self.values, vec![at]));
                });
            });
            c.unroll("r", height, |c, r| {
                let channel = word.clone() * Expr::int(WORD as i64);
                let x = match self.packed {
                    Some(packed) => packed_word(packed, token.clone() + r.clone(), channel),
                    None => word_of_x(b, [line.batch.clone(), channel, line.row.clone(), col(&r)]),
                };
                let x = c.bind("x_word", Type::scalar(Scalar::U32), x);
                c.unroll("t", vectors, |c, t| {
                    c.vector(lanes, None, |c, _| {
                        let weight = Expr::Reg(self.weights, vec![t.clone()]);
                        c.set(self.acc, vec![r.clone(), t.clone()], Expr::dot4(sum(&r, &t), x, weight));
                    });
                });
            });
        });
        let even = p.m.is_multiple_of(self.cut.width());
        c.unroll("r", height, |c, r| {
            c.unroll("t", vectors, |c, t| {
                let output = panel.clone() * Expr::int(width) + t.clone() * Expr::int(lanes.into());
                let output = c.bind_index("output", output);
                let active = (!even).then(|| Expr::int(p.m as i64) - output.clone());
                c.vector(lanes, active, |c, l| {
                    let at = [line.batch.clone(), output + l, line.row.clone(), col(&r)];
                    store_sum(c, p, b, &at, sum(&r, &t));
                });
            });
        });
    }
}

fn packed_word(packed: BufferId, token: Expr, channel: Expr) -> Expr {
    let bytes = Access { lanes: WORD as u16, ..Access::element(packed, vec![token, channel]) };
    Expr::Bitcast(Type::scalar(Scalar::U32), Box::new(Expr::Load(bytes)))
}

/// Copies the tile's part of X, zeros behind the last channel.
fn pack(
    c: &mut Context,
    (p, b, packed): (&WeightProblem, &Activations, BufferId),
    staged: RegisterId,
    [batch, row, first, count]: [&Expr; 4],
) {
    let channels = p.channels as i64;
    c.serial("token", Expr::int(0), count.clone(), 1, |c, token| {
        c.serial("k", Expr::int(0), Expr::int(channels), PACK_LANES.into(), |c, k| {
            let active = Expr::int(channels) - k.clone();
            c.vector(PACK_LANES, Some(active), |c, l| {
                let at = turned([batch.clone(), k.clone() + l, row.clone(), first.clone() + token.clone()]);
                c.set(staged, vec![], load(b.x, at));
            });
            c.vector(PACK_LANES, None, |c, l| c.store(packed, vec![token, k + l], Expr::Reg(staged, vec![])));
        });
    });
}

fn words(weight: &ByteMatrix, cut: &Cut) -> Table {
    let (weight, width, panels) = (weight.clone(), cut.width(), cut.panels);
    let words = weight.words();
    Table::lazy("words", Scalar::I32, (panels * words * width) as u64, move |out| {
        let elements = weight.elements();
        let mut panel = vec![0i32; words * width];
        for first in (0..panels * width).step_by(width) {
            panel.fill(0);
            for (lane, row) in elements.chunks_exact(weight.cols).skip(first).take(width).enumerate() {
                for word in 0..words {
                    panel[word * width + lane] = ByteMatrix::word(row, word);
                }
            }
            out.write_all(bytemuck::cast_slice(&panel))?;
        }
        Ok(())
    })
}
