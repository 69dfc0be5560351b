//! Floating-point formats of 8 and 4 bits (OCP 8-bit Floating Point Specification 1.0; OCP Microscaling Formats 1.0).
//!
//! A code is a sign, an exponent and a mantissa. Exponent 0 holds the subnormal numbers. What the largest codes mean is
//! what distinguishes the formats, see [`Specials`].

use crate::DType;

/// Which codes are no finite numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Specials {
    /// The largest exponent holds infinities (mantissa 0) and NaNs, as in IEEE 754.
    Infinities,
    /// The largest code of either sign is NaN.
    LargestIsNan,
    /// The code of -0 is NaN, and there is no -0.
    NegativeZeroIsNan,
    /// There are none: numbers saturate, and NaN becomes -0.
    Nothing,
    /// No sign, no mantissa, no zero: the code is the exponent, 255 is NaN.
    Exponent,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmallFloat {
    /// Bits of the mantissa.
    pub mantissa: u32,
    /// What is subtracted from an exponent's code.
    pub bias: i32,
    /// The largest finite code without its sign.
    pub largest: u8,
    /// The bit of the sign.
    pub sign: u8,
    /// Which codes are no finite numbers.
    pub specials: Specials,
}

impl SmallFloat {
    /// The format of a type.
    pub(crate) fn of(dtype: DType) -> Option<Self> {
        let (mantissa, bias, largest, specials) = match dtype {
            DType::F8E4M3FN => (3, 7, 0x7e, Specials::LargestIsNan),
            DType::F8E4M3FNUZ => (3, 8, 0x7f, Specials::NegativeZeroIsNan),
            DType::F8E5M2 => (2, 15, 0x7b, Specials::Infinities),
            DType::F8E5M2FNUZ => (2, 16, 0x7f, Specials::NegativeZeroIsNan),
            DType::F4E2M1 => (1, 1, 0x7, Specials::Nothing),
            DType::F8E8M0 => (0, 127, 0xfe, Specials::Exponent),
            _ => return None,
        };
        let sign = if dtype == DType::F4E2M1 { 0x8 } else { 0x80 };
        Some(SmallFloat { mantissa, bias, largest, sign, specials })
    }

    /// The largest finite number.
    #[must_use]
    pub fn max(self) -> f64 {
        self.decode(self.largest)
    }

    /// The code of NaN (of -0, where there is no NaN).
    #[must_use]
    pub fn nan(self) -> u8 {
        match self.specials {
            Specials::Infinities => 0x7e,
            Specials::LargestIsNan => 0x7f,
            Specials::NegativeZeroIsNan | Specials::Nothing => self.sign,
            Specials::Exponent => 0xff,
        }
    }

    /// The code, without its sign, of what is beyond the largest number: infinity, NaN, or the largest number itself.
    #[must_use]
    pub fn overflow(self) -> u8 {
        match self.specials {
            Specials::Infinities | Specials::LargestIsNan => self.largest + 1,
            Specials::NegativeZeroIsNan => self.sign,
            Specials::Nothing | Specials::Exponent => self.largest,
        }
    }

    /// The exponent of subnormal numbers and of the smallest normal ones.
    #[must_use]
    pub fn least_exponent(self) -> i32 {
        1 - self.bias
    }

    /// The number that a code stands for.
    #[must_use]
    pub fn decode(self, code: u8) -> f64 {
        if self.specials == Specials::Exponent {
            return if code == self.nan() { f64::NAN } else { power(i32::from(code) - self.bias) };
        }
        let negative = code & self.sign != 0;
        let code = code & (self.sign | (self.sign - 1));
        let magnitude = code & (self.sign - 1);
        let (nan, infinite) = match self.specials {
            Specials::Infinities => (magnitude > self.overflow(), magnitude == self.overflow()),
            Specials::LargestIsNan => (magnitude > self.largest, false),
            Specials::NegativeZeroIsNan => (code == self.sign, false),
            Specials::Nothing | Specials::Exponent => (false, false),
        };
        let fraction = i32::from(magnitude) & ((1 << self.mantissa) - 1);
        let exponent = i32::from(magnitude) >> self.mantissa;
        let digits = if exponent == 0 { fraction } else { fraction | 1 << self.mantissa };
        let value = match () {
            () if nan => return f64::NAN,
            () if infinite => f64::INFINITY,
            () => f64::from(digits) * power(exponent.max(1) - self.bias - self.mantissa as i32),
        };
        if negative { -value } else { value }
    }

    /// The code of a number: the nearest, halves to even; see [`SmallFloat::overflow`] for what is beyond the largest.
    /// An exponent alone is that of the next power of two upwards, whatever the sign, of the number as a binary32.
    #[must_use]
    pub fn encode(self, value: f64) -> u8 {
        if self.specials == Specials::Exponent {
            // The upper bits of a binary32, rounded up; below 2^-127 there is nothing.
            let bits = (value as f32).abs().to_bits();
            return match bits {
                0x7f80_0000.. => self.nan(),
                0..=0x40_0000 => 0,
                _ => ((bits + 0x7f_ffff) >> 23).min(u32::from(self.largest)) as u8,
            };
        }
        let exponent = (value.abs().to_bits() >> 52) as i32 - 1023;
        if value.is_nan() {
            return self.nan();
        }
        // The code counts steps of a quantum from zero on: the steps of all binades before, and those in this one.
        let binade = exponent.clamp(self.least_exponent(), 128);
        let steps = (value.abs() * power(self.mantissa as i32 - binade)).min(512.0).round_ties_even() as i32;
        let code = steps + ((binade - self.least_exponent()) << self.mantissa);
        let magnitude = if code > i32::from(self.largest) { self.overflow() } else { code as u8 };
        let unsigned = magnitude == self.nan() || magnitude == 0 && self.specials == Specials::NegativeZeroIsNan;
        if value.is_sign_negative() && !unsigned { magnitude | self.sign } else { magnitude }
    }
}

/// `2^n` for exponents of normal numbers.
fn power(n: i32) -> f64 {
    f64::from_bits(((n + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats() -> impl Iterator<Item = (DType, SmallFloat)> {
        DType::ALL.into_iter().filter_map(|t| Some((t, t.small_float()?)))
    }

    #[test]
    fn numbers_come_back_and_halves_go_to_even() {
        for (dtype, format) in formats() {
            let mut last = -1.0;
            for code in 0..=format.largest {
                let value = format.decode(code);
                assert!(value > last || format.specials == Specials::Exponent, "{dtype} {code:#x}");
                assert_eq!(format.encode(value), code, "{dtype} {value}");
                if code > 0 && format.specials != Specials::Exponent {
                    assert_eq!(format.encode(-value), code | format.sign);
                    let even = if code % 2 == 0 { code } else { code - 1 };
                    assert_eq!(format.encode(f64::midpoint(last, value)), even, "{dtype} below {value}");
                }
                last = value;
            }
        }
    }

    #[test]
    fn what_is_beyond_the_largest() {
        let encode = |dtype: DType, x| dtype.small_float().unwrap().encode(x);
        assert_eq!(encode(DType::F8E4M3FN, 464.0), 0x7e);
        assert_eq!(encode(DType::F8E4M3FN, 465.0), 0x7f);
        assert_eq!(encode(DType::F8E4M3FN, f64::NEG_INFINITY), 0x7f);
        assert_eq!(encode(DType::F8E5M2, 1e6), 0x7c);
        assert_eq!(encode(DType::F8E5M2, -1e6), 0xfc);
        assert_eq!(encode(DType::F8E4M3FNUZ, 1e6), 0x80);
        assert_eq!(encode(DType::F8E5M2FNUZ, -1e-9), 0);
        assert_eq!(encode(DType::F4E2M1, f64::INFINITY), 7);
        assert_eq!(encode(DType::F4E2M1, f64::NAN), 8);
        assert_eq!(encode(DType::F8E8M0, 1.1), 128);
        assert_eq!(encode(DType::F8E8M0, 0.0), 0);
        assert!(DType::F8E5M2.small_float().unwrap().decode(0x7f).is_nan());
    }
}
