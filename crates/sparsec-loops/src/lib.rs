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
mod cumulative;
mod determinant;
mod gather;
mod iota;
mod lines;
mod ngrams;
mod nonzero;
mod random;
mod resample;
mod reverse;
mod roi_align;
mod sample;
mod scatter;
mod strings;
mod suppress;
mod top_k;
mod trees;
mod unique;
mod unpool;

pub use arg::{Extreme, arg_extreme};
pub use col2im::{ImageWindows, col2im};
pub use compress::compress;
pub use cumulative::cumulative_sum;
pub use determinant::determinant;
pub use gather::{gather_elements, gather_nd};
pub use iota::iota;
pub use lines::Lines;
pub use ngrams::{Ngrams, count_ngrams};
pub use nonzero::nonzero;
pub use random::random_uniform;
pub use resample::{Coordinates, Interpolation, Nearest, Resampling, resample, resample_table};
pub use reverse::reverse_sequence;
pub use roi_align::{RoiPooling, roi_align};
pub use sample::{DeformWindow, Outside, SampleMode, Sampling, deform_columns, grid_sample};
pub use scatter::{Reduction, scatter_elements, scatter_nd, tensor_scatter};
pub use strings::{
    CaseTable, Separator, change_case, concat_strings, equal_strings, find_numbers, find_strings, keep_strings,
    match_strings, parse_numbers, powers_of_ten, resize_strings, split_strings,
};
pub use suppress::{Suppression, suppress};
pub use top_k::top_k;
pub use trees::{Aggregate, Trees, tree_ensemble};
pub use unique::unique;
pub use unpool::{max_pool_places, max_unpool};

use sparsec_graph::{DType, KernelContext, scalar_of};
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, Scalar, load};

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

/// An element of a buffer of integers as an index.
#[must_use]
pub fn load_index(buffer: BufferId, dtype: DType, at: Vec<Expr>) -> Expr {
    if dtype == DType::I64 { load(buffer, at) } else { load(buffer, at).convert(Scalar::I64) }
}

/// The row that tuple `tuple` of the indices in `places` names, in a tensor whose first axes have these extents.
fn row_of(c: &mut KernelContext, (places, dtype): (BufferId, DType), tuple: &Expr, extents: &[Expr]) -> Expr {
    extents.iter().enumerate().fold(Expr::int(0), |row, (k, extent)| {
        let index = load_index(places, dtype, vec![tuple.clone(), Expr::int(k as i64)]);
        let index = c.bind_index("index", in_range(index, extent.clone()));
        c.bind_index("row", row * extent.clone() + index)
    })
}

/// A number of a type.
#[must_use]
pub fn number(dtype: DType, value: i64) -> Expr {
    let scalar = scalar_of(dtype);
    if scalar.is_float() { Expr::Float(value as f64, scalar) } else { Expr::Int(value, scalar) }
}

/// The indices of the element of number `flat` in a tensor of these extents, row-major.
fn coordinates(c: &mut KernelContext, flat: &Expr, extents: &[Expr]) -> Vec<Expr> {
    let mut rest = flat.clone();
    let mut indices = Vec::with_capacity(extents.len());
    for (axis, extent) in extents.iter().enumerate().rev() {
        if axis == 0 {
            indices.push(rest.clone());
        } else {
            indices.push(c.bind_index("at", rest.clone().rem(extent.clone())));
            rest = c.bind_index("rest", rest.floor_div(extent.clone()));
        }
    }
    indices.reverse();
    indices
}

/// `f` where all conditions hold.
fn where_all(c: &mut KernelContext, conditions: Vec<Expr>, f: impl FnOnce(&mut KernelContext)) {
    match conditions.into_iter().reduce(|a, b| Expr::binary(BinaryOp::And, a, b)) {
        Some(condition) => c.branch(condition, f, |_| {}),
        None => f(c),
    }
}

/// That an axis has an index at all, where that isn't known.
fn has_elements(extent: &Expr) -> Option<Expr> {
    let known = extent.as_int().is_some_and(|n| n > 0);
    (!known).then(|| Expr::compare(CompareOp::Gt, extent.clone(), Expr::int(0)))
}
