//! Convolutions of bytes: lanes along the pixels of the result, a word of the weight broadcast to each.
//!
//! Four neighbouring channels of a pixel are a word. Otherwise this is the kernel of dense `f32` weights: the words that a piece
//! of the image needs are packed, a row of pixels for each kernel element and word, and panels of outputs keep their sums in
//! registers.
//!
//! ```text
//! parallel piece:
//!   for part of the words:                 pack rows[(kh, kw, word)] of the piece's pixels, the zero point around the image
//!                                          box[pixel] += bytes of the pixel's rows
//!     for panel of R outputs:
//!       for row:
//!         unroll r, t:                     acc[r, t] = dot4(acc[r, t], rows[row, t], word(row, r))
//!       result = f(acc - zero * sum of the weights - added * box)
//! ```
//!
//! The last line is what `sum of w * (x - zero)` comes to, where `added` was added to the weights so that they are `i8`.
//!
//! | table | type | layout |
//! |---|---|---|
//! | `words` | i32 | R words for each packed row; order: part, panel, row |
//! | `sums` | i32 | sums of the weights of each output |
//! | `added` | i32 | what was added to the weights of each output; only where something was |

use sparsec_tir::{BinaryOp, BufferId, BufferKind, CompareOp, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::bytes::filter::ByteFilter;
use crate::weight::bytes::pack::{declare, for_each_word, gathered_word};
use crate::weight::bytes::{WORD, store_sum};
use crate::weight::dense::{
    Numbers, Panel, Piece, Pieces, Place, ROWS_SHARE, Rests, flat_outputs, for_each_piece, has_long_rows,
};
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::Activations;
use crate::weight::{Multiplication, Window};

/// Registers that the shuffles of a packing loop with a stride hold throughout the kernel: sums that have none left are stored and
/// loaded for each product.
const SHUFFLES: u32 = 6;

/// The kernel and its tables. The last operand of the epilogue is the zero point of X where `zero`, else that is 0. `None`
/// where the rows of the result or of the epilogue's operands don't lie one behind the other.
pub(crate) fn convolve_bytes(
    mut problem: WeightProblem,
    weight: &ByteFilter,
    zero: bool,
    target: &TargetInfo,
) -> Option<Multiplication> {
    problem.flatten();
    let p = &problem;
    if !has_long_rows(p) {
        return None;
    }
    let pixels = p.y.shape[2].clone() * p.y.shape[3].clone();
    let words = weight.words();
    let mut own = *target;
    if p.cols.stride > 1 && own.registers >= 32 {
        own.registers -= SHUFFLES;
    }
    let pieces = Pieces::ranked(&pixels, p.m, words * p.kernel_size(), &own).into_iter().next()?;
    let budget = f64::from(target.l1_bytes) * ROWS_SHARE / 4.0;
    let fitting = (budget as usize / (pieces.pitch() * p.kernel_size())).max(1);
    let part = words.div_ceil(words.div_ceil(fitting));
    let flat = flat_outputs(p);
    let mut c = Context::new("conv_bytes");
    c.describe(format!("{}, {part} words of four channels a part", pieces.describe()));
    let b = declare(&mut c, &flat);
    let rows = (part * p.kernel_size() * pieces.pitch()) as i64;
    let rows = c.buffer("rows", Scalar::U32, BufferKind::Scratch, vec![Expr::int(rows)], vec![]);
    let boxed = weight.added().iter().any(|&added| added != 0);
    let sums = boxed.then(|| {
        let shape = vec![Expr::int(pieces.pitch() as i64)];
        c.buffer("box", Scalar::I32, BufferKind::Scratch, shape, vec![])
    });
    let (panels, parts) = (p.m.div_ceil(pieces.height), words.div_ceil(part));
    let rests = Rests::declare(&mut c, &pieces, (panels, parts), Numbers::Words);
    let mut tables = vec![words_of(weight, p.kernel_size(), (pieces.height, panels, part))];
    if zero {
        tables.push(Table::of("sums", Scalar::I32, weight.sums().to_vec()));
    }
    if boxed {
        tables.push(Table::of("added", Scalar::I32, weight.added().to_vec()));
    }
    let mut ids = declare_tables(&mut c, &tables).into_iter();
    let values = ids.next()?;
    let zero = if zero { b.args.last().copied().zip(ids.next()) } else { None };
    let boxed = sums.zip(ids.next());
    let kernel = Kernel { p, flat, pieces, part, parts, panels, b, rows, rests, values, zero, boxed };
    for_each_piece(&mut c, (&p.y.shape[0], &pixels), &kernel.pieces, &|c, piece, at| kernel.piece(c, piece, at));
    Some(Multiplication::new(c.finish(), tables))
}

struct Kernel<'a> {
    p: &'a WeightProblem,
    /// With its result as an image of one row.
    flat: WeightProblem,
    pieces: Pieces,
    /// Words of a part of the channels.
    part: usize,
    parts: usize,
    panels: usize,
    b: Activations,
    /// The packed words.
    rows: BufferId,
    rests: Rests,
    /// The table of words.
    values: BufferId,
    /// The zero point, and the sums of the weights.
    zero: Option<(BufferId, BufferId)>,
    /// The sums of all bytes under the window of each pixel, and what was added to the weights.
    boxed: Option<(BufferId, BufferId)>,
}

/// What is packed: words `first..first + count` of the channels of a piece.
struct Inputs<'a> {
    first: &'a Expr,
    count: &'a Expr,
    piece: Piece,
    at: &'a Place,
}

impl Kernel<'_> {
    /// Computes all outputs of a piece.
    fn piece(&self, c: &mut Context, piece: Piece, at: &Place) {
        let p = self.p;
        let size = Expr::int(p.kernel_size() as i64);
        let words = p.channels.div_ceil(WORD) as i64;
        let registers = Panel::declare(c, &self.pieces, piece, Numbers::Words);
        let lanes = self.pieces.lanes as u16;
        let staged = c.register("staged", Type::vector(Scalar::U32, lanes), vec![]);
        let vectors = piece.pixels(self.pieces.lanes).div_ceil(self.pieces.lanes) as u32;
        let box_sums = c.register("box_sum", Type::vector(Scalar::I32, lanes), vec![vectors]);
        c.serial("part", Expr::int(0), Expr::int(self.parts as i64), 1, |c, part| {
            let first = c.bind_index("first_word", part.clone() * Expr::int(self.part as i64));
            let count = c.bind_index("count", (Expr::int(words) - first.clone()).min(Expr::int(self.part as i64)));
            let inputs = Inputs { first: &first, count: &count, piece, at };
            if (p.rows, p.cols) == (Window::POINT, Window::POINT) && p.x.shape[2].is(1) {
                self.pack_pixels(c, &inputs, staged);
            } else {
                self.pack_windows(c, &inputs);
            }
            if let Some((sums, _)) = self.boxed {
                self.add_bytes(c, &inputs, (box_sums, sums), &part);
            }
            let all = c.bind_index("all", count * size.clone());
            let before = c.bind_index("before", first * size * Expr::int(self.panels as i64));
            c.serial("panel", Expr::int(0), Expr::int(self.panels as i64), 1, |c, panel| {
                self.rests.begin(c, &registers, (&part, &panel));
                let start = (before + panel.clone() * all.clone()) * Expr::int(self.pieces.height as i64);
                let start = c.bind_index("start", start);
                registers.add_rows(c, (self.rows, &Expr::int(0)), (self.values, &start), all);
                self.rests.end(c, &registers, (&part, &panel), &|c, tail| {
                    self.finish(c, &registers, &panel, at, tail);
                });
            });
        });
    }

    fn pitch(&self) -> Expr {
        Expr::int(self.pieces.pitch() as i64)
    }

    /// Packs the pixels of an image whose windows are single pixels, which lie one behind the other in memory.
    fn pack_pixels(&self, c: &mut Context, inputs: &Inputs<'_>, staged: RegisterId) {
        let Inputs { first, piece, at, .. } = inputs;
        let lanes = self.pieces.lanes;
        for_each_word(c, self.p.channels, (first, self.part as i64), &|c, word, channel, bytes| {
            let line = c.bind_index("line", (word - (*first).clone()) * self.pitch());
            for from in (0..piece.pixels(lanes)).step_by(lanes) {
                let whole = at.valid.as_int().is_some_and(|n| n >= (from + lanes) as i64);
                let from = Expr::int(from as i64);
                let active = (!whole).then(|| at.valid.clone() - from.clone());
                c.vector(lanes as u16, active, |c, l| {
                    let place = [at.batch.clone(), channel.clone(), Expr::int(0), at.pixel.clone() + from.clone() + l];
                    c.set(staged, vec![], gathered_word(&self.b, &place, bytes));
                });
                c.vector(lanes as u16, None, |c, l| {
                    c.store(self.rows, vec![line.clone() + from + l], Expr::Reg(staged, vec![]));
                });
            }
        });
    }

    /// Packs the pixels of an image with any window: those of one or more rows of the output, which are copied one by one.
    fn pack_windows(&self, c: &mut Context, inputs: &Inputs<'_>) {
        let p = self.p;
        let Inputs { first, count, at, .. } = inputs;
        let (height, width) = (c.dim(&p.x.shape[2]), c.dim(&p.x.shape[3]));
        let cols = c.dim(&p.y.shape[3]);
        let lanes = self.pieces.lanes as u16;
        let (kh_count, kw_count) = (Expr::int(p.rows.kernel as i64), Expr::int(p.cols.kernel as i64));
        let int = |n: usize| Expr::int(n as i64);
        // The zero point where windows leave the image, and behind the last pixel.
        let size = (*count).clone() * Expr::int((p.kernel_size() * self.pieces.pitch()) as i64);
        let size = c.bind_index("size", size);
        let around = match self.zero {
            Some((zero, _)) => {
                let zero = load(zero, vec![Expr::int(0); 4]).convert(Scalar::U32);
                zero * Expr::Int(0x0101_0101, Scalar::U32)
            }
            None => Expr::Int(0, Scalar::U32),
        };
        let around = c.bind("around", Type::scalar(Scalar::U32), around);
        c.serial("z", Expr::int(0), size, lanes.into(), |c, z| {
            c.vector(lanes, None, |c, l| c.store(self.rows, vec![z + l], around));
        });
        let end = c.bind_index("end", at.pixel.clone() + at.valid.clone());
        let first_row = c.bind_index("first_row", at.pixel.clone().floor_div(cols.clone()));
        let end_row = c.bind_index("end_row", (end.clone() - Expr::int(1)).floor_div(cols.clone()) + Expr::int(1));
        c.serial("row", first_row, end_row, 1, |c, row| {
            // The row's pixels `from..to`; column j of the output is packed at `shift + j`.
            let start = c.bind_index("start", row.clone() * cols.clone());
            let from = c.bind_index("from", (at.pixel.clone() - start.clone()).max(Expr::int(0)));
            let to = c.bind_index("to", (end - start.clone()).min(cols.clone()));
            let shift = c.bind_index("shift", start - at.pixel.clone());
            c.serial("kh", Expr::int(0), kh_count, 1, |c, kh| {
                let image_row = row * int(p.rows.stride) + kh.clone() * int(p.rows.dilation) - Expr::int(p.rows.pad);
                let image_row = c.bind_index("image_row", image_row);
                let inside = Expr::binary(
                    BinaryOp::And,
                    Expr::compare(CompareOp::Ge, image_row.clone(), Expr::int(0)),
                    Expr::compare(CompareOp::Lt, image_row.clone(), height),
                );
                let copy = |c: &mut Context| {
                    c.serial("kw", Expr::int(0), kw_count.clone(), 1, |c, kw| {
                        let stride = int(p.cols.stride);
                        let left = kw.clone() * int(p.cols.dilation) - Expr::int(p.cols.pad);
                        let left = c.bind_index("left", left);
                        let lo = (Expr::int(0) - left.clone()).max(Expr::int(0)).ceil_div(stride.clone());
                        let lo = c.bind_index("lo", lo.max(from));
                        let hi = (width - left.clone()).max(Expr::int(0)).ceil_div(stride.clone());
                        let hi = c.bind_index("hi", hi.min(to));
                        let line = (kh * kw_count + kw) * (*count).clone() * self.pitch() + shift;
                        let line = c.bind_index("line", line);
                        c.serial("j", lo, hi.clone(), lanes.into(), |c, j| {
                            for_each_word(c, p.channels, (first, self.part as i64), &|c, word, channel, bytes| {
                                let line = line.clone() + (word - (*first).clone()) * self.pitch();
                                let line = c.bind_index("to_line", line + j.clone());
                                c.vector(lanes, Some(hi.clone() - j.clone()), |c, l| {
                                    let col = left.clone() + (j.clone() + l.clone()) * stride.clone();
                                    let place = [at.batch.clone(), channel, image_row.clone(), col];
                                    c.store(self.rows, vec![line + l], gathered_word(&self.b, &place, bytes));
                                });
                            });
                        });
                    });
                };
                c.branch(inside, copy, |_| {});
            });
        });
    }

    /// Adds the bytes of the packed words of each pixel to the sums of its window.
    fn add_bytes(&self, c: &mut Context, inputs: &Inputs<'_>, (acc, sums): (RegisterId, BufferId), part: &Expr) {
        let Inputs { first, count, piece, .. } = inputs;
        let lanes = self.pieces.lanes as u16;
        let vectors = piece.pixels(lanes.into()).div_ceil(lanes.into()) as u32;
        let lane = |t: &Expr, l: Expr| t.clone() * Expr::int(lanes.into()) + l;
        let own = |t: &Expr| Expr::Reg(acc, vec![t.clone()]);
        let begin = |c: &mut Context, value: &dyn Fn(&Expr, Expr) -> Expr| {
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, l| c.set(acc, vec![t.clone()], value(&t, l)));
            });
        };
        let zero = |c: &mut Context| begin(c, &|_, _| Expr::Int(0, Scalar::I32));
        if self.parts > 1 {
            let is_first = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0));
            c.branch(is_first, zero, |c| begin(c, &|t, l| load(sums, vec![lane(t, l)])));
        } else {
            zero(c);
        }
        let (whole, rest) = ((self.p.channels / WORD) as i64, self.p.channels % WORD);
        let ones = Expr::Int(0x0101_0101, Scalar::I32);
        c.serial("element", Expr::int(0), Expr::int(self.p.kernel_size() as i64), 1, |c, element| {
            c.serial("word", Expr::int(0), (*count).clone(), 1, |c, word| {
                let line = (element * (*count).clone() + word.clone()) * self.pitch();
                let line = c.bind_index("line", line);
                // Bytes behind the last channel are none of the image.
                let ones = if rest == 0 {
                    ones
                } else {
                    let is_last = Expr::compare(CompareOp::Eq, (*first).clone() + word, Expr::int(whole));
                    let fewer = Expr::Int(0x0101_0101 & ((1 << (8 * rest)) - 1), Scalar::I32);
                    Expr::select(is_last, fewer, ones)
                };
                let ones = c.bind("ones", Type::scalar(Scalar::I32), ones);
                c.unroll("t", vectors, |c, t| {
                    c.vector(lanes, None, |c, l| {
                        let word = load(self.rows, vec![line.clone() + lane(&t, l)]);
                        c.set(acc, vec![t.clone()], Expr::dot4(own(&t), word, ones));
                    });
                });
            });
        });
        c.unroll("t", vectors, |c, t| {
            c.vector(lanes, None, |c, l| c.store(sums, vec![lane(&t, l)], own(&t)));
        });
    }

    /// Applies the epilogue to the sums of a panel and stores them.
    fn finish(
        &self,
        c: &mut Context,
        panel: &Panel,
        number: &Expr,
        at: &Place,
        tail_place: &dyn Fn(Expr, Expr) -> Expr,
    ) {
        let p = &self.flat;
        let Panel { height, lanes, piece, .. } = *panel;
        c.unroll("r", height as u32, |c, r| {
            let m = c.bind_index("m", number.clone() * Expr::int(height as i64) + r.clone());
            let one = |c: &mut Context| {
                let scalar = Type::scalar(Scalar::I32);
                let start = self.zero.map(|(zero, sums)| {
                    let zero = load(zero, vec![Expr::int(0); 4]).convert(Scalar::I32);
                    c.bind("of_zero", scalar, zero * load(sums, vec![m.clone()]))
                });
                let added =
                    self.boxed.map(|(sums, added)| (sums, c.bind("plus", scalar, load(added, vec![m.clone()]))));
                let counted = |sum: Expr, pixel: Expr| {
                    let sum = start.iter().fold(sum, |sum, start| sum - start.clone());
                    added.iter().fold(sum, |sum, (sums, added)| sum - added.clone() * load(*sums, vec![pixel.clone()]))
                };
                for t in 0..piece.vectors {
                    let from = (t * lanes) as i64;
                    let whole = at.valid.as_int().is_some_and(|n| n >= from + lanes as i64);
                    let active = (!whole).then(|| at.valid.clone() - Expr::int(from));
                    c.vector(lanes as u16, active, |c, l| {
                        let pixel = Expr::int(from) + l;
                        let place = [at.batch.clone(), m.clone(), Expr::int(0), at.pixel.clone() + pixel.clone()];
                        let sum = counted(panel.sum(r.clone(), Expr::int(t as i64)), pixel);
                        let sum = c.bind("sum", scalar, sum);
                        store_sum(c, p, &self.b, &place, sum);
                    });
                }
                for q in 0..piece.tail {
                    let pixel = Expr::int((piece.vectors * lanes + q) as i64);
                    let place = [at.batch.clone(), m.clone(), Expr::int(0), at.pixel.clone() + pixel.clone()];
                    let sum = load(self.rests.buffer, vec![tail_place(Expr::int(q as i64), r.clone())]);
                    let sum = c.bind("sum", scalar, counted(sum, pixel));
                    store_sum(c, p, &self.b, &place, sum);
                }
            };
            if p.m.is_multiple_of(height) {
                one(c);
            } else {
                c.branch(Expr::compare(CompareOp::Lt, m.clone(), Expr::int(p.m as i64)), one, |_| {});
            }
        });
    }
}

/// The weight: R words for each packed row; order: part, panel, (kernel element, word).
fn words_of(weight: &ByteFilter, size: usize, (height, panels, part): (usize, usize, usize)) -> Table {
    let words = weight.words();
    let weight = weight.clone();
    Table::lazy("words", Scalar::I32, (panels * height * size * words) as u64, move |out| {
        let mut line: Vec<i32> = Vec::with_capacity(part * size * height);
        for first in (0..words).step_by(part) {
            for panel in 0..panels {
                line.clear();
                for element in 0..size {
                    for word in first..(first + part).min(words) {
                        let rows = panel * height..(panel + 1) * height;
                        line.extend(rows.map(|row| weight.word(row, word, element)));
                    }
                }
                out.write_all(bytemuck::cast_slice(&line))?;
            }
        }
        Ok(())
    })
}
