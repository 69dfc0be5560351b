//! A library for several CPUs: what runs is chosen once, when a context is made.
//!
//! The model is there once for each CPU: kernels, and the functions that plan their memory and call them, with names of
//! their own that nobody else sees. The functions of the C interface are there once. They are made for any CPU, as all
//! is that isn't a kernel, and they leave what differs to the functions that the context names: `run`, `reserve` and `reserve_for`.

use inkwell::IntPredicate;
use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Linkage;
use inkwell::types::BasicType;
use inkwell::values::{FunctionValue, PointerValue};
use sparsec_abi::Status;
use sparsec_tir::Program;

use super::function::{Fun, Seen};
use super::query::pointer;
use super::{Glue, field};
use crate::error::{Emit, EmitError, invalid};
use crate::value::Cx;

/// Tells the level of x86-64 that the machine has.
const DETECTION: &str = include_str!("../runtime/x86_64.ll");

/// The model for one CPU.
pub(crate) struct Version<'a, 'c> {
    pub(crate) program: &'a Program,
    /// What the names of its functions begin with.
    pub(crate) prefix: String,
    /// LLVM's name of the CPU.
    pub(crate) cpu: &'a str,
    /// Its level of x86-64.
    pub(crate) level: u32,
    pub(crate) kernels: Vec<FunctionValue<'c>>,
}

/// What a context is made with.
pub(super) struct Choice<'a, 'c> {
    detect: FunctionValue<'c>,
    /// CPU, level, and `run`, `reserve` and `reserve_for`, the lowest first.
    versions: Vec<(&'a str, u32, [FunctionValue<'c>; 3])>,
}

/// Pointers that a context gets.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'c> {
    pub(super) run: PointerValue<'c>,
    pub(super) reserve: PointerValue<'c>,
    pub(super) reserve_for: PointerValue<'c>,
    pub(super) cpu: PointerValue<'c>,
}

/// Emits the functions of a library for several CPUs, the lowest first. `whole` has the interface that all share, and memory that
/// is enough for each.
pub(crate) fn emit_levels<'c>(cx: &Cx<'c>, whole: &Program, versions: &[Version<'_, 'c>]) -> Emit<()> {
    let mut made = Vec::new();
    for version in versions {
        let Version { program, prefix, cpu, level, kernels } = version;
        if (&program.inputs, &program.outputs, &program.symbols) != (&whole.inputs, &whole.outputs, &whole.symbols) {
            return invalid(format!("the model for {cpu} has another interface"));
        }
        let glue = Glue { cx, program, prefix, seen: Seen::Internal, versions: None, profile: false };
        glue.verify()?;
        let constraints = glue.emit_constraints()?;
        let need = glue.emit_need(constraints)?;
        let reserve = glue.emit_reserve(need)?;
        let infer = glue.emit_infer(constraints)?;
        let outputs = glue.emit_check_outputs()?;
        let plan = glue.emit_plan(need, infer, outputs)?;
        let reserve_for = glue.emit_reserve_for(plan)?;
        glue.emit_run(kernels, plan)?;
        let run = cx.module.get_function(&glue.name("run"));
        let run = run.ok_or_else(|| EmitError::Llvm("a function is missing".to_owned()))?;
        made.push((*cpu, *level, [run, reserve, reserve_for]));
    }
    let choice = Choice { detect: add_detection(cx, &whole.name)?, versions: made };
    let prefix = &whole.name;
    let glue = Glue { cx, program: whole, prefix, seen: Seen::Exported, versions: Some(choice), profile: false };
    glue.emit_queries()?;
    let constraints = glue.emit_constraints()?;
    let need = glue.emit_need(constraints)?;
    let infer = glue.emit_infer(constraints)?;
    let outputs = glue.emit_check_outputs()?;
    let plan = glue.emit_plan(need, infer, outputs)?;
    glue.emit_contexts(need, plan)?;
    glue.emit_forward("run", field::RUN, 2)?;
    glue.emit_cpu()
}

fn add_detection<'c>(cx: &Cx<'c>, name: &str) -> Emit<FunctionValue<'c>> {
    let failed = |e: inkwell::support::LLVMString| EmitError::Llvm(e.to_string());
    let text = MemoryBuffer::create_from_memory_range_copy(DETECTION.as_bytes(), "detection");
    let library = cx.context.create_module_from_ir(text).map_err(failed)?;
    library.set_triple(&cx.module.get_triple());
    library.set_data_layout(&cx.module.get_data_layout());
    cx.module.link_in_module(library).map_err(failed)?;
    let mut found = Err(EmitError::Llvm("a function is missing".to_owned()));
    for function in ["cpuid", "cpu_level"] {
        if let Some(f) = cx.module.get_function(function) {
            f.as_global_value().set_name(&format!("{name}_{function}"));
            f.set_linkage(Linkage::Internal);
            found = Ok(f);
        }
    }
    found
}

impl<'c> Glue<'_, 'c> {
    /// What a context gets that is made here and now; a machine below the lowest CPU is refused.
    pub(super) fn choose(&self, f: &mut Fun<'_, 'c>) -> Emit<Option<Chosen<'c>>> {
        let Some(Choice { detect, versions }) = &self.versions else { return Ok(None) };
        let level = f.call_int(*detect, &[])?;
        let mut chosen: Option<Chosen<'c>> = None;
        for (cpu, needed, [run, reserve, reserve_for]) in versions {
            let enough = f.compare(IntPredicate::UGE, level, f.i32(i64::from(*needed)))?;
            let pointer = |function: &FunctionValue<'c>| function.as_global_value().as_pointer_value();
            let own = Chosen {
                run: pointer(run),
                reserve: pointer(reserve),
                reserve_for: pointer(reserve_for),
                cpu: self.text(cpu),
            };
            let Some(lower) = chosen else {
                f.require(enough, Status::Cpu)?;
                chosen = Some(own);
                continue;
            };
            let select = |own: PointerValue<'c>, lower: PointerValue<'c>| -> Emit<PointerValue<'c>> {
                Ok(self.cx.builder.build_select(enough, own, lower, "")?.into_pointer_value())
            };
            chosen = Some(Chosen {
                run: select(own.run, lower.run)?,
                reserve: select(own.reserve, lower.reserve)?,
                reserve_for: select(own.reserve_for, lower.reserve_for)?,
                cpu: select(own.cpu, lower.cpu)?,
            });
        }
        Ok(chosen)
    }

    /// Exports `name(context, ...)`, which calls what the context names with the same arguments: `pointers` beside the context.
    pub(super) fn emit_forward(&self, name: &str, at: i64, pointers: usize) -> Emit<FunctionValue<'c>> {
        let p = pointer(self.cx);
        let params = vec![p.into(); 1 + pointers];
        let mut f = Fun::status(self.cx, &self.name(name), Seen::Exported, &params);
        let context = f.pointer(0)?;
        f.require_pointer(context)?;
        let to = f.load_pointer(context, at)?;
        let mut arguments = Vec::new();
        for i in 0..params.len() as u32 {
            arguments.push(f.param(i)?.into());
        }
        let ty = self.cx.context.i32_type().fn_type(&params, false);
        let status = self.cx.builder.build_indirect_call(ty, to, &arguments, "")?.try_as_basic_value().basic();
        f.finish(status)
    }

    /// `const char* NAME_cpu(const NAME_context*)`: what the context was made for; null for null.
    fn emit_cpu(&self) -> Emit<()> {
        let p = pointer(self.cx);
        let f = Fun::new(self.cx, &self.name("cpu"), Seen::Exported, &[p.into()], Some(p.as_basic_type_enum()));
        let context = f.pointer(0)?;
        let given = self.cx.builder.build_is_not_null(context, "")?;
        let (some, none) = (f.block("some"), f.block("none"));
        self.cx.builder.build_conditional_branch(given, some, none)?;
        self.cx.builder.position_at_end(some);
        let cpu = f.load_pointer(context, field::CPU)?;
        self.cx.builder.build_return(Some(&cpu))?;
        self.cx.builder.position_at_end(none);
        let null = f.null().into();
        f.finish(Some(null))?;
        Ok(())
    }
}
