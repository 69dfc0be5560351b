//! `ArgMax`, `ArgMin`: where the largest or smallest element of a line is.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{CompareOp, Expr, load};

use crate::{Lines, read};

/// Which end of the order is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extreme {
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// Where the extreme element along `axis` is: `i64`, the axis kept with extent 1. Of equal elements the first counts, or
/// the last. (ONNX `ArgMax`, `ArgMin`.)
#[must_use]
pub fn arg_extreme(x: &TensorType, axis: usize, extreme: Extreme, last: bool) -> LoopsSpec {
    let compare = match (extreme, last) {
        (Extreme::Max, false) => CompareOp::Gt,
        (Extreme::Max, true) => CompareOp::Ge,
        (Extreme::Min, false) => CompareOp::Lt,
        (Extreme::Min, true) => CompareOp::Le,
    };
    let lines = Lines::along(x, axis);
    let mut shape = x.shape.clone();
    if let Some(extent) = shape.get_mut(axis) {
        *extent = Dim::constant(1);
    }
    let mut b = LoopsBuilder::new("arg");
    b.describe(format!("where the {} of each line is", if extreme == Extreme::Max { "largest" } else { "smallest" }));
    let input = b.input_as("x", x, &lines.shape());
    let place = b.output_as("place", TensorType::new(DType::I64, shape), &[lines.outer.clone(), lines.inner.clone()]);
    let (best, at) = (b.variable("best", x.dtype), b.variable("at", DType::I64));
    let len = b.dim(&lines.len);
    lines.for_each(&mut b, |c, o, i| {
        c.set(best, vec![], load(input, vec![o.clone(), Expr::int(0), i.clone()]));
        c.set(at, vec![], Expr::int(0));
        c.serial("j", Expr::int(1), len, 1, |c, j| {
            let value = load(input, vec![o.clone(), j.clone(), i.clone()]);
            c.branch(
                Expr::compare(compare, value.clone(), read(best)),
                |c| {
                    c.set(best, vec![], value);
                    c.set(at, vec![], j);
                },
                |_| {},
            );
        });
        c.store(place, vec![o, i], read(at));
    });
    b.finish()
}
