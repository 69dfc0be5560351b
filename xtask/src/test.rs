//! `cargo xtask test`: every check of the project, cheapest first.
//!
//! One profile serves all of it: cargo's `dev`, which is optimised lightly here and has overflow checks, debug assertions
//! and the verifiers between the passes. The demo and the full-size models use `release`.

use std::path::Path;

use crate::command::{Outcome, Task, root, target_dir};
use crate::setup::Purpose;
use crate::{layers, node_tests, ptx_tools, python, setup};

/// Runs all checks.
pub(crate) fn run() -> Outcome {
    setup::run(Purpose::Test)?;
    layers::check()?;
    Task::cargo("formatting").args(["fmt", "--all", "--check"]).run()?;
    Task::cargo("clippy")
        .args(["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "--deny", "warnings"])
        .run()?;
    licences()?;
    Task::cargo("building sparsec").args(["build", "--package", "sparsec-cli", "--locked"]).run()?;
    let sparsec = target_dir().join("debug/sparsec");
    let ptx_tools = ptx_tools::fetch()?;
    Task::cargo("tests")
        .args(["test", "--workspace", "--locked"])
        .env("SPARSEC", &sparsec)
        .env("SPARSEC_TOOLS", "required")
        .env("SPARSEC_PTX_TOOLS", ptx_tools)
        .run()?;
    python::unit_tests()?;
    let models = target_dir().join("models-small");
    let environment = python::package(&models)?;
    examples(&sparsec, &environment)?;
    python::compare(&sparsec, &models, &["--small"])?;
    // The ends of sparsity, on more than one thread.
    let ends = ["--small", "--threads", "2", "--patterns", "un:0.0,un:0.5,un:0.99,un:1.0"];
    python::compare(&sparsec, &models, &ends)?;
    // A minute and a half on two cores for 1,764 cases.
    node_tests::run(&[] as &[&str])?;
    println!("== all checks passed");
    Ok(())
}

/// Sources and duplicates of the dependencies, where cargo-deny is installed; their licences are checked without it, too,
/// by a test of this crate.
fn licences() -> Outcome {
    if !Task::cargo("cargo deny").args(["deny", "--version"]).succeeds() {
        println!("== sources of dependencies: skipped, cargo-deny is not installed (licences: tested by xtask)");
        return Ok(());
    }
    Task::cargo("licences").args(["deny", "--offline", "check", "licenses", "bans", "sources"]).run()
}

/// Builds and runs the example of each language, as its README says.
fn examples(sparsec: &Path, environment: &Path) -> Outcome {
    let scripts = [("C", "c/build.sh"), ("C++", "cpp/build.sh"), ("Rust", "rust/run.sh"), ("Python", "python/run.sh")];
    for (language, script) in scripts {
        Task::new(format!("the {language} example"), "sh")
            .arg(root().join("examples").join(script))
            .arg(target_dir().join("examples").join(language))
            .env("SPARSEC", sparsec)
            .env("PYTHON_ENV", environment)
            .run()?;
    }
    Ok(())
}
