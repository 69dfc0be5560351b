//! Text form of all three stages. [`parse`](crate::parse_kernel) reads it back: `parse(print(x)) == x`.
//!
//! A kernel of Stage III, after `lower_to_flat`:
//!
//! ```text
//! // y = relu(a * x)
//! kernel scale flat (n) {
//!   input x: f32[n]
//!   output y: f32[n]
//!   reg acc: f32x8
//!   for i in 0..n step 8 {
//!     acc = load.f32x8 x[i] active (n - i)
//!     store.f32x8 y[i] active (n - i) = max(acc * splat.8(0.5), splat.8(0.0))
//!   }
//! }
//! ```
//!
//! - Literals: `3` is an `i64`, `3i32` an `i32`; `0.5` is an `f32`, `0.5f64` an `f64`; `true`, `inf`, `nan`, `inf_f64`.
//! - `+ - * / %` and the comparisons are infix; everything else is a call: `min(a, b)`, `fma(a, b, c)`,
//!   `convert.f32(x)`, `bitcast.i32x8(x)`, `splat.8(x)`, `ramp.8(base, step)`, `shuffle(x, [1, 0])`, `extract(x, 0)`,
//!   `gather(x, index)`.
//! - `buf[i, j]` is one element; `load.f32x8 buf[i] active n` are several.
//! - A line `vars a: i64, ...` stands where variables are not numbered in the order of their definitions.
//!
//! Stage I, SpMM:
//!
//! ```text
//! kernel spmm coordinate (n) {
//!   axis I = dense_fixed(768)
//!   axis J = sparse_variable(I, 768, nnz 58982)
//!   axis N = dense_fixed(n)
//!   buffer W: f32 over [I, J]
//!   buffer X: f32[768, n]
//!   output Y: f32[768, n]
//!   iterate spmm [I i, J j, N k] as "SRS" {
//!     init 0.0
//!     Y[i, k] += W[i, j] * X[j, k]
//!     epilogue max(Y[i, k], 0.0)
//!   }
//! }
//! ```

mod coordinate;
mod expr;
mod kernel;

pub use coordinate::print_coordinate;
pub use kernel::print_kernel;

pub(crate) use expr::{access_text, compare_symbol, expr_text};
pub(crate) use kernel::stmt_text;

/// Words that name nothing else.
pub(crate) const KEYWORDS: [&str; 51] = [
    "team",
    "warps",
    "barrier",
    "copy_async",
    "commit_copies",
    "await_copies",
    "save",
    "by",
    "kept",
    "masked",
    "kernel",
    "coordinate",
    "position",
    "flat",
    "input",
    "output",
    "scratch",
    "reg",
    "vars",
    "let",
    "for",
    "parallel",
    "unroll",
    "vector",
    "in",
    "step",
    "active",
    "padded",
    "if",
    "else",
    "prefetch",
    "store",
    "load",
    "true",
    "false",
    "inf",
    "nan",
    "inf_f64",
    "nan_f64",
    "inf_f16",
    "nan_f16",
    "inf_bf16",
    "nan_bf16",
    "axis",
    "buffer",
    "over",
    "iterate",
    "as",
    "init",
    "epilogue",
    "strides",
];

/// Whether a name can stand in the text form: letters, digits, `_`, and `.` between two of them, no digit first, no
/// keyword, and nothing that begins like a keyword with a type (`load.f32`).
#[must_use]
pub fn is_identifier(name: &str) -> bool {
    let first = name.chars().next();
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let head = name.split('.').next().unwrap_or_default();
    first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && name.split('.').all(|part| !part.is_empty() && part.chars().all(word))
        && !KEYWORDS.contains(&head)
}
