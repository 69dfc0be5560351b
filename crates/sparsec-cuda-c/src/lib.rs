//! `libsparsec_cuda_c`: models that were compiled for NVIDIA GPUs, from C.
//!
//! A CPU's model is a library with functions of its own. A GPU's is PTX, a launch plan and weights, and this library is the host
//! program that follows the plan: it takes the same tensors, gives the same statuses, and has the same questions, with
//! the context as their first argument. What a tensor adds is one bit in its type, which says that its memory is the device's.
//! `include/sparsec_cuda.h` is what callers see.
//!
//! | file | what |
//! |---|---|
//! | `functions.rs` | the functions that can fail: create, run, ... |
//! | `questions.rs` | names, types and extents |
//! | `context.rs` | a model on a device, behind one lock |
//! | `tensor.rs` | the caller's tensors as ours |
//! | `device.rs` | a device whose stream can be changed |
//! | `failure.rs` | statuses and messages |
//!
//! The driver's library is loaded when a context is made, so a program that is linked with this starts on any machine.
#![allow(unsafe_code, reason = "memory and functions that C shares with us")]

mod context;
mod device;
mod failure;
mod functions;
mod questions;
mod tensor;

#[cfg(test)]
mod tests;
