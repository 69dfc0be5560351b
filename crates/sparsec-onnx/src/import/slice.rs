//! Parts of tensors, and tensors of parts.

use sparsec_graph::{Dim, Op, SliceAxis, TensorType};

use super::context::{Context, Operand};
use super::node::{Node, axes, axis};
use super::symbolic::{self, is_nonnegative};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Bounds at least this large mean "to the end": exporters write 10^9, or the largest integer of 32 or 64 bits.
const FAR: i64 = 1_000_000_000;

/// `Slice`: bounds are clamped to the tensor, negative ones count from the end.
pub(super) fn slice(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    // Operator sets before 10 had all of these as attributes.
    let bounds = |index, name, what| match node.ints(name)?.filter(|_| node.opset < 10) {
        Some(list) => Ok(list.iter().copied().map(Dim::constant).collect()),
        None => cx.dims(node.input(index)?, what),
    };
    let (starts, ends) = (bounds(1, "starts", "the start")?, bounds(2, "ends", "the end")?);
    let list = match node.optional(3) {
        Some(axes) => cx.const_ints(axes, "the axes")?,
        None => match node.ints("axes")? {
            Some(axes) => axes.to_vec(),
            None => (0..starts.len() as i64).collect(),
        },
    };
    let steps = match node.optional(4) {
        Some(steps) => cx.const_ints(steps, "the steps")?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), list.len(), steps.len()].iter().any(|&n| n != starts.len()) {
        return Err(Fault::invalid("start, end, axes and steps have different lengths"));
    }
    // Each axis at most once.
    axes(&list, shape.len())?;
    let mut parts: Vec<SliceAxis> = shape.iter().map(whole).collect();
    for (i, &a) in list.iter().enumerate() {
        let a = axis(a, shape.len())?;
        parts[a] = part(&shape[a], &starts[i], &ends[i], steps[i])?;
    }
    Ok(vec![take(cx, x, parts)?])
}

fn whole(extent: &Dim) -> SliceAxis {
    SliceAxis { start: Dim::constant(0), len: extent.clone(), step: 1 }
}

/// Takes a part; known integers stay known.
fn take(cx: &mut Context, x: Operand, parts: Vec<SliceAxis>) -> Result<Operand, Fault> {
    let shape = cx.shape(x);
    if parts.iter().zip(&shape).all(|(part, extent)| *part == whole(extent)) {
        return Ok(x);
    }
    if let (Some(ints), [SliceAxis { start, len, step }]) = (cx.ints(x), parts.as_slice())
        && let (Some(start), Some(len)) = (start.as_const(), len.as_const())
    {
        let places = (0..len).map(|i| usize::try_from(start + i * step).ok());
        let taken: Option<Vec<Dim>> = places.map(|at| ints.get(at?).cloned()).collect();
        if let Some(taken) = taken {
            return cx.add_ints(TensorType::fixed(cx.dtype(x), &[len]), taken);
        }
    }
    cx.append(Op::Slice(parts), &[x])
}

/// One axis of a slice.
///
/// A bound that is an expression over symbols is taken to lie inside a constant extent: `0:seq` of a table of 512
/// positions has `seq` elements, and a model that is run with a longer sequence has no meaning (the standard would
/// clamp the slice, and what uses it would not fit any more). Where the extent has symbols too, bounds are clamped.
fn part(extent: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<SliceAxis, Fault> {
    if step == 0 {
        return Err(Fault::invalid("a step is 0"));
    }
    if let (Some(extent), Some(start), Some(end)) = (extent.as_const(), start.as_const(), end.as_const()) {
        return Ok(fixed_part(extent, start, end, step));
    }
    if step < 0 {
        return descending(extent, start, end, step);
    }
    // A start past the end needs no clamping: nothing is taken then.
    let start = match start.as_const() {
        Some(s) if (0..FAR).contains(&s) => start.clone(),
        _ => symbolic::max(&Dim::constant(0), &bound(extent, start)?),
    };
    let end = bound(extent, end)?;
    let len = symbolic::max(&Dim::constant(0), &(end - start.clone()));
    Ok(SliceAxis { start, len: if step == 1 { len } else { len.ceil_div(&Dim::constant(step)) }, step })
}

/// A bound of an ascending slice, counted from the start, at most `extent`.
fn bound(extent: &Dim, bound: &Dim) -> Result<Dim, Fault> {
    let bound = match bound.as_const() {
        Some(b) if b >= FAR => return Ok(extent.clone()),
        Some(b) if b <= -FAR => return Ok(Dim::constant(0)),
        Some(b) if b < 0 => extent.clone() + bound.clone(),
        Some(_) => bound.clone(),
        None if !symbolic::is_tame(bound) => return Err(Fault::invalid("a bound is too large an expression")),
        None if is_nonnegative(&(Dim::constant(0) - bound.clone())) => extent.clone() + bound.clone(),
        None if is_nonnegative(bound) || extent.as_const().is_none() => bound.clone(),
        None => {
            let mut symbols = Default::default();
            bound.collect_symbols(&mut symbols);
            let dims = symbols.iter().map(|s| s.name().to_owned()).collect();
            let what = format!("the sign of the bound {bound}");
            return Err(Fault::Unresolved { what, dims, inputs: Vec::new() });
        }
    };
    match extent.as_const() {
        Some(_) if bound.as_const().is_none() => Ok(bound),
        _ => Ok(symbolic::min(&bound, extent)),
    }
}

/// One axis of a descending slice of an extent with symbols, whose bounds are clamped.
fn descending(extent: &Dim, start: &Dim, end: &Dim, step: i64) -> Result<SliceAxis, Fault> {
    let last = extent.clone() - Dim::constant(1);
    // One before the first: an end that takes in the first element, or a start that takes none.
    let before = Dim::constant(-1);
    let place = |bound: &Dim| match bound.as_const() {
        Some(b) if b >= FAR => Ok(last.clone()),
        Some(b) if b <= -FAR => Ok(before.clone()),
        None if !symbolic::is_tame(bound) => Err(Fault::invalid("a bound is too large an expression")),
        _ if is_nonnegative(&(before.clone() - bound.clone())) => {
            Ok(symbolic::max(&before, &(extent.clone() + bound.clone())))
        }
        _ => Ok(symbolic::min(bound, &last)),
    };
    let (start, end) = (place(start)?, place(end)?);
    let len = symbolic::max(&Dim::constant(0), &(start.clone() - end));
    // Before the first element nothing is taken.
    let start = symbolic::max(&Dim::constant(0), &start);
    Ok(SliceAxis {
        start,
        len: if step == -1 { len } else { len.ceil_div(&Dim::constant(step.saturating_neg())) },
        step,
    })
}

fn fixed_part(extent: i64, start: i64, end: i64, step: i64) -> SliceAxis {
    // Saturation is exact: the results are clamped to the extent.
    let from_start = |v: i64| if v < 0 { v.saturating_add(extent) } else { v };
    let (start, len) = if step > 0 {
        let (start, end) = (from_start(start).clamp(0, extent), from_start(end).clamp(0, extent));
        (start, (end - start).max(0))
    } else {
        let (start, end) = (from_start(start).clamp(-1, extent - 1), from_start(end).clamp(-1, extent - 1));
        (start, (start - end).max(0))
    };
    let magnitude = step.unsigned_abs();
    let count = (len as u64).div_ceil(magnitude) as i64;
    // A step past everything takes one element; it is written such that products with it stay small.
    let step = if count <= 1 { 1 } else { step };
    SliceAxis { start: Dim::constant(start.max(0)), len: Dim::constant(count), step }
}

/// `Split` into parts: by a list of sizes, or evenly.
pub(super) fn split(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let a = axis(node.int_or("axis", 0)?, shape.len())?;
    let extent = &shape[a];
    let sizes: Vec<Dim> = match node.optional(1) {
        Some(sizes) => cx.dims(sizes, "the sizes of the parts")?,
        None => match node.ints("split")? {
            Some(sizes) => sizes.iter().copied().map(Dim::constant).collect(),
            None => even_sizes(extent, node)?,
        },
    };
    if sizes.iter().any(|s| !is_nonnegative(s)) {
        return Err(Fault::invalid("a part has a negative size"));
    }
    let total = sizes.iter().fold(Dim::constant(0), |sum, s| sum + s.clone());
    if sizes.len() < node.proto.output.len() || total != *extent {
        let message = format!("{} parts of {total} elements do not make up {extent}", sizes.len());
        return Err(Fault::invalid(message));
    }
    let mut results = Vec::with_capacity(sizes.len());
    let mut start = Dim::constant(0);
    for len in sizes.into_iter().take(node.proto.output.len()) {
        let mut parts: Vec<SliceAxis> = shape.iter().map(whole).collect();
        let next = start.clone() + len.clone();
        parts[a] = SliceAxis { start, len, step: 1 };
        results.push(take(cx, x, parts)?);
        start = next;
    }
    Ok(results)
}

/// Equal sizes; since operator set 18 the last may be smaller.
fn even_sizes(extent: &Dim, node: &Node<'_>) -> Result<Vec<Dim>, Fault> {
    let count = node.proto.output.len() as i64;
    let declared = node.int("num_outputs")?.unwrap_or(count);
    if count == 0 || declared != count {
        return Err(Fault::attribute("num_outputs", format!("is {declared}, but the node has {count} results")));
    }
    let parts = Dim::constant(count);
    if let Some(size) = extent.exact_div(&parts) {
        return Ok(vec![size; count as usize]);
    }
    let size = extent.ceil_div(&parts);
    match (extent.as_const(), size.as_const()) {
        (Some(extent), Some(size)) if node.has("num_outputs") && size * (count - 1) <= extent => {
            let mut sizes = vec![Dim::constant(size); count as usize];
            sizes[count as usize - 1] = Dim::constant(extent - size * (count - 1));
            Ok(sizes)
        }
        _ => Err(Fault::invalid(format!("{extent} elements do not divide into {count} parts"))),
    }
}

/// `Concat`.
pub(super) fn concat(cx: &mut Context, node: &Node<'_>) -> Results {
    let inputs = node.all_inputs()?;
    let default = if node.opset < 4 { Some(1) } else { None };
    let a = node.int("axis")?.or(default).ok_or_else(|| Fault::attribute("axis", "is missing"))?;
    let a = axis(a, cx.rank(node.input(0)?))?;
    if let &[only] = inputs.as_slice() {
        return Ok(vec![only]);
    }
    let dtype = cx.dtype(node.input(0)?);
    let vectors = inputs.iter().all(|&x| cx.rank(x) == 1 && cx.dtype(x) == dtype);
    let known: Option<Vec<_>> = inputs.iter().map(|&x| cx.ints(x)).collect();
    match known {
        Some(known) if vectors && known.iter().map(|k| k.len()).sum::<usize>() <= 1024 => {
            let joined: Vec<Dim> = known.iter().flat_map(|k| k.iter().cloned()).collect();
            Ok(vec![cx.add_ints(TensorType::fixed(dtype, &[joined.len() as i64]), joined)?])
        }
        _ => Ok(vec![cx.append(Op::Concat { axis: a }, &inputs)?]),
    }
}

/// `Gather` along an axis.
pub(super) fn gather(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, index) = (node.input(0)?, node.input(1)?);
    let a = axis(node.int_or("axis", 0)?, cx.rank(x))?;
    if cx.rank(x) == 1
        && let (Some(ints), Some(places)) = (cx.ints(x), cx.ints(index))
    {
        let pick = |place: &Dim| {
            let place = place.as_const()?;
            let from_start = if place < 0 { place.checked_add(ints.len() as i64)? } else { place };
            ints.get(usize::try_from(from_start).ok()?).cloned()
        };
        let fixed = places.iter().all(|p| p.as_const().is_some());
        let picked: Option<Vec<Dim>> = places.iter().map(pick).collect();
        match picked {
            Some(picked) => return Ok(vec![cx.add_ints(TensorType::new(cx.dtype(x), cx.shape(index)), picked)?]),
            None if fixed => return Err(outside(ints.len() as i64)),
            None => {}
        }
    }
    // A branch that isn't taken may hold anything.
    if let (0, Some(extent), Some(places)) = (cx.level(), cx.shape(x)[a].as_const(), cx.ints(index)) {
        let inside = |place: &Dim| place.as_const().is_none_or(|p| (-extent..extent).contains(&p));
        if !places.iter().all(inside) {
            return Err(outside(extent));
        }
    }
    Ok(vec![cx.append(Op::Gather { axis: a }, &[x, index])?])
}

fn outside(extent: i64) -> Fault {
    Fault::invalid(format!("an index is outside of {extent} elements"))
}
