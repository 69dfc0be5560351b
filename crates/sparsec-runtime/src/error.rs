//! What can go wrong with a compiled model.

use sparsec_abi::Status;

/// Why a model could not be opened or run.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The library could not be loaded.
    #[error("cannot load `{path}`: {message}")]
    Load {
        /// The library.
        path: String,
        /// What the system says.
        message: String,
    },
    /// The library lacks a function: it is no model, or one of another name.
    #[error("`{path}` has no function `{symbol}`: is the model's name right?")]
    Symbol {
        /// The library.
        path: String,
        /// The missing function.
        symbol: String,
    },
    /// The library speaks another version of the ABI.
    #[error("`{path}` has ABI version {found}, this runtime {expected}")]
    AbiVersion {
        /// The library.
        path: String,
        /// Its version.
        found: u32,
        /// This crate's version.
        expected: u32,
    },
    /// The library tells about itself what can't be.
    #[error("the library's description of itself is malformed: {0}")]
    Malformed(String),
    /// The number of inputs is wrong.
    #[error("the model takes {expected} inputs, {found} were given")]
    InputCount {
        /// What the model takes.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The number of outputs is wrong.
    #[error("the model has {expected} outputs, memory for {found} was given")]
    OutputCount {
        /// What the model has.
        expected: usize,
        /// What was given.
        found: usize,
    },
    /// The data of a tensor do not fit its shape.
    #[error("a tensor of shape {shape:?} and type {dtype} has {expected} bytes, {found} were given")]
    TensorSize {
        /// The shape.
        shape: Vec<i64>,
        /// The element type.
        dtype: &'static str,
        /// Bytes that it should have.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The model refused.
    #[error("{function}: {message}", message = .status.message())]
    Status {
        /// The function called.
        function: &'static str,
        /// What it returned.
        status: Status,
    },
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
}
