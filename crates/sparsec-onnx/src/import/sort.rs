//! Operators that order elements: extremes' places, the first few.

use sparsec_graph::Op;
use sparsec_loops::{Extreme, arg_extreme, top_k as top_k_loops};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `ArgMax`, `ArgMin`.
pub(super) fn arg(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let ty = cx.ty(x).clone();
    let axis = axis(node.int_or("axis", 0)?, ty.rank())?;
    let extreme = if node.proto.op_type() == "ArgMax" { Extreme::Max } else { Extreme::Min };
    let spec = arg_extreme(&ty, axis, extreme, node.int_or("select_last_index", 0)? != 0);
    let results = cx.append_loops(spec, &[x])?;
    if node.int_or("keepdims", 1)? != 0 {
        return Ok(results);
    }
    let mut shape = ty.shape;
    shape.remove(axis);
    results.into_iter().map(|place| cx.append(Op::Reshape(shape.clone()), &[place])).collect()
}

/// `TopK`; results are sorted whether that is asked for or not.
pub(super) fn top_k(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let ty = cx.ty(x).clone();
    let axis = axis(node.int_or("axis", -1)?, ty.rank())?;
    let k = match node.optional(1) {
        Some(k) => cx.dims(k, "the number of elements")?,
        None => vec![sparsec_graph::Dim::constant(node.int_or("k", 1)?)],
    };
    let [k] = k.as_slice() else { return Err(Fault::invalid("the number of elements is not one number")) };
    if k.as_const().zip(ty.shape[axis].as_const()).is_some_and(|(k, len)| k > len) {
        return Err(Fault::invalid(format!("{k} elements of an axis of {}", ty.shape[axis])));
    }
    cx.append_loops(top_k_loops(&ty, axis, k, node.int_or("largest", 1)? != 0), &[x])
}
