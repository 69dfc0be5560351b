//! Memory of the device that a session owns.

use super::on_device;
use crate::{Device, RunError};

/// A piece of memory, or none.
#[derive(Clone, Debug, Default)]
pub(super) struct Block {
    pub(super) address: u64,
    pub(super) bytes: u64,
}

impl Block {
    /// Makes it as large as this at least; what it held is lost where it was smaller.
    pub(super) fn grow(&mut self, device: &mut impl Device, bytes: u64, what: &str) -> Result<(), RunError> {
        let bytes = bytes.max(1);
        if self.bytes >= bytes {
            return Ok(());
        }
        if self.bytes > 0 {
            let old = std::mem::take(self);
            device.free(old.address).map_err(on_device(what))?;
        }
        self.address = device.alloc(bytes).map_err(on_device(what))?;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives it back. Errors have nobody to be told to.
    pub(super) fn release(&mut self, device: &mut impl Device) {
        if self.bytes > 0 {
            let _ = device.free(self.address);
            *self = Block::default();
        }
    }
}
