//! The digits networks, from their ONNX files to compiled code.

use sparsec::{CompileOptions, ModelSource, Silent, Target};
use sparsec_demo::{Digits, Network, accuracy};
use sparsec_tests::models::digits;

/// Largest difference to the interpreter, relative to the largest magnitude.
const TOLERANCE: f32 = 1e-5;

#[test]
fn compiled_code_agrees_with_the_interpreter_and_reads_digits() {
    let images = Digits::read(&digits()).expect("the images");
    assert_eq!(images.images.len(), 359);
    for (name, least) in [("digits_dense", 0.98), ("digits_pruned", 0.97)] {
        let file = digits().join(format!("{name}.onnx"));
        let folder = tempfile::tempdir().expect("a folder");
        let mut network = Network::compile(name, &file, folder.path(), &[]).expect("compiles");
        let options = CompileOptions::new(Target::host().expect("a target"));
        let graph = sparsec::read(&ModelSource::File(file), &options, &mut Silent).expect("reads");
        for image in images.images.iter().step_by(40) {
            let shape = image.shape().iter().map(|&d| d as usize).collect();
            let bytes = image.bytes().to_vec().into();
            let input = sparsec::graph::TensorData { dtype: sparsec::graph::DType::F32, shape, bytes };
            let expected = sparsec::graph::interpret(&graph, &[input]).expect("interprets");
            let expected = expected[0].as_f32().expect("f32").into_owned();
            let got = network.run(std::slice::from_ref(image)).expect("runs");
            let got = got[0].as_slice::<f32>().expect("f32");
            let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (got, expected) in got.iter().zip(&expected) {
                assert!((got - expected).abs() <= TOLERANCE * largest, "{name}: {got} is not {expected}");
            }
        }
        let accuracy = accuracy(&mut network, &images).expect("runs");
        assert!(accuracy >= least, "{name}: {accuracy}");
    }
}

#[test]
fn the_pruned_network_is_stored_sparse() {
    let folder = tempfile::tempdir().expect("a folder");
    let compile = |name: &str| {
        let file = digits().join(format!("{name}.onnx"));
        Network::compile(name, &file, &folder.path().join(name), &[("batch", 1)]).expect("compiles")
    };
    let (dense, pruned) = (compile("digits_dense"), compile("digits_pruned"));
    assert!(pruned.inspection.kept_macs * 4 < dense.inspection.kept_macs);
    assert!(pruned.inspection.constant_bytes * 2 < dense.inspection.constant_bytes);
    assert!(dense.inspection.weights.iter().all(|w| w.chosen == "dense"));
    assert!(pruned.inspection.weights.iter().any(|w| w.chosen != "dense"));
}
