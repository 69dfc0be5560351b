//! Shared memory of a block, with a record of who touched each byte last.
//!
//! What orders accesses of different threads are barriers. Each warp counts its barriers, `bar.warp.sync` included, in a
//! clock, and knows the clocks that the other warps had at the last barrier they shared. An access is stamped with its
//! thread and its warp's clock; it came before another warp's access if that warp has seen the stamp's clock.
//!
//! Bulk copies count as a warp of their own, the last, whose clock is known to those who waited at their `mbarrier`. Matrix products of warp
//! groups and bulk copies access memory through the *async proxy*: each thread counts its `fence.proxy.async`, and a store is
//! visible there once a fence of its thread follows it, before the barrier that orders the two.

use std::collections::BTreeMap;

use crate::barrier::{Barrier, Bulk};
use crate::error::Fault;

/// Addresses of shared memory begin here, so that small numbers are no addresses.
pub(crate) const BASE: u32 = 1024;

/// Arrays are this far apart at least, so that an access beyond one of them is outside of all.
pub(crate) const GAP: u32 = 1024;

/// An array in shared memory.
#[derive(Clone, Debug)]
pub(crate) struct Array {
    pub(crate) name: String,
    pub(crate) start: u32,
    pub(crate) bytes: u32,
}

/// The thread that accesses, and the clocks of the warps as its warp knows them.
#[derive(Clone, Copy)]
pub(crate) struct Who<'c> {
    pub(crate) thread: u16,
    pub(crate) clocks: &'c [u32],
}

impl Who<'_> {
    fn warp(self) -> usize {
        usize::from(self.thread) / 32
    }

    fn stamp(self) -> Stamp {
        Stamp { clock: self.clocks[self.warp()], thread: self.thread, ..Stamp::default() }
    }
}

/// An access: no access where the clock is 0.
#[derive(Clone, Copy, Default)]
struct Stamp {
    clock: u32,
    thread: u16,
    /// Other lanes of the warp did the same.
    several: bool,
    atomic: bool,
    /// A product of a warp group did it, for which all lanes of the warp have waited.
    group: bool,
}

impl Stamp {
    fn warp(self) -> usize {
        usize::from(self.thread) / 32
    }

    /// Whether it came before whatever `who` does now.
    fn is_before(self, who: Who<'_>) -> bool {
        if self.clock == 0 || (self.thread == who.thread && !self.several) {
            return true;
        }
        let seen = who.clocks[self.warp()];
        if self.warp() == who.warp() && !self.group { self.clock < seen } else { self.clock <= seen }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unwritten,
    Written,
    /// A `cp.async` is under way.
    Copying,
    /// Part of an `mbarrier`.
    Barrier,
}

#[derive(Clone, Copy)]
struct Byte {
    value: u8,
    state: State,
    write: Stamp,
    /// Readers since: of two warps, which suffices to find a writer that none of them is ordered with.
    reads: [Stamp; 2],
    /// Warps whose products have not been waited for and read this.
    products: u32,
    /// How many fences its writer had executed; `None` for what was written through the async proxy.
    fences: Option<u32>,
}

const NO_STAMP: Stamp = Stamp { clock: 0, thread: 0, several: false, atomic: false, group: false };

const UNWRITTEN: Byte =
    Byte { value: 0xa5, state: State::Unwritten, write: NO_STAMP, reads: [NO_STAMP; 2], products: 0, fences: None };

/// The shared memory of one block.
pub(crate) struct Shared {
    arrays: Vec<Array>,
    bytes: Vec<Byte>,
    /// The clocks at which each thread executed `fence.proxy.async`.
    fences: Vec<Vec<u32>>,
    barriers: BTreeMap<u32, (Barrier, Init)>,
    /// Bulk copies that have come: the clock of their warp.
    copies: u32,
    /// Arrivals and copies so far: where warps wait and this stands still, they wait for ever.
    pub(crate) events: u64,
}

/// Who made a barrier, and when.
#[derive(Clone, Copy)]
struct Init {
    stamp: Stamp,
    fences: u32,
}

impl Shared {
    /// Memory that nothing has written.
    pub(crate) fn new(arrays: &[Array]) -> Shared {
        let end = arrays.iter().map(|a| a.start + a.bytes).max().unwrap_or(BASE);
        let bytes = vec![UNWRITTEN; (end - BASE) as usize];
        Shared { arrays: arrays.to_vec(), bytes, fences: Vec::new(), barriers: BTreeMap::new(), copies: 0, events: 0 }
    }

    /// Forgets everything, for the next block.
    pub(crate) fn clear(&mut self) {
        self.bytes.fill(UNWRITTEN);
        self.fences.clear();
        self.barriers.clear();
        (self.copies, self.events) = (0, 0);
    }

    pub(crate) fn place(&self, address: u32) -> String {
        match self.arrays.iter().rev().find(|a| a.start <= address) {
            Some(a) => format!("shared {}+{:#x} (of {:#x} bytes)", a.name, address - a.start, a.bytes),
            None => format!("shared {address:#x}"),
        }
    }

    /// The index of the first byte of an access.
    fn locate(&self, address: u32, bytes: u32) -> Result<usize, Fault> {
        if !address.is_multiple_of(bytes) {
            return Err(Fault::Misaligned { place: self.place(address), bytes });
        }
        let inside =
            |a: &Array| address >= a.start && address.checked_add(bytes).is_some_and(|end| end <= a.start + a.bytes);
        match self.arrays.iter().any(inside) {
            true => Ok((address - BASE) as usize),
            false => Err(Fault::OutOfBounds { place: self.place(address), bytes }),
        }
    }

    fn race(&self, index: usize, earlier: &'static str, stamp: Stamp) -> Fault {
        Fault::Race { place: self.place(BASE + index as u32), earlier, other: stamp.thread.into() }
    }

    /// Reads up to 16 bytes, aligned to their number.
    pub(crate) fn load(&mut self, who: Who<'_>, address: u32, bytes: u32) -> Result<[u8; 16], Fault> {
        let first = self.locate(address, bytes)?;
        let mut result = [0; 16];
        for (i, result) in result.iter_mut().enumerate().take(bytes as usize) {
            let byte = self.bytes[first + i];
            self.readable(first + i)?;
            self.written_before(who, first + i)?;
            note_read(&mut self.bytes[first + i].reads, who);
            *result = byte.value;
        }
        Ok(result)
    }

    /// What was written there came before.
    fn written_before(&self, who: Who<'_>, index: usize) -> Result<(), Fault> {
        let byte = self.bytes[index];
        if byte.write.is_before(who) {
            return Ok(());
        }
        Err(match byte.write.warp() + 1 == who.clocks.len() {
            true => Fault::CopyUnderWay { place: self.place(BASE + index as u32) },
            false => self.race(index, "written", byte.write),
        })
    }

    fn readable(&self, index: usize) -> Result<(), Fault> {
        let place = || self.place(BASE + index as u32);
        match self.bytes[index].state {
            State::Written => Ok(()),
            State::Unwritten => Err(Fault::UninitialisedMemory { place: place() }),
            State::Copying => Err(Fault::CopyUnderWay { place: place() }),
            State::Barrier => Err(Fault::BarrierMemory { place: place() }),
        }
    }

    /// Writes up to 16 bytes, aligned to their number.
    pub(crate) fn store(&mut self, who: Who<'_>, address: u32, data: &[u8]) -> Result<(), Fault> {
        let first = self.locate(address, data.len() as u32)?;
        for (i, value) in data.iter().enumerate() {
            self.claim(who, first + i, false)?;
            let fences = Some(self.fences_of(who));
            let byte = &mut self.bytes[first + i];
            (byte.value, byte.state, byte.fences) = (*value, State::Written, fences);
        }
        Ok(())
    }

    /// Replaces up to 8 bytes by what `f` makes of them, atomically; returns what was there.
    pub(crate) fn update(
        &mut self,
        who: Who<'_>,
        address: u32,
        bytes: u32,
        f: impl FnOnce(u64) -> u64,
    ) -> Result<u64, Fault> {
        let first = self.locate(address, bytes)?;
        let mut old = [0; 8];
        for (i, old) in old.iter_mut().enumerate().take(bytes as usize) {
            self.readable(first + i)?;
            self.claim(who, first + i, true)?;
            *old = self.bytes[first + i].value;
        }
        let old = u64::from_le_bytes(old);
        for (i, value) in f(old).to_le_bytes().into_iter().enumerate().take(bytes as usize) {
            let fences = Some(self.fences_of(who));
            let byte = &mut self.bytes[first + i];
            (byte.value, byte.fences) = (value, fences);
        }
        Ok(old)
    }

    /// Records a write; it must come after all accesses of others, atomic ones among each other aside.
    fn claim(&mut self, who: Who<'_>, index: usize, atomic: bool) -> Result<(), Fault> {
        let byte = self.bytes[index];
        match byte.state {
            State::Copying => return Err(Fault::CopyUnderWay { place: self.place(BASE + index as u32) }),
            State::Barrier => return Err(Fault::BarrierMemory { place: self.place(BASE + index as u32) }),
            State::Written | State::Unwritten => {}
        }
        if byte.products != 0 {
            return Err(Fault::ProductUnderWay { place: self.place(BASE + index as u32) });
        }
        if !(atomic && byte.write.atomic) {
            self.written_before(who, index)?;
        }
        if let Some(read) = byte.reads.into_iter().find(|r| !r.is_before(who)) {
            return Err(self.race(index, "read", read));
        }
        self.bytes[index].write = Stamp { atomic, ..who.stamp() };
        Ok(())
    }

    /// A `cp.async` begins to write: like a store, but nobody may touch the bytes until it has ended.
    pub(crate) fn begin_copy(&mut self, who: Who<'_>, address: u32, bytes: u32) -> Result<(), Fault> {
        let first = self.locate(address, bytes)?;
        for index in first..first + bytes as usize {
            self.claim(who, index, false)?;
            self.bytes[index].state = State::Copying;
        }
        Ok(())
    }

    /// The thread that began a copy has waited for it; others need a barrier after this.
    pub(crate) fn end_copy(&mut self, who: Who<'_>, address: u32, data: &[u8]) {
        let first = (address - BASE) as usize;
        let fences = Some(self.fences_of(who));
        for (byte, value) in self.bytes[first..].iter_mut().zip(data) {
            *byte = Byte { value: *value, state: State::Written, write: who.stamp(), fences, ..*byte };
        }
    }

    fn fences_of(&self, who: Who<'_>) -> u32 {
        self.fences.get(usize::from(who.thread)).map_or(0, |fences| fences.len() as u32)
    }

    /// `fence.proxy.async` of a thread.
    pub(crate) fn fence(&mut self, who: Who<'_>) {
        let thread = usize::from(who.thread);
        if self.fences.len() <= thread {
            self.fences.resize(thread + 1, Vec::new());
        }
        self.fences[thread].push(who.clocks[who.warp()]);
    }

    /// Whether a thread that had so many fences when it wrote has had one since, which `who` knows of.
    fn is_fenced(&self, who: Who<'_>, writer: u16, fences: u32) -> bool {
        let clock = self.fences.get(usize::from(writer)).and_then(|all| all.get(fences as usize));
        let warp = usize::from(writer) / 32;
        clock.is_some_and(|clock| warp == who.warp() || *clock <= who.clocks[warp])
    }

    /// What was stored there is visible to the async proxy.
    fn visible(&self, who: Who<'_>, index: usize) -> Result<(), Fault> {
        let byte = self.bytes[index];
        match byte.fences {
            Some(fences) if !self.is_fenced(who, byte.write.thread, fences) => {
                let place = self.place(BASE + index as u32);
                Err(Fault::MissingProxyFence { place, other: byte.write.thread.into() })
            }
            _ => Ok(()),
        }
    }

    /// A product of a warp group reads 16 bytes, some time before it is waited for.
    pub(crate) fn begin_product(&mut self, who: Who<'_>, address: u32) -> Result<[u8; 16], Fault> {
        let first = self.locate(address, 16)?;
        let mut result = [0; 16];
        for (i, result) in result.iter_mut().enumerate() {
            self.readable(first + i)?;
            self.written_before(who, first + i)?;
            self.visible(who, first + i)?;
            self.bytes[first + i].products |= 1 << who.warp();
            *result = self.bytes[first + i].value;
        }
        Ok(result)
    }

    /// The warp has waited for a product that read 16 bytes there; whether `others` of its products still read them.
    pub(crate) fn end_product(&mut self, who: Who<'_>, address: u32, others: bool) {
        let first = (address - BASE) as usize;
        for byte in &mut self.bytes[first..first + 16] {
            note_read(&mut byte.reads, who);
            if let Some(own) = byte.reads.iter_mut().find(|r| r.clock != 0 && r.warp() == who.warp()) {
                own.group = true;
            }
            if !others {
                byte.products &= !(1 << who.warp());
            }
        }
    }

    /// Makes a barrier of 8 bytes.
    pub(crate) fn init_barrier(&mut self, who: Who<'_>, address: u32, count: u32) -> Result<(), Fault> {
        let first = self.locate(address, 8)?;
        for index in first..first + 8 {
            self.claim(who, index, false)?;
            self.bytes[index].state = State::Barrier;
        }
        let init = Init { stamp: who.stamp(), fences: self.fences_of(who) };
        self.barriers.insert(address, (Barrier::new(count, who.clocks.len()), init));
        Ok(())
    }

    /// The barrier, which was made before.
    fn barrier(&mut self, who: Who<'_>, address: u32) -> Result<(&mut Barrier, Init), Fault> {
        let first = self.locate(address, 8)?;
        let init = match self.barriers.get(&address) {
            Some((_, init)) => *init,
            None => return Err(Fault::NoBarrier { place: self.place(address) }),
        };
        if !init.stamp.is_before(who) {
            return Err(self.race(first, "written", init.stamp));
        }
        match self.barriers.get_mut(&address) {
            Some((barrier, _)) => Ok((barrier, init)),
            None => Err(Fault::NoBarrier { place: String::new() }),
        }
    }

    /// `mbarrier.arrive.expect_tx`.
    pub(crate) fn arrive(&mut self, who: Who<'_>, address: u32, bytes: u64) -> Result<(), Fault> {
        let place = self.place(address);
        self.events += 1;
        self.barrier(who, address)?.0.arrive(bytes, who.clocks, &|| place.clone())
    }

    /// `cp.async.bulk`: a write of any multiple of 16 bytes that nobody may touch before the barrier's phase is waited for.
    pub(crate) fn begin_bulk(&mut self, who: Who<'_>, address: u32, data: Vec<u8>, barrier: u32) -> Result<(), Fault> {
        let init = self.barrier(who, barrier)?.1;
        if !self.is_fenced(who, init.stamp.thread, init.fences) {
            let place = self.place(barrier);
            return Err(Fault::MissingProxyFence { place, other: init.stamp.thread.into() });
        }
        for at in (0..data.len() as u32).step_by(16) {
            let first = self.locate(address + at, 16)?;
            for index in first..first + 16 {
                self.visible(who, index)?;
                self.claim(who, index, false)?;
                self.bytes[index].state = State::Copying;
            }
        }
        self.events += 1;
        self.barrier(who, barrier)?.0.copy(Bulk { address, data });
        Ok(())
    }

    /// `mbarrier.try_wait.parity`: what a thread knows of the warps' clocks behind it; `None` where the phase is not complete.
    pub(crate) fn try_wait(&mut self, who: Who<'_>, address: u32, parity: u32) -> Result<Option<Vec<u32>>, Fault> {
        let barrier = self.barrier(who, address)?.0;
        let copies = if barrier.waited(parity).is_none() { barrier.arrived_copies() } else { Vec::new() };
        for copy in copies {
            self.events += 1;
            self.copies += 1;
            let write = Stamp { clock: self.copies, thread: 32 * (who.clocks.len() - 1) as u16, ..NO_STAMP };
            let first = (copy.address - BASE) as usize;
            for (byte, value) in self.bytes[first..].iter_mut().zip(&copy.data) {
                *byte = Byte { value: *value, state: State::Written, write, fences: None, ..*byte };
            }
            let clock = self.copies;
            self.barrier(who, address)?.0.come(copy.data.len() as u64, clock);
        }
        Ok(self.barrier(who, address)?.0.waited(parity).map(<[u32]>::to_vec))
    }

    /// Arrivals and bytes that a barrier's phase waits for.
    pub(crate) fn missing(&self, address: u32) -> (u32, u64) {
        self.barriers.get(&address).map_or((0, 0), |(barrier, _)| barrier.missing())
    }
}

fn note_read(reads: &mut [Stamp; 2], who: Who<'_>) {
    let new = who.stamp();
    if let Some(same) = reads.iter_mut().find(|r| r.clock != 0 && r.warp() == who.warp()) {
        let several = same.clock == new.clock && (same.several || same.thread != new.thread);
        *same = Stamp { several, ..new };
    } else if let Some(past) = reads.iter_mut().find(|r| r.is_before(who)) {
        *past = new;
    }
}
