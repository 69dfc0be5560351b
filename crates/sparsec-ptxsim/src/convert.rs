//! `cvt`: conversions between integers and floating-point formats.

use sparsec_ptx::{Rounding, Type};

use crate::float::Format;

/// The low bits of a register as a number of an integer type.
pub(crate) fn integer(ty: Type, bits: u64) -> i128 {
    let unused = 64 - ty.bits();
    if ty.is_signed() { i128::from((bits << unused) as i64 >> unused) } else { i128::from(bits << unused >> unused) }
}

/// Smallest and largest number of an integer type.
fn range(ty: Type) -> (i128, i128) {
    match ty.is_signed() {
        true => (-(1 << (ty.bits() - 1)), (1 << (ty.bits() - 1)) - 1),
        false => (0, (1 << ty.bits()) - 1),
    }
}

/// The value of a register of type `from` as one of type `to`. Narrow integers are extended to 64 bits.
pub(crate) fn convert(to: Type, from: Type, rounding: Option<Rounding>, saturate: bool, bits: u64) -> u64 {
    let mode = rounding.unwrap_or(Rounding::Rn);
    match (Format::of(from), Format::of(to)) {
        (None, None) => {
            let (low, high) = range(to);
            let x = integer(from, bits);
            let x = if saturate { x.clamp(low, high) } else { x };
            integer(to, x as u64) as u64
        }
        (None, Some(format)) => {
            let x = integer(from, bits);
            let result = format.encode(x < 0, x.unsigned_abs(), 0, mode);
            if saturate { format.round(format.decode(result).clamp(0.0, 1.0), mode) } else { result }
        }
        (Some(format), None) => {
            let x = format.decode(bits);
            let (low, high) = range(to);
            if x.is_nan() {
                let wide = from == Type::F64 || to.bits() == 64;
                return if wide { 1 << (to.bits() - 1) } else { 0 };
            }
            // The conversion saturates at the ends of i128, which are beyond those of the type.
            (whole(x, mode) as i128).clamp(low, high) as u64
        }
        (Some(source), Some(format)) => {
            let x = source.decode(bits);
            let integral = matches!(mode, Rounding::Rni | Rounding::Rzi | Rounding::Rmi | Rounding::Rpi);
            let x = if integral { whole(x, mode) } else { x };
            let x = match saturate {
                true if x.is_nan() => 0.0,
                true => x.clamp(0.0, 1.0),
                false => x,
            };
            format.round(x, if integral { Rounding::Rn } else { mode })
        }
    }
}

fn whole(x: f64, mode: Rounding) -> f64 {
    match mode {
        Rounding::Rzi | Rounding::Rz => x.trunc(),
        Rounding::Rmi => x.floor(),
        Rounding::Rpi => x.ceil(),
        Rounding::Rn | Rounding::Rni | Rounding::Rna => x.round_ties_even(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn f32_bits(x: f32) -> u64 {
        x.to_bits().into()
    }

    #[test]
    fn floats_to_integers_saturate() {
        let to = |ty, mode, x: f32| convert(ty, Type::F32, Some(mode), false, f32_bits(x)) as i64;
        assert_eq!(to(Type::S32, Rounding::Rzi, -2.9), -2);
        assert_eq!(to(Type::S32, Rounding::Rni, 2.5), 2);
        assert_eq!(to(Type::S32, Rounding::Rmi, -2.1), -3);
        assert_eq!(to(Type::S32, Rounding::Rpi, 2.1), 3);
        assert_eq!(to(Type::S32, Rounding::Rzi, 3e9), i64::from(i32::MAX));
        assert_eq!(to(Type::U8, Rounding::Rni, -7.0), 0);
        assert_eq!(to(Type::S8, Rounding::Rzi, -200.0), -128);
        assert_eq!(to(Type::S32, Rounding::Rzi, f32::NAN), 0);
        assert_eq!(to(Type::S64, Rounding::Rzi, f32::NAN), i64::MIN);
        assert_eq!(to(Type::S64, Rounding::Rzi, f32::INFINITY), i64::MAX);
    }

    #[test]
    fn integers_are_extended_cut_or_saturated() {
        assert_eq!(convert(Type::S32, Type::S8, None, false, 0xff) as i64, -1);
        assert_eq!(convert(Type::S32, Type::U8, None, false, 0xff), 255);
        assert_eq!(convert(Type::U8, Type::S32, None, false, 0x1ff), 255);
        assert_eq!(convert(Type::U8, Type::S32, None, true, 0xffff_ffff), 0);
        assert_eq!(convert(Type::S8, Type::S32, None, true, 300), 127);
        assert_eq!(convert(Type::S64, Type::S32, None, false, 0x8000_0000) as i64, i64::from(i32::MIN));
    }

    #[test]
    fn integers_to_floats_and_floats_to_floats() {
        let x = convert(Type::F32, Type::S32, Some(Rounding::Rn), false, 16_777_217);
        assert_eq!(f32::from_bits(x as u32), 16_777_216.0);
        let x = convert(Type::F32, Type::S64, Some(Rounding::Rz), false, (-16_777_219_i64) as u64);
        assert_eq!(f32::from_bits(x as u32), -16_777_218.0);
        let x = convert(Type::F16, Type::F32, Some(Rounding::Rn), false, f32_bits(1.0 / 3.0));
        assert_eq!(x, 0x3555);
        assert_eq!(convert(Type::F32, Type::F16, None, false, 0x3555), f32_bits(0.333_251_95));
        assert_eq!(convert(Type::Bf16, Type::F32, Some(Rounding::Rn), false, f32_bits(1.0 / 3.0)), 0x3eab);
        assert_eq!(convert(Type::F32, Type::F32, Some(Rounding::Rni), false, f32_bits(-2.5)), f32_bits(-2.0));
        assert_eq!(convert(Type::F32, Type::F32, Some(Rounding::Rni), false, f32_bits(-0.3)), f32_bits(-0.0));
        assert_eq!(convert(Type::F16, Type::F32, Some(Rounding::Rn), true, f32_bits(7.0)), 0x3c00);
        assert_eq!(convert(Type::F32, Type::F64, Some(Rounding::Rn), false, 0.1_f64.to_bits()), f32_bits(0.1));
    }
}
