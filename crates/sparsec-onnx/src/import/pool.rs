//! Sliding window reductions.

use sparsec_graph::{Op, PoolAttrs, PoolKind, ReduceKind};

use super::context::{Context, Operand};
use super::node::Node;
use super::window::Window;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `MaxPool`, without the places of the maxima.
pub(super) fn max_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    node.only_outputs(1)?;
    pool(cx, node, PoolKind::Max)
}

/// `AveragePool`.
pub(super) fn average_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    let with_pad = node.int_or("count_include_pad", 0)? != 0;
    pool(cx, node, if with_pad { PoolKind::AverageWithPad } else { PoolKind::Average })
}

fn pool(cx: &mut Context, node: &Node<'_>, kind: PoolKind) -> Results {
    let x = node.input(0)?;
    let kernel = node.ints("kernel_shape")?.ok_or_else(|| Fault::attribute("kernel_shape", "is missing"))?;
    let Window { kernel, strides, pads, dilations } = Window::of(cx, node, x, kernel.to_vec())?;
    let ceil = node.int_or("ceil_mode", 0)? != 0;
    Ok(vec![cx.append(Op::Pool(PoolAttrs { kind, kernel, strides, pads, dilations, ceil }), &[x])?])
}

/// `GlobalAveragePool` and `GlobalMaxPool`: reductions over all spatial axes.
pub(super) fn global_pool(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let kind = if node.proto.op_type() == "GlobalMaxPool" { ReduceKind::Max } else { ReduceKind::Mean };
    let rank = cx.rank(x);
    if rank < 3 {
        return Err(Fault::invalid("the operand has no spatial dimensions"));
    }
    Ok(vec![cx.append(Op::Reduce { kind, axes: (2..rank).collect(), keep: true }, &[x])?])
}
