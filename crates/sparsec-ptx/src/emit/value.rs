//! Values of the tensor IR in the registers of a warp.
//!
//! A scalar is the same in all lanes: each computes it for itself. Of a vector, lane `i` holds elements `i`, `32 + i`, ...,
//! one register each. A vector of fewer than 32 lanes lies in the low ones; what the others hold means nothing.
//!
//! Integers of up to 32 bits are in registers of 32, extended as their type says. An `i64` whose values are known to fit
//! in 32 bits is kept in one of 32, too: indices mostly are, and a GPU computes with 32 bits.

use sparsec_tir::{Scalar, Type as IrType};

use super::code::Code;
use crate::{Operand, Reg, RegClass, Type};

/// The values that a scalar can have, both included; within 32 signed bits.
pub(super) type Range = (i64, i64);

/// A value.
#[derive(Clone, Debug)]
pub(super) struct Value {
    pub(super) ty: IrType,
    /// One for each 32 lanes.
    pub(super) parts: Vec<Operand>,
    /// Of an `i64`: that it is kept in 32 bits, and its bounds.
    pub(super) range: Option<Range>,
}

impl Value {
    pub(super) fn new(ty: IrType, parts: Vec<Operand>) -> Value {
        Value { ty, parts, range: None }
    }

    pub(super) fn scalar(scalar: Scalar, x: Operand) -> Value {
        Value::new(IrType::scalar(scalar), vec![x])
    }

    /// An `i64` constant.
    pub(super) fn index(v: i64) -> Value {
        Value { range: i32::try_from(v).is_ok().then_some((v, v)), ..Value::scalar(Scalar::I64, Operand::Int(v)) }
    }

    /// An `i64` in 32 bits.
    pub(super) fn narrow(x: Operand, range: Range) -> Value {
        Value { range: Some(range), ..Value::scalar(Scalar::I64, x) }
    }

    /// The number, where this is an integer constant, or a vector of equal ones.
    pub(super) fn as_const(&self) -> Option<i64> {
        match self.parts.as_slice() {
            [Operand::Int(v), rest @ ..] if rest.iter().all(|x| *x == Operand::Int(*v)) => {
                (!self.ty.scalar.is_float()).then_some(*v)
            }
            _ => None,
        }
    }

    /// The first part: all of a scalar.
    pub(super) fn first(&self) -> Operand {
        self.parts.first().copied().unwrap_or(Operand::Int(0))
    }

    /// The class of its registers.
    pub(super) fn class(&self) -> RegClass {
        if self.range.is_some() { RegClass::B32 } else { class_of(self.ty.scalar) }
    }

    /// The type of instructions on it.
    pub(super) fn machine_type(&self) -> Type {
        if self.range.is_some() { Type::S32 } else { machine_type(self.ty.scalar) }
    }
}

/// How many registers of a lane hold a value of so many lanes.
pub(super) fn parts_of(lanes: u16) -> usize {
    usize::from(lanes.max(1)).div_ceil(32)
}

/// The type of instructions on values of a type in registers.
pub(super) fn machine_type(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Bool => Type::Pred,
        Scalar::I8 | Scalar::I16 | Scalar::I32 => Type::S32,
        Scalar::U8 | Scalar::U16 | Scalar::U32 => Type::U32,
        Scalar::I64 => Type::S64,
        Scalar::U64 => Type::U64,
        Scalar::F16 => Type::F16,
        Scalar::BF16 => Type::Bf16,
        Scalar::F32 => Type::F32,
        Scalar::F64 => Type::F64,
    }
}

/// The type of loads and stores.
pub(super) fn memory_type(scalar: Scalar) -> Type {
    match scalar {
        Scalar::Bool | Scalar::U8 => Type::U8,
        Scalar::I8 => Type::S8,
        Scalar::I16 => Type::S16,
        Scalar::U16 => Type::U16,
        Scalar::F16 | Scalar::BF16 => Type::B16,
        other => machine_type(other),
    }
}

/// The class of registers.
pub(super) fn class_of(scalar: Scalar) -> RegClass {
    RegClass::of(machine_type(scalar))
}

/// The untyped width of registers.
pub(super) fn bits_type(class: RegClass) -> Type {
    match class.bits() {
        16 => Type::B16,
        32 => Type::B32,
        64 => Type::B64,
        _ => Type::Pred,
    }
}

/// An integer as its type holds it in a register.
pub(super) fn in_type(v: i64, scalar: Scalar) -> i64 {
    match scalar {
        Scalar::Bool => v & 1,
        Scalar::I8 => i64::from(v as i8),
        Scalar::I16 => i64::from(v as i16),
        Scalar::I32 => i64::from(v as i32),
        Scalar::U8 => i64::from(v as u8),
        Scalar::U16 => i64::from(v as u16),
        Scalar::U32 => i64::from(v as u32),
        _ => v,
    }
}

impl Code {
    /// An `i64` in 64 bits.
    pub(super) fn widen(&mut self, x: &Value) -> Value {
        if x.range.is_none() {
            return x.clone();
        }
        let parts = x.parts.iter().map(|p| self.wide_part(*p)).collect();
        Value::new(x.ty, parts)
    }

    fn wide_part(&mut self, x: Operand) -> Operand {
        match x {
            Operand::Reg(_) => self.extend(Type::S64, Type::S32, x),
            other => other,
        }
    }

    /// The low 32 bits of an `i64`.
    pub(super) fn low_half(&mut self, x: &Value) -> Operand {
        match x.first() {
            Operand::Reg(Reg { class: RegClass::B64, .. }) => self.extend(Type::U32, Type::U64, x.first()),
            other => other,
        }
    }

    /// The value in every one of `lanes` lanes.
    pub(super) fn splat(&mut self, x: &Value, lanes: u16) -> Result<Value, String> {
        if x.ty.is_vector() || lanes <= 1 {
            return if x.ty.lanes == lanes { Ok(x.clone()) } else { Err(format!("{} as {lanes} lanes", x.ty)) };
        }
        let parts = vec![x.first(); parts_of(lanes)];
        Ok(Value { ty: IrType::vector(x.ty.scalar, lanes), parts, range: x.range })
    }

    /// Both with the same lanes, of one type, and in registers of one class.
    pub(super) fn unify(&mut self, x: &Value, y: &Value) -> Result<(Value, Value), String> {
        if x.ty.scalar != y.ty.scalar {
            return Err(format!("operands of types {} and {}", x.ty, y.ty));
        }
        let (x, y) = match (x.range, y.range) {
            (Some(_), None) => (self.widen(x), y.clone()),
            (None, Some(_)) => (x.clone(), self.widen(y)),
            _ => (x.clone(), y.clone()),
        };
        let lanes = x.ty.lanes.max(y.ty.lanes);
        Ok((self.splat(&x, lanes)?, self.splat(&y, lanes)?))
    }

    /// A value whose parts are computed from those of others; equal parts are computed once, since code is remembered.
    pub(super) fn map(&mut self, ty: IrType, x: &Value, mut f: impl FnMut(&mut Code, Operand) -> Operand) -> Value {
        let parts = x.parts.iter().map(|p| f(self, *p)).collect();
        Value::new(ty, parts)
    }

    pub(super) fn zip(
        &mut self,
        ty: IrType,
        x: &Value,
        y: &Value,
        mut f: impl FnMut(&mut Code, Operand, Operand) -> Operand,
    ) -> Value {
        let parts = x.parts.iter().zip(&y.parts).map(|(a, b)| f(self, *a, *b)).collect();
        Value::new(ty, parts)
    }
}
