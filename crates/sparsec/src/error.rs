//! Why a model was not compiled.

use std::path::PathBuf;

use sparsec_graph::VerifyError;
use thiserror::Error;

/// Why a model was not compiled. Messages begin with the name of the model.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The model can't be read.
    #[error("{}", read_text(model, source))]
    Read {
        /// The model.
        model: String,
        /// What is wrong with it.
        source: sparsec_onnx::OnnxError,
    },
    /// A stage left an invalid graph behind: a defect of the compiler.
    #[error("{model}: the graph is invalid after `{stage}`:{}", list(errors))]
    Verify {
        /// The model.
        model: String,
        /// The stage.
        stage: &'static str,
        /// All violations.
        errors: Vec<VerifyError>,
    },
    /// A pass failed.
    #[error("{model}: {source}")]
    Pass {
        /// The model.
        model: String,
        /// What the pass says.
        source: Box<sparsec_passes::PassError>,
    },
    /// The rewriting failed.
    #[error("{model}: {source}")]
    Rewrite {
        /// The model.
        model: String,
        /// What it says.
        source: Box<sparsec_rewrite::RewriteError>,
    },
    /// The lowering failed.
    #[error("{model}: {source}")]
    Lower {
        /// The model.
        model: String,
        /// What it says.
        source: sparsec_lower::LowerError,
    },
    /// The backend failed.
    #[error("{model}: {source}")]
    Emit {
        /// The model.
        model: String,
        /// What it says.
        source: sparsec_llvm::EmitError,
    },
    /// The constants of the code for several CPUs can't be made.
    #[error("the constants cannot be made: {0}")]
    Constants(std::io::Error),
    /// The backend of GPUs failed.
    #[error("{model}: {source}")]
    EmitPtx {
        /// The model.
        model: String,
        /// What it says.
        source: Box<sparsec_ptx::EmitError>,
    },
    /// The program has no launch plan.
    #[error("{model}: {source}")]
    Plan {
        /// The model.
        model: String,
        /// What it holds.
        source: sparsec_plan::PlanError,
    },
    /// What is measured, or run as a library, is for CPUs.
    #[error("this is done on a CPU, and not for `{0}`")]
    CpuOnly(&'static str),
    /// The libraries can't be written.
    #[error("{model}: {source}")]
    Package {
        /// The model.
        model: String,
        /// What is wrong.
        source: sparsec_artifact::ArtifactError,
    },
    /// A file can't be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The cost model does not know the target's family.
    #[error("there is no cost model for `{0}`")]
    NoMachine(String),
    /// Code that was made to be timed does not run.
    #[error("{model}: {message}")]
    Measure {
        /// What was to be timed.
        model: String,
        /// What is wrong.
        message: String,
    },
    /// A tuning can't be used.
    #[error("{0}")]
    Tuning(#[from] crate::tuning::TuningError),
    /// The observer asked to stop.
    #[error("stopped after `{stage}`")]
    Stopped {
        /// The last stage that ran.
        stage: String,
    },
}

impl CompileError {
    /// Whether this can't be the model's fault.
    #[must_use]
    pub fn is_bug(&self) -> bool {
        match self {
            CompileError::Verify { .. }
            | CompileError::Emit { .. }
            | CompileError::EmitPtx { .. }
            | CompileError::Plan { .. }
            | CompileError::NoMachine(_)
            | CompileError::Measure { .. } => true,
            CompileError::Lower { source, .. } => matches!(source, sparsec_lower::LowerError::Invalid { .. }),
            _ => false,
        }
    }
}

/// An error of the system names the file by itself.
fn read_text(model: &str, source: &sparsec_onnx::OnnxError) -> String {
    match source {
        sparsec_onnx::OnnxError::Io { .. } => source.to_string(),
        _ => format!("{model}: {source}"),
    }
}

fn list(errors: &[VerifyError]) -> String {
    errors.iter().map(|e| format!("\n  {e}")).collect()
}
