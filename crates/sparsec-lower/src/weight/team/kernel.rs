//! What a team does whoever multiplies: the loop over parts, copies of the weight, and X on its way to shared memory.

use sparsec_graph::Dim;
use sparsec_tir::{
    Access, BufferId, BufferKind, CompareOp, Expr, Precision, RegisterId, Scalar, Stmt, TILE_COLUMNS, TILE_SUMS, Type,
    load,
};

use super::cut::{Cut, Unit, tables};
use super::{BUSY_TEAMS, TEAM_ROWS, WARPS, group, warps};
use crate::context::Context;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::patches::{Patches, Windows};
use crate::weight::problem::WeightProblem;
use crate::weight::tables::declare_tables;
use crate::weight::tensor::by_channel;
use crate::weight::tile::{Activations, declare_activations};

/// Bytes that a warp copies at once.
const COPY_BYTES: usize = 512;
/// Words of them.
const COPIED_PLACES: usize = 128;

/// What says which steps there are.
pub(super) struct Walk {
    pub(super) firsts: BufferId,
    pub(super) parts: BufferId,
    pub(super) starts: BufferId,
    pub(super) steps: BufferId,
}

/// Where a warp is.
pub(super) struct Task {
    pub(super) batch: Expr,
    pub(super) line: Expr,
    /// First pixel of the team.
    pub(super) pixel: Expr,
    /// Number of the 128 rows.
    pub(super) band: Expr,
    pub(super) warp: Expr,
}

pub(super) struct Kernel<'p> {
    pub(super) p: &'p WeightProblem,
    pub(super) cut: Cut,
    pub(super) activations: Activations,
    /// Where windows are larger than a pixel.
    patches: Option<Patches>,
    /// The weight's values and places, in global memory and what is there of them in shared memory.
    pub(super) values: (BufferId, BufferId),
    pub(super) places: Option<(BufferId, BufferId)>,
    pub(super) walk: Option<Walk>,
    pub(super) window: BufferId,
    /// Distances of channels and pixels in the window, or, for a group, of blocks of eight.
    pub(super) strides: [i64; 2],
    /// Elements of one of the window's two places.
    pub(super) window_size: i64,
    pub(super) results: BufferId,
    pub(super) sums: RegisterId,
    /// Blocks of rows of the sums, and of 8 pixels.
    pub(super) extents: [usize; 2],
    staged: RegisterId,
    /// Lanes of a vector that is packed, and how many a warp packs.
    lanes: u16,
    vectors: usize,
}

pub(super) fn int(value: usize) -> Expr {
    Expr::int(value as i64)
}

pub(super) fn word(table: BufferId, i: Expr) -> Expr {
    load(table, vec![i]).convert(Scalar::I64)
}

impl<'p> Kernel<'p> {
    pub(super) fn build(
        p: &'p WeightProblem,
        weight: &WeightMatrix,
        cut: Cut,
        windows: Option<Windows>,
    ) -> Multiplication {
        let group = cut.unit == Unit::Group;
        let kind = match (&windows, cut.sparse) {
            (Some(_), _) => "conv",
            (None, true) => "spmm",
            (None, false) => "gemm",
        };
        let unit = if group { "group" } else { "team" };
        let mut c = Context::new(&format!("{kind}_{unit}{}", if cut.sparse { "_2_4" } else { "" }));
        c.describe(format!(
            "tensor cores at {}: {WARPS} warps {} {TEAM_ROWS} rows, {} pixels, {} channels at a time; {} parts of the weight \
             in shared memory; {}",
            cut.precision.name(),
            if group { "multiply together" } else { "share" },
            cut.pixels,
            cut.part,
            cut.stages,
            if cut.full() { "all steps have entries" } else { "steps of zeros left out" },
        ));
        c.describe(format!("chosen for at least {BUSY_TEAMS} teams and more than {} rows", TEAM_ROWS / 2));
        if let Some(windows) = &windows {
            c.describe(format!("windows of {}, columns {}", windows.describe(), cut.columns.describe()));
        }
        let tables = tables(p, weight, &cut);
        let activations = declare_activations(&mut c, p);
        let vectors_of_pixels = (cut.pixels / 32) as u32;
        let patches =
            windows.map(|w| Patches::declare(&mut c, w, cut.columns.clone(), activations.x, vectors_of_pixels));
        let ids = declare_tables(&mut c, &tables);
        let named = |name: &str| tables.iter().position(|t| t.name == name).map(|i| ids[i]);
        let team =
            |c: &mut Context, name, elem, size: usize| c.buffer(name, elem, BufferKind::Team, vec![int(size)], vec![]);
        let elem = cut.precision.storage();
        let part_steps = cut.part_steps();
        let staged_values = team(&mut c, "staged_values", elem, cut.stages * part_steps * cut.values());
        let places = named("places")
            .map(|global| (global, team(&mut c, "staged_places", Scalar::U32, cut.stages * part_steps * cut.height)));
        let (outer, inner) = if by_channel(&p.x) { (cut.pixels, cut.part) } else { (cut.part, cut.pixels) };
        let (distance, window_size) = if group {
            let distance = group::distance(outer);
            (distance, inner / 8 * distance)
        } else {
            let pitch = warps::pitch(p, &cut, inner);
            (pitch, outer * pitch)
        };
        let near = if group { group::LINE_BLOCK as i64 } else { 1 };
        let window = team(&mut c, "window", elem, 2 * window_size);
        let (kind, size) = if group { group::results(p) } else { (BufferKind::Scratch, warps::results(p)) };
        let results = c.buffer("results", Scalar::F32, kind, vec![int(size)], vec![]);
        let [blocks, tiles] =
            if group { [cut.blocks(), cut.pixels / TILE_COLUMNS] } else { [warps::BLOCKS, warps::TILES] };
        let sums = c.register("sums", TILE_SUMS, vec![blocks as u32, tiles as u32]);
        let lanes = inner.min(32);
        let vectors = outer * inner / lanes / WARPS;
        let staged = c.register("staged", Type::vector(Scalar::F32, lanes as u16), vec![vectors as u32]);
        let walk = named("firsts").zip(named("parts")).zip(named("starts")).zip(named("steps"));
        let walk = walk.map(|(((firsts, parts), starts), steps)| Walk { firsts, parts, starts, steps });
        let far = distance as i64;
        let k = Kernel {
            p,
            values: (ids[0], staged_values),
            places,
            walk,
            window,
            strides: if by_channel(&p.x) == group { [far, near] } else { [near, far] },
            window_size: window_size as i64,
            results,
            sums,
            extents: [blocks, tiles],
            staged,
            lanes: lanes as u16,
            vectors,
            activations,
            patches,
            cut,
        };
        k.for_each_task(&mut c, |c, task| k.team(c, &task));
        Multiplication::new(c.finish(), tables)
    }

    /// The parallel loop: rows of the weight vary fastest, so that neighbouring teams read the same X.
    fn for_each_task(&self, c: &mut Context, f: impl FnOnce(&mut Context, Task)) {
        let shape = &self.p.y.shape;
        let tiles = shape[3].ceil_div(&Dim::constant(self.cut.pixels as i64));
        let lines = shape[2].clone();
        let bands = self.cut.bands;
        let all = shape[0].clone() * lines.clone() * tiles.clone() * Dim::constant(bands as i64);
        let (count, tiles, lines) = (c.dim(&all), c.dim(&tiles), c.dim(&lines));
        c.parallel("task", count, |c, task| {
            let band = c.bind_index("band", task.clone().rem(int(bands)));
            let place = c.bind_index("place", task.floor_div(int(bands)));
            let pixel = c.bind_index("pixel", place.clone().rem(tiles.clone()) * int(self.cut.pixels));
            let outer = c.bind_index("outer", place.floor_div(tiles));
            let line = c.bind_index("line", outer.clone().rem(lines.clone()));
            let batch = c.bind_index("batch", outer.floor_div(lines));
            c.warps("warp", WARPS as u32, |c, warp| {
                f(c, Task { batch, line, pixel, band, warp });
            });
        });
    }

    fn team(&self, c: &mut Context, task: &Task) {
        // The part's number counts those of all bands where tables list them, else those of this band.
        let (first, last) = match &self.walk {
            Some(walk) => (
                c.bind_index("first", word(walk.firsts, task.band.clone())),
                c.bind_index("last", word(walk.firsts, task.band.clone() + Expr::int(1))),
            ),
            None => (Expr::int(0), int(self.cut.parts)),
        };
        let below = |s: Expr| Expr::compare(CompareOp::Lt, s, last.clone());
        self.clear(c);
        if let Some(patches) = &self.patches {
            patches.begin(c, &task.pixel);
        }
        for ahead in 0..self.cut.stages - 1 {
            let s = first.clone() + int(ahead);
            c.branch(below(s.clone()), |c| self.copy(c, task, &s), |_| {});
            c.push(Stmt::CommitCopies);
        }
        c.branch(
            below(first.clone()),
            |c| {
                self.load_window(c, task, &first);
                self.store_window(c, task, &first);
            },
            |_| {},
        );
        c.serial("s", first, last.clone(), 1, |c, s| {
            c.push(Stmt::AwaitCopies(self.cut.stages as u32 - 2));
            c.push(Stmt::Barrier);
            let next = c.bind_index("next", s.clone() + Expr::int(1));
            c.branch(below(next.clone()), |c| self.load_window(c, task, &next), |_| {});
            let later = c.bind_index("later", s.clone() + int(self.cut.stages - 1));
            c.branch(below(later.clone()), |c| self.copy(c, task, &later), |_| {});
            c.push(Stmt::CommitCopies);
            match self.cut.unit {
                Unit::Warp => self.multiply_alone(c, task, &s),
                Unit::Group => self.multiply_together(c, task, &s),
            }
            c.branch(below(next.clone()), |c| self.store_window(c, task, &next), |_| {});
            if self.cut.unit == Unit::Group {
                c.push(Stmt::AwaitProducts(0));
            }
        });
        match self.cut.unit {
            Unit::Warp => self.store_alone(c, task),
            Unit::Group => self.store_together(c, task),
        }
    }

    fn clear(&self, c: &mut Context) {
        let [blocks, tiles] = self.extents;
        c.unroll("b", blocks as u32, |c, b| {
            c.unroll("t", tiles as u32, |c, t| c.set(self.sums, vec![b, t], Expr::f32(0.0)));
        });
    }

    /// The number of a part's first step in the table.
    pub(super) fn first_step(&self, task: &Task, s: &Expr) -> Expr {
        match &self.walk {
            Some(walk) => word(walk.starts, s.clone() * int(self.cut.blocks())),
            None => (task.band.clone() * int(self.cut.parts) + s.clone()) * int(self.cut.part_steps()),
        }
    }

    /// The number of the first step of a part's place in shared memory.
    pub(super) fn place(&self, s: &Expr) -> Expr {
        s.clone().rem(int(self.cut.stages)) * int(self.cut.part_steps())
    }

    /// Begins to copy the steps of a part.
    fn copy(&self, c: &mut Context, task: &Task, s: &Expr) {
        let from = c.bind_index("from", self.first_step(task, s));
        let place = c.bind_index("place", self.place(s));
        // A warp copies a piece of a step, or all of it, at once.
        let elem = self.cut.precision.storage().size();
        let (size, pieces) = (COPY_BYTES / elem, self.cut.values() * elem / COPY_BYTES);
        let lanes = size as u16;
        let (first, to) = (from.clone() * int(pieces), place.clone() * int(pieces));
        let whole = |buffer, at: Expr, lanes| Access { lanes, ..Access::element(buffer, vec![at]) };
        let step = |c: &mut Context, e: Expr| {
            let to = whole(self.values.1, (to.clone() + e.clone()) * int(size), lanes);
            c.push(Stmt::CopyAsync(to, whole(self.values.0, (first.clone() + e) * int(size), lanes)));
        };
        let count = match &self.walk {
            Some(walk) => {
                let count = word(walk.starts, (s.clone() + Expr::int(1)) * int(self.cut.blocks())) - from.clone();
                let count = c.bind_index("count", count);
                c.serial("e", task.warp.clone(), count.clone() * int(pieces), WARPS as i64, step);
                count
            }
            None => {
                c.unroll("e", (self.cut.part_steps() * pieces / WARPS) as u32, |c, e| {
                    step(c, e * int(WARPS) + task.warp.clone());
                });
                int(self.cut.part_steps())
            }
        };
        if let Some((global, shared)) = self.places {
            let height = self.cut.height;
            let copies = self.cut.part_steps() * height / COPIED_PLACES;
            c.serial("h", task.warp.clone(), int(copies), WARPS as i64, |c, h| {
                let at = h * int(COPIED_PLACES);
                let lanes = COPIED_PLACES as u16;
                let active = count * int(height) - at.clone();
                let source = whole(global, from.clone() * int(height) + at.clone(), lanes);
                let source = Access { active: Some(Box::new(active)), ..source };
                c.push(Stmt::CopyAsync(whole(shared, place.clone() * int(height) + at, lanes), source));
            });
        }
    }

    /// First channel of a part.
    fn first_channel(&self, s: &Expr) -> Expr {
        let part = self.walk.as_ref().map_or_else(|| s.clone(), |walk| word(walk.parts, s.clone()));
        part * int(self.cut.part)
    }

    /// Row in the window of a vector of the warp, and where in the row it begins.
    fn vector_place(&self, task: &Task, v: Expr) -> (Expr, Expr) {
        let number = task.warp.clone() * int(self.vectors) + v;
        let inner = if by_channel(&self.p.x) { self.cut.part } else { self.cut.pixels };
        let each = inner / usize::from(self.lanes);
        if each == 1 {
            return (number, Expr::int(0));
        }
        (number.clone().floor_div(int(each)), number.rem(int(each)) * int(self.lanes.into()))
    }

    /// Loads the warp's share of a part's channels of X for the team's pixels; zeros beyond both.
    fn load_window(&self, c: &mut Context, task: &Task, s: &Expr) {
        let first = c.bind_index("first_channel", self.first_channel(s));
        if let Some(patches) = &self.patches {
            let count = self.vectors * usize::from(self.lanes) / self.cut.pixels;
            let first = first + task.warp.clone() * int(count);
            patches.load(c, &task.batch, (&first, count as u32), self.staged);
            return;
        }
        let (width, k) = (c.dim(&self.p.x.shape[3]), int(self.p.k()));
        c.unroll("v", self.vectors as u32, |c, v| {
            let (line, at) = self.vector_place(task, v.clone());
            let below = |x: &Expr, end: &Expr| Expr::compare(CompareOp::Lt, x.clone(), end.clone());
            let channels = by_channel(&self.p.x);
            let (channel, pixel) = match channels {
                true => (first.clone() + at, task.pixel.clone() + line),
                false => (first.clone() + line, task.pixel.clone() + at),
            };
            let active = match channels {
                true => Expr::select(below(&pixel, &width), k.clone() - channel.clone(), Expr::int(0)),
                false => Expr::select(below(&channel, &k), width.clone() - pixel.clone(), Expr::int(0)),
            };
            c.vector(self.lanes, Some(active), |c, l| {
                let (channel, pixel) = if channels { (channel + l, pixel) } else { (channel, pixel + l) };
                let value = load(self.activations.x, vec![task.batch.clone(), channel, task.line.clone(), pixel]);
                c.set(self.staged, vec![v], value);
            });
        });
    }

    /// The element of the window where a part's begins.
    pub(super) fn window_place(&self, s: &Expr) -> Expr {
        s.clone().rem(Expr::int(2)) * Expr::int(self.window_size)
    }

    /// Stores what was loaded of X, rounded.
    fn store_window(&self, c: &mut Context, task: &Task, s: &Expr) {
        let place = c.bind_index("window_place", self.window_place(s));
        let group = self.cut.unit == Unit::Group;
        c.unroll("v", self.vectors as u32, |c, v| {
            let (line, at) = self.vector_place(task, v.clone());
            let value = |v: Expr| match self.cut.precision {
                Precision::TF32 => Expr::Reg(self.staged, vec![v]),
                other => Expr::Reg(self.staged, vec![v]).convert(other.storage()),
            };
            let far = self.strides[0].max(self.strides[1]);
            if group {
                // The vector is one of eight lines in each of its blocks.
                let to = place.clone() + line * int(8) + at.floor_div(int(8)) * Expr::int(far);
                let to = Access { lanes: self.lanes, ..Access::element(self.window, vec![to]) };
                c.push(Stmt::Spread(to, value(v), far));
                return;
            }
            let to = place.clone() + line * Expr::int(far) + at;
            c.vector(self.lanes, None, |c, l| c.store(self.window, vec![to + l], value(v)));
        });
    }
}
