//! Contractions, brought to the form `[batch, m, k] x [batch, k, n]`.

use super::element::{Element, elements, with_number};
use super::gemm::Gemm;
use super::strided::{offsets, row_major};
use super::{InterpError, Tensor, elementwise, movement};
use crate::infer::sums_bytes;
use crate::{ContractSpec, DType};

pub(super) fn contract(
    spec: &ContractSpec,
    lhs: &Tensor,
    rhs: &Tensor,
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    if sums_bytes(lhs.dtype, rhs.dtype) {
        let wide = |x: &Tensor| elementwise::cast(x, DType::I32);
        return typed::<i32>(spec, &wide(lhs)?, &wide(rhs)?, shape);
    }
    with_number!(lhs.dtype, T => typed::<T>(spec, lhs, rhs, shape))
}

fn typed<T: Element>(spec: &ContractSpec, lhs: &Tensor, rhs: &Tensor, shape: &[usize]) -> Result<Tensor, InterpError> {
    let in_rhs = |c: &&char| spec.rhs.contains(c);
    let in_out = |c: &&char| spec.out.contains(c);
    let batch: Vec<char> = spec.lhs.iter().filter(in_rhs).filter(in_out).copied().collect();
    let summed = spec.summed();
    let rows: Vec<char> = spec.lhs.iter().filter(|c| !in_rhs(c)).copied().collect();
    let columns: Vec<char> = spec.rhs.iter().filter(|c| !spec.lhs.contains(c)).copied().collect();

    let offsets_in = |labels: &[char], of: &[char], tensor: &Tensor| {
        let strides = row_major(&tensor.shape);
        let axes: Vec<usize> = labels.iter().filter_map(|l| of.iter().position(|c| c == l)).collect();
        let extents: Vec<usize> = axes.iter().map(|&a| tensor.shape[a]).collect();
        offsets(&extents, &axes.iter().map(|&a| strides[a]).collect::<Vec<_>>())
    };
    let lhs_batch = offsets_in(&batch, &spec.lhs, lhs);
    let rhs_batch = offsets_in(&batch, &spec.rhs, rhs);
    let lhs_rows = offsets_in(&rows, &spec.lhs, lhs);
    let lhs_summed = offsets_in(&summed, &spec.lhs, lhs);
    let rhs_summed = offsets_in(&summed, &spec.rhs, rhs);
    let rhs_columns = offsets_in(&columns, &spec.rhs, rhs);

    let (weight, x) = (elements::<T>(lhs)?, elements::<T>(rhs)?);
    let (m, k, n) = (lhs_rows.len(), lhs_summed.len(), rhs_columns.len());
    let mut out: Vec<T> = vec![T::store(T::Acc::default()); shape.iter().product()];
    for (b, (&lhs_at, &rhs_at)) in lhs_batch.iter().zip(&rhs_batch).enumerate() {
        let Some(weight) = weight.get(lhs_at..).filter(|_| m * n > 0) else { continue };
        let gemm = Gemm { m, k, n, weight, row_offsets: &lhs_rows, column_offsets: &lhs_summed };
        gemm.run(&mut out[b * m * n..(b + 1) * m * n], None, |first, width, panel| {
            for (row, &k_at) in panel.chunks_exact_mut(width).zip(&rhs_summed) {
                for (slot, &n_at) in row.iter_mut().zip(&rhs_columns[first..first + width]) {
                    *slot = x[rhs_at + k_at + n_at].load();
                }
            }
        });
    }
    // `out` is laid out as batch, rows, columns; the result may want another order.
    let computed = [batch, rows, columns].concat();
    let extent = |c: &char| spec.out.iter().position(|o| o == c).map_or(1, |axis| shape[axis]);
    let tensor = Tensor::from_vec(lhs.dtype, &computed.iter().map(extent).collect::<Vec<_>>(), out);
    if computed == spec.out {
        return Ok(tensor);
    }
    let perm: Vec<usize> = spec.out.iter().filter_map(|c| computed.iter().position(|o| o == c)).collect();
    movement::transpose(&perm, &tensor, shape)
}
