//! Cost of operators without a constant weight, and of bringing operands into the layout that a kernel reads.

use sparsec_graph::{ContractSpec, Op, TensorType};

use super::scalar::{binary_cost, expression_cost, unary_cost};
use super::{CostModel, Product};
use crate::lang::OpInfo;

impl CostModel<'_> {
    /// Seconds to pack X and to store Y of a product with a constant weight.
    ///
    /// With `[k, ...]` and `[m, ...]`, features first, packing is a copy of rows. Any other order transposes elements.
    /// Convolutions read and write `[n, c, pixels]`, which is features first for every image.
    pub(super) fn layout_seconds(
        &self,
        info: &OpInfo,
        types: &[&TensorType],
        result: &TensorType,
        product: &Product,
    ) -> f64 {
        let Some(x) = types.get(usize::from(matches!(info.op, Op::Contract(_)))) else { return 0.0 };
        let (inputs, outputs) = (self.elements(x), self.elements(result));
        let size = result.dtype.size() as f64;
        let copy = |elements: f64| self.machine.seconds_for_bytes(2.0 * elements * size, 2.0 * elements * size);
        let Op::Contract(spec) = &info.op else { return copy(inputs) + 0.5 * copy(outputs) };
        if product.is_vector {
            return 0.5 * (copy(inputs) + copy(outputs));
        }
        let long = |labels: &[char], ty: &TensorType| -> Vec<char> {
            labels.iter().zip(&ty.shape).filter(|(_, d)| !d.is(1)).map(|(label, _)| *label).collect()
        };
        let (rhs, out) = (long(&spec.rhs, x), long(&spec.out, result));
        let tokens = |labels: &[char]| -> Vec<char> {
            labels.iter().copied().filter(|l| spec.rhs.contains(l) && spec.out.contains(l)).collect()
        };
        let same_order = tokens(&rhs) == tokens(&out);
        let first = |labels: &[char]| labels.first().is_none_or(|l| spec.lhs.contains(l)) && same_order;
        let packing =
            if first(&rhs) { copy(inputs) } else { self.machine.seconds_to_transpose(inputs, size) + copy(inputs) };
        let storing = if first(&out) { 0.5 * copy(outputs) } else { self.machine.seconds_to_transpose(outputs, size) };
        packing + storing
    }

    /// Seconds of an operator that has no constant weight.
    pub(super) fn operator_seconds(&self, info: &OpInfo, types: &[&TensorType], result: &TensorType) -> f64 {
        let own = info.epilogue.as_ref().map_or(types.len(), |e| e.first_operand as usize);
        let types = types.get(..own).unwrap_or(types);
        let (traffic, elements) = (self.traffic(types, result), self.elements(result));
        // Loads, stores and arithmetic of an element-wise loop hardly overlap outside L1. Were they taken to, a fused
        // chain could look dearer than a loop of its own that hides its traffic behind an exponential.
        let streamed = |instructions: f64| traffic + self.vector_work(elements, instructions);
        let inputs = types.first().map_or(0.0, |x| self.elements(x));
        match &info.op {
            Op::Unary(op) => streamed(unary_cost(*op)),
            Op::Binary(op) => streamed(binary_cost(*op)),
            Op::Where | Op::Cast(_) => streamed(1.0),
            Op::Clip { .. } => streamed(2.0),
            Op::Map(expr) => streamed(expression_cost(expr)),
            Op::Contract(spec) => self.batched_seconds(spec, types, result),
            Op::Attention(spec) => {
                let axis = spec.scores.rhs.iter().position(|&label| label == spec.keys);
                let keys = axis.and_then(|axis| types.get(1)?.shape.get(axis)).map_or(1.0, |d| self.extent(d));
                let flops = 2.0 * keys * (inputs + elements);
                traffic.max(self.machine.seconds_for_flops(flops, self.machine.efficiency.batched))
            }
            Op::Conv(_) => {
                let taps: f64 = types.get(1).map_or(0.0, |w| self.elements(w) / self.extent(&w.shape[0]));
                traffic.max(self.machine.seconds_for_flops(2.0 * elements * taps, self.machine.efficiency.batched))
            }
            Op::Pool(attrs) => {
                let taps: f64 = attrs.kernel.iter().map(|&k| k as f64).product();
                traffic.max(self.vector_work(elements, taps))
            }
            Op::Reduce { .. } => traffic.max(self.vector_work(inputs, 1.0)),
            // Three passes; the exponential dominates.
            Op::Softmax { .. } => 2.0 * traffic + self.vector_work(elements, 20.0),
            Op::LayerNorm { .. } => 2.0 * traffic + self.vector_work(elements, 6.0),
            Op::BatchNorm { .. } => streamed(2.0),
            Op::Reshape(_) => 0.0,
            Op::Transpose(perm) => self.transpose_seconds(perm, result),
            // A gather reads what it writes, not the whole table.
            Op::Gather { .. } => 2.0 * self.machine.seconds_for_bytes(self.bytes(result), self.bytes(result)),
            Op::Expand(_) | Op::Slice(_) | Op::Concat { .. } | Op::Pad { .. } => traffic,
            Op::ShapeOf(_) => 0.0,
        }
    }

    /// Seconds to transpose to `result`. Rows that stay whole are copied.
    fn transpose_seconds(&self, perm: &[usize], result: &TensorType) -> f64 {
        let (elements, size) = (self.elements(result), result.dtype.size() as f64);
        let inner_stays = perm.last().is_some_and(|&p| p + 1 == perm.len());
        let row = result.shape.last().map_or(1.0, |d| self.extent(d));
        if inner_stays && row >= f64::from(self.machine.vector_lanes) {
            let bytes = 2.0 * elements * size;
            1.5 * self.machine.seconds_for_bytes(bytes, bytes)
        } else {
            self.machine.seconds_to_transpose(elements, size)
        }
    }

    /// Seconds of a contraction of two activations, batched over the labels that all three share.
    ///
    /// The kernel runs its vectors along the innermost axis of the result. The operand that has this axis is packed:
    /// by copying where the axis is its innermost too, by transposing otherwise. The other operand is broadcast
    /// element by element, which is cheapest where its innermost axis is summed.
    fn batched_seconds(&self, spec: &ContractSpec, types: &[&TensorType], result: &TensorType) -> f64 {
        let [lhs, rhs] = types else { return 0.0 };
        let outputs = self.elements(result);
        let summed: f64 = spec
            .lhs
            .iter()
            .zip(&lhs.shape)
            .filter(|(label, _)| !spec.out.contains(label))
            .map(|(_, d)| self.extent(d))
            .product();
        let size = result.dtype.size() as f64;
        let copy = |elements: f64| self.machine.seconds_for_bytes(2.0 * elements * size, 2.0 * elements * size);
        let turn = |elements: f64| self.machine.seconds_to_transpose(elements, size);
        let last = |labels: &[char], ty: &TensorType| -> Option<char> {
            labels.iter().zip(&ty.shape).rev().find(|(_, d)| !d.is(1)).map(|(label, _)| *label)
        };
        let inner = last(&spec.out, result);
        let pack = |labels: &[char], ty: &TensorType| {
            let elements = self.elements(ty);
            let own = inner.is_some_and(|label| labels.contains(&label));
            if !own {
                0.5 * copy(elements)
            } else if last(labels, ty) == inner {
                copy(elements)
            } else {
                turn(elements) + 0.5 * copy(elements)
            }
        };
        let shared = inner.is_some_and(|label| spec.lhs.contains(&label) && spec.rhs.contains(&label));
        let storing = if shared { turn(outputs) } else { 0.5 * copy(outputs) };
        let lanes = f64::from(self.machine.vector_lanes);
        let row = result.shape.iter().rev().map(|d| self.extent(d)).find(|&e| e > 1.0).unwrap_or(1.0);
        let padded = outputs * ((row / lanes).ceil() * lanes / row);
        let flops = 2.0 * padded * summed;
        self.machine.seconds_for_flops(flops, self.machine.efficiency.batched)
            + pack(&spec.lhs, lhs)
            + pack(&spec.rhs, rhs)
            + storing
    }
}
