//! Two compiled models in one C program, used from eight threads: `c/load.c`.
//!
//! The program is made three times: for this machine's CPU, with a count of allocations, and for an older CPU whose
//! instructions valgrind knows.

use std::path::{Path, PathBuf};
use std::process::Command;

use sparsec::{CompileOptions, Emit, ModelSource, Output, Silent, Target};
use sparsec_tests::models::digits;
use sparsec_tests::tools::{c_sources, present, succeed};

/// Runs of each model, all threads together.
const RUNS: &str = "100000";
/// Under valgrind everything takes 50 times as long.
const FEW_RUNS: &str = "48";

/// Compiles both digits models, and the program; returns its path.
fn build(folder: &Path, cpu: &str, flags: &[&str]) -> PathBuf {
    for name in ["pruned", "dense"] {
        let mut options = CompileOptions::new(Target::new(None, cpu).expect("known"));
        options.name = Some(name.to_owned());
        options.output = Some(Output { folder: folder.to_path_buf(), emit: [Emit::Static, Emit::Header].into() });
        let source = ModelSource::File(digits().join(format!("digits_{name}.onnx")));
        sparsec::compile(source, &options, &mut Silent).expect("compiles");
    }
    let program = folder.join("load");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", "-I"]).arg(folder).args(flags);
    cc.arg(c_sources().join("load.c")).args(["libpruned.a", "libdense.a"].map(|library| folder.join(library)));
    succeed(cc.arg("-o").arg(&program));
    program
}

const GOOD: &str = "all answers are the same\n";

#[test]
fn eight_threads_get_the_answers_of_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(folder.path(), "native", &[]);
    assert_eq!(succeed(Command::new(program).arg(RUNS)), GOOD);
}

/// glibc's names of its own functions are what the count is made with.
#[cfg(target_env = "gnu")]
#[test]
fn a_run_allocates_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    // A compiler that knows what malloc does would take it not to look at the counter.
    let program = build(folder.path(), "native", &["-DCOUNT_ALLOCATIONS", "-fno-builtin"]);
    assert_eq!(succeed(Command::new(program).arg("4000")), GOOD);
}

/// valgrind knows no AVX-512.
#[cfg(target_arch = "x86_64")]
#[test]
fn valgrind_finds_no_errors_leaks_or_races() {
    if !present(&["valgrind"], "memory and races") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(folder.path(), "x86-64-v3", &[]);
    for tool in [&["--tool=memcheck", "--leak-check=full"][..], &["--tool=helgrind"][..]] {
        let mut valgrind = Command::new("valgrind");
        valgrind.args(["--quiet", "--error-exitcode=1"]).args(tool).arg(&program);
        assert_eq!(succeed(valgrind.args([FEW_RUNS, "serial"])), GOOD);
    }
}
