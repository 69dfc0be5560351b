//! Contractions and convolutions.

use std::collections::BTreeMap;

use super::window::{check_window, window_extent};
use super::{Cx, InferError};
use crate::{AttentionSpec, ContractSpec, ConvAttrs, DType, Dim, TensorType};

pub(super) fn contract(cx: &Cx<'_>, spec: &ContractSpec) -> Result<TensorType, InferError> {
    let [lhs, rhs] = cx.exactly()?;
    if !spec.is_valid() {
        return Err(cx.attribute(format!("`{spec}` is no valid contraction")));
    }
    let dtype = if sums_bytes(lhs.dtype, rhs.dtype) {
        DType::I32
    } else {
        cx.same_dtype(lhs, rhs)?;
        cx.numeric(0, lhs)?;
        lhs.dtype
    };
    let mut extents: BTreeMap<char, &Dim> = BTreeMap::new();
    for (operand, (labels, ty)) in [(&spec.lhs, lhs), (&spec.rhs, rhs)].into_iter().enumerate() {
        if labels.len() != ty.rank() {
            return Err(InferError::Rank {
                op: cx.op,
                operand,
                expected: format!("{} (`{spec}`)", labels.len()),
                found: ty.rank(),
            });
        }
        for (&label, extent) in labels.iter().zip(&ty.shape) {
            if let Some(known) = extents.insert(label, extent) {
                cx.same_extent(&format!("label `{label}` of `{spec}`"), known, extent)?;
            }
        }
    }
    let shape: Vec<Dim> = spec.out.iter().filter_map(|label| extents.get(label).map(|d| (*d).clone())).collect();
    Ok(TensorType::new(dtype, shape))
}

/// Whether a contraction of these element types adds up in `i32`: bytes, the lhs (a weight) signed and the rhs unsigned.
pub(crate) fn sums_bytes(lhs: DType, rhs: DType) -> bool {
    (lhs, rhs) == (DType::I8, DType::U8)
}

pub(super) fn attention(cx: &Cx<'_>, spec: &AttentionSpec) -> Result<TensorType, InferError> {
    let [q, k, v, args @ ..] = cx.operands else { return Err(cx.arity("at least 3")) };
    cx.float(0, q)?;
    let scores = contract(&Cx { op: cx.op, operands: &[q, k] }, &spec.scores)?;
    if spec.values.lhs != spec.scores.out {
        return Err(cx.attribute(format!("`{}` does not take the scores of `{}`", spec.values, spec.scores)));
    }
    if !spec.scores.out.contains(&spec.keys) {
        return Err(cx.attribute(format!("`{}` has no axis `{}`", spec.scores, spec.keys)));
    }
    for arg in args {
        let shape = super::broadcast_shapes(cx.op, &[&scores.shape, &arg.shape])?;
        if shape != scores.shape {
            let reason = format!("an operand of type {arg} doesn't broadcast to the scores {scores}");
            return Err(InferError::Epilogue { op: cx.op, reason });
        }
    }
    let types: Vec<_> = args.iter().map(|t| t.dtype).collect();
    let dtype = super::infer_scalar_type(&spec.expr, Some(scores.dtype), &types)
        .map_err(|e| InferError::Epilogue { op: cx.op, reason: e.to_string() })?;
    let scores = TensorType::new(dtype, scores.shape);
    contract(&Cx { op: cx.op, operands: &[&scores, v] }, &spec.values)
}

pub(super) fn conv(cx: &Cx<'_>, attrs: &ConvAttrs) -> Result<TensorType, InferError> {
    let (x, w, bias) = match cx.operands {
        [x, w] => (*x, *w, None),
        [x, w, bias] => (*x, *w, Some(*bias)),
        _ => return Err(cx.arity("2 or 3")),
    };
    let bytes = convolves_bytes(x.dtype, w.dtype);
    if !bytes {
        cx.numeric(0, x)?;
        cx.same_dtype(x, w)?;
    }
    let spatial = attrs.strides.len();
    for (operand, ty) in [x, w].into_iter().enumerate() {
        if ty.rank() != spatial + 2 {
            return Err(InferError::Rank {
                op: cx.op,
                operand,
                expected: format!("{}", spatial + 2),
                found: ty.rank(),
            });
        }
    }
    check_window(cx, spatial, &attrs.strides, &attrs.pads, &attrs.dilations)?;
    if attrs.groups < 1 {
        return Err(cx.attribute(format!("{} groups", attrs.groups)));
    }
    let groups = Dim::constant(attrs.groups);
    let what = "the channel axis (operand, and weight times groups)";
    cx.same_extent(what, &x.shape[1], &(w.shape[1].clone() * groups.clone()))?;
    if w.shape[0].exact_div(&groups).is_none() {
        return Err(cx.attribute(format!("{} outputs don't divide into {groups} groups", w.shape[0])));
    }
    if let Some(bias) = bias {
        cx.same_dtype(x, bias)?;
        let rank = usize::from(!bytes);
        if bias.rank() != rank {
            return Err(InferError::Rank { op: cx.op, operand: 2, expected: rank.to_string(), found: bias.rank() });
        }
    }
    if let Some(bias) = bias.filter(|_| !bytes) {
        cx.same_extent("the output channel axis (weight and bias)", &w.shape[0], &bias.shape[0])?;
    }
    let mut shape = vec![x.shape[0].clone(), w.shape[0].clone()];
    for axis in 0..spatial {
        let (stride, pad, dilation) = (attrs.strides[axis], attrs.pads[axis], attrs.dilations[axis]);
        let kernel = &w.shape[axis + 2];
        shape.push(window_extent(cx, &x.shape[axis + 2], kernel, stride, pad, dilation, false)?);
    }
    Ok(TensorType::new(if bytes { DType::I32 } else { x.dtype }, shape))
}

/// Whether a convolution of these element types adds up in `i32`: unsigned bytes, and a weight of small integers.
pub(crate) fn convolves_bytes(x: DType, w: DType) -> bool {
    x == DType::U8 && matches!(w, DType::I8 | DType::I16)
}
