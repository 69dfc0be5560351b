//! Convolutions of high windows by minimal filtering along the rows of the image, F(4, r): 4 + r - 1 multiplications for
//! 4 rows of the output in place of 4 r (Toom and Cook's algorithm; Winograd, "Arithmetic Complexity of Computations", 1980).
//!
//! A stride is resolved first: input rows of equal number modulo the stride are a *phase*, in which the filter rows of that
//! phase have stride 1. A 7x7 window of stride 2 has two phases, of 4 and of 3 filter rows, so 4 rows of the output take 7 + 6
//! products of rows instead of 28. Along the columns nothing is transformed: vectors of pixels are multiplied as in the
//! direct kernel, each column of the filter at its own place in the packed row.
//!
//! ```text
//! parallel strip of 4 rows of the output:
//!   for channel, phase:     inputs[position, phase, channel] = B' d       d: the rows of the phase, split by column phase
//!   for panel of R outputs:
//!     for block of T vectors:
//!       for position:       sums[position, r, t] = sum over (phase, channel, kw) of u * inputs
//!       for r, t:           y[r, 4 rows] = f(A' sums)
//! ```
//!
//! The matrices follow from the points 0, 1, -1, 2, -2, 1/2, -1/2 and infinity, as many as there are positions. A phase that
//! has a filter row less is one whose last coefficient is zero: its product at infinity is none, so it is left out. Sums are rounded
//! before they are multiplied, which costs about two bits; where an input is infinite, the strip's pixels are not numbers.

use sparsec_graph::Dim;
use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::schedule::Schedule;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::WeightProblem;
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Activations, LINE, declare_activations, prefetch_pixel, store_pixel};

/// Rows of the output that are computed together.
const STRIP: usize = 4;
/// Where polynomials are evaluated, beside infinity; those of equal magnitude lie side by side.
const POINTS: [f64; 7] = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5];
/// Windows with fewer rows are left to other kernels.
const FEWEST_ROWS: usize = 5;
/// Fewer outputs than these don't repay the transformations.
const FEWEST_OUTPUTS: usize = 16;
/// Transformed inputs of a strip and the weight, each, in first-level caches: what the second level holds.
const LARGEST: usize = 16;

/// The kernel and its table; `None` for a problem that it doesn't cover, or where it is expected to be no faster.
pub(super) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Option<Multiplication> {
    let plan = Plan::of(p, target)?;
    // Integers may have been quantised, and their products proved exact, which those of transformed ones aren't.
    if weight.stored().iter().all(|v| v.fract() == 0.0) {
        return None;
    }
    let schedule = Schedule::Filtering { height: plan.height, vectors: plan.most, tail: 0 };
    Some(plan.build(weight).with_schedules(schedule, []))
}

struct Plan<'a> {
    problem: &'a WeightProblem,
    lanes: usize,
    /// Outputs of a panel, and the most vectors of a block.
    height: usize,
    most: usize,
    /// Rows and columns of the input and of the output.
    image: [usize; 2],
    output: [usize; 2],
    /// Phases of rows, and how many of them have as many filter rows as the first one.
    phases: usize,
    full: usize,
    /// Filter rows of the first phase.
    taps: usize,
    /// Phases of columns that some kernel element reads.
    columns: Vec<usize>,
    /// Elements of a packed row.
    pitch: usize,
}

struct Buffers {
    activations: Activations,
    /// The rows of one channel that a strip reads, padded: phase, column phase, row.
    rows: BufferId,
    /// Transformed inputs: position, phase, channel, column phase.
    inputs: BufferId,
    /// Sums of a panel and block: position, output, vector.
    sums: BufferId,
    values: BufferId,
}

fn int(n: usize) -> Expr {
    Expr::int(n as i64)
}

impl<'a> Plan<'a> {
    fn of(p: &'a WeightProblem, target: &TargetInfo) -> Option<Self> {
        let known = |d: &Dim| d.as_const().filter(|&n| n > 0).map(|n| n as usize);
        let image = [known(&p.x.shape[2])?, known(&p.x.shape[3])?];
        let output = [known(&p.y.shape[2])?, known(&p.y.shape[3])?];
        if p.rows.kernel < FEWEST_ROWS || p.rows.dilation != 1 || p.m < FEWEST_OUTPUTS {
            return None;
        }
        let lanes = usize::from(target.lanes);
        let (height, most) = if target.registers >= 32 { (8, 3) } else { (6, 2) };
        let phases = p.rows.stride.min(p.rows.kernel);
        let taps = p.rows.kernel.div_ceil(p.rows.stride);
        let full = p.rows.kernel - (taps - 1) * p.rows.stride;
        let mut columns: Vec<usize> = (0..p.cols.kernel).map(|kw| p.cols.phase(kw).0).collect();
        columns.sort_unstable();
        columns.dedup();
        let width = output[1].next_multiple_of(lanes);
        let pitch = (width + p.cols.reach()).next_multiple_of(lanes);
        let plan = Plan { problem: p, lanes, height, most, image, output, phases, full, taps, columns, pitch };
        if !(3..=5).contains(&taps) {
            return None;
        }
        let products = plan.steps() * width * plan.strips() * STRIP;
        let direct = STRIP * p.rows.kernel * p.channels * output[1] * output[0];
        let budget = LARGEST * target.l1_bytes as usize / 4;
        let inputs = plan.positions() * plan.step_rows() * plan.row_group();
        let fits = inputs <= budget && plan.steps() * p.cols.kernel * p.m <= budget;
        (products * 10 <= direct * 8 && fits).then_some(plan)
    }

    /// Positions in transformed coordinates, infinity included.
    fn positions(&self) -> usize {
        STRIP + self.taps - 1
    }

    /// Strips of an image.
    fn strips(&self) -> usize {
        self.output[0].div_ceil(STRIP)
    }

    /// Pairs of phase and channel, as all positions but the last have them.
    fn step_rows(&self) -> usize {
        self.phases * self.problem.channels
    }

    /// Pairs of phase and channel of all positions.
    fn steps(&self) -> usize {
        (self.positions() - 1) * self.step_rows() + self.full * self.problem.channels
    }

    /// Elements of `inputs` for a position, phase and channel.
    fn row_group(&self) -> usize {
        self.columns.len() * self.pitch
    }

    /// Vectors of a row of the output.
    fn vectors(&self) -> usize {
        self.output[1].div_ceil(self.lanes)
    }

    fn build(&self, weight: &WeightMatrix) -> Multiplication {
        let p = self.problem;
        let mut c = Context::new("toom_cook");
        let (height, lanes) = (self.height, self.lanes);
        c.describe(format!(
            "strips of {STRIP} rows, panels of {height} rows, blocks of {} vectors of {lanes}",
            self.most
        ));
        let activations = declare_activations(&mut c, p);
        let scratch = |c: &mut Context, name: &str, size: usize| {
            c.buffer(name, Scalar::F32, BufferKind::Scratch, vec![int(size)], vec![])
        };
        let rows = scratch(&mut c, "rows", self.phases * self.row_group() * self.positions());
        let inputs = scratch(&mut c, "inputs", self.positions() * self.step_rows() * self.row_group());
        let sums = scratch(&mut c, "sums", self.positions() * height * self.most * lanes);
        let tables = vec![self.table(weight)];
        let values = declare_tables(&mut c, &tables)[0];
        let b = Buffers { activations, rows, inputs, sums, values };
        let strips = self.strips();
        let tasks = c.dim(&(p.y.shape[0].clone() * Dim::constant(strips as i64)));
        let single = p.y.shape[0].is(1);
        c.parallel("task", tasks, |c, task| {
            let (batch, strip) = if single {
                (Expr::int(0), task)
            } else {
                let batch = c.bind_index("batch", task.clone().floor_div(int(strips)));
                (batch, c.bind_index("strip", task.rem(int(strips))))
            };
            let top = c.bind_index("top", strip * int(STRIP));
            self.transform_inputs(c, &b, &batch, &top);
            c.serial("panel", Expr::int(0), int(p.m.div_ceil(height)), 1, |c, panel| {
                for (from, to, vectors) in self.blocks() {
                    c.serial("first", int(from), int(to), vectors as i64, |c, first| {
                        self.block(c, &b, (&panel, &first, vectors), (&batch, &top));
                    });
                }
            });
        });
        Multiplication::new(c.finish(), tables)
    }

    /// The vectors of a row in blocks of nearly equal size: first vector, end, vectors of a block.
    fn blocks(&self) -> Vec<(usize, usize, usize)> {
        let (all, count) = (self.vectors(), self.vectors().div_ceil(self.most));
        let (less, larger) = (all / count, all % count);
        let split = larger * (less + 1);
        let kinds = [(0, split, less + 1), (split, all, less)];
        kinds.into_iter().filter(|(from, to, _)| from < to).collect()
    }

    /// Makes `inputs` from the image, channel by channel.
    fn transform_inputs(&self, c: &mut Context, b: &Buffers, batch: &Expr, top: &Expr) {
        let p = self.problem;
        let (lanes, pitch, positions) = (self.lanes, self.pitch, self.positions());
        let (sh, sw) = (p.rows.stride as i64, p.cols.stride as i64);
        let plane = positions * pitch;
        // What lies outside the image is zero in all channels, and only what lies inside is copied.
        let size = self.phases * self.columns.len() * plane;
        c.serial("z", Expr::int(0), int(size), lanes as i64, |c, z| {
            c.vector(lanes as u16, None, |c, l| c.store(b.rows, vec![z + l], Expr::f32(0.0)));
        });
        let ceil = |n: i64, by: i64| n.div_euclid(by) + i64::from(n.rem_euclid(by) > 0);
        c.serial("ch", Expr::int(0), int(p.channels), 1, |c, ch| {
            for phase in 0..self.phases {
                let taken = if phase < self.full { positions } else { positions - 1 };
                // Row k of the phase is row `(top + k) * sh + above` of the image.
                let above = phase as i64 - p.rows.pad;
                let begin = Expr::int(ceil(-above, sh)) - top.clone();
                let begin = c.bind_index("begin", begin.max(Expr::int(0)));
                let end = Expr::int(ceil(self.image[0] as i64 - above, sh)) - top.clone();
                let end = c.bind_index("end", end.min(int(taken)));
                c.serial("k", begin, end, 1, |c, k| {
                    let row = (top.clone() + k.clone()) * Expr::int(sh) + Expr::int(above);
                    let row = c.bind_index("image_row", row);
                    for (i, &column) in self.columns.iter().enumerate() {
                        // Column j of the column phase is column `j * sw + left` of the image.
                        let left = column as i64 - p.cols.pad;
                        let lo = ceil(-left, sw).max(0);
                        let hi = ceil(self.image[1] as i64 - left, sw).min(pitch as i64);
                        let line = k.clone() * int(pitch) + int((phase * self.columns.len() + i) * plane);
                        let line = c.bind_index("line", line);
                        c.serial("j", Expr::int(lo), Expr::int(hi), lanes as i64, |c, j| {
                            c.vector(lanes as u16, Some(Expr::int(hi) - j.clone()), |c, l| {
                                let col = (j.clone() + l.clone()) * Expr::int(sw) + Expr::int(left);
                                let pixel = load(b.activations.x, vec![batch.clone(), ch.clone(), row.clone(), col]);
                                c.store(b.rows, vec![line + j + l], pixel);
                            });
                        });
                    }
                });
                for i in 0..self.columns.len() {
                    let from = (phase * self.columns.len() + i) * plane;
                    let into = (ch.clone() + int(phase * p.channels)) * int(self.row_group()) + int(i * pitch);
                    let into = c.bind_index("into", into);
                    c.serial("j", Expr::int(0), int(pitch), lanes as i64, |c, j| {
                        c.vector(lanes as u16, None, |c, l| {
                            let lane = j + l;
                            let f32 = Type::scalar(Scalar::F32);
                            let d: Vec<Expr> = (0..taken)
                                .map(|k| c.bind("d", f32, load(b.rows, vec![int(from + k * pitch) + lane.clone()])))
                                .collect();
                            for position in 0..taken {
                                let sum = weighted(&input_row(positions, position), &d);
                                let place = int(position * self.step_rows() * self.row_group()) + into.clone();
                                c.store(b.inputs, vec![place + lane.clone()], sum);
                            }
                        });
                    });
                }
            }
        });
    }

    /// Computes `vectors` vectors from vector `first` on of the rows of a strip, for the outputs of a panel.
    fn block(
        &self,
        c: &mut Context,
        b: &Buffers,
        (panel, first, vectors): (&Expr, &Expr, usize),
        (batch, top): (&Expr, &Expr),
    ) {
        let p = self.problem;
        let (height, lanes, positions) = (self.height, self.lanes, self.positions());
        let ty = Type::vector(Scalar::F32, lanes as u16);
        let acc = c.register("acc", ty, vec![height as u32, vectors as u32]);
        let x = c.register("x_now", ty, vec![vectors as u32]);
        let col = c.bind_index("col", first.clone() * int(lanes));
        let m_of = |c: &mut Context, r: Expr| c.bind_index("m", panel.clone() * int(height) + r);
        c.unroll("r", height as u32, |c, r| {
            let m = m_of(c, r);
            for row in 0..STRIP {
                for line in (0..vectors * lanes).step_by(LINE as usize) {
                    let at = [batch.clone(), m.clone(), top.clone() + int(row), col.clone() + int(line)];
                    prefetch_pixel(c, p, &b.activations, &at);
                }
            }
        });
        let of_position = self.step_rows() * p.cols.kernel * height;
        let weights = c.bind_index("weights", panel.clone() * int(self.steps() * p.cols.kernel * height));
        c.serial("position", Expr::int(0), int(positions), 1, |c, position| {
            c.unroll("r", height as u32, |c, r| {
                c.unroll("t", vectors as u32, |c, t| {
                    c.vector(lanes as u16, None, |c, _| c.set(acc, vec![r, t], Expr::f32(0.0)));
                });
            });
            let left = int(self.steps()) - position.clone() * int(self.step_rows());
            let count = c.bind_index("count", left.min(int(self.step_rows())));
            let inputs = position.clone() * int(self.step_rows() * self.row_group()) + col.clone();
            let inputs = c.bind_index("inputs_of", inputs);
            let weights = c.bind_index("weights_of", weights + position.clone() * int(of_position));
            c.serial("e", Expr::int(0), count, 1, |c, e| {
                let row = c.bind_index("row", inputs + e.clone() * int(self.row_group()));
                let weight = c.bind_index("weight", weights + e * int(p.cols.kernel * height));
                for kw in 0..p.cols.kernel {
                    let (phase, shift) = p.cols.phase(kw);
                    let plane = self.columns.iter().position(|&c| c == phase).unwrap_or(0);
                    c.unroll("t", vectors as u32, |c, t| {
                        c.vector(lanes as u16, None, |c, l| {
                            let lane = row.clone() + int(plane * self.pitch + shift) + t.clone() * int(lanes) + l;
                            c.set(x, vec![t], load(b.inputs, vec![lane]));
                        });
                    });
                    c.unroll("r", height as u32, |c, r| {
                        let at = weight.clone() + int(kw * height) + r.clone();
                        let value = c.bind("value", Type::scalar(Scalar::F32), load(b.values, vec![at]));
                        c.unroll("t", vectors as u32, |c, t| {
                            c.vector(lanes as u16, None, |c, _| {
                                let at = vec![r.clone(), t.clone()];
                                let sum = Expr::fma(value, Expr::Reg(x, vec![t]), Expr::Reg(acc, at.clone()));
                                c.set(acc, at, sum);
                            });
                        });
                    });
                }
            });
            let base = c.bind_index("sums_of", position * int(height * vectors * lanes));
            c.unroll("r", height as u32, |c, r| {
                c.unroll("t", vectors as u32, |c, t| {
                    c.vector(lanes as u16, None, |c, l| {
                        let place = base + (r.clone() * int(vectors) + t.clone()) * int(lanes) + l;
                        c.store(b.sums, vec![place], Expr::Reg(acc, vec![r, t]));
                    });
                });
            });
        });
        c.serial("r", Expr::int(0), int(height), 1, |c, r| {
            let m = m_of(c, r.clone());
            let finish = |c: &mut Context| self.finish(c, b, vectors, (batch, &m, top, &col), &r);
            if p.m.is_multiple_of(height) {
                finish(c);
            } else {
                c.branch(Expr::compare(CompareOp::Lt, m.clone(), int(p.m)), finish, |_| {});
            }
        });
    }

    /// Makes the pixels of output `r` of a panel from its sums and stores them.
    fn finish(
        &self,
        c: &mut Context,
        b: &Buffers,
        vectors: usize,
        (batch, m, top, col): (&Expr, &Expr, &Expr, &Expr),
        r: &Expr,
    ) {
        let (lanes, positions) = (self.lanes, self.positions());
        let ty = Type::vector(Scalar::F32, lanes as u16);
        let pixels = c.register("pixels", ty, vec![STRIP as u32, vectors as u32]);
        let line = c.bind_index("line_of_sums", r.clone() * int(vectors * lanes));
        for t in 0..vectors {
            c.vector(lanes as u16, None, |c, l| {
                let f32 = Type::scalar(Scalar::F32);
                let s: Vec<Expr> = (0..positions)
                    .map(|position| {
                        let place = line.clone() + int((position * self.height * vectors + t) * lanes) + l.clone();
                        c.bind("s", f32, load(b.sums, vec![place]))
                    })
                    .collect();
                // Of two points of equal magnitude, even powers have the sum and odd ones the difference.
                let pairs: Vec<(f64, Expr, Expr)> = (1..positions - 1)
                    .step_by(2)
                    .map(|i| match i + 1 < positions - 1 {
                        true => {
                            let even = c.bind("even", f32, s[i].clone() + s[i + 1].clone());
                            (POINTS[i], even, c.bind("odd", f32, s[i].clone() - s[i + 1].clone()))
                        }
                        false => (POINTS[i], s[i].clone(), s[i].clone()),
                    })
                    .collect();
                for row in 0..STRIP {
                    let (mut factors, mut terms) = (vec![], vec![]);
                    let ends = [(0, 0), (STRIP - 1, positions - 1)];
                    for (_, i) in ends.into_iter().filter(|(only, _)| *only == row) {
                        factors.push(1.0);
                        terms.push(s[i].clone());
                    }
                    for (point, even, odd) in &pairs {
                        factors.push(point.powi(row as i32));
                        terms.push(if row % 2 == 0 { even.clone() } else { odd.clone() });
                    }
                    c.set(pixels, vec![int(row), int(t)], weighted(&factors, &terms));
                }
            });
        }
        let width = self.output[1];
        for row in 0..STRIP {
            let y_row = c.bind_index("y_row", top.clone() + int(row));
            let store = |c: &mut Context| {
                for t in 0..vectors {
                    let from = col.clone() + int(t * lanes);
                    let active = (!width.is_multiple_of(lanes)).then(|| int(width) - from.clone());
                    c.vector(lanes as u16, active, |c, l| {
                        let at = [batch.clone(), m.clone(), y_row.clone(), from.clone() + l];
                        let pixel = Expr::Reg(pixels, vec![int(row), int(t)]);
                        store_pixel(c, self.problem, &b.activations, &at, pixel);
                    });
                }
            };
            if row == 0 || self.output[0].is_multiple_of(STRIP) {
                store(c);
            } else {
                c.branch(Expr::compare(CompareOp::Lt, y_row.clone(), int(self.output[0])), store, |_| {});
            }
        }
    }

    /// The transformed weight: R values for each step; order: panel, position, phase, channel, column of the filter.
    fn table(&self, weight: &WeightMatrix) -> Table {
        let p = self.problem;
        let (m, height, channels, positions) = (p.m, self.height, p.channels, self.positions());
        let (kh, kw, stride) = (p.rows.kernel, p.cols.kernel, p.rows.stride);
        let (phases, full, taps) = (self.phases, self.full, self.taps);
        let panels = m.div_ceil(height);
        let elements = (panels * self.steps() * kw * height) as u64;
        let weight = weight.clone();
        Table::lazy("values", Scalar::F32, elements, move |out| {
            let dense = weight.dense();
            let mut line: Vec<f32> = Vec::new();
            for panel in 0..panels {
                line.clear();
                for position in 0..positions {
                    let factors = filter_row(positions, taps, position);
                    let phases = if position + 1 < positions { phases } else { full };
                    for (phase, channel) in (0..phases).flat_map(|p| (0..channels).map(move |c| (p, c))) {
                        for (column, row) in (0..kw).flat_map(|k| (0..height).map(move |r| (k, panel * height + r))) {
                            let rows = (phase..kh).step_by(stride).zip(&factors).filter(|_| row < m);
                            let at = |k: usize| f64::from(dense[((row * channels + channel) * kh + k) * kw + column]);
                            line.push(rows.map(|(k, f)| f * at(k)).sum::<f64>() as f32);
                        }
                    }
                }
                out.write_all(bytemuck::cast_slice(&line))?;
            }
            Ok(())
        })
    }
}

/// The sum of `terms` times `factors`, those that are zero left out.
fn weighted(factors: &[f64], terms: &[Expr]) -> Expr {
    let mut sum: Option<Expr> = None;
    for (&factor, term) in factors.iter().zip(terms).filter(|(f, _)| **f != 0.0) {
        sum = Some(match sum {
            None if factor == 1.0 => term.clone(),
            None => Expr::f32(factor) * term.clone(),
            Some(sum) if factor == 1.0 => sum + term.clone(),
            Some(sum) => Expr::fma(Expr::f32(factor), term.clone(), sum),
        });
    }
    sum.unwrap_or_else(|| Expr::f32(0.0))
}

/// A row of `B'`: the coefficients of the polynomial that is zero at all points but that of the position.
fn input_row(positions: usize, position: usize) -> Vec<f64> {
    let mut product = vec![1.0];
    for (_, point) in POINTS[..positions - 1].iter().enumerate().filter(|(i, _)| *i != position) {
        let mut next = vec![0.0; product.len() + 1];
        for (i, v) in product.iter().enumerate() {
            next[i + 1] += v;
            next[i] -= v * point;
        }
        product = next;
    }
    product
}

/// A row of `G`: what a filter of `taps` elements is multiplied by at a position.
fn filter_row(positions: usize, taps: usize, position: usize) -> Vec<f64> {
    let points = &POINTS[..positions - 1];
    let Some(point) = points.get(position) else {
        return (0..taps).map(|k| if k + 1 == taps { 1.0 } else { 0.0 }).collect();
    };
    let others = points.iter().enumerate().filter(|(i, _)| *i != position);
    let scale: f64 = others.map(|(_, other)| point - other).product();
    (0..taps).map(|k| point.powi(k as i32) / scale).collect()
}

#[cfg(test)]
mod tests {
    use super::{POINTS, STRIP, filter_row, input_row};

    #[test]
    fn products_at_points_are_a_filter() {
        for taps in 3..=5 {
            let positions = STRIP + taps - 1;
            let d: Vec<f64> = (0..positions).map(|i| ((i * 7 + 3) % 11) as f64 - 4.0).collect();
            let w: Vec<f64> = (0..taps).map(|i| ((i * 5 + 1) % 7) as f64 - 2.0).collect();
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
            let products: Vec<f64> = (0..positions)
                .map(|p| dot(&input_row(positions, p), &d) * dot(&filter_row(positions, taps, p), &w))
                .collect();
            for row in 0..STRIP {
                let finite: f64 = (0..positions - 1).map(|p| POINTS[p].powi(row as i32) * products[p]).sum();
                let y = if row + 1 == STRIP { finite + products[positions - 1] } else { finite };
                assert!((y - dot(&d[row..], &w)).abs() < 1e-9, "{taps} taps, row {row}");
            }
        }
    }
}
