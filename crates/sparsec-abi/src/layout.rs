//! Structures that cross the border between a caller and a compiled model.

use std::ffi::c_void;

/// `sparsec_tensor`: a view of memory that belongs to the caller.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct RawTensor {
    /// First element; may be null where the tensor has no elements.
    pub data: *mut c_void,
    /// `rank` extents; may be null where the rank is 0.
    pub shape: *const i64,
    /// `rank` distances in elements, or null for row-major.
    pub strides: *const i64,
    /// Number of dimensions.
    pub rank: i32,
    /// Element type: see [`crate::DTYPES`].
    pub dtype: i32,
}

/// A piece of a parallel loop: iterations `begin..end`, on a worker in `0..threads`. No two pieces that run at the same
/// time may have one worker number: it selects the scratch memory.
pub type Body = unsafe extern "C" fn(arg: *mut c_void, begin: i64, end: i64, worker: i32);

/// Runs `body` over pieces that together are `0..extent`, and returns when all are done.
pub type ParallelFor = unsafe extern "C" fn(this: *mut c_void, extent: i64, body: Body, arg: *mut c_void);

/// `sparsec_parallel`: a thread pool that the caller lends to a context.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Parallel {
    /// Passed on to `parallel_for`.
    pub this: *mut c_void,
    /// Number of workers, at least 1.
    pub threads: i32,
    /// The pool's loop.
    pub parallel_for: Option<ParallelFor>,
}
