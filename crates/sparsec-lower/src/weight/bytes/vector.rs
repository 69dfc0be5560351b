//! Words that are not zero, with a single token: lanes along the words of a row.
//!
//! A task takes 64 rows. It copies X into words first; those that a row needs are gathered one by one, four bytes each.
//!
//! | table | type | layout |
//! |---|---|---|
//! | `starts` | i32 | first vector of each row, and the end |
//! | `columns` | u16, u32 | the word of X for each word |
//! | `words` | i32 | words that are not zero, rows filled up to whole vectors |

use sparsec_tir::{BufferKind, Expr, ReduceOp, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::bytes::pack::{declare, for_each_word, gathered_word, is_word_major, word_of_x};
use crate::weight::bytes::rows::Words;
use crate::weight::bytes::{ByteMatrix, store_sum};
use crate::weight::problem::WeightProblem;
use crate::weight::spmv::for_each_task;
use crate::weight::tables::{Table, declare_tables};

/// The kernel and its tables.
pub(super) fn lower(p: &WeightProblem, weight: &ByteMatrix, target: &TargetInfo) -> Multiplication {
    // Gathering is what bounds it, so that padding costs more than narrow vectors.
    let lanes = target.lanes.min(8);
    let stored = Words::of(weight, weight.words(), usize::from(lanes));
    let tables = vec![
        Table::of("starts", Scalar::I32, stored.starts.clone()),
        stored.offsets("columns", 1, weight.words()),
        Table::of("words", Scalar::I32, stored.words),
    ];
    let mut c = Context::new("spmv_bytes");
    c.describe(format!("words of four bytes in steps of {lanes} along a row"));
    let b = declare(&mut c, p);
    let ids = declare_tables(&mut c, &tables);
    let window = c.buffer("window", Scalar::U32, BufferKind::Scratch, vec![Expr::int(weight.words() as i64)], vec![]);
    let acc = c.register("acc", Type::vector(Scalar::I32, lanes), vec![]);
    for_each_task(&mut c, p.m as i64, 1, |c, (from, to)| {
        let zero = || Expr::int(0);
        for_each_word(c, p.channels, (&zero(), weight.words() as i64), &|c, word, channel, count| {
            let at = [zero(), channel, zero(), zero()];
            let x = if is_word_major(p) { word_of_x(&b, at) } else { gathered_word(&b, &at, count) };
            c.store(window, vec![word], x);
        });
        c.serial("m", from, to, 1, |c, m| {
            let bound = |i: i64| load(ids[0], vec![m.clone() + Expr::int(i)]).convert(Scalar::I64);
            let (start, end) = (c.bind_index("start", bound(0)), c.bind_index("end", bound(1)));
            c.vector(lanes, None, |c, _| c.set(acc, vec![], Expr::Int(0, Scalar::I32)));
            c.serial("e", start, end, 1, |c, e| {
                c.vector(lanes, None, |c, l| {
                    let entry = e * Expr::int(lanes.into()) + l;
                    let column = load(ids[1], vec![entry.clone()]).convert(Scalar::I64);
                    let (x, word) = (load(window, vec![column]), load(ids[2], vec![entry]));
                    c.set(acc, vec![], Expr::dot4(Expr::Reg(acc, vec![]), x, word));
                });
            });
            let sum = Expr::Reduce(ReduceOp::Add, Box::new(Expr::Reg(acc, vec![])));
            let sum = c.bind("sum", Type::scalar(Scalar::I32), sum);
            store_sum(c, p, &b, &[zero(), m, zero(), zero()], sum);
        });
    });
    Multiplication::new(c.finish(), tables)
}
