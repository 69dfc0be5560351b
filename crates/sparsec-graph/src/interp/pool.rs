//! Sliding window reductions.

use super::element::{Acc, Element, elements, with_number};
use super::strided::row_major;
use super::{InterpError, Tensor};
use crate::{PoolAttrs, PoolKind};

pub(super) fn pool(attrs: &PoolAttrs, x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    with_number!(x.dtype, T => typed::<T>(attrs, x, shape))
}

fn typed<T: Element>(attrs: &PoolAttrs, x: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    let input = elements::<T>(x)?;
    let (extents, outputs) = (&x.shape[2..], &shape[2..]);
    let plane: usize = extents.iter().product();
    let windows: usize = outputs.iter().product();
    let mut out: Vec<T> = Vec::with_capacity(shape.iter().product());
    if plane == 0 {
        let empty = T::store(T::Acc::default());
        return Ok(Tensor::from_vec(x.dtype, shape, vec![empty; shape.iter().product()]));
    }
    for channel in input.chunks_exact(plane) {
        for window in 0..windows {
            out.push(T::store(reduce_window::<T>(attrs, channel, extents, outputs, window)));
        }
    }
    Ok(Tensor::from_vec(x.dtype, shape, out))
}

fn reduce_window<T: Element>(
    attrs: &PoolAttrs,
    channel: &[T],
    extents: &[usize],
    outputs: &[usize],
    mut window: usize,
) -> T::Acc {
    let spatial = extents.len();
    let strides = row_major(extents);
    let mut start = vec![0i64; spatial];
    for axis in (0..spatial).rev() {
        start[axis] = (window % outputs[axis]) as i64 * attrs.strides[axis] - attrs.pads[axis].0;
        window /= outputs[axis];
    }
    let max = attrs.kind == PoolKind::Max;
    let mut acc = if max { T::Acc::LOWEST } else { T::Acc::default() };
    let (mut inside, mut padded) = (0usize, 0usize);
    let mut at = vec![0i64; spatial];
    loop {
        let mut offset = Some(0);
        let mut in_padding = true;
        for axis in 0..spatial {
            let position = start[axis] + at[axis] * attrs.dilations[axis];
            in_padding &= position < extents[axis] as i64 + attrs.pads[axis].1;
            let position = usize::try_from(position).ok().filter(|&p| p < extents[axis]);
            offset = offset.zip(position).map(|(sum, p)| sum + p * strides[axis]);
        }
        if let Some(value) = offset.and_then(|o| channel.get(o)) {
            inside += 1;
            acc = if max { acc.larger(value.load()) } else { acc.add(value.load()) };
        }
        // A window that `ceil` lets reach beyond the padding counts only what lies within it.
        padded += usize::from(in_padding);
        let Some(axis) = (0..spatial).rev().find(|&a| at[a] + 1 < attrs.kernel[a]) else { break };
        at[axis] += 1;
        at[axis + 1..].fill(0);
    }
    match attrs.kind {
        PoolKind::Max => acc,
        PoolKind::Average => acc.over(inside),
        PoolKind::AverageWithPad => acc.over(padded),
    }
}
