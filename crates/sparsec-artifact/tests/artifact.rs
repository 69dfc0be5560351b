//! A model through backend, artefact and runtime.

mod common;

use std::path::Path;

use common::*;
use sparsec_artifact::{ArtifactError, Manifest, header};
use sparsec_llvm::Target;
use sparsec_runtime::{Model, RuntimeError, Status, Tensor};
use sparsec_tir::{ConstantData, Expr};

/// A library for one CPU with a libc.
const PLAIN: sparsec_abi::Features = sparsec_abi::Features { heap: true, profile: false, levels: false };

fn input(rows: i64) -> Tensor {
    let data: Vec<f32> = (0..rows * WIDTH).map(|i| (i % 17) as f32 * 0.5 - 4.0).collect();
    Tensor::from_slice(&[rows, WIDTH], &data)
}

#[test]
fn any_batch_and_any_number_of_threads() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = build(dir.path(), "tiny").expect("built");
    let mut model = Model::load(files.shared_library.expect("asked for"), "tiny").expect("loads");
    assert_eq!(model.symbols(), ["batch"]);
    assert_eq!(model.inputs()[0].name, "x");
    assert_eq!(model.inputs()[0].extents, [-1, WIDTH]);
    assert_eq!(model.outputs()[0].dtype.name(), "f32");
    for threads in [1, 3, 2] {
        model.set_threads(threads).expect("threads");
        for rows in [1, 7, 0, 64, 2] {
            let x = input(rows);
            let outputs = model.run(std::slice::from_ref(&x)).expect("runs");
            assert_eq!(outputs[0].shape(), [rows, WIDTH]);
            let expected = expected(x.as_slice().expect("f32"));
            assert_eq!(outputs[0].as_slice::<f32>(), Some(expected.as_slice()), "{rows} rows, {threads} threads");
        }
    }
}

#[test]
fn wrong_inputs_have_a_status() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = build(dir.path(), "tiny").expect("built");
    let mut model = Model::load(files.shared_library.expect("asked for"), "tiny").expect("loads");
    let status = |r: Result<Vec<Tensor>, RuntimeError>| match r.expect_err("refused") {
        RuntimeError::Status { status, .. } => status,
        other => panic!("{other}"),
    };
    assert_eq!(status(model.run(&[Tensor::from_slice(&[WIDTH], &[0f32; 12])])), Status::Rank);
    assert_eq!(status(model.run(&[Tensor::from_slice(&[1, WIDTH], &[0i32; 12])])), Status::Dtype);
    assert_eq!(status(model.run(&[Tensor::from_slice(&[1, 4], &[0f32; 4])])), Status::Extent);
    assert!(matches!(model.run(&[]), Err(RuntimeError::InputCount { expected: 1, found: 0 })));
    assert!(model.arena_bytes(&[-1], 1).expect("one symbol").is_none());
    assert!(model.arena_bytes(&[3], 0).expect("one symbol").is_none());
    // Two launches share one slot of 64 bytes a row; each worker has 64 bytes of scratch.
    assert_eq!(model.arena_bytes(&[3], 2).expect("one symbol"), Some(3 * 64 + 2 * 64));
    assert!(matches!(Model::load(dir.path().join("libtiny.so"), "other"), Err(RuntimeError::Symbol { .. })));
}

#[test]
fn launches_are_timed_where_asked_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let plain = build(dir.path(), "tiny").expect("built");
    let plain = Model::load(plain.shared_library.expect("asked for"), "tiny").expect("loads");
    assert_eq!(plain.profile().expect("no error"), None);
    let host = Target::host().expect("this machine");
    let timed = build_with(dir.path(), &program("timed"), &Weights, &host, true).expect("built");
    let manifest = std::fs::read(timed.manifest.expect("asked for")).expect("a file");
    let manifest: Manifest = serde_json::from_slice(&manifest).expect("a manifest");
    assert!(manifest.profile);
    let mut model = Model::load(timed.shared_library.expect("asked for"), "timed").expect("loads");
    let launches = manifest.launches.len();
    assert_eq!(model.profile().expect("no error"), Some(vec![0; launches].as_slice()));
    // So many rows that the clock sees them.
    model.run(&[input(1000)]).expect("runs");
    assert!(model.profile().expect("no error").is_some_and(|ns| ns.len() == launches && ns.iter().any(|&t| t > 0)));
}

#[test]
fn two_builds_give_the_same_bytes() {
    let (one, two) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    // What the compiler driver and the linker could take for syntax.
    let two = two.path().join("a, b <c>");
    build(one.path(), "tiny").expect("built");
    build(&two, "tiny").expect("built");
    let names = list(one.path());
    assert_eq!(names, ["libtiny.a", "libtiny.so", "tiny.h", "tiny.json", "tiny.o", "tiny.pc", "tiny_weights.o"]);
    for name in names {
        let read = |d: &Path| std::fs::read(d.join(&name)).expect("read");
        assert_eq!(read(one.path()), read(&two), "{name}");
    }
}

fn list(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("listed")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Gives fewer bytes than announced.
struct Short;

impl ConstantData for Short {
    fn write(&self, _index: usize, out: &mut dyn std::io::Write) -> std::io::Result<()> {
        out.write_all(&[0; 3])
    }
}

#[test]
fn an_error_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Target::host().expect("this machine");
    let error = build_for(dir.path(), &program("tiny"), &Short, &target).expect_err("refused");
    assert!(matches!(error, ArtifactError::ConstantSize { expected: 48, found: 3, .. }));
    assert_eq!(list(dir.path()), [""; 0]);

    let mut large = program("tiny");
    large.constants[1].bytes = 3 << 30;
    let error = build_for(dir.path(), &large, &Weights, &target).expect_err("refused");
    assert!(matches!(error, ArtifactError::TooLarge { .. }));
    assert_eq!(list(dir.path()), [""; 0]);
}

#[test]
fn objects_for_another_architecture() {
    let dir = tempfile::tempdir().expect("a directory");
    let target = Target::new(Some("aarch64-unknown-linux-gnu"), "cortex-a72").expect("known");
    let program = program("tiny");
    let emitted = sparsec_llvm::emit(&program, &target, sparsec_llvm::EmitOptions::default()).expect("compiles");
    let code = sparsec_artifact::Code { object: &emitted.object, assembly: None, llvm_ir: None };
    let mut options = sparsec_artifact::ArtifactOptions::new(target_info(&target));
    options.shared_library = false;
    let files = sparsec_artifact::write(dir.path(), &program, &Weights, &code, &options, serde_json::Value::Null)
        .expect("built");
    let archive = std::fs::read(files.static_library.expect("asked for")).expect("read");
    assert!(archive.starts_with(b"!<arch>\n"));
}

#[test]
fn the_manifest_reads_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = build(dir.path(), "tiny").expect("built");
    let text = std::fs::read_to_string(files.manifest.expect("asked for")).expect("read");
    let manifest: Manifest = serde_json::from_str(&text).expect("parses");
    assert_eq!(manifest.inputs[0].shape, ["batch", "12"]);
    assert_eq!(manifest.constant_bytes, 96);
    assert_eq!(manifest.arena_bytes, "batch * 64");
    assert_eq!(manifest.scratch_bytes, 64);
    assert_eq!(manifest.launches, ["affine", "relu"]);
}

#[test]
fn names_cannot_leave_the_comment() {
    let mut p = program("tiny");
    p.inputs[0].name = "x */ int main(void)\n{".into();
    let text = header(&p, PLAIN, "x86-64-v3");
    let comment = text.split("#ifndef").next().expect("the banner");
    assert_eq!(comment.matches("*/").count(), 1);
    assert_eq!(comment.lines().filter(|l| l.contains("int main")).count(), 1);
}

#[test]
fn header_of_the_tiny_model() {
    insta::assert_snapshot!(header(&program("tiny"), PLAIN, "x86-64-v3"));
}

#[test]
fn undefined_symbols_of_a_kernel_are_refused() {
    let mut p = program("tiny");
    p.outputs[0].shape[0] = Expr::Param(sparsec_tir::ParamId(7));
    let target = Target::host().expect("this machine");
    assert!(sparsec_llvm::emit(&p, &target, sparsec_llvm::EmitOptions::default()).is_err());
}
