//! Control flow: nested graphs, run on tensors.

use super::{InterpError, Tensor, run};
use crate::{Bindings, DType, Dim, Direction, Graph, LoopSpec, Op, TensorData, Trip};

fn malformed(reason: impl Into<String>) -> InterpError {
    InterpError::Malformed { reason: reason.into() }
}

/// Runs `if` or `loop`.
pub(super) fn control(op: &Op, operands: &[&Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, InterpError> {
    let types: Vec<_> = operands.iter().map(|t| t.ty()).collect();
    match (op, operands) {
        (Op::If { then, otherwise }, [condition, captured @ ..]) => {
            let graph = if truth(condition)? { then } else { otherwise };
            run(graph, &captured.iter().map(|t| (*t).clone()).collect::<Vec<_>>(), bindings.clone())
        }
        (Op::Loop(spec), _) => looped(spec, operands, bindings),
        _ => Err(malformed(format!("`{}` on {} operands", op.name(), types.len()))),
    }
}

fn truth(condition: &Tensor) -> Result<bool, InterpError> {
    let first = condition.bytes.first().ok_or_else(|| malformed("a condition without a value"))?;
    Ok(*first != 0)
}

fn looped(spec: &LoopSpec, operands: &[&Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, InterpError> {
    let (first, carried, scans) = (spec.first_carried(), spec.carried, spec.scanned.len());
    if operands.len() < spec.first_captured() {
        return Err(malformed(format!("`loop` on {} operands", operands.len())));
    }
    let trip = match &spec.trip {
        Trip::Known(trip) => trip.eval(bindings).ok_or_else(|| InterpError::Unbound { dim: trip.clone() })?,
        Trip::Operand => operands[0].as_i64().and_then(|v| v.first().copied()).ok_or_else(|| malformed("no number"))?,
        Trip::Unbounded => i64::MAX,
    }
    .max(0);
    let mut goes_on = !spec.conditional || truth(operands[first - 1])?;
    let mut state: Vec<Tensor> = operands[first..first + carried].iter().map(|t| (*t).clone()).collect();
    let scanned = &operands[first + carried..first + carried + scans];
    let captured = &operands[first + carried + scans..];
    let mut stacks: Vec<Vec<Tensor>> = vec![Vec::new(); spec.stacked.len()];
    let mut iteration = 0;
    while goes_on && iteration < trip {
        let mut inputs = vec![TensorData::i64(&[], vec![iteration])];
        inputs.append(&mut state);
        for (tensor, direction) in scanned.iter().zip(&spec.scanned) {
            let at = if *direction == Direction::Forward { iteration } else { trip - 1 - iteration };
            inputs.push(slice(tensor, at as usize)?);
        }
        inputs.extend(captured.iter().map(|t| (*t).clone()));
        let mut results = run(&spec.body, &inputs, bindings.clone())?;
        if spec.conditional {
            goes_on = truth(&results.remove(0))?;
        }
        for (stack, slice) in stacks.iter_mut().zip(results.split_off(carried)) {
            stack.push(slice);
        }
        state = results;
        iteration += 1;
    }
    for (i, (mut stack, direction)) in stacks.into_iter().zip(&spec.stacked).enumerate() {
        if *direction == Direction::Reverse {
            stack.reverse();
        }
        let (dtype, mut shape) = slice_type(&spec.body, usize::from(spec.conditional) + carried + i, bindings)?;
        shape.insert(0, stack.len());
        let bytes: Vec<u8> = stack.iter().flat_map(|slice| slice.bytes.iter().copied()).collect();
        state.push(Tensor { dtype, shape, bytes: bytes.into() });
    }
    Ok(state)
}

/// Element `at` along axis 0.
fn slice(tensor: &Tensor, at: usize) -> Result<Tensor, InterpError> {
    let shape = tensor.shape.get(1..).ok_or_else(|| malformed("a slice of a scalar"))?.to_vec();
    let bytes = shape.iter().product::<usize>() * tensor.dtype.size();
    if tensor.bytes.len() < (at + 1) * bytes {
        return Err(malformed("a slice outside of its tensor"));
    }
    Ok(Tensor { dtype: tensor.dtype, shape, bytes: tensor.bytes.slice(at * bytes..(at + 1) * bytes) })
}

/// Element type and extents of an output of the body, which may never have run.
fn slice_type(body: &Graph, output: usize, bindings: &Bindings) -> Result<(DType, Vec<usize>), InterpError> {
    let value = body.outputs().get(output).ok_or_else(|| malformed("the body lacks an output"))?.1;
    let ty = body.ty(value);
    let extent = |d: &Dim| {
        let value = d.eval(bindings).and_then(|v| usize::try_from(v).ok());
        value.ok_or_else(|| InterpError::Unbound { dim: d.clone() })
    };
    Ok((ty.dtype, ty.shape.iter().map(extent).collect::<Result<_, _>>()?))
}
