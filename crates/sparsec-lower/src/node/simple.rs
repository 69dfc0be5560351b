//! Nodes that are one kernel over dense tensors.

use std::collections::BTreeMap;

use sparsec_graph::{BinaryOp, Dim, NodeId, PoolAttrs, ReduceKind, ScalarExpr, UnaryOp};
use sparsec_tir::{BufferKind, Expr, Scalar};

use crate::context::{Context, scalar_of};
use crate::convert::emit_cast;
use crate::error::LowerError;
use crate::kernels::gather::{Gather, gather_kernel};
use crate::kernels::line::AxisView;
use crate::kernels::map::map_kernel;
use crate::kernels::norm::layer_norm_kernel;
use crate::kernels::pool::pool_kernel;
use crate::kernels::reduce::reduce_kernel;
use crate::kernels::softmax::softmax_kernel;
use crate::lowering::Lowering;
use crate::node::launch_node;
use crate::operand::{Axis, Operand};
use crate::scalar::{Typed, elementwise_expr, emit_scalar};

pub(super) fn lower_elementwise(l: &mut Lowering<'_>, id: NodeId) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let result = l.graph.ty(node.result());
    let wanted = scalar_of(result.dtype);
    let output = Operand::whole(wanted, &result.shape);
    let inputs: Vec<Operand> = node
        .operands
        .iter()
        .map(|&v| Operand::broadcast(scalar_of(l.graph.ty(v).dtype), &l.graph.ty(v).shape, &result.shape))
        .collect();
    let expr = elementwise_expr(&node.op);
    let mut body = |c: &mut Context, arg: &mut dyn FnMut(&mut Context, u32) -> Typed| match &expr {
        Some(expr) => emit_scalar(c, expr, None, arg, wanted),
        None => {
            let x = arg(c, 0);
            emit_cast(c, x.0, l.graph.ty(node.operands[0]).dtype, result.dtype)
        }
    };
    let built = map_kernel(node.op.name(), &result.shape, &output, &inputs, &l.target, &mut body);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_batch_norm(l: &mut Lowering<'_>, id: NodeId, epsilon: f64) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let result = l.graph.ty(node.result());
    let elem = scalar_of(result.dtype);
    let whole = Operand::whole(elem, &result.shape);
    let channel = |v| Operand { elem, shape: l.graph.ty(v).shape.clone(), axes: vec![Axis::loop_axis(1)] };
    let mut inputs = vec![whole.clone()];
    inputs.extend(node.operands[1..].iter().map(|&v| channel(v)));
    let arg = ScalarExpr::Arg;
    let centred = ScalarExpr::binary(BinaryOp::Sub, arg(0), arg(3));
    let variance = ScalarExpr::binary(BinaryOp::Add, arg(4), ScalarExpr::Const(epsilon));
    let factor = ScalarExpr::binary(BinaryOp::Div, arg(1), ScalarExpr::unary(UnaryOp::Sqrt, variance));
    let scaled = ScalarExpr::binary(BinaryOp::Mul, centred, factor);
    let expr = ScalarExpr::binary(BinaryOp::Add, scaled, arg(2));
    let mut body =
        |c: &mut Context, arg: &mut dyn FnMut(&mut Context, u32) -> Typed| emit_scalar(c, &expr, None, arg, elem);
    let built = map_kernel("batch_norm", &result.shape, &whole, &inputs, &l.target, &mut body);
    launch_node(l, id, built, &node.operands)
}

/// Axes that are not neighbours are reduced one run after the other, the last first.
pub(super) fn lower_reduce(
    l: &mut Lowering<'_>,
    id: NodeId,
    kind: ReduceKind,
    axes: &[usize],
) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let operand = l.graph.ty(node.operands[0]);
    let elem = scalar_of(operand.dtype);
    let size = Dim::constant(operand.dtype.size() as i64);
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for &axis in axes {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == axis => *count += 1,
            _ => runs.push((axis, 1)),
        }
    }
    let (mut shape, mut from) = (operand.shape.clone(), l.place(node.operands[0]));
    let (result, name) = (l.place(node.result()), node.name.clone());
    // The axes of the first reduction are gone for the following ones; norms are composed of sums.
    let several = runs.len() > 1;
    let following = match kind {
        ReduceKind::L1 | ReduceKind::SumSquare | ReduceKind::L2 => ReduceKind::Sum,
        other => other,
    };
    while let Some((first, count)) = runs.pop() {
        let is_first = shape.len() == operand.shape.len();
        let step = match (is_first, kind) {
            (true, ReduceKind::L2) if several => ReduceKind::SumSquare,
            (true, kind) => kind,
            (false, _) => following,
        };
        let view = AxisView::of(&shape, first, count);
        shape.drain(first..first + count);
        let last = runs.is_empty();
        let root = last && several && kind == ReduceKind::L2;
        let bytes = Dim::product(&shape) * size.clone();
        let to = if last && !root { result } else { l.temporary(bytes) };
        let built = reduce_kernel(step, elem, &view, &l.target);
        l.launch(built, &name, vec![from, to], &BTreeMap::new())?;
        from = to;
        if root {
            let whole = Operand::whole(elem, &shape);
            let expr = ScalarExpr::unary(UnaryOp::Sqrt, ScalarExpr::Arg(0));
            let mut body = |c: &mut Context, arg: &mut dyn FnMut(&mut Context, u32) -> Typed| {
                emit_scalar(c, &expr, None, arg, elem)
            };
            let built = map_kernel("sqrt", &shape, &whole, std::slice::from_ref(&whole), &l.target, &mut body);
            l.launch(built, &name, vec![from, result], &BTreeMap::new())?;
        }
    }
    if axes.is_empty() {
        return Err(LowerError::unsupported(node, "a reduction over no axes"));
    }
    Ok(())
}

pub(super) fn lower_softmax(l: &mut Lowering<'_>, id: NodeId, axis: usize) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let ty = l.graph.ty(node.result());
    let built = softmax_kernel(scalar_of(ty.dtype), &AxisView::of(&ty.shape, axis, 1), &l.target);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_layer_norm(
    l: &mut Lowering<'_>,
    id: NodeId,
    (axis, axes): (usize, usize),
    epsilon: f64,
) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let ty = l.graph.ty(node.result());
    let built = layer_norm_kernel(scalar_of(ty.dtype), epsilon, &AxisView::of(&ty.shape, axis, axes), &l.target);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_pool(l: &mut Lowering<'_>, id: NodeId, attrs: &PoolAttrs) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let (x, y) = (l.graph.ty(node.operands[0]), l.graph.ty(node.result()));
    // One spatial axis is two with a first of extent 1.
    let images = |shape: &[Dim]| {
        let rows = if shape.len() == 4 { shape[2].clone() } else { Dim::constant(1) };
        [shape[0].clone() * shape[1].clone(), rows, shape[shape.len() - 1].clone()]
    };
    let attrs = match x.rank() {
        4 => attrs.clone(),
        3 => {
            let prepend = |v: &[i64]| [&[1], v].concat();
            PoolAttrs {
                kernel: prepend(&attrs.kernel),
                strides: prepend(&attrs.strides),
                dilations: prepend(&attrs.dilations),
                pads: [&[(0, 0)], attrs.pads.as_slice()].concat(),
                ..attrs.clone()
            }
        }
        rank => return Err(LowerError::unsupported(node, format!("pooling of {} spatial axes", rank.max(2) - 2))),
    };
    let built = pool_kernel(scalar_of(y.dtype), &attrs, (&images(&x.shape), &images(&y.shape)), &l.target);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_gather(l: &mut Lowering<'_>, id: NodeId, axis: usize) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let (x, index) = (l.graph.ty(node.operands[0]), l.graph.ty(node.operands[1]));
    let gather = Gather {
        elem: scalar_of(x.dtype),
        index: scalar_of(index.dtype),
        outer: Dim::product(&x.shape[..axis]),
        len: x.shape[axis].clone(),
        count: index.elements(),
        inner: Dim::product(&x.shape[axis + 1..]),
    };
    let built = gather_kernel(&gather, &l.target);
    launch_node(l, id, built, &node.operands)
}

pub(super) fn lower_shape_of(l: &mut Lowering<'_>, id: NodeId, dims: &[Dim]) -> Result<(), LowerError> {
    let mut c = Context::new("shape");
    let y = c.buffer("y", Scalar::I64, BufferKind::Output, vec![Expr::int(dims.len() as i64)], vec![]);
    for (i, dim) in dims.iter().enumerate() {
        let value = c.dim(dim);
        c.store(y, vec![Expr::int(i as i64)], value);
    }
    launch_node(l, id, c.finish(), &[])
}
