//! Pseudo-random constant data, for tests and hand-written graphs. The same arguments give the same bytes everywhere.

use bytes::Bytes;
use half::{bf16, f16};

use crate::{DType, TensorData};

/// Elements that are nonzero with probability `density`: floats uniform in (-1, 1), integers in 1 to 8 (signed ones of
/// either sign), `bool` 1.
#[must_use]
pub fn random_data(dtype: DType, shape: &[usize], seed: u64, density: f64) -> TensorData {
    let mut state = seed;
    let elements: usize = shape.iter().product();
    let mut bytes = Vec::with_capacity(elements * dtype.size());
    for _ in 0..elements {
        let keep = unit(split_mix(&mut state)) < density;
        let value = split_mix(&mut state);
        let bits = if keep { nonzero(dtype, value) } else { 0 };
        bytes.extend_from_slice(&bits.to_le_bytes()[..dtype.size()]);
    }
    TensorData { dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) }
}

fn nonzero(dtype: DType, random: u64) -> u64 {
    // Odd multiples of 2^-22: never zero, exact in f32.
    let float = (2.0 * ((random >> 42) as f64) + 1.0) / f64::from(1 << 22) - 1.0;
    let magnitude = (random >> 32) as i64 % 8 + 1;
    match dtype {
        DType::Bool => 1,
        DType::I4 => (magnitude - if magnitude > 4 { 9 } else { 0 }) as u64,
        DType::U4 => magnitude as u64,
        DType::U8 | DType::String | DType::U16 | DType::U32 | DType::U64 => magnitude as u64,
        DType::I8 | DType::I16 | DType::I32 | DType::I64 => {
            (if random & 1 == 0 { magnitude } else { -magnitude }) as u64
        }
        DType::F16 => u64::from(f16::from_f64(float).to_bits()),
        DType::BF16 => u64::from(bf16::from_f64(float).to_bits()),
        DType::F32 => u64::from((float as f32).to_bits()),
        DType::F64 => float.to_bits(),
        // A power of two is never zero.
        _ => dtype.small_float().map_or(0, |f| u64::from(f.encode(if float < 0.0 { -0.5 } else { 0.5 }))),
    }
}

fn unit(random: u64) -> f64 {
    (random >> 11) as f64 / (1u64 << 53) as f64
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
