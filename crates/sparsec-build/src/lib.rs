//! Compiles models in build scripts, and generates typed Rust modules for them.
//!
//! The build script is one line:
//!
//! ```no_run
//! sparsec_build::Model::new("digits.onnx").compile_or_exit();
//! ```
//!
//! and the program, which depends on sparsec-runtime, has the module:
//!
//! ```ignore
//! include!(concat!(env!("OUT_DIR"), "/digits.rs"));
//!
//! let mut model = digits::Digits::new()?;
//! model.reserve(1)?;                      // one number for each dimension that the model leaves open
//! let image = [[[[0f32; 8]; 8]; 1]];      // shapes are types where the model fixes them
//! let mut logits = [[0f32; 10]];
//! model.run(digits::Inputs { image: &image }, digits::Outputs { logits: &mut logits })?;
//! ```
//!
//! The crate runs the command `sparsec`, as others run `cmake` or `protoc`: so a build does not compile a compiler. It is
//! found on the `PATH`, or named by the environment variable `SPARSEC`. The library is linked statically, and changes of the
//! model make cargo run the build script again.
#![allow(clippy::print_stdout, reason = "build scripts talk to cargo through standard output")]

mod error;
mod generate;
mod manifest;

use std::path::{Path, PathBuf};
use std::process::Command;

pub use error::BuildError;

/// A model to compile.
#[derive(Clone, Debug)]
pub struct Model {
    file: PathBuf,
    name: Option<String>,
    cpu: Option<String>,
    arguments: Vec<String>,
    folder: Option<PathBuf>,
    triple: Option<String>,
}

impl Model {
    /// A model of ONNX; a relative path begins at the folder of the package that is built.
    #[must_use]
    pub fn new(file: impl AsRef<Path>) -> Model {
        let file = file.as_ref().to_path_buf();
        Model { file, name: None, cpu: None, arguments: Vec::new(), folder: None, triple: None }
    }

    /// The name of the module and of the library; the file's name where it is not given.
    #[must_use]
    pub fn name(mut self, name: &str) -> Model {
        self.name = Some(name.to_owned());
        self
    }

    /// The CPU, as `sparsec compile --cpu` takes it. By default this machine's, where the program is built for this kind
    /// of machine, and otherwise the least that the target has.
    #[must_use]
    pub fn cpu(mut self, cpu: &str) -> Model {
        self.cpu = Some(cpu.to_owned());
        self
    }

    /// Fixes a dimension that the model leaves open.
    #[must_use]
    pub fn dim(self, name: &str, value: u64) -> Model {
        self.arguments(["--dim", &format!("{name}={value}")])
    }

    /// Further arguments of `sparsec compile`.
    #[must_use]
    pub fn arguments<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Model {
        self.arguments.extend(arguments.into_iter().map(str::to_owned));
        self
    }

    /// Where to write, in place of cargo's `OUT_DIR`, and what to build for: for programs that are not build scripts.
    #[must_use]
    pub fn output(mut self, folder: impl AsRef<Path>, triple: Option<&str>) -> Model {
        self.folder = Some(folder.as_ref().to_path_buf());
        self.triple = triple.map(str::to_owned);
        self
    }

    /// Compiles the model, writes `OUT_DIR/NAME.rs`, and tells cargo what to link and when to run again. Returns the path
    /// of the module.
    ///
    /// # Errors
    /// When the command can't be started or refuses the model, when files can't be written, or outside of a build script.
    pub fn compile(&self) -> Result<PathBuf, BuildError> {
        let file = self.in_package(&self.file);
        let stem = self.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = generate::identifier(self.name.as_deref().unwrap_or(&stem));
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => PathBuf::from(variable("OUT_DIR")?),
        };
        println!("cargo:rerun-if-changed={}", file.display());
        println!("cargo:rerun-if-env-changed=SPARSEC");
        let program = std::env::var_os("SPARSEC").unwrap_or_else(|| "sparsec".into());
        // Another compiler may round otherwise: what it compiled is as old as it is.
        if let Some(compiler) = found(Path::new(&program)) {
            println!("cargo:rerun-if-changed={}", compiler.display());
        }
        let mut command = Command::new(&program);
        command.arg("compile").arg(&file).args(["--name", &name, "--emit", "static,header", "-o"]).arg(&folder);
        self.add_target(&mut command);
        command.args(&self.arguments);
        let output = command
            .output()
            .map_err(|source| BuildError::Start { program: program.to_string_lossy().into_owned(), source })?;
        if !output.status.success() {
            let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            return Err(BuildError::Compile { model: file, message });
        }
        let at = |path: &Path| {
            let path = path.to_path_buf();
            move |source| BuildError::File { path, source }
        };
        let manifest = folder.join(format!("{name}.json"));
        let text = std::fs::read_to_string(&manifest).map_err(at(&manifest))?;
        let manifest = serde_json::from_str(&text).map_err(|source| BuildError::Manifest { path: manifest, source })?;
        let module = folder.join(format!("{name}.rs"));
        std::fs::write(&module, generate::module(&manifest)).map_err(at(&module))?;
        println!("cargo:rustc-link-search=native={}", folder.display());
        println!("cargo:rustc-link-lib=static={name}");
        Ok(module)
    }

    /// As [`Model::compile`], for a build script that has nothing else to do: prints the error and ends the process.
    pub fn compile_or_exit(&self) {
        if let Err(error) = self.compile() {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }

    fn in_package(&self, file: &Path) -> PathBuf {
        match std::env::var_os("CARGO_MANIFEST_DIR") {
            Some(package) => Path::new(&package).join(file),
            None => file.to_path_buf(),
        }
    }

    /// What cargo builds for.
    fn add_target(&self, command: &mut Command) {
        let target = self.triple.clone().or_else(|| std::env::var("TARGET").ok());
        let host = std::env::var("HOST").ok();
        let cross = target.is_some() && (self.triple.is_some() || target != host);
        if let (true, Some(target)) = (cross, &target) {
            command.args(["--triple", target]);
        }
        match (&self.cpu, cross) {
            (Some(cpu), _) => command.args(["--cpu", cpu]),
            (None, true) => command.args(["--cpu", "generic"]),
            (None, false) => command,
        };
    }
}

/// Where the system would find a program: as it stands, or in a folder of `PATH`.
fn found(program: &Path) -> Option<PathBuf> {
    if program.components().count() > 1 {
        return Some(program.to_path_buf());
    }
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn variable(name: &'static str) -> Result<String, BuildError> {
    std::env::var(name).map_err(|_| BuildError::Variable(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_is_found_where_the_system_finds_it() {
        let shell = found(Path::new("sh")).expect("a shell");
        assert!(shell.is_file() && shell.ends_with("sh"), "{}", shell.display());
        assert_eq!(found(Path::new("./sparsec")), Some(PathBuf::from("./sparsec")));
        assert_eq!(found(Path::new("no program has this name")), None);
    }
}
