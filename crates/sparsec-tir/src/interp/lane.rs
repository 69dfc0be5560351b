//! Arithmetic of one lane.
//!
//! A lane is 64 bits: integers extended by their sign or by zeros, `bool` 0 or 1, floats as their bits.

use half::{bf16, f16};

use crate::{BinaryOp, CompareOp, ReduceOp, Scalar, UnaryOp};

/// The bits of a floating-point constant of a type.
pub(crate) fn float_bits(value: f64, s: Scalar) -> u64 {
    match s {
        Scalar::F16 => f16::from_f64(value).to_bits().into(),
        Scalar::BF16 => bf16::from_f64(value).to_bits().into(),
        Scalar::F32 => (value as f32).to_bits().into(),
        _ => value.to_bits(),
    }
}

/// The lane of an integer, wrapped to the type.
pub(crate) fn int_bits(value: i64, s: Scalar) -> u64 {
    match s {
        Scalar::Bool => u64::from(value & 1 != 0),
        Scalar::I8 => value as i8 as u64,
        Scalar::I16 => value as i16 as u64,
        Scalar::I32 => value as i32 as u64,
        Scalar::U8 => value as u8 as u64,
        Scalar::U16 => value as u16 as u64,
        Scalar::U32 => value as u32 as u64,
        _ => value as u64,
    }
}

/// What undefined memory holds: NaN, or a number that hardly anything else is.
pub(crate) fn poison(s: Scalar) -> u64 {
    if s.is_float() { float_bits(f64::NAN, s) } else { int_bits(0x4BCB_CBCB_CBCB_CBCB, s) }
}

/// The lane that is stored in little-endian bytes.
pub(crate) fn read(bytes: &[u8], s: Scalar) -> u64 {
    let mut raw = [0; 8];
    raw.iter_mut().zip(bytes).take(s.size()).for_each(|(r, b)| *r = *b);
    let raw = u64::from_le_bytes(raw);
    if s == Scalar::Bool {
        u64::from(raw != 0)
    } else if s.is_float() {
        raw
    } else {
        int_bits(raw as i64, s)
    }
}

/// Stores a lane as little-endian bytes.
pub(crate) fn write(bytes: &mut [u8], s: Scalar, lane: u64) {
    bytes.iter_mut().zip(lane.to_le_bytes()).take(s.size()).for_each(|(b, l)| *b = l);
}

fn to_f32(lane: u64, s: Scalar) -> f32 {
    match s {
        Scalar::F16 => f16::from_bits(lane as u16).to_f32(),
        Scalar::BF16 => bf16::from_bits(lane as u16).to_f32(),
        _ => f32::from_bits(lane as u32),
    }
}

fn from_f32(value: f32, s: Scalar) -> u64 {
    match s {
        Scalar::F16 => f16::from_f32(value).to_bits().into(),
        Scalar::BF16 => bf16::from_f32(value).to_bits().into(),
        _ => value.to_bits().into(),
    }
}

fn to_f64(lane: u64, s: Scalar) -> f64 {
    if s == Scalar::F64 { f64::from_bits(lane) } else { to_f32(lane, s).into() }
}

/// A unary operation. Operations of 16-bit floats are done in `f32` and rounded.
pub(crate) fn unary(op: UnaryOp, s: Scalar, a: u64) -> u64 {
    match s {
        Scalar::F64 => unary_f64(op, f64::from_bits(a)).to_bits(),
        Scalar::F32 | Scalar::F16 | Scalar::BF16 => {
            let x = to_f32(a, s);
            let y = match op {
                UnaryOp::Neg => -x,
                UnaryOp::Abs => x.abs(),
                UnaryOp::Sqrt => x.sqrt(),
                UnaryOp::Floor => x.floor(),
                UnaryOp::Ceil => x.ceil(),
                UnaryOp::Round => x.round_ties_even(),
                _ => unary_f64(op, x.into()) as f32,
            };
            from_f32(y, s)
        }
        Scalar::Bool => a ^ 1,
        _ => match op {
            UnaryOp::Neg => int_bits((a as i64).wrapping_neg(), s),
            UnaryOp::Abs if s.is_signed() => int_bits((a as i64).wrapping_abs(), s),
            UnaryOp::Not => int_bits(!(a as i64), s),
            _ => a,
        },
    }
}

fn unary_f64(op: UnaryOp, x: f64) -> f64 {
    match op {
        UnaryOp::Neg => -x,
        UnaryOp::Abs => x.abs(),
        UnaryOp::Sqrt => x.sqrt(),
        UnaryOp::Floor => x.floor(),
        UnaryOp::Ceil => x.ceil(),
        UnaryOp::Round => x.round_ties_even(),
        UnaryOp::Exp => libm::exp(x),
        UnaryOp::Log => libm::log(x),
        UnaryOp::Erf => libm::erf(x),
        UnaryOp::Tanh => libm::tanh(x),
        UnaryOp::Sin => libm::sin(x),
        UnaryOp::Cos => libm::cos(x),
        UnaryOp::Not => x,
    }
}

/// A binary operation.
pub(crate) fn binary(op: BinaryOp, s: Scalar, a: u64, b: u64) -> u64 {
    match s {
        Scalar::F64 => {
            let (x, y) = (f64::from_bits(a), f64::from_bits(b));
            let z = match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Min if x < y => x,
                BinaryOp::Max if x > y => x,
                BinaryOp::Pow => libm::pow(x, y),
                _ => y,
            };
            z.to_bits()
        }
        Scalar::F32 | Scalar::F16 | Scalar::BF16 => {
            let (x, y) = (to_f32(a, s), to_f32(b, s));
            let z = match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Min if x < y => x,
                BinaryOp::Max if x > y => x,
                BinaryOp::Pow => libm::pow(x.into(), y.into()) as f32,
                _ => y,
            };
            from_f32(z, s)
        }
        _ if s.is_signed() => int_bits(signed(op, s, a as i64, b as i64), s),
        _ => int_bits(unsigned(op, s, a, b) as i64, s),
    }
}

fn signed(op: BinaryOp, s: Scalar, x: i64, y: i64) -> i64 {
    let bits = s.size() as u32 * 8;
    match op {
        BinaryOp::Add => x.wrapping_add(y),
        BinaryOp::Sub => x.wrapping_sub(y),
        BinaryOp::Mul => x.wrapping_mul(y),
        BinaryOp::Div if y == 0 => 0,
        BinaryOp::Div => x.wrapping_div(y),
        BinaryOp::Rem if y == 0 => 0,
        BinaryOp::Rem => x.wrapping_rem(y),
        BinaryOp::FloorDiv if y == 0 => 0,
        BinaryOp::FloorDiv => {
            let q = x.wrapping_div(y);
            if x.wrapping_rem(y) != 0 && (x < 0) != (y < 0) { q - 1 } else { q }
        }
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl => x.wrapping_shl(y as u32 % bits),
        BinaryOp::Shr => x.wrapping_shr(y as u32 % bits),
        BinaryOp::Pow => y,
    }
}

fn unsigned(op: BinaryOp, s: Scalar, x: u64, y: u64) -> u64 {
    let bits = s.size() as u32 * 8;
    match op {
        BinaryOp::Div | BinaryOp::FloorDiv => x.checked_div(y).unwrap_or(0),
        BinaryOp::Rem => x.checked_rem(y).unwrap_or(0),
        BinaryOp::Min => x.min(y),
        BinaryOp::Max => x.max(y),
        BinaryOp::Shr => x.wrapping_shr(y as u32 % bits),
        _ => signed(op, s, x as i64, y as i64) as u64,
    }
}

/// `a * b + c`, rounded once (16-bit floats: once more, from `f32`).
pub(crate) fn fma(s: Scalar, a: u64, b: u64, c: u64) -> u64 {
    match s {
        Scalar::F64 => f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
        _ => from_f32(to_f32(a, s).mul_add(to_f32(b, s), to_f32(c, s)), s),
    }
}

/// `acc` and the products of the four bytes of two words, which are signed where the word is.
pub(crate) fn dot4(acc: u64, a: (u64, Scalar), b: (u64, Scalar)) -> u64 {
    let byte = |(word, s): (u64, Scalar), i: usize| {
        let byte = (word >> (8 * i)) as u8;
        if s.is_signed() { i64::from(byte as i8) } else { i64::from(byte) }
    };
    let sum: i64 = (0..4).map(|i| byte(a, i) * byte(b, i)).sum();
    int_bits((acc as i64).wrapping_add(sum), Scalar::I32)
}

/// A comparison.
pub(crate) fn compare(op: CompareOp, s: Scalar, a: u64, b: u64) -> bool {
    let order = if s.is_float() {
        to_f64(a, s).partial_cmp(&to_f64(b, s))
    } else if s.is_signed() {
        Some((a as i64).cmp(&(b as i64)))
    } else {
        Some(a.cmp(&b))
    };
    match (op, order) {
        (CompareOp::Ne, None) => true,
        (_, None) => false,
        (CompareOp::Eq, Some(o)) => o.is_eq(),
        (CompareOp::Ne, Some(o)) => o.is_ne(),
        (CompareOp::Lt, Some(o)) => o.is_lt(),
        (CompareOp::Le, Some(o)) => o.is_le(),
        (CompareOp::Gt, Some(o)) => o.is_gt(),
        (CompareOp::Ge, Some(o)) => o.is_ge(),
    }
}

/// Conversion of a value.
pub(crate) fn convert(from: Scalar, to: Scalar, a: u64) -> u64 {
    if from == to {
        return a;
    }
    match (from.is_float(), to.is_float()) {
        (true, true) => match (from, to) {
            (Scalar::F64, _) => float_bits(f64::from_bits(a), to),
            (_, Scalar::F64) => to_f64(a, from).to_bits(),
            _ => from_f32(to_f32(a, from), to),
        },
        (true, false) => {
            let x = to_f64(a, from);
            match to {
                Scalar::Bool => u64::from(x != 0.0),
                Scalar::I8 => x as i8 as u64,
                Scalar::I16 => x as i16 as u64,
                Scalar::I32 => x as i32 as u64,
                Scalar::I64 => x as i64 as u64,
                Scalar::U8 => x as u8 as u64,
                Scalar::U16 => x as u16 as u64,
                Scalar::U32 => x as u32 as u64,
                _ => x as u64,
            }
        }
        (false, true) => match (to, from.is_signed()) {
            (Scalar::F64, true) => (a as i64 as f64).to_bits(),
            (Scalar::F64, false) => (a as f64).to_bits(),
            (_, true) => from_f32(a as i64 as f32, to),
            (_, false) => from_f32(a as f32, to),
        },
        (false, false) if to == Scalar::Bool => u64::from(a != 0),
        (false, false) => int_bits(a as i64, to),
    }
}

/// Reduction over lanes as a balanced tree, in place; the lanes are a power of two.
pub(crate) fn reduce(op: ReduceOp, s: Scalar, lanes: &mut [u64]) -> u64 {
    let op = match op {
        ReduceOp::Add => BinaryOp::Add,
        ReduceOp::Mul => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    let mut n = lanes.len();
    while n > 1 {
        n /= 2;
        for i in 0..n {
            lanes[i] = binary(op, s, lanes[i], lanes[i + n]);
        }
    }
    lanes.first().copied().unwrap_or(0)
}
