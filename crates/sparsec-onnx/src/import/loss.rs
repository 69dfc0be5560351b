//! Losses of classification: which class is right is compared with the number of each class, so nothing is gathered.

use sparsec_graph::{BinaryOp, DType, ReduceKind, UnaryOp};

use super::context::{Context, Operand};
use super::node::Node;
use super::normalize::log_probabilities;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `NegativeLogLikelihoodLoss` of log-probabilities `[n, classes, ...]` and classes `[n, ...]`.
pub(super) fn negative_log_likelihood(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![loss(cx, node, node.input(0)?)?])
}

/// `SoftmaxCrossEntropyLoss`: the loss of log-probabilities that it computes, and these.
pub(super) fn softmax_cross_entropy(cx: &mut Context, node: &Node<'_>) -> Results {
    let logs = log_probabilities(cx, node.input(0)?, 1)?;
    Ok(vec![loss(cx, node, logs)?, logs])
}

fn loss(cx: &mut Context, node: &Node<'_>, logs: Operand) -> Result<Operand, Fault> {
    let (rank, dtype) = (cx.rank(logs), cx.dtype(logs));
    let target = cx.cast(node.input(1)?, DType::I64)?;
    if rank < 2 || cx.rank(target) + 1 != rank {
        return Err(Fault::invalid("classes must have one dimension less than the log-probabilities"));
    }
    let classes = cx.shape(logs)[1].clone();
    let numbers = cx.iota(DType::I64, &classes, rank, 1)?;
    let target = cx.insert_axes(target, &[1])?;
    let mut is_class = cx.binary(BinaryOp::Equal, target, numbers)?;
    if let Some(ignored) = node.int("ignore_index")? {
        let ignored = cx.int_scalar(ignored);
        let is_ignored = cx.binary(BinaryOp::Equal, numbers, ignored)?;
        let counts = cx.unary(UnaryOp::Not, is_ignored)?;
        is_class = cx.binary(BinaryOp::And, is_class, counts)?;
    }
    let weight = match node.optional(2) {
        Some(weight) => {
            let places: Vec<usize> = (1..rank - 1).collect();
            cx.insert_axes(weight, &places)?
        }
        None => cx.scalar(dtype, 1.0),
    };
    let zero = cx.scalar(dtype, 0.0);
    let weighted = cx.binary(BinaryOp::Mul, logs, weight)?;
    let chosen = cx.select(is_class, weighted, zero)?;
    let sum = cx.reduce_away(ReduceKind::Sum, chosen, &[1])?;
    let losses = cx.unary(UnaryOp::Neg, sum)?;
    let all: Vec<usize> = (0..rank - 1).collect();
    match node.string("reduction")?.unwrap_or("mean") {
        "none" => Ok(losses),
        "sum" => cx.reduce_away(ReduceKind::Sum, losses, &all),
        "mean" => {
            let total = cx.reduce_away(ReduceKind::Sum, losses, &all)?;
            let weights = cx.select(is_class, weight, zero)?;
            let axes: Vec<usize> = (0..rank).collect();
            let count = cx.reduce_away(ReduceKind::Sum, weights, &axes)?;
            cx.binary(BinaryOp::Div, total, count)
        }
        other => Err(Fault::attribute("reduction", format!("is `{other}`"))),
    }
}
