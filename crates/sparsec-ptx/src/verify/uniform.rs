//! Whether all lanes of a warp, or all warps of a group, come to the instructions that all of them take part in.
//!
//! Each register gets the bits of the thread's number in its warp group that its value can depend on: the five of the lane for
//! `%laneid`, also the two of the warp for `%tid.x`, only these for `%tid.x >> 5`, none for parameters and for `%tid.x >> 7`. What is
//! loaded from an address that depends on lanes depends on all of them, and what `shfl.idx` hands to everyone on none. A sum
//! of a value and the same value of lane `^ d` does not depend on the bit `d`, so five such steps, a reduction, end with
//! none of the lane's. A branch on a predicate that depends on any lets lanes part, up to the block where all paths meet again (its
//! immediate post-dominator); what is written in between depends on them, too.
//!
//! Registers are looked at without regard to where in the function they are: what is said to be equal in all lanes is, and something
//! else may be as well. Warps may part from each other, but for `wgmma`: a barrier names how many wait for it.

use std::collections::BTreeMap;

use super::flow::{Block, blocks};
use crate::{Base, BinaryOp, Function, Guard, Instruction, Label, Operand, Reg, ShflMode, Special, Statement};

/// Bits of a thread's number in its warp group.
type Bits = u8;

/// Those of the lane, and all.
const LANES: Bits = 31;
const ALL: Bits = 127;

/// The statements that all lanes, or all warps of a group, take part in, where these may have parted.
pub(super) fn check_uniform(f: &Function, labels: &BTreeMap<Label, usize>, say: &mut dyn FnMut(usize)) {
    let needed = |s: &Statement| match s {
        Statement::Instr { instruction, .. } => taking_part(instruction),
        _ => 0,
    };
    let collective = |s: &Statement| needed(s) != 0;
    let parts = |s: &Statement| match s {
        Statement::Instr { guard: Some(_), instruction } => {
            matches!(instruction, Instruction::Bra { .. } | Instruction::Ret | Instruction::Exit)
        }
        _ => false,
    };
    if !f.body.iter().any(collective) || !f.body.iter().any(parts) {
        return;
    }
    let blocks = blocks(f, labels);
    let regions = regions(f, &blocks);
    let mut lanes = Lanes { f, definitions: definitions(f), of: BTreeMap::new() };
    let mut control = vec![0; blocks.len()];
    loop {
        let before = (lanes.of.clone(), control.clone());
        for (block, own) in blocks.iter().zip(&control) {
            for at in block.start..block.end {
                lanes.statement(at, *own);
            }
        }
        for (guard, region) in &regions {
            let bits = lanes.reg(guard.reg);
            for b in region {
                if let Some(own) = control.get_mut(*b) {
                    *own |= bits;
                }
            }
        }
        if before == (lanes.of.clone(), control.clone()) {
            break;
        }
    }
    for (block, own) in blocks.iter().zip(&control).filter(|(_, own)| **own != 0) {
        (block.start..block.end).filter(|at| f.body.get(*at).is_some_and(|s| needed(s) & own != 0)).for_each(&mut *say);
    }
}

/// The bits by which threads that take part together differ.
fn taking_part(instruction: &Instruction) -> Bits {
    if matches!(instruction, Instruction::Hopper(h) if h.is_of_a_group()) {
        return ALL;
    }
    if needs_all_lanes(instruction) { LANES } else { 0 }
}

/// Whether all lanes of a warp take part.
fn needs_all_lanes(instruction: &Instruction) -> bool {
    let all = |mask: &Operand| matches!(mask, Operand::Int(m) if *m as u32 == u32::MAX);
    match instruction {
        Instruction::BarSync { .. } | Instruction::Ldmatrix { .. } | Instruction::Mma(_) => true,
        Instruction::BarWarpSync { mask } | Instruction::Shfl { mask, .. } | Instruction::Vote { mask, .. } => {
            all(mask)
        }
        _ => false,
    }
}

/// For each conditional jump or end, its guard, and the blocks between it and where all paths meet.
fn regions(f: &Function, blocks: &[Block]) -> Vec<(Guard, Vec<usize>)> {
    let exit = blocks.len();
    let guarded_end = |block: &Block| match f.body.get(block.end.wrapping_sub(1)) {
        Some(Statement::Instr { guard: Some(guard), instruction }) => match instruction {
            Instruction::Bra { .. } => Some((*guard, false)),
            Instruction::Ret | Instruction::Exit => Some((*guard, true)),
            _ => None,
        },
        _ => None,
    };
    let successors: Vec<Vec<usize>> = blocks
        .iter()
        .map(|block| {
            let mut next = block.successors.clone();
            if next.is_empty() || guarded_end(block).is_some_and(|(_, ends)| ends) {
                next.push(exit);
            }
            next
        })
        .collect();
    let meet = post_dominators(&successors);
    let mut regions = Vec::new();
    for (b, block) in blocks.iter().enumerate() {
        let Some((guard, _)) = guarded_end(block) else { continue };
        let end = meet.get(b).copied().flatten();
        let mut seen = vec![false; exit + 1];
        let mut waiting: Vec<usize> = successors.get(b).cloned().unwrap_or_default();
        while let Some(next) = waiting.pop() {
            if next == exit || Some(next) == end || seen.get(next).copied().unwrap_or(true) {
                continue;
            }
            if let Some(slot) = seen.get_mut(next) {
                *slot = true;
            }
            waiting.extend(successors.get(next).into_iter().flatten());
        }
        regions.push((guard, (0..exit).filter(|i| seen.get(*i) == Some(&true)).collect()));
    }
    regions
}

/// The immediate post-dominator of each block: the first that all paths to the end go through; `None` where that is the end.
fn post_dominators(successors: &[Vec<usize>]) -> Vec<Option<usize>> {
    let exit = successors.len();
    let mut parent: Vec<Option<usize>> = vec![None; exit + 1];
    if let Some(own) = parent.get_mut(exit) {
        *own = Some(exit);
    }
    // Numbers from the end: a block's is larger than those of the blocks behind it, but for loops.
    let mut order = Vec::new();
    let mut number = vec![usize::MAX; exit + 1];
    let mut predecessors: Vec<Vec<usize>> = vec![Vec::new(); exit + 1];
    for (b, next) in successors.iter().enumerate() {
        for s in next {
            if let Some(list) = predecessors.get_mut(*s) {
                list.push(b);
            }
        }
    }
    let mut stack = vec![(exit, 0)];
    let mut seen = vec![false; exit + 1];
    if let Some(own) = seen.get_mut(exit) {
        *own = true;
    }
    while let Some((b, at)) = stack.pop() {
        match predecessors.get(b).and_then(|list| list.get(at)) {
            Some(&next) => {
                stack.push((b, at + 1));
                if seen.get(next) == Some(&false) {
                    if let Some(own) = seen.get_mut(next) {
                        *own = true;
                    }
                    stack.push((next, 0));
                }
            }
            None => {
                if let Some(own) = number.get_mut(b) {
                    *own = order.len();
                }
                order.push(b);
            }
        }
    }
    // Cooper, Harvey and Kennedy, "A simple, fast dominance algorithm", 2001, on the reversed graph.
    let rank = |b: usize| number.get(b).copied().unwrap_or(usize::MAX);
    let mut changed = true;
    while changed {
        changed = false;
        for &b in order.iter().rev().filter(|b| **b != exit) {
            let mut meet: Option<usize> = None;
            for &s in successors.get(b).into_iter().flatten() {
                if parent.get(s).copied().flatten().is_none() {
                    continue;
                }
                meet = Some(match meet {
                    None => s,
                    Some(mut other) => {
                        let mut own = s;
                        while own != other {
                            let low = if rank(own) < rank(other) { &mut own } else { &mut other };
                            *low = parent.get(*low).copied().flatten().unwrap_or(exit);
                        }
                        own
                    }
                });
            }
            if let Some(slot) = parent.get_mut(b)
                && *slot != meet
            {
                *slot = meet;
                changed = true;
            }
        }
    }
    parent.into_iter().take(exit).map(|p| p.filter(|p| *p != exit)).collect()
}

/// The one statement that writes a register, for those that have one.
fn definitions(f: &Function) -> BTreeMap<Reg, Option<usize>> {
    let mut found = BTreeMap::new();
    for (at, statement) in f.body.iter().enumerate() {
        if let Statement::Instr { guard, instruction } = statement {
            for reg in instruction.defs() {
                found.entry(reg).and_modify(|one| *one = None).or_insert(guard.is_none().then_some(at));
            }
        }
    }
    found
}

struct Lanes<'f> {
    f: &'f Function,
    definitions: BTreeMap<Reg, Option<usize>>,
    /// Registers that depend on something.
    of: BTreeMap<Reg, Bits>,
}

impl Lanes<'_> {
    fn reg(&self, reg: Reg) -> Bits {
        self.of.get(&reg).copied().unwrap_or(0)
    }

    fn operand(&self, operand: &Operand) -> Bits {
        match operand {
            Operand::Reg(reg) => self.reg(*reg),
            Operand::Special(Special::LaneId) => LANES,
            Operand::Special(Special::TidX | Special::TidY | Special::TidZ) => ALL,
            _ => 0,
        }
    }

    /// Notes what a statement writes.
    fn statement(&mut self, at: usize, control: Bits) {
        let Some(Statement::Instr { guard, instruction }) = self.f.body.get(at) else { return };
        let bits = self.result(instruction) | control | guard.map_or(0, |g| self.reg(g.reg));
        if bits != 0 {
            instruction.defs().into_iter().for_each(|reg| *self.of.entry(reg).or_default() |= bits);
        }
    }

    fn result(&self, instruction: &Instruction) -> Bits {
        let uses = || instruction.uses().into_iter().fold(0, |bits, reg| bits | self.reg(reg));
        match instruction {
            Instruction::Mov { src, .. } => self.operand(src),
            Instruction::Binary { op, a, b, .. } => self.binary(*op, a, b),
            Instruction::Shfl { mode, src, lane, .. } => match (mode, lane) {
                (ShflMode::Idx, lane) if self.operand(lane) & LANES == 0 => uses() & !LANES,
                (ShflMode::Bfly, Operand::Int(_)) => self.operand(src),
                _ if self.operand(src) & LANES == 0 => uses(),
                _ => uses() | LANES,
            },
            Instruction::Vote { .. } => uses() & !LANES,
            Instruction::Ldmatrix { .. } | Instruction::Mma(_) | Instruction::Atom { .. } | Instruction::Hopper(_) => {
                ALL
            }
            Instruction::Ld { address, .. } => match address.base {
                // What one address holds is one value.
                Base::Reg(reg) if self.reg(reg) & LANES != 0 => self.reg(reg) | LANES,
                Base::Reg(reg) => self.reg(reg),
                _ => 0,
            },
            _ => uses(),
        }
    }

    fn binary(&self, op: BinaryOp, a: &Operand, b: &Operand) -> Bits {
        let both = self.operand(a) | self.operand(b);
        if both == 0 {
            return 0;
        }
        if let Operand::Reg(reg) = a
            && let Operand::Int(n) = b
            && self.is_lane_number(*reg)
        {
            let power = u32::try_from(*n).ok().filter(|n| n.is_power_of_two()).map(u32::trailing_zeros);
            let above = |shift: u32| if shift > 6 { 0 } else { both & ALL >> shift << shift };
            match (op, power) {
                (BinaryOp::Shr, _) => return u32::try_from(*n).map_or(ALL, above),
                (BinaryOp::Div, Some(shift)) => return above(shift),
                (BinaryOp::Rem, Some(shift)) => return both & !above(shift),
                (BinaryOp::And, _) => return both & *n as Bits,
                _ => {}
            }
        }
        let commutes = matches!(
            op,
            BinaryOp::Add
                | BinaryOp::Mul
                | BinaryOp::And
                | BinaryOp::Or
                | BinaryOp::Xor
                | BinaryOp::Min
                | BinaryOp::Max
        );
        if let (true, Operand::Reg(a), Operand::Reg(b)) = (commutes, a, b) {
            for (x, y) in [(a, b), (b, a)] {
                if let Some((source, distance)) = self.butterfly(*y)
                    && self.origin(*x) == source
                    && u32::try_from(distance).is_ok_and(u32::is_power_of_two)
                {
                    return both & !(distance as Bits);
                }
            }
        }
        both
    }

    /// The one instruction that writes a register.
    fn definition(&self, reg: Reg) -> Option<&Instruction> {
        let at = self.definitions.get(&reg).copied().flatten()?;
        match self.f.body.get(at) {
            Some(Statement::Instr { instruction, .. }) => Some(instruction),
            _ => None,
        }
    }

    /// Whether the low bits are the lane's number: `%tid.x`, or `%laneid`.
    fn is_lane_number(&self, reg: Reg) -> bool {
        let definition = self.definition(reg);
        matches!(definition, Some(Instruction::Mov { src: Operand::Special(Special::TidX | Special::LaneId), .. }))
    }

    /// The register that another holds the value, a half, or the truth of.
    fn origin(&self, reg: Reg) -> Reg {
        let mut now = reg;
        // Single definitions have no cycles, but for registers that are written before themselves; a few steps do.
        for _ in 0..8 {
            now = match self.definition(now) {
                Some(Instruction::Unpack { src, .. }) => *src,
                Some(
                    Instruction::Mov { src: Operand::Reg(src), .. } | Instruction::Cvt { src: Operand::Reg(src), .. },
                ) => *src,
                Some(Instruction::Selp { a: Operand::Int(1), b: Operand::Int(0), pred, .. }) => *pred,
                _ => return now,
            };
        }
        now
    }

    /// Where a register holds what lane `^ distance` has in another: that one, and the distance.
    fn butterfly(&self, reg: Reg) -> Option<(Reg, i64)> {
        match self.definition(reg)? {
            Instruction::Shfl {
                mode: ShflMode::Bfly, src: Operand::Reg(src), lane: Operand::Int(distance), ..
            } => Some((self.origin(*src), *distance)),
            Instruction::Pack { src, .. } => {
                let mut parts = src.iter().map(|part| self.butterfly(*part));
                let first = parts.next()??;
                parts.all(|part| part == Some(first)).then_some(first)
            }
            Instruction::Cvt { src: Operand::Reg(src), .. }
            | Instruction::Mov { src: Operand::Reg(src), .. }
            | Instruction::Setp { op: crate::CompareOp::Ne, a: Operand::Reg(src), b: Operand::Int(0), .. } => {
                self.butterfly(*src)
            }
            _ => None,
        }
    }
}
