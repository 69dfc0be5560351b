//! What printer and parser share: identifiers, quoted strings, element values.

use std::fmt;

use half::{bf16, f16};

use crate::{DType, TensorData};

/// Words that stand for functions in a dimension expression.
pub(crate) const DIM_FUNCTIONS: [&str; 3] = ["floordiv", "min", "max"];

/// Whether a name can stand without quotes.
pub(crate) fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Shows a string in quotes, with what would confuse a reader escaped.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\t' => f.write_str("\\t")?,
                c if c.is_control() => write!(f, "\\u{{{:x}}}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

/// Shows a name bare where it is an identifier, quoted otherwise.
pub(crate) struct Name<'a>(pub(crate) &'a str);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_identifier(self.0) { f.write_str(self.0) } else { Quoted(self.0).fmt(f) }
    }
}

/// Writes element values as text that reads back to the same bits. Numbers are the shortest that do; a NaN other than
/// the usual one, and a byte that no `bool` or narrow element has, are written as their bits (`0x7fc00001`).
pub(crate) fn write_elements(out: &mut dyn fmt::Write, data: &TensorData) -> fmt::Result {
    let size = data.dtype.size();
    for (i, bytes) in data.bytes.chunks_exact(size).enumerate() {
        if i > 0 {
            out.write_str(", ")?;
        }
        let mut raw = [0u8; 8];
        raw[..size].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(raw);
        match data.dtype {
            DType::Bool if bits > 1 => write!(out, "{bits:#x}"),
            DType::I4 if (-8..8).contains(&(bits as i8)) => write!(out, "{}", bits as i8),
            DType::U4 if bits < 16 => write!(out, "{bits}"),
            DType::I4 | DType::U4 => write!(out, "{bits:#x}"),
            DType::Bool => write!(out, "{}", bits == 1),
            DType::I8 => write!(out, "{}", bits as i8),
            DType::I16 => write!(out, "{}", bits as i16),
            DType::I32 => write!(out, "{}", bits as i32),
            DType::I64 => write!(out, "{}", bits as i64),
            DType::U8 | DType::String | DType::U16 | DType::U32 | DType::U64 => write!(out, "{bits}"),
            dtype => {
                let (value, usual) = float_of_bits(dtype, bits);
                let code = dtype.small_float().map(|f| u64::from(f.encode(value)));
                if code.is_some_and(|code| code != bits) {
                    write!(out, "{bits:#x}")
                } else if !value.is_nan() {
                    match dtype {
                        DType::F64 => write!(out, "{value:?}"),
                        _ => write!(out, "{:?}", value as f32),
                    }
                } else if bits == usual {
                    out.write_str("nan")
                } else {
                    write!(out, "{bits:#x}")
                }
            }
        }?;
    }
    Ok(())
}

/// The value of a float's bits, and the bits of the NaN that is written `nan`.
fn float_of_bits(dtype: DType, bits: u64) -> (f64, u64) {
    if let Some(format) = dtype.small_float() {
        return (format.decode(bits as u8), u64::from(format.nan()));
    }
    match dtype {
        DType::F16 => (f16::from_bits(bits as u16).to_f64(), u64::from(f16::NAN.to_bits())),
        DType::BF16 => (bf16::from_bits(bits as u16).to_f64(), u64::from(bf16::NAN.to_bits())),
        DType::F32 => (f64::from(f32::from_bits(bits as u32)), u64::from(f32::NAN.to_bits())),
        _ => (f64::from_bits(bits), f64::NAN.to_bits()),
    }
}

/// The bits of a float written in decimal (or `nan`, `inf`), correctly rounded.
pub(crate) fn parse_float_bits(dtype: DType, text: &str) -> Option<u64> {
    if let Some(format) = dtype.small_float() {
        return Some(u64::from(format.encode(text.parse().ok()?)));
    }
    Some(match dtype {
        DType::F64 => text.parse::<f64>().ok()?.to_bits(),
        DType::F32 => u64::from(text.parse::<f32>().ok()?.to_bits()),
        // A printed half value is exact as a double, so rounding twice loses nothing.
        DType::F16 => u64::from(f16::from_f64(text.parse().ok()?).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(text.parse().ok()?).to_bits()),
        _ => return None,
    })
}

/// The range of an integer type.
pub(crate) fn int_range(dtype: DType) -> std::ops::RangeInclusive<i128> {
    let bits = 8 * dtype.size() as u32;
    match dtype {
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => -(1i128 << (bits - 1))..=(1i128 << (bits - 1)) - 1,
        DType::Bool => 0..=1,
        DType::I4 => -8..=7,
        DType::U4 => 0..=15,
        _ => 0..=(1i128 << bits) - 1,
    }
}
