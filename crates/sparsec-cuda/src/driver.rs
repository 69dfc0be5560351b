//! The driver's functions, each with its error as one of ours.
#![allow(unsafe_code, reason = "calls of the driver")]

use std::ffi::{CString, c_int, c_uint, c_void};
use std::sync::OnceLock;

use cudarc::driver::{result, sys};
use sparsec_plan::DeviceError;

use crate::Capability;

/// The oldest driver that has all that is called here: CUDA 11.4.
const OLDEST: c_int = 11040;

/// Room for what the driver says about PTX that it refuses.
const LOG_BYTES: usize = 8192;

/// Loads the driver, once.
pub(crate) fn start() -> Result<(), DeviceError> {
    static STARTED: OnceLock<Result<(), DeviceError>> = OnceLock::new();
    STARTED
        .get_or_init(|| {
            // SAFETY: loading the driver's library runs its initialisers, which is what it is for.
            if !unsafe { sys::is_culib_present() } {
                return Err(DeviceError::NoDriver);
            }
            match result::init() {
                Err(result::DriverError(sys::CUresult::CUDA_ERROR_NO_DEVICE)) => return Ok(()),
                outcome => outcome.map_err(said)?,
            }
            let mut version = 0;
            // SAFETY: the pointer is valid for the write.
            unsafe { sys::cuDriverGetVersion(&raw mut version) }.result().map_err(said)?;
            if version < OLDEST {
                let text = |v: c_int| format!("{}.{}", v / 1000, v % 1000 / 10);
                let (found, wanted) = (text(version), text(OLDEST));
                return Err(DeviceError::Driver(format!(
                    "the driver is for CUDA {found}; {wanted} or later is needed"
                )));
            }
            Ok(())
        })
        .clone()
}

/// An error as the driver says it.
pub(crate) fn said(error: result::DriverError) -> DeviceError {
    let text = error.error_string().map_or_else(|_| format!("{:?}", error.0), |s| s.to_string_lossy().into_owned());
    DeviceError::Driver(format!("the driver says: {text}"))
}

/// How many devices there are.
pub(crate) fn count() -> usize {
    result::device::get_count().map_or(0, |n| usize::try_from(n).unwrap_or(0))
}

/// A device by number: handle, name, capability, bytes of memory.
pub(crate) fn describe(ordinal: usize) -> Result<(sys::CUdevice, String, Capability, u64), DeviceError> {
    let missing = DeviceError::NoDevice { ordinal, count: count() };
    let number = c_int::try_from(ordinal).map_err(|_| missing.clone())?;
    let device = result::device::get(number).map_err(|_| missing)?;
    let name = result::device::get_name(device).map_err(said)?;
    use sys::CUdevice_attribute::{
        CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
    };
    // SAFETY: the device is one that the driver gave.
    let number = |attribute| unsafe { result::device::get_attribute(device, attribute) }.map_err(said);
    let (major, minor) = (number(MAJOR)?.cast_unsigned(), number(MINOR)?.cast_unsigned());
    // SAFETY: as above.
    let bytes = unsafe { result::device::total_mem(device) }.map_err(said)? as u64;
    Ok((device, name, Capability { major, minor }, bytes))
}

/// The device's primary context, retained.
pub(crate) fn retain(device: sys::CUdevice) -> Result<sys::CUcontext, DeviceError> {
    // SAFETY: the device is one that the driver gave.
    unsafe { result::primary_ctx::retain(device) }.map_err(said)
}

/// Lets go of the primary context.
pub(crate) fn release(device: sys::CUdevice) {
    // SAFETY: it was retained.
    let _ = unsafe { result::primary_ctx::release(device) };
}

/// Makes a context the calling thread's.
pub(crate) fn enter(context: sys::CUcontext) -> Result<(), DeviceError> {
    // SAFETY: the context is retained for as long as its owner lives.
    unsafe { result::ctx::set_current(context) }.map_err(said)
}

/// Loads PTX; the error holds what the driver's compiler says.
pub(crate) fn load_ptx(ptx: &str) -> Result<sys::CUmodule, DeviceError> {
    use sys::CUjit_option_enum::{CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES};
    let image = CString::new(ptx).map_err(|_| DeviceError::Ptx("it holds a null byte".into()))?;
    let mut log = vec![0u8; LOG_BYTES];
    let mut options = [CU_JIT_ERROR_LOG_BUFFER, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The driver takes the size in the bits of a pointer.
    let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG_BYTES)];
    let mut module = std::ptr::null_mut();
    // SAFETY: the image ends with a null byte, and the two options have a value each; the log has the size that is told.
    let status = unsafe {
        sys::cuModuleLoadDataEx(
            &raw mut module,
            image.as_ptr().cast(),
            options.len() as c_uint,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    status.result().map(|()| module).map_err(|error| {
        let end = log.iter().position(|&b| b == 0).unwrap_or(log.len());
        let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default()).trim().to_owned();
        DeviceError::Ptx(if text.is_empty() { said(error).to_string() } else { text })
    })
}

/// Unloads a module.
pub(crate) fn unload(module: sys::CUmodule) {
    // SAFETY: it was loaded, and its owner forgets it.
    let _ = unsafe { result::module::unload(module) };
}

/// A function of a module, allowed so much dynamic shared memory.
pub(crate) fn function(module: sys::CUmodule, name: &str, shared: u32) -> Result<sys::CUfunction, DeviceError> {
    let missing = || DeviceError::Ptx(format!("it has no function `{name}`"));
    let text = CString::new(name).map_err(|_| missing())?;
    // SAFETY: the module is loaded.
    let function = unsafe { result::module::get_function(module, text) }.map_err(|_| missing())?;
    if shared > 0 {
        let most = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
        let bytes = c_int::try_from(shared).unwrap_or(c_int::MAX);
        // SAFETY: the function is of a loaded module.
        let outcome = unsafe { result::function::set_function_attribute(function, most, bytes) };
        outcome.map_err(|error| DeviceError::Kernel {
            function: name.to_owned(),
            message: format!("{shared} bytes of shared memory: {}", said(error)),
        })?;
    }
    Ok(function)
}

/// A stream that doesn't wait for the default one.
pub(crate) fn create_stream() -> Result<sys::CUstream, DeviceError> {
    result::stream::create(result::stream::StreamKind::NonBlocking).map_err(said)
}

/// Destroys a stream.
pub(crate) fn destroy_stream(stream: sys::CUstream) {
    // SAFETY: it was created, and its owner forgets it.
    let _ = unsafe { result::stream::destroy(stream) };
}

/// Waits for a stream.
pub(crate) fn synchronise(stream: sys::CUstream) -> Result<(), DeviceError> {
    // SAFETY: the stream is the owner's.
    unsafe { result::stream::synchronize(stream) }.map_err(said)
}

/// Memory of the current context.
pub(crate) fn alloc(bytes: u64) -> Result<u64, DeviceError> {
    let size = usize::try_from(bytes).map_err(|_| DeviceError::OutOfMemory { bytes, free: None })?;
    // SAFETY: a context is current; the memory is not read before it is written by what is launched.
    unsafe { result::malloc_sync(size) }.map_err(|error| match error.0 {
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
            DeviceError::OutOfMemory { bytes, free: result::mem_get_info().ok().map(|(free, _)| free as u64) }
        }
        _ => said(error),
    })
}

/// Gives memory back, once everything that uses it is done.
pub(crate) fn free(address: u64) -> Result<(), DeviceError> {
    // SAFETY: the owner forgets the address; the driver waits for what uses it.
    unsafe { result::free_sync(address) }.map_err(said)
}

/// Copies to the device. The bytes may change once this returns.
pub(crate) fn write(address: u64, bytes: &[u8], stream: sys::CUstream) -> Result<(), DeviceError> {
    // SAFETY: the bytes live until the stream is done, which is waited for; the driver checks the address.
    unsafe { result::memcpy_htod_async(address, bytes, stream) }.map_err(said)?;
    synchronise(stream)
}

/// Copies from the device.
pub(crate) fn read(address: u64, into: &mut [u8], stream: sys::CUstream) -> Result<(), DeviceError> {
    // SAFETY: the memory lives until the stream is done, which is waited for; the driver checks the address.
    unsafe { result::memcpy_dtoh_async(into, address, stream) }.map_err(said)?;
    synchronise(stream)
}

/// Launches a function that takes 64-bit arguments.
pub(crate) fn launch(
    function: sys::CUfunction,
    (blocks, threads, shared): (u32, u32, u32),
    arguments: &[u64],
    stream: sys::CUstream,
) -> Result<(), result::DriverError> {
    let mut pointers: Vec<*mut c_void> =
        arguments.iter().map(|value| std::ptr::from_ref(value).cast_mut().cast()).collect();
    // SAFETY: the function is of a loaded module and takes as many arguments, of 8 bytes each, as its shape says, which the
    // caller compared; the driver copies them before it returns. Addresses among them are of memory that the session
    // owns or was lent, and the session checks that kernels' buffers lie within.
    unsafe { result::launch_kernel(function, (blocks, 1, 1), (threads, 1, 1), shared, stream, &mut pointers) }
}

/// What a stream is told from here on is kept and not run.
pub(crate) fn begin_capture(stream: sys::CUstream) -> Result<(), DeviceError> {
    let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
    // SAFETY: the stream is the owner's.
    unsafe { result::stream::begin_capture(stream, mode) }.map_err(said)
}

/// Ends a capture; what was captured, ready to be launched.
pub(crate) fn end_capture(stream: sys::CUstream) -> Result<sys::CUgraphExec, DeviceError> {
    // SAFETY: the stream captures; the graph is destroyed once it is instantiated.
    unsafe {
        let graph = result::stream::end_capture(stream).map_err(said)?;
        let ready = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0)).map_err(said);
        let _ = result::graph::destroy(graph);
        ready
    }
}

/// Launches a graph.
pub(crate) fn launch_graph(graph: sys::CUgraphExec, stream: sys::CUstream) -> Result<(), DeviceError> {
    // SAFETY: the graph was instantiated and is not destroyed.
    unsafe { result::graph::launch(graph, stream) }.map_err(said)
}

/// Destroys a graph.
pub(crate) fn destroy_graph(graph: sys::CUgraphExec) -> Result<(), DeviceError> {
    // SAFETY: it was instantiated, and its owner forgets it.
    unsafe { result::graph::exec_destroy(graph) }.map_err(said)
}

/// Two events between which a stream's time is taken.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    events: [sys::CUevent; 2],
}

impl Stopwatch {
    /// Starts on a stream.
    pub(crate) fn start(stream: sys::CUstream) -> Result<Self, DeviceError> {
        let create = || result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT).map_err(said);
        let watch = Stopwatch { events: [create()?, create()?] };
        // SAFETY: event and stream exist.
        unsafe { result::event::record(watch.events[0], stream) }.map_err(said)?;
        Ok(watch)
    }

    /// Milliseconds since the start, once the stream has come so far.
    pub(crate) fn stop(self, stream: sys::CUstream) -> Result<f32, DeviceError> {
        // SAFETY: events and stream exist.
        unsafe {
            result::event::record(self.events[1], stream).map_err(said)?;
            result::event::synchronize(self.events[1]).map_err(said)?;
            result::event::elapsed(self.events[0], self.events[1]).map_err(said)
        }
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        for event in self.events {
            // SAFETY: the event was created here.
            let _ = unsafe { result::event::destroy(event) };
        }
    }
}
