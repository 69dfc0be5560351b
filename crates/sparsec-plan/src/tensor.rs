//! Tensors on the host and on the device.

/// A dense tensor in row-major order, on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Element type: `f32`, `i64`, ...
    pub dtype: String,
    /// Extents, outermost first.
    pub shape: Vec<i64>,
    /// The elements, little-endian.
    pub bytes: Vec<u8>,
}

/// A tensor that a caller gives.
#[derive(Debug)]
pub struct Given<'a> {
    /// Element type.
    pub dtype: &'a str,
    /// Extents, outermost first.
    pub shape: &'a [i64],
    /// Where the elements are.
    pub data: Data<'a>,
}

/// Where a tensor's elements are.
#[derive(Debug)]
pub enum Data<'a> {
    /// On the host, to be read: an input.
    Host(&'a [u8]),
    /// On the host, to be written: an output.
    HostMut(&'a mut [u8]),
    /// On the device, aligned to 16, with room for the shape's elements.
    Device(u64),
}

impl Tensor {
    /// As an input.
    #[must_use]
    pub fn given(&self) -> Given<'_> {
        Given { dtype: &self.dtype, shape: &self.shape, data: Data::Host(&self.bytes) }
    }
}

/// Bytes of an element of a type by name; `None` for an unknown one. Elements of 4 bits take a byte each.
#[must_use]
pub fn dtype_size(name: &str) -> Option<u64> {
    sparsec_abi::DTYPES.iter().find(|d| d.1 == name).map(|d| d.3 as u64)
}
