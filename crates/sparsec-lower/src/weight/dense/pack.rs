//! Packing the inputs of a piece: a row of pixels for each column of the weight.
//!
//! Rows lie in the order (kernel row, kernel column, channel), so the multiplying loop walks through memory in steps of
//! one length and knows nothing of windows, strides or padding.

use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, load};

use crate::context::Context;
use crate::weight::problem::WeightProblem;
use crate::weight::tile::Buffers;

/// What is packed: channels `first..first + count`, for the pixels from `pixel` on.
pub(super) struct Inputs {
    pub(super) batch: Expr,
    pub(super) pixel: Expr,
    pub(super) first: Expr,
    pub(super) count: Expr,
}

/// Packs `valid` pixels of an image whose windows are single pixels and lie one behind the other in memory.
pub(super) fn pack_pixels(
    c: &mut Context,
    b: &Buffers,
    inputs: &Inputs,
    (vectors, lanes, pitch): (usize, usize, usize),
    valid: &Expr,
) {
    let Inputs { batch, pixel, first, count } = inputs;
    let staged = c.register("staged", Type::vector(Scalar::F32, lanes as u16), vec![]);
    c.serial("ch", Expr::int(0), count.clone(), 1, |c, ch| {
        for t in 0..vectors {
            let from = (t * lanes) as i64;
            let whole = valid.as_int().is_some_and(|n| n >= from + lanes as i64);
            let active = (!whole).then(|| valid.clone() - Expr::int(from));
            c.vector(lanes as u16, active, |c, l| {
                let col = pixel.clone() + Expr::int(from) + l;
                let at = vec![batch.clone(), first.clone() + ch.clone(), Expr::int(0), col];
                c.set(staged, vec![], load(b.activations.x, at));
            });
            c.vector(lanes as u16, None, |c, l| {
                let at = ch.clone() * Expr::int(pitch as i64) + Expr::int(from) + l;
                c.store(b.window, vec![at], Expr::Reg(staged, vec![]));
            });
        }
    });
}

/// Packs `valid` pixels of an image with any window. The pixels are those of one or more rows of the output, which are
/// copied one by one: all channels of a row at a time, so that bounds and masks are made once for them.
pub(super) fn pack_windows(
    c: &mut Context,
    (p, b): (&WeightProblem, &Buffers),
    inputs: &Inputs,
    (lanes, pitch): (usize, usize),
    valid: &Expr,
) {
    let Inputs { batch, pixel, first, count } = inputs;
    let (height, width) = (c.dim(&p.x.shape[2]), c.dim(&p.x.shape[3]));
    let cols = c.dim(&p.y.shape[3]);
    let pitch = pitch as i64;
    let (kh_count, kw_count) = (p.rows.kernel as i64, p.cols.kernel as i64);
    let int = |n: usize| Expr::int(n as i64);
    // Where windows leave the image, and behind the last pixel.
    let size = c.bind_index("size", count.clone() * Expr::int(kh_count * kw_count * pitch));
    c.serial("z", Expr::int(0), size, lanes as i64, |c, z| {
        c.vector(lanes as u16, None, |c, l| c.store(b.window, vec![z + l], Expr::f32(0.0)));
    });
    let end = c.bind_index("end", pixel.clone() + valid.clone());
    let first_row = c.bind_index("first_row", pixel.clone().floor_div(cols.clone()));
    let end_row = c.bind_index("end_row", (end.clone() - Expr::int(1)).floor_div(cols.clone()) + Expr::int(1));
    c.serial("row", first_row, end_row, 1, |c, row| {
        // The row's pixels `from..to`; column j of the output is packed at `shift + j`.
        let start = c.bind_index("start", row.clone() * cols.clone());
        let from = c.bind_index("from", (pixel.clone() - start.clone()).max(Expr::int(0)));
        let to = c.bind_index("to", (end - start.clone()).min(cols.clone()));
        let shift = c.bind_index("shift", start - pixel.clone());
        c.serial("kh", Expr::int(0), Expr::int(kh_count), 1, |c, kh| {
            let image_row = row * int(p.rows.stride) + kh.clone() * int(p.rows.dilation) - Expr::int(p.rows.pad);
            let image_row = c.bind_index("image_row", image_row);
            let inside = Expr::binary(
                BinaryOp::And,
                Expr::compare(CompareOp::Ge, image_row.clone(), Expr::int(0)),
                Expr::compare(CompareOp::Lt, image_row.clone(), height),
            );
            let copy = |c: &mut Context| {
                c.serial("kw", Expr::int(0), Expr::int(kw_count), 1, |c, kw| {
                    let stride = int(p.cols.stride);
                    let left = kw.clone() * int(p.cols.dilation) - Expr::int(p.cols.pad);
                    let left = c.bind_index("left", left);
                    let lo = (Expr::int(0) - left.clone()).max(Expr::int(0)).ceil_div(stride.clone());
                    let lo = c.bind_index("lo", lo.max(from));
                    let hi = (width - left.clone()).max(Expr::int(0)).ceil_div(stride.clone());
                    let hi = c.bind_index("hi", hi.min(to));
                    let line = (kh * Expr::int(kw_count) + kw) * count.clone() * Expr::int(pitch) + shift;
                    let line = c.bind_index("line", line);
                    c.serial("j", lo, hi.clone(), lanes as i64, |c, j| {
                        c.serial("ch", Expr::int(0), count.clone(), 1, |c, ch| {
                            c.vector(lanes as u16, Some(hi - j.clone()), |c, l| {
                                let col = left + (j.clone() + l.clone()) * stride;
                                let from = vec![batch.clone(), first.clone() + ch.clone(), image_row, col];
                                let pixel = load(b.activations.x, from);
                                c.store(b.window, vec![line + ch * Expr::int(pitch) + j + l], pixel);
                            });
                        });
                    });
                });
            };
            c.branch(inside, copy, |_| {});
        });
    });
}
