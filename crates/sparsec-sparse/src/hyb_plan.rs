//! Which rows of a partition a `hyb` kernel takes together.
//!
//! The plan depends on the pattern alone, so the cost model can ask for its size without any values. Within a
//! partition the nonempty rows are sorted by rounded length, ties by row, and taken in groups of `rows`. Where the
//! rows of one length are not a multiple of `rows`, the remainder either moves up to the next length or is completed
//! with dummy rows; a small dynamic program over the lengths takes the choice that stores the fewest entries.

use crate::error::FormatError;
use crate::format::Format;
use crate::pattern::Pattern;
use crate::size::{check_entries, index_bytes};

/// Parameters of the `hyb` format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HybParams {
    /// Columns in a partition.
    pub partition: u32,
    /// Row lengths are rounded up to a multiple of this.
    pub bucket: u32,
    /// Rows in a group.
    pub rows: u32,
    /// Entries of one row that lie together before the next row of the group has its turn; a multiple of `bucket`.
    pub unit: u32,
}

impl HybParams {
    /// Parameters with `unit = bucket`, as [`Format::Hyb`] names them.
    pub fn new(partition: u32, bucket: u32, rows: u32) -> Self {
        Self { partition, bucket, rows, unit: bucket }
    }

    /// The same with another `unit`, for kernels that read, say, four entries at a time and a tail of two.
    pub fn with_unit(self, unit: u32) -> Self {
        Self { unit, ..self }
    }

    /// The format that these parameters belong to; `unit` is an order in memory and not part of its name.
    pub fn format(&self) -> Format {
        Format::Hyb { partition: self.partition, bucket: self.bucket, rows: self.rows }
    }

    fn validate(&self) -> Result<(), FormatError> {
        self.format().validate()?;
        if self.unit == 0 || !self.unit.is_multiple_of(self.bucket) {
            let reason = "the unit must be a multiple of the length rounding";
            return Err(FormatError::Parameter { format: self.format(), reason });
        }
        Ok(())
    }
}

/// A range of columns and its buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HybPartition {
    /// First column.
    pub col_start: usize,
    /// Columns; only the last partition may be narrower than the others.
    pub cols: usize,
    /// First of its buckets in [`crate::Hyb::buckets`].
    pub bucket_start: usize,
    /// Number of its buckets, none where the columns are all zero.
    pub buckets: usize,
}

/// Groups of rows of equal length, one after the other in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HybBucket {
    /// Entries stored for each row, a multiple of the length rounding.
    pub len: usize,
    /// Number of groups.
    pub groups: usize,
    /// First group of the bucket, counted over the whole matrix.
    pub group_start: usize,
    /// First entry of the bucket; a group holds `rows * len` entries.
    pub entry_start: usize,
}

/// Partitions, buckets and the rows of each group, before any entry is stored.
pub(crate) struct HybPlan {
    pub(crate) partitions: Vec<HybPartition>,
    pub(crate) buckets: Vec<HybBucket>,
    /// `rows` row numbers for each group; the number of rows of the matrix stands for a dummy row.
    pub(crate) row_ids: Vec<u32>,
    pub(crate) entries: usize,
}

impl HybPlan {
    pub(crate) fn of(pattern: &Pattern, params: HybParams) -> Result<Self, FormatError> {
        params.validate()?;
        let (width, height) = (params.partition as usize, params.rows as usize);
        let mut plan = Self { partitions: Vec::new(), buckets: Vec::new(), row_ids: Vec::new(), entries: 0 };
        // Where each row continues; partitions are visited from left to right.
        let mut next = pattern.row_ptr()[..pattern.rows()].to_vec();
        for col_start in (0..pattern.cols()).step_by(width) {
            let col_end = (col_start + width).min(pattern.cols());
            let bucket_start = plan.buckets.len();
            let mut rows = Vec::new();
            for (row, position) in (0u32..).zip(&mut next) {
                let rest = &pattern.col_idx()[*position..pattern.row_ptr()[row as usize + 1]];
                let count = rest.iter().take_while(|&&col| (col as usize) < col_end).count();
                *position += count;
                if count > 0 {
                    rows.push((count.next_multiple_of(params.bucket as usize), row));
                }
            }
            rows.sort_unstable();
            plan.add_rows(&rows, height, pattern.rows() as u32);
            let buckets = plan.buckets.len() - bucket_start;
            plan.partitions.push(HybPartition { col_start, cols: col_end - col_start, bucket_start, buckets });
        }
        check_entries(pattern, plan.entries)?;
        Ok(plan)
    }

    pub(crate) fn stored_bytes(&self, elem_bytes: usize) -> usize {
        let width = self.partitions.iter().map(|partition| partition.cols).max().unwrap_or(0);
        // A bucket is a length, a number of groups and two positions; a partition is a number of buckets.
        16 * self.buckets.len()
            + 4 * self.partitions.len()
            + 4 * self.row_ids.len()
            + self.entries * (index_bytes(width) + elem_bytes)
    }

    /// Adds the rows of one partition, sorted by (rounded length, row).
    fn add_rows(&mut self, rows: &[(usize, u32)], height: usize, dummy: u32) {
        let classes: Vec<&[(usize, u32)]> = rows.chunk_by(|a, b| a.0 == b.0).collect();
        let lengths: Vec<(usize, usize)> = classes.iter().map(|class| (class[0].0, class.len())).collect();
        let is_padded = choose_padding(&lengths, height);
        let mut waiting: Vec<u32> = Vec::new();
        for (class, pad) in classes.iter().zip(is_padded) {
            waiting.extend(class.iter().map(|&(_, row)| row));
            let full = waiting.len() / height * height;
            let group_start = self.row_ids.len() / height;
            self.row_ids.extend(waiting.drain(..full));
            if pad && !waiting.is_empty() {
                self.row_ids.append(&mut waiting);
                self.row_ids.resize(self.row_ids.len().next_multiple_of(height), dummy);
            }
            let groups = self.row_ids.len() / height - group_start;
            if groups > 0 {
                let len = class[0].0;
                self.buckets.push(HybBucket { len, groups, group_start, entry_start: self.entries });
                self.entries += groups * height * len;
            }
        }
    }
}

/// For each (length, number of rows), shortest first: whether a remainder is completed with dummy rows (true) or moves
/// up to the next length (false).
///
/// The number of rows that move up is below `height` and is all that a later length needs to know, so the best choice
/// for every such number is found length by length. Equal entries: fewer groups, then fewer rows moved.
fn choose_padding(lengths: &[(usize, usize)], height: usize) -> Vec<bool> {
    type Cost = (usize, usize);
    let mut best: Vec<Option<Cost>> = vec![None; height];
    best[0] = Some((0, 0));
    let mut steps: Vec<Vec<(usize, bool)>> = Vec::with_capacity(lengths.len());
    for (i, &(len, count)) in lengths.iter().enumerate() {
        let mut after: Vec<Option<Cost>> = vec![None; height];
        let mut from = vec![(0, false); height];
        for (moved, cost) in best.iter().enumerate() {
            let Some((entries, groups)) = *cost else { continue };
            let (full, rest) = ((moved + count) / height, (moved + count) % height);
            let mut offer = |state: usize, taken: usize, pad: bool| {
                let cost = (entries + taken * height * len, groups + taken);
                if after[state].is_none_or(|known| cost < known) {
                    after[state] = Some(cost);
                    from[state] = (moved, pad);
                }
            };
            offer(0, full + usize::from(rest > 0), true);
            if rest > 0 && i + 1 < lengths.len() {
                offer(rest, full, false);
            }
        }
        best = after;
        steps.push(from);
    }
    let mut state = 0;
    let mut choice = vec![true; lengths.len()];
    for (from, pad) in steps.iter().zip(&mut choice).rev() {
        (state, *pad) = from[state];
    }
    choice
}

#[cfg(test)]
mod tests {
    use super::choose_padding;

    /// Stored entries when each length pads (bit set) or moves its remainder up; none when rows are left over.
    fn entries(lengths: &[(usize, usize)], height: usize, pads: usize) -> Option<usize> {
        let (mut waiting, mut entries) = (0, 0);
        for (i, &(len, count)) in lengths.iter().enumerate() {
            let rows = waiting + count;
            let taken = if pads >> i & 1 == 1 { rows.div_ceil(height) } else { rows / height };
            entries += taken * height * len;
            waiting = rows.saturating_sub(taken * height);
        }
        (waiting == 0).then_some(entries)
    }

    #[test]
    fn padding_stores_the_fewest_entries() {
        let mut seed = 1u64;
        let mut below = |bound: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((seed >> 33) % bound) as usize
        };
        for _ in 0..2000 {
            let mut len = 0;
            let lengths: Vec<(usize, usize)> = (0..below(8))
                .map(|_| {
                    len += 1 + below(6);
                    (len, 1 + below(9))
                })
                .collect();
            let height = 1 + below(5);
            let choice = choose_padding(&lengths, height);
            let pads = choice.iter().enumerate().fold(0, |bits, (i, &pad)| bits | usize::from(pad) << i);
            let fewest = (0..1 << lengths.len()).filter_map(|pads| entries(&lengths, height, pads)).min();
            assert_eq!(entries(&lengths, height, pads), fewest, "{lengths:?} in groups of {height}");
        }
    }
}
