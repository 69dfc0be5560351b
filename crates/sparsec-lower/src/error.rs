//! What lowering can refuse.

/// Why a graph can't be lowered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LowerError {
    /// The compiler has no kernel for this.
    #[error("node `{node}` ({op}): {reason}")]
    Unsupported {
        /// Name of the node.
        node: String,
        /// Operator.
        op: &'static str,
        /// What is missing, and what to do.
        reason: String,
    },
    /// A weight does not fit the format chosen for it.
    #[error("weight `{tensor}`: {source}")]
    Format {
        /// Name of the constant.
        tensor: String,
        /// What does not fit.
        source: sparsec_sparse::FormatError,
    },
    /// A kernel that this crate made is invalid: a bug.
    #[error("kernel `{kernel}` is invalid (a bug in sparsec): {reason}")]
    Invalid {
        /// Name of the kernel.
        kernel: String,
        /// What the verifier or the lowering said.
        reason: String,
    },
}

impl LowerError {
    /// An unsupported node.
    pub(crate) fn unsupported(node: &sparsec_graph::Node, reason: impl Into<String>) -> Self {
        LowerError::Unsupported { node: node.name.clone(), op: node.op.name(), reason: reason.into() }
    }
}
