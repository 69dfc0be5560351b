//! `cargo xtask setup`: what the build needs from the system.
//!
//! Each requirement is a probe and the Debian packages that satisfy it. Nothing is installed where all probes succeed,
//! which takes milliseconds; so every other task begins with this one.

use std::path::Path;

use crate::command::{Outcome, Task};

/// What is about to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The command is built and used.
    Build,
    /// All tests are run.
    Test,
}

struct Requirement {
    purpose: Purpose,
    what: &'static str,
    packages: &'static [&'static str],
    present: fn() -> bool,
}

const REQUIREMENTS: &[Requirement] = &[
    Requirement {
        purpose: Purpose::Build,
        what: "LLVM 19",
        packages: &["llvm-19-dev", "libpolly-19-dev"],
        present: has_llvm,
    },
    Requirement {
        purpose: Purpose::Build,
        what: "the libraries that LLVM links",
        packages: &["zlib1g-dev", "libzstd-dev"],
        present: || has_header("zlib.h") && has_header("zstd.h"),
    },
    Requirement {
        purpose: Purpose::Build,
        what: "a C compiler",
        packages: &["gcc", "libc6-dev"],
        present: || Task::new("cc", "cc").arg("--version").succeeds() && has_header("stdio.h"),
    },
    Requirement {
        purpose: Purpose::Build,
        what: "Python with venv",
        packages: &["python3", "python3-venv"],
        present: || Task::new("python3", "python3").args(["-c", "import venv, ensurepip"]).succeeds(),
    },
    Requirement {
        purpose: Purpose::Test,
        what: "an emulator of 64-bit Arm, and a C compiler for it",
        packages: &["qemu-user", "gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        present: has_arm,
    },
    Requirement {
        purpose: Purpose::Test,
        what: "an emulator of 64-bit RISC-V, and a C compiler for it",
        packages: &["qemu-user", "gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"],
        present: || {
            ["qemu-riscv64", "riscv64-linux-gnu-gcc"].iter().all(|t| Task::new(*t, t).arg("--version").succeeds())
                && Path::new("/usr/riscv64-linux-gnu/include/stdio.h").exists()
        },
    },
    Requirement {
        purpose: Purpose::Test,
        what: "a linker of WebAssembly",
        packages: &["lld-19"],
        present: || ["wasm-ld", "wasm-ld-19"].iter().any(|t| Task::new(*t, t).arg("--version").succeeds()),
    },
    Requirement {
        purpose: Purpose::Test,
        what: "an emulator of older processors",
        packages: &["qemu-user"],
        present: || {
            !cfg!(target_arch = "x86_64") || Task::new("qemu-x86_64", "qemu-x86_64").arg("--version").succeeds()
        },
    },
    Requirement {
        purpose: Purpose::Test,
        what: "an emulator of microcontrollers, and a C compiler and a linker for them",
        packages: &["qemu-system-arm", "clang-19", "lld-19"],
        present: || {
            ["qemu-system-arm", "clang-19", "ld.lld-19"].iter().all(|t| Task::new(*t, t).arg("--version").succeeds())
        },
    },
    Requirement {
        purpose: Purpose::Test,
        what: "Node.js",
        packages: &["nodejs"],
        present: || Task::new("node", "node").arg("--version").succeeds(),
    },
    Requirement {
        purpose: Purpose::Test,
        what: "musl",
        packages: &["musl-tools"],
        present: || Task::new("musl-gcc", "musl-gcc").arg("--version").succeeds(),
    },
    Requirement {
        purpose: Purpose::Test,
        what: "CMake, make and a C++ compiler",
        packages: &["cmake", "make", "g++", "pkg-config"],
        present: || ["cmake", "make", "c++", "pkg-config"].iter().all(|t| Task::new(*t, t).arg("--version").succeeds()),
    },
    Requirement {
        purpose: Purpose::Test,
        what: "valgrind",
        packages: &["valgrind"],
        present: || Task::new("valgrind", "valgrind").arg("--version").succeeds(),
    },
];

/// Installs what is missing.
pub(crate) fn run(purpose: Purpose) -> Outcome {
    let wanted = |r: &&Requirement| r.purpose == Purpose::Build || purpose == Purpose::Test;
    let missing: Vec<&Requirement> = REQUIREMENTS.iter().filter(wanted).filter(|r| !(r.present)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what: Vec<&str> = missing.iter().map(|r| r.what).collect();
    let packages: Vec<&str> = missing.iter().flat_map(|r| r.packages).copied().collect();
    println!("missing: {}", what.join(", "));
    let install = ["install", "-y", "--no-install-recommends"];
    let by_hand = format!("apt-get update && apt-get {} {}", install.join(" "), packages.join(" "));

    let Some(apt) = apt() else {
        return Err(format!("install {} and try again; on Debian 12, as root:\n  {by_hand}", what.join(", ")));
    };
    apt("apt-get update").arg("update").run()?;
    apt("apt-get install")
        .args(install)
        .args(&packages)
        .run()
        .map_err(|e| format!("{e}\nIf the system has no such packages, install {} by hand.", what.join(", ")))?;

    match missing.iter().find(|r| !(r.present)()) {
        Some(r) => Err(format!("{} is still missing after the installation of {}", r.what, r.packages.join(", "))),
        None => Ok(()),
    }
}

/// How apt-get can be run without a question; `None` where it can't.
fn apt() -> Option<fn(&str) -> Task> {
    let has_apt = || Task::new("apt-get", "apt-get").arg("--version").succeeds();
    let is_root = || Task::new("id", "id").arg("-u").output().is_ok_and(|id| id.trim() == "0");
    let has_sudo = || Task::new("sudo", "sudo").args(["-n", "true"]).succeeds();
    match () {
        () if !has_apt() => None,
        () if is_root() => Some(|name| Task::new(name, "apt-get").env("DEBIAN_FRONTEND", "noninteractive")),
        () if has_sudo() => {
            Some(|name| Task::new(name, "sudo").args(["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"]))
        }
        () => None,
    }
}

fn has_llvm() -> bool {
    let prefix = std::env::var("LLVM_SYS_191_PREFIX").unwrap_or_else(|_| "/usr/lib/llvm-19".into());
    let config = Path::new(&prefix).join("bin/llvm-config");
    let polly = Path::new(&prefix).join("lib/libPolly.a");
    polly.exists() && Task::new("llvm-config", config).arg("--version").output().is_ok_and(|v| v.starts_with("19."))
}

fn has_header(name: &str) -> bool {
    ["/usr/include", "/usr/local/include"].iter().any(|folder| Path::new(folder).join(name).exists())
}

/// On Arm itself, code for it needs nothing more than the build does.
fn has_arm() -> bool {
    let tools = ["qemu-aarch64", "aarch64-linux-gnu-gcc"];
    cfg!(target_arch = "aarch64")
        || (tools.iter().all(|tool| Task::new(*tool, tool).arg("--version").succeeds())
            && Path::new("/usr/aarch64-linux-gnu/include/stdio.h").exists())
}
