//! Executes what only `sm_90a` has.
//!
//! A matrix product of a warp group is computed warp by warp, each its rows, as soon as the warp issues it. What a GPU leaves
//! open, when it reads its factors and when its sums are there, is checked: registers and memory are under way until the warp
//! has waited. That the four warps issue the same products with the same descriptors is compared as they do.

use sparsec_ptx::{Address, GroupA, GroupMma, Hopper, Instruction, Reg, Role};

use crate::barrier::merge;
use crate::descriptor::Descriptor;
use crate::error::Fault;
use crate::exec::{Step, ones, who};
use crate::group;
use crate::warp::{GroupProduct, LaneFault, State, Warp};

/// One instruction of a group: its place in the code, and what its operands were.
#[derive(Clone, PartialEq, Eq)]
struct Issued {
    instruction: Hopper,
    operands: Vec<u64>,
}

/// What each warp group of a block has done.
#[derive(Default)]
pub(crate) struct Groups(Vec<Vec<Issued>>);

impl Groups {
    /// The next instruction of a warp: the first of its group to come decides what it is.
    fn step(&mut self, warp: &mut Warp, issued: Issued) -> Result<(), Fault> {
        let (group, step) = (warp.index as usize / 4, warp.products.steps);
        warp.products.steps += 1;
        if self.0.len() <= group {
            self.0.resize(group + 1, Vec::new());
        }
        match self.0[group].get(step) {
            None => self.0[group].push(issued),
            Some(other) if other.instruction != issued.instruction => {
                return Err(Fault::GroupApart("another warp is at another instruction"));
            }
            Some(other) if other.operands != issued.operands => {
                return Err(Fault::GroupApart("another warp has other operands"));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// At the end of a block: a warp that others of its group still need.
    pub(crate) fn left_behind(&self, warps: &[Warp]) -> Option<(usize, Fault)> {
        let all = |w: &&Warp| self.0.get(w.index as usize / 4).map_or(0, Vec::len);
        let missing = warps.iter().find(|w| w.products.steps != all(w))?;
        Some((missing.index as usize, Fault::GroupApart("another warp has more to do")))
    }
}

impl Step<'_, '_, '_> {
    /// Nothing that an instruction touches belongs to a product that has not been waited for.
    pub(crate) fn not_under_way(&self, instruction: &Instruction) -> Result<(), LaneFault> {
        if self.warp.products.under_way().next().is_none()
            || matches!(instruction, Instruction::Hopper(Hopper::GroupMma(_)))
        {
            return Ok(());
        }
        let mut found = None;
        instruction.operands(&mut |x, _, role| {
            let Some(reg) = x.reg() else { return };
            let writes = role == Role::Def;
            let busy = |p: &GroupProduct| p.sums.contains(&reg) || (writes && p.factor.contains(&reg));
            if self.warp.products.under_way().any(busy) {
                found = Some(reg);
            }
        });
        match found {
            Some(reg) => Err((self.active.trailing_zeros(), Fault::RegisterUnderWay { register: reg.to_string() })),
            None => Ok(()),
        }
    }

    pub(crate) fn hopper(&mut self, instruction: &Hopper) -> Result<(), LaneFault> {
        match instruction {
            Hopper::GroupFence => {
                self.issue(instruction, Vec::new())?;
                self.warp.fence();
            }
            Hopper::GroupMma(m) => self.group_product(instruction, m)?,
            Hopper::GroupCommit => {
                self.issue(instruction, Vec::new())?;
                let group = std::mem::take(&mut self.warp.products.open);
                self.warp.products.groups.push_back(group);
            }
            Hopper::GroupWait { pending } => {
                self.issue(instruction, Vec::new())?;
                while self.warp.products.groups.len() > *pending as usize {
                    let group = self.warp.products.groups.pop_front().unwrap_or_default();
                    group.iter().for_each(|product| self.end(product));
                }
            }
            Hopper::FenceProxyAsync => ones(self.active).for_each(|lane| self.shared.fence(who(self.warp, lane))),
            Hopper::BarrierInit { address, count } => {
                for (lane, address) in self.addresses(*address)? {
                    let made = self.shared.init_barrier(who(self.warp, lane), address as u32, *count);
                    made.map_err(|f| (lane, f))?;
                }
            }
            Hopper::BarrierExpect { address, bytes } => {
                let bytes = self.read(*bytes)?;
                for (lane, address) in self.addresses(*address)? {
                    let bytes = bytes[lane as usize] & 0xffff_ffff;
                    let arrived = self.shared.arrive(who(self.warp, lane), address as u32, bytes);
                    arrived.map_err(|f| (lane, f))?;
                }
                let own = self.warp.index as usize;
                self.warp.clocks[own] += 1;
            }
            Hopper::BarrierTryWait { dst, address, parity } => {
                let parity = self.same(self.read(*parity)?)? as u32;
                let lane = self.active.trailing_zeros();
                let address = self.one_address(*address)?;
                let waited = self.shared.try_wait(who(self.warp, lane), address, parity & 1).map_err(|f| (lane, f))?;
                self.write(*dst, &[u64::from(waited.is_some()); 32]);
                match waited {
                    Some(clocks) => {
                        merge(&mut self.warp.clocks, &clocks);
                        let own = self.warp.index as usize;
                        self.warp.clocks[own] += 1;
                    }
                    None => self.warp.state = State::Polling { address },
                }
            }
            Hopper::CopyBulk { dst, src, bytes, barrier } => {
                let bytes = self.read(*bytes)?;
                let (to, from, barrier) = (self.addresses(*dst)?, self.addresses(*src)?, self.addresses(*barrier)?);
                for (((lane, to), (_, from)), (_, barrier)) in to.into_iter().zip(from).zip(barrier) {
                    self.copy_bulk(lane, (to as u32, from), bytes[lane as usize] as u32, barrier as u32)
                        .map_err(|f| (lane, f))?;
                }
            }
        }
        Ok(())
    }

    /// One value for all lanes that are here.
    fn same(&self, values: [u64; 32]) -> Result<u64, LaneFault> {
        let first = self.active.trailing_zeros();
        match ones(self.active).find(|l| values[*l as usize] != values[first as usize]) {
            Some(lane) => Err((lane, Fault::GroupApart("another lane has another operand"))),
            None => Ok(values[first as usize]),
        }
    }

    fn one_address(&self, address: Address) -> Result<u32, LaneFault> {
        let mut values = [0; 32];
        self.addresses(address)?.into_iter().for_each(|(l, a)| values[l as usize] = a);
        Ok(self.same(values)? as u32)
    }

    /// Notes an instruction of the group, in which all its warps take part.
    fn issue(&mut self, instruction: &Hopper, operands: Vec<u64>) -> Result<(), LaneFault> {
        self.whole_warp()?;
        // The last clock is that of copies.
        let warps = self.warp.clocks.len() - 1;
        if self.warp.index as usize / 4 * 4 + 4 > warps {
            return Err((0, Fault::GroupApart("the block has no four warps for it")));
        }
        let issued = Issued { instruction: instruction.clone(), operands };
        self.groups.step(self.warp, issued).map_err(|f| (0, f))
    }

    fn group_product(&mut self, instruction: &Hopper, m: &GroupMma) -> Result<(), LaneFault> {
        let program = self.context.program;
        let descriptor = |reg: Reg| -> Result<(u64, Descriptor), LaneFault> {
            let bits = self.same(self.read(reg)?)?;
            Ok((bits, Descriptor::new(bits).map_err(|f| (0, f))?))
        };
        let b = descriptor(m.b)?;
        let add = self.same(self.read(m.add)?)? & 1 == 1;
        let mut operands = vec![b.0, u64::from(add)];
        let (a, factor) = match &m.a {
            GroupA::Registers(a) => (None, a.clone()),
            GroupA::Shared { descriptor: a, .. } => {
                let a = descriptor(*a)?;
                operands.push(a.0);
                (Some(a.1), Vec::new())
            }
        };
        self.issue(instruction, operands)?;
        self.fenced(m, &factor)?;
        self.counts.matrix_products += u64::from(self.warp.index.is_multiple_of(4));

        let mut chunks = Vec::new();
        let (shared, warp) = (&mut *self.shared, &*self.warp);
        let mut read = |address| {
            chunks.push(address);
            shared.begin_product(who(warp, 0), address)
        };
        let left = match a {
            Some(a) => group::left(m, &a, warp.index % 4, &mut read).map_err(|f| (0, f))?,
            None => {
                let registers: Result<Vec<_>, _> = factor.iter().map(|r| warp.peek(program, *r, u32::MAX)).collect();
                group::fragments(m, &registers?)
            }
        };
        let right = group::right(m, &b.1, &mut read).map_err(|f| (0, f))?;
        let words = m.sparse.map(|s| self.read(s.metadata)).transpose()?;
        let products = group::multiply(m, &left, &right, words.as_ref())?;
        for (reg, products) in m.d.iter().zip(&products) {
            let old = if add { Some(self.warp.peek(program, *reg, u32::MAX)?) } else { None };
            let sums = group::add(products, old.as_ref());
            self.warp.write(program, *reg, u32::MAX, &sums);
            self.warp.set_touched(program, *reg, false);
        }
        chunks.sort_unstable();
        chunks.dedup();
        self.warp.products.open.push(GroupProduct { sums: m.d.clone(), factor, chunks });
        Ok(())
    }

    /// No register of a product was touched since the last fence, and other products under way have the same sums or none of them.
    fn fenced(&self, m: &GroupMma, factor: &[Reg]) -> Result<(), LaneFault> {
        let program = self.context.program;
        if let Some(reg) = m.d.iter().chain(factor).find(|r| self.warp.is_touched(program, **r)) {
            return Err((0, Fault::MissingGroupFence { register: reg.to_string() }));
        }
        let clash = |p: &GroupProduct| {
            let own = p.sums != m.d && m.d.iter().any(|r| p.sums.contains(r));
            own || m.d.iter().any(|r| p.factor.contains(r)) || factor.iter().any(|r| p.sums.contains(r))
        };
        match self.warp.products.under_way().any(clash) {
            true => Err((0, Fault::RegisterUnderWay { register: m.d.first().map(Reg::to_string).unwrap_or_default() })),
            false => Ok(()),
        }
    }

    /// A product has been waited for.
    fn end(&mut self, product: &GroupProduct) {
        let products = &self.warp.products;
        for chunk in &product.chunks {
            let others = products.under_way().any(|p| p.chunks.binary_search(chunk).is_ok());
            self.shared.end_product(who(self.warp, 0), *chunk, others);
        }
    }

    fn copy_bulk(&mut self, lane: u32, (to, from): (u32, u64), bytes: u32, barrier: u32) -> Result<(), Fault> {
        if !bytes.is_multiple_of(16) {
            return Err(Fault::Misaligned { place: self.memory.place(from + u64::from(bytes)), bytes: 16 });
        }
        let mut data = Vec::with_capacity(bytes as usize);
        for at in (0..u64::from(bytes)).step_by(16) {
            data.extend(self.memory.load(from + at, 16, 16)?);
        }
        self.counts.global_loads += 1;
        self.counts.load_sectors += u64::from(bytes).div_ceil(32);
        self.shared.begin_bulk(who(self.warp, lane), to, data, barrier)
    }
}
