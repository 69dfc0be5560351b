//! Artefacts: what a compiled model is on disk.
//!
//! [`write()`] takes a program, its machine code and its constants, and makes
//!
//! | file | what |
//! |---|---|
//! | `libNAME.a` | code and weights, to link into a program |
//! | `libNAME.so`, or `NAME.wasm` | the same, to load |
//! | `NAME.h` | the C interface, self-contained |
//! | `NAME.pc` | compiler and linker flags for pkg-config, which follow the folder wherever it goes |
//! | `NAME.json` | the manifest: signature, sizes, formats |
//! | `NAME.o`, `NAME_weights.o` | the two objects, where asked for |
//! | `NAME.ll`, `NAME.s` | what the code came from, where given |
//!
//! For a GPU, [`write_cuda`] makes `NAME.ptx`, `NAME.plan.json`, `NAME.weights` and the manifest.
//!
//! Everything is written into a temporary folder inside the output folder and renamed at the end, so an error leaves
//! nothing behind. The same input gives the same bytes. Constants are streamed one by one: memory stays at about the
//! largest of them. [`stage_weights`] and [`write_with`] are the two halves of [`write()`]: between them a compiler can
//! let go of the model before it makes the code.

mod archive;
mod cuda;
mod error;
mod header;
mod link;
mod manifest;
mod pkg_config;
mod symbolic;
mod weights;
mod write;

pub use cuda::{CudaFiles, stage_flat_weights, write_cuda};
pub use error::ArtifactError;
pub use header::{header, shared as shared_header};
pub use manifest::{Manifest, ManifestPort, TargetInfo};
pub use write::{ArtifactFiles, ArtifactOptions, Code, StagedWeights, stage_object, stage_weights, write, write_with};
