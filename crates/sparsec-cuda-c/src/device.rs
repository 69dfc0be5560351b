//! A device of either kind, with the one operation that a plan doesn't need: another stream.

use std::ffi::c_void;

use sparsec_cuda::Cuda;
use sparsec_plan::{Device, DeviceError, FunctionShape, Invocation};

/// A device that works on a stream of the caller.
pub(crate) trait StreamDevice: Device + Send {
    /// Goes on with another stream.
    ///
    /// # Safety
    /// The stream is one of this device, and lives as long as it is used.
    unsafe fn set_stream(&mut self, stream: *mut c_void) -> Result<(), DeviceError>;
}

impl StreamDevice for Cuda {
    unsafe fn set_stream(&mut self, stream: *mut c_void) -> Result<(), DeviceError> {
        // SAFETY: as the caller promises.
        unsafe { Cuda::set_stream(self, stream) }
    }
}

/// A device of any kind.
pub(crate) struct AnyDevice(pub(crate) Box<dyn StreamDevice>);

impl Device for AnyDevice {
    fn load(&mut self, ptx: &str, functions: &[FunctionShape]) -> Result<(), DeviceError> {
        self.0.load(ptx, functions)
    }

    fn alloc(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        self.0.alloc(bytes)
    }

    fn free(&mut self, address: u64) -> Result<(), DeviceError> {
        self.0.free(address)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        self.0.write(address, bytes)
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        self.0.read(address, into)
    }

    fn launch(&mut self, invocation: &Invocation) -> Result<(), DeviceError> {
        self.0.launch(invocation)
    }

    fn synchronise(&mut self) -> Result<(), DeviceError> {
        self.0.synchronise()
    }

    fn record(&mut self, invocations: &[Invocation]) -> Result<Option<u64>, DeviceError> {
        self.0.record(invocations)
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.0.replay(recording)
    }

    fn forget(&mut self, recording: u64) -> Result<(), DeviceError> {
        self.0.forget(recording)
    }
}
