//! NVIDIA's assembler (`ptxas`) and disassembler (`nvdisasm`), for tests: they say what a real toolchain makes of PTX that
//! sparsec wrote, on machines without a GPU.
//!
//! The programs come from pinned packages (`tests/requirements-ptx-tools.txt`), which `cargo xtask ptx-tools` fetches and
//! unpacks under the target directory. `SPARSEC_PTX_TOOLS` names the folder where it is another. Where the variable is set,
//! missing tools are a failure; where it is not, a test that wants them says that it was skipped.
//!
//! No product code uses this crate: the driver of a GPU assembles PTX itself.

mod usage;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use usage::{Usage, parse_usage};

/// The variable that names the folder of the tools.
pub const TOOLS_VARIABLE: &str = "SPARSEC_PTX_TOOLS";

/// A pinned release of the assembler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ptxas {
    /// CUDA 12.9: the oldest that is supported.
    V12_9,
    /// CUDA 13.5.
    V13_5,
}

impl Ptxas {
    /// Both, oldest first.
    pub const ALL: [Ptxas; 2] = [Ptxas::V12_9, Ptxas::V13_5];

    fn path(self) -> &'static str {
        match self {
            Ptxas::V12_9 => "nvidia/cuda_nvcc/bin/ptxas",
            Ptxas::V13_5 => "nvidia/cu13/bin/ptxas",
        }
    }
}

impl fmt::Display for Ptxas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Ptxas::V12_9 => "ptxas 12.9",
            Ptxas::V13_5 => "ptxas 13.5",
        })
    }
}

/// Why PTX was not assembled or machine code not shown.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// The program could not be run.
    #[error("cannot run {program}: {source}")]
    Run {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The program refused its input.
    #[error("{program} refused its input:\n{message}")]
    Refused {
        /// The program.
        program: PathBuf,
        /// What it wrote to standard error.
        message: String,
    },
    /// A temporary file could not be written or read.
    #[error("temporary file: {0}")]
    File(#[from] io::Error),
}

/// What became of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The machine code, an ELF file.
    pub cubin: Vec<u8>,
    /// What each function takes, by its name.
    pub usage: BTreeMap<String, Usage>,
    /// Warnings, one a line as the assembler wrote them.
    pub warnings: Vec<String>,
}

/// The folder of the tools.
#[derive(Clone, Debug)]
pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// The tools where they are installed. Elsewhere the caller's test is skipped, and says so.
    ///
    /// # Panics
    ///
    /// Where `SPARSEC_PTX_TOOLS` names a folder that lacks one of the programs.
    #[must_use]
    pub fn find() -> Option<Tools> {
        let named = std::env::var_os(TOOLS_VARIABLE);
        let folder = named.as_ref().map_or_else(default_folder, PathBuf::from);
        let programs = [Ptxas::V12_9.path(), Ptxas::V13_5.path(), NVDISASM];
        let missing: Vec<&str> = programs.into_iter().filter(|p| !folder.join(p).is_file()).collect();
        if missing.is_empty() {
            return Some(Tools { folder });
        }
        let message =
            format!("{} not found in {}; `cargo xtask ptx-tools` fetches them", missing.join(", "), folder.display());
        assert!(named.is_none(), "{message}");
        eprintln!("skipped: {message}");
        None
    }

    /// Assembles a module for a target such as `sm_80`, with optimisation as the driver does it.
    ///
    /// # Errors
    ///
    /// [`ToolError::Refused`] with the assembler's messages where the PTX is wrong.
    pub fn assemble(&self, ptxas: Ptxas, ptx: &str, target: &str) -> Result<Assembled, ToolError> {
        let folder = tempfile::tempdir()?;
        let (input, output) = (folder.path().join("module.ptx"), folder.path().join("module.cubin"));
        std::fs::write(&input, ptx)?;
        let program = self.folder.join(ptxas.path());
        let target = format!("--gpu-name={target}");
        let arguments = ["--verbose".as_ref(), target.as_ref(), input.as_os_str(), "-o".as_ref(), output.as_os_str()];
        let (_, log) = run(&program, &arguments)?;
        // That products of warp groups had to be made one after the other is said as an information.
        let warns = |l: &&str| l.contains("warning") || l.contains("Performance Loss");
        let warnings = log.lines().filter(warns).map(str::to_owned).collect();
        Ok(Assembled { cubin: std::fs::read(&output)?, usage: parse_usage(&log), warnings })
    }

    /// The machine code of a cubin as text.
    ///
    /// # Errors
    ///
    /// [`ToolError::Refused`] where the bytes are no cubin.
    pub fn disassemble(&self, cubin: &[u8]) -> Result<String, ToolError> {
        let folder = tempfile::tempdir()?;
        let input = folder.path().join("module.cubin");
        std::fs::write(&input, cubin)?;
        let (text, _) = run(&self.folder.join(NVDISASM), &["--print-code".as_ref(), input.as_os_str()])?;
        Ok(text)
    }

    /// The mnemonics of a cubin's machine code with their modifiers (`HMMA.SP.16816.F32`), counted.
    ///
    /// # Errors
    ///
    /// Those of [`Tools::disassemble`].
    pub fn mnemonics(&self, cubin: &[u8]) -> Result<BTreeMap<String, usize>, ToolError> {
        let mut counts = BTreeMap::new();
        for line in self.disassemble(cubin)?.lines() {
            // "        /*0010*/                   @!P0 LDG.E R0, [R2.64] ;  "
            let Some((_, rest)) = line.trim_start().strip_prefix("/*").and_then(|l| l.split_once("*/")) else {
                continue;
            };
            let mut words = rest.split_whitespace().filter(|w| !w.starts_with('@') && *w != "{");
            if let Some(word) = words.next().filter(|w| w.starts_with(|c: char| c.is_ascii_uppercase())) {
                *counts.entry(word.trim_end_matches(';').to_owned()).or_default() += 1;
            }
        }
        Ok(counts)
    }
}

const NVDISASM: &str = "nvidia/cu13/bin/nvdisasm";

/// Where `cargo xtask ptx-tools` puts them.
fn default_folder() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root.join(target).join("ptx-tools")
}

/// Standard output and standard error of a program that succeeded.
fn run(program: &Path, arguments: &[&OsStr]) -> Result<(String, String), ToolError> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .map_err(|source| ToolError::Run { program: program.to_owned(), source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, log) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        return Ok((out, log));
    }
    Err(ToolError::Refused { program: program.to_owned(), message: format!("{out}{log}") })
}
