//! Operators that are written out as loops.
//!
//! What ONNX has and few models use (top-k, scatter, non-maximum suppression, resampling) is not an operator of the graph
//! each. It is one operator, [`crate::Op::Loops`], which carries its own kernel in Stage II of the tensor IR: the
//! interpreter runs that kernel, and lowering passes it on. Whoever writes such a kernel writes it once, with a
//! [`LoopsBuilder`].

mod builder;
mod context;

pub use builder::LoopsBuilder;
pub use context::{BuiltKernel, KernelContext, scalar_of};

use std::collections::BTreeMap;

use sparsec_tir::{BinaryOp, BufferKind, Expr, Kernel};

use crate::{DType, Dim, Symbol, TensorType};

/// A kernel as an operator: its input buffers are the operands in order, its output buffers the results.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopsSpec {
    /// Stage II. A buffer has as many elements as its operand or result, row-major, in whatever shape suits the loops.
    pub kernel: Kernel,
    /// Values of the kernel's params.
    pub params: Vec<Dim>,
    /// Types of the results.
    pub results: Vec<TensorType>,
    /// Extents that the kernel finds out. Their values are its last results, an `i64` scalar each, in this order.
    pub counts: Vec<Count>,
}

/// An extent that depends on data, such as the number of elements that aren't zero. Results that have it hold as many
/// elements as the capacity allows; what they hold is as compact as if the extent had been known, at the front.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// What stands for the extent in the types of results, and of all that is computed from them. Each symbol has one
    /// definition: this, or the shape of an input.
    pub symbol: Symbol,
    /// The largest value, which the kernel may not exceed; at least 0. Over symbols that are known before.
    pub capacity: Dim,
}

impl LoopsSpec {
    /// Why the kernel can't take these operands.
    ///
    /// # Errors
    /// A sentence without its end.
    pub fn check(&self, operands: &[&TensorType]) -> Result<(), String> {
        if self.kernel.params.len() != self.params.len() {
            return Err(format!("its kernel has {} params, not {}", self.kernel.params.len(), self.params.len()));
        }
        let found = self.results.len().checked_sub(self.counts.len()).and_then(|at| self.results.get(at..));
        if !found.is_some_and(|counts| counts.iter().all(|ty| ty.dtype == DType::I64 && ty.rank() == 0)) {
            return Err("its last results are not the extents that it finds out".into());
        }
        let capacities = self.capacities();
        let full = |ty: &TensorType| {
            TensorType::new(ty.dtype, ty.shape.iter().map(|d| d.substitute(&capacities)).collect::<Vec<_>>())
        };
        let results: Vec<TensorType> = self.results.iter().map(full).collect();
        for (kind, types) in [(BufferKind::Input, operands.to_vec()), (BufferKind::Output, results.iter().collect())] {
            let buffers: Vec<_> = self.kernel.buffers.iter().filter(|b| b.kind == kind).collect();
            if buffers.len() != types.len() {
                return Err(format!("its kernel has {} {} buffers, not {}", buffers.len(), kind.name(), types.len()));
            }
            for (buffer, ty) in buffers.into_iter().zip(types) {
                let elements = buffer.shape.iter().map(|e| self.extent(e)).collect::<Option<Vec<_>>>();
                let elements = elements.map(|e| Dim::product(&e));
                if buffer.elem != scalar_of(ty.dtype) || elements.as_ref() != Some(&ty.elements()) {
                    return Err(format!("buffer `{}` of its kernel does not hold a {ty}", buffer.name));
                }
            }
        }
        Ok(())
    }

    /// The capacities of the extents that the kernel finds out.
    #[must_use]
    pub fn capacities(&self) -> BTreeMap<Symbol, Dim> {
        self.counts.iter().map(|count| (count.symbol.clone(), count.capacity.clone())).collect()
    }

    /// An extent of a buffer over the graph's symbols; `None` where it is no sum of products of params.
    fn extent(&self, expr: &Expr) -> Option<Dim> {
        match expr {
            Expr::Int(v, _) => Some(Dim::constant(*v)),
            Expr::Param(p) => self.params.get(p.index()).cloned(),
            Expr::Binary(op, a, b) => {
                let (a, b) = (self.extent(a)?, self.extent(b)?);
                match op {
                    BinaryOp::Add => Some(a + b),
                    BinaryOp::Sub => Some(a - b),
                    BinaryOp::Mul => Some(a * b),
                    BinaryOp::FloorDiv => Some(a.floor_div(&b)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}
