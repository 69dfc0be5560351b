//! Programs that tests need beside cargo's: compilers for other machines, emulators, valgrind.

use std::path::Path;
use std::process::Command;

/// Whether these programs are there. `cargo xtask test` installs them and sets `SPARSEC_TOOLS=required`; elsewhere the
/// test that asked says that it was skipped.
///
/// # Panics
/// When one is missing and they are required.
#[must_use]
pub fn present(tools: &[&str], what: &str) -> bool {
    let there = |tool: &str| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    let missing: Vec<&str> = tools.iter().copied().filter(|tool| !there(tool)).collect();
    if missing.is_empty() {
        return true;
    }
    let missing = missing.join(" and ");
    assert!(
        std::env::var("SPARSEC_TOOLS").as_deref() != Ok("required"),
        "{missing} cannot be run, so {what} cannot be tested; `cargo xtask setup` installs what is missing"
    );
    eprintln!("skipped: {missing} cannot be run, so {what} is not tested; `cargo xtask setup` installs it");
    false
}

/// Runs a command, which must succeed; returns what it printed.
///
/// # Panics
/// When it can't be started or fails.
pub fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The folder of the C programs that tests compile.
#[must_use]
pub fn c_sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/c"))
}
