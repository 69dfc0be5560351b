//! The libraries from C and C++, with a model's files. On a machine without a GPU, creation says so.

use std::path::{Path, PathBuf};
use std::process::Command;

use sparsec::{CompileOptions, Gpu, ModelSource, Output, Silent};
use sparsec_demo::{Extent, ModelBuilder};
use sparsec_onnx::proto;

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?} cannot be started: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// The folder that cargo builds the libraries into: that of this test.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("known");
    test.parent().expect("a folder").to_path_buf()
}

/// `y = relu(x w)`, any number of rows of three numbers to rows of two.
fn compile(folder: &Path) {
    let mut m = ModelBuilder::new("tiny");
    let x = m.input("x", &[Extent::Symbol("n"), Extent::Fixed(3)]);
    // 1 2 3 -> 7 and less than 0.
    let weight = m.weight(&[3, 2], &[0.0, -1.0, 2.0, 0.0, 1.0, -1.0]);
    let product = m.node("MatMul", &[&x, &weight], &[]);
    m.node_named("Relu", &[&product], &[], "y");
    m.output("y", &[Extent::Symbol("n"), Extent::Fixed(2)]);
    let mut options = CompileOptions::new(Gpu::Sm80);
    options.output = Some(Output { folder: folder.to_path_buf(), emit: [].into() });
    let bytes = proto::encode(&m.finish());
    let source = ModelSource::Bytes { name: "tiny".into(), bytes: bytes.into(), folder: None };
    sparsec::compile(source, &options, &mut Silent).expect("compiles");
}

#[test]
fn a_program_in_c_is_told_what_the_machine_has() {
    let (here, libraries) = (Path::new(env!("CARGO_MANIFEST_DIR")), libraries());
    let folder = tempfile::tempdir().expect("a folder");
    let (artefact, empty) = (folder.path().join("artefact"), folder.path().join("empty"));
    std::fs::create_dir(&empty).expect("made");
    compile(&artefact);
    let source = here.join("tests/c/driver.c");
    let shared = ["-lsparsec_cuda_c"].map(PathBuf::from).to_vec();
    let fixed = [libraries.join("libsparsec_cuda_c.a"), "-lpthread".into(), "-ldl".into(), "-lm".into()].to_vec();
    for (compiler, flags, link) in [
        ("cc", &["-std=c99"][..], &shared),
        ("cc", &["-std=c99"], &fixed),
        ("c++", &["-std=c++17", "-x", "c++"], &shared),
    ] {
        let program = folder.path().join("program");
        let mut command = Command::new(compiler);
        command.args(flags).args(["-Wall", "-Wextra", "-Wpedantic", "-Werror", "-I"]).arg(here.join("include"));
        command.arg(&source).args(["-x", "none", "-L"]).arg(&libraries).args(link).arg("-o").arg(&program);
        succeed(&mut command);
        let mut run = Command::new(&program);
        let said = succeed(run.arg(&artefact).arg(&empty).env("LD_LIBRARY_PATH", &libraries));
        let driver = sparsec_cuda::devices();
        let expected = match &driver {
            Err(_) => "no driver\n",
            Ok(devices) if devices.is_empty() => "no device\n",
            Ok(_) => said.as_str(),
        };
        assert_eq!(said, expected, "{driver:?}");
    }
}
