//! Python for the differential tests: a virtual environment with pinned packages under the target directory.

use std::path::{Path, PathBuf};

use crate::command::{Outcome, Task, root, target_dir};

const REQUIREMENTS: &str = "tests/models/requirements.txt";

/// The interpreter of the environment, which is made on the first use and again when the requirements change.
pub(crate) fn interpreter() -> Result<PathBuf, String> {
    let folder = target_dir().join("venv");
    let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
    let wanted = std::fs::read_to_string(root().join(REQUIREMENTS)).map_err(|e| format!("{REQUIREMENTS}: {e}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    Task::new("Python environment", "python3").args(["-m", "venv", "--clear"]).arg(&folder).run()?;
    Task::new("Python packages", &python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", REQUIREMENTS])
        .run()?;
    std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
    Ok(python)
}

/// Runs the comparison with ONNX Runtime on a `sparsec` binary; models are made in `work`.
pub(crate) fn compare(sparsec: &Path, work: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Outcome {
    let python = interpreter()?;
    std::fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    Task::new("comparison with ONNX Runtime", python)
        .args(["-B", "tests/models/compare.py", "--sparsec"])
        .arg(sparsec)
        .arg("--work")
        .arg(work)
        .args(arguments)
        .run()
}

/// Runs the unit tests of the model scripts.
pub(crate) fn unit_tests() -> Outcome {
    let python = interpreter()?;
    Task::new("unit tests of the model scripts", python)
        .args(["-B", "-m", "unittest", "discover", "--start-directory", "tests/models"])
        .run()
}
