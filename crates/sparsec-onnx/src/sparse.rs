//! Sparse tensors of the file (`sparse_initializer`), made dense.
//!
//! A sparse tensor is its nonzero values `[nnz]` and their places: linear indices `[nnz]`, or coordinates
//! `[nnz, rank]`, ascending without repetition. For example dims `[2, 3]`, values `[5, 7]`, indices `[1, 5]` is
//! `[[0, 5, 0], [0, 0, 7]]`. The graph's patterns are found again from the zeros, so nothing is lost by making it
//! dense; the memory that this takes is bounded by [`Budget`].

use sparsec_graph::TensorData;

use crate::error::TensorError;
use crate::external::ExternalFiles;
use crate::proto::SparseTensorProto;
use crate::tensor;

/// Bytes that may be allocated beyond what is stored in the file.
#[derive(Debug)]
pub(crate) struct Budget {
    left: u64,
}

impl Budget {
    /// What a file of this size justifies: 64 times its size, but at least 16 MiB, and at most 256 MiB or 8 times its
    /// size, whichever is more.
    pub(crate) fn for_file(size: u64) -> Self {
        let most = size.saturating_mul(8).max(256 << 20);
        Budget { left: size.saturating_mul(64).clamp(16 << 20, most) }
    }

    /// Takes bytes from the allowance.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), TensorError> {
        match self.left.checked_sub(bytes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(TensorError::TooLarge { needed: bytes, left: self.left }),
        }
    }
}

/// The dense form of a sparse tensor.
pub(crate) fn densify(
    sparse: &mut SparseTensorProto,
    files: &mut ExternalFiles,
    budget: &mut Budget,
) -> Result<TensorData, TensorError> {
    let (shape, elements) = tensor::shape(&sparse.dims)?;
    let values = sparse.values.as_mut().ok_or(TensorError::Form("the sparse tensor has no values"))?;
    let values = tensor::read(values, files)?;
    let indices = sparse.indices.as_mut().ok_or(TensorError::Form("the sparse tensor has no indices"))?;
    let indices = tensor::read(indices, files)?;
    let numbers = indices.as_i64().ok_or(TensorError::Form("sparse indices must be integers"))?;
    let count = values.elements();
    let places = match *indices.shape.as_slice() {
        [n] if n == count => numbers,
        [n, rank] if n == count && rank == shape.len() && rank > 0 => {
            numbers.chunks_exact(rank).map(|at| linear(at, &shape)).collect::<Result<_, _>>()?
        }
        _ => return Err(TensorError::SparseIndex(format!("shape {:?} does not fit {count} values", indices.shape))),
    };
    let size = values.dtype.size();
    let bytes = (elements as u64).checked_mul(size as u64).ok_or_else(|| TensorError::Shape(sparse.dims.clone()))?;
    budget.take(bytes)?;
    let mut dense = vec![0u8; bytes as usize];
    let mut next = 0;
    for (&place, value) in places.iter().zip(values.bytes.chunks_exact(size)) {
        let at = usize::try_from(place).ok().filter(|&at| at < elements);
        let at = at.ok_or_else(|| TensorError::SparseIndex(format!("{place} is outside of the tensor")))?;
        if at < next {
            return Err(TensorError::SparseIndex(format!("{place} is not in ascending order")));
        }
        next = at + 1;
        if let Some(target) = dense.get_mut(at * size..(at + 1) * size) {
            target.copy_from_slice(value);
        }
    }
    Ok(TensorData { dtype: values.dtype, shape, bytes: dense.into() })
}

/// The row-major place of coordinates.
fn linear(at: &[i64], shape: &[usize]) -> Result<i64, TensorError> {
    let mut place = 0i64;
    for (&i, &extent) in at.iter().zip(shape) {
        let extent = extent as i64;
        if i < 0 || i >= extent {
            return Err(TensorError::SparseIndex(format!("{at:?} is outside of the tensor")));
        }
        // Both fit: `shape` was checked, and `i < extent`.
        place = place * extent + i;
    }
    Ok(place)
}
