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
mod pieces;

use sparsec_graph::Dim;
use sparsec_tir::{BufferKind, CompareOp, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Buffers, declare_activations, prefetch_pixel, store_pixel};
use crate::weight::{Multiplication, View, Window};
use pack::{Inputs, pack_pixels, pack_windows};
use pieces::{Piece, Pieces};

/// Size of the packed rows in first-level caches. They are read with distance between the loads, so that the second
/// level keeps up, and long sums are worth more.
const ROWS_SHARE: f64 = 1.0;
/// Elements of a cache line of 64 bytes.
const LINE: usize = 16;

/// The kernel and its table. `None` where the rows of the result or of the epilogue's operands don't lie one behind the
/// other.
pub(crate) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Option<Multiplication> {
    if !has_long_rows(p) {
        return None;
    }
    let pieces = Pieces::choose(&(p.y.shape[2].clone() * p.y.shape[3].clone()), p.m, p.k(), target);
    let budget = f64::from(target.l1_bytes) * ROWS_SHARE / 4.0;
    let most = (budget as usize / (pieces.pitch() * p.kernel_size())).max(1);
    // Parts of equal size rather than a short last one.
    let part = p.channels.div_ceil(p.channels.div_ceil(most));
    let schedule = Schedule { problem: p, pieces, part };
    Some(schedule.build(weight))
}

/// Whether an output pixel has one number in the result and in all operands of the epilogue.
fn has_long_rows(p: &WeightProblem) -> bool {
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

/// The registers of a piece.
struct Registers {
    acc: RegisterId,
    x: RegisterId,
    /// Sums and weights of a tail.
    tail: Option<(RegisterId, RegisterId)>,
}

/// Where a piece lies, and how many of its pixels there are.
struct Place {
    batch: Expr,
    pixel: Expr,
    valid: Expr,
}

impl Schedule<'_> {
    fn panels(&self) -> usize {
        self.problem.m.div_ceil(self.pieces.height)
    }

    fn parts(&self) -> usize {
        self.problem.channels.div_ceil(self.part)
    }

    /// Elements that the sums of a panel take.
    fn panel_sums(&self) -> usize {
        let Pieces { height, lanes, main, .. } = self.pieces;
        height * self.pieces.last.iter().fold(main.pixels(lanes), |n, p| n.max(p.pixels(lanes)))
    }

    fn build(&self, weight: &WeightMatrix) -> Multiplication {
        let p = self.problem;
        let mut c = Context::new("gemm_packed");
        c.describe(format!("{}, {} channels a part", self.pieces.describe(), self.part));
        let activations = declare_activations(&mut c, &flat_outputs(p));
        let size = self.part * p.kernel_size() * self.pieces.pitch();
        let window = c.buffer("rows", Scalar::F32, BufferKind::Scratch, vec![Expr::int(size as i64)], vec![]);
        let rests = if self.parts() > 1 { self.panels() } else { 1 };
        let size = (rests * self.panel_sums()) as i64;
        let partial = c.buffer("partial", Scalar::F32, BufferKind::Scratch, vec![Expr::int(size)], vec![]);
        let b = Buffers { activations, window, partial };
        let tables = vec![self.table(weight)];
        let values = declare_tables(&mut c, &tables)[0];
        let pixels = p.y.shape[2].clone() * p.y.shape[3].clone();
        let main = self.pieces.main;
        let unit = main.pixels(self.pieces.lanes) as i64;
        let per_image = pixels.ceil_div(&Dim::constant(unit));
        let tasks = c.dim(&(p.y.shape[0].clone() * per_image.clone()));
        let single = p.y.shape[0].is(1);
        let (count, per_image) = (c.dim(&pixels), c.dim(&per_image));
        c.parallel("task", tasks, |c, task| {
            let (batch, piece) = if single {
                (Expr::int(0), task)
            } else {
                let batch = c.bind_index("batch", task.clone().floor_div(per_image.clone()));
                (batch, c.bind_index("piece", task.rem(per_image)))
            };
            let pixel = c.bind_index("pixel", piece * Expr::int(unit));
            let even = count.as_int().is_some_and(|n| n % unit == 0);
            let rest = match count.as_int() {
                Some(n) => Expr::int(n % unit),
                None => c.bind_index("rest", count.clone() - pixel.clone()),
            };
            let place = |valid: Expr| Place { batch: batch.clone(), pixel: pixel.clone(), valid };
            if even {
                self.piece(c, (&b, values), main, &place(Expr::int(unit)));
                return;
            }
            if count.as_int().is_some_and(|n| n < unit) {
                self.piece(c, (&b, values), main, &place(rest));
                return;
            }
            let whole = Expr::compare(CompareOp::Le, pixel.clone() + Expr::int(unit), count.clone());
            c.branch(
                whole,
                |c| self.piece(c, (&b, values), main, &place(Expr::int(unit))),
                |c| self.last(c, (&b, values), &self.pieces.last, &place(rest)),
            );
        });
        Multiplication { kernel: c.finish(), tables }
    }

    /// The last piece: the first of these that is large enough.
    fn last(&self, c: &mut Context, buffers: (&Buffers, sparsec_tir::BufferId), pieces: &[Piece], place: &Place) {
        let Some((piece, others)) = pieces.split_first() else {
            return self.piece(c, buffers, self.pieces.main, place);
        };
        let pixels = piece.pixels(self.pieces.lanes) as i64;
        if place.valid.as_int().is_some_and(|n| n <= pixels) {
            return self.piece(c, buffers, *piece, place);
        }
        let fits = Expr::compare(CompareOp::Le, place.valid.clone(), Expr::int(pixels));
        c.branch(fits, |c| self.piece(c, buffers, *piece, place), |c| self.last(c, buffers, others, place));
    }

    /// Computes all outputs of a piece.
    fn piece(&self, c: &mut Context, (b, values): (&Buffers, sparsec_tir::BufferId), piece: Piece, at: &Place) {
        let p = self.problem;
        let Pieces { height, lanes, .. } = self.pieces;
        let pitch = self.pieces.pitch();
        let vector = Type::vector(Scalar::F32, lanes as u16);
        let short = Type::vector(Scalar::F32, height as u16);
        let registers = Registers {
            acc: c.register("acc", vector, vec![height as u32, piece.vectors as u32]),
            x: c.register("x_now", vector, vec![piece.vectors as u32]),
            tail: (piece.tail > 0)
                .then(|| (c.register("tail", short, vec![piece.tail as u32]), c.register("weights", short, vec![]))),
        };
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
                self.begin(c, b, piece, &registers, (&part, &panel));
                self.ask(c, b, piece, (&part, &panel), at);
                let start = before + panel.clone() * count.clone();
                let start = c.bind_index("start", start * Expr::int(height as i64));
                c.serial("e", Expr::int(0), count, 1, |c, e| {
                    let weight = c.bind_index("weight", start + e.clone() * Expr::int(height as i64));
                    let row = c.bind_index("row", e * Expr::int(pitch as i64));
                    self.step(c, (b, values), piece, &registers, (&weight, &row));
                });
                self.end(c, b, piece, &registers, (&part, &panel), at);
            });
        });
    }

    /// Adds the products of one packed row.
    fn step(
        &self,
        c: &mut Context,
        (b, values): (&Buffers, sparsec_tir::BufferId),
        piece: Piece,
        registers: &Registers,
        (weight, row): (&Expr, &Expr),
    ) {
        let Pieces { height, lanes, .. } = self.pieces;
        let Registers { acc, x, tail } = *registers;
        let t_count = piece.vectors as u32;
        c.unroll("t", t_count, |c, t| {
            c.vector(lanes as u16, None, |c, l| {
                let lane = row.clone() + t.clone() * Expr::int(lanes as i64) + l;
                c.set(x, vec![t], load(b.window, vec![lane]));
            });
        });
        c.unroll("r", height as u32, |c, r| {
            let value = c.bind("value", Type::scalar(Scalar::F32), load(values, vec![weight.clone() + r.clone()]));
            c.unroll("t", t_count, |c, t| {
                c.vector(lanes as u16, None, |c, _| {
                    let at = vec![r.clone(), t.clone()];
                    let sum = Expr::fma(value.clone(), Expr::Reg(x, vec![t]), Expr::Reg(acc, at.clone()));
                    c.set(acc, at, sum);
                });
            });
        });
        let Some((tail, weights)) = tail else { return };
        c.vector(height as u16, None, |c, l| c.set(weights, vec![], load(values, vec![weight.clone() + l])));
        c.unroll("q", piece.tail as u32, |c, q| {
            let pixel = row.clone() + Expr::int((piece.vectors * lanes) as i64) + q.clone();
            let pixel = c.bind("pixel", Type::scalar(Scalar::F32), load(b.window, vec![pixel]));
            c.vector(height as u16, None, |c, _| {
                let sum = Expr::fma(pixel, Expr::Reg(weights, vec![]), Expr::Reg(tail, vec![q.clone()]));
                c.set(tail, vec![q], sum);
            });
        });
    }

    /// Where sum `t` of row `r` of a panel rests, and where those of tail pixel `q`.
    fn rest_place(&self, piece: Piece, panel: &Expr) -> (impl Fn(Expr, Expr) -> Expr, impl Fn(Expr) -> Expr) {
        let Pieces { height, lanes, .. } = self.pieces;
        let outlives = self.parts() > 1;
        let base = if outlives { panel.clone() * Expr::int(self.panel_sums() as i64) } else { Expr::int(0) };
        let tails = base.clone() + Expr::int((height * piece.vectors * lanes) as i64);
        let vectors =
            move |r: Expr, t: Expr| base.clone() + (r * Expr::int(piece.vectors as i64) + t) * Expr::int(lanes as i64);
        (vectors, move |q: Expr| tails.clone() + q * Expr::int(height as i64))
    }

    /// Begins the sums of a panel: at zero in the first part, else where they rest.
    fn begin(&self, c: &mut Context, b: &Buffers, piece: Piece, registers: &Registers, (part, panel): (&Expr, &Expr)) {
        let (place, tail_place) = self.rest_place(piece, panel);
        let fill = |c: &mut Context, resumes: bool| {
            self.each(c, piece, &|c, r, t, l| {
                let rested = load(b.partial, vec![place(r.clone(), t.clone()) + l]);
                c.set(registers.acc, vec![r, t], if resumes { rested } else { Expr::f32(0.0) });
            });
            self.each_tail(c, piece, registers, &|c, tail, q, l| {
                let rested = load(b.partial, vec![tail_place(q.clone()) + l]);
                c.set(tail, vec![q], if resumes { rested } else { Expr::f32(0.0) });
            });
        };
        if self.parts() > 1 {
            let first = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0));
            c.branch(first, |c| fill(c, false), |c| fill(c, true));
        } else {
            fill(c, false);
        }
    }

    /// Ends the sums of a panel: results in the last part, else they rest.
    fn end(
        &self,
        c: &mut Context,
        b: &Buffers,
        piece: Piece,
        registers: &Registers,
        (part, panel): (&Expr, &Expr),
        at: &Place,
    ) {
        let (place, tail_place) = self.rest_place(piece, panel);
        let rest_tail = |c: &mut Context| {
            self.each_tail(c, piece, registers, &|c, tail, q, l| {
                c.store(b.partial, vec![tail_place(q.clone()) + l], Expr::Reg(tail, vec![q]));
            });
        };
        let rest = |c: &mut Context| {
            self.each(c, piece, &|c, r, t, l| {
                let sum = Expr::Reg(registers.acc, vec![r.clone(), t.clone()]);
                c.store(b.partial, vec![place(r, t) + l], sum);
            });
            rest_tail(c);
        };
        let finish = |c: &mut Context| {
            rest_tail(c);
            self.finish(c, b, piece, registers, panel, at, &tail_place);
        };
        if self.parts() > 1 {
            let last = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(self.parts() as i64 - 1));
            c.branch(last, finish, rest);
        } else {
            finish(c);
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what is finished, where it is and where it goes")]
    fn finish(
        &self,
        c: &mut Context,
        b: &Buffers,
        piece: Piece,
        registers: &Registers,
        panel: &Expr,
        at: &Place,
        tail_place: &dyn Fn(Expr) -> Expr,
    ) {
        let p = flat_outputs(self.problem);
        let Pieces { height, lanes, .. } = self.pieces;
        c.unroll("r", height as u32, |c, r| {
            let m = c.bind_index("m", panel.clone() * Expr::int(height as i64) + r.clone());
            let one = |c: &mut Context| {
                for t in 0..piece.vectors {
                    let from = (t * lanes) as i64;
                    let whole = at.valid.as_int().is_some_and(|n| n >= from + lanes as i64);
                    let active = (!whole).then(|| at.valid.clone() - Expr::int(from));
                    c.vector(lanes as u16, active, |c, l| {
                        let pixel = at.pixel.clone() + Expr::int(from) + l;
                        let place = [at.batch.clone(), m.clone(), Expr::int(0), pixel];
                        let sum = Expr::Reg(registers.acc, vec![r.clone(), Expr::int(t as i64)]);
                        store_pixel(c, &p, &b.activations, &place, sum);
                    });
                }
                for q in 0..piece.tail {
                    let pixel = at.pixel.clone() + Expr::int((piece.vectors * lanes + q) as i64);
                    let place = [at.batch.clone(), m.clone(), Expr::int(0), pixel];
                    let sum = load(b.partial, vec![tail_place(Expr::int(q as i64)) + r.clone()]);
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
                    prefetch_pixel(c, &p, b, &[at.batch.clone(), m, Expr::int(0), pixel]);
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

    /// Runs `f` for each row and vector of a panel, in a vector loop.
    fn each(&self, c: &mut Context, piece: Piece, f: &dyn Fn(&mut Context, Expr, Expr, Expr)) {
        c.unroll("r", self.pieces.height as u32, |c, r| {
            c.unroll("t", piece.vectors as u32, |c, t| {
                c.vector(self.pieces.lanes as u16, None, |c, l| f(c, r, t, l));
            });
        });
    }

    /// Runs `f` for each pixel of a tail, in a loop over a panel's rows as lanes.
    fn each_tail(
        &self,
        c: &mut Context,
        piece: Piece,
        registers: &Registers,
        f: &dyn Fn(&mut Context, RegisterId, Expr, Expr),
    ) {
        let Some((tail, _)) = registers.tail else { return };
        c.unroll("q", piece.tail as u32, |c, q| {
            c.vector(self.pieces.height as u16, None, |c, l| f(c, tail, q, l));
        });
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
fn flat_outputs(p: &WeightProblem) -> WeightProblem {
    let mut flat = p.clone();
    for view in std::iter::once(&mut flat.y).chain(&mut flat.args) {
        view.shape[3] = view.shape[3].clone() * view.shape[2].clone();
        view.shape[2] = Dim::constant(1);
        view.strides[2] = Dim::default();
    }
    flat
}
