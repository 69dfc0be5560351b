//! Extents as values.

use sparsec_graph::{DType, Dim, TensorType};

use super::context::{Context, Operand};
use super::node::Node;
use super::symbolic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `Shape`, since operator set 15 of a range of the axes.
pub(super) fn shape(cx: &mut Context, node: &Node<'_>) -> Results {
    let dims = cx.shape(node.input(0)?);
    let rank = dims.len() as i64;
    let clamp = |v: i64| if v < 0 { v.saturating_add(rank).max(0) } else { v.min(rank) } as usize;
    let start = clamp(node.int_or("start", 0)?);
    let end = clamp(node.int_or("end", rank)?);
    let part = dims.get(start..end.max(start)).unwrap_or_default().to_vec();
    Ok(vec![cx.int_vector(part)?])
}

/// `Size`: the number of elements.
pub(super) fn size(cx: &mut Context, node: &Node<'_>) -> Results {
    let dims = cx.shape(node.input(0)?);
    // `check_type` bounds the product's terms.
    let size = Dim::product(&dims);
    if !symbolic::is_tame(&size) && size.as_const().is_none() {
        return Err(Fault::invalid("the number of elements is too large an expression"));
    }
    Ok(vec![cx.add_ints(TensorType::new(DType::I64, []), vec![size])?])
}
