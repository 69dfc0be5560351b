//! Barriers in shared memory (`mbarrier`), and the bulk copies that they count.
//!
//! A phase is complete when all threads have arrived and all bytes that were announced have come. Copies come as late as they may: when
//! a thread asks for the phase and nothing but bytes is missing. So whoever reads them before it has asked is found.

use crate::error::Fault;

/// A copy under way.
#[derive(Clone)]
pub(crate) struct Bulk {
    pub(crate) address: u32,
    pub(crate) data: Vec<u8>,
}

/// A barrier.
#[derive(Clone)]
pub(crate) struct Barrier {
    /// Arrivals of a phase.
    count: u32,
    /// Arrivals that the current phase still waits for.
    pending: u32,
    /// Bytes that the current phase still waits for.
    bytes: u64,
    /// The phase's number.
    phase: u64,
    /// Copies that nobody has waited for yet.
    copies: Vec<Bulk>,
    /// What those who arrived in this phase know of the warps' clocks.
    arriving: Vec<u32>,
    /// The same for the last complete phase.
    complete: Vec<u32>,
}

impl Barrier {
    pub(crate) fn new(count: u32, clocks: usize) -> Barrier {
        let none = vec![0; clocks];
        Barrier {
            count,
            pending: count,
            bytes: 0,
            phase: 0,
            copies: Vec::new(),
            arriving: none.clone(),
            complete: none,
        }
    }

    /// Announces bytes, and arrives.
    pub(crate) fn arrive(&mut self, bytes: u64, clocks: &[u32], place: &dyn Fn() -> String) -> Result<(), Fault> {
        if self.pending == 0 {
            return Err(Fault::Arrivals { place: place(), count: self.count });
        }
        self.pending -= 1;
        self.bytes += bytes;
        merge(&mut self.arriving, clocks);
        self.finish();
        Ok(())
    }

    pub(crate) fn copy(&mut self, copy: Bulk) {
        self.copies.push(copy);
    }

    /// Copies that complete the phase, if nothing else is missing.
    pub(crate) fn arrived_copies(&mut self) -> Vec<Bulk> {
        let all: u64 = self.copies.iter().map(|c| c.data.len() as u64).sum();
        if self.pending == 0 && all == self.bytes { std::mem::take(&mut self.copies) } else { Vec::new() }
    }

    /// The bytes of copies are there; `clock` is that of the copies.
    pub(crate) fn come(&mut self, bytes: u64, clock: u32) {
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(last) = self.arriving.last_mut() {
            *last = (*last).max(clock);
        }
        self.finish();
    }

    fn finish(&mut self) {
        if self.pending == 0 && self.bytes == 0 {
            self.phase += 1;
            self.pending = self.count;
            merge(&mut self.complete, &self.arriving);
        }
    }

    /// What those know who waited for the phase of a parity; `None` where it is not complete.
    pub(crate) fn waited(&self, parity: u32) -> Option<&[u32]> {
        (self.phase % 2 != u64::from(parity)).then_some(&self.complete)
    }

    /// Arrivals and bytes that are missing.
    pub(crate) fn missing(&self) -> (u32, u64) {
        (self.pending, self.bytes)
    }
}

pub(crate) fn merge(known: &mut [u32], more: &[u32]) {
    for (known, more) in known.iter_mut().zip(more) {
        *known = (*known).max(*more);
    }
}
