//! Operators that are a reshape, a permutation or a repetition, and a reshape.

use sparsec_graph::{Dim, Op, TensorType};

use super::context::{Context, Operand, check_type};
use super::node::Node;
use super::reshape::reshape_to;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `Tile`: `[a, b]` by `[r, s]` is `[1, a, 1, b]` expanded to `[r, a, s, b]`.
pub(super) fn tile(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let repeats = cx.dims(node.input(1)?, "the numbers of repetitions")?;
    let from = cx.shape(x);
    if repeats.len() != from.len() {
        return Err(Fault::invalid(format!("{} repetitions are given for {} dimensions", repeats.len(), from.len())));
    }
    let (mut apart, mut repeated, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    // Bounds the products below.
    check_type(&TensorType::new(cx.dtype(x), [from.as_slice(), &repeats].concat()))?;
    for (extent, times) in from.iter().zip(&repeats) {
        if !times.is(1) {
            apart.push(Dim::constant(1));
            repeated.push(times.clone());
        }
        apart.push(extent.clone());
        repeated.push(extent.clone());
        joined.push(extent.clone() * times.clone());
    }
    if joined == from {
        return Ok(vec![x]);
    }
    let apart = reshape_to(cx, x, apart)?;
    let repeated = cx.append(Op::Expand(repeated), &[apart])?;
    Ok(vec![reshape_to(cx, repeated, joined)?])
}

/// An image `[n, c, h, w]` and the block size.
fn image(cx: &Context, node: &Node<'_>) -> Result<(Operand, [Dim; 4], i64), Fault> {
    let x = node.input(0)?;
    let shape = cx.shape(x).try_into().map_err(|_| Fault::invalid("the operand must have 4 dimensions"))?;
    let block = node.int("blocksize")?.filter(|b| (1..1 << 16).contains(b));
    Ok((x, shape, block.ok_or_else(|| Fault::attribute("blocksize", "is missing or out of range"))?))
}

/// The exact quotient of an extent.
fn divide(extent: &Dim, by: i64) -> Result<Dim, Fault> {
    let quotient = extent.exact_div(&Dim::constant(by));
    quotient.ok_or_else(|| Fault::invalid(format!("extent {extent} is not a multiple of {by}")))
}

/// `DepthToSpace`: channels become blocks of pixels.
pub(super) fn depth_to_space(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, [n, c, h, w], block) = image(cx, node)?;
    let (b, depth) = (Dim::constant(block), divide(&c, block * block)?);
    let (apart, perm) = match node.string("mode")?.unwrap_or("DCR") {
        "DCR" => ([n.clone(), b.clone(), b.clone(), depth.clone(), h.clone(), w.clone()], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n.clone(), depth.clone(), b.clone(), b.clone(), h.clone(), w.clone()], [0, 1, 4, 2, 5, 3]),
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let apart = reshape_to(cx, x, apart.to_vec())?;
    let moved = cx.append(Op::Transpose(perm.to_vec()), &[apart])?;
    Ok(vec![reshape_to(cx, moved, vec![n, depth, h * b.clone(), w * b])?])
}

/// `SpaceToDepth`: blocks of pixels become channels.
pub(super) fn space_to_depth(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, [n, c, h, w], block) = image(cx, node)?;
    let b = Dim::constant(block);
    let (high, wide) = (divide(&h, block)?, divide(&w, block)?);
    let apart = vec![n.clone(), c.clone(), high.clone(), b.clone(), wide.clone(), b.clone()];
    let apart = reshape_to(cx, x, apart)?;
    let moved = cx.append(Op::Transpose(vec![0, 3, 5, 1, 2, 4]), &[apart])?;
    Ok(vec![reshape_to(cx, moved, vec![n, c * b.clone() * b, high, wide])?])
}
