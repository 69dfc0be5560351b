//! Opens compiled models from Rust: loader, tensors, thread pool.
//!
//! The C ABI (`docs/c-abi.md`) in safe clothes. A [`Model`] is one model with one context, loaded or linked; several may be
//! open on the same library ([`Model::another`]), and each may move between threads. [`Model::run`] takes and makes tensors;
//! [`Model::run_on`] works on memory of the caller and allocates nothing.
//!
//! ```no_run
//! use sparsec_runtime::{Model, Tensor};
//! # fn main() -> Result<(), sparsec_runtime::RuntimeError> {
//! let mut model = Model::load("out/libdigits.so", "digits")?;
//! let image = Tensor::from_slice(&[1, 1, 8, 8], &[0f32; 64]);
//! let outputs = model.run(&[image])?;
//! # Ok(())
//! # }
//! ```

mod argument;
mod error;
mod library;
mod model;
mod pool;
mod tensor;

pub use argument::{Argument, ArgumentMut, Nested};
pub use error::RuntimeError;
pub use library::{Context, Functions, Profile};
pub use model::{Model, Port};
pub use pool::ThreadPool;
pub use sparsec_abi::{Body, Parallel, ParallelFor, RawTensor, Status};
pub use tensor::{DType, Element, Tensor};
