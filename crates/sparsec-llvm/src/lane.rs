//! A lane of a short vector in all lanes of a long one.
//!
//! Where several values are broadcast that lie one behind the other, one load of 64 or 128 bits that is repeated in the whole
//! register serves all of them, and each one is picked by a shuffle within lanes of 128 bits. Loads are what bounds sparse
//! products; shuffles are not. LLVM prefers a broadcast from memory for each value (it moves shuffles through loads), so
//! what was repeated passes through an empty piece of assembly, which it does not look into.

use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::types::VectorType;
use inkwell::values::{BasicValue, InstructionOpcode, VectorValue};
use sparsec_tir::{Scalar, Type};

use crate::error::Emit;
use crate::value::{Cx, Value};

impl<'c> Cx<'c> {
    /// The splat of a lane that was taken from a vector of two or four `f32`, if `x` is one and the target gains by it.
    pub(crate) fn splat_of_lane(&self, x: Value<'c>, lanes: u16) -> Emit<Option<Value<'c>>> {
        if !self.short_broadcasts || x.ty != Type::scalar(Scalar::F32) || !(lanes == 8 || lanes == 16) {
            return Ok(None);
        }
        let instruction = x.raw.as_instruction_value().filter(|i| i.get_opcode() == InstructionOpcode::ExtractElement);
        let operand = |at: u32| instruction.and_then(|i| i.get_operand(at)).and_then(|o| o.value());
        let (Some(short), Some(lane)) = (operand(0), operand(1)) else { return Ok(None) };
        let constant = lane.into_int_value().get_zero_extended_constant();
        let (short, Some(lane)) = (short.into_vector_value(), constant) else { return Ok(None) };
        let size = short.get_type().get_size();
        if size != 2 && size != 4 {
            return Ok(None);
        }
        let picked = |of: VectorValue<'c>, lane: &dyn Fn(u32) -> u32| {
            let lanes: Vec<_> =
                (0..u32::from(lanes)).map(|l| self.context.i32_type().const_int(lane(l).into(), false)).collect();
            self.builder.build_shuffle_vector(of, of.get_type().get_poison(), VectorType::const_vector(&lanes), "")
        };
        let repeated = self.opaque(picked(short, &|l| l % size)?)?;
        let lane = lane as u32;
        Ok(Some(Value::new(picked(repeated, &|l| l / size * size + lane)?, Type::vector(Scalar::F32, lanes))))
    }

    /// The same value, of which LLVM does not know where it comes from.
    fn opaque(&self, x: VectorValue<'c>) -> Emit<VectorValue<'c>> {
        let ty = x.get_type();
        let function = ty.fn_type(&[ty.into()], false);
        let (nothing, constraints) = (String::new(), "=v,0".to_owned());
        let pointer = self.context.create_inline_asm(function, nothing, constraints, false, false, None, false);
        let call = self.builder.build_indirect_call(function, pointer, &[x.into()], "")?;
        // It depends on nothing but its operand, so equal ones are one.
        for name in ["memory", "nounwind", "willreturn"] {
            let kind = Attribute::get_named_enum_kind_id(name);
            call.add_attribute(AttributeLoc::Function, self.context.create_enum_attribute(kind, 0));
        }
        Ok(call.try_as_basic_value().basic().map_or(x, |v| v.into_vector_value()))
    }
}
