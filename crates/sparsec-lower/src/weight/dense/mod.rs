//! The kernel of weights without structure: every output has every input.
//!
//! A task computes all outputs of a piece of the image. Its inputs are packed, a row of pixels for each column of the
//! weight, and each panel of outputs keeps its sums in registers while it walks through them:
//!
//! ```text
//! parallel piece:
//!   for part of the channels:              pack rows[(kh, kw, channel)] of the piece's pixels
//!     for panel of R outputs:
//!       for row:
//!         x[t] = rows[row, t]              T vectors of pixels
//!         unroll r: acc[r, t] += value(row, r) * x[t]
//!         tail[q] += values(row, 0..R) * rows[row, T*L + q]
//! ```
//!
//! The parts are as large as keeps their rows in the first levels of the cache; sums rest in `partial` between them.

mod pack;
mod panel;
mod pieces;
mod rests;
mod toom_cook;
mod walk;
mod winograd;

use sparsec_graph::Dim;
use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, Scalar, load};

use crate::context::Context;
use crate::schedule::Schedule as Choice;
use crate::target::TargetInfo;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Buffers, declare_activations, prefetch_pixel, store_pixel};
use crate::weight::{Multiplication, View, Window};
use pack::{Inputs, pack_pixels, pack_windows};
pub(super) use panel::{Numbers, Panel};
pub(super) use pieces::{Piece, Pieces};
pub(super) use rests::Rests;
pub(super) use walk::{Place, for_each_piece};

/// Size of the packed rows in first-level caches. They are read with distance between the loads, so that the second
/// level keeps up, and long sums are worth more.
pub(super) const ROWS_SHARE: f64 = 1.0;
/// Elements of a cache line of 64 bytes.
const LINE: usize = 16;

/// The kernel and its table. `None` where the rows of the result or of the epilogue's operands don't lie one behind the
/// other.
pub(crate) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Option<Multiplication> {
    let direct = matches!(p.schedule, Some(Choice::Pieces { .. })) && has_long_rows(p);
    let filtered = || winograd::lower(p, weight, target).or_else(|| toom_cook::lower(p, weight, target));
    if !direct && let Some(mut product) = filtered() {
        // Without the transformations, as another way.
        let plain = has_long_rows(p).then(|| ways(p, target).0.into_iter().next());
        product.schedules.extend(plain.flatten().map(|(pieces, part)| pieces.schedule(part)));
        return Some(product);
    }
    if !has_long_rows(p) {
        return None;
    }
    let (ways, others) = ways(p, target);
    let (pieces, part) = match p.schedule {
        Some(wanted @ Choice::Pieces { channels, .. }) if (1..=p.channels).contains(&channels) => {
            let same = ways.iter().find(|(pieces, _)| pieces.schedule(channels) == wanted);
            same.map_or_else(|| ways[0].clone(), |(pieces, _)| (pieces.clone(), channels))
        }
        _ => ways[0].clone(),
    };
    let own = pieces.schedule(part);
    let schedule = Schedule { problem: p, pieces, part };
    Some(schedule.build(weight).with_schedules(own, others))
}

/// All ways to cut the image, with the channels of a part, the one that is predicted to be the fastest first; and the
/// schedules that are worth to be timed.
fn ways(p: &WeightProblem, target: &TargetInfo) -> (Vec<(Pieces, usize)>, Vec<Choice>) {
    /// Ways beside the best one.
    const MORE: usize = 4;
    let budget = f64::from(target.l1_bytes) * ROWS_SHARE / 4.0;
    // Parts of equal size rather than a short last one.
    let cut = |parts: usize| p.channels.div_ceil(parts.clamp(1, p.channels.max(1)));
    let parts = |pieces: &Pieces| {
        let most = (budget as usize / (pieces.pitch() * p.kernel_size())).max(1);
        p.channels.div_ceil(most).max(1)
    };
    let ranked = Pieces::ranked(&(p.y.shape[2].clone() * p.y.shape[3].clone()), p.m, p.k(), target);
    let first = parts(&ranked[0]);
    let mut others = vec![ranked[0].schedule(cut(first))];
    others.extend([2 * first, first.div_ceil(2)].map(|parts| ranked[0].schedule(cut(parts))));
    let ways: Vec<_> = ranked.into_iter().map(|pieces| (cut(parts(&pieces)), pieces)).map(|(c, p)| (p, c)).collect();
    others.extend(ways.iter().skip(1).take(MORE).map(|(pieces, part)| pieces.schedule(*part)));
    (ways, others)
}

/// Whether an output pixel has one number in the result and in all operands of the epilogue.
pub(super) fn has_long_rows(p: &WeightProblem) -> bool {
    let width = &p.y.shape[3];
    let merges = |v: &View| v.strides[2] == v.strides[3].clone() * width.clone();
    p.y.shape[2].is(1) || (merges(&p.y) && p.args.iter().all(merges))
}

struct Schedule<'a> {
    problem: &'a WeightProblem,
    pieces: Pieces,
    /// Channels of a part.
    part: usize,
}

impl Schedule<'_> {
    fn panels(&self) -> usize {
        self.problem.m.div_ceil(self.pieces.height)
    }

    fn parts(&self) -> usize {
        self.problem.channels.div_ceil(self.part)
    }

    fn build(&self, weight: &WeightMatrix) -> Multiplication {
        let p = self.problem;
        let mut c = Context::new("gemm_packed");
        c.describe(format!("{}, {} channels a part", self.pieces.describe(), self.part));
        let activations = declare_activations(&mut c, &flat_outputs(p));
        let size = self.part * p.kernel_size() * self.pieces.pitch();
        let window = c.buffer("rows", Scalar::F32, BufferKind::Scratch, vec![Expr::int(size as i64)], vec![]);
        let rests = Rests::declare(&mut c, &self.pieces, (self.panels(), self.parts()), Numbers::Floats);
        let b = Buffers { activations, window, partial: rests.buffer };
        let tables = vec![self.table(weight)];
        let values = declare_tables(&mut c, &tables)[0];
        let pixels = p.y.shape[2].clone() * p.y.shape[3].clone();
        for_each_piece(&mut c, (&p.y.shape[0], &pixels), &self.pieces, &|c, piece, at| {
            self.piece(c, (&b, &rests, values), piece, at);
        });
        Multiplication::new(c.finish(), tables)
    }

    /// Computes all outputs of a piece.
    fn piece(&self, c: &mut Context, (b, rests, values): (&Buffers, &Rests, BufferId), piece: Piece, at: &Place) {
        let p = self.problem;
        let Pieces { height, lanes, .. } = self.pieces;
        let pitch = self.pieces.pitch();
        let registers = Panel::declare(c, &self.pieces, piece, Numbers::Floats);
        let flat = p.x.shape[2].is(1) && p.rows == Window::POINT && p.cols == p.rows;
        c.serial("part", Expr::int(0), Expr::int(self.parts() as i64), 1, |c, part| {
            let first = c.bind_index("first_channel", part.clone() * Expr::int(self.part as i64));
            let rest = Expr::int(p.channels as i64) - first.clone();
            let channels = if p.channels.is_multiple_of(self.part) {
                Expr::int(self.part as i64)
            } else {
                c.bind_index("channels", rest.min(Expr::int(self.part as i64)))
            };
            let inputs =
                Inputs { batch: at.batch.clone(), pixel: at.pixel.clone(), first: first.clone(), count: channels };
            if flat {
                let vectors = piece.pixels(lanes).div_ceil(lanes);
                pack_pixels(c, b, &inputs, (vectors, lanes, pitch), &at.valid);
            } else {
                pack_windows(c, (p, b), &inputs, (lanes, pitch), &at.valid);
            }
            let count = inputs.count * Expr::int(p.kernel_size() as i64);
            let count = c.bind_index("count", count);
            let panels = self.panels() as i64;
            let before = c.bind_index("before", first * Expr::int(p.kernel_size() as i64 * panels));
            c.serial("panel", Expr::int(0), Expr::int(panels), 1, |c, panel| {
                rests.begin(c, &registers, (&part, &panel));
                self.ask(c, b, piece, (&part, &panel), at);
                let start = before + panel.clone() * count.clone();
                let start = c.bind_index("start", start * Expr::int(height as i64));
                registers.add_rows(c, (b.window, &Expr::int(0)), (values, &start), count);
                rests.end(c, &registers, (&part, &panel), &|c, tail| self.finish(c, b, &registers, &panel, at, tail));
            });
        });
    }

    /// Applies the epilogue to the sums of a panel and stores them.
    fn finish(
        &self,
        c: &mut Context,
        b: &Buffers,
        panel: &Panel,
        number: &Expr,
        at: &Place,
        tail_place: &dyn Fn(Expr, Expr) -> Expr,
    ) {
        let p = flat_outputs(self.problem);
        let Panel { height, lanes, piece, .. } = *panel;
        c.unroll("r", height as u32, |c, r| {
            let m = c.bind_index("m", number.clone() * Expr::int(height as i64) + r.clone());
            let one = |c: &mut Context| {
                for t in 0..piece.vectors {
                    let from = (t * lanes) as i64;
                    let whole = at.valid.as_int().is_some_and(|n| n >= from + lanes as i64);
                    let active = (!whole).then(|| at.valid.clone() - Expr::int(from));
                    c.vector(lanes as u16, active, |c, l| {
                        let pixel = at.pixel.clone() + Expr::int(from) + l;
                        let place = [at.batch.clone(), m.clone(), Expr::int(0), pixel];
                        store_pixel(c, &p, &b.activations, &place, panel.sum(r.clone(), Expr::int(t as i64)));
                    });
                }
                for q in 0..piece.tail {
                    let pixel = at.pixel.clone() + Expr::int((piece.vectors * lanes + q) as i64);
                    let place = [at.batch.clone(), m.clone(), Expr::int(0), pixel];
                    let sum = load(b.partial, vec![tail_place(Expr::int(q as i64), r.clone())]);
                    store_pixel(c, &p, &b.activations, &place, sum);
                }
            };
            if p.m.is_multiple_of(height) {
                one(c);
            } else {
                c.branch(Expr::compare(CompareOp::Lt, m.clone(), Expr::int(p.m as i64)), one, |_| {});
            }
        });
    }

    /// Asks for the memory that finishing a panel will touch: its rows lie a plane apart, in an order that no hardware
    /// prefetcher follows.
    fn ask(&self, c: &mut Context, b: &Buffers, piece: Piece, (part, panel): (&Expr, &Expr), at: &Place) {
        let p = flat_outputs(self.problem);
        let Pieces { height, lanes, .. } = self.pieces;
        let ask = |c: &mut Context| {
            c.unroll("r", height as u32, |c, r| {
                let m = c.bind_index("m", panel.clone() * Expr::int(height as i64) + r);
                c.unroll("line", piece.pixels(lanes).div_ceil(LINE) as u32, |c, line| {
                    let pixel = at.pixel.clone() + line * Expr::int(LINE as i64);
                    prefetch_pixel(c, &p, &b.activations, &[at.batch.clone(), m, Expr::int(0), pixel]);
                });
            });
        };
        if self.parts() > 1 {
            let last = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(self.parts() as i64 - 1));
            c.branch(last, ask, |_| {});
        } else {
            ask(c);
        }
    }

    /// The weight: R values for each packed row; order: part, panel, (kernel row, kernel column, channel).
    fn table(&self, weight: &WeightMatrix) -> Table {
        let (m, k, size) = (self.problem.m, self.problem.k(), self.problem.kernel_size());
        let (height, panels, part, channels) = (self.pieces.height, self.panels(), self.part, self.problem.channels);
        let weight = weight.clone();
        Table::lazy("values", Scalar::F32, (panels * height * k) as u64, move |out| {
            let dense = weight.dense();
            let mut line: Vec<f32> = Vec::with_capacity(part * size * height);
            for first in (0..channels).step_by(part) {
                for panel in 0..panels {
                    line.clear();
                    for element in 0..size {
                        for channel in first..(first + part).min(channels) {
                            let value =
                                |row: usize| if row < m { dense[row * k + channel * size + element] } else { 0.0 };
                            line.extend((panel * height..(panel + 1) * height).map(value));
                        }
                    }
                    out.write_all(bytemuck::cast_slice(&line))?;
                }
            }
            Ok(())
        })
    }
}

/// The problem with its result and the operands of its epilogue seen as images of one long row.
pub(super) fn flat_outputs(p: &WeightProblem) -> WeightProblem {
    let mut flat = p.clone();
    for view in std::iter::once(&mut flat.y).chain(&mut flat.args) {
        view.shape[3] = view.shape[3].clone() * view.shape[2].clone();
        view.shape[2] = Dim::constant(1);
        view.strides[2] = Dim::default();
    }
    flat
}
