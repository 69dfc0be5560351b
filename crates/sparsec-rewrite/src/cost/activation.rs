//! Work of operators without a constant weight.

use sparsec_graph::{AttentionSpec, ContractSpec, Dim, Op, PoolAttrs, PoolKind, TensorType};

use super::CostModel;
use super::scalar::{binary_cost, expression_cost, unary_cost};
use super::tile::Window;
use super::weight::{band, bytes};
use super::work::{Term, Work};
use crate::lang::OpInfo;

/// Instructions that an element of the result of a kernel written as loops is taken to need. What the loops do is not
/// looked at: nothing is chosen by this.
const LOOPS_INSTRUCTIONS: f64 = 16.0;

impl CostModel<'_> {
    /// Work of an operator that has no constant weight; its epilogue is not in it.
    pub(super) fn operator_work(&self, work: &mut Work, info: &OpInfo, types: &[&TensorType], result: &TensorType) {
        let own = info.epilogue.as_ref().map_or(types.len(), |e| e.first_operand as usize);
        let types = types.get(..own).unwrap_or(types);
        match &info.op {
            Op::Unary(op) => self.map_work(work, types, result, unary_cost(*op)),
            Op::Binary(op) => self.map_work(work, types, result, binary_cost(*op)),
            Op::Where | Op::Cast(_) => self.map_work(work, types, result, 1.0),
            Op::Clip { .. } | Op::BatchNorm { .. } => self.map_work(work, types, result, 2.0),
            Op::Map(expr) => self.map_work(work, types, result, expression_cost(expr)),
            Op::Expand(_) | Op::Slice(_) | Op::Concat { .. } | Op::Pad { .. } => {
                self.map_work(work, &[result], result, 0.0);
            }
            Op::Contract(spec) => self.batched_work(work, spec, types, result),
            Op::Attention(spec) => self.attention_work(work, spec, types, result),
            Op::Conv(_) => {
                let taps =
                    types.get(1).map_or(0.0, |w| self.elements(w) / w.shape.first().map_or(1.0, |d| self.extent(d)));
                work.add(Term::GemmFma, self.vectors(result) * taps * self.machine.fma_cycles());
                self.touch(work, types, result);
            }
            Op::Pool(attrs) => self.pool_work(work, attrs, types, result),
            Op::Reduce { axes, .. } => {
                let innermost = types.first().map_or(0, |x| x.shape.len().saturating_sub(1));
                let along = axes.contains(&innermost);
                self.line_work(work, (Term::ReduceVector, along), types, result, self.elements(result));
            }
            Op::Softmax { axis } => self.normalise_work(work, Term::SoftmaxVector, *axis, types, result),
            Op::LayerNorm { axis, .. } => self.normalise_work(work, Term::NormVector, *axis, types, result),
            Op::Transpose(perm) => self.transpose_work(work, perm, result),
            // A gather reads what it writes, not the whole table.
            Op::Gather { .. } => {
                work.add(Term::GatherElement, self.elements(result));
                bytes(work, self.machine, 2.0 * self.bytes(result), 2.0 * self.bytes(result));
            }
            Op::Loops(_) => self.map_work(work, types, result, LOOPS_INSTRUCTIONS),
            // Graphs within control flow are predicted each for itself.
            Op::Reshape(_) | Op::ShapeOf(_) | Op::If { .. } | Op::Loop(_) => {}
        }
    }

    /// Bytes of operands and result.
    pub(super) fn touch(&self, work: &mut Work, types: &[&TensorType], result: &TensorType) {
        let all = types.iter().map(|ty| self.bytes(ty)).sum::<f64>() + self.bytes(result);
        bytes(work, self.machine, all, all);
    }

    /// An element-wise loop.
    fn map_work(&self, work: &mut Work, types: &[&TensorType], result: &TensorType, instructions: f64) {
        self.add_instructions(work, result, instructions);
        // An operand is read for each element of the result, however small it is; constants stay in a register.
        let read = types.iter().filter(|ty| self.elements(ty) > 1.0).count() as f64;
        work.add(Term::Operand, self.vectors(result) * (1.0 + read));
        self.touch(work, types, result);
    }

    /// Lines that are reduced: along the lanes of vectors, or every lane a line of its own.
    fn line_work(
        &self,
        work: &mut Work,
        (term, along): (Term, bool),
        types: &[&TensorType],
        result: &TensorType,
        lines: f64,
    ) {
        let Some(x) = types.first() else { return };
        let vectors = if along {
            lines * (self.elements(x) / lines.max(1.0) / self.machine.lanes()).ceil()
        } else {
            self.vectors(x)
        };
        let term = if along && term == Term::ReduceVector { Term::ReduceAlong } else { term };
        work.add(term, vectors);
        if along {
            let line = match term {
                Term::SoftmaxVector => Term::SoftmaxLine,
                Term::NormVector => Term::NormLine,
                _ => Term::ReduceLine,
            };
            work.add(line, lines);
        }
        self.touch(work, types, result);
    }

    fn normalise_work(&self, work: &mut Work, term: Term, axis: usize, types: &[&TensorType], result: &TensorType) {
        let length: f64 = match term {
            Term::SoftmaxVector => result.shape.get(axis).map_or(1.0, |d| self.extent(d)),
            // From the axis on.
            _ => result.shape.iter().skip(axis).map(|d| self.extent(d)).product(),
        };
        let along = result.shape.iter().skip(axis + 1).all(|d| d.is(1)) || term != Term::SoftmaxVector;
        let lines = self.elements(result) / length.max(1.0);
        self.line_work(work, (term, along), types.get(..1).unwrap_or_default(), result, lines);
    }

    /// Scores, softmax and values in one kernel: two products, and exponentials in between.
    fn attention_work(&self, work: &mut Work, spec: &AttentionSpec, types: &[&TensorType], result: &TensorType) {
        let [q, k, ..] = types else { return };
        let of = |labels: &[char], ty: &TensorType, keep: &dyn Fn(&char) -> bool| -> f64 {
            let kept = labels.iter().zip(&ty.shape).filter(|(label, _)| keep(label));
            kept.map(|(_, d): (&char, &Dim)| self.extent(d)).product()
        };
        let keys = of(&spec.scores.rhs, k, &|label| *label == spec.keys);
        let depth = of(&spec.scores.lhs, q, &|label| !spec.scores.out.contains(label));
        let lanes = self.machine.lanes();
        let products = keys * (self.elements(q) + self.elements(result));
        let scores = keys * self.elements(q) / depth.max(1.0);
        work.add(Term::AttentionFma, products / lanes * self.machine.fma_cycles());
        work.add(Term::AttentionScore, scores / lanes);
        work.add(Term::Instruction, scores / lanes * expression_cost(&spec.expr));
        self.touch(work, types, result);
    }

    fn pool_work(&self, work: &mut Work, attrs: &PoolAttrs, types: &[&TensorType], result: &TensorType) {
        let taps: f64 = attrs.kernel.iter().map(|&k| k as f64).product();
        if attrs.kind == PoolKind::Max && attrs.kernel.len() <= 2 {
            let count = |axis: usize| result.shape.get(axis).map_or(1, |d| self.extent(d) as usize);
            let window = |i: usize| {
                let positive = |values: &[i64]| values.get(i).map_or(1, |&v| v.max(1) as usize);
                let (stride, dilation) = (positive(&attrs.strides), positive(&attrs.dilations));
                Window { kernel: positive(&attrs.kernel), stride, dilation }
            };
            let (windows, extents) = match attrs.kernel.len() {
                1 => ((Window::POINT, window(0)), (1, count(2))),
                _ => ((window(0), window(1)), (count(2), count(3))),
            };
            let planes = (count(0) * count(1)) as f64;
            let vectors = planes * extents.0 as f64 * (extents.1 as f64 / self.machine.lanes()).ceil();
            work.add(Term::PoolVector, vectors * taps);
            band(work, self.machine, windows, extents, planes);
            self.touch(work, types, result);
            return;
        }
        let stride = attrs.strides.last().copied().unwrap_or(1);
        let term = if stride == 1 { Term::PoolMean } else { Term::PoolStrided };
        work.add(term, self.vectors(result) * taps);
        self.touch(work, types, result);
    }

    /// Transposing to `result`. Rows that stay whole are copied.
    fn transpose_work(&self, work: &mut Work, perm: &[usize], result: &TensorType) {
        let inner_stays = perm.last().is_some_and(|&p| p + 1 == perm.len());
        let row = result.shape.last().map_or(1.0, |d| self.extent(d));
        if inner_stays && row >= self.machine.lanes() {
            work.add(Term::Operand, 2.0 * self.vectors(result));
        } else {
            work.add(Term::TransposeElement, self.elements(result));
        }
        self.touch(work, &[result], result);
    }

    /// A contraction of two activations, batched over the labels that all three share.
    ///
    /// The kernel runs its vectors along the innermost axis of the result. The operand that has this axis is packed:
    /// by copying where the axis is its innermost too, element by element otherwise. The other operand is broadcast.
    fn batched_work(&self, work: &mut Work, spec: &ContractSpec, types: &[&TensorType], result: &TensorType) {
        let [lhs, rhs] = types else { return };
        let last = |labels: &[char], ty: &TensorType| -> Option<char> {
            labels.iter().zip(&ty.shape).rev().find(|(_, d)| !d.is(1)).map(|(label, _)| *label)
        };
        let inner = last(&spec.out, result);
        let has = |labels: &[char]| inner.is_some_and(|label| labels.contains(&label));
        // The columns are those of the operand that has the result's innermost axis.
        let (x_labels, x, a_labels, a) = if has(&spec.rhs) || !has(&spec.lhs) {
            (&spec.rhs, rhs, &spec.lhs, lhs)
        } else {
            (&spec.lhs, lhs, &spec.rhs, rhs)
        };
        let extents = |labels: &[char], ty: &TensorType, keep: &dyn Fn(&char) -> bool| -> f64 {
            let kept = labels.iter().zip(&ty.shape).filter(|(label, _)| keep(label));
            kept.map(|(_, d): (&char, &Dim)| self.extent(d)).product()
        };
        let depth = extents(x_labels, x, &|l| !spec.out.contains(l));
        let rows = extents(a_labels, a, &|l| spec.out.contains(l) && !x_labels.contains(l));
        let columns = inner.map_or(1.0, |label| extents(&spec.out, result, &|l| *l == label));
        let batches = self.elements(result) / (rows * columns).max(1.0);
        if rows <= 1.0 {
            work.add(Term::GemvVector, self.vectors(x));
            self.touch(work, types, result);
            return;
        }
        let lanes = self.machine.lanes();
        let most = if self.machine.vector_registers >= 32 { 4.0 } else { 2.0 };
        let vectors = (columns / lanes).ceil().min(most);
        let tiles = (columns / (lanes * vectors)).ceil() * batches;
        let panels = (rows / 6.0).ceil();
        let chunks = (depth / 128.0).ceil();
        work.add(Term::GemmFma, panels * rows.min(6.0) * vectors * tiles * depth * self.machine.fma_cycles());
        work.add(Term::GemmPanel, panels * tiles * chunks);
        work.add(Term::PartialSum, rows * vectors * tiles * (chunks - 1.0));
        if has(x_labels) && last(x_labels, x) != inner {
            work.add(Term::GemmElement, depth * vectors * lanes * tiles);
        } else {
            work.add(Term::GemmPack, depth * vectors * tiles);
        }
        work.add(Term::StoreVector, rows * vectors * tiles);
        self.touch(work, types, result);
    }
}
