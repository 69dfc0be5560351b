//! Shared memory of a block, with a record of who touched each byte last.
//!
//! What orders accesses of different threads are barriers. Each warp counts its barriers, `bar.warp.sync` included, in a
//! clock, and knows the clocks that the other warps had at the last barrier they shared. An access is stamped with its
//! thread and its warp's clock; it came before another warp's access if that warp has seen the stamp's clock.

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
        Stamp { clock: self.clocks[self.warp()], thread: self.thread, several: false, atomic: false }
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
        if self.warp() == who.warp() { self.clock < seen } else { self.clock <= seen }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Unwritten,
    Written,
    /// A `cp.async` is under way.
    Copying,
}

#[derive(Clone, Copy)]
struct Byte {
    value: u8,
    state: State,
    write: Stamp,
    /// Readers since: of two warps, which suffices to find a writer that none of them is ordered with.
    reads: [Stamp; 2],
}

/// The shared memory of one block.
pub(crate) struct Shared {
    arrays: Vec<Array>,
    bytes: Vec<Byte>,
}

impl Shared {
    /// Memory that nothing has written.
    pub(crate) fn new(arrays: &[Array]) -> Shared {
        let end = arrays.iter().map(|a| a.start + a.bytes).max().unwrap_or(BASE);
        let none = [Stamp::default(); 2];
        let byte = Byte { value: 0xa5, state: State::Unwritten, write: none[0], reads: none };
        Shared { arrays: arrays.to_vec(), bytes: vec![byte; (end - BASE) as usize] }
    }

    /// Forgets everything, for the next block.
    pub(crate) fn clear(&mut self) {
        let none = [Stamp::default(); 2];
        self.bytes.fill(Byte { value: 0xa5, state: State::Unwritten, write: none[0], reads: none });
    }

    fn place(&self, address: u32) -> String {
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
            if !byte.write.is_before(who) {
                return Err(self.race(first + i, "written", byte.write));
            }
            note_read(&mut self.bytes[first + i].reads, who);
            *result = byte.value;
        }
        Ok(result)
    }

    fn readable(&self, index: usize) -> Result<(), Fault> {
        let place = || self.place(BASE + index as u32);
        match self.bytes[index].state {
            State::Written => Ok(()),
            State::Unwritten => Err(Fault::UninitialisedMemory { place: place() }),
            State::Copying => Err(Fault::CopyUnderWay { place: place() }),
        }
    }

    /// Writes up to 16 bytes, aligned to their number.
    pub(crate) fn store(&mut self, who: Who<'_>, address: u32, data: &[u8]) -> Result<(), Fault> {
        let first = self.locate(address, data.len() as u32)?;
        for (i, value) in data.iter().enumerate() {
            self.claim(who, first + i, false)?;
            self.bytes[first + i].value = *value;
            self.bytes[first + i].state = State::Written;
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
            self.bytes[first + i].value = value;
        }
        Ok(old)
    }

    /// Records a write; it must come after all accesses of others, atomic ones among each other aside.
    fn claim(&mut self, who: Who<'_>, index: usize, atomic: bool) -> Result<(), Fault> {
        let byte = self.bytes[index];
        if byte.state == State::Copying {
            return Err(Fault::CopyUnderWay { place: self.place(BASE + index as u32) });
        }
        if !(byte.write.is_before(who) || atomic && byte.write.atomic) {
            return Err(self.race(index, "written", byte.write));
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
        for (byte, value) in self.bytes[first..].iter_mut().zip(data) {
            *byte = Byte { value: *value, state: State::Written, write: who.stamp(), reads: byte.reads };
        }
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
