//! What can go wrong with plans and runs.

use sparsec_abi::Status;

use crate::{DeviceError, ExpressionError};

/// Why a plan can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The text is no plan.
    #[error("this is no launch plan: {0}")]
    Json(String),
    /// The file is something else.
    #[error("this is a `{0}` and no `sparsec-plan`")]
    Format(String),
    /// Another version.
    #[error("the plan has version {0}; this program reads version {version}: compile the model again", version = crate::VERSION)]
    Version(u32),
    /// The plan contradicts itself.
    #[error("the plan is malformed: {place}: {reason}")]
    Malformed {
        /// Where: `launch 3 (conv1)`.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// A program holds what a plan can't say: a defect of the compiler.
    #[error("`{model}` has no launch plan: {reason}")]
    Program {
        /// The model.
        model: String,
        /// What it holds.
        reason: String,
    },
}

/// Why a model was not run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan is not one.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The tensors do not fit the model; the status is that of the C interface.
    #[error("{place}: {message}{detail}", message = .status.message())]
    Refused {
        /// The status.
        status: Status,
        /// Which tensor or dimension.
        place: String,
        /// Behind the status' sentence: nothing, or `: 3 where 4 is fixed`.
        detail: String,
    },
    /// The number of tensors is wrong.
    #[error("the model takes {expected} {what}, {found} were given")]
    Count {
        /// `inputs` or `outputs`.
        what: &'static str,
        /// What the model takes.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The memory of a tensor on the host does not fit its shape.
    #[error("{place}: its shape has {expected} bytes, {found} were given")]
    Bytes {
        /// Which tensor.
        place: String,
        /// What its shape needs.
        expected: u64,
        /// What was given.
        found: u64,
    },
    /// An output was given as memory that may only be read.
    #[error("{place}: its memory can't be written")]
    ReadOnly {
        /// Which tensor.
        place: String,
    },
    /// The plan asks for memory that a launch must not touch.
    #[error("{launch}: `{buffer}` would reach from byte {start} to byte {end} of {memory}, which has {bytes}")]
    OutOfBounds {
        /// The launch.
        launch: String,
        /// The kernel's buffer.
        buffer: String,
        /// Where it starts.
        start: i128,
        /// Where it ends.
        end: i128,
        /// `input 0`, `constant 3 (w)`, ...
        memory: String,
        /// Its size.
        bytes: u64,
    },
    /// A size has no value.
    #[error("{place}: {source}")]
    Expression {
        /// Where it stands.
        place: String,
        /// Why it has none.
        source: ExpressionError,
    },
    /// A grid that no GPU takes.
    #[error("{launch}: a grid of {blocks} blocks; at most 2147483647 can be launched")]
    Grid {
        /// The launch.
        launch: String,
        /// Blocks.
        blocks: i64,
    },
    /// The weights are not those of the plan.
    #[error("the weights have {found} bytes where the plan says {expected}: are they of the same compilation?")]
    Weights {
        /// What the plan says.
        expected: u64,
        /// What there is.
        found: u64,
    },
    /// The weights can't be read.
    #[error("cannot read the weights: {0}")]
    Read(std::io::Error),
    /// The device refuses.
    #[error("{place}: {source}")]
    Device {
        /// What was done.
        place: String,
        /// What it says.
        source: DeviceError,
    },
}
