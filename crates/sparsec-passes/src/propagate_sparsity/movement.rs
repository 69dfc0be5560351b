//! Channels through pooling, reduction, normalisation and the operators that move elements.

use sparsec_graph::{Dim, Graph, Node, Op, PoolKind, ReduceKind, SliceAxis, TensorType, ValueId};

use super::analyse::{Analysis, Channels, channels_along, weight_data};
use crate::tensor::{per_channel, to_f64};

/// The channels of the result; `None` where the operator ends them.
pub(super) fn flow(analysis: &mut Analysis, graph: &Graph, node: &Node) -> Option<Channels> {
    if let Op::Concat { axis } = node.op {
        return concat(analysis, graph, node, axis);
    }
    let &x = node.operands.first()?;
    let channels = analysis.channels.get(&x)?;
    let axis = channels.axis;
    let (from, to) = (graph.ty(x), graph.ty(node.result()));
    let with = |axis: usize, constant: &dyn Fn(f32) -> Option<f32>| Channels {
        constants: channels.constants.iter().map(|c| c.and_then(constant)).collect(),
        ..channels.unknown(axis)
    };
    match &node.op {
        Op::Pool(attrs) if axis == 1 => {
            // A window that sees nothing but padding has no maximum and no mean.
            let beyond = |i: usize, (before, after): (i64, i64)| before.max(after) >= attrs.kernel[i];
            let empty = attrs.ceil || attrs.pads.iter().enumerate().any(|(i, &pad)| beyond(i, pad));
            let zeros = attrs.kind == PoolKind::AverageWithPad && attrs.pads.iter().any(|&p| p != (0, 0));
            Some(with(1, &|c| (!empty && (!zeros || c == 0.0)).then_some(c)))
        }
        Op::Reduce { kind, axes, keep } if !axes.contains(&axis) => {
            let below = axes.iter().filter(|&&a| a < axis).count();
            Some(with(if *keep { axis } else { axis - below }, &|c| reduced(*kind, axes, from, c)))
        }
        Op::Softmax { axis: over } if *over != axis => Some(channels.unknown(axis)),
        Op::LayerNorm { axis: first, axes, .. } if !(*first..first + axes).contains(&axis) => {
            let others_constant = node.operands[1..].iter().all(|&v| graph.constant(v).is_some());
            others_constant.then(|| channels.unknown(axis))
        }
        Op::BatchNorm { epsilon } if axis == 1 => {
            let parameters: Vec<Vec<f64>> =
                node.operands[1..].iter().map(|&v| to_f64(&weight_data(graph, v)?.clone())).collect::<Option<_>>()?;
            let [scale, bias, mean, variance] = parameters.as_slice() else { return None };
            let mut result = channels.unknown(1);
            for (i, constant) in result.constants.iter_mut().enumerate() {
                let normalised =
                    |c: f32| (f64::from(c) - mean[i]) / (variance[i] + epsilon).sqrt() * scale[i] + bias[i];
                *constant = channels.constants[i].map(|c| normalised(c) as f32).filter(|c| c.is_finite());
            }
            Some(result)
        }
        Op::Transpose(perm) => Some(with(perm.iter().position(|&p| p == axis)?, &Some)),
        Op::Expand(_) => {
            let lead = to.rank() - from.rank();
            (to.shape[axis + lead] == from.shape[axis]).then(|| with(axis + lead, &Some))
        }
        Op::Pad { amounts, value } if amounts[axis] == (0, 0) => {
            let fill = *value as f32;
            let grows = amounts.iter().any(|&(before, after)| before > 0 || after > 0);
            Some(with(axis, &|c| (!grows || c == fill).then_some(c)))
        }
        Op::Slice(axes) => slice(channels, &axes[axis]),
        Op::Reshape(_) => reshape(channels, from, to),
        _ => None,
    }
}

/// The reduction of a constant over these axes.
fn reduced(kind: ReduceKind, axes: &[usize], ty: &TensorType, c: f32) -> Option<f32> {
    let count = || Dim::product(axes.iter().map(|&axis| &ty.shape[axis])).as_const().map(|n| n as f64);
    let c64 = f64::from(c);
    match kind {
        ReduceKind::Mean | ReduceKind::Max | ReduceKind::Min => Some(c),
        _ if c == 0.0 && kind != ReduceKind::Prod => Some(0.0),
        ReduceKind::Sum => Some((c64 * count()?) as f32),
        ReduceKind::L1 => Some((c64.abs() * count()?) as f32),
        ReduceKind::SumSquare => Some((c64 * c64 * count()?) as f32),
        ReduceKind::L2 => Some((c64.abs() * count()?.sqrt()) as f32),
        ReduceKind::Prod => None,
    }
    .filter(|v| v.is_finite())
}

/// Consecutive channels of the operand are the result's.
fn slice(channels: &Channels, range: &SliceAxis) -> Option<Channels> {
    let start = usize::try_from(range.start.as_const()?).ok()?;
    let len = usize::try_from(range.len.as_const()?).ok()?;
    let indices = start..start.checked_add(len)?;
    if range.step != 1 || len == 0 {
        return None;
    }
    Some(Channels {
        axis: channels.axis,
        classes: channels.classes.get(indices.clone())?.to_vec(),
        constants: channels.constants.get(indices)?.to_vec(),
    })
}

/// A reshape that keeps the channel axis, or merges it with constant axes behind it: each channel is then `run`
/// consecutive ones.
fn reshape(channels: &Channels, from: &TensorType, to: &TensorType) -> Option<Channels> {
    let before = Dim::product(&from.shape[..channels.axis]);
    let count = channels.classes.len();
    let axis = (0..to.rank())
        .find(|&axis| Dim::product(&to.shape[..axis]) == before && !(to.shape[axis].is(1) && count > 1))?;
    let merged = usize::try_from(to.shape[axis].as_const()?).ok()?;
    // The axes that are merged must be whole ones.
    let mut run = 1usize;
    let mut rest = from.shape[channels.axis + 1..].iter();
    while count.checked_mul(run)? < merged {
        run = run.checked_mul(usize::try_from(rest.next()?.as_const()?).ok().filter(|&d| d > 0)?)?;
    }
    if count.checked_mul(run)? != merged || merged > super::analyse::MAX_CHANNELS {
        return None;
    }
    let repeat = |i: usize| std::iter::repeat_n(i, run);
    Some(Channels {
        axis,
        classes: (0..count).flat_map(repeat).map(|i| channels.classes[i]).collect(),
        constants: (0..count).flat_map(repeat).map(|i| channels.constants[i]).collect(),
    })
}

fn concat(analysis: &mut Analysis, graph: &Graph, node: &Node, axis: usize) -> Option<Channels> {
    let along = |v: &ValueId| analysis.along(*v, axis).is_some();
    if !node.operands.iter().any(along) {
        return stack(analysis, graph, node);
    }
    let mut joined = Channels { axis, classes: Vec::new(), constants: Vec::new() };
    let counts = node.operands.iter().map(|&v| channels_along(graph, v, axis)).collect::<Option<Vec<_>>>()?;
    for (&v, count) in node.operands.iter().zip(counts) {
        if let Some(channels) = analysis.along(v, axis) {
            joined.classes.extend(&channels.classes);
            joined.constants.extend(&channels.constants);
            continue;
        }
        analysis.pin_value(v);
        let classes = analysis.classes.add(count);
        match per_channel(graph, v, graph.ty(v).rank(), axis, count).filter(|_| weight_data(graph, v).is_some()) {
            Some(values) => joined.constants.extend(values.into_iter().map(|c| Some(c as f32))),
            None => joined.constants.extend(vec![None; count]),
        }
        if graph.constant(v).is_none() {
            analysis.pin_all(&classes);
        }
        joined.classes.extend(classes);
    }
    Some(joined)
}

/// Concatenation along another axis than that of the channels: each channel is longer.
fn stack(analysis: &mut Analysis, graph: &Graph, node: &Node) -> Option<Channels> {
    let axis = node.operands.iter().find_map(|v| analysis.channels.get(v))?.axis;
    let channels: Vec<Channels> =
        node.operands.iter().map(|&v| analysis.along(v, axis).cloned()).collect::<Option<_>>()?;
    let (first, rest) = channels.split_first()?;
    channels_along(graph, node.result(), axis).filter(|&count| count == first.classes.len())?;
    let mut result = first.clone();
    for other in rest {
        for (i, (&a, &b)) in first.classes.iter().zip(&other.classes).enumerate() {
            analysis.classes.union(a, b);
            if result.constants[i] != other.constants[i] {
                result.constants[i] = None;
            }
        }
    }
    Some(result)
}
