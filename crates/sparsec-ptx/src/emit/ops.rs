//! Operations on values, lane by lane, with exactly the meaning that the tensor IR gives them.
//!
//! Every floating-point operation rounds to nearest as IEEE 754 says, and nothing is contracted, so results are those of the
//! interpreter, bit for bit (which NaN is another matter). 16-bit floats are computed with in `f32`, and rounded.

use sparsec_tir::{BinaryOp as IrBinary, CompareOp as IrCompare, Scalar, Type as IrType, UnaryOp as IrUnary};

use super::code::Code;
use super::error::{Emit, invalid};
use super::integer::{fold, range_of};
use super::value::{Value, bits_type, class_of};
use crate::{BinaryOp, CompareOp, Instruction, Operand, RegClass, Rounding, Type, UnaryOp};

fn is_half(s: Scalar) -> bool {
    matches!(s, Scalar::F16 | Scalar::BF16)
}

impl Code {
    /// `op(x)`.
    pub(super) fn ir_unary(&mut self, op: IrUnary, x: &Value) -> Emit<Value> {
        let s = x.ty.scalar;
        if is_half(s) {
            let wide = self.convert(Scalar::F32, x)?;
            let result = self.ir_unary(op, &wide)?;
            return self.convert(s, &result);
        }
        if s == Scalar::I64 && x.range.is_some() && op != IrUnary::Not {
            return match op {
                IrUnary::Neg => self.ir_binary(IrBinary::Sub, &Value::index(0), x),
                _ => {
                    let wide = self.widen(x);
                    self.ir_unary(op, &wide)
                }
            };
        }
        let x = &self.widen(x);
        let ty = x.machine_type();
        let float_to_integer =
            |code: &mut Code, rounding| Ok(code.map(x.ty, x, |code, a| code.cvt(ty, ty, Some(rounding), a)));
        match op {
            IrUnary::Neg if s != Scalar::Bool && !s.is_float() => {
                let zero = Value::scalar(s, Operand::Int(0));
                self.ir_binary(IrBinary::Sub, &zero, x)
            }
            IrUnary::Neg if s.is_float() => Ok(self.map(x.ty, x, |code, a| code.unary(UnaryOp::Neg, ty, a))),
            IrUnary::Abs if s.is_float() || s.is_signed() => {
                let result = self.map(x.ty, x, |code, a| code.unary(UnaryOp::Abs, ty, a));
                Ok(self.wrap(result))
            }
            IrUnary::Abs if s != Scalar::Bool => Ok(x.clone()),
            IrUnary::Sqrt if s.is_float() => Ok(self.map(x.ty, x, |code, a| code.unary(UnaryOp::Sqrt, ty, a))),
            IrUnary::Floor if s.is_float() => float_to_integer(self, Rounding::Rmi),
            IrUnary::Ceil if s.is_float() => float_to_integer(self, Rounding::Rpi),
            IrUnary::Round if s.is_float() => float_to_integer(self, Rounding::Rni),
            IrUnary::Not if s == Scalar::Bool => Ok(self.map(x.ty, x, |code, a| match a {
                Operand::Int(v) => Operand::Int(i64::from(v == 0)),
                _ => code.unary(UnaryOp::Not, Type::Pred, a),
            })),
            IrUnary::Not if !s.is_float() => {
                let bits = bits_type(class_of(s));
                let result = self.map(x.ty, x, |code, a| code.unary(UnaryOp::Not, bits, a));
                Ok(self.wrap(result))
            }
            IrUnary::Exp | IrUnary::Log | IrUnary::Erf | IrUnary::Tanh | IrUnary::Sin | IrUnary::Cos => {
                invalid(format!("operation `{}` must be expanded (expand_math) before code is emitted", op.name()))
            }
            _ => invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        }
    }

    /// `op(x, y)`.
    pub(super) fn ir_binary(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        if x.ty.scalar == Scalar::I64
            && y.ty.scalar == Scalar::I64
            && let (Some(a), Some(b)) = (x.as_const(), y.as_const())
            && let Some(v) = fold(op, a, b)
        {
            return self.splat(&Value::index(v), x.ty.lanes.max(y.ty.lanes));
        }
        let result_range = range_of(op, x, y);
        let (x, y) = self.unify(x, y)?;
        let s = x.ty.scalar;
        match s {
            Scalar::F16 | Scalar::BF16 => {
                let (a, b) = (self.convert(Scalar::F32, &x)?, self.convert(Scalar::F32, &y)?);
                let wide = self.ir_binary(op, &a, &b)?;
                self.convert(s, &wide)
            }
            Scalar::Bool => self.bool_binary(op, &x, &y),
            Scalar::F32 | Scalar::F64 => self.float_binary(op, &x, &y),
            Scalar::I64 if x.range.is_some() && result_range.is_some() => {
                // The result fits, and so do the operands: all in 32 bits.
                let mut result = self.int_binary(op, &x, &y)?;
                result.range = result_range;
                Ok(result)
            }
            _ => {
                let (x, y) = (self.widen(&x), self.widen(&y));
                let result = self.int_binary(op, &x, &y)?;
                Ok(self.wrap(result))
            }
        }
    }

    fn float_binary(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        let ty = x.machine_type();
        let machine = match op {
            IrBinary::Add => BinaryOp::Add,
            IrBinary::Sub => BinaryOp::Sub,
            IrBinary::Mul => BinaryOp::Mul,
            IrBinary::Div => BinaryOp::Div,
            // PTX's own prefer what is no NaN, and tell the zeros apart.
            IrBinary::Min | IrBinary::Max => return self.choose(op, x, y),
            IrBinary::Pow => {
                return invalid(format!("operation `{}` must be expanded (expand_math)", op.name()));
            }
            _ => return invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        };
        Ok(self.zip(x.ty, x, y, |code, a, b| code.binary(machine, ty, a, b)))
    }

    /// The smaller or larger: the second where they do not compare.
    fn choose(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        let order = if op == IrBinary::Min { IrCompare::Lt } else { IrCompare::Gt };
        let first = self.ir_compare(order, x, y)?;
        self.ir_select(&first, x, y)
    }

    fn bool_binary(&mut self, op: IrBinary, x: &Value, y: &Value) -> Emit<Value> {
        let (machine, dominant) = match op {
            IrBinary::And | IrBinary::Min | IrBinary::Mul => (BinaryOp::And, Some(0)),
            IrBinary::Or | IrBinary::Max => (BinaryOp::Or, Some(1)),
            IrBinary::Xor => (BinaryOp::Xor, None),
            _ => return invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        };
        Ok(self.zip(x.ty, x, y, |code, a, b| match (a, b, dominant) {
            (Operand::Int(c), other, Some(d)) | (other, Operand::Int(c), Some(d)) => {
                if c == d {
                    Operand::Int(d)
                } else {
                    other
                }
            }
            _ => {
                let (a, b) = (code.predicate(a), code.predicate(b));
                code.binary(machine, Type::Pred, a.into(), b.into())
            }
        }))
    }

    /// A comparison. Ordered, but for `Ne`.
    pub(super) fn ir_compare(&mut self, op: IrCompare, x: &Value, y: &Value) -> Emit<Value> {
        let (x, y) = self.unify(x, y)?;
        let s = x.ty.scalar;
        let ty = IrType { scalar: Scalar::Bool, lanes: x.ty.lanes };
        if is_half(s) {
            let (x, y) = (self.convert(Scalar::F32, &x)?, self.convert(Scalar::F32, &y)?);
            return self.ir_compare(op, &x, &y);
        }
        if s == Scalar::Bool {
            let (x, y) = (self.convert(Scalar::U8, &x)?, self.convert(Scalar::U8, &y)?);
            return self.ir_compare(op, &x, &y);
        }
        if let (Some(a), Some(b)) = (x.as_const(), y.as_const())
            && s == Scalar::I64
        {
            let holds = match op {
                IrCompare::Eq => a == b,
                IrCompare::Ne => a != b,
                IrCompare::Lt => a < b,
                IrCompare::Le => a <= b,
                IrCompare::Gt => a > b,
                IrCompare::Ge => a >= b,
            };
            return self.splat(&Value::scalar(Scalar::Bool, Operand::Int(holds.into())), ty.lanes);
        }
        let op = match op {
            IrCompare::Eq => CompareOp::Eq,
            IrCompare::Ne if s.is_float() => CompareOp::Neu,
            IrCompare::Ne => CompareOp::Ne,
            IrCompare::Lt => CompareOp::Lt,
            IrCompare::Le => CompareOp::Le,
            IrCompare::Gt => CompareOp::Gt,
            IrCompare::Ge => CompareOp::Ge,
        };
        let machine = x.machine_type();
        Ok(self.zip(ty, &x, &y, |code, a, b| {
            // The first source is a register, for `ptxas` wants no comparison of two numbers.
            let a = Operand::Reg(code.in_register(RegClass::of(machine), a));
            code.setp(op, machine, a, b)
        }))
    }

    /// `if c { x } else { y }`.
    pub(super) fn ir_select(&mut self, c: &Value, x: &Value, y: &Value) -> Emit<Value> {
        if c.ty.scalar != Scalar::Bool {
            return invalid(format!("a condition of type {}", c.ty));
        }
        let (x, y) = self.unify(x, y)?;
        let lanes = c.ty.lanes.max(x.ty.lanes);
        let (c, x, y) = (self.splat(c, lanes)?, self.splat(&x, lanes)?, self.splat(&y, lanes)?);
        if let Some(known) = c.as_const() {
            return Ok(if known != 0 { x } else { y });
        }
        let class = x.class();
        let mut parts = Vec::new();
        for ((c, a), b) in c.parts.iter().zip(&x.parts).zip(&y.parts) {
            let c = self.predicate(*c);
            parts.push(match class {
                RegClass::Pred => {
                    // `(c and a) or (not c and b)`.
                    let (a, b) = (self.predicate(*a), self.predicate(*b));
                    let not = self.unary(UnaryOp::Not, Type::Pred, c.into());
                    let a = self.binary(BinaryOp::And, Type::Pred, c.into(), a.into());
                    let b = self.binary(BinaryOp::And, Type::Pred, not, b.into());
                    self.binary(BinaryOp::Or, Type::Pred, a, b)
                }
                RegClass::F32 => self.selp(Type::F32, *a, *b, c),
                RegClass::F64 => self.selp(Type::F64, *a, *b, c),
                _ => self.selp(bits_type(class), *a, *b, c),
            });
        }
        let range = x.range.zip(y.range).map(|(a, b)| (a.0.min(b.0), a.1.max(b.1)));
        Ok(Value { ty: x.ty, parts, range })
    }

    /// `a * b + c`, rounded once.
    pub(super) fn ir_fma(&mut self, a: &Value, b: &Value, c: &Value) -> Emit<Value> {
        let s = a.ty.scalar;
        if b.ty.scalar != s || c.ty.scalar != s || !s.is_float() {
            return invalid(format!("fma of {}, {} and {}", a.ty, b.ty, c.ty));
        }
        if is_half(s) {
            let (a, b) = (self.convert(Scalar::F32, a)?, self.convert(Scalar::F32, b)?);
            let c = self.convert(Scalar::F32, c)?;
            let result = self.ir_fma(&a, &b, &c)?;
            return self.convert(s, &result);
        }
        let lanes = a.ty.lanes.max(b.ty.lanes).max(c.ty.lanes);
        let (a, b, c) = (self.splat(a, lanes)?, self.splat(b, lanes)?, self.splat(c, lanes)?);
        let ty = a.machine_type();
        let parts = a.parts.iter().zip(&b.parts).zip(&c.parts).map(|((a, b), c)| self.fma(ty, *a, *b, *c)).collect();
        Ok(Value::new(a.ty, parts))
    }

    /// `acc` and the products of four bytes.
    pub(super) fn dot4(&mut self, acc: &Value, a: &Value, b: &Value) -> Emit<Value> {
        let word = |s| match s {
            Scalar::I32 => Ok(Type::S32),
            Scalar::U32 => Ok(Type::U32),
            other => Err(format!("four bytes in {other}")),
        };
        let (a_type, b_type) = (word(a.ty.scalar)?, word(b.ty.scalar)?);
        let lanes = acc.ty.lanes.max(a.ty.lanes).max(b.ty.lanes);
        let (acc, a, b) = (self.splat(acc, lanes)?, self.splat(a, lanes)?, self.splat(b, lanes)?);
        let mut parts = Vec::new();
        for ((acc, a), b) in acc.parts.iter().zip(&a.parts).zip(&b.parts) {
            let [a, b, c] = [a, b, acc].map(|x| Operand::Reg(self.in_register(RegClass::B32, *x)));
            parts.push(self.pure(RegClass::B32, |dst| Instruction::Dp4a { a_type, b_type, dst, a, b, c }));
        }
        Ok(Value::new(acc.ty, parts))
    }
}
