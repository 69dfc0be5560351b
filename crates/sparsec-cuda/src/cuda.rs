//! A GPU as a device of launch plans.
#![allow(unsafe_code, reason = "handles of the driver are pointers, which no thread owns")]

use cudarc::driver::sys;
use sparsec_plan::{Device, DeviceError, FunctionShape, Invocation};

use crate::driver::Stopwatch;
use crate::{Capability, driver};

/// A GPU of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// What it can do.
    pub capability: Capability,
    /// Bytes of memory.
    pub bytes: u64,
}

/// The GPUs of this machine, as the driver numbers them.
///
/// # Errors
/// Where there is no driver, or it fails.
pub fn devices() -> Result<Vec<DeviceInfo>, DeviceError> {
    driver::start()?;
    let info = |ordinal| {
        driver::describe(ordinal).map(|(_, name, capability, bytes)| DeviceInfo { ordinal, name, capability, bytes })
    };
    (0..driver::count()).map(info).collect()
}

/// A GPU, with one module and one stream.
///
/// Launches are put into the stream, and not waited for. Sequences that repeat become CUDA graphs, but on the default stream,
/// which can't be captured.
#[derive(Debug)]
pub struct Cuda {
    info: DeviceInfo,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    owns_stream: bool,
    module: Option<sys::CUmodule>,
    functions: Vec<(sys::CUfunction, FunctionShape)>,
    graphs: Vec<Option<sys::CUgraphExec>>,
    watch: Option<Stopwatch>,
}

// SAFETY: the driver's handles belong to the process and not to a thread; each call makes the context current first, and
// takes the device mutably.
unsafe impl Send for Cuda {}

impl Cuda {
    /// A GPU by number, with a stream of its own. `gpu` is the architecture that it must run: `sm_80`.
    ///
    /// # Errors
    /// Where there is no driver, no such device, or one that can't run the architecture.
    pub fn new(ordinal: usize, gpu: &str) -> Result<Cuda, DeviceError> {
        let mut cuda = Self::open(ordinal, gpu)?;
        cuda.stream = driver::create_stream()?;
        cuda.owns_stream = true;
        Ok(cuda)
    }

    /// As [`Cuda::new`], on a stream of the caller; null is the default stream.
    ///
    /// # Safety
    /// The stream is one of this device's primary context, and lives as long as what is returned.
    ///
    /// # Errors
    /// As [`Cuda::new`].
    pub unsafe fn on_stream(ordinal: usize, gpu: &str, stream: *mut std::ffi::c_void) -> Result<Cuda, DeviceError> {
        let mut cuda = Self::open(ordinal, gpu)?;
        cuda.stream = stream.cast();
        Ok(cuda)
    }

    fn open(ordinal: usize, gpu: &str) -> Result<Cuda, DeviceError> {
        driver::start()?;
        let (device, name, capability, bytes) = driver::describe(ordinal)?;
        match capability.runs(gpu) {
            Some(true) => {}
            _ => {
                let (device, found) = (name, capability.to_string());
                return Err(DeviceError::Capability { device, found, wanted: gpu.to_owned() });
            }
        }
        let context = driver::retain(device)?;
        let cuda = Cuda {
            info: DeviceInfo { ordinal, name, capability, bytes },
            device,
            context,
            stream: std::ptr::null_mut(),
            owns_stream: false,
            module: None,
            functions: Vec::new(),
            graphs: Vec::new(),
            watch: None,
        };
        driver::enter(context)?;
        Ok(cuda)
    }

    /// Which GPU it is.
    #[must_use]
    pub fn info(&self) -> &DeviceInfo {
        &self.info
    }

    /// Goes on with another stream of the caller; null is the default stream. What was launched before is waited for.
    ///
    /// # Safety
    /// As [`Cuda::on_stream`].
    ///
    /// # Errors
    /// Where something that was launched before failed.
    pub unsafe fn set_stream(&mut self, stream: *mut std::ffi::c_void) -> Result<(), DeviceError> {
        self.synchronise()?;
        if self.owns_stream {
            driver::destroy_stream(self.stream);
        }
        self.stream = stream.cast();
        self.owns_stream = false;
        Ok(())
    }

    /// Milliseconds that the stream takes for `iterations` replays or launches of a sequence, without the time of the host.
    ///
    /// # Errors
    /// As [`Device::launch`].
    pub fn time(&mut self, invocations: &[Invocation], iterations: u32) -> Result<f32, DeviceError> {
        let recording = self.record(invocations)?;
        driver::enter(self.context)?;
        let watch = Stopwatch::start(self.stream)?;
        for _ in 0..iterations {
            match recording {
                Some(id) => self.replay(id)?,
                None => invocations.iter().try_for_each(|i| self.launch(i))?,
            }
        }
        let elapsed = watch.stop(self.stream)?;
        if let Some(id) = recording {
            self.forget(id)?;
        }
        Ok(elapsed)
    }

    /// Marks a point in the stream, from which [`Cuda::stop_clock`] counts.
    ///
    /// # Errors
    /// Where the driver says so.
    pub fn start_clock(&mut self) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        self.watch = Some(Stopwatch::start(self.stream)?);
        Ok(())
    }

    /// Milliseconds that the stream took since [`Cuda::start_clock`], once it has come so far.
    ///
    /// # Errors
    /// Where the clock was not started, and where something that was launched failed.
    pub fn stop_clock(&mut self) -> Result<f32, DeviceError> {
        driver::enter(self.context)?;
        let watch = self.watch.take().ok_or_else(|| DeviceError::Driver("the clock was not started".to_owned()))?;
        watch.stop(self.stream)
    }

    fn unload(&mut self) {
        self.functions.clear();
        for graph in self.graphs.drain(..).flatten() {
            let _ = driver::destroy_graph(graph);
        }
        if let Some(module) = self.module.take() {
            driver::unload(module);
        }
    }
}

impl Device for Cuda {
    fn load(&mut self, ptx: &str, functions: &[FunctionShape]) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        self.unload();
        let module = driver::load_ptx(ptx)?;
        self.module = Some(module);
        for shape in functions {
            self.functions.push((driver::function(module, &shape.name, shape.shared_bytes)?, shape.clone()));
        }
        Ok(())
    }

    fn alloc(&mut self, bytes: u64) -> Result<u64, DeviceError> {
        driver::enter(self.context)?;
        driver::alloc(bytes.max(1))
    }

    fn free(&mut self, address: u64) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        driver::free(address)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        driver::write(address, bytes, self.stream)
    }

    fn read(&mut self, address: u64, into: &mut [u8]) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        driver::read(address, into, self.stream)
    }

    fn launch(&mut self, invocation: &Invocation) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        let Some((function, shape)) = self.functions.get(invocation.function) else {
            return Err(DeviceError::Driver(format!("there is no function {}", invocation.function)));
        };
        let failed = |message: String| DeviceError::Kernel { function: shape.name.clone(), message };
        if invocation.arguments.len() != shape.arguments {
            let (expected, found) = (shape.arguments, invocation.arguments.len());
            return Err(failed(format!("it takes {expected} arguments, {found} were given")));
        }
        let grid = (invocation.blocks, shape.threads, shape.shared_bytes);
        let outcome = driver::launch(*function, grid, &invocation.arguments, self.stream);
        outcome.map_err(|error| failed(driver::said(error).to_string()))
    }

    fn synchronise(&mut self) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        driver::synchronise(self.stream)
    }

    fn record(&mut self, invocations: &[Invocation]) -> Result<Option<u64>, DeviceError> {
        driver::enter(self.context)?;
        if self.stream.is_null() || invocations.is_empty() {
            return Ok(None);
        }
        driver::begin_capture(self.stream)?;
        let outcome = invocations.iter().try_for_each(|i| self.launch(i));
        // The capture ends whatever became of the launches.
        let graph = driver::end_capture(self.stream);
        outcome?;
        self.graphs.push(Some(graph?));
        Ok(Some(self.graphs.len() as u64 - 1))
    }

    fn replay(&mut self, recording: u64) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        let graph = usize::try_from(recording).ok().and_then(|i| self.graphs.get(i).copied().flatten());
        match graph {
            Some(graph) => driver::launch_graph(graph, self.stream),
            None => Err(DeviceError::Driver(format!("there is no recording {recording}"))),
        }
    }

    fn forget(&mut self, recording: u64) -> Result<(), DeviceError> {
        driver::enter(self.context)?;
        let graph = usize::try_from(recording).ok().and_then(|i| self.graphs.get_mut(i)).and_then(Option::take);
        graph.map_or(Ok(()), |graph| {
            // A launch that is under way needs it.
            driver::synchronise(self.stream)?;
            driver::destroy_graph(graph)
        })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if driver::enter(self.context).is_ok() {
            let _ = driver::synchronise(self.stream);
            self.watch = None;
            self.unload();
            if self.owns_stream {
                driver::destroy_stream(self.stream);
            }
        }
        driver::release(self.device);
    }
}
