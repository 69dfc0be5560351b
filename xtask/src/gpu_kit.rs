//! `cargo xtask gpu-kit`: what a machine with a GPU needs to check and time sparsec there, as one folder.

use std::path::Path;

use crate::command::{Outcome, Task, root, target_dir};

/// What the folder may take: more is too much to carry.
const MOST_BYTES: u64 = 60 << 20;

/// Builds the folder, and runs it on the simulator.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    Task::cargo("building the GPU kit")
        .args(["build", "--release", "--package", "sparsec-gpu-kit", "--locked"])
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .run()?;
    let folder = target_dir().join("gpu-kit");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let python = root().join("crates/sparsec-gpu-kit/python");
    let program = target_dir().join("release/sparsec-gpu-kit");
    let files = [program, python.join("kit.py"), python.join("peers.py")];
    let bytes = files.iter().try_fold(0, |sum, file| Ok::<_, String>(sum + copy(file, &folder)?))?;
    if bytes > MOST_BYTES {
        return Err(format!("the GPU kit has {bytes} bytes; {MOST_BYTES} are the most that it may have"));
    }
    println!("== {}: {:.1} MB", folder.display(), bytes as f64 / 1e6);
    let (docs, others): (Vec<_>, Vec<_>) = arguments.iter().partition(|a| *a == "--docs");
    let mut kit = Task::new("the GPU kit on the simulator", "python3")
        .arg("-B")
        .arg(folder.join("kit.py"))
        .arg("--simulate")
        .arg("--output")
        .arg(target_dir().join("gpu-results"))
        .args(others);
    if !docs.is_empty() {
        kit = kit.args(["--docs", "docs/benchmarks-gpu.md"]);
    }
    kit.run()
}

fn copy(file: &Path, folder: &Path) -> Result<u64, String> {
    let name = file.file_name().ok_or("a file without a name")?;
    std::fs::copy(file, folder.join(name)).map_err(|e| format!("{}: {e}", file.display()))
}
