//! A simulator of a GPU that runs [`sparsec_ptx::Module`]s, so that kernels are tested on machines without one.
//!
//! [`Device`] has the operations of a driver: allocate, copy in, launch a function, copy out. A launch runs its blocks one
//! after the other. The warps of a block run in turns from barrier to barrier, the 32 lanes of a warp in lockstep; lanes
//! that part at a branch meet again at its immediate post-dominator. Results do not depend on the machine.
//!
//! What a GPU would leave undefined is an error here, with the function, the instruction, the block and the thread:
//!
//! - accesses outside of an allocation or shared array, to freed memory, or misaligned;
//! - reads of registers and memory that nothing has written;
//! - accesses to shared memory by two threads, one of which writes, with no barrier between them;
//! - data of `cp.async` that is touched before `cp.async.wait_group`;
//! - barriers that part of a warp or of the block never reaches, shuffles and matrix products that lanes are missing from;
//! - products of warp groups (`wgmma`): sums that are touched before `wgmma.wait_group`, factors that change before it, registers
//!   that were touched since the last `wgmma.fence`, stores that no `fence.proxy.async` follows, warps of a group that do different things;
//! - data of `cp.async.bulk` that is touched by threads that have not waited for its `mbarrier`, and phases that never complete;
//! - metadata of sparse matrix products that name no two entries, or name them out of order.
//!
//! Arithmetic is that of the PTX ISA, rounded as it says; `src/float.rs` holds the formats, `src/matrix.rs`, `src/group.rs` and
//! `src/descriptor.rs` the layouts of matrices. Where the ISA leaves the order of a sum open (`mma`, `wgmma`), all products are exact, summed in `f64` in ascending
//! order, and rounded once. [`Counts`] tells what a launch did: instructions, bank conflicts, sectors of global memory.

mod alu;
mod barrier;
mod convert;
mod counts;
mod descriptor;
mod device;
mod error;
mod exec;
mod float;
mod flow;
mod group;
mod hopper;
mod launch;
mod matrix;
mod memory;
mod program;
mod shared;
mod simulated;
mod warp;

pub use counts::Counts;
pub use device::{Argument, Device, DevicePtr, Launch};
pub use error::{DeviceError, Fault, SimError};
pub use simulated::Simulated;
