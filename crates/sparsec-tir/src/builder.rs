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
    Stmt, Type, Var, VarId, print::KEYWORDS,
};

/// A Stage II kernel under construction.
#[derive(Debug)]
pub struct KernelBuilder {
    kernel: Kernel,
    blocks: Vec<Vec<Stmt>>,
    open: Vec<For>,
    names: BTreeSet<String>,
}

impl KernelBuilder {
    /// A kernel without a body.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        KernelBuilder {
            kernel: Kernel::new(name, Stage::Position),
            blocks: vec![Vec::new()],
            open: Vec::new(),
            names: BTreeSet::new(),
        }
    }

    fn unique(&mut self, name: &str) -> String {
        let mut candidate = name.to_owned();
        let mut i = 1;
        while KEYWORDS.contains(&candidate.as_str()) || !self.names.insert(candidate.clone()) {
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
        self.begin_block();
        f(self);
        self.end_block()
    }

    /// Opens a loop: what is added from now on is its body, until [`KernelBuilder::end_loop`]. The closures below are
    /// made of these two; callers with a builder of their own around this one use them directly.
    pub fn begin_loop(
        &mut self,
        kind: LoopKind,
        name: &str,
        range: (Expr, Expr),
        step: i64,
        active: Option<Expr>,
    ) -> Expr {
        let var = self.var(name, Type::INDEX);
        let (start, end) = range;
        self.open.push(For { kind, var, start, end, step, until: None, active, body: Vec::new() });
        self.blocks.push(Vec::new());
        Expr::Var(var)
    }

    /// Opens a parallel loop over `0..end`, in groups of `group` iterations that the body may run together: those from the first
    /// expression to the second one. See [`For::until`].
    pub fn begin_groups(&mut self, [first, until]: [&str; 2], end: Expr, group: i64) -> [Expr; 2] {
        let var = self.begin_loop(LoopKind::Parallel, first, (Expr::int(0), end), group, None);
        let until = self.var(until, Type::INDEX);
        if let Some(open) = self.open.last_mut() {
            open.until = Some(until);
        }
        [var, Expr::Var(until)]
    }

    /// Closes the innermost open loop.
    pub fn end_loop(&mut self) {
        if let Some(mut open) = self.open.pop() {
            open.body = self.blocks.pop().unwrap_or_default();
            self.push(Stmt::For(open));
        }
    }

    /// `for name in start..end step step`.
    pub fn serial(&mut self, name: &str, start: Expr, end: Expr, step: i64, f: impl FnOnce(&mut Self, Expr)) {
        let var = self.begin_loop(LoopKind::Serial, name, (start, end), step, None);
        f(self, var);
        self.end_loop();
    }

    /// `parallel name in 0..end`.
    pub fn parallel(&mut self, name: &str, end: Expr, f: impl FnOnce(&mut Self, Expr)) {
        let var = self.begin_loop(LoopKind::Parallel, name, (Expr::int(0), end), 1, None);
        f(self, var);
        self.end_loop();
    }

    /// `warps name in 0..count`.
    pub fn warps(&mut self, name: &str, count: u32, f: impl FnOnce(&mut Self, Expr)) {
        let var = self.begin_loop(LoopKind::Warps, name, (Expr::int(0), Expr::int(i64::from(count))), 1, None);
        f(self, var);
        self.end_loop();
    }

    /// `unroll name in 0..end`.
    pub fn unroll(&mut self, name: &str, end: u32, f: impl FnOnce(&mut Self, Expr)) {
        let var = self.begin_loop(LoopKind::Unroll, name, (Expr::int(0), Expr::int(i64::from(end))), 1, None);
        f(self, var);
        self.end_loop();
    }

    /// `vector name in 0..lanes active count`.
    pub fn vector(&mut self, name: &str, lanes: u16, active: Option<Expr>, f: impl FnOnce(&mut Self, Expr)) {
        let range = (Expr::int(0), Expr::int(i64::from(lanes)));
        let var = self.begin_loop(LoopKind::Vector, name, range, 1, active);
        f(self, var);
        self.end_loop();
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

    /// Opens a block of statements, until [`KernelBuilder::end_block`].
    pub fn begin_block(&mut self) {
        self.blocks.push(Vec::new());
    }

    /// Closes the innermost open block and returns its statements.
    #[must_use]
    pub fn end_block(&mut self) -> Vec<Stmt> {
        self.blocks.pop().unwrap_or_default()
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
