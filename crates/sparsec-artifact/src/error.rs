//! What can go wrong while an artefact is written.

use std::path::{Path, PathBuf};

/// Why an artefact was not written. Nothing is left behind.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A constant has another size than the program says.
    #[error("constant `{name}` has {found} bytes where {expected} were announced")]
    ConstantSize {
        /// The constant.
        name: String,
        /// Bytes announced.
        expected: u64,
        /// Bytes written.
        found: u64,
    },
    /// A constant's alignment is no power of two.
    #[error("constant `{name}` has the alignment {align}")]
    ConstantAlign {
        /// The constant.
        name: String,
        /// The alignment.
        align: u32,
    },
    /// Code reaches constants relative to itself, within 2 GiB.
    #[error("the constants have {bytes} bytes; a library can hold up to {limit}")]
    TooLarge {
        /// Bytes of all constants.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Objects for this target can't be written.
    #[error("cannot write objects for `{triple}`: the architectures are x86_64, aarch64, riscv64 and thumbv7em")]
    Triple {
        /// The target.
        triple: String,
    },
    /// Nothing could load a shared library there.
    #[error("`{triple}` has no shared libraries: programs link `libNAME.a` (`--emit static,header`)")]
    NoSharedLibrary {
        /// The target.
        triple: String,
    },
    /// The machine code is no object file.
    #[error("the machine code is malformed: {0}")]
    Object(String),
    /// The linker failed.
    #[error("linking the shared library with `{command}` failed: {message}")]
    Link {
        /// The command.
        command: String,
        /// What it said.
        message: String,
    },
    /// The program has no launch plan.
    #[error(transparent)]
    Plan(sparsec_plan::PlanError),
    /// The manifest could not be written.
    #[error("manifest: {0}")]
    Manifest(#[from] serde_json::Error),
}

/// Adds the path to an error of the system.
pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> ArtifactError + '_ {
    move |source| ArtifactError::Io { path: path.to_owned(), source }
}
