//! Transcendental functions as polynomials over basic operations, lane by lane, without branches.
//!
//! Backends know no `exp`, `log`, `erf`, `tanh`, `sin`, `cos` or `pow`: [`expand_math`] rewrites them before a backend
//! sees a kernel. Steps that are used more than once become `let`s before the statement.
//!
//! Error bounds in units in the last place, checked by tests against `f64` references (for `f64`: of `libm`, itself
//! within one unit):
//!
//! | function | method | domain | f32 | f64 |
//! |---|---|---|---|---|
//! | exp | `2^k e^r`, `r` in ±ln 2 / 2, minimax polynomial | all; subnormal results too | 2 | 2 |
//! | tanh | f32: `x P(x²) / Q(x²)`; f64: `m / (m + 2)`, `m = e^2x - 1` from the same reduction | f32: from 1e-34 on | 6 | 3 |
//! | erf | odd polynomial; from 1 on `1 - P(x)`, f64: `1 - e^-x² R(x)` | all | 4 | 4 |
//! | log | `k ln 2 + log m`, `m` in √½..√2, minimax polynomial | all; NaN below 0 | 2 | 2 |
//! | sin, cos | two-step (f32: in f64) Cody-Waite reduction to ±π/4 | up to 1e5 in size | 2 | 4 |
//! | pow | f32: `exp(y log x)` in f64; f64: the same, error grows with `y log x` | all | 2 | 2 + 2 abs(y log x) |
//!
//! The sign of a zero result of sin and cos is not specified. `f16` and `bf16` are computed in `f32`. Polynomials are minimax fits by Remez exchange, the rational ones by
//! Lawson-weighted least squares, both with 60 digits. Methods: Muller, "Elementary Functions"; Cody and Waite,
//! "Software Manual for the Elementary Functions".

mod emit;
mod erf;
mod exp;
mod log;
mod trig;

use std::collections::BTreeSet;

use crate::{Access, BinaryOp, Expr, For, Kernel, LoopKind, Scalar, Stmt, Type, TypeError, UnaryOp, verify::type_in};
use emit::Emit;

/// Rewrites `exp`, `log`, `erf`, `tanh`, `sin`, `cos` and `pow` into basic operations.
///
/// # Errors
/// When an operand has no type.
pub fn expand_math(kernel: &mut Kernel) -> Result<(), TypeError> {
    let body = std::mem::take(&mut kernel.body);
    let mut names: BTreeSet<String> = kernel.params.iter().cloned().collect();
    names.extend(kernel.vars.iter().map(|v| v.name.clone()));
    names.extend(kernel.buffers.iter().map(|b| b.name.clone()));
    names.extend(kernel.registers.iter().map(|r| r.name.clone()));
    let mut pass = Pass { kernel, names, vector: None };
    let body = pass.block(&body);
    kernel.body = body?;
    Ok(())
}

struct Pass<'k> {
    kernel: &'k mut Kernel,
    names: BTreeSet<String>,
    vector: Option<u16>,
}

impl Pass<'_> {
    fn block(&mut self, body: &[Stmt]) -> Result<Vec<Stmt>, TypeError> {
        let mut out = Vec::with_capacity(body.len());
        for stmt in body {
            let new = self.stmt(stmt, &mut out)?;
            out.push(new);
        }
        Ok(out)
    }

    fn stmt(&mut self, stmt: &Stmt, out: &mut Vec<Stmt>) -> Result<Stmt, TypeError> {
        Ok(match stmt {
            Stmt::For(l) => {
                let start = self.expr(&l.start, out)?;
                let end = self.expr(&l.end, out)?;
                let outer = self.vector;
                if l.kind == LoopKind::Vector {
                    self.vector = l.end.as_int().and_then(|n| u16::try_from(n).ok());
                }
                let body = self.block(&l.body);
                self.vector = outer;
                Stmt::For(For { start, end, body: body?, ..l.clone() })
            }
            Stmt::Let(v, e) => Stmt::Let(*v, self.expr(e, out)?),
            Stmt::Set(r, index, e) => Stmt::Set(*r, index.clone(), self.expr(e, out)?),
            Stmt::Store(a, e) => {
                let a = self.access(a, out)?;
                Stmt::Store(a, self.expr(e, out)?)
            }
            Stmt::If(c, yes, no) => {
                let c = self.expr(c, out)?;
                Stmt::If(c, self.block(yes)?, self.block(no)?)
            }
            Stmt::Spread(a, e, distance) => {
                let a = self.access(a, out)?;
                Stmt::Spread(a, self.expr(e, out)?, *distance)
            }
            Stmt::Product(_)
            | Stmt::SaveTile(..)
            | Stmt::Barrier
            | Stmt::CopyAsync(..)
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_)
            | Stmt::Prefetch(_)
            | Stmt::Comment(_) => stmt.clone(),
        })
    }

    fn access(&mut self, access: &Access, out: &mut Vec<Stmt>) -> Result<Access, TypeError> {
        let mut error = None;
        let access = access.map_children(&mut |e| self.part(e, out, &mut error));
        error.map_or(Ok(access), Err)
    }

    fn part(&mut self, e: &Expr, out: &mut Vec<Stmt>, error: &mut Option<TypeError>) -> Expr {
        self.expr(e, out).unwrap_or_else(|err| {
            error.get_or_insert(err);
            e.clone()
        })
    }

    fn expr(&mut self, e: &Expr, out: &mut Vec<Stmt>) -> Result<Expr, TypeError> {
        let mut has_math = false;
        e.walk(&mut |e| {
            has_math |= is_math(e);
        });
        if !has_math {
            return Ok(e.clone());
        }
        let mut error = None;
        let expanded = match e {
            // Raw, so that nothing is folded that the interpreter would see otherwise.
            Expr::Binary(op, x, y) => {
                let x = self.part(x, out, &mut error);
                Expr::Binary(*op, Box::new(x), Box::new(self.part(y, out, &mut error)))
            }
            _ => e.map_children(&mut |e| self.part(e, out, &mut error)),
        };
        if let Some(error) = error {
            return Err(error);
        }
        match &expanded {
            Expr::Unary(op, x) if is_math(&expanded) => {
                let ty = type_in(self.kernel, x, self.vector)?;
                Ok(self.function(ty, out, |m, s| {
                    let x = m.bind_widened("x", x, ty.scalar);
                    match op {
                        UnaryOp::Exp => exp::exp(m, s, x),
                        UnaryOp::Tanh => exp::tanh(m, s, x),
                        UnaryOp::Erf => erf::erf(m, s, x),
                        UnaryOp::Log => log::log(m, s, x),
                        UnaryOp::Sin => trig::sin(m, s, x),
                        _ => trig::cos(m, s, x),
                    }
                }))
            }
            Expr::Binary(BinaryOp::Pow, x, y) => {
                let (tx, ty) = (type_in(self.kernel, x, self.vector)?, type_in(self.kernel, y, self.vector)?);
                let joined = Type::vector(tx.scalar, tx.lanes.max(ty.lanes));
                let splat = |e: &Expr, ty: Type| match ty.lanes < joined.lanes {
                    true => Expr::Splat(Box::new(e.clone()), joined.lanes),
                    false => e.clone(),
                };
                let (x, y) = (splat(x, tx), splat(y, ty));
                Ok(self.function(joined, out, |m, s| {
                    let x = m.bind_widened("x", &x, joined.scalar);
                    let y = m.bind_widened("y", &y, joined.scalar);
                    log::pow(m, s, x, y)
                }))
            }
            _ => Ok(expanded),
        }
    }

    /// Runs an expansion in `f32` or `f64` and converts its result to the type.
    fn function(&mut self, ty: Type, out: &mut Vec<Stmt>, f: impl FnOnce(&mut Emit<'_>, Scalar) -> Expr) -> Expr {
        let s = if ty.scalar == Scalar::F64 { Scalar::F64 } else { Scalar::F32 };
        let mut m = Emit::new(&mut self.kernel.vars, &mut self.names, out, ty.lanes);
        let result = f(&mut m, s);
        if s == ty.scalar { result } else { result.convert(ty.scalar) }
    }
}

/// Whether backends don't know this operation.
pub(crate) fn is_math(e: &Expr) -> bool {
    match e {
        Expr::Unary(op, _) => {
            matches!(op, UnaryOp::Exp | UnaryOp::Log | UnaryOp::Erf | UnaryOp::Tanh | UnaryOp::Sin | UnaryOp::Cos)
        }
        Expr::Binary(op, ..) => *op == BinaryOp::Pow,
        _ => false,
    }
}
