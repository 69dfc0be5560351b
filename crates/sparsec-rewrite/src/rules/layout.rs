//! Operators under a transpose: the transpose moves to the operands, where it may meet its inverse.
//!
//! Transposes move up, towards producers, wherever a consumer asks for a layout. Through element-wise operators a
//! layout that an operand has already also moves down, so that one contraction's feature-major result reaches the
//! next one past the bias and the activation in between. Gathers are left alone: gathering rows and transposing them
//! reads less than gathering columns.

use egg::Id;
use sparsec_graph::{Dim, Op};

use super::transpose::is_transpose;
use super::{Equal, Rule};
use crate::egraph::{EGraph, add_op, add_reshape, add_transpose, find_ops, is_native, rank, shape, transposes_of};
use crate::lang::OpInfo;
use crate::perm::{apply, inverse, position};

pub(super) const RULES: [Rule; 9] = [
    Rule { name: "transpose-elementwise", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, Op::is_elementwise) },
    Rule { name: "elementwise-transpose", from: Op::is_elementwise, offer: down_elementwise },
    Rule { name: "transpose-softmax", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_softmax) },
    Rule { name: "transpose-layer-norm", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_layer_norm) },
    Rule { name: "transpose-reduce", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_reduce) },
    Rule { name: "transpose-concat", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_concat) },
    Rule { name: "transpose-slice", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_slice) },
    Rule { name: "transpose-pad", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_pad) },
    Rule { name: "transpose-expand", from: is_transpose, offer: |e, c, i, o| up(e, c, i, o, is_expand) },
];

fn is_softmax(op: &Op) -> bool {
    matches!(op, Op::Softmax { .. })
}

fn is_layer_norm(op: &Op) -> bool {
    matches!(op, Op::LayerNorm { .. })
}

fn is_reduce(op: &Op) -> bool {
    matches!(op, Op::Reduce { .. })
}

fn is_concat(op: &Op) -> bool {
    matches!(op, Op::Concat { .. })
}

fn is_slice(op: &Op) -> bool {
    matches!(op, Op::Slice(_))
}

fn is_pad(op: &Op) -> bool {
    matches!(op, Op::Pad { .. })
}

fn is_expand(op: &Op) -> bool {
    matches!(op, Op::Expand(_))
}

/// `transpose(op(x), p)` is `op'(transpose(x, p))`.
fn up(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id], pick: fn(&Op) -> bool) -> Vec<Equal> {
    let (Op::Transpose(perm), &[y]) = (&info.op, operands) else { return Vec::new() };
    let found = find_ops(egraph, y, pick);
    let moved = found.into_iter().filter_map(|(inner, xs)| in_layout(egraph, &inner, &xs, perm));
    moved.map(|moved| (class, moved)).collect()
}

/// `f(transpose(x, q), y)` is `transpose(f(x, transpose(y, q^-1)), q)`.
fn down_elementwise(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let full = rank(egraph, class);
    let mut layouts: Vec<Vec<usize>> = Vec::new();
    for &x in operands {
        if rank(egraph, x) != full || egraph[x].data.constant.is_some() {
            continue;
        }
        for (y, perm) in transposes_of(egraph, x) {
            let back = inverse(&perm);
            if is_native(egraph, y) && !layouts.contains(&back) {
                layouts.push(back);
            }
        }
    }
    let mut equal = Vec::new();
    for perm in layouts {
        if let Some(moved) = in_layout(egraph, info, operands, &perm)
            && let Some(asked) = add_transpose(egraph, class, &perm)
        {
            equal.push((asked, moved));
        }
    }
    equal
}

/// The operator such that its result is transposed by `perm`.
fn in_layout(egraph: &mut EGraph, info: &OpInfo, xs: &[Id], perm: &[usize]) -> Option<Id> {
    let moved = |axis: usize| position(perm, axis);
    let one = |egraph: &mut EGraph, op: Op, perm: &[usize]| {
        let &x = xs.first()?;
        let x = add_transpose(egraph, x, perm)?;
        add_op(egraph, OpInfo::plain(op), &[x])
    };
    match &info.op {
        op if op.is_elementwise() => {
            let xs: Vec<Id> = xs.iter().map(|&x| broadcast_operand(egraph, x, perm)).collect::<Option<_>>()?;
            add_op(egraph, OpInfo::plain(op.clone()), &xs)
        }
        Op::Softmax { axis } => one(egraph, Op::Softmax { axis: moved(*axis) }, perm),
        &Op::LayerNorm { axis, axes: 1, epsilon } => {
            let &[x, scale, bias] = xs else { return None };
            let x = add_transpose(egraph, x, perm)?;
            add_op(egraph, OpInfo::plain(Op::LayerNorm { axis: moved(axis), axes: 1, epsilon }), &[x, scale, bias])
        }
        Op::Reduce { kind, axes, keep } => reduce_in_layout(egraph, (*kind, axes, *keep), xs, perm),
        Op::Concat { axis } => {
            let xs: Vec<Id> = xs.iter().map(|&x| add_transpose(egraph, x, perm)).collect::<Option<_>>()?;
            add_op(egraph, OpInfo::plain(Op::Concat { axis: moved(*axis) }), &xs)
        }
        Op::Slice(axes) => one(egraph, Op::Slice(apply(perm, axes)), perm),
        Op::Pad { amounts, value } => one(egraph, Op::Pad { amounts: apply(perm, amounts), value: *value }, perm),
        Op::Expand(to) => {
            let x = broadcast_operand(egraph, *xs.first()?, perm)?;
            add_op(egraph, OpInfo::plain(Op::Expand(apply(perm, to))), &[x])
        }
        _ => None,
    }
}

/// A reduction with its kept axes in the order of `perm`. Axes that vanish come last, next to each other.
fn reduce_in_layout(
    egraph: &mut EGraph,
    (kind, axes, keep): (sparsec_graph::ReduceKind, &[usize], bool),
    xs: &[Id],
    perm: &[usize],
) -> Option<Id> {
    let &[x] = xs else { return None };
    let inner: Vec<usize> = if keep {
        perm.to_vec()
    } else {
        let kept: Vec<usize> = (0..rank(egraph, x)).filter(|axis| !axes.contains(axis)).collect();
        apply(perm, &kept).into_iter().chain(axes.iter().copied()).collect()
    };
    let x = add_transpose(egraph, x, &inner)?;
    let mut axes: Vec<usize> = axes.iter().map(|&axis| position(&inner, axis)).collect();
    axes.sort_unstable();
    add_op(egraph, OpInfo::plain(Op::Reduce { kind, axes, keep }), &[x])
}

/// An operand of an element-wise operator when the result is transposed by `perm`: leading axes of extent 1 become
/// explicit first. An operand of one element broadcasts to any layout.
fn broadcast_operand(egraph: &mut EGraph, x: Id, perm: &[usize]) -> Option<Id> {
    let dims = shape(egraph, x);
    if dims.iter().all(|d| d.is(1)) {
        return Some(x);
    }
    let missing = perm.len().checked_sub(dims.len())?;
    let full: Vec<Dim> = std::iter::repeat_n(Dim::constant(1), missing).chain(dims.iter().cloned()).collect();
    let x = add_reshape(egraph, x, &full)?;
    add_transpose(egraph, x, perm)
}
