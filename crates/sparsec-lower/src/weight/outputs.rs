//! All elements of a weight with few tokens: lanes along the outputs, an input broadcast to each.
//!
//! A batch that is open is usually one or a few, and so is what a step of a recurrent network multiplies. Lanes along the tokens would
//! be idle then. Each element of the weight is read once for up to R tokens, and X is read where it lies:
//!
//! ```text
//! parallel tile of tokens, share of the panels:
//!   for panel of T vectors of outputs:
//!     for R tokens, then for what is left of them by smaller R:
//!       for input k:
//!         unroll r: x = X[token r, k];  unroll t: acc[r, t] += x * value(panel, k, t)
//!       finish all R x T vectors
//! ```
//!
//! | table | type | layout |
//! |---|---|---|
//! | `values` | f32 | T x L outputs for each input; order: panel, input |

use sparsec_graph::{Dim, ScalarExpr, UnaryOp};
use sparsec_tir::{BufferId, BufferKind, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::target::TargetInfo;
use crate::weight::Multiplication;
use crate::weight::matrix::WeightMatrix;
use crate::weight::problem::{View, WeightProblem, Window};
use crate::weight::tables::{Table, declare_tables};
use crate::weight::tile::{Activations, declare_activations, store_pixel};

/// Tokens of a tile, whose X stays in the second-level cache.
const TILE: i64 = 48;
/// Tasks that a product is cut into where it has that many panels.
const TASKS: i64 = 8;
/// Bytes of weights below which a share is not worth a task.
const SHARE_BYTES: i64 = 1 << 16;
/// The most tokens that count as few.
const FEW: i64 = 8;
/// Fewest vectors of outputs for which a single token has sums enough in flight.
const SINGLE_VECTORS: usize = 4;
/// Inputs that one turn of the loop takes where few sums are in flight.
const TURNS: u32 = 4;

/// How a product is cut.
struct Cut {
    lanes: usize,
    /// Vectors of outputs in registers.
    vectors: usize,
    /// Tokens in registers, for as long as that many are left, from the most to one.
    heights: Vec<u32>,
    tile: i64,
    panels: usize,
    shares: i64,
}

impl Cut {
    fn of(p: &WeightProblem, target: &TargetInfo) -> Cut {
        let lanes = usize::from(target.lanes);
        // Sums that hide the latency of a multiply-add, and leave registers for weights and an input.
        let (sums, widest) = if target.registers >= 32 { (24, 6) } else { (12, 4) };
        let all = p.m.div_ceil(lanes);
        let tokens = p.y.shape[3].as_const();
        // Least padding, then as near as possible to square tiles.
        let fewest = if all < 2 { 1 } else { 2.max(widest / 2) };
        let vectors =
            (fewest..=widest).min_by_key(|&t| (all.div_ceil(t) * t, (t as i64 - 4).abs())).unwrap_or(1).min(all);
        let most = (sums / vectors).clamp(1, 6) as u32;
        let most = tokens.map_or(most, |n| most.min(n.max(1) as u32));
        let mut heights: Vec<u32> = [most, 2, 1].into_iter().filter(|&h| h <= most).collect();
        heights.dedup();
        if tokens.is_some_and(|n| n % i64::from(most) == 0) {
            heights.truncate(1);
        }
        let panels = all.div_ceil(vectors);
        let images = [0, 2].iter().map(|&i| p.y.shape[i].as_const().unwrap_or(1)).product::<i64>();
        let tiles = tokens.map_or(1, |n| (n + TILE - 1) / TILE).max(1);
        let worth = (p.m * p.k() * 4) as i64 / SHARE_BYTES;
        let shares = (TASKS / (tiles * images).max(1)).min(worth).clamp(1, panels as i64);
        Cut { lanes, vectors, heights, tile: TILE, panels, shares }
    }

    /// Outputs of a panel.
    fn width(&self) -> usize {
        self.vectors * self.lanes
    }
}

/// Whether this kernel is the right one for a weight that is stored as it is: outputs lie side by side, and tokens are few.
pub(super) fn covers(p: &WeightProblem, target: &TargetInfo) -> bool {
    let side_by_side = |v: &View| v.strides[1].is(1) || (v.shape[1].is(1) && v.strides[1].is(0));
    if (p.rows, p.cols) != (Window::POINT, Window::POINT) || !p.y.strides[1].is(1) || !p.args.iter().all(side_by_side) {
        return false;
    }
    if [0, 2, 3].iter().all(|&i| p.y.shape[i].is(1)) {
        // One token that is known to be one: memory has other kernels for it, which finish output by output.
        let vectors = p.m / usize::from(target.lanes);
        return vectors >= SINGLE_VECTORS && p.epilogue.as_ref().is_some_and(is_long);
    }
    p.tokens.is_some_and(|n| n <= FEW)
}

/// Whether an expression takes longer than a few instructions.
fn is_long(expr: &ScalarExpr) -> bool {
    match expr {
        ScalarExpr::Acc | ScalarExpr::Arg(_) | ScalarExpr::Const(_) => false,
        ScalarExpr::Unary(op, x) => {
            !matches!(op, UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Sqrt | UnaryOp::Not) || is_long(x)
        }
        ScalarExpr::Binary(_, x, y) => is_long(x) || is_long(y),
        ScalarExpr::Convert(_, x) => is_long(x),
        ScalarExpr::Select(x, y, z) => [x, y, z].into_iter().any(|x| is_long(x)),
    }
}

/// The kernel and its table.
pub(super) fn lower(p: &WeightProblem, weight: &WeightMatrix, target: &TargetInfo) -> Multiplication {
    let cut = Cut::of(p, target);
    let tables = vec![values(p, weight, &cut)];
    let mut c = Context::new(if p.y.shape[3].is(1) { "gemv_outputs" } else { "gemm_outputs" });
    let heights: Vec<String> = cut.heights.iter().map(u32::to_string).collect();
    c.describe(format!("{} vectors of {} outputs x {} tokens", cut.vectors, cut.lanes, heights.join(", then ")));
    let b = declare_activations(&mut c, p);
    let table = declare_tables(&mut c, &tables)[0];
    let vector = Type::vector(Scalar::F32, cut.lanes as u16);
    let most = cut.heights[0];
    let shape = vec![Expr::int(i64::from(most)), Expr::int(cut.width() as i64)];
    let kernel = Kernel {
        p,
        table,
        acc: c.register("acc", vector, vec![most, cut.vectors as u32]),
        weights: c.register("weights", vector, vec![cut.vectors as u32]),
        sums: c.buffer("sums", Scalar::F32, BufferKind::Scratch, shape, vec![]),
        b,
        cut,
    };
    kernel.tasks(&mut c);
    Multiplication::new(c.finish(), tables)
}

struct Kernel<'a> {
    p: &'a WeightProblem,
    cut: Cut,
    b: Activations,
    table: BufferId,
    acc: RegisterId,
    weights: RegisterId,
    /// Sums of the tokens in registers, on their way to the epilogue.
    sums: BufferId,
}

/// Where a task computes.
struct Line {
    batch: Expr,
    row: Expr,
    /// First output of the panel.
    output: Expr,
    /// First element of the panel's weights.
    base: Expr,
}

impl Kernel<'_> {
    fn tasks(&self, c: &mut Context) {
        let (p, cut) = (self.p, &self.cut);
        let tiles = p.y.shape[3].ceil_div(&Dim::constant(cut.tile));
        let tasks = p.y.shape[0].clone() * p.y.shape[2].clone() * tiles.clone() * Dim::constant(cut.shares);
        let (tasks, tiles) = (c.dim(&tasks), c.dim(&tiles));
        let (rows, tokens) = (c.dim(&p.y.shape[2]), c.dim(&p.y.shape[3]));
        let (panels, shares) = (Expr::int(cut.panels as i64), Expr::int(cut.shares));
        c.parallel("task", tasks, |c, task| {
            let share = c.bind_index("share", task.clone().rem(shares.clone()));
            let place = c.bind_index("place", task.floor_div(shares.clone()));
            let tile = c.bind_index("tile", place.clone().rem(tiles.clone()));
            let line = c.bind_index("line", place.floor_div(tiles));
            let row = c.bind_index("row", line.clone().rem(rows.clone()));
            let batch = c.bind_index("batch", line.floor_div(rows));
            let first = c.bind_index("first", tile * Expr::int(cut.tile));
            let end = c.bind_index("end", tokens.min(first.clone() + Expr::int(cut.tile)));
            let from = c.bind_index("from", (share.clone() * panels.clone()).floor_div(shares.clone()));
            let to = c.bind_index("to", ((share + Expr::int(1)) * panels).floor_div(shares));
            c.serial("panel", from, to, 1, |c, panel| {
                let output = c.bind_index("output", panel.clone() * Expr::int(cut.width() as i64));
                let base = c.bind_index("base", panel * Expr::int((p.k() * cut.width()) as i64));
                let line = Line { batch, row, output, base };
                let mut next = first;
                for &height in &cut.heights {
                    let whole =
                        (end.clone() - next.clone()).floor_div(Expr::int(height.into())) * Expr::int(height.into());
                    let behind = c.bind_index("behind", next.clone() + whole);
                    c.serial("token", next, behind.clone(), height.into(), |c, token| {
                        self.tokens(c, &line, &token, height);
                    });
                    next = behind;
                }
            });
        });
    }

    /// All outputs of a panel for `height` tokens.
    fn tokens(&self, c: &mut Context, line: &Line, token: &Expr, height: u32) {
        let (lanes, vectors) = (self.cut.lanes as u16, self.cut.vectors as u32);
        let sum = |r: &Expr, t: &Expr| Expr::Reg(self.acc, vec![r.clone(), t.clone()]);
        c.unroll("r", height, |c, r| {
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, _| c.set(self.acc, vec![r, t], Expr::f32(0.0)));
            });
        });
        let k = self.p.k() as i64;
        let turns = if height * vectors < 12 { i64::from(TURNS) } else { 1 };
        let whole = k / turns * turns;
        c.serial("k", Expr::int(0), Expr::int(whole), turns, |c, k| {
            c.unroll("u", turns as u32, |c, u| {
                let k = c.bind_index("input", k + u);
                self.step(c, line, token, height, &k);
            });
        });
        if whole < k {
            c.serial("k", Expr::int(whole), Expr::int(k), 1, |c, k| self.step(c, line, token, height, &k));
        }
        c.unroll("r", height, |c, r| {
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, l| {
                    let at = t.clone() * Expr::int(lanes.into()) + l;
                    c.store(self.sums, vec![r.clone(), at], sum(&r, &t));
                });
            });
        });
        let width = self.cut.width() as i64;
        let count = (Expr::int(self.p.m as i64) - line.output.clone()).min(Expr::int(width));
        let even = self.p.m.is_multiple_of(self.cut.lanes);
        let count =
            if self.p.m.is_multiple_of(self.cut.width()) { Expr::int(width) } else { c.bind_index("count", count) };
        c.serial("r", Expr::int(0), Expr::int(height.into()), 1, |c, r| {
            c.serial("j", Expr::int(0), count.clone(), lanes.into(), |c, j| {
                c.vector(lanes, (!even).then(|| count - j.clone()), |c, l| {
                    let at = j + l;
                    let place = [
                        line.batch.clone(),
                        line.output.clone() + at.clone(),
                        line.row.clone(),
                        token.clone() + r.clone(),
                    ];
                    store_pixel(c, self.p, &self.b, &place, load(self.sums, vec![r, at]));
                });
            });
        });
    }

    /// Multiplies input `k` of `height` tokens.
    fn step(&self, c: &mut Context, line: &Line, token: &Expr, height: u32, k: &Expr) {
        let (lanes, vectors) = (self.cut.lanes as u16, self.cut.vectors as u32);
        let at = c.bind_index("at", line.base.clone() + k.clone() * Expr::int(self.cut.width() as i64));
        c.unroll("t", vectors, |c, t| {
            c.vector(lanes, None, |c, l| {
                c.set(self.weights, vec![t.clone()], load(self.table, vec![at + t * Expr::int(lanes.into()) + l]));
            });
        });
        c.unroll("r", height, |c, r| {
            let place = vec![line.batch.clone(), k.clone(), line.row.clone(), token.clone() + r.clone()];
            let x = c.bind("x_now", Type::scalar(Scalar::F32), load(self.b.x, place));
            c.unroll("t", vectors, |c, t| {
                c.vector(lanes, None, |c, _| {
                    let (weight, sum) =
                        (Expr::Reg(self.weights, vec![t.clone()]), Expr::Reg(self.acc, vec![r.clone(), t.clone()]));
                    c.set(self.acc, vec![r, t], Expr::fma(weight, x, sum));
                });
            });
        });
    }
}

fn values(p: &WeightProblem, weight: &WeightMatrix, cut: &Cut) -> Table {
    let (m, k, width, panels) = (p.m, p.k(), cut.width(), cut.panels);
    let weight = weight.clone();
    Table::lazy("values", Scalar::F32, (panels * k * width) as u64, move |out| {
        let dense = weight.dense();
        let mut panel = vec![0.0f32; k * width];
        for first in (0..panels * width).step_by(width) {
            panel.fill(0.0);
            for row in first..m.min(first + width) {
                for (at, &value) in dense[row * k..(row + 1) * k].iter().enumerate() {
                    panel[at * width + row - first] = value;
                }
            }
            out.write_all(bytemuck::cast_slice(&panel))?;
        }
        Ok(())
    })
}
