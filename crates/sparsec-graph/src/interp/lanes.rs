//! Chunks of elements in the type that they are computed in.

use std::borrow::Cow;

use half::{bf16, f16};

use super::strided::for_runs;
use super::{InterpError, Tensor};
use crate::text::int_range;
use crate::{DType, SmallFloat};

/// A run of elements of one type.
#[derive(Clone, Debug)]
pub(super) enum Lanes {
    Float(Vec<f64>),
    Int(Vec<i128>),
    Bool(Vec<bool>),
}

/// A tensor's elements, readable at any alignment.
pub(super) enum Loaded<'a> {
    Bool(Cow<'a, [u8]>),
    /// `i4` too.
    I8(Cow<'a, [i8]>),
    I16(Cow<'a, [i16]>),
    I32(Cow<'a, [i32]>),
    I64(Cow<'a, [i64]>),
    /// `u4` too.
    U8(Cow<'a, [u8]>),
    U16(Cow<'a, [u16]>),
    U32(Cow<'a, [u32]>),
    U64(Cow<'a, [u64]>),
    F16(Cow<'a, [f16]>),
    BF16(Cow<'a, [bf16]>),
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
    Small(SmallFloat, Cow<'a, [u8]>),
}

impl<'a> Loaded<'a> {
    pub(super) fn new(tensor: &'a Tensor) -> Result<Self, InterpError> {
        let loaded = match tensor.dtype {
            DType::Bool => tensor.values().map(Loaded::Bool),
            DType::I8 | DType::I4 => tensor.values().map(Loaded::I8),
            DType::I16 => tensor.values().map(Loaded::I16),
            DType::I32 => tensor.values().map(Loaded::I32),
            DType::I64 => tensor.values().map(Loaded::I64),
            DType::U8 | DType::U4 | DType::String => tensor.values().map(Loaded::U8),
            DType::U16 => tensor.values().map(Loaded::U16),
            DType::U32 => tensor.values().map(Loaded::U32),
            DType::U64 => tensor.values().map(Loaded::U64),
            DType::F16 => tensor.values().map(Loaded::F16),
            DType::BF16 => tensor.values().map(Loaded::BF16),
            DType::F32 => tensor.values().map(Loaded::F32),
            DType::F64 => tensor.values().map(Loaded::F64),
            dtype => dtype.small_float().and_then(|format| Some(Loaded::Small(format, tensor.values()?))),
        };
        loaded.ok_or_else(|| InterpError::Malformed { reason: format!("elements of type {}", tensor.dtype) })
    }

    /// The elements `start .. start + len` of the walk over `shape` under `strides`.
    pub(super) fn lanes(&self, shape: &[usize], strides: &[usize], start: usize, len: usize) -> Lanes {
        let walk = Walk { shape, strides, start, len };
        match self {
            Loaded::Bool(v) => Lanes::Bool(walk.collect(v, |x| x != 0)),
            Loaded::I8(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::I16(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::I32(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::I64(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::U8(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::U16(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::U32(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::U64(v) => Lanes::Int(walk.collect(v, i128::from)),
            Loaded::F16(v) => Lanes::Float(walk.collect(v, f16::to_f64)),
            Loaded::BF16(v) => Lanes::Float(walk.collect(v, bf16::to_f64)),
            Loaded::F32(v) => Lanes::Float(walk.collect(v, f64::from)),
            Loaded::F64(v) => Lanes::Float(walk.collect(v, |x| x)),
            Loaded::Small(format, v) => Lanes::Float(walk.collect(v, |code| format.decode(code))),
        }
    }
}

struct Walk<'a> {
    shape: &'a [usize],
    strides: &'a [usize],
    start: usize,
    len: usize,
}

impl Walk<'_> {
    fn collect<T: Copy, U: Clone>(&self, values: &[T], convert: impl Fn(T) -> U) -> Vec<U> {
        let mut out = Vec::with_capacity(self.len);
        for_runs(self.shape, self.strides, self.start, self.len, |offset, stride, count| match stride {
            0 => out.resize(out.len() + count, convert(values[offset])),
            1 => out.extend(values[offset..offset + count].iter().map(|&v| convert(v))),
            _ => out.extend((0..count).map(|i| convert(values[offset + i * stride]))),
        });
        out
    }
}

impl Lanes {
    /// Equal elements, converted to the type.
    pub(super) fn splat(dtype: DType, value: f64, len: usize) -> Self {
        Lanes::Float(vec![value; len]).cast(dtype)
    }

    /// Conversion as Rust's `as`: floats to integers truncate and saturate, integers wrap, anything but zero is true.
    /// Floats are rounded to their type.
    pub(super) fn cast(self, to: DType) -> Self {
        if to == DType::Bool {
            return Lanes::Bool(match self {
                Lanes::Float(v) => v.into_iter().map(|x| x != 0.0).collect(),
                Lanes::Int(v) => v.into_iter().map(|x| x != 0).collect(),
                Lanes::Bool(v) => v,
            });
        }
        let small = to.small_float();
        if to.is_float() || small.is_some() {
            let round = |x: f64| match to {
                DType::F16 => f16::from_f64(x).to_f64(),
                DType::BF16 => bf16::from_f64(x).to_f64(),
                DType::F32 => f64::from(x as f32),
                _ => small.map_or(x, |format| format.decode(format.encode(x))),
            };
            return Lanes::Float(match self {
                Lanes::Float(v) => v.into_iter().map(round).collect(),
                // Integers beyond 2^53 are rounded once.
                Lanes::Int(v) if to == DType::F32 => v.into_iter().map(|x| f64::from(x as f32)).collect(),
                Lanes::Int(v) => v.into_iter().map(|x| round(x as f64)).collect(),
                Lanes::Bool(v) => v.into_iter().map(|x| f64::from(u8::from(x))).collect(),
            });
        }
        let range = int_range(to);
        Lanes::Int(match self {
            Lanes::Float(v) if matches!(to, DType::I4 | DType::U4) => {
                v.into_iter().map(|x| wrap(i128::from(x as i32), to)).collect()
            }
            Lanes::Float(v) => v.into_iter().map(|x| (x as i128).clamp(*range.start(), *range.end())).collect(),
            Lanes::Int(v) => v.into_iter().map(|x| wrap(x, to)).collect(),
            Lanes::Bool(v) => v.into_iter().map(i128::from).collect(),
        })
    }

    /// Appends the elements as bytes of the type.
    pub(super) fn store(&self, dtype: DType, out: &mut Vec<u8>) {
        let size = dtype.size();
        match self {
            Lanes::Bool(v) => out.extend(v.iter().map(|&x| u8::from(x))),
            Lanes::Int(v) => v.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()[..size])),
            Lanes::Float(v) => match dtype {
                DType::F16 => v.iter().for_each(|&x| out.extend_from_slice(&f16::from_f64(x).to_le_bytes())),
                DType::BF16 => v.iter().for_each(|&x| out.extend_from_slice(&bf16::from_f64(x).to_le_bytes())),
                DType::F32 => v.iter().for_each(|&x| out.extend_from_slice(&(x as f32).to_le_bytes())),
                _ => match dtype.small_float() {
                    Some(format) => out.extend(v.iter().map(|&x| format.encode(x))),
                    None => v.iter().for_each(|&x| out.extend_from_slice(&x.to_le_bytes())),
                },
            },
        }
    }
}

/// An integer modulo the range of its type.
pub(super) fn wrap(value: i128, dtype: DType) -> i128 {
    match dtype {
        DType::I4 => i128::from((value as i8) << 4 >> 4),
        DType::U4 => value & 15,
        DType::I8 => i128::from(value as i8),
        DType::I16 => i128::from(value as i16),
        DType::I32 => i128::from(value as i32),
        DType::I64 => i128::from(value as i64),
        DType::U8 | DType::String => i128::from(value as u8),
        DType::U16 => i128::from(value as u16),
        DType::U32 => i128::from(value as u32),
        _ => i128::from(value as u64),
    }
}

/// The bytes of one constant element.
pub(super) fn constant(dtype: DType, value: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Lanes::splat(dtype, value, 1).store(dtype, &mut bytes);
    bytes
}
