//! Small models made in code: compiled code against the interpreter, at several sizes of the open dimensions.

use std::path::Path;

use sparsec::graph::TensorData;
use sparsec::{CompileOptions, Emit, ModelSource, Output, Silent, Target};
use sparsec_demo::Random;
use sparsec_onnx::proto;
use sparsec_runtime::{Model, Tensor};
use sparsec_tests::models;

fn compile(name: &str, bytes: Vec<u8>, folder: &Path) -> Model {
    let mut options = CompileOptions::new(Target::host().expect("a target"));
    options.output = Some(Output { folder: folder.to_path_buf(), emit: [Emit::Shared].into() });
    let source = ModelSource::Bytes { name: name.into(), bytes: bytes.into(), folder: None };
    let compiled = sparsec::compile(source, &options, &mut Silent).expect("compiles");
    Model::load(folder.join(format!("lib{}.so", compiled.name)), &compiled.name).expect("loads")
}

#[test]
fn compiled_code_agrees_with_the_interpreter() {
    let shapes: [(&str, &[&[usize]]); 4] = [
        ("convolutional", &[&[1, 4, 8, 6]]),
        ("transformer", &[&[1, 1, 16], &[1, 7, 16], &[3, 17, 16]]),
        ("perceptron", &[&[1, 4, 6], &[5, 4, 6]]),
        ("text_detector", &[&[1, 3, 8, 12], &[1, 3, 36, 20]]),
    ];
    for (name, model) in models::all() {
        let bytes = proto::encode(&model);
        let graph = sparsec_onnx::read_bytes(bytes.clone().into(), None, &Default::default()).expect("reads");
        let folder = tempfile::tempdir().expect("a folder");
        let mut native = compile(name, bytes, folder.path());
        for threads in [1, 2] {
            native.set_threads(threads).expect("threads");
            for shape in shapes.iter().find(|s| s.0 == name).expect("listed").1 {
                let values = Random::new(7).normal(1.0, shape.iter().product());
                let dims: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
                let got = native.run(&[Tensor::from_slice(&dims, &values)]).expect("runs");
                let expected =
                    sparsec::graph::interpret(&graph, &[TensorData::f32(shape, values)]).expect("interprets");
                let expected = expected[0].as_f32().expect("f32");
                let got = got[0].as_slice::<f32>().expect("f32");
                assert_eq!(got.len(), expected.len());
                let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (got, expected) in got.iter().zip(expected.iter()) {
                    assert!((got - expected).abs() <= 1e-5 * largest, "{name} {shape:?}: {got} is not {expected}");
                }
            }
        }
    }
}

#[test]
fn two_compilations_give_identical_bytes() {
    for (name, model) in models::all() {
        let files = [(); 2].map(|()| {
            let folder = tempfile::tempdir().expect("a folder");
            let mut options = CompileOptions::new(Target::host().expect("a target"));
            let emit = [Emit::Static, Emit::Shared, Emit::Header, Emit::Graph, Emit::Tir, Emit::Asm, Emit::Report];
            options.output = Some(Output { folder: folder.path().to_path_buf(), emit: emit.into() });
            let bytes = proto::encode(&model).into();
            let source = ModelSource::Bytes { name: name.into(), bytes, folder: None };
            let compiled = sparsec::compile(source, &options, &mut Silent).expect("compiles");
            let contents = compiled
                .files
                .iter()
                .map(|f| (f.file_name().map(ToOwned::to_owned), std::fs::read(f).expect("written")));
            contents.collect::<Vec<_>>()
        });
        assert_eq!(files[0].len(), 9);
        for (first, second) in files[0].iter().zip(&files[1]) {
            assert!(first == second, "{name}: {:?} differs", first.0);
        }
    }
}

#[test]
fn extents_that_depend_on_data() {
    let bytes = proto::encode(&models::detector());
    let graph = sparsec_onnx::read_bytes(bytes.clone().into(), None, &Default::default()).expect("reads");
    let folder = tempfile::tempdir().expect("a folder");
    let mut native = compile("detector", bytes, folder.path());
    for (rows, seed) in [(9, 3), (1, 5), (40, 7), (9, 8)] {
        let values = Random::new(seed).normal(1.0, rows * 5);
        let input = Tensor::from_slice(&[rows as i64, 5], &values);
        let got = native.run(std::slice::from_ref(&input)).expect("runs");
        let expected = sparsec::graph::interpret(&graph, &[TensorData::f32(&[rows, 5], values.clone())]).expect("runs");
        let kept = values.chunks(5).filter(|row| row[0] > 0.0).count();
        assert_eq!(got[0].shape(), [kept as i64, 3]);
        assert_eq!(native.result_shape(0).expect("an output"), [kept as i64, 3]);
        let expected = expected[0].as_f32().expect("f32");
        for (a, b) in got[0].as_slice::<f32>().expect("f32").iter().zip(expected.iter()) {
            assert!((a - b).abs() <= 1e-5, "{a} is not {b}");
        }
    }
    // No row is kept.
    let none = Tensor::from_slice(&[4, 5], &[-1.0f32; 20]);
    assert_eq!(native.run(&[none]).expect("runs")[0].shape(), [0, 3]);
}
