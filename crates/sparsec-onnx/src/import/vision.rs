//! Operators on images whose places are computed: samples of grids and regions, deformed windows, columns of windows.

use sparsec_graph::{ConvAttrs, Dim, Op};
use sparsec_loops::{
    DeformWindow, ImageWindows, Outside, RoiPooling, SampleMode, Sampling, col2im as col2im_loops, deform_columns,
    grid_sample as grid_sample_loops, roi_align as roi_align_loops,
};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Largest extent, stride, dilation or padding.
const MAX_EXTENT: i64 = 1 << 24;

/// A list of `count` integers from `least` on.
fn list(node: &Node<'_>, name: &str, count: usize, default: i64, least: i64) -> Result<Vec<i64>, Fault> {
    let list = node.ints(name)?.map_or_else(|| vec![default; count], <[i64]>::to_vec);
    if list.len() != count || list.iter().any(|&v| v < least || v > MAX_EXTENT) {
        return Err(Fault::attribute(name, format!("is {list:?}")));
    }
    Ok(list)
}

fn pairs(pads: &[i64]) -> Vec<(i64, i64)> {
    let (before, after) = pads.split_at(pads.len() / 2);
    before.iter().copied().zip(after.iter().copied()).collect()
}

fn float(cx: &Context, x: Operand) -> Result<(), Fault> {
    if cx.dtype(x).is_float() { Ok(()) } else { Err(Fault::unsupported(format!("operands of type {}", cx.dtype(x)))) }
}

/// `GridSample`.
pub(super) fn grid_sample(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, grid) = (node.input(0)?, node.input(1)?);
    let mode = match node.string("mode")?.unwrap_or("linear") {
        "linear" | "bilinear" => SampleMode::Linear,
        "nearest" => SampleMode::Nearest,
        "cubic" | "bicubic" => SampleMode::Cubic,
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let outside = match node.string("padding_mode")?.unwrap_or("zeros") {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Reflection,
        other => return Err(Fault::attribute("padding_mode", format!("is `{other}`"))),
    };
    let (from, points) = (cx.shape(x), cx.shape(grid));
    let spatial = from.len().saturating_sub(2);
    if !(1..=3).contains(&spatial) || points.len() != from.len() || points[0] != from[0] {
        return Err(Fault::invalid("the grid does not fit the operand"));
    }
    if !points[spatial + 1].is(spatial as i64) {
        return Err(Fault::invalid(format!("a place of the grid has {} numbers", points[spatial + 1])));
    }
    float(cx, x)?;
    float(cx, grid)?;
    let how = Sampling { mode, outside, align_corners: node.int_or("align_corners", 0)? != 0 };
    cx.append_loops(grid_sample_loops(cx.ty(x), cx.ty(grid), how), &[x, grid])
}

/// `RoiAlign`.
pub(super) fn roi_align(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, rois, images) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let default = if node.opset < 16 { "output_half_pixel" } else { "half_pixel" };
    let extent = |name: &str| {
        let value = node.int_or(name, 1)?;
        if (1..MAX_EXTENT).contains(&value) { Ok(value) } else { Err(Fault::attribute(name, format!("is {value}"))) }
    };
    let samples = node.int_or("sampling_ratio", 0)?;
    if !(0..1 << 16).contains(&samples) {
        return Err(Fault::attribute("sampling_ratio", format!("is {samples}")));
    }
    let how = RoiPooling {
        height: extent("output_height")?,
        width: extent("output_width")?,
        samples,
        scale: node.float_or("spatial_scale", 1.0)?,
        half_pixel: node.string("coordinate_transformation_mode")?.unwrap_or(default) == "half_pixel",
        max: node.string("mode")?.unwrap_or("avg") == "max",
    };
    let (regions, of) = (cx.shape(rois), cx.shape(images));
    if cx.rank(x) != 4 || regions.len() != 2 || !regions[1].is(4) || of.len() != 1 || of[0] != regions[0] {
        return Err(Fault::invalid("regions and images do not fit the operand"));
    }
    float(cx, x)?;
    float(cx, rois)?;
    cx.append_loops(roi_align_loops(cx.ty(x), cx.ty(rois), cx.ty(images), &how), &[x, rois, images])
}

/// `DeformConv`: the columns that its windows see, and a convolution of them with a 1x1 kernel.
pub(super) fn deform_conv(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, w, offset) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let weight = cx.ty(w).const_shape().ok_or_else(|| cx.unresolved(w, "the shape of the weight"))?;
    let shape = cx.shape(x);
    let spatial = shape.len().saturating_sub(2);
    let (groups, offset_groups) = (node.int_or("group", 1)?, node.int_or("offset_group", 1)?);
    let kernel = weight.get(2..).unwrap_or_default().to_vec();
    let elements: i64 = kernel.iter().product();
    let channels = weight.get(1).copied().unwrap_or(0) * groups;
    if !(1..=3).contains(&spatial) || kernel.len() != spatial || !shape[1].is(channels) || elements < 1 {
        return Err(Fault::invalid("the weight does not fit the operand"));
    }
    if offset_groups < 1 || channels % offset_groups != 0 {
        return Err(Fault::attribute("offset_group", format!("is {offset_groups}, with {channels} channels")));
    }
    let pads = list(node, "pads", 2 * spatial, 0, 0)?;
    let window = DeformWindow {
        strides: list(node, "strides", spatial, 1, 1)?,
        pads: pads[..spatial].to_vec(),
        dilations: list(node, "dilations", spatial, 1, 1)?,
        kernel,
        offset_groups,
    };
    let fits = |cx: &Context, x: Operand, channels: i64| {
        let found = cx.shape(x);
        found.len() == shape.len() && found[0] == shape[0] && found[1].is(channels)
    };
    let per_offset = offset_groups * elements;
    let mask = node.optional(4);
    if !fits(cx, offset, per_offset * spatial as i64) || mask.is_some_and(|m| !fits(cx, m, per_offset)) {
        return Err(Fault::invalid("offsets or mask do not fit the operand and the weight"));
    }
    let spec = deform_columns(cx.ty(x), cx.ty(offset), mask.map(|m| cx.ty(m)), &window);
    let operands: Vec<Operand> = [x, offset].into_iter().chain(mask).collect();
    let columns = cx.append_loops(spec, &operands)?;
    let columns = *columns.first().ok_or_else(|| Fault::invalid("the operator has a result"))?;
    let mut flat = vec![Dim::constant(weight[0]), Dim::constant(weight[1] * elements)];
    flat.extend(vec![Dim::constant(1); spatial]);
    let w = cx.reshape(w, flat)?;
    let ones = vec![1; spatial];
    let attrs = ConvAttrs { strides: ones.clone(), pads: vec![(0, 0); spatial], dilations: ones, groups };
    let operands: Vec<Operand> = [columns, w].into_iter().chain(node.optional(3)).collect();
    Ok(vec![cx.append(Op::Conv(attrs), &operands)?])
}

/// `Col2Im`.
pub(super) fn col2im(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let image = cx.const_ints(node.input(1)?, "the shape of the image")?;
    let kernel = cx.const_ints(node.input(2)?, "the shape of a block")?;
    let axes = image.len();
    if kernel.len() != axes || image.iter().chain(&kernel).any(|v| !(1..MAX_EXTENT).contains(v)) || cx.rank(x) != 3 {
        return Err(Fault::invalid(format!("an image of {image:?} with blocks of {kernel:?}")));
    }
    let elements: i64 = kernel.iter().product();
    let windows = ImageWindows {
        strides: list(node, "strides", axes, 1, 1)?,
        pads: pairs(&list(node, "pads", 2 * axes, 0, 0)?),
        dilations: list(node, "dilations", axes, 1, 1)?,
        image,
        kernel,
    };
    let counts = windows.counts();
    let shape = cx.shape(x);
    if !shape[2].is(counts.iter().product()) || shape[1].exact_div(&Dim::constant(elements)).is_none() {
        return Err(Fault::invalid(format!("{} and {} are not as many blocks as an image has", shape[1], shape[2])));
    }
    cx.append_loops(col2im_loops(cx.ty(x), &windows), &[x])
}
