//! Helpers shared by the end-to-end tests and by the program `fuzz`.

pub mod conformance;
pub mod cortex_m;
pub mod limited;
pub mod models;
pub mod mutate;
pub mod tools;
pub mod wire;

use std::path::{Path, PathBuf};

/// Writes a model into `folder/model/model.onnx`, with the files around it that damaged external data point to; returns
/// the model's path.
///
/// # Errors
/// Where a file can't be written.
pub fn playground(folder: &Path, model: &[u8]) -> std::io::Result<PathBuf> {
    let inside = folder.join("model");
    std::fs::create_dir_all(inside.join("data"))?;
    std::fs::write(folder.join("escape.bin"), [0u8; 4096])?;
    #[cfg(unix)]
    std::os::unix::fs::symlink(folder.join("escape.bin"), inside.join("link-to-outside"))?;
    let file = inside.join("model.onnx");
    std::fs::write(&file, model)?;
    Ok(file)
}
