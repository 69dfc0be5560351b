//! Accesses of several dimensions become accesses of one.

use super::{LowerError, linear::Linear};
use crate::{Access, Buffer, Expr, For, Kernel, Stmt, print::access_text};

/// Gives every buffer one dimension and every access one index.
pub(super) fn flatten_addresses(kernel: &Kernel) -> Result<Kernel, LowerError> {
    let strides: Vec<Vec<Linear>> = kernel.buffers.iter().map(strides).collect();
    let flattener = Flattener { kernel, strides };
    let body = flattener.block(&kernel.body)?;
    let buffers =
        kernel.buffers.iter().map(|b| Buffer { shape: vec![elements(b)], strides: Vec::new(), ..b.clone() }).collect();
    Ok(Kernel { buffers, body, ..kernel.clone() })
}

/// Number of elements between the first and the last, both included.
fn elements(buffer: &Buffer) -> Expr {
    let linear = |e: &Expr| Linear::from_expr(e, &|_| None);
    if buffer.strides.is_empty() {
        let one = Linear::constant(1);
        return buffer.shape.iter().fold(one, |n, d| n.times(&linear(d))).to_expr();
    }
    let last = buffer.shape.iter().zip(&buffer.strides).fold(Linear::constant(1), |n, (d, s)| {
        let reach = linear(d).plus(&Linear::constant(1), -1).times(&linear(s));
        n.plus(&reach, 1)
    });
    last.to_expr()
}

/// Distance of neighbours along each dimension. A sum (`width + 2`) is kept whole: one multiplication, not two.
fn strides(buffer: &Buffer) -> Vec<Linear> {
    let linear = |e: &Expr| Linear::from_expr(e, &|_| None);
    let whole = |l: Linear| if l.terms.len() > 1 { Linear::atom(l.to_expr()) } else { l };
    if !buffer.strides.is_empty() {
        return buffer.strides.iter().map(|s| whole(linear(s))).collect();
    }
    let mut out = vec![Linear::constant(1); buffer.shape.len()];
    for d in (0..buffer.shape.len().saturating_sub(1)).rev() {
        out[d] = whole(linear(&buffer.shape[d + 1])).times(&out[d + 1]);
    }
    out
}

struct Flattener<'k> {
    kernel: &'k Kernel,
    strides: Vec<Vec<Linear>>,
}

impl Flattener<'_> {
    fn block(&self, body: &[Stmt]) -> Result<Vec<Stmt>, LowerError> {
        body.iter().map(|s| self.stmt(s)).collect()
    }

    fn stmt(&self, stmt: &Stmt) -> Result<Stmt, LowerError> {
        Ok(match stmt {
            Stmt::For(l) => Stmt::For(For {
                start: self.expr(&l.start)?,
                end: self.expr(&l.end)?,
                active: l.active.as_ref().map(|a| self.expr(a)).transpose()?,
                body: self.block(&l.body)?,
                ..l.clone()
            }),
            Stmt::Let(v, e) => Stmt::Let(*v, self.expr(e)?),
            Stmt::Set(r, index, e) => {
                let index = index.iter().map(|i| self.expr(i)).collect::<Result<_, _>>()?;
                Stmt::Set(*r, index, self.expr(e)?)
            }
            Stmt::Store(access, e) => Stmt::Store(self.access(access)?, self.expr(e)?),
            Stmt::If(c, yes, no) => Stmt::If(self.expr(c)?, self.block(yes)?, self.block(no)?),
            Stmt::Product(p) => Stmt::Product(Box::new(p.try_map(&mut |a| self.access(a), &mut |e| self.expr(e))?)),
            Stmt::SaveTile(to, r, index) => {
                let index = index.iter().map(|i| self.expr(i)).collect::<Result<_, _>>()?;
                Stmt::SaveTile(to.try_map(&mut |a| self.access(a), &mut |e| self.expr(e))?, *r, index)
            }
            Stmt::CopyAsync(to, from) => Stmt::CopyAsync(self.access(to)?, self.access(from)?),
            Stmt::Spread(to, e, distance) => Stmt::Spread(self.access(to)?, self.expr(e)?, *distance),
            Stmt::Barrier
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_) => stmt.clone(),
            Stmt::Prefetch(access) => Stmt::Prefetch(self.access(access)?),
            Stmt::Comment(text) => Stmt::Comment(text.clone()),
        })
    }

    fn expr(&self, expr: &Expr) -> Result<Expr, LowerError> {
        if let Expr::Load(access) = expr {
            return Ok(Expr::Load(self.access(access)?));
        }
        let mut error = None;
        let out = expr.map_children(&mut |e| {
            self.expr(e).unwrap_or_else(|err| {
                error.get_or_insert(err);
                e.clone()
            })
        });
        error.map_or(Ok(out), Err)
    }

    fn access(&self, access: &Access) -> Result<Access, LowerError> {
        let fail = |reason| {
            let text = access_text(self.kernel, access);
            Err(LowerError::Access { kernel: self.kernel.name.clone(), text, reason })
        };
        let Some(strides) = self.strides.get(access.buffer.index()) else {
            return fail("no such buffer");
        };
        if access.padded {
            return fail("only Stage I has padded accesses");
        }
        if access.index.len() != strides.len() {
            return fail("as many indices as dimensions are needed");
        }
        if access.lanes > 1 && strides.last().is_none_or(|s| s.as_constant() != Some(1)) {
            return fail("neighbours along the last dimension are not neighbours in memory");
        }
        let mut flat = Linear::default();
        for (i, stride) in access.index.iter().zip(strides) {
            flat = flat.plus(&Linear::from_expr(&self.expr(i)?, &|_| None).times(stride), 1);
        }
        let active = access.active.as_ref().map(|a| self.expr(a)).transpose()?.map(Box::new);
        Ok(Access { index: vec![flat.to_expr()], active, ..access.clone() })
    }
}
