//! Stage II to Stage III: one-dimensional buffers, vector values instead of `vector` loops.
//!
//! Three steps, a file each: [`address`] gives every access one index, [`vectorise`] replaces `vector` loops by
//! straight-line code over vectors, [`splat`] makes splats explicit.
//!
//! ```text
//! vector l in 0..8 active n - j {          let lanes: i64 = n - j
//!   y[i, j + l] = x[j + l] * a[i]    ->    store.f32x8 y[i * n + j] active lanes =
//! }                                          load.f32x8 x[j] active lanes * splat.8(a[i])
//! ```
//!
//! How an access in a `vector` loop is lowered depends on how its flat index varies with the loop variable:
//!
//! | index | load | store |
//! |---|---|---|
//! | not | a scalar load | scalar stores of the lanes in order: the last one stays |
//! | by 1 a lane | a load of `lanes` elements, `active` as in the loop | a store likewise |
//! | by another stride, or in any way | a gather | a scalar store per lane, under `if lane < active` |
//!
//! Gathers have no mask: inactive lanes read element 0, and are then set to 0. A buffer that is gathered from must
//! have an element therefore.
//!
//! The lanes of a vector loop run in lockstep: each statement is done for all of them before the next one.

mod address;
mod error;
mod linear;
mod splat;
mod vectorise;

pub use error::LowerError;

use crate::{Kernel, Stage};

/// Lowers a kernel of Stage II to Stage III.
///
/// # Errors
/// When the kernel isn't in Stage II, or does what the module's table doesn't have (a data-dependent branch in a
/// vector loop, ...).
pub fn lower_to_flat(kernel: &Kernel) -> Result<Kernel, LowerError> {
    if kernel.stage != Stage::Position {
        return Err(LowerError::Stage { kernel: kernel.name.clone(), stage: kernel.stage });
    }
    let addressed = address::flatten_addresses(kernel)?;
    let mut flat = vectorise::vectorise(&addressed)?;
    splat::splat_operands(&mut flat).map_err(|error| LowerError::Type { kernel: kernel.name.clone(), error })?;
    flat.stage = Stage::Flat;
    Ok(flat)
}
