//! Arithmetic on 32 lanes. A lane is a `u64`, of which a type's bits count; results are cut to the register by the caller.

use sparsec_ptx::{BinaryOp, CompareOp, Rounding, Type, UnaryOp};

use crate::convert::integer;
use crate::float::{Format, add_to_odd};

/// The values of a register in the lanes of a warp.
pub(crate) type Lanes = [u64; 32];

#[inline(always)]
fn map1(a: &Lanes, f: impl Fn(u64) -> u64) -> Lanes {
    std::array::from_fn(|l| f(a[l]))
}

#[inline(always)]
fn map2(a: &Lanes, b: &Lanes, f: impl Fn(u64, u64) -> u64) -> Lanes {
    std::array::from_fn(|l| f(a[l], b[l]))
}

#[inline(always)]
fn map3(a: &Lanes, b: &Lanes, c: &Lanes, f: impl Fn(u64, u64, u64) -> u64) -> Lanes {
    std::array::from_fn(|l| f(a[l], b[l], c[l]))
}

/// An `f32` result; NaN is always the same.
#[inline(always)]
fn single(x: f32) -> u64 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits().into() }
}

#[inline(always)]
fn f32_of(x: u64) -> f32 {
    f32::from_bits(x as u32)
}

/// An operation of `f32` on two values.
#[inline(always)]
fn on_f32(f: impl Fn(f32, f32) -> f32) -> impl Fn(u64, u64) -> u64 {
    move |x, y| single(f(f32_of(x), f32_of(y)))
}

#[inline(always)]
fn on_f64(f: impl Fn(f64, f64) -> f64) -> impl Fn(u64, u64) -> u64 {
    move |x, y| f(f64::from_bits(x), f64::from_bits(y)).to_bits()
}

/// The smaller or larger, the one that is no NaN, and -0 below +0.
fn extreme(x: f64, y: f64, larger: bool) -> f64 {
    if x.is_nan() || y.is_nan() {
        return if x.is_nan() { y } else { x };
    }
    let x_first = x < y || (x == y && x.is_sign_negative());
    if x_first == larger { y } else { x }
}

/// An operation on the parts of a packed type, or on the whole of another.
fn parts(ty: Type, f: impl Fn(u64) -> u64, x: u64) -> u64 {
    match ty {
        Type::F16x2 | Type::Bf16x2 => f(x & 0xffff) | f(x >> 16 & 0xffff) << 16,
        _ => f(x),
    }
}

fn parts2(ty: Type, f: impl Fn(u64, u64) -> u64, x: u64, y: u64) -> u64 {
    match ty {
        Type::F16x2 | Type::Bf16x2 => f(x & 0xffff, y & 0xffff) | f(x >> 16 & 0xffff, y >> 16 & 0xffff) << 16,
        _ => f(x, y),
    }
}

pub(crate) fn unary(op: UnaryOp, ty: Type, a: &Lanes) -> Lanes {
    let sign = 1_u64 << (if matches!(ty, Type::F16x2 | Type::Bf16x2) { 16 } else { ty.bits() } - 1);
    let width = ty.bits();
    match (op, ty) {
        (UnaryOp::Neg, _) if ty.is_float() => map1(a, |x| parts(ty, |x| x ^ sign, x)),
        (UnaryOp::Abs, _) if ty.is_float() => map1(a, |x| parts(ty, |x| x & !sign, x)),
        (UnaryOp::Neg, _) => map1(a, u64::wrapping_neg),
        (UnaryOp::Abs, _) => map1(a, |x| (integer(ty, x) as i64).wrapping_abs() as u64),
        (UnaryOp::Not, _) => map1(a, |x| !x),
        (UnaryOp::Sqrt, Type::F64) => map1(a, |x| f64::from_bits(x).sqrt().to_bits()),
        (UnaryOp::Sqrt, _) => map1(a, |x| single(f32_of(x).sqrt())),
        (UnaryOp::Rcp, Type::F64) => map1(a, |x| (1.0 / f64::from_bits(x)).to_bits()),
        (UnaryOp::Rcp, _) => map1(a, |x| single(1.0 / f32_of(x))),
        (UnaryOp::Popc, _) => map1(a, |x| u64::from((x << (64 - width)).count_ones())),
        (UnaryOp::Clz, _) => map1(a, |x| u64::from((x << (64 - width)).leading_zeros().min(width))),
        (UnaryOp::Brev, _) => map1(a, |x| x.reverse_bits() >> (64 - width)),
    }
}

pub(crate) fn binary(op: BinaryOp, ty: Type, a: &Lanes, b: &Lanes) -> Lanes {
    match (op, ty) {
        (BinaryOp::And, _) => map2(a, b, |x, y| x & y),
        (BinaryOp::Or, _) => map2(a, b, |x, y| x | y),
        (BinaryOp::Xor, _) => map2(a, b, |x, y| x ^ y),
        (BinaryOp::Add, Type::F32) => map2(a, b, on_f32(|x, y| x + y)),
        (BinaryOp::Sub, Type::F32) => map2(a, b, on_f32(|x, y| x - y)),
        (BinaryOp::Mul, Type::F32) => map2(a, b, on_f32(|x, y| x * y)),
        (BinaryOp::Div, Type::F32) => map2(a, b, on_f32(|x, y| x / y)),
        (BinaryOp::Add, Type::F64) => map2(a, b, on_f64(|x, y| x + y)),
        (BinaryOp::Sub, Type::F64) => map2(a, b, on_f64(|x, y| x - y)),
        (BinaryOp::Mul, Type::F64) => map2(a, b, on_f64(|x, y| x * y)),
        (BinaryOp::Div, Type::F64) => map2(a, b, on_f64(|x, y| x / y)),
        _ => match Format::of(ty) {
            Some(format) => map2(a, b, |x, y| parts2(ty, |x, y| small_float(op, format, x, y), x, y)),
            None => integers(op, ty, a, b),
        },
    }
}

/// Operations of `f16` and `bf16`, and the smaller and larger of all formats.
fn small_float(op: BinaryOp, format: Format, x: u64, y: u64) -> u64 {
    let (x, y) = (format.decode(x), format.decode(y));
    let exact = match op {
        BinaryOp::Add => add_to_odd(x, y),
        BinaryOp::Sub => add_to_odd(x, -y),
        BinaryOp::Mul => x * y,
        BinaryOp::Min => extreme(x, y, false),
        BinaryOp::Max => extreme(x, y, true),
        _ => f64::NAN,
    };
    format.round(exact, Rounding::Rn)
}

fn integers(op: BinaryOp, ty: Type, a: &Lanes, b: &Lanes) -> Lanes {
    let n = |x| integer(ty, x);
    let width = u64::from(ty.bits());
    match op {
        BinaryOp::Add => map2(a, b, u64::wrapping_add),
        BinaryOp::Sub => map2(a, b, u64::wrapping_sub),
        BinaryOp::Mul => map2(a, b, u64::wrapping_mul),
        // The product of two u64 is below 2^128, and so fits where it wraps.
        BinaryOp::MulHi => map2(a, b, |x, y| (n(x).wrapping_mul(n(y)) as u128 >> width) as u64),
        BinaryOp::MulWide => map2(a, b, |x, y| n(x).wrapping_mul(n(y)) as u64),
        // The ISA leaves division by zero open; these are the values of the hardware.
        BinaryOp::Div => map2(a, b, |x, y| n(x).checked_div(n(y)).map_or(u64::MAX, |q| q as u64)),
        BinaryOp::Rem => map2(a, b, |x, y| n(x).checked_rem(n(y)).map_or(x, |r| r as u64)),
        BinaryOp::Min => map2(a, b, |x, y| n(x).min(n(y)) as u64),
        BinaryOp::Max => map2(a, b, |x, y| n(x).max(n(y)) as u64),
        BinaryOp::Shl => map2(a, b, |x, y| if y & 0xffff_ffff < width { x << (y & 63) } else { 0 }),
        // Arithmetic for signed types: the number has its sign by now.
        BinaryOp::Shr => map2(a, b, |x, y| (n(x) >> (y & 0xffff_ffff).min(width)) as u64),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => [0; 32],
    }
}

/// `a * b + c` of integers: the low bits, or all, since operands are numbers.
pub(crate) fn mad(ty: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    map3(a, b, c, |x, y, z| (integer(ty, x).wrapping_mul(integer(ty, y)) as u64).wrapping_add(z))
}

pub(crate) fn fma(ty: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    match (ty, Format::of(ty)) {
        (Type::F32, _) => map3(a, b, c, |x, y, z| single(f32_of(x).mul_add(f32_of(y), f32_of(z)))),
        (Type::F64, _) => {
            map3(a, b, c, |x, y, z| f64::from_bits(x).mul_add(f64::from_bits(y), f64::from_bits(z)).to_bits())
        }
        (_, Some(format)) => {
            let one = |x, y, z| {
                let sum = add_to_odd(format.decode(x) * format.decode(y), format.decode(z));
                format.round(sum, Rounding::Rn)
            };
            map3(a, b, c, |x, y, z| match ty {
                Type::F16x2 | Type::Bf16x2 => {
                    let high = one(x >> 16 & 0xffff, y >> 16 & 0xffff, z >> 16 & 0xffff);
                    one(x & 0xffff, y & 0xffff, z & 0xffff) | high << 16
                }
                _ => one(x, y, z),
            })
        }
        _ => [0; 32],
    }
}

pub(crate) fn dp4a(a_type: Type, b_type: Type, a: &Lanes, b: &Lanes, c: &Lanes) -> Lanes {
    let byte = |ty: Type, x: u64, i: u32| {
        let byte = (x >> (8 * i)) as u8;
        if ty.is_signed() { i64::from(byte as i8) } else { i64::from(byte) }
    };
    map3(a, b, c, |x, y, z| {
        let sum: i64 = (0..4).map(|i| byte(a_type, x, i) * byte(b_type, y, i)).sum();
        z.wrapping_add(sum as u64)
    })
}

pub(crate) fn bfe(ty: Type, a: &Lanes, start: &Lanes, len: &Lanes) -> Lanes {
    let width = u64::from(ty.bits());
    map3(a, start, len, |x, start, len| {
        let (start, len) = (start & 0xff, len & 0xff);
        // Beyond the width, unsigned fields have zeros, signed ones the sign, which the number continues forever.
        let number = integer(ty, x);
        let field = number >> start.min(width);
        match len.min(width) {
            0 => 0,
            len => {
                let cut = field & ((1_i128 << len) - 1);
                let last = (start + len - 1).min(width - 1);
                let negative = ty.is_signed() && number >> last & 1 == 1;
                (if negative { cut | -(1_i128 << len) } else { cut }) as u64
            }
        }
    })
}

pub(crate) fn bfi(ty: Type, a: &Lanes, into: &Lanes, start: &Lanes, len: &Lanes) -> Lanes {
    let width = u64::from(ty.bits());
    std::array::from_fn(|l| {
        let (start, len) = (start[l] & 0xff, len[l] & 0xff);
        let end = (start + len).min(width);
        if start >= end {
            return into[l];
        }
        let ones = u64::MAX >> (64 - (end - start));
        into[l] & !(ones << start) | (a[l] & ones) << start
    })
}

pub(crate) fn prmt(a: &Lanes, b: &Lanes, selector: &Lanes) -> Lanes {
    map3(a, b, selector, |x, y, selector| {
        let all = (x & 0xffff_ffff) | y << 32;
        (0..4).fold(0, |result, i| {
            let nibble = selector >> (4 * i) & 0xf;
            let byte = (all >> (8 * (nibble & 7))) as u8;
            let byte = if nibble & 8 == 0 { byte } else { ((byte as i8) >> 7) as u8 };
            result | u64::from(byte) << (8 * i)
        })
    })
}

/// The lanes in which the comparison holds.
pub(crate) fn compare(op: CompareOp, ty: Type, a: &Lanes, b: &Lanes) -> u32 {
    let test = |f: &dyn Fn(usize) -> bool| (0..32).fold(0_u32, |mask, l| mask | u32::from(f(l)) << l);
    match Format::of(ty) {
        Some(format) => test(&|l| {
            let (x, y) = (format.decode(a[l]), format.decode(b[l]));
            let nan = x.is_nan() || y.is_nan();
            match op {
                CompareOp::Eq => x == y,
                CompareOp::Ne => !nan && x != y,
                CompareOp::Lt => x < y,
                CompareOp::Le => x <= y,
                CompareOp::Gt => x > y,
                CompareOp::Ge => x >= y,
                CompareOp::Equ => nan || x == y,
                CompareOp::Neu => x != y,
                CompareOp::Ltu => nan || x < y,
                CompareOp::Leu => nan || x <= y,
                CompareOp::Gtu => nan || x > y,
                CompareOp::Geu => nan || x >= y,
                CompareOp::Num => !nan,
                CompareOp::Nan => nan,
            }
        }),
        None => test(&|l| {
            let (x, y) = (integer(ty, a[l]), integer(ty, b[l]));
            match op {
                CompareOp::Eq => x == y,
                CompareOp::Ne => x != y,
                CompareOp::Lt => x < y,
                CompareOp::Le => x <= y,
                CompareOp::Gt => x > y,
                CompareOp::Ge => x >= y,
                _ => false,
            }
        }),
    }
}

/// The value that an atomic operation writes.
pub(crate) fn atomic(op: sparsec_ptx::AtomOp, ty: Type, old: u64, new: u64, second: u64) -> u64 {
    use sparsec_ptx::AtomOp;
    let one = |op, x, y| binary(op, ty, &[x; 32], &[y; 32])[0];
    match op {
        AtomOp::Add => one(BinaryOp::Add, old, new),
        AtomOp::Min => one(BinaryOp::Min, old, new),
        AtomOp::Max => one(BinaryOp::Max, old, new),
        AtomOp::And => old & new,
        AtomOp::Or => old | new,
        AtomOp::Xor => old ^ new,
        AtomOp::Exch => new,
        AtomOp::Cas => {
            if old == new {
                second
            } else {
                old
            }
        }
    }
}
