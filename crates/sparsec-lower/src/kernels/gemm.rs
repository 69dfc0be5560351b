//! Products of two activations, in batches: `y[b, m, n] = f(sum over k of a[b, m, k] * x[b, k, n])`.
//!
//! A tile of `R` rows x `T` vectors of columns stays in registers. The part of x that a tile of columns needs is packed
//! for a chunk of k at a time, so that the innermost loads are contiguous however x lies in memory; a is read element
//! by element. Sums between chunks rest in y, whose element type is that of the sums.

use sparsec_graph::{Dim, ScalarExpr};
use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, Scalar, Type, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::gemv::gemv_kernel;
use crate::kernels::map::converted;
use crate::scalar::{Typed, emit_scalar};
use crate::target::TargetInfo;

/// Extents, strides of a tensor over (outer batch, inner batch, row, column).
#[derive(Clone, Debug)]
pub(crate) struct Matrices {
    pub(crate) elem: Scalar,
    pub(crate) shape: [Dim; 4],
    /// 0 along a broadcast axis.
    pub(crate) strides: [Dim; 4],
}

/// A batched product.
pub(crate) struct Gemm {
    /// Batches x m x k.
    pub(crate) a: Matrices,
    /// Batches x k x n.
    pub(crate) x: Matrices,
    /// Batches x m x n.
    pub(crate) y: Matrices,
    /// Operands of the epilogue, batches x m x n.
    pub(crate) args: Vec<Matrices>,
    pub(crate) epilogue: Option<ScalarExpr>,
}

/// Elements of k that are packed at a time.
const CHUNK: i64 = 128;

pub(crate) fn buffer(c: &mut Context, name: &str, m: &Matrices, kind: BufferKind) -> BufferId {
    let (shape, strides) = (c.dims(&m.shape), c.dims(&m.strides));
    c.buffer(name, m.elem, kind, shape, strides)
}

/// What is stored at `index` for this sum: the epilogue's value, in the result's element type.
pub(crate) fn finished(c: &mut Context, g: &Gemm, args: &[BufferId], index: &[Expr], sum: Typed) -> Expr {
    let elem = g.y.elem;
    let Some(expr) = &g.epilogue else { return converted(sum, elem) };
    let mut loads = |_: &mut Context, i: u32| {
        let arg = &g.args[i as usize];
        let zip = index.iter().zip(arg.shape.iter().zip(&arg.strides));
        let index = zip.map(|(e, (extent, stride))| {
            let fixed = stride.is(0) && extent.is(1);
            if fixed { Expr::int(0) } else { e.clone() }
        });
        (load(args[i as usize], index.collect()), arg.elem)
    };
    let value = emit_scalar(c, expr, Some(&sum), &mut loads, elem);
    converted(value, elem)
}

/// The kernel; its arguments are `a, x, y, args...`.
pub(crate) fn gemm_kernel(g: &Gemm, target: &TargetInfo) -> BuiltKernel {
    gemv_kernel(g, target).unwrap_or_else(|| tiles(g, target))
}

/// `a * b + c`: floats are rounded once, integers wrap.
pub(crate) fn multiply_add(a: Expr, b: Expr, c: Expr, elem: Scalar) -> Expr {
    if elem.is_float() { Expr::fma(a, b, c) } else { a * b + c }
}

fn tiles(g: &Gemm, target: &TargetInfo) -> BuiltKernel {
    let mut c = Context::new("gemm");
    let wide = target.registers >= 32;
    let lanes = target.lanes;
    let most = if wide { 4 } else { 2 };
    let columns = g.y.shape[3].as_const().unwrap_or(i64::MAX);
    let vectors = (1..=most).find(|t| t * i64::from(lanes) >= columns).unwrap_or(most);
    let height: i64 = g.y.shape[2].as_const().map_or(6, |m| m.clamp(1, 6));
    let tile = vectors * i64::from(lanes);
    let a = buffer(&mut c, "a", &g.a, BufferKind::Input);
    let x = buffer(&mut c, "x", &g.x, BufferKind::Input);
    let y = buffer(&mut c, "y", &g.y, BufferKind::Output);
    let args: Vec<_> =
        g.args.iter().enumerate().map(|(i, m)| buffer(&mut c, &format!("arg{i}"), m, BufferKind::Input)).collect();
    let elem = g.y.elem;
    let packed = c.buffer("packed", elem, BufferKind::Scratch, vec![Expr::int(CHUNK), Expr::int(tile)], vec![]);
    let vector = Type::vector(elem, lanes);
    let (h, t_count) = (height as u32, vectors as u32);
    let acc = c.register("acc", vector, vec![h, t_count]);
    let now = c.register("x_now", vector, vec![t_count]);
    let staged = c.register("staged", vector, vec![]);
    let row_of = c.register("row_of", Type::INDEX, vec![h]);

    let column_tiles = g.y.shape[3].ceil_div(&Dim::constant(tile));
    let per_batch = g.y.shape[1].clone() * column_tiles.clone();
    let tasks = c.dim(&(g.y.shape[0].clone() * per_batch.clone()));
    let (per_batch, column_tiles) = (c.dim(&per_batch), c.dim(&column_tiles));
    let (m, n, k) = (c.dim(&g.y.shape[2]), c.dim(&g.y.shape[3]), c.dim(&g.a.shape[3]));
    let single_chunk = g.a.shape[3].as_const().is_some_and(|k| k <= CHUNK);
    c.parallel("task", tasks, |c, task| {
        let b0 = c.bind_index("b0", task.clone().floor_div(per_batch.clone()));
        let rest = c.bind_index("rest", task.rem(per_batch));
        let b1 = c.bind_index("b1", rest.clone().floor_div(column_tiles.clone()));
        let n0 = c.bind_index("first_col", rest.rem(column_tiles) * Expr::int(tile));
        let at = |row: Expr, col: Expr| vec![b0.clone(), b1.clone(), row, col];
        let place = |t: Expr, l: Expr| t * Expr::int(i64::from(lanes)) + l;
        let active = |t: &Expr| Some(n.clone() - n0.clone() - t.clone() * Expr::int(i64::from(lanes)));
        c.serial("k0", Expr::int(0), k.clone(), CHUNK, |c, k0| {
            let depth = c.bind_index("depth", (k.clone() - k0.clone()).min(Expr::int(CHUNK)));
            c.serial("kk", Expr::int(0), depth.clone(), 1, |c, kk| {
                c.unroll("t", t_count, |c, t| {
                    c.vector(lanes, active(&t), |c, l| {
                        let index = at(k0.clone() + kk.clone(), n0.clone() + place(t.clone(), l));
                        let value = load(x, index);
                        c.set(staged, vec![], converted((value, g.x.elem), elem));
                    });
                    c.vector(lanes, None, |c, l| c.store(packed, vec![kk, place(t, l)], Expr::Reg(staged, vec![])));
                });
            });
            c.serial("m0", Expr::int(0), m.clone(), height, |c, m0| {
                // Rows behind the last one repeat it: they are computed alike, and stored to the same place.
                c.unroll("r", h, |c, r| {
                    c.set(row_of, vec![r.clone()], (m0 + r).min(m.clone() - Expr::int(1)));
                });
                let row = |r: &Expr| Expr::Reg(row_of, vec![r.clone()]);
                let sum = |r: &Expr, t: &Expr| Expr::Reg(acc, vec![r.clone(), t.clone()]);
                let start = |c: &mut Context, resume: bool| {
                    c.unroll("r", h, |c, r| {
                        c.unroll("t", t_count, |c, t| {
                            let count = if resume { active(&t) } else { None };
                            c.vector(lanes, count, |c, l| {
                                let value = match resume {
                                    true => load(y, at(row(&r), n0.clone() + place(t.clone(), l))),
                                    false => crate::scalar::constant(0.0, elem).0,
                                };
                                c.set(acc, vec![r, t], value);
                            });
                        });
                    });
                };
                if single_chunk {
                    start(c, false);
                } else {
                    let first = Expr::compare(CompareOp::Eq, k0.clone(), Expr::int(0));
                    c.branch(first, |c| start(c, false), |c| start(c, true));
                }
                c.serial("kk", Expr::int(0), depth.clone(), 1, |c, kk| {
                    c.unroll("t", t_count, |c, t| {
                        c.vector(lanes, None, |c, l| {
                            c.set(now, vec![t.clone()], load(packed, vec![kk.clone(), place(t, l)]));
                        });
                    });
                    c.unroll("r", h, |c, r| {
                        let value = load(a, at(row(&r), k0.clone() + kk));
                        let value = c.bind("value", Type::scalar(elem), converted((value, g.a.elem), elem));
                        c.unroll("t", t_count, |c, t| {
                            c.vector(lanes, None, |c, _| {
                                let x = Expr::Reg(now, vec![t.clone()]);
                                c.set(acc, vec![r.clone(), t.clone()], multiply_add(value, x, sum(&r, &t), elem));
                            });
                        });
                    });
                });
                let keep = |c: &mut Context, last: bool| {
                    c.unroll("r", h, |c, r| {
                        c.unroll("t", t_count, |c, t| {
                            c.vector(lanes, active(&t), |c, l| {
                                let index = at(row(&r), n0.clone() + place(t.clone(), l));
                                let acc: Typed = (sum(&r, &t), elem);
                                let value = if last { finished(c, g, &args, &index, acc) } else { acc.0 };
                                c.store(y, index, value);
                            });
                        });
                    });
                };
                if single_chunk || g.epilogue.is_none() {
                    keep(c, true);
                } else {
                    let last = Expr::compare(CompareOp::Ge, k0 + Expr::int(CHUNK), k.clone());
                    c.branch(last, |c| keep(c, true), |c| keep(c, false));
                }
            });
        });
    });
    c.finish()
}
