//! What can go wrong between a program and its PTX.

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
    /// What was emitted does not verify: a bug of this backend.
    #[error("{0} (this is a bug of the compiler)")]
    Ptx(#[from] crate::VerifyErrors),
}

/// The emitter's result. The error has no place yet: [`super::emit_kernel`] adds the kernel.
pub(super) type Emit<T> = Result<T, String>;

/// An error with this message.
pub(super) fn invalid<T>(message: impl Into<String>) -> Emit<T> {
    Err(message.into())
}
