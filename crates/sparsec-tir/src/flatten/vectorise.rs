//! `vector` loops become straight-line code over vectors.

use std::collections::{BTreeMap, BTreeSet};

use super::{LowerError, linear::Linear};
use crate::{
    Access, BinaryOp, CompareOp, Expr, For, Kernel, LoopKind, MAX_LANES, RegisterId, Scalar, Stmt, Type, TypeError,
    Var, VarId,
    print::{access_text, expr_text},
    verify::type_in,
};

/// Replaces every `vector` loop of a kernel whose accesses have one index.
pub(super) fn vectorise(kernel: &Kernel) -> Result<Kernel, LowerError> {
    let mut out = kernel.clone();
    out.body = outside(kernel, &mut out.vars, &kernel.body)?;
    Ok(out)
}

fn outside(kernel: &Kernel, vars: &mut Vec<Var>, body: &[Stmt]) -> Result<Vec<Stmt>, LowerError> {
    let mut out = Vec::with_capacity(body.len());
    for stmt in body {
        match stmt {
            Stmt::For(l) if l.kind == LoopKind::Vector => lower_loop(kernel, vars, l, &mut out)?,
            Stmt::For(l) => out.push(Stmt::For(For { body: outside(kernel, vars, &l.body)?, ..l.clone() })),
            Stmt::If(c, yes, no) => {
                out.push(Stmt::If(c.clone(), outside(kernel, vars, yes)?, outside(kernel, vars, no)?));
            }
            other => out.push(other.clone()),
        }
    }
    Ok(out)
}

fn lower_loop(kernel: &Kernel, vars: &mut Vec<Var>, l: &For, out: &mut Vec<Stmt>) -> Result<(), LowerError> {
    let lanes = l.end.as_int().and_then(|n| u16::try_from(n).ok()).filter(|n| crate::verify::lanes_ok(*n));
    let mut v = Vectoriser {
        kernel,
        vars,
        var: l.var,
        lanes: lanes.unwrap_or(0),
        active: None,
        mask: None,
        renamed: BTreeMap::new(),
        inline: BTreeMap::new(),
        taken: BTreeSet::new(),
    };
    if lanes.is_none() || l.start != Expr::int(0) || l.step != 1 {
        return v.fail(&format!("{} in ..", l.kind.name()), "it runs from 0 to a constant power of two by 1");
    }
    if let Some(active) = &l.active {
        if v.varies(active) {
            return v.fail_expr(active, "the number of active lanes can't vary with the lane");
        }
        let count = match active {
            Expr::Int(..) | Expr::Var(_) | Expr::Param(_) => active.clone(),
            _ => {
                let name = v.new_var("count", Type::INDEX);
                out.push(Stmt::Let(name, active.clone()));
                Expr::Var(name)
            }
        };
        v.active = Some(count);
    }
    let mut body = Vec::new();
    v.block(&l.body, &mut body)?;
    if let (Some(mask), Some(active)) = (v.mask, v.active) {
        let ramp = Expr::Ramp { base: Box::new(Expr::int(0)), step: 1, lanes: v.lanes };
        out.push(Stmt::Let(mask, Expr::compare(CompareOp::Lt, ramp, active)));
    }
    out.append(&mut body);
    Ok(())
}

struct Vectoriser<'k> {
    kernel: &'k Kernel,
    vars: &'k mut Vec<Var>,
    /// The loop variable.
    var: VarId,
    lanes: u16,
    /// Number of active lanes: a constant, variable or param.
    active: Option<Expr>,
    /// `lane < active`, where it is used.
    mask: Option<VarId>,
    /// Varying `let`s, with the vectors that they became.
    renamed: BTreeMap<VarId, VarId>,
    /// Values of varying `let`s that are sums of products of variables and params: for addresses.
    inline: BTreeMap<VarId, Expr>,
    /// Variables that already changed their type.
    taken: BTreeSet<VarId>,
}

impl Vectoriser<'_> {
    fn block(&mut self, body: &[Stmt], out: &mut Vec<Stmt>) -> Result<(), LowerError> {
        body.iter().try_for_each(|s| self.stmt(s, out))
    }

    fn stmt(&mut self, stmt: &Stmt, out: &mut Vec<Stmt>) -> Result<(), LowerError> {
        match stmt {
            Stmt::For(l) => {
                if !matches!(l.kind, LoopKind::Serial | LoopKind::Unroll) {
                    return self.fail(l.kind.name(), "only `for` and `unroll` nest in it");
                }
                if let Some(e) = [&l.start, &l.end].into_iter().find(|e| self.varies(e)) {
                    return self.fail_expr(e, "the bounds of a loop can't vary with the lane");
                }
                let mut body = Vec::new();
                self.block(&l.body, &mut body)?;
                out.push(Stmt::For(For { body, ..l.clone() }));
            }
            Stmt::Let(var, e) if self.varies(e) => {
                let value = self.vector(e)?;
                if affine(e) {
                    self.inline.insert(*var, e.clone());
                }
                let ty = self.type_of(e)?;
                let new = self.vector_var(*var, Type::vector(ty.scalar, self.lanes));
                self.renamed.insert(*var, new);
                out.push(Stmt::Let(new, value));
            }
            Stmt::Set(r, index, e) => {
                if let Some(i) = index.iter().find(|i| self.varies(i)) {
                    return self.fail_expr(i, "the index of a register can't vary with the lane");
                }
                if self.is_lane_register(*r) {
                    out.push(Stmt::Set(*r, index.clone(), self.vector(e)?));
                } else if self.varies(e) {
                    return self.fail_expr(e, "a register of other lanes can't take a value that varies with the lane");
                } else {
                    out.push(stmt.clone());
                }
            }
            Stmt::Store(access, e) => self.store(access, e, out)?,
            Stmt::If(c, yes, no) => {
                if self.varies(c) {
                    return self.fail_expr(c, "a branch can't vary with the lane; use select");
                }
                let (mut then, mut otherwise) = (Vec::new(), Vec::new());
                self.block(yes, &mut then)?;
                self.block(no, &mut otherwise)?;
                out.push(Stmt::If(c.clone(), then, otherwise));
            }
            Stmt::Product(_) | Stmt::SaveTile(..) => return self.fail("product", "it is of a whole warp"),
            Stmt::Barrier
            | Stmt::CopyAsync(..)
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::Spread(..)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_) => {
                return self.fail("a statement of a team", "it is of a whole warp");
            }
            Stmt::Prefetch(access) => self.prefetch(access, out)?,
            Stmt::Let(..) | Stmt::Comment(_) => out.push(stmt.clone()),
        }
        Ok(())
    }

    /// The vector of an expression's values in all lanes; a scalar (or explicit vector) where it doesn't vary.
    fn vector(&mut self, e: &Expr) -> Result<Expr, LowerError> {
        if !self.varies(e) {
            return Ok(e.clone());
        }
        let boxed = |e: Expr| Box::new(e);
        Ok(match e {
            Expr::Var(v) if *v == self.var => self.ramp(Linear::default(), &Linear::constant(1)),
            Expr::Var(v) => Expr::Var(self.renamed.get(v).copied().unwrap_or(*v)),
            Expr::Reg(_, index) => match index.iter().find(|i| self.varies(i)) {
                Some(i) => return self.fail_expr(i, "the index of a register can't vary with the lane"),
                None => e.clone(),
            },
            Expr::Load(access) => self.load(access)?,
            Expr::Binary(op @ (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul), x, y) => {
                if self.type_of(e)? == Type::INDEX {
                    let parts = self.split(e);
                    if parts.rest.terms.is_empty() && parts.stride.as_constant().is_some() {
                        return Ok(self.ramp(parts.base, &parts.stride));
                    }
                }
                Expr::Binary(*op, boxed(self.vector(x)?), boxed(self.vector(y)?))
            }
            Expr::Unary(op, x) => Expr::unary(*op, self.vector(x)?),
            Expr::Binary(op, x, y) => Expr::Binary(*op, boxed(self.vector(x)?), boxed(self.vector(y)?)),
            Expr::Compare(op, x, y) => Expr::compare(*op, self.vector(x)?, self.vector(y)?),
            Expr::Select(c, x, y) => Expr::select(self.vector(c)?, self.vector(x)?, self.vector(y)?),
            Expr::Fma(x, y, z) => Expr::fma(self.vector(x)?, self.vector(y)?, self.vector(z)?),
            Expr::Dot4 { acc, a, b } => Expr::dot4(self.vector(acc)?, self.vector(a)?, self.vector(b)?),
            Expr::Convert(to, x) => self.vector(x)?.convert(*to),
            Expr::Bitcast(to, x) if to.lanes == 1 => {
                Expr::Bitcast(Type::vector(to.scalar, self.lanes), boxed(self.vector(x)?))
            }
            _ => return self.fail_expr(e, "vector operations can't take values that vary with the lane"),
        })
    }

    fn load(&mut self, access: &Access) -> Result<Expr, LowerError> {
        let parts = self.split(self.checked_index(access)?);
        let one = Access { index: vec![parts.base.to_expr()], ..access.clone() };
        if parts.rest.terms.is_empty() && parts.stride.terms.is_empty() {
            return Ok(Expr::Load(one));
        }
        if self.lanes == 1 || (parts.rest.terms.is_empty() && parts.stride.as_constant() == Some(1)) {
            let index = vec![self.index(&parts)?];
            let index = if self.lanes == 1 { index } else { one.index };
            return Ok(Expr::Load(Access { index, lanes: self.lanes, active: self.active_box(), ..access.clone() }));
        }
        if let Some(wide) = self.strided(access, &parts) {
            return Ok(wide);
        }
        let index = self.index(&parts)?;
        let Some(mask) = self.mask() else {
            return Ok(Expr::Gather(access.buffer, Box::new(index)));
        };
        let index = Expr::select(mask.clone(), index, Expr::int(0));
        let elem = self.kernel.buffer(access.buffer).elem;
        let zero = if elem.is_float() { Expr::Float(0.0, elem) } else { Expr::Int(0, elem) };
        Ok(Expr::select(mask, Expr::Gather(access.buffer, Box::new(index)), zero))
    }

    /// A load of every second to fourth element: one load of all that lies between, of which lanes are then picked.
    /// Only what lies between the first and the last wanted element is read.
    fn strided(&self, access: &Access, parts: &Parts) -> Option<Expr> {
        let stride = parts.stride.as_constant().filter(|s| (2..=4).contains(s) && parts.rest.terms.is_empty())?;
        let picked: Vec<u8> =
            (0..i64::from(self.lanes)).map(|l| u8::try_from(l * stride)).collect::<Result<_, _>>().ok()?;
        let lanes = self.lanes.checked_mul(stride as u16)?.checked_next_power_of_two().filter(|&l| l <= MAX_LANES)?;
        // A count above the lanes means all of them, and must not reach behind the last wanted element.
        let all = Expr::int(self.lanes.into());
        let wanted = self.active.clone().map_or(all.clone(), |count| count.min(all));
        let span = (wanted - Expr::int(1)) * Expr::int(stride) + Expr::int(1);
        let index = vec![parts.base.to_expr()];
        let wide = Access { index, lanes, active: Some(Box::new(span)), ..access.clone() };
        let lanes_of_wide = picked.iter().copied().take(self.lanes.into()).collect();
        Some(Expr::Shuffle(Box::new(Expr::Load(wide)), lanes_of_wide))
    }

    fn store(&mut self, access: &Access, e: &Expr, out: &mut Vec<Stmt>) -> Result<(), LowerError> {
        if !self.varies(e) && !access.index.iter().any(|i| self.varies(i)) {
            out.push(Stmt::Store(access.clone(), e.clone()));
            return Ok(());
        }
        let parts = self.split(self.checked_index(access)?);
        let value = self.vector(e)?;
        let contiguous = parts.rest.terms.is_empty() && parts.stride.as_constant() == Some(1);
        if contiguous || self.lanes == 1 {
            let index = vec![if contiguous { parts.base.to_expr() } else { self.index(&parts)? }];
            let place = Access { index, lanes: self.lanes, active: self.active_box(), ..access.clone() };
            out.push(Stmt::Store(place, value));
            return Ok(());
        }
        let elem = self.kernel.buffer(access.buffer).elem;
        let value = if self.varies(e) {
            let var = self.new_var("value", Type::vector(elem, self.lanes));
            out.push(Stmt::Let(var, value));
            Some(var)
        } else {
            None
        };
        let indices = self.lane_indices(&parts, out)?;
        for (lane, index) in (0..).zip(indices) {
            let lane_value = value.map_or_else(|| e.clone(), |v| Expr::Extract(Box::new(Expr::Var(v)), lane));
            let store = Stmt::Store(Access { index: vec![index], ..access.clone() }, lane_value);
            out.push(match &self.active {
                None => store,
                Some(active) => {
                    let reached = Expr::compare(CompareOp::Lt, Expr::int(lane.into()), active.clone());
                    Stmt::If(reached, vec![store], Vec::new())
                }
            });
        }
        Ok(())
    }

    fn prefetch(&mut self, access: &Access, out: &mut Vec<Stmt>) -> Result<(), LowerError> {
        if !access.index.iter().any(|i| self.varies(i)) {
            out.push(Stmt::Prefetch(access.clone()));
            return Ok(());
        }
        let parts = self.split(self.checked_index(access)?);
        if parts.rest.terms.is_empty() && parts.stride.as_constant() == Some(1) {
            let index = vec![parts.base.to_expr()];
            out.push(Stmt::Prefetch(Access { index, lanes: self.lanes, ..access.clone() }));
            return Ok(());
        }
        for index in self.lane_indices(&parts, out)? {
            out.push(Stmt::Prefetch(Access { index: vec![index], ..access.clone() }));
        }
        Ok(())
    }

    /// The scalar index of each lane.
    fn lane_indices(&mut self, parts: &Parts, out: &mut Vec<Stmt>) -> Result<Vec<Expr>, LowerError> {
        if parts.rest.terms.is_empty() {
            let lane = |l: u16| parts.base.clone().plus(&parts.stride, i64::from(l)).to_expr();
            return Ok((0..self.lanes).map(lane).collect());
        }
        let value = self.index(parts)?;
        let var = self.new_var("index", Type::vector(Scalar::I64, self.lanes));
        out.push(Stmt::Let(var, value));
        let lanes = (0..self.lanes).filter_map(|l| u8::try_from(l).ok());
        Ok(lanes.map(|l| Expr::Extract(Box::new(Expr::Var(var)), l)).collect())
    }

    /// The one index of an access that varies.
    fn checked_index<'a>(&self, access: &'a Access) -> Result<&'a Expr, LowerError> {
        match (access.index.as_slice(), access.lanes, &access.active) {
            ([index], 1, None) => Ok(index),
            _ => self.fail(&access_text(self.kernel, access), "several lanes at an index that varies with the lane"),
        }
    }

    /// The vector of indices `base + stride * lane + rest`.
    fn index(&mut self, parts: &Parts) -> Result<Expr, LowerError> {
        if parts.rest.terms.is_empty() {
            return Ok(self.ramp(parts.base.clone(), &parts.stride));
        }
        let rest = self.vector(&parts.rest.to_expr())?;
        if parts.stride.terms.is_empty() {
            return Ok(Expr::binary(BinaryOp::Add, rest, parts.base.to_expr()));
        }
        let ramp = self.ramp(parts.base.clone(), &parts.stride);
        Ok(Expr::binary(BinaryOp::Add, rest, ramp))
    }

    fn ramp(&self, base: Linear, stride: &Linear) -> Expr {
        let lanes = self.lanes;
        match stride.as_constant() {
            _ if lanes == 1 => base.to_expr(),
            Some(step) => Expr::Ramp { base: Box::new(base.to_expr()), step, lanes },
            None => {
                let iota = Expr::Ramp { base: Box::new(Expr::int(0)), step: 1, lanes };
                base.to_expr() + iota * stride.to_expr()
            }
        }
    }

    /// Splits an `i64` expression by how it varies with the loop variable.
    fn split(&self, e: &Expr) -> Parts {
        let mut parts = Parts::default();
        for (atoms, c) in Linear::from_expr(e, &|v| self.inline.get(&v).cloned()).terms {
            let is_var = |a: &Expr| *a == Expr::Var(self.var);
            let others: Vec<Expr> = atoms.iter().filter(|a| !is_var(a)).cloned().collect();
            let uses = atoms.len() - others.len();
            let (part, atoms) = match (uses, others.iter().any(|a| self.varies(a))) {
                (0, false) => (&mut parts.base, atoms),
                (1, false) => (&mut parts.stride, others),
                _ => (&mut parts.rest, atoms),
            };
            part.terms.push((atoms, c));
        }
        parts
    }

    fn varies(&self, e: &Expr) -> bool {
        let mut varies = false;
        e.walk(&mut |e| {
            varies |= match e {
                Expr::Var(v) => *v == self.var || self.renamed.contains_key(v),
                Expr::Reg(r, _) => self.is_lane_register(*r),
                _ => false,
            };
        });
        varies
    }

    fn is_lane_register(&self, r: RegisterId) -> bool {
        self.kernel.registers.get(r.index()).is_some_and(|r| r.ty.lanes == self.lanes)
    }

    fn mask(&mut self) -> Option<Expr> {
        self.active.as_ref()?;
        let mask = match self.mask {
            Some(mask) => mask,
            None => self.new_var("mask", Type::vector(Scalar::Bool, self.lanes)),
        };
        self.mask = Some(mask);
        Some(Expr::Var(mask))
    }

    fn active_box(&self) -> Option<Box<Expr>> {
        self.active.clone().map(Box::new)
    }

    fn type_of(&self, e: &Expr) -> Result<Type, LowerError> {
        let kernel = self.kernel.name.clone();
        type_in(self.kernel, e, Some(self.lanes)).map_err(|error: TypeError| LowerError::Type { kernel, error })
    }

    /// The variable itself with its new type, or another one where it is defined in several places.
    fn vector_var(&mut self, var: VarId, ty: Type) -> VarId {
        let mut definitions = 0;
        count_definitions(&self.kernel.body, var, &mut definitions);
        match self.vars.get_mut(var.index()) {
            Some(v) if definitions == 1 && self.taken.insert(var) => {
                v.ty = ty;
                var
            }
            Some(v) => {
                let name = v.name.clone();
                self.new_var(&name, ty)
            }
            None => var,
        }
    }

    fn new_var(&mut self, name: &str, ty: Type) -> VarId {
        let k = self.kernel;
        let taken = |name: &str, vars: &[Var]| {
            vars.iter().any(|v| v.name == name)
                || k.params.iter().any(|p| p == name)
                || k.buffers.iter().any(|b| b.name == name)
                || k.registers.iter().any(|r| r.name == name)
        };
        let mut candidate = name.to_owned();
        let mut i = 1;
        while taken(&candidate, self.vars) {
            candidate = format!("{name}{i}");
            i += 1;
        }
        self.vars.push(Var { name: candidate, ty });
        VarId(self.vars.len() as u32 - 1)
    }

    fn fail<T>(&self, text: &str, reason: &'static str) -> Result<T, LowerError> {
        Err(LowerError::Vector { kernel: self.kernel.name.clone(), text: text.to_owned(), reason })
    }

    fn fail_expr<T>(&self, e: &Expr, reason: &'static str) -> Result<T, LowerError> {
        self.fail(&expr_text(self.kernel, e), reason)
    }
}

/// An index as `base + stride * lane + rest`: `base` and `stride` don't vary, `rest` does in another way.
#[derive(Default)]
struct Parts {
    base: Linear,
    stride: Linear,
    rest: Linear,
}

/// Whether a value depends on nothing but variables and params, in sums and products.
fn affine(e: &Expr) -> bool {
    match e {
        Expr::Int(_, Scalar::I64) | Expr::Var(_) | Expr::Param(_) => true,
        Expr::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul, x, y) => affine(x) && affine(y),
        _ => false,
    }
}

fn count_definitions(body: &[Stmt], var: VarId, count: &mut usize) {
    for stmt in body {
        match stmt {
            Stmt::For(l) => count_definitions(&l.body, var, count),
            Stmt::If(_, yes, no) => {
                count_definitions(yes, var, count);
                count_definitions(no, var, count);
            }
            Stmt::Let(v, _) if *v == var => *count += 1,
            _ => {}
        }
    }
}
