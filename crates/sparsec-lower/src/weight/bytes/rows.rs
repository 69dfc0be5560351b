//! Words that are not zero, row by row: lanes along the tokens.
//!
//! The words of X that a tile of tokens needs are packed once, a row of the window for each word of K. A stored word of the
//! weight is one offset, one broadcast and T loads, for T products of 4 L bytes.
//!
//! ```text
//! parallel tile of tokens:
//!   window[word, token] = four channels of the token
//!   for row:
//!     for U of its words:  unroll u, t: sums[u, t] = dot4(sums[u, t], window[offset(u) + t], word(u))
//! ```
//!
//! | table | type | layout |
//! |---|---|---|
//! | `starts` | i32 | first step of each row, and the end; a step is U words |
//! | `offsets` | u16, u32 | places in the window, in the order of the words |
//! | `words` | i32 | words that are not zero; rows are filled up to whole steps with zeros |

use sparsec_graph::Dim;
use sparsec_tir::{BufferKind, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::bytes::pack::{declare, for_each_word, gathered_word, is_word_major, word_of_x};
use crate::weight::bytes::{ByteMatrix, store_sum};
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};

/// Independent sums that hide the latency of a product.
const CHAINS: i64 = 6;

/// Words of a weight that are not zero, each row filled up to steps of as many words.
pub(super) struct Words {
    /// The first step of each row, and the end.
    pub(super) starts: Vec<i32>,
    /// Places along K.
    pub(super) columns: Vec<u32>,
    pub(super) words: Vec<i32>,
}

impl Words {
    pub(super) fn of(weight: &ByteMatrix, step: usize) -> Words {
        let mut found = Words { starts: vec![0], columns: Vec::new(), words: Vec::new() };
        for row in weight.elements().chunks_exact(weight.cols()) {
            let mut last = 0;
            for at in 0..weight.words() {
                let word = ByteMatrix::word(row, at);
                if word != 0 {
                    last = at as u32;
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
        found
    }

    /// The columns times `pitch`, as narrow as they fit.
    pub(super) fn offsets(&self, name: &'static str, pitch: u32, end: usize) -> Table {
        let offsets = self.columns.iter().map(|&c| c * pitch);
        match end <= 1 << 16 {
            true => Table::of(name, Scalar::U16, offsets.map(|o| o as u16).collect::<Vec<u16>>()),
            false => Table::of(name, Scalar::U32, offsets.collect::<Vec<u32>>()),
        }
    }
}

/// The kernel and its tables.
pub(super) fn lower(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Multiplication {
    let lanes = i64::from(target.lanes);
    let tokens = p.y.shape[3].as_const().unwrap_or(i64::MAX).max(1);
    let most = if target.registers >= 32 { 8 } else { 4 };
    let vectors = ((tokens.saturating_add(lanes - 1)) / lanes).min(most);
    let (tile, step) = (vectors * lanes, (CHAINS + vectors - 1) / vectors);
    let stored = Words::of(weight, step as usize);
    let size = weight.words() * tile as usize;
    let tables = vec![
        Table::of("starts", Scalar::I32, stored.starts.clone()),
        stored.offsets("offsets", tile as u32, size),
        Table::of("words", Scalar::I32, stored.words),
    ];
    let mut c = Context::new("rows_bytes");
    c.describe(format!("{vectors} vectors of tokens, {step} words of a row at a time"));
    let b = declare(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let window = c.buffer("window", Scalar::U32, BufferKind::Scratch, vec![Expr::int(size as i64)], vec![]);
    let vector = Type::vector(Scalar::I32, target.lanes);
    let acc = c.register("acc", vector, vec![step as u32, vectors as u32]);
    let tiles = p.y.shape[3].ceil_div(&Dim::constant(tile));
    let tasks = c.dim(&(p.y.shape[0].clone() * p.y.shape[2].clone() * tiles.clone()));
    let (tiles, rows, columns) = (c.dim(&tiles), c.dim(&p.y.shape[2]), c.dim(&p.y.shape[3]));
    c.parallel("task", tasks, |c, task| {
        let tile_at = c.bind_index("tile", task.clone().rem(tiles.clone()));
        let line = c.bind_index("line", task.floor_div(tiles));
        let row = c.bind_index("row", line.clone().rem(rows.clone()));
        let batch = c.bind_index("batch", line.floor_div(rows));
        let first = c.bind_index("first", tile_at * Expr::int(tile));
        let left = c.bind_index("left", columns - first.clone());
        let place = |t: &Expr, l: Expr| t.clone() * Expr::int(lanes) + l;
        let at = |channel: Expr, col: Expr| [batch.clone(), channel, row.clone(), first.clone() + col];
        let last = c.bind_index("last", left.clone().min(Expr::int(tile)) - Expr::int(1));
        for_each_word(c, p.channels, &|c, word, channel, count| {
            let line = c.bind_index("to", word * Expr::int(tile));
            if is_word_major(p) {
                // Tokens behind the last one repeat it.
                c.serial("token", Expr::int(0), Expr::int(tile), 1, |c, token| {
                    let x = word_of_x(&b, at(channel, token.clone().min(last.clone())));
                    c.store(window, vec![line + token], x);
                });
                return;
            }
            c.unroll("t", vectors as u32, |c, t| {
                let active = left.clone() - t.clone() * Expr::int(lanes);
                c.vector(target.lanes, Some(active), |c, l| {
                    let x = gathered_word(&b, &at(channel.clone(), place(&t, l.clone())), count);
                    c.store(window, vec![line.clone() + place(&t, l)], x);
                });
            });
        });
        c.serial("m", Expr::int(0), Expr::int(p.m as i64), 1, |c, m| {
            let bound = |i: i64| load(ids[0], vec![m.clone() + Expr::int(i)]).convert(Scalar::I64);
            let (start, end) = (c.bind_index("start", bound(0)), c.bind_index("end", bound(1)));
            let each = |c: &mut Context, f: &dyn Fn(&mut Context, Expr, Expr)| {
                c.unroll("u", step as u32, |c, u| c.unroll("t", vectors as u32, |c, t| f(c, u, t)));
            };
            let sum = |u: &Expr, t: &Expr| Expr::Reg(acc, vec![u.clone(), t.clone()]);
            each(c, &|c, u, t| c.vector(target.lanes, None, |c, _| c.set(acc, vec![u, t], Expr::Int(0, Scalar::I32))));
            c.serial("e", start, end, 1, |c, e| {
                c.unroll("u", step as u32, |c, u| {
                    let entry = c.bind_index("entry", e * Expr::int(step) + u.clone());
                    let offset = load(ids[1], vec![entry.clone()]).convert(Scalar::I64);
                    let offset = c.bind_index("offset", offset);
                    let word = c.bind("weight", Type::scalar(Scalar::I32), load(ids[2], vec![entry]));
                    c.unroll("t", vectors as u32, |c, t| {
                        c.vector(target.lanes, None, |c, l| {
                            let x = load(window, vec![offset + place(&t, l)]);
                            c.set(acc, vec![u.clone(), t.clone()], Expr::dot4(sum(&u, &t), x, word));
                        });
                    });
                });
            });
            c.unroll("t", vectors as u32, |c, t| {
                let active = (tokens % tile != 0).then(|| left.clone() - t.clone() * Expr::int(lanes));
                c.vector(target.lanes, active, |c, l| {
                    let total = (1..step).fold(sum(&Expr::int(0), &t), |total, u| total + sum(&Expr::int(u), &t));
                    let total = c.bind("total", Type::scalar(Scalar::I32), total);
                    store_sum(c, p, &b, &at(m.clone(), place(&t, l)), total);
                });
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}
