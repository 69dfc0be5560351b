//! What the warps of a team do together: barriers of the block, and copies to shared memory that go on while they compute.
//!
//! Fragments that were read from shared memory serve the next product, too, until something may have changed what lies there: a store, a
//! barrier, the end of a copy, or another block of statements.

use std::collections::BTreeMap;

use sparsec_tir::Access;

use super::body::Body;
use super::error::{Emit, invalid};
use crate::{
    Address, Base, BinaryOp, CompareOp, Guard, Hopper, Instruction, MadMode, Operand, Reg, RegClass, Space, Type,
};

/// What was loaded, by the instruction without its destinations.
#[derive(Default)]
pub(super) struct Loaded {
    fragments: BTreeMap<Instruction, Vec<Reg>>,
    /// Left factors that were put together of nonzeros, by the addresses of their masks and values.
    pub(super) selected: BTreeMap<[Address; 2], Vec<Reg>>,
}

impl Loaded {
    pub(super) fn clear(&mut self) {
        self.fragments.clear();
        self.selected.clear();
    }
}

impl Body<'_> {
    /// `bar.sync` of all warps of the block. Products of groups read through the async proxy, so each thread makes visible there what it
    /// stored, or waited for, before.
    pub(super) fn barrier(&mut self) {
        if self.groups {
            self.code.push(Instruction::Hopper(Hopper::FenceProxyAsync));
        }
        self.code.push(Instruction::BarSync { barrier: 0, threads: None });
        self.waited();
    }

    /// `cp.async` of 16 bytes by each lane.
    pub(super) fn copy(&mut self, to: &Access, from: &Access) -> Emit<()> {
        let size = self.element(from.buffer)?.size() as i64;
        let piece = 16 / size;
        if i64::from(from.lanes) != 32 * piece {
            return invalid("a copy that is not of 16 bytes a lane");
        }
        let first = |a: &Access| Access { lanes: 1, active: None, ..a.clone() };
        let ((source, source_space), (target, target_space)) = (self.address(&first(from))?, self.address(&first(to))?);
        if (source_space, target_space) != (Space::Global, Space::Shared) {
            return invalid("a copy that is not from global to shared memory");
        }
        let lane = self.code.lane();
        let (Base::Reg(above), Base::Reg(below)) = (source.base, target.base) else {
            return invalid("an address that is no register");
        };
        let above = self.code.mad(MadMode::Wide, Type::U32, lane, Operand::Int(16), above.into());
        let below = self.code.mad(MadMode::Lo, Type::U32, lane, Operand::Int(16), below.into());
        let src = Address::reg(self.code.in_register(RegClass::B64, above), source.offset);
        let dst = Address::reg(self.code.in_register(RegClass::B32, below), target.offset);
        let guard = match &from.active {
            None => None,
            Some(count) => {
                let count = self.expr(count)?;
                let count = self.code.widen(&count).first();
                let element = self.code.binary(BinaryOp::Mul, Type::S32, lane, Operand::Int(piece));
                let element = self.code.extend(Type::S64, Type::S32, element);
                let below = self.code.setp(CompareOp::Lt, Type::S64, element, count);
                Some(Guard::when(self.code.predicate(below)))
            }
        };
        self.loaded.clear();
        self.code.push_when(guard, Instruction::CpAsync { bypass_l1: true, bytes: 16, dst, src, src_bytes: None });
        Ok(())
    }

    /// The registers that a load of shared memory fills, or has filled. `make` is given the destinations.
    pub(super) fn fragment(
        &mut self,
        (class, registers): (RegClass, usize),
        make: impl Fn(Vec<Reg>) -> Instruction,
    ) -> Vec<Reg> {
        let key = make(vec![Reg { class, index: u32::MAX }; registers]);
        if let Some(found) = self.loaded.fragments.get(&key) {
            return found.clone();
        }
        let dst: Vec<Reg> = (0..registers).map(|_| self.code.reg(class)).collect();
        self.code.push(make(dst.clone()));
        if !key.uses().iter().any(|r| self.code.is_mutable((*r).into())) {
            self.loaded.fragments.insert(key, dst.clone());
        }
        dst
    }
}
