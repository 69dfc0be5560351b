//! `GatherElements`, `GatherND`: elements from where indices say.

use sparsec_graph::{Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{Expr, load};

use crate::{Lines, coordinates, has_elements, in_range, load_index, number, row_of};

/// `y[i.., j, k..] = x[i.., indices[i.., j, k..], k..]` along `axis`. Operands: `x`, and `indices` of the same rank, no axis
/// but `axis` longer than that of `x`. The result has the shape of `indices`. (ONNX `GatherElements`.)
#[must_use]
pub fn gather_elements(x: &TensorType, indices: &TensorType, axis: usize) -> LoopsSpec {
    let lines = Lines::along(indices, axis);
    let mut b = LoopsBuilder::new("gather_elements");
    let data = b.input("x", x);
    let places = b.input_as("places", indices, &lines.shape());
    let y = b.output_as("y", TensorType::new(x.dtype, indices.shape.clone()), &lines.shape());
    let (extents, counts) = (b.dims(&x.shape), b.dims(&indices.shape));
    let len = b.dim(&lines.len);
    let empty: Vec<Expr> = x.shape.iter().zip(&extents).filter_map(|(_, extent)| has_elements(extent)).collect();
    let nothing = number(x.dtype, 0);
    lines.for_each(&mut b, |c, o, i| {
        let mut at = coordinates(c, &o, &counts[..axis]);
        at.push(Expr::int(0));
        at.extend(coordinates(c, &i, &counts[axis + 1..]));
        for k in (0..at.len()).filter(|&k| k != axis && x.shape[k] != indices.shape[k]) {
            at[k] = in_range(at[k].clone(), extents[k].clone());
        }
        c.serial("j", Expr::int(0), len, 1, |c, j| {
            let to = vec![o, j, i];
            let place = in_range(load_index(places, indices.dtype, to.clone()), extents[axis].clone());
            at[axis] = c.bind_index("place", place);
            store_or(c, empty, (y, to), (data, at), nothing);
        });
    });
    b.finish()
}

/// Slices of `x` at tuples of indices, which have an index for each of the axes of `x` from `batch_axes` on, as many as
/// the last axis of `indices` (which must be constant) is long. The first `batch_axes` axes of both are the same. Operands: `x`, `indices`. The
/// result has the shape of the tuples, followed by the axes of `x` without an index. (ONNX `GatherND`.)
#[must_use]
pub fn gather_nd(x: &TensorType, indices: &TensorType, batch_axes: usize) -> LoopsSpec {
    let (last, tuples) = indices.shape.split_last().map_or((1, [].as_slice()), |(last, tuples)| {
        (last.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(0), tuples)
    });
    let (batch, rest) = tuples.split_at(batch_axes.min(tuples.len()));
    let from = batch_axes.min(x.rank());
    let indexed = last.min(x.rank() - from);
    let (first, behind) = x.shape[from..].split_at(indexed);
    let (batch, rest, inner, rows) =
        (Dim::product(batch), Dim::product(rest), Dim::product(behind), Dim::product(first));
    let count = batch.clone() * rest.clone();
    let mut b = LoopsBuilder::new("gather_nd");
    let data = b.input_as("x", x, &[batch, rows, inner.clone()]);
    let places = b.input_as("places", indices, &[count.clone(), Dim::constant(indexed as i64)]);
    let shape: Vec<Dim> = tuples.iter().chain(behind).cloned().collect();
    let y = b.output_as("y", TensorType::new(x.dtype, shape), &[count.clone(), inner.clone()]);
    let extents = b.dims(first);
    let (count, rest, inner) = (b.dim(&count), b.dim(&rest), b.dim(&inner));
    let empty: Vec<Expr> = extents.iter().filter_map(has_elements).collect();
    let nothing = number(x.dtype, 0);
    b.parallel("tuple", count, |c, tuple| {
        let batch = c.bind_index("batch", tuple.clone().floor_div(rest));
        let row = row_of(c, (places, indices.dtype), &tuple, &extents);
        c.serial("i", Expr::int(0), inner, 1, |c, i| {
            store_or(c, empty, (y, vec![tuple, i.clone()]), (data, vec![batch, row, i]), nothing);
        });
    });
    b.finish()
}

/// Stores an element, or another value where a condition does not hold.
fn store_or(
    c: &mut sparsec_graph::KernelContext,
    conditions: Vec<Expr>,
    to: (sparsec_tir::BufferId, Vec<Expr>),
    from: (sparsec_tir::BufferId, Vec<Expr>),
    otherwise: Expr,
) {
    let element = load(from.0, from.1);
    match conditions.into_iter().reduce(|a, b| Expr::binary(sparsec_tir::BinaryOp::And, a, b)) {
        None => c.store(to.0, to.1, element),
        Some(condition) => {
            let (buffer, at) = to;
            c.branch(condition, |c| c.store(buffer, at.clone(), element), |c| c.store(buffer, at.clone(), otherwise));
        }
    }
}
