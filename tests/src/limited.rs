//! Running a program with a limit on time and memory.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Seconds that a program may take.
pub const SECONDS: u32 = 10;

/// Bytes of address space that a program may take, which is more than the memory that it uses.
pub const BYTES: u64 = 1 << 30;

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit code.
    Code(i32),
    /// It was killed for taking too long.
    Hung,
    /// It was killed by a signal, for example for want of memory.
    Crashed,
}

/// What a program did.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What it wrote to standard error.
    pub errors: String,
}

/// Runs a program under the limits, by means of `prlimit` (util-linux) and `timeout` (coreutils).
///
/// # Errors
/// Where the program can't be started.
pub fn run(program: impl AsRef<OsStr>, arguments: &[impl AsRef<OsStr>]) -> std::io::Result<Outcome> {
    let output = Command::new("prlimit")
        .arg(format!("--as={BYTES}"))
        .arg("--core=0")
        .args(["timeout", "--signal=KILL", &SECONDS.to_string()])
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()?;
    let ending = match output.status.code() {
        // `timeout` gives 137 for what it kills; shells, and it too, give 128 + N for signal N.
        Some(124 | 137) => Ending::Hung,
        Some(code @ 0..128) => Ending::Code(code),
        _ => Ending::Crashed,
    };
    Ok(Outcome { ending, errors: String::from_utf8_lossy(&output.stderr).into_owned() })
}
