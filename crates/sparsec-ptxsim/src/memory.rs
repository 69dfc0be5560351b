//! Memory of the device: named allocations, each with an address range of its own that is never used again.
//!
//! The upper bits of an address number the allocation, so any address tells what it points into or beyond, also after the
//! allocation was freed.

use crate::error::Fault;

/// Allocations begin at multiples of this; none can be larger.
const SPACING: u64 = 1 << 36;

struct Allocation {
    name: String,
    bytes: Vec<u8>,
    /// One bit for each byte: whether it was written.
    written: Vec<u64>,
    freed: bool,
}

/// All allocations of a device.
#[derive(Default)]
pub(crate) struct Memory {
    allocations: Vec<Allocation>,
}

/// The bits of `bytes` bytes from an offset within one word of 64.
fn bits(offset: usize, bytes: usize) -> u64 {
    let ones = if bytes >= 64 { u64::MAX } else { (1 << bytes) - 1 };
    ones << (offset % 64)
}

impl Memory {
    /// Memory that nothing has written; the address.
    pub(crate) fn allocate(&mut self, name: String, bytes: usize) -> u64 {
        let written = vec![0; bytes.div_ceil(64)];
        self.allocations.push(Allocation { name, bytes: vec![0xa5; bytes], written, freed: false });
        self.allocations.len() as u64 * SPACING
    }

    /// Gives memory back; the address must be that of the allocation.
    pub(crate) fn free(&mut self, address: u64) -> Result<(), Fault> {
        let (a, offset) = self.locate(address, 0)?;
        if offset != 0 {
            return Err(Fault::OutOfBounds { place: self.place(address), bytes: 0 });
        }
        self.allocations[a].freed = true;
        self.allocations[a].bytes = Vec::new();
        Ok(())
    }

    /// Where an address points, for a message.
    pub(crate) fn place(&self, address: u64) -> String {
        match self.number(address) {
            Some(a) => {
                let allocation = &self.allocations[a];
                format!("{}+{:#x} (of {:#x} bytes)", allocation.name, address % SPACING, allocation.bytes.len())
            }
            None => format!("{address:#x}"),
        }
    }

    fn number(&self, address: u64) -> Option<usize> {
        let a = usize::try_from(address / SPACING).ok()?.checked_sub(1)?;
        (a < self.allocations.len()).then_some(a)
    }

    /// The allocation and the offset in it, if all bytes are within.
    fn locate(&self, address: u64, bytes: usize) -> Result<(usize, usize), Fault> {
        let out = || Fault::OutOfBounds { place: self.place(address), bytes: bytes as u32 };
        let a = self.number(address).ok_or_else(out)?;
        let offset = (address % SPACING) as usize;
        if self.allocations[a].freed {
            return Err(Fault::Freed { place: self.place(address) });
        }
        match offset.checked_add(bytes) {
            Some(end) if end <= self.allocations[a].bytes.len() => Ok((a, offset)),
            _ => Err(out()),
        }
    }

    /// The same for an access of a kernel, which is aligned.
    fn access(&self, address: u64, bytes: usize) -> Result<(usize, usize), Fault> {
        if !address.is_multiple_of(bytes as u64) {
            return Err(Fault::Misaligned { place: self.place(address), bytes: bytes as u32 });
        }
        self.locate(address, bytes)
    }

    /// Up to 16 bytes, aligned to their number, of which the first `used` must have been written.
    pub(crate) fn load(&self, address: u64, bytes: usize, used: usize) -> Result<[u8; 16], Fault> {
        if used == 0 {
            return Ok([0; 16]);
        }
        let (a, offset) = match used == bytes {
            true => self.access(address, bytes)?,
            // A copy that is filled with zeros may end in the middle.
            false => self.locate(address, used)?,
        };
        let allocation = &self.allocations[a];
        if let Some(missing) = (offset..offset + used).find(|o| allocation.written[o / 64] >> (o % 64) & 1 == 0) {
            return Err(Fault::UninitialisedMemory { place: self.place(address + (missing - offset) as u64) });
        }
        let mut result = [0; 16];
        result[..used].copy_from_slice(&allocation.bytes[offset..offset + used]);
        Ok(result)
    }

    /// Writes up to 16 bytes, aligned to their number.
    pub(crate) fn store(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let (a, offset) = self.access(address, data.len())?;
        let allocation = &mut self.allocations[a];
        allocation.bytes[offset..offset + data.len()].copy_from_slice(data);
        allocation.written[offset / 64] |= bits(offset, data.len());
        Ok(())
    }

    /// What the host writes: any length, no alignment.
    pub(crate) fn write(&mut self, address: u64, data: &[u8]) -> Result<(), Fault> {
        let (a, offset) = self.locate(address, data.len())?;
        let allocation = &mut self.allocations[a];
        allocation.bytes[offset..offset + data.len()].copy_from_slice(data);
        let mut at = offset;
        while at < offset + data.len() {
            let count = (64 - at % 64).min(offset + data.len() - at);
            allocation.written[at / 64] |= bits(at, count);
            at += count;
        }
        Ok(())
    }

    /// What the host reads; all of it must have been written.
    pub(crate) fn read(&self, address: u64, bytes: usize) -> Result<&[u8], Fault> {
        let (a, offset) = self.locate(address, bytes)?;
        let allocation = &self.allocations[a];
        match (offset..offset + bytes).find(|o| allocation.written[o / 64] >> (o % 64) & 1 == 0) {
            Some(missing) => Err(Fault::UninitialisedMemory { place: self.place(address + (missing - offset) as u64) }),
            None => Ok(&allocation.bytes[offset..offset + bytes]),
        }
    }
}
