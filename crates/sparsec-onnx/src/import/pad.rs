//! Padding, with a constant or with elements of the tensor itself, and cropping.

mod computed;

use sparsec_graph::{DType, Dim, Op};

use super::context::{Context, Operand};
use super::node::{Node, axes, axis};
use super::symbolic::is_tame;
use crate::error::Fault;
use computed::Mode;

type Results = Result<Vec<Operand>, Fault>;

/// Elements before and after, per axis.
type Amounts = Vec<(i64, i64)>;

/// `Pad`.
pub(super) fn pad(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let amounts = amounts(cx, node, x)?;
    if amounts.iter().all(|(before, after)| before.is(0) && after.is(0)) {
        return Ok(vec![x]);
    }
    let fixed: Option<Amounts> =
        amounts.iter().map(|(before, after)| before.as_const().zip(after.as_const())).collect();
    let (place, mode): (fn(i64, i64) -> i64, Mode) = match node.string("mode")?.unwrap_or("constant") {
        "constant" => {
            let value = match node.optional(2) {
                Some(value) => cx.number(value).ok_or_else(|| cx.unresolved(value, "the padding value"))?,
                None => node.float_or("value", 0.0)?,
            };
            return Ok(vec![match fixed {
                Some(amounts) => cx.append(Op::Pad { amounts, value }, &[x])?,
                None => computed::constant(cx, x, &amounts, value)?,
            }]);
        }
        "edge" => (|at, extent| at.clamp(0, extent - 1), Mode::Edge),
        "reflect" => (mirrored, Mode::Reflect),
        "wrap" => (|at, extent| at.rem_euclid(extent), Mode::Wrap),
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let shape = cx.shape(x);
    // What is cropped decides where the rest is taken from, so that the extent must be known.
    let is_known =
        |((before, after), extent): (&(i64, i64), &Dim)| extent.as_const().is_some() || (*before >= 0 && *after >= 0);
    Ok(vec![match fixed.filter(|amounts| amounts.iter().zip(&shape).all(is_known)) {
        Some(amounts) => indexed(cx, x, &amounts, place)?,
        None => computed::indexed(cx, x, &amounts, mode)?,
    }])
}

/// The index that an index beyond the ends is the mirror image of; the ends themselves are not repeated.
fn mirrored(at: i64, extent: i64) -> i64 {
    let period = (2 * (extent - 1)).max(1);
    let at = at.rem_euclid(period);
    at.min(period - at).clamp(0, extent - 1)
}

fn amounts(cx: &Context, node: &Node<'_>, x: Operand) -> Result<computed::Amounts, Fault> {
    let rank = cx.rank(x);
    let written = node.ints(if node.opset < 2 { "paddings" } else { "pads" })?;
    let pads = match (node.optional(1), written) {
        (Some(pads), _) => cx.dims(pads, "input 1 (`pads`)")?,
        (None, Some(pads)) => pads.iter().copied().map(Dim::constant).collect(),
        (None, None) => return Err(Fault::MissingInput(1)),
    };
    let list = match node.optional(3) {
        Some(axes) => cx.const_ints(axes, "the axes")?,
        None => (0..rank as i64).collect(),
    };
    axes(&list, rank)?;
    let small = |p: &Dim| p.as_const().map_or(is_tame(p), |p| p.unsigned_abs() <= 1 << 40);
    if pads.len() != 2 * list.len() || !pads.iter().all(small) {
        let pads: Vec<String> = pads.iter().map(Dim::to_string).collect();
        return Err(Fault::invalid(format!("pads [{}] do not fit {} axes", pads.join(", "), list.len())));
    }
    let mut amounts = vec![(Dim::constant(0), Dim::constant(0)); rank];
    for (i, &a) in list.iter().enumerate() {
        amounts[axis(a, rank)?] = (pads[i].clone(), pads[i + list.len()].clone());
    }
    Ok(amounts)
}

/// Axis by axis, elements are taken from where `place` says of an index and an extent.
fn indexed(cx: &mut Context, x: Operand, amounts: &[(i64, i64)], place: fn(i64, i64) -> i64) -> Result<Operand, Fault> {
    let mut result = x;
    let shape = cx.shape(x);
    for (axis, &(before, after)) in amounts.iter().enumerate().filter(|(_, p)| **p != (0, 0)) {
        if shape[axis].as_const().is_none() && before >= 0 && after >= 0 {
            result = surrounded(cx, result, axis, (before, after), place)?;
            continue;
        }
        let extent = cx.const_extent(x, axis)?;
        let count = before.saturating_add(extent).saturating_add(after);
        if extent == 0 || count < 0 {
            return Err(Fault::invalid(format!("axis {axis} of {extent} elements cannot be padded so")));
        }
        let index =
            cx.table(DType::I64, &[usize::try_from(count).unwrap_or(0)], |i| place(i as i64 - before, extent))?;
        result = cx.append(Op::Gather { axis }, &[result, index])?;
    }
    Ok(result)
}

/// An axis whose extent the caller decides, between elements of it: those before are counted from its start or, where `place`
/// takes them from the end, from there, and those after likewise. Right for an extent above both amounts, which is what
/// other runtimes demand of a reflection too.
fn surrounded(
    cx: &mut Context,
    x: Operand,
    axis: usize,
    (before, after): (i64, i64),
    place: fn(i64, i64) -> i64,
) -> Result<Operand, Fault> {
    // Any extent above both amounts shows which end an element is counted from, and how.
    let extent = 2 * (before + after) + 2;
    let at = |i: i64| match place(i, extent) {
        at if at >= extent / 2 => at - extent,
        at => at,
    };
    let mut parts = Vec::with_capacity(3);
    let mut part = |cx: &mut Context, first: i64, count: i64| -> Result<(), Fault> {
        if count > 0 {
            let index =
                cx.table(DType::I64, &[usize::try_from(count).unwrap_or(0)], |i| at(first.saturating_add(i as i64)))?;
            parts.push(cx.append(Op::Gather { axis }, &[x, index])?);
        }
        Ok(())
    };
    part(cx, -before, before)?;
    let lead = before > 0;
    part(cx, extent, after)?;
    parts.insert(usize::from(lead), x);
    cx.append(Op::Concat { axis }, &parts)
}

/// `CenterCropPad`: the middle of each axis, or zeros on both sides of it; an odd element more stands after.
pub(super) fn center_crop_pad(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (shape, rank) = (cx.shape(x), cx.rank(x));
    let wanted = cx.const_ints(node.input(1)?, "the new shape")?;
    let list = node.ints("axes")?.map_or_else(|| (0..rank as i64).collect(), <[i64]>::to_vec);
    axes(&list, rank)?;
    if wanted.len() != list.len() || wanted.iter().any(|w| !(0..1 << 40).contains(w)) {
        return Err(Fault::invalid(format!("the new extents {wanted:?} do not fit {} axes", list.len())));
    }
    let mut amounts = vec![(0, 0); rank];
    for (&a, &wanted) in list.iter().zip(&wanted) {
        let a = axis(a, rank)?;
        let extent = cx.const_dim(&shape[a], &format!("the extent of dimension {a}"))?;
        // Both quotients are of magnitudes: what is cropped is halved as what is added.
        let before = (wanted - extent) / 2;
        amounts[a] = (before, wanted - extent - before);
    }
    let unchanged = amounts.iter().all(|p| *p == (0, 0));
    Ok(vec![if unchanged { x } else { cx.append(Op::Pad { amounts, value: 0.0 }, &[x])? }])
}
