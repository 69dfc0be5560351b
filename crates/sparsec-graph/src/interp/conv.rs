//! Convolutions: the windows are gathered into the columns of a panel, then multiplied by the weight.

use super::element::{Element, elements, with_number};
use super::gemm::Gemm;
use super::strided::row_major;
use super::{InterpError, Tensor, elementwise};
use crate::infer::convolves_bytes;
use crate::{ConvAttrs, DType};

pub(super) fn conv(
    attrs: &ConvAttrs,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    if convolves_bytes(x.dtype, w.dtype) {
        let wide = |x: &Tensor| elementwise::cast(x, DType::I32);
        let zero = bias.and_then(|zero| zero.bytes.first()).map_or(0, |&zero| i32::from(zero));
        let counted = elements::<i32>(&wide(x)?)?.iter().map(|v| v - zero).collect();
        let x = Tensor::from_vec(DType::I32, &x.shape, counted);
        return typed::<i32>(attrs, &x, &wide(w)?, None, shape);
    }
    with_number!(x.dtype, T => typed::<T>(attrs, x, w, bias, shape))
}

fn typed<T: Element>(
    attrs: &ConvAttrs,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    let (groups, channels) = (attrs.groups as usize, w.shape[1]);
    let m = w.shape[0] / groups;
    let n: usize = shape[2..].iter().product();
    let k: usize = w.shape[1..].iter().product();
    let (input, weight) = (elements::<T>(x)?, elements::<T>(w)?);
    let bias = bias.map(elements::<T>).transpose()?;
    let (rows, columns): (Vec<usize>, Vec<usize>) = ((0..m).map(|i| i * k).collect(), (0..k).collect());
    let mut out: Vec<T> = vec![T::store(T::Acc::default()); shape.iter().product()];
    let plane: usize = x.shape[2..].iter().product();
    let windows = Windows { attrs, kernel: &w.shape[2..], input: &x.shape[2..], output: &shape[2..] };
    if m * n == 0 {
        return Ok(Tensor::from_vec(x.dtype, shape, out));
    }
    for (part, out) in out.chunks_exact_mut(m * n).enumerate() {
        let (image, group) = (part / groups, part % groups);
        let first_channel = (image * x.shape[1] + group * channels) * plane;
        let input = &input[first_channel..first_channel + channels * plane];
        let gemm = Gemm {
            m,
            k,
            n,
            weight: &weight[group * m * k..(group + 1) * m * k],
            row_offsets: &rows,
            column_offsets: &columns,
        };
        let bias = bias.as_ref().map(|b| &b[group * m..(group + 1) * m]);
        gemm.run(out, bias, |first, width, panel| windows.gather(input, plane, first, width, panel));
    }
    Ok(Tensor::from_vec(x.dtype, shape, out))
}

struct Windows<'a> {
    attrs: &'a ConvAttrs,
    kernel: &'a [usize],
    input: &'a [usize],
    output: &'a [usize],
}

impl Windows<'_> {
    /// Writes, for each channel and kernel position, the input elements under it at `width` output positions; zeros
    /// outside of the input.
    fn gather<T: Element>(&self, x: &[T], plane: usize, first: usize, width: usize, panel: &mut [T::Acc]) {
        let spatial = self.kernel.len();
        let strides = row_major(self.input);
        // Where the window of each output position starts, per axis.
        let mut starts = vec![0i64; width * spatial];
        for (j, start) in starts.chunks_exact_mut(spatial.max(1)).enumerate() {
            let mut rest = first + j;
            for axis in (0..spatial).rev() {
                let position = rest % self.output[axis];
                rest /= self.output[axis];
                start[axis] = position as i64 * self.attrs.strides[axis] - self.attrs.pads[axis].0;
            }
        }
        let positions: usize = self.kernel.iter().product();
        let mut delta = vec![0i64; spatial];
        for (row_index, row) in panel.chunks_exact_mut(width).enumerate() {
            let (channel, mut rest) = (row_index / positions, row_index % positions);
            for axis in (0..spatial).rev() {
                delta[axis] = (rest % self.kernel[axis]) as i64 * self.attrs.dilations[axis];
                rest /= self.kernel[axis];
            }
            let x = &x[channel * plane..(channel + 1) * plane];
            for (j, slot) in row.iter_mut().enumerate() {
                let mut offset = Some(0);
                for axis in 0..spatial {
                    let at = starts[j * spatial + axis] + delta[axis];
                    let inside = usize::try_from(at).ok().filter(|&at| at < self.input[axis]);
                    offset = offset.zip(inside).map(|(sum, at)| sum + at * strides[axis]);
                }
                *slot = offset.map_or(T::Acc::default(), |o| x[o].load());
            }
        }
    }
}
