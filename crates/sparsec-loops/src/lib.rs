//! Operators written as loops.
//!
//! A function here takes the types of an operator's operands and its attributes, and returns the kernel that computes
//! it, as a [`LoopsSpec`](sparsec_graph::LoopsSpec). The graph interpreter runs that kernel; lowering passes it on to the backend. So an operator
//! of this crate is written once, in Stage II of the tensor IR. Its correctness rests on values by hand
//! (`tests/`) and on ONNX's own cases, not on a second implementation.
//!
//! What kernels of this crate have to obey:
//!
//! - Machine code does not check bounds, and indices are data: an index is brought into range ([`in_range`]) or its
//!   access stands behind a condition.
//! - At most one parallel loop, the outermost; its iterations write different elements.
//! - Scratch memory has constant extents. What depends on symbols is a further result that nobody uses.

mod arg;
mod compress;
mod iota;
mod lines;
mod nonzero;
mod suppress;
mod top_k;
mod unique;

pub use arg::{Extreme, arg_extreme};
pub use compress::compress;
pub use iota::iota;
pub use lines::Lines;
pub use nonzero::nonzero;
pub use suppress::{Suppression, suppress};
pub use top_k::top_k;
pub use unique::unique;

use sparsec_tir::{CompareOp, Expr};

/// A register's value.
#[must_use]
pub fn read(register: sparsec_tir::RegisterId) -> Expr {
    Expr::Reg(register, vec![])
}

/// An index that counts from the end where it is negative, clamped to `0..extent`, so that nothing outside is read.
#[must_use]
pub fn in_range(index: Expr, extent: Expr) -> Expr {
    let negative = Expr::compare(CompareOp::Lt, index.clone(), Expr::int(0));
    let counted = Expr::select(negative, index.clone() + extent.clone(), index);
    counted.max(Expr::int(0)).min(extent - Expr::int(1))
}
