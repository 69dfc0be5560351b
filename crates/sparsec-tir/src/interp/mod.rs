//! Interpreters of all three stages and of programs: what the IR means, and the other side of differential tests.
//!
//! - [`run_kernel`]: Stages II and III. Names are resolved to slots once; memory is bounds-checked, per dimension in
//!   Stage II. Scratch memory and registers hold NaN (or an unlikely integer) at the start of the kernel and of each
//!   iteration of its parallel loop, so that reads of what was not written show.
//! - [`run_coordinate`]: Stage I, before and after format decomposition.
//! - [`run_program`]: all launches of a program.
//!
//! Semantics that the types alone don't give:
//! - The lanes of a `vector` loop run in lockstep: each statement for all lanes before the next. What doesn't vary
//!   with the lane is done once.
//! - Shift amounts must be below the width; the interpreter takes them modulo the width.
//! - Operations of `f16` and `bf16` are done in `f32` and rounded. `exp` and the like are done in `f64` and rounded.
//! - The warps of a team run one after the other from barrier to barrier: a statement without a barrier in it for each warp, one with a
//!   barrier for all together. Copies are done at once; that they are awaited, and that no warp reads what another may still
//!   write, is found by the simulator of GPUs.
//! - Stage I: an iteration passes over positions whose coordinate is the bound of its map.

mod compile;
mod coordinate;
mod data;
mod eval;
pub(crate) mod lane;
mod node;
mod product;
mod program;
mod team;

pub use coordinate::{AxisData, CoordinateData, run_coordinate};
pub use data::{BufferData, InterpError};
pub use program::run_program;

use crate::Kernel;
use eval::Machine;

/// Runs a kernel of Stage II or III. `buffers` are its inputs and outputs in order, with at least as many elements as
/// their shapes say.
///
/// # Errors
/// When arguments don't fit the kernel, an expression has no type, or an access is out of bounds.
pub fn run_kernel(kernel: &Kernel, params: &[i64], buffers: &mut [BufferData]) -> Result<(), InterpError> {
    let wanted = kernel.buffers.iter().filter(|b| b.kind.is_given()).count();
    if params.len() != kernel.params.len() || buffers.len() != wanted {
        return Err(InterpError::Arguments {
            kernel: kernel.name.clone(),
            params: kernel.params.len(),
            buffers: wanted,
        });
    }
    let code = compile::compile(kernel)?;
    let mut machine = Machine::new(kernel, &code, params, buffers)?;
    let result = machine.run(&code.body);
    machine.give_back(buffers);
    result
}
