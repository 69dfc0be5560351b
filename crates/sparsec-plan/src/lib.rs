//! Launch plans: what a model compiled for a GPU does on the host.
//!
//! A CUDA artefact is PTX, one file of weights, and a plan. The PTX holds functions; the plan says with which arguments and
//! on which memory they are launched, in which order, and what has to hold for that. It is what `NAME_run` is on a CPU, as
//! data, so that any host program can follow it: the driver of a GPU, a simulator, or another language.
//!
//! [`Plan`] is the file's structure, [`Plan::from_json`] reads and checks it, [`Plan::new`] makes it from a program.
//! [`Session`] follows it on a [`Device`].
//!
//! A function takes 64-bit arguments only: the kernel's params, then the address of each buffer, then that of its scratch
//! memory where it has any. Its grid has one dimension.
//!
//! ```
//! use sparsec_plan::Expression;
//! // Rows of a tensor of `$0` rows, four to a block.
//! let blocks: Expression = "floor_div($0 + 3, 4)".parse()?;
//! assert_eq!(blocks.eval(&[10]), Ok(3));
//! assert_eq!(blocks.to_string(), "floor_div($0 + 3, 4)");
//! # Ok::<(), sparsec_plan::ExpressionError>(())
//! ```

mod bind;
mod check;
mod device;
mod error;
mod expression;
mod parse;
mod plan;
mod program;
mod session;
mod tensor;

pub use device::{Device, DeviceError, FunctionShape, Invocation};
pub use error::{PlanError, RunError};
pub use expression::{Expression, ExpressionError, Operator};
pub use plan::{
    Buffer, Constant, Constraint, FORMAT, Kernel, Launch, Location, LoopStep, Memory, Plan, Port, Slot, Step, Trip,
    VERSION,
};
pub use program::{FunctionFacts, weights_layout};
pub use session::Session;
pub use tensor::{Data, Given, Tensor, dtype_size};
