//! What a model takes and gives.

use std::ffi::c_char;

use sparsec_abi::Status;
use sparsec_plan::{Port, RunError};

use crate::context::{Context, PortText};
use crate::failure::{Failure, guarded};
use crate::functions::{context, numbers, put};

/// An element of what a context has, by an index of the caller.
///
/// # Safety
/// As for `context`.
unsafe fn at<'a, T>(ctx: *const Context, index: i32, list: impl FnOnce(&'a Context) -> &'a [T]) -> Option<&'a T> {
    // SAFETY: as the caller promises.
    let ctx = unsafe { context(ctx) }.ok()?;
    list(ctx).get(usize::try_from(index).ok()?)
}

/// # Safety
/// As for `context`.
unsafe fn count<'a, T: 'a>(ctx: *const Context, list: impl FnOnce(&'a Context) -> &'a [T]) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { context(ctx) }.map_or(0, |ctx| i32::try_from(list(ctx).len()).unwrap_or(i32::MAX))
}

/// # Safety
/// A context, or null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_symbol_count(ctx: *const Context) -> i32 {
    // SAFETY: as the caller promises.
    unsafe { count(ctx, |c| &c.symbols) }
}

/// # Safety
/// A context, or null.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_symbol_name(ctx: *const Context, index: i32) -> *const c_char {
    // SAFETY: as the caller promises.
    unsafe { at(ctx, index, |c| &c.symbols) }.map_or(std::ptr::null(), |name| name.as_ptr())
}

macro_rules! questions {
    ($list:ident, $count:ident, $name:ident, $dtype:ident, $rank:ident, $extents:ident, $shape:ident) => {
        /// # Safety
        /// A context, or null.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $count(ctx: *const Context) -> i32 {
            // SAFETY: as the caller promises.
            unsafe { count(ctx, |c| &c.$list) }
        }

        /// # Safety
        /// A context, or null.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $name(ctx: *const Context, index: i32) -> *const c_char {
            // SAFETY: as the caller promises.
            unsafe { at(ctx, index, |c| &c.$list) }.map_or(std::ptr::null(), |p| p.name.as_ptr())
        }

        /// # Safety
        /// A context, or null.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $dtype(ctx: *const Context, index: i32) -> i32 {
            // SAFETY: as the caller promises.
            unsafe { at(ctx, index, |c| &c.$list) }.map_or(0, |p| p.dtype)
        }

        /// # Safety
        /// A context, or null.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $rank(ctx: *const Context, index: i32) -> i32 {
            // SAFETY: as the caller promises.
            let port = unsafe { at(ctx, index, |c| &c.$list) };
            port.and_then(|p: &PortText| i32::try_from(p.extents.len()).ok()).unwrap_or(-1)
        }

        /// # Safety
        /// A context, or null.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $extents(ctx: *const Context, index: i32) -> *const i64 {
            // SAFETY: as the caller promises.
            unsafe { at(ctx, index, |c| &c.$list) }.map_or(std::ptr::null(), |p| p.extents.as_ptr())
        }

        /// # Safety
        /// A context, a number for each symbol, and room for as many as the rank.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $shape(
            ctx: *const Context,
            dims: *const i64,
            index: i32,
            shape: *mut i64,
        ) -> i32 {
            guarded(|| {
                // SAFETY: as the caller promises.
                let ctx = unsafe { context(ctx) }?;
                // SAFETY: as the caller promises.
                let dims = unsafe { numbers(dims, ctx.symbols.len()) }?;
                let port = usize::try_from(index).ok().and_then(|i| ctx.plan.$list.get(i));
                let extents = evaluate(ctx, port.ok_or(Status::Index)?, dims)?;
                // SAFETY: as the caller promises.
                unsafe { put(&extents, shape) }
            })
        }
    };
}

questions!(
    inputs,
    sparsec_cuda_input_count,
    sparsec_cuda_input_name,
    sparsec_cuda_input_dtype,
    sparsec_cuda_input_rank,
    sparsec_cuda_input_extents,
    sparsec_cuda_input_shape
);
questions!(
    outputs,
    sparsec_cuda_output_count,
    sparsec_cuda_output_name,
    sparsec_cuda_output_dtype,
    sparsec_cuda_output_rank,
    sparsec_cuda_output_extents,
    sparsec_cuda_output_shape
);

fn evaluate(ctx: &Context, port: &Port, dims: &[i64]) -> Result<Vec<i64>, Failure> {
    ctx.plan.check_dims(dims)?;
    let one = |e: &sparsec_plan::Expression| {
        e.eval(dims).map_err(|source| RunError::Expression { place: port.name.clone(), source }.into())
    };
    port.shape.iter().map(one).collect()
}

/// # Safety
/// A context, and room for as many numbers as the rank.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn sparsec_cuda_result_shape(ctx: *const Context, index: i32, shape: *mut i64) -> i32 {
    guarded(|| {
        // SAFETY: as the caller promises.
        let ctx = unsafe { context(ctx) }?;
        let running = ctx.lock()?;
        let extents = usize::try_from(index).ok().and_then(|i| running.results.get(i)).ok_or(Status::Index)?;
        // SAFETY: as the caller promises.
        unsafe { put(extents, shape) }
    })
}
