//! Transposes among themselves: layouts of one value are linked to each other directly.

use sparsec_graph::Op;

use super::{Equal, Rule};
use crate::egraph::{EGraph, add_reshape, add_transpose, shape, transposes_of};
use crate::lang::OpInfo;
use crate::perm::{apply, compose, inverse, is_view};

pub(super) const RULES: [Rule; 3] = [
    Rule { name: "transpose-inverse", from: is_transpose, offer: inverse_of },
    Rule { name: "transpose-compose", from: is_transpose, offer: composed },
    Rule { name: "transpose-view", from: is_transpose, offer: view },
];

pub(super) fn is_transpose(op: &Op) -> bool {
    matches!(op, Op::Transpose(_))
}

/// `y = transpose(x, p)` gives `x = transpose(y, p^-1)`.
fn inverse_of(egraph: &mut EGraph, class: egg::Id, info: &OpInfo, operands: &[egg::Id]) -> Vec<Equal> {
    let (Op::Transpose(perm), &[x]) = (&info.op, operands) else { return Vec::new() };
    // A constant is folded in any layout; a way back to it would only lengthen the search.
    if egraph[x].data.constant.is_some() {
        return Vec::new();
    }
    let back = add_transpose(egraph, class, &inverse(perm));
    back.map(|back| (x, back)).into_iter().collect()
}

/// `transpose(transpose(x, p), q)` is `transpose(x, q . p)`, or `x` itself.
fn composed(egraph: &mut EGraph, class: egg::Id, info: &OpInfo, operands: &[egg::Id]) -> Vec<Equal> {
    let (Op::Transpose(second), &[y]) = (&info.op, operands) else { return Vec::new() };
    let found = transposes_of(egraph, y);
    let short = found.into_iter().filter_map(|(x, first)| add_transpose(egraph, x, &compose(&first, second)));
    short.map(|short| (class, short)).collect()
}

/// A transpose that moves only axes of extent 1 is a reshape, which costs nothing.
fn view(egraph: &mut EGraph, class: egg::Id, info: &OpInfo, operands: &[egg::Id]) -> Vec<Equal> {
    let (Op::Transpose(perm), &[x]) = (&info.op, operands) else { return Vec::new() };
    if !is_view(perm, shape(egraph, x)) {
        return Vec::new();
    }
    let to = apply(perm, shape(egraph, x));
    add_reshape(egraph, x, &to).map(|reshaped| (class, reshaped)).into_iter().collect()
}
