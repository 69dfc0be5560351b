//! Stages II and III.

use super::{Errors, VerifyErrors, types};
use crate::{
    Access, BufferKind, Expr, For, Kernel, LoopKind, Scalar, Stage, Stmt, Type, VarId,
    math::is_math,
    print::{expr_text, stmt_text},
};

/// Verifies a kernel of Stage II.
///
/// # Errors
/// Everything in the module's list that doesn't hold.
pub fn verify_position(kernel: &Kernel) -> Result<(), VerifyErrors> {
    let mut errors = verify(kernel, Stage::Position, false);
    if errors.is_empty()
        && let Err(error) = crate::lower_to_flat(kernel)
    {
        errors.push("body", error);
    }
    errors.finish()
}

/// Verifies a kernel of Stage III.
///
/// # Errors
/// Everything in the module's list that doesn't hold.
pub fn verify_flat(kernel: &Kernel) -> Result<(), VerifyErrors> {
    verify(kernel, Stage::Flat, false).finish()
}

/// Verifies a kernel of Stage III for a backend: [`verify_flat`], and `expand_math` has run.
///
/// # Errors
/// Everything in the module's list that doesn't hold.
pub fn verify_machine(kernel: &Kernel) -> Result<(), VerifyErrors> {
    verify(kernel, Stage::Flat, true).finish()
}

fn verify(kernel: &Kernel, stage: Stage, machine: bool) -> Errors {
    let mut v = Verifier {
        kernel,
        stage,
        machine,
        errors: Errors::new(&kernel.name),
        scope: Vec::new(),
        unrolled: Vec::new(),
        vector: None,
    };
    if kernel.stage != stage {
        v.errors.push(kernel.name.clone(), format!("is in stage {}, {stage} expected", kernel.stage));
        return v.errors;
    }
    v.declarations();
    v.block(&kernel.body, true);
    v.errors
}

struct Verifier<'k> {
    kernel: &'k Kernel,
    stage: Stage,
    machine: bool,
    errors: Errors,
    scope: Vec<VarId>,
    unrolled: Vec<VarId>,
    vector: Option<u16>,
}

impl Verifier<'_> {
    fn declarations(&mut self) {
        let k = self.kernel;
        self.errors.check(crate::is_identifier(&k.name), &k.name, "is no identifier");
        let names = k.params.iter().map(String::as_str);
        let names = names.chain(k.buffers.iter().map(|b| b.name.as_str()));
        let names = names.chain(k.registers.iter().map(|r| r.name.as_str()));
        self.errors.names(names.chain(k.vars.iter().map(|v| v.name.as_str())));
        for comment in &k.comments {
            self.errors.check(!comment.contains(['\n', '\r']), comment, "has a line break");
        }
        for b in &k.buffers {
            for e in b.shape.iter().chain(&b.strides) {
                let mut over_params = true;
                e.walk(&mut |e| {
                    over_params &= matches!(e, Expr::Int(..) | Expr::Param(_) | Expr::Binary(..));
                });
                self.errors.check(over_params, &b.name, "an extent or stride is no expression over params");
                self.typed(&b.name, e, Type::INDEX);
            }
            let rank = b.shape.len();
            self.errors.check(
                b.strides.is_empty() || b.strides.len() == rank,
                &b.name,
                "has other strides than extents",
            );
            let constant = b.shape.iter().all(|d| d.as_int().is_some_and(|d| d >= 0));
            self.errors.check(
                b.kind != BufferKind::Scratch || constant,
                &b.name,
                "is scratch without constant extents",
            );
            let flat = rank == 1 && b.strides.is_empty();
            self.errors.check(self.stage != Stage::Flat || flat, &b.name, "has not one dimension without stride");
        }
        for r in &k.registers {
            self.errors.check(types::lanes_ok(r.ty.lanes), &r.name, "has an impossible number of lanes");
            let total = r.dims.iter().try_fold(1_u32, |n, d| n.checked_mul(*d));
            self.errors.check(total.is_some_and(|n| n > 0 && n <= 1 << 16), &r.name, "has no or too many registers");
        }
        for v in &k.vars {
            self.errors.check(types::lanes_ok(v.ty.lanes), &v.name, "has an impossible number of lanes");
        }
    }

    fn block(&mut self, body: &[Stmt], top: bool) {
        let defined = self.scope.len();
        for stmt in body {
            self.stmt(stmt, top && body.len() == 1);
        }
        self.scope.truncate(defined);
    }

    fn stmt(&mut self, stmt: &Stmt, alone_on_top: bool) {
        let k = self.kernel;
        let place = stmt_text(k, stmt);
        match stmt {
            Stmt::For(l) => self.for_loop(&place, l, alone_on_top),
            Stmt::Let(v, e) => {
                match k.vars.get(v.index()).map(|v| v.ty) {
                    Some(ty) => self.assigned(&place, e, ty),
                    None => self.errors.push(&place, types::TypeError::UnknownVar(*v)),
                }
                self.define(&place, *v);
            }
            Stmt::Set(r, index, e) => match k.registers.get(r.index()) {
                Some(register) => {
                    let ty = types::lane_type(register.ty, self.vector);
                    self.typed(&place, &Expr::Reg(*r, index.clone()), ty);
                    self.assigned(&place, e, ty);
                }
                None => self.errors.push(&place, types::TypeError::UnknownRegister(*r)),
            },
            Stmt::Store(access, e) => {
                let input = k.buffers.get(access.buffer.index()).is_some_and(|b| b.kind == BufferKind::Input);
                self.errors.check(!input, &place, "stores to an input");
                if let Some(ty) = self.access(&place, access) {
                    self.assigned(&place, e, ty);
                }
            }
            Stmt::If(c, yes, no) => {
                self.typed(&place, c, Type::scalar(Scalar::Bool));
                self.block(yes, false);
                self.block(no, false);
            }
            Stmt::Prefetch(access) => {
                self.access(&place, access);
            }
            Stmt::Comment(text) => self.errors.check(!text.contains(['\n', '\r']), &place, "has a line break"),
        }
    }

    fn for_loop(&mut self, place: &str, l: &For, alone_on_top: bool) {
        self.typed(place, &l.start, Type::INDEX);
        self.typed(place, &l.end, Type::INDEX);
        let ty = self.kernel.vars.get(l.var.index()).map(|v| v.ty);
        self.errors.check(ty == Some(Type::INDEX), place, "the loop variable is no i64");
        let unit = l.kind == LoopKind::Serial;
        self.errors.check(l.step == 1 || (unit && l.step > 1), place, "the step is not allowed");
        if let Some(active) = &l.active {
            self.errors.check(l.kind == LoopKind::Vector, place, "only vector loops have an active count");
            self.typed(place, active, Type::INDEX);
        }
        match l.kind {
            LoopKind::Parallel => self.errors.check(alone_on_top, place, "is not the only top-level statement"),
            LoopKind::Unroll => {
                let constant = self.is_unrolled(&l.start) && self.is_unrolled(&l.end);
                self.errors.check(constant, place, "the bounds of an unroll loop are not constant");
            }
            LoopKind::Vector => {
                self.errors.check(self.stage == Stage::Position, place, "Stage III has no vector loops");
                self.errors.check(self.vector.is_none(), place, "vector loops are nested");
                let lanes = l.end.as_int().and_then(|n| u16::try_from(n).ok()).filter(|n| types::lanes_ok(*n));
                let fits = lanes.is_some() && l.start == Expr::int(0);
                self.errors.check(fits, place, "does not run from 0 to a constant power of two");
            }
            LoopKind::Serial => {}
        }
        let outer = self.vector;
        let (defined, unrolled) = (self.scope.len(), self.unrolled.len());
        if l.kind == LoopKind::Vector {
            self.vector = l.end.as_int().and_then(|n| u16::try_from(n).ok()).or(outer);
        }
        self.define(place, l.var);
        if l.kind == LoopKind::Unroll {
            self.unrolled.push(l.var);
        }
        self.block(&l.body, false);
        self.vector = outer;
        self.scope.truncate(defined);
        self.unrolled.truncate(unrolled);
    }

    fn define(&mut self, place: &str, v: VarId) {
        self.errors.check(!self.scope.contains(&v), place, "the variable is already defined here");
        self.scope.push(v);
    }

    /// A value for something of a type.
    fn assigned(&mut self, place: &str, e: &Expr, ty: Type) {
        let splatted = self.stage == Stage::Position
            && types::type_in(self.kernel, e, self.vector).is_ok_and(|t| t == Type::scalar(ty.scalar));
        let expected = if splatted { Type::scalar(ty.scalar) } else { ty };
        self.typed(place, e, expected);
    }

    fn typed(&mut self, place: &str, e: &Expr, ty: Type) {
        match types::type_in(self.kernel, e, self.vector) {
            Ok(found) if found == ty => {}
            Ok(found) => {
                let text = expr_text(self.kernel, e);
                self.errors.push(place, format!("`{text}` is {found}, {ty} expected"));
            }
            Err(error) => self.errors.push(place, error),
        }
        let mut parts = Vec::new();
        e.walk(&mut |e| parts.push(e.clone()));
        for part in parts {
            self.part(place, &part);
        }
    }

    /// What must hold of each node of an expression, beside its type.
    fn part(&mut self, place: &str, e: &Expr) {
        match e {
            Expr::Var(v) => {
                let text = expr_text(self.kernel, e);
                self.errors.check(self.scope.contains(v), place, format!("`{text}` is not defined here"));
            }
            Expr::Reg(_, index) => {
                let constant = index.iter().all(|i| self.is_unrolled(i));
                self.errors.check(constant, place, "the index of a register is not constant");
            }
            Expr::Load(a) => self.errors.check(!a.padded, place, "only Stage I has padded accesses"),
            Expr::Gather(..) => self.errors.check(self.stage == Stage::Flat, place, "only Stage III has gathers"),
            _ => {}
        }
        if self.machine && is_math(e) {
            self.errors.push(place, format!("`{}` is not expanded", expr_text(self.kernel, e)));
        }
        if self.stage == Stage::Flat {
            let lanes = |e: &Expr| types::type_in(self.kernel, e, None).map(|t| t.lanes).ok();
            let equal = match e {
                Expr::Binary(_, x, y) | Expr::Compare(_, x, y) => lanes(x) == lanes(y),
                Expr::Select(x, y, z) | Expr::Fma(x, y, z) | Expr::Dot4 { acc: x, a: y, b: z } => {
                    lanes(x) == lanes(y) && lanes(y) == lanes(z)
                }
                _ => true,
            };
            let text = expr_text(self.kernel, e);
            self.errors.check(equal, place, format!("operands of `{text}` have different lanes"));
        }
    }

    fn access(&mut self, place: &str, access: &Access) -> Option<Type> {
        self.errors.check(!access.padded, place, "only Stage I has padded accesses");
        for e in access.index.iter().chain(access.active.as_deref()) {
            let mut parts = Vec::new();
            e.walk(&mut |e| parts.push(e.clone()));
            for part in parts {
                self.part(place, &part);
            }
        }
        match types::type_of_access(self.kernel, access, self.vector) {
            Ok(ty) => Some(ty),
            Err(error) => {
                self.errors.push(place, error);
                None
            }
        }
    }

    /// Whether an expression is constant once unroll loops are copied out.
    fn is_unrolled(&self, e: &Expr) -> bool {
        let mut constant = true;
        e.walk(&mut |e| {
            constant &= match e {
                Expr::Var(v) => self.unrolled.contains(v),
                Expr::Int(..) | Expr::Binary(..) => true,
                _ => false,
            };
        });
        constant
    }
}
