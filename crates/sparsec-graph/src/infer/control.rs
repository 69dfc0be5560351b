//! Types of control flow: what goes into a nested graph has the type of its inputs, and comes out with that of its outputs.

use super::Cx;
use crate::{DType, Graph, InferError, LoopSpec, TensorType, Trip};

type Types = Result<Vec<TensorType>, InferError>;

fn scalar(dtype: DType) -> TensorType {
    TensorType::fixed(dtype, &[])
}

fn input_types(graph: &Graph) -> Vec<&TensorType> {
    graph.inputs().iter().map(|&v| graph.ty(v)).collect()
}

/// The types of the outputs; an output that is no value of the graph is an error.
fn output_types<'g>(cx: &Cx<'_>, graph: &'g Graph) -> Result<Vec<&'g TensorType>, InferError> {
    let ty = |&(_, value)| graph.get_value(value).map(|v| &v.ty).ok_or(InferError::Undefined { op: cx.op, value });
    graph.outputs().iter().map(ty).collect()
}

impl Cx<'_> {
    fn fits(&self, what: &str, expected: &TensorType, found: &TensorType) -> Result<(), InferError> {
        if expected == found {
            return Ok(());
        }
        Err(self.attribute(format!("{what} is {found} where {expected} is expected")))
    }
}

/// `if`.
pub(super) fn conditional(cx: &Cx<'_>, then: &Graph, otherwise: &Graph) -> Types {
    let Some((condition, captured)) = cx.operands.split_first() else { return Err(cx.arity("1 or more")) };
    cx.fits("the condition", &scalar(DType::Bool), condition)?;
    for (name, graph) in [("then", then), ("else", otherwise)] {
        let inputs = input_types(graph);
        if inputs.len() != captured.len() {
            return Err(cx.arity(&(inputs.len() + 1).to_string()));
        }
        for (i, (input, operand)) in inputs.into_iter().zip(captured).enumerate() {
            cx.fits(&format!("operand {} for `{name}`", i + 1), input, operand)?;
        }
    }
    let (results, others) = (output_types(cx, then)?, output_types(cx, otherwise)?);
    if results.len() != others.len() {
        return Err(cx.attribute(format!("`then` has {} outputs, `else` has {}", results.len(), others.len())));
    }
    for (i, (a, b)) in results.iter().zip(others).enumerate() {
        cx.fits(&format!("output {i} of `else`"), a, b)?;
    }
    Ok(results.into_iter().cloned().collect())
}

/// `loop`.
pub(super) fn looped(cx: &Cx<'_>, spec: &LoopSpec) -> Types {
    let (inputs, outputs) = (input_types(&spec.body), output_types(cx, &spec.body)?);
    let (first, carried) = (spec.first_carried(), spec.carried);
    let own = spec.first_captured_input();
    let expected_outputs = usize::from(spec.conditional).saturating_add(carried).saturating_add(spec.stacked.len());
    // What the attributes say may be any number.
    if inputs.len() < own || outputs.len() != expected_outputs {
        let (i, o) = (inputs.len(), outputs.len());
        return Err(cx.attribute(format!(
            "the body has {i} inputs and {o} outputs instead of at least {own} and {expected_outputs}"
        )));
    }
    if cx.operands.len() != first + inputs.len() - 1 {
        return Err(cx.arity(&(first + inputs.len() - 1).to_string()));
    }
    let (control, values) = cx.operands.split_at(first);
    let trip = match &spec.trip {
        Trip::Known(trip) => Some(trip),
        Trip::Operand => {
            control.first().map_or(Ok(()), |ty| cx.fits("the trip count", &scalar(DType::I64), ty))?;
            None
        }
        Trip::Unbounded if !spec.conditional => return Err(cx.attribute("has no end")),
        Trip::Unbounded => None,
    };
    if spec.conditional {
        control.last().map_or(Ok(()), |ty| cx.fits("the condition", &scalar(DType::Bool), ty))?;
        outputs.first().map_or(Ok(()), |ty| cx.fits("the body's condition", &scalar(DType::Bool), ty))?;
    }
    if !(spec.scanned.is_empty() || trip.is_some()) || !(spec.stacked.is_empty() || trip.is_some() && !spec.conditional)
    {
        return Err(cx.attribute("slices need a number of iterations that is known"));
    }
    inputs.first().map_or(Ok(()), |ty| cx.fits("the body's iteration", &scalar(DType::I64), ty))?;
    let slice_of = |what: &str, whole: &TensorType| {
        let slice = |t: &TensorType| TensorType::new(t.dtype, t.shape[1..].to_vec());
        match whole.shape.first() {
            Some(extent) if Some(extent) == trip => Ok(slice(whole)),
            _ => Err(cx.attribute(format!("{what} is {whole}, not of one slice for each iteration"))),
        }
    };
    for (i, (input, operand)) in inputs[1..].iter().zip(values).enumerate() {
        let what = format!("operand {}", first + i);
        if (carried..carried + spec.scanned.len()).contains(&i) {
            cx.fits(&what, input, &slice_of(&what, operand)?)?;
        } else {
            cx.fits(&what, input, operand)?;
        }
    }
    let outputs = &outputs[usize::from(spec.conditional)..];
    let (carried_outputs, slices) = outputs.split_at(carried);
    for (i, (input, output)) in inputs[1..].iter().zip(carried_outputs).enumerate() {
        cx.fits(&format!("carried output {i} of the body"), input, output)?;
    }
    let mut results: Vec<TensorType> = carried_outputs.iter().copied().cloned().collect();
    for slice in slices {
        let mut shape: Vec<_> = trip.cloned().into_iter().collect();
        shape.extend(slice.shape.iter().cloned());
        let whole = TensorType::new(slice.dtype, shape);
        cx.check_size(&whole)?;
        results.push(whole);
    }
    Ok(results)
}
