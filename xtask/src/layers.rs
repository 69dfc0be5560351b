//! The house rules that cargo itself does not know: which crate may use which, and where `unsafe` may stand.

use std::path::{Path, PathBuf};

use crate::command::{Outcome, Task, root};

/// What each crate may depend on directly, outside of its tests. Only crates of this workspace and the packages of
/// [`SOLE_USERS`] are looked at. Each crate names only crates that stand above it in this table.
const ALLOWED: &[(&str, &[&str])] = &[
    ("sparsec-abi", &[]),
    ("sparsec-build", &[]),
    ("sparsec-sparse", &[]),
    ("sparsec-ptxas", &[]),
    ("sparsec-runtime", &["sparsec-abi"]),
    ("sparsec-tir", &["sparsec-sparse"]),
    ("sparsec-graph", &["sparsec-sparse", "sparsec-tir"]),
    ("sparsec-loops", &["sparsec-graph", "sparsec-tir"]),
    ("sparsec-onnx", &["sparsec-graph", "sparsec-loops", "sparsec-sparse"]),
    ("sparsec-passes", &["sparsec-graph", "sparsec-sparse"]),
    ("sparsec-rewrite", &["sparsec-graph", "sparsec-sparse"]),
    ("sparsec-lower", &["sparsec-graph", "sparsec-sparse", "sparsec-tir"]),
    ("sparsec-llvm", &["sparsec-abi", "sparsec-tir"]),
    ("sparsec-ptxsim", &["sparsec-plan", "sparsec-ptx"]),
    ("sparsec-ptx", &["sparsec-tir"]),
    ("sparsec-plan", &["sparsec-abi", "sparsec-tir"]),
    ("sparsec-artifact", &["sparsec-abi", "sparsec-plan", "sparsec-tir"]),
    ("sparsec-cuda", &["sparsec-plan"]),
    ("sparsec-cuda-c", &["sparsec-abi", "sparsec-cuda", "sparsec-plan"]),
    (
        "sparsec",
        &[
            "sparsec-abi",
            "sparsec-artifact",
            "sparsec-graph",
            "sparsec-llvm",
            "sparsec-lower",
            "sparsec-onnx",
            "sparsec-passes",
            "sparsec-plan",
            "sparsec-ptx",
            "sparsec-ptxsim",
            "sparsec-rewrite",
            "sparsec-runtime",
            "sparsec-sparse",
            "sparsec-tir",
        ],
    ),
    (
        "sparsec-gpu-kit",
        &[
            "sparsec-cuda",
            "sparsec-graph",
            "sparsec-lower",
            "sparsec-onnx",
            "sparsec-passes",
            "sparsec-plan",
            "sparsec-ptx",
            "sparsec-ptxsim",
            "sparsec-rewrite",
            "sparsec-tir",
        ],
    ),
    ("sparsec-cli", &["sparsec", "sparsec-cuda", "sparsec-runtime"]),
    ("sparsec-demo", &["sparsec", "sparsec-onnx", "sparsec-runtime"]),
    ("sparsec-tests", &["sparsec", "sparsec-demo", "sparsec-onnx", "sparsec-runtime"]),
    ("sparsec-python", &["sparsec", "sparsec-runtime"]),
    ("xtask", &[]),
];

/// Packages that one crate alone may use, so that the rest builds without them and can outlive them.
const SOLE_USERS: &[(&str, &str)] = &[
    ("inkwell", "sparsec-llvm"),
    ("egg", "sparsec-rewrite"),
    ("petgraph", "sparsec-graph"),
    ("prost", "sparsec-onnx"),
    ("regex-automata", "sparsec-onnx"),
    ("redb", "sparsec"),
    ("cudarc", "sparsec-cuda"),
];

/// Where `unsafe` code may stand: whole folders, or single files.
const UNSAFE: &[&str] = &[
    "crates/sparsec-runtime/",
    "crates/sparsec-llvm/",
    "crates/sparsec-cuda/",
    "crates/sparsec-cuda-c/",
    "crates/sparsec-onnx/src/mapped.rs",
    "python/",
];

/// Checks all rules; the error lists every breach.
pub(crate) fn check() -> Outcome {
    println!("== crate directions and unsafe code");
    let mut breaches = Vec::new();
    let members = members()?;
    for member in &members {
        match ALLOWED.iter().find(|(name, _)| name == member) {
            Some((_, allowed)) => check_dependencies(member, allowed, &members, &mut breaches)?,
            None => breaches.push(format!("{member} is not in the table of xtask/src/layers.rs")),
        }
    }
    for file in rust_files()? {
        let text = std::fs::read_to_string(root().join(&file)).map_err(|e| format!("{}: {e}", file.display()))?;
        let allows = text.lines().any(|l| l.trim_start().starts_with("#") && l.contains("allow(unsafe_code"));
        if allows && !UNSAFE.iter().any(|place| file.starts_with(place)) {
            breaches.push(format!("{} allows unsafe code", file.display()));
        }
    }
    if breaches.is_empty() { Ok(()) } else { Err(format!("house rules are broken:\n  {}", breaches.join("\n  "))) }
}

fn check_dependencies(
    member: &str,
    allowed: &[&str],
    members: &[String],
    breaches: &mut Vec<String>,
) -> Result<(), String> {
    let dependencies = direct_dependencies(member)?;
    for dependency in &dependencies {
        if members.contains(dependency) && !allowed.contains(&dependency.as_str()) {
            breaches.push(format!("{member} may not depend on {dependency}"));
        }
        if let Some((package, user)) = SOLE_USERS.iter().find(|(p, u)| p == dependency && *u != member) {
            breaches.push(format!("{member} may not depend on {package}, which is for {user} alone"));
        }
    }
    Ok(())
}

/// Names of the workspace's packages.
fn members() -> Result<Vec<String>, String> {
    names(Task::cargo("cargo tree").args(["tree", "--workspace", "--depth", "0", "--prefix", "none"]))
}

fn direct_dependencies(package: &str) -> Result<Vec<String>, String> {
    let tree = ["tree", "--edges", "normal,build", "--prefix", "none", "--depth", "1", "--package", package];
    let mut all = names(Task::cargo("cargo tree").args(tree))?;
    all.retain(|name| name != package);
    Ok(all)
}

/// The first word of each line.
fn names(task: Task) -> Result<Vec<String>, String> {
    let mut names: Vec<String> =
        task.output()?.lines().filter_map(|l| l.split_whitespace().next()).map(str::to_owned).collect();
    names.sort();
    names.dedup();
    Ok(names)
}

/// The Rust files of the project, relative to its root.
fn rust_files() -> Result<Vec<PathBuf>, String> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                walk(&path, into)?;
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
        Ok(())
    }
    let mut files = Vec::new();
    for folder in ["crates", "examples", "python", "tests", "xtask"] {
        walk(&root().join(folder), &mut files).map_err(|e| format!("{folder}: {e}"))?;
    }
    Ok(files.iter().filter_map(|f| f.strip_prefix(root()).ok()).map(PathBuf::from).collect())
}
