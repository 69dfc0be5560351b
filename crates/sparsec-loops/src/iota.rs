//! The numbers from 0 on, of an extent that is known at run time.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};

/// `0, 1, 2, ...` as an `i64` vector of so many elements.
#[must_use]
pub fn iota(count: &Dim) -> LoopsSpec {
    let mut b = LoopsBuilder::new("iota");
    b.describe("the numbers from 0 on");
    let result = b.output("result", TensorType::new(DType::I64, vec![count.clone()]));
    let count = b.dim(count);
    b.serial("i", sparsec_tir::Expr::int(0), count, 1, |c, i| c.store(result, vec![i.clone()], i));
    b.finish()
}
