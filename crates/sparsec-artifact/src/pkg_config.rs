//! `NAME.pc`: how a program is compiled and linked with a model, for pkg-config and the build systems that ask it.

/// The file's text. Paths are relative to the file, so the folder may be moved.
pub(crate) fn pkg_config(name: &str) -> String {
    format!(
        "prefix=${{pcfiledir}}

Name: {name}
Description: A neural network compiled by sparsec
Version: {version}
Cflags: -I\"${{prefix}}\"
Libs: -L\"${{prefix}}\" -l{name}
",
        version = env!("CARGO_PKG_VERSION")
    )
}
