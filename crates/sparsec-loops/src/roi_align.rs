//! `RoiAlign`: regions of an image, pooled to one size.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, TensorType, scalar_of};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp, load};

use crate::{in_range, read};

/// How regions are pooled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RoiPooling {
    /// Rows of the result.
    pub height: i64,
    /// Columns of the result.
    pub width: i64,
    /// Samples along each axis of a bin; 0 for as many as the bin has pixels.
    pub samples: i64,
    /// Extents of the image by those that regions are given in.
    pub scale: f64,
    /// Whether coordinates are moved by half a pixel.
    pub half_pixel: bool,
    /// The largest instead of the mean.
    pub max: bool,
}

/// One axis of a region.
struct Side {
    /// Where it begins.
    start: Expr,
    /// Extent of a bin.
    bin: Expr,
    /// Samples in a bin.
    samples: Expr,
    /// Extent of the image.
    len: Expr,
}

/// `[regions, c, height, width]` from x `[n, c, h, w]`, regions `[regions, 4]` (x and y of two corners) and the image of each. (ONNX
/// `RoiAlign`; of a sample's four weighted pixels, `max` takes the largest.)
#[must_use]
pub fn roi_align(x: &TensorType, rois: &TensorType, images: &TensorType, how: &RoiPooling) -> LoopsSpec {
    let mut b = LoopsBuilder::new("roi_align");
    let input = b.input("x", x);
    let region = b.input("rois", rois);
    let image_of = b.input("images", images);
    let (regions, channels) = (rois.shape[0].clone(), x.shape[1].clone());
    let shape = vec![regions.clone(), channels.clone(), Dim::constant(how.height), Dim::constant(how.width)];
    let y = b.output("y", TensorType::new(x.dtype, shape));
    let acc = b.variable("acc", DType::F32);
    let first = b.variable("first", DType::Bool);
    let extents = b.dims(&x.shape);
    let tasks = b.dim(&(regions * channels.clone()));
    let channels = b.dim(&channels);
    let (elem, roi_elem) = (scalar_of(x.dtype), scalar_of(rois.dtype));
    let float = Type::scalar(Scalar::F32);
    let f = Expr::f32;
    let to_float = |e: Expr, from: Scalar| if from == Scalar::F32 { e } else { e.convert(Scalar::F32) };
    b.parallel("task", tasks, |c, task| {
        let r = c.bind_index("r", task.clone().floor_div(channels.clone()));
        let channel = c.bind_index("channel", task.rem(channels));
        let image = load(image_of, vec![r.clone()]).convert(Scalar::I64);
        let image = c.bind_index("image", in_range(image, extents[0].clone()));
        let side = |c: &mut KernelContext, axis: i64, count: i64, len: &Expr| {
            let shift = f(if how.half_pixel { 0.5 } else { 0.0 });
            let corner =
                |i: i64| to_float(load(region, vec![r.clone(), Expr::int(i)]), roi_elem) * f(how.scale) - shift.clone();
            let start = c.bind("start", float, corner(axis));
            let extent = corner(axis + 2) - start.clone();
            let extent = if how.half_pixel { extent } else { extent.max(f(1.0)) };
            let bin = c.bind("bin", float, Expr::binary(BinaryOp::Div, extent, f(count as f64)));
            let own = Expr::unary(UnaryOp::Ceil, bin.clone()).convert(Scalar::I64);
            let samples = if how.samples > 0 { Expr::int(how.samples) } else { c.bind_index("samples", own) };
            Side { start, bin, samples, len: len.clone() }
        };
        let rows = side(c, 1, how.height, &extents[2]);
        let cols = side(c, 0, how.width, &extents[3]);
        let count = (rows.samples.clone() * cols.samples.clone()).max(Expr::int(1)).convert(Scalar::F32);
        let count = c.bind("count", float, count);
        c.serial("row", Expr::int(0), Expr::int(how.height), 1, |c, row| {
            c.serial("col", Expr::int(0), Expr::int(how.width), 1, |c, col| {
                c.set(acc, vec![], f(0.0));
                c.set(first, vec![], Expr::Int(1, Scalar::Bool));
                c.serial("i", Expr::int(0), rows.samples.clone(), 1, |c, i| {
                    let (y0, y1, dy, y_inside) = neighbours(c, &rows, &row, i);
                    c.serial("j", Expr::int(0), cols.samples.clone(), 1, |c, j| {
                        let (x0, x1, dx, x_inside) = neighbours(c, &cols, &col, j);
                        let inside = Expr::binary(BinaryOp::And, y_inside, x_inside);
                        let inside = c.bind("inside", Type::scalar(Scalar::Bool), inside);
                        let (ey, ex) = (f(1.0) - dy.clone(), f(1.0) - dx.clone());
                        let mut parts = Vec::new();
                        for (iy, wy) in [(y0, ey), (y1, dy)] {
                            for (ix, wx) in [(&x0, &ex), (&x1, &dx)] {
                                let index = vec![image.clone(), channel.clone(), iy.clone(), ix.clone()];
                                let part = wy.clone() * wx.clone() * to_float(load(input, index), elem);
                                let part = Expr::select(inside.clone(), part, f(0.0));
                                parts.push(c.bind("part", float, part));
                            }
                        }
                        if how.max {
                            let largest = parts.into_iter().reduce(Expr::max).unwrap_or(f(0.0));
                            let largest = c.bind("largest", float, largest);
                            let joined = Expr::select(read(first), largest.clone(), read(acc).max(largest));
                            c.set(acc, vec![], joined);
                            c.set(first, vec![], Expr::Int(0, Scalar::Bool));
                        } else {
                            parts.into_iter().for_each(|part| c.set(acc, vec![], read(acc) + part));
                        }
                    });
                });
                let value = if how.max { read(acc) } else { Expr::binary(BinaryOp::Div, read(acc), count) };
                let value = if elem == Scalar::F32 { value } else { value.convert(elem) };
                c.store(y, vec![r, channel, row, col], value);
            });
        });
    });
    b.finish()
}

/// The two elements beside a sample, the share of the second, and whether the sample is near the image at all.
fn neighbours(c: &mut KernelContext, side: &Side, bin: &Expr, sample: Expr) -> (Expr, Expr, Expr, Expr) {
    let f = Expr::f32;
    let float = Type::scalar(Scalar::F32);
    let to_float = |e: Expr| e.convert(Scalar::F32);
    let step = Expr::binary(BinaryOp::Div, side.bin.clone(), to_float(side.samples.clone()));
    let at = side.start.clone() + to_float(bin.clone()) * side.bin.clone() + (to_float(sample) + f(0.5)) * step;
    let at = c.bind("at", float, at);
    let above = Expr::compare(CompareOp::Ge, at.clone(), f(-1.0));
    let below = Expr::compare(CompareOp::Le, at.clone(), to_float(side.len.clone()));
    let inside = c.bind("near", Type::scalar(Scalar::Bool), Expr::binary(BinaryOp::And, above, below));
    let last = side.len.clone() - Expr::int(1);
    let at = c.bind("at", float, at.max(f(0.0)).min(to_float(last.clone())));
    let low = c.bind_index("low", at.clone().convert(Scalar::I64).min(last.clone()));
    let high = c.bind_index("high", (low.clone() + Expr::int(1)).min(last));
    let share = c.bind("share", float, at - to_float(low.clone()));
    (low, high, share, inside)
}
