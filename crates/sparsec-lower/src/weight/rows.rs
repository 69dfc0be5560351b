//! The kernel of rows with columns of their own: `hyb`, and blocks of one row.
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
use sparsec_tir::{Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::geometry::{Geometry, Layout};
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::sums::Sums;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{declare, for_each_tile, pack_window};

/// Sums in flight that hide the latency of a multiply-add (4 cycles on 2 pipes).
pub(crate) const CHAINS: usize = 8;

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
    let g = Geometry::choose(p, target, Layout::Aligned, 1.5, max_vectors);
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
                while !s.rows.len().is_multiple_of(height) {
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
        // The last group asks for its successor, too.
        s.rows.extend(std::iter::repeat_n(0, height));
        let offsets: Vec<u16> = (0..part_cols).map(|col| g.column_offset(p, col) as u16).collect();
        s.offsets = hyb.columns().iter().map(|&col| offsets[usize::from(col)]).collect();
        Ok(s)
    }
}

fn build(p: &WeightProblem, g: &Geometry, height: usize, unit: usize, stream: Stream) -> Multiplication {
    let parts = stream.parts.len() as i64 / PART_WORDS;
    let mut c = Context::new("spmm_rows");
    c.describe(format!("{height} rows in flight, entries in steps of {unit}, {}", g.describe()));
    let buffers = declare(&mut c, p, g, Sums::partial_rows(p, g, height));
    let sums = Sums::declare(&mut c, (p, g), height, stream.rows.contains(&(p.m as i32)));
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
    let named = |c: &mut Context, name: &str, table, at: &Expr, i: i64| {
        c.bind_index(name, word(table, at.clone() + Expr::int(i)))
    };

    for_each_tile(&mut c, p, g, |c, tile| {
        c.serial("part", Expr::int(0), Expr::int(parts), 1, |c, part| {
            let at = part.clone() * Expr::int(PART_WORDS);
            let first_channel = named(c, "first_channel", parts_id, &at, 0);
            let channels = named(c, "channels", parts_id, &at, 1);
            let first_bucket = named(c, "first_bucket", parts_id, &at, 2);
            let last_bucket = named(c, "last_bucket", parts_id, &at, 3);
            pack_window(c, (p, g, &buffers), &tile, (first_channel, channels));
            c.serial("bucket", first_bucket, last_bucket, 1, |c, bucket| {
                let at = bucket * Expr::int(BUCKET_WORDS);
                let steps = named(c, "steps", buckets_id, &at, 0);
                let first_group = named(c, "first_group", buckets_id, &at, 1);
                let last_group = named(c, "last_group", buckets_id, &at, 2);
                let first_entry = named(c, "first_entry", buckets_id, &at, 3);
                c.serial("group", first_group.clone(), last_group, 1, |c, group| {
                    let first_row = group.clone() * Expr::int(height as i64);
                    sums.begin(c, &buffers, &part, &|r| word(rows_id, first_row.clone() + r.clone()));
                    sums.prefetch_end(c, &buffers, &part, &tile);
                    let next_row = first_row + Expr::int(height as i64);
                    sums.prefetch_next(c, &buffers, &|r| word(rows_id, next_row.clone() + r.clone()));
                    let per_step = Expr::int((height * unit) as i64);
                    let start = first_entry + (group - first_group) * steps.clone() * per_step.clone();
                    let start = c.bind_index("start", start);
                    c.serial("e", Expr::int(0), steps, 1, |c, e| {
                        let at = c.bind_index("at", start + e * per_step);
                        c.unroll("r", height as u32, |c, r| {
                            c.unroll("u", unit as u32, |c, u| {
                                let entry = at + r.clone() * Expr::int(unit as i64) + u;
                                let offset = c.bind_index("offset", word(offsets_id, entry.clone()));
                                let value = c.bind("value", Type::scalar(Scalar::F32), load(values_id, vec![entry]));
                                sums.add(c, &buffers, &r, &value, &offset);
                            });
                        });
                    });
                    sums.end(c, &buffers, &part, &tile);
                });
            });
        });
    });
    Multiplication { kernel: c.finish(), tables }
}
