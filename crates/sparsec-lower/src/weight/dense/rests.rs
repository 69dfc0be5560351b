//! Where the sums of panels rest between the parts of the channels.

use sparsec_tir::{BufferId, BufferKind, CompareOp, Expr, load};

use crate::context::Context;
use crate::weight::dense::panel::{Numbers, Panel};
use crate::weight::dense::pieces::Pieces;

/// The place in the buffer of the sums, given the number of a pixel of the tail and the row.
pub(in crate::weight) type TailPlace<'a> = &'a dyn Fn(Expr, Expr) -> Expr;

/// Sums of all panels of a piece, or of one where no sum outlives its panel.
pub(in crate::weight) struct Rests {
    pub(in crate::weight) buffer: BufferId,
    /// Parts of the channels.
    parts: usize,
    /// Elements that the sums of a panel take.
    panel_sums: usize,
}

impl Rests {
    /// Declares the buffer.
    pub(in crate::weight) fn declare(
        c: &mut Context,
        pieces: &Pieces,
        (panels, parts): (usize, usize),
        numbers: Numbers,
    ) -> Self {
        let Pieces { height, lanes, main, .. } = *pieces;
        let panel_sums = height * pieces.last.iter().fold(main.pixels(lanes), |n, p| n.max(p.pixels(lanes)));
        let size = panel_sums * if parts > 1 { panels } else { 1 };
        let buffer = c.buffer("partial", numbers.sum(), BufferKind::Scratch, vec![Expr::int(size as i64)], vec![]);
        Rests { buffer, parts, panel_sums }
    }

    /// Where lane `l` of vector `t` of row `r` of a panel rests, and where row `l` of tail pixel `q`.
    fn places(&self, panel: &Panel, number: &Expr) -> (impl Fn(Expr, Expr, Expr) -> Expr, impl Fn(Expr, Expr) -> Expr) {
        let (height, lanes, vectors) = (panel.height as i64, panel.lanes as i64, panel.piece.vectors as i64);
        let outlives = self.parts > 1;
        let base = if outlives { number.clone() * Expr::int(self.panel_sums as i64) } else { Expr::int(0) };
        let tails = base.clone() + Expr::int(height * vectors * lanes);
        let vector =
            move |r: Expr, t: Expr, l: Expr| base.clone() + (r * Expr::int(vectors) + t) * Expr::int(lanes) + l;
        (vector, move |q: Expr, l: Expr| tails.clone() + q * Expr::int(height) + l)
    }

    /// Begins the sums of a panel: at zero in the first part, else where they rest.
    pub(in crate::weight) fn begin(&self, c: &mut Context, panel: &Panel, (part, number): (&Expr, &Expr)) {
        let (vector, tail) = self.places(panel, number);
        let zero = |c: &mut Context| panel.set(c, &|_, _, _| panel.numbers.zero(), &|_, _| panel.numbers.zero());
        let resume = |c: &mut Context| {
            let rested = |at: Expr| load(self.buffer, vec![at]);
            panel.set(c, &|r, t, l| rested(vector(r, t, l)), &|q, l| rested(tail(q, l)));
        };
        if self.parts > 1 {
            c.branch(Expr::compare(CompareOp::Eq, part.clone(), Expr::int(0)), zero, resume);
        } else {
            zero(c);
        }
    }

    /// Ends the sums of a panel: in the last part by `finish`, which finds those of a tail in the buffer; else they rest.
    pub(in crate::weight) fn end(
        &self,
        c: &mut Context,
        panel: &Panel,
        (part, number): (&Expr, &Expr),
        finish: &dyn Fn(&mut Context, TailPlace<'_>),
    ) {
        let (vector, tail) = self.places(panel, number);
        let finish = |c: &mut Context| {
            panel.rest_tail(c, self.buffer, &tail);
            finish(c, &tail);
        };
        if self.parts > 1 {
            let last = Expr::compare(CompareOp::Eq, part.clone(), Expr::int(self.parts as i64 - 1));
            c.branch(last, finish, |c| panel.rest(c, self.buffer, &vector, &tail));
        } else {
            finish(c);
        }
    }
}
