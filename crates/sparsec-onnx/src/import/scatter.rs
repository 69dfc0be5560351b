//! Operators whose indices name single elements: gathering and scattering.

use sparsec_graph::DType;
use sparsec_loops::Reduction;

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `GatherElements`.
pub(super) fn gather_elements(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let along = axis(node.int_or("axis", 0)?, cx.rank(x))?;
    check_elements(cx, x, indices, along)?;
    let spec = sparsec_loops::gather_elements(cx.ty(x), cx.ty(indices), along);
    cx.append_loops(spec, &[x, indices])
}

/// `GatherND`.
pub(super) fn gather_nd(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let batch = usize::try_from(node.int_or("batch_dims", 0)?).unwrap_or(usize::MAX);
    let indexed = indexed_axes(cx, indices)?;
    let (shape, tuples) = (cx.shape(x), cx.shape(indices));
    if batch >= tuples.len() || batch.saturating_add(indexed) > shape.len() || shape[..batch] != tuples[..batch] {
        return Err(misfit(cx, x, indices));
    }
    let spec = sparsec_loops::gather_nd(cx.ty(x), cx.ty(indices), batch);
    cx.append_loops(spec, &[x, indices])
}

/// `ScatterElements`, and `Scatter`, its name before operator set 11.
pub(super) fn scatter_elements(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let along = axis(node.int_or("axis", 0)?, cx.rank(x))?;
    check_elements(cx, x, indices, along)?;
    if cx.shape(updates) != cx.shape(indices) {
        return Err(misfit(cx, updates, indices));
    }
    let reduction = reduction(node)?;
    scatter(cx, reduction, [x, indices, updates], |cx, x| {
        sparsec_loops::scatter_elements(cx.ty(x), cx.ty(indices), along, reduction)
    })
}

/// `ScatterND`.
pub(super) fn scatter_nd(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let indexed = indexed_axes(cx, indices)?;
    let mut expected = cx.shape(indices);
    expected.pop();
    expected.extend(cx.shape(x).into_iter().skip(indexed));
    if indexed > cx.rank(x) || cx.shape(updates) != expected {
        return Err(misfit(cx, x, indices));
    }
    let reduction = reduction(node)?;
    scatter(cx, reduction, [x, indices, updates], |cx, x| {
        sparsec_loops::scatter_nd(cx.ty(x), cx.ty(indices), reduction)
    })
}

/// Half floats are combined as `f32`.
fn scatter(
    cx: &mut Context,
    reduction: Reduction,
    [x, indices, updates]: [Operand; 3],
    spec: impl FnOnce(&Context, Operand) -> sparsec_graph::LoopsSpec,
) -> Results {
    let dtype = cx.dtype(x);
    let (mut wide, mut new) = (x, updates);
    if reduction != Reduction::Replace {
        if !dtype.is_float() && !dtype.is_int() {
            return Err(Fault::unsupported(format!("a reduction of {dtype}")));
        }
        wide = widen(cx, x)?;
        new = widen(cx, updates)?;
    }
    let spec = spec(cx, wide);
    let results = cx.append_loops(spec, &[wide, indices, new])?;
    results.into_iter().map(|y| cx.cast(y, dtype)).collect()
}

/// As `f32` where it is narrower: loops compute in the types of their operands.
pub(super) fn widen(cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
    let dtype = cx.dtype(x);
    if dtype.is_float() && !matches!(dtype, DType::F32 | DType::F64) { cx.cast(x, DType::F32) } else { Ok(x) }
}

fn reduction(node: &Node<'_>) -> Result<Reduction, Fault> {
    match node.string("reduction")?.unwrap_or("none") {
        "none" => Ok(Reduction::Replace),
        "add" => Ok(Reduction::Add),
        "mul" => Ok(Reduction::Mul),
        "max" => Ok(Reduction::Max),
        "min" => Ok(Reduction::Min),
        other => Err(Fault::attribute("reduction", format!("is `{other}`"))),
    }
}

/// `TensorScatter`.
pub(super) fn tensor_scatter(cx: &mut Context, node: &Node<'_>) -> Results {
    let (cache, update, starts) = (node.input(0)?, node.input(1)?, node.optional(2));
    let along = axis(node.int_or("axis", -2)?, cx.rank(cache))?;
    let circular = match node.string("mode")?.unwrap_or("linear") {
        "linear" => false,
        "circular" => true,
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let (mut expected, found) = (cx.shape(cache), cx.shape(update));
    let Some(count) = found.get(along).cloned().filter(|_| along > 0) else { return Err(misfit(cx, cache, update)) };
    expected[along] = count.clone();
    if expected != found {
        return Err(misfit(cx, cache, update));
    }
    let dtype = starts.map(|starts| cx.dtype(starts));
    let spec = sparsec_loops::tensor_scatter(cx.ty(cache), &count, dtype, along, circular);
    let operands: Vec<Operand> = [cache, update].into_iter().chain(starts).collect();
    cx.append_loops(spec, &operands)
}

/// Indices of single elements: as many dimensions as the operand, and no longer but along one.
fn check_elements(cx: &Context, x: Operand, indices: Operand, along: usize) -> Result<(), Fault> {
    let (shape, other) = (cx.shape(x), cx.shape(indices));
    let longer = |k: usize| shape[k].as_const().zip(other[k].as_const()).is_some_and(|(n, m)| m > n);
    if !cx.dtype(indices).is_int() || shape.len() != other.len() || (0..shape.len()).any(|k| k != along && longer(k)) {
        return Err(misfit(cx, x, indices));
    }
    Ok(())
}

/// How many axes tuples of indices are for.
fn indexed_axes(cx: &Context, indices: Operand) -> Result<usize, Fault> {
    if !cx.dtype(indices).is_int() || cx.rank(indices) == 0 {
        return Err(Fault::invalid(format!("indices are {}", cx.ty(indices))));
    }
    let count = cx.const_extent(indices, cx.rank(indices) - 1)?;
    usize::try_from(count).map_err(|_| Fault::invalid(format!("indices are {}", cx.ty(indices))))
}

fn misfit(cx: &Context, x: Operand, y: Operand) -> Fault {
    Fault::invalid(format!("{} and {} do not fit together", cx.ty(x), cx.ty(y)))
}
