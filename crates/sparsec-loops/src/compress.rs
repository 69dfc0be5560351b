//! `Compress`: the parts of a tensor that a condition picks.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, Symbol, TensorType};
use sparsec_tir::{Expr, Scalar, load};

use crate::{Lines, read};

/// The slices of `x` along `axis` (elements of the flattened `x` where there is none) for which `condition`, `bool [m]`, holds;
/// what lies behind `m` is left out. `count` becomes their number. The second result is that number. (ONNX `Compress`.)
#[must_use]
pub fn compress(x: &TensorType, condition: &TensorType, axis: Option<usize>, count: &Symbol) -> LoopsSpec {
    let lines = Lines::along_or_flat(x, axis);
    let kept = Dim::sym(count.name());
    let shape = Lines::shape_along_or_flat(x, axis, &kept);
    let checked = lines.len.minimum(&condition.elements());
    let mut b = LoopsBuilder::new("compress");
    b.count(count.clone(), checked.clone());
    let input = b.input_as("x", x, &lines.shape());
    let picks = b.input_as("condition", condition, &[condition.elements()]);
    let output = b.output_up_to("y", TensorType::new(x.dtype, shape));
    let totals = b.count_results();
    let (found, at) = (b.variable("found", DType::I64), b.variable("at", DType::I64));
    let [outer, inner, checked] = [&lines.outer, &lines.inner, &checked].map(|d| b.dim(d));
    b.set(found, vec![], Expr::int(0));
    b.serial("j", Expr::int(0), checked.clone(), 1, |b, j| {
        b.set(found, vec![], read(found) + load(picks, vec![j]).convert(Scalar::I64));
    });
    for &total in &totals {
        b.store(total, vec![], read(found));
    }
    b.set(at, vec![], Expr::int(0));
    b.serial("o", Expr::int(0), outer, 1, |b, o| {
        b.serial("j", Expr::int(0), checked, 1, |b, j| {
            b.branch(
                load(picks, vec![j.clone()]),
                |b| {
                    b.serial("i", Expr::int(0), inner, 1, |b, i| {
                        let value = load(input, vec![o, j, i]);
                        b.store(output, vec![read(at)], value);
                        b.set(at, vec![], read(at) + Expr::int(1));
                    });
                },
                |_| {},
            );
        });
    });
    b.finish()
}
