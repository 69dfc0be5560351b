//! Building kernels of Stage II: names made unique, blocks nested by closures.
//!
//! ```
//! use sparsec_tir::{Access, BufferKind, Expr, KernelBuilder, LoopKind, Scalar};
//!
//! let mut b = KernelBuilder::new("double");
//! let n = b.param("n");
//! let x = b.buffer("x", Scalar::F32, BufferKind::Input, vec![n.clone()], vec![]);
//! let y = b.buffer("y", Scalar::F32, BufferKind::Output, vec![n.clone()], vec![]);
//! b.serial("i", Expr::int(0), n, 1, |b, i| {
//!     let value = Expr::Load(Access::element(x, vec![i.clone()])) * Expr::f32(2.0);
//!     b.store(y, vec![i], value);
//! });
//! let kernel = b.finish();
//! assert_eq!(kernel.vars.len(), 1);
//! ```

use std::collections::BTreeSet;

use crate::{
    Access, Buffer, BufferId, BufferKind, Expr, For, Kernel, LoopKind, ParamId, Register, RegisterId, Scalar, Stage,
    Stmt, Type, Var, VarId,
};

/// A Stage II kernel under construction.
#[derive(Debug)]
pub struct KernelBuilder {
    kernel: Kernel,
    blocks: Vec<Vec<Stmt>>,
    names: BTreeSet<String>,
}

impl KernelBuilder {
    /// A kernel without a body.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        KernelBuilder { kernel: Kernel::new(name, Stage::Position), blocks: vec![Vec::new()], names: BTreeSet::new() }
    }

    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut i = 1;
        while !self.names.insert(candidate.clone()) {
            candidate = format!("{name}{i}");
            i += 1;
        }
        candidate
    }

    /// Adds a line that tells readers of dumps what the kernel computes.
    pub fn describe(&mut self, line: impl Into<String>) {
        self.kernel.comments.push(line.into());
    }

    /// Adds an `i64` argument.
    pub fn param(&mut self, name: &str) -> Expr {
        let name = self.unique(name);
        self.kernel.params.push(name);
        Expr::Param(ParamId(self.kernel.params.len() as u32 - 1))
    }

    /// Adds a buffer; row-major where `strides` is empty.
    pub fn buffer(
        &mut self,
        name: &str,
        elem: Scalar,
        kind: BufferKind,
        shape: Vec<Expr>,
        strides: Vec<Expr>,
    ) -> BufferId {
        let name = self.unique(name);
        self.kernel.buffers.push(Buffer { name, elem, kind, shape, strides });
        BufferId(self.kernel.buffers.len() as u32 - 1)
    }

    /// Adds an array of registers.
    pub fn register(&mut self, name: &str, ty: Type, dims: Vec<u32>) -> RegisterId {
        let name = self.unique(name);
        self.kernel.registers.push(Register { name, ty, dims });
        RegisterId(self.kernel.registers.len() as u32 - 1)
    }

    fn var(&mut self, name: &str, ty: Type) -> VarId {
        let name = self.unique(name);
        self.kernel.vars.push(Var { name, ty });
        VarId(self.kernel.vars.len() as u32 - 1)
    }

    /// Adds a statement.
    pub fn push(&mut self, stmt: Stmt) {
        if let Some(block) = self.blocks.last_mut() {
            block.push(stmt);
        }
    }

    /// Names a value.
    pub fn bind(&mut self, name: &str, ty: Type, value: Expr) -> Expr {
        let var = self.var(name, ty);
        self.push(Stmt::Let(var, value));
        Expr::Var(var)
    }

    /// Names an index.
    pub fn bind_index(&mut self, name: &str, value: Expr) -> Expr {
        match value {
            Expr::Int(..) | Expr::Var(_) | Expr::Param(_) => value,
            _ => self.bind(name, Type::INDEX, value),
        }
    }

    /// The statements that `f` adds, as a block.
    pub fn block(&mut self, f: impl FnOnce(&mut Self)) -> Vec<Stmt> {
        self.blocks.push(Vec::new());
        f(self);
        self.blocks.pop().unwrap_or_default()
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of a loop; the public methods name them")]
    fn add_loop(
        &mut self,
        kind: LoopKind,
        name: &str,
        start: Expr,
        end: Expr,
        step: i64,
        active: Option<Expr>,
        f: impl FnOnce(&mut Self, Expr),
    ) {
        let var = self.var(name, Type::INDEX);
        let body = self.block(|b| f(b, Expr::Var(var)));
        self.push(Stmt::For(For { kind, var, start, end, step, active, body }));
    }

    /// `for name in start..end step step`.
    pub fn serial(&mut self, name: &str, start: Expr, end: Expr, step: i64, f: impl FnOnce(&mut Self, Expr)) {
        self.add_loop(LoopKind::Serial, name, start, end, step, None, f);
    }

    /// `parallel name in 0..end`.
    pub fn parallel(&mut self, name: &str, end: Expr, f: impl FnOnce(&mut Self, Expr)) {
        self.add_loop(LoopKind::Parallel, name, Expr::int(0), end, 1, None, f);
    }

    /// `unroll name in 0..end`.
    pub fn unroll(&mut self, name: &str, end: u32, f: impl FnOnce(&mut Self, Expr)) {
        self.add_loop(LoopKind::Unroll, name, Expr::int(0), Expr::int(i64::from(end)), 1, None, f);
    }

    /// `vector name in 0..lanes active count`.
    pub fn vector(&mut self, name: &str, lanes: u16, active: Option<Expr>, f: impl FnOnce(&mut Self, Expr)) {
        self.add_loop(LoopKind::Vector, name, Expr::int(0), Expr::int(i64::from(lanes)), 1, active, f);
    }

    /// Assigns a register.
    pub fn set(&mut self, register: RegisterId, index: Vec<Expr>, value: Expr) {
        self.push(Stmt::Set(register, index, value));
    }

    /// Writes an element of a buffer.
    pub fn store(&mut self, buffer: BufferId, index: Vec<Expr>, value: Expr) {
        self.push(Stmt::Store(Access::element(buffer, index), value));
    }

    /// `if condition { then } else { otherwise }`.
    pub fn branch(&mut self, condition: Expr, then: impl FnOnce(&mut Self), otherwise: impl FnOnce(&mut Self)) {
        let then = self.block(then);
        let otherwise = self.block(otherwise);
        self.push(Stmt::If(condition, then, otherwise));
    }

    /// The kernel.
    #[must_use]
    pub fn finish(mut self) -> Kernel {
        self.kernel.body = self.blocks.pop().unwrap_or_default();
        self.kernel
    }
}

/// An element of a buffer, as a value.
#[must_use]
pub fn load(buffer: BufferId, index: Vec<Expr>) -> Expr {
    Expr::Load(Access::element(buffer, index))
}
