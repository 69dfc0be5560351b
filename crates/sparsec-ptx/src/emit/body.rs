//! Statements and expressions of a kernel.
//!
//! `unroll` loops are copied out here, an element of a register array becomes one register for each 32 lanes, and serial
//! loops are tested at the bottom, behind one check of the range. Conditions are scalars and so the same in all lanes:
//! no branch divides a warp.

use std::collections::BTreeMap;

use sparsec_tir::{Expr, For, Kernel, LoopKind, RegisterId, Scalar, Stmt, Type as IrType, VarId};

use super::code::Code;
use super::disjoint::iterations_are_disjoint;
use super::error::{Emit, invalid};
use super::hazard::Touched;
use super::integer::fold;
use super::memory::Place;
use super::team::Loaded;
use super::value::{Value, class_of, in_type, parts_of};
use crate::{BinaryOp, CompareOp, Guard, Hopper, Instruction, Operand, Reg, RegClass, Type};

pub(super) struct Body<'k> {
    pub(super) kernel: &'k Kernel,
    pub(super) code: Code,
    /// One per buffer.
    pub(super) places: Vec<Place>,
    /// One per param.
    pub(super) params: Vec<Value>,
    vars: Vec<Option<Value>>,
    registers: Vec<Vec<Vec<Reg>>>,
    touched: Touched,
    /// The number of the warp in its team.
    pub(super) team: Option<Value>,
    /// Fragments in registers that shared memory still has.
    pub(super) loaded: Loaded,
    /// Whether groups of warps multiply together, so that what is stored has to become visible to their products.
    pub(super) groups: bool,
    /// Whether nothing touched registers since the last `wgmma.fence`.
    pub(super) fenced: bool,
    /// What named indices are multiples of.
    pub(super) divisors: BTreeMap<VarId, i64>,
}

impl<'k> Body<'k> {
    pub(super) fn new(
        kernel: &'k Kernel,
        mut code: Code,
        places: Vec<Place>,
        params: Vec<Value>,
        team: Option<Value>,
    ) -> Body<'k> {
        let mut registers = Vec::new();
        for r in &kernel.registers {
            let count: u32 = r.dims.iter().product();
            let class = class_of(r.ty.scalar);
            let element = |code: &mut Code| (0..parts_of(r.ty.lanes)).map(|_| code.mutable(class)).collect();
            registers.push((0..count).map(|_| element(&mut code)).collect());
        }
        let vars = vec![None; kernel.vars.len()];
        Body {
            kernel,
            code,
            places,
            params,
            vars,
            registers,
            touched: Touched::default(),
            team,
            loaded: Loaded::default(),
            groups: kernel.has_group_products(),
            fenced: false,
            divisors: BTreeMap::new(),
        }
    }

    pub(super) fn block(&mut self, statements: &[Stmt]) -> Emit<()> {
        statements.iter().try_for_each(|s| self.statement(s))
    }

    fn scoped(&mut self, statements: &[Stmt]) -> Emit<()> {
        self.code.enter();
        self.loaded.clear();
        self.fenced = false;
        let result = self.block(statements);
        self.fenced = false;
        self.loaded.clear();
        self.code.leave();
        result
    }

    fn statement(&mut self, statement: &Stmt) -> Emit<()> {
        if !matches!(statement, Stmt::Product(_) | Stmt::Let(..) | Stmt::Comment(_) | Stmt::For(_)) {
            self.fenced = false;
        }
        match statement {
            Stmt::Comment(text) => {
                self.code.comment(text.clone());
                Ok(())
            }
            Stmt::Product(p) => match p.group {
                Some(tiles) => self.group_product(p, tiles),
                None => self.product(p),
            },
            Stmt::Spread(to, e, distance) => {
                self.before_reading(e);
                let value = self.expr(e)?;
                self.spread(to, &value, *distance)
            }
            Stmt::CommitProducts => {
                self.code.push(Instruction::Hopper(Hopper::GroupCommit));
                Ok(())
            }
            Stmt::AwaitProducts(pending) => {
                self.code.push(Instruction::Hopper(Hopper::GroupWait { pending: *pending }));
                Ok(())
            }
            Stmt::SaveTile(to, r, index) => self.save_tile(to, *r, index),
            Stmt::Barrier => {
                self.barrier();
                Ok(())
            }
            Stmt::CopyAsync(to, from) => self.copy(to, from),
            Stmt::CommitCopies => {
                self.code.push(Instruction::CpAsyncCommit);
                Ok(())
            }
            Stmt::AwaitCopies(pending) => {
                self.loaded.clear();
                self.code.push(Instruction::CpAsyncWait { pending: *pending });
                Ok(())
            }
            // The caches of a GPU are too small for guesses about what comes next.
            Stmt::Prefetch(_) => Ok(()),
            Stmt::For(l) => self.for_loop(l),
            Stmt::Let(var, e) => {
                self.before_reading(e);
                let divisor = self.divisor(e);
                let value = self.expr(e)?;
                let value = self.keep(value);
                self.bind(*var, value)?;
                self.divisors.insert(*var, divisor);
                Ok(())
            }
            Stmt::Set(register, index, e) => {
                self.before_reading(e);
                let (slots, ty) = self.register(*register, index)?;
                // What this statement computes is its own; what it names may be used again.
                let since = self.code.len();
                let value = self.expr(e)?;
                if value.ty.scalar != ty.scalar {
                    return invalid(format!("a register of {ty} is set to {}", value.ty));
                }
                let value = self.code.widen(&value);
                let mut value = self.code.splat(&value, ty.lanes)?;
                // Parts that are registers of this very element, at another place, are read before they are written.
                for (i, part) in value.parts.iter_mut().enumerate() {
                    if let Operand::Reg(r) = *part
                        && slots.iter().position(|s| *s == r).is_some_and(|at| at < i)
                    {
                        let copy = self.code.reg(r.class);
                        self.code.assign(copy, *part);
                        *part = copy.into();
                    }
                }
                if let ([slot], [part]) = (slots.as_slice(), value.parts.as_slice()) {
                    let part = self.in_class(*slot, *part);
                    self.code.assign_last(*slot, part, since);
                } else {
                    for (slot, part) in slots.into_iter().zip(value.parts) {
                        let part = self.in_class(slot, part);
                        self.code.assign(slot, part);
                    }
                }
                Ok(())
            }
            Stmt::Store(access, e) => {
                self.before_reading(e);
                access.index.iter().chain(access.active.as_deref()).for_each(|i| self.before_reading(i));
                let value = self.expr(e)?;
                self.store(access, &value)
            }
            Stmt::If(condition, then, otherwise) => {
                self.before_reading(condition);
                let condition = self.expr(condition)?;
                if condition.ty != IrType::scalar(Scalar::Bool) {
                    return invalid(format!("a branch on {}", condition.ty));
                }
                match condition.as_const() {
                    Some(0) => self.scoped(otherwise),
                    Some(_) => self.scoped(then),
                    None => self.branch(condition.first(), then, otherwise),
                }
            }
        }
    }

    /// `mov` to a predicate takes no number.
    fn in_class(&mut self, slot: Reg, part: Operand) -> Operand {
        match part {
            Operand::Int(_) if slot.class == RegClass::Pred => Operand::Reg(self.code.predicate(part)),
            other => other,
        }
    }

    /// The parts in registers that nothing changes.
    fn keep(&mut self, mut value: Value) -> Value {
        for part in &mut value.parts {
            if let Operand::Reg(r) = *part
                && self.code.is_mutable(*part)
            {
                let copy = self.code.reg(r.class);
                self.code.assign(copy, *part);
                *part = copy.into();
            }
        }
        value
    }

    fn branch(&mut self, condition: Operand, then: &[Stmt], otherwise: &[Stmt]) -> Emit<()> {
        let condition = self.code.predicate(condition);
        let (no, after) = (self.code.new_label(), self.code.new_label());
        let before = self.touched.clone();
        self.code.jump(Some(Guard::unless(condition)), no);
        self.scoped(then)?;
        let mut touched = std::mem::replace(&mut self.touched, before);
        if !otherwise.is_empty() {
            self.code.jump(None, after);
        }
        self.code.label(no);
        self.scoped(otherwise)?;
        if !otherwise.is_empty() {
            self.code.label(after);
        }
        touched.add(&self.touched);
        self.touched = touched;
        Ok(())
    }

    fn for_loop(&mut self, l: &For) -> Emit<()> {
        if l.kind == LoopKind::Warps {
            let Some(warp) = self.team.clone() else { return invalid("a team outside of the parallel loop") };
            self.bind(l.var, warp)?;
            return self.block(&l.body);
        }
        self.before_reading(&l.start);
        self.before_reading(&l.end);
        let (start, end) = (self.expr(&l.start)?, self.expr(&l.end)?);
        match l.kind {
            LoopKind::Vector => invalid("a vector loop in flat code"),
            LoopKind::Parallel | LoopKind::Warps => invalid("a parallel loop within other statements"),
            LoopKind::Serial => {
                let end = self.keep(end);
                self.serial_loop(l, &start, &end)
            }
            LoopKind::Unroll => {
                let (Some(start), Some(end)) = (start.as_const(), end.as_const()) else {
                    return invalid(format!("bounds of the unrolled loop `{}` are not constant", self.var_name(l.var)));
                };
                let mut i = start;
                while i < end {
                    self.bind(l.var, Value::index(i))?;
                    self.block(&l.body)?;
                    i += l.step.max(1);
                }
                Ok(())
            }
        }
    }

    pub(super) fn serial_loop(&mut self, l: &For, start: &Value, end: &Value) -> Emit<()> {
        if l.step <= 0 {
            return invalid(format!("the loop `{}` does not count up", self.var_name(l.var)));
        }
        let (from, to) = (start.as_const(), end.as_const());
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Ok(());
        }
        let body = Touched::of(self.kernel, &l.body);
        if self.touched.conflicts(&body) {
            self.wait();
        }
        let outer = self.touched.clone();
        if body.reads_conflict(&body) || !iterations_are_disjoint(l) {
            self.touched.add(&body);
        }

        // The variable, and one step beyond, fit in 32 bits.
        let range = start.range.zip(end.range).map(|(s, e)| (s.0, e.1 - 1));
        let range = range.filter(|r| i32::try_from(r.1 + l.step).is_ok() && r.0 <= r.1);
        let (ty, class) = if range.is_some() { (Type::S32, RegClass::B32) } else { (Type::S64, RegClass::B64) };
        let (start, end) = match range {
            Some(_) => (start.first(), end.first()),
            None => (self.code.widen(start).first(), self.code.widen(end).first()),
        };
        let name = self.var_name(l.var);
        let (top, after) = (self.code.new_label(), self.code.new_label());
        if from.is_none() || to.is_none() {
            let first = Operand::Reg(self.code.in_register(class, start));
            let empty = self.code.setp(CompareOp::Ge, ty, first, end);
            let empty = self.code.predicate(empty);
            self.code.jump(Some(Guard::when(empty)), after);
        }
        let var = self.code.reg(class);
        self.code.push(Instruction::Mov { ty: super::code::mov_type(class), dst: var, src: start });
        self.code.label(top);
        self.code.comment(format!("for {name}"));
        let value = match range {
            Some(range) => Value::narrow(var.into(), range),
            None => Value::scalar(Scalar::I64, var.into()),
        };
        self.bind(l.var, value)?;
        self.scoped(&l.body)?;
        let step = Instruction::Binary { op: BinaryOp::Add, ty, dst: var, a: var.into(), b: Operand::Int(l.step) };
        self.code.push(step);
        let again = self.code.reg(RegClass::Pred);
        self.code.push(Instruction::Setp { op: CompareOp::Lt, ty, dst: again, a: var.into(), b: end });
        self.code.jump(Some(Guard::when(again)), top);
        self.code.label(after);
        self.touched.add(&outer);
        self.touched.add(&body);
        Ok(())
    }

    /// Lets the lanes wait for each other, if what comes next conflicts with what was done.
    pub(super) fn wait_for(&mut self, next: &Touched) {
        if self.touched.conflicts(next) {
            self.wait();
        }
        self.touched.add(next);
    }

    pub(super) fn before_reading(&mut self, e: &Expr) {
        let next = Touched::of_expr(self.kernel, e);
        self.wait_for(&next);
    }

    fn wait(&mut self) {
        self.code.push(Instruction::BarWarpSync { mask: super::code::ALL_LANES });
        self.waited();
    }

    /// All lanes have waited for each other.
    pub(super) fn waited(&mut self) {
        self.touched = Touched::default();
        self.loaded.clear();
    }

    pub(super) fn var_name(&self, var: VarId) -> String {
        self.kernel.vars.get(var.index()).map_or_else(|| format!("v{}", var.0), |v| v.name.clone())
    }

    pub(super) fn bind(&mut self, var: VarId, value: Value) -> Emit<()> {
        self.divisors.remove(&var);
        match self.vars.get_mut(var.index()) {
            Some(slot) => {
                *slot = Some(value);
                Ok(())
            }
            None => invalid(format!("variable {} does not exist", var.0)),
        }
    }

    /// The number that an `i64` expression is, where that takes no code.
    pub(super) fn constant(&self, e: &Expr) -> Option<i64> {
        match e {
            Expr::Int(v, Scalar::I64) => Some(*v),
            Expr::Var(v) => self.vars.get(v.index())?.as_ref().filter(|v| v.ty == IrType::INDEX)?.as_const(),
            Expr::Binary(op, x, y) => fold(*op, self.constant(x)?, self.constant(y)?),
            _ => None,
        }
    }

    /// The registers of an element, whose index must have become a constant.
    pub(super) fn register(&mut self, register: RegisterId, index: &[Expr]) -> Emit<(Vec<Reg>, IrType)> {
        let Some(declared) = self.kernel.registers.get(register.index()) else {
            return invalid(format!("register {} does not exist", register.0));
        };
        if index.len() != declared.dims.len() {
            return invalid(format!("register `{}` takes {} indices", declared.name, declared.dims.len()));
        }
        let mut flat = 0;
        for (e, extent) in index.iter().zip(&declared.dims) {
            match self.constant(e) {
                Some(i) if (0..i64::from(*extent)).contains(&i) => flat = flat * *extent as usize + i as usize,
                Some(i) => return invalid(format!("register `{}` has no element {i}", declared.name)),
                None => return invalid(format!("an index of register `{}` is not constant", declared.name)),
            }
        }
        match self.registers.get(register.index()).and_then(|r| r.get(flat)) {
            Some(slots) => Ok((slots.clone(), declared.ty)),
            None => invalid(format!("register `{}` has no element {flat}", declared.name)),
        }
    }

    pub(super) fn expr(&mut self, e: &Expr) -> Emit<Value> {
        match e {
            Expr::Int(v, Scalar::I64) => Ok(Value::index(*v)),
            Expr::Int(v, scalar) if !scalar.is_float() => {
                Ok(Value::scalar(*scalar, Operand::Int(in_type(*v, *scalar))))
            }
            Expr::Int(_, scalar) => invalid(format!("an integer constant of type {scalar}")),
            Expr::Float(v, scalar) => float_constant(*v, *scalar),
            Expr::Var(v) => match self.vars.get(v.index()) {
                Some(Some(value)) => Ok(value.clone()),
                _ => invalid(format!("variable `{}` is used before it has a value", self.var_name(*v))),
            },
            Expr::Param(p) => match self.params.get(p.index()) {
                Some(value) => Ok(value.clone()),
                None => invalid(format!("parameter {} does not exist", p.0)),
            },
            Expr::Reg(r, index) => {
                let (slots, ty) = self.register(*r, index)?;
                Ok(Value::new(ty, slots.into_iter().map(Operand::Reg).collect()))
            }
            Expr::Load(access) => self.load(access),
            Expr::Gather(buffer, indices) => {
                let indices = self.expr(indices)?;
                self.gather(*buffer, &indices)
            }
            Expr::Unary(op, x) => {
                let x = self.expr(x)?;
                self.code.ir_unary(*op, &x)
            }
            Expr::Binary(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                self.code.ir_binary(*op, &x, &y)
            }
            Expr::Compare(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                self.code.ir_compare(*op, &x, &y)
            }
            Expr::Select(c, x, y) => {
                let (c, x, y) = (self.expr(c)?, self.expr(x)?, self.expr(y)?);
                self.code.ir_select(&c, &x, &y)
            }
            Expr::Fma(a, b, c) => {
                let (a, b, c) = (self.expr(a)?, self.expr(b)?, self.expr(c)?);
                self.code.ir_fma(&a, &b, &c)
            }
            Expr::Dot4 { acc, a, b } => {
                let (acc, a, b) = (self.expr(acc)?, self.expr(a)?, self.expr(b)?);
                self.code.dot4(&acc, &a, &b)
            }
            Expr::Convert(to, x) => {
                let x = self.expr(x)?;
                self.code.convert(*to, &x)
            }
            Expr::Bitcast(to, x) => self.bitcast(*to, x),
            Expr::Splat(x, lanes) => {
                let x = self.expr(x)?;
                self.code.splat(&x, *lanes)
            }
            Expr::Ramp { base, step, lanes } => self.ramp(base, *step, *lanes),
            Expr::Shuffle(x, lanes) => {
                let x = self.expr(x)?;
                self.code.shuffle(&x, lanes)
            }
            Expr::Extract(x, lane) => {
                let x = self.expr(x)?;
                self.code.extract(&x, *lane)
            }
            Expr::Reduce(op, x) => {
                let x = self.expr(x)?;
                self.code.reduce(*op, &x)
            }
        }
    }

    fn ramp(&mut self, base: &Expr, step: i64, lanes: u16) -> Emit<Value> {
        let base = self.expr(base)?;
        if base.ty.is_vector() || base.ty.scalar.is_float() || base.ty.scalar == Scalar::Bool {
            return invalid(format!("a ramp from {}", base.ty));
        }
        if lanes <= 1 {
            return Ok(base);
        }
        let lane = self.code.lane();
        let mut steps = Vec::new();
        let last = step.saturating_mul(i64::from(lanes - 1));
        let (low, high) = (last.min(0), last.max(0));
        let fits = i32::try_from(low).is_ok() && i32::try_from(high).is_ok();
        for part in 0..parts_of(lanes) as i64 {
            let lane = match part {
                0 => lane,
                _ => self.code.binary(BinaryOp::Add, Type::S32, lane, Operand::Int(32 * part)),
            };
            steps.push(match (base.ty.scalar, step) {
                (_, 1) => lane,
                (Scalar::I64 | Scalar::U64, _) if !fits => {
                    let wide = self.code.extend(Type::S64, Type::U32, lane);
                    self.code.binary(BinaryOp::Mul, Type::S64, wide, Operand::Int(step))
                }
                _ => self.code.binary(BinaryOp::Mul, Type::S32, lane, Operand::Int(step as i32 as i64)),
            });
        }
        let ty = IrType { scalar: base.ty.scalar, lanes };
        let steps = match base.ty.scalar {
            Scalar::I64 => Value { ty, parts: steps, range: fits.then_some((low, high)) },
            Scalar::U64 if fits => {
                let signed = Value::new(ty, steps);
                self.code.map(ty, &signed, |code, a| code.extend(Type::S64, Type::S32, a))
            }
            _ => Value::new(ty, steps),
        };
        self.code.ir_binary(sparsec_tir::BinaryOp::Add, &base, &steps)
    }
}

fn float_constant(v: f64, scalar: Scalar) -> Emit<Value> {
    let x = match scalar {
        Scalar::F32 => Operand::f32(v as f32),
        Scalar::F64 => Operand::f64(v),
        Scalar::F16 => Operand::Int(half::f16::from_f64(v).to_bits().into()),
        Scalar::BF16 => Operand::Int(half::bf16::from_f64(v).to_bits().into()),
        other => return invalid(format!("a floating-point constant of type {other}")),
    };
    Ok(Value::scalar(scalar, x))
}
