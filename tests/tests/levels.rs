//! One library for several CPUs: which code runs on which machine, and that all of it computes the same.
//!
//! Machines below this one are emulated by `qemu-x86_64`.
#![cfg(target_arch = "x86_64")]

use std::path::{Path, PathBuf};
use std::process::Command;

use sparsec::graph::TensorData;
use sparsec::{CompileOptions, Emit, ModelSource, Output, Silent, Target};
use sparsec_demo::Random;
use sparsec_tests::models::digits;
use sparsec_tests::tools::{c_sources, present, succeed};

const SHAPE: [usize; 4] = [5, 1, 8, 8];

fn images() -> Vec<f32> {
    Random::new(7).normal(4.0, SHAPE.iter().product())
}

/// Compiles the digits model for CPUs, and the program; returns its path.
fn build(folder: &Path, cpus: &str) -> PathBuf {
    let mut targets = Target::levels(None, cpus).expect("known").into_iter();
    let mut options = CompileOptions::new(targets.next().expect("a CPU"));
    options.levels = targets.collect();
    options.name = Some("digits".to_owned());
    let emit = [Emit::Static, Emit::Shared, Emit::Header].into();
    options.output = Some(Output { folder: folder.to_path_buf(), emit });
    let source = ModelSource::File(digits().join("digits_pruned.onnx"));
    let compiled = sparsec::compile(source, &options, &mut Silent).expect("compiles");
    let named: Vec<&str> = compiled.inspection.levels.iter().map(|level| level.cpu.as_str()).collect();
    assert_eq!(named.join(","), cpus);
    for file in ["digits.json", "digits.h"] {
        let text = std::fs::read_to_string(folder.join(file)).expect("written");
        let spaced = cpus.replace(',', ", ");
        assert!(text.contains(cpus) || text.contains(&spaced), "{file} does not name the CPUs");
    }
    let program = folder.join("levels");
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-static", "-I"]).arg(folder);
    succeed(cc.arg(c_sources().join("levels.c")).arg(folder.join("libdigits.a")).arg("-o").arg(&program));
    let bytes: Vec<u8> = images().iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(folder.join("images"), bytes).expect("written");
    program
}

/// Runs the program; the CPU that it tells must be this one, and its results the interpreter's.
fn check(mut command: Command, folder: &Path, cpu: &str) {
    let said = succeed(command.arg(folder.join("images")));
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(cpu), "{command:?}");
    let got: Vec<f32> = lines.map(|line| line.parse().expect("a number")).collect();
    let graph = sparsec_onnx::read_file(digits().join("digits_pruned.onnx"), &Default::default()).expect("reads");
    let expected = sparsec::graph::interpret(&graph, &[TensorData::f32(&SHAPE, images())]).expect("interprets");
    let expected = expected[0].as_f32().expect("f32");
    let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected.iter()) {
        assert!((got - expected).abs() <= 1e-5 * largest, "{cpu}: {got} is not {expected}");
    }
}

/// What this machine has of the levels.
fn highest_here() -> Option<&'static str> {
    let v2 = is_x86_feature_detected!("sse4.2") && is_x86_feature_detected!("popcnt");
    let v3 = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe");
    let v4 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl");
    match (v2, v3, v4) {
        (true, true, true) => Some("x86-64-v4"),
        (true, true, false) => Some("x86-64-v3"),
        (true, false, _) => Some("x86-64-v2"),
        _ => None,
    }
}

#[test]
fn this_machine_gets_the_highest_that_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = build(folder.path(), "x86-64-v2,x86-64-v3,x86-64-v4");
    if let Some(cpu) = highest_here() {
        check(Command::new(program), folder.path(), cpu);
    }
}

#[test]
fn older_machines_get_less() {
    if !present(&["qemu-x86_64"], "older processors") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let on = |machine: &str, program: &Path| {
        let mut command = Command::new("qemu-x86_64");
        command.args(["-cpu", machine]).arg(program);
        command
    };
    let program = build(folder.path(), "x86-64-v2,x86-64-v3,x86-64-v4");
    check(on("Nehalem", &program), folder.path(), "x86-64-v2");
    check(on("Haswell", &program), folder.path(), "x86-64-v3");
    // With no code that it could run, a machine is told so.
    let program = build(folder.path(), "x86-64-v3,x86-64-v4");
    check(on("Haswell", &program), folder.path(), "x86-64-v3");
    let refused = on("Nehalem", &program).arg(folder.path().join("images")).output().expect("starts");
    assert_eq!(refused.status.code(), Some(3));
    assert_eq!(String::from_utf8_lossy(&refused.stdout), "the library has no code for this machine's CPU\n");
}

#[test]
fn shared_libraries_run_on_several_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    build(folder.path(), "x86-64-v2,x86-64-v3");
    let library = folder.path().join("libdigits.so");
    let mut model = sparsec_runtime::Model::load(&library, "digits").expect("loads");
    let x = sparsec_runtime::Tensor::from_slice(&SHAPE.map(|d| d as i64), &images());
    let alone = model.run(std::slice::from_ref(&x)).expect("runs");
    model.set_threads(3).expect("threads");
    let together = model.run(std::slice::from_ref(&x)).expect("runs");
    assert_eq!(alone[0].bytes(), together[0].bytes());
}
