//! Operations on values, lane by lane, with exactly the meaning that the tensor IR gives them.
//!
//! No fast-math flag is ever set and nothing is contracted: two compiles for two machines with fused multiply-add give the
//! same numbers.

use inkwell::values::{BasicValueEnum, InstructionOpcode as Op};
use inkwell::{FloatPredicate, IntPredicate};
use sparsec_tir::{BinaryOp, CompareOp, ReduceOp, Scalar, Type, UnaryOp};

use crate::error::{Emit, EmitError, invalid};
use crate::value::{Cx, Value};

impl<'c> Cx<'c> {
    /// `op(x)`.
    pub(crate) fn unary(&self, op: UnaryOp, x: Value<'c>) -> Emit<Value<'c>> {
        let s = x.ty.scalar;
        if matches!(s, Scalar::F16 | Scalar::BF16) {
            let wide = self.convert(Scalar::F32, x)?;
            let result = self.unary(op, wide)?;
            return self.convert(s, result);
        }
        let of_type = |name: &str| -> Emit<Value<'c>> {
            Ok(Value::new(self.intrinsic_value(name, &[x.raw.get_type()], &[x.raw.into()])?, x.ty))
        };
        match op {
            UnaryOp::Neg if s.is_float() => self.float_neg(x),
            UnaryOp::Neg if s != Scalar::Bool => Ok(Value::new(self.op(Op::Sub, self.zero(x.ty).raw, x.raw)?, x.ty)),
            UnaryOp::Abs if s.is_float() => of_type("llvm.fabs"),
            UnaryOp::Abs if s.is_signed() => {
                let wraps = self.context.bool_type().const_zero();
                let types = [x.raw.get_type()];
                Ok(Value::new(self.intrinsic_value("llvm.abs", &types, &[x.raw.into(), wraps.into()])?, x.ty))
            }
            UnaryOp::Abs if s != Scalar::Bool => Ok(x),
            UnaryOp::Sqrt if s.is_float() => of_type("llvm.sqrt"),
            UnaryOp::Floor if s.is_float() => of_type("llvm.floor"),
            UnaryOp::Ceil if s.is_float() => of_type("llvm.ceil"),
            UnaryOp::Round if s.is_float() => of_type("llvm.roundeven"),
            UnaryOp::Not if !s.is_float() => Ok(Value::new(self.op(Op::Xor, x.raw, self.lanes_of(x.ty, -1)?)?, x.ty)),
            UnaryOp::Exp | UnaryOp::Log | UnaryOp::Erf | UnaryOp::Tanh | UnaryOp::Sin | UnaryOp::Cos => {
                invalid(format!("operation `{}` must be expanded (expand_math) before code is emitted", op.name()))
            }
            _ => invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        }
    }

    /// `op(x, y)`.
    pub(crate) fn binary(&self, op: BinaryOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let (x, y) = self.unify(x, y)?;
        let s = x.ty.scalar;
        match s {
            Scalar::F16 | Scalar::BF16 => {
                let wide = self.binary(op, self.convert(Scalar::F32, x)?, self.convert(Scalar::F32, y)?)?;
                self.convert(s, wide)
            }
            Scalar::Bool => self.bool_binary(op, x, y),
            Scalar::F32 | Scalar::F64 => self.float_binary(op, x, y),
            _ => self.int_binary(op, x, y),
        }
    }

    fn float_binary(&self, op: BinaryOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let simple = |op: Op| -> Emit<Value<'c>> { Ok(Value::new(self.op(op, x.raw, y.raw)?, x.ty)) };
        match op {
            BinaryOp::Add => simple(Op::FAdd),
            BinaryOp::Sub => simple(Op::FSub),
            BinaryOp::Mul => simple(Op::FMul),
            BinaryOp::Div => simple(Op::FDiv),
            BinaryOp::Min => self.select(self.compare(CompareOp::Lt, x, y)?, x, y),
            BinaryOp::Max => self.select(self.compare(CompareOp::Gt, x, y)?, x, y),
            BinaryOp::Pow => {
                invalid(format!("operation `{}` must be expanded (expand_math) before code is emitted", op.name()))
            }
            _ => invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        }
    }

    fn bool_binary(&self, op: BinaryOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let op = match op {
            BinaryOp::And | BinaryOp::Min | BinaryOp::Mul => Op::And,
            BinaryOp::Or | BinaryOp::Max => Op::Or,
            BinaryOp::Xor => Op::Xor,
            _ => return invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        };
        Ok(Value::new(self.op(op, x.raw, y.raw)?, x.ty))
    }

    fn int_binary(&self, op: BinaryOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let signed = x.ty.scalar.is_signed();
        let simple = |op: Op| -> Emit<Value<'c>> { Ok(Value::new(self.op(op, x.raw, y.raw)?, x.ty)) };
        match op {
            BinaryOp::Add => simple(Op::Add),
            BinaryOp::Sub => simple(Op::Sub),
            BinaryOp::Mul => simple(Op::Mul),
            BinaryOp::And => simple(Op::And),
            BinaryOp::Or => simple(Op::Or),
            BinaryOp::Xor => simple(Op::Xor),
            BinaryOp::Min => self.select(self.compare(CompareOp::Lt, x, y)?, x, y),
            BinaryOp::Max => self.select(self.compare(CompareOp::Gt, x, y)?, x, y),
            BinaryOp::Div | BinaryOp::Rem | BinaryOp::FloorDiv => self.divide(op, x, y),
            BinaryOp::Shl | BinaryOp::Shr => {
                // A shift by the width or more has no meaning in LLVM: the amount is taken modulo the width.
                let bits = x.ty.scalar.size() as i64 * 8;
                let amount = match y.as_const() {
                    Some(c) if (0..bits).contains(&c) => y.raw,
                    _ => self.op(Op::And, y.raw, self.lanes_of(y.ty, bits - 1)?)?,
                };
                let op = match op {
                    BinaryOp::Shl => Op::Shl,
                    _ if signed => Op::AShr,
                    _ => Op::LShr,
                };
                Ok(Value::new(self.op(op, x.raw, amount)?, x.ty))
            }
            BinaryOp::Pow => invalid(format!("operation `{}` on {}", op.name(), x.ty)),
        }
    }

    /// Integer division. LLVM leaves division by zero and the smallest number by -1 undefined, so those divisors are
    /// replaced by 1: the remainder is then 0, as it should be, the quotient of the second is the wrapped one, and that of
    /// the first is set to 0.
    fn divide(&self, op: BinaryOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let signed = x.ty.scalar.is_signed();
        let (div, rem) = if signed { (Op::SDiv, Op::SRem) } else { (Op::UDiv, Op::URem) };
        let value = |raw: BasicValueEnum<'c>| Value::new(raw, x.ty);
        let zero = self.zero(x.ty);
        if op == BinaryOp::FloorDiv
            && signed
            && let Some(d) = y.as_const()
            && d > 0
            && d & (d - 1) == 0
        {
            let shift = self.lanes_of(x.ty, i64::from(d.trailing_zeros()))?;
            return Ok(value(self.op(Op::AShr, x.raw, shift)?));
        }
        let (safe, is_zero) = match y.as_const() {
            Some(0) => return Ok(zero),
            Some(c) if c != -1 => (y, None),
            _ => {
                let is_zero = self.compare(CompareOp::Eq, y, zero)?;
                let one = value(self.lanes_of(x.ty, 1)?);
                let mut bad = is_zero.raw;
                if signed {
                    let bits = x.ty.scalar.size() as u32 * 8;
                    let lowest = value(self.lanes_of(x.ty, i64::MIN >> (64 - bits))?);
                    let minus_one = value(self.lanes_of(x.ty, -1)?);
                    let low = self.compare(CompareOp::Eq, x, lowest)?.raw;
                    let neg = self.compare(CompareOp::Eq, y, minus_one)?.raw;
                    bad = self.op(Op::Or, bad, self.op(Op::And, low, neg)?)?;
                }
                (self.select(Value { raw: bad, ty: is_zero.ty }, one, y)?, Some(is_zero))
            }
        };
        if op == BinaryOp::Rem {
            return Ok(value(self.op(rem, x.raw, safe.raw)?));
        }
        let mut quotient = value(self.op(div, x.raw, safe.raw)?);
        if op == BinaryOp::FloorDiv && signed {
            let remainder = value(self.op(rem, x.raw, safe.raw)?);
            let inexact = self.compare(CompareOp::Ne, remainder, zero)?.raw;
            let signs = value(self.op(Op::Xor, remainder.raw, safe.raw)?);
            let differ = self.compare(CompareOp::Lt, signs, zero)?.raw;
            let down = Value { raw: self.op(Op::And, inexact, differ)?, ty: Type { scalar: Scalar::Bool, ..x.ty } };
            let less = value(self.op(Op::Sub, quotient.raw, self.lanes_of(x.ty, 1)?)?);
            quotient = self.select(down, less, quotient)?;
        }
        match is_zero {
            Some(is_zero) => self.select(is_zero, zero, quotient),
            None => Ok(quotient),
        }
    }

    /// A comparison. Ordered, but for `Ne`.
    pub(crate) fn compare(&self, op: CompareOp, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        let (x, y) = self.unify(x, y)?;
        let s = x.ty.scalar;
        if matches!(s, Scalar::F16 | Scalar::BF16) {
            return self.compare(op, self.convert(Scalar::F32, x)?, self.convert(Scalar::F32, y)?);
        }
        let ty = Type { scalar: Scalar::Bool, lanes: x.ty.lanes };
        if s.is_float() {
            let predicate = match op {
                CompareOp::Eq => FloatPredicate::OEQ,
                CompareOp::Ne => FloatPredicate::UNE,
                CompareOp::Lt => FloatPredicate::OLT,
                CompareOp::Le => FloatPredicate::OLE,
                CompareOp::Gt => FloatPredicate::OGT,
                CompareOp::Ge => FloatPredicate::OGE,
            };
            let raw: BasicValueEnum<'c> = match (x.raw, y.raw) {
                (BasicValueEnum::FloatValue(x), BasicValueEnum::FloatValue(y)) => {
                    self.builder.build_float_compare(predicate, x, y, "")?.into()
                }
                (BasicValueEnum::VectorValue(x), BasicValueEnum::VectorValue(y)) => {
                    self.builder.build_float_compare(predicate, x, y, "")?.into()
                }
                _ => return Err(EmitError::Llvm("comparison of unlike values".to_owned())),
            };
            return Ok(Value::new(raw, ty));
        }
        let predicate = match (op, s.is_signed()) {
            (CompareOp::Eq, _) => IntPredicate::EQ,
            (CompareOp::Ne, _) => IntPredicate::NE,
            (CompareOp::Lt, true) => IntPredicate::SLT,
            (CompareOp::Le, true) => IntPredicate::SLE,
            (CompareOp::Gt, true) => IntPredicate::SGT,
            (CompareOp::Ge, true) => IntPredicate::SGE,
            (CompareOp::Lt, false) => IntPredicate::ULT,
            (CompareOp::Le, false) => IntPredicate::ULE,
            (CompareOp::Gt, false) => IntPredicate::UGT,
            (CompareOp::Ge, false) => IntPredicate::UGE,
        };
        Ok(Value::new(self.icmp(predicate, x.raw, y.raw)?, ty))
    }

    /// `if c { x } else { y }`.
    pub(crate) fn select(&self, c: Value<'c>, x: Value<'c>, y: Value<'c>) -> Emit<Value<'c>> {
        if c.ty.scalar != Scalar::Bool {
            return invalid(format!("a condition of type {}", c.ty));
        }
        let (x, y) = self.unify(x, y)?;
        let raw = match c.raw {
            BasicValueEnum::VectorValue(mask) => {
                let (x, y) = (self.splat(x, c.ty.lanes)?, self.splat(y, c.ty.lanes)?);
                return Ok(Value::new(self.builder.build_select(mask, x.raw, y.raw, "")?, x.ty));
            }
            _ => self.builder.build_select(c.int()?, x.raw, y.raw, "")?,
        };
        Ok(Value::new(raw, x.ty))
    }

    /// `a * b + c`, rounded once where the target can.
    pub(crate) fn fma(&self, a: Value<'c>, b: Value<'c>, c: Value<'c>) -> Emit<Value<'c>> {
        let lanes = a.ty.lanes.max(b.ty.lanes).max(c.ty.lanes);
        let (a, b, c) = (self.splat(a, lanes)?, self.splat(b, lanes)?, self.splat(c, lanes)?);
        let s = a.ty.scalar;
        match s {
            Scalar::F16 | Scalar::BF16 => {
                let wide = |x| self.convert(Scalar::F32, x);
                let result = self.fma(wide(a)?, wide(b)?, wide(c)?)?;
                self.convert(s, result)
            }
            Scalar::F32 | Scalar::F64 if self.fma => {
                if b.ty != a.ty || c.ty != a.ty {
                    return invalid(format!("fma of {}, {} and {}", a.ty, b.ty, c.ty));
                }
                let arguments = [a.raw.into(), b.raw.into(), c.raw.into()];
                Ok(Value::new(self.intrinsic_value("llvm.fma", &[a.raw.get_type()], &arguments)?, a.ty))
            }
            _ => self.binary(BinaryOp::Add, self.binary(BinaryOp::Mul, a, b)?, c),
        }
    }

    /// A reduction over the lanes: halves are combined, lower with upper, until one lane is left.
    pub(crate) fn reduce(&self, op: ReduceOp, x: Value<'c>) -> Emit<Value<'c>> {
        let op = match op {
            ReduceOp::Add => BinaryOp::Add,
            ReduceOp::Mul => BinaryOp::Mul,
            ReduceOp::Max => BinaryOp::Max,
            ReduceOp::Min => BinaryOp::Min,
        };
        let mut x = x;
        while x.ty.is_vector() {
            let n = u32::from(x.ty.lanes);
            if n % 2 != 0 {
                return invalid(format!("a reduction over {n} lanes: the number must be a power of two"));
            }
            let lower: Vec<u32> = (0..n / 2).collect();
            let upper: Vec<u32> = (n / 2..n).collect();
            x = self.binary(op, self.shuffle(x, &lower)?, self.shuffle(x, &upper)?)?;
        }
        Ok(x)
    }

    fn float_neg(&self, x: Value<'c>) -> Emit<Value<'c>> {
        let raw: BasicValueEnum<'c> = match x.raw {
            BasicValueEnum::FloatValue(v) => self.builder.build_float_neg(v, "")?.into(),
            _ => self.builder.build_float_neg(x.vector()?, "")?.into(),
        };
        Ok(Value::new(raw, x.ty))
    }

    /// Both as one type: a scalar beside a vector is splatted.
    fn unify(&self, x: Value<'c>, y: Value<'c>) -> Emit<(Value<'c>, Value<'c>)> {
        if x.ty.scalar != y.ty.scalar {
            return invalid(format!("operands of types {} and {}", x.ty, y.ty));
        }
        let lanes = x.ty.lanes.max(y.ty.lanes);
        Ok((self.splat(x, lanes)?, self.splat(y, lanes)?))
    }
}
