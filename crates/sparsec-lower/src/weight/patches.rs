//! Convolutions as products of matrices on tensor cores: packing what windows larger than a pixel read of X.
//!
//! The pixels of the result have one number each, row by row, so tiles of them don't end where rows do. Each lane of a warp has pixels of its
//! own, and keeps where their windows begin. A column of the weight is a channel and a place in the window: the lanes load X at that place,
//! zeros outside of the image. That is done once for the columns that share the place, whose loads are a channel apart.
//!
//! ```text
//! for each pixel of the lane:            row = oh * sh - ph, col = ow * sw - pw
//!   for each place (kh, kw):             at = (row + kh * dh) * width + col + kw * dw; -1 outside of the image
//!     for each channel:                  staged = at < 0 ? 0 : x[channel, at]
//! ```

use sparsec_graph::Dim;
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::weight::columns::Columns;
use crate::weight::problem::{View, WeightProblem, Window};
use crate::weight::tensor::by_channel;

/// Rows of a weight below which windows are left to `f32`: steps have 16, and loading X takes as long as multiplying then. The cost
/// model of `sparsec-rewrite` counts with the same number.
const LEAST_ROWS: usize = 8;
/// Lanes of a warp.
const LANES: u16 = 32;
/// A row that lies above every image.
const OUTSIDE: i64 = -(1 << 30);

/// Images, as windows see them.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    rows: Window,
    cols: Window,
    /// Extents of X.
    height: Dim,
    width: Dim,
    /// Pixels of a row of the result.
    out_width: Dim,
}

impl Windows {
    /// For the comments of kernels.
    pub(super) fn describe(&self) -> String {
        format!("{}x{} elements", self.rows.kernel, self.cols.kernel)
    }
}

/// The problem with pixels that have one number each, in X and in the result; and, where windows are larger than a pixel, how they lie
/// in X. `None` where memory doesn't allow that, or too few rows are to be computed.
pub(super) fn numbered(p: &WeightProblem) -> Option<(WeightProblem, Option<Windows>)> {
    if p.rows == Window::POINT && p.cols == Window::POINT {
        return Some((p.clone(), None));
    }
    let mut flat = p.clone();
    let (height, width) = (p.x.shape[2].clone(), p.x.shape[3].clone());
    let out_width = p.y.shape[3].clone();
    // Places in an image have 32 bits.
    let small = height.as_const().zip(width.as_const()).is_none_or(|(h, w)| h.saturating_mul(w) < 1 << 30);
    let merged = merge(&mut flat.x, &width)
        && [&mut flat.y].into_iter().chain(&mut flat.args).all(|view| merge(view, &out_width));
    let windows = Windows { rows: p.rows, cols: p.cols, height, width, out_width };
    // Vectors are pixels of a channel.
    let plain = !by_channel(&flat.x);
    (merged && small && plain && p.m >= LEAST_ROWS).then_some((flat, Some(windows)))
}

/// Makes one long row of the rows of a view; tells whether memory allows that.
fn merge(view: &mut View, width: &Dim) -> bool {
    if !view.shape[2].is(1) && view.strides[2] != view.strides[3].clone() * width.clone() {
        return false;
    }
    view.shape[3] = view.shape[3].clone() * view.shape[2].clone();
    view.shape[2] = Dim::constant(1);
    view.strides[2] = Dim::default();
    true
}

/// Packs the columns of a weight for the pixels of a warp.
pub(super) struct Patches {
    windows: Windows,
    columns: Columns,
    x: BufferId,
    /// Vectors of pixels.
    vectors: u32,
    /// Where the window of each pixel begins, and where it is now.
    rows: RegisterId,
    cols: RegisterId,
    at: RegisterId,
}

/// An index as 32 bits.
pub(super) fn narrow(e: Expr) -> Expr {
    match e.as_int() {
        Some(v) => Expr::Int(v, Scalar::I32),
        None => e.convert(Scalar::I32),
    }
}

impl Patches {
    /// Declares what is needed for so many vectors of 32 pixels.
    pub(super) fn declare(c: &mut Context, windows: Windows, columns: Columns, x: BufferId, vectors: u32) -> Patches {
        let mut of = |name| c.register(name, Type::vector(Scalar::I32, LANES), vec![vectors]);
        let (rows, cols, at) = (of("patch_row"), of("patch_col"), of("patch_at"));
        Patches { windows, columns, x, vectors, rows, cols, at }
    }

    /// Finds where the windows of the pixels from this one on begin.
    pub(super) fn begin(&self, c: &mut Context, pixel: &Expr) {
        let out_width = narrow(c.dim(&self.windows.out_width));
        let start = |at: Expr, w: &Window| {
            let int = |v: i64| Expr::Int(v, Scalar::I32);
            at * int(w.stride as i64) - int(w.pad)
        };
        c.unroll("h", self.vectors, |c, h| {
            c.vector(LANES, None, |c, l| {
                let number = (pixel.clone() + h.clone() * Expr::int(LANES.into()) + l).convert(Scalar::I32);
                let row = Expr::binary(BinaryOp::Div, number.clone(), out_width.clone());
                let col = Expr::binary(BinaryOp::Rem, number, out_width);
                c.set(self.rows, vec![h.clone()], start(row, &self.windows.rows));
                c.set(self.cols, vec![h], start(col, &self.windows.cols));
            });
        });
    }

    /// Loads `count` columns from `first` on, which is a multiple of that, a power of two: `staged` has the vectors of a column one after
    /// the other.
    pub(super) fn load(&self, c: &mut Context, batch: &Expr, (first, count): (&Expr, u32), staged: RegisterId) {
        let each = self.columns.together(count as usize) as u32;
        c.unroll("g", count / each, |c, g| {
            let from = g * Expr::int(each.into());
            let column = c.bind_index("column", first.clone() + from.clone());
            let place = self.columns.place(c, &column);
            let [kh, kw] = place.window;
            let down = kh * Expr::int(self.windows.rows.dilation as i64);
            let down = Expr::select(place.exists, down, Expr::int(OUTSIDE));
            let down = c.bind_index("down", down);
            let right = c.bind_index("right", kw * Expr::int(self.windows.cols.dilation as i64));
            c.unroll("h", self.vectors, |c, h| self.find(c, &h, (&down, &right)));
            c.unroll("j", each, |c, j| {
                c.unroll("h", self.vectors, |c, h| {
                    let to = (from + j.clone()) * Expr::int(self.vectors.into()) + h.clone();
                    c.vector(LANES, None, |c, _| {
                        let at = Expr::Reg(self.at, vec![h]);
                        let inside = Expr::compare(CompareOp::Ge, at.clone(), Expr::Int(0, Scalar::I32));
                        let at = at.max(Expr::Int(0, Scalar::I32)).convert(Scalar::I64);
                        let value = load(self.x, vec![batch.clone(), place.channel.clone() + j, Expr::int(0), at]);
                        c.set(staged, vec![to], Expr::select(inside, value, Expr::f32(0.0)));
                    });
                });
            });
        });
    }

    /// Finds the place in the image of a place in the windows.
    fn find(&self, c: &mut Context, h: &Expr, (down, right): (&Expr, &Expr)) {
        let (height, width) = (c.dim(&self.windows.height), c.dim(&self.windows.width));
        let (height, width) = (narrow(height), narrow(width));
        c.vector(LANES, None, |c, _| {
            let row = Expr::Reg(self.rows, vec![h.clone()]) + narrow(down.clone());
            let col = Expr::Reg(self.cols, vec![h.clone()]) + narrow(right.clone());
            // Below zero is above everything without a sign.
            let below = |x: &Expr, end: &Expr| {
                Expr::compare(CompareOp::Lt, x.clone().convert(Scalar::U32), end.clone().convert(Scalar::U32))
            };
            let inside = Expr::binary(BinaryOp::And, below(&row, &height), below(&col, &width));
            let at = Expr::select(inside, row * width + col, Expr::Int(-1, Scalar::I32));
            c.set(self.at, vec![h.clone()], at);
        });
    }
}
