//! Whether the iterations of a loop write different elements.
//!
//! They do where the index of every store to a buffer is the loop's variable times a number, plus what is the same in all
//! iterations and for all stores, plus something that stays within that number: inner variables with constant bounds,
//! constants, lanes.

use std::collections::BTreeMap;

use sparsec_tir::{BinaryOp, BufferId, Expr, For, Stmt, VarId};

/// An index, as a function of the variable of one loop.
#[derive(Clone, Debug, Default, PartialEq)]
struct Linear {
    /// Times the variable.
    times: i64,
    /// What inner variables and constants add, at least and at most.
    low: i64,
    high: i64,
    /// What does not change, and how often it is added.
    same: Vec<(Expr, i64)>,
}

/// What is known of the variables that are defined within the loop.
#[derive(Clone)]
enum Inner<'k> {
    /// The value of a `let`.
    Is(&'k Expr),
    /// The variable of an inner loop, from the first to the last value.
    Within(i64, i64),
    /// Anything.
    Unknown,
}

struct Finder<'k> {
    var: VarId,
    inner: BTreeMap<VarId, Inner<'k>>,
    found: BTreeMap<BufferId, Vec<Option<(Linear, u16)>>>,
}

/// Whether no element is written by two iterations, from different lanes.
pub(super) fn iterations_are_disjoint(l: &For) -> bool {
    let mut finder = Finder { var: l.var, inner: BTreeMap::new(), found: BTreeMap::new() };
    finder.block(&l.body);
    finder.found.values().all(|stores| {
        let Some(stores) = stores.iter().cloned().collect::<Option<Vec<(Linear, u16)>>>() else { return false };
        // The first lane writes single elements, always.
        if stores.iter().all(|(_, lanes)| *lanes == 1) {
            return true;
        }
        let Some((first, _)) = stores.first() else { return true };
        let alike = stores.iter().all(|(s, _)| s.times == first.times && s.same == first.same);
        let low = stores.iter().map(|(s, _)| s.low).min().unwrap_or(0);
        let high = stores.iter().map(|(s, lanes)| s.high.saturating_add(i64::from(*lanes))).max().unwrap_or(0);
        alike && high.saturating_sub(low) <= first.times.saturating_mul(l.step).saturating_abs()
    })
}

impl<'k> Finder<'k> {
    fn block(&mut self, statements: &'k [Stmt]) {
        for statement in statements {
            match statement {
                Stmt::Let(var, e) => {
                    self.inner.insert(*var, Inner::Is(e));
                }
                Stmt::For(l) => {
                    let bounds = match (l.start.as_int(), l.end.as_int()) {
                        (Some(start), Some(end)) if start < end => Inner::Within(start, end - 1),
                        _ => Inner::Unknown,
                    };
                    self.inner.insert(l.var, bounds);
                    self.block(&l.body);
                }
                Stmt::If(_, yes, no) => {
                    self.block(yes);
                    self.block(no);
                }
                Stmt::Store(access, _) => {
                    let mut linear = Linear::default();
                    let known = access.index.iter().all(|e| self.linear(e, 1, &mut linear).is_some());
                    let entry = known.then_some((linear, access.lanes));
                    self.found.entry(access.buffer).or_default().push(entry);
                }
                // Where it writes follows from what its lanes hold.
                Stmt::SaveTile(to, ..) => self.found.entry(to.at.buffer).or_default().push(None),
                // These write to team buffers alone, and those are ordered by barriers.
                Stmt::Barrier | Stmt::CopyAsync(..) | Stmt::Spread(..) | Stmt::CommitCopies | Stmt::AwaitCopies(_) => {}
                Stmt::Set(..)
                | Stmt::CommitProducts
                | Stmt::AwaitProducts(_)
                | Stmt::Product(_)
                | Stmt::Prefetch(_)
                | Stmt::Comment(_) => {}
            }
        }
    }

    /// Adds so many times the expression; `None` where that is beyond this.
    fn linear(&self, e: &Expr, times: i64, out: &mut Linear) -> Option<()> {
        let mut between = |a: i64, b: i64| {
            let (a, b) = (a.checked_mul(times)?, b.checked_mul(times)?);
            out.low = out.low.checked_add(a.min(b))?;
            out.high = out.high.checked_add(a.max(b))?;
            Some(())
        };
        match e {
            Expr::Int(v, _) => between(*v, *v),
            Expr::Var(v) if *v == self.var => {
                out.times = out.times.checked_add(times)?;
                Some(())
            }
            Expr::Var(v) => match self.inner.get(v) {
                Some(Inner::Is(e)) => self.linear(e, times, out),
                Some(Inner::Within(a, b)) => between(*a, *b),
                Some(Inner::Unknown) => None,
                None => self.unchanging(e, times, out),
            },
            Expr::Binary(BinaryOp::Add, x, y) => {
                self.linear(x, times, out)?;
                self.linear(y, times, out)
            }
            Expr::Binary(BinaryOp::Sub, x, y) => {
                self.linear(x, times, out)?;
                self.linear(y, times.checked_neg()?, out)
            }
            Expr::Binary(BinaryOp::Mul, x, y) => match (x.as_int(), y.as_int()) {
                (Some(v), _) => self.linear(y, times.checked_mul(v)?, out),
                (_, Some(v)) => self.linear(x, times.checked_mul(v)?, out),
                _ => self.unchanging(e, times, out),
            },
            _ => self.unchanging(e, times, out),
        }
    }

    /// Only what is defined outside of the loop, and in no memory, is the same in all iterations.
    fn unchanging(&self, e: &Expr, times: i64, out: &mut Linear) -> Option<()> {
        let mut same = true;
        e.walk(&mut |e| {
            same &= match e {
                Expr::Var(v) => *v != self.var && !self.inner.contains_key(v),
                Expr::Load(_) | Expr::Gather(..) | Expr::Reg(..) => false,
                _ => true,
            };
        });
        same.then(|| out.same.push((e.clone(), times)))
    }
}
