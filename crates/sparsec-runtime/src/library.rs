//! The functions of a loaded library.
#![allow(unsafe_code, reason = "loading a library and naming its functions' types")]

use std::ffi::{c_char, c_void};
use std::path::Path;

use libloading::Library;
use sparsec_abi::{Parallel, RawTensor};

use crate::RuntimeError;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $ty:ty,)*) => {
        /// The functions of a model, by name without the prefix.
        pub(crate) struct Functions {
            $($(#[$doc])* pub(crate) $name: $ty,)*
            /// Tells the times of launches; only libraries that take them have it.
            pub(crate) profile: Option<Profile>,
            /// Keeps the code mapped; dropped last.
            _library: Library,
        }

        impl Functions {
            /// Loads a library and finds its functions.
            pub(crate) fn load(path: &Path, name: &str) -> Result<Functions, RuntimeError> {
                let shown = path.display().to_string();
                // SAFETY: a compiled model has no initialisers, so loading it runs no code of its own. A library that is
                // no model is the caller's choice, as for every loader.
                let library = unsafe { Library::new(path) }
                    .map_err(|e| RuntimeError::Load { path: shown.clone(), message: e.to_string() })?;
                $(
                    let symbol = format!("{name}_{}", stringify!($name));
                    // SAFETY: the type is the one that the ABI gives the function; the version is checked before any
                    // other function is called. The pointer lives as long as `_library`.
                    let $name: $ty = *unsafe { library.get::<$ty>(symbol.as_bytes()) }
                        .map_err(|_| RuntimeError::Symbol { path: shown.clone(), symbol: symbol.clone() })?;
                )*
                let symbol = format!("{name}_{}", sparsec_abi::PROFILE_FUNCTION);
                // SAFETY: as above.
                let profile = unsafe { library.get::<Profile>(symbol.as_bytes()) }.ok().map(|f| *f);
                Ok(Functions { $($name,)* profile, _library: library })
            }
        }
    };
}

/// `NAME_context*`.
pub(crate) type Context = *mut c_void;

/// `NAME_profile`.
pub(crate) type Profile = unsafe extern "C" fn(Context, *mut *const u64, *mut usize) -> i32;

functions! {
    abi_version: unsafe extern "C" fn() -> u32,
    create: unsafe extern "C" fn(*mut Context, u32) -> i32,
    destroy: unsafe extern "C" fn(Context),
    set_parallel: unsafe extern "C" fn(Context, *const Parallel) -> i32,
    reserve: unsafe extern "C" fn(Context, *const i64) -> i32,
    arena_bytes: unsafe extern "C" fn(*const i64, i32) -> usize,
    run: unsafe extern "C" fn(Context, *const RawTensor, *mut RawTensor) -> i32,
    infer_dims: unsafe extern "C" fn(*const RawTensor, *mut i64) -> i32,
    symbol_count: unsafe extern "C" fn() -> i32,
    symbol_name: unsafe extern "C" fn(i32) -> *const c_char,
    input_count: unsafe extern "C" fn() -> i32,
    input_name: unsafe extern "C" fn(i32) -> *const c_char,
    input_dtype: unsafe extern "C" fn(i32) -> i32,
    input_rank: unsafe extern "C" fn(i32) -> i32,
    input_extents: unsafe extern "C" fn(i32) -> *const i64,
    output_count: unsafe extern "C" fn() -> i32,
    output_name: unsafe extern "C" fn(i32) -> *const c_char,
    output_dtype: unsafe extern "C" fn(i32) -> i32,
    output_rank: unsafe extern "C" fn(i32) -> i32,
    output_extents: unsafe extern "C" fn(i32) -> *const i64,
    output_shape: unsafe extern "C" fn(*const i64, i32, *mut i64) -> i32,
    result_shape: unsafe extern "C" fn(Context, i32, *mut i64) -> i32,
}
