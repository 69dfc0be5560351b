//! `cargo xtask ptx-tools`: NVIDIA's assembler and disassembler of PTX, which tests run.

use std::path::PathBuf;

use crate::command::target_dir;
use crate::python;

/// The programs, by their paths in the packages; `crates/sparsec-ptxas` looks for them there.
const PROGRAMS: &[&str] = &["nvidia/cuda_nvcc/bin/ptxas", "nvidia/cu13/bin/ptxas", "nvidia/cu13/bin/nvdisasm"];

/// The folder of the tools, fetched on the first use, and again when a pinned version changes. 92 MB.
pub(crate) fn fetch() -> Result<PathBuf, String> {
    let folder = target_dir().join("ptx-tools");
    python::unpack("tests/requirements-ptx-tools.txt", PROGRAMS, &folder)?;
    Ok(folder)
}
