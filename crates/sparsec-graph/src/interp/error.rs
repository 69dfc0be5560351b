//! What the interpreter reports.

use thiserror::Error;

use super::BindError;
use crate::{Dim, InferError, TensorType};

/// Why a graph has no result on these inputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InterpError {
    /// The input shapes don't give values to the symbols.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// An input, or a constant, is not what its type says.
    #[error("`{name}` {reason}")]
    Input {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A node fails.
    #[error("{node}: {error}")]
    Node {
        /// The node, its operator and its name.
        node: String,
        /// Why.
        error: Box<InterpError>,
    },
    /// The operands of an operator don't fit, now that their shapes are known.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// An expression has no value: a symbol is not bound, a divisor is zero, or it overflows.
    #[error("`{dim}` has no value")]
    Unbound {
        /// The expression.
        dim: Dim,
    },
    /// A tensor is larger than [`super::MAX_BYTES`].
    #[error("a tensor of type {ty} is too large to interpret")]
    TooLarge {
        /// Its type.
        ty: TensorType,
    },
    /// An integer is divided by zero.
    #[error("an integer is divided by zero")]
    DivisionByZero,
    /// A gathered index is out of range.
    #[error("index {index} is outside of an axis of extent {extent}")]
    Index {
        /// The index.
        index: i64,
        /// The extent.
        extent: usize,
    },
    /// The graph is not well-formed; [`crate::verify()`] says more.
    #[error("the graph is not well-formed: {reason}")]
    Malformed {
        /// What is wrong.
        reason: String,
    },
}
