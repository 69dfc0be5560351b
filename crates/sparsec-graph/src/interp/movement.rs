//! Operators that move elements: they work on bytes, whatever the element type.

use bytes::Bytes;

use super::strided::{broadcast, row_major};
use super::{InterpError, Tensor, lanes};
use crate::SliceAxis;

/// A tensor of this shape whose element at index `i` is `x`'s element number `base + sum(i * strides)`.
fn gather_strided(x: &Tensor, shape: &[usize], base: i64, strides: &[i64]) -> Tensor {
    let size = x.dtype.size();
    let elements: usize = shape.iter().product();
    let mut bytes = Vec::with_capacity(elements * size);
    let row = shape.last().copied().unwrap_or(1);
    let step = strides.last().copied().unwrap_or(1);
    let mut at = vec![0usize; shape.len().saturating_sub(1)];
    let mut offset = base;
    for _ in 0..elements.checked_div(row).unwrap_or(0) {
        if step == 1 {
            let first = offset as usize * size;
            bytes.extend_from_slice(&x.bytes[first..first + row * size]);
        } else {
            match size {
                1 => copy_row::<1>(&mut bytes, &x.bytes, offset, step, row),
                2 => copy_row::<2>(&mut bytes, &x.bytes, offset, step, row),
                4 => copy_row::<4>(&mut bytes, &x.bytes, offset, step, row),
                _ => copy_row::<8>(&mut bytes, &x.bytes, offset, step, row),
            }
        }
        for axis in (0..at.len()).rev() {
            at[axis] += 1;
            offset += strides[axis];
            if at[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis] as i64;
            at[axis] = 0;
        }
    }
    Tensor { dtype: x.dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) }
}

fn copy_row<const SIZE: usize>(out: &mut Vec<u8>, source: &[u8], mut offset: i64, step: i64, count: usize) {
    for _ in 0..count {
        let first = offset as usize * SIZE;
        if let Some(element) = source[first..].first_chunk::<SIZE>() {
            out.extend_from_slice(element);
        }
        offset += step;
    }
}

fn signed(strides: Vec<usize>) -> Vec<i64> {
    strides.into_iter().map(|s| s as i64).collect()
}

pub(super) fn transpose(perm: &[usize], x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    let strides = signed(row_major(&x.shape));
    Ok(gather_strided(x, shape, 0, &perm.iter().map(|&p| strides[p]).collect::<Vec<_>>()))
}

pub(super) fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    Ok(gather_strided(x, shape, 0, &signed(broadcast(&x.shape, shape))))
}

pub(super) fn slice(axes: &[SliceAxis], x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    if shape.contains(&0) {
        return Ok(Tensor { dtype: x.dtype, shape: shape.to_vec(), bytes: Bytes::new() });
    }
    let mut strides = signed(row_major(&x.shape));
    let mut base = 0;
    for (range, stride) in axes.iter().zip(&mut strides) {
        base += range.start.as_const().unwrap_or(0) * *stride;
        // A step that is never taken may be of any size.
        *stride = if range.len.as_const().is_some_and(|l| l > 1) { *stride * range.step } else { 0 };
    }
    Ok(gather_strided(x, shape, base, &strides))
}

pub(super) fn concat(axis: usize, operands: &[&Tensor], shape: &[usize]) -> Result<Tensor, InterpError> {
    let Some(first) = operands.first() else {
        return Err(InterpError::Malformed { reason: "`concat` of nothing".into() });
    };
    let size = first.dtype.size();
    let outer: usize = shape[..axis].iter().product();
    let inner = size * shape[axis + 1..].iter().product::<usize>();
    let mut bytes = Vec::with_capacity(size * shape.iter().product::<usize>());
    for i in 0..outer {
        for operand in operands {
            let part = operand.shape[axis] * inner;
            bytes.extend_from_slice(&operand.bytes[i * part..(i + 1) * part]);
        }
    }
    Ok(Tensor { dtype: first.dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) })
}

pub(super) fn gather(axis: usize, x: &Tensor, index: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    let extent = x.shape[axis];
    let indices = index.as_i64().ok_or_else(|| InterpError::Malformed { reason: "indices over 2^63".into() })?;
    let indices = indices
        .into_iter()
        .map(|i| {
            let at = if i < 0 { i.checked_add(extent as i64) } else { Some(i) };
            let at = at.and_then(|at| usize::try_from(at).ok()).filter(|&at| at < extent);
            at.ok_or(InterpError::Index { index: i, extent })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let outer: usize = x.shape[..axis].iter().product();
    let inner = x.dtype.size() * x.shape[axis + 1..].iter().product::<usize>();
    let mut bytes = Vec::with_capacity(outer * indices.len() * inner);
    for i in 0..outer {
        for &at in &indices {
            let first = (i * extent + at) * inner;
            bytes.extend_from_slice(&x.bytes[first..first + inner]);
        }
    }
    Ok(Tensor { dtype: x.dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) })
}

pub(super) fn pad(amounts: &[(i64, i64)], value: f64, x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    let size = x.dtype.size();
    let elements: usize = shape.iter().product();
    let mut bytes = lanes::constant(x.dtype, value).repeat(elements);
    // Each row of the operand goes to one row of the result, cut where amounts are negative.
    let (rows, row) = match x.shape.split_last() {
        Some((&row, outer)) => (outer.iter().product::<usize>(), row),
        None => (1, 1),
    };
    let strides = row_major(shape);
    for source_row in 0..rows {
        let mut rest = source_row;
        let mut offset = Some(0usize);
        for axis in (0..shape.len().saturating_sub(1)).rev() {
            let at = (rest % x.shape[axis]) as i64 + amounts[axis].0;
            rest /= x.shape[axis];
            let at = usize::try_from(at).ok().filter(|&at| at < shape[axis]);
            offset = offset.zip(at).map(|(sum, at)| sum + at * strides[axis]);
        }
        let Some(offset) = offset else { continue };
        let before = amounts.last().map_or(0, |a| a.0);
        let width = shape.last().copied().unwrap_or(1) as i64;
        let from = before.clamp(0, width);
        let to = (before + row as i64).clamp(from, width);
        let (source, count) = (source_row * row + (from - before).max(0) as usize, (to - from) as usize);
        let target = (offset + from as usize) * size;
        if count > 0 {
            bytes[target..target + count * size].copy_from_slice(&x.bytes[source * size..(source + count) * size]);
        }
    }
    Ok(Tensor { dtype: x.dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) })
}
