//! LLVM backend: flat tensor IR to machine code.
//!
//! [`emit`] takes a [`Program`] of Stage III kernels and returns one object file: the kernels, and the functions of the C
//! ABI around them (`docs/c-abi.md`). The program's constants are not in it: code refers to the symbols
//! `NAME_constant_0`, `NAME_constant_1`, ..., which the weights object of `sparsec-artifact` defines. For machines without
//! an operating system they are all that the object refers to: what LLVM calls is put into it (`runtime`).
//!
//! The same program, target and options give the same bytes.

mod constants;
mod convert;
mod dot;
mod error;
mod glue;
mod kernel;
mod lane;
mod memory;
mod ops;
mod pipeline;
mod runtime;
mod target;
mod value;

use inkwell::attributes::AttributeLoc;
use inkwell::context::Context;
use inkwell::targets::{FileType, TargetTriple};
use inkwell::values::FunctionValue;
use sparsec_tir::Program;

pub use constants::emit_constants;
pub use error::EmitError;
pub use target::{Arch, DotProducts, Target, TargetError, architectures, llvm_version};

/// What to produce beside the object.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmitOptions {
    /// Assembly of the object.
    pub assembly: bool,
    /// LLVM's IR.
    pub llvm_ir: bool,
    /// Leave the IR as the emitter makes it: for reading, and for snapshots. The code is then slow.
    pub unoptimised: bool,
    /// Let `run` read the clock around every launch, and export `NAME_profile`, which tells the times.
    pub profile: bool,
}

/// Machine code of a program.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// A relocatable ELF object.
    pub object: Vec<u8>,
    /// Assembly, where asked for.
    pub assembly: Option<String>,
    /// LLVM's IR after optimisation, where asked for.
    pub llvm_ir: Option<String>,
}

/// Compiles a program.
///
/// # Errors
/// When a kernel is not flat or holds operations that earlier passes must expand, when the program is inconsistent, or
/// when LLVM refuses the target.
pub fn emit(program: &Program, target: &Target, options: EmitOptions) -> Result<Emitted, EmitError> {
    emit_all(program, &[(program, target)], options)
}

/// Compiles a model for several CPUs into one object, which chooses when a context is made.
///
/// `versions` are the model for each CPU, the lowest first, as [`Target::levels`] gives them. `whole` has the interface that
/// they share, the constants of all, which theirs are equal to, and memory that is enough for each.
///
/// # Errors
/// As [`emit`], and where times are asked for.
pub fn emit_levels(
    whole: &Program,
    versions: &[(&Program, &Target)],
    options: EmitOptions,
) -> Result<Emitted, EmitError> {
    emit_all(whole, versions, options)
}

fn emit_all(program: &Program, versions: &[(&Program, &Target)], options: EmitOptions) -> Result<Emitted, EmitError> {
    let Some((_, target)) = versions.first() else {
        return error::invalid("there is no CPU to compile for").map_err(|e: EmitError| e.in_program(&program.name));
    };
    let several = versions.len() > 1;
    // What asks for the CPU runs on any.
    let shared = if several { target.of_any_x86() } else { (*target).clone() };
    let machine = shared.machine()?;
    let context = Context::create();
    let module = context.create_module(&program.name);
    module.set_source_file_name(&program.name);
    module.set_triple(&TargetTriple::create(target.triple()));
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    let (fma, dots) = (target.has_fma(), target.dot_products());
    let (pointer_bytes, heap) = (i64::from(target.pointer_bytes()), target.has_heap());
    let short_broadcasts = target.has_short_broadcasts();
    let builder = context.create_builder();
    let mut cx = value::Cx { context: &context, builder, module, fma, dots, short_broadcasts, pointer_bytes, heap };
    let mut made = Vec::new();
    for &(program, target) in versions {
        (cx.fma, cx.dots) = (target.has_fma(), target.dot_products());
        cx.short_broadcasts = target.has_short_broadcasts();
        let prefix = match several {
            true => format!("{}_{}", program.name, target.cpu().replace('-', "_")),
            false => program.name.clone(),
        };
        let mut kernels = Vec::new();
        for k in &program.kernels {
            sparsec_tir::verify_machine(k)?;
            kernels.push(kernel::emit_kernel(&cx, &prefix, k)?);
        }
        set_attributes(&cx, target, several);
        let level = target.x86_level().unwrap_or(0);
        made.push(glue::Version { program, prefix, cpu: target.cpu(), level, kernels });
    }
    (cx.fma, cx.dots) = (shared.has_fma(), shared.dot_products());
    match made.as_slice() {
        [one] => glue::emit_glue(&cx, program, &one.kernels, options.profile),
        _ if options.profile => error::invalid("times are taken in libraries for one CPU"),
        all => glue::emit_levels(&cx, program, all),
    }
    .map_err(|e| e.in_program(&program.name))?;
    set_attributes(&cx, &shared, false);
    pipeline::verify(&cx)?;
    if !options.unoptimised {
        pipeline::optimise(&cx, &machine)?;
    }
    if target.is_bare() {
        runtime::complete(&cx, &machine, target)?;
    }
    let llvm_ir = options.llvm_ir.then(|| cx.module.print_to_string().to_string());
    let assembly = match options.assembly {
        true => {
            let bytes = pipeline::machine_code(&cx, &machine, FileType::Assembly)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        }
        false => None,
    };
    let object = pipeline::machine_code(&cx, &machine, FileType::Object)?;
    Ok(Emitted { object, assembly, llvm_ir })
}

/// What every function is told that has not been told yet. Without the preferred width, LLVM splits 512-bit vectors on CPUs
/// whose tuning says so. `name_cpu` says the CPU, where the module has code for several.
fn set_attributes(cx: &value::Cx<'_>, target: &Target, name_cpu: bool) {
    const WIDTH: &str = "prefer-vector-width";
    let here = AttributeLoc::Function;
    let width = cx.context.create_string_attribute(WIDTH, &target.vector_bits().to_string());
    let cpu = cx.context.create_string_attribute("target-cpu", target.cpu());
    let new = |f: &FunctionValue<'_>| f.count_basic_blocks() > 0 && f.get_string_attribute(here, WIDTH).is_none();
    for function in cx.module.get_functions().filter(new) {
        function.add_attribute(here, width);
        if name_cpu {
            function.add_attribute(here, cpu);
        }
    }
}
