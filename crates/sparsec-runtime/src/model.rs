//! A loaded model and its context.
#![allow(unsafe_code, reason = "calls of the C ABI")]

use std::ffi::{CStr, c_char};
use std::path::Path;
use std::sync::Arc;

use libloading::Library;
use sparsec_abi::{ABI_VERSION, RawTensor, Status};

use crate::library::{Context, Functions};
use crate::{DType, RuntimeError, Tensor, ThreadPool};

/// An input or output, as the library describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Name in the model.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Extents: a constant, or `-1 - s` for symbol `s`, or `i64::MIN` for an expression over the symbols.
    pub extents: Vec<i64>,
}

/// A model with a context of its own.
pub struct Model {
    functions: Functions,
    context: Context,
    description: Arc<Description>,
    dims: Vec<i64>,
    /// Keeps the code mapped; `None` for a model that is linked into the program. Dropped after the context.
    library: Option<Arc<Library>>,
    /// Lent to the context; dropped after it.
    pool: Option<Arc<ThreadPool>>,
}

// SAFETY: a context is bound to no thread; whatever the model points to belongs to it alone, and `run` takes it mutably.
unsafe impl Send for Model {}

impl Model {
    /// Loads a shared library and makes a context.
    ///
    /// # Errors
    /// When the library can't be loaded, is no model of this name, or has another ABI version.
    pub fn load(path: impl AsRef<Path>, name: &str) -> Result<Model, RuntimeError> {
        let path = path.as_ref();
        let (functions, library) = Functions::load(path, name)?;
        Model::start(functions, &path.display().to_string(), Some(Arc::new(library)))
    }

    /// A context of a model that is linked into the program.
    ///
    /// # Errors
    /// When the model has another ABI version, or there is no memory.
    ///
    /// # Safety
    /// All functions are those of one compiled model.
    pub unsafe fn linked(name: &str, functions: Functions) -> Result<Model, RuntimeError> {
        Model::start(functions, name, None)
    }

    fn start(functions: Functions, label: &str, library: Option<Arc<Library>>) -> Result<Model, RuntimeError> {
        // SAFETY: takes nothing.
        let found = unsafe { (functions.abi_version)() };
        if found != ABI_VERSION {
            return Err(RuntimeError::AbiVersion { path: label.to_owned(), found, expected: ABI_VERSION });
        }
        let description = Arc::new(describe(&functions)?);
        let dims = vec![0; description.symbols.len()];
        Ok(Model { functions, context: create(&functions)?, description, dims, library, pool: None })
    }

    /// Another context of the same model, with room for nothing yet and on one thread: to run at the same time as this.
    ///
    /// # Errors
    /// When there is no memory.
    pub fn another(&self) -> Result<Model, RuntimeError> {
        Ok(Model {
            functions: self.functions,
            context: create(&self.functions)?,
            description: Arc::clone(&self.description),
            dims: vec![0; self.dims.len()],
            library: self.library.clone(),
            pool: None,
        })
    }

    /// The inputs in order.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.description.inputs
    }

    /// The outputs in order.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.description.outputs
    }

    /// Names of the dimensions that are known only at run time.
    #[must_use]
    pub fn symbols(&self) -> &[String] {
        &self.description.symbols
    }

    /// Runs on this many threads from now on; 1 is the calling thread alone.
    ///
    /// # Errors
    /// When the threads can't be started or are too many.
    pub fn set_threads(&mut self, threads: usize) -> Result<(), RuntimeError> {
        match threads {
            0 | 1 => self.set_pool(None),
            n => {
                let pool = ThreadPool::new(n)?;
                self.set_pool(Some(Arc::new(pool)))
            }
        }
    }

    /// Runs on this pool from now on, which several models may share; on the calling thread alone where `None`.
    ///
    /// # Errors
    /// When the pool has more threads than the ABI allows.
    pub fn set_pool(&mut self, pool: Option<Arc<ThreadPool>>) -> Result<(), RuntimeError> {
        let parallel = pool.as_ref().map(|p| p.as_parallel());
        let pointer = parallel.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
        // SAFETY: the context is ours; the structure is copied; the pool lives as long as the context refers to it,
        // since it is replaced below only after the context has let the old one go.
        let status = unsafe { (self.functions.set_parallel)(self.context, pointer) };
        check("set_parallel", status)?;
        self.pool = pool;
        Ok(())
    }

    /// Values of the symbols that these inputs mean, in the order of [`Model::symbols`].
    ///
    /// # Errors
    /// When the inputs do not fit the model.
    pub fn infer_dims(&self, inputs: &[Tensor]) -> Result<Vec<i64>, RuntimeError> {
        let raw: Vec<RawTensor> = inputs.iter().map(raw).collect();
        // SAFETY: tensors own their shapes.
        unsafe { self.infer_dims_raw(&raw) }
    }

    /// Makes room for inputs up to these dimensions, so that [`Model::run`] need not.
    ///
    /// # Errors
    /// When there are not as many dimensions as symbols, or not as much memory.
    pub fn reserve(&mut self, dims: &[i64]) -> Result<(), RuntimeError> {
        self.check_dims(dims)?;
        // SAFETY: one dimension per symbol.
        check("reserve", unsafe { (self.functions.reserve)(self.context, dims.as_ptr()) })
    }

    /// Bytes of arena that a run with these dimensions takes on this many threads; `None` where they are too large.
    ///
    /// # Errors
    /// When there are not as many dimensions as symbols.
    pub fn arena_bytes(&self, dims: &[i64], threads: i32) -> Result<Option<usize>, RuntimeError> {
        self.check_dims(dims)?;
        // SAFETY: one dimension per symbol.
        let bytes = unsafe { (self.functions.arena_bytes)(dims.as_ptr(), threads) };
        Ok((bytes != usize::MAX).then_some(bytes))
    }

    /// Runs the model. Allocates the outputs, and the arena where it is too small.
    ///
    /// # Errors
    /// When the inputs do not fit the model.
    pub fn run(&mut self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        self.dims = self.infer_dims(inputs)?;
        let mut outputs = Vec::with_capacity(self.outputs().len());
        for (i, port) in self.outputs().iter().enumerate() {
            let shape = self.output_shape(&self.dims, i)?;
            let too_large = RuntimeError::Status { function: "output_shape", status: Status::TooLarge };
            outputs.push(Tensor::zeros(port.dtype, &shape).ok_or(too_large)?);
        }
        self.run_into(inputs, &mut outputs)?;
        for (i, output) in outputs.iter_mut().enumerate() {
            output.cut(&self.result_shape(i)?);
        }
        Ok(outputs)
    }

    /// The extents that an output got in the last run. They differ from those of the tensor that was given where they
    /// depend on what the inputs hold; the elements then stand at its front.
    ///
    /// # Errors
    /// When the model has no such output.
    pub fn result_shape(&self, index: usize) -> Result<Vec<i64>, RuntimeError> {
        let rank = self.outputs().get(index).map_or(0, |port| port.extents.len());
        let mut shape = vec![0i64; rank.max(1)];
        // SAFETY: the context is ours, and there is room for the rank.
        let status = unsafe { (self.functions.result_shape)(self.context, index as i32, shape.as_mut_ptr()) };
        check("result_shape", status)?;
        shape.truncate(rank);
        Ok(shape)
    }

    /// Runs the model into tensors of the right shape: allocates nothing once the arena is large enough. Where extents
    /// depend on what the inputs hold, the tensors have the largest; see [`Model::result_shape`].
    ///
    /// # Errors
    /// When inputs or outputs do not fit the model.
    pub fn run_into(&mut self, inputs: &[Tensor], outputs: &mut [Tensor]) -> Result<(), RuntimeError> {
        let raw: Vec<RawTensor> = inputs.iter().map(raw).collect();
        let mut raw_outputs: Vec<RawTensor> = outputs.iter_mut().map(raw_mut).collect();
        // SAFETY: as many tensors as the model has inputs and outputs, each with its memory.
        unsafe { self.run_raw(&raw, &mut raw_outputs) }
    }

    /// Runs the model on the caller's memory. Allocates nothing once the arena is large enough.
    ///
    /// # Errors
    /// When tensors do not fit the model: their number, types and shapes are checked.
    ///
    /// # Safety
    /// Each tensor points to a shape of its rank and to memory for its elements, which nothing else writes, and for outputs
    /// nothing else reads, while this function runs.
    pub unsafe fn run_raw(&mut self, inputs: &[RawTensor], outputs: &mut [RawTensor]) -> Result<(), RuntimeError> {
        self.check_counts(inputs.len(), outputs.len())?;
        // SAFETY: as many tensors as the model has inputs and outputs; the rest is the caller's promise.
        let mut status = unsafe { (self.functions.run)(self.context, inputs.as_ptr(), outputs.as_mut_ptr()) };
        if status == Status::Arena.code() {
            // SAFETY: as above.
            let dims = unsafe { self.infer_dims_raw(inputs) }?;
            self.reserve(&dims)?;
            // SAFETY: as above.
            status = unsafe { (self.functions.run)(self.context, inputs.as_ptr(), outputs.as_mut_ptr()) };
        }
        check("run", status)
    }

    /// As [`Model::infer_dims`], for memory of the caller.
    ///
    /// # Errors
    /// When the inputs do not fit the model.
    ///
    /// # Safety
    /// Each tensor points to a shape of its rank.
    pub unsafe fn infer_dims_raw(&self, inputs: &[RawTensor]) -> Result<Vec<i64>, RuntimeError> {
        self.check_counts(inputs.len(), self.outputs().len())?;
        let mut dims = vec![0i64; self.symbols().len()];
        // SAFETY: as many tensors as the model has inputs, and room for every symbol.
        let status = unsafe { (self.functions.infer_dims)(inputs.as_ptr(), dims.as_mut_ptr()) };
        check("infer_dims", status)?;
        Ok(dims)
    }

    /// The shape that an output has for these values of the symbols: the largest, where it depends on what the inputs hold.
    ///
    /// # Errors
    /// When there are not as many dimensions as symbols, no such output, or one of its extents is too large.
    pub fn output_shape(&self, dims: &[i64], index: usize) -> Result<Vec<i64>, RuntimeError> {
        self.check_dims(dims)?;
        let rank = self.outputs().get(index).map_or(0, |port| port.extents.len());
        let mut shape = vec![0i64; rank.max(1)];
        // SAFETY: one dimension per symbol, and room for the rank.
        let status = unsafe { (self.functions.output_shape)(dims.as_ptr(), index as i32, shape.as_mut_ptr()) };
        check("output_shape", status)?;
        shape.truncate(rank);
        Ok(shape)
    }

    /// Nanoseconds that each launch of the last run took, in the order of the manifest's `launches`; `None` where the
    /// library was not compiled to take times.
    ///
    /// # Errors
    /// When the library refuses.
    pub fn profile(&self) -> Result<Option<&[u64]>, RuntimeError> {
        let Some(profile) = self.functions.profile else { return Ok(None) };
        let (mut ns, mut count) = (std::ptr::null(), 0);
        // SAFETY: the context is ours, and both pointers are valid for the write.
        check("profile", unsafe { profile(self.context, &raw mut ns, &raw mut count) })?;
        if ns.is_null() {
            return Err(RuntimeError::Malformed("`profile` gives no times".to_owned()));
        }
        // SAFETY: not null, and `count` numbers inside the context, which lives as long as `self`. Only `run` writes
        // them, and it takes the model mutably.
        Ok(Some(unsafe { std::slice::from_raw_parts(ns, count) }))
    }

    fn check_dims(&self, dims: &[i64]) -> Result<(), RuntimeError> {
        if dims.len() == self.symbols().len() {
            return Ok(());
        }
        Err(RuntimeError::Malformed(format!("{} dimensions are needed, one per symbol", self.symbols().len())))
    }

    fn check_counts(&self, inputs: usize, outputs: usize) -> Result<(), RuntimeError> {
        if inputs != self.inputs().len() {
            return Err(RuntimeError::InputCount { expected: self.inputs().len(), found: inputs });
        }
        if outputs != self.outputs().len() {
            return Err(RuntimeError::OutputCount { expected: self.outputs().len(), found: outputs });
        }
        Ok(())
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the context came from `create` and no call is in progress.
        unsafe { (self.functions.destroy)(self.context) }
    }
}

fn check(function: &'static str, code: i32) -> Result<(), RuntimeError> {
    match Status::from_code(code) {
        Some(Status::Ok) => Ok(()),
        Some(status) => Err(RuntimeError::Status { function, status }),
        None => Err(RuntimeError::Malformed(format!("{function} returned the unknown status {code}"))),
    }
}

/// A view that the library reads only.
fn raw(tensor: &Tensor) -> RawTensor {
    RawTensor {
        data: tensor.bytes().as_ptr().cast_mut().cast(),
        shape: tensor.shape().as_ptr(),
        strides: std::ptr::null(),
        rank: tensor.shape().len() as i32,
        dtype: tensor.dtype().code(),
    }
}

fn raw_mut(tensor: &mut Tensor) -> RawTensor {
    let data = tensor.bytes_mut().as_mut_ptr().cast();
    RawTensor { data, ..raw(tensor) }
}

/// What a library tells about itself.
struct Description {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    symbols: Vec<String>,
}

fn create(functions: &Functions) -> Result<Context, RuntimeError> {
    let mut context: Context = std::ptr::null_mut();
    // SAFETY: the pointer is valid for the write.
    check("create", unsafe { (functions.create)(&raw mut context, ABI_VERSION) })?;
    Ok(context)
}

fn describe(f: &Functions) -> Result<Description, RuntimeError> {
    // SAFETY: the counts bound the indices, and what the functions point to is constant data of the library.
    unsafe {
        let mut symbols = Vec::new();
        for s in 0..(f.symbol_count)() {
            symbols.push(text((f.symbol_name)(s))?);
        }
        let mut inputs = Vec::new();
        for i in 0..(f.input_count)() {
            let name = text((f.input_name)(i))?;
            inputs.push(port(name, (f.input_dtype)(i), (f.input_rank)(i), (f.input_extents)(i))?);
        }
        let mut outputs = Vec::new();
        for i in 0..(f.output_count)() {
            let name = text((f.output_name)(i))?;
            outputs.push(port(name, (f.output_dtype)(i), (f.output_rank)(i), (f.output_extents)(i))?);
        }
        Ok(Description { inputs, outputs, symbols })
    }
}

/// # Safety
/// The pointer is null or that of a string that lives while this function runs.
unsafe fn text(pointer: *const c_char) -> Result<String, RuntimeError> {
    if pointer.is_null() {
        return Err(RuntimeError::Malformed("a name is missing".to_owned()));
    }
    // SAFETY: not null, and a string as the caller promises.
    Ok(unsafe { CStr::from_ptr(pointer) }.to_string_lossy().into_owned())
}

/// # Safety
/// `extents` is null or points to `rank` numbers that live while this function runs.
unsafe fn port(name: String, dtype: i32, rank: i32, extents: *const i64) -> Result<Port, RuntimeError> {
    let malformed = |what: &str| RuntimeError::Malformed(format!("`{name}` has {what}"));
    let dtype = DType::from_code(dtype).ok_or_else(|| malformed("an unknown element type"))?;
    let rank = usize::try_from(rank).map_err(|_| malformed("a negative rank"))?;
    if extents.is_null() {
        return Err(malformed("no shape"));
    }
    // SAFETY: not null, and `rank` numbers as the caller promises.
    let extents = unsafe { std::slice::from_raw_parts(extents, rank) }.to_vec();
    Ok(Port { name, dtype, extents })
}
