//! Operators whose results are as large as what they find in their operands.

use sparsec_graph::{DType, Dim, Op};
use sparsec_loops::{
    Suppression, compress as compress_loops, nonzero as nonzero_loops, suppress, unique as unique_loops,
};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `NonZero`.
pub(super) fn nonzero(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let ty = cx.ty(x).clone();
    let count = cx.fresh_symbol("count");
    let mut results = cx.append_loops(nonzero_loops(&ty, &count), &[x])?;
    results.truncate(1);
    Ok(results)
}

/// `Compress`.
pub(super) fn compress(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, condition) = (node.input(0)?, node.input(1)?);
    let (ty, condition_ty) = (cx.ty(x).clone(), cx.ty(condition).clone());
    if condition_ty.dtype != DType::Bool || condition_ty.rank() != 1 {
        return Err(Fault::invalid(format!("the condition is {condition_ty}, not a vector of bool")));
    }
    let along = node.int("axis")?.map(|a| axis(a, ty.rank())).transpose()?;
    let count = cx.fresh_symbol("count");
    let mut results = cx.append_loops(compress_loops(&ty, &condition_ty, along, &count), &[x, condition])?;
    results.truncate(1);
    Ok(results)
}

/// `Unique`.
pub(super) fn unique(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let ty = cx.ty(x).clone();
    let along = node.int("axis")?.map(|a| axis(a, ty.rank())).transpose()?;
    let count = cx.fresh_symbol("count");
    let spec = unique_loops(&ty, along, node.int_or("sorted", 1)? != 0, &count);
    match cx.append_loops(spec, &[x])?.as_slice() {
        [slices, first, often, which, ..] => Ok(vec![*slices, *first, *which, *often]),
        _ => Err(Fault::invalid("results are missing")),
    }
}

/// `NonMaxSuppression`.
pub(super) fn suppression(cx: &mut Context, node: &Node<'_>) -> Results {
    let (boxes, scores) = (node.input(0)?, node.input(1)?);
    let (boxes_ty, scores_ty) = (cx.ty(boxes).clone(), cx.ty(scores).clone());
    let fits = boxes_ty.rank() == 3
        && scores_ty.rank() == 3
        && boxes_ty.shape[2].is(4)
        && boxes_ty.shape[0] == scores_ty.shape[0]
        && boxes_ty.shape[1] == scores_ty.shape[2];
    if !fits || boxes_ty.dtype != DType::F32 || scores_ty.dtype != DType::F32 {
        let reason = format!("boxes {boxes_ty} and scores {scores_ty} are not f32 [b, n, 4] and f32 [b, c, n]");
        return Err(Fault::invalid(reason));
    }
    let most = match node.optional(2) {
        Some(most) => most,
        None => cx.scalar(DType::I64, 0.0),
    };
    let share = match node.optional(3) {
        Some(share) => share,
        None => cx.scalar(DType::F32, 0.0),
    };
    let what = Suppression {
        centred: node.int_or("center_point_box", 0)? != 0,
        most: cx.number(most).map(|most| most as i64),
        score_threshold: node.optional(4).is_some(),
    };
    let mut operands = vec![boxes, scores];
    for scalar in [Some(most), Some(share), node.optional(4)].into_iter().flatten() {
        operands.push(cx.append(Op::Reshape(vec![Dim::constant(1)]), &[scalar])?);
    }
    let count = cx.fresh_symbol("count");
    let mut results = cx.append_loops(suppress(&boxes_ty, &scores_ty, &what, &count), &operands)?;
    results.truncate(1);
    Ok(results)
}
