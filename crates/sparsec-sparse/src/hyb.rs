//! `hyb<partition,bucket,rows>`: columns cut into partitions, rows of a partition bucketed by length.
//!
//! A partition is narrow enough that its part of X stays in the L1 cache. Within it, rows of equal length share a loop
//! with a constant trip count, and `rows` of them are in flight at once, so that their independent sums hide the
//! latency of the multiply-add. It is the format for unstructured sparsity and more than a few columns of X.
//!
//! - Nonempty rows of a partition are sorted by (length rounded up to a multiple of `bucket`, row) and cut into groups
//!   of `rows`. A remainder moves up to the next length or gets dummy rows, whichever stores fewer entries. A dummy
//!   row has the row number `rows()`: a kernel gives Y one scratch row.
//! - A group stores `rows * len` entries, a (column within the partition, value) pair each: the first `unit` entries
//!   of its first row, of its second row, and so on, then the next `unit` entries of each. The last step is shorter
//!   where `unit` does not divide `len`. [`crate::Format::Hyb`] has `unit = bucket`.
//! - Padding has the value zero and the column of the row's last nonzero, so that it touches no other input. Dummy
//!   rows have column 0.
//! - Rows without a nonzero in a partition do not appear, so Y is initialised before the first partition.
//!
//! The worked example as `hyb<4,1,2>`; row 4 is the dummy:
//!
//! ```text
//! partition 0 = columns 0-3                  partition 1 = columns 4-7
//! bucket 0: len 1   bucket 1: len 2          bucket 2: len 1
//! group 0: rows 3 4 group 1: rows 0 2        group 2: rows 0 2
//! columns  0 0      columns  0 0 2 2         columns  1 3
//! values   7 0      values   1 4 2 5         values   3 6
//! ```

use crate::element::Element;
use crate::error::FormatError;
use crate::hyb_plan::{HybBucket, HybParams, HybPartition, HybPlan};
use crate::pattern::Pattern;
use crate::storage::Storage;

/// A matrix in column partitions with rows bucketed by length.
#[derive(Debug, Clone, PartialEq)]
pub struct Hyb<T> {
    rows: usize,
    cols: usize,
    params: HybParams,
    partitions: Vec<HybPartition>,
    buckets: Vec<HybBucket>,
    row_ids: Vec<u32>,
    columns: Vec<u16>,
    values: Vec<T>,
    bytes: usize,
}

/// A group of rows of equal length.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HybGroup<'a, T> {
    /// The output rows, `rows` of them; the number of rows of the matrix stands for a dummy row.
    pub row_ids: &'a [u32],
    /// Columns within the partition, `rows * len` of them in the order of memory.
    pub columns: &'a [u16],
    /// Values, parallel to `columns`.
    pub values: &'a [T],
    /// Entries of one row in a step.
    pub unit: usize,
}

/// The entries that one row of a group has in one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HybStep<'a, T> {
    /// Position of the row in the group.
    pub slot: usize,
    /// Columns within the partition: `unit` of them, fewer in the last step of a group.
    pub columns: &'a [u16],
    /// Values, parallel to `columns`.
    pub values: &'a [T],
}

impl<T: Element> Hyb<T> {
    /// Stores the nonzeros of a dense row-major matrix.
    ///
    /// # Errors
    /// [`FormatError::Parameter`] when a parameter is out of range (see [`crate::Format::validate`]; `unit` must be a
    /// multiple of `bucket`), [`FormatError::Shape`] or [`FormatError::TooLarge`].
    pub fn from_dense(rows: usize, cols: usize, values: &[T], params: HybParams) -> Result<Self, FormatError> {
        let pattern = Pattern::of(rows, cols, values)?;
        let plan = HybPlan::of(&pattern, params)?;
        let mut columns = vec![0u16; plan.entries];
        let mut stored = vec![T::default(); plan.entries];
        for partition in &plan.partitions {
            let col_end = partition.col_start + partition.cols;
            for bucket in &plan.buckets[partition.bucket_start..partition.bucket_start + partition.buckets] {
                let layout = Layout::new(params, bucket.len);
                for group in 0..bucket.groups {
                    let entry_start = bucket.entry_start + group * layout.height * bucket.len;
                    let id_start = (bucket.group_start + group) * layout.height;
                    for (slot, &row) in plan.row_ids[id_start..id_start + layout.height].iter().enumerate() {
                        // The row of a dummy is empty.
                        let line = pattern.row(row as usize);
                        let from = line.partition_point(|&col| (col as usize) < partition.col_start);
                        let to = line.partition_point(|&col| (col as usize) < col_end);
                        let Some(&last) = line[from..to].last() else { continue };
                        for i in 0..bucket.len {
                            let entry = entry_start + layout.position(slot, i);
                            let col = line[from..to].get(i).copied();
                            columns[entry] = (col.unwrap_or(last) as usize - partition.col_start) as u16;
                            if let Some(col) = col {
                                stored[entry] = values[row as usize * cols + col as usize];
                            }
                        }
                    }
                }
            }
        }
        let bytes = plan.stored_bytes(T::BYTES);
        let HybPlan { partitions, buckets, row_ids, .. } = plan;
        Ok(Self { rows, cols, params, partitions, buckets, row_ids, columns, values: stored, bytes })
    }

    /// The parameters.
    pub fn params(&self) -> HybParams {
        self.params
    }

    /// The partitions from left to right.
    pub fn partitions(&self) -> &[HybPartition] {
        &self.partitions
    }

    /// The buckets of all partitions, in order; within a partition by increasing length.
    pub fn buckets(&self) -> &[HybBucket] {
        &self.buckets
    }

    /// The buckets of one partition.
    pub fn buckets_of(&self, partition: &HybPartition) -> &[HybBucket] {
        self.buckets.get(partition.bucket_start..partition.bucket_start + partition.buckets).unwrap_or(&[])
    }

    /// Output rows, `rows` for each group; the number of rows of the matrix stands for a dummy row.
    pub fn row_ids(&self) -> &[u32] {
        &self.row_ids
    }

    /// Columns within the partitions, for all entries in the order of memory.
    pub fn columns(&self) -> &[u16] {
        &self.columns
    }

    /// Values, parallel to [`Hyb::columns`].
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// The groups of a bucket in the order of memory.
    pub fn groups(&self, bucket: &HybBucket) -> impl Iterator<Item = HybGroup<'_, T>> {
        let height = self.params.rows as usize;
        let size = height * bucket.len;
        let (group_start, entry_start) = (bucket.group_start, bucket.entry_start);
        (0..bucket.groups).map_while(move |group| {
            let (ids, entries) = ((group_start + group) * height, entry_start + group * size);
            Some(HybGroup {
                row_ids: self.row_ids.get(ids..ids + height)?,
                columns: self.columns.get(entries..entries + size)?,
                values: self.values.get(entries..entries + size)?,
                unit: self.params.unit as usize,
            })
        })
    }
}

impl<'a, T: Element> HybGroup<'a, T> {
    /// Entries of each row.
    pub fn len(&self) -> usize {
        self.values.len() / self.row_ids.len().max(1)
    }

    /// Whether the rows have no entries; never so in a stored matrix.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The entries in the order of memory: for each step, for each row.
    pub fn steps(&self) -> impl Iterator<Item = HybStep<'a, T>> + use<'a, T> {
        let (height, len, unit) = (self.row_ids.len(), self.len(), self.unit);
        let (columns, values) = (self.columns, self.values);
        (0..len).step_by(unit).flat_map(move |first| {
            let width = unit.min(len - first);
            (0..height).map(move |slot| {
                let start = first * height + slot * width;
                HybStep { slot, columns: &columns[start..start + width], values: &values[start..start + width] }
            })
        })
    }
}

/// Where the entries of a group lie.
struct Layout {
    height: usize,
    len: usize,
    unit: usize,
}

impl Layout {
    fn new(params: HybParams, len: usize) -> Self {
        Self { height: params.rows as usize, len, unit: params.unit as usize }
    }

    /// Position in the group of entry `i` of the row in `slot`.
    fn position(&self, slot: usize, i: usize) -> usize {
        let first = i / self.unit * self.unit;
        let width = self.unit.min(self.len - first);
        first * self.height + slot * width + (i - first)
    }
}

impl<T: Element> Storage<T> for Hyb<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn stored_entries(&self) -> usize {
        self.values.len()
    }

    fn stored_bytes(&self) -> usize {
        self.bytes
    }

    fn for_each_entry(&self, visit: &mut dyn FnMut(usize, usize, T)) {
        for partition in &self.partitions {
            for group in self.buckets_of(partition).iter().flat_map(|bucket| self.groups(bucket)) {
                for step in group.steps() {
                    let row = group.row_ids[step.slot] as usize;
                    if row < self.rows {
                        for (&col, &value) in step.columns.iter().zip(step.values) {
                            visit(row, partition.col_start + usize::from(col), value);
                        }
                    }
                }
            }
        }
    }
}
