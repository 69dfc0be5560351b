//! Element types as Rust types, and the types they are computed in.

use std::borrow::Cow;

use half::{bf16, f16};

use super::{InterpError, Tensor};

/// What elements are computed in: `f64` for floats, `i128` for integers.
pub(super) trait Acc: Copy + Default + PartialOrd + Send + Sync {
    fn add(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    fn abs(self) -> Self;
    /// NaN where either is.
    fn larger(self, other: Self) -> Self;
    /// NaN where either is.
    fn smaller(self, other: Self) -> Self;
    /// Below every other value.
    const LOWEST: Self;
    /// Above every other value.
    const HIGHEST: Self;
    const ONE: Self;
    /// The square root, for floats.
    fn sqrt(self) -> Self;
    /// The quotient by a count.
    fn over(self, count: usize) -> Self;
}

impl Acc for f64 {
    fn add(self, other: Self) -> Self {
        self + other
    }
    fn mul(self, other: Self) -> Self {
        self * other
    }
    fn abs(self) -> Self {
        f64::abs(self)
    }
    fn larger(self, other: Self) -> Self {
        if self > other || self.is_nan() { self } else { other }
    }
    fn smaller(self, other: Self) -> Self {
        if self < other || self.is_nan() { self } else { other }
    }
    const LOWEST: Self = f64::NEG_INFINITY;
    const HIGHEST: Self = f64::INFINITY;
    const ONE: Self = 1.0;
    fn sqrt(self) -> Self {
        f64::sqrt(self)
    }
    fn over(self, count: usize) -> Self {
        self / count as f64
    }
}

impl Acc for i128 {
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }
    fn mul(self, other: Self) -> Self {
        self.wrapping_mul(other)
    }
    fn abs(self) -> Self {
        self.wrapping_abs()
    }
    fn larger(self, other: Self) -> Self {
        Ord::max(self, other)
    }
    fn smaller(self, other: Self) -> Self {
        Ord::min(self, other)
    }
    const LOWEST: Self = i128::MIN;
    const HIGHEST: Self = i128::MAX;
    const ONE: Self = 1;
    fn sqrt(self) -> Self {
        self.max(0).isqrt()
    }
    fn over(self, count: usize) -> Self {
        self.checked_div(count as i128).unwrap_or(0)
    }
}

/// An element of a number type.
pub(super) trait Element: bytemuck::Pod + Send + Sync {
    type Acc: Acc;
    fn load(self) -> Self::Acc;
    /// Rounds, or wraps.
    fn store(acc: Self::Acc) -> Self;
}

macro_rules! elements {
    ($($type:ty: $acc:ty, $load:expr, $store:expr;)*) => {$(
        impl Element for $type {
            type Acc = $acc;
            #[inline]
            fn load(self) -> $acc {
                $load(self)
            }
            #[inline]
            fn store(acc: $acc) -> Self {
                $store(acc)
            }
        }
    )*};
}

elements! {
    f64: f64, |v| v, |a| a;
    f32: f64, f64::from, |a| a as f32;
    f16: f64, f16::to_f64, f16::from_f64;
    bf16: f64, bf16::to_f64, bf16::from_f64;
    i8: i128, i128::from, |a| a as i8;
    i16: i128, i128::from, |a| a as i16;
    i32: i128, i128::from, |a| a as i32;
    i64: i128, i128::from, |a| a as i64;
    u8: i128, i128::from, |a| a as u8;
    u16: i128, i128::from, |a| a as u16;
    u32: i128, i128::from, |a| a as u32;
    u64: i128, i128::from, |a| a as u64;
}

/// Runs an expression with `$T` the type of the elements; `bool` has none.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::I8 => { type $T = i8; $body }
            $crate::DType::I16 => { type $T = i16; $body }
            $crate::DType::I32 => { type $T = i32; $body }
            $crate::DType::I64 => { type $T = i64; $body }
            $crate::DType::U8 => { type $T = u8; $body }
            $crate::DType::U16 => { type $T = u16; $body }
            $crate::DType::U32 => { type $T = u32; $body }
            $crate::DType::U64 => { type $T = u64; $body }
            _ => $crate::interp::element::with_float!($dtype, $T => $body),
        }
    };
}
pub(super) use with_number;

/// As [`with_number`], for floats only.
macro_rules! with_float {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::DType::F64 => {
                type $T = f64;
                $body
            }
            other => Err($crate::interp::InterpError::Malformed { reason: format!("numbers of type {other}") }),
        }
    };
}
pub(super) use with_float;

/// The elements of a tensor; borrowed where they are aligned.
pub(super) fn elements<T: Element>(tensor: &Tensor) -> Result<Cow<'_, [T]>, InterpError> {
    tensor.values::<T>().ok_or_else(|| InterpError::Malformed { reason: format!("elements of type {}", tensor.dtype) })
}

/// The elements of a float tensor as `f64`.
pub(super) fn as_f64(tensor: &Tensor) -> Result<Vec<f64>, InterpError> {
    with_float!(tensor.dtype, T => Ok(elements::<T>(tensor)?.iter().map(|v| v.load()).collect()))
}

/// A float tensor of this type from `f64` values.
pub(super) fn from_f64(dtype: crate::DType, shape: &[usize], values: Vec<f64>) -> Result<Tensor, InterpError> {
    with_float!(dtype, T => {
        Ok(Tensor::from_vec(dtype, shape, values.into_iter().map(<T as Element>::store).collect::<Vec<T>>()))
    })
}
