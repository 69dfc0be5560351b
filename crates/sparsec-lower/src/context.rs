//! A kernel under construction together with the values of its parameters.
//!
//! Extents that are not constant become parameters of the kernel, one for each distinct expression, and the launch
//! gives their values over the model's symbols. So two layers of equal constant shape, or of equal structure, share
//! one kernel.

use std::ops::{Deref, DerefMut};

use sparsec_graph::{Atom, DType, Dim, Symbol};
use sparsec_tir::{Expr, Kernel, KernelBuilder, LoopKind, ParamId, Scalar, Stmt};

/// A kernel and the values of its parameters.
#[derive(Clone, Debug)]
pub(crate) struct BuiltKernel {
    pub(crate) kernel: Kernel,
    pub(crate) params: Vec<Dim>,
}

/// A [`KernelBuilder`] that knows [`Dim`]s.
pub(crate) struct Context {
    builder: KernelBuilder,
    params: Vec<(Dim, Expr)>,
}

impl Context {
    pub(crate) fn new(name: &str) -> Self {
        Context { builder: KernelBuilder::new(name), params: Vec::new() }
    }

    /// The extent as an expression: a constant or a parameter.
    pub(crate) fn dim(&mut self, dim: &Dim) -> Expr {
        if let Some(value) = dim.as_const() {
            return Expr::int(value);
        }
        if let Some((_, param)) = self.params.iter().find(|(d, _)| d == dim) {
            return param.clone();
        }
        let param = self.builder.param(&format!("n{}", self.params.len()));
        self.params.push((dim.clone(), param.clone()));
        param
    }

    /// Several extents.
    pub(crate) fn dims(&mut self, dims: &[Dim]) -> Vec<Expr> {
        dims.iter().map(|d| self.dim(d)).collect()
    }

    /// `parallel name in 0..end`.
    pub(crate) fn parallel(&mut self, name: &str, end: Expr, f: impl FnOnce(&mut Context, Expr)) {
        let var = self.builder.begin_loop(LoopKind::Parallel, name, (Expr::int(0), end), 1, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `for name in start..end step step`.
    pub(crate) fn serial(&mut self, name: &str, start: Expr, end: Expr, step: i64, f: impl FnOnce(&mut Context, Expr)) {
        let var = self.builder.begin_loop(LoopKind::Serial, name, (start, end), step, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `unroll name in 0..end`.
    pub(crate) fn unroll(&mut self, name: &str, end: u32, f: impl FnOnce(&mut Context, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(end)));
        let var = self.builder.begin_loop(LoopKind::Unroll, name, range, 1, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `vector l in 0..lanes active count`.
    pub(crate) fn vector(&mut self, lanes: u16, active: Option<Expr>, f: impl FnOnce(&mut Context, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(lanes)));
        let var = self.builder.begin_loop(LoopKind::Vector, "l", range, 1, active);
        f(self, var);
        self.builder.end_loop();
    }

    /// `if condition { then } else { otherwise }`.
    pub(crate) fn branch(
        &mut self,
        condition: Expr,
        then: impl FnOnce(&mut Context),
        otherwise: impl FnOnce(&mut Context),
    ) {
        self.builder.begin_block();
        then(self);
        let then = self.builder.end_block();
        self.builder.begin_block();
        otherwise(self);
        let otherwise = self.builder.end_block();
        self.builder.push(Stmt::If(condition, then, otherwise));
    }

    pub(crate) fn finish(self) -> BuiltKernel {
        let params = self.params.into_iter().map(|(d, _)| d).collect();
        BuiltKernel { kernel: self.builder.finish(), params }
    }
}

impl Deref for Context {
    type Target = KernelBuilder;

    fn deref(&self) -> &KernelBuilder {
        &self.builder
    }
}

impl DerefMut for Context {
    fn deref_mut(&mut self) -> &mut KernelBuilder {
        &mut self.builder
    }
}

/// The machine type of an element.
pub(crate) fn scalar_of(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool,
        DType::I8 => Scalar::I8,
        DType::I16 => Scalar::I16,
        DType::I32 => Scalar::I32,
        DType::I64 => Scalar::I64,
        DType::U8 => Scalar::U8,
        DType::U16 => Scalar::U16,
        DType::U32 => Scalar::U32,
        DType::U64 => Scalar::U64,
        DType::F16 => Scalar::F16,
        DType::BF16 => Scalar::BF16,
        DType::F32 => Scalar::F32,
        DType::F64 => Scalar::F64,
    }
}

/// An extent as an expression over the program's symbols.
pub(crate) fn program_expr(dim: &Dim, symbols: &[Symbol]) -> Expr {
    let mut sum = Expr::int(0);
    for (atoms, coefficient) in dim.terms() {
        let mut product = Expr::int(coefficient);
        for atom in atoms {
            let factor = match atom {
                Atom::Sym(s) => {
                    // Lowering collects the symbols of every type in the graph first, so each one is found.
                    let at = symbols.iter().position(|known| known == s).unwrap_or(usize::MAX);
                    Expr::Param(ParamId(at as u32))
                }
                Atom::FloorDiv(a, b) => program_expr(a, symbols).floor_div(program_expr(b, symbols)),
                Atom::Min(a, b) => program_expr(a, symbols).min(program_expr(b, symbols)),
                Atom::Max(a, b) => program_expr(a, symbols).max(program_expr(b, symbols)),
            };
            product = product * factor;
        }
        sum = sum + product;
    }
    sum
}
