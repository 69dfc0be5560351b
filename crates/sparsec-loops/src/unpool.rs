//! `MaxPool` with the places of the maxima, and `MaxUnpool`.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, PoolAttrs, TensorType};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, load};

use crate::{in_range, number, read};

/// Maxima of type `y`, and where in the whole of `x` each is (`i64`), counted row by row, or within an image column by column.
/// Of equal elements the first counts. (ONNX `MaxPool`.)
#[must_use]
pub fn max_pool_places(x: &TensorType, attrs: &PoolAttrs, y: &TensorType, column_major: bool) -> LoopsSpec {
    let planes = Dim::product(&x.shape[..2.min(x.rank())]);
    let with_planes = |ty: &TensorType| [std::slice::from_ref(&planes), ty.shape.get(2..).unwrap_or_default()].concat();
    let mut b = LoopsBuilder::new("max_pool_places");
    let input = b.input_as("x", x, &with_planes(x));
    let values = b.output_as("values", y.clone(), &with_planes(y));
    let places = b.output_as("places", TensorType::new(DType::I64, y.shape.clone()), &with_planes(y));
    let (best, at, found) =
        (b.variable("best", x.dtype), b.variable("at", DType::I64), b.variable("found", DType::Bool));
    let (extents, outputs) = (b.dims(&with_planes(x)), b.dims(&with_planes(y)));
    let kernel: Vec<Expr> = attrs.kernel.iter().map(|&k| Expr::int(k)).collect();
    b.parallel("plane", outputs[0].clone(), |c, plane| {
        c.nest(&outputs[1..], vec![plane], &mut |c, to| {
            c.set(found, vec![], Expr::Int(0, Scalar::Bool));
            c.set(best, vec![], number(x.dtype, 0));
            c.set(at, vec![], Expr::int(0));
            c.nest(&kernel, Vec::new(), &mut |c, element| {
                let mut from = vec![to[0].clone()];
                let mut inside = Expr::Int(1, Scalar::Bool);
                for (axis, k) in element.iter().enumerate() {
                    let place = to[1 + axis].clone() * Expr::int(attrs.strides[axis])
                        + k.clone() * Expr::int(attrs.dilations[axis])
                        - Expr::int(attrs.pads[axis].0);
                    let place = c.bind_index("place", place);
                    inside = both(inside, is_inside(&place, &extents[1 + axis]));
                    from.push(place);
                }
                c.branch(
                    inside,
                    |c| {
                        let value = load(input, from.clone());
                        let first = Expr::unary(sparsec_tir::UnaryOp::Not, read(found));
                        let larger = Expr::compare(CompareOp::Gt, value.clone(), read(best));
                        c.branch(
                            Expr::binary(BinaryOp::Or, first, larger),
                            |c| {
                                c.set(found, vec![], Expr::Int(1, Scalar::Bool));
                                c.set(best, vec![], value);
                                c.set(at, vec![], flat_place(&from, &extents, column_major));
                            },
                            |_| {},
                        );
                    },
                    |_| {},
                );
            });
            c.store(values, to.to_vec(), read(best));
            c.store(places, to.to_vec(), read(at));
        });
    });
    b.finish()
}

/// The place in the whole tensor; the plane is the first index.
fn flat_place(from: &[Expr], extents: &[Expr], column_major: bool) -> Expr {
    let image = extents[1..].iter().fold(Expr::int(1), |n, e| n * e.clone());
    let axes: Vec<usize> = if column_major { (1..from.len()).rev().collect() } else { (1..from.len()).collect() };
    let within = axes.iter().fold(Expr::int(0), |at, &axis| at * extents[axis].clone() + from[axis].clone());
    from[0].clone() * image + within
}

fn both(x: Expr, y: Expr) -> Expr {
    Expr::binary(BinaryOp::And, x, y)
}

fn is_inside(place: &Expr, extent: &Expr) -> Expr {
    let above = Expr::compare(CompareOp::Ge, place.clone(), Expr::int(0));
    both(above, Expr::compare(CompareOp::Lt, place.clone(), extent.clone()))
}

/// Zeros of type `y`, and in them the elements of `x` at `places`, counted row by row in the whole of `y`. (ONNX `MaxUnpool`.)
#[must_use]
pub fn max_unpool(x: &TensorType, places: &TensorType, y: &TensorType) -> LoopsSpec {
    let (from, to) = (x.elements(), y.elements());
    let mut b = LoopsBuilder::new("max_unpool");
    let input = b.input_as("x", x, std::slice::from_ref(&from));
    let place = b.input_as("places", places, &[places.elements()]);
    let output = b.output_as("y", y.clone(), std::slice::from_ref(&to));
    let (from, to) = (b.dim(&from), b.dim(&to));
    let dtype = x.dtype;
    let clear = |c: &mut KernelContext, i: Expr| c.store(output, vec![i], number(dtype, 0));
    b.serial("i", Expr::int(0), to.clone(), 1, clear);
    b.serial("i", Expr::int(0), from, 1, |c, i| {
        let at = load(place, vec![i.clone()]).convert(Scalar::I64);
        let at = c.bind_index("at", in_range(at, to));
        c.store(output, vec![at], load(input, vec![i]));
    });
    b.finish()
}
