//! Nodes that move elements: each is an element-wise copy with other indices.

use std::collections::BTreeMap;

use sparsec_graph::{Dim, NodeId, SliceAxis, ValueId};

use crate::context::{BuiltKernel, Context, scalar_of};
use crate::error::LowerError;
use crate::kernels::map::map_kernel;
use crate::lowering::Lowering;
use crate::node::launch_node;
use crate::operand::{Axis, Operand};
use crate::scalar::{Typed, constant};

/// The kernel that copies `from` to `to`.
fn copy(l: &Lowering<'_>, name: &str, extents: &[Dim], from: Operand, to: &Operand) -> BuiltKernel {
    map_kernel(name, extents, to, &[from], &l.target, &mut |c, arg| arg(c, 0))
}

fn whole(l: &Lowering<'_>, value: ValueId) -> Operand {
    let ty = l.graph.ty(value);
    Operand::whole(scalar_of(ty.dtype), &ty.shape)
}

pub(super) fn lower_transpose(l: &mut Lowering<'_>, id: NodeId, perm: &[usize]) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let to = whole(l, node.result());
    let mut from = whole(l, node.operands[0]);
    for (i, &axis) in perm.iter().enumerate() {
        from.axes[axis] = Axis::loop_axis(i);
    }
    let built = copy(l, "transpose", &to.shape, from, &to);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_expand(l: &mut Lowering<'_>, id: NodeId) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let to = whole(l, node.result());
    let from = Operand::broadcast(to.elem, &l.graph.ty(node.operands[0]).shape, &to.shape);
    let built = copy(l, "expand", &to.shape, from, &to);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_slice(l: &mut Lowering<'_>, id: NodeId, axes: &[SliceAxis]) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let to = whole(l, node.result());
    let mut from = whole(l, node.operands[0]);
    for (axis, slice) in from.axes.iter_mut().zip(axes) {
        axis.offset = slice.start.clone();
        axis.scale = slice.step;
    }
    let built = copy(l, "slice", &to.shape, from, &to);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_concat(l: &mut Lowering<'_>, id: NodeId, axis: usize) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let mut start = Dim::default();
    for &operand in &node.operands {
        let from = whole(l, operand);
        let extents = from.shape.clone();
        let mut to = whole(l, node.result());
        to.axes[axis].offset = start.clone();
        start = start + extents[axis].clone();
        let built = copy(l, "concat", &extents, from, &to);
        launch_node(l, id, built, &[operand])?;
    }
    Ok(())
}

pub(super) fn lower_pad(
    l: &mut Lowering<'_>,
    id: NodeId,
    amounts: &[(i64, i64)],
    value: f64,
) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let mut to = whole(l, node.result());
    let mut from = whole(l, node.operands[0]);
    let elem = to.elem;
    let fill = map_kernel("fill", &to.shape, &to, &[], &l.target, &mut |_: &mut Context, _| -> Typed {
        constant(value, elem)
    });
    let place = l.place(node.result());
    l.launch(fill, &node.name, vec![place], &BTreeMap::new())?;
    // What is cropped shortens the loop; what is added shifts the result.
    let mut extents = from.shape.clone();
    for (axis, &(before, after)) in amounts.iter().enumerate() {
        extents[axis] = extents[axis].clone() + Dim::constant(before.min(0) + after.min(0));
        from.axes[axis].offset = Dim::constant((-before).max(0));
        to.axes[axis].offset = Dim::constant(before.max(0));
    }
    let built = copy(l, "pad", &extents, from, &to);
    launch_node(l, id, built, &node.operands)
}
