//! The text of a module, as `ptxas` reads it.

mod hopper;

use std::fmt::Write as _;

use crate::instruction::{BinaryOp, UnaryOp};
use crate::{
    Address, Base, CacheHint, Function, Guard, Instruction, Mma, Module, Operand, Reg, RegClass, Statement, Type,
};

/// The text of a module.
#[must_use]
pub fn print_module(module: &Module) -> String {
    let mut out = String::new();
    comments(&mut out, "", &module.comments);
    let (major, minor) = module.version;
    let _ = writeln!(out, ".version {major}.{minor}\n.target {}\n.address_size 64", module.target);
    for s in &module.shared {
        let _ = match s.bytes {
            Some(bytes) => writeln!(out, ".shared .align {} .b8 {}[{bytes}];", s.align, s.name),
            None => writeln!(out, ".extern .shared .align {} .b8 {}[];", s.align, s.name),
        };
    }
    for c in &module.constants {
        let bytes: Vec<String> = c.bytes.iter().map(u8::to_string).collect();
        let bytes = bytes.join(", ");
        let _ = writeln!(out, ".const .align {} .b8 {}[{}] = {{{bytes}}};", c.align, c.name, c.bytes.len());
    }
    for f in &module.functions {
        out.push('\n');
        function(&mut out, module, f);
    }
    out
}

fn comments(out: &mut String, indent: &str, lines: &[String]) {
    for line in lines {
        let _ = writeln!(out, "{indent}// {line}");
    }
}

fn function(out: &mut String, module: &Module, f: &Function) {
    comments(out, "", &f.comments);
    let _ = write!(out, ".visible .entry {}(", f.name);
    for (i, p) in f.params.iter().enumerate() {
        let comma = if i > 0 { "," } else { "" };
        let _ = write!(out, "{comma}\n    .param .{} {}", p.ty, p.name);
    }
    out.push_str(")\n");
    if let Some(n) = f.max_threads {
        let _ = writeln!(out, ".maxntid {n}, 1, 1");
    }
    if let Some(n) = f.min_blocks {
        let _ = writeln!(out, ".minnctapersm {n}");
    }
    out.push_str("{\n");
    for class in RegClass::ALL {
        let n = f.registers.get(*class);
        if n > 0 {
            let _ = writeln!(out, "    .reg .{class} %{}<{n}>;", class.prefix());
        }
    }
    for statement in &f.body {
        match statement {
            Statement::Label(label) => {
                let _ = writeln!(out, "{label}:");
            }
            Statement::Comment(text) => comments(out, "    ", std::slice::from_ref(text)),
            Statement::Instr { guard, instruction } => {
                let guard = match guard {
                    Some(Guard { reg, negate: false }) => format!("@{reg} "),
                    Some(Guard { reg, negate: true }) => format!("@!{reg} "),
                    None => String::new(),
                };
                let _ = writeln!(out, "    {guard}{};", print_instruction(module, f, instruction));
            }
        }
    }
    out.push_str("}\n");
}

/// The text of an instruction, without its guard.
#[must_use]
pub fn print_instruction(module: &Module, function: &Function, instruction: &Instruction) -> String {
    let p = Printer { module, function };
    let name = mnemonic(instruction);
    let operands = p.operands(instruction);
    if operands.is_empty() { name } else { format!("{name} {}", operands.join(", ")) }
}

/// What stands before the operands.
fn mnemonic(instruction: &Instruction) -> String {
    match instruction {
        Instruction::Mov { ty, .. } | Instruction::Pack { ty, .. } | Instruction::Unpack { ty, .. } => {
            format!("mov.{ty}")
        }
        Instruction::Unary { op, ty, .. } => match op {
            UnaryOp::Sqrt | UnaryOp::Rcp => format!("{op}.rn.{ty}"),
            _ => format!("{op}.{ty}"),
        },
        Instruction::Binary { op, ty, .. } => binary(*op, *ty),
        Instruction::Mad { mode, ty, .. } => format!("mad.{mode}.{ty}"),
        Instruction::Fma { ty, .. } => format!("fma.rn.{ty}"),
        Instruction::Dp4a { a_type, b_type, .. } => format!("dp4a.{a_type}.{b_type}"),
        Instruction::Bfe { ty, .. } => format!("bfe.{ty}"),
        Instruction::Bfi { ty, .. } => format!("bfi.{ty}"),
        Instruction::Prmt { .. } => "prmt.b32".to_owned(),
        Instruction::Cvt { to, from, rounding, saturate, .. } => {
            let rounding = rounding.map(|r| format!(".{r}")).unwrap_or_default();
            let sat = if *saturate { ".sat" } else { "" };
            format!("cvt{rounding}{sat}.{to}.{from}")
        }
        Instruction::CvtPair { to, .. } => format!("cvt.rn.{to}.f32"),
        Instruction::Setp { op, ty, .. } => format!("setp.{op}.{ty}"),
        Instruction::Selp { ty, .. } => format!("selp.{ty}"),
        Instruction::Ld { space, hint, ty, dst, .. } => access("ld", space.name(), *hint, *ty, dst.len()),
        Instruction::St { space, hint, ty, src, .. } => access("st", space.name(), *hint, *ty, src.len()),
        Instruction::Prefetch { level, .. } => format!("prefetch.global.{level}"),
        Instruction::Cvta { to, space, .. } => format!("cvta{}.{space}.u64", if *to { ".to" } else { "" }),
        Instruction::Bra { uniform, .. } => if *uniform { "bra.uni" } else { "bra" }.to_owned(),
        Instruction::BarSync { .. } => "bar.sync".to_owned(),
        Instruction::BarWarpSync { .. } => "bar.warp.sync".to_owned(),
        Instruction::Shfl { mode, .. } => format!("shfl.sync.{mode}.b32"),
        Instruction::Vote { mode, dst, .. } => {
            format!("vote.sync.{mode}.{}", if dst.class == RegClass::Pred { "pred" } else { "b32" })
        }
        Instruction::Atom { space, op, ty, .. } => format!("atom.{space}.{op}.{ty}"),
        Instruction::Red { space, op, ty, .. } => format!("red.{space}.{op}.{ty}"),
        Instruction::Fence { scope } => format!("fence.acq_rel.{scope}"),
        Instruction::CpAsync { bypass_l1, .. } => {
            format!("cp.async.{}.shared.global", if *bypass_l1 { "cg" } else { "ca" })
        }
        Instruction::CpAsyncCommit => "cp.async.commit_group".to_owned(),
        Instruction::CpAsyncWait { .. } => "cp.async.wait_group".to_owned(),
        Instruction::Ldmatrix { transpose, dst, .. } => {
            let trans = if *transpose { ".trans" } else { "" };
            format!("ldmatrix.sync.aligned.m8n8.x{}{trans}.shared.b16", dst.len())
        }
        Instruction::Mma(Mma { shape, inputs, accumulate, sparse, .. }) => {
            let sparse = if sparse.is_some() { ".sp::ordered_metadata" } else { "" };
            format!("mma{sparse}.sync.aligned.{shape}.row.col.{accumulate}.{inputs}.{inputs}.{accumulate}")
        }
        Instruction::Hopper(h) => hopper::mnemonic(h),
        Instruction::Ret => "ret".to_owned(),
        Instruction::Exit => "exit".to_owned(),
        Instruction::Trap => "trap".to_owned(),
    }
}

fn binary(op: BinaryOp, ty: Type) -> String {
    match (op, ty.is_float()) {
        (BinaryOp::Mul, true) => format!("mul.rn.{ty}"),
        (BinaryOp::Add | BinaryOp::Sub | BinaryOp::Div, true) => format!("{op}.rn.{ty}"),
        _ => format!("{op}.{ty}"),
    }
}

fn access(name: &str, space: &str, hint: Option<CacheHint>, ty: Type, count: usize) -> String {
    let hint = hint.map(|h| format!(".{h}")).unwrap_or_default();
    let vector = if count > 1 { format!(".v{count}") } else { String::new() };
    format!("{name}.{space}{hint}{vector}.{ty}")
}

struct Printer<'m> {
    module: &'m Module,
    function: &'m Function,
}

impl Printer<'_> {
    fn operands(&self, instruction: &Instruction) -> Vec<String> {
        let x = |x: &Operand| self.operand(*x);
        let r = |r: &Reg| r.to_string();
        match instruction {
            Instruction::Mov { dst, src, .. } => vec![r(dst), x(src)],
            Instruction::Pack { dst, src, .. } => vec![r(dst), braces(src.iter().map(r))],
            Instruction::Unpack { dst, src, .. } => vec![braces(dst.iter().map(r)), r(src)],
            Instruction::Unary { dst, src, .. } | Instruction::Cvt { dst, src, .. } => vec![r(dst), x(src)],
            Instruction::Binary { dst, a, b, .. } | Instruction::Setp { dst, a, b, .. } => vec![r(dst), x(a), x(b)],
            Instruction::Mad { dst, a, b, c, .. }
            | Instruction::Fma { dst, a, b, c, .. }
            | Instruction::Dp4a { dst, a, b, c, .. } => vec![r(dst), x(a), x(b), x(c)],
            Instruction::Bfe { dst, a, start, len, .. } => vec![r(dst), x(a), x(start), x(len)],
            Instruction::Bfi { dst, a, into, start, len, .. } => vec![r(dst), x(a), x(into), x(start), x(len)],
            Instruction::Prmt { dst, a, b, selector } => vec![r(dst), x(a), x(b), x(selector)],
            Instruction::CvtPair { dst, hi, lo, .. } => vec![r(dst), x(hi), x(lo)],
            Instruction::Selp { dst, a, b, pred, .. } => vec![r(dst), x(a), x(b), r(pred)],
            Instruction::Ld { dst, address, .. } => vec![vector(dst.iter().map(r).collect()), self.address(*address)],
            Instruction::St { address, src, .. } => vec![self.address(*address), vector(src.iter().map(x).collect())],
            Instruction::Prefetch { address, .. } => vec![self.address(*address)],
            Instruction::Cvta { dst, src, .. } => vec![r(dst), r(src)],
            Instruction::Bra { target, .. } => vec![target.to_string()],
            Instruction::BarSync { barrier, threads } => {
                std::iter::once(barrier.to_string()).chain(threads.map(|n| n.to_string())).collect()
            }
            Instruction::BarWarpSync { mask } => vec![x(mask)],
            Instruction::Shfl { dst, in_range, src, lane, clamp, mask, .. } => {
                let dst = match in_range {
                    Some(p) => format!("{dst}|{p}"),
                    None => r(dst),
                };
                vec![dst, x(src), x(lane), x(clamp), x(mask)]
            }
            Instruction::Vote { dst, src, mask, .. } => vec![r(dst), r(src), x(mask)],
            Instruction::Atom { dst, address, src, second, .. } => {
                let mut all = vec![r(dst), self.address(*address), x(src)];
                all.extend(second.iter().map(x));
                all
            }
            Instruction::Red { address, src, .. } => vec![self.address(*address), x(src)],
            Instruction::CpAsync { bytes, dst, src, src_bytes, .. } => {
                let mut all = vec![self.address(*dst), self.address(*src), bytes.to_string()];
                all.extend(src_bytes.iter().map(x));
                all
            }
            Instruction::CpAsyncWait { pending } => vec![pending.to_string()],
            Instruction::Ldmatrix { dst, address, .. } => vec![braces(dst.iter().map(r)), self.address(*address)],
            Instruction::Mma(m) => {
                let mut all: Vec<String> = [&m.d, &m.a, &m.b, &m.c].map(|v| braces(v.iter().map(r))).to_vec();
                if let Some(s) = m.sparse {
                    all.extend([s.metadata.to_string(), s.selector.to_string()]);
                }
                all
            }
            Instruction::Hopper(h) => self.hopper(h),
            Instruction::Fence { .. }
            | Instruction::CpAsyncCommit
            | Instruction::Ret
            | Instruction::Exit
            | Instruction::Trap => Vec::new(),
        }
    }

    fn operand(&self, operand: Operand) -> String {
        match operand {
            Operand::Reg(r) => r.to_string(),
            Operand::Int(v) => v.to_string(),
            Operand::F32(bits) => format!("0f{bits:08X}"),
            Operand::F64(bits) => format!("0d{bits:016X}"),
            Operand::Special(s) => s.to_string(),
            Operand::Shared(s) => name(self.module.shared.get(s.index()).map(|s| &s.name), "shared", s.0),
        }
    }

    fn address(&self, address: Address) -> String {
        let base = match address.base {
            Base::Reg(r) => r.to_string(),
            Base::Param(p) => name(self.function.params.get(p.index()).map(|p| &p.name), "param", p.0),
            Base::Shared(s) => name(self.module.shared.get(s.index()).map(|s| &s.name), "shared", s.0),
            Base::Const(c) => name(self.module.constants.get(c.index()).map(|c| &c.name), "const", c.0),
        };
        match address.offset {
            0 => format!("[{base}]"),
            offset => format!("[{base}+{offset}]"),
        }
    }
}

/// A name, or for what does not exist a text that tells so and does not parse.
fn name(found: Option<&String>, kind: &str, index: u32) -> String {
    found.cloned().unwrap_or_else(|| format!("<no {kind} {index}>"))
}

fn braces(parts: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
}

fn vector(mut parts: Vec<String>) -> String {
    if parts.len() == 1 { parts.remove(0) } else { braces(parts.into_iter()) }
}
