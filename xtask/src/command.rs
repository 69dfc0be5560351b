//! Starting other programs.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What a task returns; the error is one message for a person.
pub(crate) type Outcome = Result<(), String>;

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}

/// Cargo's target directory, absolute.
pub(crate) fn target_dir() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from))
}

/// A program to run in the root of the workspace, with the name that the log has for it.
pub(crate) struct Task {
    name: String,
    command: Command,
}

impl Task {
    /// Runs `program`.
    pub(crate) fn new(name: impl Into<String>, program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(root());
        Task { name: name.into(), command }
    }

    /// Runs the cargo that runs this program.
    pub(crate) fn cargo(name: impl Into<String>) -> Self {
        Task::new(name, std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// Adds an argument.
    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Adds arguments.
    pub(crate) fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Announces and runs it; fails where the program fails.
    pub(crate) fn run(mut self) -> Outcome {
        println!("== {}", self.name);
        let start = Instant::now();
        let status = self.command.status().map_err(|e| format!("{}: cannot run {:?}: {e}", self.name, self.command))?;
        let seconds = start.elapsed().as_secs_f64();
        if !status.success() {
            return Err(format!("{} failed after {seconds:.0} s ({status}): {:?}", self.name, self.command));
        }
        println!("== {}: done in {seconds:.0} s", self.name);
        Ok(())
    }

    /// Runs it silently; returns what it wrote to standard output.
    pub(crate) fn output(mut self) -> Result<String, String> {
        let output = self.command.output().map_err(|e| format!("{}: cannot run {:?}: {e}", self.name, self.command))?;
        if !output.status.success() {
            return Err(format!("{} failed: {}", self.name, String::from_utf8_lossy(&output.stderr).trim()));
        }
        String::from_utf8(output.stdout).map_err(|_| format!("{}: output is not UTF-8", self.name))
    }

    /// Runs it silently; whether it succeeded.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }
}
