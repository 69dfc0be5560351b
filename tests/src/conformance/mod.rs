//! ONNX's own operator tests, compiled and run: `cargo xtask node-tests`.
//!
//! A case is a folder with a model, inputs and expected outputs. [`run`] of a case happens in a process of its own kind,
//! the worker ([`worker`]), which takes one case after the other from its standard input; [`pool`] starts workers with
//! limits on memory and time, so that a case that crashes or hangs costs that case and no other. [`list`] is the file of
//! cases that are known not to pass.

pub mod case;
pub mod compare;
pub mod document;
pub mod list;
pub mod pool;
pub mod reason;
pub mod run;
pub mod summary;
pub mod worker;

use serde::{Deserialize, Serialize};

/// What became of a case in one way of running it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Results are as expected.
    Passed {
        /// Inputs that became constants, since the model does not compile otherwise.
        bound: Vec<String>,
    },
    /// They are not, or there are none.
    Failed {
        /// The reason, without what is particular to the case.
        group: String,
        /// The whole message.
        detail: String,
    },
    /// The interface of a compiled model can't hold what the case passes.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Whether the case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        matches!(self, Outcome::Passed { .. })
    }

    /// The reason, as the list of cases has it; empty for one that passed.
    #[must_use]
    pub fn group(&self) -> &str {
        match self {
            Outcome::Passed { .. } => "",
            Outcome::Failed { group, .. } => group,
            Outcome::Skipped { reason } => reason,
        }
    }
}

/// A case that was run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Folder and case: `node/test_add`.
    pub case: String,
    /// Compiled to machine code; `None` where only the interpreter was asked for.
    pub native: Option<Outcome>,
    /// Interpreted.
    pub interpreted: Outcome,
    /// What the case is about, where it is one operator.
    #[serde(default)]
    pub subject: Option<Subject>,
}

/// The one operator of a case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its domain; `ai.onnx` for the standard one.
    pub domain: String,
    /// Its name.
    pub operator: String,
    /// The version of the operator set.
    pub opset: i64,
    /// The operators of the graph that it was read as.
    pub becomes: Vec<String>,
}
