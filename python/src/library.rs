//! A loaded model: contexts for as many threads as call it at once.
#![allow(unsafe_code, reason = "runs on memory that Python objects lend")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use sparsec_runtime::{Model, Port, RawTensor, RuntimeError, ThreadPool};
use tempfile::TempDir;

use crate::RunError;
use crate::array::Buffer;

/// A port as Python sees it: name, element type, extents (a number, the name of a symbol, or None).
type PortTuple = (String, &'static str, Vec<Extent>);

#[derive(Clone, IntoPyObject)]
enum Extent {
    Number(i64),
    Symbol(String),
    Unknown(Option<bool>),
}

/// A loaded library.
#[pyclass(frozen, module = "sparsec._native")]
pub(crate) struct Library {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    #[pyo3(get)]
    symbols: Vec<String>,
    #[pyo3(get)]
    name: String,
    /// What was found and chosen, as JSON; None for a library that was opened.
    #[pyo3(get)]
    report: Option<String>,
    #[pyo3(get)]
    files: Vec<PathBuf>,
    /// What other contexts are made from.
    first: Mutex<Model>,
    /// Contexts that no call uses now.
    idle: Mutex<Vec<Model>>,
    pool: Option<Arc<ThreadPool>>,
    /// `numpy.empty`, and the types of the outputs.
    empty: Py<PyAny>,
    dtypes: Vec<Py<PyAny>>,
    /// `sparsec._arrays.prepare`: makes an array of what has no buffer as it should be.
    prepare: Py<PyAny>,
    /// The library's file is gone once this is dropped.
    _folder: Option<TempDir>,
}

impl Library {
    pub(crate) fn load(
        py: Python<'_>,
        path: &Path,
        name: &str,
        threads: usize,
        report: Option<String>,
        files: Vec<PathBuf>,
        folder: Option<TempDir>,
    ) -> PyResult<Library> {
        let first = Model::load(path, name).map_err(|e| refused(py, &e))?;
        let pool = match threads {
            0 | 1 => None,
            n => Some(Arc::new(ThreadPool::new(n).map_err(|e| refused(py, &e))?)),
        };
        let numpy = py.import("numpy")?;
        let arrays = py.import("sparsec._arrays")?;
        let dtype = |port: &Port| Ok(arrays.call_method1("storage", (port.dtype.name(),))?.unbind());
        Ok(Library {
            inputs: first.inputs().to_vec(),
            outputs: first.outputs().to_vec(),
            symbols: first.symbols().to_vec(),
            name: name.to_owned(),
            report,
            files,
            dtypes: first.outputs().iter().map(dtype).collect::<PyResult<_>>()?,
            first: Mutex::new(first),
            idle: Mutex::new(Vec::new()),
            pool,
            empty: numpy.getattr("empty")?.unbind(),
            prepare: arrays.getattr("prepare")?.unbind(),
            _folder: folder,
        })
    }

    /// A context that no other call uses.
    fn take(&self) -> Result<Model, RuntimeError> {
        if let Some(model) = lock(&self.idle).pop() {
            return Ok(model);
        }
        let mut model = lock(&self.first).another()?;
        model.set_pool(self.pool.clone())?;
        Ok(model)
    }

    /// The input's memory; what is no array in row-major order, or of another type, goes through Python.
    fn buffer(&self, value: &Bound<'_, PyAny>, port: &Port) -> PyResult<Buffer> {
        if let Ok(buffer) = Buffer::of(value, false)
            && buffer.holds(port.dtype)
        {
            return Ok(buffer);
        }
        let py = value.py();
        let width = port.extents.last().copied().filter(|&e| e >= 0 && port.dtype.name() == "string");
        let array = self.prepare.call1(py, (value, port.dtype.name(), &port.name, width))?;
        let buffer = Buffer::of(array.bind(py), false)?;
        match buffer.holds(port.dtype) {
            true => Ok(buffer),
            false => Err(PyValueError::new_err(format!(
                "input `{}` takes {}, not elements of format `{}`",
                port.name,
                port.dtype.name(),
                buffer.format()
            ))),
        }
    }

    /// Says which input does not fit, and why: the library itself has one status for all.
    fn check(&self, buffers: &[Buffer]) -> PyResult<()> {
        for (port, buffer) in self.inputs.iter().zip(buffers) {
            let shape = buffer.shape();
            let fits = shape.len() == port.extents.len()
                && shape.iter().zip(&port.extents).all(|(&given, &wanted)| wanted < 0 || given == wanted);
            if !fits {
                let wanted: Vec<String> = port.extents.iter().map(|&e| self.extent_text(e)).collect();
                let (name, wanted) = (&port.name, wanted.join(", "));
                return Err(PyValueError::new_err(format!(
                    "input `{name}` has shape {shape:?}; the model takes [{wanted}]"
                )));
            }
        }
        Ok(())
    }

    fn extent_text(&self, extent: i64) -> String {
        match self.extent(extent) {
            Extent::Number(n) => n.to_string(),
            Extent::Symbol(s) => s,
            Extent::Unknown(_) => "?".to_owned(),
        }
    }

    fn extent(&self, extent: i64) -> Extent {
        let symbol = usize::try_from((-1i64).saturating_sub(extent)).ok().and_then(|s| self.symbols.get(s));
        match symbol {
            _ if extent >= 0 => Extent::Number(extent),
            Some(symbol) => Extent::Symbol(symbol.clone()),
            None => Extent::Unknown(None),
        }
    }

    fn ports(&self, ports: &[Port]) -> Vec<PortTuple> {
        let port = |p: &Port| (p.name.clone(), p.dtype.name(), p.extents.iter().map(|&e| self.extent(e)).collect());
        ports.iter().map(port).collect()
    }
}

#[pymethods]
impl Library {
    /// Opens a library that was compiled before.
    #[staticmethod]
    fn open(py: Python<'_>, path: PathBuf, name: &str, threads: usize) -> PyResult<Library> {
        Library::load(py, &path, name, threads, None, vec![path.clone()], None)
    }

    #[getter]
    fn inputs(&self) -> Vec<PortTuple> {
        self.ports(&self.inputs)
    }

    #[getter]
    fn outputs(&self) -> Vec<PortTuple> {
        self.ports(&self.outputs)
    }

    /// Runs the model on one array for each input; returns one for each output.
    fn run<'py>(&self, py: Python<'py>, values: Vec<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyList>> {
        if values.len() != self.inputs.len() {
            let error = RuntimeError::InputCount { expected: self.inputs.len(), found: values.len() };
            return Err(refused(py, &error));
        }
        let given = values.iter().zip(&self.inputs);
        let buffers = given.map(|(value, port)| self.buffer(value, port)).collect::<PyResult<Vec<_>>>()?;
        self.check(&buffers)?;
        let types = self.inputs.iter().map(|port| port.dtype);
        let inputs: Vec<RawTensor> = buffers.iter().zip(types).map(|(buffer, dtype)| buffer.raw(dtype)).collect();
        let mut model = self.take().map_err(|e| refused(py, &e))?;
        // SAFETY: buffers keep their memory and shapes until the end of this function.
        let dims = unsafe { model.infer_dims_raw(&inputs) }.map_err(|e| refused(py, &e))?;
        let mut arrays = Vec::with_capacity(self.outputs.len());
        let mut results = Vec::with_capacity(self.outputs.len());
        for i in 0..self.outputs.len() {
            let shape = model.output_shape(&dims, i).map_err(|e| refused(py, &e))?;
            let array = self.empty.bind(py).call1((PyTuple::new(py, &shape)?, &self.dtypes[i]))?;
            results.push(Buffer::of(&array, true)?);
            arrays.push((array, shape));
        }
        let types = self.outputs.iter().map(|port| port.dtype);
        let outputs: Vec<RawTensor> = results.iter().zip(types).map(|(buffer, dtype)| buffer.raw(dtype)).collect();
        let mut call = Call { model: &mut model, inputs, outputs };
        py.detach(|| call.run()).map_err(|e| refused(py, &e))?;
        drop(results);
        let list = PyList::empty(py);
        for (i, (array, shape)) in arrays.into_iter().enumerate() {
            let found = model.result_shape(i).map_err(|e| refused(py, &e))?;
            list.append(if found == shape { array } else { cut(&array, &found)? })?;
        }
        lock(&self.idle).push(model);
        Ok(list)
    }
}

/// What a run needs while Python goes on.
struct Call<'a> {
    model: &'a mut Model,
    inputs: Vec<RawTensor>,
    outputs: Vec<RawTensor>,
}

// SAFETY: the tensors point to memory that buffers keep, and that no other thread is told of.
unsafe impl Send for Call<'_> {}

impl Call<'_> {
    fn run(&mut self) -> Result<(), RuntimeError> {
        // SAFETY: each tensor is that of a buffer that outlives the call; outputs are new arrays, which nobody else has.
        unsafe { self.model.run_raw(&self.inputs, &mut self.outputs) }
    }
}

/// The elements at the front, in the shape that was found.
fn cut<'py>(array: &Bound<'py, PyAny>, shape: &[i64]) -> PyResult<Bound<'py, PyAny>> {
    let py = array.py();
    let count: i64 = shape.iter().product();
    let flat = array.call_method1("reshape", (-1,))?;
    let front = flat.get_item(pyo3::types::PySlice::new(py, 0, count as isize, 1))?;
    front.call_method1("reshape", (PyTuple::new(py, shape)?,))?.call_method0("copy")
}

fn refused(py: Python<'_>, error: &RuntimeError) -> PyErr {
    let raised = RunError::new_err(error.to_string());
    let status = match error {
        RuntimeError::Status { status, .. } => Some(status.code()),
        _ => None,
    };
    // An exception takes attributes; where it did not, the message would still be there.
    let _ = raised.value(py).setattr("status", status);
    raised
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
