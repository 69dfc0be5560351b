//! What a pass reports.

use sparsec_graph::{InferError, InterpError, VerifyError};
use thiserror::Error;

/// What a pass did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassStats {
    /// How many places changed; the unit is the pass's own (nodes removed, patterns recognised, channels removed).
    /// 0 means that the graph is as it was.
    pub changed: usize,
    /// Sentences for a log.
    pub notes: Vec<String>,
}

impl PassStats {
    pub(crate) fn changed(changed: usize) -> Self {
        PassStats { changed, notes: Vec::new() }
    }
}

/// Why a pass failed. On a verified graph that is a defect of the pass, except for [`PassError::UnknownPass`].
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PassError {
    /// A node that the pass made is ill-typed.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A constant subexpression could not be computed.
    #[error("a constant expression at `{node}`: {source}")]
    Interpret {
        /// The name of the node.
        node: String,
        /// The interpreter's complaint.
        source: Box<InterpError>,
    },
    /// A pass failed.
    #[error("pass `{pass}`: {source}")]
    Pass {
        /// The pass.
        pass: &'static str,
        /// What went wrong.
        source: Box<PassError>,
    },
    /// The graph breaks invariants after a pass.
    #[error("after pass `{pass}` the graph is not well-formed: {}", list(errors))]
    Verify {
        /// The pass.
        pass: &'static str,
        /// All violations.
        errors: Vec<VerifyError>,
    },
    /// There is no pass of this name.
    #[error("there is no pass `{name}`; the passes are {known}")]
    UnknownPass {
        /// The name.
        name: String,
        /// The names that there are, separated by commas.
        known: String,
    },
}

fn list(errors: &[VerifyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
