//! Constants as an object of LLVM, for targets whose objects are not ELF.
//!
//! For ELF, `sparsec-artifact` streams them into an object by itself; LLVM wants all of them in memory, which does for the
//! models that such targets run.

use inkwell::GlobalVisibility;
use inkwell::context::Context;
use inkwell::module::Linkage;
use inkwell::targets::{FileType, TargetTriple};
use sparsec_tir::{ConstantData, Program};

use crate::{EmitError, Target};

/// The object that defines a program's constants, one hidden symbol each.
///
/// # Errors
/// When the target is unknown, the data can't be had, or LLVM refuses.
pub fn emit_constants(program: &Program, data: &dyn ConstantData, target: &Target) -> Result<Vec<u8>, EmitError> {
    let machine = target.machine()?;
    let context = Context::create();
    let module = context.create_module(&program.name);
    module.set_triple(&TargetTriple::create(target.triple()));
    module.set_data_layout(&machine.get_target_data().get_data_layout());
    for (i, constant) in program.constants.iter().enumerate() {
        let mut bytes = Vec::new();
        let failed = |message: String| EmitError::Program { program: program.name.clone(), message };
        data.write(i, &mut bytes).map_err(|e| failed(format!("constant `{}`: {e}", constant.name)))?;
        if bytes.len() as u64 != constant.bytes {
            return Err(failed(format!(
                "constant `{}` has {} bytes, not {}",
                constant.name,
                bytes.len(),
                constant.bytes
            )));
        }
        let value = context.const_string(&bytes, false);
        let global = module.add_global(value.get_type(), None, &sparsec_abi::constant_symbol(&program.name, i));
        global.set_initializer(&value);
        global.set_constant(true);
        global.set_linkage(Linkage::External);
        global.set_visibility(GlobalVisibility::Hidden);
        global.set_alignment(constant.align.max(64));
    }
    let buffer =
        machine.write_to_memory_buffer(&module, FileType::Object).map_err(|e| EmitError::Llvm(e.to_string()))?;
    Ok(buffer.as_slice().to_vec())
}
