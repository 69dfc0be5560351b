//! Channels through element-wise operators.

use sparsec_graph::{BinaryOp, DType, Graph, Node, Op, TensorData, ValueId};

use super::analyse::{Analysis, Channels, channels_along};
use crate::PassError;
use crate::evaluate::evaluate;

/// What an operand is along the result's channel axis.
enum Operand {
    /// Channels, each tied to the result's.
    Tied(Channels),
    /// A constant: what it is at each channel, where it is one number there.
    Constant(Vec<Option<f32>>),
    /// Something that is broadcast along the axis.
    Broadcast,
    /// Something of unknown channels, which keeps all of the result's.
    Opaque,
}

/// The channels of the result: those of the first operand that has as many as the result.
pub(super) fn flow(analysis: &mut Analysis, graph: &Graph, node: &Node) -> Result<Option<Channels>, PassError> {
    let result = node.result();
    let rank = graph.ty(result).rank();
    let lead = |v: ValueId| rank - graph.ty(v).rank();
    let leader = node.operands.iter().find_map(|&v| {
        let channels = analysis.channels.get(&v)?;
        let axis = channels.axis + lead(v);
        (channels_along(graph, result, axis) == Some(channels.classes.len())).then(|| channels.unknown(axis))
    });
    let Some(mut channels) = leader else { return Ok(None) };
    let (axis, count) = (channels.axis, channels.classes.len());
    let mut operands = Vec::with_capacity(node.operands.len());
    for &v in &node.operands {
        let operand = classify(analysis, graph, v, axis, lead(v), count);
        match &operand {
            Operand::Tied(other) => {
                for (&a, &b) in channels.classes.iter().zip(&other.classes) {
                    analysis.classes.union(a, b);
                }
            }
            Operand::Constant(_) => {}
            Operand::Broadcast => analysis.pin_value(v),
            Operand::Opaque => {
                analysis.pin_value(v);
                analysis.pin_all(&channels.classes);
            }
        }
        operands.push(operand);
    }
    let all_f32 = node.operands.iter().chain([&result]).all(|&v| graph.ty(v).dtype == DType::F32);
    if all_f32 {
        channels.constants = constants(node, &operands, count)?;
    }
    Ok(Some(channels))
}

fn classify(analysis: &Analysis, graph: &Graph, v: ValueId, axis: usize, lead: usize, count: usize) -> Operand {
    if let Some(constant) = graph.constant(v) {
        return Operand::Constant(slices(&constant.data, axis.checked_sub(lead), count));
    }
    let Some(own_axis) = axis.checked_sub(lead) else { return Operand::Broadcast };
    match analysis.channels.get(&v) {
        Some(channels) if channels.axis == own_axis && channels.classes.len() == count => {
            Operand::Tied(channels.clone())
        }
        _ if count > 1 && graph.ty(v).shape[own_axis].is(1) => Operand::Broadcast,
        _ => Operand::Opaque,
    }
}

/// What a constant is at each index of an axis, where it is one number there. `None` for the axis: it is broadcast.
fn slices(data: &TensorData, axis: Option<usize>, count: usize) -> Vec<Option<f32>> {
    let Some(values) = data.as_f32() else { return vec![None; count] };
    match axis {
        Some(axis) if data.shape[axis] == count && count > 1 => {
            let run: usize = data.shape[axis + 1..].iter().product();
            let at = |i: usize| uniform(values.chunks_exact(run.max(1)).skip(i).step_by(count).flatten().copied());
            (0..count).map(at).collect()
        }
        _ => vec![uniform(values.iter().copied()); count],
    }
}

/// The number that all of these are.
fn uniform(mut values: impl Iterator<Item = f32>) -> Option<f32> {
    let first = values.next()?;
    values.all(|v| v == first).then_some(first)
}

/// Computes the channels at which all operands are known.
fn constants(node: &Node, operands: &[Operand], count: usize) -> Result<Vec<Option<f32>>, PassError> {
    let known = |operand: &Operand, i: usize| match operand {
        Operand::Tied(channels) => channels.constants[i],
        Operand::Constant(values) => values[i],
        Operand::Broadcast | Operand::Opaque => None,
    };
    let mut result = vec![None; count];
    let complete: Vec<usize> = (0..count).filter(|&i| operands.iter().all(|o| known(o, i).is_some())).collect();
    if !complete.is_empty() {
        let columns: Vec<TensorData> = operands
            .iter()
            .map(|o| TensorData::f32(&[complete.len()], complete.iter().filter_map(|&i| known(o, i)).collect()))
            .collect();
        let computed = evaluate(&node.op, &columns.iter().collect::<Vec<_>>(), &node.name)?;
        if let Some(values) = computed.as_f32() {
            for (&i, &v) in complete.iter().zip(values.iter()) {
                result[i] = Some(v).filter(|v| v.is_finite());
            }
        }
    }
    // Zero times anything is zero.
    if node.op == Op::Binary(BinaryOp::Mul) {
        for (i, r) in result.iter_mut().enumerate() {
            if operands.iter().any(|o| known(o, i) == Some(0.0)) {
                *r = Some(0.0);
            }
        }
    }
    Ok(result)
}
