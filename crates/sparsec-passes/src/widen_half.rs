//! Sums of 16-bit floats in `f32`.
//!
//! A product or a reduction that adds up in `f16` or `bf16` loses digits with each term. Its operands become `f32` first and
//! its result is rounded back, which is what other runtimes do and what lets such a model have the kernels of `f32`. Constant
//! weights are converted when the model is compiled.

use sparsec_graph::{DType, Graph, NodeId, Op, PoolKind, ReduceKind, ValueId};

use crate::matching::{is_plain, replace_node};
use crate::{PassError, PassStats};

/// Computes contractions, convolutions, sums, means, softmax and normalisations of 16-bit floats in `f32`.
///
/// # Errors
/// None on a verified graph.
pub fn widen_half(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if let Some(half) = half_sum(graph, id) {
            widen(graph, id, half)?;
            stats.changed += 1;
        }
    }
    Ok(stats)
}

/// The element type of a node that adds up 16-bit floats.
fn half_sum(graph: &Graph, id: NodeId) -> Option<DType> {
    let node = graph.node(id);
    let adds = match &node.op {
        Op::Contract(_) | Op::Conv(_) | Op::Softmax { .. } | Op::LayerNorm { .. } | Op::BatchNorm { .. } => true,
        Op::Reduce { kind, .. } => !matches!(kind, ReduceKind::Max | ReduceKind::Min),
        Op::Pool(attrs) => attrs.kind != PoolKind::Max,
        _ => false,
    };
    let dtype = graph.ty(*node.operands.first()?).dtype;
    (adds && is_plain(node) && matches!(dtype, DType::F16 | DType::BF16)).then_some(dtype)
}

fn widen(graph: &mut Graph, id: NodeId, half: DType) -> Result<(), PassError> {
    let node = graph.node(id);
    let (op, operands, name) = (node.op.clone(), node.operands.clone(), node.name.clone());
    let mut wide = |&v: &ValueId| graph.append(Op::Cast(DType::F32), &[v], "");
    let operands = operands.iter().map(&mut wide).collect::<Result<Vec<_>, _>>()?;
    let result = graph.append(op, &operands, &name)?;
    replace_node(graph, id, Op::Cast(half), &[result])?;
    Ok(())
}
