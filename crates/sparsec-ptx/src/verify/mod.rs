//! Verification. All errors are collected, each with its function and its line.
//!
//! 1. Names are identifiers and unique in the module, those of parameters in their function; alignments are powers of two; a function's static shared arrays take
//!    at most 48 KiB.
//! 2. Every register is below its function's count, every parameter, array and label exists, and a label stands once.
//! 3. Every operand has the type that its instruction expects, and every instruction has a type that it exists for on the
//!    module's target.
//! 4. Addresses are of the instruction's space; vector accesses are aligned where the offset tells.
//! 5. Every register is written on all paths before it is read; what a guard may suppress counts as not written.
//! 6. Instructions that all threads of a warp or block take part in have no guard.
//! 7. Nor do they stand where lanes of a warp, or for products of warp groups the warps of a group, may have gone different
//!    ways (`uniform.rs`).
//! 8. A function ends with `ret`, `exit`, `trap` or an unconditional jump.

mod flow;
mod hopper;
mod operand;
mod types;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::{Function, Instruction, Label, Module, Statement, print_instruction};

/// Something that does not hold of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct VerifyError {
    /// The function and the statement, or the declaration.
    pub place: String,
    /// What is wrong there.
    pub message: String,
}

/// Everything that does not hold of a module; at least one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct VerifyErrors(pub Vec<VerifyError>);

impl fmt::Display for VerifyErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the PTX module does not verify")?;
        self.0.iter().try_for_each(|e| write!(f, "\n  {e}"))
    }
}

/// Verifies a module.
///
/// # Errors
/// Everything in the module's list that doesn't hold.
pub fn verify_module(module: &Module) -> Result<(), VerifyErrors> {
    let mut errors = Errors(Vec::new());
    declarations(module, &mut errors);
    for function in &module.functions {
        verify_function(module, function, &mut errors);
    }
    if errors.0.is_empty() { Ok(()) } else { Err(VerifyErrors(errors.0)) }
}

pub(crate) struct Errors(Vec<VerifyError>);

impl Errors {
    fn push(&mut self, place: impl Into<String>, message: impl Into<String>) {
        self.0.push(VerifyError { place: place.into(), message: message.into() });
    }

    fn check(&mut self, holds: bool, place: &str, message: impl Into<String>) {
        if !holds {
            self.push(place, message);
        }
    }
}

/// The registers that are read where they may not have been written, in order. The labels of the function exist.
pub(crate) fn read_before_written(f: &Function) -> BTreeSet<crate::Reg> {
    let labels = f.body.iter().enumerate().filter_map(|(at, s)| match s {
        Statement::Label(label) => Some((*label, at)),
        _ => None,
    });
    let mut found = BTreeSet::new();
    flow::check_flow(f, &labels.collect(), &mut |_, problem| {
        if let flow::Problem::NotWritten(reg) = problem {
            found.insert(reg);
        }
    });
    found
}

fn is_identifier(name: &str) -> bool {
    let word = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

fn declarations(module: &Module, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    let names = module.shared.iter().map(|s| &s.name).chain(module.constants.iter().map(|c| &c.name));
    let names = names.chain(module.functions.iter().map(|f| &f.name));
    for name in names {
        errors.check(is_identifier(name), name, "is no identifier");
        errors.check(seen.insert(name), name, "is declared twice");
    }
    for f in &module.functions {
        let mut own = seen.clone();
        for p in &f.params {
            errors.check(is_identifier(&p.name), &p.name, "is no identifier");
            errors.check(own.insert(&p.name), &p.name, "is declared twice");
        }
    }
    for s in &module.shared {
        errors.check(s.align.is_power_of_two(), &s.name, "its alignment is no power of two");
    }
    for c in &module.constants {
        errors.check(c.align.is_power_of_two(), &c.name, "its alignment is no power of two");
        errors.check(!c.bytes.is_empty(), &c.name, "is empty");
    }
    for text in module.comments.iter().chain(module.functions.iter().flat_map(|f| &f.comments)) {
        errors.check(one_line(text), text, "a comment has a line break");
    }
}

fn one_line(text: &str) -> bool {
    !text.contains(['\n', '\r'])
}

fn verify_function(module: &Module, f: &Function, errors: &mut Errors) {
    let mut labels: BTreeMap<Label, usize> = BTreeMap::new();
    let before = errors.0.len();
    for p in &f.params {
        errors.check(p.ty.bits() >= 8, &p.name, "a predicate cannot be a parameter");
    }
    for (at, statement) in f.body.iter().enumerate() {
        if let Statement::Label(label) = statement {
            errors.check(labels.insert(*label, at).is_none(), &f.name, format!("{label} stands twice"));
        }
    }
    let mut shared: BTreeSet<usize> = BTreeSet::new();
    for (at, statement) in f.body.iter().enumerate() {
        let place = || format!("{}, statement {at}", f.name);
        match statement {
            Statement::Label(_) => {}
            Statement::Comment(text) => errors.check(one_line(text), &place(), "has a line break"),
            Statement::Instr { guard, instruction } => {
                let place = || format!("{} `{}`", place(), print_instruction(module, f, instruction));
                let mut say = |message: String| errors.push(place(), message);
                if let Some(guard) = guard {
                    operand::check_register(f, guard.reg, &mut say);
                    if guard.reg.class != crate::RegClass::Pred {
                        say("a guard is a predicate".to_owned());
                    }
                    if needs_all_threads(instruction) {
                        say("all threads must take part, so it can have no guard".to_owned());
                    }
                }
                if let Instruction::Bra { target, .. } = instruction
                    && !labels.contains_key(target)
                {
                    say(format!("{target} does not exist"));
                }
                types::check_types(module.target, instruction, &mut say);
                operand::check_operands(module, f, instruction, &mut shared, &mut say);
            }
        }
    }
    let static_bytes: u64 = shared.iter().filter_map(|s| module.shared.get(*s)?.bytes).map(u64::from).sum();
    errors.check(static_bytes <= 48 << 10, &f.name, "static shared arrays take more than 48 KiB");
    if errors.0.len() == before {
        flow::check_flow(f, &labels, &mut |at, problem| {
            let text = match f.body.get(at) {
                Some(Statement::Instr { instruction, .. }) => print_instruction(module, f, instruction),
                _ => String::new(),
            };
            errors.push(format!("{}, statement {at} `{text}`", f.name), problem.to_string());
        });
        uniform::check_uniform(f, &labels, &mut |at| {
            let Some(Statement::Instr { instruction, .. }) = f.body.get(at) else { return };
            let text = print_instruction(module, f, instruction);
            let message = match instruction {
                Instruction::Hopper(_) => {
                    "all threads of a warp group must take part, and some may have gone another way"
                }
                _ => "all lanes must take part, and some may have gone another way",
            };
            errors.push(format!("{}, statement {at} `{text}`", f.name), message);
        });
    }
}

/// Whether all threads of the warp, of its group, or of the block, have to reach this instruction together.
fn needs_all_threads(instruction: &Instruction) -> bool {
    match instruction {
        Instruction::BarSync { .. } | Instruction::Ldmatrix { .. } | Instruction::Mma(_) => true,
        Instruction::Hopper(h) => h.is_of_a_group(),
        _ => false,
    }
}
