//! What an instruction reads and writes, each operand with the type that the instruction expects there.

use crate::{
    Address, Base, BinaryOp, Instruction, MadMode, Mma, Operand, Reg, RegClass, Space, Type, UnaryOp, VoteMode,
};

/// What becomes of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// It is written.
    Def,
    /// It is read.
    Use,
}

/// What an instruction expects of an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperandType {
    /// A value of this type.
    Exact(Type),
    /// A value of this type in the low bits of a register that may be wider: `ld`, `st` and `cvt`.
    Low(Type),
    /// The register of an address in this space.
    Address(Space),
}

impl OperandType {
    /// Whether a register of this class will do.
    #[must_use]
    pub fn takes(self, class: RegClass) -> bool {
        match self {
            OperandType::Exact(ty) => class.takes(ty),
            OperandType::Low(ty) => class.takes_low(ty),
            OperandType::Address(Space::Shared) => class == RegClass::B32,
            OperandType::Address(_) => class == RegClass::B64,
        }
    }
}

/// The integer type of twice the width.
pub(crate) fn doubled(ty: Type) -> Type {
    match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        Type::S32 => Type::S64,
        other => other,
    }
}

/// The untyped width of half the size.
pub(crate) fn part(ty: Type, parts: usize) -> Type {
    match ty.bits() as usize / parts.max(1) {
        8 => Type::B8,
        16 => Type::B16,
        32 => Type::B32,
        _ => ty,
    }
}

impl Instruction {
    /// Calls `f` on every operand, in the order of the text, with its type and its role.
    pub fn operands(&self, f: &mut dyn FnMut(Operand, OperandType, Role)) {
        use OperandType::{Exact, Low};
        let mut v = Visit { f };
        match self {
            Instruction::Mov { ty, dst, src } => {
                v.def(*dst, Exact(*ty));
                v.read(*src, Exact(*ty));
            }
            Instruction::Pack { ty, dst, src } => {
                v.def(*dst, Exact(*ty));
                src.iter().for_each(|r| v.read(*r, Exact(part(*ty, src.len()))));
            }
            Instruction::Unpack { ty, dst, src } => {
                dst.iter().for_each(|r| v.def(*r, Exact(part(*ty, dst.len()))));
                v.read(*src, Exact(*ty));
            }
            Instruction::Unary { op, ty, dst, src } => {
                let result = if matches!(op, UnaryOp::Popc | UnaryOp::Clz) { Type::U32 } else { *ty };
                v.def(*dst, Exact(result));
                v.read(*src, Exact(*ty));
            }
            Instruction::Binary { op, ty, dst, a, b } => {
                v.def(*dst, Exact(if *op == BinaryOp::MulWide { doubled(*ty) } else { *ty }));
                v.read(*a, Exact(*ty));
                v.read(*b, Exact(if matches!(op, BinaryOp::Shl | BinaryOp::Shr) { Type::U32 } else { *ty }));
            }
            Instruction::Mad { mode, ty, dst, a, b, c } => {
                let sum = if *mode == MadMode::Wide { doubled(*ty) } else { *ty };
                v.def(*dst, Exact(sum));
                v.read(*a, Exact(*ty));
                v.read(*b, Exact(*ty));
                v.read(*c, Exact(sum));
            }
            Instruction::Fma { ty, dst, a, b, c } => {
                v.def(*dst, Exact(*ty));
                [a, b, c].into_iter().for_each(|x| v.read(*x, Exact(*ty)));
            }
            Instruction::Dp4a { a_type, b_type, dst, a, b, c } => {
                let sum = if a_type.is_signed() || b_type.is_signed() { Type::S32 } else { Type::U32 };
                v.def(*dst, Exact(sum));
                v.read(*a, Exact(Type::B32));
                v.read(*b, Exact(Type::B32));
                v.read(*c, Exact(sum));
            }
            Instruction::Bfe { ty, dst, a, start, len } => {
                v.def(*dst, Exact(*ty));
                v.read(*a, Exact(*ty));
                v.read(*start, Exact(Type::U32));
                v.read(*len, Exact(Type::U32));
            }
            Instruction::Bfi { ty, dst, a, into, start, len } => {
                v.def(*dst, Exact(*ty));
                v.read(*a, Exact(*ty));
                v.read(*into, Exact(*ty));
                v.read(*start, Exact(Type::U32));
                v.read(*len, Exact(Type::U32));
            }
            Instruction::Prmt { dst, a, b, selector } => {
                v.def(*dst, Exact(Type::B32));
                [a, b, selector].into_iter().for_each(|x| v.read(*x, Exact(Type::B32)));
            }
            Instruction::Cvt { to, from, dst, src, .. } => {
                // `tf32` and the packed types are results in `b32` registers.
                v.def(*dst, Low(*to));
                v.read(*src, Low(*from));
            }
            Instruction::CvtPair { to, dst, hi, lo } => {
                v.def(*dst, Exact(*to));
                v.read(*hi, Exact(Type::F32));
                v.read(*lo, Exact(Type::F32));
            }
            Instruction::Setp { ty, dst, a, b, .. } => {
                v.def(*dst, Exact(Type::Pred));
                v.read(*a, Exact(*ty));
                v.read(*b, Exact(*ty));
            }
            Instruction::Selp { ty, dst, a, b, pred } => {
                v.def(*dst, Exact(*ty));
                v.read(*a, Exact(*ty));
                v.read(*b, Exact(*ty));
                v.read(*pred, Exact(Type::Pred));
            }
            Instruction::Ld { space, ty, dst, address, .. } => {
                dst.iter().for_each(|r| v.def(*r, Low(*ty)));
                v.address(*address, *space);
            }
            Instruction::St { space, ty, address, src, .. } => {
                v.address(*address, *space);
                src.iter().for_each(|x| v.read(*x, Low(*ty)));
            }
            Instruction::Prefetch { address, .. } => v.address(*address, Space::Global),
            Instruction::Cvta { dst, src, .. } => {
                v.def(*dst, Exact(Type::U64));
                v.read(*src, Exact(Type::U64));
            }
            Instruction::Shfl { dst, in_range, src, lane, clamp, mask, .. } => {
                v.def(*dst, Exact(Type::B32));
                if let Some(p) = in_range {
                    v.def(*p, Exact(Type::Pred));
                }
                [src, lane, clamp, mask].into_iter().for_each(|x| v.read(*x, Exact(Type::B32)));
            }
            Instruction::Vote { mode, dst, src, mask } => {
                v.def(*dst, Exact(if *mode == VoteMode::Ballot { Type::B32 } else { Type::Pred }));
                v.read(*src, Exact(Type::Pred));
                v.read(*mask, Exact(Type::B32));
            }
            Instruction::Atom { space, ty, dst, address, src, second, .. } => {
                v.def(*dst, Exact(*ty));
                v.address(*address, *space);
                v.read(*src, Exact(*ty));
                if let Some(x) = second {
                    v.read(*x, Exact(*ty));
                }
            }
            Instruction::Red { space, ty, address, src, .. } => {
                v.address(*address, *space);
                v.read(*src, Exact(*ty));
            }
            Instruction::CpAsync { dst, src, src_bytes, .. } => {
                v.address(*dst, Space::Shared);
                v.address(*src, Space::Global);
                if let Some(x) = src_bytes {
                    v.read(*x, Exact(Type::U32));
                }
            }
            Instruction::Ldmatrix { dst, address, .. } => {
                dst.iter().for_each(|r| v.def(*r, Exact(Type::B32)));
                v.address(*address, Space::Shared);
            }
            Instruction::Mma(mma) => v.mma(mma),
            Instruction::Hopper(h) => h.visit(&mut v),
            Instruction::BarWarpSync { mask } => v.read(*mask, Exact(Type::B32)),
            Instruction::Bra { .. }
            | Instruction::BarSync { .. }
            | Instruction::Fence { .. }
            | Instruction::CpAsyncCommit
            | Instruction::CpAsyncWait { .. }
            | Instruction::Ret
            | Instruction::Exit
            | Instruction::Trap => {}
        }
    }

    /// The destination, of instructions that write one register and nothing else.
    pub(crate) fn single_def_mut(&mut self) -> Option<&mut Reg> {
        match self {
            Instruction::Mov { dst, .. }
            | Instruction::Pack { dst, .. }
            | Instruction::Unary { dst, .. }
            | Instruction::Binary { dst, .. }
            | Instruction::Mad { dst, .. }
            | Instruction::Fma { dst, .. }
            | Instruction::Dp4a { dst, .. }
            | Instruction::Cvt { dst, .. }
            | Instruction::Selp { dst, .. }
            | Instruction::Shfl { dst, in_range: None, .. } => Some(dst),
            Instruction::Ld { dst, .. } => match dst.as_mut_slice() {
                [dst] => Some(dst),
                _ => None,
            },
            _ => None,
        }
    }

    /// The registers that it writes.
    #[must_use]
    pub fn defs(&self) -> Vec<Reg> {
        let mut out = Vec::new();
        self.operands(&mut |x, _, role| out.extend(x.reg().filter(|_| role == Role::Def)));
        out
    }

    /// The registers that it reads, but its guard.
    #[must_use]
    pub fn uses(&self) -> Vec<Reg> {
        let mut out = Vec::new();
        self.operands(&mut |x, _, role| out.extend(x.reg().filter(|_| role == Role::Use)));
        out
    }
}

pub(crate) struct Visit<'f> {
    f: &'f mut dyn FnMut(Operand, OperandType, Role),
}

impl Visit<'_> {
    pub(crate) fn def(&mut self, reg: Reg, ty: OperandType) {
        (self.f)(Operand::Reg(reg), ty, Role::Def);
    }

    pub(crate) fn read(&mut self, x: impl Into<Operand>, ty: OperandType) {
        (self.f)(x.into(), ty, Role::Use);
    }

    pub(crate) fn address(&mut self, address: Address, space: Space) {
        if let Base::Reg(reg) = address.base {
            self.read(reg, OperandType::Address(space));
        }
    }

    fn mma(&mut self, mma: &Mma) {
        let accumulate = OperandType::Exact(if mma.accumulate == Type::F16 { Type::F16x2 } else { mma.accumulate });
        let inputs = OperandType::Exact(Type::B32);
        mma.d.iter().for_each(|r| self.def(*r, accumulate));
        mma.a.iter().chain(&mma.b).for_each(|r| self.read(*r, inputs));
        mma.c.iter().for_each(|r| self.read(*r, accumulate));
        if let Some(sparse) = mma.sparse {
            self.read(sparse.metadata, inputs);
        }
    }
}
