//! Words that are not zero, row by row: lanes along the tokens.
//!
//! The words of X that a tile of tokens needs are packed once, a row of the window for each word of K. A stored word of the
//! weight is one offset, one broadcast and T loads, for T products of 4 L bytes.
//!
//! ```text
//! parallel tile of tokens:
//!   for part of K, as large as the first-level cache holds:
//!     window[word, token] = four channels of the token
//!     for row:
//!       for U of its words:  unroll u, t: sums[u, t] = dot4(sums[u, t], window[offset(u) + t], word(u))
//! ```
//!
//! | table | type | layout |
//! |---|---|---|
//! | `starts` | i32 | first step of each row, part after part, and the end; a step is U words |
//! | `offsets` | u16, u32 | places in the window, in the order of the words |
//! | `words` | i32 | words that are not zero; rows are filled up to whole steps with zeros |

use sparsec_graph::Dim;
use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::bytes::pack::{declare, for_each_word, gathered_word, is_word_major, word_of_x};
use crate::weight::bytes::{ByteMatrix, store_sum};
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::Activations;

/// Independent sums that hide the latency of a product.
const CHAINS: i64 = 6;

/// Words of a weight that are not zero, each row filled up to steps of as many words.
pub(super) struct Words {
    /// The first step of each row, part after part, and the end.
    pub(super) starts: Vec<i32>,
    /// Places along K, counted from the first word of the part.
    pub(super) columns: Vec<u32>,
    pub(super) words: Vec<i32>,
}

impl Words {
    /// Row after row for each part of `part` words of K, the rows filled up to whole steps of `step` words.
    pub(super) fn of(weight: &ByteMatrix, part: usize, step: usize) -> Words {
        let mut found = Words { starts: vec![0], columns: Vec::new(), words: Vec::new() };
        let elements = weight.elements();
        for first in (0..weight.words()).step_by(part.max(1)) {
            for row in elements.chunks_exact(weight.cols()) {
                let mut last = 0;
                for at in first..weight.words().min(first + part) {
                    let word = ByteMatrix::word(row, at);
                    if word != 0 {
                        last = (at - first) as u32;
                        found.columns.push(last);
                        found.words.push(word);
                    }
                }
                while !found.words.len().is_multiple_of(step) {
                    found.columns.push(last);
                    found.words.push(0);
                }
                found.starts.push((found.words.len() / step) as i32);
            }
        }
        found
    }

    /// The columns times `pitch`, as narrow as they fit; all are below `end`.
    pub(super) fn offsets(&self, name: &'static str, pitch: u32, end: usize) -> Table {
        let offsets = self.columns.iter().map(|&c| c * pitch);
        match end <= 1 << 16 {
            true => Table::of(name, Scalar::U16, offsets.map(|o| o as u16).collect::<Vec<u16>>()),
            false => Table::of(name, Scalar::U32, offsets.collect::<Vec<u32>>()),
        }
    }
}

/// How a product is cut.
struct Cut {
    lanes: u16,
    /// Vectors of tokens in a tile.
    vectors: i64,
    /// Words of a row that are multiplied at a time.
    step: i64,
    /// Words of K whose X stays in the first-level cache.
    part: i64,
    /// Parts of K.
    parts: i64,
}

impl Cut {
    fn of(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Cut {
        let lanes = i64::from(target.lanes);
        let tokens = p.y.shape[3].as_const().unwrap_or(i64::MAX).max(1);
        let most = if target.registers >= 32 { 8 } else { 4 };
        let all = tokens.saturating_add(lanes - 1) / lanes;
        // Tiles of equal size.
        let vectors = if all > 64 { most } else { (all + (all + most - 1) / most - 1) / ((all + most - 1) / most) };
        let words = weight.words() as i64;
        let fitting = (i64::from(target.l1_bytes) * 5 / 4 / (4 * vectors * lanes)).max(1);
        let parts = (words + fitting - 1) / fitting;
        let part = (words + parts - 1) / parts;
        Cut {
            lanes: target.lanes,
            vectors,
            step: (CHAINS + vectors - 1) / vectors,
            part,
            parts: (words + part - 1) / part,
        }
    }

    /// Tokens of a tile.
    fn tile(&self) -> i64 {
        self.vectors * i64::from(self.lanes)
    }

    /// The lane of a tile.
    fn lane(&self, t: &Expr, l: Expr) -> Expr {
        t.clone() * Expr::int(self.lanes.into()) + l
    }
}

/// The kernel and its tables.
pub(super) fn lower(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Multiplication {
    let cut = Cut::of(p, weight, target);
    let (tile, step, vectors) = (cut.tile(), cut.step, cut.vectors as u32);
    let stored = Words::of(weight, cut.part as usize, step as usize);
    let size = cut.part * tile;
    let tables = vec![
        Table::of("starts", Scalar::I32, stored.starts.clone()),
        stored.offsets("offsets", tile as u32, size as usize),
        Table::of("words", Scalar::I32, stored.words),
    ];
    let mut c = Context::new("rows_bytes");
    c.describe(format!("{vectors} vectors of tokens, {step} words of a row at a time, {} parts of K", cut.parts));
    let b = declare(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let window = c.buffer("window", Scalar::U32, BufferKind::Scratch, vec![Expr::int(size)], vec![]);
    let partial = (cut.parts > 1).then(|| {
        let shape = vec![Expr::int(p.m as i64), Expr::int(tile)];
        c.buffer("partial", Scalar::I32, BufferKind::Scratch, shape, vec![])
    });
    let acc = c.register("acc", Type::vector(Scalar::I32, cut.lanes), vec![step as u32, vectors]);
    let tiles = p.y.shape[3].ceil_div(&Dim::constant(tile));
    let tasks = c.dim(&(p.y.shape[0].clone() * p.y.shape[2].clone() * tiles.clone()));
    let (tiles, rows, columns) = (c.dim(&tiles), c.dim(&p.y.shape[2]), c.dim(&p.y.shape[3]));
    let even = p.y.shape[3].as_const().is_some_and(|n| n % tile == 0);
    c.parallel("task", tasks, |c, task| {
        let tile_at = c.bind_index("tile", task.clone().rem(tiles.clone()));
        let line = c.bind_index("line", task.floor_div(tiles));
        let row = c.bind_index("row", line.clone().rem(rows.clone()));
        let batch = c.bind_index("batch", line.floor_div(rows));
        let first = c.bind_index("first", tile_at * Expr::int(tile));
        let left = c.bind_index("left", columns - first.clone());
        let place = Place { batch, row, first, left };
        c.serial("part", Expr::int(0), Expr::int(cut.parts), 1, |c, part| {
            pack(c, (p, &b, &cut), window, &place, &part);
            c.serial("m", Expr::int(0), Expr::int(p.m as i64), 1, |c, m| {
                let bound = |i: i64| {
                    let at = part.clone() * Expr::int(p.m as i64) + m.clone() + Expr::int(i);
                    load(ids[0], vec![at]).convert(Scalar::I64)
                };
                let (start, end) = (c.bind_index("start", bound(0)), c.bind_index("end", bound(1)));
                let sum = |u: &Expr, t: &Expr| Expr::Reg(acc, vec![u.clone(), t.clone()]);
                let begin = |c: &mut Context, rested: Option<BufferId>| {
                    c.unroll("t", vectors, |c, t| {
                        for u in 0..step {
                            c.vector(cut.lanes, None, |c, l| {
                                let value = match rested.filter(|_| u == 0) {
                                    Some(rested) => load(rested, vec![m.clone(), cut.lane(&t, l)]),
                                    None => Expr::Int(0, Scalar::I32),
                                };
                                c.set(acc, vec![Expr::int(u), t.clone()], value);
                            });
                        }
                    });
                };
                match partial {
                    Some(rested) => {
                        let is_first = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0));
                        c.branch(is_first, |c| begin(c, None), |c| begin(c, Some(rested)));
                    }
                    None => begin(c, None),
                }
                c.serial("e", start, end, 1, |c, e| {
                    c.unroll("u", step as u32, |c, u| {
                        let entry = c.bind_index("entry", e * Expr::int(step) + u.clone());
                        let offset = load(ids[1], vec![entry.clone()]).convert(Scalar::I64);
                        let offset = c.bind_index("offset", offset);
                        let word = c.bind("weight", Type::scalar(Scalar::I32), load(ids[2], vec![entry]));
                        c.unroll("t", vectors, |c, t| {
                            c.vector(cut.lanes, None, |c, l| {
                                let x = load(window, vec![offset + cut.lane(&t, l)]);
                                c.set(acc, vec![u.clone(), t.clone()], Expr::dot4(sum(&u, &t), x, word));
                            });
                        });
                    });
                });
                let total = |t: &Expr| (1..step).fold(sum(&Expr::int(0), t), |total, u| total + sum(&Expr::int(u), t));
                let finish = |c: &mut Context| {
                    c.unroll("t", vectors, |c, t| {
                        let active = (!even).then(|| place.left.clone() - t.clone() * Expr::int(cut.lanes.into()));
                        c.vector(cut.lanes, active, |c, l| {
                            let total = c.bind("total", Type::scalar(Scalar::I32), total(&t));
                            store_sum(c, p, &b, &place.at(m.clone(), cut.lane(&t, l)), total);
                        });
                    });
                };
                match partial {
                    Some(partial) => {
                        let is_last = Expr::compare(CompareOp::Eq, part, Expr::int(cut.parts - 1));
                        c.branch(is_last, finish, |c| {
                            c.unroll("t", vectors, |c, t| {
                                c.vector(cut.lanes, None, |c, l| {
                                    c.store(partial, vec![m.clone(), cut.lane(&t, l)], total(&t));
                                });
                            });
                        });
                    }
                    None => finish(c),
                }
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}

/// Where a tile lies.
struct Place {
    batch: Expr,
    row: Expr,
    /// Its first token, and how many there are from there on.
    first: Expr,
    left: Expr,
}

impl Place {
    fn at(&self, channel: Expr, token: Expr) -> [Expr; 4] {
        [self.batch.clone(), channel, self.row.clone(), self.first.clone() + token]
    }
}

/// Fills the window with the words of a part of K.
fn pack(
    c: &mut Context,
    (p, b, cut): (&WeightProblem, &Activations, &Cut),
    window: BufferId,
    place: &Place,
    part: &Expr,
) {
    let tile = cut.tile();
    // On a GPU, what lanes without a token compute is dropped as well, but reading memory that nothing has written is a fault.
    let staged = (cut.lanes == TargetInfo::WARP.lanes && !is_word_major(p))
        .then(|| c.register("staged", Type::vector(Scalar::U32, cut.lanes), vec![]));
    let from = c.bind_index("from", part.clone() * Expr::int(cut.part));
    let last = c.bind_index("last", place.left.clone().min(Expr::int(tile)) - Expr::int(1));
    for_each_word(c, p.channels, (&from, cut.part), &|c, word, channel, count| {
        let line = c.bind_index("to", (word - from.clone()) * Expr::int(tile));
        if is_word_major(p) {
            // Tokens behind the last one repeat it.
            c.serial("token", Expr::int(0), Expr::int(tile), 1, |c, token| {
                let x = word_of_x(b, place.at(channel, token.clone().min(last.clone())));
                c.store(window, vec![line + token], x);
            });
            return;
        }
        c.unroll("t", cut.vectors as u32, |c, t| {
            let active = place.left.clone() - t.clone() * Expr::int(cut.lanes.into());
            let word = |l: &Expr| gathered_word(b, &place.at(channel.clone(), cut.lane(&t, l.clone())), count);
            let at = |l: Expr| vec![line.clone() + cut.lane(&t, l)];
            let Some(staged) = staged else {
                c.vector(cut.lanes, Some(active), |c, l| c.store(window, at(l.clone()), word(&l)));
                return;
            };
            c.vector(cut.lanes, Some(active), |c, l| c.set(staged, vec![], word(&l)));
            c.vector(cut.lanes, None, |c, l| c.store(window, at(l), Expr::Reg(staged, vec![])));
        });
    });
}
