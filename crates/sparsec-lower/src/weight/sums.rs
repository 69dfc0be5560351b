//! The sums of a tile while they are in registers: `height` output rows x the tile's vectors.
//!
//! Every multiplying kernel begins a group of rows, adds products to their sums, and ends the group. Where K is cut
//! into partitions, sums rest in the `partial` buffer from one partition to the next.

use sparsec_tir::{Access, CompareOp, Expr, RegisterId, Scalar, Stmt, Type, load};

use crate::context::Context;
use crate::weight::geometry::Geometry;
use crate::weight::problem::WeightProblem;
use crate::weight::tile::{Buffers, LINE, Tile, finish_row, prefetch_pixel, whole_rows};

/// Registers for sums, and how they begin and end.
pub(crate) struct Sums<'a> {
    problem: &'a WeightProblem,
    geometry: &'a Geometry,
    acc: RegisterId,
    row_of: RegisterId,
    height: u32,
    parts: i64,
    dummies: bool,
}

impl<'a> Sums<'a> {
    /// Registers for `height` rows. `dummies`: whether rows of number `m` occur, which are computed and not stored.
    pub(crate) fn declare(
        c: &mut Context,
        (problem, geometry): (&'a WeightProblem, &'a Geometry),
        height: usize,
        dummies: bool,
    ) -> Self {
        let ty = Type::vector(Scalar::F32, geometry.lanes as u16);
        let acc = c.register("acc", ty, vec![height as u32, geometry.vectors as u32]);
        let row_of = c.register("row_of", Type::INDEX, vec![height as u32]);
        let parts = geometry.parts(problem) as i64;
        Sums { problem, geometry, acc, row_of, height: height as u32, parts, dummies }
    }

    /// How many rows of partial sums the kernel needs.
    pub(crate) fn partial_rows(problem: &WeightProblem, geometry: &Geometry, height: usize) -> usize {
        if geometry.parts(problem) > 1 { problem.m + 1 } else { height }
    }

    fn lanes(&self) -> u16 {
        self.geometry.lanes as u16
    }

    fn lane(&self, t: &Expr, l: Expr) -> Expr {
        t.clone() * Expr::int(self.geometry.lanes as i64) + l
    }

    fn row(&self, r: &Expr) -> Expr {
        Expr::Reg(self.row_of, vec![r.clone()])
    }

    fn sum(&self, r: &Expr, t: &Expr) -> Expr {
        Expr::Reg(self.acc, vec![r.clone(), t.clone()])
    }

    /// Runs `f` for each row and vector, in a vector loop.
    fn each(&self, c: &mut Context, f: &dyn Fn(&mut Context, Expr, Expr, Expr)) {
        c.unroll("r", self.height, |c, r| {
            c.unroll("t", self.geometry.vectors as u32, |c, t| {
                c.vector(self.lanes(), None, |c, l| f(c, r, t, l));
            });
        });
    }

    /// Begins the sums of the rows whose numbers `row` gives: at zero in the first partition, else where they rest.
    pub(crate) fn begin(&self, c: &mut Context, b: &Buffers, part: &Expr, row: &dyn Fn(&Expr) -> Expr) {
        c.unroll("r", self.height, |c, r| c.set(self.row_of, vec![r.clone()], row(&r)));
        let zero = |c: &mut Context| self.each(c, &|c, r, t, _| c.set(self.acc, vec![r, t], Expr::f32(0.0)));
        let resume = |c: &mut Context| {
            self.each(c, &|c, r, t, l| {
                let rested = load(b.partial, vec![self.row(&r), self.lane(&t, l)]);
                c.set(self.acc, vec![r, t], rested);
            });
        };
        if self.parts > 1 {
            c.branch(Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0)), zero, resume);
        } else {
            zero(c);
        }
    }

    /// Asks for what ending the group will read and write: the rows of the result and of the epilogue's operands lie a
    /// plane apart, and in an order that no hardware prefetcher follows.
    pub(crate) fn prefetch_end(&self, c: &mut Context, b: &Buffers, part: &Expr, tile: &Tile) {
        let g = self.geometry;
        // Rows of a tile, and pixels of each that lie one behind the other in memory.
        let (rows, pixels) = match whole_rows(self.problem, g) {
            Some(_) => (1, self.problem.y.shape[3].as_const().unwrap_or(0) as usize * g.tile_rows),
            None if g.is_flat() => (1, g.tile_cols),
            // They begin anywhere in a cache line.
            None if g.line_vectors().is_some() => (g.tile_rows, g.tile_cols + LINE as usize),
            None => return,
        };
        let ask = |c: &mut Context| {
            c.unroll("r", self.height, |c, r| {
                for row in 0..rows as i64 {
                    c.unroll("line", pixels.div_ceil(LINE as usize) as u32, |c, line| {
                        let (row, col) = (tile.row.clone() + Expr::int(row), tile.col.clone() + line * Expr::int(LINE));
                        prefetch_pixel(c, self.problem, &b.activations, &[tile.batch.clone(), self.row(&r), row, col]);
                    });
                }
            });
        };
        if self.parts > 1 {
            let last = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(self.parts - 1));
            c.branch(last, ask, |_| {});
        } else {
            ask(c);
        }
    }

    /// Asks for the partial sums of the group that comes next.
    pub(crate) fn prefetch_next(&self, c: &mut Context, b: &Buffers, next_row: &dyn Fn(&Expr) -> Expr) {
        if self.parts == 1 {
            return;
        }
        c.unroll("r", self.height, |c, r| {
            let row = c.bind_index("next_row", next_row(&r));
            c.unroll("line", self.cache_lines(), |c, line| {
                c.push(Stmt::Prefetch(Access::element(b.partial, vec![row, line * Expr::int(LINE)])));
            });
        });
    }

    /// Cache lines of a tile's row.
    fn cache_lines(&self) -> u32 {
        self.geometry.tile_lanes().div_ceil(LINE as usize) as u32
    }

    /// Adds `value * window[offset + lane]` to row `r`.
    pub(crate) fn add(&self, c: &mut Context, b: &Buffers, r: &Expr, value: &Expr, offset: &Expr) {
        c.unroll("t", self.geometry.vectors as u32, |c, t| {
            c.vector(self.lanes(), None, |c, l| {
                let x = load(b.window, vec![offset.clone() + (self.geometry.vector_offset(&t) + l)]);
                c.set(self.acc, vec![r.clone(), t.clone()], Expr::fma(value.clone(), x, self.sum(r, &t)));
            });
        });
    }

    /// Adds the products of a column that both rows of a pair have: `window[offset + lane]` is loaded once, into `x`.
    pub(crate) fn add_shared(
        &self,
        c: &mut Context,
        b: &Buffers,
        pair: i64,
        values: &[Expr],
        offset: &Expr,
        x: RegisterId,
    ) {
        c.unroll("t", self.geometry.vectors as u32, |c, t| {
            c.vector(self.lanes(), None, |c, l| {
                c.set(x, vec![], load(b.window, vec![offset.clone() + (self.geometry.vector_offset(&t) + l)]));
                for (r, value) in (2 * pair..).zip(values) {
                    let at = vec![Expr::int(r), t.clone()];
                    c.set(self.acc, at, Expr::fma(value.clone(), Expr::Reg(x, vec![]), self.sum(&Expr::int(r), &t)));
                }
            });
        });
    }

    /// Adds `value * x[t]` to row `r`, `x` being registers.
    pub(crate) fn add_registers(&self, c: &mut Context, r: &Expr, value: &Expr, x: RegisterId) {
        c.unroll("t", self.geometry.vectors as u32, |c, t| {
            c.vector(self.lanes(), None, |c, _| {
                let x = Expr::Reg(x, vec![t.clone()]);
                c.set(self.acc, vec![r.clone(), t.clone()], Expr::fma(value.clone(), x, self.sum(r, &t)));
            });
        });
    }

    /// Ends a group of rows: results are finished in the last partition, and rest in the others.
    pub(crate) fn end(&self, c: &mut Context, b: &Buffers, part: &Expr, tile: &Tile) {
        if self.parts > 1 {
            let last = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(self.parts - 1));
            c.branch(last, |c| self.finish(c, b, tile), |c| self.rest(c, b));
        } else {
            self.finish(c, b, tile);
        }
    }

    /// Where the partial sums of a row lie: by number, or by place in the group where nothing outlives the group.
    fn line(&self, r: &Expr) -> Expr {
        if self.parts > 1 { self.row(r) } else { r.clone() }
    }

    fn rest(&self, c: &mut Context, b: &Buffers) {
        self.each(c, &|c, r, t, l| c.store(b.partial, vec![self.line(&r), self.lane(&t, l)], self.sum(&r, &t)));
    }

    fn finish(&self, c: &mut Context, b: &Buffers, tile: &Tile) {
        let flat = self.geometry.is_flat();
        if !flat {
            self.rest(c, b);
        }
        c.unroll("r", self.height, |c, r| {
            let one = |c: &mut Context| {
                finish_row(c, (self.problem, self.geometry, b), tile, &self.row(&r), &|t, l| match flat {
                    true => self.sum(&r, &t),
                    false => load(b.partial, vec![self.line(&r), l]),
                });
            };
            if self.dummies {
                let real = Expr::compare(CompareOp::Lt, self.row(&r), Expr::int(self.problem.m as i64));
                c.branch(real, one, |_| {});
            } else {
                one(c);
            }
        });
    }
}
