//! Reductions, softmax and normalisations.

use super::element::{Acc, Element, as_f64, elements, from_f64, with_number};
use super::strided::{for_runs, row_major};
use super::{InterpError, Tensor};
use crate::ReduceKind;

pub(super) fn reduce(kind: ReduceKind, axes: &[usize], x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    with_number!(x.dtype, T => typed_reduce::<T>(kind, axes, x, shape))
}

fn typed_reduce<T: Element>(
    kind: ReduceKind,
    axes: &[usize],
    x: &Tensor,
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    let input = elements::<T>(x)?;
    let kept: Vec<usize> = x.shape.iter().enumerate().map(|(a, &e)| if axes.contains(&a) { 1 } else { e }).collect();
    let mut strides = row_major(&kept);
    for &axis in axes {
        strides[axis] = 0;
    }
    let identity = match kind {
        ReduceKind::Max => T::Acc::LOWEST,
        ReduceKind::Min => T::Acc::HIGHEST,
        ReduceKind::Prod => T::Acc::ONE,
        _ => T::Acc::default(),
    };
    let mut acc = vec![identity; kept.iter().product()];
    let mut position = 0;
    for_runs(&x.shape, &strides, 0, input.len(), |offset, stride, len| {
        for (i, value) in input[position..position + len].iter().enumerate() {
            let (slot, value) = (&mut acc[offset + i * stride], value.load());
            *slot = match kind {
                ReduceKind::Sum | ReduceKind::Mean => slot.add(value),
                ReduceKind::Max => slot.larger(value),
                ReduceKind::Min => slot.smaller(value),
                ReduceKind::Prod => slot.mul(value),
                ReduceKind::SumSquare | ReduceKind::L2 => slot.add(value.mul(value)),
                ReduceKind::L1 => slot.add(value.abs()),
            };
        }
        position += len;
    });
    let count: usize = axes.iter().map(|&a| x.shape[a]).product();
    let finish = |value: T::Acc| match kind {
        ReduceKind::Mean => value.over(count),
        ReduceKind::L2 => value.sqrt(),
        _ => value,
    };
    Ok(Tensor::from_vec(x.dtype, shape, acc.into_iter().map(|v| T::store(finish(v))).collect()))
}

/// Calls `row` for each line of elements along the axes `axis .. axis + axes`: their first offset and their distance.
fn for_lines(shape: &[usize], axis: usize, axes: usize, mut line: impl FnMut(usize, usize)) {
    let length: usize = shape[axis..axis + axes].iter().product();
    let inner: usize = shape[axis + axes..].iter().product();
    for outer in 0..shape[..axis].iter().product() {
        for i in 0..inner {
            line(outer * length * inner + i, inner);
        }
    }
}

pub(super) fn softmax(axis: usize, x: &Tensor) -> Result<Tensor, InterpError> {
    let mut values = as_f64(x)?;
    let length = x.shape[axis];
    for_lines(&x.shape, axis, 1, |first, stride| {
        let at = |i: usize| first + i * stride;
        let max = (0..length).map(|i| values[at(i)]).fold(f64::NEG_INFINITY, Acc::larger);
        let mut sum = 0.0;
        for i in 0..length {
            let e = (values[at(i)] - max).exp();
            values[at(i)] = e;
            sum += e;
        }
        for i in 0..length {
            values[at(i)] /= sum;
        }
    });
    from_f64(x.dtype, &x.shape, values)
}

pub(super) fn layer_norm(
    axis: usize,
    axes: usize,
    epsilon: f64,
    x: &Tensor,
    scale: &Tensor,
    bias: &Tensor,
) -> Result<Tensor, InterpError> {
    let (mut values, scale, bias) = (as_f64(x)?, as_f64(scale)?, as_f64(bias)?);
    let length: usize = x.shape[axis..axis + axes].iter().product();
    for_lines(&x.shape, axis, axes, |first, stride| {
        let at = |i: usize| first + i * stride;
        let mean = (0..length).map(|i| values[at(i)]).sum::<f64>() / length as f64;
        let variance = (0..length).map(|i| (values[at(i)] - mean).powi(2)).sum::<f64>() / length as f64;
        let factor = 1.0 / (variance + epsilon).sqrt();
        for i in 0..length {
            values[at(i)] = (values[at(i)] - mean) * factor * scale[i] + bias[i];
        }
    });
    from_f64(x.dtype, &x.shape, values)
}

pub(super) fn batch_norm(epsilon: f64, x: &Tensor, parameters: [&Tensor; 4]) -> Result<Tensor, InterpError> {
    let mut values = as_f64(x)?;
    let [scale, bias, mean, variance] = parameters.map(as_f64);
    let (scale, bias, mean, variance) = (scale?, bias?, mean?, variance?);
    for_lines(&x.shape, 1, 1, |first, stride| {
        for channel in 0..scale.len() {
            let value = &mut values[first + channel * stride];
            let normal = (*value - mean[channel]) / (variance[channel] + epsilon).sqrt();
            *value = normal * scale[channel] + bias[channel];
        }
    });
    from_f64(x.dtype, &x.shape, values)
}
