//! The native module of the Python package: compiling, and running on memory that NumPy owns.
//!
//! What is convenient in Python is written in Python (`python/sparsec`); this module has the rest. Arrays cross the
//! border through the buffer protocol, which the stable ABI has from Python 3.11 on, so nothing of NumPy is linked.

mod array;
mod compile;
mod library;

use pyo3::prelude::*;

pyo3::create_exception!(
    sparsec,
    CompileError,
    pyo3::exceptions::PyValueError,
    "A model was refused. The message is that of the command `sparsec`."
);
pyo3::create_exception!(
    sparsec,
    RunError,
    pyo3::exceptions::PyRuntimeError,
    "A compiled model refused a run. `status` is the code of the C interface, or None."
);

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let (major, minor, patch) = sparsec::llvm_version();
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("llvm_version", format!("{major}.{minor}.{patch}"))?;
    module.add("CompileError", module.py().get_type::<CompileError>())?;
    module.add("RunError", module.py().get_type::<RunError>())?;
    module.add_class::<library::Library>()?;
    module.add_function(wrap_pyfunction!(compile::compile, module)?)?;
    module.add_function(wrap_pyfunction!(compile::inspect, module)?)?;
    module.add_function(wrap_pyfunction!(compile::stages, module)?)
}
