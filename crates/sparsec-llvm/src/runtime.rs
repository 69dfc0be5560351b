//! What a compiler's support library and libc do elsewhere, inside the object.
//!
//! Where a CPU has no instruction for an operation, LLVM calls a function of fixed name: `__aeabi_uldivmod` divides 64 bits,
//! `__aeabi_memset` fills memory, `floorf` rounds. A microcontroller may have no such library, and an object that needs
//! nothing can be linked by anything. So the module is compiled, the names that it leaves undefined are looked up in
//! `runtime/thumb.ll`, and those functions are added as local ones, which no other object sees or can collide with.

use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::{Linkage, Module};
use inkwell::targets::{FileType, TargetMachine};
use object::{Object, ObjectSymbol};

use crate::Target;
use crate::error::{Emit, EmitError};
use crate::pipeline;
use crate::value::Cx;

/// The functions for Armv7E-M, in LLVM's notation.
const THUMB: &str = include_str!("runtime/thumb.ll");

/// Adds what the module's code calls and does not define, until nothing but constants is left.
pub(crate) fn complete(cx: &Cx<'_>, machine: &TargetMachine, target: &Target) -> Emit<()> {
    loop {
        let wanted = undefined(cx, machine)?;
        if wanted.is_empty() {
            return Ok(());
        }
        let library = parse(cx)?;
        let missing: Vec<String> =
            wanted.iter().filter(|name| library.get_function(name).is_none()).map(|name| format!("`{name}`")).collect();
        if !missing.is_empty() {
            return Err(EmitError::Missing { cpu: target.cpu().to_owned(), functions: missing.join(", ") });
        }
        // Local functions that nobody uses are not taken over.
        for function in library.get_functions().filter(|f| f.count_basic_blocks() > 0) {
            if !wanted.iter().any(|name| function.get_name().to_bytes() == name.as_bytes()) {
                function.set_linkage(Linkage::Internal);
            }
        }
        cx.module.link_in_module(library).map_err(|e| EmitError::Llvm(e.to_string()))?;
        for function in wanted.iter().filter_map(|name| cx.module.get_function(name)) {
            function.set_linkage(Linkage::Internal);
        }
        pipeline::verify(cx)?;
    }
}

fn parse<'c>(cx: &Cx<'c>) -> Emit<Module<'c>> {
    let text = MemoryBuffer::create_from_memory_range_copy(THUMB.as_bytes(), "runtime");
    let library = cx.context.create_module_from_ir(text).map_err(|e| EmitError::Llvm(e.to_string()))?;
    library.set_triple(&cx.module.get_triple());
    library.set_data_layout(&cx.module.get_data_layout());
    Ok(library)
}

/// Functions that the module's machine code refers to and does not hold.
fn undefined(cx: &Cx<'_>, machine: &TargetMachine) -> Emit<Vec<String>> {
    let bytes = pipeline::machine_code(cx, machine, FileType::Object)?;
    let malformed = |e: object::read::Error| EmitError::Llvm(e.to_string());
    let file = object::File::parse(bytes.as_slice()).map_err(malformed)?;
    let mut names = Vec::new();
    for symbol in file.symbols().filter(|s| s.is_undefined()) {
        let name = symbol.name().map_err(malformed)?;
        if !name.is_empty() && cx.module.get_global(name).is_none() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}
