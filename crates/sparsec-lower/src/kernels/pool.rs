//! Sliding window reductions over two spatial axes.
//!
//! A maximum over a small window takes the rows of an image in bands ([`Band`]), what lies outside being minus infinity.
//! In all other cases vectors run along the output columns; columns of the window that lie outside the image are replaced by the neutral
//! element, their addresses by the nearest inside.

use sparsec_graph::{Dim, PoolAttrs, PoolKind};
use sparsec_tir::{BinaryOp, BufferKind, CompareOp, Expr, ReduceOp, Scalar, Type, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::band::Band;
use crate::kernels::reduce::neutral;
use crate::scalar::constant;
use crate::target::TargetInfo;
use crate::weight::Window;

/// Elements of a window that are written out as code.
const MAX_ELEMENTS: usize = 64;

/// Extents of images: planes (batch x channels), rows, columns.
pub(crate) type Images = [Dim; 3];

/// The pooling of `x` images to `y` images. `attrs` has two entries for each spatial attribute.
pub(crate) fn pool_kernel(
    elem: Scalar,
    attrs: &PoolAttrs,
    (x_shape, y_shape): (&Images, &Images),
    target: &TargetInfo,
) -> BuiltKernel {
    let windows = [window(attrs, 0), window(attrs, 1)];
    if attrs.kind == PoolKind::Max && windows[0].kernel * windows[1].kernel <= MAX_ELEMENTS {
        return max_pool_kernel(elem, (windows[0], windows[1]), (x_shape, y_shape), target);
    }
    let mut c = Context::new(&format!("pool_{}", attrs.kind));
    let shape = c.dims(x_shape);
    let (height, width) = (shape[1].clone(), shape[2].clone());
    let x = c.buffer("x", elem, BufferKind::Input, shape, vec![]);
    let shape = c.dims(y_shape);
    let (planes, rows, cols) = (shape[0].clone(), shape[1].clone(), shape[2].clone());
    let y = c.buffer("y", elem, BufferKind::Output, shape, vec![]);
    let lanes = target.lanes;
    let acc = c.register("acc", Type::vector(elem, lanes), vec![]);
    let number = c.register("number", Type::vector(elem, lanes), vec![]);
    let max = attrs.kind == PoolKind::Max;
    let neutral = if max { neutral(ReduceOp::Max, elem) } else { constant(0.0, elem).0 };
    let attribute = |v: &[i64], i: usize, default: i64| v.get(i).copied().unwrap_or(default);
    let pads = |i: usize| attrs.pads.get(i).copied().unwrap_or((0, 0));
    let step = |i: usize, from: Expr, k: Expr| {
        from * Expr::int(attribute(&attrs.strides, i, 1)) + k * Expr::int(attribute(&attrs.dilations, i, 1))
            - Expr::int(pads(i).0)
    };
    // Whether an element counts: inside the image, or for means with padding inside the padded image.
    let within = |at: &Expr, low: i64, high: Expr| {
        Expr::binary(
            BinaryOp::And,
            Expr::compare(CompareOp::Ge, at.clone(), Expr::int(low)),
            Expr::compare(CompareOp::Lt, at.clone(), high),
        )
    };
    let padded = attrs.kind == PoolKind::AverageWithPad;
    c.parallel("plane", planes, |c, plane| {
        c.serial("row", Expr::int(0), rows, 1, |c, row| {
            c.serial("j", Expr::int(0), cols.clone(), i64::from(lanes), |c, j| {
                c.vector(lanes, None, |c, _| {
                    c.set(acc, vec![], neutral.clone());
                    c.set(number, vec![], constant(0.0, elem).0);
                });
                c.serial("kh", Expr::int(0), Expr::int(attribute(&attrs.kernel, 0, 1)), 1, |c, kh| {
                    let ih = c.bind_index("ih", step(0, row.clone(), kh));
                    let row_inside = within(&ih, 0, height.clone());
                    let row_counts = within(&ih, -pads(0).0, height.clone() + Expr::int(pads(0).1));
                    let ih = c.bind_index("ih", ih.max(Expr::int(0)).min(height - Expr::int(1)));
                    c.serial("kw", Expr::int(0), Expr::int(attribute(&attrs.kernel, 1, 1)), 1, |c, kw| {
                        c.vector(lanes, Some(cols.clone() - j.clone()), |c, l| {
                            let iw = c.bind_index("iw", step(1, j.clone() + l, kw));
                            let inside = Expr::binary(BinaryOp::And, row_inside, within(&iw, 0, width.clone()));
                            let inside = c.bind("inside", Type::scalar(Scalar::Bool), inside);
                            let nearest = iw.clone().max(Expr::int(0)).min(width.clone() - Expr::int(1));
                            let value = load(x, vec![plane.clone(), ih, nearest]);
                            let value = Expr::select(inside.clone(), value, neutral.clone());
                            let old = Expr::Reg(acc, vec![]);
                            c.set(acc, vec![], if max { old.max(value) } else { old + value });
                            if !max {
                                let counts = if padded {
                                    let cols = within(&iw, -pads(1).0, width + Expr::int(pads(1).1));
                                    Expr::binary(BinaryOp::And, row_counts, cols)
                                } else {
                                    inside
                                };
                                let (one, none) = (constant(1.0, elem).0, constant(0.0, elem).0);
                                let old = Expr::Reg(number, vec![]);
                                c.set(number, vec![], old + Expr::select(counts, one, none));
                            }
                        });
                    });
                });
                c.vector(lanes, Some(cols - j.clone()), |c, l| {
                    let sum = Expr::Reg(acc, vec![]);
                    let value = if max { sum } else { Expr::binary(BinaryOp::Div, sum, Expr::Reg(number, vec![])) };
                    c.store(y, vec![plane.clone(), row, j + l], value);
                });
            });
        });
    });
    c.finish()
}

/// The window of one spatial axis.
fn window(attrs: &PoolAttrs, axis: usize) -> Window {
    let of = |v: &[i64]| v.get(axis).map_or(1, |&n| n.max(1) as usize);
    let pad = attrs.pads.get(axis).map_or(0, |p| p.0);
    Window { kernel: of(&attrs.kernel), stride: of(&attrs.strides), dilation: of(&attrs.dilations), pad }
}

fn max_pool_kernel(
    elem: Scalar,
    windows: (Window, Window),
    (x_shape, y_shape): (&Images, &Images),
    target: &TargetInfo,
) -> BuiltKernel {
    let band = Band::choose(windows, [y_shape[1].clone(), y_shape[2].clone()], 0, target);
    let mut c = Context::new("pool_max");
    c.describe(band.describe());
    let shape = c.dims(x_shape);
    let x = c.buffer("x", elem, BufferKind::Input, shape, vec![]);
    let shape = c.dims(y_shape);
    let y = c.buffer("y", elem, BufferKind::Output, shape, vec![]);
    let scratch = band.declare(&mut c, elem);
    let least = neutral(ReduceOp::Max, elem);
    band.for_each(&mut c, &y_shape[0], |c, task| {
        let image = [x_shape[1].clone(), x_shape[2].clone()];
        band.fill(c, task, (scratch, elem, &least), &image, &|row, col| load(x, vec![task.plane.clone(), row, col]));
        let end = |c: &mut Context, [row, col]: [Expr; 2], value| c.store(y, vec![task.plane.clone(), row, col], value);
        band.compute(c, task, (scratch, elem), &least, &|x, old, _| old.max(x), &end);
    });
    c.finish()
}
