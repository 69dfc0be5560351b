//! `sparsec integrate`: what build systems, shells and `man` need of sparsec, under one prefix.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::failure::Failure;
use crate::{Cli, output};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where to install: ~/.local, /usr/local, or a folder of a project
    prefix: PathBuf,
}

const CMAKE: &str = include_str!("../../share/sparsecConfig.cmake");
const CMAKE_VERSION: &str = include_str!("../../share/sparsecConfigVersion.cmake");
const CPP: &str = include_str!("../../share/sparsec.hpp");

/// Where each shell looks for completions.
const SHELLS: [(Shell, &str); 3] = [
    (Shell::Bash, "share/bash-completion/completions/sparsec"),
    (Shell::Zsh, "share/zsh/site-functions/_sparsec"),
    (Shell::Fish, "share/fish/vendor_completions.d/sparsec.fish"),
];

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let prefix = &arguments.prefix;
    let mut written = String::new();
    let mut put = |file: &str, bytes: &[u8]| -> Result<(), Failure> {
        let path = prefix.join(file);
        write(&path, bytes)?;
        written += &format!("{}\n", path.display());
        Ok(())
    };
    put("lib/cmake/sparsec/sparsecConfig.cmake", CMAKE.as_bytes())?;
    let version = CMAKE_VERSION.replace("@VERSION@", env!("CARGO_PKG_VERSION"));
    put("lib/cmake/sparsec/sparsecConfigVersion.cmake", version.as_bytes())?;
    put("include/sparsec/sparsec.hpp", CPP.as_bytes())?;

    let mut command = Cli::command();
    command.build();
    for (shell, file) in SHELLS {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut command, "sparsec", &mut script);
        put(file, &script)?;
    }
    put("share/man/man1/sparsec.1", &manual(&command)?)?;
    for subcommand in command.get_subcommands().filter(|c| c.get_name() != "help") {
        let name = format!("sparsec-{}", subcommand.get_name());
        let page = manual(&subcommand.clone().name(name.clone()))?;
        put(&format!("share/man/man1/{name}.1"), &page)?;
    }
    output::print(&written)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let parent = path.parent().unwrap_or(path);
    std::fs::create_dir_all(parent).map_err(|e| Failure::in_file(parent, e))?;
    std::fs::write(path, bytes).map_err(|e| Failure::in_file(path, e))
}

fn manual(command: &clap::Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page).map_err(Failure::bug)?;
    Ok(page)
}
