//! The function around a kernel's body.
//!
//! Its arguments, all of 64 bits, are the params, then the addresses of the input and output buffers, then, where the kernel
//! needs scratch in global memory, the address of that. Blocks and grids have one dimension.

use std::collections::BTreeSet;

use sparsec_tir::{BufferId, BufferKind, Expr, For, Kernel, Stmt, Type as IrType};

use super::body::Body;
use super::code::Code;
use super::error::{Emit, invalid};
use super::memory::Place;
use super::value::Value;
use crate::{
    Address, Base, BinaryOp, CompareOp, Function, Guard, Instruction, MadMode, Module, Operand, Param, ParamId, Reg,
    RegClass, SharedArray, SharedId, Space, Special, Statement, Type,
};

/// Warps of a block.
const WARPS: u32 = 4;
/// Shared memory of a block without asking for more.
const SHARED_BYTES: u64 = 48 << 10;
/// How a function is launched: what the host has to know of it beside its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelInfo {
    /// Name of the function.
    pub name: String,
    /// Threads of a block, along x.
    pub threads: u32,
    /// Iterations of the kernel's parallel loop that a block does; a kernel without one is one block.
    pub iterations: u32,
    /// Shared memory of a block that a launch has to ask for, in bytes.
    pub shared_bytes: u32,
    /// Global memory for scratch of each block, in bytes; none where 0. The last argument is the address of all.
    pub scratch_bytes: u64,
}

/// Emits a kernel into a module.
pub(super) fn emit_kernel(module: &mut Module, prefix: &str, kernel: &Kernel) -> Emit<KernelInfo> {
    let mut f = Function::new(format!("{prefix}_{}", kernel.name));
    f.comments = std::iter::once(kernel.name.clone()).chain(kernel.comments.iter().cloned()).collect();
    let scratch = scratch_layout(kernel, BufferKind::Scratch)?;
    let shared = scratch_layout(kernel, BufferKind::Team)?;
    let parallel = kernel.parallel_loop();
    let team = kernel.team();
    let (warps, global) = match team {
        Some(warps) => (warps, false),
        None => warps_of_a_block(scratch.bytes, parallel.is_some()),
    };
    let shared_bytes = if global { 0 } else { scratch.bytes.saturating_mul(warps.into()).saturating_add(shared.bytes) };
    if shared_bytes > SHARED_BYTES {
        return invalid(format!("a block would need {shared_bytes} bytes of shared memory, of {SHARED_BYTES}"));
    }
    f.max_threads = Some(32 * warps);
    // Else `ptxas` aims at more blocks than it has registers for, and spills.
    f.min_blocks = Some(1);
    let info = KernelInfo {
        name: f.name.clone(),
        threads: 32 * warps,
        iterations: if team.is_some() { 1 } else { warps },
        shared_bytes: 0,
        scratch_bytes: if global { scratch.bytes * u64::from(warps) } else { 0 },
    };
    f.comments.push(format!(
        "{} of 32 lanes a block, {}",
        if warps == 1 { "1 warp".to_owned() } else { format!("{warps} warps") },
        match parallel {
            Some(l) if team.is_some() => format!("an iteration of `{}` for all", var_name(kernel, l)),
            Some(l) => format!("an iteration of `{}` each", var_name(kernel, l)),
            None => "no parallel loop".to_owned(),
        }
    ));

    for name in &kernel.params {
        f.params.push(Param { name: format!("param_{name}"), ty: Type::S64 });
    }
    for buffer in kernel.buffers.iter().filter(|b| b.kind.is_given()) {
        f.params.push(Param { name: format!("at_{}", buffer.name), ty: Type::U64 });
    }
    if global {
        f.params.push(Param { name: "at_scratch_memory".to_owned(), ty: Type::U64 });
    }
    let mut code = Code::new(f);
    code.lane();
    let params: Vec<Value> = (0..kernel.params.len() as u32)
        .map(|i| Value::new(IrType::INDEX, vec![Operand::Reg(load_param(&mut code, i, Type::S64))]))
        .collect();
    let warp = match team {
        Some(_) => team_number(&mut code),
        None => warp_number(&mut code, warps, parallel.is_some()),
    };

    // Where the buffers lie.
    let vectors = vector_buffers(kernel);
    let mut team_base = None;
    let scratch_base = match (scratch.bytes.saturating_add(shared.bytes), global) {
        (0, _) => None,
        (bytes, true) => {
            let base = load_param(&mut code, kernel_arguments(kernel), Type::U64);
            let base = Operand::Reg(global_address(&mut code, base));
            let own = code.mad(MadMode::Lo, Type::S64, warp.wide, Operand::Int(bytes as i64), base);
            Some((Space::Global, code.in_register(RegClass::B64, own)))
        }
        (_, false) => {
            let (bytes, all) = (scratch.bytes, shared_bytes as u32);
            let id = SharedId(module.shared.len() as u32);
            let name = format!("{}_scratch", info.name);
            module.shared.push(SharedArray { name, align: 128, bytes: Some(all) });
            let base =
                code.pure(RegClass::B32, |dst| Instruction::Mov { ty: Type::U32, dst, src: Operand::Shared(id) });
            team_base = Some((Space::Shared, code.in_register(RegClass::B32, base)));
            let own = if warps == 1 || bytes == 0 {
                base
            } else {
                code.mad(MadMode::Lo, Type::U32, warp.in_block, Operand::Int(bytes as i64), base)
            };
            Some((Space::Shared, code.in_register(RegClass::B32, own)))
        }
    };
    let mut places = Vec::new();
    let mut argument = kernel.params.len() as u32;
    let (mut offsets, mut team_offsets) = (scratch.offsets.iter(), shared.offsets.iter());
    for (i, buffer) in kernel.buffers.iter().enumerate() {
        let place = if buffer.kind == BufferKind::Scratch {
            let (Some((space, base)), Some(offset)) = (scratch_base, offsets.next()) else {
                return invalid(format!("scratch buffer `{}` is empty", buffer.name));
            };
            Place { space, base, offset: *offset + shared.bytes as i64 }
        } else if buffer.kind == BufferKind::Team {
            let (Some((space, base)), Some(offset)) = (team_base, team_offsets.next()) else {
                return invalid(format!("team buffer `{}` is empty", buffer.name));
            };
            Place { space, base, offset: *offset }
        } else {
            let base = load_param(&mut code, argument, Type::U64);
            argument += 1;
            Place { space: Space::Global, base: global_address(&mut code, base), offset: 0 }
        };
        if vectors.contains(&BufferId(i as u32)) {
            let size = Operand::Int(buffer.elem.size() as i64);
            let (mode, lane) = (if place.space == Space::Shared { MadMode::Lo } else { MadMode::Wide }, code.lane());
            code.mad(mode, Type::U32, lane, size, place.base.into());
        }
        places.push(place);
    }
    let team = team.map(|warps| Value::narrow(warp.in_block, (0, i64::from(warps) - 1)));
    let mut body = Body::new(kernel, code, places, params, team);
    match parallel {
        Some(l) => iterate(&mut body, l, &warp)?,
        None => body.block(&kernel.body)?,
    }
    body.code.push(Instruction::Ret);
    let mut f = body.code.f;
    write_first(&mut f);
    module.functions.push(f);
    Ok(info)
}

/// The number of the warp.
struct Warp {
    /// Within its block, `u32`.
    in_block: Operand,
    /// In the grid, 64 bits.
    wide: Operand,
}

fn warp_number(code: &mut Code, warps: u32, parallel: bool) -> Warp {
    if !parallel {
        return Warp { in_block: Operand::Int(0), wide: Operand::Int(0) };
    }
    let block = code.special(Special::CtaidX);
    if warps == 1 {
        return Warp { in_block: Operand::Int(0), wide: code.extend(Type::U64, Type::U32, block) };
    }
    let thread = code.special(Special::TidX);
    let in_block = code.binary(BinaryOp::Shr, Type::U32, thread, Operand::Int(5));
    let own = code.extend(Type::U64, Type::U32, in_block);
    let wide = code.mad(MadMode::Wide, Type::U32, block, Operand::Int(warps.into()), own);
    Warp { in_block, wide }
}

/// How many warps share a block where each does iterations of its own, and whether their scratch is too large for shared memory.
fn warps_of_a_block(scratch: u64, parallel: bool) -> (u32, bool) {
    let fitting = SHARED_BYTES.checked_div(scratch).unwrap_or(u64::from(WARPS)).min(u64::from(WARPS)) as u32;
    let (warps, global) = match fitting {
        0 => (WARPS, true),
        3 => (2, false),
        n => (n, false),
    };
    (if parallel { warps } else { 1 }, global)
}

/// Of a team: the iteration is that of the block.
fn team_number(code: &mut Code) -> Warp {
    let block = code.special(Special::CtaidX);
    let thread = code.special(Special::TidX);
    let in_block = code.binary(BinaryOp::Shr, Type::U32, thread, Operand::Int(5));
    Warp { in_block, wide: code.extend(Type::U64, Type::U32, block) }
}

/// The warp's iteration of the parallel loop, if there is one for it. Iterations that may run together don't: a GPU wants tasks.
fn iterate(body: &mut Body<'_>, l: &For, warp: &Warp) -> Emit<()> {
    body.code.comment(format!("parallel {}", body.var_name(l.var)));
    let (start, end) = (body.expr(&l.start)?, body.expr(&l.end)?);
    let (first, last) = (start.as_const(), end.as_const());
    let narrow = first.zip(last).filter(|(a, b)| *a == 0 && i32::try_from(*b).is_ok());
    if let Some((_, end)) = narrow {
        if end <= 0 {
            return Ok(());
        }
        let number = body.code.extend(Type::U32, Type::U64, warp.wide);
        leave_unless_below(body, Type::S32, number, Operand::Int(end));
        body.bind(l.var, Value::narrow(number, (0, end - 1)))?;
        if let Some(until) = l.until {
            let next = body.code.binary(BinaryOp::Add, Type::S32, number, Operand::Int(1));
            body.bind(until, Value::narrow(next, (1, end)))?;
        }
        return body.block(&l.body);
    }
    let (start, end) = (body.code.widen(&start), body.code.widen(&end));
    let number = match start.as_const() {
        Some(0) => warp.wide,
        _ => body.code.binary(BinaryOp::Add, Type::S64, warp.wide, start.first()),
    };
    leave_unless_below(body, Type::S64, number, end.first());
    body.bind(l.var, Value::new(IrType::INDEX, vec![number]))?;
    if let Some(until) = l.until {
        let next = body.code.binary(BinaryOp::Add, Type::S64, number, Operand::Int(1));
        body.bind(until, Value::new(IrType::INDEX, vec![next]))?;
    }
    body.block(&l.body)
}

fn leave_unless_below(body: &mut Body<'_>, ty: Type, x: Operand, end: Operand) {
    let beyond = body.code.setp(CompareOp::Ge, ty, x, end);
    let beyond = body.code.predicate(beyond);
    body.code.push_when(Some(Guard::when(beyond)), Instruction::Ret);
}

fn load_param(code: &mut Code, index: u32, ty: Type) -> Reg {
    let dst = code.reg(RegClass::B64);
    let address = Address { base: Base::Param(ParamId(index)), offset: 0 };
    code.push(Instruction::Ld { space: Space::Param, hint: None, ty, dst: vec![dst], address });
    dst
}

fn global_address(code: &mut Code, generic: Reg) -> Reg {
    let dst = code.reg(RegClass::B64);
    code.push(Instruction::Cvta { to: true, space: Space::Global, dst, src: generic });
    dst
}

/// How many arguments come before that of scratch.
fn kernel_arguments(kernel: &Kernel) -> u32 {
    let buffers = kernel.buffers.iter().filter(|b| b.kind.is_given()).count();
    (buffers + kernel.params.len()) as u32
}

fn var_name(kernel: &Kernel, l: &For) -> String {
    kernel.vars.get(l.var.index()).map_or_else(String::new, |v| v.name.clone())
}

struct ScratchLayout {
    offsets: Vec<i64>,
    bytes: u64,
}

/// The buffers of a kind, scratch or a team's, one after the other, each aligned to 64 bytes, as [`sparsec_tir::kernel_scratch_bytes`] counts.
fn scratch_layout(kernel: &Kernel, kind: BufferKind) -> Emit<ScratchLayout> {
    let (mut offsets, mut bytes) = (Vec::new(), 0_u64);
    for buffer in kernel.buffers.iter().filter(|b| b.kind == kind) {
        let [Some(elements)] = buffer.shape.iter().map(Expr::as_int).collect::<Vec<_>>()[..] else {
            return invalid(format!("{kind:?} buffer `{}` has no constant size", buffer.name));
        };
        offsets.push(bytes as i64);
        let size = elements.max(1) as u64 * buffer.elem.size() as u64;
        bytes = bytes.saturating_add(size.div_ceil(64) * 64);
    }
    if bytes > i64::MAX as u64 / 2 {
        return invalid("the scratch buffers are too large");
    }
    Ok(ScratchLayout { offsets, bytes })
}

/// The buffers that are read or written as vectors.
fn vector_buffers(kernel: &Kernel) -> BTreeSet<BufferId> {
    fn statement(found: &mut BTreeSet<BufferId>, s: &Stmt) {
        let mut expr = |e: &Expr| {
            e.walk(&mut |e| {
                if let Expr::Load(a) = e
                    && a.lanes > 1
                {
                    found.insert(a.buffer);
                }
            });
        };
        match s {
            Stmt::For(l) => {
                expr(&l.start);
                expr(&l.end);
                l.body.iter().for_each(|s| statement(found, s));
            }
            Stmt::Let(_, e) | Stmt::Set(_, _, e) => expr(e),
            Stmt::Store(a, e) => {
                expr(e);
                a.index.iter().chain(a.active.as_deref()).for_each(expr);
                if a.lanes > 1 {
                    found.insert(a.buffer);
                }
            }
            Stmt::If(c, yes, no) => {
                expr(c);
                yes.iter().chain(no).for_each(|s| statement(found, s));
            }
            Stmt::Spread(_, e, _) => expr(e),
            Stmt::Product(_)
            | Stmt::SaveTile(..)
            | Stmt::Barrier
            | Stmt::CopyAsync(..)
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_)
            | Stmt::Prefetch(_)
            | Stmt::Comment(_) => {}
        }
    }
    let mut found = BTreeSet::new();
    kernel.body.iter().for_each(|s| statement(&mut found, s));
    found
}

/// Gives registers a value at the start that are read where the verifier cannot see that they have one: elements of
/// register arrays that are set in one loop and read in the next.
fn write_first(f: &mut Function) {
    let missing = crate::verify::read_before_written(f);
    let zero = |class| match class {
        RegClass::F32 => Operand::F32(0),
        RegClass::F64 => Operand::F64(0),
        _ => Operand::Int(0),
    };
    let mut first: Vec<Statement> = Vec::new();
    for dst in missing {
        if dst.class == RegClass::Pred {
            let zero = f.reg(RegClass::B32);
            first.push(Instruction::Mov { ty: Type::B32, dst: zero, src: Operand::Int(0) }.into());
            first.push(
                Instruction::Setp { op: CompareOp::Ne, ty: Type::B32, dst, a: zero.into(), b: Operand::Int(0) }.into(),
            );
        } else {
            let ty = super::code::mov_type(dst.class);
            first.push(Instruction::Mov { ty, dst, src: zero(dst.class) }.into());
        }
    }
    f.body.splice(0..0, first);
}
