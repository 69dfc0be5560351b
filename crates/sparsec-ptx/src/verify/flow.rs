//! What depends on the order of statements: registers are written before they are read, and the end is not run over.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{Function, Instruction, Label, Reg, RegClass, Statement};

/// What is wrong with the order of statements.
pub(super) enum Problem {
    /// The register is read where it may not have been written.
    NotWritten(Reg),
    /// The last statement is followed by nothing.
    RunsOver,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::NotWritten(r) => write!(f, "{r} is read where it may not have been written"),
            Problem::RunsOver => f.write_str("the function runs over its end"),
        }
    }
}

/// A set of registers as bits.
#[derive(Clone, PartialEq)]
struct RegSet(Vec<u64>);

impl RegSet {
    fn insert(&mut self, i: usize) {
        if let Some(word) = self.0.get_mut(i / 64) {
            *word |= 1 << (i % 64);
        }
    }

    fn contains(&self, i: usize) -> bool {
        self.0.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
    }

    fn intersect(&mut self, other: &RegSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a &= b);
    }
}

/// Statements that are run one after the other.
pub(super) struct Block {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Blocks that may come next, by number.
    pub(super) successors: Vec<usize>,
    falls_off: bool,
}

/// Checks a function whose labels and registers exist.
pub(super) fn check_flow(f: &Function, labels: &BTreeMap<Label, usize>, say: &mut dyn FnMut(usize, Problem)) {
    let blocks = blocks(f, labels);
    let mut first_of = BTreeMap::new();
    let mut total = 0;
    for class in RegClass::ALL {
        first_of.insert(*class, total);
        total += f.registers.get(*class) as usize;
    }
    let number = |r: Reg| first_of.get(&r.class).copied().unwrap_or(0) + r.index as usize;
    let words = total.div_ceil(64);

    // What is written at the start of each block, on all paths to it; `None` where none has been found.
    let mut at_start: Vec<Option<RegSet>> = vec![None; blocks.len()];
    let mut waiting = BTreeSet::new();
    if let Some(first) = at_start.first_mut() {
        *first = Some(RegSet(vec![0; words]));
        waiting.insert(0);
    }
    while let Some(b) = waiting.pop_first() {
        let (Some(block), Some(Some(start))) = (blocks.get(b), at_start.get(b)) else { continue };
        let mut written = start.clone();
        for statement in f.body.get(block.start..block.end).unwrap_or_default() {
            if let Statement::Instr { guard: None, instruction } = statement {
                instruction.defs().into_iter().for_each(|r| written.insert(number(r)));
            }
        }
        for s in &block.successors {
            let Some(slot) = at_start.get_mut(*s) else { continue };
            let new = match slot {
                None => written.clone(),
                Some(old) => {
                    let mut both = old.clone();
                    both.intersect(&written);
                    both
                }
            };
            if slot.as_ref() != Some(&new) {
                *slot = Some(new);
                waiting.insert(*s);
            }
        }
    }
    for (block, start) in blocks.iter().zip(at_start) {
        // Code that nothing reaches has nothing to be checked.
        let Some(mut written) = start else { continue };
        for at in block.start..block.end {
            let Some(Statement::Instr { guard, instruction }) = f.body.get(at) else { continue };
            for r in instruction.uses().into_iter().chain(guard.map(|g| g.reg)) {
                if !written.contains(number(r)) {
                    say(at, Problem::NotWritten(r));
                }
            }
            if guard.is_none() {
                instruction.defs().into_iter().for_each(|r| written.insert(number(r)));
            }
        }
        if block.falls_off {
            say(block.end.saturating_sub(1), Problem::RunsOver);
        }
    }
}

/// The blocks of a function, in the order of its statements.
pub(super) fn blocks(f: &Function, labels: &BTreeMap<Label, usize>) -> Vec<Block> {
    let mut starts = BTreeSet::from([0]);
    for (at, statement) in f.body.iter().enumerate() {
        match statement {
            Statement::Label(_) => {
                starts.insert(at);
            }
            Statement::Instr { instruction, .. } if ends_block(instruction) => {
                starts.insert(at + 1);
            }
            _ => {}
        }
    }
    starts.remove(&f.body.len());
    let starts: Vec<usize> = starts.into_iter().collect();
    let index_of = |at: usize| starts.binary_search(&at).ok();
    let block = |i: usize, start: usize| {
        let end = starts.get(i + 1).copied().unwrap_or(f.body.len());
        let mut successors = Vec::new();
        let mut falls = true;
        if let Some(Statement::Instr { guard, instruction }) = f.body.get(end.saturating_sub(1)) {
            if let Instruction::Bra { target, .. } = instruction {
                successors.extend(labels.get(target).and_then(|at| index_of(*at)));
            }
            falls = !ends_block(instruction) || guard.is_some();
        }
        if falls && i + 1 < starts.len() {
            successors.push(i + 1);
        }
        Block { start, end, successors, falls_off: falls && i + 1 == starts.len() }
    };
    starts.iter().enumerate().map(|(i, start)| block(i, *start)).collect()
}

fn ends_block(instruction: &Instruction) -> bool {
    matches!(instruction, Instruction::Bra { .. } | Instruction::Ret | Instruction::Exit | Instruction::Trap)
}
