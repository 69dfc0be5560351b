//! Sequences and optional values as inputs and outputs.

use sparsec_graph::TensorData;
use sparsec_onnx::Options;

use crate::model::{FLOAT, Model, int, read};

/// Makes a sequence, or an optional value, of an input.
fn wrapped(mut model: Model, name: &str, optional: bool) -> Model {
    let input = model.graph().input.iter_mut().find(|input| input.name == name).expect("there is such an input");
    let ty = input.type_.take().expect("it has a type");
    let new = input.type_.mut_or_insert_default();
    let elem = if optional { &mut new.mut_optional_type().elem_type } else { &mut new.mut_sequence_type().elem_type };
    *elem = Some(ty).into();
    model
}

fn options(name: &str, items: &[Option<&[i64]>]) -> Options {
    let items = items.iter().map(|item| item.map(<[i64]>::to_vec)).collect();
    Options { items: [(name.to_owned(), items)].into(), ..Options::default() }
}

fn joined() -> Model {
    let model = Model::new(17).input("x", FLOAT, "n 2").node("ConcatFromSequence", "x", "y", vec![int("axis", 0)]);
    wrapped(model.node("Identity", "x", "z", vec![]).output("y").output("z"), "x", false)
}

#[test]
fn a_sequence_is_numbered_ports() {
    let graph = read(joined().bytes(), &options("x", &[None, Some(&[1, 2])])).expect("is read");
    let inputs: Vec<&str> = graph.inputs().iter().map(|&v| graph.value(v).name.as_str()).collect();
    let outputs: Vec<&str> = graph.outputs().iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!((inputs, outputs), (vec!["x.0", "x.1"], vec!["y", "z.0", "z.1"]));
    let items = [TensorData::f32(&[2, 2], vec![1., 2., 3., 4.]), TensorData::f32(&[1, 2], vec![5., 6.])];
    let results = sparsec_graph::interpret(&graph, &items).expect("runs");
    assert_eq!(results[0], TensorData::f32(&[3, 2], vec![1., 2., 3., 4., 5., 6.]));
    assert_eq!(results[2], items[1]);
}

#[test]
fn an_optional_value_is_there_or_not() {
    let model = Model::new(18).input("x", FLOAT, "2").node("OptionalHasElement", "x", "y", vec![]).output("y");
    let model = wrapped(model, "x", true);
    for (items, there) in [(&[][..], 0), (&[None][..], 1)] {
        let graph = read(model.bytes(), &options("x", items)).expect("is read");
        assert_eq!(graph.inputs().len(), items.len());
        let inputs = vec![TensorData::f32(&[2], vec![0.; 2]); items.len()];
        assert_eq!(sparsec_graph::interpret(&graph, &inputs).expect("runs")[0].as_i64(), Some(vec![there]));
    }
    assert!(read(model.bytes(), &options("x", &[None, None])).is_err());
}

#[test]
fn what_is_in_a_sequence_must_be_said() {
    let error = joined().error();
    assert!(error.contains("--items x=N"), "{error}");
    let error = read(joined().bytes(), &options("y", &[])).expect_err("there is no such sequence").to_string();
    assert!(error.contains("no input named `y`"), "{error}");
    let error = read(joined().bytes(), &options("x", &[Some(&[1, 3])])).expect_err("does not fit").to_string();
    assert!(error.contains("which the model does not take"), "{error}");
}
