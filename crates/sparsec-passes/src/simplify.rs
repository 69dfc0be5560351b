//! Operators that do nothing, and pairs of operators that are one: the algebra behind [`crate::fold_constants`].

use sparsec_graph::{BinaryOp, DType, Graph, Node, Op, ValueId};

use crate::matching::plain;
use crate::tensor::to_f64;

/// The operand that a node's result equals.
pub(crate) fn identity(graph: &Graph, node: &Node) -> Option<ValueId> {
    let x = *node.operands.first()?;
    let same_type = |v: ValueId| graph.ty(v) == graph.ty(node.result());
    let candidate = match &node.op {
        Op::Binary(op) => {
            let y = *node.operands.get(1)?;
            let (right, left) = neutral(*op);
            if right.is_some() && uniform(graph, y) == right {
                x
            } else if left.is_some() && uniform(graph, x) == left {
                y
            } else {
                return None;
            }
        }
        Op::Cast(to) if graph.ty(x).dtype == *to => x,
        Op::Reshape(_) | Op::Expand(_) => x,
        Op::Clip { lo, hi } if *lo == f64::NEG_INFINITY && *hi == f64::INFINITY => x,
        Op::Transpose(perm) if perm.iter().copied().eq(0..perm.len()) => x,
        Op::Slice(axes) if axes.iter().all(|a| a.start.is(0) && a.step == 1) => x,
        Op::Pad { amounts, .. } if amounts.iter().all(|&a| a == (0, 0)) => x,
        Op::Concat { .. } if node.operands.len() == 1 => x,
        Op::Where => match uniform(graph, x)? {
            0.0 => *node.operands.get(2)?,
            _ => *node.operands.get(1)?,
        },
        _ => return None,
    };
    same_type(candidate).then_some(candidate)
}

/// The right and the left neutral element of an operation.
fn neutral(op: BinaryOp) -> (Option<f64>, Option<f64>) {
    match op {
        BinaryOp::Add => (Some(0.0), Some(0.0)),
        BinaryOp::Mul => (Some(1.0), Some(1.0)),
        BinaryOp::Sub => (Some(0.0), None),
        BinaryOp::Div | BinaryOp::Pow => (Some(1.0), None),
        _ => (None, None),
    }
}

/// The value that all elements of a constant have.
pub(crate) fn uniform(graph: &Graph, value: ValueId) -> Option<f64> {
    let data = &graph.constant(value)?.data;
    let size = data.dtype.size();
    let first = data.bytes.get(..size)?;
    if data.bytes.chunks_exact(size).any(|element| element != first) {
        return None;
    }
    let one = sparsec_graph::TensorData { dtype: data.dtype, shape: vec![1], bytes: data.bytes.slice(..size) };
    match data.dtype {
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => to_f64(&one)?.first().copied(),
        _ => one.as_i64()?.first().map(|&v| v as f64),
    }
}

/// The operator and the operand that do what a node and the node before it do together.
pub(crate) fn merge(graph: &Graph, node: &Node) -> Option<(Op, ValueId)> {
    let before = plain(graph, *node.operands.first()?)?;
    let x = *before.operands.first()?;
    match (&node.op, &before.op) {
        (Op::Reshape(shape), Op::Reshape(_)) => Some((Op::Reshape(shape.clone()), x)),
        (Op::Transpose(outer), Op::Transpose(inner)) => {
            let perm = outer.iter().map(|&axis| inner.get(axis).copied()).collect::<Option<Vec<_>>>()?;
            Some((Op::Transpose(perm), x))
        }
        (Op::Expand(shape), Op::Expand(_)) => Some((Op::Expand(shape.clone()), x)),
        (Op::Clip { lo, hi }, Op::Clip { lo: inner_lo, hi: inner_hi }) => {
            // min(max(min(max(x, a), b), c), d) with c <= d clamps a..b into c..d.
            let clamp = |v: f64| v.max(*lo).min(*hi);
            (lo <= hi && inner_lo <= inner_hi).then(|| (Op::Clip { lo: clamp(*inner_lo), hi: clamp(*inner_hi) }, x))
        }
        _ => None,
    }
}
