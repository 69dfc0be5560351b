//! Tiles: how many output pixels a kernel computes at once, and the window of the input that they need.
//!
//! A tile is `tile_rows x tile_cols` output pixels. The part of X that it reads is packed, channel by channel, into a
//! window in the first-level cache. The vectors of the kernel run over the window's *pitch*: the tile's rows laid one
//! behind the other, each `pitch` wide, so that every kernel element is one constant offset and every load is
//! contiguous. The columns between `tile_cols` and `pitch` compute values that nobody stores.
//!
//! ```text
//! 3x3, stride 1, a 2x4 tile: pitch 6             lanes of the accumulators
//!   . . . . . .      offset of (kh, kw)           o o o o - - o o o o - -
//!   . . . . . .      = kh * 6 + kw                (o stored, - not)
//!   . . . . . .
//!   . . . . . .
//! ```
//!
//! A stride is resolved by splitting X into phases: the pixels at equal position modulo the stride form an image of
//! their own, in which the convolution has stride 1.

use crate::target::TargetInfo;
use crate::weight::problem::WeightProblem;

/// A tile and its window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Geometry {
    /// Output rows of a tile.
    pub(crate) tile_rows: usize,
    /// Output columns of a tile.
    pub(crate) tile_cols: usize,
    /// Row pitch of the window.
    pub(crate) pitch: usize,
    /// Rows of the window, per phase.
    pub(crate) window_rows: usize,
    /// Phases (vertical, horizontal) that some kernel element reads.
    pub(crate) phases: Vec<(usize, usize)>,
    /// Vectors of a tile.
    pub(crate) vectors: usize,
    /// Lanes of a vector.
    pub(crate) lanes: usize,
    /// Channels of a partition: as many as the cache holds.
    pub(crate) part_channels: usize,
}

/// Size of the packed window in first-level caches. Measured on ResNet-50 at 90 % sparsity (Zen 4): 0.75 to 3 differ by
/// less than 5 %; smaller windows reload partial sums more often, larger ones come from the second-level cache.
const WINDOW_SHARE: f64 = 1.0;

/// What an extent that is known only at run time is taken for when tiles are compared: a tile wider than the few tokens
/// of a short sentence computes mostly what nobody stores.
const NOMINAL_EXTENT: usize = 64;

impl Geometry {
    /// Window elements of a channel.
    pub(crate) fn channel_size(&self) -> usize {
        self.phases.len() * self.window_rows * self.pitch
    }

    /// Lanes of a tile.
    pub(crate) fn tile_lanes(&self) -> usize {
        self.vectors * self.lanes
    }

    /// Whether every lane of a tile is an output pixel, so that results are stored from registers.
    pub(crate) fn is_flat(&self) -> bool {
        self.tile_rows == 1 && self.pitch == self.tile_cols
    }

    /// Where the tile's first pixel finds the input element of column `(channel, kh, kw)`, counted within a partition.
    pub(crate) fn offset(&self, problem: &WeightProblem, channel: usize, kh: usize, kw: usize) -> usize {
        let ((ph, qh), (pw, qw)) = (problem.rows.phase(kh), problem.cols.phase(kw));
        let phase = self.phases.iter().position(|&p| p == (ph, pw)).unwrap_or(0);
        ((channel * self.phases.len() + phase) * self.window_rows + qh) * self.pitch + qw
    }

    /// The same for the column of this number in `(channel, kh, kw)` order.
    pub(crate) fn column_offset(&self, problem: &WeightProblem, column: usize) -> usize {
        let (kh, kw) = (problem.rows.kernel, problem.cols.kernel);
        self.offset(problem, column / (kh * kw), column / kw % kh, column % kw)
    }

    /// The same geometry with partitions of a multiple of `group` channels, so that no group is cut.
    pub(crate) fn with_whole_groups(mut self, group: usize) -> Self {
        self.part_channels = (self.part_channels / group).max(1) * group;
        self
    }

    /// For the comments of kernels.
    pub(crate) fn describe(&self) -> String {
        format!(
            "tile {}x{} pixels in {} vectors of {}, {} channels a partition",
            self.tile_rows, self.tile_cols, self.vectors, self.lanes, self.part_channels
        )
    }

    /// Number of partitions.
    pub(crate) fn parts(&self, problem: &WeightProblem) -> usize {
        problem.channels.div_ceil(self.part_channels)
    }

    /// The tile that is predicted to be the fastest. `entry_loads` is what a stored entry loads beside its vectors of X.
    pub(crate) fn choose(problem: &WeightProblem, target: &TargetInfo, entry_loads: f64, max_vectors: usize) -> Self {
        let lanes = usize::from(target.lanes);
        let (reach_h, reach_w) = (problem.rows.reach(), problem.cols.reach());
        let rows = problem.y.shape[2].as_const().map(|d| d.max(1) as usize);
        let cols = problem.y.shape[3].as_const().map(|d| d.max(1) as usize);
        let mut best: Option<(f64, Geometry)> = None;
        for vectors in 1..=max_vectors {
            let width = vectors * lanes;
            for tile_rows in 1..=16usize {
                // One row takes what fits; several rows are whole rows.
                let tile_cols = match (tile_rows, cols) {
                    (1, Some(cols)) => width.saturating_sub(reach_w).min(cols),
                    (1, None) => width.saturating_sub(reach_w),
                    (_, Some(cols)) if rows.is_none_or(|r| tile_rows <= r) => cols,
                    _ => continue,
                };
                let pitch = if tile_rows == 1 && reach_w == 0 { width } else { tile_cols + reach_w };
                let tile_cols = if reach_w == 0 && tile_rows == 1 { width } else { tile_cols };
                // The last row needs no columns behind its last pixel.
                if tile_cols == 0 || tile_rows * pitch - reach_w > width {
                    continue;
                }
                let geometry = Self::of(problem, target, (tile_rows, tile_cols, pitch, vectors), reach_h);
                let score = geometry.score(problem, entry_loads, rows, cols);
                if best.as_ref().is_none_or(|(s, _)| score < *s) {
                    best = Some((score, geometry));
                }
            }
        }
        match best {
            Some((_, geometry)) => geometry,
            // A window wider than any tile: one pixel at a time.
            None => Self::of(problem, target, (1, 1, 1 + reach_w, max_vectors), reach_h),
        }
    }

    fn of(
        problem: &WeightProblem,
        target: &TargetInfo,
        (tile_rows, tile_cols, pitch, vectors): (usize, usize, usize, usize),
        reach_h: usize,
    ) -> Self {
        let mut phases: Vec<(usize, usize)> = (0..problem.rows.kernel)
            .flat_map(|kh| (0..problem.cols.kernel).map(move |kw| (kh, kw)))
            .map(|(kh, kw)| (problem.rows.phase(kh).0, problem.cols.phase(kw).0))
            .collect();
        phases.sort_unstable();
        phases.dedup();
        let lanes = usize::from(target.lanes);
        let window_rows = tile_rows + reach_h;
        let mut geometry =
            Geometry { tile_rows, tile_cols, pitch, window_rows, phases, vectors, lanes, part_channels: 1 };
        let budget = f64::from(target.l1_bytes) * WINDOW_SHARE / 4.0;
        let channel = geometry.channel_size();
        let most = (budget as usize / channel).min(usize::from(u16::MAX) / channel).max(1);
        // Partitions of equal size rather than a short last one.
        let parts = problem.channels.div_ceil(most);
        geometry.part_channels = problem.channels.div_ceil(parts).max(1);
        geometry
    }

    /// Predicted loads per output pixel and weight column, up to a common factor.
    fn score(&self, problem: &WeightProblem, entry_loads: f64, rows: Option<usize>, cols: Option<usize>) -> f64 {
        let tiles = |extent: Option<usize>, tile: usize| extent.unwrap_or(NOMINAL_EXTENT).div_ceil(tile) as f64;
        let entries = self.part_channels as f64 * problem.kernel_size() as f64 * problem.density;
        let y_traffic = if self.parts(problem) > 1 { 2.0 / entries.max(1.0) } else { 0.0 };
        let vectors = self.vectors as f64;
        let pack = self.channel_size() as f64
            / self.lanes as f64
            / (problem.kernel_size() as f64 * problem.density * problem.m as f64).max(1.0);
        tiles(rows, self.tile_rows)
            * tiles(cols, self.tile_cols)
            * (vectors * (1.0 + y_traffic) + entry_loads + 2.0 * pack)
    }
}
