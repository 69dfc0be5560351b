//! Dot products of bytes, summed exactly in 32 bits: `acc + a0 b0 + a1 b1 + a2 b2 + a3 b3` in every lane.
//!
//! | target | instructions |
//! |---|---|
//! | AVX512-VNNI, AVX-VNNI, signs differ | `vpdpbusd`, which wraps and does not saturate |
//! | other x86, or equal signs | bytes widened to 16 bits, even ones and odd ones apart; two `pmaddwd` |
//! | Arm with dot products | `sdot`, `udot`, `usdot` |
//! | everything else | products in 16 bits, which hold any of them, added in 32 |
//!
//! `pmaddubsw` is not used: it saturates at 16 bits.

use inkwell::values::{BasicValueEnum, InstructionOpcode as Op};
use sparsec_tir::{Scalar, Type};

use crate::error::{Emit, invalid};
use crate::value::{Cx, Value};

impl<'c> Cx<'c> {
    /// `acc` and the products of the bytes of `a` and `b`.
    pub(crate) fn dot4(&self, acc: Value<'c>, a: Value<'c>, b: Value<'c>) -> Emit<Value<'c>> {
        let lanes = acc.ty.lanes.max(a.ty.lanes).max(b.ty.lanes);
        let (acc, a, b) = (self.splat(acc, lanes)?, self.splat(a, lanes)?, self.splat(b, lanes)?);
        let word = |x: Value<'_>| matches!(x.ty.scalar, Scalar::I32 | Scalar::U32);
        if acc.ty.scalar != Scalar::I32 || !word(a) || !word(b) {
            return invalid(format!("dot4 of {}, {} and {}", acc.ty, a.ty, b.ty));
        }
        // The product is the same either way round: the unsigned word comes first.
        let (a, b) = if a.ty.scalar == Scalar::I32 && b.ty.scalar == Scalar::U32 { (b, a) } else { (a, b) };
        let mixed = a.ty.scalar != b.ty.scalar;
        let bits = 32 * u32::from(lanes);
        let dots = self.dots;
        let vnni = match bits {
            512 => dots.vnni_512,
            128 | 256 => dots.vnni_256,
            _ => false,
        };
        if vnni && mixed {
            let name = format!("llvm.x86.avx512.vpdpbusd.{bits}");
            let raw = self.intrinsic_value(&name, &[], &[acc.raw.into(), a.raw.into(), b.raw.into()])?;
            return Ok(Value::new(raw, acc.ty));
        }
        if bits == 128 && if mixed { dots.mixed_sign } else { dots.same_sign } {
            let name = match (mixed, a.ty.scalar) {
                (true, _) => "llvm.aarch64.neon.usdot",
                (false, Scalar::I32) => "llvm.aarch64.neon.sdot",
                (false, _) => "llvm.aarch64.neon.udot",
            };
            let bytes = self.type_of(Type::vector(Scalar::I8, 4 * lanes));
            let (x, y) =
                (self.builder.build_bit_cast(a.raw, bytes, "")?, self.builder.build_bit_cast(b.raw, bytes, "")?);
            let raw =
                self.intrinsic_value(name, &[acc.raw.get_type(), bytes], &[acc.raw.into(), x.into(), y.into()])?;
            return Ok(Value::new(raw, acc.ty));
        }
        let (even, odd) = (self.halves(a)?, self.halves(b)?);
        let pairs = [(even.0, odd.0), (even.1, odd.1)];
        let mut sum = acc.raw;
        for (x, y) in pairs {
            sum = self.op(Op::Add, sum, self.products_of_pairs((x, y), (a.ty.scalar, b.ty.scalar), lanes)?)?;
        }
        Ok(Value::new(sum, acc.ty))
    }

    /// The even bytes of words and the odd ones, each as two halves of 16 bits.
    fn halves(&self, x: Value<'c>) -> Emit<(BasicValueEnum<'c>, BasicValueEnum<'c>)> {
        let half = Type::vector(Scalar::I16, 2 * x.ty.lanes);
        let raw = self.builder.build_bit_cast(x.raw, self.type_of(half), "")?;
        let eight = self.lanes_of(half, 8)?;
        let shift = if x.ty.scalar.is_signed() { Op::AShr } else { Op::LShr };
        let even = self.op(shift, self.op(Op::Shl, raw, eight)?, eight)?;
        Ok((even, self.op(shift, raw, eight)?))
    }

    /// Products of halves, neighbours added in 32 bits.
    fn products_of_pairs(
        &self,
        (x, y): (BasicValueEnum<'c>, BasicValueEnum<'c>),
        (a, b): (Scalar, Scalar),
        lanes: u16,
    ) -> Emit<BasicValueEnum<'c>> {
        let bits = 32 * u32::from(lanes);
        let madd = match bits {
            128 => "llvm.x86.sse2.pmadd.wd",
            256 => "llvm.x86.avx2.pmadd.wd",
            512 => "llvm.x86.avx512.pmaddw.d.512",
            _ => "",
        };
        if bits <= self.dots.madd_bits && !madd.is_empty() {
            return self.intrinsic_value(madd, &[], &[x.into(), y.into()]);
        }
        // 255 * 255 fits 16 bits without a sign, everything else with one.
        let unsigned = !a.is_signed() && !b.is_signed();
        let word = Type::vector(Scalar::I32, lanes);
        let products = self.op(Op::Mul, x, y)?;
        let products = self.builder.build_bit_cast(products, self.type_of(word), "")?;
        let sixteen = self.lanes_of(word, 16)?;
        let shift = if unsigned { Op::LShr } else { Op::AShr };
        let lower = self.op(shift, self.op(Op::Shl, products, sixteen)?, sixteen)?;
        self.op(Op::Add, lower, self.op(shift, products, sixteen)?)
    }
}
