//! The function under construction: new registers, and instructions that are written once where they would be repeated.
//!
//! Registers are of two kinds. Most are written by one instruction. The *mutable* ones hold loop variables and the register
//! arrays of the kernel. A pure instruction over the first kind is remembered until the end of the block that it stands
//! in, and a second one with the same operands uses its result.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    BinaryOp, CompareOp, Function, Guard, Instruction, Label, MadMode, Operand, Reg, RegClass, Rounding, ShflMode,
    Special, Statement, Type,
};

/// All lanes of a warp.
pub(super) const ALL_LANES: Operand = Operand::Int(0xffff_ffff);

pub(super) struct Code {
    pub(super) f: Function,
    scopes: Vec<BTreeMap<Instruction, Reg>>,
    remembered: BTreeSet<Reg>,
    mutable: BTreeSet<Reg>,
    labels: u32,
}

impl Code {
    pub(super) fn new(f: Function) -> Code {
        Code { f, scopes: vec![BTreeMap::new()], remembered: BTreeSet::new(), mutable: BTreeSet::new(), labels: 0 }
    }

    pub(super) fn reg(&mut self, class: RegClass) -> Reg {
        self.f.reg(class)
    }

    /// A register that is written more than once.
    pub(super) fn mutable(&mut self, class: RegClass) -> Reg {
        let reg = self.f.reg(class);
        self.mutable.insert(reg);
        reg
    }

    pub(super) fn is_mutable(&self, x: Operand) -> bool {
        x.reg().is_some_and(|r| self.mutable.contains(&r))
    }

    pub(super) fn push(&mut self, instruction: Instruction) {
        self.f.body.push(instruction.into());
    }

    pub(super) fn push_when(&mut self, guard: Option<Guard>, instruction: Instruction) {
        self.f.body.push(Statement::Instr { guard, instruction });
    }

    pub(super) fn comment(&mut self, text: impl Into<String>) {
        self.f.body.push(Statement::Comment(text.into()));
    }

    pub(super) fn new_label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(super) fn label(&mut self, label: Label) {
        self.f.body.push(Statement::Label(label));
    }

    pub(super) fn jump(&mut self, guard: Option<Guard>, target: Label) {
        self.push_when(guard, Instruction::Bra { uniform: false, target });
    }

    /// What is remembered from here on is forgotten at [`Code::leave`].
    pub(super) fn enter(&mut self) {
        self.scopes.push(BTreeMap::new());
    }

    pub(super) fn leave(&mut self) {
        self.scopes.pop();
    }

    /// The result of a pure instruction, of which `make` is given the destination.
    pub(super) fn pure(&mut self, class: RegClass, make: impl Fn(Reg) -> Instruction) -> Operand {
        let key = make(Reg { class, index: u32::MAX });
        if let Some(found) = self.scopes.iter().rev().find_map(|s| s.get(&key)) {
            return Operand::Reg(*found);
        }
        let changes = key.uses().iter().any(|r| self.mutable.contains(r));
        let dst = self.reg(class);
        self.push(make(dst));
        // Loop variables change only where the scope of their loop ends, but register arrays anywhere.
        if !changes && let Some(scope) = self.scopes.last_mut() {
            scope.insert(key, dst);
            self.remembered.insert(dst);
        }
        Operand::Reg(dst)
    }

    pub(super) fn binary(&mut self, op: BinaryOp, ty: Type, a: Operand, b: Operand) -> Operand {
        let result = if op == BinaryOp::MulWide { crate::visit::doubled(ty) } else { ty };
        self.pure(RegClass::of(result), |dst| Instruction::Binary { op, ty, dst, a, b })
    }

    pub(super) fn unary(&mut self, op: crate::UnaryOp, ty: Type, src: Operand) -> Operand {
        self.pure(RegClass::of(ty), |dst| Instruction::Unary { op, ty, dst, src })
    }

    pub(super) fn mad(&mut self, mode: MadMode, ty: Type, a: Operand, b: Operand, c: Operand) -> Operand {
        let result = if mode == MadMode::Wide { crate::visit::doubled(ty) } else { ty };
        self.pure(RegClass::of(result), |dst| Instruction::Mad { mode, ty, dst, a, b, c })
    }

    pub(super) fn fma(&mut self, ty: Type, a: Operand, b: Operand, c: Operand) -> Operand {
        self.pure(RegClass::of(ty), |dst| Instruction::Fma { ty, dst, a, b, c })
    }

    pub(super) fn setp(&mut self, op: CompareOp, ty: Type, a: Operand, b: Operand) -> Operand {
        self.pure(RegClass::Pred, |dst| Instruction::Setp { op, ty, dst, a, b })
    }

    pub(super) fn selp(&mut self, ty: Type, a: Operand, b: Operand, pred: Reg) -> Operand {
        self.pure(RegClass::of(ty), |dst| Instruction::Selp { ty, dst, a, b, pred })
    }

    /// A conversion. The result of 8 bits is in a register of 32.
    pub(super) fn cvt(&mut self, to: Type, from: Type, rounding: Option<Rounding>, src: Operand) -> Operand {
        let class = RegClass::of(to);
        let src = Operand::Reg(self.in_register(RegClass::of(from), src));
        self.pure(class, |dst| Instruction::Cvt { to, from, rounding, saturate: false, dst, src })
    }

    /// A conversion that extends or cuts off an integer, between registers of these types, of which the low bits of type
    /// `from` count.
    pub(super) fn extend(&mut self, to: Type, from: Type, src: Operand) -> Operand {
        let class = RegClass::of(to);
        self.pure(class, |dst| Instruction::Cvt { to, from, rounding: None, saturate: false, dst, src })
    }

    pub(super) fn mov(&mut self, class: RegClass, src: Operand) -> Operand {
        self.pure(class, |dst| Instruction::Mov { ty: mov_type(class), dst, src })
    }

    pub(super) fn special(&mut self, special: Special) -> Operand {
        self.pure(RegClass::B32, |dst| Instruction::Mov { ty: Type::U32, dst, src: Operand::Special(special) })
    }

    /// The number of the lane.
    pub(super) fn lane(&mut self) -> Operand {
        self.special(Special::LaneId)
    }

    /// The operand in a register of this class.
    pub(super) fn in_register(&mut self, class: RegClass, x: Operand) -> Reg {
        match x {
            Operand::Reg(r) if r.class == class => r,
            Operand::Int(v) if class == RegClass::Pred => {
                let zero = self.mov(RegClass::B32, Operand::Int(0));
                let dst = self.setp(CompareOp::Eq, Type::S32, zero, Operand::Int(i64::from(v == 0)));
                dst.reg().unwrap_or(Reg { class, index: 0 })
            }
            _ => match self.mov(class, x) {
                Operand::Reg(r) => r,
                _ => Reg { class, index: 0 },
            },
        }
    }

    /// Copies to a register.
    pub(super) fn assign(&mut self, dst: Reg, src: Operand) {
        if src != Operand::Reg(dst) {
            self.push(Instruction::Mov { ty: mov_type(dst.class), dst, src });
        }
    }

    /// How many statements there are.
    pub(super) fn len(&self) -> usize {
        self.f.body.len()
    }

    /// Gives a register a value that is used for nothing else. Where the last statement computed it, and stands behind
    /// `since`, that one writes the register instead.
    pub(super) fn assign_last(&mut self, dst: Reg, src: Operand, since: usize) {
        if let Operand::Reg(temporary) = src
            && self.f.body.len() > since
            && temporary.class == dst.class
            && !self.mutable.contains(&temporary)
            && !self.remembered.contains(&temporary)
            && temporary.index + 1 == self.f.registers.get(temporary.class)
            && let Some(Statement::Instr { guard: None, instruction }) = self.f.body.last_mut()
            && let Some(target) = instruction.single_def_mut()
            && *target == temporary
        {
            *target = dst;
            *self.f.registers.get_mut(temporary.class) -= 1;
            return;
        }
        self.assign(dst, src);
    }

    /// The value that another lane has of a register.
    pub(super) fn shfl(&mut self, mode: ShflMode, src: Operand, lane: Operand) -> Operand {
        let Operand::Reg(reg) = src else { return src };
        let clamp = Operand::Int(if mode == ShflMode::Up { 0 } else { 31 });
        let word = |code: &mut Code, src: Operand, class: RegClass| {
            let dst = code.reg(class);
            code.push(Instruction::Shfl { mode, dst, in_range: None, src, lane, clamp, mask: ALL_LANES });
            dst
        };
        match reg.class {
            RegClass::B32 | RegClass::F32 => Operand::Reg(word(self, src, reg.class)),
            RegClass::Pred => {
                let number = self.selp(Type::B32, Operand::Int(1), Operand::Int(0), reg);
                let moved = word(self, number, RegClass::B32);
                self.setp(CompareOp::Ne, Type::B32, Operand::Reg(moved), Operand::Int(0))
            }
            RegClass::B16 => {
                let number = self.extend(Type::U32, Type::U16, src);
                let moved = word(self, number, RegClass::B32);
                self.extend(Type::U16, Type::U32, Operand::Reg(moved))
            }
            RegClass::B64 | RegClass::F64 => {
                let halves = vec![self.reg(RegClass::B32), self.reg(RegClass::B32)];
                self.push(Instruction::Unpack { ty: Type::B64, dst: halves.clone(), src: reg });
                let moved = halves.into_iter().map(|h| word(self, Operand::Reg(h), RegClass::B32)).collect();
                let dst = self.reg(reg.class);
                self.push(Instruction::Pack { ty: Type::B64, dst, src: moved });
                Operand::Reg(dst)
            }
        }
    }

    /// A predicate of a condition, where it is none yet.
    pub(super) fn predicate(&mut self, x: Operand) -> Reg {
        self.in_register(RegClass::Pred, x)
    }
}

/// The type of `mov` for a class.
pub(super) fn mov_type(class: RegClass) -> Type {
    match class {
        RegClass::Pred => Type::Pred,
        RegClass::B16 => Type::B16,
        RegClass::B32 => Type::B32,
        RegClass::B64 => Type::B64,
        RegClass::F32 => Type::F32,
        RegClass::F64 => Type::F64,
    }
}
