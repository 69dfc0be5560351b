//! Floating-point formats: exact values to bits, rounded once.

use sparsec_ptx::{Rounding, Type};

/// A binary format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Format {
    /// Bits of the significand, the leading one included.
    precision: i32,
    /// Exponent of the smallest normal number; that of the largest is `1 - min_exponent`.
    min_exponent: i32,
    /// Bits of all, sign and padding included.
    width: u32,
    /// Zero bits below the significand.
    pad: u32,
    /// What arithmetic returns where it has no number.
    pub(crate) nan: u64,
}

const F16: Format = Format { precision: 11, min_exponent: -14, width: 16, pad: 0, nan: 0x7fff };
const BF16: Format = Format { precision: 8, min_exponent: -126, width: 16, pad: 0, nan: 0x7fff };
const TF32: Format = Format { precision: 11, min_exponent: -126, width: 32, pad: 13, nan: 0x7fff_ffff };
const F32: Format = Format { precision: 24, min_exponent: -126, width: 32, pad: 0, nan: 0x7fff_ffff };
const F64: Format = Format { precision: 53, min_exponent: -1022, width: 64, pad: 0, nan: 0x7fff_ffff_ffff_ffff };

impl Format {
    /// The format of (one part of) a type.
    pub(crate) fn of(ty: Type) -> Option<Format> {
        match ty {
            Type::F16 | Type::F16x2 => Some(F16),
            Type::Bf16 | Type::Bf16x2 => Some(BF16),
            Type::Tf32 => Some(TF32),
            Type::F32 => Some(F32),
            Type::F64 => Some(F64),
            _ => None,
        }
    }

    fn fraction_bits(self) -> u32 {
        self.precision as u32 - 1 + self.pad
    }

    /// The value, which `f64` holds exactly.
    pub(crate) fn decode(self, bits: u64) -> f64 {
        match self.width {
            64 => f64::from_bits(bits),
            32 => f64::from(f32::from_bits(bits as u32)),
            _ if self.precision == BF16.precision => f64::from(f32::from_bits((bits as u32) << 16)),
            _ => {
                let (exponent, fraction) = (bits as u32 >> 10 & 0x1f, bits as u32 & 0x3ff);
                let magnitude = match exponent {
                    0 => fraction as f32 * 2_f32.powi(-24),
                    // From here on, as an f32: its exponent counts from 127, that of infinity and NaN is 255.
                    0x1f => f32::from_bits(0xff << 23 | fraction << 13),
                    _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
                };
                f64::from(if bits & 0x8000 != 0 { -magnitude } else { magnitude })
            }
        }
    }

    /// The bits of a value, rounded.
    pub(crate) fn round(self, value: f64, mode: Rounding) -> u64 {
        if value.is_nan() {
            return self.nan;
        }
        let bits = value.to_bits();
        let negative = value.is_sign_negative();
        if value.is_infinite() {
            return self.infinity(negative);
        }
        let (exponent, fraction) = ((bits >> 52 & 0x7ff) as i32, u128::from(bits & ((1 << 52) - 1)));
        match exponent {
            0 => self.encode(negative, fraction, -1074, mode),
            _ => self.encode(negative, fraction | 1 << 52, exponent - 1075, mode),
        }
    }

    fn infinity(self, negative: bool) -> u64 {
        let exponents = (1 << (self.width - 1 - self.fraction_bits())) - 1;
        u64::from(negative) << (self.width - 1) | exponents << self.fraction_bits()
    }

    /// The bits of `mantissa * 2^exponent`, rounded.
    pub(crate) fn encode(self, negative: bool, mantissa: u128, exponent: i32, mode: Rounding) -> u64 {
        let sign = u64::from(negative) << (self.width - 1);
        if mantissa == 0 {
            return sign;
        }
        let digits = self.precision - 1;
        let top = exponent + 127 - mantissa.leading_zeros() as i32;
        // The exponent of the last digit that is kept.
        let mut last = top.max(self.min_exponent) - digits;
        let drop = last - exponent;
        let mut kept = match drop {
            ..=0 => mantissa << -drop,
            1..=127 => mantissa >> drop,
            _ => 0,
        };
        if (1..=128).contains(&drop) {
            let half = mantissa >> (drop - 1) & 1 == 1;
            let rest = mantissa & ((1 << (drop - 1)) - 1) != 0;
            let up = match mode {
                Rounding::Rn => half && (rest || kept & 1 == 1),
                Rounding::Rna => half,
                _ => false,
            };
            kept += u128::from(up);
        }
        if kept == 1 << self.precision {
            kept >>= 1;
            last += 1;
        }
        let kept = kept as u64;
        if kept < 1 << digits {
            return sign | kept << self.pad;
        }
        let biased = last + digits + 1 - self.min_exponent;
        if biased > 2 - 2 * self.min_exponent {
            // The largest finite number is one below infinity, among the bits that are not padding.
            let nearest = matches!(mode, Rounding::Rn | Rounding::Rna);
            let infinity = self.infinity(negative);
            return if nearest { infinity } else { infinity - (1 << self.pad) };
        }
        sign | (biased as u64) << self.fraction_bits() | (kept - (1 << digits)) << self.pad
    }
}

/// `x + y` so that rounding it to a format of at most 51 bits is as good as rounding the exact sum: to odd.
pub(crate) fn add_to_odd(x: f64, y: f64) -> f64 {
    let sum = x + y;
    if !sum.is_finite() {
        return sum;
    }
    let back = sum - x;
    let error = (x - (sum - back)) + (y - back);
    if error == 0.0 || sum.to_bits() & 1 == 1 {
        return sum;
    }
    // The exact sum lies between `sum` and its neighbour towards the error; one of the two is odd.
    let away = (error > 0.0) == (sum > 0.0);
    f64::from_bits(if away { sum.to_bits() + 1 } else { sum.to_bits() - 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_comes_back_and_agrees_with_another_implementation() {
        for bits in 0..=u16::MAX {
            let (ours, theirs) = (F16.decode(u64::from(bits)), half::f16::from_bits(bits).to_f64());
            assert!(ours.to_bits() == theirs.to_bits() || (ours.is_nan() && theirs.is_nan()), "{bits:#x}");
            let brain = BF16.decode(u64::from(bits));
            if !ours.is_nan() {
                assert_eq!(F16.round(ours, Rounding::Rn), u64::from(bits));
            }
            if !brain.is_nan() {
                assert_eq!(BF16.round(brain, Rounding::Rz), u64::from(bits));
            }
        }
    }

    #[test]
    fn rounding_by_hand() {
        let f16 = |x, mode| F16.round(x, mode);
        // 2049 lies between 2048 and 2050; 2051 between 2050 and 2052.
        assert_eq!(f16(2049.0, Rounding::Rn), 0x6800);
        assert_eq!(f16(2051.0, Rounding::Rn), 0x6802);
        assert_eq!(f16(2051.9, Rounding::Rz), 0x6801);
        assert_eq!(f16(-2051.0, Rounding::Rn), 0xe802);
        assert_eq!(
            [f16(65519.0, Rounding::Rn), f16(65520.0, Rounding::Rn), f16(1e9, Rounding::Rz)],
            [0x7bff, 0x7c00, 0x7bff]
        );
        // Half of the smallest number, and a little more.
        assert_eq!([f16(2_f64.powi(-25), Rounding::Rn), f16(1.01 * 2_f64.powi(-25), Rounding::Rn)], [0, 1]);
        assert_eq!(f16(2_f64.powi(-200), Rounding::Rn), 0);
        // A tf32 keeps ten digits: halves go away from zero.
        let one = 1.0_f32.to_bits();
        assert_eq!(TF32.round(1.0 + 2_f64.powi(-11), Rounding::Rna), u64::from(one | 1 << 13));
        assert_eq!(TF32.round(1.0 + 2_f64.powi(-12), Rounding::Rna), u64::from(one));
        assert_eq!(TF32.round(f64::from(f32::MAX), Rounding::Rna), u64::from(f32::INFINITY.to_bits()));
        // 2^24 + 1 as f32, and a number whose f64 is no longer exact.
        assert_eq!(F32.encode(false, (1 << 24) + 1, 0, Rounding::Rn), u64::from(16_777_216_f32.to_bits()));
        // 2^60 + 2^36 is a tie that the last one breaks; its f64 has lost the one.
        let above = u64::from(2_f32.powi(60).to_bits() + 1);
        assert_eq!(F32.encode(false, (1 << 60) + (1 << 36) + 1, 0, Rounding::Rn), above);
    }

    #[test]
    fn sums_to_odd() {
        // 1 + 2^-60 is no f64; rounded to odd it lies above 1, so that a tie is broken upwards.
        let x = add_to_odd(1.0, 2_f64.powi(-60));
        assert!(x > 1.0);
        assert_eq!(F16.round(add_to_odd(2049.0, 2_f64.powi(-60)), Rounding::Rn), 0x6801);
        assert_eq!(F16.round(add_to_odd(2049.0, -(2_f64.powi(-60))), Rounding::Rn), 0x6800);
        assert_eq!(add_to_odd(1.5, 2.25), 3.75);
    }
}
