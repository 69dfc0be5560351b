//! The kernel of rows with columns of their own: `hyb`, `nm`, and blocks of one row.
//!
//! The nonzeros of a partition are taken in groups of `R` rows of equal length. A nonzero is a value and the offset of
//! its vectors of X in the packed window; `R x T` vectors of sums stay in registers for the whole length.
//!
//! ```text
//! parallel tile:
//!   for part:                     pack the part's channels of X
//!     for bucket of part:         rows of one length
//!       for group of bucket:
//!         acc[r, t] = first part ? 0 : partial[row[r], t]
//!         for e in 0..length:     unroll r: acc[r, t] += value * window[offset + t]
//!         last part ? y[row[r], t] = f(acc[r, t]) : partial[row[r], t] = acc[r, t]
//! ```
//!
//! Rows that are empty in the first or in the last partition are there of length 0, so that every row is begun and
//! finished.

use sparsec_sparse::{FormatError, Hyb, HybParams};
use sparsec_tir::{CompareOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::geometry::Geometry;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{declare, finish_row, for_each_tile, pack_window};

/// Sums in flight that hide the latency of a multiply-add (4 cycles on 2 pipes).
const CHAINS: usize = 8;

/// Words of the table of partitions: first channel, channels, first bucket, end of buckets.
const PART_WORDS: i64 = 4;
/// Words of the table of buckets: steps, first group, end of groups, first entry.
const BUCKET_WORDS: i64 = 4;

/// The constant arrays of a weight.
struct Stream {
    parts: Vec<i32>,
    buckets: Vec<i32>,
    rows: Vec<i32>,
    offsets: Vec<u16>,
    values: Vec<f32>,
}

/// The kernel and its tables. Row lengths are rounded up to multiples of `unit`.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    unit: u32,
    target: &TargetInfo,
) -> Result<Multiplication, FormatError> {
    let max_vectors = if target.registers >= 32 { 8 } else { 6 };
    let g = Geometry::choose(p, target, 1.5, max_vectors);
    let height = CHAINS.div_ceil(g.vectors).min((target.registers as usize - 4) / g.vectors).max(1);
    let stream = Stream::of(p, weight, &g, (height, unit))?;
    Ok(build(p, &g, height, unit as usize, stream))
}

impl Stream {
    fn of(
        p: &WeightProblem,
        weight: &WeightMatrix,
        g: &Geometry,
        (height, unit): (usize, u32),
    ) -> Result<Self, FormatError> {
        let part_cols = g.part_channels * p.kernel_size();
        let params = HybParams::new(part_cols as u32, unit, height as u32);
        let hyb = Hyb::from_dense(p.m, p.k(), &weight.dense(), params)?;
        let steps_of = |len: usize| (len / unit as usize) as i32;
        let mut s =
            Stream { parts: vec![], buckets: vec![], rows: vec![], offsets: vec![], values: hyb.values().to_vec() };
        let parts = hyb.partitions().len();
        for (i, part) in hyb.partitions().iter().enumerate() {
            let first_bucket = s.buckets.len() as i32 / BUCKET_WORDS as i32;
            let mut present = vec![false; p.m + 1];
            for bucket in hyb.buckets_of(part) {
                let first_group = (s.rows.len() / height) as i32;
                for group in hyb.groups(bucket) {
                    s.rows.extend(group.row_ids.iter().map(|&r| r as i32));
                    group.row_ids.iter().for_each(|&r| present[r as usize] = true);
                }
                let end = (s.rows.len() / height) as i32;
                s.buckets.extend([steps_of(bucket.len), first_group, end, bucket.entry_start as i32]);
            }
            if i == 0 || i + 1 == parts {
                let first_group = (s.rows.len() / height) as i32;
                s.rows.extend((0..p.m).filter(|&r| !present[r]).map(|r| r as i32));
                while s.rows.len() % height != 0 {
                    s.rows.push(p.m as i32);
                }
                let end = (s.rows.len() / height) as i32;
                if end > first_group {
                    s.buckets.extend([0, first_group, end, 0]);
                }
            }
            let last_bucket = s.buckets.len() as i32 / BUCKET_WORDS as i32;
            let first_channel = (part.col_start / p.kernel_size()) as i32;
            let channels = part.cols.div_ceil(p.kernel_size()) as i32;
            s.parts.extend([first_channel, channels, first_bucket, last_bucket]);
        }
        let offsets: Vec<u16> = (0..part_cols).map(|col| g.column_offset(p, col) as u16).collect();
        s.offsets = hyb.columns().iter().map(|&col| offsets[usize::from(col)]).collect();
        Ok(s)
    }
}

fn build(p: &WeightProblem, g: &Geometry, height: usize, unit: usize, stream: Stream) -> Multiplication {
    let parts = stream.parts.len() as i64 / PART_WORDS;
    let dummies = stream.rows.contains(&(p.m as i32));
    let mut c = Context::new("spmm_rows");
    c.describe(format!(
        "rows in flight {height}, tile {}x{} pixels in {} vectors of {}, {} channels a partition, entries in steps of {unit}",
        g.tile_rows, g.tile_cols, g.vectors, g.lanes, g.part_channels
    ));
    let partial_rows = if parts > 1 { p.m + 1 } else { height };
    let buffers = declare(&mut c, p, g, partial_rows);
    let tables = vec![
        Table::of("parts", Scalar::I32, stream.parts),
        Table::of("buckets", Scalar::I32, stream.buckets),
        Table::of("rows", Scalar::I32, stream.rows),
        Table::of("offsets", Scalar::U16, stream.offsets),
        Table::of("values", Scalar::F32, stream.values),
    ];
    let ids = declare_tables(&mut c, &tables);
    let [parts_id, buckets_id, rows_id, offsets_id, values_id] = ids[..] else {
        return Multiplication { kernel: c.finish(), tables };
    };
    let word = |table, i: Expr| load(table, vec![i]).convert(Scalar::I64);
    let lanes = g.lanes as u16;
    let acc = c.register("acc", Type::vector(Scalar::F32, lanes), vec![height as u32, g.vectors as u32]);
    let row_of = c.register("row_of", Type::INDEX, vec![height as u32]);
    let (h, t_count) = (height as u32, g.vectors as u32);

    for_each_tile(&mut c, p, g, |c, tile| {
        c.serial("part", Expr::int(0), Expr::int(parts), 1, |c, part| {
            let at = part.clone() * Expr::int(PART_WORDS);
            let first_channel = c.bind_index("first_channel", word(parts_id, at.clone()));
            let channels = c.bind_index("channels", word(parts_id, at.clone() + Expr::int(1)));
            let first_bucket = c.bind_index("first_bucket", word(parts_id, at.clone() + Expr::int(2)));
            let last_bucket = c.bind_index("last_bucket", word(parts_id, at + Expr::int(3)));
            pack_window(c, (p, g, &buffers), &tile, (first_channel, channels));
            c.serial("bucket", first_bucket, last_bucket, 1, |c, bucket| {
                let at = bucket * Expr::int(BUCKET_WORDS);
                let steps = c.bind_index("steps", word(buckets_id, at.clone()));
                let first_group = c.bind_index("first_group", word(buckets_id, at.clone() + Expr::int(1)));
                let last_group = c.bind_index("last_group", word(buckets_id, at.clone() + Expr::int(2)));
                let first_entry = c.bind_index("first_entry", word(buckets_id, at + Expr::int(3)));
                c.serial("group", first_group.clone(), last_group, 1, |c, group| {
                    c.unroll("r", h, |c, r| {
                        let row = word(rows_id, group.clone() * Expr::int(i64::from(h)) + r.clone());
                        c.set(row_of, vec![r], row);
                    });
                    let row = |r: &Expr| Expr::Reg(row_of, vec![r.clone()]);
                    let sum = |r: &Expr, t: &Expr| Expr::Reg(acc, vec![r.clone(), t.clone()]);
                    let zero = |c: &mut Context| {
                        c.unroll("r", h, |c, r| {
                            c.unroll("t", t_count, |c, t| {
                                c.vector(lanes, None, |c, _| c.set(acc, vec![r, t], Expr::f32(0.0)));
                            });
                        });
                    };
                    let resume = |c: &mut Context| {
                        c.unroll("r", h, |c, r| {
                            c.unroll("t", t_count, |c, t| {
                                c.vector(lanes, None, |c, l| {
                                    let lane = t.clone() * Expr::int(i64::from(lanes)) + l;
                                    c.set(acc, vec![r.clone(), t], load(buffers.partial, vec![row(&r), lane]));
                                });
                            });
                        });
                    };
                    if parts > 1 {
                        c.branch(Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0)), zero, resume);
                    } else {
                        zero(c);
                    }
                    let per_step = Expr::int((height * unit) as i64);
                    let start = first_entry + (group - first_group) * steps.clone() * per_step.clone();
                    let start = c.bind_index("start", start);
                    c.serial("e", Expr::int(0), steps, 1, |c, e| {
                        let at = c.bind_index("at", start + e * per_step);
                        c.unroll("r", h, |c, r| {
                            c.unroll("u", unit as u32, |c, u| {
                                let entry = at.clone() + r.clone() * Expr::int(unit as i64) + u;
                                let offset = c.bind_index("offset", word(offsets_id, entry.clone()));
                                let value = c.bind("value", Type::scalar(Scalar::F32), load(values_id, vec![entry]));
                                c.unroll("t", t_count, |c, t| {
                                    c.vector(lanes, None, |c, l| {
                                        let lane = offset + t.clone() * Expr::int(i64::from(lanes)) + l;
                                        let x = load(buffers.window, vec![lane]);
                                        c.set(acc, vec![r.clone(), t.clone()], Expr::fma(value, x, sum(&r, &t)));
                                    });
                                });
                            });
                        });
                    });
                    let keep = |c: &mut Context, by_row: bool| {
                        c.unroll("r", h, |c, r| {
                            c.unroll("t", t_count, |c, t| {
                                c.vector(lanes, None, |c, l| {
                                    let lane = t.clone() * Expr::int(i64::from(lanes)) + l;
                                    let line = if by_row { row(&r) } else { r.clone() };
                                    c.store(buffers.partial, vec![line, lane], sum(&r, &t));
                                });
                            });
                        });
                    };
                    let finish = |c: &mut Context| {
                        if !g.is_flat() {
                            keep(c, parts > 1);
                        }
                        c.unroll("r", h, |c, r| {
                            let one = |c: &mut Context| {
                                let m = row(&r);
                                let line = if parts > 1 { row(&r) } else { r.clone() };
                                finish_row(c, (p, g, &buffers), &tile, &m, &|t, l| match g.is_flat() {
                                    true => sum(&r, &t),
                                    false => load(buffers.partial, vec![line.clone(), l]),
                                });
                            };
                            if dummies {
                                let real = Expr::compare(CompareOp::Lt, row(&r), Expr::int(p.m as i64));
                                c.branch(real, one, |_| {});
                            } else {
                                one(c);
                            }
                        });
                    };
                    if parts > 1 {
                        let last = Expr::compare(CompareOp::Eq, part, Expr::int(parts - 1));
                        c.branch(last, finish, |c| keep(c, true));
                    } else {
                        finish(c);
                    }
                });
            });
        });
    });
    Multiplication { kernel: c.finish(), tables }
}
