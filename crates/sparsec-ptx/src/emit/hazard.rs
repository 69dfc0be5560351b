//! Where the lanes of a warp have to wait for each other because one touches what another wrote.
//!
//! Lanes of one warp need not run in step. So between a store and a load of the same buffer, or the other way round, stands a
//! `bar.warp.sync`, unless one stood there already. So it does between two stores to one buffer, unless they write different
//! elements, or each element from the same lane. What stores of different iterations write is told by `disjoint.rs`.
//!
//! Team buffers are not tracked: the kernel's own barriers order them, for which all lanes of a block wait.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_tir::{Access, BufferId, BufferKind, Expr, Kernel, Product, Stmt};

use crate::Address;

/// What a store writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    /// Where, of the first element; `None`: anywhere in the buffer.
    pub(super) address: Option<Address>,
    /// Elements.
    pub(super) lanes: u16,
    /// All of them.
    pub(super) bytes: u32,
}

impl Spot {
    pub(super) fn anywhere(lanes: u16) -> Spot {
        Spot { address: None, lanes, bytes: 0 }
    }

    /// Whether both can be written without waiting in between.
    fn agrees(self, other: Spot) -> bool {
        if self.lanes == 1 && other.lanes == 1 {
            // The first lane writes both.
            return true;
        }
        let (Some(a), Some(b)) = (self.address, other.address) else { return false };
        let (from, other_from) = (i64::from(a.offset), i64::from(b.offset));
        let same_lanes = from == other_from && self.lanes == other.lanes;
        let apart = from + i64::from(self.bytes) <= other_from || other_from + i64::from(other.bytes) <= from;
        a.base == b.base && (same_lanes || apart)
    }
}

/// What was read and written since the lanes last waited.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    read: BTreeSet<BufferId>,
    written: BTreeMap<BufferId, BTreeSet<Spot>>,
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

    pub(super) fn of_product(kernel: &Kernel, p: &Product) -> Touched {
        let mut touched = Touched::default();
        touched.product(kernel, p);
        touched
    }

    pub(super) fn of_store(kernel: &Kernel, buffer: BufferId, spot: Spot) -> Touched {
        let mut touched = Touched::default();
        touched.store(kernel, buffer, spot);
        touched
    }

    pub(super) fn add(&mut self, other: &Touched) {
        self.read.extend(&other.read);
        for (buffer, spots) in &other.written {
            self.written.entry(*buffer).or_default().extend(spots);
        }
    }

    /// Whether what comes next has to wait for this.
    pub(super) fn conflicts(&self, next: &Touched) -> bool {
        let agree = |a: &BTreeSet<Spot>, b: &BTreeSet<Spot>| a.iter().all(|x| b.iter().all(|y| x.agrees(*y)));
        self.reads_conflict(next)
            || next.written.iter().any(|(b, spots)| self.written.get(b).is_some_and(|mine| !agree(mine, spots)))
    }

    /// Whether one reads what the other writes.
    pub(super) fn reads_conflict(&self, other: &Touched) -> bool {
        other.read.iter().any(|b| self.written.contains_key(b)) || other.written.keys().any(|b| self.read.contains(b))
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
                self.store(kernel, access.buffer, Spot::anywhere(access.lanes));
            }
            Stmt::If(c, yes, no) => {
                self.expr(kernel, c);
                yes.iter().chain(no).for_each(|s| self.statement(kernel, s));
            }
            Stmt::Product(p) => self.product(kernel, p),
            Stmt::SaveTile(to, ..) => {
                to.at.index.iter().for_each(|i| self.expr(kernel, i));
                self.store(kernel, to.at.buffer, Spot::anywhere(2));
            }
            Stmt::CopyAsync(to, from) => {
                let counts = from.active.as_deref();
                to.index.iter().chain(&from.index).chain(counts).for_each(|i| self.expr(kernel, i));
            }
            // What stands before a barrier is not forgotten here: of a loop it may be what stands behind it in the next iteration.
            Stmt::Barrier
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_) => {}
            Stmt::Spread(to, e, _) => {
                to.index.iter().for_each(|i| self.expr(kernel, i));
                self.expr(kernel, e);
            }
            Stmt::Prefetch(_) | Stmt::Comment(_) => {}
        }
    }

    fn product(&mut self, kernel: &Kernel, p: &Product) {
        p.exprs().for_each(|e| self.expr(kernel, e));
        self.read.extend(p.reads().filter(|b| is_tracked(kernel, *b)));
    }

    fn store(&mut self, kernel: &Kernel, buffer: BufferId, spot: Spot) {
        if is_tracked(kernel, buffer) {
            self.written.entry(buffer).or_default().insert(spot);
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
    kernel.buffers.get(buffer.index()).is_some_and(|b| matches!(b.kind, BufferKind::Output | BufferKind::Scratch))
}
