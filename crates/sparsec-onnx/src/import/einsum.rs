//! Einsum of one or two operands.
//!
//! A label that only one operand has and the result lacks is summed first; what is left is a contraction. With one
//! operand, the labels that stay are permuted.

use sparsec_graph::{ContractSpec, Op, ReduceKind};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

/// `Einsum`.
pub(super) fn einsum(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    let equation = node.string("equation")?.ok_or_else(|| Fault::attribute("equation", "is missing"))?;
    let inputs = node.all_inputs()?;
    let (terms, out) = parse(equation)?;
    if terms.len() != inputs.len() {
        return Err(Fault::invalid(format!("`{equation}` is of {} operands, not {}", terms.len(), inputs.len())));
    }
    for (labels, &x) in terms.iter().zip(&inputs) {
        if labels.len() != cx.rank(x) {
            return Err(Fault::invalid(format!("`{equation}` does not fit operands of {} dimensions", cx.rank(x))));
        }
    }
    match (terms.as_slice(), inputs.as_slice()) {
        ([labels], &[x]) => {
            let (labels, x) = sum_missing(cx, labels, x, &out)?;
            let perm: Option<Vec<usize>> = out.iter().map(|c| labels.iter().position(|l| l == c)).collect();
            let perm = perm.ok_or_else(|| Fault::invalid(format!("`{equation}` names labels that no operand has")))?;
            Ok(vec![cx.append(Op::Transpose(perm), &[x])?])
        }
        ([first, second], &[x, y]) => {
            let keep = |other: &[char]| out.iter().chain(other).copied().collect::<Vec<_>>();
            let (lhs, x) = sum_missing(cx, first, x, &keep(second))?;
            let (rhs, y) = sum_missing(cx, second, y, &keep(first))?;
            let spec = ContractSpec { lhs, rhs, out };
            if !spec.is_valid() {
                return Err(Fault::unsupported(format!("the equation `{equation}`")));
            }
            Ok(vec![cx.append(Op::Contract(spec), &[x, y])?])
        }
        _ => Err(Fault::unsupported("an einsum of more than two operands")),
    }
}

/// Sums over the labels that are not kept.
fn sum_missing(cx: &mut Context, labels: &[char], x: Operand, keep: &[char]) -> Result<(Vec<char>, Operand), Fault> {
    let axes: Vec<usize> = (0..labels.len()).filter(|&i| !keep.contains(&labels[i])).collect();
    if axes.is_empty() {
        return Ok((labels.to_vec(), x));
    }
    let x = cx.append(Op::Reduce { kind: ReduceKind::Sum, axes, keep: false }, &[x])?;
    Ok((labels.iter().copied().filter(|c| keep.contains(c)).collect(), x))
}

/// Labels of each operand and of the result.
fn parse(equation: &str) -> Result<(Vec<Vec<char>>, Vec<char>), Fault> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, out) = match text.split_once("->") {
        Some((inputs, out)) => (inputs, Some(out)),
        None => (text.as_str(), None),
    };
    let terms: Vec<Vec<char>> = inputs.split(',').map(|t| t.chars().collect()).collect();
    let bad = |labels: &[char]| {
        let repeated = labels.iter().enumerate().any(|(i, c)| labels[..i].contains(c));
        repeated || !labels.iter().all(char::is_ascii_alphabetic)
    };
    let out = match out {
        Some(out) => out.chars().collect(),
        // Without an arrow, the labels that occur once, in alphabetical order.
        None => {
            let all: Vec<char> = terms.iter().flatten().copied().collect();
            let mut once: Vec<char> =
                all.iter().copied().filter(|c| all.iter().filter(|o| *o == c).count() == 1).collect();
            once.sort_unstable();
            once
        }
    };
    if terms.iter().any(|t| bad(t)) || bad(&out) {
        return Err(Fault::unsupported(format!("the equation `{equation}` (repeated labels or an ellipsis)")));
    }
    Ok((terms, out))
}
