//! `y[o, i, r] = x[o, index[i], r]`: rows of a table.

use sparsec_graph::Dim;
use sparsec_tir::{BufferKind, CompareOp, Expr, Scalar, load};

use crate::context::{BuiltKernel, Context};
use crate::target::TargetInfo;

/// Element types and extents of a gather.
pub(crate) struct Gather {
    pub(crate) elem: Scalar,
    pub(crate) index: Scalar,
    /// Product of the axes before.
    pub(crate) outer: Dim,
    /// Extent of the gathered axis.
    pub(crate) len: Dim,
    /// Number of indices.
    pub(crate) count: Dim,
    /// Product of the axes behind.
    pub(crate) inner: Dim,
}

/// Negative indices count from the end; an index outside is clamped to the nearest row, so that nothing outside the
/// table is read.
pub(crate) fn gather_kernel(g: &Gather, target: &TargetInfo) -> BuiltKernel {
    let mut c = Context::new("gather");
    let shape = c.dims(&[g.outer.clone(), g.len.clone(), g.inner.clone()]);
    let x = c.buffer("x", g.elem, BufferKind::Input, shape, vec![]);
    let count = c.dim(&g.count);
    let index = c.buffer("index", g.index, BufferKind::Input, vec![count.clone()], vec![]);
    let shape = c.dims(&[g.outer.clone(), g.count.clone(), g.inner.clone()]);
    let y = c.buffer("y", g.elem, BufferKind::Output, shape, vec![]);
    let tasks = c.dim(&(g.outer.clone() * g.count.clone()));
    let (len, inner) = (c.dim(&g.len), c.dim(&g.inner));
    c.parallel("task", tasks, |c, task| {
        let o = c.bind_index("o", task.clone().floor_div(count.clone()));
        let i = c.bind_index("i", task.rem(count));
        let raw = c.bind_index("raw", load(index, vec![i.clone()]).convert(Scalar::I64));
        let negative = Expr::compare(CompareOp::Lt, raw.clone(), Expr::int(0));
        let row = Expr::select(negative, raw.clone() + len.clone(), raw);
        let row = c.bind_index("row", row.max(Expr::int(0)).min(len - Expr::int(1)));
        c.serial("j", Expr::int(0), inner.clone(), i64::from(target.lanes), |c, j| {
            c.vector(target.lanes, Some(inner - j.clone()), |c, l| {
                let value = load(x, vec![o.clone(), row, j.clone() + l.clone()]);
                c.store(y, vec![o, i, j + l], value);
            });
        });
    });
    c.finish()
}
