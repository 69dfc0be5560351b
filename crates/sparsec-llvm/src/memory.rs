//! Loads, stores, gathers and prefetches.
//!
//! Accesses assume no more than the alignment of an element: on the machines of this decade an unaligned vector access
//! costs the same unless it crosses a cache line, and callers own the inputs and outputs.
#![allow(unsafe_code, reason = "LLVM's pointer arithmetic is unsafe to build: a wrong element type would be undefined")]

use inkwell::IntPredicate;
use inkwell::types::{BasicType, BasicTypeEnum};
use inkwell::values::{BasicValueEnum, InstructionOpcode, IntValue, PointerValue};
use sparsec_tir::{Scalar, Type};

use crate::error::{Emit, EmitError, invalid};
use crate::value::{Cx, Value, widen};

/// How many of the lanes of an access touch memory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Active<'c> {
    /// Every lane.
    All,
    /// None.
    None,
    /// Those below this `i64`.
    Below(IntValue<'c>),
}

impl<'c> Cx<'c> {
    /// `base + index * sizeof(element)`.
    pub(crate) fn element_address<T: BasicType<'c>>(
        &self,
        element: T,
        base: PointerValue<'c>,
        index: IntValue<'c>,
    ) -> Emit<PointerValue<'c>> {
        // SAFETY: the element type is sized and the index is an integer, which is all that building the instruction
        // asks for. It is not `inbounds`: prefetches and accesses without active lanes may point outside.
        Ok(unsafe { self.builder.build_gep(element, base, &[index], "")? })
    }

    /// `base + offset` in bytes.
    pub(crate) fn byte_address(&self, base: PointerValue<'c>, offset: IntValue<'c>) -> Emit<PointerValue<'c>> {
        self.element_address(self.context.i8_type(), base, offset)
    }

    /// Loads consecutive elements; lanes that are not active are 0.
    pub(crate) fn load(
        &self,
        scalar: Scalar,
        base: PointerValue<'c>,
        index: IntValue<'c>,
        lanes: u16,
        active: Active<'c>,
    ) -> Emit<Value<'c>> {
        let ty = Type { scalar, lanes };
        let memory = self.memory_type(scalar);
        let address = self.element_address(memory, base, index)?;
        let raw = match active {
            Active::None => return Ok(self.zero(ty)),
            Active::All => self.plain_load(widen(memory, lanes), address, scalar)?,
            Active::Below(count) => {
                let vector = masked_type(memory, lanes)?;
                let align = self.context.i32_type().const_int(scalar.size() as u64, false);
                let mask = self.mask(count, lanes)?;
                let types = [vector, address.get_type().into()];
                let arguments = [address.into(), align.into(), mask.into(), vector.const_zero().into()];
                let raw = self.intrinsic_value("llvm.masked.load", &types, &arguments)?;
                self.unwrap_single(raw, lanes)?
            }
        };
        self.value_of_memory(raw, ty)
    }

    /// Stores consecutive elements, the active lanes only.
    pub(crate) fn store(
        &self,
        x: Value<'c>,
        base: PointerValue<'c>,
        index: IntValue<'c>,
        active: Active<'c>,
    ) -> Emit<()> {
        let Type { scalar, lanes } = x.ty;
        let memory = self.memory_type(scalar);
        let address = self.element_address(memory, base, index)?;
        let raw = match scalar {
            Scalar::Bool => self.builder.build_cast(InstructionOpcode::ZExt, x.raw, widen(memory, lanes), "")?,
            _ => x.raw,
        };
        match active {
            Active::None => {}
            Active::All => {
                let store = self.builder.build_store(address, raw)?;
                store.set_alignment(scalar.size() as u32).map_err(|e| EmitError::Llvm(e.to_string()))?;
            }
            Active::Below(count) => {
                let vector = masked_type(memory, lanes)?;
                let raw = match (raw, vector) {
                    (raw, BasicTypeEnum::VectorType(t)) if lanes == 1 => {
                        let zero = self.context.i32_type().const_zero();
                        self.builder.build_insert_element(t.get_poison(), raw, zero, "")?.into()
                    }
                    (raw, _) => raw,
                };
                let align = self.context.i32_type().const_int(scalar.size() as u64, false);
                let mask = self.mask(count, lanes)?;
                let types = [vector, address.get_type().into()];
                self.intrinsic("llvm.masked.store", &types, &[raw.into(), address.into(), align.into(), mask.into()])?;
            }
        }
        Ok(())
    }

    /// The elements at the indices: scalar loads, put together. On Zen, and on Intel since the Downfall fixes, the gather
    /// instruction is no faster than that, and often slower.
    pub(crate) fn gather(&self, scalar: Scalar, base: PointerValue<'c>, indices: &[IntValue<'c>]) -> Emit<Value<'c>> {
        let lanes = indices.len() as u16;
        if let [index] = indices {
            return self.load(scalar, base, *index, 1, Active::All);
        }
        let memory = self.memory_type(scalar);
        let mut all = widen(memory, lanes).into_vector_type().get_poison();
        for (lane, index) in (0..).zip(indices) {
            let lane = self.context.i32_type().const_int(lane, false);
            let address = self.element_address(memory, base, *index)?;
            let element = self.plain_load(memory, address, scalar)?;
            all = self.builder.build_insert_element(all, element, lane, "")?;
        }
        self.value_of_memory(all.into(), Type { scalar, lanes })
    }

    /// The lanes of a vector of indices.
    pub(crate) fn extract_lanes(&self, indices: Value<'c>) -> Emit<Vec<IntValue<'c>>> {
        if indices.ty.scalar != Scalar::I64 {
            return invalid(format!("gather with indices of type {}", indices.ty));
        }
        if indices.ty.lanes == 1 {
            return Ok(vec![indices.int()?]);
        }
        let vector = indices.vector()?;
        let lane = |l: u16| self.context.i32_type().const_int(l.into(), false);
        let extract = |l| Ok(self.builder.build_extract_element(vector, lane(l), "")?.into_int_value());
        (0..indices.ty.lanes).map(extract).collect()
    }

    /// Hints that the memory there will be read soon.
    pub(crate) fn prefetch(&self, scalar: Scalar, base: PointerValue<'c>, index: IntValue<'c>) -> Emit<()> {
        let address = self.element_address(self.memory_type(scalar), base, index)?;
        let i = |v: u64| self.context.i32_type().const_int(v, false);
        let (read, locality, data) = (i(0), i(3), i(1));
        let arguments = [address.into(), read.into(), locality.into(), data.into()];
        self.intrinsic("llvm.prefetch", &[address.get_type().into()], &arguments)?;
        Ok(())
    }

    fn plain_load(&self, ty: BasicTypeEnum<'c>, address: PointerValue<'c>, scalar: Scalar) -> Emit<BasicValueEnum<'c>> {
        let raw = self.builder.build_load(ty, address, "")?;
        if let Some(load) = inkwell::values::BasicValue::as_instruction_value(&raw) {
            load.set_alignment(scalar.size() as u32).map_err(|e| EmitError::Llvm(e.to_string()))?;
        }
        Ok(raw)
    }

    /// From what memory holds to what registers hold: differs for `bool` only.
    fn value_of_memory(&self, raw: BasicValueEnum<'c>, ty: Type) -> Emit<Value<'c>> {
        if ty.scalar != Scalar::Bool {
            return Ok(Value::new(raw, ty));
        }
        let zero = raw.get_type().const_zero();
        Ok(Value::new(self.icmp(IntPredicate::NE, raw, zero)?, ty))
    }

    /// `lane < count` for each lane. The count is clamped first, so that the comparison is one of 32-bit lanes.
    fn mask(&self, count: IntValue<'c>, lanes: u16) -> Emit<BasicValueEnum<'c>> {
        let count = Value::index(count);
        let clamped = self.binary(sparsec_tir::BinaryOp::Min, count, Value::index(self.int(i64::from(lanes))))?;
        let clamped = self.binary(sparsec_tir::BinaryOp::Max, clamped, Value::index(self.int(0)))?;
        let narrow = self.convert(Scalar::U32, clamped)?;
        let i32_type = self.context.i32_type();
        let iota: BasicValueEnum<'c> = self.iota(i32_type, lanes, 1).into();
        let limit: BasicValueEnum<'c> = match lanes {
            1 => {
                let zero = i32_type.const_zero();
                let poison = i32_type.vec_type(1).get_poison();
                self.builder.build_insert_element(poison, narrow.raw, zero, "")?.into()
            }
            _ => self.splat(narrow, lanes)?.raw,
        };
        self.icmp(IntPredicate::ULT, iota, limit)
    }

    fn unwrap_single(&self, raw: BasicValueEnum<'c>, lanes: u16) -> Emit<BasicValueEnum<'c>> {
        match raw {
            BasicValueEnum::VectorValue(v) if lanes == 1 => {
                Ok(self.builder.build_extract_element(v, self.context.i32_type().const_zero(), "")?)
            }
            other => Ok(other),
        }
    }
}

/// The vector type of a masked access: a vector even for one lane.
fn masked_type(lane: BasicTypeEnum<'_>, lanes: u16) -> Emit<BasicTypeEnum<'_>> {
    let n = u32::from(lanes.max(1));
    match lane {
        BasicTypeEnum::IntType(t) => Ok(t.vec_type(n).into()),
        BasicTypeEnum::FloatType(t) => Ok(t.vec_type(n).into()),
        _ => Err(EmitError::Llvm("masked access to elements that are no numbers".to_owned())),
    }
}
