//! Makes splats explicit, so that operands in Stage III have equal lanes.

use crate::{Access, Expr, For, Kernel, Stmt, Type, TypeError, type_of, verify::type_of_access};

/// Inserts [`Expr::Splat`] wherever a scalar meets a vector.
pub(super) fn splat_operands(kernel: &mut Kernel) -> Result<(), TypeError> {
    let body = std::mem::take(&mut kernel.body);
    kernel.body = block(kernel, body)?;
    Ok(())
}

fn block(k: &Kernel, body: Vec<Stmt>) -> Result<Vec<Stmt>, TypeError> {
    body.into_iter().map(|s| stmt(k, s)).collect()
}

fn stmt(k: &Kernel, stmt: Stmt) -> Result<Stmt, TypeError> {
    Ok(match stmt {
        Stmt::For(l) => Stmt::For(For {
            start: expr(k, &l.start)?,
            end: expr(k, &l.end)?,
            body: block(k, l.body)?,
            active: l.active.map(|a| expr(k, &a)).transpose()?,
            ..l
        }),
        Stmt::Let(v, e) => {
            let lanes = k.vars.get(v.index()).ok_or(TypeError::UnknownVar(v))?.ty.lanes;
            Stmt::Let(v, to_lanes(k, expr(k, &e)?, lanes)?)
        }
        Stmt::Set(r, index, e) => {
            let lanes = k.registers.get(r.index()).ok_or(TypeError::UnknownRegister(r))?.ty.lanes;
            let index = index.iter().map(|i| expr(k, i)).collect::<Result<_, _>>()?;
            Stmt::Set(r, index, to_lanes(k, expr(k, &e)?, lanes)?)
        }
        Stmt::Store(a, e) => {
            let a = access(k, &a)?;
            let value = to_lanes(k, expr(k, &e)?, type_of_access(k, &a, None)?.lanes)?;
            Stmt::Store(a, value)
        }
        Stmt::If(c, yes, no) => Stmt::If(expr(k, &c)?, block(k, yes)?, block(k, no)?),
        Stmt::Product(p) => Stmt::Product(Box::new(p.try_map(&mut |a| access(k, a), &mut |e| expr(k, e))?)),
        Stmt::SaveTile(to, r, index) => {
            let index = index.iter().map(|i| expr(k, i)).collect::<Result<_, _>>()?;
            Stmt::SaveTile(to.try_map(&mut |a| access(k, a), &mut |e| expr(k, e))?, r, index)
        }
        Stmt::CopyAsync(to, from) => Stmt::CopyAsync(access(k, &to)?, access(k, &from)?),
        Stmt::Spread(a, e, distance) => {
            let a = access(k, &a)?;
            let value = to_lanes(k, expr(k, &e)?, type_of_access(k, &a, None)?.lanes)?;
            Stmt::Spread(a, value, distance)
        }
        Stmt::Barrier | Stmt::CommitCopies | Stmt::AwaitCopies(_) | Stmt::CommitProducts | Stmt::AwaitProducts(_) => {
            stmt
        }
        Stmt::Prefetch(a) => Stmt::Prefetch(access(k, &a)?),
        Stmt::Comment(text) => Stmt::Comment(text),
    })
}

fn access(k: &Kernel, access: &Access) -> Result<Access, TypeError> {
    map(access, |a, f| a.map_children(f), k)
}

fn expr(k: &Kernel, e: &Expr) -> Result<Expr, TypeError> {
    let e = map(e, |e, f| e.map_children(f), k)?;
    let common = |parts: &[&Expr]| -> Result<u16, TypeError> {
        parts.iter().try_fold(1, |n, p| Ok(n.max(type_of(k, p)?.lanes)))
    };
    Ok(match e {
        Expr::Binary(op, x, y) => {
            let lanes = common(&[&x, &y])?;
            Expr::Binary(op, Box::new(to_lanes(k, *x, lanes)?), Box::new(to_lanes(k, *y, lanes)?))
        }
        Expr::Compare(op, x, y) => {
            let lanes = common(&[&x, &y])?;
            Expr::compare(op, to_lanes(k, *x, lanes)?, to_lanes(k, *y, lanes)?)
        }
        Expr::Select(x, y, z) => {
            let lanes = common(&[&x, &y, &z])?;
            Expr::select(to_lanes(k, *x, lanes)?, to_lanes(k, *y, lanes)?, to_lanes(k, *z, lanes)?)
        }
        Expr::Fma(x, y, z) => {
            let lanes = common(&[&x, &y, &z])?;
            Expr::fma(to_lanes(k, *x, lanes)?, to_lanes(k, *y, lanes)?, to_lanes(k, *z, lanes)?)
        }
        Expr::Dot4 { acc, a, b } => {
            let lanes = common(&[&acc, &a, &b])?;
            Expr::dot4(to_lanes(k, *acc, lanes)?, to_lanes(k, *a, lanes)?, to_lanes(k, *b, lanes)?)
        }
        other => other,
    })
}

fn to_lanes(k: &Kernel, e: Expr, lanes: u16) -> Result<Expr, TypeError> {
    let Type { lanes: have, .. } = type_of(k, &e)?;
    Ok(if have == 1 && lanes > 1 { Expr::Splat(Box::new(e), lanes) } else { e })
}

/// Applies [`expr`] to the parts of a node and returns the first error.
fn map<T>(node: &T, children: impl Fn(&T, &mut dyn FnMut(&Expr) -> Expr) -> T, k: &Kernel) -> Result<T, TypeError> {
    let mut error = None;
    let out = children(node, &mut |e| {
        expr(k, e).unwrap_or_else(|err| {
            error.get_or_insert(err);
            e.clone()
        })
    });
    error.map_or(Ok(out), Err)
}
