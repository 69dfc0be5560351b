//! Compiling from Python: options, progress, errors.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use sparsec::graph::{DType, TensorData};
use sparsec::tuning::{TuneOptions, cache};
use sparsec::{CompileOptions, Emit, Format, ModelSource, Observer, Output, Target};
use tempfile::TempDir;

use crate::CompileError;
use crate::library::Library;

/// Stack of the thread that compiles: deeply nested models must end in an error, not in an overflow.
const STACK_BYTES: usize = 256 << 20;

/// A model: the path of a file, or the bytes of one and a folder for its external data.
#[derive(FromPyObject)]
pub(crate) enum Source {
    Path(String),
    Bytes(Vec<u8>, Option<String>),
}

impl Source {
    fn open(self, name: Option<&str>) -> ModelSource {
        match self {
            Source::Path(path) => ModelSource::File(path.into()),
            Source::Bytes(bytes, folder) => ModelSource::Bytes {
                name: name.unwrap_or("model").to_owned(),
                bytes: bytes.into(),
                folder: folder.map(PathBuf::from),
            },
        }
    }
}

/// An array that becomes a constant: element type, shape, bytes.
type Bound3 = (String, Vec<usize>, Vec<u8>);

/// What `sparsec.compile` was given, once Python has put it in order.
#[derive(FromPyObject)]
pub(crate) struct Options {
    #[pyo3(item)]
    name: Option<String>,
    #[pyo3(item)]
    cpu: String,
    #[pyo3(item)]
    dims: BTreeMap<String, i64>,
    #[pyo3(item)]
    bind: BTreeMap<String, Bound3>,
    #[pyo3(item)]
    items: BTreeMap<String, Vec<Option<Vec<i64>>>>,
    #[pyo3(item)]
    formats: BTreeMap<String, String>,
    #[pyo3(item)]
    tune: Option<f64>,
    #[pyo3(item)]
    output: Option<String>,
}

impl Options {
    fn resolve(self) -> Result<CompileOptions, String> {
        let mut targets = Target::levels(None, &self.cpu).map_err(|e| e.to_string())?.into_iter();
        let mut options = CompileOptions::new(targets.next().ok_or("`cpu` names no CPU")?);
        options.levels = targets.collect();
        if self.tune.is_some() && !options.levels.is_empty() {
            return Err("tuning is for one CPU, not for a list".to_owned());
        }
        options.name = self.name;
        options.dims = self.dims;
        options.items = self.items;
        for (input, (dtype, shape, bytes)) in self.bind {
            let dtype = DType::ALL.into_iter().find(|d| d.name() == dtype);
            let dtype = dtype.ok_or_else(|| format!("`{input}` is bound to an array of an unknown type"))?;
            options.bind.insert(input, TensorData { dtype, shape, bytes: bytes.into() });
        }
        for (tensor, format) in self.formats {
            let format = format.parse::<Format>().map_err(|e| e.to_string())?;
            options.formats.insert(tensor, format);
        }
        let budget = |seconds: f64| Duration::try_from_secs_f64(seconds).map_err(|e| format!("tune: {e}"));
        if let Some(seconds) = self.tune {
            options.tune = Some(TuneOptions { cache: cache::default_path(), budget: budget(seconds)? });
        }
        if let Some(folder) = self.output {
            let emit = [Emit::Static, Emit::Shared, Emit::Header].into();
            options.output = Some(Output { folder: folder.into(), emit });
        }
        Ok(options)
    }
}

/// Names of the stages, in order.
#[pyfunction]
pub(crate) fn stages() -> Vec<&'static str> {
    sparsec::stage_names()
}

/// Compiles a model and loads it. `progress` is called with the name of each stage that begins, how many have ended, and
/// how many there are; it may raise to stop.
#[pyfunction]
pub(crate) fn compile(
    py: Python<'_>,
    source: Source,
    options: Options,
    threads: usize,
    progress: Option<Py<PyAny>>,
) -> PyResult<Library> {
    let mut options = options.resolve().map_err(CompileError::new_err)?;
    let mut temporary = None;
    if options.output.is_none() {
        let folder = TempDir::with_prefix("sparsec-").map_err(|e| PyOSError::new_err(e.to_string()))?;
        options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [Emit::Shared].into() });
        temporary = Some(folder);
    }
    let source = source.open(options.name.as_deref());
    let compiled = work(py, progress, move |observer| {
        let folder = options.output.as_ref().map(|output| output.folder.clone()).unwrap_or_default();
        sparsec::compile(source, &options, observer).map(|compiled| (folder, compiled))
    })?;
    let (folder, compiled) = compiled;
    let report = serde_json::to_string(&compiled.inspection).map_err(|e| PyRuntimeError::new_err(e.to_string()))?;
    let library = folder.join(format!("lib{}.so", compiled.name));
    Library::load(py, &library, &compiled.name, threads, Some(report), compiled.files, temporary)
}

/// What was found and chosen for each weight, as JSON; no machine code is made.
#[pyfunction]
pub(crate) fn inspect(
    py: Python<'_>,
    source: Source,
    options: Options,
    progress: Option<Py<PyAny>>,
) -> PyResult<String> {
    let options = options.resolve().map_err(CompileError::new_err)?;
    let source = source.open(options.name.as_deref());
    let inspection = work(py, progress, move |observer| sparsec::inspect(&source, &options, observer))?;
    serde_json::to_string(&inspection).map_err(|e| PyRuntimeError::new_err(e.to_string()))
}

/// Does something with the compiler on a thread with a large stack, while Python goes on.
fn work<T: Send>(
    py: Python<'_>,
    progress: Option<Py<PyAny>>,
    what: impl FnOnce(&mut dyn Observer) -> Result<T, sparsec::CompileError> + Send,
) -> PyResult<T> {
    let total = sparsec::stage_names().len();
    let mut observer = Progress { call: progress, done: 0, total, raised: None };
    let result = py.detach(|| {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("sparsec".into()).stack_size(STACK_BYTES);
            let observer: &mut Progress = &mut observer;
            match thread.spawn_scoped(scope, move || what(observer)).map(std::thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => Ok(result),
                Ok(Err(_panic)) => Err("sparsec failed in a way that is a bug; please report it".to_owned()),
                Err(error) => Err(format!("cannot start a thread: {error}")),
            }
        })
    });
    if let Some(raised) = observer.raised.take() {
        return Err(raised);
    }
    result.map_err(PyRuntimeError::new_err)?.map_err(|error| match error.is_bug() {
        true => PyRuntimeError::new_err(format!("{error}\nThis is a bug in sparsec. Please report it.")),
        false => CompileError::new_err(error.to_string()),
    })
}

/// Tells Python of the stages, and listens for Ctrl-C between them.
struct Progress {
    call: Option<Py<PyAny>>,
    done: usize,
    total: usize,
    raised: Option<PyErr>,
}

impl Progress {
    fn tell(&mut self, stage: &str) {
        let Some(call) = &self.call else { return };
        if self.raised.is_none() {
            let called = Python::attach(|py| call.call1(py, (stage, self.done, self.total)).map(|_| ()));
            self.raised = called.err();
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, stage: &str) {
        self.tell(stage);
    }

    fn warn(&mut self, message: &str) {
        let warned = Python::attach(|py| {
            let arguments = (message.to_owned(),);
            py.import("warnings")?.call_method1("warn", arguments).map(|_| ())
        });
        self.raised = self.raised.take().or(warned.err());
    }

    fn finished(&mut self, _stage: &str, _time: Duration, _ir: &dyn Display) -> ControlFlow<()> {
        self.done += 1;
        if self.raised.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
