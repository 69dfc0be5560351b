//! `ReverseSequence`: sequences of different lengths, backwards.

use sparsec_graph::{Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{CompareOp, Expr, load};

use crate::load_index;

/// The first `lengths[b]` elements of sequence `b` in reverse order, the others where they were. The first two axes of `x` are
/// time and batch, or batch and time if `batch_first`. Operands: `x`, `lengths` of an integer type. (ONNX `ReverseSequence`.)
#[must_use]
pub fn reverse_sequence(x: &TensorType, lengths: &TensorType, batch_first: bool) -> LoopsSpec {
    let (first, rest) = x.shape.split_at(x.rank().min(2));
    let [n0, n1] = first else { return LoopsBuilder::new("reverse_sequence").finish() };
    let inner = Dim::product(rest);
    let shape = [n0.clone(), n1.clone(), inner.clone()];
    let mut b = LoopsBuilder::new("reverse_sequence");
    let input = b.input_as("x", x, &shape);
    let (batch, time) = if batch_first { (n0, n1) } else { (n1, n0) };
    let lens = b.input("lengths", &TensorType::new(lengths.dtype, vec![batch.clone()]));
    let y = b.output_as("y", x.clone(), &shape);
    let tasks = b.dim(&(n0.clone() * n1.clone()));
    let (time, columns, inner) = (b.dim(time), b.dim(n1), b.dim(&inner));
    b.parallel("row", tasks, |c, row| {
        let first = c.bind_index("first", row.clone().floor_div(columns.clone()));
        let second = c.bind_index("second", row.rem(columns));
        let (batch, at) = if batch_first { (first.clone(), second.clone()) } else { (second.clone(), first.clone()) };
        let length = load_index(lens, lengths.dtype, vec![batch.clone()]).min(time);
        let length = c.bind_index("length", length);
        let within = Expr::compare(CompareOp::Lt, at.clone(), length.clone());
        let from = c.bind_index("from", Expr::select(within, length - Expr::int(1) - at.clone(), at));
        let from = if batch_first { vec![batch, from] } else { vec![from, batch] };
        c.serial("i", Expr::int(0), inner, 1, |c, i| {
            let element = load(input, from.into_iter().chain([i.clone()]).collect());
            c.store(y, vec![first, second, i], element);
        });
    });
    b.finish()
}
