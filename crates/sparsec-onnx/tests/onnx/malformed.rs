//! Models that are wrong give errors that list everything, and never panic.

use insta::assert_snapshot;
use onnx_protobuf::{GraphProto, OperatorSetIdProto};
use proptest::prelude::*;
use sparsec_onnx::Options;

use crate::model::{FLOAT, Model, int, ints, read, string};

/// A small network with each kind of thing in it.
fn network() -> Model {
    Model::new(13)
        .input("x", FLOAT, "batch 3 8 8")
        .weights("w", &[4, 3, 3, 3])
        .weights("b", &[4])
        .weights("fc", &[4, 2])
        .ints("shape", &[0, -1])
        .node("Conv", "x w b", "conv", vec![ints("pads", &[1, 1, 1, 1]), ints("strides", &[2, 2]), int("group", 1)])
        .node("Relu", "conv", "relu", vec![])
        .node("MaxPool", "relu", "pool", vec![ints("kernel_shape", &[2, 2]), string("auto_pad", "SAME_UPPER")])
        .node("GlobalAveragePool", "pool", "mean", vec![])
        .node("Reshape", "mean shape", "flat", vec![])
        .node("MatMul", "flat fc", "y", vec![])
        .node("Shape", "y", "size", vec![])
        .node("ConstantOfShape", "size", "zeros", vec![])
        .output("y")
        .output("zeros")
}

#[test]
fn a_whole_network() {
    assert_snapshot!(network().text());
}

#[test]
fn all_unsupported_operators_at_once() {
    let mut model = Model::new(17)
        .input("x", FLOAT, "2")
        .node("Relu", "x", "a", vec![])
        .node("ImageDecoder", "a", "b", vec![])
        .node("Relu", "b", "c", vec![])
        .node("ImageDecoder", "c", "d", vec![])
        .output("d");
    model.graph().node[1].name = "find".into();
    model.graph().node[2].domain = "com.example".into();
    model.proto.opset_import.push(OperatorSetIdProto {
        domain: "com.example".into(),
        version: 3,
        ..Default::default()
    });
    assert_snapshot!(model.error(), @r"
    3 of the model's nodes are not supported:
      node `find`: operator ImageDecoder of ai.onnx 17 on f32[2]
      node `c`: operator Relu of com.example 3
      node `d`: operator ImageDecoder of ai.onnx 17
    Export the model without ImageDecoder, Relu, or replace them by supported operators.
    ");
}

#[test]
fn all_faults_at_once() {
    let model = Model::new(17)
        .input("x", FLOAT, "2 3")
        .weights("w", &[2, 2])
        .node("MatMul", "x w", "product", vec![])
        .node("Relu", "product", "skipped", vec![])
        .node("Transpose", "x", "turned", vec![ints("perm", &[0, 0])])
        .node("Relu", "nothing", "a", vec![])
        .node("Relu", "-", "b", vec![])
        .node("Concat", "x x", "c", vec![])
        .node("Softmax", "x", "d", vec![int("axis", 7)])
        .node("Flatten", "x", "x", vec![])
        .node("Gelu", "x", "e", vec![int("approximate", 1)])
        .node("MaxPool", "x", "f", vec![ints("kernel_shape", &[2])])
        .output("skipped")
        .output("missing");
    assert_snapshot!(model.error());
}

#[test]
fn inputs_and_outputs_have_names() {
    let mut model = Model::new(13).input("x", FLOAT, "2").input("y", FLOAT, "2").output("x").output("x");
    model.graph().input[1].name.clear();
    model.graph().output[1].name.clear();
    assert_snapshot!(model.error(), @r"
    the model cannot be compiled, for 2 reasons:
      input ``: it has no name
      output ``: it has no name
    ");
}

#[test]
fn versions_out_of_range() {
    let model = |version| Model::new(version).input("x", FLOAT, "2").node("Relu", "x", "y", vec![]).output("y");
    assert_snapshot!(model(0).error(), @r"
    operator set 0 of the model is not supported: supported are 1 to 25
    Convert the model, for example with `onnx.version_converter`.
    ");
    assert!(model(99).error().contains("operator set 99"));
}

#[test]
fn no_model_at_all() {
    let error = |bytes: &[u8]| read(bytes.to_vec(), &Options::default()).expect_err("refused").to_string();
    assert!(error(b"").contains("no graph"));
    assert!(error(b"hello, world").contains("not an ONNX model"));
    let mut empty = Model::new(13);
    empty.proto.graph = Some(GraphProto::new()).into();
    assert!(empty.error().contains("the model has no outputs"));
}

#[test]
fn truncated_and_inflated() {
    let bytes = network().bytes();
    for end in 0..bytes.len() {
        // A prefix that ends between fields is a model without a graph.
        assert!(read(bytes[..end].to_vec(), &Options::default()).is_err(), "{end} bytes");
    }
    // The length of the graph (field 7, of type 2), which is most of the file.
    let place = bytes.iter().position(|&b| b == 0x3a).expect("the graph") + 1;
    let mut inflated = bytes[..place].to_vec();
    inflated.extend([0xff, 0xff, 0xff, 0xff, 0x7f]);
    inflated.extend(&bytes[place..]);
    assert!(read(inflated, &Options::default()).is_err());
}

#[test]
fn absurd_extents() {
    for shape in ["1099511627776 1099511627776", "4611686018427387904 4 0", "1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1"] {
        let model = Model::new(13).input("x", FLOAT, shape).node("Relu", "x", "y", vec![]).output("y");
        assert!(model.read().is_err(), "{shape}");
    }
    let fill =
        Model::new(13).ints("shape", &[1 << 40, 1 << 40]).node("ConstantOfShape", "shape", "y", vec![]).output("y");
    assert!(fill.read().is_err());
    let range = Model::new(13)
        .ints("far", &[1 << 40])
        .ints("zero", &[0])
        .ints("one", &[1])
        .node("Range", "zero far one", "y", vec![])
        .output("y");
    assert!(range.error().contains("does not justify"));
}

#[test]
fn extents_that_multiply_without_end() {
    // Each step squares the extent: (a + b)^2^30 has a billion terms.
    let mut model = Model::new(13).input("x", FLOAT, "a b").node("Shape", "x", "s0", vec![]).ints("one", &[1, 1]);
    for i in 0..30 {
        model = model.node("Add", &format!("s{i} one"), &format!("t{i}"), vec![]).node(
            "Mul",
            &format!("t{i} t{i}"),
            &format!("s{}", i + 1),
            vec![],
        );
    }
    let model = model.node("ConstantOfShape", "s30", "y", vec![]).output("y");
    assert!(model.read().is_err());
}

#[test]
fn subgraphs_nested_deeply() {
    // A graph in an attribute of a node of a graph, many times over.
    let mut bytes = vec![];
    for _ in 0..2000 {
        let mut attribute = vec![0x32];
        push_length(&mut attribute, bytes.len());
        attribute.extend(&bytes);
        let mut node = vec![0x2a];
        push_length(&mut node, attribute.len());
        node.extend(&attribute);
        bytes = vec![0x0a];
        push_length(&mut bytes, node.len());
        bytes.extend(&node);
    }
    let mut model = vec![0x3a];
    push_length(&mut model, bytes.len());
    model.extend(&bytes);
    let error = read(model, &Options::default()).expect_err("refused").to_string();
    assert!(error.contains("recursion limit"), "{error}");
}

#[test]
fn nodes_that_contradict_themselves() {
    let error = Model::new(17).input("x", FLOAT, "2").node("Relu", "x x x", "y", vec![]).output("y").error();
    assert!(error.contains("it takes 1 inputs, not 3"), "{error}");
    let error = Model::new(17).input("x", FLOAT, "2").node("Add", "x x x", "y", vec![]).output("y").error();
    assert!(error.contains("it takes 2 inputs, not 3"), "{error}");
    for index in [2, 77, -3] {
        let model = Model::new(17).input("x", FLOAT, "2 3").ints("i", &[0, index]);
        let error = model.node("Gather", "x i", "y", vec![]).output("y").error();
        assert!(error.contains("an index is outside of 2 elements"), "{error}");
    }
    for hidden in [-4, 3, 1 << 40] {
        let error = Model::new(17)
            .input("x", FLOAT, "5 1 3")
            .floats("w", &[1, 8, 3], &[0.5; 24])
            .floats("r", &[1, 8, 2], &[0.5; 16])
            .node("LSTM", "x w r", "y", vec![int("hidden_size", hidden)])
            .output("y")
            .error();
        assert!(error.contains("hidden_size") && error.contains("those of 2 units"), "{error}");
    }
}

fn push_length(bytes: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        bytes.push(length as u8 | 0x80);
        length >>= 7;
    }
    bytes.push(length as u8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    /// Bytes changed at random: whatever comes out, it is a verified graph or an error.
    #[test]
    fn mutations_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
    ) {
        let mut bytes = network().bytes();
        for (place, value, kind) in changes {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = value,
                1 => bytes[at] ^= 1 << (value % 8),
                2 => bytes.insert(at, value),
                _ => { bytes.remove(at); }
            }
        }
        if let Ok(graph) = read(bytes, &Options::default()) {
            prop_assert!(sparsec_graph::verify(&graph).is_ok());
        }
    }
}
