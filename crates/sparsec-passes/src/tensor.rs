//! Constant tensors: reading, transposing, slicing.

use bytes::Bytes;
use sparsec_graph::{DType, Graph, Pages, TensorData, ValueId};

/// The elements of a floating-point tensor as `f64`.
pub(crate) fn to_f64(data: &TensorData) -> Option<Vec<f64>> {
    match data.dtype {
        DType::F32 => Some(data.values::<f32>()?.iter().map(|&v| f64::from(v)).collect()),
        DType::F64 => Some(data.values::<f64>()?.into_owned()),
        DType::F16 => Some(data.values::<half::f16>()?.iter().map(|v| v.to_f64()).collect()),
        DType::BF16 => Some(data.values::<half::bf16>()?.iter().map(|v| v.to_f64()).collect()),
        _ => None,
    }
}

/// A floating-point tensor of these elements, rounded to the element type. `None` for other element types.
pub(crate) fn from_f64(dtype: DType, shape: &[usize], values: Vec<f64>) -> Option<TensorData> {
    Some(match dtype {
        DType::F32 => TensorData::f32(shape, values.into_iter().map(|v| v as f32).collect()),
        DType::F64 => TensorData::from_vec(dtype, shape, values),
        DType::F16 => TensorData::from_vec(dtype, shape, values.into_iter().map(half::f16::from_f64).collect()),
        DType::BF16 => TensorData::from_vec(dtype, shape, values.into_iter().map(half::bf16::from_f64).collect()),
        _ => return None,
    })
}

/// A constant that broadcasts to a tensor of this rank and differs along one axis at most: its `channels` values there.
pub(crate) fn per_channel(
    graph: &Graph,
    value: ValueId,
    rank: usize,
    axis: usize,
    channels: usize,
) -> Option<Vec<f64>> {
    let data = &graph.constant(value)?.data;
    let lead = rank.checked_sub(data.shape.len())?;
    let varies = |(i, &extent): (usize, &usize)| extent != 1 && lead + i != axis;
    if data.shape.iter().enumerate().any(varies) {
        return None;
    }
    match data.elements() {
        n if n == channels => to_f64(data),
        1 => Some(vec![to_f64(data)?.first().copied()?; channels]),
        _ => None,
    }
}

/// The shape of a constant that varies along one axis and broadcasts to a tensor of this rank: `[c, 1, 1]`.
pub(crate) fn channel_shape(rank: usize, axis: usize, channels: usize) -> Vec<usize> {
    let mut shape = vec![1; rank.saturating_sub(axis)];
    if let Some(first) = shape.first_mut() {
        *first = channels;
    }
    shape
}

/// The tensor whose axis `i` is axis `perm[i]` of `data`. What `data` borrows from `pages` is let go of on the way, so that
/// a matrix and its transpose are not in memory together.
pub(crate) fn transpose(data: &TensorData, perm: &[usize], pages: Option<&dyn Pages>) -> TensorData {
    let shape: Vec<usize> = perm.iter().map(|&p| data.shape[p]).collect();
    // Axes of extent 1 don't move anything: without them most transposes of weights are of two axes.
    let moved: Vec<usize> = perm.iter().copied().filter(|&p| data.shape[p] != 1).collect();
    let bytes = if moved.is_sorted() {
        data.bytes.clone()
    } else {
        let done = || pages.into_iter().for_each(Pages::release);
        let permuted = match data.dtype.size() {
            1 => permute::<1>(data, &moved, &done),
            2 => permute::<2>(data, &moved, &done),
            4 => permute::<4>(data, &moved, &done),
            _ => permute::<8>(data, &moved, &done),
        };
        Bytes::from(permuted)
    };
    TensorData { dtype: data.dtype, shape, bytes }
}

/// Bytes of the source that are read before it is let go of.
const PANEL: usize = 1 << 23;

/// Calls `done` after each panel of the source.
fn permute<const SIZE: usize>(data: &TensorData, axes: &[usize], done: &dyn Fn()) -> Vec<u8> {
    /// Rows and columns are copied in squares of this side, so that both sides stay in the cache.
    const TILE: usize = 16;
    let (shape, strides) = (&data.shape, strides(&data.shape));
    let mut out = vec![0; data.bytes.len()];
    let ([outer @ .., last], false) = (axes, data.bytes.is_empty()) else { return out };
    let (from, _) = data.bytes.as_chunks::<SIZE>();
    let (to, _) = out.as_chunks_mut::<SIZE>();
    let (inner, step) = (shape[*last], strides[*last]);
    // Columns of the result are slices of the source: contiguous ones, where they are along its first axis.
    let panel = (PANEL / (step * SIZE)).max(TILE);
    let mut starts = Vec::with_capacity(TILE);
    for first in (0..inner).step_by(panel) {
        let columns = first..inner.min(first + panel);
        for (block, rows) in to.chunks_mut(TILE * inner).enumerate() {
            starts.clear();
            starts.extend((block * TILE..block * TILE + rows.len() / inner).map(|mut row| {
                let mut start = 0;
                for &axis in outer.iter().rev() {
                    start += row % shape[axis] * strides[axis];
                    row /= shape[axis];
                }
                start
            }));
            for column in columns.clone().step_by(TILE) {
                let end = columns.end.min(column + TILE);
                for (row, start) in rows.chunks_exact_mut(inner).zip(&starts) {
                    for (j, element) in (column..end).zip(&mut row[column..end]) {
                        *element = from[start + j * step];
                    }
                }
            }
        }
        done();
    }
    out
}

fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// The elements of `data` whose index along `axis` is kept.
pub(crate) fn keep_along(data: &TensorData, axis: usize, keep: &[bool]) -> TensorData {
    debug_assert_eq!(data.shape[axis], keep.len());
    let kept = keep.iter().filter(|&&k| k).count();
    let mut shape = data.shape.clone();
    shape[axis] = kept;
    let run = data.shape[axis + 1..].iter().product::<usize>() * data.dtype.size();
    let mut bytes = Vec::with_capacity(shape.iter().product::<usize>() * data.dtype.size());
    if run > 0 && !keep.is_empty() {
        for slab in data.bytes.chunks_exact(run * keep.len()) {
            for (part, _) in slab.chunks_exact(run).zip(keep).filter(|(_, k)| **k) {
                bytes.extend_from_slice(part);
            }
        }
    }
    TensorData { dtype: data.dtype, shape, bytes: Bytes::from(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposes_any_axes() {
        let data = TensorData::i64(&[2, 3, 1, 2], (0..12).collect());
        let turned = transpose(&data, &[3, 2, 0, 1], None);
        assert_eq!(turned.shape, [2, 1, 2, 3]);
        assert_eq!(turned.as_i64().unwrap(), [0, 2, 4, 6, 8, 10, 1, 3, 5, 7, 9, 11]);
        let big = TensorData::i64(&[70, 45], (0..70 * 45).collect());
        let values = transpose(&big, &[1, 0], None).as_i64().unwrap();
        assert!((0..45).all(|i| (0..70).all(|j| values[i * 70 + j] == (j * 45 + i) as i64)));
    }

    #[test]
    fn keeps_channels() {
        let data = TensorData::i64(&[2, 3, 2], (0..12).collect());
        let kept = keep_along(&data, 1, &[true, false, true]);
        assert_eq!(kept.shape, [2, 2, 2]);
        assert_eq!(kept.as_i64().unwrap(), [0, 1, 4, 5, 6, 7, 10, 11]);
    }
}
