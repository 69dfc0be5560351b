//! Addresses, loads and stores.
//!
//! An address is the buffer's base, plus the lane's place for vectors, plus one term after the other of the index, plus
//! what is constant as the offset of the instruction. Sums of the same beginning are computed once.

use sparsec_tir::{Access, BinaryOp as IrBinary, BufferId, BufferKind, Expr, Scalar, Type as IrType};

use super::body::Body;
use super::error::{Emit, invalid};
use super::hazard::{Spot, Touched};
use super::value::{Value, class_of, memory_type, parts_of};
use crate::{
    Address, BinaryOp, CacheHint, CompareOp, Guard, Instruction, MadMode, Operand, Reg, RegClass, Space, Type,
};

/// Where a buffer lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) space: Space,
    /// Address of the first element: `b64` of global memory, `b32` of shared.
    pub(super) base: Reg,
    /// Bytes from there.
    pub(super) offset: i64,
}

/// Which lanes of an access touch memory.
#[derive(Clone, Debug)]
enum Active {
    All,
    /// None, known here.
    None,
    /// Those where a predicate holds, for each part.
    Where(Vec<Reg>),
}

impl Body<'_> {
    pub(super) fn load(&mut self, access: &Access) -> Emit<Value> {
        let scalar = self.element(access.buffer)?;
        let ty = IrType { scalar, lanes: access.lanes };
        let active = self.active(access)?;
        if let Active::None = active {
            let zero = Value::scalar(scalar, zero_of(scalar));
            return self.code.splat(&zero, access.lanes);
        }
        let (address, space) = self.address(access)?;
        let mut parts = Vec::new();
        for part in 0..parts_of(access.lanes) {
            let at = part_address(address, part, scalar);
            parts.push(self.load_part(access.buffer, scalar, space, at, guard_of(&active, part)));
        }
        Ok(Value::new(ty, parts))
    }

    /// The elements at the indices of a vector.
    pub(super) fn gather(&mut self, buffer: BufferId, indices: &Value) -> Emit<Value> {
        if indices.ty.scalar != Scalar::I64 {
            return invalid(format!("gather with indices of type {}", indices.ty));
        }
        let scalar = self.element(buffer)?;
        let place = self.place(buffer)?;
        let ty = IrType { scalar, lanes: indices.ty.lanes };
        let lanes = self.lanes_below(indices.ty.lanes);
        let mut parts = Vec::new();
        for (i, part) in indices.parts.iter().enumerate() {
            let one = Value { ty: IrType::INDEX, parts: vec![*part], range: indices.range };
            let address = self.sum(place, None, &[(one, 1)], 0, scalar)?;
            // Only the last part can be incomplete.
            let guard = lanes.filter(|_| i + 1 == indices.parts.len() && indices.ty.is_vector());
            parts.push(self.load_part(buffer, scalar, place.space, address, guard));
        }
        Ok(Value::new(ty, parts))
    }

    pub(super) fn store(&mut self, access: &Access, value: &Value) -> Emit<()> {
        let scalar = self.element(access.buffer)?;
        if value.ty.scalar != scalar {
            return invalid(format!("{} is stored to a buffer of {scalar}", value.ty));
        }
        let value = self.code.widen(value);
        let value = self.code.splat(&value, access.lanes)?;
        let active = self.active(access)?;
        if let Active::None = active {
            return Ok(());
        }
        let (address, space) = self.address(access)?;
        let bytes = u32::from(access.lanes) * scalar.size() as u32;
        let spot = Spot { address: Some(address), lanes: access.lanes, bytes };
        self.wait_for(&Touched::of_store(self.kernel, access.buffer, spot));
        self.loaded.clear();
        for (part, x) in value.parts.iter().enumerate() {
            let mut guard = guard_of(&active, part);
            if access.lanes == 1 {
                // The first lane writes for all.
                let lane = self.code.lane();
                let first = self.code.setp(CompareOp::Eq, Type::U32, lane, Operand::Int(0));
                let both = match guard {
                    Some(p) => self.code.binary(BinaryOp::And, Type::Pred, first, p.into()),
                    None => first,
                };
                guard = both.reg();
            }
            let x = match scalar {
                Scalar::Bool => {
                    let p = self.code.predicate(*x);
                    self.code.selp(Type::B32, Operand::Int(1), Operand::Int(0), p)
                }
                _ => *x,
            };
            let class = if scalar == Scalar::Bool { RegClass::B32 } else { class_of(scalar) };
            let src = Operand::Reg(self.code.in_register(class, x));
            let ty = store_type(scalar);
            let at = part_address(address, part, scalar);
            let store = Instruction::St { space, hint: None, ty, address: at, src: vec![src] };
            self.code.push_when(guard.map(Guard::when), store);
        }
        Ok(())
    }

    /// What loads of a buffer tell the caches.
    pub(super) fn read_hint(&self, buffer: BufferId, space: Space) -> Option<CacheHint> {
        let read_only = self.kernel.buffers.get(buffer.index()).is_some_and(|b| b.kind == BufferKind::Input);
        (read_only && space == Space::Global).then_some(CacheHint::Nc)
    }

    pub(super) fn load_part(
        &mut self,
        buffer: BufferId,
        scalar: Scalar,
        space: Space,
        address: Address,
        guard: Option<Reg>,
    ) -> Operand {
        let ty = memory_type(scalar);
        let class = if scalar == Scalar::Bool { RegClass::B32 } else { class_of(scalar) };
        let hint = self.read_hint(buffer, space);
        let dst = self.code.reg(class);
        if guard.is_some() {
            self.code.push(Instruction::Mov { ty: super::code::mov_type(class), dst, src: zero_of_class(class) });
        }
        self.code.push_when(guard.map(Guard::when), Instruction::Ld { space, hint, ty, dst: vec![dst], address });
        match scalar {
            Scalar::Bool => self.code.setp(CompareOp::Ne, Type::U32, dst.into(), Operand::Int(0)),
            _ => dst.into(),
        }
    }

    /// The address of the element of the access that is the lane's.
    pub(super) fn address(&mut self, access: &Access) -> Emit<(Address, Space)> {
        let [index] = access.index.as_slice() else {
            return invalid("an access of flat code has one index");
        };
        let scalar = self.element(access.buffer)?;
        let place = self.place(access.buffer)?;
        let (mut terms, mut constant) = (Vec::new(), 0);
        self.linear(index, 1, &mut terms, &mut constant)?;
        let lane = (access.lanes > 1).then(|| self.code.lane());
        Ok((self.sum(place, lane, &terms, constant, scalar)?, place.space))
    }

    /// Base, lane and terms, times the size of an element where they count elements.
    fn sum(
        &mut self,
        place: Place,
        lane: Option<Operand>,
        terms: &[(Value, i64)],
        constant: i64,
        scalar: Scalar,
    ) -> Emit<Address> {
        let size = scalar.size() as i64;
        let shared = place.space == Space::Shared;
        let mut at = Operand::Reg(place.base);
        if let Some(lane) = lane {
            let (mode, ty) = if shared { (MadMode::Lo, Type::U32) } else { (MadMode::Wide, Type::U32) };
            at = self.code.mad(mode, ty, lane, Operand::Int(size), at);
        }
        for (x, times) in terms {
            let bytes = times.wrapping_mul(size);
            let fits = i32::try_from(bytes).is_ok();
            at = if shared {
                let x = self.code.low_half(x);
                self.code.mad(MadMode::Lo, Type::S32, x, Operand::Int(i64::from(bytes as i32)), at)
            } else if x.range.is_some() && fits {
                self.code.mad(MadMode::Wide, Type::S32, x.first(), Operand::Int(bytes), at)
            } else {
                let x = self.code.widen(x).first();
                match bytes {
                    1 => self.code.binary(BinaryOp::Add, Type::S64, x, at),
                    _ => self.code.mad(MadMode::Lo, Type::S64, x, Operand::Int(bytes), at),
                }
            };
        }
        let offset = constant.wrapping_mul(size).wrapping_add(place.offset);
        // The parts of a vector follow within the same offset.
        let offset = match i32::try_from(offset) {
            Ok(offset) if offset < i32::MAX - (1 << 16) => offset,
            _ if shared => return invalid("an address outside of shared memory"),
            _ => {
                at = self.code.binary(BinaryOp::Add, Type::S64, at, Operand::Int(offset));
                0
            }
        };
        match at {
            Operand::Reg(base) => Ok(Address::reg(base, offset)),
            _ => invalid("an address that is no register"),
        }
    }

    /// Takes a sum of products with constants apart.
    fn linear(&mut self, e: &Expr, times: i64, terms: &mut Vec<(Value, i64)>, constant: &mut i64) -> Emit<()> {
        if let Some(v) = self.constant(e) {
            *constant = constant.wrapping_add(v.wrapping_mul(times));
            return Ok(());
        }
        match e {
            Expr::Binary(IrBinary::Add, x, y) => {
                self.linear(x, times, terms, constant)?;
                self.linear(y, times, terms, constant)
            }
            Expr::Binary(IrBinary::Sub, x, y) => {
                self.linear(x, times, terms, constant)?;
                self.linear(y, times.wrapping_neg(), terms, constant)
            }
            Expr::Binary(IrBinary::Mul, x, y) => match (self.constant(x), self.constant(y)) {
                (_, Some(v)) => self.linear(x, times.wrapping_mul(v), terms, constant),
                (Some(v), _) => self.linear(y, times.wrapping_mul(v), terms, constant),
                _ => self.term(e, times, terms, constant),
            },
            _ => self.term(e, times, terms, constant),
        }
    }

    fn term(&mut self, e: &Expr, times: i64, terms: &mut Vec<(Value, i64)>, constant: &mut i64) -> Emit<()> {
        let value = self.expr(e)?;
        if value.ty != IrType::INDEX {
            return invalid(format!("an index of type {}", value.ty));
        }
        match value.as_const() {
            Some(v) => *constant = constant.wrapping_add(v.wrapping_mul(times)),
            None => terms.push((value, times)),
        }
        Ok(())
    }

    fn active(&mut self, access: &Access) -> Emit<Active> {
        let lanes = access.lanes;
        let Some(count) = &access.active else {
            return Ok(match self.lanes_below(lanes) {
                Some(p) if lanes > 1 => Active::Where(vec![p; parts_of(lanes)]),
                _ => Active::All,
            });
        };
        let count = self.expr(count)?;
        if count.ty != IrType::INDEX {
            return invalid(format!("an active count of type {}", count.ty));
        }
        match count.as_const() {
            Some(n) if n >= i64::from(lanes) => {
                let all = Access { active: None, ..access.clone() };
                return self.active(&all);
            }
            Some(n) if n <= 0 => return Ok(Active::None),
            _ => {}
        }
        // Never more than the lanes that there are, where these do not fill the warp.
        let count = match lanes % 32 {
            0 if count.range.is_some() => count,
            _ => self.code.ir_binary(IrBinary::Min, &count, &Value::index(lanes.into()))?,
        };
        let count = match count.range {
            Some(_) => count.first(),
            None => {
                // Within 32 bits, after a look at both ends.
                let low = self.code.ir_binary(IrBinary::Max, &count, &Value::index(0))?;
                let low = self.code.ir_binary(IrBinary::Min, &low, &Value::index(lanes.into()))?;
                self.code.low_half(&low)
            }
        };
        let lane = match lanes {
            1 => Operand::Reg(self.code.in_register(RegClass::B32, Operand::Int(0))),
            _ => self.code.lane(),
        };
        let mut predicates = Vec::new();
        for part in 0..parts_of(lanes) as i64 {
            let lane = match part {
                0 => lane,
                _ => self.code.binary(BinaryOp::Add, Type::S32, lane, Operand::Int(32 * part)),
            };
            let p = self.code.setp(CompareOp::Lt, Type::S32, lane, count);
            predicates.push(self.code.predicate(p));
        }
        Ok(Active::Where(predicates))
    }

    /// Whether the lane is one of the last so many of a vector; `None` where the vector fills the warp.
    fn lanes_below(&mut self, lanes: u16) -> Option<Reg> {
        let rest = lanes % 32;
        if rest == 0 || lanes == 1 {
            return None;
        }
        let lane = self.code.lane();
        self.code.setp(CompareOp::Lt, Type::U32, lane, Operand::Int(rest.into())).reg()
    }

    pub(super) fn element(&self, buffer: BufferId) -> Emit<Scalar> {
        let found = self.kernel.buffers.get(buffer.index()).map(|b| b.elem);
        found.ok_or_else(|| format!("buffer {} does not exist", buffer.0))
    }

    fn place(&self, buffer: BufferId) -> Emit<Place> {
        self.places.get(buffer.index()).copied().ok_or_else(|| format!("buffer {} does not exist", buffer.0))
    }
}

fn guard_of(active: &Active, part: usize) -> Option<Reg> {
    match active {
        Active::Where(predicates) => predicates.get(part).copied(),
        Active::All | Active::None => None,
    }
}

fn part_address(address: Address, part: usize, scalar: Scalar) -> Address {
    Address { offset: address.offset + (part * 32 * scalar.size()) as i32, ..address }
}

fn zero_of(scalar: Scalar) -> Operand {
    zero_of_class(class_of(scalar))
}

fn zero_of_class(class: RegClass) -> Operand {
    match class {
        RegClass::F32 => Operand::F32(0),
        RegClass::F64 => Operand::F64(0),
        _ => Operand::Int(0),
    }
}

/// Stores write the low bits.
pub(super) fn store_type(scalar: Scalar) -> Type {
    match scalar.size() {
        1 => Type::B8,
        2 => Type::B16,
        _ => memory_type(scalar),
    }
}
