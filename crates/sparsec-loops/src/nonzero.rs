//! `NonZero`: where elements are.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, Symbol, TensorType};
use sparsec_tir::{CompareOp, Expr, load};

use crate::{number, read};

/// The indices of the elements that aren't zero, in row-major order: `i64 [rank, count]`, an index per column. `count` becomes
/// the number of columns, at most the number of elements. The second result is that number. (ONNX `NonZero`.)
///
/// Two walks: the rows of the result are as long as there are columns, so they have to be counted first.
#[must_use]
pub fn nonzero(x: &TensorType, count: &Symbol) -> LoopsSpec {
    let elements = x.elements();
    let mut b = LoopsBuilder::new("nonzero");
    b.count(count.clone(), elements.clone());
    let input = b.input_as("x", x, std::slice::from_ref(&elements));
    let rank = Dim::constant(x.rank() as i64);
    let places = b.output_up_to("places", TensorType::new(DType::I64, vec![rank, Dim::sym(count.name())]));
    let total = b.count_results();
    let (found, rest) = (b.variable("found", DType::I64), b.variable("rest", DType::I64));
    let end = b.dim(&elements);
    let extents = b.dims(&x.shape);
    let is_there = |i: &Expr| Expr::compare(CompareOp::Ne, load(input, vec![i.clone()]), number(x.dtype, 0));
    b.set(found, vec![], Expr::int(0));
    b.serial("i", Expr::int(0), end.clone(), 1, |b, i| {
        b.branch(is_there(&i), |b| b.set(found, vec![], read(found) + Expr::int(1)), |_| {});
    });
    for &total in &total {
        b.store(total, vec![], read(found));
    }
    let columns = b.bind_index("columns", read(found));
    b.set(found, vec![], Expr::int(0));
    b.serial("i", Expr::int(0), end, 1, |b, i| {
        b.branch(
            is_there(&i),
            |b| {
                b.set(rest, vec![], i.clone());
                for (axis, extent) in extents.iter().enumerate().rev() {
                    let at = columns.clone() * Expr::int(axis as i64) + read(found);
                    b.store(places, vec![at], read(rest).rem(extent.clone()));
                    b.set(rest, vec![], read(rest).floor_div(extent.clone()));
                }
                b.set(found, vec![], read(found) + Expr::int(1));
            },
            |_| {},
        );
    });
    b.finish()
}
