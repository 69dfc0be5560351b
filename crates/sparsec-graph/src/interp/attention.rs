//! Attention as what it is made of: a contraction, a scalar expression, softmax, a contraction.

use super::{InterpError, Tensor, contract, elementwise, normalise};
use crate::AttentionSpec;

pub(super) fn attention(
    spec: &AttentionSpec,
    [q, k, v]: [&Tensor; 3],
    args: &[&Tensor],
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    let extent = |label: &char| {
        let of = |labels: &[char], tensor: &Tensor| {
            labels.iter().position(|l| l == label).and_then(|axis| tensor.shape.get(axis).copied())
        };
        of(&spec.scores.lhs, q).or_else(|| of(&spec.scores.rhs, k)).unwrap_or(1)
    };
    let score_shape: Vec<usize> = spec.scores.out.iter().map(extent).collect();
    let scores = contract::contract(&spec.scores, q, k, &score_shape)?;
    let scores = elementwise::scalar(&spec.expr, Some(&scores), args, &score_shape)?;
    let keys = spec.scores.out.iter().position(|&label| label == spec.keys).unwrap_or(0);
    let weights = normalise::softmax(keys, &scores)?;
    contract::contract(&spec.values, &weights, v, shape)
}
