//! Each warp multiplies for itself: two by rows, two by pixels.

use sparsec_tir::{Access, Expr, Precision, Product, Stmt, TILE_COLUMNS, TILE_ROWS, Tile, load};

use super::cut::Cut;
use super::kernel::{Kernel, Task, int, word};
use super::{STEPS, TEAM_PIXELS, TEAM_ROWS};
use crate::context::Context;
use crate::weight::problem::WeightProblem;
use crate::weight::tensor::by_channel;
use crate::weight::tile::store_pixel;

/// Blocks of 16 rows of a warp.
pub(super) const BLOCKS: usize = 4;
const WARP_ROWS: usize = BLOCKS * TILE_ROWS;
const WARP_PIXELS: usize = TEAM_PIXELS / 2;
/// Products of 8 pixels next to each other.
pub(super) const TILES: usize = WARP_PIXELS / TILE_COLUMNS;
/// Blocks of 16 rows of a team.
const TEAM_BLOCKS: usize = TEAM_ROWS / TILE_ROWS;

/// The distance of packed rows, which keeps lanes of a fragment in different banks.
pub(super) fn pitch(p: &WeightProblem, cut: &Cut, inner: usize) -> usize {
    inner + if cut.precision == Precision::TF32 && by_channel(&p.x) { 4 } else { 8 }
}

/// Elements of a warp's results.
pub(super) fn results(p: &WeightProblem) -> usize {
    let (lines, length) = if by_channel(&p.y) { (TILE_COLUMNS, WARP_ROWS) } else { (TILE_ROWS, WARP_PIXELS) };
    lines * (length + 1)
}

/// Which half of the rows and of the pixels is the warp's.
fn halves(c: &mut Context, task: &Task) -> [Expr; 2] {
    let lower = c.bind_index("lower", task.warp.clone().floor_div(Expr::int(2)));
    [lower, c.bind_index("right", task.warp.clone().rem(Expr::int(2)))]
}

impl Kernel<'_> {
    /// Multiplies the warp's steps of a part.
    pub(super) fn multiply_alone(&self, c: &mut Context, task: &Task, s: &Expr) {
        let place = c.bind_index("place", self.place(s));
        let [lower, right] = halves(c, task);
        let window = c.bind_index("window_place", self.window_place(s));
        let window = c.bind_index("window_pixel", window + right * Expr::int(WARP_PIXELS as i64 * self.strides[1]));
        let block = c.bind_index("first_block", lower * int(BLOCKS));
        match &self.walk {
            Some(walk) => {
                let from = c.bind_index("from", self.first_step(task, s));
                c.unroll("b", BLOCKS as u32, |c, b| {
                    let at = s.clone() * int(TEAM_BLOCKS) + block + b.clone();
                    let begin = c.bind_index("begin", word(walk.starts, at.clone()));
                    let end = c.bind_index("end", word(walk.starts, at + Expr::int(1)));
                    c.serial("e", begin, end, 1, |c, e| {
                        let step = c.bind_index("step", word(walk.steps, e.clone()));
                        let at = c.bind_index("at", place.clone() + e - from);
                        self.products(c, &b, &at, &step, &window);
                    });
                });
            }
            None => c.unroll("step", STEPS as u32, |c, step| {
                c.unroll("b", BLOCKS as u32, |c, b| {
                    let at = place.clone() + (block + b.clone()) * int(STEPS) + step.clone();
                    self.products(c, &b, &at, &step, &window);
                });
            }),
        }
    }

    /// The products of one step, at a place among the copied ones.
    fn products(&self, c: &mut Context, b: &Expr, at: &Expr, step: &Expr, window: &Expr) {
        let (size, storage) = (self.cut.values(), self.cut.precision.storage());
        let block = (8 * 16 / storage.size()) as i64;
        c.unroll("t", TILES as u32, |c, t| {
            let element = |buffer, at: Expr| Access::element(buffer, vec![at]);
            let left = element(self.values.1, at.clone() * int(size));
            let right = window.clone()
                + step.clone() * Expr::int(self.cut.depth as i64 * self.strides[0])
                + t.clone() * Expr::int(TILE_COLUMNS as i64 * self.strides[1]);
            c.push(Stmt::Product(Box::new(Product {
                precision: self.cut.precision,
                group: None,
                sums: (self.sums, vec![b.clone(), t]),
                left: Tile::in_blocks(left, [block, 2 * block].map(Expr::int)),
                right: Tile::new(element(self.window, right), self.strides.map(Expr::int)),
                kept: self.places.map(|(_, shared)| element(shared, at.clone() * int(TILE_ROWS))),
                masked: None,
            })));
        });
    }

    /// Saves the sums piece by piece, applies the epilogue, and stores: blocks of rows, or, where channels are neighbours, 8 pixels of all
    /// the warp's rows.
    pub(super) fn store_alone(&self, c: &mut Context, task: &Task) {
        let width = c.dim(&self.p.y.shape[3]);
        let [lower, right] = halves(c, task);
        let warp_row = task.band.clone() * int(TEAM_ROWS) + lower * int(WARP_ROWS);
        let row = c.bind_index("row", warp_row);
        let pixel = c.bind_index("warp_pixel", task.pixel.clone() + right * int(WARP_PIXELS));
        let m = int(self.p.m);
        let save = |c: &mut Context, at: Expr, strides: [usize; 2], sum: Vec<Expr>| {
            let to = Tile::new(Access::element(self.results, vec![at]), strides.map(int));
            c.push(Stmt::SaveTile(to, self.sums, sum));
        };
        let result = |line: Expr, pitch: usize, at: Expr| load(self.results, vec![line * int(pitch) + at]);
        let place = |row: Expr, pixel: Expr| [task.batch.clone(), row, task.line.clone(), pixel];
        if by_channel(&self.p.y) {
            let pitch = WARP_ROWS + 1;
            c.unroll("t", TILES as u32, |c, t| {
                c.unroll("b", BLOCKS as u32, |c, b| {
                    save(c, b.clone() * int(TILE_ROWS), [1, pitch], vec![b, t.clone()]);
                });
                let first = c.bind_index("first_pixel", pixel.clone() + t * int(TILE_COLUMNS));
                let pixels = (width.clone() - first.clone()).min(int(TILE_COLUMNS));
                c.serial("j", Expr::int(0), pixels, 1, |c, j| {
                    c.unroll("h", (WARP_ROWS / 32) as u32, |c, h| {
                        let from = h * Expr::int(32);
                        let at = row.clone() + from.clone();
                        c.vector(32, Some(m.clone() - at.clone()), |c, l| {
                            let sum = result(j.clone(), pitch, from + l.clone());
                            store_pixel(c, self.p, &self.activations, &place(at + l, first + j), sum);
                        });
                    });
                });
            });
            return;
        }
        let pitch = WARP_PIXELS + 1;
        c.unroll("b", BLOCKS as u32, |c, b| {
            c.unroll("t", TILES as u32, |c, t| {
                save(c, t.clone() * int(TILE_COLUMNS), [pitch, 1], vec![b.clone(), t]);
            });
            let first = c.bind_index("first_row", row.clone() + b * int(TILE_ROWS));
            let rows = (m.clone() - first.clone()).min(int(TILE_ROWS));
            c.serial("r", Expr::int(0), rows, 1, |c, r| {
                c.vector(32, Some(width - pixel.clone()), |c, l| {
                    let sum = result(r.clone(), pitch, l.clone());
                    store_pixel(c, self.p, &self.activations, &place(first + r, pixel + l), sum);
                });
            });
        });
    }
}
