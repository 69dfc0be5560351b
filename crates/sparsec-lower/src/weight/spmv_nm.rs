//! `nm<N,M>` with a single vector. Vectors run along the groups of a row, and x is taken apart into M vectors, one for each
//! place in a group, so that nothing is gathered: an entry's input is one of few vectors, lane by lane.
//!
//! ```text
//! 2:4                        x by place:  x0 x4 x8 ..  x1 x5 x9 ..  x2 x6 x10 ..  x3 x7 x11 ..
//! first entry of each group:   x0 or x1 or x2            second:  x1 or x2 or x3
//! ```
//!
//! The places of a group's entries increase, so entry `i` has `M - N + 1` candidates. For each of these but the first a
//! bit says whether the entry lies there or further on: the candidate is then taken over what was chosen before.

use sparsec_sparse::{FormatError, Nm};
use sparsec_tir::{BinaryOp, BufferKind, CompareOp, Expr, ReduceOp, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::spmv::{for_each_task, input, store};
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::declare_activations;

/// Rows in flight.
const ROWS: usize = 4;
/// Bits of a word: those of all lanes of one entry.
const WORD_BITS: usize = 32;

/// The kernel and its tables; `None` where the bits of a vector of entries take more than a word.
pub(super) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    (n, m): (usize, usize),
    target: &TargetInfo,
) -> Result<Option<Multiplication>, FormatError> {
    let more = m.saturating_sub(n);
    let lanes = [16, 8, 4].into_iter().find(|&l| l <= usize::from(target.lanes) && more * l <= WORD_BITS);
    let Some(lanes) = lanes.filter(|_| more > 0) else { return Ok(None) };
    let k = p.k();
    let steps = k.div_ceil(m).div_ceil(lanes);
    let tables = tables(p.m, k, &weight.dense(), (n, m), (steps, lanes))?;
    let int = |v: usize| Expr::int(v as i64);

    let mut c = Context::new("spmv_nm");
    c.describe(format!("{ROWS} rows in flight, vectors of {lanes} groups"));
    let b = declare_activations(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let by_place = c.buffer("by_place", Scalar::F32, BufferKind::Scratch, vec![int(m), int(steps * lanes)], vec![]);
    let (vector, width) = (Type::vector(Scalar::F32, lanes as u16), lanes as u16);
    let acc = c.register("acc", vector, vec![ROWS as u32, n as u32]);
    let now = c.register("now", vector, vec![m as u32]);
    for_each_task(&mut c, p.m.next_multiple_of(ROWS) as i64, ROWS as i64, |c, (from, to)| {
        c.serial("s", Expr::int(0), int(steps), 1, |c, s| {
            c.unroll("j", m as u32, |c, j| {
                let first = s.clone() * int(lanes);
                let groups = (int(k + m - 1) - j.clone()).floor_div(int(m));
                let active = (!k.is_multiple_of(m * lanes)).then(|| groups - first.clone());
                c.vector(width, active, |c, l| {
                    let col = (first.clone() + l) * int(m) + j.clone();
                    c.set(now, vec![j.clone()], input(&b, col));
                });
                c.vector(width, None, |c, l| {
                    c.store(by_place, vec![j.clone(), first + l], Expr::Reg(now, vec![j]));
                });
            });
        });
        c.serial("first", from, to, ROWS as i64, |c, first| {
            c.unroll("r", ROWS as u32, |c, r| {
                c.unroll("i", n as u32, |c, i| c.vector(width, None, |c, _| c.set(acc, vec![r, i], Expr::f32(0.0))));
            });
            c.serial("s", Expr::int(0), int(steps), 1, |c, s| {
                c.unroll("j", m as u32, |c, j| {
                    c.vector(width, None, |c, l| {
                        let x = load(by_place, vec![j.clone(), s.clone() * int(lanes) + l]);
                        c.set(now, vec![j], x);
                    });
                });
                c.unroll("r", ROWS as u32, |c, r| {
                    c.unroll("i", n as u32, |c, i| {
                        let row = first.clone() * int(steps) + s * int(ROWS) + r.clone();
                        let entry = c.bind_index("entry", row * int(n) + i.clone());
                        let bits = load(ids[0], vec![entry.clone()]).convert(Scalar::I32);
                        let bits = c.bind("bits", Type::scalar(Scalar::I32), bits);
                        c.vector(width, None, |c, l| {
                            let candidate = |t: usize| Expr::Reg(now, vec![i.clone() + int(t)]);
                            let x = (0..more).fold(candidate(0), |x, t| {
                                let place = (l.clone() + int(t * lanes)).convert(Scalar::I32);
                                let bit = Expr::binary(BinaryOp::Shr, bits.clone(), place);
                                let bit = Expr::binary(BinaryOp::And, bit, Expr::Int(1, Scalar::I32));
                                let further = Expr::compare(CompareOp::Ne, bit, Expr::Int(0, Scalar::I32));
                                Expr::select(further, candidate(t + 1), x)
                            });
                            let value = load(ids[1], vec![entry * int(lanes) + l]);
                            let at = vec![r, i.clone()];
                            c.set(acc, at.clone(), Expr::fma(value, x, Expr::Reg(acc, at)));
                        });
                    });
                });
            });
            c.unroll("r", ROWS as u32, |c, r| {
                let row = c.bind_index("row", first + r.clone());
                let sums = (0..n).map(|i| Expr::Reg(acc, vec![r.clone(), int(i)]));
                let sum = sums.reduce(|x, y| x + y).unwrap_or(Expr::f32(0.0));
                let sum = Expr::Reduce(ReduceOp::Add, Box::new(sum));
                if p.m.is_multiple_of(ROWS) {
                    store(c, p, &b, row, sum);
                } else {
                    let real = Expr::compare(CompareOp::Lt, row.clone(), int(p.m));
                    c.branch(real, |c| store(c, p, &b, row, sum), |_| {});
                }
            });
        });
    });
    Ok(Some(Multiplication::new(c.finish(), tables)))
}

/// Words and values in the order of the loops: rows in flight, step, row, entry of the group, lane.
fn tables(
    rows: usize,
    k: usize,
    dense: &[f32],
    (n, m): (usize, usize),
    (steps, lanes): (usize, usize),
) -> Result<Vec<Table>, FormatError> {
    let stored = Nm::from_dense(rows, k, dense, n as u32, m as u32)?;
    let groups = k.div_ceil(m);
    let entries = rows.next_multiple_of(ROWS) * steps * n;
    let (mut words, mut values) = (vec![0u32; entries], vec![0.0f32; entries * lanes]);
    for row in 0..rows {
        for group in 0..groups {
            let (step, lane) = (group / lanes, group % lanes);
            let panel = row / ROWS * ROWS * steps + step * ROWS + row % ROWS;
            for i in 0..n {
                let from = (row * groups + group) * n + i;
                let to = panel * n + i;
                values[to * lanes + lane] = stored.values()[from];
                let place = usize::from(stored.selectors()[from]);
                for t in 0..m - n {
                    if place > i + t {
                        words[to] |= 1 << (t * lanes + lane);
                    }
                }
            }
        }
    }
    let words = match (m - n) * lanes {
        0..=8 => Table::of("words", Scalar::U8, words.iter().map(|&w| w as u8).collect::<Vec<u8>>()),
        9..=16 => Table::of("words", Scalar::U16, words.iter().map(|&w| w as u16).collect::<Vec<u16>>()),
        _ => Table::of("words", Scalar::U32, words),
    };
    Ok(vec![words, Table::of("values", Scalar::F32, values)])
}
