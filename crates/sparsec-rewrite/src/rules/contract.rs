//! Contractions name their axes, so any order of the axes of operands and result is only a matter of labels.

use egg::Id;
use sparsec_graph::{ContractSpec, Op};

use super::transpose::is_transpose;
use super::{Equal, Rule};
use crate::egraph::{EGraph, add_op, add_transpose, find_ops, shape, transposes_of};
use crate::lang::OpInfo;
use crate::perm::{apply, inverse};

pub(super) const RULES: [Rule; 4] = [
    Rule { name: "contract-operand", from: is_contract, offer: absorb_operand },
    Rule { name: "contract-result", from: is_transpose, offer: absorb_result },
    Rule { name: "contract-feature-major", from: is_contract, offer: feature_major },
    Rule { name: "contract-vector-operand", from: is_contract, offer: vector_operand },
];

fn is_contract(op: &Op) -> bool {
    matches!(op, Op::Contract(_))
}

fn contract(info: &OpInfo, lhs: Vec<char>, rhs: Vec<char>, out: Vec<char>) -> OpInfo {
    OpInfo { op: Op::Contract(ContractSpec { lhs, rhs, out }), ..info.clone() }
}

/// `contract(w, transpose(x))` is `contract'(w, x)`.
fn absorb_operand(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Contract(spec), &[lhs, rhs], true) = (&info.op, operands, info.is_bare()) else { return Vec::new() };
    let mut equal = Vec::new();
    for (side, x) in [lhs, rhs].into_iter().enumerate() {
        if egraph[x].data.constant.is_some() {
            continue;
        }
        for (source, perm) in transposes_of(egraph, x) {
            let back = inverse(&perm);
            let moved = if side == 0 {
                let info = contract(info, apply(&back, &spec.lhs), spec.rhs.clone(), spec.out.clone());
                add_op(egraph, info, &[source, rhs])
            } else {
                let info = contract(info, spec.lhs.clone(), apply(&back, &spec.rhs), spec.out.clone());
                add_op(egraph, info, &[lhs, source])
            };
            equal.extend(moved.map(|moved| (class, moved)));
        }
    }
    equal
}

/// `transpose(contract(w, x))` is `contract'(w, x)`.
fn absorb_result(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Transpose(perm), &[y]) = (&info.op, operands) else { return Vec::new() };
    let mut equal = Vec::new();
    for (inner, xs) in find_ops(egraph, y, is_contract) {
        let Op::Contract(spec) = &inner.op else { continue };
        let moved = contract(&inner, spec.lhs.clone(), spec.rhs.clone(), apply(perm, &spec.out));
        equal.extend(add_op(egraph, moved, &xs).map(|moved| (class, moved)));
    }
    equal
}

/// A constant weight wants its operand as `[k, ...]` and gives its result as `[m, ...]`, so that a weight element is
/// one broadcast against a row of tokens.
fn feature_major(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Contract(spec), &[w, x], true) = (&info.op, operands, info.is_bare()) else { return Vec::new() };
    let Some((m, k)) = weight_labels(spec).filter(|_| egraph[w].data.constant.is_some()) else { return Vec::new() };
    let tokens = spec.rhs.iter().zip(shape(egraph, x)).filter(|(label, _)| **label != k);
    if tokens.clone().all(|(_, extent)| extent.is(1)) {
        return Vec::new();
    }
    let order: Vec<char> = tokens.map(|(label, _)| *label).collect();
    let first = |label: char| -> Vec<char> { std::iter::once(label).chain(order.iter().copied()).collect() };
    let (rhs, out) = (first(k), first(m));
    let perm_of = |from: &[char], to: &[char]| -> Option<Vec<usize>> {
        to.iter().map(|label| from.iter().position(|l| l == label)).collect()
    };
    let (Some(operand), Some(result)) = (perm_of(&spec.rhs, &rhs), perm_of(&spec.out, &out)) else {
        return Vec::new();
    };
    let Some(x) = add_transpose(egraph, x, &operand) else { return Vec::new() };
    let moved = add_op(egraph, contract(info, spec.lhs.clone(), rhs, out), &[w, x]);
    let asked = add_transpose(egraph, class, &result);
    moved.zip(asked).map(|(moved, asked)| (asked, moved)).into_iter().collect()
}

/// Between activations, the operand that shares the innermost axis of the result wants it innermost too: it is loaded
/// as vectors and needs no packing. In attention this turns the scores around, `[b, h, t, s]`, when the context is
/// wanted feature-major.
fn vector_operand(egraph: &mut EGraph, class: Id, info: &OpInfo, operands: &[Id]) -> Vec<Equal> {
    let (Op::Contract(spec), &[lhs, rhs], true) = (&info.op, operands, info.is_bare()) else { return Vec::new() };
    let Some(&inner) = spec.out.last() else { return Vec::new() };
    if egraph[lhs].data.constant.is_some() || egraph[rhs].data.constant.is_some() {
        return Vec::new();
    }
    let (labels, x) = match (spec.lhs.contains(&inner), spec.rhs.contains(&inner)) {
        (true, false) => (&spec.lhs, lhs),
        (false, true) => (&spec.rhs, rhs),
        _ => return Vec::new(),
    };
    let Some(at) = labels.iter().position(|&l| l == inner).filter(|at| at + 1 != labels.len()) else {
        return Vec::new();
    };
    let perm: Vec<usize> = (0..labels.len()).filter(|&axis| axis != at).chain([at]).collect();
    let Some(x) = add_transpose(egraph, x, &perm) else { return Vec::new() };
    let labels = apply(&perm, labels);
    let moved = if spec.lhs.contains(&inner) {
        add_op(egraph, contract(info, labels, spec.rhs.clone(), spec.out.clone()), &[x, rhs])
    } else {
        add_op(egraph, contract(info, spec.lhs.clone(), labels, spec.out.clone()), &[lhs, x])
    };
    moved.map(|moved| (class, moved)).into_iter().collect()
}

/// `(m, k)` where the lhs is a weight `mk`: rows free, columns summed.
pub(crate) fn weight_labels(spec: &ContractSpec) -> Option<(char, char)> {
    let &[m, k] = spec.lhs.as_slice() else { return None };
    let is_weight = spec.out.contains(&m)
        && !spec.rhs.contains(&m)
        && spec.rhs.contains(&k)
        && !spec.out.contains(&k)
        && spec.summed().len() == 1;
    is_weight.then_some((m, k))
}
