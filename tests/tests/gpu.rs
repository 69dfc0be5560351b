//! Small models compiled for a GPU and run whole on the simulator, against the interpreter of the graph and what the model's
//! own tests expect.

use std::path::Path;

use sparsec::graph::TensorData;
use sparsec::plan::{Plan, Session, Tensor};
use sparsec::{Code, CompileOptions, Gpu, ModelSource, Output, Silent, Simulated};
use sparsec_demo::Random;
use sparsec_onnx::proto;
use sparsec_tests::models;

/// Compiles a model into files, and loads these.
fn load(name: &str, bytes: &[u8], gpu: Gpu) -> Session<Simulated> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut options = CompileOptions::new(gpu);
    options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [].into() });
    let source = ModelSource::Bytes { name: name.into(), bytes: bytes.to_vec().into(), folder: None };
    let compiled = sparsec::compile(source, &options, &mut Silent).expect("compiles");
    let names: Vec<_> = compiled.files.iter().filter_map(|f| f.file_name()?.to_str()).collect();
    let name = &compiled.name;
    assert_eq!(names, [".ptx", ".plan.json", ".json", ".weights"].map(|end| format!("{name}{end}")));
    assert!(matches!(compiled.code, Code::Cuda(_)));
    open(folder.path(), name)
}

fn open(folder: &Path, name: &str) -> Session<Simulated> {
    let read = |end: &str| std::fs::read_to_string(folder.join(format!("{name}{end}"))).expect("written");
    let plan = Plan::from_json(&read(".plan.json")).expect("a plan");
    let mut weights = std::fs::File::open(folder.join(format!("{name}.weights"))).expect("written");
    Session::new(plan, &read(".ptx"), &mut weights, Simulated::new()).expect("loads")
}

fn tensor(data: &TensorData) -> Tensor {
    let shape = data.shape.iter().map(|&d| d as i64).collect();
    Tensor { dtype: data.dtype.name().into(), shape, bytes: data.bytes.to_vec() }
}

fn f32s(tensor: &Tensor) -> Vec<f32> {
    tensor.bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

#[test]
fn small_models_agree_with_the_interpreter() {
    let shapes: [(&str, &[&[usize]]); 4] = [
        ("convolutional", &[&[1, 4, 8, 6]]),
        ("transformer", &[&[1, 1, 16], &[1, 7, 16], &[3, 17, 16]]),
        ("perceptron", &[&[1, 4, 6], &[5, 4, 6]]),
        ("text_detector", &[&[1, 3, 8, 12]]),
    ];
    for (name, model) in models::all() {
        let bytes = proto::encode(&model);
        let graph = sparsec_onnx::read_bytes(bytes.clone().into(), None, &Default::default()).expect("reads");
        for gpu in [Gpu::Sm80, Gpu::Sm90a] {
            let mut session = load(name, &bytes, gpu);
            for shape in shapes.iter().find(|s| s.0 == name).expect("listed").1 {
                let input = TensorData::f32(shape, Random::new(7).normal(1.0, shape.iter().product()));
                let found = session.run(&[tensor(&input).given()]).unwrap_or_else(|e| panic!("{name} {shape:?}: {e}"));
                let expected = sparsec::graph::interpret(&graph, &[input]).expect("interprets");
                let (found, expected) = (f32s(&found[0]), expected[0].as_f32().expect("f32"));
                assert_eq!(found.len(), expected.len());
                let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (f, e) in found.iter().zip(expected.iter()) {
                    assert!((f - e).abs() <= 1e-5 * largest, "{name} {shape:?} on {gpu}: {f} is not {e}");
                }
            }
        }
    }
}

#[test]
fn extents_that_depend_on_data() {
    let bytes = proto::encode(&models::detector());
    let graph = sparsec_onnx::read_bytes(bytes.clone().into(), None, &Default::default()).expect("reads");
    let mut session = load("detector", &bytes, Gpu::Sm80);
    for (rows, seed) in [(9, 3), (1, 5), (40, 7)] {
        let input = TensorData::f32(&[rows, 5], Random::new(seed).normal(1.0, rows * 5));
        let found = session.run(&[tensor(&input).given()]).expect("runs");
        let kept = input.as_f32().expect("f32").chunks(5).filter(|row| row[0] > 0.0).count();
        assert_eq!(found[0].shape, [kept as i64, 3]);
        let expected = sparsec::graph::interpret(&graph, &[input]).expect("runs");
        for (f, e) in f32s(&found[0]).iter().zip(expected[0].as_f32().expect("f32").iter()) {
            assert!((f - e).abs() <= 1e-5, "{f} is not {e}");
        }
    }
}

#[test]
fn two_compilations_give_identical_bytes() {
    let (name, model) = models::all().into_iter().next().expect("a model");
    let files = [(); 2].map(|()| {
        let folder = tempfile::tempdir().expect("a folder");
        let mut options = CompileOptions::new(Gpu::Sm90a);
        options.output = Some(Output { folder: folder.path().to_path_buf(), emit: [].into() });
        let source = ModelSource::Bytes { name: name.into(), bytes: proto::encode(&model).into(), folder: None };
        let compiled = sparsec::compile(source, &options, &mut Silent).expect("compiles");
        let contents = |file: &std::path::PathBuf| std::fs::read(file).expect("written");
        compiled.files.iter().map(contents).collect::<Vec<_>>()
    });
    assert_eq!(files[0].len(), 4);
    assert!(files[0] == files[1]);
}
