//! 3x3 convolutions of stride 1 by Winograd's minimal filtering F(2x2, 3x3): 16 multiplications for 4 pixels instead
//! of 36 (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016).
//!
//! The output is cut into tiles of 2 x 2 pixels, which read 4 x 4 pixels `d` of a channel. In transformed coordinates the
//! convolution is a product for each of 16 positions, over the channels, with tiles in the place of pixels:
//!
//! ```text
//! parallel piece of tiles:
//!   for channel:            v[position, channel, tile] = B' d B
//!   for panel of R outputs:
//!     for position:         sums[position, r, tile] = sum over channels of u[position, channel, r] * v[position, channel, tile]
//!     for r:                y[r, 2x2 pixels of each tile] = f(A' sums A)
//!
//!      1  0 -1  0           1   0   0
//! B' = 0  1  1  0      G = .5  .5  .5        A' = 1  1  1  0
//!      0 -1  1  0          .5 -.5  .5             0  1 -1 -1
//!      0  1  0 -1           0   0   1
//! ```
//!
//! `u = G w G'` is made when the weight is written. Sums of four inputs are rounded before they are multiplied, which
//! costs about a bit; where an input is infinite, the pixels of its tile are not numbers.

use sparsec_graph::Dim;
use sparsec_tir::{Access, BufferId, BufferKind, CompareOp, Expr, Scalar, Stmt, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::Window;
use crate::weight::dense::panel::{Numbers, Panel};
use crate::weight::dense::pieces::{Piece, Pieces};
use crate::weight::dense::walk::{Place, for_each_piece};
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Positions of a tile in transformed coordinates.
const POSITIONS: usize = 16;
/// Fewer outputs or channels than these don't repay the transformations.
const FEWEST: usize = 32;
/// Transformed inputs of a piece, in first-level caches: what the second level holds.
const LARGEST: usize = 32;
/// Ways to cut an image that are worth to be timed.
const MORE: usize = 3;

/// The kernel and its table; `None` for a problem that it doesn't cover, or where it is expected to be no faster.
pub(super) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Option<Multiplication> {
    let fits = |w: &Window| w.kernel == 3 && w.stride == 1 && w.dilation == 1;
    let known = |d: &Dim| d.as_const().filter(|&n| n > 0).map(|n| n as usize);
    if !fits(&p.rows) || !fits(&p.cols) || p.m < FEWEST || p.channels < FEWEST {
        return None;
    }
    if !stays_exact(weight) {
        return None;
    }
    let image = [known(&p.x.shape[2])?, known(&p.x.shape[3])?];
    let output = [known(&p.y.shape[2])?, known(&p.y.shape[3])?];
    let grid = [output[0].div_ceil(2), output[1].div_ceil(2)];
    let tiles = grid[0] * grid[1];
    // Tiles that hang over the edge, and images of few tiles, for which the larger weight is read, are a loss.
    let over = tiles * POSITIONS * 10 > output[0] * output[1] * 9 * 6;
    if over || tiles < 2 * usize::from(target.lanes) {
        return None;
    }
    let mut ranked = Pieces::ranked(&Dim::constant(tiles as i64), p.m, p.channels * POSITIONS, target);
    let is_small = |pieces: &Pieces| POSITIONS * p.channels * pieces.pitch() * 4 <= LARGEST * target.l1_bytes as usize;
    if !is_small(&ranked[0]) {
        return None;
    }
    ranked.retain(is_small);
    let wanted = ranked.iter().position(|pieces| p.schedule == Some(pieces.filtering())).unwrap_or(0);
    let (own, others) = (ranked[wanted].clone(), ranked.iter().map(Pieces::filtering).take(MORE).collect::<Vec<_>>());
    let schedule = own.filtering();
    Some(Schedule { problem: p, pieces: own, image, output, grid }.build(weight).with_schedules(schedule, others))
}

/// Whether weights that are integers, of a quantised model, give the sums that the direct kernel gives: exact ones, as
/// long as no number leaves 2^24. Inside, numbers are sums of 4 elements of the image, of 8 bits and a sign, 9 products in an
/// output, and in units of a quarter, which the transformed weights have (Lavin, Gray, CVPR 2016).
fn stays_exact(weight: &WeightMatrix) -> bool {
    const GROWTH: f64 = 4.0 * 9.0 * 4.0 * 255.0;
    let stored = weight.stored();
    if stored.iter().any(|v| v.fract() != 0.0) {
        return true;
    }
    let rows = stored.chunks((stored.len() / weight.outputs().max(1)).max(1));
    let largest = rows.map(|row| row.iter().map(|v| f64::from(v.abs())).sum::<f64>()).fold(0.0, f64::max);
    largest * GROWTH <= f64::from(1 << 24)
}

struct Schedule<'a> {
    problem: &'a WeightProblem,
    pieces: Pieces,
    /// Rows and columns of the input, of the output, and of the grid of tiles.
    image: [usize; 2],
    output: [usize; 2],
    grid: [usize; 2],
}

struct Buffers {
    activations: Activations,
    /// The rows of one channel that a piece reads, padded; columns split by parity.
    rows: BufferId,
    /// Transformed inputs: position, channel, tile.
    inputs: BufferId,
    /// Transformed results of a panel: position, output, tile.
    sums: BufferId,
    /// Two rows of pixels of one output.
    lines: BufferId,
    values: BufferId,
}

fn int(n: usize) -> Expr {
    Expr::int(n as i64)
}

impl Schedule<'_> {
    fn lanes(&self) -> usize {
        self.pieces.lanes
    }

    /// Columns of one parity in `rows`; vectors of tiles begin anywhere in a row.
    fn parity_pitch(&self) -> usize {
        (self.grid[1] + 1 + self.lanes()).next_multiple_of(self.lanes())
    }

    /// Rows of the input that a piece reads at most.
    fn most_rows(&self) -> usize {
        let tiles = self.pieces.pitch();
        let rows = (tiles + self.grid[1] - 1).div_ceil(self.grid[1]) + 1;
        2 * rows.min(self.grid[0]) + 2
    }

    fn build(&self, weight: &WeightMatrix) -> Multiplication {
        let p = self.problem;
        let mut c = Context::new("winograd");
        c.describe(format!("tiles of 2x2 pixels, {}", self.pieces.describe()));
        let activations = declare_activations(&mut c, p);
        let pitch = self.pieces.pitch();
        let scratch = |c: &mut Context, name: &str, size: usize| {
            c.buffer(name, Scalar::F32, BufferKind::Scratch, vec![int(size)], vec![])
        };
        let rows = scratch(&mut c, "rows", self.most_rows() * 2 * self.parity_pitch());
        let inputs = scratch(&mut c, "inputs", POSITIONS * p.channels * pitch);
        let sums = scratch(&mut c, "sums", POSITIONS * self.pieces.height * pitch);
        let lines = scratch(&mut c, "lines", 4 * pitch);
        let tables = vec![self.table(weight)];
        let values = declare_tables(&mut c, &tables)[0];
        let b = Buffers { activations, rows, inputs, sums, lines, values };
        let tiles = Dim::constant((self.grid[0] * self.grid[1]) as i64);
        for_each_piece(&mut c, (&p.y.shape[0], &tiles), &self.pieces, &|c, piece, at| self.piece(c, &b, piece, at));
        Multiplication::new(c.finish(), tables)
    }

    fn piece(&self, c: &mut Context, b: &Buffers, piece: Piece, at: &Place) {
        let (channels, height, pitch) = (self.problem.channels, self.pieces.height, self.pieces.pitch());
        let end = c.bind_index("end", at.pixel.clone() + at.valid.clone());
        let first = c.bind_index("first_row", at.pixel.clone().floor_div(int(self.grid[1])));
        let last = c.bind_index("end_row", (end.clone() - Expr::int(1)).floor_div(int(self.grid[1])) + Expr::int(1));
        self.transform_inputs(c, b, at, (&first, &last, &end));
        let panel = Panel::declare(c, &self.pieces, piece, Numbers::Floats);
        c.serial("panel", Expr::int(0), int(self.problem.m.div_ceil(height)), 1, |c, number| {
            c.serial("position", Expr::int(0), int(POSITIONS), 1, |c, position| {
                panel.set(c, &|_, _, _| Expr::f32(0.0), &|_, _| Expr::f32(0.0));
                let row = c.bind_index("inputs_of", position.clone() * int(channels * pitch));
                let start = (number.clone() * int(POSITIONS) + position.clone()) * int(channels * height);
                let start = c.bind_index("start", start);
                panel.add_rows(c, (b.inputs, &row), (b.values, &start), int(channels));
                let base = c.bind_index("sums_of", position * int(height * pitch));
                let lanes = self.lanes();
                panel.rest(c, b.sums, &|r, t, l| base.clone() + r * int(pitch) + t * int(lanes) + l, &|q, l| {
                    base.clone() + l * int(pitch) + int(piece.vectors * lanes) + q
                });
            });
            c.serial("r", Expr::int(0), int(height), 1, |c, r| {
                let m = c.bind_index("m", number * int(height) + r.clone());
                let one = |c: &mut Context| {
                    self.transform_sums(c, b, piece, &r);
                    self.finish(c, b, at, &m, (&first, &last, &end));
                };
                if self.problem.m.is_multiple_of(height) {
                    one(c);
                } else {
                    c.branch(Expr::compare(CompareOp::Lt, m.clone(), int(self.problem.m)), one, |_| {});
                }
            });
        });
    }

    /// Makes `inputs` from the image, channel by channel.
    fn transform_inputs(&self, c: &mut Context, b: &Buffers, at: &Place, (first, last, end): (&Expr, &Expr, &Expr)) {
        let p = self.problem;
        let (lanes, pitch, parity) = (self.lanes(), self.pieces.pitch(), self.parity_pitch());
        // What lies outside the image is zero in all channels, and only what lies inside is copied.
        c.serial("z", Expr::int(0), int(self.most_rows() * 2 * parity), lanes as i64, |c, z| {
            c.vector(lanes as u16, None, |c, l| c.store(b.rows, vec![z + l], Expr::f32(0.0)));
        });
        let top = c.bind_index("top", first.clone() * Expr::int(2) - Expr::int(p.rows.pad));
        let from = c.bind_index("from_row", top.clone().max(Expr::int(0)));
        let to = last.clone() * Expr::int(2) + Expr::int(2 - p.rows.pad);
        let to = c.bind_index("to_row", to.min(int(self.image[0])));
        c.serial("ch", Expr::int(0), int(p.channels), 1, |c, ch| {
            c.serial("image_row", from, to, 1, |c, row| {
                for odd in 0..2i64 {
                    // Column j of this parity is column `2j + left` of the image.
                    let left = odd - p.cols.pad;
                    let lo = ((-left).max(0) + 1) / 2;
                    let hi = (((self.image[1] as i64 - left).max(0) + 1) / 2).min(parity as i64);
                    let line = (row.clone() - top.clone()) * int(2 * parity) + int(odd as usize * parity);
                    let line = c.bind_index("line", line);
                    c.serial("j", Expr::int(lo), Expr::int(hi), lanes as i64, |c, j| {
                        c.vector(lanes as u16, Some(Expr::int(hi) - j.clone()), |c, l| {
                            let col = (j.clone() + l.clone()) * Expr::int(2) + Expr::int(left);
                            let pixel = load(b.activations.x, vec![at.batch.clone(), ch.clone(), row.clone(), col]);
                            c.store(b.rows, vec![line + j + l], pixel);
                        });
                    });
                }
            });
            c.serial("tile_row", first.clone(), last.clone(), 1, |c, row| {
                let (from, to, shift) = self.segment(c, at, end, &row);
                let above = c.bind_index("above", (row - first.clone()) * int(4 * parity));
                let into = c.bind_index("into", ch * int(pitch) + shift);
                c.serial("j", from, to.clone(), lanes as i64, |c, j| {
                    c.vector(lanes as u16, Some(to - j.clone()), |c, l| {
                        let lane = j + l;
                        let f32 = Type::scalar(Scalar::F32);
                        let mut d: Vec<Expr> = (0..16)
                            .map(|i| {
                                let (row, col) = (i / 4, i % 4);
                                let place = int((row * 2 + col % 2) * parity + col / 2);
                                c.bind("d", f32, load(b.rows, vec![above.clone() + place + lane.clone()]))
                            })
                            .collect();
                        // Rows, then columns.
                        for (step, across) in [(4, 1), (1, 4)] {
                            for i in 0..4 {
                                let at = |k: usize| i * across + k * step;
                                let [a, b, e, g] = [0, 1, 2, 3].map(|k| d[at(k)].clone());
                                let new = [a - e.clone(), b.clone() + e.clone(), e - b.clone(), b - g];
                                for (k, value) in new.into_iter().enumerate() {
                                    d[at(k)] = c.bind("v", f32, value);
                                }
                            }
                        }
                        for (position, value) in d.into_iter().enumerate() {
                            let place = int(position * p.channels * pitch) + into.clone() + lane.clone();
                            c.store(b.inputs, vec![place], value);
                        }
                    });
                });
            });
        });
    }

    /// The tiles `from..to` of a row of the grid that a piece has, and where column 0 would be counted in the piece.
    fn segment(&self, c: &mut Context, at: &Place, end: &Expr, row: &Expr) -> (Expr, Expr, Expr) {
        let start = c.bind_index("row_start", row.clone() * int(self.grid[1]));
        let from = c.bind_index("from", (at.pixel.clone() - start.clone()).max(Expr::int(0)));
        let to = c.bind_index("to", (end.clone() - start.clone()).min(int(self.grid[1])));
        let shift = c.bind_index("shift", start - at.pixel.clone());
        (from, to, shift)
    }

    /// Makes two rows of pixels of output `r` of the panel from its sums.
    fn transform_sums(&self, c: &mut Context, b: &Buffers, piece: Piece, r: &Expr) {
        let (lanes, pitch, height) = (self.lanes(), self.pieces.pitch(), self.pieces.height);
        let row = c.bind_index("row_of_sums", r.clone() * int(pitch));
        for t in 0..piece.pixels(lanes).div_ceil(lanes) {
            c.vector(lanes as u16, None, |c, l| {
                let f32 = Type::scalar(Scalar::F32);
                let s: Vec<Expr> = (0..POSITIONS)
                    .map(|position| {
                        let place = row.clone() + int(position * height * pitch + t * lanes) + l.clone();
                        c.bind("s", f32, load(b.sums, vec![place]))
                    })
                    .collect();
                let pair = |c: &mut Context, a: &Expr, b: &Expr, e: &Expr, g: &Expr| {
                    let first = c.bind("p", f32, a.clone() + b.clone() + e.clone());
                    (first, c.bind("p", f32, b.clone() - e.clone() - g.clone()))
                };
                let columns: Vec<(Expr, Expr)> =
                    (0..4).map(|i| pair(c, &s[i], &s[4 + i], &s[8 + i], &s[12 + i])).collect();
                let of = |i: usize, k: usize| if i == 0 { &columns[k].0 } else { &columns[k].1 };
                for i in 0..2 {
                    let (even, odd) = pair(c, of(i, 0), of(i, 1), of(i, 2), of(i, 3));
                    let place = int(i * 2 * pitch + 2 * t * lanes);
                    c.store(b.lines, vec![place.clone() + l.clone()], even);
                    c.store(b.lines, vec![place + int(lanes) + l.clone()], odd);
                }
            });
            // Even and odd columns lie in two vectors: taken in turn they are the row.
            for i in 0..2 {
                let place = Access {
                    lanes: 2 * lanes as u16,
                    ..Access::element(b.lines, vec![int(i * 2 * pitch + 2 * t * lanes)])
                };
                let in_turn = (0..2 * lanes).map(|l| (l / 2 + l % 2 * lanes) as u8).collect();
                let row = Expr::Shuffle(Box::new(Expr::Load(place.clone())), in_turn);
                c.push(Stmt::Store(place, row));
            }
        }
    }

    /// Applies the epilogue to the two rows of pixels of each row of tiles and stores them.
    fn finish(&self, c: &mut Context, b: &Buffers, at: &Place, m: &Expr, (first, last, end): (&Expr, &Expr, &Expr)) {
        let (lanes, pitch) = (self.lanes(), self.pieces.pitch());
        c.serial("tile_row", first.clone(), last.clone(), 1, |c, row| {
            let (from, to, shift) = self.segment(c, at, end, &row);
            let to = c.bind_index("to_col", (to * Expr::int(2)).min(int(self.output[1])));
            for i in 0..2 {
                let y_row = c.bind_index("y_row", row.clone() * Expr::int(2) + int(i));
                let store = |c: &mut Context| {
                    c.serial("j", from.clone() * Expr::int(2), to.clone(), lanes as i64, |c, j| {
                        c.vector(lanes as u16, Some(to.clone() - j.clone()), |c, l| {
                            let col = j + l;
                            let place = shift.clone() * Expr::int(2) + int(i * 2 * pitch) + col.clone();
                            let place_of = [at.batch.clone(), m.clone(), y_row.clone(), col];
                            store_pixel(c, self.problem, &b.activations, &place_of, load(b.lines, vec![place]));
                        });
                    });
                };
                if i == 0 || self.output[0].is_multiple_of(2) {
                    store(c);
                } else {
                    c.branch(Expr::compare(CompareOp::Lt, y_row.clone(), int(self.output[0])), store, |_| {});
                }
            }
        });
    }

    /// The transformed weight: R values for each channel; order: panel, position, channel.
    fn table(&self, weight: &WeightMatrix) -> Table {
        let (m, channels, height) = (self.problem.m, self.problem.channels, self.pieces.height);
        let panels = m.div_ceil(height);
        let weight = weight.clone();
        let elements = (panels * POSITIONS * channels * height) as u64;
        Table::lazy("values", Scalar::F32, elements, move |out| {
            let dense = weight.dense();
            let mut line = vec![0.0f32; POSITIONS * channels * height];
            for panel in 0..panels {
                line.fill(0.0);
                for r in (0..height).filter(|r| panel * height + r < m) {
                    for channel in 0..channels {
                        let at = ((panel * height + r) * channels + channel) * 9;
                        let filter = transform_filter(&dense[at..at + 9]);
                        for (position, value) in filter.into_iter().enumerate() {
                            line[(position * channels + channel) * height + r] = value as f32;
                        }
                    }
                }
                out.write_all(bytemuck::cast_slice(&line))?;
            }
            Ok(())
        })
    }
}

/// `G w G'` of a 3x3 filter, row by row.
fn transform_filter(w: &[f32]) -> [f64; POSITIONS] {
    let one = |a: f64, b: f64, c: f64| [a, (a + b + c) / 2.0, (a - b + c) / 2.0, c];
    let at = |row: usize, col: usize| f64::from(w[row * 3 + col]);
    let columns: [[f64; 4]; 3] = std::array::from_fn(|col| one(at(0, col), at(1, col), at(2, col)));
    let mut out = [0.0; POSITIONS];
    for row in 0..4 {
        let line = one(columns[0][row], columns[1][row], columns[2][row]);
        out[row * 4..row * 4 + 4].copy_from_slice(&line);
    }
    out
}
