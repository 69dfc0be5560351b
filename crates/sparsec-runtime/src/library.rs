//! The functions of a model: found in a library that is loaded, or linked into the program.
#![allow(unsafe_code, reason = "loading a library and naming its functions' types")]

use std::ffi::{c_char, c_void};
use std::path::Path;

use libloading::Library;
use sparsec_abi::{Parallel, RawTensor};

use crate::RuntimeError;

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident: $ty:ty,)*) => {
        /// The functions of a model, by name without the prefix. `docs/c-abi.md` says what they do. Code that
        /// `sparsec-build` generates fills it in for a model that is linked statically.
        #[derive(Clone, Copy, Debug)]
        pub struct Functions {
            $($(#[$doc])* pub $name: $ty,)*
            /// Tells the times of launches; only libraries that take them have it.
            pub profile: Option<Profile>,
        }

        impl Functions {
            /// Loads a library and finds its functions, which are valid as long as the library is not dropped.
            pub(crate) fn load(path: &Path, name: &str) -> Result<(Functions, Library), RuntimeError> {
                let shown = path.display().to_string();
                // SAFETY: a compiled model has no initialisers, so loading it runs no code of its own. A library that is
                // no model is the caller's choice, as for every loader.
                let library = unsafe { Library::new(path) }
                    .map_err(|e| RuntimeError::Load { path: shown.clone(), message: e.to_string() })?;
                $(
                    let symbol = format!("{name}_{}", stringify!($name));
                    // SAFETY: the type is the one that the ABI gives the function; the version is checked before any
                    // other function is called.
                    let $name: $ty = *unsafe { library.get::<$ty>(symbol.as_bytes()) }
                        .map_err(|_| RuntimeError::Symbol { path: shown.clone(), symbol: symbol.clone() })?;
                )*
                let symbol = format!("{name}_{}", sparsec_abi::PROFILE_FUNCTION);
                // SAFETY: as above.
                let profile = unsafe { library.get::<Profile>(symbol.as_bytes()) }.ok().map(|f| *f);
                Ok((Functions { $($name,)* profile }, library))
            }
        }
    };
}

/// `NAME_context*`.
pub type Context = *mut c_void;

/// `NAME_profile`.
pub type Profile = unsafe extern "C" fn(Context, *mut *const u64, *mut usize) -> i32;

functions! {
    /// `NAME_abi_version`.
    abi_version: unsafe extern "C" fn() -> u32,
    /// `NAME_create`.
    create: unsafe extern "C" fn(*mut Context, u32) -> i32,
    /// `NAME_destroy`.
    destroy: unsafe extern "C" fn(Context),
    /// `NAME_set_parallel`.
    set_parallel: unsafe extern "C" fn(Context, *const Parallel) -> i32,
    /// `NAME_reserve`.
    reserve: unsafe extern "C" fn(Context, *const i64) -> i32,
    /// `NAME_arena_bytes`.
    arena_bytes: unsafe extern "C" fn(*const i64, i32) -> usize,
    /// `NAME_run`.
    run: unsafe extern "C" fn(Context, *const RawTensor, *mut RawTensor) -> i32,
    /// `NAME_infer_dims`.
    infer_dims: unsafe extern "C" fn(*const RawTensor, *mut i64) -> i32,
    /// `NAME_symbol_count`.
    symbol_count: unsafe extern "C" fn() -> i32,
    /// `NAME_symbol_name`.
    symbol_name: unsafe extern "C" fn(i32) -> *const c_char,
    /// `NAME_input_count`.
    input_count: unsafe extern "C" fn() -> i32,
    /// `NAME_input_name`.
    input_name: unsafe extern "C" fn(i32) -> *const c_char,
    /// `NAME_input_dtype`.
    input_dtype: unsafe extern "C" fn(i32) -> i32,
    /// `NAME_input_rank`.
    input_rank: unsafe extern "C" fn(i32) -> i32,
    /// `NAME_input_extents`.
    input_extents: unsafe extern "C" fn(i32) -> *const i64,
    /// `NAME_output_count`.
    output_count: unsafe extern "C" fn() -> i32,
    /// `NAME_output_name`.
    output_name: unsafe extern "C" fn(i32) -> *const c_char,
    /// `NAME_output_dtype`.
    output_dtype: unsafe extern "C" fn(i32) -> i32,
    /// `NAME_output_rank`.
    output_rank: unsafe extern "C" fn(i32) -> i32,
    /// `NAME_output_extents`.
    output_extents: unsafe extern "C" fn(i32) -> *const i64,
    /// `NAME_output_shape`.
    output_shape: unsafe extern "C" fn(*const i64, i32, *mut i64) -> i32,
    /// `NAME_result_shape`.
    result_shape: unsafe extern "C" fn(Context, i32, *mut i64) -> i32,
}
