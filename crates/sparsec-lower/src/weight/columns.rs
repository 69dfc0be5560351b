//! The order in which kernels of tensor cores take the columns of a weight.
//!
//! A weight's columns are (channel, window position). A step is that many columns next to each other, and steps of zeros are left out. In the
//! order (window position, channel), a step of 16 columns is 16 channels at one position, so that channels that were pruned and 2:4 entries,
//! which lie along channels, keep their steps. Blocks of zeros lie in the weight's own order, which is taken where it leaves more steps out.

use std::borrow::Cow;

use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, TILE_ROWS};

use crate::context::Context;
use crate::weight::matrix::WeightMatrix;
use crate::weight::patches::narrow;
use crate::weight::problem::WeightProblem;

/// What varies slowest along the columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Channel,
    Position,
}

/// An order of columns.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    order: Order,
    channels: usize,
    /// Columns of a position: its channels, filled up to whole groups of four where two of each four are stored.
    pitch: usize,
    /// Rows and columns of the window.
    window: (usize, usize),
}

/// A column's place, as a kernel computes it.
pub(super) struct ColumnPlace {
    /// The channel; 0 where there is none.
    pub(super) channel: Expr,
    /// Row and column of the window.
    pub(super) window: [Expr; 2],
    /// Whether the weight has the column.
    pub(super) exists: Expr,
}

impl Columns {
    /// The order with the fewest steps of `depth` columns that are not all zeros.
    pub(super) fn choose(p: &WeightProblem, weight: &WeightMatrix, depth: usize, sparse: bool) -> Columns {
        let window = (p.rows.kernel, p.cols.kernel);
        let own = Columns { order: Order::Channel, channels: p.channels, pitch: p.channels, window };
        if p.kernel_size() == 1 {
            return own;
        }
        let pitch = if sparse { p.channels.next_multiple_of(4) } else { p.channels };
        let by_position = Columns { order: Order::Position, pitch, ..own.clone() };
        if !sparse && own.steps(weight, p.m, depth) < by_position.steps(weight, p.m, depth) {
            return own;
        }
        by_position
    }

    fn positions(&self) -> usize {
        self.window.0 * self.window.1
    }

    /// Columns in all.
    pub(super) fn count(&self) -> usize {
        self.pitch * self.positions()
    }

    /// For the comments of kernels.
    pub(super) fn describe(&self) -> &'static str {
        match self.order {
            Order::Channel => "channel by channel",
            Order::Position => "position by position",
        }
    }

    /// The elements of a weight, row by row, in this order.
    pub(super) fn dense<'w>(&self, weight: &'w WeightMatrix) -> Cow<'w, [f32]> {
        let own = weight.dense();
        if self.order == Order::Channel {
            return own;
        }
        let (positions, count) = (self.positions(), self.count());
        let mut ordered = vec![0.0; weight.outputs() * count];
        for (row, line) in ordered.chunks_exact_mut(count).enumerate() {
            for (position, group) in line.chunks_exact_mut(self.pitch).enumerate() {
                let from = row * self.channels * positions + position;
                group
                    .iter_mut()
                    .zip(own[from..].iter().step_by(positions))
                    .take(self.channels)
                    .for_each(|(to, v)| *to = *v);
            }
        }
        Cow::Owned(ordered)
    }

    /// Steps that are not all zeros.
    fn steps(&self, weight: &WeightMatrix, m: usize, depth: usize) -> usize {
        let (dense, k) = (self.dense(weight), self.count());
        let is_zero = |row: usize, column: usize| {
            let columns = column..(column + depth).min(k);
            (row..(row + TILE_ROWS).min(m)).all(|r| dense[r * k..][columns.clone()].iter().all(|v| *v == 0.0))
        };
        let all = (0..m).step_by(TILE_ROWS).flat_map(|row| (0..k).step_by(depth).map(move |column| (row, column)));
        all.filter(|&(row, column)| !is_zero(row, column)).count()
    }

    /// As many neighbouring columns, from a multiple of it on, as share a position, and of which all or none exist: at most `most`, a
    /// power of two.
    pub(super) fn together(&self, most: usize) -> usize {
        let mut each = if self.order == Order::Position { most } else { 1 };
        while !self.channels.is_multiple_of(each) || !self.pitch.is_multiple_of(each) {
            each /= 2;
        }
        each
    }

    /// Where a column of this number lies.
    pub(super) fn place(&self, c: &mut Context, column: &Expr) -> ColumnPlace {
        let int = |n: usize| Expr::int(n as i64);
        let (inner, kw) = match self.order {
            Order::Channel => (self.positions(), self.window.1),
            Order::Position => (self.pitch, self.window.1),
        };
        // Columns are counted in 32 bits: GPUs divide those by a constant without a branch.
        let quotient = |c: &mut Context, name, at: &Expr, by: usize| {
            let by = Expr::Int(by as i64, Scalar::I32);
            c.bind_index(name, Expr::binary(BinaryOp::Div, narrow(at.clone()), by).convert(Scalar::I64))
        };
        let outer = quotient(c, "outer_column", column, inner);
        let inner = c.bind_index("inner_column", column.clone() - outer.clone() * int(inner));
        let (channel, position) = match self.order {
            Order::Channel => (outer, inner),
            Order::Position => (inner, outer),
        };
        let row = quotient(c, "window_row", &position, kw);
        let col = c.bind_index("window_col", position - row.clone() * int(kw));
        let mut exists = Expr::compare(CompareOp::Lt, column.clone(), int(self.count()));
        if self.pitch != self.channels {
            let real = Expr::compare(CompareOp::Lt, channel.clone(), int(self.channels));
            exists = Expr::binary(BinaryOp::And, exists, real);
        }
        let channel = c.bind_index("channel", Expr::select(exists.clone(), channel, Expr::int(0)));
        ColumnPlace { channel, window: [row, col], exists }
    }
}
