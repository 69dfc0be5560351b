//! Every dependency's licence is one that `deny.toml` allows. cargo-deny checks the same and more, where it is installed;
//! this needs nothing but cargo.

use std::path::Path;
use std::process::Command;

use serde::Deserialize;
use spdx::{Expression, Licensee, ParseMode};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    /// Absent for packages of this workspace.
    source: Option<String>,
}

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

/// The licences that `deny.toml` allows.
fn allowed(root: &Path) -> Vec<Licensee> {
    let text = std::fs::read_to_string(root.join("deny.toml")).expect("deny.toml");
    let deny: Deny = toml::from_str(&text).expect("deny.toml has a list of licences");
    deny.licenses.allow.iter().map(|name| Licensee::parse(name).expect("a licence of SPDX's list")).collect()
}

/// Why `license` is not covered by `allowed`, if it is not.
fn refusal(license: Option<&str>, allowed: &[Licensee]) -> Option<String> {
    let Some(text) = license else { return Some("states no licence".to_owned()) };
    match Expression::parse_mode(text, ParseMode::LAX) {
        Err(error) => Some(format!("states `{text}`: {}", error.reason)),
        Ok(expression) if expression.evaluate(|asked| allowed.iter().any(|l| l.satisfies(asked))) => None,
        Ok(_) => Some(format!("is under `{text}`")),
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--all-features"])
        .current_dir(root)
        .output()
        .expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Metadata = serde_json::from_slice(&output.stdout).expect("cargo's description of packages");
    let allowed = allowed(root);
    let from_elsewhere: Vec<&Package> = metadata.packages.iter().filter(|p| p.source.is_some()).collect();
    assert!(from_elsewhere.len() > 50, "cargo names {} dependencies", from_elsewhere.len());
    let refused: Vec<String> = from_elsewhere
        .iter()
        .filter_map(|p| refusal(p.license.as_deref(), &allowed).map(|why| format!("{} {} {why}", p.name, p.version)))
        .collect();
    assert!(refused.is_empty(), "not allowed by deny.toml:\n{}", refused.join("\n"));
}

#[test]
fn a_licence_outside_the_list_is_refused() {
    let allowed = ["MIT", "Apache-2.0"].map(|name| Licensee::parse(name).expect("a licence"));
    assert_eq!(refusal(Some("MIT OR GPL-3.0"), &allowed), None);
    assert_eq!(refusal(Some("MIT/Apache-2.0"), &allowed), None);
    assert_eq!(refusal(Some("MIT AND GPL-3.0"), &allowed).as_deref(), Some("is under `MIT AND GPL-3.0`"));
    assert_eq!(refusal(None, &allowed).as_deref(), Some("states no licence"));
    assert!(refusal(Some("as you like"), &allowed).is_some());
}
