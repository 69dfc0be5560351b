//! A kernel under construction together with the values of its parameters.
//!
//! Extents that are not constant become parameters of the kernel, one for each distinct expression, and the launch
//! gives their values over the model's symbols. So two layers of equal constant shape, or of equal structure, share
//! one kernel.

use std::ops::{Deref, DerefMut};

use sparsec_tir::{Expr, Kernel, KernelBuilder, LoopKind, Scalar, Stmt};

use crate::{DType, Dim};

/// A kernel and the values of its parameters.
#[derive(Clone, Debug)]
pub struct BuiltKernel {
    /// Stage II.
    pub kernel: Kernel,
    /// One for each param of the kernel, over the symbols of the graph.
    pub params: Vec<Dim>,
}

/// A [`KernelBuilder`] that knows [`Dim`]s.
pub struct KernelContext {
    builder: KernelBuilder,
    params: Vec<(Dim, Expr)>,
}

impl KernelContext {
    /// A kernel without a body.
    #[must_use]
    pub fn new(name: &str) -> Self {
        KernelContext { builder: KernelBuilder::new(name), params: Vec::new() }
    }

    /// The extent as an expression: a constant or a parameter.
    pub fn dim(&mut self, dim: &Dim) -> Expr {
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
    pub fn dims(&mut self, dims: &[Dim]) -> Vec<Expr> {
        dims.iter().map(|d| self.dim(d)).collect()
    }

    /// `parallel name in 0..end`.
    pub fn parallel(&mut self, name: &str, end: Expr, f: impl FnOnce(&mut KernelContext, Expr)) {
        let var = self.builder.begin_loop(LoopKind::Parallel, name, (Expr::int(0), end), 1, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `parallel first in 0..end step group until last`: iterations of a group may run together.
    pub fn groups(&mut self, names: [&str; 2], end: Expr, group: i64, f: impl FnOnce(&mut KernelContext, [Expr; 2])) {
        let range = self.builder.begin_groups(names, end, group);
        f(self, range);
        self.builder.end_loop();
    }

    /// `warps name in 0..count`.
    pub fn warps(&mut self, name: &str, count: u32, f: impl FnOnce(&mut KernelContext, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(count)));
        let var = self.builder.begin_loop(LoopKind::Warps, name, range, 1, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `for name in start..end step step`.
    pub fn serial(&mut self, name: &str, start: Expr, end: Expr, step: i64, f: impl FnOnce(&mut KernelContext, Expr)) {
        let var = self.builder.begin_loop(LoopKind::Serial, name, (start, end), step, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `unroll name in 0..end`.
    pub fn unroll(&mut self, name: &str, end: u32, f: impl FnOnce(&mut KernelContext, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(end)));
        let var = self.builder.begin_loop(LoopKind::Unroll, name, range, 1, None);
        f(self, var);
        self.builder.end_loop();
    }

    /// `vector l in 0..lanes active count`.
    pub fn vector(&mut self, lanes: u16, active: Option<Expr>, f: impl FnOnce(&mut KernelContext, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(lanes)));
        let var = self.builder.begin_loop(LoopKind::Vector, "l", range, 1, active);
        f(self, var);
        self.builder.end_loop();
    }

    /// Serial loops over `counts`, outermost first, inside of loops with the variables `outer`. `f` gets all variables.
    pub fn nest(&mut self, counts: &[Expr], outer: Vec<Expr>, f: &mut dyn FnMut(&mut KernelContext, &[Expr])) {
        match counts.split_first() {
            None => f(self, &outer),
            Some((count, rest)) => {
                let name = format!("i{}", outer.len());
                self.serial(&name, Expr::int(0), count.clone(), 1, |c, i| {
                    let mut loops = outer.clone();
                    loops.push(i);
                    c.nest(rest, loops, f);
                });
            }
        }
    }

    /// `if condition { then } else { otherwise }`.
    pub fn branch(
        &mut self,
        condition: Expr,
        then: impl FnOnce(&mut KernelContext),
        otherwise: impl FnOnce(&mut KernelContext),
    ) {
        self.builder.begin_block();
        then(self);
        let then = self.builder.end_block();
        self.builder.begin_block();
        otherwise(self);
        let otherwise = self.builder.end_block();
        self.builder.push(Stmt::If(condition, then, otherwise));
    }

    /// The kernel.
    #[must_use]
    pub fn finish(self) -> BuiltKernel {
        let params = self.params.into_iter().map(|(d, _)| d).collect();
        BuiltKernel { kernel: self.builder.finish(), params }
    }
}

impl Deref for KernelContext {
    type Target = KernelBuilder;

    fn deref(&self) -> &KernelBuilder {
        &self.builder
    }
}

impl DerefMut for KernelContext {
    fn deref_mut(&mut self) -> &mut KernelBuilder {
        &mut self.builder
    }
}

/// The machine type that an element is kept in: codes of small floats are bytes.
#[must_use]
pub fn scalar_of(dtype: DType) -> Scalar {
    match dtype {
        DType::Bool => Scalar::Bool,
        DType::I8 | DType::I4 => Scalar::I8,
        DType::I16 => Scalar::I16,
        DType::I32 => Scalar::I32,
        DType::I64 => Scalar::I64,
        DType::U8 | DType::U4 => Scalar::U8,
        DType::U16 => Scalar::U16,
        DType::U32 => Scalar::U32,
        DType::U64 => Scalar::U64,
        DType::F16 => Scalar::F16,
        DType::BF16 => Scalar::BF16,
        DType::F32 => Scalar::F32,
        DType::F64 => Scalar::F64,
        DType::F8E4M3FN | DType::F8E4M3FNUZ | DType::F8E5M2 | DType::F8E5M2FNUZ => Scalar::U8,
        DType::F8E8M0 | DType::F4E2M1 | DType::String => Scalar::U8,
    }
}
