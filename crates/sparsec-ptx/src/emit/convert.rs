//! Conversions between scalar types, lane by lane.

use sparsec_tir::{CompareOp as IrCompare, Scalar, Type as IrType};

use super::code::Code;
use super::error::{Emit, invalid};
use super::value::{Value, bits_type, class_of, in_type, machine_type, memory_type};
use crate::{BinaryOp, CompareOp, Operand, RegClass, Rounding, Type};

impl Code {
    /// The value as another scalar type. Floats to integers truncate and saturate, NaN gives 0.
    pub(super) fn convert(&mut self, to: Scalar, x: &Value) -> Emit<Value> {
        let from = x.ty.scalar;
        let ty = IrType { scalar: to, lanes: x.ty.lanes };
        if from == to {
            return Ok(x.clone());
        }
        if to == Scalar::Bool {
            let zero = match from {
                Scalar::F32 => Operand::F32(0),
                Scalar::F64 => Operand::F64(0),
                Scalar::F16 | Scalar::BF16 => {
                    let wide = self.convert(Scalar::F32, x)?;
                    return self.convert(to, &wide);
                }
                _ => Operand::Int(0),
            };
            let zero = Value { range: x.range.map(|_| (0, 0)), ..Value::scalar(from, zero) };
            return self.ir_compare(IrCompare::Ne, x, &zero);
        }
        match (from.is_float(), to.is_float()) {
            (true, true) => self.float_to_float(ty, x),
            (true, false) => self.float_to_int(ty, x),
            (false, true) => self.int_to_float(ty, x),
            (false, false) => Ok(self.int_to_int(ty, x)),
        }
    }

    fn float_to_float(&mut self, ty: IrType, x: &Value) -> Emit<Value> {
        let rn = Some(Rounding::Rn);
        match (x.ty.scalar, ty.scalar) {
            (Scalar::BF16, Scalar::F32) => Ok(self.map(ty, x, |code, a| {
                let a = Operand::Reg(code.in_register(RegClass::B16, a));
                let bits = code.extend(Type::U32, Type::U16, a);
                let bits = code.binary(BinaryOp::Shl, Type::B32, bits, Operand::Int(16));
                code.mov_bits(RegClass::F32, bits)
            })),
            (Scalar::F32, Scalar::BF16) => Ok(self.map(ty, x, |code, a| code.cvt(Type::Bf16, Type::F32, rn, a))),
            (Scalar::F32, Scalar::F16) => Ok(self.map(ty, x, |code, a| code.cvt(Type::F16, Type::F32, rn, a))),
            (Scalar::F64, Scalar::F16) => Ok(self.map(ty, x, |code, a| code.cvt(Type::F16, Type::F64, rn, a))),
            (Scalar::F64, Scalar::F32) => Ok(self.map(ty, x, |code, a| code.cvt(Type::F32, Type::F64, rn, a))),
            (from @ (Scalar::F16 | Scalar::F32), to @ (Scalar::F32 | Scalar::F64)) => {
                let (from, to) = (machine_type(from), machine_type(to));
                Ok(self.map(ty, x, |code, a| code.cvt(to, from, None, a)))
            }
            _ => {
                let wide = self.convert(Scalar::F32, x)?;
                self.convert(ty.scalar, &wide)
            }
        }
    }

    /// `cvt` saturates by itself; where 64 bits are involved, NaN needs care, and below 32 bits, the clamping is spelt out.
    fn float_to_int(&mut self, ty: IrType, x: &Value) -> Emit<Value> {
        let from = x.ty.scalar;
        if matches!(from, Scalar::F16 | Scalar::BF16) {
            let wide = self.convert(Scalar::F32, x)?;
            return self.convert(ty.scalar, &wide);
        }
        let (from, to) = (machine_type(from), machine_type(ty.scalar));
        let bounds = match ty.scalar {
            Scalar::I8 => Some((-128, 127)),
            Scalar::U8 => Some((0, 255)),
            Scalar::I16 => Some((-32768, 32767)),
            Scalar::U16 => Some((0, 65535)),
            _ => None,
        };
        let nan_is_zero = from == Type::F32 && to.bits() == 32;
        Ok(self.map(ty, x, |code, a| {
            let mut result = code.cvt(to, from, Some(Rounding::Rzi), a);
            if !nan_is_zero {
                let a = Operand::Reg(code.in_register(RegClass::of(from), a));
                let number = code.setp(CompareOp::Num, from, a, a);
                let number = code.predicate(number);
                result = code.selp(bits_type(RegClass::of(to)), result, Operand::Int(0), number);
            }
            if let Some((low, high)) = bounds {
                result = code.binary(BinaryOp::Max, to, result, Operand::Int(low));
                result = code.binary(BinaryOp::Min, to, result, Operand::Int(high));
            }
            result
        }))
    }

    fn int_to_float(&mut self, ty: IrType, x: &Value) -> Emit<Value> {
        if matches!(ty.scalar, Scalar::F16 | Scalar::BF16) {
            let wide = self.convert(Scalar::F32, x)?;
            return self.convert(ty.scalar, &wide);
        }
        let to = machine_type(ty.scalar);
        if x.ty.scalar == Scalar::Bool {
            let (one, zero) = match ty.scalar {
                Scalar::F32 => (Operand::f32(1.0), Operand::f32(0.0)),
                _ => (Operand::f64(1.0), Operand::f64(0.0)),
            };
            return Ok(self.map(ty, x, |code, a| {
                let p = code.predicate(a);
                code.selp(to, one, zero, p)
            }));
        }
        let from = x.machine_type();
        Ok(self.map(ty, x, |code, a| code.cvt(to, from, Some(Rounding::Rn), a)))
    }

    fn int_to_int(&mut self, ty: IrType, x: &Value) -> Value {
        let (from, to) = (x.ty.scalar, ty.scalar);
        if from == Scalar::Bool {
            let x = self.map(x.ty, x, |code, a| match a {
                Operand::Int(v) => Operand::Int(i64::from(v != 0)),
                _ => {
                    let p = code.predicate(a);
                    code.selp(Type::B32, Operand::Int(1), Operand::Int(0), p)
                }
            });
            let range = (to == Scalar::I64).then_some((0, 1));
            return match to {
                Scalar::U64 => self.map(ty, &x, |code, a| code.wide_unsigned(a)),
                _ => Value { ty, parts: x.parts, range },
            };
        }
        if let (Some(v), true) = (x.as_const(), to == Scalar::I64 && from.size() < 8) {
            let range = i32::try_from(v).is_ok().then_some((v, v));
            return Value { ty, parts: vec![Operand::Int(v); x.parts.len()], range };
        }
        match (from, to) {
            (Scalar::I64, Scalar::U64) => Value { ty, ..self.widen(x) },
            (Scalar::U64, Scalar::I64) => Value { ty, ..x.clone() },
            // What fits in 32 signed bits stays there.
            (Scalar::I8, Scalar::I64) => Value { ty, parts: x.parts.clone(), range: Some((-128, 127)) },
            (Scalar::U8, Scalar::I64) => Value { ty, parts: x.parts.clone(), range: Some((0, 255)) },
            (Scalar::I16, Scalar::I64) => Value { ty, parts: x.parts.clone(), range: Some((-32768, 32767)) },
            (Scalar::U16, Scalar::I64) => Value { ty, parts: x.parts.clone(), range: Some((0, 65535)) },
            (Scalar::I32, Scalar::I64) => {
                Value { ty, parts: x.parts.clone(), range: Some((i32::MIN.into(), i32::MAX.into())) }
            }
            (_, Scalar::I64 | Scalar::U64) => {
                let (wide, narrow) = (machine_type(to), machine_type(from));
                let wide = if narrow.is_signed() { Type::S64 } else { wide };
                self.map(ty, x, |code, a| {
                    let a = Operand::Reg(code.in_register(RegClass::B32, a));
                    code.extend(wide, narrow, a)
                })
            }
            _ => {
                // Down to 32 bits, and from there to the width.
                let wide = x.class() == RegClass::B64;
                let low = self.map(ty, x, |code, a| match a {
                    Operand::Int(v) => Operand::Int(in_type(v, to)),
                    _ if wide => code.extend(Type::U32, Type::U64, a),
                    _ => a,
                });
                self.wrap(low)
            }
        }
    }

    fn wide_unsigned(&mut self, a: Operand) -> Operand {
        match a {
            Operand::Int(v) => Operand::Int(v),
            _ => self.extend(Type::U64, Type::U32, a),
        }
    }

    /// The same bits in a register of another class of this width.
    pub(super) fn mov_bits(&mut self, class: RegClass, a: Operand) -> Operand {
        match a {
            Operand::Reg(r) if r.class == class => a,
            Operand::Reg(_) => {
                let ty = bits_type(class);
                self.pure(class, |dst| crate::Instruction::Mov { ty, dst, src: a })
            }
            Operand::F32(bits) if class == RegClass::B32 => Operand::Int(i64::from(bits as i32)),
            Operand::F64(bits) if class == RegClass::B64 => Operand::Int(bits as i64),
            Operand::Int(v) if class == RegClass::F32 => Operand::F32(v as u32),
            Operand::Int(v) if class == RegClass::F64 => Operand::F64(v as u64),
            other => other,
        }
    }

    /// The same bits as another type of as many lanes.
    pub(super) fn bitcast(&mut self, to: IrType, x: &Value) -> Emit<Value> {
        let (from, scalar) = (x.ty.scalar, to.scalar);
        if to.lanes != x.ty.lanes || from.size() != scalar.size() || from == Scalar::Bool || scalar == Scalar::Bool {
            return invalid(format!("bitcast of {} to {to}: only lanes of one width keep their place", x.ty));
        }
        let x = self.widen(x);
        if from.size() < 4 {
            // Integers are extended in registers of 32 bits, 16-bit floats are in registers of 16.
            return Ok(match (class_of(from), class_of(scalar)) {
                (RegClass::B16, RegClass::B32) => {
                    let (wide, narrow) = (machine_type(scalar), memory_type(scalar));
                    self.map(to, &x, |code, a| {
                        let a = Operand::Reg(code.in_register(RegClass::B16, a));
                        code.extend(wide, narrow, a)
                    })
                }
                (RegClass::B32, RegClass::B16) => self.map(to, &x, |code, a| {
                    let a = Operand::Reg(code.in_register(RegClass::B32, a));
                    code.extend(Type::U16, Type::U32, a)
                }),
                (RegClass::B32, RegClass::B32) => self.wrap(Value { ty: to, ..x }),
                _ => Value { ty: to, ..x },
            });
        }
        let class = class_of(scalar);
        Ok(self.map(to, &x, |code, a| match code.mov_bits(class, a) {
            Operand::Int(v) if !scalar.is_float() => Operand::Int(in_type(v, scalar)),
            other => other,
        }))
    }
}
