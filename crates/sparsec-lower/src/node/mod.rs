//! One node at a time: which kernels it becomes.

mod attention;
mod bytes;
mod contract;
mod control;
mod conv;
mod movement;
mod simple;

use std::collections::BTreeMap;

use sparsec_graph::{Dim, Graph, LoopsSpec, NodeId, Op, TensorType};
use sparsec_tir::BufferKind;

use crate::context::{BuiltKernel, scalar_of};
use crate::error::LowerError;
use crate::kernels::map::map_kernel;
use crate::lowering::{Lowering, Place};
use crate::operand::Operand;

/// Adds the launches of a node.
pub(crate) fn lower_node<'g>(l: &mut Lowering<'g>, id: NodeId) -> Result<(), LowerError> {
    let graph: &'g Graph = l.graph;
    let node = graph.node(id);
    if node.epilogue.is_some() && !matches!(node.op, Op::Contract(_) | Op::Conv(_)) {
        return Err(LowerError::unsupported(node, "this operator can't have an epilogue"));
    }
    match &node.op {
        // Another view of the operand's memory.
        Op::Reshape(_) => Ok(()),
        Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Clip { .. } | Op::Map(_) | Op::Cast(_) => {
            simple::lower_elementwise(l, id)
        }
        Op::BatchNorm { epsilon } => simple::lower_batch_norm(l, id, *epsilon),
        Op::Reduce { kind, axes, .. } => simple::lower_reduce(l, id, *kind, axes),
        Op::Softmax { axis } => simple::lower_softmax(l, id, *axis),
        Op::LayerNorm { axis, axes, epsilon } => simple::lower_layer_norm(l, id, (*axis, *axes), *epsilon),
        Op::Pool(attrs) => simple::lower_pool(l, id, attrs),
        Op::Gather { axis } => simple::lower_gather(l, id, *axis),
        Op::ShapeOf(dims) => simple::lower_shape_of(l, id, dims),
        Op::Transpose(perm) => movement::lower_transpose(l, id, perm),
        Op::Expand(_) => movement::lower_expand(l, id),
        Op::Slice(axes) => movement::lower_slice(l, id, axes),
        Op::Concat { axis } => movement::lower_concat(l, id, *axis),
        Op::Pad { amounts, value } => movement::lower_pad(l, id, amounts, *value),
        Op::Contract(spec) => contract::lower_contract(l, id, spec),
        Op::Loops(spec) => lower_loops(l, id, spec),
        Op::Attention(spec) => attention::lower_attention(l, id, spec),
        Op::Conv(attrs) => conv::lower_conv(l, id, attrs),
        Op::If { then, otherwise } => control::lower_if(l, id, (then, otherwise)),
        Op::Loop(spec) => control::lower_loop(l, id, spec),
    }
}

/// Adds the launch of a kernel whose buffers are `operands` and then the node's result.
fn launch_node(
    l: &mut Lowering<'_>,
    id: NodeId,
    built: BuiltKernel,
    operands: &[sparsec_graph::ValueId],
) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let mut places: Vec<Place> = operands.iter().map(|&v| l.place(v)).collect();
    places.push(l.place(node.result()));
    l.launch(built, &node.name, places, &BTreeMap::new())
}

/// The node carries its kernel.
fn lower_loops(l: &mut Lowering<'_>, id: NodeId, spec: &LoopsSpec) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    l.declare_found(node, &spec.counts)?;
    let (mut operands, mut results) = (node.operands.iter(), node.results.iter());
    let mut places = Vec::new();
    for buffer in &spec.kernel.buffers {
        let value = match buffer.kind {
            BufferKind::Input => operands.next(),
            BufferKind::Output => results.next(),
            BufferKind::Scratch | BufferKind::Team => continue,
        };
        let value = value.ok_or_else(|| LowerError::unsupported(node, "its kernel has more buffers"))?;
        places.push(l.place(*value));
    }
    let built = BuiltKernel { kernel: spec.kernel.clone(), params: spec.params.clone() };
    l.launch(built, &node.name, places, &BTreeMap::new())?;
    let first = node.results.len().saturating_sub(spec.counts.len());
    for (count, &result) in spec.counts.iter().zip(&node.results[first..]) {
        let from = l.place(result);
        l.find(&count.symbol, from);
    }
    Ok(())
}

/// Adds a launch that copies a value.
pub(crate) fn copy_value(
    l: &mut Lowering<'_>,
    label: &str,
    ty: &TensorType,
    from: Place,
    to: Place,
) -> Result<(), LowerError> {
    let whole = Operand::whole(scalar_of(ty.dtype), &ty.shape);
    let built = map_kernel("copy", &ty.shape, &whole, std::slice::from_ref(&whole), &l.target, &mut |c, arg| arg(c, 0));
    l.launch(built, label, vec![from, to], &BTreeMap::new())
}

/// Row-major strides of a shape.
pub(crate) fn strides_of(shape: &[Dim]) -> Vec<Dim> {
    (0..shape.len()).map(|i| Dim::product(&shape[i + 1..])).collect()
}
