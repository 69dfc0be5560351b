//! Arithmetic of integers, and the bounds of indices.

use sparsec_tir::{BinaryOp as IrBinary, CompareOp as IrCompare, Scalar};

use super::code::Code;
use super::error::{Emit, invalid};
use super::value::{Range, Value, bits_type, class_of, in_type};
use crate::{BinaryOp, Operand, RegClass, Type};

/// The result of an operation on `i64` constants.
pub(super) fn fold(op: IrBinary, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        IrBinary::Add => a.wrapping_add(b),
        IrBinary::Sub => a.wrapping_sub(b),
        IrBinary::Mul => a.wrapping_mul(b),
        IrBinary::Div if b == 0 => 0,
        IrBinary::Div => a.wrapping_div(b),
        IrBinary::Rem if b == 0 => 0,
        IrBinary::Rem => a.wrapping_rem(b),
        IrBinary::FloorDiv if b == 0 => 0,
        IrBinary::FloorDiv => {
            let q = a.wrapping_div(b);
            if a.wrapping_rem(b) != 0 && (a < 0) != (b < 0) { q - 1 } else { q }
        }
        IrBinary::Min => a.min(b),
        IrBinary::Max => a.max(b),
        IrBinary::And => a & b,
        IrBinary::Or => a | b,
        IrBinary::Xor => a ^ b,
        IrBinary::Shl => a.wrapping_shl(b as u32),
        IrBinary::Shr => a.wrapping_shr(b as u32),
        IrBinary::Pow => return None,
    })
}

/// The bounds of the result of an operation on indices, where they are known to fit in 32 bits, all the way.
pub(super) fn range_of(op: IrBinary, x: &Value, y: &Value) -> Option<Range> {
    let ((a, b), (c, d)) = (x.range?, y.range?);
    let positive = c > 0;
    let (low, high) = match op {
        IrBinary::Add => (a + c, b + d),
        IrBinary::Sub => (a - d, b - c),
        IrBinary::Mul => {
            let all = [a * c, a * d, b * c, b * d];
            (all.into_iter().min()?, all.into_iter().max()?)
        }
        IrBinary::Min => (a.min(c), b.min(d)),
        IrBinary::Max => (a.max(c), b.max(d)),
        IrBinary::Div | IrBinary::FloorDiv if positive => {
            (if a >= 0 { a / d } else { a.div_euclid(c) }, if b >= 0 { b / c } else { 0 })
        }
        IrBinary::Rem if positive && a >= 0 => (0, b.min(d - 1)),
        IrBinary::Rem if positive => (1 - d, d - 1),
        IrBinary::And if a >= 0 && c >= 0 => (0, b.min(d)),
        IrBinary::Shr if c == d && (0..32).contains(&c) => (a >> c, b >> c),
        IrBinary::Shl if c == d && (0..31).contains(&c) => (a << c, b << c),
        _ => return None,
    };
    let fits = i32::try_from(low).is_ok() && i32::try_from(high).is_ok();
    fits.then_some((low, high))
}

impl Code {
    /// An operation on integers that are kept alike.
    pub(super) fn int_binary(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        let ty = x.machine_type();
        let bits = bits_type(RegClass::of(ty));
        let (machine, ty) = match op {
            IrBinary::Add => (BinaryOp::Add, ty),
            IrBinary::Sub => (BinaryOp::Sub, ty),
            IrBinary::Mul => (BinaryOp::Mul, ty),
            IrBinary::Min => (BinaryOp::Min, ty),
            IrBinary::Max => (BinaryOp::Max, ty),
            IrBinary::And => (BinaryOp::And, bits),
            IrBinary::Or => (BinaryOp::Or, bits),
            IrBinary::Xor => (BinaryOp::Xor, bits),
            IrBinary::Div | IrBinary::Rem | IrBinary::FloorDiv => return self.divide(op, x, y),
            IrBinary::Shl => return self.shift(BinaryOp::Shl, bits, x, y),
            IrBinary::Shr => return self.shift(BinaryOp::Shr, ty, x, y),
            IrBinary::Pow => return invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        };
        Ok(self.zip(x.ty, x, y, |code, a, b| match (machine, a, b) {
            (BinaryOp::Add, Operand::Int(0), other) | (BinaryOp::Add | BinaryOp::Sub, other, Operand::Int(0)) => other,
            (BinaryOp::Mul, Operand::Int(1), other) | (BinaryOp::Mul, other, Operand::Int(1)) => other,
            // Numbers stand on the right.
            (BinaryOp::Add | BinaryOp::Mul, Operand::Int(_), _) => code.binary(machine, ty, b, a),
            _ => code.binary(machine, ty, a, b),
        }))
    }

    /// The amount is taken modulo the width, as the interpreter does.
    fn shift(&mut self, op: BinaryOp, ty: Type, x: &Value, y: &Value) -> Emit<Value> {
        let narrow = x.range.is_some();
        let width = if narrow { 32 } else { x.ty.scalar.size() as i64 * 8 };
        Ok(self.zip(x.ty, x, y, |code, a, b| {
            let amount = match b {
                Operand::Int(v) => Operand::Int(v.rem_euclid(width)),
                Operand::Reg(r) if r.class == RegClass::B64 => {
                    let low = code.extend(Type::U32, Type::U64, b);
                    code.binary(BinaryOp::And, Type::B32, low, Operand::Int(width - 1))
                }
                _ => code.binary(BinaryOp::And, Type::B32, b, Operand::Int(width - 1)),
            };
            code.binary(op, ty, a, amount)
        }))
    }

    /// Integer division: truncating, its remainder, or flooring. A zero divisor gives zero.
    fn divide(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        let ty = x.machine_type();
        let bits = bits_type(RegClass::of(ty));
        let divisor = y.as_const();
        if divisor == Some(0) {
            return self.splat(&Value::scalar(x.ty.scalar, Operand::Int(0)), x.ty.lanes);
        }
        let not_negative = x.range.is_some_and(|r| r.0 >= 0) || !ty.is_signed();
        if let Some(d) = divisor
            && d > 0
            && d & (d - 1) == 0
            && (op != IrBinary::Rem || not_negative)
            && (op == IrBinary::FloorDiv || not_negative)
        {
            let exponent = Operand::Int(i64::from(d.trailing_zeros()));
            return Ok(match op {
                IrBinary::Rem => self.map(x.ty, x, |code, a| code.binary(BinaryOp::And, bits, a, Operand::Int(d - 1))),
                _ => self.map(x.ty, x, |code, a| code.binary(BinaryOp::Shr, ty, a, exponent)),
            });
        }
        let positive_divisor = y.range.is_some_and(|r| r.0 > 0) || divisor.is_some_and(|d| d > 0);
        let machine = |op, ty| move |code: &mut Code, a, b| code.binary(op, ty, a, b);
        // What is not negative divides as unsigned, which is cheaper and floors.
        let unsigned = match ty {
            Type::S32 if not_negative && positive_divisor => Type::U32,
            other => other,
        };
        if op == IrBinary::Rem {
            let remainder = self.zip(x.ty, x, y, machine(BinaryOp::Rem, unsigned));
            return self.zero_where_zero(divisor, y, remainder);
        }
        let quotient = self.zip(x.ty, x, y, machine(BinaryOp::Div, unsigned));
        if op == IrBinary::Div || !unsigned.is_signed() {
            return self.zero_where_zero(divisor, y, quotient);
        }
        // One less where there is a remainder, and its sign is not the divisor's.
        let product = self.zip(x.ty, &quotient, y, machine(BinaryOp::Mul, ty));
        let remainder = self.zip(x.ty, x, &product, machine(BinaryOp::Sub, ty));
        let signs = self.zip(x.ty, &remainder, y, machine(BinaryOp::Xor, bits));
        let keep = |v: Value| Value { range: x.range, ..v };
        let (remainder, signs, quotient) = (keep(remainder), keep(signs), keep(quotient));
        let zero = Value { range: x.range.map(|_| (0, 0)), ..Value::scalar(x.ty.scalar, Operand::Int(0)) };
        let inexact = self.ir_compare(IrCompare::Ne, &remainder, &zero)?;
        let differ = self.ir_compare(IrCompare::Lt, &signs, &zero)?;
        let down = self.ir_binary(IrBinary::And, &inexact, &differ)?;
        let less = self.map(x.ty, &quotient, |code, a| code.binary(BinaryOp::Sub, ty, a, Operand::Int(1)));
        let floored = self.ir_select(&down, &keep(less), &quotient)?;
        self.zero_where_zero(divisor, y, floored)
    }

    fn zero_where_zero(&mut self, divisor: Option<i64>, y: &Value, result: Value) -> Emit<Value> {
        if divisor.is_some() || y.range.is_some_and(|r| r.0 > 0) {
            return Ok(result);
        }
        let zero = Value { range: y.range.map(|_| (0, 0)), ..Value::scalar(y.ty.scalar, Operand::Int(0)) };
        let result = Value { range: y.range, ..result };
        let is_zero = self.ir_compare(IrCompare::Eq, y, &zero)?;
        self.ir_select(&is_zero, &zero, &result)
    }

    /// Results of narrow types are cut to their width and extended again.
    pub(super) fn wrap(&mut self, x: Value) -> Value {
        let from = match x.ty.scalar {
            Scalar::I8 => Type::S8,
            Scalar::I16 => Type::S16,
            Scalar::U8 => Type::U8,
            Scalar::U16 => Type::U16,
            _ => return x,
        };
        let to = if from.is_signed() { Type::S32 } else { Type::U32 };
        debug_assert_eq!(class_of(x.ty.scalar), RegClass::B32);
        self.map(x.ty, &x, |code, a| match a {
            Operand::Int(v) => Operand::Int(in_type(v, x.ty.scalar)),
            _ => code.extend(to, from, a),
        })
    }
}
