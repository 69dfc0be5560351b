//! Writing an operator as loops.

use std::ops::{Deref, DerefMut};

use sparsec_tir::{BufferId, BufferKind, Type};

use super::{BuiltKernel, Count, KernelContext, LoopsSpec, scalar_of};
use crate::{DType, Dim, Symbol, TensorType};

/// A [`KernelContext`] that knows the types of operands and results.
///
/// ```
/// use sparsec_graph::{DType, Dim, LoopsBuilder, TensorType};
/// use sparsec_tir::{Expr, load};
///
/// let n = Dim::sym("n");
/// let ty = TensorType::new(DType::F32, vec![n.clone()]);
/// let mut b = LoopsBuilder::new("running_sum");
/// let x = b.input("x", &ty);
/// let y = b.output("y", ty.clone());
/// let sum = b.variable("sum", DType::F32);
/// let n = b.dim(&n);
/// b.set(sum, vec![], Expr::f32(0.0));
/// b.serial("i", Expr::int(0), n, 1, |b, i| {
///     b.set(sum, vec![], Expr::Reg(sum, vec![]) + load(x, vec![i.clone()]));
///     b.store(y, vec![i], Expr::Reg(sum, vec![]));
/// });
/// let spec = b.finish();
/// assert!(spec.check(&[&ty]).is_ok());
/// ```
pub struct LoopsBuilder {
    context: KernelContext,
    results: Vec<TensorType>,
    counts: Vec<Count>,
}

impl LoopsBuilder {
    /// A kernel without a body.
    #[must_use]
    pub fn new(name: &str) -> Self {
        LoopsBuilder { context: KernelContext::new(name), results: Vec::new(), counts: Vec::new() }
    }

    /// The next operand, indexed by its own axes.
    pub fn input(&mut self, name: &str, ty: &TensorType) -> BufferId {
        self.input_as(name, ty, &ty.shape)
    }

    /// The next operand, indexed as if it had this shape of as many elements.
    pub fn input_as(&mut self, name: &str, ty: &TensorType, shape: &[Dim]) -> BufferId {
        self.buffer_as(name, ty.dtype, BufferKind::Input, shape)
    }

    /// The next result, indexed by its own axes.
    pub fn output(&mut self, name: &str, ty: TensorType) -> BufferId {
        let shape = ty.shape.clone();
        self.output_as(name, ty, &shape)
    }

    /// The next result, indexed as if it had this shape of as many elements.
    pub fn output_as(&mut self, name: &str, ty: TensorType, shape: &[Dim]) -> BufferId {
        let buffer = self.buffer_as(name, ty.dtype, BufferKind::Output, shape);
        self.results.push(ty);
        buffer
    }

    /// The next result, whose shape holds extents that the kernel finds out: one axis of as many elements as there can be.
    /// The kernel writes the elements at the front, in the order that they have in the shape that it found.
    pub fn output_up_to(&mut self, name: &str, ty: TensorType) -> BufferId {
        let capacities = self.counts.iter().map(|count| (count.symbol.clone(), count.capacity.clone())).collect();
        let most = ty.elements().substitute(&capacities);
        self.output_as(name, ty, &[most])
    }

    /// An extent that the kernel finds out; before the results that have it.
    pub fn count(&mut self, symbol: Symbol, capacity: Dim) {
        self.counts.push(Count { symbol, capacity });
    }

    /// The results that tell the extents found, in order; after all other results. Each is a scalar.
    pub fn count_results(&mut self) -> Vec<BufferId> {
        (0..self.counts.len()).map(|i| self.output(&format!("count{i}"), TensorType::fixed(DType::I64, &[]))).collect()
    }

    fn buffer_as(&mut self, name: &str, dtype: DType, kind: BufferKind, shape: &[Dim]) -> BufferId {
        let shape = self.context.dims(shape);
        self.context.buffer(name, scalar_of(dtype), kind, shape, vec![])
    }

    /// One mutable number.
    pub fn variable(&mut self, name: &str, dtype: DType) -> sparsec_tir::RegisterId {
        self.context.register(name, Type::scalar(scalar_of(dtype)), vec![])
    }

    /// The operator.
    #[must_use]
    pub fn finish(self) -> LoopsSpec {
        let BuiltKernel { kernel, params } = self.context.finish();
        LoopsSpec { kernel, params, results: self.results, counts: self.counts }
    }
}

impl Deref for LoopsBuilder {
    type Target = KernelContext;

    fn deref(&self) -> &KernelContext {
        &self.context
    }
}

impl DerefMut for LoopsBuilder {
    fn deref_mut(&mut self) -> &mut KernelContext {
        &mut self.context
    }
}
