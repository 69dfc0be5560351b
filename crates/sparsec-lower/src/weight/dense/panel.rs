//! The sums of one panel of outputs over one piece of pixels while they are in registers.

use sparsec_tir::{BufferId, Expr, RegisterId, Scalar, Type, load};

use crate::context::Context;
use crate::weight::dense::pieces::{Piece, Pieces};

/// What is multiplied and added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::weight) enum Numbers {
    /// `f32`.
    Floats,
    /// Words of four bytes, unsigned ones of X and signed ones of the weight, added up in `i32`.
    Words,
}

impl Numbers {
    /// What the sums are.
    pub(in crate::weight) fn sum(self) -> Scalar {
        match self {
            Numbers::Floats => Scalar::F32,
            Numbers::Words => Scalar::I32,
        }
    }

    /// What X is packed into.
    pub(in crate::weight) fn x(self) -> Scalar {
        match self {
            Numbers::Floats => Scalar::F32,
            Numbers::Words => Scalar::U32,
        }
    }

    /// A sum of nothing.
    pub(in crate::weight) fn zero(self) -> Expr {
        match self {
            Numbers::Floats => Expr::f32(0.0),
            Numbers::Words => Expr::Int(0, Scalar::I32),
        }
    }

    fn product(self, weight: Expr, x: Expr, sum: Expr) -> Expr {
        match self {
            Numbers::Floats => Expr::fma(weight, x, sum),
            Numbers::Words => Expr::dot4(sum, x, weight),
        }
    }
}

/// Registers for the sums, and the loop that adds to them.
pub(in crate::weight) struct Panel {
    pub(in crate::weight) height: usize,
    pub(in crate::weight) lanes: usize,
    pub(in crate::weight) piece: Piece,
    pub(in crate::weight) numbers: Numbers,
    /// Elements from one packed row to the next.
    pitch: usize,
    acc: RegisterId,
    x: RegisterId,
    /// Sums and weights of a tail.
    tail: Option<(RegisterId, RegisterId)>,
}

impl Panel {
    /// Declares the registers.
    pub(in crate::weight) fn declare(c: &mut Context, pieces: &Pieces, piece: Piece, numbers: Numbers) -> Self {
        let Pieces { height, lanes, .. } = *pieces;
        let vector = |elem: Scalar| Type::vector(elem, lanes as u16);
        let short = Type::vector(numbers.sum(), height as u16);
        let acc = c.register("acc", vector(numbers.sum()), vec![height as u32, piece.vectors as u32]);
        let x = c.register("x_now", vector(numbers.x()), vec![piece.vectors as u32]);
        let tail = (piece.tail > 0)
            .then(|| (c.register("tail", short, vec![piece.tail as u32]), c.register("weights", short, vec![])));
        Panel { height, lanes, piece, numbers, pitch: pieces.pitch(), acc, x, tail }
    }

    /// The sum in a lane of vector `t` of row `r`.
    pub(in crate::weight) fn sum(&self, r: Expr, t: Expr) -> Expr {
        Expr::Reg(self.acc, vec![r, t])
    }

    /// Sets all sums: `vector` gives those of vector `t` of row `r` in lane `l`, `tail` those of pixel `q` of the tail in
    /// row `l`.
    pub(in crate::weight) fn set(
        &self,
        c: &mut Context,
        vector: &dyn Fn(Expr, Expr, Expr) -> Expr,
        tail: &dyn Fn(Expr, Expr) -> Expr,
    ) {
        self.each(c, &|c, r, t, l| c.set(self.acc, vec![r.clone(), t.clone()], vector(r, t, l)));
        if let Some((register, _)) = self.tail {
            self.each_tail(c, &|c, q, l| c.set(register, vec![q.clone()], tail(q, l)));
        }
    }

    /// Writes all sums to a buffer, at the places that `vector` and `tail` give (see [`Panel::set`]).
    pub(in crate::weight) fn rest(
        &self,
        c: &mut Context,
        to: BufferId,
        vector: &dyn Fn(Expr, Expr, Expr) -> Expr,
        tail: &dyn Fn(Expr, Expr) -> Expr,
    ) {
        self.each(c, &|c, r, t, l| c.store(to, vec![vector(r.clone(), t.clone(), l)], self.sum(r, t)));
        self.rest_tail(c, to, tail);
    }

    /// [`Panel::rest`] of the tail alone.
    pub(in crate::weight) fn rest_tail(&self, c: &mut Context, to: BufferId, tail: &dyn Fn(Expr, Expr) -> Expr) {
        if let Some((register, _)) = self.tail {
            self.each_tail(c, &|c, q, l| c.store(to, vec![tail(q.clone(), l)], Expr::Reg(register, vec![q])));
        }
    }

    /// Adds the products of `count` packed rows from element `row` of `rows` on with the weights from `weight` on.
    pub(in crate::weight) fn add_rows(
        &self,
        c: &mut Context,
        (rows, row): (BufferId, &Expr),
        (values, weight): (BufferId, &Expr),
        count: Expr,
    ) {
        c.serial("e", Expr::int(0), count, 1, |c, e| {
            let weight = c.bind_index("weight", weight.clone() + e.clone() * Expr::int(self.height as i64));
            let row = c.bind_index("row", row.clone() + e * Expr::int(self.pitch as i64));
            self.add_row(c, (rows, &row), (values, &weight));
        });
    }

    fn add_row(&self, c: &mut Context, (rows, row): (BufferId, &Expr), (values, weight): (BufferId, &Expr)) {
        let (lanes, height) = (self.lanes, self.height);
        let Panel { acc, x, .. } = *self;
        let t_count = self.piece.vectors as u32;
        c.unroll("t", t_count, |c, t| {
            c.vector(lanes as u16, None, |c, l| {
                let lane = row.clone() + t.clone() * Expr::int(lanes as i64) + l;
                c.set(x, vec![t], load(rows, vec![lane]));
            });
        });
        c.unroll("r", height as u32, |c, r| {
            let scalar = Type::scalar(self.numbers.sum());
            let value = c.bind("value", scalar, load(values, vec![weight.clone() + r.clone()]));
            c.unroll("t", t_count, |c, t| {
                c.vector(lanes as u16, None, |c, _| {
                    let own = Expr::Reg(x, vec![t.clone()]);
                    let sum = self.numbers.product(value.clone(), own, self.sum(r.clone(), t.clone()));
                    c.set(acc, vec![r, t], sum);
                });
            });
        });
        let Some((tail, weights)) = self.tail else { return };
        c.vector(height as u16, None, |c, l| c.set(weights, vec![], load(values, vec![weight.clone() + l])));
        c.unroll("q", self.piece.tail as u32, |c, q| {
            let pixel = row.clone() + Expr::int((self.piece.vectors * lanes) as i64) + q.clone();
            let pixel = c.bind("pixel", Type::scalar(self.numbers.x()), load(rows, vec![pixel]));
            c.vector(height as u16, None, |c, _| {
                let own = Expr::Reg(tail, vec![q.clone()]);
                let sum = self.numbers.product(Expr::Reg(weights, vec![]), pixel, own);
                c.set(tail, vec![q], sum);
            });
        });
    }

    /// Runs `f` for each row and vector, in a vector loop.
    fn each(&self, c: &mut Context, f: &dyn Fn(&mut Context, Expr, Expr, Expr)) {
        c.unroll("r", self.height as u32, |c, r| {
            c.unroll("t", self.piece.vectors as u32, |c, t| {
                c.vector(self.lanes as u16, None, |c, l| f(c, r, t, l));
            });
        });
    }

    /// Runs `f` for each pixel of the tail, in a loop over the rows as lanes.
    fn each_tail(&self, c: &mut Context, f: &dyn Fn(&mut Context, Expr, Expr)) {
        c.unroll("q", self.piece.tail as u32, |c, q| {
            c.vector(self.height as u16, None, |c, l| f(c, q, l));
        });
    }
}
