//! The C ABI of compiled models, in one place.
//!
//! Three crates must agree on it: the backend that emits the functions, the artefact writer that prints the header, and
//! the runtime that calls them from Rust. The words are those of `docs/c-abi.md`.

mod layout;
mod status;

pub use layout::{Body, Parallel, ParallelFor, RawTensor};
pub use status::Status;

/// Version of the ABI: raised by every change that a compiled caller could notice.
pub const ABI_VERSION: u32 = 1;

/// Largest extent that a dimension may have at run time.
pub const MAX_EXTENT: i64 = 1 << 31;

/// Largest number of threads that a `sparsec_parallel` may claim.
pub const MAX_THREADS: i32 = 4096;

/// Bytes of a context, as told by `NAME_context_bytes`. Fields behind the used ones are reserved.
pub const CONTEXT_BYTES: u64 = 128;

/// Alignment of contexts, arenas, scratch memory and arena slots, in bytes.
pub const MEMORY_ALIGN: u64 = 64;

/// Stands in a symbolic shape for an extent that is neither a constant nor a lone symbol.
pub const EXTENT_EXPRESSION: i64 = i64::MIN;

/// An extent as the `NAME_*_extents` functions tell it: a lone symbol `s` is `-1 - s`.
#[must_use]
pub const fn symbol_extent(symbol: u32) -> i64 {
    -1 - symbol as i64
}

/// The code of an element type: ONNX's `TensorProto.DataType`, which is stable and known to every tool of the field.
/// Names are those of the tensor IR (`f32`, `bool`, ...).
#[must_use]
pub fn dtype_code(name: &str) -> Option<i32> {
    DTYPES.iter().find(|d| d.1 == name).map(|d| d.0)
}

/// Every element type: code, name, name in the header's enumeration, size in bytes. Elements of 4 bits take a byte each.
pub const DTYPES: [(i32, &str, &str, usize); 22] = [
    (1, "f32", "SPARSEC_F32", 4),
    (2, "u8", "SPARSEC_U8", 1),
    (3, "i8", "SPARSEC_I8", 1),
    (4, "u16", "SPARSEC_U16", 2),
    (5, "i16", "SPARSEC_I16", 2),
    (6, "i32", "SPARSEC_I32", 4),
    (7, "i64", "SPARSEC_I64", 8),
    (8, "string", "SPARSEC_STRING", 1),
    (9, "bool", "SPARSEC_BOOL", 1),
    (10, "f16", "SPARSEC_F16", 2),
    (11, "f64", "SPARSEC_F64", 8),
    (12, "u32", "SPARSEC_U32", 4),
    (13, "u64", "SPARSEC_U64", 8),
    (16, "bf16", "SPARSEC_BF16", 2),
    (17, "f8e4m3fn", "SPARSEC_F8E4M3FN", 1),
    (18, "f8e4m3fnuz", "SPARSEC_F8E4M3FNUZ", 1),
    (19, "f8e5m2", "SPARSEC_F8E5M2", 1),
    (20, "f8e5m2fnuz", "SPARSEC_F8E5M2FNUZ", 1),
    (21, "u4", "SPARSEC_U4", 1),
    (22, "i4", "SPARSEC_I4", 1),
    (23, "f4e2m1", "SPARSEC_F4E2M1", 1),
    (24, "f8e8m0", "SPARSEC_F8E8M0", 1),
];

/// The object symbol of a constant of a model. The code refers to it and the weights object defines it.
#[must_use]
pub fn constant_symbol(model: &str, index: usize) -> String {
    format!("{model}_constant_{index}")
}

/// What a library that times its launches exports beside [`FUNCTIONS`], without the prefix `NAME_`.
pub const PROFILE_FUNCTION: &str = "profile";

/// What a library for several CPUs exports beside [`FUNCTIONS`], without the prefix `NAME_`.
pub const CPU_FUNCTION: &str = "cpu";

/// What differs between libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// There is a libc with a heap.
    pub heap: bool,
    /// Launches are timed.
    pub profile: bool,
    /// There is code for several CPUs.
    pub levels: bool,
}

/// Which of [`FUNCTIONS`] need a heap: targets without a libc have none of them.
pub const HEAP_FUNCTIONS: [&str; 3] = ["create", "reserve", "reserve_for"];

/// Bytes of the context of a model whose outputs have so many dimensions together, and that times so many launches.
#[must_use]
pub const fn context_bytes(extents: usize, timed_launches: usize) -> u64 {
    CONTEXT_BYTES + 8 * (extents as u64 + timed_launches as u64)
}

/// The functions that a library exports, without the prefix `NAME_`.
#[must_use]
pub fn exports(features: Features) -> Vec<&'static str> {
    let has = |f: &&str| features.heap || !HEAP_FUNCTIONS.contains(f);
    let (timed, chosen) = (features.profile.then_some(PROFILE_FUNCTION), features.levels.then_some(CPU_FUNCTION));
    FUNCTIONS.into_iter().filter(has).chain(timed).chain(chosen).collect()
}

/// The exported functions of a model, without the prefix `NAME_`.
pub const FUNCTIONS: [&str; 29] = [
    "abi_version",
    "status_message",
    "context_bytes",
    "create",
    "create_in",
    "destroy",
    "set_parallel",
    "set_arena",
    "reserve",
    "reserve_for",
    "arena_bytes",
    "arena_bytes_for",
    "run",
    "infer_dims",
    "symbol_count",
    "symbol_name",
    "input_count",
    "input_name",
    "input_dtype",
    "input_rank",
    "input_extents",
    "input_shape",
    "output_count",
    "output_name",
    "output_dtype",
    "output_rank",
    "output_extents",
    "output_shape",
    "result_shape",
];
