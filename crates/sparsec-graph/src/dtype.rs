//! Element types of tensors.

use std::fmt;
use std::str::FromStr;

use crate::SmallFloat;

/// The type of one tensor element, named as in the text form (`f32`, `i64`, `bool`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, 8 bits.
    I8,
    /// Signed, 16 bits.
    I16,
    /// Signed, 32 bits.
    I32,
    /// Signed, 64 bits.
    I64,
    /// Unsigned, 8 bits.
    U8,
    /// Unsigned, 16 bits.
    U16,
    /// Unsigned, 32 bits.
    U32,
    /// Unsigned, 64 bits.
    U64,
    /// IEEE 754 binary16.
    F16,
    /// bfloat16: the upper half of a binary32.
    BF16,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Signed, 4 bits, in a byte of its own. This type and those below are narrow: see [`DType::is_narrow`].
    I4,
    /// Unsigned, 4 bits, in a byte of its own.
    U4,
    /// 4 exponent bits (bias 7), 3 of mantissa, one NaN, no infinities.
    F8E4M3FN,
    /// 4 exponent bits (bias 8), 3 of mantissa; the code of -0 is NaN, no infinities.
    F8E4M3FNUZ,
    /// 5 exponent bits (bias 15), 2 of mantissa; infinities and NaNs as in IEEE 754.
    F8E5M2,
    /// 5 exponent bits (bias 16), 2 of mantissa; the code of -0 is NaN, no infinities.
    F8E5M2FNUZ,
    /// A power of two from 2^-127 to 2^127, or NaN.
    F8E8M0,
    /// 2 exponent bits (bias 1), 1 of mantissa, no NaN, no infinities; in a byte of its own.
    F4E2M1,
    /// A byte of a text in UTF-8. The last axis of a tensor of this type are the bytes of one text, padded with zeros: `string[3, 8]`
    /// holds three texts of at most 8 bytes, as NumPy's `S8` does. Converted as `u8`.
    String,
}

impl DType {
    /// Every element type, in declaration order.
    pub const ALL: [DType; 22] = [
        DType::Bool,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U16,
        DType::U32,
        DType::U64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
        DType::I4,
        DType::U4,
        DType::F8E4M3FN,
        DType::F8E4M3FNUZ,
        DType::F8E5M2,
        DType::F8E5M2FNUZ,
        DType::F8E8M0,
        DType::F4E2M1,
        DType::String,
    ];

    /// Size of one element in bytes.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::I8 | DType::U8 | DType::I4 | DType::U4 => 1,
            DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ => 1,
            DType::F8E8M0 | DType::F4E2M1 | DType::String => 1,
            DType::I16 | DType::U16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::U32 | DType::F32 => 4,
            DType::I64 | DType::U64 | DType::F64 => 8,
        }
    }

    /// The name in the text form.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::I8 => "i8",
            DType::I16 => "i16",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::U8 => "u8",
            DType::U16 => "u16",
            DType::U32 => "u32",
            DType::U64 => "u64",
            DType::F16 => "f16",
            DType::BF16 => "bf16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::I4 => "i4",
            DType::U4 => "u4",
            DType::F8E4M3FN => "f8e4m3fn",
            DType::F8E4M3FNUZ => "f8e4m3fnuz",
            DType::F8E5M2 => "f8e5m2",
            DType::F8E5M2FNUZ => "f8e5m2fnuz",
            DType::F8E8M0 => "f8e8m0",
            DType::F4E2M1 => "f4e2m1",
            DType::String => "string",
        }
    }

    /// Whether this is a floating-point type that is computed in.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
    }

    /// Whether this is an integer type that is computed in (`bool` is not).
    #[must_use]
    pub fn is_int(self) -> bool {
        !self.is_float() && !self.is_narrow() && self != DType::Bool
    }

    /// Whether numbers are computed in this type: any but `bool` and the narrow ones.
    #[must_use]
    pub fn is_number(self) -> bool {
        self.is_float() || self.is_int()
    }

    /// Whether elements of this type are only moved and converted: floats of 8 and 4 bits, integers of 4, bytes of texts. Each
    /// takes a byte; codes of 4 bits lie in its lower half, and `i4` is extended by its sign.
    #[must_use]
    pub fn is_narrow(self) -> bool {
        matches!(self, DType::I4 | DType::U4 | DType::String) || self.small_float().is_some()
    }

    /// How a floating-point type of 8 or 4 bits is encoded; `None` for all others.
    #[must_use]
    pub fn small_float(self) -> Option<SmallFloat> {
        SmallFloat::of(self)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DType {
    type Err = String;

    fn from_str(s: &str) -> Result<Self, String> {
        DType::ALL.into_iter().find(|t| t.name() == s).ok_or_else(|| format!("`{s}` is no element type"))
    }
}
