//! `ConvTranspose` as a convolution.
//!
//! With stride s, output `o = s q + r` of phase r sees input `q - t` through kernel element `s t + r`. So each of the s phases is a
//! convolution of stride 1 with `ceil(kernel / s)` elements, flipped. All phases of all axes are one convolution with that
//! many times the outputs, whose channels are then interleaved:
//!
//! ```text
//! w [c, m/g, k]  ->  [g, m/g, s, c/g, t]    x [n, c, i]  -conv->  [n, m, s, q]  ->  [n, m, q, s]  ->  [n, m, s q]
//! ```
//!
//! Nothing is multiplied by inserted zeros, but for the last elements of a kernel that is no multiple of the stride; and constant weights
//! stay constant weights of a convolution, so zeros among them are skipped. A 2x2 kernel of stride 2 is a 1x1 convolution.

use sparsec_graph::{ConvAttrs, Dim, Op, SliceAxis, TensorType};

use super::context::{Context, Operand, check_type};
use super::node::Node;
use crate::error::Fault;

/// Largest stride, dilation, padding or kernel extent.
const MAX_EXTENT: i64 = 1 << 20;

/// One spatial axis.
struct Axis {
    extent: Dim,
    kernel: i64,
    stride: i64,
    dilation: i64,
    /// Elements cut off before.
    before: i64,
    out: Dim,
}

impl Axis {
    /// Kernel elements of a phase.
    fn taps(&self) -> i64 {
        (self.reach() + self.stride - 1) / self.stride
    }

    /// Extent of the kernel with its gaps.
    fn reach(&self) -> i64 {
        (self.kernel - 1) * self.dilation + 1
    }

    /// The first block of `stride` outputs that is needed.
    fn first(&self) -> i64 {
        self.before.div_euclid(self.stride)
    }

    /// Outputs of that block that are cut off.
    fn skipped(&self) -> i64 {
        self.before.rem_euclid(self.stride)
    }

    /// Blocks that are needed.
    fn blocks(&self) -> Dim {
        (self.out.clone() + Dim::constant(self.skipped())).ceil_div(&Dim::constant(self.stride))
    }
}

/// `ConvTranspose`: x `[n, c, spatial...]`, w `[c, m/groups, kernel...]`, and optionally a bias `[m]`.
pub(super) fn conv_transpose(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    let (x, w) = (node.input(0)?, node.input(1)?);
    let weight = cx.ty(w).const_shape().ok_or_else(|| cx.unresolved(w, "the shape of the weight"))?;
    let axes = axes(cx, node, x, &weight)?;
    let groups = node.int_or("group", 1)?;
    let (channels, per_group) = (weight[0], weight[1]);
    if groups < 1 || channels % groups != 0 {
        return Err(Fault::attribute("group", format!("is {groups}, with {channels} channels")));
    }
    let outputs = per_group * groups;
    let phases: i64 = axes.iter().map(|a| a.stride).product();
    let w = phase_weights(cx, w, &weight, groups, &axes)?;
    let mut operands = vec![x, w];
    if let Some(bias) = node.optional(2) {
        let bias = cx.reshape(bias, vec![Dim::constant(outputs), Dim::constant(1)])?;
        let each = cx.append(Op::Expand(vec![Dim::constant(outputs), Dim::constant(phases)]), &[bias])?;
        operands.push(cx.reshape(each, vec![Dim::constant(outputs * phases)])?);
    }
    // Block q needs inputs q - taps + 1 to q.
    let mut pads = Vec::new();
    let mut skips = Vec::new();
    for axis in &axes {
        let before = axis.taps() - 1 - axis.first();
        let after = axis.blocks() + Dim::constant(axis.first()) - axis.extent.clone();
        let after = cx.const_dim(&after, "the padding of a transposed convolution")?;
        pads.push((before.max(0), after.max(0)));
        skips.push((-before.min(0), -after.min(0)));
    }
    if skips.iter().any(|s| *s != (0, 0)) {
        let shape = cx.shape(x);
        let part = |(i, extent): (usize, &Dim)| {
            let (before, after) = i.checked_sub(2).map_or((0, 0), |i| skips[i]);
            let len = extent.clone() - Dim::constant(before + after);
            SliceAxis { start: Dim::constant(before), len, step: 1 }
        };
        operands[0] = cx.append(Op::Slice(shape.iter().enumerate().map(part).collect()), &[x])?;
    }
    let ones = vec![1; axes.len()];
    let attrs = ConvAttrs { strides: ones.clone(), pads, dilations: ones, groups };
    let y = cx.append(Op::Conv(attrs), &operands)?;
    Ok(vec![interleave(cx, y, outputs, &axes)?])
}

/// `[c, m/g, kernel...]` as `[m * strides, c/g, taps...]`.
fn phase_weights(cx: &mut Context, w: Operand, weight: &[i64], groups: i64, axes: &[Axis]) -> Result<Operand, Fault> {
    let (channels, per_group) = (weight[0], weight[1]);
    let dims = |v: &[i64]| v.iter().copied().map(Dim::constant).collect::<Vec<_>>();
    let padded = |cx: &mut Context, x: Operand, after: Vec<i64>| {
        let amounts = after.iter().map(|&a| (0, a)).collect();
        if after.iter().all(|&a| a == 0) { Ok(x) } else { cx.append(Op::Pad { amounts, value: 0.0 }, &[x]) }
    };
    let mut w = w;
    // Gaps are zeros of the weight.
    if axes.iter().any(|a| a.dilation > 1) {
        let mut apart = vec![channels, per_group];
        let mut gaps = vec![0, 0];
        let mut joined = vec![channels, per_group];
        for a in axes {
            apart.extend([a.kernel, 1]);
            gaps.extend([0, a.dilation - 1]);
            joined.push(a.kernel * a.dilation);
        }
        w = cx.reshape(w, dims(&apart))?;
        w = padded(cx, w, gaps)?;
        w = cx.reshape(w, dims(&joined))?;
        let part = |(i, &len): (usize, &i64)| {
            let len = i.checked_sub(2).map_or(len, |i| axes[i].reach());
            SliceAxis { start: Dim::constant(0), len: Dim::constant(len), step: 1 }
        };
        w = cx.append(Op::Slice(joined.iter().enumerate().map(part).collect()), &[w])?;
    }
    let rest = axes.iter().map(|a| a.taps() * a.stride - a.reach());
    w = padded(cx, w, [0, 0].into_iter().chain(rest).collect())?;
    let mut apart = vec![groups, channels / groups, per_group];
    axes.iter().for_each(|a| apart.extend([a.taps(), a.stride]));
    check_type(&TensorType::fixed(cx.dtype(w), &apart))?;
    w = cx.reshape(w, dims(&apart))?;
    if axes.iter().any(|a| a.taps() > 1) {
        let part = |(i, &len): (usize, &i64)| {
            let flips = i > 2 && i % 2 == 1;
            let start = Dim::constant(if flips { len - 1 } else { 0 });
            SliceAxis { start, len: Dim::constant(len), step: if flips { -1 } else { 1 } }
        };
        w = cx.append(Op::Slice(apart.iter().enumerate().map(part).collect()), &[w])?;
    }
    let places = |first: usize| (0..axes.len()).map(move |i| first + 2 * i);
    let perm: Vec<usize> = [0, 2].into_iter().chain(places(4)).chain([1]).chain(places(3)).collect();
    w = cx.transpose(w, &perm)?;
    let phases: i64 = axes.iter().map(|a| a.stride).product();
    let mut shape = vec![groups * per_group * phases, channels / groups];
    shape.extend(axes.iter().map(Axis::taps));
    cx.reshape(w, dims(&shape))
}

/// `[n, m * strides, blocks...]` as `[n, m, outputs...]`.
fn interleave(cx: &mut Context, y: Operand, outputs: i64, axes: &[Axis]) -> Result<Operand, Fault> {
    let shape = cx.shape(y);
    let spatial = axes.len();
    let mut apart = vec![shape[0].clone(), Dim::constant(outputs)];
    apart.extend(axes.iter().map(|a| Dim::constant(a.stride)));
    apart.extend_from_slice(&shape[2..]);
    let mut perm = vec![0, 1];
    (0..spatial).for_each(|i| perm.extend([2 + spatial + i, 2 + i]));
    let mut joined = vec![shape[0].clone(), Dim::constant(outputs)];
    joined.extend(axes.iter().zip(&shape[2..]).map(|(a, blocks)| blocks.clone() * Dim::constant(a.stride)));
    let mut y = y;
    if axes.iter().any(|a| a.stride > 1) {
        y = cx.reshape(y, apart)?;
        y = cx.transpose(y, &perm)?;
        y = cx.reshape(y, joined.clone())?;
    }
    let cut = axes.iter().zip(&joined[2..]).any(|(a, extent)| a.skipped() != 0 || a.out != *extent);
    if !cut {
        return Ok(y);
    }
    let part = |(i, extent): (usize, &Dim)| {
        let axis = i.checked_sub(2).map(|i| &axes[i]);
        SliceAxis {
            start: Dim::constant(axis.map_or(0, Axis::skipped)),
            len: axis.map_or(extent.clone(), |a| a.out.clone()),
            step: 1,
        }
    };
    cx.append(Op::Slice(joined.iter().enumerate().map(part).collect()), &[y])
}

fn axes(cx: &Context, node: &Node<'_>, x: Operand, weight: &[i64]) -> Result<Vec<Axis>, Fault> {
    let shape = cx.shape(x);
    let spatial = shape.len().checked_sub(2).filter(|&s| s > 0 && weight.len() == s + 2);
    let spatial = spatial.ok_or_else(|| Fault::invalid("operand and weight have no equal number of spatial axes"))?;
    if !shape[1].is(weight[0]) {
        return Err(Fault::invalid(format!("{} channels with a weight of {}", shape[1], weight[0])));
    }
    let list = |name: &str, count: usize, default: i64, least: i64| -> Result<Vec<i64>, Fault> {
        let list = node.ints(name)?.map_or_else(|| vec![default; count], <[i64]>::to_vec);
        if list.len() != count || list.iter().any(|&v| v < least || v > MAX_EXTENT) {
            return Err(Fault::attribute(name, format!("is {list:?}")));
        }
        Ok(list)
    };
    let kernel = &weight[2..];
    if kernel.iter().any(|&k| !(1..=MAX_EXTENT).contains(&k)) || node.ints("kernel_shape")?.is_some_and(|k| k != kernel)
    {
        return Err(Fault::attribute("kernel_shape", format!("does not fit the weight's {kernel:?}")));
    }
    let (strides, dilations) = (list("strides", spatial, 1, 1)?, list("dilations", spatial, 1, 1)?);
    let extra = list("output_padding", spatial, 0, 0)?;
    let pads = list("pads", 2 * spatial, 0, -MAX_EXTENT)?;
    let mode = node.string("auto_pad")?.unwrap_or("NOTSET");
    let same = matches!(mode, "SAME_UPPER" | "SAME_LOWER");
    if !same && !matches!(mode, "NOTSET" | "VALID" | "") {
        return Err(Fault::attribute("auto_pad", format!("is `{mode}`")));
    }
    let declared = match node.ints("output_shape")? {
        Some(list) if list.len() == spatial => Some(list),
        Some(list) if list.len() == spatial + 2 => Some(&list[2..]),
        Some(list) => return Err(Fault::attribute("output_shape", format!("is {list:?}"))),
        None => None,
    };
    let mut axes = Vec::new();
    for i in 0..spatial {
        let mut axis = Axis {
            extent: shape[2 + i].clone(),
            kernel: kernel[i],
            stride: strides[i],
            dilation: dilations[i],
            before: pads[i],
            out: Dim::default(),
        };
        let whole = (axis.extent.clone() - Dim::constant(1)) * Dim::constant(axis.stride)
            + Dim::constant(extra[i] + axis.reach());
        axis.out = match declared {
            Some(list) => Dim::constant(list[i]),
            None if same => axis.extent.clone() * Dim::constant(axis.stride),
            None => whole.clone() - Dim::constant(pads[i] + pads[i + spatial]),
        };
        if same || declared.is_some() {
            let total = cx.const_dim(&(whole - axis.out.clone()), "the padding of a transposed convolution")?.max(0);
            axis.before = if mode == "SAME_UPPER" { total / 2 } else { total - total / 2 };
        }
        axes.push(axis);
    }
    Ok(axes)
}
