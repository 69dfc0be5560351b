//! All files of an artefact, or none.

use std::path::{Path, PathBuf};

use object::{Object, ObjectSymbol};
use sparsec_abi::Features;
use sparsec_tir::{ConstantData, Program};
use tempfile::TempDir;

use crate::archive::{Member, write_archive};
use crate::error::at;
use crate::manifest::{Manifest, TargetInfo};
use crate::pkg_config::pkg_config;
use crate::{ArtifactError, header, link, weights};

/// Machine code of a program, and what it came from.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// A relocatable ELF object.
    pub object: &'a [u8],
    /// Assembly, written to `NAME.s` where given.
    pub assembly: Option<&'a str>,
    /// LLVM's IR, written to `NAME.ll` where given.
    pub llvm_ir: Option<&'a str>,
}

/// Which files to make.
#[derive(Clone, Debug)]
pub struct ArtifactOptions {
    /// The machine that the code is for.
    pub target: TargetInfo,
    /// `libNAME.a`.
    pub static_library: bool,
    /// `libNAME.so`.
    pub shared_library: bool,
    /// `NAME.h`.
    pub header: bool,
    /// `NAME.json`.
    pub manifest: bool,
    /// `NAME.o` and `NAME_weights.o`.
    pub objects: bool,
    /// Whether the code times its launches (`EmitOptions::profile` of the backend).
    pub profile: bool,
    /// The C compiler that links the shared library; from the environment variable `CC`, or `cc`, where `None`.
    pub linker: Option<String>,
}

impl ArtifactOptions {
    /// Libraries, header and manifest.
    #[must_use]
    pub fn new(target: TargetInfo) -> Self {
        ArtifactOptions {
            target,
            static_library: true,
            shared_library: true,
            header: true,
            manifest: true,
            objects: false,
            profile: false,
            linker: None,
        }
    }
}

/// The files that were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArtifactFiles {
    /// `libNAME.a`.
    pub static_library: Option<PathBuf>,
    /// `libNAME.so`, or `NAME.wasm`.
    pub shared_library: Option<PathBuf>,
    /// `NAME.h`.
    pub header: Option<PathBuf>,
    /// `NAME.pc`, where there are a header and a library.
    pub pkg_config: Option<PathBuf>,
    /// `NAME.json`.
    pub manifest: Option<PathBuf>,
    /// `NAME.o` and `NAME_weights.o`.
    pub objects: Vec<PathBuf>,
    /// `NAME.s`.
    pub assembly: Option<PathBuf>,
    /// `NAME.ll`.
    pub llvm_ir: Option<PathBuf>,
}

/// The weights of a program in a temporary folder, waiting for the code. Where it is dropped, nothing is left of them.
///
/// They are written first because they are what takes memory: once they are on disk, the model may be let go of, and the
/// memory that code generation takes does not come on top of it.
#[derive(Debug)]
pub struct StagedWeights {
    dir: PathBuf,
    temporary: TempDir,
}

/// Writes the constants of a program, for [`write_with`].
///
/// # Errors
/// As [`write()`].
pub fn stage_weights(
    dir: &Path,
    program: &Program,
    data: &dyn ConstantData,
    triple: &str,
) -> Result<StagedWeights, ArtifactError> {
    let staged = StagedWeights::new(dir)?;
    weights::write_weights(&staged.path(&weights_file(&program.name)), program, data, triple)?;
    Ok(staged)
}

impl StagedWeights {
    /// A temporary folder in a folder, which is made where it does not exist.
    pub(crate) fn new(dir: &Path) -> Result<Self, ArtifactError> {
        std::fs::create_dir_all(dir).map_err(at(dir))?;
        let temporary = tempfile::Builder::new().prefix(".sparsec-").tempdir_in(dir).map_err(at(dir))?;
        Ok(StagedWeights { dir: dir.to_path_buf(), temporary })
    }

    /// A file in the temporary folder.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.temporary.path().join(file)
    }

    /// Moves finished files to where they belong; returns them there.
    pub(crate) fn finish(self, files: impl Iterator<Item = String>) -> Result<Vec<PathBuf>, ArtifactError> {
        let mut finished = Vec::new();
        for file in files {
            let to = self.dir.join(&file);
            std::fs::rename(self.path(&file), &to).map_err(at(&to))?;
            finished.push(to);
        }
        Ok(finished)
    }
}

/// As [`stage_weights`], for targets whose objects are not ELF: with the object that the backend made.
///
/// # Errors
/// When the file can't be written.
pub fn stage_object(dir: &Path, name: &str, object: &[u8]) -> Result<StagedWeights, ArtifactError> {
    std::fs::create_dir_all(dir).map_err(at(dir))?;
    let temporary = tempfile::Builder::new().prefix(".sparsec-").tempdir_in(dir).map_err(at(dir))?;
    let file = temporary.path().join(weights_file(name));
    std::fs::write(&file, object).map_err(at(&file))?;
    Ok(StagedWeights { dir: dir.to_path_buf(), temporary })
}

/// Whether a triple is that of WebAssembly, whose objects are no ELF.
fn is_wasm(triple: &str) -> bool {
    triple.starts_with("wasm32")
}

/// Whether a triple has no operating system, so that programs link everything.
fn is_bare(triple: &str) -> bool {
    triple.starts_with("thumb")
}

fn weights_file(name: &str) -> String {
    format!("{name}_weights.o")
}

/// Writes the artefact of a program into a folder, which is made where it does not exist. `report` goes into the manifest.
///
/// # Errors
/// When a file can't be written, a constant has the wrong size, the weights pass 2 GiB, or the linker fails. The folder is
/// then as it was before.
pub fn write(
    dir: &Path,
    program: &Program,
    data: &dyn ConstantData,
    code: &Code<'_>,
    options: &ArtifactOptions,
    report: serde_json::Value,
) -> Result<ArtifactFiles, ArtifactError> {
    write_with(stage_weights(dir, program, data, &options.target.triple)?, program, code, options, report)
}

/// As [`write()`], with the weights of [`stage_weights`] for the same program and target, into the same folder.
///
/// # Errors
/// As [`write()`].
pub fn write_with(
    weights: StagedWeights,
    program: &Program,
    code: &Code<'_>,
    options: &ArtifactOptions,
    report: serde_json::Value,
) -> Result<ArtifactFiles, ArtifactError> {
    let StagedWeights { dir, temporary } = weights;
    let name = &program.name;
    let triple = &options.target.triple;
    if options.shared_library && is_bare(triple) {
        return Err(ArtifactError::NoSharedLibrary { triple: triple.clone() });
    }
    let heap = !is_wasm(triple) && !is_bare(triple);
    let features = Features { heap, profile: options.profile, levels: options.target.has_levels() };
    let symbols = match is_wasm(triple) {
        false => defined_symbols(code.object)?,
        true => sparsec_abi::exports(features).iter().map(|f| format!("{name}_{f}")).collect(),
    };
    let staged = |file: &str| temporary.path().join(file);
    let put = |file: &str, bytes: &[u8]| {
        let path = staged(file);
        std::fs::write(&path, bytes).map_err(at(&path))
    };

    let (object, constants) = (format!("{name}.o"), weights_file(name));
    put(&object, code.object)?;
    let (object_path, constants_path) = (staged(&object), staged(&constants));

    let mut files = ArtifactFiles::default();
    let mut finished: Vec<String> = Vec::new();
    let mut finish = |file: String| -> PathBuf {
        let path = dir.join(&file);
        finished.push(file);
        path
    };
    if options.shared_library && is_wasm(triple) {
        let file = format!("{name}.wasm");
        link::link_wasm(&staged(&file), &[&object_path, &constants_path], (name, features))?;
        files.shared_library = Some(finish(file));
    } else if options.shared_library {
        let file = format!("lib{name}.so");
        let linker = options.linker.as_deref();
        link::link_shared(&staged(&file), &[&object_path, &constants_path], (name, features), triple, linker)?;
        files.shared_library = Some(finish(file));
    }
    if options.static_library {
        let file = format!("lib{name}.a");
        let of_weights = (0..program.constants.len()).map(|i| sparsec_abi::constant_symbol(name, i)).collect();
        let members = [
            Member { name: object.clone(), file: &object_path, symbols },
            Member { name: constants.clone(), file: &constants_path, symbols: of_weights },
        ];
        write_archive(&staged(&file), &members)?;
        files.static_library = Some(finish(file));
    }
    if options.header {
        let file = format!("{name}.h");
        put(&file, header(program, features, &options.target.cpu).as_bytes())?;
        files.header = Some(finish(file));
        if options.static_library || options.shared_library {
            let file = format!("{name}.pc");
            put(&file, pkg_config(name).as_bytes())?;
            files.pkg_config = Some(finish(file));
        }
    }
    if options.manifest {
        let file = format!("{name}.json");
        let mut manifest = Manifest::new(program, options.target.clone(), code.object.len() as u64, report);
        manifest.profile = options.profile;
        let mut text = serde_json::to_string_pretty(&manifest)?;
        text.push('\n');
        put(&file, text.as_bytes())?;
        files.manifest = Some(finish(file));
    }
    if let Some(text) = code.assembly {
        let file = format!("{name}.s");
        put(&file, text.as_bytes())?;
        files.assembly = Some(finish(file));
    }
    if let Some(text) = code.llvm_ir {
        let file = format!("{name}.ll");
        put(&file, text.as_bytes())?;
        files.llvm_ir = Some(finish(file));
    }
    if options.objects {
        files.objects = vec![finish(object), finish(constants)];
    }
    for file in &finished {
        let to = dir.join(file);
        std::fs::rename(staged(file), &to).map_err(at(&to))?;
    }
    Ok(files)
}

/// The global symbols that an object defines, in the order of its table.
fn defined_symbols(object: &[u8]) -> Result<Vec<String>, ArtifactError> {
    let malformed = |e: object::read::Error| ArtifactError::Object(e.to_string());
    let file = object::File::parse(object).map_err(malformed)?;
    let mut names = Vec::new();
    for symbol in file.symbols().filter(|s| s.is_global() && s.is_definition()) {
        names.push(symbol.name().map_err(malformed)?.to_owned());
    }
    Ok(names)
}
