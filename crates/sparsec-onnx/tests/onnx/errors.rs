//! What is said of models that can't be compiled: each of these is what a person sees.

use insta::assert_snapshot;

use crate::model::{FLOAT, INT64, Model, int};

#[test]
fn an_operator_that_is_not_supported() {
    let model = Model::new(17)
        .input("x", FLOAT, "batch 3")
        .node("Relu", "x", "a", vec![])
        .node("ImageDecoder", "a", "b", vec![])
        .output("b");
    assert_snapshot!(model.error());
}

#[test]
fn operands_of_the_wrong_type() {
    let model = Model::new(17)
        .input("x", FLOAT, "batch 3")
        .input("i", INT64, "batch 3")
        .node("Add", "x i", "sum", vec![])
        .node("Erf", "i", "erf", vec![])
        .output("sum")
        .output("erf");
    assert_snapshot!(model.error());
}

#[test]
fn shapes_that_do_not_fit() {
    let model = Model::new(17)
        .input("x", FLOAT, "batch 3")
        .weights("w", &[2, 2])
        .weights("c", &[4])
        .node("MatMul", "x w", "product", vec![])
        .node("Add", "x c", "sum", vec![])
        .output("product")
        .output("sum");
    assert_snapshot!(model.error());
}

#[test]
fn dimensions_and_values_that_must_be_known() {
    let model = Model::new(18)
        .input("x", FLOAT, "batch length")
        .input("shape", INT64, "2")
        .node("Shape", "x", "own", vec![])
        .node("CenterCropPad", "x own", "middle", vec![])
        .node("Reshape", "x shape", "other", vec![])
        .output("middle")
        .output("other");
    assert_snapshot!(model.error());
}

#[test]
fn everything_at_once() {
    let model = Model::new(17)
        .input("x", FLOAT, "batch 3")
        .input("i", INT64, "2")
        .weights("w", &[2, 2])
        .node("ImageDecoder", "x", "text", vec![])
        .node("Relu", "text", "follows", vec![])
        .node("MatMul", "x w", "product", vec![])
        .node("Add", "x i", "sum", vec![])
        .node("Softmax", "x", "soft", vec![int("axis", 5)])
        .output("follows")
        .output("product")
        .output("sum")
        .output("soft");
    assert_snapshot!(model.error());
}
