//! Conversions between scalar types, lane by lane.
//!
//! Whatever goes from or to `f16` and `bf16` goes through `f32`, so that the step is one instruction where the CPU has it
//! (F16C from x86-64-v3 on, NEON) and a few integer operations for `bf16`. On x86-64-v2 the step to or from `f16` is a
//! call of the C compiler's support library (`__extendhfsf2`, `__truncsfhf2`), which every linker driver adds. A value
//! that is not exact in `f32` (`f64`, wide integers) is then rounded twice.

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, InstructionOpcode};
use sparsec_tir::{CompareOp, Scalar, Type};

use crate::error::{Emit, EmitError, invalid};
use crate::value::{Cx, Value};

impl<'c> Cx<'c> {
    /// The value as another scalar type. Floats to integers truncate and saturate, NaN gives 0.
    pub(crate) fn convert(&self, to: Scalar, x: Value<'c>) -> Emit<Value<'c>> {
        let from = x.ty.scalar;
        let ty = Type { scalar: to, lanes: x.ty.lanes };
        let cast = |op: InstructionOpcode| -> Emit<Value<'c>> {
            Ok(Value::new(self.builder.build_cast(op, x.raw, self.type_of(ty), "")?, ty))
        };
        if from == to {
            return Ok(x);
        }
        if matches!(from, Scalar::F16 | Scalar::BF16) && to != Scalar::F32 {
            let wide = self.convert(Scalar::F32, x)?;
            return self.convert(to, wide);
        }
        if matches!(to, Scalar::F16 | Scalar::BF16) && from != Scalar::F32 {
            let wide = self.convert(Scalar::F32, x)?;
            return self.convert(to, wide);
        }
        match (from, to) {
            (Scalar::BF16, _) => self.bf16_to_f32(x),
            (_, Scalar::BF16) => self.f32_to_bf16(x),
            (_, Scalar::Bool) => self.compare(CompareOp::Ne, x, self.zero(x.ty)),
            (Scalar::F16, _) | (Scalar::F32, Scalar::F64) => cast(InstructionOpcode::FPExt),
            (_, Scalar::F16) | (Scalar::F64, Scalar::F32) => cast(InstructionOpcode::FPTrunc),
            _ if from.is_float() && x.ty.is_vector() && (to == Scalar::I32 || to.size() < 4) => self.saturated(to, x),
            _ if from.is_float() => {
                let name = if to.is_signed() { "llvm.fptosi.sat" } else { "llvm.fptoui.sat" };
                let types = [self.type_of(ty), x.raw.get_type()];
                Ok(Value::new(self.intrinsic_value(name, &types, &[x.raw.into()])?, ty))
            }
            _ if to.is_float() && from.is_signed() => cast(InstructionOpcode::SIToFP),
            _ if to.is_float() => cast(InstructionOpcode::UIToFP),
            _ if from != Scalar::Bool && to.size() < from.size() => cast(InstructionOpcode::Trunc),
            _ if from != Scalar::Bool && to.size() == from.size() => Ok(Value { raw: x.raw, ty }),
            _ if from.is_signed() => cast(InstructionOpcode::SExt),
            _ => cast(InstructionOpcode::ZExt),
        }
    }

    /// A vector of floats as integers of at most 32 bits: what is beyond them is brought to their limits first. LLVM has an intrinsic
    /// that does so, but takes vectors apart for it on x86-64.
    fn saturated(&self, to: Scalar, x: Value<'c>) -> Emit<Value<'c>> {
        let (from, lanes) = (x.ty.scalar, x.ty.lanes);
        let bits = 8 * to.size() as u32;
        let (lo, hi) = match to.is_signed() {
            true => (-(2f64.powi(bits as i32 - 1)), 2f64.powi(bits as i32 - 1) - 1.0),
            false => (0.0, 2f64.powi(bits as i32) - 1.0),
        };
        // `f32` has no number 2^31 - 1.
        let rounded = to == Scalar::I32 && from == Scalar::F32;
        let hi = if rounded { 2f64.powi(31) - 128.0 } else { hi };
        let number = |value: f64| self.splat(self.constant_float(value, from)?, lanes);
        // NaN becomes the lower limit here, which is 0 where there is no sign.
        let above = self.select(self.compare(CompareOp::Gt, x, number(lo)?)?, x, number(lo)?)?;
        let mut inside = self.select(self.compare(CompareOp::Gt, above, number(hi)?)?, number(hi)?, above)?;
        if to.is_signed() {
            inside = self.select(self.compare(CompareOp::Eq, x, x)?, inside, self.zero(x.ty))?;
        }
        let wide = Type { scalar: Scalar::I32, lanes };
        let cast = self.builder.build_cast(InstructionOpcode::FPToSI, inside.raw, self.type_of(wide), "")?;
        let mut whole = Value::new(cast, wide);
        if rounded {
            let beyond = self.compare(CompareOp::Gt, x, number(hi)?)?;
            let largest = Value::new(self.lanes_of(wide, i64::from(i32::MAX))?, wide);
            whole = self.select(beyond, largest, whole)?;
        }
        let ty = Type { scalar: to, lanes };
        if to.size() == 4 {
            return Ok(whole);
        }
        Ok(Value::new(self.builder.build_cast(InstructionOpcode::Trunc, whole.raw, self.type_of(ty), "")?, ty))
    }

    /// The same bits as another type.
    pub(crate) fn bitcast(&self, to: Type, x: Value<'c>) -> Emit<Value<'c>> {
        let bits = |t: Type| match t.scalar {
            Scalar::Bool => None,
            s => Some(s.size() * 8 * usize::from(t.lanes)),
        };
        if bits(to).is_none() || bits(to) != bits(x.ty) {
            return invalid(format!("bitcast of {} to {to}", x.ty));
        }
        Ok(Value::new(self.builder.build_bit_cast(x.raw, self.type_of(to), "")?, to))
    }

    fn bf16_to_f32(&self, x: Value<'c>) -> Emit<Value<'c>> {
        let wide = Type { scalar: Scalar::U32, lanes: x.ty.lanes };
        let bits = self.builder.build_cast(InstructionOpcode::ZExt, x.raw, self.type_of(wide), "")?;
        let bits = self.op(InstructionOpcode::Shl, bits, self.lanes_of(wide, 16)?)?;
        self.bitcast(Type { scalar: Scalar::F32, lanes: x.ty.lanes }, Value::new(bits, wide))
    }

    /// Rounds to nearest, halves to even: adds half of the last kept bit's weight, less one where that bit is even.
    fn f32_to_bf16(&self, x: Value<'c>) -> Emit<Value<'c>> {
        let wide = Type { scalar: Scalar::U32, lanes: x.ty.lanes };
        let ty = Type { scalar: Scalar::BF16, lanes: x.ty.lanes };
        let bits = self.bitcast(wide, x)?.raw;
        let sixteen = self.lanes_of(wide, 16)?;
        let kept = self.op(InstructionOpcode::LShr, bits, sixteen)?;
        let odd = self.op(InstructionOpcode::And, kept, self.lanes_of(wide, 1)?)?;
        let bias = self.op(InstructionOpcode::Add, odd, self.lanes_of(wide, 0x7fff)?)?;
        let rounded = self.op(InstructionOpcode::Add, bits, bias)?;
        let rounded = self.op(InstructionOpcode::LShr, rounded, sixteen)?;
        let nan = self.op(InstructionOpcode::Or, kept, self.lanes_of(wide, 0x40)?)?;
        let ordered = self.compare(CompareOp::Eq, x, x)?;
        let chosen = self.select(ordered, Value::new(rounded, wide), Value::new(nan, wide))?;
        Ok(Value::new(self.builder.build_cast(InstructionOpcode::Trunc, chosen.raw, self.type_of(ty), "")?, ty))
    }

    /// An operation of LLVM on two values of one type.
    pub(crate) fn op(
        &self,
        op: InstructionOpcode,
        x: BasicValueEnum<'c>,
        y: BasicValueEnum<'c>,
    ) -> Emit<BasicValueEnum<'c>> {
        Ok(self.builder.build_binop(op, x, y, "")?)
    }

    /// An integer constant in every lane.
    pub(crate) fn lanes_of(&self, ty: Type, value: i64) -> Emit<BasicValueEnum<'c>> {
        let one = self.constant_int(value, ty.scalar)?;
        Ok(self.splat(one, ty.lanes)?.raw)
    }

    /// A comparison of integers of LLVM, scalar or vector.
    pub(crate) fn icmp(
        &self,
        predicate: IntPredicate,
        x: BasicValueEnum<'c>,
        y: BasicValueEnum<'c>,
    ) -> Emit<BasicValueEnum<'c>> {
        Ok(match (x, y) {
            (BasicValueEnum::IntValue(x), BasicValueEnum::IntValue(y)) => {
                self.builder.build_int_compare(predicate, x, y, "")?.into()
            }
            (BasicValueEnum::VectorValue(x), BasicValueEnum::VectorValue(y)) => {
                self.builder.build_int_compare(predicate, x, y, "")?.into()
            }
            _ => return Err(EmitError::Llvm("comparison of unlike values".to_owned())),
        })
    }
}
