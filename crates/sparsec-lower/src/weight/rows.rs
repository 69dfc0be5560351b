//! The kernel of rows with columns of their own: `hyb`, and blocks of one row.
//!
//! The rows of a partition are taken in pairs (`pairs.rs`). A nonzero is a value and the offset of its vectors of X in
//! the packed window; a column that both rows have is loaded once. The `2P x T` vectors of sums of `P` pairs stay in
//! registers for the whole length.
//!
//! ```text
//! parallel tile, shares of the outputs:
//!   for part:                     pack the part's channels of X
//!     for bucket of part, shares: pairs with equally many shared and single entries
//!       for group of bucket:      P pairs
//!         acc[r, t] = first part ? 0 : partial[row[r], t]
//!         for e in 0..shared:     x = window[offset + t];  acc[a, t] += value_a * x;  acc[b, t] += value_b * x
//!         for e in 0..single:     unroll r: acc[r, t] += value * window[offset + t]
//!         last part ? y[row[r], t] = f(acc[r, t]) : partial[row[r], t] = acc[r, t]
//! ```
//!
//! Rows that are empty in the first or in the last partition are there of length 0, so that every row is begun and
//! finished.

use sparsec_tir::{Access, BufferId, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::geometry::{Geometry, Layout};
use crate::weight::matrix::WeightMatrix;
use crate::weight::pairs::{deal, groups_of};
use crate::weight::problem::WeightProblem;
use crate::weight::sums::Sums;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{declare, for_each_share, pack_window};

/// Sums in flight that hide the latency of a multiply-add (4 cycles on 2 pipes).
pub(crate) const CHAINS: usize = 8;

/// Words of the table of partitions, of each share of the outputs in turn: first channel, channels, first bucket, end of buckets.
const PART_WORDS: i64 = 4;
/// Words of the table of buckets: shared steps, single steps, first group, end of groups, first offset, first value.
const BUCKET_WORDS: i64 = 6;

/// The constant arrays of a weight.
#[derive(Default)]
struct Stream {
    parts: Vec<i32>,
    buckets: Vec<i32>,
    rows: Vec<i32>,
    offsets: Vec<u16>,
    values: Vec<f32>,
}

/// The kernel and its tables.
pub(crate) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Multiplication {
    let max_vectors = if target.registers >= 32 { 8 } else { 6 };
    let choice = Geometry::choose(p, target, Layout::Lines, 0.8, max_vectors);
    let g = &choice.geometry;
    let flights = |g: &Geometry| pairs_in_flight(g, target);
    let pairs = flights(g);
    let pairs = choice.flight.filter(|flight| pairs.contains(flight)).unwrap_or(pairs[0]);
    let stream = Stream::of(p, weight, g, pairs);
    build(p, g, pairs, stream).with_schedules(g.schedule(pairs), choice.others(p, flights))
}

/// How many pairs may be in flight: enough to hide the latency, then more and fewer, as far as registers go.
fn pairs_in_flight(g: &Geometry, target: &TargetInfo) -> Vec<usize> {
    let usual = CHAINS.div_ceil(2 * g.vectors);
    // Sums, the vector of X that is shared, and a value.
    let most = (target.registers as usize).saturating_sub(3) / (2 * g.vectors);
    let mut flights = vec![usual];
    flights.extend([2 * usual, usual / 2].into_iter().filter(|&pairs| (1..=most).contains(&pairs)));
    flights
}

impl Stream {
    fn of(p: &WeightProblem, weight: &WeightMatrix, g: &Geometry, in_flight: usize) -> Self {
        let part_cols = g.part_channels * p.kernel_size();
        let height = 2 * in_flight;
        let offsets: Vec<u16> = (0..part_cols).map(|col| g.column_offset(p, col) as u16).collect();
        let dense = weight.dense();
        let mut s = Stream::default();
        let parts = g.parts(p);
        let shares = deal(&dense, p.k(), g.shares(p));
        for (part, members) in (0..parts).flat_map(|part| shares.iter().map(move |members| (part, members))) {
            let range = part * part_cols..((part + 1) * part_cols).min(p.k());
            let channels = range.len() / p.kernel_size();
            let all = part == 0 || part + 1 == parts;
            let groups = groups_of((&dense, p.k()), members, range, (in_flight, g.machine_vectors()), all);
            let first_bucket = s.buckets.len() as i32 / BUCKET_WORDS as i32;
            for bucket in groups.chunk_by(|a, b| (a.shared, a.single) == (b.shared, b.single)) {
                let first_group = (s.rows.len() / height) as i32;
                let (first_offset, first_value) = (s.offsets.len() as i32, s.values.len() as i32);
                for group in bucket {
                    s.rows.extend(group.rows().map(|r| r as i32));
                    group.entries(|col| s.offsets.push(offsets[col as usize]), |v| s.values.push(v));
                }
                let (shared, single) = (bucket[0].shared as i32, bucket[0].single as i32);
                let end = (s.rows.len() / height) as i32;
                s.buckets.extend([shared, single, first_group, end, first_offset, first_value]);
            }
            let last_bucket = s.buckets.len() as i32 / BUCKET_WORDS as i32;
            s.parts.extend([(part * g.part_channels) as i32, channels as i32, first_bucket, last_bucket]);
        }
        // The last group asks for its successor, too.
        s.rows.extend(std::iter::repeat_n(0, height));
        s
    }
}

/// The values of a step, one for each row. They lie one behind the other, so where vectors are longer than that they are
/// loaded two or four at a time.
fn values_from(c: &mut Context, values: BufferId, at: &Expr, (height, lanes): (usize, usize)) -> Vec<Expr> {
    let scalar = Type::scalar(Scalar::F32);
    let together = [4, 2].into_iter().find(|n| lanes > 4 && height.is_multiple_of(*n));
    let Some(together) = together else {
        return (0..height as i64)
            .map(|r| c.bind("value", scalar, load(values, vec![at.clone() + Expr::int(r)])))
            .collect();
    };
    let mut all = Vec::with_capacity(height);
    for first in (0..height).step_by(together) {
        let place =
            Access { lanes: together as u16, ..Access::element(values, vec![at.clone() + Expr::int(first as i64)]) };
        let several = c.bind("several", Type::vector(Scalar::F32, together as u16), Expr::Load(place));
        let lane = |lane| Expr::Extract(Box::new(several.clone()), lane as u8);
        all.extend((0..together).map(|i| c.bind("value", scalar, lane(i))));
    }
    all
}

fn build(p: &WeightProblem, g: &Geometry, in_flight: usize, stream: Stream) -> Multiplication {
    let (parts, shares) = (g.parts(p) as i64, g.shares(p));
    let height = 2 * in_flight;
    let mut c = Context::new("spmm_rows");
    let in_shares = if shares > 1 { format!(", outputs in {shares} shares") } else { String::new() };
    c.describe(format!("{in_flight} pairs of rows in flight, {}{in_shares}", g.describe()));
    let buffers = declare(&mut c, p, g, Sums::partial_rows(p, g, height));
    let sums = Sums::declare(&mut c, (p, g), height, stream.rows.contains(&(p.m as i32)));
    let x = c.register("x_in_use", Type::vector(Scalar::F32, g.lanes as u16), vec![]);
    let tables = vec![
        Table::of("parts", Scalar::I32, stream.parts),
        Table::of("buckets", Scalar::I32, stream.buckets),
        Table::of("rows", Scalar::I32, stream.rows),
        Table::of("offsets", Scalar::U16, stream.offsets),
        Table::of("values", Scalar::F32, stream.values),
    ];
    let ids = declare_tables(&mut c, &tables);
    let [parts_id, buckets_id, rows_id, offsets_id, values_id] = ids[..] else {
        return Multiplication::new(c.finish(), tables);
    };
    let word = |table, i: Expr| load(table, vec![i]).convert(Scalar::I64);
    let named = |c: &mut Context, name: &str, table, at: &Expr, i: i64| {
        c.bind_index(name, word(table, at.clone() + Expr::int(i)))
    };
    let times = |a: &Expr, b: usize| a.clone() * Expr::int(b as i64);
    let offset = |c: &mut Context, at: Expr| c.bind_index("offset", word(offsets_id, at));
    let values_of = |c: &mut Context, at: &Expr| values_from(c, values_id, at, (height, g.lanes));

    for_each_share(&mut c, p, g, shares, |c, tile, [first_share, last_share]| {
        c.serial("part", Expr::int(0), Expr::int(parts), 1, |c, part| {
            // Shares differ in their buckets only, and those of a part lie one behind the other.
            let words_of = |share: Expr| (part.clone() * Expr::int(shares as i64) + share) * Expr::int(PART_WORDS);
            let at = words_of(first_share);
            let first_channel = named(c, "first_channel", parts_id, &at, 0);
            let channels = named(c, "channels", parts_id, &at, 1);
            let first_bucket = named(c, "first_bucket", parts_id, &at, 2);
            let last_bucket = named(c, "last_bucket", parts_id, &words_of(last_share - Expr::int(1)), 3);
            pack_window(c, (p, g, &buffers), &tile, (first_channel, channels));
            c.serial("bucket", first_bucket, last_bucket, 1, |c, bucket| {
                let at = bucket * Expr::int(BUCKET_WORDS);
                let shared = named(c, "shared", buckets_id, &at, 0);
                let single = named(c, "single", buckets_id, &at, 1);
                let first_group = named(c, "first_group", buckets_id, &at, 2);
                let last_group = named(c, "last_group", buckets_id, &at, 3);
                let first_offset = named(c, "first_offset", buckets_id, &at, 4);
                let first_value = named(c, "first_value", buckets_id, &at, 5);
                c.serial("group", first_group.clone(), last_group, 1, |c, group| {
                    let first_row = times(&group, height);
                    sums.begin(c, &buffers, &part, &|r| word(rows_id, first_row.clone() + r.clone()));
                    sums.prefetch_end(c, &buffers, &part, &tile);
                    let next_row = first_row + Expr::int(height as i64);
                    sums.prefetch_next(c, &buffers, &|r| word(rows_id, next_row.clone() + r.clone()));
                    let index = c.bind_index("index", group - first_group);
                    let of_shared = times(&shared, in_flight);
                    let of_single = times(&single, height);
                    let offsets_at = first_offset + index.clone() * (of_shared.clone() + of_single.clone());
                    let offsets_at = c.bind_index("offsets_at", offsets_at);
                    let values_at = first_value + index * (times(&shared, height) + of_single);
                    let values_at = c.bind_index("values_at", values_at);
                    c.serial("e", Expr::int(0), shared.clone(), 1, |c, e| {
                        let from = c.bind_index("from", offsets_at.clone() + times(&e, in_flight));
                        let values_from = c.bind_index("values_from", values_at.clone() + times(&e, height));
                        let values = values_of(c, &values_from);
                        for (pair, values) in (0..).zip(values.chunks_exact(2)) {
                            let offset = offset(c, from.clone() + Expr::int(pair));
                            sums.add_shared(c, &buffers, pair, values, &offset, x);
                        }
                    });
                    let singles_at = c.bind_index("singles_at", offsets_at + of_shared);
                    let single_values_at = c.bind_index("single_values_at", values_at + times(&shared, height));
                    c.serial("e", Expr::int(0), single, 1, |c, e| {
                        let from = c.bind_index("from", singles_at + times(&e, height));
                        let values_from = c.bind_index("values_from", single_values_at + times(&e, height));
                        for (r, value) in (0..).zip(values_of(c, &values_from)) {
                            let offset = offset(c, from.clone() + Expr::int(r));
                            sums.add(c, &buffers, &Expr::int(r), &value, &offset);
                        }
                    });
                    sums.end(c, &buffers, &part, &tile);
                });
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}
