//! Which types and modifiers each instruction exists for.

use crate::{
    AtomOp, BinaryOp, CacheHint, CompareOp, Instruction, MadMode, Mma, MmaShape, Rounding, Space, Target, Type,
    UnaryOp, VoteMode,
};

const WORDS: [Type; 6] = [Type::U16, Type::S16, Type::U32, Type::S32, Type::U64, Type::S64];
const WIDE: [Type; 4] = [Type::U32, Type::S32, Type::U64, Type::S64];

pub(super) fn check_types(target: Target, instruction: &Instruction, say: &mut dyn FnMut(String)) {
    let mut check = |holds: bool, message: &str| {
        if !holds {
            say(message.to_owned());
        }
    };
    let no_such = "the instruction does not exist for this type";
    match instruction {
        Instruction::Mov { ty, .. } => check(ty.bits() != 8 && *ty != Type::Tf32 && !is_small_float(*ty), no_such),
        Instruction::Pack { ty, src: parts, .. } | Instruction::Unpack { ty, dst: parts, .. } => {
            let whole = matches!((ty, parts.len()), (Type::B32, 2) | (Type::B64, 2 | 4));
            check(whole, "a b32 has two parts, a b64 two or four");
        }
        Instruction::Unary { op, ty, .. } => check(unary_exists(*op, *ty), no_such),
        Instruction::Binary { op, ty, .. } => check(binary_exists(target, *op, *ty), no_such),
        Instruction::Mad { mode, ty, .. } => {
            check(if *mode == MadMode::Wide { WORDS[..4].contains(ty) } else { WORDS.contains(ty) }, no_such);
        }
        Instruction::Fma { ty, .. } => {
            let exists = matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::F32 | Type::F64);
            check(exists, no_such);
        }
        Instruction::Dp4a { a_type, b_type, .. } => {
            let fits = |t: &Type| matches!(t, Type::U32 | Type::S32);
            check(fits(a_type) && fits(b_type), no_such);
        }
        Instruction::Bfe { ty, .. } => check(WIDE.contains(ty), no_such),
        Instruction::Bfi { ty, .. } => check(matches!(ty, Type::B32 | Type::B64), no_such),
        Instruction::Prmt { .. } => {}
        Instruction::Cvt { to, from, rounding, saturate, .. } => {
            if let Err(message) = conversion(target, *to, *from, *rounding, *saturate) {
                check(false, message);
            }
        }
        Instruction::CvtPair { to, .. } => check(matches!(to, Type::F16x2 | Type::Bf16x2), no_such),
        Instruction::Setp { op, ty, .. } => check(comparison_exists(*op, *ty), no_such),
        Instruction::Selp { ty, .. } => {
            check(ty.bits() >= 16 && (!ty.is_float() || matches!(ty, Type::F32 | Type::F64)), no_such);
        }
        Instruction::Ld { space, hint, ty, dst, .. } => {
            check(in_memory(*ty), no_such);
            check(vector_fits(*ty, dst.len()), "one, two or four values of at most 16 bytes");
            check(*space != Space::Param || dst.len() == 1, "parameters are loaded one by one");
            let global = *space == Space::Global;
            check(hint.is_none() || global, "only global memory has hints for caches");
        }
        Instruction::St { space, hint, ty, src, .. } => {
            check(in_memory(*ty), no_such);
            check(vector_fits(*ty, src.len()), "one, two or four values of at most 16 bytes");
            check(matches!(space, Space::Global | Space::Shared), "the space cannot be written");
            let allowed = !matches!(hint, Some(CacheHint::Nc | CacheHint::Ca));
            check(hint.is_none() || (allowed && *space == Space::Global), "a store cannot have this hint");
        }
        Instruction::Cvta { space, .. } => check(*space != Space::Param, "parameters have no generic address"),
        Instruction::BarSync { barrier, threads } => {
            check(*barrier < 16, "there are 16 barriers");
            check(threads.is_none_or(|n| n > 0 && n % 32 == 0), "whole warps wait at a barrier");
        }
        Instruction::Vote { mode, dst, .. } => {
            let expected = if *mode == VoteMode::Ballot { crate::RegClass::B32 } else { crate::RegClass::Pred };
            check(dst.class == expected, "the result has another type");
        }
        Instruction::Atom { space, op, ty, second, .. } => {
            check(matches!(space, Space::Global | Space::Shared), "the space cannot be written");
            check(atomic_exists(*op, *ty), no_such);
            check(second.is_some() == (*op == AtomOp::Cas), "`cas`, and only it, takes two values");
        }
        Instruction::Red { space, op, ty, .. } => {
            check(matches!(space, Space::Global | Space::Shared), "the space cannot be written");
            check(atomic_exists(*op, *ty) && !matches!(op, AtomOp::Exch | AtomOp::Cas), no_such);
        }
        Instruction::CpAsync { bypass_l1, bytes, .. } => {
            check(matches!(bytes, 4 | 8 | 16), "4, 8 or 16 bytes are copied");
            check(!bypass_l1 || *bytes == 16, "`.cg` copies 16 bytes");
        }
        Instruction::Ldmatrix { dst, .. } => check(matches!(dst.len(), 1 | 2 | 4), "1, 2 or 4 matrices are loaded"),
        Instruction::Mma(m) => check_mma(m, say),
        Instruction::Hopper(h) => super::hopper::check_hopper(target, h, say),
        Instruction::Shfl { .. }
        | Instruction::Prefetch { .. }
        | Instruction::Bra { .. }
        | Instruction::BarWarpSync { .. }
        | Instruction::Fence { .. }
        | Instruction::CpAsyncCommit
        | Instruction::CpAsyncWait { .. }
        | Instruction::Ret
        | Instruction::Exit
        | Instruction::Trap => {}
    }
}

/// Types that only arithmetic has; copies treat them as bits.
fn is_small_float(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::Tf32)
}

fn in_memory(ty: Type) -> bool {
    ty != Type::Pred && !is_small_float(ty)
}

fn vector_fits(ty: Type, count: usize) -> bool {
    matches!(count, 1 | 2 | 4) && count as u32 * ty.bytes() <= 16
}

fn unary_exists(op: UnaryOp, ty: Type) -> bool {
    let signed = ty.is_signed() && ty.bits() >= 16;
    let float = ty.is_float() && ty != Type::Tf32;
    match op {
        UnaryOp::Neg | UnaryOp::Abs => signed || float,
        UnaryOp::Not => ty == Type::Pred || (ty.is_bits() && ty.bits() >= 16),
        UnaryOp::Sqrt | UnaryOp::Rcp => matches!(ty, Type::F32 | Type::F64),
        UnaryOp::Popc | UnaryOp::Clz | UnaryOp::Brev => matches!(ty, Type::B32 | Type::B64),
    }
}

fn binary_exists(target: Target, op: BinaryOp, ty: Type) -> bool {
    let single = matches!(ty, Type::F32 | Type::F64);
    let half = matches!(ty, Type::F16 | Type::F16x2);
    let brain = matches!(ty, Type::Bf16 | Type::Bf16x2);
    match op {
        BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul => {
            WORDS.contains(&ty) || single || half || (brain && target == Target::Sm90a)
        }
        BinaryOp::MulHi | BinaryOp::Rem => WORDS.contains(&ty),
        BinaryOp::MulWide => WORDS[..4].contains(&ty),
        BinaryOp::Div => WORDS.contains(&ty) || single,
        BinaryOp::Min | BinaryOp::Max => WORDS.contains(&ty) || single || half || brain,
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => ty == Type::Pred || (ty.is_bits() && ty.bits() >= 16),
        BinaryOp::Shl => ty.is_bits() && ty.bits() >= 16,
        BinaryOp::Shr => (ty.is_bits() && ty.bits() >= 16) || WORDS.contains(&ty),
    }
}

fn comparison_exists(op: CompareOp, ty: Type) -> bool {
    let float = matches!(ty, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
    let plain =
        matches!(op, CompareOp::Eq | CompareOp::Ne | CompareOp::Lt | CompareOp::Le | CompareOp::Gt | CompareOp::Ge);
    let bits = ty.is_bits() && ty.bits() >= 16 && matches!(op, CompareOp::Eq | CompareOp::Ne);
    float || (plain && WORDS.contains(&ty)) || bits
}

fn atomic_exists(op: AtomOp, ty: Type) -> bool {
    match op {
        AtomOp::Add => matches!(ty, Type::U32 | Type::S32 | Type::U64 | Type::F32 | Type::F64),
        AtomOp::Min | AtomOp::Max => WIDE.contains(&ty),
        AtomOp::And | AtomOp::Or | AtomOp::Xor | AtomOp::Exch | AtomOp::Cas => matches!(ty, Type::B32 | Type::B64),
    }
}

fn conversion(
    target: Target,
    to: Type,
    from: Type,
    rounding: Option<Rounding>,
    saturate: bool,
) -> Result<(), &'static str> {
    let plain = |t: Type| t.is_int() || matches!(t, Type::F16 | Type::Bf16 | Type::F32 | Type::F64);
    if to == Type::Tf32 {
        let rna = rounding == Some(Rounding::Rna) && from == Type::F32 && !saturate;
        return if rna { Ok(()) } else { Err("tf32 is made by `cvt.rna.tf32.f32` only") };
    }
    if !plain(to) || !plain(from) {
        return Err("there is no such conversion");
    }
    let brain = |t| t == Type::Bf16;
    if (brain(to) && from != Type::F32 || brain(from) && to != Type::F32) && target == Target::Sm80 {
        return Err("sm_80 converts bf16 from and to f32 only");
    }
    let to_integer = matches!(rounding, Some(Rounding::Rni | Rounding::Rzi | Rounding::Rmi | Rounding::Rpi));
    let nearest = matches!(rounding, Some(Rounding::Rn | Rounding::Rz));
    let allowed = match (from.is_float(), to.is_float()) {
        (true, false) => to_integer,
        (false, true) => nearest,
        (false, false) => rounding.is_none(),
        (true, true) if to.bits() < from.bits() => nearest,
        (true, true) if to == from => to_integer,
        (true, true) => rounding.is_none(),
    };
    if allowed { Ok(()) } else { Err("the conversion takes no or another rounding") }
}

fn check_mma(m: &Mma, say: &mut dyn FnMut(String)) {
    match m.fragment_registers() {
        None => say("there is no product of this shape and these types".to_owned()),
        Some((d, a, b)) => {
            if (m.d.len(), m.a.len(), m.b.len(), m.c.len()) != (d, a, b, d) {
                say(format!("the fragments of D and C have {d} registers, of A {a}, of B {b}"));
            }
        }
    }
    if let Some(sparse) = m.sparse {
        let narrow = match m.inputs {
            Type::Tf32 => MmaShape::M16N8K8,
            _ => MmaShape::M16N8K16,
        };
        let limit = if m.shape == narrow { 4 } else { 2 };
        if sparse.selector >= limit {
            say(format!("the selector is below {limit}"));
        }
    }
}
