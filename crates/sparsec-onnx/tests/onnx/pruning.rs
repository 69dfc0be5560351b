//! Pruning by magnitude.

use onnx_protobuf::{Message, ModelProto};
use sparsec_onnx::{PrunePattern, proto, prune};

use crate::model::{FLOAT, Model, int, tensor};

/// Two convolutions and a linear layer; the first convolution is left alone.
fn model() -> Model {
    // Hashed numbers: no two magnitudes, nor two sums of magnitudes, are equal.
    let hash = |i: u32| {
        let h = i.wrapping_mul(0x9e37_79b9);
        (h ^ (h >> 15)).wrapping_mul(0x85eb_ca6b) >> 8
    };
    let values = |n: u32| (0..n).map(|i| hash(i) as f32 / (1 << 23) as f32 - 1.0).collect::<Vec<_>>();
    Model::new(13)
        .input("x", FLOAT, "1 16 8 8")
        .floats("first", &[16, 16, 3, 3], &values(2304))
        .floats("second", &[16, 16, 3, 3], &values(2304))
        .floats("small", &[4, 4], &values(16))
        .floats("linear", &[8, 128], &values(1024))
        .node("Conv", "x first", "a", vec![])
        .node("Conv", "a second", "b", vec![])
        .node("Gemm", "b linear", "c", vec![int("transB", 1)])
        .node("MatMul", "c small", "y", vec![])
        .output("y")
}

/// The weights by name after pruning, as the independent decoder sees them, and the report's names.
fn pruned(pattern: &str) -> (ModelProto, Vec<String>) {
    let pattern: PrunePattern = pattern.parse().expect("a pattern");
    let mut model = proto::decode(model().bytes().into()).expect("the model is decoded");
    let report = prune(&mut model, None, &pattern).expect("the model is pruned");
    let model = ModelProto::parse_from_bytes(&proto::encode(&model)).expect("the model is decoded");
    (model, report.tensors.into_iter().map(|t| t.name).collect())
}

fn weight(model: &ModelProto, name: &str) -> Vec<f32> {
    let tensor = model.graph.initializer.iter().find(|t| t.name == name).expect("a weight");
    match tensor.float_data.is_empty() {
        true => tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect(),
        false => tensor.float_data.clone(),
    }
}

fn zeros(values: &[f32]) -> usize {
    values.iter().filter(|v| **v == 0.0).count()
}

#[test]
fn unstructured() {
    let (model, names) = pruned("un:0.75");
    assert_eq!(names, ["second", "linear"]);
    assert_eq!(zeros(&weight(&model, "first")), 0);
    assert_eq!(zeros(&weight(&model, "small")), 0);
    let kept = weight(&model, "second");
    let smallest = kept.iter().filter(|v| **v != 0.0).fold(f32::MAX, |m, v| m.min(v.abs()));
    let original = weight(&ModelProto::parse_from_bytes(&self::model().bytes()).expect("a model"), "second");
    for (kept, original) in kept.iter().zip(&original) {
        assert_eq!(*kept, if original.abs() >= smallest { *original } else { 0.0 });
    }
    assert_eq!(zeros(&kept), 1728);
}

#[test]
fn weights_in_constant_nodes() {
    let mut written = model();
    let graph = written.graph();
    let at = graph.initializer.iter().position(|t| t.name == "linear").expect("a weight");
    let mut value = graph.initializer.remove(at);
    value.name.clear();
    let attributes = vec![tensor("value", value)];
    let mut written = written.node("Constant", "", "linear", attributes);
    let nodes = &mut written.graph().node;
    nodes.rotate_right(1);
    let mut model = proto::decode(written.bytes().into()).expect("the model is decoded");
    let report = prune(&mut model, None, &"un:0.75".parse().expect("a pattern")).expect("the model is pruned");
    let names: Vec<_> = report.tensors.into_iter().map(|t| t.name).collect();
    assert_eq!(names, ["second", "linear"]);
    let model = ModelProto::parse_from_bytes(&proto::encode(&model)).expect("the model is decoded");
    assert_eq!(zeros(&weight(&model, "linear")), 768);
    assert!(model.graph.node.iter().all(|n| n.op_type != "Constant"));
}

#[test]
fn two_of_four_along_input_channels() {
    let (model, _) = pruned("nm:2:4");
    let conv = weight(&model, "second");
    for (out, position) in (0..16).flat_map(|o| (0..9).map(move |p| (o, p))) {
        let channels: Vec<f32> = (0..16).map(|c| conv[(out * 16 + c) * 9 + position]).collect();
        assert!(channels.chunks(4).all(|group| zeros(group) == 2));
    }
    assert!(weight(&model, "linear").chunks(4).all(|group| zeros(group) == 2));
}

#[test]
fn blocks_of_outputs() {
    let (model, _) = pruned("block:4:1:0.5");
    let linear = weight(&model, "linear");
    assert_eq!(zeros(&linear), 512);
    for (block, column) in (0..2).flat_map(|b| (0..128).map(move |c| (b, c))) {
        let rows: Vec<f32> = (0..4).map(|r| linear[(block * 4 + r) * 128 + column]).collect();
        assert!(matches!(zeros(&rows), 0 | 4));
    }
}

#[test]
fn whole_channels() {
    let (model, _) = pruned("channel:0.5");
    let rows = |name: &str, columns| weight(&model, name).chunks(columns).map(zeros).collect::<Vec<_>>();
    assert_eq!(rows("second", 144).into_iter().filter(|&z| z == 144).count(), 8);
    assert_eq!(rows("linear", 128).into_iter().filter(|&z| z == 128).count(), 4);
}

#[test]
fn extents_that_do_not_fit_stay_dense() {
    let (_, names) = pruned("nm:1:5");
    assert_eq!(names, [""; 0]);
    let (_, names) = pruned("block:16:1:0.5");
    assert_eq!(names, ["second"]);
}

#[test]
fn patterns_as_text() {
    for text in ["un:0.9", "nm:2:4", "block:4:1:0.8", "channel:0.5"] {
        assert_eq!(text.parse::<PrunePattern>().map(|p| p.to_string()).as_deref(), Ok(text));
    }
    for text in ["", "un", "un:2", "un:-0.1", "un:nan", "nm:4:2", "nm:0:4", "block:4:1", "channel:a", "un:0.5:1"] {
        let error = text.parse::<PrunePattern>().expect_err(text).to_string();
        assert!(error.contains("is no pattern"), "{error}");
    }
}

#[test]
fn everything_but_the_weights_is_kept() {
    let original = ModelProto::parse_from_bytes(&model().bytes()).expect("a model");
    let (mut model, _) = pruned("un:0.5");
    for (new, old) in model.graph.mut_or_insert_default().initializer.iter_mut().zip(&original.graph.initializer) {
        assert_eq!((&new.name, &new.dims), (&old.name, &old.dims));
        *new = old.clone();
    }
    assert_eq!(model, original);
}

#[test]
fn recurrent_weights() {
    let model = Model::new(14)
        .input("x", FLOAT, "3 1 16")
        .weights("w", &[2, 64, 16])
        .weights("r", &[2, 64, 16])
        .node("LSTM", "x w r", "y", vec![int("hidden_size", 16)])
        .output("y");
    let pattern: PrunePattern = "nm:2:4".parse().expect("a pattern");
    let mut model = proto::decode(model.bytes().into()).expect("the model is decoded");
    let report = prune(&mut model, None, &pattern).expect("the model is pruned");
    assert_eq!(report.tensors.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["w", "r"]);
    let model = ModelProto::parse_from_bytes(&proto::encode(&model)).expect("the model is decoded");
    for name in ["w", "r"] {
        // Groups of four lie along the inputs.
        assert!(weight(&model, name).chunks(4).all(|group| zeros(group) == 2));
    }
}
