//! Operands: that they exist, and have the expected types.

use std::collections::BTreeSet;

use crate::{Address, Base, Function, Instruction, Module, Operand, OperandType, Reg, Role, Space, Type};

pub(super) fn check_register(f: &Function, reg: Reg, say: &mut dyn FnMut(String)) {
    if reg.index >= f.registers.get(reg.class) {
        say(format!("register {reg} is not declared"));
    }
}

pub(super) fn check_operands(
    module: &Module,
    f: &Function,
    instruction: &Instruction,
    shared: &mut BTreeSet<usize>,
    say: &mut dyn FnMut(String),
) {
    let is_mov = matches!(instruction, Instruction::Mov { .. });
    instruction.operands(&mut |x, expected, role| match x {
        Operand::Reg(reg) => {
            check_register(f, reg, say);
            if !expected.takes(reg.class) {
                say(format!("register {reg} stands where {} is expected", describe(expected)));
            }
        }
        Operand::Int(_) => {
            if !immediate(expected).is_some_and(|ty| ty.is_int() || ty.is_bits() || is_packed(ty)) {
                say(format!("a number stands where {} is expected", describe(expected)));
            }
        }
        Operand::F32(_) if immediate(expected) == Some(Type::F32) && role == Role::Use => {}
        Operand::F64(_) if immediate(expected) == Some(Type::F64) && role == Role::Use => {}
        Operand::F32(_) | Operand::F64(_) => {
            say(format!("a floating-point number stands where {} is expected", describe(expected)));
        }
        Operand::Special(s) => {
            if !is_mov || immediate(expected) != Some(Type::U32) {
                say(format!("{s} is read by `mov.u32` only"));
            }
        }
        Operand::Shared(id) => {
            if !is_mov || immediate(expected) != Some(Type::U32) {
                say("the address of a shared array is read by `mov.u32` only".to_owned());
            }
            shared.insert(id.index());
            if id.index() >= module.shared.len() {
                say(format!("shared array {} does not exist", id.0));
            }
        }
    });
    for (address, space, bytes) in addresses(instruction) {
        if let Base::Shared(id) = address.base {
            shared.insert(id.index());
        }
        check_address(module, f, address, space, bytes, say);
    }
}

/// The type of a number in this place.
fn immediate(expected: OperandType) -> Option<Type> {
    match expected {
        OperandType::Exact(ty) | OperandType::Low(ty) => Some(ty),
        OperandType::Address(_) => None,
    }
}

fn is_packed(ty: Type) -> bool {
    matches!(ty, Type::F16x2 | Type::Bf16x2)
}

fn describe(expected: OperandType) -> String {
    match expected {
        OperandType::Exact(ty) => format!("{ty}"),
        OperandType::Low(ty) => format!("{ty} or wider"),
        OperandType::Address(space) => format!("an address of {space} memory"),
    }
}

/// The addresses of an instruction, with their spaces and the bytes that are touched together.
fn addresses(instruction: &Instruction) -> Vec<(Address, Space, u32)> {
    match instruction {
        Instruction::Ld { space, ty, dst, address, .. } => vec![(*address, *space, ty.bytes() * dst.len() as u32)],
        Instruction::St { space, ty, src, address, .. } => vec![(*address, *space, ty.bytes() * src.len() as u32)],
        Instruction::Prefetch { address, .. } => vec![(*address, Space::Global, 1)],
        Instruction::Atom { space, ty, address, .. } | Instruction::Red { space, ty, address, .. } => {
            vec![(*address, *space, ty.bytes())]
        }
        Instruction::CpAsync { dst, src, bytes, .. } => {
            vec![(*dst, Space::Shared, *bytes), (*src, Space::Global, *bytes)]
        }
        Instruction::Ldmatrix { address, .. } => vec![(*address, Space::Shared, 16)],
        Instruction::Hopper(h) => h.addresses(),
        _ => Vec::new(),
    }
}

fn check_address(
    module: &Module,
    f: &Function,
    address: Address,
    space: Space,
    bytes: u32,
    say: &mut dyn FnMut(String),
) {
    let offset = i64::from(address.offset);
    // (alignment of the base, size if known)
    let (found, align, size) = match address.base {
        // What a register points to is not known here; offsets need not be aligned on their own.
        Base::Reg(_) => (None, 1, None),
        Base::Param(id) => match f.params.get(id.index()) {
            Some(p) => (Some(Space::Param), p.ty.bytes(), Some(p.ty.bytes())),
            None => return say(format!("parameter {} does not exist", id.0)),
        },
        Base::Shared(id) => match module.shared.get(id.index()) {
            Some(s) => (Some(Space::Shared), s.align, s.bytes),
            None => return say(format!("shared array {} does not exist", id.0)),
        },
        Base::Const(id) => match module.constants.get(id.index()) {
            Some(c) => (Some(Space::Const), c.align, u32::try_from(c.bytes.len()).ok()),
            None => return say(format!("constant array {} does not exist", id.0)),
        },
    };
    let Some(found) = found else {
        if space == Space::Param {
            say("parameters are read by name".to_owned());
        }
        return;
    };
    if found != space {
        return say(format!("the address is one of {found} memory, {space} expected"));
    }
    if align < bytes || offset % i64::from(bytes.max(1)) != 0 {
        say(format!("the address is not aligned to {bytes} bytes"));
    }
    if offset < 0 || size.is_some_and(|size| offset + i64::from(bytes) > i64::from(size)) {
        say(format!("{bytes} bytes at {offset} are outside of the array"));
    }
}
