//! Sequences and optional values, as far as it is known when the model is read what is in them.
//!
//! A sequence is a list of operands, and an optional value is the value or a sequence of none. Neither is a value of the graph,
//! so what remains in it are the tensors.

use sparsec_graph::{DType, Dim, Op, SliceAxis, TensorType};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// A longer sequence is not followed.
const MAX_ITEMS: usize = 1 << 12;

fn items(cx: &Context, node: &Node<'_>, index: usize) -> Result<Vec<Operand>, Fault> {
    let x = node.input(index)?;
    let items = cx.sequence(x).ok_or_else(|| Fault::invalid(format!("input {index} is no sequence")))?;
    Ok(items.to_vec())
}

/// A position in a sequence, counted from the end where negative; `end` is the last one that there is.
fn position(cx: &Context, x: Operand, length: usize, end: usize) -> Result<usize, Fault> {
    let [at] = cx.const_ints(x, "the position in the sequence")?[..] else {
        return Err(Fault::invalid("a position is one number"));
    };
    let from_start = if at < 0 { at.saturating_add(length as i64) } else { at };
    let found = usize::try_from(from_start).ok().filter(|&at| at <= end && length.max(end) > 0);
    found.ok_or_else(|| Fault::invalid(format!("position {at} is outside of a sequence of {length}")))
}

/// `SequenceConstruct`.
pub(super) fn sequence_construct(cx: &mut Context, node: &Node<'_>) -> Results {
    let items = node.all_inputs()?;
    Ok(vec![cx.add_sequence(items)])
}

/// `SequenceEmpty`.
pub(super) fn sequence_empty(cx: &mut Context, _: &Node<'_>) -> Results {
    Ok(vec![cx.add_sequence(Vec::new())])
}

/// `SequenceAt`.
pub(super) fn sequence_at(cx: &mut Context, node: &Node<'_>) -> Results {
    let items = items(cx, node, 0)?;
    let last = items.len().checked_sub(1).ok_or_else(|| Fault::invalid("the sequence is empty"))?;
    let at = position(cx, node.input(1)?, items.len(), last)?;
    Ok(items.get(at).copied().into_iter().collect())
}

/// `SequenceInsert`: before a position, at the end where there is none.
pub(super) fn sequence_insert(cx: &mut Context, node: &Node<'_>) -> Results {
    let mut items = items(cx, node, 0)?;
    if items.len() >= MAX_ITEMS {
        return Err(Fault::unsupported("a sequence this long"));
    }
    let at = match node.optional(2) {
        Some(at) => position(cx, at, items.len(), items.len())?,
        None => items.len(),
    };
    items.insert(at, node.input(1)?);
    Ok(vec![cx.add_sequence(items)])
}

/// `SequenceErase`: at a position, at the end where there is none.
pub(super) fn sequence_erase(cx: &mut Context, node: &Node<'_>) -> Results {
    let mut items = items(cx, node, 0)?;
    let last = items.len().checked_sub(1).ok_or_else(|| Fault::invalid("the sequence is empty"))?;
    let at = match node.optional(1) {
        Some(at) => position(cx, at, items.len(), last)?,
        None => last,
    };
    items.remove(at);
    Ok(vec![cx.add_sequence(items)])
}

/// `SequenceLength`.
pub(super) fn sequence_length(cx: &mut Context, node: &Node<'_>) -> Results {
    let length = items(cx, node, 0)?.len() as i64;
    Ok(vec![cx.add_ints(TensorType::fixed(DType::I64, &[]), vec![Dim::constant(length)])?])
}

/// `ConcatFromSequence`: along an axis, or along a new one.
pub(super) fn concat_from_sequence(cx: &mut Context, node: &Node<'_>) -> Results {
    let items = items(cx, node, 0)?;
    let first = *items.first().ok_or_else(|| Fault::invalid("the sequence is empty"))?;
    let rank = cx.rank(first);
    let along = node.int("axis")?.ok_or_else(|| Fault::attribute("axis", "is missing"))?;
    if node.int_or("new_axis", 0)? == 0 {
        return Ok(vec![cx.append(Op::Concat { axis: axis(along, rank)? }, &items)?]);
    }
    let axis = axis(along, rank + 1)?;
    let mut unsqueezed = Vec::with_capacity(items.len());
    for item in items {
        let mut shape = cx.shape(item);
        shape.insert(axis.min(shape.len()), Dim::constant(1));
        unsqueezed.push(cx.append(Op::Reshape(shape), &[item])?);
    }
    Ok(vec![cx.append(Op::Concat { axis }, &unsqueezed)?])
}

/// `SplitToSequence`: into parts of given sizes, or of one size, or into single elements.
pub(super) fn split_to_sequence(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.shape(x);
    let axis = axis(node.int_or("axis", 0)?, shape.len())?;
    let known = shape[axis].as_const();
    let every = |size: i64| -> Result<Vec<i64>, Fault> {
        let extent = cx.const_dim(&shape[axis], "the extent of the axis that is split into equal parts")?;
        if size <= 0 || extent / size >= MAX_ITEMS as i64 {
            return Err(Fault::invalid(format!("{extent} elements do not divide into parts of {size}")));
        }
        let parts = (0..extent).step_by(size as usize);
        Ok(parts.map(|start| size.min(extent - start)).collect())
    };
    let sizes = match node.optional(1) {
        None => every(1)?,
        Some(split) => {
            let sizes = cx.const_ints(split, "the sizes of the parts")?;
            match sizes.as_slice() {
                &[size] if cx.rank(split) == 0 => every(size)?,
                _ => sizes,
            }
        }
    };
    // Of an open axis the slices demand that it is long enough.
    let sum = sizes.iter().try_fold(0i64, |sum, &s| sum.checked_add(s)).filter(|_| sizes.iter().all(|&s| s >= 0));
    if sum.is_none_or(|sum| known.is_some_and(|known| known != sum)) {
        return Err(Fault::invalid(format!("parts of {sizes:?} do not make up {}", shape[axis])));
    }
    let squeeze = node.optional(1).is_none() && node.int_or("keepdims", 1)? == 0;
    let mut items = Vec::with_capacity(sizes.len());
    let mut start = 0;
    for size in sizes {
        let whole = |len: &Dim| SliceAxis { start: Dim::constant(0), len: len.clone(), step: 1 };
        let mut ranges: Vec<SliceAxis> = shape.iter().map(whole).collect();
        ranges[axis] = SliceAxis { start: Dim::constant(start), len: Dim::constant(size), step: 1 };
        start += size;
        let mut item = cx.append(Op::Slice(ranges), &[x])?;
        if squeeze {
            let mut shape = shape.clone();
            shape.remove(axis);
            item = cx.append(Op::Reshape(shape), &[item])?;
        }
        items.push(item);
    }
    Ok(vec![cx.add_sequence(items)])
}

/// `Optional`: a value, or none.
pub(super) fn optional(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![match node.optional(0) {
        Some(x) => x,
        None => cx.add_sequence(Vec::new()),
    }])
}

/// `OptionalHasElement`. An empty sequence is taken for no value: only `Optional` and a left-out input make one of no type.
pub(super) fn optional_has_element(cx: &mut Context, node: &Node<'_>) -> Results {
    let has = node.optional(0).is_some_and(|x| cx.sequence(x).is_none_or(|items| !items.is_empty()));
    Ok(vec![cx.add_ints(TensorType::fixed(DType::Bool, &[]), vec![Dim::constant(i64::from(has))])?])
}

/// `OptionalGetElement`.
pub(super) fn optional_get_element(_: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![node.input(0)?])
}
