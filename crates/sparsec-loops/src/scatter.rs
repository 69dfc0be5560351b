//! `ScatterElements`, `ScatterND`, `TensorScatter`: elements that go where indices say.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{Expr, load};

use crate::{Lines, coordinates, has_elements, in_range, load_index, row_of, where_all};

/// What becomes of the element that was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// It is replaced.
    Replace,
    /// The sum of both.
    Add,
    /// The product of both.
    Mul,
    /// The larger.
    Max,
    /// The smaller.
    Min,
}

impl Reduction {
    fn of(self, old: Expr, new: Expr) -> Expr {
        match self {
            Reduction::Replace => new,
            Reduction::Add => old + new,
            Reduction::Mul => old * new,
            Reduction::Max => old.max(new),
            Reduction::Min => old.min(new),
        }
    }
}

/// `y = x`, then `y[i.., indices[i.., j, k..], k..] = updates[i.., j, k..]` along `axis`. Operands: `x`, `indices` of the
/// same rank (no axis but `axis` longer than that of `x`), `updates` of the shape of `indices`. Lines are independent, so that they
/// run in parallel; along a line updates are applied in order. (ONNX `ScatterElements`.)
#[must_use]
pub fn scatter_elements(x: &TensorType, indices: &TensorType, axis: usize, reduction: Reduction) -> LoopsSpec {
    let lines = Lines::along(x, axis);
    let mut b = LoopsBuilder::new("scatter_elements");
    let data = b.input_as("x", x, &lines.shape());
    let places = b.input("places", indices);
    let updates = b.input("updates", &TensorType::new(x.dtype, indices.shape.clone()));
    let y = b.output_as("y", x.clone(), &lines.shape());
    let (extents, counts) = (b.dims(&x.shape), b.dims(&indices.shape));
    let len = b.dim(&lines.len);
    lines.for_each(&mut b, |c, o, i| {
        c.serial("j", Expr::int(0), len.clone(), 1, |c, j| {
            let at = vec![o.clone(), j, i.clone()];
            c.store(y, at.clone(), load(data, at));
        });
        let mut at = coordinates(c, &o, &extents[..axis]);
        at.push(Expr::int(0));
        at.extend(coordinates(c, &i, &extents[axis + 1..]));
        // Lines that no update belongs to.
        let short = (0..at.len()).filter(|&k| k != axis && x.shape[k] != indices.shape[k]);
        let mut conditions: Vec<Expr> =
            short.map(|k| Expr::compare(sparsec_tir::CompareOp::Lt, at[k].clone(), counts[k].clone())).collect();
        conditions.extend(has_elements(&len));
        where_all(c, conditions, |c| {
            c.serial("j", Expr::int(0), counts[axis].clone(), 1, |c, j| {
                at[axis] = j;
                let place = in_range(load_index(places, indices.dtype, at.clone()), len);
                let place = c.bind_index("place", place);
                let to = vec![o, place, i];
                c.store(y, to.clone(), reduction.of(load(y, to), load(updates, at)));
            });
        });
    });
    b.finish()
}

/// `y = x`, then `y[indices[t]] = updates[t]` for all tuples `t` in order, where a tuple has an index for each of the first axes of
/// `x`, as many as the last axis of `indices` (which must be constant) is long. Operands: `x`, `indices`, `updates` of the
/// shape of the tuples followed by the axes of `x` that have no index. (ONNX `ScatterND`.)
#[must_use]
pub fn scatter_nd(x: &TensorType, indices: &TensorType, reduction: Reduction) -> LoopsSpec {
    let (indexed, tuples) = split_tuples(x, indices);
    let (first, rest) = x.shape.split_at(indexed);
    let (rows, inner, count) = (Dim::product(first), Dim::product(rest), Dim::product(tuples));
    let mut b = LoopsBuilder::new("scatter_nd");
    let data = b.input_as("x", x, &[rows.clone(), inner.clone()]);
    let places = b.input_as("places", indices, &[count.clone(), Dim::constant(indexed as i64)]);
    let mut shape = tuples.to_vec();
    shape.extend_from_slice(rest);
    let updates = b.input_as("updates", &TensorType::new(x.dtype, shape), &[count.clone(), inner.clone()]);
    let y = b.output_as("y", x.clone(), &[rows.clone(), inner.clone()]);
    let extents = b.dims(first);
    let (rows, inner, count) = (b.dim(&rows), b.dim(&inner), b.dim(&count));
    b.serial("row", Expr::int(0), rows.clone(), 1, |c, row| {
        c.serial("i", Expr::int(0), inner.clone(), 1, |c, i| {
            c.store(y, vec![row.clone(), i.clone()], load(data, vec![row, i]));
        });
    });
    where_all(&mut b, has_elements(&rows).into_iter().collect(), |c| {
        c.serial("tuple", Expr::int(0), count, 1, |c, tuple| {
            let row = row_of(c, (places, indices.dtype), &tuple, &extents);
            c.serial("i", Expr::int(0), inner, 1, |c, i| {
                let to = vec![row, i.clone()];
                c.store(y, to.clone(), reduction.of(load(y, to), load(updates, vec![tuple, i])));
            });
        });
    });
    b.finish()
}

/// How many axes of `x` the tuples in `indices` have an index for, and the extents of the tuples.
fn split_tuples<'a>(x: &TensorType, indices: &'a TensorType) -> (usize, &'a [Dim]) {
    let Some((last, tuples)) = indices.shape.split_last() else { return (0, &[]) };
    let indexed = last.as_const().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    (indexed.min(x.rank()), tuples)
}

/// A cache with new elements along `axis`, from `starts[batch]` on, where batches are the first axis, which isn't `axis`.
/// Past the end they go to the beginning if `circular`, else nowhere. Operands: the cache, the update (`count` long
/// along `axis`), and `starts` of this type unless all are 0. (ONNX `TensorScatter`.)
#[must_use]
pub fn tensor_scatter(
    cache: &TensorType,
    count: &Dim,
    starts: Option<DType>,
    axis: usize,
    circular: bool,
) -> LoopsSpec {
    let lines = Lines::along(cache, axis);
    let batch = cache.shape.first().cloned().unwrap_or_else(|| Dim::constant(1));
    let heads = Dim::product(cache.shape.get(1..axis).unwrap_or_default());
    let mut b = LoopsBuilder::new("tensor_scatter");
    let past = b.input_as("past", cache, &lines.shape());
    let mut shape = cache.shape.clone();
    if let Some(extent) = shape.get_mut(axis) {
        extent.clone_from(count);
    }
    let update = b.input_as("update", &TensorType::new(cache.dtype, shape), &lines.shape_with(count.clone()));
    let starts = starts.map(|dtype| (b.input("starts", &TensorType::new(dtype, vec![batch])), dtype));
    let present = b.output_as("present", cache.clone(), &lines.shape());
    let (tasks, heads, len) = (b.dim(&lines.outer), b.dim(&heads), b.dim(&lines.len));
    let (inner, count) = (b.dim(&lines.inner), b.dim(count));
    b.parallel("o", tasks, |c, o| {
        c.serial("j", Expr::int(0), len.clone(), 1, |c, j| {
            c.serial("i", Expr::int(0), inner.clone(), 1, |c, i| {
                let at = vec![o.clone(), j, i];
                c.store(present, at.clone(), load(past, at));
            });
        });
        let start = match starts {
            Some((starts, dtype)) => {
                let batch = c.bind_index("batch", o.clone().floor_div(heads));
                c.bind_index("start", load_index(starts, dtype, vec![batch]).max(Expr::int(0)))
            }
            None => Expr::int(0),
        };
        c.serial("j", Expr::int(0), count, 1, |c, j| {
            let place = start + j.clone();
            let place = c.bind_index("place", if circular { place.rem(len.clone()) } else { place });
            where_all(c, vec![Expr::compare(sparsec_tir::CompareOp::Lt, place.clone(), len)], |c| {
                c.serial("i", Expr::int(0), inner, 1, |c, i| {
                    c.store(present, vec![o.clone(), place, i.clone()], load(update, vec![o, j, i]));
                });
            });
        });
    });
    b.finish()
}
