//! Fused operators of the domain `com.microsoft`, as exporters of transformers write them.

use sparsec_graph::{BinaryOp, Dim, Op, ReduceKind, UnaryOp};

use super::context::{Context, Operand};
use super::matmul::product;
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `SkipLayerNormalization`: the normalised sum of x, the skipped branch and a bias; the sum is the fourth result.
pub(super) fn skip_layer_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let sum = skip_sum(cx, node, node.optional(4))?;
    let normal = layer_norm(cx, sum, node.input(2)?, node.optional(3), node.float_or("epsilon", 1e-12)?)?;
    node_sum(node, normal, sum)
}

/// `SkipSimplifiedLayerNormalization`: the same without the mean.
pub(super) fn skip_rms_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let sum = skip_sum(cx, node, node.optional(3))?;
    let normal = rms_norm(cx, sum, node.input(2)?, node.float_or("epsilon", 1e-6)?)?;
    node_sum(node, normal, sum)
}

/// `SimplifiedLayerNormalization`: over the last axis, by the mean of squares.
pub(super) fn rms_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let last = cx.rank(x) as i64 - 1;
    if ![-1, last].contains(&node.int_or("axis", -1)?) {
        return Err(Fault::unsupported("another axis than the last"));
    }
    node.only_outputs(1)?;
    Ok(vec![rms_norm(cx, x, node.input(1)?, node.float_or("epsilon", 1e-5)?)?])
}

fn skip_sum(cx: &mut Context, node: &Node<'_>, bias: Option<Operand>) -> Result<Operand, Fault> {
    let sum = cx.binary(BinaryOp::Add, node.input(0)?, node.input(1)?)?;
    match bias {
        Some(bias) => cx.binary(BinaryOp::Add, sum, bias),
        None => Ok(sum),
    }
}

/// The results, of which the second and third serve training only.
fn node_sum(node: &Node<'_>, normal: Operand, sum: Operand) -> Results {
    match (1..3).find(|&i| node.wants_output(i)) {
        Some(i) => Err(Fault::unsupported(format!("result {i} of {}", node.proto.op_type()))),
        None => Ok(vec![normal, normal, normal, sum]),
    }
}

fn layer_norm(
    cx: &mut Context,
    x: Operand,
    scale: Operand,
    bias: Option<Operand>,
    epsilon: f64,
) -> Result<Operand, Fault> {
    let bias = match bias {
        Some(bias) => bias,
        None => {
            let zero = cx.scalar(cx.dtype(x), 0.0);
            cx.append(Op::Expand(cx.shape(scale)), &[zero])?
        }
    };
    let axis = cx.rank(x).checked_sub(1).ok_or_else(|| Fault::invalid("the operand is a scalar"))?;
    cx.append(Op::LayerNorm { axis, axes: 1, epsilon }, &[x, scale, bias])
}

fn rms_norm(cx: &mut Context, x: Operand, scale: Operand, epsilon: f64) -> Result<Operand, Fault> {
    let axis = cx.rank(x).checked_sub(1).ok_or_else(|| Fault::invalid("the operand is a scalar"))?;
    let square = cx.binary(BinaryOp::Mul, x, x)?;
    let mean = cx.reduce(ReduceKind::Mean, square, &[axis])?;
    let sum = cx.with_number(BinaryOp::Add, mean, epsilon)?;
    let factor = cx.unary(UnaryOp::Rsqrt, sum)?;
    let normal = cx.binary(BinaryOp::Mul, x, factor)?;
    cx.binary(BinaryOp::Mul, normal, scale)
}

/// `EmbedLayerNormalization`: the normalised sum of the embeddings of words, positions and segments.
pub(super) fn embed_layer_normalization(cx: &mut Context, node: &Node<'_>) -> Results {
    if node.wants_output(1) {
        return Err(Fault::unsupported("the number of tokens that a mask leaves"));
    }
    let words = node.input(0)?;
    let mut sum = cx.append(Op::Gather { axis: 0 }, &[node.input(2)?, words])?;
    let table = node.input(3)?;
    let positions = match node.optional(8) {
        Some(positions) => cx.append(Op::Gather { axis: 0 }, &[table, positions])?,
        None => {
            let length = cx.shape(words).get(1).cloned().ok_or_else(|| Fault::invalid("words have no length"))?;
            cx.part(table, 0, Dim::constant(0), length, 1)?
        }
    };
    sum = cx.binary(BinaryOp::Add, sum, positions)?;
    if let (Some(segments), Some(table)) = (node.optional(1), node.optional(4)) {
        let segments = cx.append(Op::Gather { axis: 0 }, &[table, segments])?;
        sum = cx.binary(BinaryOp::Add, sum, segments)?;
    }
    let normal = layer_norm(cx, sum, node.input(5)?, node.optional(6), node.float_or("epsilon", 1e-12)?)?;
    // The mask that is not asked for stands between.
    Ok(vec![normal, normal, sum])
}

/// `FusedMatMul`: `alpha A' B'`, the last two axes of each exchanged where that is said.
pub(super) fn fused_matmul(cx: &mut Context, node: &Node<'_>) -> Results {
    if node.int_or("transBatchA", 0)? != 0 || node.int_or("transBatchB", 0)? != 0 {
        return Err(Fault::unsupported("exchanging the first axes"));
    }
    let mut operands = [node.input(0)?, node.input(1)?];
    for (x, name) in operands.iter_mut().zip(["transA", "transB"]) {
        let rank = cx.rank(*x);
        if node.int_or(name, 0)? != 0 && rank >= 2 {
            let mut perm: Vec<usize> = (0..rank).collect();
            perm.swap(rank - 2, rank - 1);
            *x = cx.transpose(*x, &perm)?;
        }
    }
    let result = product(cx, operands[0], operands[1])?;
    let alpha = node.float_or("alpha", 1.0)?;
    Ok(vec![if alpha == 1.0 { result } else { cx.with_number(BinaryOp::Mul, result, alpha)? }])
}

/// `BiasAdd`: x, a bias and a skipped branch.
pub(super) fn bias_add(cx: &mut Context, node: &Node<'_>) -> Results {
    let sum = cx.binary(BinaryOp::Add, node.input(0)?, node.input(1)?)?;
    Ok(vec![cx.binary(BinaryOp::Add, sum, node.input(2)?)?])
}
