//! Pairs of rows that share columns.
//!
//! A load of X for each multiply-add is what bounds a sparse product in the first-level cache. Two rows that both have
//! a nonzero in a column need only one. So the rows of a partition are paired: each row takes, among the next ones of
//! about its length, the partner with which it shares most columns. Of random patterns at 90 % sparsity, pairs share
//! about a third of their nonzeros, which saves a sixth of the loads; trained networks share more. This is register
//! tiling of unstructured sparsity ("Register Tiling for Unstructured Sparsity in Neural Network Inference", PLDI 2023)
//! for panels of two rows that are chosen anew in each partition.
//!
//! ```text
//! row 3   . a . b . . c .      shared: columns 1, 6 (values a d, c f)
//! row 8   . d e . . . f .      single: b of row 3 beside e of row 8
//! ```

use crate::weight::level::level;

/// How many candidates a row looks at; twice as many share 5 % more columns.
const CANDIDATES: usize = 128;

/// A stored entry: its column within the partition, and its value.
type Entry = (u32, f32);

/// The nonzeros of a row within a partition.
struct Row<'a> {
    number: usize,
    entries: Vec<Entry>,
    /// Which columns they are in.
    bits: &'a [u64],
}

/// Two rows and their nonzeros.
#[derive(Clone, Debug, Default, PartialEq)]
struct Pair {
    rows: [usize; 2],
    /// Columns of both, with the value of each.
    shared: Vec<(u32, [f32; 2])>,
    /// Columns of one.
    single: [Vec<Entry>; 2],
}

impl Pair {
    fn of(a: Row<'_>, b: Option<Row<'_>>, dummy: usize) -> Pair {
        let Some(b) = b else {
            return Pair { rows: [a.number, dummy], shared: vec![], single: [a.entries, vec![]] };
        };
        let mut pair = Pair { rows: [a.number, b.number], ..Pair::default() };
        let (mut left, mut right) = (a.entries.into_iter().peekable(), b.entries.into_iter().peekable());
        loop {
            match (left.peek().copied(), right.peek().copied()) {
                (Some(l), Some(r)) if l.0 == r.0 => {
                    pair.shared.push((l.0, [l.1, r.1]));
                    left.next();
                    right.next();
                }
                (Some(l), r) if r.is_none_or(|r| l.0 < r.0) => {
                    pair.single[0].push(l);
                    left.next();
                }
                (_, Some(r)) => {
                    pair.single[1].push(r);
                    right.next();
                }
                // Without an entry on the right, the arm before takes each one on the left.
                (_, None) => return pair,
            }
        }
    }

    /// Steps of single entries.
    fn singles(&self) -> usize {
        self.single[0].len().max(self.single[1].len())
    }

    /// Takes shared entries for single ones, until `count` are left.
    fn keep_shared(&mut self, count: usize) {
        for (column, values) in self.shared.drain(count.min(self.shared.len())..) {
            self.single[0].push((column, values[0]));
            self.single[1].push((column, values[1]));
        }
    }
}

/// Pairs that are in flight together, and have equally many entries of each kind.
#[derive(Debug)]
pub(crate) struct Group {
    pairs: Vec<Pair>,
    /// Shared columns of each pair.
    pub(crate) shared: usize,
    /// Single entries of each row.
    pub(crate) single: usize,
}

impl Group {
    fn of(mut pairs: Vec<Pair>) -> Group {
        let shared = pairs.iter().map(|p| p.shared.len()).min().unwrap_or(0);
        pairs.iter_mut().for_each(|p| p.keep_shared(shared));
        let single = pairs.iter().map(Pair::singles).max().unwrap_or(0);
        Group { pairs, shared, single }
    }

    /// Takes shared columns of each pair for single entries, until `count` are left.
    pub(crate) fn keep_shared(&mut self, count: usize) {
        self.pairs.iter_mut().for_each(|p| p.keep_shared(count));
        self.shared = count.min(self.shared);
        self.single = self.pairs.iter().map(Pair::singles).max().unwrap_or(0).max(self.single);
    }

    /// Row numbers.
    pub(crate) fn rows(&self) -> impl Iterator<Item = usize> {
        self.pairs.iter().flat_map(|p| p.rows)
    }

    /// Columns and values in the order in which the kernel reads them: for each step the shared entries of each pair,
    /// then for each step the single entries of each row. Rows with fewer entries have zeros.
    pub(crate) fn entries(&self, mut column: impl FnMut(u32), mut value: impl FnMut(f32)) {
        for step in 0..self.shared {
            for (at, values) in self.pairs.iter().filter_map(|p| p.shared.get(step)) {
                column(*at);
                values.iter().for_each(|&v| value(v));
            }
        }
        for step in 0..self.single {
            for row in self.pairs.iter().flat_map(|p| &p.single) {
                let (at, v) = row.get(step).copied().unwrap_or((0, 0.0));
                column(at);
                value(v);
            }
        }
    }
}

/// The groups of a partition, those of equal counts one after the other: of `in_flight` pairs, for tiles of so many `vectors`.
///
/// `weight` is row-major with `k` columns, the partition its columns `range` of the rows `members`. Rows without a nonzero
/// there are left out unless `all` are wanted. The number of rows of the weight stands for a row that does not exist.
pub(crate) fn groups_of(
    (weight, k): (&[f32], usize),
    members: &[usize],
    range: std::ops::Range<usize>,
    (in_flight, vectors): (usize, f64),
    all: bool,
) -> Vec<Group> {
    let words = range.len().div_ceil(64).max(1);
    let dummy = weight.len() / k.max(1);
    let mut bits = vec![0u64; members.len() * words];
    let lines: Vec<Vec<Entry>> = members
        .iter()
        .zip(bits.chunks_exact_mut(words))
        .map(|(&row, bits)| {
            let line = &weight[row * k..][range.clone()];
            let nonzero = line.iter().enumerate().filter(|(_, v)| **v != 0.0);
            nonzero
                .map(|(i, &v)| {
                    bits[i / 64] |= 1 << (i % 64);
                    (i as u32, v)
                })
                .collect()
        })
        .collect();
    let rows = members.iter().zip(lines.into_iter().zip(bits.chunks_exact(words)));
    let mut rows: Vec<Row<'_>> = rows
        .filter(|(_, (entries, _))| all || !entries.is_empty())
        .map(|(&number, (entries, bits))| Row { number, entries, bits })
        .collect();
    rows.sort_by_key(|r| (r.entries.len(), r.number));
    let mut pairs = pair_up(rows, dummy);
    pairs.sort_by_key(|p| (p.shared.len() + p.singles(), p.shared.len(), p.rows));
    let mut groups = Vec::new();
    let mut pairs = pairs.into_iter().peekable();
    while pairs.peek().is_some() {
        let mut group: Vec<Pair> = pairs.by_ref().take(in_flight).collect();
        group.resize_with(in_flight, || Pair { rows: [dummy; 2], ..Pair::default() });
        groups.push(Group::of(group));
    }
    level(&mut groups, in_flight, vectors);
    groups
}

/// Deals the rows of a weight into shares of about equally many nonzeros: each row, the longest first, goes to the share
/// that has the fewest. Rows of a share are in ascending order.
pub(crate) fn deal(weight: &[f32], k: usize, shares: usize) -> Vec<Vec<usize>> {
    if shares <= 1 {
        return vec![(0..weight.len() / k.max(1)).collect()];
    }
    let lengths = weight.chunks_exact(k).map(|line| line.iter().filter(|v| **v != 0.0).count());
    let mut rows: Vec<(usize, usize)> = lengths.enumerate().map(|(row, n)| (n, row)).collect();
    rows.sort_by_key(|&(n, row)| (std::cmp::Reverse(n), row));
    let mut dealt = vec![(0, Vec::new()); shares];
    for (n, row) in rows {
        // Rows that are equally long, even empty ones, go round.
        if let Some(share) = dealt.iter_mut().min_by_key(|(sum, rows)| (*sum, rows.len())) {
            share.0 += n;
            share.1.push(row);
        }
    }
    dealt.iter_mut().for_each(|(_, rows)| rows.sort_unstable());
    dealt.into_iter().map(|(_, rows)| rows).collect()
}

/// Each row with the best partner among the next [`CANDIDATES`], which are about as long.
fn pair_up(rows: Vec<Row<'_>>, dummy: usize) -> Vec<Pair> {
    let mut rows: Vec<Option<Row<'_>>> = rows.into_iter().map(Some).collect();
    let mut pairs = Vec::with_capacity(rows.len().div_ceil(2));
    let mut first = 0;
    while first < rows.len() {
        let Some(a) = rows[first].take() else {
            first += 1;
            continue;
        };
        let left = rows.iter().enumerate().skip(first + 1).filter_map(|(i, r)| r.as_ref().map(|r| (i, r)));
        let gain = |b: &Row<'_>| {
            let shared: u32 = a.bits.iter().zip(b.bits).map(|(x, y)| (x & y).count_ones()).sum();
            i64::from(shared) - (b.entries.len() as i64 - a.entries.len() as i64)
        };
        // The first of equals: `max_by_key` would give the last.
        let best = left.take(CANDIDATES).map(|(i, r)| (gain(r), std::cmp::Reverse(i))).max();
        let partner = best.and_then(|(_, std::cmp::Reverse(i))| rows[i].take());
        pairs.push(Pair::of(a, partner, dummy));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::{Group, deal, groups_of};

    /// Adds up what a kernel would: for each row the products with a vector of X.
    fn multiply(groups: &[Group], x: &[f32], m: usize) -> Vec<f32> {
        let mut y = vec![0.0; m + 1];
        for group in groups {
            let (mut columns, mut values) = (vec![], vec![]);
            group.entries(|c| columns.push(c), |v| values.push(v));
            let rows: Vec<usize> = group.rows().collect();
            let (shared, single) = columns.split_at(group.shared * rows.len() / 2);
            let (of_shared, of_single) = values.split_at(group.shared * rows.len());
            for (i, v) in of_shared.iter().enumerate() {
                y[rows[i % rows.len()]] += v * x[shared[i / 2] as usize];
            }
            for (i, (v, c)) in of_single.iter().zip(single).enumerate() {
                y[rows[i % rows.len()]] += v * x[*c as usize];
            }
        }
        y.truncate(m);
        y
    }

    fn weight(m: usize, k: usize, every: usize) -> Vec<f32> {
        (0..m * k).map(|i| if (i * 7919 + i / k * 31).is_multiple_of(every) { 1.0 + i as f32 } else { 0.0 }).collect()
    }

    #[test]
    fn groups_hold_the_weight() {
        for (m, k, every) in [(1, 1, 1), (5, 70, 3), (64, 130, 10), (33, 9, 1), (8, 16, 1000)] {
            let w = weight(m, k, every);
            let x: Vec<f32> = (0..k).map(|i| 1.0 + i as f32).collect();
            let expected: Vec<f32> =
                w.chunks_exact(k).map(|line| line.iter().zip(&x).map(|(a, b)| a * b).sum()).collect();
            for in_flight in [1, 2, 4] {
                let groups = groups_of((&w, k), &Vec::from_iter(0..m), 0..k, (in_flight, 4.0), true);
                for (a, b) in multiply(&groups, &x, m).iter().zip(&expected) {
                    assert!((a - b).abs() <= 1e-5 * b.abs(), "{m}x{k} every {every}, {in_flight} in flight");
                }
                let mut rows: Vec<usize> = groups.iter().flat_map(Group::rows).filter(|&r| r < m).collect();
                rows.sort_unstable();
                assert_eq!(rows, (0..m).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn shares_have_equally_many_nonzeros() {
        let w = weight(40, 30, 4);
        let dealt = deal(&w, 30, 3);
        let sums: Vec<usize> = dealt
            .iter()
            .map(|rows| rows.iter().map(|r| w[r * 30..][..30].iter().filter(|v| **v != 0.0).count()).sum())
            .collect();
        assert!(sums.iter().max().unwrap() - sums.iter().min().unwrap() <= 10, "{sums:?}");
        let mut all = dealt.concat();
        all.sort_unstable();
        assert_eq!(all, (0..40).collect::<Vec<_>>());
    }

    #[test]
    fn rows_that_share_columns_find_each_other() {
        let w = [1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
        let groups = groups_of((&w, 4), &[0, 1, 2, 3], 0..4, (1, 4.0), true);
        assert_eq!(groups.iter().map(|g| (g.shared, g.single)).collect::<Vec<_>>(), [(2, 0), (2, 0)]);
    }

    #[test]
    fn empty_rows_are_left_out_where_nobody_wants_them() {
        let w = [0.0, 0.0, 1.0, 0.0];
        assert_eq!(groups_of((&w, 2), &[0, 1], 0..2, (1, 4.0), false).len(), 1);
        assert_eq!(groups_of((&w, 2), &[0, 1], 1..2, (1, 4.0), false).len(), 0);
    }
}
