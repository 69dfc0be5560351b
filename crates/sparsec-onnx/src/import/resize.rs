//! `Resize` and `Upsample`: extents from scales or sizes; each axis that changes is resampled by itself.

use sparsec_graph::{DType, Dim};
use sparsec_loops::{Coordinates, Interpolation, Nearest, Resampling, resample, resample_table};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Largest numerator and denominator of the scale of a dynamic extent.
const MAX_RATIO: i64 = 64;

/// `Upsample`, and `Resize` of operator set 10.
pub(super) fn upsample(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let scales = match node.optional(1) {
        Some(scales) => floats(cx, scales, "the scales")?,
        None => match node.floats("scales")? {
            Some(scales) => scales.to_vec(),
            None => [1.0, 1.0, node.float_or("height_scale", 1.0)? as f32, node.float_or("width_scale", 1.0)? as f32]
                .to_vec(),
        },
    };
    let linear = match node.string("mode")?.unwrap_or("nearest") {
        "nearest" => false,
        "linear" | "bilinear" | "trilinear" => true,
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let all: Vec<usize> = (0..cx.rank(x)).collect();
    let targets = by_scales(&cx.shape(x), &all, &scales)?;
    resize_axes(cx, x, &all, &targets, |_, target| {
        let grows = target.scale.is_none_or(|s| s >= 1.0);
        let nearest = Interpolation::Nearest(if grows { Nearest::Floor } else { Nearest::Ceil });
        Resampling {
            coordinates: Coordinates::Asymmetric,
            interpolation: if linear { Interpolation::Linear } else { nearest },
            scale: target.scale,
            filter: None,
            exclude_outside: false,
        }
    })
}

/// `Resize` since operator set 11.
pub(super) fn resize(cx: &mut Context, node: &Node<'_>) -> Results {
    if node.opset < 11 {
        return upsample(cx, node);
    }
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let list = node.ints("axes")?.map_or_else(|| (0..shape.len() as i64).collect(), <[i64]>::to_vec);
    super::node::axes(&list, shape.len())?;
    let axes = list.iter().map(|&a| axis(a, shape.len())).collect::<Result<Vec<_>, _>>()?;
    let given = |x: Option<Operand>| x.filter(|&x| !cx.shape(x).iter().any(|d| d.is(0)));
    let targets = match (given(node.optional(2)), given(node.optional(3))) {
        (None, Some(sizes)) => {
            let sizes = cx.dims(sizes, "the sizes")?;
            by_sizes(&shape, &axes, &sizes, node.string("keep_aspect_ratio_policy")?.unwrap_or("stretch"))?
        }
        (Some(scales), None) => by_scales(&shape, &axes, &floats(cx, scales, "the scales")?)?,
        _ => return Err(Fault::invalid("either scales or sizes must be given")),
    };
    let coordinates = node.string("coordinate_transformation_mode")?.unwrap_or("half_pixel");
    let roi = match (coordinates, node.optional(1)) {
        ("tf_crop_and_resize", Some(roi)) => floats(cx, roi, "the region")?,
        ("tf_crop_and_resize", None) => return Err(Fault::MissingInput(1)),
        _ => Vec::new(),
    };
    let fill = node.float_or("extrapolation_value", 0.0)?;
    let coordinates = |i: usize| {
        Ok(match coordinates {
            "asymmetric" => Coordinates::Asymmetric,
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "tf_crop_and_resize" => match (roi.get(i), roi.get(i + axes.len())) {
                (Some(&start), Some(&end)) => {
                    Coordinates::TfCropAndResize { start: f64::from(start), end: f64::from(end), fill }
                }
                _ => return Err(Fault::invalid("the region has too few elements")),
            },
            other => return Err(Fault::attribute("coordinate_transformation_mode", format!("is `{other}`"))),
        })
    };
    let coordinates = (0..axes.len()).map(coordinates).collect::<Result<Vec<_>, _>>()?;
    let interpolation = match node.string("mode")?.unwrap_or("nearest") {
        "nearest" => Interpolation::Nearest(match node.string("nearest_mode")?.unwrap_or("round_prefer_floor") {
            "round_prefer_floor" => Nearest::RoundPreferFloor,
            "round_prefer_ceil" => Nearest::RoundPreferCeil,
            "floor" => Nearest::Floor,
            "ceil" => Nearest::Ceil,
            other => return Err(Fault::attribute("nearest_mode", format!("is `{other}`"))),
        }),
        "linear" => Interpolation::Linear,
        "cubic" => Interpolation::Cubic(node.float_or("cubic_coeff_a", -0.75)?),
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let antialias = node.int_or("antialias", 0)? != 0;
    if antialias {
        for (&a, target) in axes.iter().zip(&targets) {
            if shape[a] != target.extent && target.factor(&shape[a]).is_none() {
                cx.const_dim(&shape[a], "the scale of antialiasing")?;
                cx.const_dim(&target.extent, "the scale of antialiasing")?;
            }
        }
    }
    let exclude_outside = node.int_or("exclude_outside", 0)? != 0;
    resize_axes(cx, x, &axes, &targets, |i, target| Resampling {
        coordinates: coordinates[i],
        interpolation,
        scale: target.scale,
        filter: target.factor(&shape[axes[i]]).filter(|&s| antialias && s < 1.0),
        exclude_outside,
    })
}

/// What an axis becomes.
struct Target {
    extent: Dim,
    /// The scale, where it was given.
    scale: Option<f64>,
}

impl Target {
    /// The scale, where it is known.
    fn factor(&self, from: &Dim) -> Option<f64> {
        self.scale.or_else(|| Some(self.extent.as_const()? as f64 / from.as_const()? as f64))
    }
}

fn resize_axes(
    cx: &mut Context,
    x: Operand,
    axes: &[usize],
    targets: &[Target],
    how: impl Fn(usize, &Target) -> Resampling,
) -> Results {
    let mut result = x;
    // The last axis first: the others then move whole rows.
    let mut order: Vec<usize> = (0..axes.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(axes[i]));
    for i in order {
        let (axis, target) = (axes[i], &targets[i]);
        let how = how(i, target);
        let ty = cx.ty(result).clone();
        let crops = matches!(how.coordinates, Coordinates::TfCropAndResize { .. });
        if ty.shape[axis] == target.extent && target.scale.is_none_or(|s| s == 1.0) && !crops {
            continue;
        }
        if !matches!(how.interpolation, Interpolation::Nearest(_)) && ty.dtype == DType::Bool {
            return Err(Fault::unsupported("interpolation of truth values"));
        }
        let mut operands = vec![result];
        operands.extend(cx.append_loops(resample_table(&ty.shape[axis], &target.extent, &how), &[])?);
        let results = cx.append_loops(resample(&ty, axis, &target.extent, &how), &operands)?;
        result = *results.first().ok_or_else(|| Fault::invalid("resampling has a result"))?;
    }
    Ok(vec![result])
}

fn floats(cx: &Context, x: Operand, what: &str) -> Result<Vec<f32>, Fault> {
    let data = cx.constant(x).ok_or_else(|| cx.unresolved(x, what))?;
    let values = data.as_f32().map(std::borrow::Cow::into_owned);
    values.ok_or_else(|| Fault::invalid(format!("{what} are of type {}", data.dtype)))
}

fn by_scales(shape: &[Dim], axes: &[usize], scales: &[f32]) -> Result<Vec<Target>, Fault> {
    if scales.len() != axes.len() {
        return Err(Fault::invalid(format!("{} scales are given for {} axes", scales.len(), axes.len())));
    }
    let target = |(&a, &scale): (&usize, &f32)| {
        if !(scale > 0.0 && scale < 65536.0) {
            return Err(Fault::invalid(format!("a scale is {scale}")));
        }
        let extent = match shape[a].as_const() {
            // As other implementations round: the product is one of 32 bits.
            Some(extent) => Dim::constant((extent as f32 * scale).floor() as i64),
            None => {
                let (p, q) = ratio(scale)
                    .ok_or_else(|| Fault::unsupported(format!("the scale {scale} of a dynamic dimension")))?;
                (shape[a].clone() * Dim::constant(p)).floor_div(&Dim::constant(q))
            }
        };
        Ok(Target { extent, scale: Some(f64::from(scale)) })
    };
    axes.iter().zip(scales).map(target).collect()
}

/// A scale as a ratio of small numbers.
fn ratio(scale: f32) -> Option<(i64, i64)> {
    (1..=MAX_RATIO).find_map(|q| {
        let p = (scale * q as f32).round();
        (p >= 1.0 && p / q as f32 == scale).then_some((p as i64, q))
    })
}

fn by_sizes(shape: &[Dim], axes: &[usize], sizes: &[Dim], policy: &str) -> Result<Vec<Target>, Fault> {
    if sizes.len() != axes.len() {
        return Err(Fault::invalid(format!("{} sizes are given for {} axes", sizes.len(), axes.len())));
    }
    if policy == "stretch" {
        return Ok(sizes.iter().map(|s| Target { extent: s.clone(), scale: None }).collect());
    }
    let factors = axes.iter().zip(sizes).map(|(&a, s)| Some(s.as_const()? as f64 / shape[a].as_const()? as f64));
    let factors = factors.collect::<Option<Vec<f64>>>();
    let factors = factors.ok_or_else(|| Fault::unsupported("keeping the aspect ratio of dynamic dimensions"))?;
    let scale = match policy {
        "not_larger" => factors.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => factors.iter().copied().fold(0.0, f64::max),
        other => return Err(Fault::attribute("keep_aspect_ratio_policy", format!("is `{other}`"))),
    };
    let target = |&a: &usize| {
        let extent = (shape[a].as_const().unwrap_or(0) as f64 * scale + 0.5).floor() as i64;
        Target { extent: Dim::constant(extent), scale: Some(scale) }
    };
    Ok(axes.iter().map(target).collect())
}
