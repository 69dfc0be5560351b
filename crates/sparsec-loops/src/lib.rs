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
mod col2im;
mod compress;
mod iota;
mod lines;
mod nonzero;
mod resample;
mod roi_align;
mod sample;
mod suppress;
mod top_k;
mod unique;
mod unpool;

pub use arg::{Extreme, arg_extreme};
pub use col2im::{ImageWindows, col2im};
pub use compress::compress;
pub use iota::iota;
pub use lines::Lines;
pub use nonzero::nonzero;
pub use resample::{Coordinates, Interpolation, Nearest, Resampling, resample, resample_table};
pub use roi_align::{RoiPooling, roi_align};
pub use sample::{DeformWindow, Outside, SampleMode, Sampling, deform_columns, grid_sample};
pub use suppress::{Suppression, suppress};
pub use top_k::top_k;
pub use unique::unique;
pub use unpool::{max_pool_places, max_unpool};

use sparsec_graph::{DType, KernelContext, scalar_of};
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

/// What the body of a nest of loops is given: the context and the loop variables.
pub(crate) type NestBody<'a> = &'a mut dyn FnMut(&mut KernelContext, &[Expr]);

/// Serial loops over `counts`, outermost first, inside of loops with the variables `outer`.
pub(crate) fn nest(c: &mut KernelContext, counts: &[Expr], outer: Vec<Expr>, f: NestBody<'_>) {
    match counts.split_first() {
        None => f(c, &outer),
        Some((count, rest)) => {
            let name = format!("i{}", outer.len());
            c.serial(&name, Expr::int(0), count.clone(), 1, |c, i| {
                let mut loops = outer.clone();
                loops.push(i);
                nest(c, rest, loops, f);
            });
        }
    }
}

/// Zero of an element type.
pub(crate) fn zero(dtype: DType) -> Expr {
    let scalar = scalar_of(dtype);
    if scalar.is_float() { Expr::Float(0.0, scalar) } else { Expr::Int(0, scalar) }
}
