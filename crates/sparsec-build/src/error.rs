//! What can go wrong in a build script.

use std::path::PathBuf;

/// Why a model was not compiled.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The command is not there.
    #[error(
        "cannot run `{program}`: {source}\ninstall it (cargo install --path crates/sparsec-cli), or name it in SPARSEC"
    )]
    Start {
        /// The command.
        program: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The command refused the model; the message is its own.
    #[error("{}\n{message}", model.display())]
    Compile {
        /// The model.
        model: PathBuf,
        /// What the command said.
        message: String,
    },
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The manifest is not what this version knows: command and crate differ.
    #[error("{}: {source}\nthe command `sparsec` is of another version than the crate sparsec-build", path.display())]
    Manifest {
        /// The manifest.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A variable that cargo sets for build scripts is missing.
    #[error("{0} is not set: this is for build scripts")]
    Variable(&'static str),
}
