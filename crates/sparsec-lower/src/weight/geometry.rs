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
//! their own, in which the convolution has stride 1. The window has a *plane* for each phase.
//!
//! A load that crosses a cache line costs two. Kernels that load X once for each multiply-add ask for an aligned window:
//! then there is a plane for each horizontal shift, too, and the pitch is a multiple of [`ALIGN`], so that no offset
//! leads to a crossing.
//!
//! Copies take the cache that they are to relieve. Where the machine has vectors of a whole line, halves of them do without: a row of the
//! window is a line, and a row of the tile is two vectors that overlap, so that neither leaves the line with any shift.
//!
//! ```text
//! 3x3, 14 columns, a line of 16, kernel column 2      0 1 2 3 4 5 6 7 8 9 . . . . . 15
//!   first vector: columns 0 to 7                          [- - - - - - - -]
//!   second vector: columns 6 to 13                                    [- - - - - - - -]
//! ```

use sparsec_tir::Expr;

use crate::schedule::Schedule;
use crate::target::TargetInfo;
use crate::weight::problem::WeightProblem;

/// Elements of 32 bytes: processors with 64-byte vectors load them in halves, and only halves must not cross a line.
const ALIGN: usize = 8;

/// Planes of an aligned window: with more, copies take the cache that they are to relieve.
const MOST_PLANES: usize = 6;

/// A copy of the part of X that a tile reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plane {
    /// Row and column modulo the strides.
    pub(crate) phase: (usize, usize),
    /// Columns (whole strides) by which it is moved to the left.
    pub(crate) shift: usize,
}

/// How a window is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One plane for each phase.
    Compact,
    /// One plane for each phase and shift, in aligned rows.
    Aligned,
    /// One plane for each phase, a cache line for each of its rows.
    Lines,
}

/// Elements of a cache line of 64 bytes, and of the vectors that are halves of it.
const LINE: usize = 16;
const HALF: usize = LINE / 2;

/// A tile and its window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Geometry {
    /// Output rows of a tile.
    pub(crate) tile_rows: usize,
    /// Output columns of a tile.
    pub(crate) tile_cols: usize,
    /// Row pitch of the window.
    pub(crate) pitch: usize,
    /// Rows of a plane.
    pub(crate) window_rows: usize,
    /// The planes that kernel elements read.
    pub(crate) planes: Vec<Plane>,
    /// How the planes are laid out.
    layout: Layout,
    /// Vectors of a tile.
    pub(crate) vectors: usize,
    /// Lanes of a vector.
    pub(crate) lanes: usize,
    /// Lanes of the machine's vectors, in which X is packed.
    pub(crate) machine_lanes: usize,
    /// Channels of a partition: as many as the cache holds.
    pub(crate) part_channels: usize,
}

/// What makes a tile.
#[derive(Clone, Copy, Debug)]
struct Shape {
    tile_rows: usize,
    tile_cols: usize,
    pitch: usize,
    vectors: usize,
    lanes: usize,
}

/// A tile that was chosen, and those that were not.
pub(crate) struct Choice {
    pub(crate) geometry: Geometry,
    /// What the problem's schedule wants to be in flight.
    pub(crate) flight: Option<usize>,
    /// The one that is predicted to be the fastest first.
    ranked: Vec<Geometry>,
}

/// Tiles beside the best one that are worth to be timed.
const MORE_TILES: usize = 4;

impl Choice {
    /// Schedules that are worth to be timed beside the one that is taken. `flights` has what may be in flight with a tile,
    /// the usual number first.
    pub(crate) fn others(&self, problem: &WeightProblem, flights: impl Fn(&Geometry) -> Vec<usize>) -> Vec<Schedule> {
        let usual = |g: &Geometry| flights(g).first().copied().unwrap_or(1);
        let best = &self.ranked[0];
        let mut others: Vec<Schedule> = flights(best).into_iter().map(|flight| best.schedule(flight)).collect();
        let parts = best.parts(problem);
        // Twice as many partitions, and half as many.
        for parts in [2 * parts, parts.div_ceil(2)] {
            let cut = best.clone().with_channels(problem, problem.channels.div_ceil(parts));
            others.extend(cut.map(|g| g.schedule(usual(&g))));
        }
        others.extend(self.ranked.iter().skip(1).take(MORE_TILES).map(|g| g.schedule(usual(g))));
        others
    }
}

/// Size of the packed window in first-level caches. Measured on ResNet-50, BERT-base, MobileNetV2 and an MLP at 90 % sparsity (Zen 4):
/// 0.75 is up to 5 % slower than 1, which reloads partial sums less often; 1.25 and more are 1 % to 8 % slower, where the window comes
/// from the second level.
const WINDOW_SHARE: f64 = 1.0;
/// The same of a window of lines, which holds three times the channels of one with a plane for each shift (3x3): 0.5, 1 and 1.25 make
/// ResNet-50 1 % to 3 % slower.
const LINES_SHARE: f64 = 0.75;

/// What an extent that is known only at run time is taken for when tiles are compared: a tile wider than the few tokens
/// of a short sentence computes mostly what nobody stores.
const NOMINAL_EXTENT: usize = 64;

impl Layout {
    /// How far the plane of a kernel element is moved, that lies `columns` whole strides to the right of the first.
    fn shift(self, columns: usize) -> usize {
        match self {
            Layout::Compact | Layout::Lines => 0,
            Layout::Aligned => columns,
        }
    }
}

impl Plane {
    /// The planes that some kernel element reads.
    fn all(problem: &WeightProblem, layout: Layout) -> Vec<Plane> {
        let elements = (0..problem.rows.kernel).flat_map(|kh| (0..problem.cols.kernel).map(move |kw| (kh, kw)));
        let mut planes: Vec<Plane> = elements
            .map(|(kh, kw)| {
                let (column_phase, columns) = problem.cols.phase(kw);
                Plane { phase: (problem.rows.phase(kh).0, column_phase), shift: layout.shift(columns) }
            })
            .collect();
        planes.sort_unstable();
        planes.dedup();
        planes
    }
}

impl Geometry {
    /// Window elements of a channel.
    pub(crate) fn channel_size(&self) -> usize {
        self.planes.len() * self.plane_size()
    }

    /// Window elements of a plane.
    pub(crate) fn plane_size(&self) -> usize {
        let size = self.window_rows * self.pitch;
        match self.layout {
            Layout::Compact | Layout::Lines => size,
            Layout::Aligned => size.next_multiple_of(ALIGN),
        }
    }

    /// Lanes of a tile.
    pub(crate) fn tile_lanes(&self) -> usize {
        self.vectors * self.lanes
    }

    /// Vectors of the machine in a tile.
    pub(crate) fn machine_vectors(&self) -> f64 {
        self.tile_lanes() as f64 / self.machine_lanes as f64
    }

    /// Vectors of a row of the tile, and how far the second one lies behind the first, where rows are lines.
    pub(crate) fn line_vectors(&self) -> Option<(usize, usize)> {
        let second = self.tile_cols.saturating_sub(HALF);
        (self.layout == Layout::Lines).then_some((if second > 0 { 2 } else { 1 }, second))
    }

    /// Where vector `t` of a tile begins, counted from its first pixel in the window.
    pub(crate) fn vector_offset(&self, t: &Expr) -> Expr {
        let int = |n: usize| Expr::int(n as i64);
        match self.line_vectors() {
            None => t.clone() * int(self.lanes),
            Some((1, _)) => t.clone() * int(LINE),
            Some((_, second)) => t.clone().floor_div(int(2)) * int(LINE) + t.clone().rem(int(2)) * int(second),
        }
    }

    /// Whether every lane of a tile is an output pixel, so that results are stored from registers.
    pub(crate) fn is_flat(&self) -> bool {
        self.tile_rows == 1 && self.pitch == self.tile_cols && self.layout != Layout::Lines
    }

    /// Where the tile's first pixel finds the input element of column `(channel, kh, kw)`, counted within a partition.
    pub(crate) fn offset(&self, problem: &WeightProblem, channel: usize, kh: usize, kw: usize) -> usize {
        let ((ph, qh), (pw, qw)) = (problem.rows.phase(kh), problem.cols.phase(kw));
        let plane = Plane { phase: (ph, pw), shift: self.layout.shift(qw) };
        let index = self.planes.iter().position(|&p| p == plane).unwrap_or(0);
        (channel * self.planes.len() + index) * self.plane_size() + qh * self.pitch + qw - plane.shift
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

    /// The tile of the problem's schedule, else the one that is predicted to be the fastest: of tiles in this layout, or in a compact one
    /// where that has too many planes; `Lines` stands for aligned ones and for those whose vectors are halves. `entry_loads` is what a
    /// stored entry loads beside its vectors of X.
    pub(crate) fn choose(
        problem: &WeightProblem,
        target: &TargetInfo,
        layout: Layout,
        entry_loads: f64,
        max_vectors: usize,
    ) -> Choice {
        let ranked = Self::ranked(problem, target, layout, entry_loads, max_vectors);
        let wanted = match problem.schedule {
            Some(Schedule::Tile { rows, vectors, channels, flight, halves }) => {
                let same = ranked.iter().find(|g| (g.tile_rows, g.vectors, g.has_halves()) == (rows, vectors, halves));
                same.and_then(|g| g.clone().with_channels(problem, channels)).map(|g| (g, Some(flight)))
            }
            _ => None,
        };
        // Never empty: a window wider than any tile is computed one pixel at a time.
        let (geometry, flight) = wanted.unwrap_or_else(|| (ranked[0].clone(), None));
        Choice { geometry, flight, ranked }
    }

    /// All tiles, those that are predicted to be faster first.
    fn ranked(
        problem: &WeightProblem,
        target: &TargetInfo,
        layout: Layout,
        entry_loads: f64,
        max_vectors: usize,
    ) -> Vec<Self> {
        let lanes = usize::from(target.lanes);
        let with_halves = layout == Layout::Lines;
        let layout = match layout {
            Layout::Aligned | Layout::Lines if Plane::all(problem, Layout::Aligned).len() <= MOST_PLANES => {
                Layout::Aligned
            }
            _ => Layout::Compact,
        };
        // Columns that the last kernel element reads beyond those of the first.
        let reach_w = match layout {
            Layout::Compact | Layout::Lines => problem.cols.reach(),
            Layout::Aligned => 0,
        };
        let (rows, cols) = (extent(problem, 2), extent(problem, 3));
        let mut ranked: Vec<(f64, Geometry)> = Vec::new();
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
                let pitch = match (tile_rows, layout) {
                    (1, _) if reach_w == 0 => width,
                    (_, Layout::Aligned) if problem.rows.reach() > 0 => tile_cols.next_multiple_of(ALIGN),
                    _ => tile_cols + reach_w,
                };
                let tile_cols = if reach_w == 0 && tile_rows == 1 { width } else { tile_cols };
                // The last row needs no columns behind its last pixel.
                if tile_cols == 0 || (tile_rows - 1) * pitch + tile_cols > width {
                    continue;
                }
                let geometry = Self::of(problem, target, layout, Shape { tile_rows, tile_cols, pitch, vectors, lanes });
                ranked.push((geometry.score(problem, entry_loads), geometry));
            }
        }
        if with_halves {
            let half = |(layout, shape)| Self::of(problem, target, layout, shape);
            let halves = Self::halves(problem, target).into_iter().map(half);
            ranked.extend(halves.map(|geometry| (geometry.score(problem, entry_loads), geometry)));
        }
        if ranked.is_empty() {
            // A window wider than any tile: one pixel at a time.
            let shape = Shape { tile_rows: 1, tile_cols: 1, pitch: 1 + reach_w, vectors: max_vectors, lanes };
            return vec![Self::of(problem, target, layout, shape)];
        }
        // Stable: of equals, the narrower tile.
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
        ranked.into_iter().map(|(_, geometry)| geometry).collect()
    }

    /// Tiles of vectors that are half a cache line, where the machine's are a whole one: lines for windows that reach beyond a column, and
    /// an odd number of vectors for a point.
    fn halves(problem: &WeightProblem, target: &TargetInfo) -> Vec<(Layout, Shape)> {
        if usize::from(target.lanes) != LINE {
            return Vec::new();
        }
        // Sums of two rows, the vector of X that is shared, and values.
        let most = (target.registers as usize - 3) / 2;
        let (rows, cols) = (extent(problem, 2), extent(problem, 3));
        let reach = problem.cols.reach();
        let fits = |tile_rows: usize| rows.is_none_or(|rows| tile_rows <= rows);
        if reach == 0 && problem.rows.reach() == 0 {
            let odd = (1..=most).step_by(2).map(|vectors| {
                let width = vectors * HALF;
                (Layout::Compact, Shape { tile_rows: 1, tile_cols: width, pitch: width, vectors, lanes: HALF })
            });
            return odd.collect();
        }
        if reach == 0 || reach > HALF {
            return Vec::new();
        }
        let tile_cols = cols.map_or(LINE - reach, |cols| cols.min(LINE - reach));
        let of_row = tile_cols.div_ceil(HALF);
        let lines = (1..=most / of_row).filter(|&tile_rows| fits(tile_rows)).map(|tile_rows| {
            let vectors = tile_rows * of_row;
            (Layout::Lines, Shape { tile_rows, tile_cols, pitch: LINE, vectors, lanes: HALF })
        });
        lines.collect()
    }

    /// The same tile with partitions of so many channels; `None` where offsets would not fit 16 bits.
    fn with_channels(mut self, problem: &WeightProblem, channels: usize) -> Option<Self> {
        let reach = channels.checked_mul(self.channel_size())?;
        let fits = (1..=problem.channels).contains(&channels) && reach <= usize::from(u16::MAX);
        // One channel is always possible.
        (fits || channels == self.part_channels).then(|| {
            self.part_channels = channels;
            self
        })
    }

    /// As a schedule, with so much in flight.
    pub(crate) fn schedule(&self, flight: usize) -> Schedule {
        let halves = self.has_halves();
        Schedule::Tile { rows: self.tile_rows, vectors: self.vectors, channels: self.part_channels, flight, halves }
    }

    /// Whether its vectors are halves of the machine's.
    fn has_halves(&self) -> bool {
        self.lanes < self.machine_lanes
    }

    fn of(
        problem: &WeightProblem,
        target: &TargetInfo,
        layout: Layout,
        Shape { tile_rows, tile_cols, pitch, vectors, lanes }: Shape,
    ) -> Self {
        let machine_lanes = usize::from(target.lanes);
        let window_rows = tile_rows + problem.rows.reach();
        let planes = Plane::all(problem, layout);
        let mut geometry = Geometry {
            tile_rows,
            tile_cols,
            pitch,
            window_rows,
            planes,
            layout,
            vectors,
            lanes,
            machine_lanes,
            part_channels: 1,
        };
        let share = if layout == Layout::Lines { LINES_SHARE } else { WINDOW_SHARE };
        let budget = f64::from(target.l1_bytes) * share / 4.0;
        let channel = geometry.channel_size();
        let most = (budget as usize / channel).min(usize::from(u16::MAX) / channel).max(1);
        // Partitions of equal size rather than a short last one.
        let parts = problem.channels.div_ceil(most);
        geometry.part_channels = problem.channels.div_ceil(parts).max(1);
        geometry
    }

    /// In how many shares the outputs of a tile are computed, so that a small image keeps several threads busy. Each share
    /// packs the window anew, which may cost it a 16th of its time. An odd number of tasks would leave one of two threads
    /// idle while the last one runs.
    pub(crate) fn shares(&self, problem: &WeightProblem) -> usize {
        /// Tasks that keep a few threads evenly busy.
        const TASKS: usize = 8;
        /// Outputs that a share has at least: with fewer, few rows find a partner.
        const OUTPUTS: usize = 64;
        let batch = extent(problem, 0).unwrap_or(NOMINAL_EXTENT);
        let tasks = batch * self.tiles(problem);
        let vectors = self.machine_vectors();
        let products = problem.m as f64 * problem.k() as f64 * problem.density * vectors;
        let affordable = 1.0 + products / (16.0 * self.pack_cycles(problem)).max(1.0);
        let shares = TASKS.div_ceil(tasks).min(affordable as usize).min(problem.m / OUTPUTS).max(1);
        if tasks % 2 == 1 && shares > 1 { shares - shares % 2 } else { shares }
    }

    /// Tiles of an image.
    fn tiles(&self, problem: &WeightProblem) -> usize {
        let along = |axis: usize, tile: usize| extent(problem, axis).unwrap_or(NOMINAL_EXTENT).div_ceil(tile);
        along(2, self.tile_rows) * along(3, self.tile_cols)
    }

    /// Predicted cycles to pack the windows of a tile.
    fn pack_cycles(&self, problem: &WeightProblem) -> f64 {
        /// Cycles to bring a vector of the window there.
        const PACK: f64 = 3.0;
        (problem.channels * self.channel_size()) as f64 / self.machine_lanes as f64 * PACK
    }

    /// Predicted cycles of a tile and output row, times the number of tiles. Fitted to single layers of ResNet-50 and
    /// BERT at 90 % sparsity (Zen 4); `entry_loads` is what a stored entry takes beside its vectors of X.
    fn score(&self, problem: &WeightProblem, entry_loads: f64) -> f64 {
        /// Cycles of a multiply-add with a vector of X in the window, misses of the first-level cache included.
        const MULTIPLY: f64 = 1.15;
        /// The same for two halves of a vector.
        const HALVES: f64 = 1.03;
        /// Cycles for a vector of partial sums to come from the second-level cache and go back.
        const PARTIAL: f64 = 4.0;
        /// Cycles to begin and end a row.
        const ROW: f64 = 8.0;
        let entries = problem.k() as f64 * problem.density;
        let multiply = if self.has_halves() { MULTIPLY * HALVES } else { MULTIPLY };
        let vectors = self.machine_vectors();
        let partial = match self.parts(problem) {
            1 => 0.0,
            parts => parts as f64 * vectors * PARTIAL,
        };
        let row = entries * (vectors * multiply + entry_loads)
            + partial
            + self.parts(problem) as f64 * ROW
            + self.pack_cycles(problem) / problem.m as f64;
        self.tiles(problem) as f64 * row
    }
}

/// An extent of the result, where it is known.
fn extent(problem: &WeightProblem, axis: usize) -> Option<usize> {
    problem.y.shape[axis].as_const().map(|d| d.max(1) as usize)
}
