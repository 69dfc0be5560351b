//! Products of two activations whose first has one row: `y[b, n] = f(sum over k of a[b, k] * x[b, k, n])`, as a decoder
//! multiplies one query with all keys, and one row of probabilities with all values.
//!
//! Each element of x is used once, so nothing is packed. Vectors run along the axis of x that is contiguous:
//!
//! ```text
//! along the depth (keys)                         along the columns (values)
//!   a:  [ . . . . ]  loaded once for 8 columns     acc[t] += a[k] * x[k, t]   t: vectors of columns
//!   x:  column n      acc[n] += a * x
//!       column n + 1  ...                          one row of x after the other
//!   reduced at the end, lane by lane
//! ```

use sparsec_graph::Dim;
use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, ReduceOp, Type, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::gemm::{Gemm, buffer, finished};
use crate::scalar::constant;
use crate::target::TargetInfo;

/// Columns in flight where vectors run along the depth.
const COLUMNS: i64 = 8;
/// Columns that one task takes there.
const COLUMNS_PER_TASK: i64 = 64;
/// Sums in flight where vectors run along the columns.
const CHAINS: i64 = 4;

/// The kernel, where this one is faster than that of tiles; its arguments are `a, x, y, args...`.
pub(crate) fn gemv_kernel(g: &Gemm, target: &TargetInfo) -> Option<BuiltKernel> {
    let elem = g.y.elem;
    if !g.y.shape[2].is(1) || !elem.is_float() || g.a.elem != elem || g.x.elem != elem {
        return None;
    }
    let contiguous = |extent: &Dim, stride: &Dim| stride.is(1) || extent.is(1);
    if contiguous(&g.x.shape[3], &g.x.strides[3]) {
        return Some(along_columns(g, target));
    }
    let along = contiguous(&g.x.shape[2], &g.x.strides[2]) && contiguous(&g.a.shape[3], &g.a.strides[3]);
    along.then(|| along_depth(g, target))
}

struct Buffers {
    a: BufferId,
    x: BufferId,
    y: BufferId,
    args: Vec<BufferId>,
}

fn declare(c: &mut Context, g: &Gemm) -> Buffers {
    let a = buffer(c, "a", &g.a, BufferKind::Input);
    let x = buffer(c, "x", &g.x, BufferKind::Input);
    let y = buffer(c, "y", &g.y, BufferKind::Output);
    let args = g.args.iter().enumerate();
    let args = args.map(|(i, m)| buffer(c, &format!("arg{i}"), m, BufferKind::Input)).collect();
    Buffers { a, x, y, args }
}

/// The parallel loop over batches and tiles of `tile` columns; `f` gets the batch and the first column.
fn for_each_tile(c: &mut Context, g: &Gemm, tile: i64, f: impl FnOnce(&mut Context, [Expr; 2], Expr)) {
    let tiles = g.y.shape[3].ceil_div(&Dim::constant(tile));
    let per_batch = g.y.shape[1].clone() * tiles.clone();
    let tasks = c.dim(&(g.y.shape[0].clone() * per_batch.clone()));
    let (per_batch, tiles) = (c.dim(&per_batch), c.dim(&tiles));
    c.parallel("task", tasks, |c, task| {
        let b0 = c.bind_index("b0", task.clone().floor_div(per_batch.clone()));
        let rest = c.bind_index("rest", task.rem(per_batch));
        let b1 = c.bind_index("b1", rest.clone().floor_div(tiles.clone()));
        let first = c.bind_index("first_col", rest.rem(tiles) * Expr::int(tile));
        f(c, [b0, b1], first);
    });
}

fn along_depth(g: &Gemm, target: &TargetInfo) -> BuiltKernel {
    let (mut c, elem, lanes) = (Context::new("gemv_depth"), g.y.elem, target.lanes);
    c.describe(format!("{COLUMNS} columns in flight, vectors of {lanes} along the depth"));
    let b = declare(&mut c, g);
    let count = COLUMNS as u32;
    let vector = Type::vector(elem, lanes);
    let (acc, now) = (c.register("acc", vector, vec![count]), c.register("a_now", vector, vec![]));
    let col_of = c.register("col_of", Type::INDEX, vec![count]);
    let (n, k) = (c.dim(&g.y.shape[3]), c.dim(&g.a.shape[3]));
    let even = g.a.shape[3].as_const().is_some_and(|k| k % i64::from(lanes) == 0);
    for_each_tile(&mut c, g, COLUMNS_PER_TASK, |c, [b0, b1], first| {
        let end = c.bind_index("end", (first.clone() + Expr::int(COLUMNS_PER_TASK)).min(n.clone()));
        c.serial("j", first, end.clone(), COLUMNS, |c, j| {
            // Columns behind the last one repeat it: they are computed alike, and stored to the same place.
            c.unroll("r", count, |c, r| c.set(col_of, vec![r.clone()], (j + r).min(end - Expr::int(1))));
            c.unroll("r", count, |c, r| {
                c.vector(lanes, None, |c, _| c.set(acc, vec![r], constant(0.0, elem).0));
            });
            c.serial("k0", Expr::int(0), k.clone(), i64::from(lanes), |c, k0| {
                let active = (!even).then(|| k.clone() - k0.clone());
                c.vector(lanes, active.clone(), |c, l| {
                    let at = vec![b0.clone(), b1.clone(), Expr::int(0), k0.clone() + l];
                    c.set(now, vec![], load(b.a, at));
                });
                c.unroll("r", count, |c, r| {
                    let col = Expr::Reg(col_of, vec![r.clone()]);
                    c.vector(lanes, active, |c, l| {
                        let x = load(b.x, vec![b0.clone(), b1.clone(), k0 + l, col]);
                        let sum = Expr::fma(Expr::Reg(now, vec![]), x, Expr::Reg(acc, vec![r.clone()]));
                        c.set(acc, vec![r], sum);
                    });
                });
            });
            c.unroll("r", count, |c, r| {
                let col = Expr::Reg(col_of, vec![r.clone()]);
                let sum = Expr::Reduce(ReduceOp::Add, Box::new(Expr::Reg(acc, vec![r])));
                let sum = c.bind("sum", Type::scalar(elem), sum);
                let index = vec![b0, b1, Expr::int(0), col];
                let value = finished(c, g, &b.args, &index, (sum, elem));
                c.store(b.y, index, value);
            });
        });
    });
    c.finish()
}

fn along_columns(g: &Gemm, target: &TargetInfo) -> BuiltKernel {
    let (mut c, elem, lanes) = (Context::new("gemv_columns"), g.y.elem, i64::from(target.lanes));
    let columns = g.y.shape[3].as_const();
    let vectors = (1..=8).find(|t| t * lanes >= columns.unwrap_or(i64::MAX)).unwrap_or(8);
    let rows = (CHAINS / vectors).max(1);
    let tile = vectors * lanes;
    c.describe(format!("{rows} rows of {vectors} vectors of {lanes} columns in flight"));
    let b = declare(&mut c, g);
    let acc = c.register("acc", Type::vector(elem, target.lanes), vec![rows as u32, vectors as u32]);
    let (n, k) = (c.dim(&g.y.shape[3]), c.dim(&g.a.shape[3]));
    let even = columns.is_some_and(|n| n % tile == 0);
    let (u_count, t_count) = (rows as u32, vectors as u32);
    for_each_tile(&mut c, g, tile, |c, [b0, b1], first| {
        let place = |t: &Expr| first.clone() + t.clone() * Expr::int(lanes);
        let active = |t: &Expr| (!even).then(|| n.clone() - place(t));
        let zero = || constant(0.0, elem).0;
        c.unroll("u", u_count, |c, u| {
            c.unroll("t", t_count, |c, t| c.vector(target.lanes, None, |c, _| c.set(acc, vec![u, t], zero())));
        });
        c.serial("k0", Expr::int(0), k.clone(), rows, |c, k0| {
            c.unroll("u", u_count, |c, u| {
                let row = k0 + u.clone();
                let at = |row: Expr| vec![b0.clone(), b1.clone(), Expr::int(0), row];
                // Rows behind the last one are the last one, times zero.
                let (row, value) = if rows == 1 {
                    (row.clone(), load(b.a, at(row)))
                } else {
                    let inside = Expr::compare(CompareOp::Lt, row.clone(), k.clone());
                    let last = c.bind_index("row", row.min(k.clone() - Expr::int(1)));
                    (last.clone(), Expr::select(inside, load(b.a, at(last)), zero()))
                };
                let value = c.bind("value", Type::scalar(elem), value);
                c.unroll("t", t_count, |c, t| {
                    c.vector(target.lanes, active(&t), |c, l| {
                        let x = load(b.x, vec![b0.clone(), b1.clone(), row, place(&t) + l]);
                        let index = vec![u, t];
                        c.set(acc, index.clone(), Expr::fma(value, x, Expr::Reg(acc, index)));
                    });
                });
            });
        });
        c.unroll("t", t_count, |c, t| {
            c.vector(target.lanes, active(&t), |c, l| {
                let sums = (0..rows).map(|u| Expr::Reg(acc, vec![Expr::int(u), t.clone()]));
                let sum = sums.reduce(|x, y| x + y).unwrap_or_else(zero);
                let index = vec![b0.clone(), b1.clone(), Expr::int(0), place(&t) + l];
                let value = finished(c, g, &b.args, &index, (sum, elem));
                c.store(b.y, index, value);
            });
        });
    });
    c.finish()
}
