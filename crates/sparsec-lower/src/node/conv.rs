//! Convolutions with constant weights.

use std::collections::BTreeMap;

use sparsec_graph::{BinaryOp, ConvAttrs, DType, Dim, Node, NodeId, ScalarExpr, Symbol, ValueId};
use sparsec_sparse::Format;

use crate::context::{BuiltKernel, scalar_of};
use crate::coordinate::CoordinateDump;
use crate::error::LowerError;
use crate::kernels::conv::{PlainConv, conv_kernel};
use crate::lowering::{Lowering, Place};
use crate::node::{launch_node, strides_of};
use crate::target::TargetInfo;
use crate::weight::{ByteFilter, NoKernel, Table, View, WeightMatrix, WeightProblem, Window, convolve_bytes, multiply};

pub(super) fn lower_conv(l: &mut Lowering<'_>, id: NodeId, attrs: &ConvAttrs) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let unsupported = |reason: &str| LowerError::unsupported(node, reason);
    let (x, y) = (l.graph.ty(node.operands[0]), l.graph.ty(node.result()));
    let w = l.graph.ty(node.operands[1]);
    let shape = w.const_shape().unwrap_or_default();
    let constant = l.graph.constant(node.operands[1]).filter(|_| matches!(x.rank(), 3 | 4));
    let bytes = constant.filter(|_| x.dtype == DType::U8 && attrs.groups == 1).and_then(|c| ByteFilter::new(&c.data));
    if let Some(weight) = bytes
        && lower_bytes(l, id, attrs, &weight)?
    {
        return Ok(());
    }
    let weight = constant.and_then(|c| WeightMatrix::new(&c.data, shape[0] as usize, attrs.groups as usize));
    let Some(weight) = weight else {
        if node.format.as_ref().is_some_and(|f| *f != Format::Dense) {
            return Err(unsupported("a format needs an f32 weight that is a constant, and one or two spatial axes"));
        }
        return lower_plain(l, id, attrs);
    };
    let weight = weight.with_pages(l.graph.pages());
    let (rows, cols) = windows(x.rank(), &shape, attrs);
    // The bias is the first thing that the epilogue adds.
    let own = node.epilogue.as_ref().map_or(node.operands.len(), |e| e.first_operand as usize);
    let mut args: Vec<ValueId> = node.operands[own..].to_vec();
    let mut epilogue = node.epilogue.as_ref().map(|e| e.expr.clone());
    let mut arg_views: Vec<View> = args.iter().map(|&v| broadcast_view(l, v, &y.shape)).collect();
    if let Some(&bias) = node.operands[..own].get(2) {
        let sum = ScalarExpr::binary(BinaryOp::Add, ScalarExpr::Acc, ScalarExpr::Arg(args.len() as u32));
        let rest = epilogue.unwrap_or(ScalarExpr::Acc);
        epilogue = Some(rest.substitute(&sum, &mut ScalarExpr::Arg));
        args.push(bias);
        let one = || Dim::constant(1);
        arg_views.push(View {
            elem: scalar_of(l.graph.ty(bias).dtype),
            shape: [one(), y.shape[1].clone(), one(), one()],
            strides: [Dim::default(), one(), Dim::default(), Dim::default()],
        });
    }
    let problem = WeightProblem {
        name: node.name.clone(),
        m: weight.outputs(),
        channels: weight.cols() / (rows.kernel * cols.kernel),
        rows,
        cols,
        x: image_view(l, node.operands[0]),
        y: image_view(l, node.result()),
        args: arg_views,
        epilogue,
        density: 1.0,
        tokens: None,
        schedule: None,
        in_place: None,
    };
    launch_multiplication(l, node, problem, &weight, (node.operands[0], node.operands[1]), &args)
}

/// The vertical and the horizontal window of a convolution of a tensor of this rank; a missing vertical axis is one row.
fn windows(rank: usize, weight: &[i64], attrs: &ConvAttrs) -> (Window, Window) {
    let window = |i: usize| Window {
        kernel: weight[2 + i] as usize,
        stride: attrs.strides[i] as usize,
        dilation: attrs.dilations[i] as usize,
        pad: attrs.pads[i].0,
    };
    if rank == 3 { (Window::POINT, window(0)) } else { (window(0), window(1)) }
}

/// Adds the launch of a convolution of bytes; tells whether there is a kernel for how its operands lie in memory.
fn lower_bytes(l: &mut Lowering<'_>, id: NodeId, attrs: &ConvAttrs, weight: &ByteFilter) -> Result<bool, LowerError> {
    let node = l.graph.node(id);
    let (x, w, y) = (node.operands[0], node.operands[1], l.graph.ty(node.result()));
    let own = node.epilogue.as_ref().map_or(node.operands.len(), |e| e.first_operand as usize);
    let zero = node.operands[..own].get(2).copied();
    let (rows, cols) = windows(l.graph.ty(x).rank(), &l.graph.ty(w).const_shape().unwrap_or_default(), attrs);
    // The zero point comes behind the epilogue's operands.
    let args: Vec<ValueId> = node.operands[own..].iter().copied().chain(zero).collect();
    let problem = WeightProblem {
        name: node.name.clone(),
        m: weight.outputs(),
        channels: weight.channels(),
        rows,
        cols,
        x: image_view(l, x),
        y: image_view(l, node.result()),
        args: args.iter().map(|&v| broadcast_view(l, v, &y.shape)).collect(),
        epilogue: node.epilogue.as_ref().map(|e| e.expr.clone()),
        density: 1.0,
        tokens: None,
        schedule: None,
        in_place: None,
    };
    let name = problem.name.clone();
    let Some(product) = convolve_bytes(problem, weight, zero.is_some(), &l.target) else { return Ok(false) };
    let (tensor, places) = (l.graph.value(w).name.clone(), [x, node.result()]);
    let places = places.iter().chain(&args).map(|&v| l.place(v)).collect();
    launch_tables(l, (product.kernel, product.tables), (&name, &tensor), places)?;
    Ok(true)
}

/// Adds the launch of a kernel whose tables come behind its other operands.
pub(super) fn launch_tables(
    l: &mut Lowering<'_>,
    (kernel, tables): (BuiltKernel, Vec<Table>),
    (name, tensor): (&str, &str),
    mut places: Vec<Place>,
) -> Result<(), LowerError> {
    let mut symbols = BTreeMap::new();
    for table in tables {
        let size = Dim::constant(table.elements as i64);
        symbols.insert(Symbol::new(&format!("table_{}", table.name)), size);
        places.push(l.add_table(tensor, table));
    }
    l.launch(kernel, name, places, &symbols)
}

/// A convolution of whatever type and rank, without a format.
fn lower_plain(l: &mut Lowering<'_>, id: NodeId, attrs: &ConvAttrs) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let own = node.epilogue.as_ref().map_or(node.operands.len(), |e| e.first_operand as usize);
    let shaped = |v: ValueId| (scalar_of(l.graph.ty(v).dtype), l.graph.ty(v).shape.clone());
    let plain = PlainConv {
        attrs,
        x: shaped(node.operands[0]),
        w: shaped(node.operands[1]),
        y: shaped(node.result()),
        third: node.operands[..own].get(2).map(|&v| shaped(v)),
        args: node.operands[own..].iter().map(|&v| shaped(v)).collect(),
        epilogue: node.epilogue.as_ref().map(|e| &e.expr),
    };
    let built = conv_kernel(&plain, &l.target);
    launch_node(l, id, built, &node.operands)
}

/// Chooses the kernel of the node's format and adds its launch.
pub(super) fn launch_multiplication(
    l: &mut Lowering<'_>,
    node: &Node,
    mut problem: WeightProblem,
    weight: &WeightMatrix,
    (x, w): (ValueId, ValueId),
    args: &[ValueId],
) -> Result<(), LowerError> {
    let format = node.format.clone().unwrap_or(Format::Dense);
    let tensor = l.graph.value(w).name.clone();
    let name = problem.name.clone();
    problem.tokens = [0, 2, 3].iter().map(|&i| problem.y.shape[i].eval(&l.options.nominal)).product();
    problem.schedule = l.options.schedules.get(&name).copied();
    let of_dump = l.options.coordinates.then(|| problem.clone());
    // On a GPU reads before writes of one buffer are ordered between lanes, which costs more than memory does.
    let on_gpu = l.target.lanes == TargetInfo::WARP.lanes;
    let in_place = (0..args.len()).find(|&i| !on_gpu && problem.allows_in_place(i) && l.take_over(node, args[i]));
    problem.in_place = in_place;
    let product = multiply(problem, weight, &format, &l.target).map_err(|error| match error {
        NoKernel::Format(source) => LowerError::Format { tensor: tensor.clone(), source },
        NoKernel::Unsupported(reason) => LowerError::unsupported(node, reason),
    })?;
    let mut places: Vec<Place> = vec![l.place(x), l.place(node.result())];
    let args = args.iter().enumerate().filter(|(i, _)| in_place != Some(*i));
    places.extend(args.map(|(_, &v)| l.place(v)));
    l.keep_schedules(&name, product.schedules);
    launch_tables(l, (product.kernel, product.tables), (&name, &tensor), places)?;
    match of_dump {
        Some(problem) => l.keep_coordinates(|| CoordinateDump::of(&problem, weight, &format, &tensor)),
        None => Ok(()),
    }
}

/// `[n, c, h, w]` or `[n, c, w]` as batch, channels, rows, columns.
fn image_view(l: &Lowering<'_>, value: ValueId) -> View {
    let ty = l.graph.ty(value);
    let strides = strides_of(&ty.shape);
    let last = ty.rank() - 1;
    let (rows, row_stride) = match ty.rank() {
        4 => (ty.shape[2].clone(), strides[2].clone()),
        _ => (Dim::constant(1), ty.shape[last].clone()),
    };
    View {
        elem: scalar_of(ty.dtype),
        shape: [ty.shape[0].clone(), ty.shape[1].clone(), rows, ty.shape[last].clone()],
        strides: [strides[0].clone(), strides[1].clone(), row_stride, strides[last].clone()],
    }
}

/// An operand of the epilogue, broadcast to the output by the rules of numpy.
fn broadcast_view(l: &Lowering<'_>, value: ValueId, out: &[Dim]) -> View {
    let ty = l.graph.ty(value);
    let strides = strides_of(&ty.shape);
    let axis = |i: Option<usize>| match i {
        Some(i) if i + ty.rank() >= out.len() && !ty.shape[i + ty.rank() - out.len()].is(1) => {
            let j = i + ty.rank() - out.len();
            (ty.shape[j].clone(), strides[j].clone())
        }
        _ => (Dim::constant(1), Dim::default()),
    };
    let rows = (out.len() == 4).then_some(2);
    let axes = [axis(Some(0)), axis(Some(1)), axis(rows), axis(Some(out.len() - 1))];
    let [a, b, c, d] = axes;
    View { elem: scalar_of(ty.dtype), shape: [a.0, b.0, c.0, d.0], strides: [a.1, b.1, c.1, d.1] }
}
