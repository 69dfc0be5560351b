//! The four warps multiply together: steps of 64 rows by all pixels, whose sums each warp has 16 rows of.
//!
//! Both factors lie in blocks of 128 bytes, the weight's as they come from its table. X is packed as it lies in memory: a line, which is a
//! pixel where channels are neighbours and else a channel, is 16 bytes of each of several blocks. 16 bytes lie between columns of blocks, so the
//! pieces of a vector are in different banks.

use sparsec_tir::{Access, BufferKind, Expr, Product, Stmt, TILE_COLUMNS, TILE_ROWS, Tile, load};

use super::kernel::{Kernel, Task, int, word};
use super::{STEPS, TEAM_ROWS, WARPS};
use crate::context::Context;
use crate::weight::problem::WeightProblem;
use crate::weight::tensor::by_channel;
use crate::weight::tile::store_pixel;

/// Elements of a block: 8 lines of 16 bytes.
pub(super) const LINE_BLOCK: usize = 64;
/// Pixels that are saved at a time.
const SAVED_PIXELS: usize = 32;
/// Lanes of a vector of results.
const LANES: usize = 32;

/// Elements between columns of blocks, of so many lines.
pub(super) fn distance(lines: usize) -> usize {
    8 * lines + 8
}

/// Where results lie, and how many: rows of one warp, or, where channels are neighbours, of all, so that a vector is as long as a warp.
pub(super) fn results(p: &WeightProblem) -> (BufferKind, usize) {
    match by_channel(&p.y) {
        true => (BufferKind::Team, SAVED_PIXELS * (WARPS * TILE_ROWS + 1)),
        false => (BufferKind::Scratch, TILE_ROWS * (SAVED_PIXELS + 1)),
    }
}

impl Kernel<'_> {
    /// Begins the products of a part.
    pub(super) fn multiply_together(&self, c: &mut Context, task: &Task, s: &Expr) {
        let place = c.bind_index("place", self.place(s));
        let window = c.bind_index("window_place", self.window_place(s));
        let blocks = self.cut.blocks();
        match &self.walk {
            Some(walk) => {
                let from = c.bind_index("from", self.first_step(task, s));
                c.unroll("b", blocks as u32, |c, b| {
                    let at = s.clone() * int(blocks) + b.clone();
                    let begin = c.bind_index("begin", word(walk.starts, at.clone()));
                    let end = c.bind_index("end", word(walk.starts, at + Expr::int(1)));
                    c.serial("e", begin, end, 1, |c, e| {
                        let step = c.bind_index("step", word(walk.steps, e.clone()));
                        let at = c.bind_index("at", place.clone() + e - from);
                        self.group_product(c, &b, &at, &step, &window);
                    });
                });
            }
            None => c.unroll("step", STEPS as u32, |c, step| {
                c.unroll("b", blocks as u32, |c, b| {
                    let at = place.clone() + b.clone() * int(STEPS) + step.clone();
                    self.group_product(c, &b, &at, &step, &window);
                });
            }),
        }
        c.push(Stmt::CommitProducts);
    }

    /// The product of one step, at a place among the copied ones.
    fn group_product(&self, c: &mut Context, b: &Expr, at: &Expr, step: &Expr, window: &Expr) {
        let element = |buffer, at: Expr| Access::element(buffer, vec![at]);
        let height = self.cut.height;
        let left = element(self.values.1, at.clone() * int(self.cut.values()));
        // A step of columns is whole blocks of X.
        let right = window.clone() + step.clone() * Expr::int(self.cut.depth as i64 / 8 * self.strides[0]);
        let right = element(self.window, right);
        let strides = self.strides.map(Expr::int);
        c.push(Stmt::Product(Box::new(Product {
            precision: self.cut.precision,
            group: Some(self.extents[1] as u32),
            sums: (self.sums, vec![b.clone(), Expr::int(0)]),
            left: Tile::in_blocks(left, [int(LINE_BLOCK), int(8 * height)]),
            right: match by_channel(&self.p.x) {
                true => Tile::in_columns(right, strides),
                false => Tile::in_blocks(right, strides),
            },
            kept: self.places.map(|(_, shared)| element(shared, at.clone() * int(height))),
            masked: None,
        })));
    }

    /// Saves the sums block by block and 32 pixels at a time, applies the epilogue, and stores.
    pub(super) fn store_together(&self, c: &mut Context, task: &Task) {
        let halves = self.cut.pixels / SAVED_PIXELS;
        c.unroll("b", self.cut.blocks() as u32, |c, b| {
            c.unroll("h", halves as u32, |c, h| {
                let band = task.band.clone() * int(TEAM_ROWS);
                let row = c.bind_index("first_row", band + b.clone() * int(self.cut.height));
                let pixel = c.bind_index("first_pixel", task.pixel.clone() + h.clone() * int(SAVED_PIXELS));
                match by_channel(&self.p.y) {
                    true => self.store_channels(c, task, (b, h), (row, pixel)),
                    false => self.store_rows(c, task, (b, h), (row, pixel)),
                }
            });
        });
    }

    /// Saves the sums of 32 pixels, from a place on with these distances of rows and pixels.
    fn save(&self, c: &mut Context, (b, h): (Expr, Expr), at: &Expr, strides: [usize; 2]) {
        let tiles = SAVED_PIXELS / TILE_COLUMNS;
        c.unroll("t", tiles as u32, |c, t| {
            let at = at.clone() + t.clone() * int(TILE_COLUMNS * strides[1]);
            let to = Tile::new(Access::element(self.results, vec![at]), strides.map(int));
            c.push(Stmt::SaveTile(to, self.sums, vec![b, h * int(tiles) + t]));
        });
    }

    /// Each warp stores its own 16 rows.
    fn store_rows(&self, c: &mut Context, task: &Task, block: (Expr, Expr), (row, pixel): (Expr, Expr)) {
        let pitch = SAVED_PIXELS + 1;
        self.save(c, block, &Expr::int(0), [pitch, 1]);
        let row = c.bind_index("warp_row", row + task.warp.clone() * int(TILE_ROWS));
        let rows = (int(self.p.m) - row.clone()).min(int(TILE_ROWS));
        let width = c.dim(&self.p.y.shape[3]);
        c.serial("r", Expr::int(0), rows, 1, |c, r| {
            c.vector(LANES as u16, Some(width - pixel.clone()), |c, l| {
                let sum = load(self.results, vec![r.clone() * int(pitch) + l.clone()]);
                let at = [task.batch.clone(), row + r, task.line.clone(), pixel + l];
                store_pixel(c, self.p, &self.activations, &at, sum);
            });
        });
    }

    /// Each warp stores all 64 rows of a quarter of the pixels.
    fn store_channels(&self, c: &mut Context, task: &Task, block: (Expr, Expr), (row, pixel): (Expr, Expr)) {
        let (rows, quarter) = (WARPS * TILE_ROWS, SAVED_PIXELS / WARPS);
        let pitch = rows + 1;
        let own = task.warp.clone() * int(TILE_ROWS);
        c.push(Stmt::Barrier);
        self.save(c, block, &own, [1, pitch]);
        c.push(Stmt::Barrier);
        let first = c.bind_index("quarter", task.warp.clone() * int(quarter));
        let pixel = c.bind_index("warp_pixel", pixel + first.clone());
        let width = c.dim(&self.p.y.shape[3]);
        let pixels = (width - pixel.clone()).min(int(quarter));
        c.serial("j", Expr::int(0), pixels, 1, |c, j| {
            c.unroll("v", (rows / LANES) as u32, |c, v| {
                let from = v * int(LANES);
                let at = row.clone() + from.clone();
                c.vector(LANES as u16, Some(int(self.p.m) - at.clone()), |c, l| {
                    let line = (first.clone() + j.clone()) * int(pitch);
                    let sum = load(self.results, vec![line + from + l.clone()]);
                    let at = [task.batch.clone(), at + l, task.line.clone(), pixel + j];
                    store_pixel(c, self.p, &self.activations, &at, sum);
                });
            });
        });
    }
}
