//! All words of a weight: lanes along the outputs, a word of X broadcast to each.
//!
//! ```text
//! parallel tile of tokens, share of the panels:
//!   (X packed into whole words, where it does not lie in them)
//!   for panel of T vectors of outputs:
//!     for R tokens:
//!       for word of K:
//!         unroll r: x = word of token r;  unroll t: sums[r, t] = dot4(sums[r, t], x, weight(panel, word, t))
//! ```
//!
//! Tokens behind the last one repeat it: they are computed alike, and stored to the same place.
//!
//! | table | type | layout |
//! |---|---|---|
//! | `words` | i32 | T x L outputs for each word of K; order: panel, word |

use sparsec_graph::Dim;
use sparsec_tir::{Access, BufferId, BufferKind, Expr, Scalar, Type, load};

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
    /// Tokens in registers.
    height: usize,
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
        let height = tokens.min(if wide { 6 } else { 4 }) as usize;
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
        Cut { lanes, height, vectors, tile, panels, shares }
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
    c.describe(format!("{} tokens x {} vectors of outputs, words of four bytes along K", cut.height, cut.vectors));
    let b = declare(&mut c, p);
    let values = declare_tables(&mut c, &tables)[0];
    let words = weight.words() as i64;
    let packed = (!is_word_major(p)).then(|| {
        let pitch = (p.channels as i64 + i64::from(PACK_LANES) - 1) / i64::from(PACK_LANES) * i64::from(PACK_LANES);
        let shape = vec![Expr::int(cut.tile), Expr::int(pitch)];
        c.buffer("packed", Scalar::U8, BufferKind::Scratch, shape, vec![])
    });
    let vector = Type::vector(Scalar::I32, cut.lanes as u16);
    let (height, vectors) = (cut.height as u32, cut.vectors as u32);
    let acc = c.register("acc", vector, vec![height, vectors]);
    let weights = c.register("weights", vector, vec![vectors]);
    let staged = c.register("staged", Type::vector(Scalar::U8, PACK_LANES), vec![]);
    let row_of = c.register("row_of", Type::INDEX, vec![height]);

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
        if let Some(packed) = packed {
            pack(c, (p, &b, packed), staged, [&batch, &row, &first, &count]);
        }
        let from = c.bind_index("from", (share.clone() * Expr::int(panels)).floor_div(Expr::int(cut.shares)));
        let to = (share + Expr::int(1)) * Expr::int(panels);
        let to = c.bind_index("to", to.floor_div(Expr::int(cut.shares)));
        c.serial("panel", from, to, 1, |c, panel| {
            c.serial("token", Expr::int(0), count.clone(), height.into(), |c, token| {
                c.unroll("r", height, |c, r| {
                    c.set(row_of, vec![r.clone()], (token + r).min(count.clone() - Expr::int(1)));
                });
                let own = |r: &Expr| Expr::Reg(row_of, vec![r.clone()]);
                let sum = |r: &Expr, t: &Expr| Expr::Reg(acc, vec![r.clone(), t.clone()]);
                let lanes = cut.lanes as u16;
                c.unroll("r", height, |c, r| {
                    c.unroll("t", vectors, |c, t| {
                        c.vector(lanes, None, |c, _| c.set(acc, vec![r, t], Expr::Int(0, Scalar::I32)));
                    });
                });
                let base = c.bind_index("base", panel.clone() * Expr::int(words * cut.width() as i64));
                c.serial("word", Expr::int(0), Expr::int(words), 1, |c, word| {
                    let at = c.bind_index("at", base + word.clone() * Expr::int(cut.width() as i64));
                    c.unroll("t", vectors, |c, t| {
                        c.vector(lanes, None, |c, l| {
                            let at = at.clone() + (t.clone() * Expr::int(cut.lanes as i64) + l);
                            c.set(weights, vec![t], load(values, vec![at]));
                        });
                    });
                    c.unroll("r", height, |c, r| {
                        let channel = word.clone() * Expr::int(WORD as i64);
                        let x = match packed {
                            Some(packed) => packed_word(packed, own(&r), channel),
                            None => {
                                let col = first.clone() + own(&r);
                                word_of_x(&b, [batch.clone(), channel, row.clone(), col])
                            }
                        };
                        let x = c.bind("x_word", Type::scalar(Scalar::U32), x);
                        c.unroll("t", vectors, |c, t| {
                            c.vector(lanes, None, |c, _| {
                                let weight = Expr::Reg(weights, vec![t.clone()]);
                                c.set(acc, vec![r.clone(), t.clone()], Expr::dot4(sum(&r, &t), x, weight));
                            });
                        });
                    });
                });
                let even = p.m.is_multiple_of(cut.width());
                c.unroll("r", height, |c, r| {
                    c.unroll("t", vectors, |c, t| {
                        let output =
                            panel.clone() * Expr::int(cut.width() as i64) + t.clone() * Expr::int(cut.lanes as i64);
                        let output = c.bind_index("output", output);
                        let active = (!even).then(|| Expr::int(p.m as i64) - output.clone());
                        c.vector(lanes, active, |c, l| {
                            let col = first.clone() + own(&r);
                            store_sum(c, p, &b, &[batch.clone(), output + l, row.clone(), col], sum(&r, &t));
                        });
                    });
                });
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}

fn packed_word(packed: BufferId, token: Expr, channel: Expr) -> Expr {
    let bytes = Access { lanes: WORD as u16, ..Access::element(packed, vec![token, channel]) };
    Expr::Bitcast(Type::scalar(Scalar::U32), Box::new(Expr::Load(bytes)))
}

/// Copies the tile's part of X, zeros behind the last channel.
fn pack(
    c: &mut Context,
    (p, b, packed): (&WeightProblem, &Activations, BufferId),
    staged: sparsec_tir::RegisterId,
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
