//! Matrix products, as contractions.
//!
//! A contraction has no broadcasting: an axis of extent 1 that the other operand repeats is removed by a reshape, and
//! the label is then of one operand only. `[b, 1, m, k] x [h, k, n]` becomes `amk,bkn->abmn`.

use sparsec_graph::{BinaryOp, ContractSpec, Dim, Op};

use super::context::{Context, Operand};
use super::elementwise::apply_scalar;
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `MatMul` of operands of any rank, by the rules of numpy.
pub(super) fn matmul(cx: &mut Context, node: &Node<'_>) -> Results {
    Ok(vec![product(cx, node.input(0)?, node.input(1)?)?])
}

/// The matrix product of two operands.
pub(super) fn product(cx: &mut Context, x: Operand, y: Operand) -> Result<Operand, Fault> {
    let (xs, ys) = (cx.shape(x), cx.shape(y));
    if xs.is_empty() || ys.is_empty() {
        return Err(Fault::invalid("an operand is a scalar"));
    }
    let (x_batch, x_core) = xs.split_at(xs.len().saturating_sub(2));
    let (y_batch, y_core) = ys.split_at(ys.len().saturating_sub(2));
    let rank = x_batch.len().max(y_batch.len());
    let mut lhs = Side::default();
    let mut rhs = Side::default();
    let mut out = Vec::new();
    for i in 0..rank {
        let at = |batch: &[Dim]| (i + batch.len()).checked_sub(rank).and_then(|j| batch.get(j).cloned());
        let (a, b) = (at(x_batch), at(y_batch));
        let one = |d: &Option<Dim>| d.as_ref().is_some_and(|d| d.is(1));
        let label = letter(i)?;
        // An axis of extent 1 that the other operand repeats has no label.
        let skip_a = one(&a) && b.is_some() && !one(&b);
        let skip_b = one(&b) && a.is_some() && !one(&a);
        lhs.push(a, label, !skip_a);
        rhs.push(b, label, !skip_b);
        out.push(label);
    }
    let (m, k, n) = (letter(rank)?, letter(rank + 1)?, letter(rank + 2)?);
    match x_core {
        [a, b] => {
            lhs.push(Some(a.clone()), m, true);
            lhs.push(Some(b.clone()), k, true);
            out.push(m);
        }
        _ => lhs.push(x_core.first().cloned(), k, true),
    }
    match y_core {
        [a, b] => {
            rhs.push(Some(a.clone()), k, true);
            rhs.push(Some(b.clone()), n, true);
            out.push(n);
        }
        _ => rhs.push(y_core.first().cloned(), k, true),
    }
    let (x, y) = (lhs.apply(cx, x)?, rhs.apply(cx, y)?);
    cx.append(Op::Contract(ContractSpec { lhs: lhs.labels, rhs: rhs.labels, out }), &[x, y])
}

/// One operand of a contraction.
#[derive(Default)]
struct Side {
    labels: Vec<char>,
    shape: Vec<Dim>,
    reshaped: bool,
}

impl Side {
    /// Adds an axis, where the operand has it; one that is not kept is removed.
    fn push(&mut self, extent: Option<Dim>, label: char, keep: bool) {
        match extent {
            Some(extent) if keep => {
                self.labels.push(label);
                self.shape.push(extent);
            }
            Some(_) => self.reshaped = true,
            None => {}
        }
    }

    /// The operand with the removed axes gone.
    fn apply(&self, cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
        if self.reshaped { cx.append(Op::Reshape(self.shape.clone()), &[x]) } else { Ok(x) }
    }
}

/// The label of this number.
fn letter(index: usize) -> Result<char, Fault> {
    let letters = ('a'..='z').chain('A'..='Z');
    letters.into_iter().nth(index).ok_or_else(|| Fault::invalid("the operands have too many dimensions"))
}

/// `Gemm`: `alpha A' B' + beta C`, with `A'` and `B'` optionally transposed.
pub(super) fn gemm(cx: &mut Context, node: &Node<'_>) -> Results {
    let (a, b) = (node.input(0)?, node.input(1)?);
    if cx.rank(a) != 2 || cx.rank(b) != 2 {
        return Err(Fault::invalid("both operands must be matrices"));
    }
    let (alpha, beta) = (node.float_or("alpha", 1.0)?, node.float_or("beta", 1.0)?);
    let lhs = if node.int_or("transA", 0)? != 0 { "km" } else { "mk" };
    let rhs = if node.int_or("transB", 0)? != 0 { "nk" } else { "kn" };
    let spec = ContractSpec { lhs: lhs.chars().collect(), rhs: rhs.chars().collect(), out: vec!['m', 'n'] };
    let mut result = cx.append(Op::Contract(spec), &[a, b])?;
    if alpha != 1.0 {
        result = apply_scalar(cx, BinaryOp::Mul, result, alpha)?;
    }
    if let Some(c) = node.optional(2)
        && beta != 0.0
    {
        let c = if beta == 1.0 { c } else { apply_scalar(cx, BinaryOp::Mul, c, beta)? };
        let shape = cx.shape(result);
        result = cx.append(Op::Binary(BinaryOp::Add), &[result, c])?;
        if cx.shape(result) != shape {
            return Err(Fault::invalid("the third operand is larger than the product"));
        }
    }
    Ok(vec![result])
}
