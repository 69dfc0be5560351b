//! Constants, and tensors that are filled from shapes.

use sparsec_graph::{BinaryOp, DType, Dim, Op, TensorData, TensorType};

use super::context::{Context, Operand};
use super::node::Node;
use super::symbolic;
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// `Constant`, in each of its spellings.
pub(super) fn constant(cx: &mut Context, node: &Node<'_>) -> Results {
    let data = if let Some(data) = node.tensor("value", cx)? {
        data
    } else if let Some(data) = node.sparse_tensor("sparse_value", cx)? {
        data
    } else if let Some(v) = node.int("value_int")? {
        TensorData::i64(&[], vec![v])
    } else if let Some(v) = node.ints("value_ints")? {
        TensorData::i64(&[v.len()], v.to_vec())
    } else if let Some(v) = node.float("value_float")? {
        TensorData::f32(&[], vec![v])
    } else if let Some(v) = node.floats("value_floats")? {
        TensorData::f32(&[v.len()], v.to_vec())
    } else if let Some(text) = node.string("value_string")? {
        TensorData::strings(&[], &[text.as_bytes()])
    } else if let Some(texts) = node.strings("value_strings")? {
        let width = texts.iter().map(|t| t.len()).max().unwrap_or(0);
        cx.budget.take((width as u64).saturating_mul(texts.len() as u64))?;
        TensorData::strings(&[texts.len()], &texts.iter().map(|t| t.as_bytes()).collect::<Vec<_>>())
    } else {
        return Err(Fault::attribute("value", "is missing"));
    };
    let name = cx.node_name.clone();
    Ok(vec![cx.add_data(&name, data)])
}

/// `ConstantOfShape`: one number repeated to a shape, which may depend on symbols.
pub(super) fn constant_of_shape(cx: &mut Context, node: &Node<'_>) -> Results {
    let shape = cx.dims(node.input(0)?, "the shape")?;
    let value = node.tensor("value", cx)?.unwrap_or_else(|| tensor::scalar(DType::F32, 0.0));
    if value.elements() != 1 || value.dtype == DType::String {
        return Err(Fault::attribute("value", "must be one number"));
    }
    let scalar = TensorData { shape: Vec::new(), ..value };
    let elements = shape.iter().try_fold(1i64, |n, d| n.checked_mul(d.as_const()?));
    if let (Some(ints), Some(count @ 0..=1024)) = (scalar.as_i64(), elements) {
        let ints = vec![Dim::constant(ints.first().copied().unwrap_or(0)); count as usize];
        return Ok(vec![cx.add_ints(TensorType::new(scalar.dtype, shape), ints)?]);
    }
    let name = cx.node_name.clone();
    let x = cx.add_data(&name, scalar);
    Ok(vec![cx.append(Op::Expand(shape), &[x])?])
}

/// `Range` of numbers that are known.
pub(super) fn range(cx: &mut Context, node: &Node<'_>) -> Results {
    let operands = [node.input(0)?, node.input(1)?, node.input(2)?];
    let dtype = cx.dtype(operands[0]);
    if let Some(result) = symbolic_range(cx, operands)? {
        return Ok(vec![result]);
    }
    let mut numbers = [0.0; 3];
    for ((number, x), what) in numbers.iter_mut().zip(operands).zip(["start", "limit", "delta"]) {
        *number = cx.number(x).ok_or_else(|| cx.unresolved(x, what))?;
    }
    let [start, limit, delta] = numbers;
    // Beyond 2^53 the numbers are not exact; no range of a network comes near.
    if delta == 0.0 || numbers.iter().any(|n| !n.is_finite() || n.abs() > 9e15) {
        return Err(Fault::invalid(format!("there is no range from {start} to {limit} by {delta}")));
    }
    let count = ((limit - start) / delta).ceil().max(0.0);
    cx.budget.take((count * dtype.size() as f64) as u64)?;
    let count = count as usize;
    let data = match dtype {
        DType::F32 => {
            // In the precision of the type, as the standard computes it.
            let (start, delta) = (start as f32, delta as f32);
            TensorData::f32(&[count], (0..count).map(|i| start + i as f32 * delta).collect())
        }
        DType::F64 => {
            TensorData::from_vec(dtype, &[count], (0..count).map(|i| start + i as f64 * delta).collect::<Vec<f64>>())
        }
        _ => {
            cx.budget.take(count as u64 * 8)?;
            let ints: Vec<i64> = (0..count as i64).map(|i| start as i64 + i * delta as i64).collect();
            tensor::from_ints(dtype, &[count], &ints)
                .ok_or_else(|| Fault::unsupported(format!("a range of {dtype} with these bounds")))?
        }
    };
    let name = cx.node_name.clone();
    Ok(vec![cx.add_data(&name, data)])
}

/// A range whose bounds are expressions over symbols, by a known step.
fn symbolic_range(cx: &mut Context, operands: [Operand; 3]) -> Result<Option<Operand>, Fault> {
    let dtype = cx.dtype(operands[0]);
    let [start, limit, delta] = operands.map(|x| cx.ints(x).and_then(|ints| ints.first().cloned()));
    let (Some(start), Some(limit), Some(delta)) = (start, limit, delta) else { return Ok(None) };
    let Some(step @ 1..) = delta.as_const() else { return Ok(None) };
    let distance = limit - start.clone();
    if distance.as_const().is_some() || !symbolic::is_tame(&distance) {
        return Ok(None);
    }
    let distance = symbolic::max(&Dim::constant(0), &distance);
    let count = if step == 1 { distance } else { distance.ceil_div(&Dim::constant(step)) };
    let numbers = cx.iota(DType::I64, &count, 1, 0)?;
    let scaled = if step == 1 { numbers } else { cx.with_number(BinaryOp::Mul, numbers, step as f64)? };
    let start = cx.int_vector(vec![start])?;
    let range = cx.binary(BinaryOp::Add, scaled, start)?;
    cx.cast(range, dtype).map(Some)
}
