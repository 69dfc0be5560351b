//! The compiler driver: [`compile`] takes an ONNX model to a native library.
//!
//! The pipeline is one function, [`compile`], which reads as the list of its stages. An [`Observer`] is told about each
//! stage and may look at the IR between them. [`inspect`](mod@inspect) has what was found and chosen for each weight.
//!
//! ```no_run
//! use sparsec::{CompileOptions, Emit, ModelSource, Output, Silent, Target};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut options = CompileOptions::new(Target::host()?);
//! options.output = Some(Output { folder: "out".into(), emit: [Emit::Shared, Emit::Header].into() });
//! let compiled = sparsec::compile(ModelSource::File("model.onnx".into()), &options, &mut Silent)?;
//! println!("{} kernels", compiled.program.kernels.len());
//! # Ok(())
//! # }
//! ```

mod backend;
pub mod calibrate;
mod code;
mod error;
pub mod inspect;
pub mod layers;
mod levels;
pub mod machine_file;
mod native;
pub mod npy;
mod observer;
mod options;
mod package;
mod pipeline;
pub mod probe;
pub mod tuning;

pub use backend::Backend;
pub use code::{Code, CudaCode};
pub use error::CompileError;
pub use observer::{Observer, Silent};
pub use options::{CompileOptions, Emit, ModelSource, Output};
pub use pipeline::{Compiled, Rewriting, compile, compile_graph, inspect, read, rewrite, stage_names, tune};

pub use sparsec_graph as graph;
pub use sparsec_graph::{Format, Precision};
pub use sparsec_llvm::{Target, TargetError, architectures, llvm_version};
pub use sparsec_onnx as onnx;
pub use sparsec_passes as passes;
pub use sparsec_plan as plan;
pub use sparsec_ptx::Target as Gpu;
pub use sparsec_ptxsim::Simulated;
pub use sparsec_rewrite::{Constants, Machine, Term, Work};
pub use sparsec_tir as tir;
