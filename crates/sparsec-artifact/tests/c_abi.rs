//! The C interface, used from C: every status, from a program compiled with all warnings as errors.

mod common;

use std::path::Path;
use std::process::Command;

use sparsec_llvm::Target;

const FLAGS: [&str; 6] = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"];

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}\n{out}\n{err}");
    out.into_owned()
}

fn source() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/c/check.c")
}

#[test]
fn every_status_from_c_with_both_libraries() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    common::build(path, "tiny").expect("built");
    common::build(path, "other").expect("built");

    // Two models in one program, from static libraries, with nothing but libc and its threads.
    let program = path.join("with_static");
    succeed(
        Command::new("cc")
            .args(FLAGS)
            .arg("-I")
            .arg(path)
            .arg(source())
            .arg(path.join("libtiny.a"))
            .arg(path.join("libother.a"))
            .arg("-pthread")
            .arg("-o")
            .arg(&program),
    );
    assert_eq!(succeed(&mut Command::new(&program)), "all checks passed\n");

    let program = path.join("with_shared");
    succeed(
        Command::new("cc")
            .args(FLAGS)
            .arg("-I")
            .arg(path)
            .arg(source())
            .arg("-L")
            .arg(path)
            .args(["-ltiny", "-lother", "-pthread"])
            .arg("-o")
            .arg(&program),
    );
    assert_eq!(succeed(Command::new(&program).env("LD_LIBRARY_PATH", path)), "all checks passed\n");
}

#[test]
fn only_public_functions_are_exported() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = common::build(dir.path(), "tiny").expect("built");
    let listed = succeed(
        Command::new("nm").args(["-D", "--defined-only", "--format=posix"]).arg(files.shared_library.expect("there")),
    );
    let mut found: Vec<&str> = listed.lines().filter_map(|l| l.split_whitespace().next()).collect();
    found.sort_unstable();
    let mut expected: Vec<String> = sparsec_abi::FUNCTIONS.iter().map(|f| format!("tiny_{f}")).collect();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn the_header_is_c_plus_plus_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let host = Target::host().expect("this machine");
    // With the declaration that only some headers have.
    common::build_with(dir.path(), &common::program("tiny"), &common::Weights, &host, true).expect("built");
    let unit = dir.path().join("unit.c");
    std::fs::write(&unit, "#include \"tiny.h\"\n#include \"tiny.h\"\nint unit(void) { return SPARSEC_OK; }\n")
        .expect("written");
    for (language, standard) in [("c", "-std=c99"), ("c++", "-std=c++11")] {
        let mut command = Command::new("cc");
        command.args(["-x", language, standard, "-Wall", "-Wextra", "-Werror", "-pedantic", "-fsyntax-only"]);
        let output = command.arg(&unit).output().expect("starts");
        let said = String::from_utf8_lossy(&output.stderr);
        if language == "c++" && said.contains("cc1plus") {
            eprintln!("skipped: no C++ compiler here");
            continue;
        }
        assert!(output.status.success(), "{language}: {said}");
    }
}
