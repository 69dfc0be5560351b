//! What can go wrong between a program and its machine code.

/// Why a program was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum EmitError {
    /// A verified kernel holds something that this backend has no code for.
    #[error("kernel `{kernel}`: {message}")]
    Kernel {
        /// Name of the kernel.
        kernel: String,
        /// What is wrong with it.
        message: String,
    },
    /// A kernel does not verify: it is not flat, holds operations that earlier passes expand, or is inconsistent.
    #[error(transparent)]
    Verify(#[from] sparsec_tir::VerifyErrors),
    /// The program around the kernels is malformed.
    #[error("program `{program}`: {message}")]
    Program {
        /// Name of the program.
        program: String,
        /// What is wrong with it.
        message: String,
    },
    /// The target is unknown.
    #[error(transparent)]
    Target(#[from] crate::TargetError),
    /// The CPU lacks instructions, and this compiler has no code in their place.
    #[error(
        "the code for {cpu} needs {functions}, which is not there on bare metal; arithmetic on f64 needs a CPU that has it, \
         such as cortex-m7"
    )]
    Missing {
        /// The CPU.
        cpu: String,
        /// What LLVM calls.
        functions: String,
    },
    /// LLVM refused something: a bug of this backend.
    #[error("LLVM: {0} (this is a bug of the compiler)")]
    Llvm(String),
}

impl From<inkwell::builder::BuilderError> for EmitError {
    fn from(error: inkwell::builder::BuilderError) -> Self {
        EmitError::Llvm(error.to_string())
    }
}

/// The backend's result.
pub(crate) type Emit<T> = Result<T, EmitError>;

/// An error without a place yet: the kernel or program that is being emitted adds its name.
pub(crate) fn invalid<T>(message: impl Into<String>) -> Emit<T> {
    Err(EmitError::Program { program: String::new(), message: message.into() })
}

impl EmitError {
    /// The same error, said about this kernel.
    pub(crate) fn in_kernel(self, name: &str) -> Self {
        match self {
            EmitError::Program { program, message } if program.is_empty() => {
                EmitError::Kernel { kernel: name.to_owned(), message }
            }
            other => other,
        }
    }

    /// The same error, said about this program.
    pub(crate) fn in_program(self, name: &str) -> Self {
        match self {
            EmitError::Program { program, message } if program.is_empty() => {
                EmitError::Program { program: name.to_owned(), message }
            }
            other => other,
        }
    }
}
