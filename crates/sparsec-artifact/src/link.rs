//! The shared library: made by the system's C compiler as linker driver.

use std::path::Path;
use std::process::Command;

use sparsec_abi::Features;

use crate::ArtifactError;

/// Links objects to a shared library that exports the public functions of the ABI and nothing else; `features` says
/// which these are.
pub(crate) fn link_shared(
    out: &Path,
    objects: &[&Path],
    (name, features): (&str, Features),
    triple: &str,
    linker: Option<&str>,
) -> Result<(), ArtifactError> {
    let script = out.with_extension("map");
    let exports: String = sparsec_abi::exports(features).iter().map(|f| format!("    {name}_{f};\n")).collect();
    std::fs::write(&script, format!("{{\n  global:\n{exports}  local: *;\n}};\n"))
        .map_err(crate::error::at(&script))?;
    let driver = driver(triple, linker);
    let mut words = driver.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or("cc"));
    command.args(words).args(["-shared", "-o"]).arg(out).args(objects);
    // References inside the library stay inside it; no build id, since it would add nothing to identical bytes.
    command.args(["-Wl,-Bsymbolic", "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-Wl,-z,defs", "-Wl,-z,relro"]);
    command.arg(format!("-Wl,-soname,lib{name}.so"));
    // Not through -Wl, which splits at commas: a folder's name may have some.
    let mut version_script = std::ffi::OsString::from("--version-script=");
    version_script.push(&script);
    command.arg("-Xlinker").arg(version_script);
    let failed = |message: String| ArtifactError::Link { command: driver.clone(), message };
    let result = command.output().map_err(|e| failed(format!("{e} (set CC to a C compiler for {triple})")))?;
    if result.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&result.stderr);
    Err(failed(said.trim().chars().take(2000).collect()))
}

/// Links objects to a module of WebAssembly that exports the public functions of the ABI, its memory, and where free memory
/// begins (`__heap_base`).
pub(crate) fn link_wasm(
    out: &Path,
    objects: &[&Path],
    (name, features): (&str, Features),
) -> Result<(), ArtifactError> {
    let named = std::env::var("WASM_LD").ok().filter(|v| !v.trim().is_empty());
    let candidates = named.map_or_else(|| vec!["wasm-ld".to_owned(), "wasm-ld-19".to_owned()], |own| vec![own]);
    let there = |tool: &&String| Command::new(tool).arg("--version").output().is_ok_and(|o| o.status.success());
    let linker = candidates.iter().find(there);
    let failed = |message: String| ArtifactError::Link { command: candidates.join(" or "), message };
    let linker = linker.ok_or_else(|| failed("not found (install lld, or set WASM_LD)".to_owned()))?;
    let mut command = Command::new(linker);
    command.args(["--no-entry", "--stack-first", "-z", "stack-size=1048576", "--strip-all", "--export=__heap_base"]);
    command.args(sparsec_abi::exports(features).iter().map(|f| format!("--export={name}_{f}")));
    let result = command.arg("-o").arg(out).args(objects).output().map_err(|e| failed(e.to_string()))?;
    if result.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&result.stderr);
    Err(failed(said.trim().chars().take(2000).collect()))
}

/// The linker driver: as given, or `CC`, or `cc`; for another architecture the name that Debian gives its compiler.
fn driver(triple: &str, linker: Option<&str>) -> String {
    if let Some(linker) = linker {
        return linker.to_owned();
    }
    if let Ok(cc) = std::env::var("CC")
        && !cc.trim().is_empty()
    {
        return cc;
    }
    match triple.split('-').next() {
        Some(arch) if arch != std::env::consts::ARCH => {
            format!("{}-linux-gnu-gcc", arch.trim_end_matches("gc"))
        }
        _ if triple.ends_with("musl") && !cfg!(target_env = "musl") => "musl-gcc".to_owned(),
        _ => "cc".to_owned(),
    }
}
