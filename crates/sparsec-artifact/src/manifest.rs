//! The manifest `NAME.json`: what a library is, for tools and people.

use serde::{Deserialize, Serialize};
use sparsec_tir::{Port, Program};

use crate::symbolic;

/// The machine that the code is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Triple, such as `x86_64-unknown-linux-gnu`.
    pub triple: String,
    /// CPU name; several, separated by commas, where the library chooses when it runs.
    pub cpu: String,
    /// Features beside those of the CPU's name.
    pub features: String,
}

impl TargetInfo {
    /// Whether there is code for several CPUs.
    #[must_use]
    pub fn has_levels(&self) -> bool {
        self.cpu.contains(',')
    }
}

/// An input or output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestPort {
    /// Name in the model.
    pub name: String,
    /// Element type: `f32`, `i64`, ...
    pub dtype: String,
    /// Extents: a number, a symbol, or an expression over symbols.
    pub shape: Vec<String>,
}

/// What a compiled model is. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the C ABI.
    pub abi_version: u32,
    /// The model's name: prefix of its functions.
    pub name: String,
    /// Version of the compiler.
    pub compiler_version: String,
    /// The machine.
    pub target: TargetInfo,
    /// Names of the dimensions that are known only at run time.
    pub symbols: Vec<String>,
    /// What the model demands of them beside being dimensions, a sentence for each.
    #[serde(default)]
    pub constraints: Vec<String>,
    /// Inputs in order.
    pub inputs: Vec<ManifestPort>,
    /// Outputs in order.
    pub outputs: Vec<ManifestPort>,
    /// Size of the code object.
    pub code_bytes: u64,
    /// Size of all constants together.
    pub constant_bytes: u64,
    /// Number of constants.
    pub constants: usize,
    /// Size of the arena without scratch, over the symbols.
    pub arena_bytes: String,
    /// Scratch per thread.
    pub scratch_bytes: u64,
    /// Number of kernels.
    pub kernels: usize,
    /// What `run` does, in order: the labels of the launches.
    pub launches: Vec<String>,
    /// Whether the library times its launches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// What the compiler reports: formats and choices by tensor.
    pub report: serde_json::Value,
}

impl Manifest {
    /// The manifest of a program.
    #[must_use]
    pub fn new(program: &Program, target: TargetInfo, code_bytes: u64, report: serde_json::Value) -> Self {
        let port = |p: &Port| ManifestPort {
            name: p.name.clone(),
            dtype: p.dtype.to_owned(),
            shape: symbolic::shape(&p.shape, &program.symbols),
        };
        Manifest {
            abi_version: sparsec_abi::ABI_VERSION,
            name: program.name.clone(),
            compiler_version: env!("CARGO_PKG_VERSION").to_owned(),
            target,
            symbols: program.symbols.clone(),
            constraints: program.constraints.iter().map(|c| c.message.clone()).collect(),
            inputs: program.inputs.iter().map(port).collect(),
            outputs: program.outputs.iter().map(port).collect(),
            code_bytes,
            constant_bytes: program.constants.iter().map(|c| c.bytes).sum(),
            constants: program.constants.len(),
            arena_bytes: match &program.arena_bytes {
                Some(e) => symbolic::text(e, &program.symbols),
                None => "0".to_owned(),
            },
            scratch_bytes: program.scratch_bytes(),
            kernels: program.kernels.len(),
            launches: program.launches.iter().map(|l| l.label.clone()).collect(),
            profile: false,
            report,
        }
    }
}
