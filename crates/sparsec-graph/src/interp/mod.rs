//! The reference interpreter: what a graph means, computed plainly.
//!
//! Floating-point results are rounded once from a computation in `f64`; integers wrap. It is the oracle that compiled
//! code and the lower IR are compared with, and what constant folding runs, so it is written to be obviously right first
//! and quick second (a ResNet-50 takes seconds).
//!
//! Two things are left open on purpose, as they are in compiled code: a zero weight times an infinity or NaN may give
//! zero (zero weights are skipped), and a [`crate::Format`] has no effect, being storage and not meaning.

mod attention;
mod bind;
mod contract;
mod control;
mod conv;
mod element;
mod elementwise;
mod error;
mod gemm;
mod lanes;
mod loops;
mod math;
mod movement;
mod normalise;
mod pool;
mod strided;

pub use bind::{BindError, bind_symbols};
pub use error::InterpError;

use crate::{Bindings, Dim, Epilogue, Graph, Node, NodeId, Op, TensorData, TensorType, ValueId, infer};

/// A tensor: an element type, a shape, and bytes.
pub type Tensor = TensorData;

/// No tensor takes more bytes than this (2^36).
pub const MAX_BYTES: usize = 1 << 36;

/// Runs a graph on inputs, in the order of [`Graph::inputs`]. The results are in the order of [`Graph::outputs`].
///
/// Values are freed after their last use. At most two threads are used; the results don't depend on how many.
///
/// # Errors
/// When the inputs don't have the declared types, or give a symbol two values; when a node fails (an index out of range,
/// an integer division by zero, a tensor over [`MAX_BYTES`]); or when the graph is not well-formed.
pub fn interpret(graph: &Graph, inputs: &[Tensor]) -> Result<Vec<Tensor>, InterpError> {
    let shapes: Vec<Vec<usize>> = inputs.iter().map(|t| t.shape.clone()).collect();
    run(graph, inputs, bind_symbols(graph, &shapes)?)
}

/// Runs a graph whose symbols have values, but for those that its nodes find out.
fn run(graph: &Graph, inputs: &[Tensor], mut bindings: Bindings) -> Result<Vec<Tensor>, InterpError> {
    if inputs.len() != graph.inputs().len() {
        let (expected, found) = (graph.inputs().len(), inputs.len());
        return Err(BindError::Count { expected, found }.into());
    }
    let mut values: Vec<Option<Tensor>> = vec![None; graph.value_count()];
    for (&id, tensor) in graph.inputs().iter().zip(inputs) {
        let value = graph.value(id);
        if tensor.dtype != value.ty.dtype {
            let reason = format!("has elements of type {} instead of {}", tensor.dtype, value.ty.dtype);
            return Err(InterpError::Input { name: value.name.clone(), reason });
        }
        check_bytes(tensor).map_err(|reason| InterpError::Input { name: value.name.clone(), reason })?;
        values[id.index()] = Some(tensor.clone());
    }
    let order = graph.topological_order();
    if order.len() != graph.node_count() {
        return Err(InterpError::Malformed { reason: "nodes depend on their own results".into() });
    }
    let mut uses = graph.use_counts();
    let fetch = |values: &[Option<Tensor>], id: ValueId| -> Result<Tensor, InterpError> {
        if let Some(Some(tensor)) = values.get(id.index()) {
            return Ok(tensor.clone());
        }
        let constant = graph.get_value(id).and_then(|_| graph.constant(id));
        let constant = constant.ok_or_else(|| InterpError::Malformed { reason: format!("{id} is not defined") })?;
        check_bytes(&constant.data).map_err(|reason| InterpError::Input { name: constant.name.clone(), reason })?;
        Ok(constant.data.clone())
    };
    for id in order {
        let node = graph.node(id);
        let operands = node.operands.iter().map(|&v| fetch(&values, v)).collect::<Result<Vec<_>, _>>()?;
        let operands: Vec<&Tensor> = operands.iter().collect();
        let results = if node.op.is_control() {
            control::control(&node.op, &operands, &bindings)
        } else {
            evaluate(&node.op, node.epilogue.as_ref(), &operands, &bindings)
        };
        if let (Op::Loops(spec), Ok(results)) = (&node.op, &results) {
            bindings.extend(loops::counts(spec, results));
        }
        let results = results
            .and_then(|tensors| check_results(graph, node, tensors, &bindings))
            .map_err(|error| at_node(id, node, error))?;
        for operand in &node.operands {
            if let Some(count) = uses.get_mut(operand) {
                *count -= 1;
                if *count == 0 {
                    values[operand.index()] = None;
                }
            }
        }
        for (&value, result) in node.results.iter().zip(results) {
            if uses.contains_key(&value) {
                values[value.index()] = Some(result);
            }
        }
    }
    graph.outputs().iter().map(|(_, v)| fetch(&values, *v)).collect()
}

/// Runs one operator that holds no graphs, with its epilogue if it has one, on tensors. `bindings` give values to the symbols that occur in
/// the operator's attributes.
///
/// # Errors
/// As [`interpret`].
pub fn evaluate(
    op: &Op,
    epilogue: Option<&Epilogue>,
    operands: &[&Tensor],
    bindings: &Bindings,
) -> Result<Vec<Tensor>, InterpError> {
    if let Op::Loops(spec) = op {
        return loops::loops(spec, operands, bindings);
    }
    let op = &op.try_map_dims(|dim| match dim.eval(bindings) {
        Some(value) => Ok(Dim::constant(value)),
        None => Err(InterpError::Unbound { dim: dim.clone() }),
    })?;
    for (i, tensor) in operands.iter().enumerate() {
        check_bytes(tensor).map_err(|reason| InterpError::Input { name: format!("operand {i}"), reason })?;
    }
    let types: Vec<TensorType> = operands.iter().map(|t| t.ty()).collect();
    let types: Vec<&TensorType> = types.iter().collect();
    let own = epilogue.map_or(operands.len(), |e| e.first_operand as usize).min(operands.len());
    // Inference on constant shapes is the check that everything fits: the code behind it relies on that.
    infer::infer_node_types(op, epilogue, &types)?;
    let anchor = infer::infer_types(op, &types[..own])?;
    let ty = anchor.first().ok_or_else(|| InterpError::Malformed { reason: "an operator without result".into() })?;
    let shape = concrete_shape(ty)?;
    let result = dispatch(op, &operands[..own], ty, &shape)?;
    match epilogue {
        None => Ok(vec![result]),
        Some(epilogue) => Ok(vec![elementwise::scalar(&epilogue.expr, Some(&result), &operands[own..], &shape)?]),
    }
}

fn dispatch(op: &Op, operands: &[&Tensor], ty: &TensorType, shape: &[usize]) -> Result<Tensor, InterpError> {
    match (op, operands) {
        (Op::Unary(_) | Op::Binary(_) | Op::Where | Op::Map(_), _) => {
            let expr = elementwise::as_expression(op);
            elementwise::scalar(&expr, None, operands, shape)
        }
        (Op::Clip { lo, hi }, [x]) => elementwise::clip(x, *lo, *hi),
        (Op::Cast(to), [x]) => elementwise::cast(x, *to),
        (Op::Contract(spec), [lhs, rhs]) => contract::contract(spec, lhs, rhs, shape),
        (Op::Attention(spec), [q, k, v, args @ ..]) => attention::attention(spec, [q, k, v], args, shape),
        (Op::Conv(attrs), [x, w, bias @ ..]) => conv::conv(attrs, x, w, bias.first().copied(), shape),
        (Op::Pool(attrs), [x]) => pool::pool(attrs, x, shape),
        (Op::Reduce { kind, axes, .. }, [x]) => normalise::reduce(*kind, axes, x, shape),
        (Op::Softmax { axis }, [x]) => normalise::softmax(*axis, x),
        (Op::LayerNorm { axis, axes, epsilon }, [x, scale, bias]) => {
            normalise::layer_norm(*axis, *axes, *epsilon, x, scale, bias)
        }
        (Op::BatchNorm { epsilon }, [x, scale, bias, mean, variance]) => {
            normalise::batch_norm(*epsilon, x, [scale, bias, mean, variance])
        }
        (Op::Reshape(_), [x]) => Ok(Tensor { shape: shape.to_vec(), ..(*x).clone() }),
        (Op::Transpose(perm), [x]) => movement::transpose(perm, x, shape),
        (Op::Expand(_), [x]) => movement::expand(x, shape),
        (Op::Slice(axes), [x]) => movement::slice(axes, x, shape),
        (Op::Concat { axis }, _) => movement::concat(*axis, operands, shape),
        (Op::Gather { axis }, [x, index]) => movement::gather(*axis, x, index, shape),
        (Op::Pad { amounts, value }, [x]) => movement::pad(amounts, *value, x, shape),
        (Op::ShapeOf(dims), []) => {
            let values = dims.iter().map(|d| d.as_const().unwrap_or(-1)).collect();
            Ok(Tensor::i64(&[dims.len()], values))
        }
        _ => Err(InterpError::Malformed { reason: format!("`{}` on {} operands ({ty})", op.name(), operands.len()) }),
    }
}

fn concrete_shape(ty: &TensorType) -> Result<Vec<usize>, InterpError> {
    let shape: Option<Vec<usize>> =
        ty.shape.iter().map(|d| d.as_const().and_then(|v| usize::try_from(v).ok())).collect();
    shape
        .filter(|s| {
            let bytes = s.iter().try_fold(ty.dtype.size(), |n, &d| n.checked_mul(d));
            bytes.is_some_and(|b| b <= MAX_BYTES)
        })
        .ok_or_else(|| InterpError::TooLarge { ty: ty.clone() })
}

/// The results must have the shapes that the graph says, under the bindings.
fn check_results(
    graph: &Graph,
    node: &Node,
    tensors: Vec<Tensor>,
    bindings: &Bindings,
) -> Result<Vec<Tensor>, InterpError> {
    for (tensor, value) in tensors.iter().zip(node.results.iter().filter_map(|&r| graph.get_value(r))) {
        let extents = value.ty.shape.iter().map(|d| d.eval(bindings).and_then(|v| usize::try_from(v).ok()));
        let expected: Option<Vec<usize>> = extents.collect();
        if value.ty.dtype != tensor.dtype || expected.as_ref() != Some(&tensor.shape) {
            return Err(InterpError::Malformed {
                reason: format!("{} where the graph says {}", tensor.ty(), value.ty),
            });
        }
    }
    Ok(tensors)
}

fn check_bytes(tensor: &Tensor) -> Result<(), String> {
    let expected = tensor.shape.iter().try_fold(tensor.dtype.size(), |n, &d| n.checked_mul(d));
    if expected == Some(tensor.bytes.len()) {
        return Ok(());
    }
    Err(format!("has {} bytes for {}", tensor.bytes.len(), tensor.ty()))
}

fn at_node(id: NodeId, node: &Node, error: InterpError) -> InterpError {
    let name = if node.name.is_empty() { String::new() } else { format!(" `{}`", node.name) };
    InterpError::Node { node: format!("{id} {}{name}", node.op.name()), error: Box::new(error) }
}
