//! Bands of one image's rows in scratch memory, for windows that slide over images plane by plane: depthwise
//! convolutions and pooling.
//!
//! A task computes `rows x cols` outputs of one plane. The rows of the input that it reads are copied once, what lies
//! outside the image filled in, so that the loop over the outputs has no condition. Columns are split by their position
//! modulo the stride (phases), so that vectors along the output's columns are contiguous loads:
//!
//! ```text
//! stride 2, three columns of a kernel, one row of the input     . a b c d e f .
//!   phase 0, read by columns 0 and 2 of the kernel              . b d f
//!   phase 1, read by column 1                                   a c e .
//! ```
//!
//! Rows are not split: the row of a kernel element is a whole number of rows below.

use sparsec_graph::Dim;
use sparsec_tir::{BinaryOp, BufferId, BufferKind, CompareOp, Expr, Scalar, Stmt, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::{LINE, LINES_AHEAD, Window};

/// Elements of a band that stay in the first-level cache beside what else a task touches.
const BAND_SHARE: usize = 8;
/// Output columns of a task where they are not known, and about the most that there are.
const WIDE: i64 = 128;

/// The band of an image that a task reads, and the outputs that it computes from it.
pub(crate) struct Band {
    vertical: Window,
    horizontal: Window,
    lanes: u16,
    /// Output rows that are computed together, so that they share loads of the rows between them.
    pub(crate) height: usize,
    /// Output rows of a task.
    rows: usize,
    /// Output columns of a task.
    cols: usize,
    /// Phases of columns that some kernel element reads.
    phases: Vec<usize>,
    /// Elements of a row of one phase.
    pitch: usize,
    /// Extents of the output: rows, columns.
    output: [Dim; 2],
}

/// Where the outputs of a task begin.
pub(crate) struct BandTask {
    /// The plane.
    pub(crate) plane: Expr,
    first_row: Expr,
    first_col: Expr,
}

impl Band {
    /// The band for this window over images with outputs of these extents. `held` is how many registers the caller
    /// keeps beside the results.
    pub(crate) fn choose(
        (vertical, horizontal): (Window, Window),
        output: [Dim; 2],
        held: usize,
        target: &TargetInfo,
    ) -> Self {
        let lanes = usize::from(target.lanes);
        let mut phases: Vec<usize> = (0..horizontal.kernel).map(|k| horizontal.phase(k).0).collect();
        phases.sort_unstable();
        phases.dedup();
        let extent = |d: &Dim| d.as_const().map(|n| n.max(1) as usize);
        let cols = match extent(&output[1]) {
            Some(cols) => cols.div_ceil(cols.div_ceil(WIDE as usize)),
            None => WIDE as usize,
        };
        let cols = cols.next_multiple_of(lanes);
        let pitch = (cols + horizontal.reach()).next_multiple_of(lanes);
        // Few rows to compute in vain, then many rows at once.
        let most = (target.registers as usize).saturating_sub(held + 2).clamp(1, 8);
        let height = match extent(&output[0]) {
            Some(rows) => (1..=most.min(rows)).rev().min_by_key(|h| (rows.next_multiple_of(*h), *h < 4)),
            None => Some(most.min(4)),
        };
        let height = height.unwrap_or(1);
        let budget = target.l1_bytes as usize / BAND_SHARE;
        let input_rows = budget / (phases.len() * pitch);
        let fitting = input_rows.saturating_sub((vertical.kernel - 1) * vertical.dilation + 1) / vertical.stride + 1;
        let whole = extent(&output[0]).unwrap_or(usize::MAX / 2).next_multiple_of(height);
        let rows = (fitting / height).max(1) * height;
        Band { vertical, horizontal, lanes: target.lanes, height, rows: rows.min(whole), cols, phases, pitch, output }
    }

    /// For the comments of kernels.
    pub(crate) fn describe(&self) -> String {
        format!(
            "bands of {}x{} outputs, {} rows at once in vectors of {}",
            self.rows, self.cols, self.height, self.lanes
        )
    }

    fn input_rows(&self) -> usize {
        (self.rows - 1) * self.vertical.stride + (self.vertical.kernel - 1) * self.vertical.dilation + 1
    }

    fn row_size(&self) -> usize {
        self.phases.len() * self.pitch
    }

    /// Declares the scratch memory.
    pub(crate) fn declare(&self, c: &mut Context, elem: Scalar) -> BufferId {
        let size = (self.input_rows() * self.row_size()) as i64;
        c.buffer("band", elem, BufferKind::Scratch, vec![Expr::int(size)], vec![])
    }

    /// The parallel loop over the tasks of `planes` planes.
    pub(crate) fn for_each(&self, c: &mut Context, planes: &Dim, f: impl FnOnce(&mut Context, &BandTask)) {
        let bands = self.output[0].ceil_div(&Dim::constant(self.rows as i64));
        let strips = self.output[1].ceil_div(&Dim::constant(self.cols as i64));
        let tasks = c.dim(&(planes.clone() * bands.clone() * strips.clone()));
        let (several_bands, several_strips) = (!bands.is(1), !strips.is(1));
        let (bands, strips) = (c.dim(&bands), c.dim(&strips));
        c.parallel("task", tasks, |c, task| {
            let (mut rest, mut first_row, mut first_col) = (task, Expr::int(0), Expr::int(0));
            if several_strips {
                first_col = c.bind_index("first_col", rest.clone().rem(strips.clone()) * Expr::int(self.cols as i64));
                rest = c.bind_index("strip", rest.floor_div(strips));
            }
            if several_bands {
                first_row = c.bind_index("first_row", rest.clone().rem(bands.clone()) * Expr::int(self.rows as i64));
                rest = c.bind_index("plane", rest.floor_div(bands));
            }
            f(c, &BandTask { plane: rest, first_row, first_col });
        });
    }

    /// Copies the task's rows of an image of these extents; `value` stands for what lies outside. `pixel` loads one.
    pub(crate) fn fill(
        &self,
        c: &mut Context,
        task: &BandTask,
        (band, elem, value): (BufferId, Scalar, &Expr),
        image: &[Dim; 2],
        pixel: &dyn Fn(Expr, Expr) -> Expr,
    ) {
        let staged = c.register("staged", Type::vector(elem, self.lanes), vec![]);
        let (height, width) = (c.dim(&image[0]), c.dim(&image[1]));
        let lanes = i64::from(self.lanes);
        let (sh, sw) = (self.vertical.stride as i64, self.horizontal.stride as i64);
        let top = task.first_row.clone() * Expr::int(sh) - Expr::int(self.vertical.pad);
        let top = c.bind_index("top", top);
        // Column j of a phase's row is column `left + j * sw` of the image.
        let spans: Vec<(Expr, Expr, Expr)> = self
            .phases
            .iter()
            .map(|&phase| {
                let left = task.first_col.clone() * Expr::int(sw) + Expr::int(phase as i64 - self.horizontal.pad);
                let left = c.bind_index("left", left);
                let before = (Expr::int(0) - left.clone()).max(Expr::int(0)).ceil_div(Expr::int(sw));
                let behind = (width.clone() - left.clone()).max(Expr::int(0)).ceil_div(Expr::int(sw));
                let lo = c.bind_index("lo", before);
                let hi = c.bind_index("hi", behind.min(Expr::int(self.pitch as i64)));
                (left, lo, hi)
            })
            .collect();
        c.serial("r", Expr::int(0), Expr::int(self.input_rows() as i64), 1, |c, r| {
            let row = c.bind_index("row", top + r.clone());
            let line = c.bind_index("line", r * Expr::int(self.row_size() as i64));
            c.serial("j", Expr::int(0), Expr::int(self.row_size() as i64), lanes, |c, j| {
                c.vector(self.lanes, None, |c, l| c.store(band, vec![line.clone() + j + l], value.clone()));
            });
            let inside = Expr::binary(
                BinaryOp::And,
                Expr::compare(CompareOp::Ge, row.clone(), Expr::int(0)),
                Expr::compare(CompareOp::Lt, row.clone(), height),
            );
            ask_ahead(c, image, &row, pixel);
            c.branch(
                inside,
                |c| {
                    for (i, (left, lo, hi)) in spans.iter().enumerate() {
                        let line = line.clone() + Expr::int((i * self.pitch) as i64);
                        c.serial("j", lo.clone(), hi.clone(), lanes, |c, j| {
                            c.vector(self.lanes, Some(hi.clone() - j.clone()), |c, l| {
                                let col = left.clone() + (j.clone() + l.clone()) * Expr::int(sw);
                                c.set(staged, vec![], pixel(row.clone(), col));
                                c.store(band, vec![line + j + l], Expr::Reg(staged, vec![]));
                            });
                        });
                    }
                },
                |_| {},
            );
        });
    }

    /// Computes the task's outputs: `begin` gives a result's first value, `add` the result with the input at element
    /// `(kh, kw)` of the kernel added, and `end` stores it at `(row, column)` in a vector loop.
    ///
    /// A vector of inputs is loaded once for all output rows that read it.
    pub(crate) fn compute(
        &self,
        c: &mut Context,
        task: &BandTask,
        (band, elem): (BufferId, Scalar),
        begin: &Expr,
        add: &dyn Fn(Expr, Expr, (usize, usize)) -> Expr,
        end: &dyn Fn(&mut Context, [Expr; 2], Expr),
    ) {
        let (height, width) = (c.dim(&self.output[0]), c.dim(&self.output[1]));
        let vector = Type::vector(elem, self.lanes);
        let acc = c.register("acc", vector, vec![self.height as u32]);
        let input = c.register("input", vector, vec![]);
        let lanes = i64::from(self.lanes);
        let place = |r: usize| vec![Expr::int(r as i64)];
        let known = |d: &Dim, unit: usize| d.as_const().is_some_and(|n| n % unit as i64 == 0);
        let (even_rows, even_cols) = (known(&self.output[0], self.height), known(&self.output[1], self.lanes.into()));
        let rows = (height.clone() - task.first_row.clone()).min(Expr::int(self.rows as i64));
        let cols = (width.clone() - task.first_col.clone()).min(Expr::int(self.cols as i64));
        let (sh, dh) = (self.vertical.stride, self.vertical.dilation);
        c.serial("group", Expr::int(0), rows, self.height as i64, |c, group| {
            let above = c.bind_index("above", group.clone() * Expr::int((sh * self.row_size()) as i64));
            c.serial("j", Expr::int(0), cols, lanes, |c, j| {
                for r in 0..self.height {
                    c.vector(self.lanes, None, |c, _| c.set(acc, place(r), begin.clone()));
                }
                for i in 0..(self.height - 1) * sh + (self.vertical.kernel - 1) * dh + 1 {
                    let users: Vec<(usize, usize)> = (0..self.height)
                        .flat_map(|r| (0..self.vertical.kernel).map(move |kh| (r, kh)))
                        .filter(|(r, kh)| r * sh + kh * dh == i)
                        .collect();
                    if users.is_empty() {
                        continue;
                    }
                    for kw in 0..self.horizontal.kernel {
                        let (phase, reach) = self.horizontal.phase(kw);
                        let at = self.phases.iter().position(|&p| p == phase).unwrap_or(0) * self.pitch;
                        let at = above.clone() + Expr::int((i * self.row_size() + at + reach) as i64) + j.clone();
                        c.vector(self.lanes, None, |c, l| {
                            c.set(input, vec![], load(band, vec![at + l]));
                            for &(r, kh) in &users {
                                let sum = add(Expr::Reg(input, vec![]), Expr::Reg(acc, place(r)), (kh, kw));
                                c.set(acc, place(r), sum);
                            }
                        });
                    }
                }
                for r in 0..self.height {
                    let row = c.bind_index("row", task.first_row.clone() + group.clone() + Expr::int(r as i64));
                    let store = |c: &mut Context| {
                        let col = task.first_col.clone() + j.clone();
                        let active = (!even_cols).then(|| width.clone() - col.clone());
                        c.vector(self.lanes, active, |c, l| {
                            end(c, [row.clone(), col + l], Expr::Reg(acc, place(r)));
                        });
                    };
                    if even_rows {
                        store(c);
                    } else {
                        c.branch(Expr::compare(CompareOp::Lt, row.clone(), height.clone()), store, |_| {});
                    }
                }
            });
        });
    }
}

/// Asks for lines of the image some rows below `row`, where its width is known and the processor does not follow a row by
/// itself for long: `pixel` loads one of its elements.
fn ask_ahead(c: &mut Context, image: &[Dim; 2], row: &Expr, pixel: &dyn Fn(Expr, Expr) -> Expr) {
    let Some(width) = image[1].as_const() else { return };
    let lines = (width.max(1) as usize).div_ceil(LINE as usize);
    if lines > LINES_AHEAD {
        return;
    }
    let below = row.clone() + Expr::int(LINES_AHEAD.div_ceil(lines) as i64);
    for line in 0..lines as i64 {
        if let Expr::Load(place) = pixel(below.clone(), Expr::int(line * LINE)) {
            c.push(Stmt::Prefetch(place));
        }
    }
}
