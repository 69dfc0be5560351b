//! Functions that a model defines.

use onnx_protobuf::{AttributeProto, FunctionProto, NodeProto};
use sparsec_graph::TensorData;

use crate::model::{FLOAT, Model, float};

fn node(domain: &str, op: &str, inputs: &str, output: &str, attribute: Vec<AttributeProto>) -> NodeProto {
    NodeProto {
        domain: domain.into(),
        op_type: op.into(),
        input: inputs.split_whitespace().map(str::to_owned).collect(),
        output: vec![output.into()],
        attribute,
        ..Default::default()
    }
}

fn function(name: &str, inputs: &str, outputs: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    FunctionProto {
        name: name.into(),
        domain: "local".into(),
        input: names(inputs),
        output: names(outputs),
        node: nodes,
        ..Default::default()
    }
}

/// `Leaky(x) = LeakyRelu(x)` with a slope of its own name, and `Twice(x) = Leaky(Leaky(x))` with a default slope.
fn functions() -> Vec<FunctionProto> {
    let reference = |name: &str, to: &str| AttributeProto { ref_attr_name: to.into(), ..float(name, 0.0) };
    let mut leaky =
        function("Leaky", "x", "y", vec![node("", "LeakyRelu", "x", "y", vec![reference("alpha", "slope")])]);
    leaky.attribute.push("slope".into());
    let call = |input: &str, output: &str| node("local", "Leaky", input, output, vec![reference("slope", "slope")]);
    let mut twice = function("Twice", "x", "y", vec![call("x", "inner"), call("inner", "y")]);
    twice.attribute_proto.push(float("slope", 0.5));
    vec![leaky, twice, function("Same", "x unused", "x", vec![])]
}

fn model(calls: Vec<NodeProto>) -> Model {
    let mut model = Model::new(17).input("x", FLOAT, "2").output("z");
    model.graph().node = calls;
    model.proto.functions = functions();
    model
}

#[test]
fn calls_are_replaced_with_the_attributes_that_they_give() {
    let x = [TensorData::f32(&[2], vec![-8.0, 8.0])];
    let run = |calls| model(calls).run(&x).as_f32().expect("f32").to_vec();
    assert_eq!(run(vec![node("local", "Twice", "x", "z", vec![])]), [-2.0, 8.0]);
    assert_eq!(run(vec![node("local", "Twice", "x", "z", vec![float("slope", 0.25)])]), [-0.5, 8.0]);
    // Two calls of the same function, and one that only passes on.
    let calls = vec![
        node("local", "Twice", "x", "inner", vec![]),
        node("local", "Same", "inner", "same", vec![]),
        node("local", "Twice", "same", "z", vec![]),
    ];
    assert_eq!(run(calls), [-0.5, 8.0]);
}

#[test]
fn functions_that_call_themselves_are_refused() {
    let mut model = model(vec![node("local", "Endless", "x", "z", vec![])]);
    let again = node("local", "Endless", "x", "y", vec![]);
    model.proto.functions.push(function("Endless", "x", "y", vec![again]));
    assert!(model.error().contains("call each other"), "{}", model.error());
    // Each calls the next twice: 2^40 nodes.
    let mut model = model_of_doubling(40);
    model.graph().node = vec![node("local", "F0", "x", "z", vec![])];
    assert!(model.error().contains("does not justify"), "{}", model.error());
}

fn model_of_doubling(count: usize) -> Model {
    let mut model = model(vec![]);
    for i in 0..count {
        let next = format!("F{}", i + 1);
        let body = vec![node("local", &next, "x", "a", vec![]), node("local", &next, "a", "y", vec![])];
        model.proto.functions.push(function(&format!("F{i}"), "x", "y", body));
    }
    model
}
