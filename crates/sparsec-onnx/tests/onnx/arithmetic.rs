//! Remainders, bits, trigonometry, and forms of older operator sets; values by hand.

use sparsec_graph::{DType, TensorData};

use crate::model::{FLOAT, INT64, Model, float, int, ints, string};

const INT32: i32 = 6;

fn row(values: &[f32]) -> TensorData {
    TensorData::f32(&[values.len()], values.to_vec())
}

fn close(found: &TensorData, expected: &[f64]) {
    let values = found.as_f32().expect("an f32 result");
    assert_eq!(values.len(), expected.len());
    for (got, want) in values.iter().zip(expected) {
        let (got, error) = (f64::from(*got), 3e-7 * want.abs().max(1e-30));
        assert!((got - want).abs() <= error || got == *want, "{values:?} instead of {expected:?}");
    }
}

fn ints_of(values: &[i32]) -> TensorData {
    TensorData::from_vec(DType::I32, &[values.len()], values.to_vec())
}

#[test]
fn remainders_have_the_sign_of_the_divisor_or_of_the_dividend() {
    let model = |fmod| {
        Model::new(13)
            .input("x", INT32, "4")
            .input("y", INT32, "4")
            .node("Mod", "x y", "z", vec![int("fmod", fmod)])
            .output("z")
    };
    let (x, y) = (ints_of(&[5, -5, 5, -4]), ints_of(&[3, 3, -3, -2]));
    assert_eq!(model(0).run(&[x.clone(), y.clone()]).as_i64(), Some(vec![2, 1, -1, 0]));
    assert_eq!(model(1).run(&[x, y]).as_i64(), Some(vec![2, -2, 2, 0]));
    let model = Model::new(13)
        .input("x", FLOAT, "2")
        .floats("y", &[], &[1.5])
        .node("Mod", "x y", "z", vec![int("fmod", 1)])
        .output("z");
    close(&model.run(&[row(&[4.0, -4.0])]), &[1.0, -1.0]);
}

#[test]
fn bits() {
    let model = |op: &str, attributes| {
        Model::new(18).input("x", 2, "2").input("y", 2, "2").node(op, "x y", "z", attributes).output("z")
    };
    let bytes = |values: &[u8]| TensorData::from_vec(DType::U8, &[values.len()], values.to_vec());
    let run = |op: &str, attributes| {
        model(op, attributes).run(&[bytes(&[12, 255]), bytes(&[2, 3])]).as_i64().expect("integers")
    };
    assert_eq!(run("BitShift", vec![string("direction", "LEFT")]), [48, 248]);
    assert_eq!(run("BitShift", vec![string("direction", "RIGHT")]), [3, 31]);
    assert_eq!(run("BitwiseAnd", vec![]), [0, 3]);
    assert_eq!(run("BitwiseOr", vec![]), [14, 255]);
    assert_eq!(run("BitwiseXor", vec![]), [14, 252]);
    let not = Model::new(18).input("x", 2, "2").node("BitwiseNot", "x", "z", vec![]).output("z");
    assert_eq!(not.run(&[bytes(&[12, 255])]).as_i64(), Some(vec![243, 0]));
}

#[test]
fn inverse_and_hyperbolic_functions() {
    let check = |op: &str, x: &[f32], exact: fn(f64) -> f64| {
        let model = Model::new(22).input("x", FLOAT, "n").node(op, "x", "y", vec![]).output("y");
        let expected: Vec<f64> = x.iter().map(|&x| exact(f64::from(x))).collect();
        close(&model.run(&[row(x)]), &expected);
    };
    check("Asin", &[-1.0, -0.9, 1e-4, 0.5, 1.0], f64::asin);
    check("Acos", &[-1.0, -0.5, 0.25, 1.0], f64::acos);
    check("Atan", &[-1e9, -2.0, 1e-5, 0.5, 1.0], f64::atan);
    check("Sinh", &[-80.0, -2.0, 1e-5, 0.5, 3.0], f64::sinh);
    check("Cosh", &[-80.0, 0.0, 0.5, 3.0], f64::cosh);
    check("Asinh", &[-1e6, -2.0, 1e-5, 0.5, 3.0], f64::asinh);
    check("Acosh", &[1.0, 1.5, 1e6], f64::acosh);
    check("Atanh", &[-0.9, 1e-5, 0.5], f64::atanh);
}

#[test]
fn what_is_no_number() {
    let x = row(&[1.0, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]);
    let run = |op: &str, attributes| {
        let model = Model::new(20).input("x", FLOAT, "4").node(op, "x", "y", attributes).output("y");
        model.run(std::slice::from_ref(&x)).as_i64().expect("truth values")
    };
    assert_eq!(run("IsNaN", vec![]), [0, 1, 0, 0]);
    assert_eq!(run("IsInf", vec![]), [0, 0, 1, 1]);
    assert_eq!(run("IsInf", vec![int("detect_negative", 0)]), [0, 0, 1, 0]);
    assert_eq!(run("IsInf", vec![int("detect_positive", 0)]), [0, 0, 0, 1]);
    assert_eq!(run("IsInf", vec![int("detect_positive", 0), int("detect_negative", 0)]), [0, 0, 0, 0]);
}

#[test]
fn padding_with_elements_where_the_extent_is_free() {
    let run = |mode: &str| {
        let model = Model::new(19)
            .input("x", FLOAT, "n")
            .ints("pads", &[2, 3])
            .node("Pad", "x pads", "y", vec![string("mode", mode)])
            .output("y");
        model.run(&[row(&[1.0, 2.0, 3.0, 4.0])]).as_f32().expect("f32").to_vec()
    };
    assert_eq!(run("edge"), [1., 1., 1., 2., 3., 4., 4., 4., 4.]);
    assert_eq!(run("reflect"), [3., 2., 1., 2., 3., 4., 3., 2., 1.]);
    assert_eq!(run("wrap"), [3., 4., 1., 2., 3., 4., 1., 2., 3.]);
}

#[test]
fn padding_with_elements() {
    let run = |mode: &str| {
        let model = Model::new(19)
            .input("x", FLOAT, "3")
            .ints("pads", &[3, 4])
            .node("Pad", "x pads", "y", vec![string("mode", mode)])
            .output("y");
        model.run(&[row(&[1.0, 2.0, 3.0])]).as_f32().expect("f32").to_vec()
    };
    assert_eq!(run("edge"), [1., 1., 1., 1., 2., 3., 3., 3., 3., 3.]);
    assert_eq!(run("reflect"), [2., 3., 2., 1., 2., 3., 2., 1., 2., 3.]);
    assert_eq!(run("wrap"), [1., 2., 3., 1., 2., 3., 1., 2., 3., 1.]);
}

#[test]
fn cropping_and_padding_keep_the_middle() {
    let run = |to: i64| {
        let model = Model::new(18)
            .input("x", FLOAT, "4")
            .ints("shape", &[to])
            .node("CenterCropPad", "x shape", "y", vec![])
            .output("y");
        model.run(&[row(&[1.0, 2.0, 3.0, 4.0])]).as_f32().expect("f32").to_vec()
    };
    assert_eq!(run(3), [1., 2., 3.]);
    assert_eq!(run(1), [2.]);
    assert_eq!(run(7), [0., 1., 2., 3., 4., 0., 0.]);
    assert_eq!(run(4), [1., 2., 3., 4.]);
}

#[test]
fn shrinking() {
    let model = Model::new(9)
        .input("x", FLOAT, "3")
        .node("Shrink", "x", "y", vec![float("lambd", 1.5), float("bias", 0.5)])
        .output("y");
    close(&model.run(&[row(&[-2.0, 1.0, 2.0])]), &[-1.5, 0.0, 1.5]);
}

#[test]
fn forms_of_old_operator_sets() {
    // Broadcasting from a stated axis on.
    let model = Model::new(6)
        .input("x", FLOAT, "2 2 1")
        .floats("b", &[2], &[10.0, 20.0])
        .node("Add", "x b", "y", vec![int("axis", 1), int("broadcast", 1)])
        .output("y");
    let x = TensorData::f32(&[2, 2, 1], vec![1., 2., 3., 4.]);
    close(&model.run(&[x]), &[11., 22., 13., 24.]);
    // Bounds, shapes and types as attributes.
    let model = Model::new(1)
        .input("x", FLOAT, "4")
        .node("Slice", "x", "part", vec![ints("starts", &[1]), ints("ends", &[3]), ints("axes", &[0])])
        .node("Reshape", "part", "column", vec![ints("shape", &[2, 1])])
        .node("Cast", "column", "y", vec![string("to", "INT64")])
        .output("y");
    let y = model.run(&[row(&[1.0, 2.0, 3.0, 4.0])]);
    assert_eq!((y.shape.clone(), y.as_i64()), (vec![2, 1], Some(vec![2, 3])));
    // A slope for each channel, and a mask of what is kept.
    let model = Model::new(6)
        .input("x", FLOAT, "1 2 2")
        .floats("slope", &[2], &[0.5, 2.0])
        .node("PRelu", "x slope", "y", vec![])
        .output("y");
    close(&model.run(&[TensorData::f32(&[1, 2, 2], vec![-2., 2., -2., 2.])]), &[-1., 2., -4., 2.]);
    let model = Model::new(7).input("x", INT64, "2").node("Dropout", "x", "y mask", vec![]).output("mask");
    assert_eq!(model.run(&[TensorData::i64(&[2], vec![5, 6])]).as_i64(), Some(vec![1, 1]));
}
