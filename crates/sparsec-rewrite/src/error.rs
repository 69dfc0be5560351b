//! Errors of a rewrite.

use sparsec_graph::{DType, Format, InferError};
use sparsec_sparse::FormatError;

/// Why a graph could not be rewritten.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum RewriteError {
    /// A forced format can't hold the zeros of its weight, or its parameters are out of range.
    #[error("weight `{name}` can't be stored as {format}: {error}")]
    Format {
        /// Name of the constant.
        name: String,
        /// The format.
        format: Format,
        /// What is in the way.
        error: FormatError,
    },
    /// A sparse format is forced on a weight of an element type that has none.
    #[error("weight `{name}` can't be stored as {format}: its elements are {dtype}")]
    ElementType {
        /// Name of the constant.
        name: String,
        /// The format.
        format: Format,
        /// The element type.
        dtype: DType,
    },
    /// A forced format names no constant weight of a contraction or convolution.
    #[error("there is no weight `{name}` whose format could be set")]
    UnknownWeight {
        /// The name given.
        name: String,
    },
    /// The graph does not type-check.
    #[error("node `{node}`: {error}")]
    Infer {
        /// Name of the node.
        node: String,
        /// What is wrong.
        error: Box<InferError>,
    },
    /// A node of the graph has no or several results, or a cycle runs through it.
    #[error("node `{node}` is not rewritable: {reason}")]
    Malformed {
        /// Name of the node.
        node: String,
        /// What is wrong.
        reason: String,
    },
}
