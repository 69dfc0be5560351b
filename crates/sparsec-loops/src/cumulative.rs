//! `CumSum`: sums of all elements up to each.

use sparsec_graph::{LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{Expr, load};

use crate::{Lines, number, read};

/// The sum of the elements of a line up to each one, without itself if `exclusive`; from the end if `reverse`. In the element type,
/// in order. (ONNX `CumSum`.)
#[must_use]
pub fn cumulative_sum(x: &TensorType, axis: usize, exclusive: bool, reverse: bool) -> LoopsSpec {
    let lines = Lines::along(x, axis);
    let mut b = LoopsBuilder::new("cumulative_sum");
    let input = b.input_as("x", x, &lines.shape());
    let y = b.output_as("y", x.clone(), &lines.shape());
    let sum = b.variable("sum", x.dtype);
    let len = b.dim(&lines.len);
    lines.for_each(&mut b, |c, o, i| {
        c.set(sum, vec![], number(x.dtype, 0));
        c.serial("j", Expr::int(0), len.clone(), 1, |c, j| {
            let j = if reverse { c.bind_index("from_end", len - Expr::int(1) - j) } else { j };
            let at = vec![o, j, i];
            if exclusive {
                c.store(y, at.clone(), read(sum));
            }
            c.set(sum, vec![], read(sum) + load(input, at.clone()));
            if !exclusive {
                c.store(y, at, read(sum));
            }
        });
    });
    b.finish()
}
