//! The kernel of `nm<N,M>`: no indices, but selectors of a few bits.
//!
//! Of every `M` neighbouring channels a row keeps `N`. All rows have the same number of entries, so there are no
//! buckets; where a group lies in the packed window is the same for all rows and is stored once; what differs is which
//! channels of the group a row keeps. The selectors of all rows in flight for one group are packed into one word:
//!
//! ```text
//! 2:4, two rows in flight: a byte a group     bits 0-1, 2-3: row 0     bits 4-5, 6-7: row 1
//! entry = (value, selector):  sum += value * window[offset(group) + selector * channel_size]
//! ```
//!
//! Columns are taken in `(kernel element, channel)` order, since groups lie along the channels.

use sparsec_sparse::{FormatError, Nm};
use sparsec_tir::{BinaryOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::schedule::Schedule;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::geometry::{Geometry, Layout};
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::rows::CHAINS;
use crate::weight::sums::Sums;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{channels_of_part, declare, for_each_tile, pack_window};

/// How a weight is cut: `n` of `m` kept, selectors of `bits` bits, `height` rows in flight.
struct Shape {
    n: usize,
    m: usize,
    bits: usize,
    height: usize,
}

impl Shape {
    /// The type of the word that holds the selectors of one group for all rows in flight.
    fn word(&self) -> Scalar {
        match self.height * self.n * self.bits {
            0..=8 => Scalar::U8,
            9..=16 => Scalar::U16,
            17..=32 => Scalar::U32,
            _ => Scalar::U64,
        }
    }
}

/// The kernel and its tables.
pub(crate) fn lower(
    p: &WeightProblem,
    weight: &WeightMatrix,
    (n, m): (usize, usize),
    target: &TargetInfo,
) -> Result<Multiplication, FormatError> {
    let max_vectors = if target.registers >= 32 { 8 } else { 6 };
    let choice = Geometry::choose(p, target, Layout::Aligned, 0.8, max_vectors);
    let g = choice.geometry.clone().with_whole_groups(m);
    let bits = (usize::BITS - (m - 1).leading_zeros()).max(1) as usize;
    let flights = |g: &Geometry| rows_in_flight(g, n * bits, target);
    let rows = flights(&g);
    let height = choice.flight.filter(|flight| rows.contains(flight)).unwrap_or(rows[0]);
    let shape = Shape { n, m, bits, height };
    let tables = tables(p, weight, &g, &shape)?;
    let whole = |schedule| match schedule {
        Schedule::Tile { rows, vectors, channels, flight, halves } => {
            Schedule::Tile { rows, vectors, channels: (channels / m).max(1) * m, flight, halves }
        }
        other => other,
    };
    let others = choice.others(p, flights).into_iter().map(whole);
    Ok(build(p, &g, &shape, tables).with_schedules(g.schedule(height), others))
}

/// How many rows may be in flight: enough to hide the latency, and to fill a byte of selectors of so many bits a row, but
/// not more bits than a word has; then more and fewer.
fn rows_in_flight(g: &Geometry, row_bits: usize, target: &TargetInfo) -> Vec<usize> {
    let wanted = CHAINS.div_ceil(g.vectors).max(8usize.div_ceil(row_bits)).next_power_of_two();
    let most = (64 / row_bits).max(1).min(((target.registers as usize - 4) / g.vectors).max(1));
    let usual = wanted.min(most);
    let mut flights = vec![usual];
    flights.extend([2 * usual, usual / 2].into_iter().filter(|rows| (1..=most).contains(rows)));
    flights
}

/// `offsets` of the groups of a partition, `words` of selectors, `values`; the latter two in the order
/// (partition, rows in flight, kernel element, group, row).
fn tables(p: &WeightProblem, weight: &WeightMatrix, g: &Geometry, s: &Shape) -> Result<Vec<Table>, FormatError> {
    let (kernel, groups) = (p.kernel_size(), p.channels.div_ceil(s.m));
    let dense = weight.dense();
    // Rows of one kernel element after the other, so that groups never reach into the next element.
    let mut by_element = vec![0.0f32; p.m * kernel * groups * s.m];
    for row in 0..p.m {
        for element in 0..kernel {
            for channel in 0..p.channels {
                let to = (row * kernel + element) * groups * s.m + channel;
                by_element[to] = dense[row * p.k() + channel * kernel + element];
            }
        }
    }
    drop(dense);
    let nm = Nm::from_dense(p.m * kernel, groups * s.m, &by_element, s.n as u32, s.m as u32)?;
    drop(by_element);
    let (stored, selectors) = (nm.values(), nm.selectors());
    let per_part = g.part_channels / s.m;
    let (mut words, mut values) = (Vec::<u64>::new(), Vec::new());
    for first in (0..groups).step_by(per_part) {
        for row in (0..p.m).step_by(s.height) {
            for element in 0..kernel {
                for group in first..(first + per_part).min(groups) {
                    let mut word = 0u64;
                    for r in 0..s.height {
                        for i in 0..s.n {
                            let at = (((row + r) * kernel + element) * groups + group) * s.n + i;
                            let real = row + r < p.m;
                            let selector = if real { u64::from(selectors[at]) } else { 0 };
                            // A short last group has no channels behind its end.
                            let inside = group * s.m + (selector as usize) < p.channels;
                            word |= if inside { selector << ((r * s.n + i) * s.bits) } else { 0 };
                            values.push(if real { stored[at] } else { 0.0 });
                        }
                    }
                    words.push(word);
                }
            }
        }
    }
    let (kh, kw) = (p.rows.kernel, p.cols.kernel);
    let offset = |element: usize, group: usize| g.offset(p, group * s.m, element / kw % kh, element % kw) as u16;
    let offsets: Vec<u16> = (0..kernel).flat_map(|e| (0..per_part).map(move |group| offset(e, group))).collect();
    let words = match s.word() {
        Scalar::U8 => Table::of("words", Scalar::U8, words.iter().map(|&w| w as u8).collect::<Vec<u8>>()),
        Scalar::U16 => Table::of("words", Scalar::U16, words.iter().map(|&w| w as u16).collect::<Vec<u16>>()),
        Scalar::U32 => Table::of("words", Scalar::U32, words.iter().map(|&w| w as u32).collect::<Vec<u32>>()),
        _ => Table::of("words", Scalar::U64, words),
    };
    Ok(vec![Table::of("offsets", Scalar::U16, offsets), words, Table::of("values", Scalar::F32, values)])
}

fn build(p: &WeightProblem, g: &Geometry, s: &Shape, tables: Vec<Table>) -> Multiplication {
    let height = s.height as i64;
    let (parts, kernel) = (g.parts(p) as i64, p.kernel_size() as i64);
    let groups = p.channels.div_ceil(s.m) as i64;
    let per_part = (g.part_channels / s.m) as i64;
    let row_groups = p.m.div_ceil(s.height) as i64;
    let mut c = Context::new("spmm_nm");
    c.describe(format!("{} of {} channels kept, {height} rows in flight, {}", s.n, s.m, g.describe()));
    let buffers = declare(&mut c, p, g, Sums::partial_rows(p, g, s.height));
    let sums = Sums::declare(&mut c, (p, g), s.height, !p.m.is_multiple_of(s.height));
    let ids = declare_tables(&mut c, &tables);
    let (offsets, words, values) = (ids[0], ids[1], ids[2]);
    let mask = Expr::int((1i64 << s.bits) - 1);

    for_each_tile(&mut c, p, g, |c, tile| {
        c.serial("part", Expr::int(0), Expr::int(parts), 1, |c, part| {
            let (first, channels) = channels_of_part(c, p, g, &part);
            pack_window(c, (p, g, &buffers), &tile, (first, channels));
            let rest = Expr::int(groups) - part.clone() * Expr::int(per_part);
            let here = c.bind_index("groups", rest.min(Expr::int(per_part)));
            let before = part.clone() * Expr::int(per_part * kernel * row_groups);
            let before = c.bind_index("before", before);
            c.serial("rows", Expr::int(0), Expr::int(row_groups), 1, |c, rows| {
                let row = rows.clone() * Expr::int(height);
                sums.begin(c, &buffers, &part, &|r| (row.clone() + r.clone()).min(Expr::int(p.m as i64)));
                sums.prefetch_end(c, &buffers, &part, &tile);
                c.serial("element", Expr::int(0), Expr::int(kernel), 1, |c, element| {
                    let start = before + (rows * Expr::int(kernel) + element.clone()) * here.clone();
                    let start = c.bind_index("start", start);
                    c.serial("group", Expr::int(0), here, 1, |c, group| {
                        let step = c.bind_index("step", start + group.clone());
                        let at = element * Expr::int(per_part) + group;
                        let offset = c.bind_index("offset", load(offsets, vec![at]).convert(Scalar::I64));
                        let word = c.bind_index("word", load(words, vec![step.clone()]).convert(Scalar::I64));
                        c.unroll("r", s.height as u32, |c, r| {
                            c.unroll("i", s.n as u32, |c, i| {
                                let place = r.clone() * Expr::int(s.n as i64) + i;
                                let shift = place.clone() * Expr::int(s.bits as i64);
                                let shifted = Expr::binary(BinaryOp::Shr, word, shift);
                                let selector = Expr::binary(BinaryOp::And, shifted, mask);
                                let from = offset + selector * Expr::int(g.channel_size() as i64);
                                let from = c.bind_index("from", from);
                                let at = step * Expr::int((s.height * s.n) as i64) + place;
                                let value = c.bind("value", Type::scalar(Scalar::F32), load(values, vec![at]));
                                sums.add(c, &buffers, &r, &value, &from);
                            });
                        });
                    });
                });
                sums.end(c, &buffers, &part, &tile);
            });
        });
    });
    Multiplication::new(c.finish(), tables)
}
