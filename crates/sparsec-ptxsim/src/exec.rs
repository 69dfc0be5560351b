//! Runs a warp, instruction by instruction.

use sparsec_ptx::{
    Address, AtomOp, Base, Instruction, MadMode, Operand, Reg, RegClass, ShflMode, Space, Type, VoteMode,
};

use crate::alu::{self, Lanes};
use crate::convert::{convert, integer};
use crate::counts::{Counts, sectors, shared_passes};
use crate::error::Fault;
use crate::hopper::Groups;
use crate::matrix::{self, Fragments};
use crate::memory::Memory;
use crate::program::Program;
use crate::shared::{Shared, Who};
use crate::warp::{Copy, LaneFault, Place, State, Warp};

/// What all warps of a block have in common.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c, 'm> {
    pub(crate) program: &'c Program<'m>,
    pub(crate) place: Place,
    pub(crate) parameters: &'c [u8],
    pub(crate) limit: u64,
}

/// Runs a warp until it ends or waits at a barrier.
pub(crate) fn run_warp(
    context: &Context<'_, '_>,
    warp: &mut Warp,
    (memory, shared, groups): (&mut Memory, &mut Shared, &mut Groups),
    counts: &mut Counts,
) -> Result<(), LaneFault> {
    while let Some((next, lanes)) = warp.position() {
        let Some(op) = context.program.code.get(next) else {
            // Running over the end is as good as `ret`.
            warp.end(lanes);
            continue;
        };
        counts.instructions += 1;
        if counts.instructions > context.limit {
            return Err((lanes.trailing_zeros(), Fault::Limit(context.limit)));
        }
        let active = warp.guarded(context.program, op.guard, lanes)?;
        match op.instruction {
            Instruction::Bra { .. } => {
                counts.divergent_branches += u64::from(warp.jump(active, op.target, op.meet));
            }
            Instruction::Ret | Instruction::Exit => {
                warp.end(active);
                // Those who go on do so behind it, wherever their path is.
            }
            Instruction::BarSync { barrier, threads } => {
                if active != warp.all {
                    let fault = Fault::DivergentBarrier { active, all: warp.all };
                    return Err(((warp.all & !active).trailing_zeros(), fault));
                }
                counts.barriers += 1;
                let all: u32 = context.place.block.iter().product();
                warp.state = State::Waiting { barrier: *barrier, expected: threads.unwrap_or(all) };
                return Ok(());
            }
            instruction => {
                if active != 0 {
                    let mut step = Step { context, warp, memory, shared, groups, counts, active };
                    step.run(instruction)?;
                }
                warp.advance();
                if warp.state != State::Running {
                    return Ok(());
                }
            }
        }
    }
    warp.state = State::Done;
    Ok(())
}

/// One instruction of one warp.
pub(crate) struct Step<'s, 'c, 'm> {
    pub(crate) context: &'s Context<'c, 'm>,
    pub(crate) warp: &'s mut Warp,
    pub(crate) memory: &'s mut Memory,
    pub(crate) shared: &'s mut Shared,
    pub(crate) groups: &'s mut Groups,
    pub(crate) counts: &'s mut Counts,
    pub(crate) active: u32,
}

/// The numbers of the set bits.
pub(crate) fn ones(mask: u32) -> impl Iterator<Item = u32> {
    (0..32).filter(move |l| mask >> l & 1 == 1)
}

impl Step<'_, '_, '_> {
    pub(crate) fn read(&self, operand: impl Into<Operand>) -> Result<Lanes, LaneFault> {
        self.warp.read(self.context.program, &self.context.place, operand.into(), self.active)
    }

    pub(crate) fn write(&mut self, reg: Reg, values: &Lanes) {
        self.warp.write(self.context.program, reg, self.active, values);
    }

    fn run(&mut self, instruction: &Instruction) -> Result<(), LaneFault> {
        self.not_under_way(instruction)?;
        match instruction {
            Instruction::Mov { dst, src, .. } => {
                let x = self.read(*src)?;
                self.write(*dst, &x);
            }
            Instruction::Pack { ty, dst, src } => {
                let width = ty.bits() / src.len().max(1) as u32;
                let mut whole = [0; 32];
                for (i, part) in src.iter().enumerate() {
                    let part = self.read(*part)?;
                    (0..32).for_each(|l| whole[l] |= part[l] << (i as u32 * width));
                }
                self.write(*dst, &whole);
            }
            Instruction::Unpack { ty, dst, src } => {
                let whole = self.read(*src)?;
                let width = ty.bits() / dst.len().max(1) as u32;
                for (i, part) in dst.iter().enumerate() {
                    self.write(*part, &whole.map(|x| x >> (i as u32 * width)));
                }
            }
            Instruction::Unary { op, ty, dst, src } => {
                let x = self.read(*src)?;
                self.write(*dst, &alu::unary(*op, *ty, &x));
            }
            Instruction::Binary { op, ty, dst, a, b } => {
                let (a, b) = (self.read(*a)?, self.read(*b)?);
                self.write(*dst, &alu::binary(*op, *ty, &a, &b));
            }
            Instruction::Mad { mode: MadMode::Lo | MadMode::Wide, ty, dst, a, b, c } => {
                let (a, b, c) = (self.read(*a)?, self.read(*b)?, self.read(*c)?);
                self.write(*dst, &alu::mad(*ty, &a, &b, &c));
            }
            Instruction::Fma { ty, dst, a, b, c } => {
                let (a, b, c) = (self.read(*a)?, self.read(*b)?, self.read(*c)?);
                self.write(*dst, &alu::fma(*ty, &a, &b, &c));
            }
            Instruction::Dp4a { a_type, b_type, dst, a, b, c } => {
                let (a, b, c) = (self.read(*a)?, self.read(*b)?, self.read(*c)?);
                self.write(*dst, &alu::dp4a(*a_type, *b_type, &a, &b, &c));
            }
            Instruction::Bfe { ty, dst, a, start, len } => {
                let (a, start, len) = (self.read(*a)?, self.read(*start)?, self.read(*len)?);
                self.write(*dst, &alu::bfe(*ty, &a, &start, &len));
            }
            Instruction::Bfi { ty, dst, a, into, start, len } => {
                let (a, into) = (self.read(*a)?, self.read(*into)?);
                let (start, len) = (self.read(*start)?, self.read(*len)?);
                self.write(*dst, &alu::bfi(*ty, &a, &into, &start, &len));
            }
            Instruction::Prmt { dst, a, b, selector } => {
                let (a, b, selector) = (self.read(*a)?, self.read(*b)?, self.read(*selector)?);
                self.write(*dst, &alu::prmt(&a, &b, &selector));
            }
            Instruction::Cvt { to, from, rounding, saturate, dst, src } => {
                let x = self.read(*src)?;
                self.write(*dst, &x.map(|x| convert(*to, *from, *rounding, *saturate, x)));
            }
            Instruction::CvtPair { to, dst, hi, lo } => {
                let (hi, lo) = (self.read(*hi)?, self.read(*lo)?);
                let half = if *to == Type::Bf16x2 { Type::Bf16 } else { Type::F16 };
                let one = |x| convert(half, Type::F32, Some(sparsec_ptx::Rounding::Rn), false, x);
                self.write(*dst, &std::array::from_fn(|l| one(lo[l]) | one(hi[l]) << 16));
            }
            Instruction::Setp { op, ty, dst, a, b } => {
                let (a, b) = (self.read(*a)?, self.read(*b)?);
                let holds = alu::compare(*op, *ty, &a, &b);
                self.write(*dst, &mask_lanes(holds));
            }
            Instruction::Selp { dst, a, b, pred, .. } => {
                let (a, b, pred) = (self.read(*a)?, self.read(*b)?, self.read(*pred)?);
                self.write(*dst, &std::array::from_fn(|l| if pred[l] & 1 == 1 { a[l] } else { b[l] }));
            }
            Instruction::Cvta { space, dst, src, .. } => {
                if *space != Space::Global {
                    return Err(self.unsupported("generic addresses of other than global memory"));
                }
                let x = self.read(*src)?;
                self.write(*dst, &x);
            }
            Instruction::Ld { space, ty, dst, address, .. } => self.load(*space, *ty, dst, *address)?,
            Instruction::St { space, ty, address, src, .. } => self.store(*space, *ty, *address, src)?,
            Instruction::Atom { space, op, ty, dst, address, src, second } => {
                let old = self.atomic(*space, *op, *ty, *address, *src, *second)?;
                self.write(*dst, &old);
            }
            Instruction::Red { space, op, ty, address, src } => {
                self.atomic(*space, *op, *ty, *address, *src, None)?;
            }
            Instruction::CpAsync { bytes, dst, src, src_bytes, .. } => self.copy(*bytes, *dst, *src, *src_bytes)?,
            Instruction::CpAsyncCommit => {
                for lane in ones(self.active) {
                    let copies = &mut self.warp.copies[lane as usize];
                    let group = std::mem::take(&mut copies.open);
                    copies.groups.push_back(group);
                }
            }
            Instruction::CpAsyncWait { pending } => self.wait(*pending),
            Instruction::Shfl { mode, dst, in_range, src, lane, clamp, mask } => {
                self.participants(*mask)?;
                let (values, b, c) = (self.read(*src)?, self.read(*lane)?, self.read(*clamp)?);
                self.shuffle(*mode, *dst, *in_range, &values, &b, &c);
            }
            Instruction::Vote { mode, dst, src, mask } => {
                self.participants(*mask)?;
                let values = self.read(*src)?;
                let ballot = ones(self.active).fold(0, |all, l| all | (values[l as usize] as u32 & 1) << l);
                let result = match mode {
                    VoteMode::All => u64::from(ballot == self.active),
                    VoteMode::Any => u64::from(ballot != 0),
                    VoteMode::Ballot => ballot.into(),
                };
                self.write(*dst, &[result; 32]);
            }
            Instruction::BarWarpSync { mask } => {
                self.participants(*mask)?;
                let own = self.warp.index as usize;
                self.warp.clocks[own] += 1;
            }
            Instruction::Ldmatrix { transpose, dst, address } => self.load_matrices(*transpose, dst, *address)?,
            Instruction::Mma(m) => {
                self.whole_warp()?;
                self.counts.matrix_products += 1;
                let read = |regs: &[Reg]| regs.iter().map(|r| self.read(*r)).collect::<Result<Vec<_>, _>>();
                let (a, b, c) = (read(&m.a)?, read(&m.b)?, read(&m.c)?);
                let metadata = m.sparse.map(|s| self.read(s.metadata)).transpose()?;
                let fragments = Fragments { a: &a, b: &b, c: &c, metadata: metadata.as_ref() };
                for (reg, values) in m.d.iter().zip(matrix::multiply(m, &fragments)?) {
                    self.write(*reg, &values);
                }
            }
            Instruction::Hopper(h) => self.hopper(h)?,
            Instruction::Trap => return Err((self.active.trailing_zeros(), Fault::Trap)),
            // What follows a prefetch is not affected; fences order what is in order here.
            Instruction::Prefetch { .. } | Instruction::Fence { .. } => {}
            Instruction::Bra { .. } | Instruction::BarSync { .. } | Instruction::Ret | Instruction::Exit => {}
        }
        Ok(())
    }

    pub(crate) fn unsupported(&self, what: &'static str) -> LaneFault {
        (self.active.trailing_zeros(), Fault::Unsupported(what))
    }

    /// All lanes are here.
    pub(crate) fn whole_warp(&self) -> Result<(), LaneFault> {
        if self.active == u32::MAX {
            return Ok(());
        }
        Err(((!self.active).trailing_zeros(), Fault::MissingLanes { needed: u32::MAX, active: self.active }))
    }

    /// The lanes that are here are those of the mask, except for such as have ended.
    fn participants(&self, mask: Operand) -> Result<(), LaneFault> {
        let masks = self.read(mask)?;
        let live = self.warp.live();
        for lane in ones(self.active) {
            let needed = masks[lane as usize] as u32;
            if needed & live != self.active || needed >> lane & 1 == 0 {
                return Err((lane, Fault::MissingLanes { needed, active: self.active }));
            }
        }
        Ok(())
    }

    /// The addresses in the active lanes, of a space other than that of parameters.
    pub(crate) fn addresses(&self, address: Address) -> Result<Vec<(u32, u64)>, LaneFault> {
        let offset = i64::from(address.offset) as u64;
        let bases = match address.base {
            Base::Reg(reg) => {
                let bases = self.warp.read_register(self.context.program, reg, self.active)?;
                if reg.class == RegClass::B32 {
                    let cut = |x: u64| x.wrapping_add(offset) & 0xffff_ffff;
                    return Ok(ones(self.active).map(|l| (l, cut(bases[l as usize]))).collect());
                }
                bases
            }
            Base::Shared(id) => self.read(Operand::Shared(id))?,
            Base::Param(_) | Base::Const(_) => [0; 32],
        };
        Ok(ones(self.active).map(|l| (l, bases[l as usize].wrapping_add(offset))).collect())
    }

    fn shared_addresses(&mut self, address: Address, bytes: u32) -> Result<Vec<(u32, u32)>, LaneFault> {
        let all: Vec<(u32, u32)> = self.addresses(address)?.into_iter().map(|(l, a)| (l, a as u32)).collect();
        let (passes, least) = shared_passes(&all, bytes);
        self.counts.shared_passes += least;
        self.counts.bank_conflicts += passes - least;
        Ok(all)
    }

    fn count_load(&mut self, addresses: &[(u32, u64)], bytes: u32) {
        let (touched, most) = sectors(addresses, bytes);
        self.counts.global_loads += 1;
        self.counts.load_sectors += touched;
        self.counts.uncoalesced_loads += u64::from(touched > most);
    }

    fn load(&mut self, space: Space, ty: Type, dst: &[Reg], address: Address) -> Result<(), LaneFault> {
        let each = ty.bytes();
        let bytes = each * dst.len() as u32;
        let mut data = [[0_u8; 16]; 32];
        match space {
            Space::Global => {
                let addresses = self.addresses(address)?;
                for (lane, address) in &addresses {
                    data[*lane as usize] =
                        self.memory.load(*address, bytes as usize, bytes as usize).map_err(|f| (*lane, f))?;
                }
                self.count_load(&addresses, bytes);
            }
            Space::Shared => {
                for (lane, address) in self.shared_addresses(address, bytes)? {
                    let who = who(self.warp, lane);
                    data[lane as usize] = self.shared.load(who, address, bytes).map_err(|f| (lane, f))?;
                }
            }
            Space::Param | Space::Const => {
                let constant = self.constant(address, bytes)?;
                data = [constant; 32];
            }
        }
        for (i, reg) in dst.iter().enumerate() {
            let values = std::array::from_fn(|l| {
                let mut value = [0; 8];
                let start = i * each as usize;
                value[..each as usize].copy_from_slice(&data[l][start..start + each as usize]);
                let value = u64::from_le_bytes(value);
                if ty.is_signed() { integer(ty, value) as u64 } else { value }
            });
            self.write(*reg, &values);
        }
        Ok(())
    }

    /// Bytes of a parameter or of a constant array.
    fn constant(&self, address: Address, bytes: u32) -> Result<[u8; 16], LaneFault> {
        let program = self.context.program;
        let (source, start, end) = match address.base {
            Base::Param(id) => {
                let start = program.params.get(id.index()).copied().unwrap_or(0);
                let size = program.function.params.get(id.index()).map_or(0, |p| p.ty.bytes());
                (self.context.parameters, start, start + size)
            }
            Base::Const(id) => match program.module.constants.get(id.index()) {
                Some(c) => (c.bytes.as_slice(), 0, c.bytes.len() as u32),
                None => return Err(self.unsupported("a constant array that the module lacks")),
            },
            _ => return Err(self.unsupported("parameters and constants through registers")),
        };
        let first = i64::from(start) + i64::from(address.offset);
        let out = |place: String| (self.active.trailing_zeros(), Fault::OutOfBounds { place, bytes });
        if first < i64::from(start) || first + i64::from(bytes) > i64::from(end) {
            return Err(out(format!("offset {}", address.offset)));
        }
        let mut data = [0; 16];
        data[..bytes as usize].copy_from_slice(&source[first as usize..first as usize + bytes as usize]);
        Ok(data)
    }

    fn store(&mut self, space: Space, ty: Type, address: Address, src: &[Operand]) -> Result<(), LaneFault> {
        let each = ty.bytes() as usize;
        let bytes = each * src.len();
        let mut data = [[0_u8; 16]; 32];
        for (i, operand) in src.iter().enumerate() {
            let values = self.read(*operand)?;
            for (data, value) in data.iter_mut().zip(values) {
                data[i * each..(i + 1) * each].copy_from_slice(&value.to_le_bytes()[..each]);
            }
        }
        match space {
            Space::Global => {
                let addresses = self.addresses(address)?;
                for (lane, address) in &addresses {
                    self.memory.store(*address, &data[*lane as usize][..bytes]).map_err(|f| (*lane, f))?;
                }
                self.counts.global_stores += 1;
                self.counts.store_sectors += sectors(&addresses, bytes as u32).0;
            }
            Space::Shared => {
                for (lane, address) in self.shared_addresses(address, bytes as u32)? {
                    let who = who(self.warp, lane);
                    self.shared.store(who, address, &data[lane as usize][..bytes]).map_err(|f| (lane, f))?;
                }
            }
            Space::Param | Space::Const => return Err(self.unsupported("a store to constant memory")),
        }
        Ok(())
    }

    /// What memory held before an atomic operation; lanes act in order.
    fn atomic(
        &mut self,
        space: Space,
        op: AtomOp,
        ty: Type,
        address: Address,
        src: Operand,
        second: Option<Operand>,
    ) -> Result<Lanes, LaneFault> {
        let new = self.read(src)?;
        let second = second.map_or(Ok([0; 32]), |x| self.read(x))?;
        let bytes = ty.bytes();
        let cut = u64::MAX >> (64 - ty.bits());
        let mut result = [0; 32];
        let addresses = match space {
            Space::Global => {
                let addresses = self.addresses(address)?;
                self.counts.global_stores += 1;
                self.counts.store_sectors += sectors(&addresses, bytes).0;
                addresses
            }
            Space::Shared => self.shared_addresses(address, bytes)?.into_iter().map(|(l, a)| (l, a.into())).collect(),
            Space::Param | Space::Const => return Err(self.unsupported("an atomic operation on constant memory")),
        };
        for (lane, address) in addresses {
            let l = lane as usize;
            let change = |old: u64| alu::atomic(op, ty, old, new[l] & cut, second[l]) & cut;
            let old = match space {
                Space::Global => self.memory.load(address, bytes as usize, bytes as usize).and_then(|data| {
                    let mut old = [0; 8];
                    old[..bytes as usize].copy_from_slice(&data[..bytes as usize]);
                    let old = u64::from_le_bytes(old);
                    self.memory.store(address, &change(old).to_le_bytes()[..bytes as usize]).map(|()| old)
                }),
                _ => self.shared.update(who(self.warp, lane), address as u32, bytes, change),
            };
            result[l] = old.map_err(|f| (lane, f))?;
        }
        Ok(result)
    }

    fn copy(&mut self, bytes: u32, dst: Address, src: Address, used: Option<Operand>) -> Result<(), LaneFault> {
        let used = used.map_or(Ok([bytes.into(); 32]), |x| self.read(x))?;
        let sources = self.addresses(src)?;
        let read: Vec<(u32, u64)> = sources.iter().copied().filter(|(l, _)| used[*l as usize] != 0).collect();
        if !read.is_empty() {
            self.count_load(&read, bytes);
        }
        for ((lane, source), (_, target)) in sources.into_iter().zip(self.shared_addresses(dst, bytes)?) {
            let used = (used[lane as usize] as u32).min(bytes);
            let fault = |f| (lane, f);
            if !source.is_multiple_of(bytes.into()) && used != 0 {
                let place = self.memory.place(source);
                return Err((lane, Fault::Misaligned { place, bytes }));
            }
            let data = self.memory.load(source, bytes as usize, used as usize).map_err(fault)?;
            self.shared.begin_copy(who(self.warp, lane), target, bytes).map_err(fault)?;
            self.warp.copies[lane as usize].open.push(Copy { address: target, bytes, data });
        }
        Ok(())
    }

    /// Ends all but the last `pending` groups of each thread.
    fn wait(&mut self, pending: u32) {
        for lane in ones(self.active) {
            while self.warp.copies[lane as usize].groups.len() > pending as usize {
                let group = self.warp.copies[lane as usize].groups.pop_front().unwrap_or_default();
                for copy in group {
                    self.shared.end_copy(who(self.warp, lane), copy.address, &copy.data[..copy.bytes as usize]);
                }
            }
        }
    }

    /// `shfl`: segment and clamp are those of the ISA's pseudocode. What an absent lane would give is undefined.
    fn shuffle(&mut self, mode: ShflMode, dst: Reg, in_range: Option<Reg>, values: &Lanes, b: &Lanes, c: &Lanes) {
        let (mut result, mut found, mut absent) = ([0; 32], [0; 32], 0);
        for lane in ones(self.active) {
            let l = lane as usize;
            let (b, clamp, segment) = (b[l] as i64 & 0x1f, c[l] as i64 & 0x1f, c[l] as i64 >> 8 & 0x1f);
            let own = i64::from(lane);
            let last = (own & segment) | (clamp & !segment);
            let first = own & segment;
            let (from, inside) = match mode {
                ShflMode::Up => (own - b, own - b >= last),
                ShflMode::Down => (own + b, own + b <= last),
                ShflMode::Bfly => (own ^ b, own ^ b <= last),
                ShflMode::Idx => (first | (b & !segment), (first | (b & !segment)) <= last),
            };
            let from = if inside { from as usize & 31 } else { l };
            found[l] = u64::from(inside);
            result[l] = values[from];
            if self.active >> from & 1 == 0 {
                absent |= 1 << lane;
            }
        }
        self.write(dst, &result);
        if absent != 0 {
            self.warp.forget(self.context.program, dst, absent);
        }
        if let Some(p) = in_range {
            self.write(p, &found);
        }
    }

    fn load_matrices(&mut self, transpose: bool, dst: &[Reg], address: Address) -> Result<(), LaneFault> {
        self.whole_warp()?;
        let addresses = self.addresses(address)?;
        for (lanes, reg) in addresses.chunks(8).zip(dst) {
            let mut rows = [[0; 16]; 8];
            let mut places = Vec::with_capacity(8);
            for ((lane, address), row) in lanes.iter().zip(&mut rows) {
                let address = *address as u32;
                *row = self.shared.load(who(self.warp, *lane), address, 16).map_err(|f| (*lane, f))?;
                places.push((0, address));
            }
            let (passes, least) = shared_passes(&places, 16);
            self.counts.shared_passes += least;
            self.counts.bank_conflicts += passes - least;
            self.write(*reg, &matrix::distribute(&rows, transpose));
        }
        Ok(())
    }
}

/// A thread of a warp, with what the warp knows of the others.
pub(crate) fn who(warp: &Warp, lane: u32) -> Who<'_> {
    Who { thread: (32 * warp.index + lane) as u16, clocks: &warp.clocks }
}

/// A mask as one bit in each lane.
fn mask_lanes(mask: u32) -> Lanes {
    std::array::from_fn(|l| u64::from(mask >> l & 1))
}
