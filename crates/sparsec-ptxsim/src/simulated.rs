//! The simulator as a device of launch plans.

use sparsec_plan::{Device, DeviceError, FunctionShape, Invocation};
use sparsec_ptx::{Module, parse_module};

use crate::{Argument, Counts, DevicePtr, Launch};

/// A simulated GPU: runs the PTX that was printed, and reports what a GPU would leave undefined.
#[derive(Default)]
pub struct Simulated {
    device: crate::Device,
    module: Option<Module>,
    functions: Vec<FunctionShape>,
    counts: Counts,
}

impl Simulated {
    /// A device with nothing in its memory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What all launches together did, since the last [`Simulated::reset_counts`].
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Counts from zero.
    pub fn reset_counts(&mut self) {
        self.counts = Counts::default();
    }
}

fn said(error: impl std::fmt::Display) -> DeviceError {
    DeviceError::Driver(error.to_string())
}

impl Device for Simulated {
    fn load(&mut self, ptx: &str, functions: &[FunctionShape]) -> Result<(), DeviceError> {
        let module = parse_module(ptx).map_err(|e| DeviceError::Ptx(e.to_string()))?;
        if let Some(missing) = functions.iter().find(|f| module.function(&f.name).is_none()) {
            return Err(DeviceError::Ptx(format!("it has no function `{}`", missing.name)));
        }
        self.module = Some(module);
        self.functions = functions.to_vec();
        Ok(())
    }

    fn alloc(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        let size = usize::try_from(bytes).map_err(|_| DeviceError::OutOfMemory { bytes, free: None })?;
        Ok(self.device.allocate("memory of the model", size).0)
    }

    fn free(&mut self, address: u64) -> Result<(), DeviceError> {
        self.device.free(DevicePtr(address)).map_err(said)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.device.write(DevicePtr(address), bytes).map_err(said)
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        let bytes = self.device.read(DevicePtr(address), into.len()).map_err(said)?;
        into.copy_from_slice(&bytes);
        Ok(())
    }

    fn launch(&mut self, invocation: &Invocation) -> Result<(), DeviceError> {
        let (Some(module), Some(shape)) = (&self.module, self.functions.get(invocation.function)) else {
            return Err(DeviceError::Driver(format!("there is no function {}", invocation.function)));
        };
        let launch = Launch { shared_bytes: shape.shared_bytes, ..Launch::linear(invocation.blocks, shape.threads) };
        let arguments: Vec<Argument> = invocation.arguments.iter().map(|&bits| Argument::Bits64(bits)).collect();
        let outcome = self.device.launch(module, &shape.name, launch, &arguments);
        outcome
            .map(|counts| self.counts.add(&counts))
            .map_err(|e| DeviceError::Kernel { function: shape.name.clone(), message: e.to_string() })
    }

    fn synchronise(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}
