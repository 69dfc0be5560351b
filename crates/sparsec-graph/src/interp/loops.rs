//! Operators that carry their kernel: the kernel is run.

use sparsec_tir::{BufferData, BufferKind, run_kernel};

use super::{InterpError, Tensor, check_bytes, concrete_shape};
use crate::{Bindings, Dim, LoopsSpec, Symbol, TensorType};

/// Runs a kernel. Results are cut to the extents that it finds out.
pub(super) fn loops(spec: &LoopsSpec, operands: &[&Tensor], bindings: &Bindings) -> Result<Vec<Tensor>, InterpError> {
    let failed = |reason: String| InterpError::Malformed { reason };
    let value = |dim: &Dim, bindings: &Bindings| {
        dim.eval(bindings).map(Dim::constant).ok_or_else(|| InterpError::Unbound { dim: dim.clone() })
    };
    let ty = |ty: &TensorType, bindings: &Bindings| -> Result<TensorType, InterpError> {
        Ok(TensorType::new(ty.dtype, ty.shape.iter().map(|d| value(d, bindings)).collect::<Result<Vec<Dim>, _>>()?))
    };
    let mut full = bindings.clone();
    for count in &spec.counts {
        let capacity = count.capacity.eval(bindings).ok_or(InterpError::Unbound { dim: count.capacity.clone() })?;
        full.insert(count.symbol.clone(), capacity);
    }
    let known = LoopsSpec {
        kernel: spec.kernel.clone(),
        params: spec.params.iter().map(|d| value(d, bindings)).collect::<Result<_, _>>()?,
        results: spec.results.iter().map(|t| ty(t, &full)).collect::<Result<_, _>>()?,
        counts: Vec::new(),
    };
    for tensor in operands {
        check_bytes(tensor).map_err(failed)?;
    }
    let types: Vec<TensorType> = operands.iter().map(|t| t.ty()).collect();
    known.check(&types.iter().collect::<Vec<_>>()).map_err(failed)?;
    let params: Vec<i64> = known.params.iter().filter_map(Dim::as_const).collect();
    let shapes = known.results.iter().map(concrete_shape).collect::<Result<Vec<_>, _>>()?;
    let (mut inputs, mut outputs) = (operands.iter(), shapes.iter());
    let mut buffers = Vec::new();
    let given = spec.kernel.buffers.iter().filter(|b| b.kind != BufferKind::Scratch);
    for buffer in given.clone() {
        buffers.push(match buffer.kind {
            BufferKind::Input => {
                let tensor = inputs.next().ok_or_else(|| failed("a kernel without its operand".into()))?;
                BufferData { elem: buffer.elem, bytes: tensor.bytes.to_vec() }
            }
            _ => BufferData::poisoned(buffer.elem, outputs.next().map_or(0, |s| s.iter().product())),
        });
    }
    run_kernel(&spec.kernel, &params, &mut buffers).map_err(|e| failed(e.to_string()))?;
    let written = given.zip(buffers).filter(|(b, _)| b.kind == BufferKind::Output);
    let mut results: Vec<Tensor> = written
        .zip(known.results.iter().zip(shapes))
        .map(|((_, data), (ty, shape))| Tensor { dtype: ty.dtype, shape, bytes: data.bytes.into() })
        .collect();
    if spec.counts.is_empty() {
        return Ok(results);
    }
    let mut found = bindings.clone();
    for (symbol, value) in counts(spec, &results) {
        if !full.get(&symbol).is_some_and(|&capacity| (0..=capacity).contains(&value)) {
            return Err(failed(format!("the extent {symbol} is {value}, which is outside of its capacity")));
        }
        found.insert(symbol, value);
    }
    for (result, declared) in results.iter_mut().zip(&spec.results) {
        result.shape = concrete_shape(&ty(declared, &found)?)?;
        let bytes = result.shape.iter().product::<usize>() * result.dtype.size();
        if bytes > result.bytes.len() {
            return Err(failed(format!("a result of type {declared} is larger than its capacity")));
        }
        result.bytes = result.bytes.slice(..bytes);
    }
    Ok(results)
}

/// The extents that a kernel has found out, read from its results.
pub(super) fn counts(spec: &LoopsSpec, results: &[Tensor]) -> Vec<(Symbol, i64)> {
    let first = results.len().saturating_sub(spec.counts.len());
    let values = results[first..].iter().filter_map(|t| t.as_i64()?.first().copied());
    spec.counts.iter().map(|count| count.symbol.clone()).zip(values).collect()
}
