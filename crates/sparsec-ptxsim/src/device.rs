//! The device as a host sees it: allocate, copy, launch.

use sparsec_ptx::{Module, Type};

use crate::counts::Counts;
use crate::error::DeviceError;
use crate::launch::run_grid;
use crate::memory::Memory;
use crate::program::{Program, parameter_offsets};

/// An address in the device's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DevicePtr(pub u64);

impl DevicePtr {
    /// The address so many bytes further on.
    #[must_use]
    pub fn offset(self, bytes: u64) -> DevicePtr {
        DevicePtr(self.0 + bytes)
    }
}

/// A value for a parameter of a kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Argument {
    /// An address.
    Pointer(DevicePtr),
    /// 32 bits of any type.
    Bits32(u32),
    /// 64 bits of any type.
    Bits64(u64),
}

/// The shape of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block along x, y and z; at most 1,024.
    pub block: [u32; 3],
    /// Bytes of shared memory for the open array.
    pub shared_bytes: u32,
}

impl Launch {
    /// Blocks and threads along x.
    #[must_use]
    pub fn linear(blocks: u32, threads: u32) -> Launch {
        Launch { grid: [blocks, 1, 1], block: [threads, 1, 1], shared_bytes: 0 }
    }
}

/// A simulated device.
pub struct Device {
    memory: Memory,
    instruction_limit: u64,
}

impl Default for Device {
    fn default() -> Self {
        Device { memory: Memory::default(), instruction_limit: 1 << 36 }
    }
}

impl Device {
    /// A device with nothing in its memory.
    #[must_use]
    pub fn new() -> Device {
        Device::default()
    }

    /// The same device, on which a launch may execute so many instructions (of warps).
    #[must_use]
    pub fn with_instruction_limit(mut self, limit: u64) -> Device {
        self.instruction_limit = limit;
        self
    }

    /// Memory that nothing has written; messages call it by this name. It is aligned to any power of two.
    pub fn allocate(&mut self, name: impl Into<String>, bytes: usize) -> DevicePtr {
        DevicePtr(self.memory.allocate(name.into(), bytes))
    }

    /// Memory with these bytes.
    pub fn upload(&mut self, name: impl Into<String>, data: &[u8]) -> DevicePtr {
        let address = self.memory.allocate(name.into(), data.len());
        // What was just allocated can be written.
        let _ = self.memory.write(address, data);
        DevicePtr(address)
    }

    /// Gives an allocation back. Its addresses are never used again, so that later accesses are found.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] for an address that is not the beginning of an allocation.
    pub fn free(&mut self, at: DevicePtr) -> Result<(), DeviceError> {
        self.memory.free(at.0).map_err(DeviceError::Memory)
    }

    /// Copies bytes to the device.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] where they don't lie within one allocation.
    pub fn write(&mut self, at: DevicePtr, data: &[u8]) -> Result<(), DeviceError> {
        self.memory.write(at.0, data).map_err(DeviceError::Memory)
    }

    /// Copies bytes from the device.
    ///
    /// # Errors
    /// [`DeviceError::Memory`] where they don't lie within one allocation, or nothing has written them.
    pub fn read(&self, at: DevicePtr, bytes: usize) -> Result<Vec<u8>, DeviceError> {
        self.memory.read(at.0, bytes).map(<[u8]>::to_vec).map_err(DeviceError::Memory)
    }

    /// Runs a function and waits for it.
    ///
    /// # Errors
    /// [`DeviceError::Launch`] where shape or arguments don't fit the function, [`DeviceError::Kernel`] for what it did wrong.
    pub fn launch(
        &mut self,
        module: &Module,
        function: &str,
        launch: Launch,
        arguments: &[Argument],
    ) -> Result<Counts, DeviceError> {
        let f = module.function(function).ok_or_else(|| DeviceError::NoFunction(function.to_owned()))?;
        let refuse = |reason: String| DeviceError::Launch { function: function.to_owned(), reason };
        let [x, y, z] = launch.block.map(u64::from);
        let threads = x * y * z;
        let most = u64::from(f.max_threads.unwrap_or(1024).min(1024));
        if threads == 0 || threads > most {
            return Err(refuse(format!("{threads} threads, 1 to {most} are possible")));
        }
        if launch.grid.contains(&0) || launch.grid[1].max(launch.grid[2]) > 65_535 {
            return Err(refuse(format!("a grid of {:?} blocks", launch.grid)));
        }
        let parameters = parameters(f, arguments).map_err(refuse)?;
        let program = Program::new(module, f, launch.shared_bytes).map_err(refuse)?;
        let counts =
            run_grid(&program, &mut self.memory, &parameters, launch.grid, launch.block, self.instruction_limit)?;
        Ok(counts)
    }
}

/// The arguments as they lie in memory.
fn parameters(f: &sparsec_ptx::Function, arguments: &[Argument]) -> Result<Vec<u8>, String> {
    if f.params.len() != arguments.len() {
        return Err(format!("{} arguments for {} parameters", arguments.len(), f.params.len()));
    }
    let (offsets, size) = parameter_offsets(f);
    let mut bytes = vec![0; size as usize];
    for ((param, offset), argument) in f.params.iter().zip(offsets).zip(arguments) {
        let (width, bits) = match argument {
            Argument::Pointer(p) => (64, p.0),
            Argument::Bits32(x) => (32, u64::from(*x)),
            Argument::Bits64(x) => (64, *x),
        };
        if param.ty.bits() != width || param.ty == Type::Pred {
            return Err(format!("an argument of {width} bits for parameter {} of type {}", param.name, param.ty));
        }
        let (start, width) = (offset as usize, width as usize / 8);
        bytes[start..start + width].copy_from_slice(&bits.to_le_bytes()[..width]);
    }
    Ok(bytes)
}
