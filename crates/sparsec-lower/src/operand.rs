//! How an operand is indexed by the loops of an element-wise kernel.

use sparsec_graph::Dim;
use sparsec_tir::{Expr, Scalar};

use crate::context::Context;

/// One axis of an operand: its index is `scale * loop + offset`, or `offset` alone where no loop drives it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Axis {
    /// The loop.
    pub(crate) from: Option<usize>,
    /// Factor of the loop's variable.
    pub(crate) scale: i64,
    /// Added.
    pub(crate) offset: Dim,
}

impl Axis {
    /// Driven by a loop, one to one.
    pub(crate) fn loop_axis(from: usize) -> Self {
        Axis { from: Some(from), scale: 1, offset: Dim::default() }
    }

    /// Always the first element: a broadcast axis of extent 1.
    pub(crate) fn fixed() -> Self {
        Axis { from: None, scale: 1, offset: Dim::default() }
    }
}

/// A row-major tensor and the way the loops walk over it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub(crate) elem: Scalar,
    pub(crate) shape: Vec<Dim>,
    pub(crate) axes: Vec<Axis>,
}

impl Operand {
    /// A tensor that the loops walk over axis by axis.
    pub(crate) fn whole(elem: Scalar, shape: &[Dim]) -> Self {
        Operand { elem, shape: shape.to_vec(), axes: (0..shape.len()).map(Axis::loop_axis).collect() }
    }

    /// A tensor broadcast to `extents` by the rules of numpy.
    pub(crate) fn broadcast(elem: Scalar, shape: &[Dim], extents: &[Dim]) -> Self {
        let skip = extents.len() - shape.len().min(extents.len());
        let axes = shape
            .iter()
            .enumerate()
            .map(|(i, d)| if d.is(1) && !extents[i + skip].is(1) { Axis::fixed() } else { Axis::loop_axis(i + skip) })
            .collect();
        Operand { elem, shape: shape.to_vec(), axes }
    }

    /// The index of the element for these values of the loop variables.
    pub(crate) fn index(&self, context: &mut Context, loops: &[Expr]) -> Vec<Expr> {
        self.axes
            .iter()
            .map(|axis| {
                let offset = context.dim(&axis.offset);
                match axis.from {
                    None => offset,
                    Some(l) => loops[l].clone() * Expr::int(axis.scale) + offset,
                }
            })
            .collect()
    }

    fn axis_of(&self, l: usize) -> Option<usize> {
        self.axes.iter().position(|a| a.from == Some(l))
    }

    /// Whether loops `l` and `l + 1` walk over this operand as one loop would.
    fn merges(&self, l: usize, inner_extent: &Dim) -> bool {
        match (self.axis_of(l), self.axis_of(l + 1)) {
            (None, None) => true,
            (Some(a), Some(b)) => {
                b == a + 1
                    && self.axes[a].scale == 1
                    && self.axes[b].scale == 1
                    && self.axes[b].offset.is(0)
                    && self.shape[b] == *inner_extent
            }
            _ => false,
        }
    }

    fn merge(&mut self, l: usize) {
        if let (Some(a), Some(b)) = (self.axis_of(l), self.axis_of(l + 1)) {
            let inner = self.shape.remove(b);
            self.axes.remove(b);
            self.shape[a] = self.shape[a].clone() * inner.clone();
            self.axes[a].offset = self.axes[a].offset.clone() * inner;
        }
        for axis in &mut self.axes {
            axis.from = axis.from.map(|f| if f > l { f - 1 } else { f });
        }
    }

    fn drop_loop(&mut self, l: usize) {
        for axis in &mut self.axes {
            axis.from = match axis.from {
                Some(f) if f == l => None,
                Some(f) if f > l => Some(f - 1),
                other => other,
            };
        }
    }

    /// Forgets axes that hold one element: they would stand between axes that are neighbours in memory.
    fn drop_units(&mut self) {
        for a in (0..self.axes.len()).rev() {
            if self.axes[a].from.is_none() && self.shape[a].is(1) && self.axes[a].offset.is(0) {
                self.axes.remove(a);
                self.shape.remove(a);
            }
        }
    }
}

/// Drops loops of extent 1 and merges neighbouring loops where every operand allows it.
pub(crate) fn collapse(extents: &mut Vec<Dim>, operands: &mut [Operand]) {
    for l in (0..extents.len()).rev() {
        if extents[l].is(1) {
            extents.remove(l);
            operands.iter_mut().for_each(|o| o.drop_loop(l));
        }
    }
    operands.iter_mut().for_each(Operand::drop_units);
    for l in (0..extents.len().saturating_sub(1)).rev() {
        if operands.iter().all(|o| o.merges(l, &extents[l + 1])) {
            let inner = extents.remove(l + 1);
            extents[l] = extents[l].clone() * inner;
            operands.iter_mut().for_each(|o| o.merge(l));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(d: &[i64]) -> Vec<Dim> {
        d.iter().map(|&d| Dim::constant(d)).collect()
    }

    #[test]
    fn contiguous_loops_merge_and_broadcast_ones_stay() {
        let mut extents = vec![Dim::sym("batch"), Dim::constant(1), Dim::constant(4), Dim::constant(8)];
        let shape = extents.clone();
        let mut operands =
            [Operand::whole(Scalar::F32, &shape), Operand::broadcast(Scalar::F32, &dims(&[4, 1]), &shape)];
        collapse(&mut extents, &mut operands);
        assert_eq!(extents, vec![Dim::sym("batch"), Dim::constant(4), Dim::constant(8)]);
        let mut alone = [Operand::whole(Scalar::F32, &shape)];
        let mut extents = shape.clone();
        collapse(&mut extents, &mut alone);
        assert_eq!(extents, vec![Dim::sym("batch") * Dim::constant(32)]);
    }
}
