//! Expressions over the model's symbols (or over a kernel's params) as code.

use inkwell::IntPredicate;
use inkwell::values::{BasicValueEnum, IntValue};
use sparsec_tir::{BinaryOp, Expr, Type};

use crate::error::{Emit, EmitError, invalid};
use crate::value::{Cx, Value};

/// Evaluates expressions, and remembers whether a sum or product did not fit in 64 bits.
pub(super) struct Symbolic<'a, 'c> {
    cx: &'a Cx<'c>,
    values: &'a [IntValue<'c>],
    overflow: Option<IntValue<'c>>,
}

impl<'a, 'c> Symbolic<'a, 'c> {
    /// `values` are what the expressions' params stand for.
    pub(super) fn new(cx: &'a Cx<'c>, values: &'a [IntValue<'c>]) -> Self {
        Symbolic { cx, values, overflow: None }
    }

    /// The value where nothing overflows.
    pub(super) fn eval(&mut self, e: &Expr) -> Emit<IntValue<'c>> {
        self.value(e)?.i64()
    }

    /// `x * y`, remembered where it does not fit.
    pub(super) fn product(&mut self, x: IntValue<'c>, y: IntValue<'c>) -> Emit<IntValue<'c>> {
        self.checked("llvm.smul.with.overflow", x, y)
    }

    /// `x + y`, remembered where it does not fit.
    pub(super) fn sum(&mut self, x: IntValue<'c>, y: IntValue<'c>) -> Emit<IntValue<'c>> {
        self.checked("llvm.sadd.with.overflow", x, y)
    }

    /// Whether all values so far fitted.
    pub(super) fn fits(&self) -> Emit<IntValue<'c>> {
        Ok(match self.overflow {
            Some(o) => self.cx.builder.build_not(o, "")?,
            None => self.cx.context.bool_type().const_all_ones(),
        })
    }

    fn value(&mut self, e: &Expr) -> Emit<Value<'c>> {
        match e {
            Expr::Int(v, scalar) => self.cx.constant_int(*v, *scalar),
            Expr::Param(p) => match self.values.get(p.index()) {
                Some(v) => Ok(Value::index(*v)),
                None => invalid(format!("symbol {} does not exist", p.0)),
            },
            Expr::Binary(op, x, y) => {
                let (x, y) = (self.value(x)?, self.value(y)?);
                if x.ty != Type::INDEX || y.ty != Type::INDEX {
                    return self.cx.binary(*op, x, y);
                }
                let name = match op {
                    BinaryOp::Add => "llvm.sadd.with.overflow",
                    BinaryOp::Sub => "llvm.ssub.with.overflow",
                    BinaryOp::Mul => "llvm.smul.with.overflow",
                    _ => return self.cx.binary(*op, x, y),
                };
                Ok(Value::index(self.checked(name, x.i64()?, y.i64()?)?))
            }
            Expr::Compare(op, x, y) => {
                let (x, y) = (self.value(x)?, self.value(y)?);
                self.cx.compare(*op, x, y)
            }
            Expr::Select(c, x, y) => {
                let (c, x, y) = (self.value(c)?, self.value(x)?, self.value(y)?);
                self.cx.select(c, x, y)
            }
            _ => invalid("an expression over symbols holds more than integer arithmetic"),
        }
    }

    fn checked(&mut self, name: &str, x: IntValue<'c>, y: IntValue<'c>) -> Emit<IntValue<'c>> {
        if self.cx.pointer_bytes == 4 && name == "llvm.smul.with.overflow" {
            return self.narrow_product(x, y);
        }
        let b = &self.cx.builder;
        let pair = self.cx.intrinsic_value(name, &[self.cx.i64().into()], &[x.into(), y.into()])?;
        let BasicValueEnum::StructValue(pair) = pair else {
            return Err(EmitError::Llvm(format!("{name} gives no pair")));
        };
        let value = b.build_extract_value(pair, 0, "")?.into_int_value();
        let overflow = b.build_extract_value(pair, 1, "")?.into_int_value();
        self.remember(overflow)?;
        Ok(value)
    }

    /// `x * y` where addresses have 32 bits: there, a check of 64 bits is a call into a library that need not be. Factors
    /// beyond 32 bits count as what does not fit: nothing that large can be in memory.
    fn narrow_product(&mut self, x: IntValue<'c>, y: IntValue<'c>) -> Emit<IntValue<'c>> {
        for factor in [x, y] {
            let b = &self.cx.builder;
            let moved = b.build_int_add(factor, self.cx.int(1 << 31), "")?;
            let wide = b.build_int_compare(IntPredicate::UGT, moved, self.cx.int(1 << 32), "")?;
            self.remember(wide)?;
        }
        Ok(self.cx.builder.build_int_mul(x, y, "")?)
    }

    fn remember(&mut self, overflow: IntValue<'c>) -> Emit<()> {
        self.overflow = Some(match self.overflow {
            Some(o) => self.cx.builder.build_or(o, overflow, "")?,
            None => overflow,
        });
        Ok(())
    }
}
