//! Instructions: the name gives the variant and its modifiers, the rest are operands.

use super::hopper::hopper;
use super::operand::{Operands, reg};
use super::{Parse, parse_label};
use crate::{
    AtomOp, BinaryOp, CacheHint, CacheLevel, CompareOp, Function, Guard, Instruction, MadMode, Mma, MmaShape, Module,
    Rounding, Scope, ShflMode, Space, SparseA, Statement, Type, UnaryOp, VoteMode,
};

/// `@!%p0 add.s32 %r0, %r1, 2`
pub(super) fn statement(text: &str, module: &Module, function: &Function) -> Parse<Statement> {
    let (guard, text) = match text.strip_prefix('@') {
        Some(rest) => {
            let (condition, rest) = rest.split_once(' ').ok_or("a guard without an instruction")?;
            let guard = match condition.strip_prefix('!') {
                Some(r) => Guard { reg: reg(r)?, negate: true },
                None => Guard { reg: reg(condition)?, negate: false },
            };
            (Some(guard), rest.trim_start())
        }
        None => (None, text),
    };
    let (name, operands) = text.split_once(' ').unwrap_or((text, ""));
    let mut x = Operands::new(operands, module, function);
    let modifiers: Vec<&str> = name.split('.').collect();
    let unknown = || format!("`{name}` is no instruction that this crate knows");
    let instruction = match modifiers.as_slice() {
        ["ld" | "st", ..] => access(&modifiers, &mut x)?.ok_or_else(unknown)?,
        ["mma" | "ldmatrix", ..] => tensor(&modifiers, &mut x)?.ok_or_else(unknown)?,
        ["wgmma" | "mbarrier", ..] | ["fence", "proxy", ..] | ["cp", "async", "bulk", ..] => {
            Instruction::Hopper(hopper(&modifiers, &mut x)?.ok_or_else(unknown)?)
        }
        ["mov" | "cvt" | "cvta", ..] => copy(&modifiers, operands, &mut x)?.ok_or_else(unknown)?,
        _ => match sync(&modifiers, &mut x)? {
            Some(instruction) => instruction,
            None => arithmetic(&modifiers, &mut x)?.ok_or_else(unknown)?,
        },
    };
    x.finish()?;
    Ok(Statement::Instr { guard, instruction })
}

/// Evaluates to the variant, or returns that there is none.
macro_rules! known {
    ($found:expr) => {
        match $found {
            Some(found) => found,
            None => return Ok(None),
        }
    };
}

type Found = Parse<Option<Instruction>>;

fn arithmetic(modifiers: &[&str], x: &mut Operands<'_>) -> Found {
    let instruction = match modifiers {
        ["mad", mode, ty] => Instruction::Mad {
            mode: known!(MadMode::from_name(mode)),
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            b: x.operand()?,
            c: x.operand()?,
        },
        ["fma", "rn", ty] => Instruction::Fma {
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            b: x.operand()?,
            c: x.operand()?,
        },
        ["dp4a", a_type, b_type] => Instruction::Dp4a {
            a_type: known!(Type::from_name(a_type)),
            b_type: known!(Type::from_name(b_type)),
            dst: x.reg()?,
            a: x.operand()?,
            b: x.operand()?,
            c: x.operand()?,
        },
        ["bfe", ty] => Instruction::Bfe {
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            start: x.operand()?,
            len: x.operand()?,
        },
        ["bfi", ty] => Instruction::Bfi {
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            into: x.operand()?,
            start: x.operand()?,
            len: x.operand()?,
        },
        ["prmt", "b32"] => {
            Instruction::Prmt { dst: x.reg()?, a: x.operand()?, b: x.operand()?, selector: x.operand()? }
        }
        ["setp", op, ty] => Instruction::Setp {
            op: known!(CompareOp::from_name(op)),
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            b: x.operand()?,
        },
        ["selp", ty] => Instruction::Selp {
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            a: x.operand()?,
            b: x.operand()?,
            pred: x.reg()?,
        },
        [op @ ("sqrt" | "rcp"), "rn", ty] | [op, ty] if UnaryOp::from_name(op).is_some() => Instruction::Unary {
            op: known!(UnaryOp::from_name(op)),
            ty: known!(Type::from_name(ty)),
            dst: x.reg()?,
            src: x.operand()?,
        },
        [op @ .., ty] => {
            let (op, ty) = (op.join("."), known!(Type::from_name(ty)));
            let op = match op.as_str() {
                "mul.rn" if ty.is_float() => BinaryOp::Mul,
                "add.rn" if ty.is_float() => BinaryOp::Add,
                "sub.rn" if ty.is_float() => BinaryOp::Sub,
                "div.rn" if ty.is_float() => BinaryOp::Div,
                "mul.lo" | "add" | "sub" | "div" if ty.is_float() => return Ok(None),
                other => known!(BinaryOp::from_name(other)),
            };
            Instruction::Binary { op, ty, dst: x.reg()?, a: x.operand()?, b: x.operand()? }
        }
        [] => return Ok(None),
    };
    Ok(Some(instruction))
}

fn copy(modifiers: &[&str], text: &str, x: &mut Operands<'_>) -> Found {
    let instruction = match modifiers {
        ["mov", ty] => {
            let ty = known!(Type::from_name(ty));
            if text.starts_with('{') {
                Instruction::Unpack { ty, dst: x.regs()?, src: x.reg()? }
            } else if text.ends_with('}') {
                Instruction::Pack { ty, dst: x.reg()?, src: x.regs()? }
            } else {
                Instruction::Mov { ty, dst: x.reg()?, src: x.operand()? }
            }
        }
        ["cvta", "to", space, "u64"] => {
            Instruction::Cvta { to: true, space: known!(Space::from_name(space)), dst: x.reg()?, src: x.reg()? }
        }
        ["cvta", space, "u64"] => {
            Instruction::Cvta { to: false, space: known!(Space::from_name(space)), dst: x.reg()?, src: x.reg()? }
        }
        ["cvt", "rn", to @ ("f16x2" | "bf16x2"), "f32"] => {
            Instruction::CvtPair { to: known!(Type::from_name(to)), dst: x.reg()?, hi: x.operand()?, lo: x.operand()? }
        }
        ["cvt", how @ .., to, from] => {
            let (rounding, saturate) = match how {
                [] => (None, false),
                ["sat"] => (None, true),
                [r] => (Some(known!(Rounding::from_name(r))), false),
                [r, "sat"] => (Some(known!(Rounding::from_name(r))), true),
                _ => return Ok(None),
            };
            Instruction::Cvt {
                to: known!(Type::from_name(to)),
                from: known!(Type::from_name(from)),
                rounding,
                saturate,
                dst: x.reg()?,
                src: x.operand()?,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(instruction))
}

fn access(modifiers: &[&str], x: &mut Operands<'_>) -> Found {
    let [name, space, middle @ .., ty] = modifiers else { return Ok(None) };
    let (hint, vector) = match middle {
        [] => (None, None),
        [v @ ("v2" | "v4")] => (None, Some(*v)),
        [h] => (Some(known!(CacheHint::from_name(h))), None),
        [h, v @ ("v2" | "v4")] => (Some(known!(CacheHint::from_name(h))), Some(*v)),
        _ => return Ok(None),
    };
    let space = known!(Space::from_name(space));
    let ty = known!(Type::from_name(ty));
    let expected = match vector {
        Some("v4") => 4,
        Some(_) => 2,
        None => 1,
    };
    let (instruction, count) = if *name == "ld" {
        let (dst, address) = (x.regs()?, x.address()?);
        let count = dst.len();
        (Instruction::Ld { space, hint, ty, dst, address }, count)
    } else {
        let (address, src) = (x.address()?, x.operands()?);
        let count = src.len();
        (Instruction::St { space, hint, ty, address, src }, count)
    };
    if count != expected {
        return Err(format!("{expected} values expected, {count} found"));
    }
    Ok(Some(instruction))
}

fn sync(modifiers: &[&str], x: &mut Operands<'_>) -> Found {
    let instruction = match modifiers {
        ["bra"] => Instruction::Bra { uniform: false, target: parse_label(x.text()?)? },
        ["bra", "uni"] => Instruction::Bra { uniform: true, target: parse_label(x.text()?)? },
        ["bar", "sync"] => {
            let barrier = x.number()?;
            let threads = if x.has_more() { Some(x.number()?) } else { None };
            Instruction::BarSync { barrier, threads }
        }
        ["bar", "warp", "sync"] => Instruction::BarWarpSync { mask: x.operand()? },
        ["shfl", "sync", mode, "b32"] => {
            let mode = known!(ShflMode::from_name(mode));
            let first = x.text()?;
            let (dst, in_range) = match first.split_once('|') {
                Some((dst, p)) => (reg(dst)?, Some(reg(p)?)),
                None => (reg(first)?, None),
            };
            let (src, lane, clamp, mask) = (x.operand()?, x.operand()?, x.operand()?, x.operand()?);
            Instruction::Shfl { mode, dst, in_range, src, lane, clamp, mask }
        }
        ["vote", "sync", mode, "pred" | "b32"] => Instruction::Vote {
            mode: known!(VoteMode::from_name(mode)),
            dst: x.reg()?,
            src: x.reg()?,
            mask: x.operand()?,
        },
        ["atom", space, op, ty] => {
            let (space, op, ty) =
                (known!(Space::from_name(space)), known!(AtomOp::from_name(op)), known!(Type::from_name(ty)));
            let (dst, address, src) = (x.reg()?, x.address()?, x.operand()?);
            let second = if x.has_more() { Some(x.operand()?) } else { None };
            Instruction::Atom { space, op, ty, dst, address, src, second }
        }
        ["red", space, op, ty] => Instruction::Red {
            space: known!(Space::from_name(space)),
            op: known!(AtomOp::from_name(op)),
            ty: known!(Type::from_name(ty)),
            address: x.address()?,
            src: x.operand()?,
        },
        ["fence", "acq_rel", scope] => Instruction::Fence { scope: known!(Scope::from_name(scope)) },
        ["prefetch", "global", level] => {
            Instruction::Prefetch { level: known!(CacheLevel::from_name(level)), address: x.address()? }
        }
        ["cp", "async", how @ ("ca" | "cg"), "shared", "global"] => {
            let (dst, src, bytes) = (x.address()?, x.address()?, x.number()?);
            let src_bytes = if x.has_more() { Some(x.operand()?) } else { None };
            Instruction::CpAsync { bypass_l1: *how == "cg", bytes, dst, src, src_bytes }
        }
        ["cp", "async", "commit_group"] => Instruction::CpAsyncCommit,
        ["cp", "async", "wait_group"] => Instruction::CpAsyncWait { pending: x.number()? },
        ["ret"] => Instruction::Ret,
        ["exit"] => Instruction::Exit,
        ["trap"] => Instruction::Trap,
        _ => return Ok(None),
    };
    Ok(Some(instruction))
}

fn tensor(modifiers: &[&str], x: &mut Operands<'_>) -> Found {
    let instruction = match modifiers {
        ["ldmatrix", "sync", "aligned", "m8n8", count, trans @ .., "shared", "b16"] => {
            let transpose = match trans {
                [] => false,
                ["trans"] => true,
                _ => return Ok(None),
            };
            let (dst, address) = (x.regs()?, x.address()?);
            if *count != format!("x{}", dst.len()) {
                return Err(format!("{count} and {} registers", dst.len()));
            }
            Instruction::Ldmatrix { transpose, dst, address }
        }
        ["mma", sparse @ .., "sync", "aligned", shape, "row", "col", accumulate, inputs, inputs2, accumulate2] => {
            let is_sparse = match sparse {
                [] => false,
                ["sp::ordered_metadata"] => true,
                _ => return Ok(None),
            };
            if inputs != inputs2 || accumulate != accumulate2 {
                return Ok(None);
            }
            let shape = known!(MmaShape::from_name(shape));
            let inputs = known!(Type::from_name(inputs));
            let accumulate = known!(Type::from_name(accumulate));
            let (d, a, b, c) = (x.regs()?, x.regs()?, x.regs()?, x.regs()?);
            let sparse = if is_sparse { Some(SparseA { metadata: x.reg()?, selector: x.number()? }) } else { None };
            Instruction::Mma(Mma { shape, inputs, accumulate, sparse, d, a, b, c })
        }
        _ => return Ok(None),
    };
    Ok(Some(instruction))
}
