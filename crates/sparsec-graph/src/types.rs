//! Tensor types and constant data.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;

use crate::{DType, Dim, Pages};

/// Element type and shape of a tensor value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first; empty for a scalar.
    pub shape: Vec<Dim>,
}

impl TensorType {
    /// A type of this element type and shape.
    #[must_use]
    pub fn new(dtype: DType, shape: impl Into<Vec<Dim>>) -> Self {
        TensorType { dtype, shape: shape.into() }
    }

    /// A type of constant extents.
    #[must_use]
    pub fn fixed(dtype: DType, shape: &[i64]) -> Self {
        TensorType { dtype, shape: shape.iter().map(|&d| Dim::constant(d)).collect() }
    }

    /// Number of dimensions.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The extents, where all are constants.
    #[must_use]
    pub fn const_shape(&self) -> Option<Vec<i64>> {
        self.shape.iter().map(Dim::as_const).collect()
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> Dim {
        Dim::product(&self.shape)
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str("]")
    }
}

/// The elements of a constant: little-endian bytes, possibly borrowed from a mapped file, of any alignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData {
    /// Element type.
    pub dtype: DType,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// `product(shape) * dtype.size()` bytes, row-major.
    pub bytes: Bytes,
}

impl TensorData {
    /// Data of plain values; the shape's product must be the number of values.
    #[must_use]
    pub fn from_vec<T: bytemuck::Pod + Send>(dtype: DType, shape: &[usize], values: Vec<T>) -> Self {
        debug_assert_eq!(dtype.size(), size_of::<T>());
        debug_assert_eq!(shape.iter().product::<usize>(), values.len());
        TensorData { dtype, shape: shape.to_vec(), bytes: Bytes::from_owner(PodVec(values)) }
    }

    /// An `f32` constant.
    #[must_use]
    pub fn f32(shape: &[usize], values: Vec<f32>) -> Self {
        Self::from_vec(DType::F32, shape, values)
    }

    /// An `i64` constant.
    #[must_use]
    pub fn i64(shape: &[usize], values: Vec<i64>) -> Self {
        Self::from_vec(DType::I64, shape, values)
    }

    /// Texts in the shape that they have without the axis of their bytes, of which there are as many as the longest has, and at
    /// least 1; the shape's product must be the number of texts.
    #[must_use]
    pub fn strings(shape: &[usize], texts: &[&[u8]]) -> Self {
        let width = texts.iter().map(|t| t.len()).max().unwrap_or(0).max(1);
        let mut bytes = Vec::with_capacity(width * texts.len());
        for text in texts {
            bytes.extend_from_slice(text);
            bytes.resize(bytes.len() + width - text.len(), 0);
        }
        TensorData { dtype: DType::String, shape: [shape, &[width]].concat(), bytes: bytes.into() }
    }

    /// The texts of a tensor of texts, without their padding; `None` for other types.
    #[must_use]
    pub fn as_strings(&self) -> Option<Vec<&[u8]>> {
        let (&width, shape) = self.shape.split_last().filter(|_| self.dtype == DType::String)?;
        let trimmed = |text: &'_ [u8]| text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
        let row = |i: usize| self.bytes.get(i * width..(i + 1) * width).unwrap_or_default();
        Some((0..shape.iter().product()).map(|i| &row(i)[..trimmed(row(i))]).collect())
    }

    /// Number of elements.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The type of a value that holds this constant.
    #[must_use]
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype, self.shape.iter().map(|&d| Dim::constant(d as i64)).collect::<Vec<_>>())
    }

    /// The elements as plain values: borrowed where the bytes happen to be aligned, copied otherwise.
    /// `None` where `T`'s size is not the element type's.
    #[must_use]
    pub fn values<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(&self) -> Option<Cow<'_, [T]>> {
        if size_of::<T>() != self.dtype.size() {
            return None;
        }
        Some(match bytemuck::try_cast_slice(&self.bytes) {
            Ok(slice) => Cow::Borrowed(slice),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(&self.bytes)),
        })
    }

    /// A copy of the elements, made such that bytes which are borrowed from `pages` are not in memory twice.
    /// `None` where `T`'s size is not the element type's.
    #[must_use]
    pub fn copy_values<T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        pages: Option<&dyn Pages>,
    ) -> Option<Vec<T>> {
        /// Bytes that are copied at a time.
        const PIECE: usize = 1 << 22;
        if size_of::<T>() != self.dtype.size() {
            return None;
        }
        let mut values = vec![T::zeroed(); self.elements()];
        let pieces = bytemuck::cast_slice_mut::<T, u8>(&mut values).chunks_mut(PIECE);
        for (to, from) in pieces.zip(self.bytes.chunks(PIECE)) {
            to.get_mut(..from.len())?.copy_from_slice(from);
            if let Some(pages) = pages {
                pages.release();
            }
        }
        Some(values)
    }

    /// The elements of an `f32` constant.
    #[must_use]
    pub fn as_f32(&self) -> Option<Cow<'_, [f32]>> {
        (self.dtype == DType::F32).then(|| self.values()).flatten()
    }

    /// The elements of an integer constant (any width, or `bool`) as `i64`.
    #[must_use]
    pub fn as_i64(&self) -> Option<Vec<i64>> {
        fn widen<T: bytemuck::Pod, U: TryInto<i64> + From<T>>(data: &TensorData) -> Option<Vec<i64>> {
            data.values::<T>()?.iter().map(|&v| U::from(v).try_into().ok()).collect()
        }
        match self.dtype {
            DType::I64 => Some(self.values::<i64>()?.into_owned()),
            DType::I32 => widen::<i32, i64>(self),
            DType::I16 => widen::<i16, i64>(self),
            DType::I8 | DType::I4 => widen::<i8, i64>(self),
            DType::U8 | DType::U4 | DType::String | DType::Bool => widen::<u8, i64>(self),
            DType::U16 => widen::<u16, i64>(self),
            DType::U32 => widen::<u32, i64>(self),
            DType::U64 => widen::<u64, u64>(self),
            _ => None,
        }
    }
}

/// Owns a vector of plain values and shows it as bytes.
struct PodVec<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for PodVec<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_alignment_are_copied() {
        let values: Vec<f32> = (0..1_100_000).map(|i| i as f32).collect();
        let mut bytes = vec![0u8];
        bytes.extend_from_slice(bytemuck::cast_slice(&values));
        let bytes = Bytes::from(bytes).slice(1..);
        let data = TensorData { dtype: DType::F32, shape: vec![1100, 1000], bytes };
        assert_eq!(data.copy_values(None), Some(values));
        assert_eq!(data.copy_values::<f64>(None), None);
    }
}
