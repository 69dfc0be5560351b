//! What is compiled, for what, and what is written.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use sparsec_graph::{Format, Precision, TensorData};
use sparsec_rewrite::Machine;

use crate::tuning::{TuneOptions, Tuning};
use crate::{Backend, Target};

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// An ONNX file, which is mapped into memory.
    File(PathBuf),
    /// The bytes of an ONNX file.
    Bytes {
        /// A name for messages, and for the library where the options have none.
        name: String,
        /// The bytes.
        bytes: Bytes,
        /// The folder of its external data; a model that has any is refused where there is none.
        folder: Option<PathBuf>,
    },
}

impl ModelSource {
    /// The name for messages.
    #[must_use]
    pub fn label(&self) -> String {
        match self {
            ModelSource::File(path) => path.display().to_string(),
            ModelSource::Bytes { name, .. } => name.clone(),
        }
    }

    /// The name for reports: without the folder, so that a model gives the same bytes wherever it lies.
    pub(crate) fn file_name(&self) -> String {
        match self {
            ModelSource::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
            ModelSource::Bytes { name, .. } => name.clone(),
        }
    }

    /// The name that a library of this model has by default: the file's name without the extension.
    pub(crate) fn stem(&self) -> String {
        match self {
            ModelSource::File(path) => path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
            ModelSource::Bytes { name, .. } => name.clone(),
        }
    }
}

/// How a model is compiled.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// The machine that code is made for.
    pub target: Backend,
    /// Further machines, above the target, as [`Target::levels`] gives them: the library then has code for each, and chooses
    /// when a context is made.
    pub levels: Vec<Target>,
    /// What products with constant weights are computed in, by the tensor cores of a GPU; `None`: in `f32`, without them. It says
    /// nothing to CPUs.
    pub compute: Option<Precision>,
    /// Name of the library and prefix of its symbols; what is no identifier in it is replaced. The source's name where
    /// there is none.
    pub name: Option<String>,
    /// Values for dimensions that the model leaves open: they are constants from then on.
    pub dims: BTreeMap<String, i64>,
    /// Values for inputs of the model, by name: they are constants from then on, and the library has no such inputs.
    pub bind: BTreeMap<String, TensorData>,
    /// For inputs that are sequences or optional values, the shapes of the tensors in them: see [`sparsec_onnx::Options::items`].
    pub items: BTreeMap<String, Vec<Option<Vec<i64>>>>,
    /// Values that open dimensions are assumed to have where time is predicted; code works for all values.
    pub nominal: BTreeMap<String, i64>,
    /// Formats for weights by name, whatever they cost.
    pub formats: BTreeMap<String, Format>,
    /// The machine for which time is predicted; the default of the target's family where there is none.
    pub machine: Option<Machine>,
    /// Formats and schedules that were measured.
    pub tuning: Option<Tuning>,
    /// Measure formats and schedules on this machine; what [`CompileOptions::tuning`] says is then of no effect.
    pub tune: Option<TuneOptions>,
    /// What to write, and where. Nothing is written where there is none.
    pub output: Option<Output>,
    /// Keep LLVM's IR as text.
    pub llvm_ir: bool,
    /// Keep the assembly as text.
    pub assembly: bool,
    /// Have the library time its launches; its header then has `NAME_profile`.
    pub profile: bool,
}

impl CompileOptions {
    /// What the manifest says of the machine, or of all that the library chooses from.
    pub(crate) fn manifest_target(&self) -> sparsec_artifact::TargetInfo {
        let mut target = self.target.manifest();
        for level in &self.levels {
            target.cpu += &format!(",{}", level.cpu());
        }
        target
    }

    /// Options for a machine; everything else by default.
    #[must_use]
    pub fn new(target: impl Into<Backend>) -> Self {
        CompileOptions {
            target: target.into(),
            levels: Vec::new(),
            compute: None,
            name: None,
            dims: BTreeMap::new(),
            bind: BTreeMap::new(),
            items: BTreeMap::new(),
            nominal: BTreeMap::new(),
            formats: BTreeMap::new(),
            machine: None,
            tuning: None,
            tune: None,
            output: None,
            llvm_ir: false,
            assembly: false,
            profile: false,
        }
    }

    pub(crate) fn emits(&self, kind: Emit) -> bool {
        self.output.as_ref().is_some_and(|output| output.emit.contains(&kind))
    }
}

/// What to write, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The folder, made where it is missing.
    pub folder: PathBuf,
    /// The kinds of files. `NAME.json`, the manifest, is always written.
    pub emit: BTreeSet<Emit>,
}

/// A kind of file to write. For a GPU, `NAME.ptx`, `NAME.plan.json` and `NAME.weights` are written instead of objects, libraries
/// and their texts, whatever is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Emit {
    /// `libNAME.a`.
    Static,
    /// `libNAME.so`.
    Shared,
    /// The object files.
    Object,
    /// `NAME.h`.
    Header,
    /// `NAME.graph`: the graph after all passes, in text form.
    Graph,
    /// `NAME.tir`: the kernels of Stages II and III, in text form; those of constant weights in Stage I, too.
    Tir,
    /// `NAME.ll`: LLVM's IR.
    LlvmIr,
    /// `NAME.s`: assembly.
    Asm,
    /// `NAME.report.json`: see [`crate::inspect`].
    Report,
}
