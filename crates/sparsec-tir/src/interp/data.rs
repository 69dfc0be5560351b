//! Memory given to the interpreter, and what can go wrong.

use super::lane;
use crate::{Scalar, TypeError};

/// The contents of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BufferData {
    /// Element type.
    pub elem: Scalar,
    /// Elements in order, little-endian.
    pub bytes: Vec<u8>,
}

impl BufferData {
    /// Elements that are all zero.
    #[must_use]
    pub fn zeros(elem: Scalar, len: usize) -> Self {
        BufferData { elem, bytes: vec![0; len * elem.size()] }
    }

    /// Elements that show when they are read: NaN, or an unlikely integer.
    #[must_use]
    pub fn poisoned(elem: Scalar, len: usize) -> Self {
        let mut data = BufferData::zeros(elem, len);
        data.poison();
        data
    }

    /// These `f32`.
    #[must_use]
    pub fn from_f32(values: &[f32]) -> Self {
        BufferData { elem: Scalar::F32, bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect() }
    }

    /// These integers, wrapped to the type.
    #[must_use]
    pub fn from_ints(elem: Scalar, values: &[i64]) -> Self {
        let mut data = BufferData::zeros(elem, values.len());
        for (bytes, v) in data.bytes.chunks_exact_mut(elem.size()).zip(values) {
            lane::write(bytes, elem, lane::int_bits(*v, elem));
        }
        data
    }

    /// The elements, converted to `f64`.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        let convert = |b: &[u8]| f64::from_bits(lane::convert(self.elem, Scalar::F64, lane::read(b, self.elem)));
        self.bytes.chunks_exact(self.elem.size()).map(convert).collect()
    }

    /// The elements, converted to `f32`.
    #[must_use]
    pub fn to_f32(&self) -> Vec<f32> {
        let convert = |b: &[u8]| f32::from_bits(lane::convert(self.elem, Scalar::F32, lane::read(b, self.elem)) as u32);
        self.bytes.chunks_exact(self.elem.size()).map(convert).collect()
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() / self.elem.size()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn poison(&mut self) {
        let poison = lane::poison(self.elem);
        self.bytes.chunks_exact_mut(self.elem.size()).for_each(|b| lane::write(b, self.elem, poison));
    }

    pub(super) fn get(&self, i: usize) -> Option<u64> {
        let size = self.elem.size();
        self.bytes.get(i * size..(i + 1) * size).map(|b| lane::read(b, self.elem))
    }

    pub(super) fn set(&mut self, i: usize, lane: u64) {
        let size = self.elem.size();
        if let Some(bytes) = self.bytes.get_mut(i * size..(i + 1) * size) {
            lane::write(bytes, self.elem, lane);
        }
    }
}

/// Why a kernel can't be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterpError {
    /// Another number of arguments than the kernel has.
    #[error("kernel `{kernel}` takes {params} params and {buffers} buffers")]
    Arguments {
        /// The kernel.
        kernel: String,
        /// Its number of params.
        params: usize,
        /// Its number of inputs and outputs.
        buffers: usize,
    },
    /// A buffer argument that doesn't fit.
    #[error(
        "kernel `{kernel}`, buffer `{buffer}`: {expected} elements of {elem} expected, {found} elements of {found_elem} given"
    )]
    Buffer {
        /// The kernel.
        kernel: String,
        /// The buffer.
        buffer: String,
        /// Number of elements of its shape.
        expected: i64,
        /// Its element type.
        elem: Scalar,
        /// Number of elements given.
        found: usize,
        /// Element type given.
        found_elem: Scalar,
    },
    /// An expression without a type.
    #[error("kernel `{kernel}`: {error}")]
    Type {
        /// The kernel.
        kernel: String,
        /// What is wrong.
        error: TypeError,
    },
    /// An access outside a buffer or a register array.
    #[error("kernel `{kernel}`, `{name}`: index {index} of dimension {dim} is not in 0..{extent}")]
    OutOfBounds {
        /// The kernel.
        kernel: String,
        /// The buffer or register array.
        name: String,
        /// The dimension.
        dim: usize,
        /// The index.
        index: i64,
        /// The extent.
        extent: i64,
    },
    /// Something that the kernel's stage doesn't allow.
    #[error("kernel `{kernel}`: {reason}")]
    Unsupported {
        /// The kernel.
        kernel: String,
        /// What it is.
        reason: String,
    },
    /// Constant data can't be read.
    #[error("constant `{name}`: {reason}")]
    Constant {
        /// The constant.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A buffer of a launch that doesn't lie within its argument.
    #[error("launch `{launch}`, buffer `{buffer}`: bytes {start}..{end} are outside of {size}")]
    Place {
        /// The launch.
        launch: String,
        /// The buffer.
        buffer: String,
        /// First byte.
        start: i64,
        /// Byte after the last.
        end: i64,
        /// Size of the memory.
        size: usize,
    },
}
