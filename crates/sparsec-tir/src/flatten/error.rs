//! Why a kernel can't be lowered.

use crate::{Stage, TypeError};

/// Why a kernel of Stage II has no Stage III.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LowerError {
    /// The kernel isn't in Stage II.
    #[error("kernel `{kernel}` is in stage {stage}, `position` expected")]
    Stage {
        /// The kernel.
        kernel: String,
        /// Its stage.
        stage: Stage,
    },
    /// An expression without a type.
    #[error("kernel `{kernel}`: {error}")]
    Type {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        error: TypeError,
    },
    /// Something that vector loops don't allow.
    #[error("kernel `{kernel}`: `{text}` in a vector loop: {reason}")]
    Vector {
        /// The kernel.
        kernel: String,
        /// The statement or expression.
        text: String,
        /// What is not allowed.
        reason: &'static str,
    },
    /// An access that can't become flat.
    #[error("kernel `{kernel}`: `{text}`: {reason}")]
    Access {
        /// The kernel.
        kernel: String,
        /// The access.
        text: String,
        /// What is not allowed.
        reason: &'static str,
    },
}
