//! Teams of warps: where their loop, their buffers and their barriers stand.

use std::collections::BTreeSet;

use super::Errors;
use crate::{Access, BufferKind, Expr, For, GROUP_WARPS, Kernel, LoopKind, Product, Stmt, VarId, print::stmt_text};

/// Whether a statement is a barrier or has one in it.
pub(crate) fn has_barrier(stmt: &Stmt) -> bool {
    match stmt {
        Stmt::Barrier => true,
        Stmt::For(l) => l.body.iter().any(has_barrier),
        Stmt::If(_, yes, no) => yes.iter().chain(no).any(has_barrier),
        _ => false,
    }
}

pub(super) fn verify(kernel: &Kernel, errors: &mut Errors) {
    let mut v = Team { kernel, errors, inside: false, varying: BTreeSet::new() };
    match kernel.parallel_loop() {
        Some(l) => {
            v.expr("parallel", &l.start);
            v.expr("parallel", &l.end);
            let loops = l.body.iter().filter(|s| is_warps(s)).count();
            for stmt in &l.body {
                match stmt {
                    Stmt::For(warps) if warps.kind == LoopKind::Warps => {
                        let text = stmt_text(kernel, stmt);
                        v.errors.check(loops == 1, &text, "there are several teams");
                        v.inside = true;
                        v.varying.insert(warps.var);
                        v.block(&warps.body, false);
                        v.inside = false;
                    }
                    Stmt::Let(..) | Stmt::Comment(_) => v.stmt(stmt, false),
                    _ => {
                        let text = stmt_text(kernel, stmt);
                        v.errors.check(loops == 0, &text, "stands beside a team");
                        v.stmt(stmt, false);
                    }
                }
            }
        }
        None => v.block(&kernel.body, false),
    }
}

fn is_warps(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::For(l) if l.kind == LoopKind::Warps)
}

struct Team<'k> {
    kernel: &'k Kernel,
    errors: &'k mut Errors,
    inside: bool,
    /// Variables that may differ from warp to warp.
    varying: BTreeSet<VarId>,
}

impl Team<'_> {
    fn block(&mut self, body: &[Stmt], parted: bool) {
        body.iter().for_each(|s| self.stmt(s, parted));
    }

    /// `parted`: whether some warps of the team may not come here.
    fn stmt(&mut self, stmt: &Stmt, parted: bool) {
        let place = stmt_text(self.kernel, stmt);
        match stmt {
            Stmt::For(l) => self.for_loop(&place, l, parted),
            Stmt::Let(v, e) => {
                self.expr(&place, e);
                if self.varies(e) {
                    self.varying.insert(*v);
                }
            }
            Stmt::Set(_, index, e) => index.iter().chain([e]).for_each(|e| self.expr(&place, e)),
            Stmt::Store(access, e) => {
                self.access(&place, access);
                self.expr(&place, e);
            }
            Stmt::If(c, yes, no) => {
                self.expr(&place, c);
                let parted = parted || self.varies(c);
                self.block(yes, parted);
                self.block(no, parted);
            }
            Stmt::Product(p) => {
                p.exprs().for_each(|e| self.expr(&place, e));
                p.reads().for_each(|b| self.buffer(&place, b));
                if p.group.is_some() {
                    self.group(&place, p, parted);
                }
            }
            Stmt::SaveTile(to, ..) => self.access(&place, &to.at),
            Stmt::Barrier => {
                self.errors.check(self.inside, &place, "stands in no team");
                self.errors.check(!parted, &place, "not all warps of the team come to the barrier");
            }
            Stmt::CopyAsync(to, from) => {
                self.errors.check(self.inside, &place, "stands in no team");
                self.access(&place, to);
                self.access(&place, from);
            }
            Stmt::CommitCopies | Stmt::AwaitCopies(_) => {
                self.errors.check(self.inside, &place, "stands in no team");
            }
            Stmt::Spread(to, e, _) => {
                self.errors.check(self.inside, &place, "stands in no team");
                self.access(&place, to);
                self.expr(&place, e);
            }
            Stmt::CommitProducts | Stmt::AwaitProducts(_) => self.come_together(&place, parted),
            Stmt::Prefetch(access) => self.access(&place, access),
            Stmt::Comment(_) => {}
        }
    }

    /// Four warps multiply the same.
    fn group(&mut self, place: &str, p: &Product, parted: bool) {
        self.come_together(place, parted);
        let differ = p.exprs().any(|e| self.varies(e));
        self.errors.check(!differ, place, "the warps of a group have different factors");
    }

    fn come_together(&mut self, place: &str, parted: bool) {
        let groups = self.kernel.team().is_some_and(|warps| (warps as usize).is_multiple_of(GROUP_WARPS));
        self.errors.check(self.inside && groups, place, "stands in no team of groups of four warps");
        self.errors.check(!parted, place, "not all warps of the group come here");
    }

    fn for_loop(&mut self, place: &str, l: &For, parted: bool) {
        self.errors.check(l.kind != LoopKind::Warps, place, "does not stand in the parallel loop");
        [&l.start, &l.end].into_iter().chain(&l.active).for_each(|e| self.expr(place, e));
        let differ = self.varies(&l.start) || self.varies(&l.end);
        if differ {
            self.varying.insert(l.var);
        }
        let barred = l.kind == LoopKind::Vector && l.body.iter().any(has_barrier);
        self.errors.check(!barred, place, "a barrier stands in a vector loop");
        self.block(&l.body, parted || differ);
    }

    fn access(&mut self, place: &str, access: &Access) {
        self.buffer(place, access.buffer);
        access.index.iter().chain(access.active.as_deref()).for_each(|e| self.expr(place, e));
    }

    fn expr(&mut self, place: &str, e: &Expr) {
        let mut read = Vec::new();
        e.walk(&mut |e| {
            if let Expr::Load(Access { buffer, .. }) | Expr::Gather(buffer, _) = e {
                read.push(*buffer);
            }
        });
        read.into_iter().for_each(|b| self.buffer(place, b));
    }

    fn buffer(&mut self, place: &str, buffer: crate::BufferId) {
        let shared = self.kernel.buffers.get(buffer.index()).is_some_and(|b| b.kind == BufferKind::Team);
        self.errors.check(self.inside || !shared, place, "a team buffer is used outside of the team");
    }

    /// Whether a value may differ from warp to warp.
    fn varies(&self, e: &Expr) -> bool {
        let input =
            |b: &crate::BufferId| self.kernel.buffers.get(b.index()).is_some_and(|b| b.kind == BufferKind::Input);
        let mut varies = false;
        e.walk(&mut |e| {
            varies |= match e {
                Expr::Var(v) => self.varying.contains(v),
                Expr::Reg(..) => true,
                Expr::Load(Access { buffer, .. }) | Expr::Gather(buffer, _) => !input(buffer),
                _ => false,
            };
        });
        varies
    }
}
