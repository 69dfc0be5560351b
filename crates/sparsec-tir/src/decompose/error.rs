//! What a decomposition can refuse.

use crate::VerifyErrors;

/// Why a kernel of Stage I can't be decomposed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecomposeError {
    /// The kernel is not valid.
    #[error("{0}")]
    Invalid(VerifyErrors),
    /// The buffer is no weight over a dense axis of rows and an axis of columns, or it is used in another way than
    /// once per row and column.
    #[error("kernel `{kernel}`: {reason}")]
    Form {
        /// The kernel.
        kernel: String,
        /// What is in the way.
        reason: &'static str,
    },
    /// The stored matrix has another shape than the buffer.
    #[error("kernel `{kernel}`: the weight has {} x {} coordinates, the stored matrix {} x {}", expected.0, expected.1, found.0, found.1)]
    Shape {
        /// The kernel.
        kernel: String,
        /// Rows and columns of the axes.
        expected: (u64, u64),
        /// Rows and columns of the matrix.
        found: (u64, u64),
    },
}
