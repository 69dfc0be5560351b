//! Where the lanes of a warp have to wait for each other because one reads what another wrote.
//!
//! Lanes of one warp need not run in step. So between a store and a load of the same buffer, or the other way round, stands a
//! `bar.warp.sync`, unless one stood there already. Buffers that are only read need none, nor do stores of equal width to a
//! buffer that is never read, since each lane then writes what is its own.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_tir::{Access, BufferId, BufferKind, Expr, Kernel, Stmt};

/// What was read and written since the lanes last waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    read: BTreeSet<BufferId>,
    /// With the lanes of the stores.
    written: BTreeMap<BufferId, BTreeSet<u16>>,
}

impl Touched {
    /// What statements touch, of buffers that are not only read.
    pub(super) fn of(kernel: &Kernel, body: &[Stmt]) -> Touched {
        let mut touched = Touched::default();
        body.iter().for_each(|s| touched.statement(kernel, s));
        touched
    }

    pub(super) fn of_expr(kernel: &Kernel, e: &Expr) -> Touched {
        let mut touched = Touched::default();
        touched.expr(kernel, e);
        touched
    }

    pub(super) fn of_store(kernel: &Kernel, access: &Access) -> Touched {
        let mut touched = Touched::default();
        touched.store(kernel, access);
        touched
    }

    pub(super) fn add(&mut self, other: &Touched) {
        self.read.extend(&other.read);
        for (buffer, lanes) in &other.written {
            self.written.entry(*buffer).or_default().extend(lanes);
        }
    }

    /// Whether what comes next has to wait for this.
    pub(super) fn conflicts(&self, next: &Touched) -> bool {
        next.read.iter().any(|b| self.written.contains_key(b))
            || next.written.keys().any(|b| self.read.contains(b))
            || next.written.iter().any(|(b, lanes)| self.written.get(b).is_some_and(|l| l != lanes || l.len() > 1))
    }

    fn statement(&mut self, kernel: &Kernel, statement: &Stmt) {
        match statement {
            Stmt::For(l) => {
                self.expr(kernel, &l.start);
                self.expr(kernel, &l.end);
                l.body.iter().for_each(|s| self.statement(kernel, s));
            }
            Stmt::Let(_, e) => self.expr(kernel, e),
            Stmt::Set(_, index, e) => {
                index.iter().for_each(|i| self.expr(kernel, i));
                self.expr(kernel, e);
            }
            Stmt::Store(access, e) => {
                self.expr(kernel, e);
                access.index.iter().chain(access.active.as_deref()).for_each(|i| self.expr(kernel, i));
                self.store(kernel, access);
            }
            Stmt::If(c, yes, no) => {
                self.expr(kernel, c);
                yes.iter().chain(no).for_each(|s| self.statement(kernel, s));
            }
            Stmt::Prefetch(_) | Stmt::Comment(_) => {}
        }
    }

    fn store(&mut self, kernel: &Kernel, access: &Access) {
        if is_tracked(kernel, access.buffer) {
            self.written.entry(access.buffer).or_default().insert(access.lanes);
        }
    }

    fn expr(&mut self, kernel: &Kernel, e: &Expr) {
        e.walk(&mut |e| {
            if let Expr::Load(Access { buffer, .. }) | Expr::Gather(buffer, _) = e
                && is_tracked(kernel, *buffer)
            {
                self.read.insert(*buffer);
            }
        });
    }
}

fn is_tracked(kernel: &Kernel, buffer: BufferId) -> bool {
    kernel.buffers.get(buffer.index()).is_some_and(|b| b.kind != BufferKind::Input)
}
