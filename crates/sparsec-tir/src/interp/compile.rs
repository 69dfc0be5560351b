//! Resolves names to slots and checks types.

use std::collections::BTreeSet;

use super::{
    InterpError, lane,
    node::{Code, Compiled, Kind, Matrix, Memory, Node, Place, Product, RegisterSlots},
};
use crate::{
    Access, BufferKind, Expr, Kernel, LoopKind, RegisterId, Scalar, Stmt, TILE_SUMS, Tile, Type, TypeError, VarId,
    verify::{lane_type, lanes_ok, type_in, type_of_access},
};

/// Compiles a kernel of Stage II or III.
pub(super) fn compile(kernel: &Kernel) -> Result<Compiled, InterpError> {
    let mut compiler = Compiler::new(kernel, Vec::new());
    let body = compiler.block(&kernel.body, true)?;
    Ok(compiler.finish(body))
}

/// Turns statements and expressions of one kernel into code.
pub(super) struct Compiler<'k> {
    kernel: &'k Kernel,
    /// Buffers of Stage I that are indexed by axes.
    sparse: Vec<bool>,
    var_slots: usize,
    vector: Option<(VarId, u16)>,
    varying: BTreeSet<VarId>,
    /// The slot of the variable that numbers the warps of a team.
    warp: Option<usize>,
}

impl<'k> Compiler<'k> {
    pub(super) fn new(kernel: &'k Kernel, sparse: Vec<bool>) -> Self {
        let mut widest = kernel.vars.iter().map(|v| usize::from(v.ty.lanes)).max().unwrap_or(1);
        widest_loop(&kernel.body, &mut widest);
        Compiler { kernel, sparse, var_slots: widest, vector: None, varying: BTreeSet::new(), warp: None }
    }

    pub(super) fn finish(self, body: Vec<Code>) -> Compiled {
        let mut registers = Vec::new();
        let mut offset = 0;
        for r in &self.kernel.registers {
            let lanes = usize::from(r.ty.lanes);
            let len = r.dims.iter().map(|d| *d as usize).product::<usize>() * lanes;
            let (name, dims) = (r.name.clone(), r.dims.clone());
            registers.push(RegisterSlots { name, scalar: r.ty.scalar, lanes, dims, offset, len });
            offset += len;
        }
        Compiled { body, var_slots: self.var_slots, vars: self.kernel.vars.len(), registers }
    }

    fn block(&mut self, body: &[Stmt], top: bool) -> Result<Vec<Code>, InterpError> {
        let mut out = Vec::with_capacity(body.len());
        for stmt in body {
            self.stmt(stmt, top, &mut out)?;
            if crate::verify::has_barrier(stmt)
                && !matches!(stmt, Stmt::For(l) if matches!(l.kind, LoopKind::Warps | LoopKind::Parallel))
                && let Some(code) = out.pop()
            {
                out.push(Code::Together(Box::new(code)));
            }
        }
        Ok(out)
    }

    fn stmt(&mut self, stmt: &Stmt, top: bool, out: &mut Vec<Code>) -> Result<(), InterpError> {
        match stmt {
            Stmt::For(l) if l.kind == LoopKind::Vector => {
                let lanes = l.end.as_int().and_then(|n| u16::try_from(n).ok()).filter(|n| lanes_ok(*n));
                let Some(lanes) = lanes.filter(|_| l.start == Expr::int(0) && self.vector.is_none()) else {
                    return self.unsupported("a vector loop runs from 0 to a constant power of two, in no other one");
                };
                let active = l.active.as_ref().map(|a| self.invariant(a, Type::INDEX)).transpose()?;
                self.vector = Some((l.var, lanes));
                let body = self.block(&l.body, false)?;
                self.vector = None;
                self.varying.clear();
                out.push(Code::Vector { lanes: lanes.into(), active, body });
            }
            Stmt::For(l) if l.kind == LoopKind::Warps => {
                let Some(count) = l.end.as_int().filter(|n| (1..=32).contains(n) && self.vector.is_none()) else {
                    return self.unsupported("a team has up to 32 warps, and stands in no vector loop");
                };
                let var = self.slot(l.var)?;
                self.warp = Some(var);
                let body = self.block(&l.body, false)?;
                self.warp = None;
                out.push(Code::Warps { var, count: count as usize, body });
            }
            Stmt::For(l) => {
                let start = self.invariant(&l.start, Type::INDEX)?;
                let end = self.invariant(&l.end, Type::INDEX)?;
                if l.step < 1 || (self.vector.is_some() && l.kind == LoopKind::Parallel) {
                    return self.unsupported("a loop has a positive step, and no vector loop holds a parallel one");
                }
                let var = self.slot(l.var)?;
                let body = self.block(&l.body, false)?;
                let poison = top && l.kind == LoopKind::Parallel;
                match l.until {
                    Some(until) => {
                        let until = self.slot(until)?;
                        out.push(Code::Groups { var, until, start, end, size: l.step, poison, body });
                    }
                    None => out.push(Code::For { var, start, end, step: l.step, poison, body }),
                }
            }
            Stmt::Let(v, e) => {
                let declared = self.declared(*v)?;
                let node = self.expr_to(e, declared)?;
                let varies = self.varies(e);
                if varies {
                    self.varying.insert(*v);
                }
                out.push(Code::Let(self.slot(*v)?, node, varies));
            }
            Stmt::Set(r, index, e) => {
                let place = self.place(*r, index)?;
                if index.iter().any(|i| self.varies(i)) {
                    return self.unsupported("the index of a register can't vary with the lane");
                }
                let register = self.kernel.registers[r.index()].ty;
                let node = self.expr_to(e, lane_type(register, self.lanes()))?;
                if !place.lane && self.varies(e) {
                    return self.unsupported("a register of other lanes can't take a value that varies with the lane");
                }
                out.push(Code::Set(place, node));
            }
            Stmt::Store(access, e) => {
                let mut memory = self.memory(access)?;
                let ty = self.checked(type_of_access(self.kernel, access, self.lanes()))?;
                let node = self.expr_to(e, ty)?;
                memory.varies |= self.varies(e);
                if self.kernel.buffer(access.buffer).kind == BufferKind::Input {
                    return self.unsupported("an input can't be written");
                }
                if memory.varies && memory.lanes > 1 {
                    return self.unsupported("a vector loop stores one element per lane");
                }
                out.push(Code::Store(memory, node));
            }
            Stmt::If(c, yes, no) => {
                let c = self.invariant(c, Type::scalar(Scalar::Bool))?;
                out.push(Code::If(c, self.block(yes, false)?, self.block(no, false)?));
            }
            Stmt::Product(p) => out.push(Code::Product(Box::new(Product {
                precision: p.precision,
                group: p.group.map(|tiles| self.group(tiles, p)).transpose()?,
                sums: self.sums(p.sums.0, &p.sums.1)?,
                left: self.matrix(&p.left, p.precision.storage())?,
                right: self.matrix(&p.right, p.precision.storage())?,
                kept: p.kept.as_ref().map(|k| self.element(k, Scalar::U32)).transpose()?,
                masked: p.masked.as_ref().map(|k| self.element(k, Scalar::U32)).transpose()?,
            }))),
            Stmt::SaveTile(to, r, index) => {
                if self.kernel.buffers.get(to.at.buffer.index()).is_some_and(|b| b.kind == BufferKind::Input) {
                    return self.unsupported("an input can't be written");
                }
                out.push(Code::SaveTile(self.matrix(to, Scalar::F32)?, self.sums(*r, index)?));
            }
            Stmt::Barrier => out.push(Code::Barrier),
            Stmt::CopyAsync(to, from) => {
                let (to, from) = (self.memory(to)?, self.memory(from)?);
                if self.vector.is_some() || to.lanes != from.lanes {
                    return self.unsupported("a copy has equal lanes, and stands in no vector loop");
                }
                out.push(Code::Copy(to, from));
            }
            Stmt::Spread(to, e, distance) => {
                let ty = self.checked(type_of_access(self.kernel, to, self.lanes()))?;
                let (memory, node) = (self.memory(to)?, self.expr_to(e, ty)?);
                let piece = 16 / ty.scalar.size();
                if self.vector.is_some() || memory.active.is_some() || !memory.lanes.is_multiple_of(piece) {
                    return self.unsupported("pieces of 16 bytes are spread, all of them, in no vector loop");
                }
                out.push(Code::Spread(memory, node, piece, *distance));
            }
            Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_)
            | Stmt::Prefetch(_)
            | Stmt::Comment(_) => {}
        }
        Ok(())
    }

    /// An expression of a type, or a scalar that is splatted to it.
    pub(super) fn expr_to(&mut self, e: &Expr, ty: Type) -> Result<Node, InterpError> {
        let found = self.checked(type_in(self.kernel, e, self.lanes()))?;
        if found != ty && found != Type::scalar(ty.scalar) {
            let text = crate::print::expr_text(self.kernel, e);
            return self.unsupported(&format!("`{text}` is {found}, {ty} expected"));
        }
        let node = self.expr(e)?;
        Ok(if found == ty { node } else { Node { ty, kind: Kind::Splat(Box::new(node)) } })
    }

    fn invariant(&mut self, e: &Expr, ty: Type) -> Result<Node, InterpError> {
        if self.varies(e) {
            return self.unsupported("bounds, branches and counts can't vary with the lane of a vector loop");
        }
        self.expr_to(e, ty)
    }

    /// The node of an expression whose type is known to exist.
    fn expr(&mut self, e: &Expr) -> Result<Node, InterpError> {
        let node = |ty: Type, kind: Kind| Ok(Node { ty, kind });
        let boxed = |n: Node| Box::new(n);
        match e {
            Expr::Int(v, s) => node(Type::scalar(*s), Kind::Const(lane::int_bits(*v, *s))),
            Expr::Float(v, s) => node(Type::scalar(*s), Kind::Const(lane::float_bits(*v, *s))),
            Expr::Var(v) if self.vector.is_some_and(|(var, _)| var == *v) => node(Type::INDEX, Kind::Lane),
            Expr::Var(v) => {
                let (ty, slot) = (self.declared(*v)?, self.slot(*v)?);
                node(ty, if self.varying.contains(v) { Kind::LaneVar(slot) } else { Kind::Var(slot) })
            }
            Expr::Param(p) => node(Type::INDEX, Kind::Param(p.index())),
            Expr::Reg(r, index) => {
                let place = self.place(*r, index)?;
                node(lane_type(self.kernel.registers[r.index()].ty, self.lanes()), Kind::Reg(place))
            }
            Expr::Load(a) if self.sparse.get(a.buffer.index()) == Some(&true) => {
                let index = a.index.iter().map(|i| self.expr(i)).collect::<Result<_, _>>()?;
                node(Type::scalar(self.kernel.buffer(a.buffer).elem), Kind::Entry(a.buffer.index(), index))
            }
            Expr::Load(a) => {
                let memory = self.memory(a)?;
                if memory.varies && memory.lanes > 1 {
                    return self.unsupported("a vector loop loads one element per lane");
                }
                node(Type::vector(self.kernel.buffer(a.buffer).elem, a.lanes), Kind::Load(Box::new(memory)))
            }
            Expr::Gather(b, index) => {
                let index = self.expr(index)?;
                node(Type::vector(self.kernel.buffer(*b).elem, index.ty.lanes), Kind::Gather(b.index(), boxed(index)))
            }
            Expr::Unary(op, x) => {
                let x = self.expr(x)?;
                node(x.ty, Kind::Unary(*op, boxed(x)))
            }
            Expr::Binary(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                let ty = Type::vector(x.ty.scalar, x.ty.lanes.max(y.ty.lanes));
                node(ty, Kind::Binary(*op, boxed(x), boxed(y)))
            }
            Expr::Compare(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                let ty = Type::vector(Scalar::Bool, x.ty.lanes.max(y.ty.lanes));
                node(ty, Kind::Compare(*op, boxed(x), boxed(y)))
            }
            Expr::Select(c, x, y) => {
                let (c, x, y) = (self.expr(c)?, self.expr(x)?, self.expr(y)?);
                let ty = Type::vector(x.ty.scalar, c.ty.lanes.max(x.ty.lanes).max(y.ty.lanes));
                node(ty, Kind::Select(boxed(c), boxed(x), boxed(y)))
            }
            Expr::Fma(x, y, z) => {
                let (x, y, z) = (self.expr(x)?, self.expr(y)?, self.expr(z)?);
                let ty = Type::vector(x.ty.scalar, z.ty.lanes.max(x.ty.lanes).max(y.ty.lanes));
                node(ty, Kind::Fma(boxed(x), boxed(y), boxed(z)))
            }
            Expr::Dot4 { acc, a, b } => {
                let (acc, a, b) = (self.expr(acc)?, self.expr(a)?, self.expr(b)?);
                let ty = Type::vector(Scalar::I32, acc.ty.lanes.max(a.ty.lanes).max(b.ty.lanes));
                node(ty, Kind::Dot4(boxed(acc), boxed(a), boxed(b)))
            }
            Expr::Convert(to, x) => {
                let x = self.expr(x)?;
                node(Type { scalar: *to, ..x.ty }, Kind::Convert(boxed(x)))
            }
            Expr::Bitcast(to, x) => {
                let x = self.expr(x)?;
                node(*to, Kind::Bitcast(boxed(x)))
            }
            Expr::Splat(x, lanes) => {
                let x = self.expr(x)?;
                node(Type::vector(x.ty.scalar, *lanes), Kind::Splat(boxed(x)))
            }
            Expr::Ramp { base, step, lanes } => {
                let base = self.expr(base)?;
                node(Type::vector(base.ty.scalar, *lanes), Kind::Ramp(boxed(base), *step))
            }
            Expr::Shuffle(x, lanes) => {
                let x = self.expr(x)?;
                let ty = Type::vector(x.ty.scalar, lanes.len() as u16);
                node(ty, Kind::Shuffle(boxed(x), lanes.clone()))
            }
            Expr::Extract(x, lane) => {
                let x = self.expr(x)?;
                node(Type::scalar(x.ty.scalar), Kind::Extract(boxed(x), (*lane).into()))
            }
            Expr::Reduce(op, x) => {
                let x = self.expr(x)?;
                node(Type::scalar(x.ty.scalar), Kind::Reduce(*op, boxed(x)))
            }
        }
    }

    pub(super) fn memory(&mut self, access: &Access) -> Result<Memory, InterpError> {
        self.checked(type_of_access(self.kernel, access, self.lanes()))?;
        let varies = access.index.iter().any(|i| self.varies(i));
        if access.padded && self.sparse.is_empty() {
            return self.unsupported("only Stage I has padded accesses");
        }
        Ok(Memory {
            buffer: access.buffer.index(),
            index: access.index.iter().map(|i| self.expr(i)).collect::<Result<_, _>>()?,
            lanes: access.lanes.into(),
            active: access.active.as_ref().map(|a| self.invariant(a, Type::INDEX)).transpose()?,
            padded: access.padded,
            varies,
        })
    }

    fn sums(&mut self, r: RegisterId, index: &[Expr]) -> Result<Place, InterpError> {
        let place = self.place(r, index)?;
        if self.vector.is_some() || self.kernel.registers.get(r.index()).is_none_or(|r| r.ty != TILE_SUMS) {
            return self.unsupported("sums of a matrix product are f32x128, outside of vector loops");
        }
        Ok(place)
    }

    fn matrix(&mut self, tile: &Tile, elem: Scalar) -> Result<Matrix, InterpError> {
        let [rows, columns] = &tile.strides;
        let strides = [self.invariant(rows, Type::INDEX)?, self.invariant(columns, Type::INDEX)?];
        let piece = 16 / elem.size() as i64;
        Ok(Matrix { at: self.element(&tile.at, elem)?, strides, layout: tile.layout, piece })
    }

    /// A group's product: how often 8 columns, all with sums of their own, and the variable that numbers the warps.
    fn group(&self, tiles: u32, p: &crate::Product) -> Result<(usize, usize), InterpError> {
        let extent = self.kernel.registers.get(p.sums.0.index()).and_then(|r| r.dims.last());
        let first = p.sums.1.last().and_then(Expr::as_int).and_then(|i| u32::try_from(i).ok());
        let fits = extent.zip(first).is_some_and(|(extent, first)| first.saturating_add(tiles) <= *extent);
        match self.warp {
            Some(warp) if fits => Ok((tiles as usize, warp)),
            _ => self.unsupported("a group of warps multiplies in a team, into registers that are there"),
        }
    }

    fn element(&mut self, access: &Access, elem: Scalar) -> Result<Memory, InterpError> {
        let memory = self.memory(access)?;
        if memory.lanes != 1 || memory.active.is_some() || self.kernel.buffer(access.buffer).elem != elem {
            return self.unsupported(&format!("a matrix begins at one element of type {elem}"));
        }
        Ok(memory)
    }

    fn place(&mut self, r: RegisterId, index: &[Expr]) -> Result<Place, InterpError> {
        let e = Expr::Reg(r, index.to_vec());
        self.checked(type_in(self.kernel, &e, self.lanes()))?;
        let lane = self.lanes() == Some(self.kernel.registers[r.index()].ty.lanes);
        let index = index.iter().map(|i| self.expr(i)).collect::<Result<_, _>>()?;
        Ok(Place { register: r.index(), index, lane })
    }

    fn lanes(&self) -> Option<u16> {
        self.vector.map(|(_, lanes)| lanes)
    }

    fn declared(&self, v: VarId) -> Result<Type, InterpError> {
        self.checked(self.kernel.vars.get(v.index()).map(|v| v.ty).ok_or(TypeError::UnknownVar(v)))
    }

    fn slot(&self, v: VarId) -> Result<usize, InterpError> {
        self.declared(v).map(|_| v.index() * self.var_slots)
    }

    fn varies(&self, e: &Expr) -> bool {
        let Some((var, lanes)) = self.vector else { return false };
        let mut varies = false;
        e.walk(&mut |e| {
            varies |= match e {
                Expr::Var(v) => *v == var || self.varying.contains(v),
                Expr::Reg(r, _) => self.kernel.registers.get(r.index()).is_some_and(|r| r.ty.lanes == lanes),
                _ => false,
            };
        });
        varies
    }

    fn checked<T>(&self, result: Result<T, TypeError>) -> Result<T, InterpError> {
        result.map_err(|error| InterpError::Type { kernel: self.kernel.name.clone(), error })
    }

    fn unsupported<T>(&self, reason: &str) -> Result<T, InterpError> {
        Err(InterpError::Unsupported { kernel: self.kernel.name.clone(), reason: reason.to_owned() })
    }
}

fn widest_loop(body: &[Stmt], widest: &mut usize) {
    for stmt in body {
        match stmt {
            Stmt::For(l) => {
                if l.kind == LoopKind::Vector {
                    let lanes = l.end.as_int().and_then(|n| u16::try_from(n).ok()).unwrap_or(1);
                    *widest = (*widest).max(lanes.into());
                }
                widest_loop(&l.body, widest);
            }
            Stmt::If(_, yes, no) => {
                widest_loop(yes, widest);
                widest_loop(no, widest);
            }
            _ => {}
        }
    }
}
