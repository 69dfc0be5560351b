//! A program as a module.

use sparsec_tir::Program;

use super::error::EmitError;
use super::kernel::{KernelInfo, emit_kernel};
use crate::{Module, Target, verify_module};

/// What a program became.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The functions, one for each kernel of the program, in order. It verifies.
    pub module: Module,
    /// How each function is launched, in order.
    pub kernels: Vec<KernelInfo>,
}

/// Emits every kernel of a program.
///
/// A program is fast where it was lowered for vectors of 32 lanes; it is right for any other.
///
/// # Errors
/// When a kernel is not flat, holds operations that earlier passes must expand, or is inconsistent.
pub fn emit_program(program: &Program, target: Target) -> Result<Emitted, EmitError> {
    let mut module = Module::new(target);
    module.comments = vec![format!("model {}", program.name)];
    let mut kernels = Vec::new();
    for kernel in &program.kernels {
        sparsec_tir::verify_machine(kernel)?;
        let info = emit_kernel(&mut module, &program.name, kernel)
            .map_err(|message| EmitError::Kernel { kernel: kernel.name.clone(), message })?;
        kernels.push(info);
    }
    verify_module(&module)?;
    Ok(Emitted { module, kernels })
}
