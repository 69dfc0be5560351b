//! Branches and loops: the nested graphs are lowered where they stand, their outputs into the memory of the node's results.
//!
//! A carried value has one place, in which every iteration finds it and leaves the next one. Slices of what is scanned and
//! stacked are parts of the whole, at an offset that depends on the iteration; nothing is copied for them. The next value of
//! what is carried is computed in its place where nothing reads the old one any more, and else copied there at the end.

use sparsec_graph::{Def, Dim, Direction, Graph, LoopSpec, NodeId, Op, TensorType, Trip, ValueId};

use super::copy_value;
use crate::blocks::{PlannedStep, PlannedTrip, counter_symbol};
use crate::error::LowerError;
use crate::lowering::{Lowering, Place, root};

/// `if`.
pub(super) fn lower_if<'g>(
    l: &mut Lowering<'g>,
    id: NodeId,
    (then, otherwise): (&'g Graph, &'g Graph),
) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let places: Vec<Place> = node.operands.iter().map(|&v| l.place(v)).collect();
    let results: Vec<Place> = node.results.iter().map(|&v| l.place(v)).collect();
    let Some((&condition, captured)) = places.split_first() else {
        return Err(LowerError::unsupported(node, "it has no condition"));
    };
    l.touch(condition);
    let mut branch = |graph: &'g Graph| {
        l.blocks.begin_branch();
        let targets: Vec<Option<Place>> = results.iter().map(|&p| Some(p)).collect();
        let outputs = l.lower_nested(graph, captured, &targets)?;
        copy_outputs(l, graph, &outputs, &results)?;
        Ok(l.blocks.end_branch())
    };
    let (then, otherwise) = (branch(then)?, branch(otherwise)?);
    l.blocks.push(PlannedStep::If { condition, then, otherwise });
    Ok(())
}

/// Copies outputs that were not computed where they are wanted.
fn copy_outputs(l: &mut Lowering<'_>, graph: &Graph, from: &[Place], to: &[Place]) -> Result<(), LowerError> {
    for ((from, to), (name, value)) in from.iter().zip(to).zip(graph.outputs()) {
        if from != to {
            copy_value(l, name, graph.ty(*value), *from, *to)?;
        }
    }
    Ok(())
}

/// `loop`.
pub(super) fn lower_loop<'g>(l: &mut Lowering<'g>, id: NodeId, spec: &'g LoopSpec) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let body = &spec.body;
    let operands: Vec<Place> = node.operands.iter().map(|&v| l.place(v)).collect();
    let results: Vec<Place> = node.results.iter().map(|&v| l.place(v)).collect();
    let (first, carried) = (spec.first_carried(), spec.carried);
    let (states, stacks) = results.split_at(carried);
    for (i, &state) in states.iter().enumerate() {
        copy_value(l, &node.name, l.graph.ty(node.results[i]), operands[first + i], state)?;
    }
    let trip = match &spec.trip {
        Trip::Known(trip) => PlannedTrip::Known(trip.clone()),
        Trip::Operand => PlannedTrip::Load(operands[0]),
        Trip::Unbounded => PlannedTrip::Unbounded,
    };
    operands[..first].iter().for_each(|&place| l.touch(place));

    let counter = l.blocks.begin_loop(l.launch_count());
    let iteration = Dim::sym(counter_symbol(counter).name());
    let known = if let Trip::Known(trip) = &spec.trip { trip.clone() } else { Dim::default() };
    let slice = |l: &mut Lowering<'g>, of: Place, ty: &TensorType, direction: Direction| {
        let bytes = ty.elements() * Dim::constant(ty.dtype.size() as i64);
        let at = match direction {
            Direction::Forward => iteration.clone(),
            Direction::Reverse => known.clone() - Dim::constant(1) - iteration.clone(),
        };
        l.view(of, at * bytes)
    };
    // The iteration is stored only where the body reads it.
    let index = body.inputs().first().copied().filter(|v| body.use_counts().contains_key(v));
    let index = index.map(|_| {
        let place = l.temporary(Dim::constant(8));
        l.touch(place);
        place
    });
    let mut inputs = vec![index.unwrap_or(Place::Constant(u32::MAX))];
    inputs.extend(states);
    for (i, &direction) in spec.scanned.iter().enumerate() {
        let ty = body.ty(body.inputs()[1 + carried + i]);
        inputs.push(slice(l, operands[first + carried + i], ty, direction));
    }
    inputs.extend(&operands[spec.first_captured()..]);

    // Where outputs are wanted: the condition, the next state, slices.
    let mut wanted = Vec::new();
    let mut targets = Vec::new();
    if spec.conditional {
        let place = l.temporary(Dim::constant(1));
        wanted.push(place);
        targets.push(Some(place));
    }
    let condition = wanted.first().map(|&after| (operands[first - 1], after));
    let own = wanted.len();
    for (i, &state) in states.iter().enumerate() {
        wanted.push(state);
        targets.push(may_replace(body, body.inputs()[1 + i], own + i).then_some(state));
    }
    for (i, (&stack, &direction)) in stacks.iter().zip(&spec.stacked).enumerate() {
        let ty = body.ty(body.outputs()[own + carried + i].1);
        let place = slice(l, stack, ty, direction);
        wanted.push(place);
        targets.push(Some(place));
    }
    let mut outputs = l.lower_nested(body, &inputs, &targets)?;
    // What reads an old state is copied before new states are; a new state that is another's old one waits beside.
    for i in (0..own).chain(own + carried..wanted.len()) {
        if outputs[i] != wanted[i] {
            copy_value(l, &node.name, body.ty(body.outputs()[i].1), outputs[i], wanted[i])?;
        }
    }
    for i in own..own + carried {
        if outputs[i] != wanted[i] && states.contains(&outputs[i]) {
            let ty = body.ty(body.outputs()[i].1);
            let beside = l.temporary(ty.elements() * Dim::constant(ty.dtype.size() as i64));
            copy_value(l, &node.name, ty, outputs[i], beside)?;
            outputs[i] = beside;
        }
    }
    for i in own..own + carried {
        if outputs[i] != wanted[i] {
            copy_value(l, &node.name, body.ty(body.outputs()[i].1), outputs[i], wanted[i])?;
        }
    }
    if let Some((_, after)) = condition {
        l.touch_after(after);
    }
    let steps = l.blocks.end_loop(l.launch_count());
    l.blocks.push(PlannedStep::Loop { counter, trip, condition, index, body: steps });
    Ok(())
}

/// Whether output `output` can be computed in the place of a carried input: it is a node's result, every other node that reads
/// the input comes before that node, and no output is the input itself.
fn may_replace(body: &Graph, input: ValueId, output: usize) -> bool {
    let value = root(body, body.outputs()[output].1);
    let Def::Node(producer, _) = body.value(value).def else { return false };
    // A node of several results computes them one after the other.
    if body.node(producer).op.is_control() || body.outputs().iter().any(|(_, v)| root(body, *v) == input) {
        return false;
    }
    let order = body.topological_order();
    let position = |id: NodeId| order.iter().position(|&n| n == id);
    let reads_input = |id: &NodeId| {
        let node = body.node(*id);
        !matches!(node.op, Op::Reshape(_)) && node.operands.iter().any(|&v| root(body, v) == input)
    };
    order.iter().filter(|id| reads_input(id)).all(|&id| position(id) < position(producer))
}
