//! Other shapes of the same elements, repetition, permutation of axes.

use sparsec_graph::infer::broadcast_shapes;
use sparsec_graph::{Dim, Op, TensorType};

use super::context::{Context, Operand};
use super::node::{Node, axes, axis};
use super::symbolic;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// A reshape; known integers stay known.
pub(super) fn reshape_to(cx: &mut Context, x: Operand, shape: Vec<Dim>) -> Result<Operand, Fault> {
    if cx.shape(x) == shape {
        return Ok(x);
    }
    super::context::check_type(&TensorType::new(cx.dtype(x), shape.clone()))?;
    let same = Dim::product(&shape) == Dim::product(&cx.shape(x));
    match cx.ints(x) {
        Some(ints) if same => cx.add_ints(TensorType::new(cx.dtype(x), shape), ints.to_vec()),
        _ => cx.append(Op::Reshape(shape), &[x]),
    }
}

/// `Reshape`: 0 keeps an extent, -1 is what remains.
pub(super) fn reshape(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let from = cx.shape(x);
    // Operator sets before 5 had it as an attribute.
    let mut shape = match node.ints("shape")?.filter(|_| node.opset < 5) {
        Some(shape) => shape.iter().copied().map(Dim::constant).collect(),
        None => cx.dims(node.input(1)?, "the new shape")?,
    };
    super::context::check_type(&TensorType::new(cx.dtype(x), vec![Dim::constant(1); shape.len()]))?;
    let zero_copies = node.int_or("allowzero", 0)? == 0;
    let mut open = None;
    for (i, dim) in shape.iter_mut().enumerate() {
        if dim.is(0) && zero_copies {
            let kept = from.get(i).cloned();
            *dim = kept.ok_or_else(|| Fault::invalid(format!("dimension {i} is to be kept, but there is none")))?;
        } else if dim.is(-1) && open.replace(i).is_some() {
            return Err(Fault::invalid("two dimensions of the new shape are -1"));
        }
    }
    if let Some(open) = open {
        shape[open] = remaining(&from, &shape, open)?;
    }
    Ok(vec![reshape_to(cx, x, shape)?])
}

/// The extent that makes `shape` hold as many elements as `from`.
fn remaining(from: &[Dim], shape: &[Dim], open: usize) -> Result<Dim, Fault> {
    // Extents that occur on both sides cancel, also where they are sums, by which polynomials are not divided.
    let mut above: Vec<Dim> = from.to_vec();
    let mut below = Vec::new();
    for (_, dim) in shape.iter().enumerate().filter(|(i, _)| *i != open) {
        match above.iter().position(|d| d == dim && !d.is(0)) {
            Some(i) => {
                above.swap_remove(i);
            }
            None => below.push(dim.clone()),
        }
    }
    above.sort();
    let ty = |dims: &[Dim]| super::context::check_type(&TensorType::new(sparsec_graph::DType::I64, dims));
    ty(&above)?;
    ty(&below)?;
    let (above, below) = (Dim::product(&above), Dim::product(&below));
    match (above.as_const(), below.as_const()) {
        (_, Some(0)) => Err(Fault::invalid("-1 beside a dimension of 0 could be any number")),
        (Some(a), Some(b)) if b < 0 || a % b != 0 => {
            Err(Fault::invalid(format!("{a} elements do not divide into {b} equal parts")))
        }
        (Some(a), Some(b)) => Ok(Dim::constant(a / b)),
        _ if symbolic::is_tame(&above) && symbolic::is_tame(&below) => Ok(above.floor_div(&below)),
        _ => Err(Fault::invalid("the shape is too large an expression")),
    }
}

/// `Flatten` to a matrix: the axes before and from `axis` on.
pub(super) fn flatten(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let rank = shape.len();
    let at = node.int_or("axis", 1)?;
    let at = if at == rank as i64 { rank } else { axis(at, rank)? };
    let (outer, inner) = shape.split_at(at);
    Ok(vec![reshape_to(cx, x, vec![Dim::product(outer), Dim::product(inner)])?])
}

/// `Squeeze`: removes axes of extent 1.
pub(super) fn squeeze(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let gone = match node.ints_input_or_attribute(cx, 1, "axes")? {
        Some(list) => axes(&list, shape.len())?,
        None => (0..shape.len()).filter(|&i| shape[i].is(1)).collect(),
    };
    if let Some(&i) = gone.iter().find(|&&i| shape[i].as_const().is_some_and(|extent| extent != 1)) {
        return Err(Fault::invalid(format!("dimension {i} is {}, so it cannot be removed", shape[i])));
    }
    // An extent that inputs decide has to be 1: what is left has fewer elements otherwise, and no run accepts that.
    let shape = shape.into_iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, d)| d).collect();
    Ok(vec![reshape_to(cx, x, shape)?])
}

/// `Unsqueeze`: inserts axes of extent 1.
pub(super) fn unsqueeze(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let list = node.ints_input_or_attribute(cx, 1, "axes")?.ok_or(Fault::MissingInput(1))?;
    let from = cx.shape(x);
    let rank = from.len() + list.len();
    let new = axes(&list, rank)?;
    let mut rest = from.into_iter();
    let shape = (0..rank).filter_map(|i| if new.contains(&i) { Some(Dim::constant(1)) } else { rest.next() }).collect();
    Ok(vec![reshape_to(cx, x, shape)?])
}

/// `Expand`: broadcasts with a shape, both ways.
pub(super) fn expand(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let target = cx.dims(node.input(1)?, "the new shape")?;
    let from = cx.shape(x);
    let shape = broadcast_shapes("expand", &[&from, &target])?;
    if shape == from {
        return Ok(vec![x]);
    }
    let known = cx.ints(x).and_then(|ints| symbolic::broadcast(&ints, &from, &shape));
    match known {
        Some(ints) => Ok(vec![cx.add_ints(TensorType::new(cx.dtype(x), shape), ints)?]),
        None => Ok(vec![cx.append(Op::Expand(shape), &[x])?]),
    }
}

/// `Transpose`; without a permutation the axes are reversed.
pub(super) fn transpose(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    let perm = match node.ints("perm")? {
        Some(perm) => {
            // Checks that each axis occurs once.
            axes(perm, rank)?;
            perm.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?
        }
        None => (0..rank).rev().collect(),
    };
    if perm.len() != rank {
        return Err(Fault::attribute("perm", format!("has {} entries, but {rank} are needed", perm.len())));
    }
    Ok(vec![if perm.is_sorted() { x } else { cx.append(Op::Transpose(perm), &[x])? }])
}
