//! Stages II and III.

use std::collections::BTreeSet;

use super::{Errors, VerifyErrors, types};
use crate::{
    Access, BufferKind, Expr, For, Kernel, Layout, LoopKind, Precision, Product, RegisterId, Scalar, Stage, Stmt,
    TILE_SUMS, Tile, Type, VarId,
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
        sums: BTreeSet::new(),
    };
    sums_of_products(&kernel.body, &mut v.sums);
    if kernel.stage != stage {
        v.errors.push(kernel.name.clone(), format!("is in stage {}, {stage} expected", kernel.stage));
        return v.errors;
    }
    v.declarations();
    v.block(&kernel.body, true);
    super::team::verify(kernel, &mut v.errors);
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
    /// Registers that hold the sums of matrix products.
    sums: BTreeSet<RegisterId>,
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
            self.errors.check(b.kind.is_given() || constant, &b.name, "is scratch without constant extents");
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
                    self.register(&place, *r, index, ty);
                    self.assigned(&place, e, ty);
                    let constant = match e {
                        Expr::Splat(x, _) => matches!(**x, Expr::Float(..)),
                        e => matches!(e, Expr::Float(..)),
                    };
                    let allowed = constant || !self.sums.contains(r);
                    self.errors.check(allowed, &place, "sums of a matrix product are set to a constant only");
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
            Stmt::Product(p) => self.product(&place, p),
            Stmt::SaveTile(to, r, index) => {
                let input = k.buffers.get(to.at.buffer.index()).is_some_and(|b| b.kind == BufferKind::Input);
                self.errors.check(!input, &place, "stores to an input");
                self.tile(&place, to, Scalar::F32);
                self.errors.check(to.layout == Layout::Elements, &place, "only left factors are blocked");
                self.sums(&place, *r, index);
            }
            Stmt::CopyAsync(to, from) => self.copy(&place, to, from),
            Stmt::Spread(to, e, distance) => self.spread(&place, to, e, *distance),
            Stmt::Barrier
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_) => {}
            Stmt::Prefetch(access) => {
                self.access(&place, access);
            }
            Stmt::Comment(text) => self.errors.check(!text.contains(['\n', '\r']), &place, "has a line break"),
        }
    }

    /// 512 bytes from an input to a team buffer.
    fn copy(&mut self, place: &str, to: &Access, from: &Access) {
        let kind = |a: &Access| self.kernel.buffers.get(a.buffer.index()).map(|b| b.kind);
        let ends = kind(to) == Some(BufferKind::Team) && kind(from) == Some(BufferKind::Input);
        self.errors.check(ends, place, "is not from an input to a team buffer");
        self.errors.check(to.active.is_none(), place, "the source alone has an active count");
        self.errors.check(self.vector.is_none(), place, "a copy stands in a vector loop");
        if let Some(active) = &from.active {
            self.typed(place, active, Type::INDEX);
        }
        let (to, from) = (self.access(place, to), self.access(place, from));
        if let (Some(to), Some(from)) = (to, from) {
            let whole = to == from && usize::from(from.lanes) * from.scalar.size() == 512;
            self.errors.check(whole, place, "does not copy 512 bytes of one type");
        }
    }

    /// A register that is set.
    fn register(&mut self, place: &str, r: RegisterId, index: &[Expr], ty: Type) {
        let sums = self.sums.remove(&r);
        self.typed(place, &Expr::Reg(r, index.to_vec()), ty);
        if sums {
            self.sums.insert(r);
        }
    }

    fn product(&mut self, place: &str, p: &Product) {
        self.sums(place, p.sums.0, &p.sums.1);
        self.tile(place, &p.left, p.precision.storage());
        self.tile(place, &p.right, p.precision.storage());
        match p.group {
            Some(tiles) => self.group(place, p, tiles),
            None => {
                self.errors.check(p.right.layout == Layout::Elements, place, "only left factors are blocked");
                self.errors.check(p.left.layout != Layout::Columns, place, "a left factor in blocks of columns");
            }
        }
        if p.group.is_none() && p.left.layout == Layout::Blocks {
            let block = 8 * 16 / p.precision.storage().size() as i64;
            let whole = p.left.strides.iter().all(|s| s.as_int().is_some_and(|s| s % block == 0));
            self.errors.check(whole, place, "blocks lie at multiples of their size");
        }
        if let Some(kept) = &p.kept {
            self.errors.check(p.precision != Precision::TF32, place, "only factors of 16 bits are 2:4 sparse");
            self.element(place, kept, Scalar::U32);
        }
        if let Some(masked) = &p.masked {
            let plain = p.precision != Precision::TF32
                && p.kept.is_none()
                && p.group.is_none()
                && p.left.layout == Layout::Elements;
            self.errors.check(plain, place, "only plain factors of 16 bits have a mask");
            let packed = p.left.strides.iter().map(Expr::as_int).eq([Some(0), Some(1)]);
            self.errors.check(packed, place, "what a mask selects lies by (0, 1)");
            self.element(place, masked, Scalar::U32);
        }
    }

    /// What is asked of a group's product beyond that.
    fn group(&mut self, place: &str, p: &Product, tiles: u32) {
        let team = |t: &Tile| self.kernel.buffers.get(t.at.buffer.index()).is_some_and(|b| b.kind == BufferKind::Team);
        let blocked = p.left.layout == Layout::Blocks && p.right.layout != Layout::Elements;
        let piece = 16 / p.precision.storage().size() as i64;
        let strides = || p.left.strides.iter().chain(&p.right.strides);
        let pieces = strides().all(|s| s.as_int().is_some_and(|s| s > 0 && s % piece == 0));
        let extent = self.kernel.registers.get(p.sums.0.index()).and_then(|r| r.dims.last());
        let first = p.sums.1.last().and_then(Expr::as_int).and_then(|i| u32::try_from(i).ok());
        let fits = extent.zip(first).is_some_and(|(extent, first)| first.saturating_add(tiles) <= *extent);
        let checks = [
            (team(&p.left) && team(&p.right), "a group's factors lie in team buffers"),
            (blocked, "a group's factors are blocked"),
            (pieces, "blocks of a group's factors lie at constant multiples of 16 bytes"),
            (p.precision != Precision::TF32, "a group's factors have 16 bits"),
            ((1..=32).contains(&tiles), "a group's right factor has 8 to 256 columns"),
            (fits, "there are no such sums"),
        ];
        checks.into_iter().for_each(|(holds, message)| self.errors.check(holds, place, message));
    }

    /// A vector in pieces of 16 bytes, to a team buffer.
    fn spread(&mut self, place: &str, to: &Access, e: &Expr, distance: i64) {
        let team = self.kernel.buffers.get(to.buffer.index()).is_some_and(|b| b.kind == BufferKind::Team);
        self.errors.check(team, place, "is not to a team buffer");
        self.errors.check(self.vector.is_none(), place, "stands in a vector loop");
        if let Some(ty) = self.access(place, to) {
            let piece = 16 / ty.scalar.size() as i64;
            let whole = i64::from(ty.lanes) % piece == 0 && to.active.is_none();
            self.errors.check(whole, place, "does not write whole pieces of 16 bytes");
            self.errors.check(distance > 0 && distance % piece == 0, place, "the distance is no multiple of 16 bytes");
            self.assigned(place, e, ty);
        }
    }

    /// The registers that sums are in.
    fn sums(&mut self, place: &str, r: RegisterId, index: &[Expr]) {
        match types::type_in(self.kernel, &Expr::Reg(r, index.to_vec()), None) {
            Ok(ty) => self.errors.check(ty == TILE_SUMS, place, format!("sums are {TILE_SUMS}, not {ty}")),
            Err(error) => self.errors.push(place, error),
        }
        self.errors.check(self.vector.is_none(), place, "a matrix product stands in a vector loop");
        for e in index {
            let constant = self.is_unrolled(e);
            self.errors.check(constant, place, "the index of a register is not constant");
            e.walk(&mut |e| self.part(place, e));
        }
    }

    fn tile(&mut self, place: &str, tile: &Tile, elem: Scalar) {
        self.element(place, &tile.at, elem);
        for stride in &tile.strides {
            self.typed(place, stride, Type::INDEX);
        }
    }

    /// One element of a buffer of this type.
    fn element(&mut self, place: &str, access: &Access, elem: Scalar) {
        let one = access.lanes == 1 && access.active.is_none();
        self.errors.check(one, place, "a matrix begins at one element");
        if let Some(ty) = self.access(place, access) {
            self.errors.check(ty.scalar == elem, place, format!("a matrix of {}, {elem} expected", ty.scalar));
        }
    }

    fn for_loop(&mut self, place: &str, l: &For, alone_on_top: bool) {
        self.typed(place, &l.start, Type::INDEX);
        self.typed(place, &l.end, Type::INDEX);
        let ty = self.kernel.vars.get(l.var.index()).map(|v| v.ty);
        self.errors.check(ty == Some(Type::INDEX), place, "the loop variable is no i64");
        let steps = l.kind == LoopKind::Serial || l.until.is_some();
        self.errors.check(l.step == 1 || (steps && l.step > 1), place, "the step is not allowed");
        if let Some(until) = l.until {
            self.errors.check(l.kind == LoopKind::Parallel, place, "only iterations of parallel loops form groups");
            let ty = self.kernel.vars.get(until.index()).map(|v| v.ty);
            self.errors.check(ty == Some(Type::INDEX), place, "the end of a group is no i64");
        }
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
            LoopKind::Warps => {
                let count = l.end.as_int().is_some_and(|n| (1..=32).contains(&n)) && l.start == Expr::int(0);
                self.errors.check(count, place, "does not run from 0 to a constant up to 32");
            }
            LoopKind::Serial => {}
        }
        let outer = self.vector;
        let (defined, unrolled) = (self.scope.len(), self.unrolled.len());
        if l.kind == LoopKind::Vector {
            self.vector = l.end.as_int().and_then(|n| u16::try_from(n).ok()).or(outer);
        }
        self.define(place, l.var);
        if let Some(until) = l.until {
            self.define(place, until);
        }
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
            Expr::Reg(r, index) => {
                let constant = index.iter().all(|i| self.is_unrolled(i));
                self.errors.check(constant, place, "the index of a register is not constant");
                self.errors.check(!self.sums.contains(r), place, "sums of a matrix product are read");
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

/// The registers that matrix products add to.
fn sums_of_products(body: &[Stmt], found: &mut BTreeSet<RegisterId>) {
    for stmt in body {
        match stmt {
            Stmt::For(l) => sums_of_products(&l.body, found),
            Stmt::If(_, yes, no) => {
                sums_of_products(yes, found);
                sums_of_products(no, found);
            }
            Stmt::Product(p) => {
                found.insert(p.sums.0);
            }
            Stmt::SaveTile(_, r, _) => {
                found.insert(*r);
            }
            _ => {}
        }
    }
}
