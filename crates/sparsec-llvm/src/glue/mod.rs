//! The functions that a caller sees, and what they need: contexts, checks, queries, and `run`.
//!
//! They are built with LLVM's builder and not written in C, so that a model can be compiled for any target without a C
//! compiler for it. `docs/c-abi.md` says what each does; `sparsec-abi` holds the numbers.

mod check;
mod context;
mod function;
mod levels;
mod overlap;
mod profile;
mod query;
mod run;
mod strided;
mod symbolic;

use inkwell::AddressSpace;
use inkwell::types::FunctionType;
use inkwell::values::FunctionValue;
use sparsec_tir::{Expr, Port, Program};

use crate::error::{Emit, invalid};
use crate::value::Cx;
use function::Seen;
pub(crate) use levels::{Version, emit_levels};

/// Emits all exported functions. `kernels` are the program's, in order; `profile` has `run` time them.
pub(crate) fn emit_glue<'c>(cx: &Cx<'c>, program: &Program, kernels: &[FunctionValue<'c>], profile: bool) -> Emit<()> {
    let glue = Glue { cx, program, prefix: &program.name, seen: Seen::Exported, versions: None, profile };
    glue.verify()?;
    glue.emit_queries()?;
    let constraints = glue.emit_constraints()?;
    let need = glue.emit_need(constraints)?;
    let infer = glue.emit_infer(constraints)?;
    let outputs = glue.emit_check_outputs()?;
    let plan = glue.emit_plan(need, infer, outputs)?;
    glue.emit_contexts(need, plan)?;
    if profile {
        glue.emit_profile()?;
    }
    glue.emit_run(kernels, plan)
}

/// `void(const int64_t* params, void* const* buffers, char* scratch, int64_t begin, int64_t end)`.
pub(crate) fn kernel_type<'c>(cx: &Cx<'c>) -> FunctionType<'c> {
    let (p, i) = (cx.context.ptr_type(AddressSpace::default()), cx.i64());
    cx.context.void_type().fn_type(&[p.into(), p.into(), p.into(), i.into(), i.into()], false)
}

/// The program whose functions are emitted.
struct Glue<'a, 'c> {
    cx: &'a Cx<'c>,
    program: &'a Program,
    /// What the names of its functions begin with.
    prefix: &'a str,
    /// Who calls the functions that are exported in a library for one CPU.
    seen: Seen,
    /// What is chosen from when a context is made, in a library for several CPUs.
    versions: Option<levels::Choice<'a, 'c>>,
    /// Whether `run` times its launches.
    profile: bool,
}

/// Byte offsets of a context's fields.
mod field {
    /// `i32`: 1 while a call uses the context.
    pub(super) const BUSY: i64 = 0;
    /// `i32`: 1 where the context itself came from `malloc`.
    pub(super) const OWNED: i64 = 4;
    /// What `free` gets for the arena; null where the caller owns it.
    pub(super) const ARENA_RAW: i64 = 8;
    /// The arena, aligned.
    pub(super) const ARENA: i64 = 16;
    /// `i64`: usable bytes of the arena.
    pub(super) const ARENA_BYTES: i64 = 24;
    /// First argument of the caller's `parallel_for`.
    pub(super) const POOL: i64 = 32;
    /// The caller's `parallel_for`, or null.
    pub(super) const PARALLEL_FOR: i64 = 40;
    /// `i32`: number of workers.
    pub(super) const THREADS: i64 = 48;
    /// `run`, `reserve`, the name of the CPU that they are for, and `reserve_for`, in a library for several CPUs.
    pub(super) const RUN: i64 = 56;
    pub(super) const RESERVE: i64 = 64;
    pub(super) const CPU: i64 = 72;
    pub(super) const RESERVE_FOR: i64 = 80;
    /// `i64` for each launch: the nanoseconds that it took in the last run, all calls together. Only where launches are timed.
    pub(super) const TIMES: i64 = sparsec_abi::CONTEXT_BYTES as i64;
}

impl Glue<'_, '_> {
    /// Bytes of a context.
    fn context_bytes(&self) -> i64 {
        let extents = self.program.outputs.iter().map(|port| port.shape.len()).sum();
        sparsec_abi::context_bytes(extents, if self.profile { self.program.launches.len() } else { 0 }) as i64
    }

    /// Byte offset in a context of the extents that output `index` got in the last run, `i64` each. They lie behind the
    /// times.
    fn result_shape(&self, index: usize) -> i64 {
        let times = if self.profile { self.program.launches.len() } else { 0 };
        let before: usize = self.program.outputs.iter().take(index).map(|port| port.shape.len()).sum();
        field::TIMES + (times + before) as i64 * 8
    }

    /// A name with the model's prefix.
    fn name(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.prefix)
    }

    /// What the glue relies on.
    fn verify(&self) -> Emit<()> {
        let p = self.program;
        if self.profile && !self.cx.heap {
            return invalid("times can't be taken on a target without a libc");
        }
        if !is_identifier(&p.name) {
            return invalid("the name is not an identifier of C");
        }
        for (s, name) in p.symbols.iter().enumerate() {
            let lone = |e: &Expr| check::multiple_of(e).is_some_and(|(q, _)| q.index() == s);
            if !p.inputs.iter().any(|i| i.shape.iter().any(lone)) {
                return invalid(format!("no input has symbol `{name}` as an extent, so nothing defines it"));
            }
        }
        for launch in &p.launches {
            let Some(kernel) = p.kernels.get(launch.kernel as usize) else {
                return invalid(format!("launch `{}` has no kernel", launch.label));
            };
            let buffers = kernel.buffers.iter().filter(|b| b.kind != sparsec_tir::BufferKind::Scratch).count();
            if launch.arguments.len() != buffers || launch.params.len() != kernel.params.len() {
                return invalid(format!("launch `{}` does not fit kernel `{}`", launch.label, kernel.name));
            }
        }
        Ok(())
    }

    /// The code of a port's element type.
    fn dtype(port: &Port) -> Emit<i32> {
        match sparsec_abi::dtype_code(port.dtype) {
            Some(code) => Ok(code),
            None => invalid(format!("`{}` has no element type of the ABI", port.name)),
        }
    }
}

fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}
