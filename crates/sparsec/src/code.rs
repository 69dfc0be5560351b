//! What the backends make of a program.

use sparsec_llvm::{EmitOptions, Emitted};
use sparsec_plan::Plan;
use sparsec_ptx::{emit_program, print_module};
use sparsec_tir::Program;

use crate::backend::{Backend, facts};
use crate::{CompileError, CompileOptions, Emit, Target};

/// The code of a compiled model.
#[derive(Clone, Debug)]
pub enum Code {
    /// Machine code of a CPU.
    Cpu(Emitted),
    /// Functions for a GPU, and how they are launched.
    Cuda(Box<CudaCode>),
}

/// The code of a model for a GPU.
#[derive(Clone, Debug)]
pub struct CudaCode {
    /// The functions.
    pub ptx: String,
    /// Their launches.
    pub plan: Plan,
}

impl Code {
    /// The object file of machine code; `None` for a GPU.
    #[must_use]
    pub fn object(&self) -> Option<&[u8]> {
        match self {
            Code::Cpu(emitted) => Some(&emitted.object),
            Code::Cuda(_) => None,
        }
    }

    /// The code as text, where it is kept: LLVM's IR, or PTX.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Code::Cpu(emitted) => emitted.llvm_ir.as_deref(),
            Code::Cuda(code) => Some(&code.ptx),
        }
    }
}

/// Emits a program for the options' target. `versions` are the programs for the CPUs of a library that has several.
pub(crate) fn emit(
    label: &str,
    program: &Program,
    versions: &[(Target, Program)],
    options: &CompileOptions,
) -> Result<Code, CompileError> {
    let model = || label.to_owned();
    match &options.target {
        Backend::Cpu(target) => {
            let wanted = EmitOptions {
                assembly: options.assembly || options.emits(Emit::Asm),
                llvm_ir: options.llvm_ir || options.emits(Emit::LlvmIr),
                profile: options.profile,
                ..EmitOptions::default()
            };
            let emitted = match versions {
                [] => sparsec_llvm::emit(program, target, wanted),
                _ => {
                    let all: Vec<_> = versions.iter().map(|(target, program)| (program, target)).collect();
                    sparsec_llvm::emit_levels(program, &all, wanted)
                }
            };
            emitted.map(Code::Cpu).map_err(|source| CompileError::Emit { model: model(), source })
        }
        Backend::Cuda(gpu) => {
            let emitted = emit_program(program, *gpu)
                .map_err(|source| CompileError::EmitPtx { model: model(), source: Box::new(source) })?;
            let functions: Vec<_> = emitted.kernels.iter().map(facts).collect();
            let plan = Plan::new(program, gpu.name(), &functions)
                .map_err(|source| CompileError::Plan { model: model(), source })?;
            Ok(Code::Cuda(Box::new(CudaCode { ptx: print_module(&emitted.module), plan })))
        }
    }
}
