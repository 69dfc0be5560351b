//! The parallel loop over the pieces of all images.

use sparsec_graph::Dim;
use sparsec_tir::{CompareOp, Expr};

use crate::context::Context;
use crate::weight::dense::pieces::{Piece, Pieces};

/// Where a piece lies, and how many of its pixels there are.
pub(in crate::weight) struct Place {
    pub(in crate::weight) batch: Expr,
    /// Its first pixel.
    pub(in crate::weight) pixel: Expr,
    /// Pixels of the image from there on, at most as many as the piece has.
    pub(in crate::weight) valid: Expr,
}

/// Runs `f` for each piece of `batch` images of `pixels` pixels, once for each kind of piece.
pub(in crate::weight) fn for_each_piece(
    c: &mut Context,
    (batch, pixels): (&Dim, &Dim),
    pieces: &Pieces,
    f: &dyn Fn(&mut Context, Piece, &Place),
) {
    let unit = pieces.main.pixels(pieces.lanes) as i64;
    let per_image = pixels.ceil_div(&Dim::constant(unit));
    let tasks = c.dim(&(batch.clone() * per_image.clone()));
    let single = batch.is(1);
    let (count, per_image) = (c.dim(pixels), c.dim(&per_image));
    c.parallel("task", tasks, |c, task| {
        let (batch, piece) = if single {
            (Expr::int(0), task)
        } else {
            let batch = c.bind_index("batch", task.clone().floor_div(per_image.clone()));
            (batch, c.bind_index("piece", task.rem(per_image)))
        };
        let pixel = c.bind_index("pixel", piece * Expr::int(unit));
        let even = count.as_int().is_some_and(|n| n % unit == 0);
        let rest = match count.as_int() {
            Some(n) => Expr::int(n % unit),
            None => c.bind_index("rest", count.clone() - pixel.clone()),
        };
        let place = |valid: Expr| Place { batch: batch.clone(), pixel: pixel.clone(), valid };
        if even {
            f(c, pieces.main, &place(Expr::int(unit)));
        } else if count.as_int().is_some_and(|n| n < unit) {
            f(c, pieces.main, &place(rest));
        } else {
            let whole = Expr::compare(CompareOp::Le, pixel.clone() + Expr::int(unit), count.clone());
            c.branch(
                whole,
                |c| f(c, pieces.main, &place(Expr::int(unit))),
                |c| last(c, pieces, &pieces.last, &place(rest), f),
            );
        }
    });
}

/// The last piece: the first of `kinds` that is large enough.
fn last(c: &mut Context, pieces: &Pieces, kinds: &[Piece], place: &Place, f: &dyn Fn(&mut Context, Piece, &Place)) {
    let Some((piece, others)) = kinds.split_first() else {
        return f(c, pieces.main, place);
    };
    let pixels = piece.pixels(pieces.lanes) as i64;
    if place.valid.as_int().is_some_and(|n| n <= pixels) {
        return f(c, *piece, place);
    }
    let fits = Expr::compare(CompareOp::Le, place.valid.clone(), Expr::int(pixels));
    c.branch(fits, |c| f(c, *piece, place), |c| last(c, pieces, others, place, f));
}
