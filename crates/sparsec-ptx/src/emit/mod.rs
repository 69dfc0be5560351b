//! Stage III kernels as PTX.
//!
//! A warp is a machine with vectors of 32 lanes. Kernels are lowered for such a target (`TargetInfo::WARP`), so there is one
//! for everything that CPUs have kernels for. Scalars are the same in all lanes; the first lane alone stores them.
//! Iterations of the `parallel` loop are warps, several to a block. Scratch buffers lie in shared memory, each warp's own,
//! or in global memory where they are too large for that. Where the loop has a team of warps, an iteration is a block, and what the
//! team shares lies in shared memory, before the warps' own.
//!
//! | file | what |
//! |---|---|
//! | `kernel.rs` | the function around a body: parameters, the warp's iteration, scratch |
//! | `body.rs` | statements and expressions |
//! | `memory.rs` | addresses, loads, stores, what is active |
//! | `hazard.rs`, `disjoint.rs` | where lanes wait for each other |
//! | `ops.rs`, `integer.rs`, `convert.rs`, `lanes.rs` | operations on values |
//! | `word.rs` | neighbouring elements as one wider scalar |
//! | `team.rs` | barriers of a block, copies, what was loaded from shared memory already |
//! | `product.rs` | products of matrices by tensor cores: fragments |
//! | `group.rs` | products of warp groups: matrix descriptors, and blocks in shared memory |
//! | `value.rs`, `code.rs` | values in registers; the function under construction |
//! | `program.rs` | a program as a module and its launches |

mod body;
mod code;
mod convert;
mod disjoint;
mod error;
mod group;
mod hazard;
mod integer;
mod kernel;
mod lanes;
mod masked;
mod memory;
mod ops;
mod product;
mod program;
mod team;
mod value;
mod word;

pub use error::EmitError;
pub use kernel::KernelInfo;
pub use program::{Emitted, emit_program};
