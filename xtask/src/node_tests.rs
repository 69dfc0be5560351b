//! `cargo xtask node-tests`: ONNX's own operator tests, which are data files of its Python package.

use std::path::PathBuf;

use crate::command::{Outcome, Task, target_dir};
use crate::python;

/// Fetches the tests, builds the program that runs them, and runs it; `tests/src/bin/node-tests.rs` lists its arguments.
/// The profile is `dev`, as for all tests: results must not depend on it, and its assertions see more.
pub(crate) fn run(arguments: &[impl AsRef<std::ffi::OsStr>]) -> Outcome {
    let data = data()?;
    Task::cargo("building the runner of ONNX's operator tests")
        .args(["build", "--package", "sparsec-tests", "--bin", "node-tests", "--locked"])
        .run()?;
    Task::new("ONNX's operator tests", target_dir().join("debug/node-tests"))
        .arg("--data")
        .arg(data)
        .args(arguments)
        .run()
}

/// The folder of the folders of cases, fetched on the first use, and again when the pinned version changes.
fn data() -> Result<PathBuf, String> {
    let folder = target_dir().join("onnx-data");
    python::unpack("tests/requirements-onnx-data.txt", &["onnx/backend/test/data/"], &folder)?;
    Ok(folder.join("onnx/backend/test/data"))
}
