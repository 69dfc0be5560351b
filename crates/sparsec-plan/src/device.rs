//! What a plan is run on.

/// How a function is launched, whatever its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionShape {
    /// Its name in the PTX.
    pub name: String,
    /// How many 64-bit arguments it takes.
    pub arguments: usize,
    /// Threads of a block.
    pub threads: u32,
    /// Shared memory of a block, in bytes, beside what the function declares.
    pub shared_bytes: u32,
}

/// One launch: a function on a grid of one dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Index into the functions that were loaded.
    pub function: usize,
    /// Blocks, at least 1.
    pub blocks: u32,
    /// Arguments: params, addresses.
    pub arguments: Vec<u64>,
    /// What is computed, for messages.
    pub label: String,
}

/// What a device can't do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// There is no driver.
    #[error("no NVIDIA driver is installed: libcuda can't be loaded")]
    NoDriver,
    /// There is no device.
    #[error("the machine has no device {ordinal}: the driver sees {count}")]
    NoDevice {
        /// The one that was asked for.
        ordinal: usize,
        /// How many there are.
        count: usize,
    },
    /// The device is too old, or of another kind.
    #[error("{device} has compute capability {found}; this model was compiled for {wanted}")]
    Capability {
        /// The device.
        device: String,
        /// What it has: `7.5`.
        found: String,
        /// What is needed: `sm_80`.
        wanted: String,
    },
    /// There is not as much memory.
    #[error("out of memory: {bytes} bytes were asked for{}", free.map(|n| format!(", {n} are free")).unwrap_or_default())]
    OutOfMemory {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes that are free, where it is known.
        free: Option<u64>,
    },
    /// The PTX is not accepted.
    #[error("the PTX is refused: {0}")]
    Ptx(String),
    /// A kernel did what it must not.
    #[error("`{function}` failed: {message}")]
    Kernel {
        /// The function.
        function: String,
        /// What it did.
        message: String,
    },
    /// Anything else that the driver says.
    #[error("{0}")]
    Driver(String),
}

/// A device: a GPU behind its driver, or a simulator. Addresses are the device's own.
///
/// Launches, reads and writes happen in the order in which they are asked for; [`Device::read`] waits for what was launched.
pub trait Device {
    /// Loads PTX. Invocations then name these functions by their place in the list.
    ///
    /// # Errors
    /// Where the PTX is refused or lacks a function.
    fn load(&mut self, ptx: &str, functions: &[FunctionShape]) -> Result<(), DeviceError>;

    /// Memory of so many bytes (at least 1), aligned to 256.
    ///
    /// # Errors
    /// Where there is not as much.
    fn alloc(&mut self, bytes: u64) -> Result<u64, DeviceError>;

    /// Gives back what [`Device::alloc`] gave.
    ///
    /// # Errors
    /// Where the device says so.
    fn free(&mut self, address: u64) -> Result<(), DeviceError>;

    /// Copies from the host.
    ///
    /// # Errors
    /// Where the memory is not the device's.
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Copies to the host, once all that was launched before is done.
    ///
    /// # Errors
    /// Where the memory is not the device's, and where a launch failed.
    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), DeviceError>;

    /// Launches a function.
    ///
    /// # Errors
    /// Where it can't be launched; what goes wrong later may be told by a later call.
    fn launch(&mut self, invocation: &Invocation) -> Result<(), DeviceError>;

    /// Waits for everything that was launched.
    ///
    /// # Errors
    /// Where a launch failed.
    fn synchronise(&mut self) -> Result<(), DeviceError>;

    /// Keeps a sequence of launches to be replayed at once; its number. `None` where the device has no such thing.
    ///
    /// # Errors
    /// As [`Device::launch`].
    fn record(&mut self, invocations: &[Invocation]) -> Result<Option<u64>, DeviceError> {
        let _ = invocations;
        Ok(None)
    }

    /// Launches a recorded sequence.
    ///
    /// # Errors
    /// As [`Device::launch`].
    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        Err(DeviceError::Driver(format!("there is no recording {recording}")))
    }

    /// Lets go of a recorded sequence.
    ///
    /// # Errors
    /// Where the device says so.
    fn forget(&mut self, recording: u64) -> Result<(), DeviceError> {
        let _ = recording;
        Ok(())
    }
}
