//! Values: an LLVM value with the tensor IR's type, since LLVM's has neither signedness nor `bool` in memory.
//!
//! | tensor IR | in registers | in memory |
//! |---|---|---|
//! | `bool` | `i1` | `i8` |
//! | integers | `iN` | `iN` |
//! | `f16` | `half` | `half` |
//! | `bf16` | `i16`, its bits | `i16` |
//! | `f32`, `f64` | `float`, `double` | the same |
//!
//! `bf16` is kept as bits so that no conversion becomes a library call; see the module `convert`.

use inkwell::builder::Builder;
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{BasicType, BasicTypeEnum, IntType};
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, IntValue, VectorValue};
use sparsec_tir::{Scalar, Type};

use crate::error::{Emit, EmitError, invalid};
use crate::target::DotProducts;

/// A value and its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value<'c> {
    pub(crate) raw: BasicValueEnum<'c>,
    pub(crate) ty: Type,
}

impl<'c> Value<'c> {
    pub(crate) fn new(raw: impl Into<BasicValueEnum<'c>>, ty: Type) -> Self {
        Value { raw: raw.into(), ty }
    }

    /// An `i64`.
    pub(crate) fn index(raw: IntValue<'c>) -> Self {
        Value::new(raw, Type::INDEX)
    }

    /// As a scalar integer of LLVM.
    pub(crate) fn int(self) -> Emit<IntValue<'c>> {
        match self.raw {
            BasicValueEnum::IntValue(v) => Ok(v),
            _ => invalid(format!("an integer is needed where there is {}", self.ty)),
        }
    }

    /// As an `i64`.
    pub(crate) fn i64(self) -> Emit<IntValue<'c>> {
        match self.ty {
            Type::INDEX => self.int(),
            ty => invalid(format!("an i64 is needed where there is {ty}")),
        }
    }

    pub(crate) fn vector(self) -> Emit<VectorValue<'c>> {
        match self.raw {
            BasicValueEnum::VectorValue(v) => Ok(v),
            _ => invalid(format!("a vector is needed where there is {}", self.ty)),
        }
    }

    /// The number, where this is an integer constant, or a vector of equal ones.
    pub(crate) fn as_const(self) -> Option<i64> {
        match self.raw {
            BasicValueEnum::IntValue(v) if v.is_constant_int() => v.get_sign_extended_constant(),
            BasicValueEnum::VectorValue(_) if self.ty.scalar.is_float() => None,
            BasicValueEnum::VectorValue(v) if v.is_null() => Some(0),
            BasicValueEnum::VectorValue(v) if v.is_constant_data_vector() => {
                let lane = |i: u16| match v.get_element_as_constant(u32::from(i)) {
                    BasicValueEnum::IntValue(x) => x.get_sign_extended_constant(),
                    _ => None,
                };
                let first = lane(0)?;
                (1..self.ty.lanes).all(|i| lane(i) == Some(first)).then_some(first)
            }
            _ => None,
        }
    }
}

/// What every part of the emitter needs: the module and the place where instructions go.
pub(crate) struct Cx<'c> {
    pub(crate) context: &'c Context,
    pub(crate) module: Module<'c>,
    pub(crate) builder: Builder<'c>,
    /// Whether the target has a fused multiply-add.
    pub(crate) fma: bool,
    /// What the target has for dot products of bytes.
    pub(crate) dots: DotProducts,
    /// Whether a load that is repeated in a register and shuffles are better than a broadcast load for each value.
    pub(crate) short_broadcasts: bool,
    /// Bytes of a pointer.
    pub(crate) pointer_bytes: i64,
    /// Whether there are `malloc` and `free`.
    pub(crate) heap: bool,
}

impl<'c> Cx<'c> {
    /// C's `size_t`.
    pub(crate) fn size_type(&self) -> IntType<'c> {
        if self.pointer_bytes == 4 { self.context.i32_type() } else { self.i64() }
    }

    pub(crate) fn i64(&self) -> IntType<'c> {
        self.context.i64_type()
    }

    /// An `i64` constant.
    pub(crate) fn int(&self, value: i64) -> IntValue<'c> {
        self.i64().const_int(value as u64, true)
    }

    /// The type of one lane in registers.
    pub(crate) fn lane_type(&self, scalar: Scalar) -> BasicTypeEnum<'c> {
        let c = self.context;
        match scalar {
            Scalar::Bool => c.bool_type().into(),
            Scalar::I8 | Scalar::U8 => c.i8_type().into(),
            Scalar::I16 | Scalar::U16 | Scalar::BF16 => c.i16_type().into(),
            Scalar::I32 | Scalar::U32 => c.i32_type().into(),
            Scalar::I64 | Scalar::U64 => c.i64_type().into(),
            Scalar::F16 => c.f16_type().into(),
            Scalar::F32 => c.f32_type().into(),
            Scalar::F64 => c.f64_type().into(),
        }
    }

    /// The type of one element in memory.
    pub(crate) fn memory_type(&self, scalar: Scalar) -> BasicTypeEnum<'c> {
        match scalar {
            Scalar::Bool => self.context.i8_type().into(),
            other => self.lane_type(other),
        }
    }

    /// The type of a value in registers.
    pub(crate) fn type_of(&self, ty: Type) -> BasicTypeEnum<'c> {
        widen(self.lane_type(ty.scalar), ty.lanes)
    }

    /// Zero, of any type.
    pub(crate) fn zero(&self, ty: Type) -> Value<'c> {
        Value::new(self.type_of(ty).const_zero(), ty)
    }

    /// The value of a constant.
    pub(crate) fn constant_int(&self, value: i64, scalar: Scalar) -> Emit<Value<'c>> {
        match self.lane_type(scalar) {
            BasicTypeEnum::IntType(t) if scalar != Scalar::BF16 => {
                Ok(Value::new(t.const_int(value as u64, true), Type::scalar(scalar)))
            }
            _ => invalid(format!("an integer constant of type {scalar}")),
        }
    }

    /// The value of a floating-point constant, rounded to its type.
    pub(crate) fn constant_float(&self, value: f64, scalar: Scalar) -> Emit<Value<'c>> {
        let ty = Type::scalar(scalar);
        match self.lane_type(scalar) {
            BasicTypeEnum::FloatType(t) => Ok(Value::new(t.const_float(value), ty)),
            BasicTypeEnum::IntType(t) if scalar == Scalar::BF16 => {
                Ok(Value::new(t.const_int(u64::from(bf16_bits(value as f32)), false), ty))
            }
            _ => invalid(format!("a floating-point constant of type {scalar}")),
        }
    }

    /// The value in every one of `lanes` lanes.
    pub(crate) fn splat(&self, x: Value<'c>, lanes: u16) -> Emit<Value<'c>> {
        if x.ty.is_vector() || lanes <= 1 {
            return if x.ty.lanes == lanes { Ok(x) } else { invalid(format!("{} as {lanes} lanes", x.ty)) };
        }
        if let Some(splat) = self.splat_of_lane(x, lanes)? {
            return Ok(splat);
        }
        let ty = Type::vector(x.ty.scalar, lanes);
        let vector_type = widen(x.raw.get_type(), lanes).into_vector_type();
        let zero = self.context.i32_type().const_zero();
        let first = self.builder.build_insert_element(vector_type.get_poison(), x.raw, zero, "")?;
        let mask = self.context.i32_type().vec_type(u32::from(lanes)).const_zero();
        Ok(Value::new(self.builder.build_shuffle_vector(first, vector_type.get_poison(), mask, "")?, ty))
    }

    /// The lanes of these numbers, in this order; a scalar where there is one.
    pub(crate) fn shuffle(&self, x: Value<'c>, lanes: &[u32]) -> Emit<Value<'c>> {
        if lanes.iter().any(|l| *l >= u32::from(x.ty.lanes)) {
            return invalid(format!("lane out of range of {}", x.ty));
        }
        let ty = Type { scalar: x.ty.scalar, lanes: lanes.len() as u16 };
        let i32_type = self.context.i32_type();
        match lanes {
            [] => invalid("a shuffle to no lanes"),
            [_] if !x.ty.is_vector() => Ok(x),
            [lane] => {
                let lane = i32_type.const_int(u64::from(*lane), false);
                Ok(Value::new(self.builder.build_extract_element(x.vector()?, lane, "")?, ty))
            }
            _ if !x.ty.is_vector() => self.splat(x, ty.lanes),
            _ => {
                let mask: Vec<_> = lanes.iter().map(|l| i32_type.const_int(u64::from(*l), false)).collect();
                let mask = inkwell::types::VectorType::const_vector(&mask);
                let v = x.vector()?;
                Ok(Value::new(self.builder.build_shuffle_vector(v, v.get_type().get_poison(), mask, "")?, ty))
            }
        }
    }

    /// `0, 1, 2, ...` as a constant vector.
    pub(crate) fn iota(&self, ty: IntType<'c>, lanes: u16, step: i64) -> VectorValue<'c> {
        let all: Vec<_> = (0..i64::from(lanes)).map(|i| ty.const_int(i.wrapping_mul(step) as u64, true)).collect();
        inkwell::types::VectorType::const_vector(&all)
    }

    /// Calls an intrinsic of LLVM, overloaded on these types.
    pub(crate) fn intrinsic(
        &self,
        name: &str,
        types: &[BasicTypeEnum<'c>],
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Emit<Option<BasicValueEnum<'c>>> {
        let declaration = Intrinsic::find(name)
            .and_then(|i| i.get_declaration(&self.module, types))
            .ok_or_else(|| EmitError::Llvm(format!("no intrinsic {name}")))?;
        Ok(self.builder.build_call(declaration, arguments, "")?.try_as_basic_value().basic())
    }

    /// Calls an intrinsic that has a value.
    pub(crate) fn intrinsic_value(
        &self,
        name: &str,
        types: &[BasicTypeEnum<'c>],
        arguments: &[BasicMetadataValueEnum<'c>],
    ) -> Emit<BasicValueEnum<'c>> {
        self.intrinsic(name, types, arguments)?.ok_or_else(|| EmitError::Llvm(format!("{name} has no value")))
    }
}

/// A vector of this lane type; the lane type itself for one lane.
pub(crate) fn widen(lane: BasicTypeEnum<'_>, lanes: u16) -> BasicTypeEnum<'_> {
    let n = u32::from(lanes);
    match (lanes, lane) {
        (0 | 1, t) => t,
        (_, BasicTypeEnum::IntType(t)) => t.vec_type(n).as_basic_type_enum(),
        (_, BasicTypeEnum::FloatType(t)) => t.vec_type(n).as_basic_type_enum(),
        (_, BasicTypeEnum::PointerType(t)) => t.vec_type(n).as_basic_type_enum(),
        (_, t) => t,
    }
}

/// The bits of the nearest bfloat16, halves to even; every NaN stays one.
fn bf16_bits(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    (bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}
