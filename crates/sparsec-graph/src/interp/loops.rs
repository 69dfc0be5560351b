//! Operators that carry their kernel: the kernel is run.

use sparsec_tir::{BufferData, BufferKind, run_kernel};

use super::{InterpError, Tensor, concrete_shape};
use crate::LoopsSpec;

/// Runs a kernel whose params are constants, on operands that inference has accepted.
pub(super) fn loops(spec: &LoopsSpec, operands: &[&Tensor]) -> Result<Vec<Tensor>, InterpError> {
    let failed = |reason: String| InterpError::Malformed { reason };
    let params: Option<Vec<i64>> = spec.params.iter().map(crate::Dim::as_const).collect();
    let params = params.ok_or_else(|| failed("a param of a kernel without value".into()))?;
    let shapes = spec.results.iter().map(concrete_shape).collect::<Result<Vec<_>, _>>()?;
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
    let results = written.zip(spec.results.iter().zip(shapes));
    Ok(results.map(|((_, data), (ty, shape))| Tensor { dtype: ty.dtype, shape, bytes: data.bytes.into() }).collect())
}
