//! Sliding windows: pooling, and the extents that convolutions share with it.

use super::{Cx, InferError};
use crate::{Dim, PoolAttrs, PoolKind, TensorType};

/// No stride, pad or dilation is larger, so that window arithmetic stays far from overflow.
const MAX_ATTRIBUTE: i64 = 1 << 31;

pub(super) fn pool(cx: &Cx<'_>, attrs: &PoolAttrs) -> Result<TensorType, InferError> {
    let [x] = cx.exactly()?;
    match attrs.kind {
        PoolKind::Max => cx.numeric(0, x)?,
        PoolKind::Average | PoolKind::AverageWithPad => cx.float(0, x)?,
    }
    let spatial = attrs.kernel.len();
    if x.rank() != spatial + 2 {
        return Err(InferError::Rank { op: cx.op, operand: 0, expected: (spatial + 2).to_string(), found: x.rank() });
    }
    check_window(cx, spatial, &attrs.strides, &attrs.pads, &attrs.dilations)?;
    let mut shape = x.shape[..2].to_vec();
    for axis in 0..spatial {
        let (kernel, stride, pad) = (attrs.kernel[axis], attrs.strides[axis], attrs.pads[axis]);
        let dilation = attrs.dilations[axis];
        if !(1..=MAX_ATTRIBUTE).contains(&kernel) {
            return Err(cx.attribute(format!("kernel extent {kernel}")));
        }
        if pad.0.max(pad.1) > dilation * (kernel - 1) {
            return Err(cx.attribute(format!("pads {pad:?} are not smaller than the window")));
        }
        let extent = &x.shape[axis + 2];
        shape.push(window_extent(cx, extent, &Dim::constant(kernel), stride, pad, dilation, attrs.ceil)?);
    }
    Ok(TensorType::new(x.dtype, shape))
}

/// Checks that the window attributes have one entry per spatial axis and are in range.
pub(super) fn check_window(
    cx: &Cx<'_>,
    spatial: usize,
    strides: &[i64],
    pads: &[(i64, i64)],
    dilations: &[i64],
) -> Result<(), InferError> {
    if strides.len() != spatial || pads.len() != spatial || dilations.len() != spatial {
        return Err(cx.attribute(format!(
            "{spatial} spatial axes, but {} strides, {} pads and {} dilations",
            strides.len(),
            pads.len(),
            dilations.len()
        )));
    }
    let positive = |v: &i64| (1..=MAX_ATTRIBUTE).contains(v);
    if let Some(v) = strides.iter().chain(dilations).find(|v| !positive(v)) {
        return Err(cx.attribute(format!("a stride or dilation of {v}")));
    }
    match pads.iter().flat_map(|p| [p.0, p.1]).find(|v| !(0..=MAX_ATTRIBUTE).contains(v)) {
        Some(v) => Err(cx.attribute(format!("a pad of {v}"))),
        None => Ok(()),
    }
}

/// The number of windows along an axis: `floor((extent + pads - dilation * (kernel - 1) - 1) / stride) + 1`; with
/// `ceil`, windows that would start in the padding behind the input don't count.
pub(super) fn window_extent(
    cx: &Cx<'_>,
    extent: &Dim,
    kernel: &Dim,
    stride: i64,
    pad: (i64, i64),
    dilation: i64,
    ceil: bool,
) -> Result<Dim, InferError> {
    let one = Dim::constant(1);
    let window = (kernel.clone() - one.clone()) * Dim::constant(dilation) + one.clone();
    let padded = extent.clone() + Dim::constant(pad.0 + pad.1);
    let room = padded.clone() - window.clone();
    if room.as_const().is_some_and(|r| r < 0) {
        return Err(cx.attribute(format!("a window of {window} on a padded extent of {padded}")));
    }
    let stride = Dim::constant(stride);
    Ok(if ceil {
        let windows = room.ceil_div(&stride) + one;
        windows.minimum(&(extent.clone() + Dim::constant(pad.0)).ceil_div(&stride))
    } else {
        room.floor_div(&stride) + one
    })
}
