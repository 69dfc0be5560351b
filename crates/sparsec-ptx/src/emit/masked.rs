//! Left factors of which only the nonzeros are stored: each lane finds its own by counting the bits of the mask below them.
//!
//! A lane holds two neighbours of each quarter of 8 x 8: bits `2 (lane % 16)` and the next of words `4 (lane / 16) + r` for register `r`
//! of the fragment. Lanes from 16 on begin behind what the other half of the mask selects, of which the first lane tells them.

use sparsec_tir::{Access, Scalar};

use super::body::Body;
use super::error::{Emit, invalid};
use super::product::Matrix;
use crate::{
    Address, BinaryOp, CompareOp, Guard, Instruction, MadMode, Operand, Reg, RegClass, ShflMode, Space, Type, UnaryOp,
};

/// Words of a lane: one for each register of the fragment.
const WORDS: usize = 4;

impl Body<'_> {
    /// The fragment of a left factor whose first nonzero is `m`'s first element.
    pub(super) fn load_selected(&mut self, m: &Matrix, masked: &Access) -> Emit<Vec<Reg>> {
        if self.element(masked.buffer)? != Scalar::U32 {
            return invalid("a mask is no u32");
        }
        let (address, space) = self.address(masked)?;
        let (crate::Base::Reg(base), Operand::Reg(values)) = (address.base, m.base) else {
            return invalid("an address that is no register");
        };
        let key = [address, Address::reg(values, m.offset)];
        if let Some(found) = self.loaded.selected.get(&key) {
            return Ok(found.clone());
        }
        let lane = self.code.lane();
        let half = self.code.binary(BinaryOp::Shr, Type::U32, lane, Operand::Int(4));
        let mode = if space == Space::Shared { MadMode::Lo } else { MadMode::Wide };
        let own = self.code.mad(mode, Type::U32, half, Operand::Int(4 * WORDS as i64), base.into());
        let Operand::Reg(own) = own else { return invalid("an address that is no register") };
        let words = self.mask_words((masked, space), Address::reg(own, address.offset));
        let starts = self.starts(&words, half);
        let mut fragment = Vec::new();
        for (word, start) in words.into_iter().zip(starts) {
            fragment.push(self.selected_pair(m, word, start)?);
        }
        if ![base, values].iter().any(|r| self.code.is_mutable((*r).into())) {
            self.loaded.selected.insert(key, fragment.clone());
        }
        Ok(fragment)
    }

    fn mask_words(&mut self, (masked, space): (&Access, Space), at: Address) -> Vec<Operand> {
        let hint = self.read_hint(masked.buffer, space);
        let aligned = masked.index.iter().all(|index| self.is_multiple(index, WORDS as i64)) && at.offset % 16 == 0;
        let count = if aligned { 1 } else { WORDS };
        let mut words = Vec::new();
        for i in 0..count {
            let dst: Vec<Reg> = (0..WORDS / count).map(|_| self.code.reg(RegClass::B32)).collect();
            words.extend(dst.iter().map(|r| Operand::Reg(*r)));
            let address = Address { offset: at.offset + 4 * i as i32, ..at };
            self.code.push(Instruction::Ld { space, hint, ty: Type::U32, dst, address });
        }
        words
    }

    /// Where the nonzeros of each of a lane's words begin.
    fn starts(&mut self, words: &[Operand], half: Operand) -> Vec<Operand> {
        let mut before = vec![Operand::Int(0)];
        for word in words {
            let bits = self.code.unary(UnaryOp::Popc, Type::B32, *word);
            let sum = match before.last() {
                Some(Operand::Reg(r)) => self.code.binary(BinaryOp::Add, Type::U32, (*r).into(), bits),
                _ => bits,
            };
            before.push(sum);
        }
        let all = before.pop().unwrap_or(Operand::Int(0));
        let first = self.code.shfl(ShflMode::Idx, all, Operand::Int(0));
        // The other half's count for the upper lanes, nothing for the lower ones.
        let other = self.code.binary(BinaryOp::Mul, Type::U32, first, half);
        before
            .into_iter()
            .map(|sum| match sum {
                Operand::Reg(_) => self.code.binary(BinaryOp::Add, Type::U32, sum, other),
                _ => other,
            })
            .collect()
    }

    /// Two neighbours of a word's entries, zeros where the mask has none.
    fn selected_pair(&mut self, m: &Matrix, word: Operand, start: Operand) -> Emit<Reg> {
        let lane = self.code.lane();
        let place = self.code.binary(BinaryOp::And, Type::B32, lane, Operand::Int(15));
        let shift = self.code.binary(BinaryOp::Shl, Type::B32, place, Operand::Int(1));
        let shift = Operand::Reg(self.code.in_register(RegClass::B32, shift));
        let one = Operand::Reg(self.code.in_register(RegClass::B32, Operand::Int(1)));
        let bit = self.code.binary(BinaryOp::Shl, Type::B32, one, shift);
        let lower = self.code.binary(BinaryOp::Sub, Type::U32, bit, Operand::Int(1));
        let below = self.code.binary(BinaryOp::And, Type::B32, word, lower);
        let below = self.code.unary(UnaryOp::Popc, Type::B32, below);
        let at = self.code.binary(BinaryOp::Add, Type::U32, start, below);
        let own = self.code.binary(BinaryOp::Shr, Type::U32, word, shift);
        let first = self.code.binary(BinaryOp::And, Type::B32, own, Operand::Int(1));
        let second = self.code.binary(BinaryOp::And, Type::B32, own, Operand::Int(2));
        let next = self.code.binary(BinaryOp::Add, Type::U32, at, first);
        let mut pair = Vec::new();
        for (at, bits) in [(at, first), (next, second)] {
            let set = self.code.setp(CompareOp::Ne, Type::B32, bits, Operand::Int(0));
            let set = self.code.predicate(set);
            let mode = if m.space == Space::Shared { MadMode::Lo } else { MadMode::Wide };
            let address = self.code.mad(mode, Type::U32, at, Operand::Int(2), m.base);
            let Operand::Reg(address) = address else { return invalid("an address that is no register") };
            let dst = self.code.reg(RegClass::B16);
            self.code.push(Instruction::Mov { ty: Type::B16, dst, src: Operand::Int(0) });
            let (space, hint) = (m.space, self.read_hint(m.buffer, m.space));
            let load = Instruction::Ld {
                space,
                hint,
                ty: Type::B16,
                dst: vec![dst],
                address: Address::reg(address, m.offset),
            };
            self.code.push_when(Some(Guard::when(set)), load);
            pair.push(dst);
        }
        let dst = self.code.reg(RegClass::B32);
        self.code.push(Instruction::Pack { ty: Type::B32, dst, src: pair });
        Ok(dst)
    }
}
