//! From a module of LLVM to machine code.
//!
//! The schedule has decided what is unrolled and vectorised, so the pipeline cleans up and no more: stack slots to values,
//! common subexpressions, loop-invariant code. That keeps compiling fast, and keeps the code what the schedule says.

use inkwell::passes::PassBuilderOptions;
use inkwell::targets::{FileType, TargetMachine};

use crate::error::{Emit, EmitError};
use crate::value::Cx;

/// The passes, in LLVM's notation. `instcombine` checks in LLVM 19 that it reached a fixpoint, and ends the program where
/// it did not; that check is for LLVM's own tests.
const PASSES: &str = "function(sroa,early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-simplify,lcssa,\
     loop-mssa(licm),early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,dce)";

/// Checks the module; a failure is a bug of this crate.
pub(crate) fn verify(cx: &Cx<'_>) -> Emit<()> {
    cx.module.verify().map_err(|e| EmitError::Llvm(e.to_string()))
}

/// Runs the passes.
pub(crate) fn optimise(cx: &Cx<'_>, machine: &TargetMachine) -> Emit<()> {
    cx.module.run_passes(PASSES, machine, PassBuilderOptions::create()).map_err(|e| EmitError::Llvm(e.to_string()))
}

/// The module as an object file, or as assembly.
pub(crate) fn machine_code(cx: &Cx<'_>, machine: &TargetMachine, kind: FileType) -> Emit<Vec<u8>> {
    let buffer = machine.write_to_memory_buffer(&cx.module, kind).map_err(|e| EmitError::Llvm(e.to_string()))?;
    let mut bytes = buffer.as_slice().to_vec();
    if kind == FileType::Assembly && bytes.last() == Some(&0) {
        bytes.pop();
    }
    Ok(bytes)
}
