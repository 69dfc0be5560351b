//! Texts that match a regular expression, as a table of states.

use sparsec_graph::{DType, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{CompareOp, Expr, Scalar, load};

use super::{Texts, measure};
use crate::read;

/// Whether a table of states accepts each text of `x`, `string [s, w]`: `bool [s]`. Operands: `x`; the class of each byte,
/// `i64 [256]`, below `classes`; the state that each class leads to from each state, `i64 [states, classes + 1]`, of which the last column
/// is 1 where a text may end and 0 elsewhere. State 0 is the first.
#[must_use]
pub fn match_strings(x: &TensorType, states: usize, classes: usize) -> LoopsSpec {
    let texts = Texts::of(x);
    let mut b = LoopsBuilder::new("match_strings");
    b.describe("which texts a table of states accepts");
    let input = b.input_as("x", x, &texts.extents());
    let class_of = b.input("classes", &TensorType::fixed(DType::I64, &[256]));
    let table = b.input("table", &TensorType::fixed(DType::I64, &[states as i64, classes as i64 + 1]));
    let result = b.output_as("y", texts.each(DType::Bool), std::slice::from_ref(&texts.rows));
    let (length, state) = (b.variable("length", DType::I64), b.variable("state", DType::I64));
    let [rows, width] = texts.extents().map(|d| b.dim(&d));
    b.parallel("row", rows, |c, row| {
        measure(c, length, input, &row, width);
        c.set(state, vec![], Expr::int(0));
        let bytes = c.bind_index("bytes", read(length));
        c.serial("i", Expr::int(0), bytes, 1, |c, i| {
            let value = c.bind_index("byte", load(input, vec![row.clone(), i]).convert(Scalar::I64));
            let class = c.bind_index("class", load(class_of, vec![value]));
            let from = c.bind_index("from", read(state));
            c.set(state, vec![], load(table, vec![from, class]));
        });
        let last = c.bind_index("last", read(state));
        let accepts = load(table, vec![last, Expr::int(classes as i64)]);
        c.store(result, vec![row], Expr::compare(CompareOp::Ne, accepts, Expr::int(0)));
    });
    b.finish()
}
