//! Constants change layout while compiling.

use egg::Id;
use sparsec_graph::{Dim, Op};

use super::transpose::is_transpose;
use super::{Equal, Rule};
use crate::egraph::{EGraph, add_relayout};
use crate::lang::{OpInfo, Relayout};

pub(super) const RULES: [Rule; 2] = [
    Rule { name: "transpose-constant", from: is_transpose, offer: transposed },
    Rule { name: "reshape-constant", from: |op| matches!(op, Op::Reshape(_)), offer: reshaped },
];

/// `transpose(constant)` is another constant.
fn transposed(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let Op::Transpose(perm) = &info.op else { return Vec::new() };
    fold(egraph, class, operands, Relayout::Transpose(perm.clone()))
}

/// `reshape(constant)` is another constant.
fn reshaped(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let Op::Reshape(to) = &info.op else { return Vec::new() };
    let extents: Option<Vec<usize>> = to.iter().map(|d| Dim::as_const(d)?.try_into().ok()).collect();
    extents.map(|extents| fold(egraph, class, operands, Relayout::Reshape(extents))).unwrap_or_default()
}

fn fold(egraph: &mut EGraph, class: Id, operands: &[Id], step: Relayout) -> Vec<Equal> {
    let &[x] = operands else { return Vec::new() };
    // Once is enough: the class of a constant holds no second one.
    let (Some(constant), None) = (egraph[x].data.constant, egraph[class].data.constant) else { return Vec::new() };
    let Some(ty) = egraph[class].data.ty.clone() else { return Vec::new() };
    vec![(class, add_relayout(egraph, constant, step, ty))]
}
