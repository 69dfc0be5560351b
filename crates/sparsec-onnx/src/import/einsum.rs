//! Einsum.
//!
//! An ellipsis becomes labels of its own. A label that an operand has twice is its diagonal there; one that an operand alone has and the
//! result lacks is summed. What is left are contractions of two operands at a time, from the left.

use sparsec_graph::{BinaryOp, ContractSpec, DType, Dim, Op, ReduceKind};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

/// An operand with a label for each of its axes.
type Labelled = (Vec<char>, Operand);

/// `Einsum`.
pub(super) fn einsum(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    let equation = node.string("equation")?.ok_or_else(|| Fault::attribute("equation", "is missing"))?;
    let inputs = node.all_inputs()?;
    let ranks: Vec<usize> = inputs.iter().map(|&x| cx.rank(x)).collect();
    let (terms, out) = parse(equation, &ranks)?;
    let mut operands = Vec::with_capacity(inputs.len());
    for (labels, x) in terms.into_iter().zip(inputs) {
        operands.push(diagonals(cx, labels, x)?);
    }
    drop_broadcast(cx, &mut operands)?;
    let mut rest = operands.into_iter();
    let mut product = rest.next().ok_or(Fault::MissingInput(0))?;
    while let Some((labels, x)) = rest.next() {
        let later: Vec<char> = out.iter().chain(rest.as_slice().iter().flat_map(|(l, _)| l)).copied().collect();
        let keep = |other: &[char]| later.iter().chain(other).copied().collect::<Vec<_>>();
        let (lhs, x0) = sum_missing(cx, &product.0, product.1, &keep(&labels))?;
        let (rhs, x1) = sum_missing(cx, &labels, x, &keep(&product.0))?;
        let mut kept = lhs.clone();
        kept.extend(rhs.iter().filter(|c| !lhs.contains(c)));
        kept.retain(|c| later.contains(c));
        let spec = ContractSpec { lhs, rhs, out: kept.clone() };
        if !spec.is_valid() {
            return Err(Fault::unsupported(format!("the equation `{equation}`")));
        }
        product = (kept, cx.append(Op::Contract(spec), &[x0, x1])?);
    }
    let (labels, x) = sum_missing(cx, &product.0, product.1, &out)?;
    let perm: Option<Vec<usize>> = out.iter().map(|c| labels.iter().position(|l| l == c)).collect();
    let perm = perm.ok_or_else(|| Fault::invalid(format!("`{equation}` names labels that no operand has")))?;
    Ok(vec![if perm.is_sorted() { x } else { cx.append(Op::Transpose(perm), &[x])? }])
}

/// Sums over the labels that are not kept.
fn sum_missing(cx: &mut Context, labels: &[char], x: Operand, keep: &[char]) -> Result<Labelled, Fault> {
    let axes: Vec<usize> = (0..labels.len()).filter(|&i| !keep.contains(&labels[i])).collect();
    if axes.is_empty() {
        return Ok((labels.to_vec(), x));
    }
    let x = cx.reduce_away(ReduceKind::Sum, x, &axes)?;
    Ok((labels.iter().copied().filter(|c| keep.contains(c)).collect(), x))
}

/// Each label once: of two axes of the same label the diagonal stays.
fn diagonals(cx: &mut Context, mut labels: Vec<char>, mut x: Operand) -> Result<Labelled, Fault> {
    while let Some(second) = (1..labels.len()).find(|&i| labels[..i].contains(&labels[i])) {
        let first = labels.iter().position(|c| *c == labels[second]).unwrap_or(second);
        let shape = cx.shape(x);
        if shape[first] != shape[second] {
            return Err(Fault::invalid(format!("axes of {} and {} have one label", shape[first], shape[second])));
        }
        let row = cx.iota(DType::I64, &shape[first], shape.len(), first)?;
        let column = cx.iota(DType::I64, &shape[second], shape.len(), second)?;
        let kept = cx.binary(BinaryOp::Equal, row, column)?;
        let diagonal = cx.select_or(kept, x, 0.0)?;
        x = cx.reduce_away(ReduceKind::Sum, diagonal, &[second])?;
        labels.remove(second);
    }
    Ok((labels, x))
}

/// Drops axes of extent 1 where another operand has more elements at that label.
fn drop_broadcast(cx: &mut Context, operands: &mut [Labelled]) -> Result<(), Fault> {
    let one = Dim::constant(1);
    let mut longer = Vec::new();
    for (labels, x) in operands.iter() {
        longer.extend(labels.iter().zip(cx.shape(*x)).filter(|(_, d)| *d != one).map(|(c, _)| *c));
    }
    for (labels, x) in operands {
        let shape = cx.shape(*x);
        let kept = |i: &usize| shape[*i] != one || !longer.contains(&labels[*i]);
        let kept: Vec<usize> = (0..labels.len()).filter(kept).collect();
        if kept.len() < labels.len() {
            *x = cx.reshape(*x, kept.iter().map(|&i| shape[i].clone()).collect())?;
            *labels = kept.iter().map(|&i| labels[i]).collect();
        }
    }
    Ok(())
}

/// Labels of each operand and of the result.
fn parse(equation: &str, ranks: &[usize]) -> Result<(Vec<Vec<char>>, Vec<char>), Fault> {
    let text: String = equation.chars().filter(|c| !c.is_whitespace()).collect();
    let (inputs, out) = match text.split_once("->") {
        Some((inputs, out)) => (inputs, Some(out)),
        None => (text.as_str(), None),
    };
    let terms: Vec<&str> = inputs.split(',').collect();
    if terms.len() != ranks.len() {
        return Err(Fault::invalid(format!("`{equation}` is of {} operands, not {}", terms.len(), ranks.len())));
    }
    // How many axes the ellipsis of each operand stands for.
    let named = |term: &str| term.chars().filter(|c| *c != '.').count();
    let hidden: Option<Vec<usize>> =
        terms.iter().zip(ranks).map(|(term, rank)| rank.checked_sub(named(term))).collect();
    let fits = |hidden: &Vec<usize>| hidden.iter().zip(&terms).all(|(&n, term)| n == 0 || term.contains("..."));
    let hidden = hidden
        .filter(fits)
        .ok_or_else(|| Fault::invalid(format!("`{equation}` does not fit operands of {ranks:?} dimensions")))?;
    let most = hidden.iter().max().copied().unwrap_or(0);
    let ellipsis: Vec<char> = ('A'..='Z').chain('a'..='z').filter(|c| !text.contains(*c)).take(most).collect();
    if ellipsis.len() < most {
        return Err(Fault::unsupported(format!("the equation `{equation}`: it has too many labels")));
    }
    let expand = |term: &str, axes: usize| -> Vec<char> {
        let (before, after) = term.split_once("...").unwrap_or((term, ""));
        before.chars().chain(ellipsis[most - axes..].iter().copied()).chain(after.chars()).collect()
    };
    let terms: Vec<Vec<char>> = terms.iter().zip(&hidden).map(|(term, &axes)| expand(term, axes)).collect();
    let out = match out {
        Some(out) => expand(out, if out.contains("...") { most } else { 0 }),
        // Without an arrow, what the ellipsis stands for, then the labels that occur once, in alphabetical order.
        None => {
            let all: Vec<char> = terms.iter().flatten().copied().collect();
            let occurs_once = |c: &char| all.iter().filter(|o| *o == c).count() == 1 && !ellipsis.contains(c);
            let mut once: Vec<char> = all.iter().copied().filter(occurs_once).collect();
            once.sort_unstable();
            ellipsis.iter().copied().chain(once).collect()
        }
    };
    let repeats = out.iter().enumerate().any(|(i, c)| out[..i].contains(c));
    if repeats || !terms.iter().flatten().chain(&out).all(char::is_ascii_alphabetic) {
        return Err(Fault::invalid(format!("the equation `{equation}`")));
    }
    Ok((terms, out))
}
