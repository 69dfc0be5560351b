//! Conversions of element types that the tensor IR has no scalars for: codes of small floats and integers of 4 bits.
//!
//! They are bytes in memory. Conversions are a few integer operations on the bits of a wider float, the same in every lane,
//! and compute what `SmallFloat::decode` and `encode` of `sparsec-graph` do.

use sparsec_graph::{DType, SmallFloat, Specials};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, Type, UnaryOp};

use crate::context::{Context, scalar_of};
use crate::scalar::{Typed, constant};

/// An element as another type, kept in what [`scalar_of`] says.
pub(crate) fn emit_cast(c: &mut Context, x: Expr, from: DType, to: DType) -> Typed {
    let (x, s) = match from.small_float() {
        Some(format) => (decode(c, x, format), Scalar::F32),
        None => (x, scalar_of(from)),
    };
    let kept = scalar_of(to);
    let whole = |x: Expr| if s.is_float() { x.convert(Scalar::I32) } else { x };
    if let Some(format) = to.small_float() {
        let exact_in_f32 = matches!(s, Scalar::F32 | Scalar::F16 | Scalar::BF16) || s.size() < 4;
        let wide = if exact_in_f32 || format.specials == Specials::Exponent { Scalar::F32 } else { Scalar::F64 };
        // Wide integers are rounded once to binary64 before anything else, as the interpreter does.
        let x = if s.is_float() || exact_in_f32 { x } else { x.convert(Scalar::F64) };
        let found = if s.is_float() || exact_in_f32 { s } else { Scalar::F64 };
        let x = if found == wide { x } else { x.convert(wide) };
        return (encode(c, x, wide, format), kept);
    }
    let value = match to {
        DType::Bool if s != Scalar::Bool => Expr::compare(CompareOp::Ne, x, constant(0.0, s).0),
        DType::I4 => {
            let shift = || Expr::Int(4, Scalar::I8);
            let upper = Expr::binary(BinaryOp::Shl, to_scalar(whole(x), s, Scalar::I8), shift());
            Expr::binary(BinaryOp::Shr, upper, shift())
        }
        DType::U4 => Expr::binary(BinaryOp::And, to_scalar(whole(x), s, Scalar::U8), Expr::Int(15, Scalar::U8)),
        _ => to_scalar(x, s, kept),
    };
    (value, kept)
}

fn to_scalar(x: Expr, from: Scalar, to: Scalar) -> Expr {
    if from == to { x } else { x.convert(to) }
}

/// Operations on bits of one integer type.
#[derive(Clone, Copy)]
struct Bits {
    int: Scalar,
    float: Scalar,
    /// Bits of the float's mantissa.
    mantissa: u32,
    bias: i64,
}

impl Bits {
    fn of(float: Scalar) -> Self {
        match float {
            Scalar::F64 => Bits { int: Scalar::I64, float, mantissa: 52, bias: 1023 },
            _ => Bits { int: Scalar::I32, float, mantissa: 23, bias: 127 },
        }
    }

    fn int(self, value: i64) -> Expr {
        Expr::Int(value, self.int)
    }

    fn op(self, op: BinaryOp, x: Expr, value: i64) -> Expr {
        Expr::Binary(op, Box::new(x), Box::new(self.int(value)))
    }

    fn is(self, op: CompareOp, x: &Expr, value: i64) -> Expr {
        Expr::compare(op, x.clone(), self.int(value))
    }

    fn bits_of(self, c: &mut Context, x: Expr) -> Expr {
        self.bind(c, "bits", Expr::Bitcast(Type::scalar(self.int), Box::new(x)))
    }

    fn float_of(self, bits: Expr) -> Expr {
        Expr::Bitcast(Type::scalar(self.float), Box::new(bits))
    }

    fn bind(self, c: &mut Context, name: &str, x: Expr) -> Expr {
        c.bind(name, Type::scalar(self.int), x)
    }
}

/// The `f32` that a code stands for.
fn decode(c: &mut Context, code: Expr, format: SmallFloat) -> Expr {
    let b = Bits::of(Scalar::F32);
    let (sign, steps) = (i64::from(format.sign), format.mantissa);
    let code = b.bind(c, "code", code.convert(b.int));
    let nan = || Expr::f32(f64::NAN);
    if format.specials == Specials::Exponent {
        let power = b.float_of(b.op(BinaryOp::Shl, code.clone(), 23));
        let least = Expr::f32(format.decode(0));
        let power = Expr::select(b.is(CompareOp::Eq, &code, 0), least, power);
        return Expr::select(b.is(CompareOp::Eq, &code, i64::from(format.nan())), nan(), power);
    }
    let magnitude = b.bind(c, "magnitude", b.op(BinaryOp::And, code.clone(), sign - 1));
    let quantum = Expr::f32(format.decode(1));
    let subnormal = Expr::Binary(BinaryOp::Mul, Box::new(magnitude.clone().convert(Scalar::F32)), Box::new(quantum));
    let shifted = b.op(BinaryOp::Shl, magnitude.clone(), i64::from(b.mantissa - steps));
    let normal = b.float_of(b.op(BinaryOp::Add, shifted, (b.bias - i64::from(format.bias)) << b.mantissa));
    let mut value = Expr::select(b.is(CompareOp::Lt, &magnitude, 1 << steps), subnormal, normal);
    if let Specials::Infinities | Specials::LargestIsNan = format.specials {
        let largest = i64::from(format.largest);
        let beyond = match format.specials {
            Specials::Infinities => {
                Expr::select(b.is(CompareOp::Eq, &magnitude, largest + 1), Expr::f32(f64::INFINITY), nan())
            }
            _ => nan(),
        };
        value = Expr::select(b.is(CompareOp::Gt, &magnitude, largest), beyond, value);
    }
    let unsigned = b.bits_of(c, value);
    let to_top = i64::from(31 - format.sign.trailing_zeros());
    let negative = b.op(BinaryOp::Shl, b.op(BinaryOp::And, code.clone(), sign), to_top);
    let signed = b.float_of(Expr::Binary(BinaryOp::Or, Box::new(unsigned), Box::new(negative)));
    match format.specials {
        Specials::NegativeZeroIsNan => Expr::select(b.is(CompareOp::Eq, &code, sign), nan(), signed),
        _ => signed,
    }
}

/// The code, as `u8`, of a number of type `f32` or `f64`.
fn encode(c: &mut Context, x: Expr, float: Scalar, format: SmallFloat) -> Expr {
    let b = Bits::of(float);
    let number = |v: f64| Expr::Float(v, float);
    let x = c.bind("x", Type::scalar(float), x);
    let bits = b.bits_of(c, x.clone());
    let all = if b.int == Scalar::I64 { i64::MAX } else { i64::from(i32::MAX) };
    let magnitude = b.bind(c, "magnitude", b.op(BinaryOp::And, bits.clone(), all));
    let largest = i64::from(format.largest);
    if format.specials == Specials::Exponent {
        let up = b.op(BinaryOp::Shr, b.op(BinaryOp::Add, magnitude.clone(), 0x7f_ffff), 23);
        let code = b.op(BinaryOp::Min, up, largest);
        let code = Expr::select(b.is(CompareOp::Le, &magnitude, 0x40_0000), b.int(0), code);
        let code = Expr::select(b.is(CompareOp::Ge, &magnitude, 0x7f80_0000), b.int(i64::from(format.nan())), code);
        return code.convert(Scalar::U8);
    }
    let least = i64::from(format.least_exponent());
    let exponent = b.op(BinaryOp::Sub, b.op(BinaryOp::Shr, magnitude.clone(), i64::from(b.mantissa)), b.bias);
    let binade = b.op(BinaryOp::Min, b.op(BinaryOp::Max, exponent, least), 127);
    let binade = b.bind(c, "binade", binade);
    let steps = i64::from(format.mantissa);
    let scale = Expr::Binary(BinaryOp::Sub, Box::new(b.int(b.bias + steps)), Box::new(binade.clone()));
    let scale = b.float_of(b.op(BinaryOp::Shl, scale, i64::from(b.mantissa)));
    let scaled = Expr::Binary(BinaryOp::Mul, Box::new(b.float_of(magnitude)), Box::new(scale));
    let scaled = Expr::Binary(BinaryOp::Min, Box::new(scaled), Box::new(number(512.0)));
    let count = Expr::unary(UnaryOp::Round, scaled).convert(b.int);
    let before = b.op(BinaryOp::Shl, b.op(BinaryOp::Sub, binade, least), steps);
    let code = b.bind(c, "code", Expr::Binary(BinaryOp::Add, Box::new(count), Box::new(before)));
    let code = Expr::select(b.is(CompareOp::Gt, &code, largest), b.int(i64::from(format.overflow())), code);
    let code = b.bind(c, "finite", code);
    let width = b.int.size() as i64 * 8;
    let sign = b.op(BinaryOp::And, b.op(BinaryOp::Shr, bits, width - 1), i64::from(format.sign));
    let mut signed = Expr::Binary(BinaryOp::Or, Box::new(code.clone()), Box::new(sign));
    // These codes have no sign.
    let unsigned = match format.specials {
        Specials::NegativeZeroIsNan => Some(0),
        Specials::LargestIsNan => Some(i64::from(format.nan())),
        _ => None,
    };
    if let Some(unsigned) = unsigned {
        signed = Expr::select(b.is(CompareOp::Eq, &code, unsigned), code, signed);
    }
    let nan = Expr::compare(CompareOp::Ne, x.clone(), x);
    Expr::select(nan, b.int(i64::from(format.nan())), signed).convert(Scalar::U8)
}
