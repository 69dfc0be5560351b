//! Reshapes: a transpose passes through as long as axes that are merged or split stay together in order.

use egg::Id;
use sparsec_graph::{Dim, Op};

use super::transpose::is_transpose;
use super::{Equal, Rule};
use crate::egraph::{EGraph, add_reshape, add_transpose, find_ops, shape, transposes_of};
use crate::lang::OpInfo;
use crate::perm::{apply, axis_groups, inverse, moves_units};

pub(super) const RULES: [Rule; 3] = [
    Rule { name: "reshape-compose", from: is_reshape, offer: composed },
    Rule { name: "transpose-reshape", from: is_transpose, offer: before_reshape },
    Rule { name: "reshape-transpose", from: is_reshape, offer: after_reshape },
];

fn is_reshape(op: &Op) -> bool {
    matches!(op, Op::Reshape(_))
}

/// `reshape(reshape(x))` is `reshape(x)`, or `x` itself.
fn composed(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Reshape(to), &[y]) = (&info.op, operands) else { return Vec::new() };
    let inner = find_ops(egraph, y, is_reshape);
    let short = inner.into_iter().filter_map(|(_, x)| add_reshape(egraph, *x.first()?, to));
    short.map(|short| (class, short)).collect()
}

/// `transpose(reshape(x))` is `reshape(transpose(x))`.
fn before_reshape(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Transpose(perm), &[y]) = (&info.op, operands) else { return Vec::new() };
    let to = shape(egraph, class).to_vec();
    let mut equal = Vec::new();
    for (_, x) in find_ops(egraph, y, is_reshape) {
        let &[x] = x.as_slice() else { continue };
        // Views among layouts are transposes as well, which compose; as reshapes they would breed layouts that differ
        // in axes of extent 1 only.
        if moves_units(shape(egraph, x), shape(egraph, y)) {
            continue;
        }
        let Some(groups) = axis_groups(shape(egraph, x), shape(egraph, y)) else { continue };
        let pairs: Vec<_> = groups.into_iter().map(|(from, to)| (to, from)).collect();
        let Some(inner) = permute_groups(perm, &pairs) else { continue };
        let moved = add_transpose(egraph, x, &inner).and_then(|x| add_reshape(egraph, x, &to));
        equal.extend(moved.map(|moved| (class, moved)));
    }
    equal
}

/// `reshape(transpose(x))` is `transpose(reshape(x))`.
fn after_reshape(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Reshape(to), &[y]) = (&info.op, operands) else { return Vec::new() };
    let mut equal = Vec::new();
    if moves_units(shape(egraph, y), to) {
        return equal;
    }
    for (x, perm) in transposes_of(egraph, y) {
        let Some(groups) = axis_groups(shape(egraph, y), to) else { continue };
        // Seen from the result: undoing the transpose of y must move whole groups of result axes.
        let Some(undo) = permute_groups(&inverse(&perm), &groups) else { continue };
        let inner: Vec<Dim> = apply(&undo, to);
        let moved = add_reshape(egraph, x, &inner);
        let moved = moved.and_then(|moved| add_transpose(egraph, moved, &inverse(&undo)));
        equal.extend(moved.map(|moved| (class, moved)));
    }
    equal
}

/// Given groups of (axes, other axes) and a permutation of the axes that keeps each group together and in order: the
/// permutation of the other axes that moves the groups alike. Groups without axes stay behind the one before them.
fn permute_groups(perm: &[usize], groups: &[(std::ops::Range<usize>, std::ops::Range<usize>)]) -> Option<Vec<usize>> {
    let mut blocks: Vec<(usize, std::ops::Range<usize>)> = Vec::with_capacity(groups.len());
    let mut last = 0;
    for (axes, others) in groups {
        if let Some(first) = axes.clone().next() {
            let at = perm.iter().position(|&p| p == first)?;
            if !perm.get(at..at + axes.len())?.iter().copied().eq(axes.clone()) {
                return None;
            }
            last = at;
        }
        blocks.push((last, others.clone()));
    }
    blocks.sort_by_key(|(at, _)| *at);
    Some(blocks.into_iter().flat_map(|(_, others)| others).collect())
}

#[cfg(test)]
mod tests {
    use super::permute_groups;

    #[test]
    fn groups_move_whole() {
        // [b, s, h, d] from [b, s, hd]: heads and features stay together or the reshape is in the way.
        let groups = [(0..1, 0..1), (1..2, 1..2), (2..4, 2..3)];
        assert_eq!(permute_groups(&[2, 3, 0, 1], &groups), Some(vec![2, 0, 1]));
        assert_eq!(permute_groups(&[0, 2, 1, 3], &groups), None);
    }
}
