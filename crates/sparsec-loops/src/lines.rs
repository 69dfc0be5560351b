//! A tensor as lines along one axis.

use sparsec_graph::{Dim, LoopsBuilder, TensorType};
use sparsec_tir::Expr;

/// A tensor seen as `outer x len x inner`, `len` being the axis of interest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lines {
    /// Product of the axes before.
    pub outer: Dim,
    /// Extent of the axis.
    pub len: Dim,
    /// Product of the axes behind.
    pub inner: Dim,
}

impl Lines {
    /// The lines of a tensor along `axis`, which must be one of its axes.
    #[must_use]
    pub fn along(ty: &TensorType, axis: usize) -> Self {
        let (before, rest) = ty.shape.split_at(axis.min(ty.rank()));
        let (len, behind) = rest.split_first().map_or((Dim::constant(1), rest), |(len, rest)| (len.clone(), rest));
        Lines { outer: Dim::product(before), len, inner: Dim::product(behind) }
    }

    /// The lines along an axis, or one line of all elements where there is none.
    #[must_use]
    pub fn along_or_flat(ty: &TensorType, axis: Option<usize>) -> Self {
        let flat = || Lines { outer: Dim::constant(1), len: ty.elements(), inner: Dim::constant(1) };
        axis.map_or_else(flat, |axis| Lines::along(ty, axis))
    }

    /// The shape of a tensor of which `count` slices along an axis are left, or elements where there is none.
    #[must_use]
    pub fn shape_along_or_flat(ty: &TensorType, axis: Option<usize>, count: &Dim) -> Vec<Dim> {
        let Some(axis) = axis else { return vec![count.clone()] };
        ty.shape.iter().enumerate().map(|(i, d)| if i == axis { count.clone() } else { d.clone() }).collect()
    }

    /// The three extents.
    #[must_use]
    pub fn shape(&self) -> [Dim; 3] {
        [self.outer.clone(), self.len.clone(), self.inner.clone()]
    }

    /// The extents with another one in the middle.
    #[must_use]
    pub fn shape_with(&self, len: Dim) -> [Dim; 3] {
        [self.outer.clone(), len, self.inner.clone()]
    }

    /// A parallel loop over the lines; `f` gets the places before and behind the axis.
    pub fn for_each(&self, b: &mut LoopsBuilder, f: impl FnOnce(&mut sparsec_graph::KernelContext, Expr, Expr)) {
        let tasks = b.dim(&(self.outer.clone() * self.inner.clone()));
        let inner = b.dim(&self.inner);
        b.parallel("line", tasks, |c, line| {
            let o = c.bind_index("o", line.clone().floor_div(inner.clone()));
            let i = c.bind_index("i", line.rem(inner));
            f(c, o, i);
        });
    }
}
