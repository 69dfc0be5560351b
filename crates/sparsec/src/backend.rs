//! What code is made for: a CPU or a GPU.

use sparsec_artifact::TargetInfo;
use sparsec_llvm::{Arch, Target};
use sparsec_plan::FunctionFacts;
use sparsec_ptx::KernelInfo;

use crate::CompileError;

/// What a model is compiled for.
#[derive(Clone, Debug)]
pub enum Backend {
    /// A CPU, through LLVM.
    Cpu(Target),
    /// NVIDIA GPUs of an architecture, as PTX.
    Cuda(sparsec_ptx::Target),
}

impl From<Target> for Backend {
    fn from(target: Target) -> Self {
        Backend::Cpu(target)
    }
}

impl From<sparsec_ptx::Target> for Backend {
    fn from(gpu: sparsec_ptx::Target) -> Self {
        Backend::Cuda(gpu)
    }
}

impl Backend {
    /// The name of the processor: LLVM's, or `sm_80`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Backend::Cpu(target) => target.cpu(),
            Backend::Cuda(gpu) => gpu.name(),
        }
    }

    /// The family, as [`Machine::for_target`](crate::Machine::for_target) takes it.
    #[must_use]
    pub fn family(&self) -> &'static str {
        match self {
            Backend::Cpu(target) => match (target.arch(), target.vector_bits()) {
                (Arch::X86_64, 512) => "x86-64-v4",
                (Arch::X86_64, 256) => "x86-64-v3",
                // Narrow machines, as RISC-V without vectors is.
                (Arch::X86_64 | Arch::Riscv64 | Arch::Wasm32 | Arch::Thumb, _) => "x86-64-v2",
                (Arch::Aarch64, _) => "neoverse",
            },
            Backend::Cuda(gpu) => gpu.name(),
        }
    }

    /// The CPU, for what is measured on one.
    ///
    /// # Errors
    /// [`CompileError::CpuOnly`] for a GPU.
    pub fn cpu(&self) -> Result<&Target, CompileError> {
        match self {
            Backend::Cpu(target) => Ok(target),
            Backend::Cuda(gpu) => Err(CompileError::CpuOnly(gpu.name())),
        }
    }

    /// What the schedules need to know. A warp is a machine with vectors of 32 lanes.
    pub(crate) fn schedules(&self) -> sparsec_lower::TargetInfo {
        use sparsec_lower::TargetInfo;
        let target = match self {
            Backend::Cpu(target) => target,
            Backend::Cuda(gpu) => return TargetInfo::WARP.with_capability(gpu.capability()),
        };
        let mut info = match target.vector_bits() {
            512 => TargetInfo::AVX512,
            256 => TargetInfo::AVX2,
            _ if target.vector_registers() == 32 => TargetInfo::NEON,
            _ => TargetInfo::SSE,
        };
        info.registers = target.vector_registers();
        info
    }

    /// What the manifest says of it.
    pub(crate) fn manifest(&self) -> TargetInfo {
        match self {
            Backend::Cpu(target) => TargetInfo {
                triple: target.triple().to_owned(),
                cpu: target.cpu().to_owned(),
                features: target.features().to_owned(),
            },
            Backend::Cuda(gpu) => TargetInfo {
                triple: "nvptx64-nvidia-cuda".to_owned(),
                cpu: gpu.name().to_owned(),
                features: String::new(),
            },
        }
    }
}

/// How the plan launches a function.
pub(crate) fn facts(info: &KernelInfo) -> FunctionFacts {
    FunctionFacts {
        name: info.name.clone(),
        threads: info.threads,
        iterations: info.iterations,
        shared_bytes: info.shared_bytes,
        scratch_bytes: info.scratch_bytes,
    }
}
