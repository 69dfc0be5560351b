//! Kernels that walk along one axis: reductions, softmax, normalisation.
//!
//! A tensor is seen as `outer x len x inner`, `len` being the axis. Where the axis is innermost, vectors run along it
//! and are reduced at the end; otherwise vectors run along `inner`, and each lane is a line of its own. [`Line`] hides
//! the difference.

use sparsec_graph::Dim;
use sparsec_tir::{Access, BufferId, BufferKind, CompareOp, Expr, ReduceOp, RegisterId, Scalar, Stmt, Type};

use crate::context::Context;
use crate::target::TargetInfo;

/// `outer x len x inner`.
#[derive(Clone, Debug)]
pub(crate) struct AxisView {
    pub(crate) outer: Dim,
    pub(crate) len: Dim,
    pub(crate) inner: Dim,
}

impl AxisView {
    /// The view of a shape whose axes `first..first + count` are the line.
    pub(crate) fn of(shape: &[Dim], first: usize, count: usize) -> Self {
        AxisView {
            outer: Dim::product(&shape[..first]),
            len: Dim::product(&shape[first..first + count]),
            inner: Dim::product(&shape[first + count..]),
        }
    }

    fn along(&self) -> bool {
        self.inner.is(1)
    }
}

/// Vectors of lines that lie side by side which a task takes at once, so that several sums are in flight and whole cache lines
/// are read...
const WIDE: u16 = 2;
/// ...where that leaves so many tasks.
const TASKS: i64 = 4;
/// Targets with more lanes have a lane for each thread.
const MOST_LANES: u16 = 16;
/// Places of a line to be asked for ahead of the one that is read: other threads may have written them, and they lie
/// further apart than hardware prefetchers follow.
const AHEAD: i64 = 16;
/// Bytes of a cache line.
const CACHE_LINE: usize = 64;

/// The lines that one iteration of the parallel loop works on.
pub(crate) struct Line {
    along: bool,
    lanes: u16,
    outer: Expr,
    len: Expr,
    first_inner: Expr,
    inner: Expr,
}

impl Line {
    /// Runs `f` for each line (or each vector of lines) in parallel.
    pub(crate) fn for_each(c: &mut Context, view: &AxisView, target: &TargetInfo, f: impl FnOnce(&mut Context, &Line)) {
        let along = view.along();
        let tasks = view.outer.as_const().unwrap_or(1).saturating_mul(view.inner.as_const().unwrap_or(0));
        let wide = !along && target.lanes <= MOST_LANES && tasks >= TASKS * i64::from(WIDE * target.lanes);
        let lanes = if wide { WIDE * target.lanes } else { target.lanes };
        let vectors = view.inner.ceil_div(&Dim::constant(i64::from(lanes)));
        let (len, inner) = (c.dim(&view.len), c.dim(&view.inner));
        if along {
            let outer = c.dim(&view.outer);
            c.parallel("o", outer, |c, outer| {
                f(c, &Line { along, lanes, outer, len, first_inner: Expr::int(0), inner });
            });
            return;
        }
        let (tasks, vectors) = (c.dim(&(view.outer.clone() * vectors.clone())), c.dim(&vectors));
        c.parallel("task", tasks, |c, task| {
            let outer = c.bind_index("o", task.clone().floor_div(vectors.clone()));
            let first_inner = c.bind_index("i", task.rem(vectors) * Expr::int(i64::from(lanes)));
            f(c, &Line { along, lanes, outer, len, first_inner, inner });
        });
    }

    /// A register with a lane for each element in flight.
    pub(crate) fn register(&self, c: &mut Context, name: &str, scalar: Scalar) -> RegisterId {
        c.register(name, Type::vector(scalar, self.lanes), vec![])
    }

    /// Sets every lane of a register.
    pub(crate) fn fill(&self, c: &mut Context, register: RegisterId, value: Expr) {
        c.vector(self.lanes, None, |c, _| c.set(register, vec![], value));
    }

    /// Runs `f` at each element: with its index, its place on the line, and, where lanes may lie behind the line's
    /// end, the condition that they don't.
    pub(crate) fn walk(&self, c: &mut Context, f: impl FnOnce(&mut Context, Vec<Expr>, Expr, Option<Expr>)) {
        if self.along {
            c.serial("j", Expr::int(0), self.len.clone(), i64::from(self.lanes), |c, j| {
                let even = self.len.as_int().is_some_and(|n| n % i64::from(self.lanes) == 0);
                let active = (!even).then(|| self.len.clone() - j.clone());
                c.vector(self.lanes, active, |c, l| {
                    let at = j + l;
                    let inside = (!even).then(|| Expr::compare(CompareOp::Lt, at.clone(), self.len.clone()));
                    f(c, vec![self.outer.clone(), at.clone(), Expr::int(0)], at, inside);
                });
            });
            return;
        }
        c.serial("j", Expr::int(0), self.len.clone(), 1, |c, j| self.at(c, &j, f));
    }

    /// [`Line::walk`], which asks ahead for the elements of `from`, of `size` bytes each, where they are read for the first
    /// time.
    pub(crate) fn walk_first(
        &self,
        c: &mut Context,
        (from, size): (BufferId, usize),
        f: impl FnOnce(&mut Context, Vec<Expr>, Expr, Option<Expr>),
    ) {
        if self.along {
            return self.walk(c, f);
        }
        c.serial("j", Expr::int(0), self.len.clone(), 1, |c, j| {
            for first in (0..usize::from(self.lanes)).step_by((CACHE_LINE / size).max(1)) {
                let inner = self.first_inner.clone() + Expr::int(first as i64);
                let ahead = j.clone() + Expr::int(AHEAD);
                c.push(Stmt::Prefetch(Access::element(from, vec![self.outer.clone(), ahead, inner])));
            }
            self.at(c, &j, f);
        });
    }

    /// Runs `f` at place `j` of lines that lie side by side.
    fn at(&self, c: &mut Context, j: &Expr, f: impl FnOnce(&mut Context, Vec<Expr>, Expr, Option<Expr>)) {
        let active = self.inner.clone() - self.first_inner.clone();
        c.vector(self.lanes, Some(active), |c, l| {
            f(c, vec![self.outer.clone(), j.clone(), self.first_inner.clone() + l], j.clone(), None);
        });
    }

    /// The reduction of a register over the elements of a line, ready for use in [`Line::walk`] and [`Line::derive`].
    pub(crate) fn total(&self, c: &mut Context, register: RegisterId, op: ReduceOp, scalar: Scalar) -> Expr {
        let value = Expr::Reg(register, vec![]);
        if self.along { c.bind("total", Type::scalar(scalar), Expr::Reduce(op, Box::new(value))) } else { value }
    }

    /// A value computed once per line.
    pub(crate) fn derive(&self, c: &mut Context, scalar: Scalar, value: impl FnOnce(&mut Context) -> Expr) -> Expr {
        if self.along {
            let value = value(c);
            return c.bind("derived", Type::scalar(scalar), value);
        }
        let register = c.register("derived", Type::vector(scalar, self.lanes), vec![]);
        c.vector(self.lanes, None, |c, _| {
            let value = value(c);
            c.set(register, vec![], value);
        });
        Expr::Reg(register, vec![])
    }

    /// Stores one value per line.
    pub(crate) fn store(&self, c: &mut Context, to: BufferId, value: Expr) {
        if self.along {
            c.store(to, vec![self.outer.clone(), Expr::int(0)], value);
            return;
        }
        let active = self.inner.clone() - self.first_inner.clone();
        c.vector(self.lanes, Some(active), |c, l| {
            c.store(to, vec![self.outer.clone(), self.first_inner.clone() + l], value);
        });
    }
}

/// Declares a buffer of the view's shape.
pub(crate) fn declare(c: &mut Context, name: &str, elem: Scalar, kind: BufferKind, view: &AxisView) -> BufferId {
    let shape = c.dims(&[view.outer.clone(), view.len.clone(), view.inner.clone()]);
    c.buffer(name, elem, kind, shape, vec![])
}

/// `value` where `inside` holds, else `neutral`.
pub(crate) fn guarded(inside: Option<Expr>, value: Expr, neutral: Expr) -> Expr {
    match inside {
        None => value,
        Some(inside) => Expr::select(inside, value, neutral),
    }
}
