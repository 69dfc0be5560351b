//! The element types that a weight may have.
//!
//! Formats only move elements and ask whether they are zero, so one generic implementation serves them all. The
//! oracle multiplies in `f64`, which holds every value of these types exactly.

use half::{bf16, f16};

/// A weight element: copyable, comparable with zero, and exactly representable as `f64`.
///
/// `Default` must give zero.
pub trait Element: Copy + PartialEq + Default + std::fmt::Debug + Send + Sync + 'static {
    /// Bytes of one element in memory.
    const BYTES: usize = size_of::<Self>();

    /// Whether the element compares equal to zero. `-0.0` does, NaN does not.
    fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// The exact value as `f64`.
    fn to_f64(self) -> f64;
}

macro_rules! element {
    ($($type:ty),*) => {
        $(impl Element for $type {
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        })*
    };
}

element!(f32, f64, i8, u8, i32, f16, bf16);
