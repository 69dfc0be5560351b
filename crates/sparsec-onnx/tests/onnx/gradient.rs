//! Derivatives, against differences; and random numbers.

use sparsec_graph::TensorData;

use crate::model::{BOOL, FLOAT, Model, float, int, ints, string, strings};

/// The derivative of the sum of `y` by `x`, which the nodes of the model compute, against central differences.
#[track_caller]
fn check(model: Model, x: &TensorData) {
    let mut model =
        model.node("Gradient", "x", "dx", vec![strings("xs", &["x"]), string("y", "y")]).output("y").output("dx");
    let last = model.graph().node.last_mut().expect("it was added");
    last.domain = "ai.onnx.preview.training".into();
    let values = x.as_f32().expect("f32").into_owned();
    let run = |values: &[f32]| model.run_all(&[TensorData::f32(&x.shape, values.to_vec())]);
    let sum = |values: &[f32]| run(values)[0].as_f32().expect("f32").iter().map(|&v| f64::from(v)).sum::<f64>();
    let found = run(&values)[1].clone();
    assert_eq!(found.shape, x.shape);
    let found = found.as_f32().expect("f32").into_owned();
    for i in 0..values.len() {
        let moved = |by: f32| {
            let mut values = values.clone();
            values[i] += by;
            sum(&values)
        };
        let expected = (moved(1e-2) - moved(-1e-2)) / 2e-2;
        assert!(
            (f64::from(found[i]) - expected).abs() < 2e-3 * (1.0 + expected.abs()),
            "{i}: {} and {expected}",
            found[i]
        );
    }
}

fn x(shape: &[usize]) -> TensorData {
    let count = shape.iter().product::<usize>();
    TensorData::f32(shape, (0..count).map(|i| 0.3 + 0.37 * ((i * 5) % 7) as f32).collect())
}

#[test]
fn derivatives_of_functions_of_one_number() {
    for op in [
        "Exp",
        "Log",
        "Sqrt",
        "Reciprocal",
        "Erf",
        "Tanh",
        "Sigmoid",
        "Sin",
        "Cos",
        "Neg",
        "Abs",
        "Relu",
        "Softplus",
        "Floor",
    ] {
        check(Model::new(13).input("x", FLOAT, "5").node(op, "x", "y", vec![]), &x(&[5]));
    }
}

#[test]
fn derivatives_of_operators_that_broadcast_and_reduce() {
    for op in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"] {
        let model = Model::new(13).input("x", FLOAT, "2 3").floats("w", &[1, 3], &[0.5, 1.1, 2.0]);
        check(model.clone().node(op, "x w", "y", vec![]), &x(&[2, 3]));
        // As the second operand, and repeated.
        let model = model.floats("v", &[2, 2, 3], &[0.5, 1.0, 1.5, 0.7, 0.9, 2.0, 1.2, 0.4, 0.6, 2.2, 1.7, 0.8]);
        check(model.node(op, "v x", "y", vec![]), &x(&[2, 3]));
    }
    for op in ["ReduceMean", "ReduceL2", "ReduceSumSquare"] {
        let model =
            Model::new(13).input("x", FLOAT, "2 3").node(op, "x", "r", vec![ints("axes", &[1]), int("keepdims", 0)]);
        check(model.node("Exp", "r", "y", vec![]), &x(&[2, 3]));
    }
}

#[test]
fn derivatives_of_a_network() {
    let model = Model::new(11)
        .input("x", FLOAT, "2 3")
        .weights("w", &[3, 4])
        .weights("b", &[4])
        .weights("v", &[2, 4])
        .ints("starts", &[1])
        .ints("ends", &[3])
        .ints("axes", &[1])
        .node("Gemm", "x w b", "h", vec![])
        .node("Tanh", "h", "a", vec![])
        .node("Transpose", "a", "t", vec![ints("perm", &[1, 0])])
        .node("MatMul", "v t", "m", vec![])
        .node("Concat", "m x", "c", vec![int("axis", 1)])
        .node("Softmax", "c", "s", vec![int("axis", 1)])
        .node("Slice", "s starts ends axes", "p", vec![])
        .node("Mul", "p p", "y", vec![]);
    check(model, &x(&[2, 3]));
}

#[test]
fn what_has_no_derivative_is_an_error() {
    let gradient = |model: Model, x: &str| {
        let attributes = vec![strings("xs", &["x"]), string("y", "y")];
        let mut model = model.node("Gradient", x, "dx", attributes).output("dx");
        model.graph().node.last_mut().expect("it was added").domain = "ai.onnx.preview.training".into();
        model.error()
    };
    let model = || Model::new(13).input("x", FLOAT, "2").weights("w", &[2]);
    let error = gradient(model().node("ReduceProd", "x", "y", vec![]), "x");
    assert!(error.contains("the derivative of the reduction `prod` is not supported"), "{error}");
    let error = gradient(model().node("Add", "x w", "y", vec![]), "w");
    assert!(error.contains("at other values than those that the graph computes"), "{error}");
}

#[test]
fn random_numbers_have_their_distribution() {
    let shape = || ints("shape", &[40, 50]);
    let moments = |model: Model, inputs: &[TensorData]| {
        let y = model.output("y").run(inputs);
        let values = y.as_f32().expect("f32").into_owned();
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / values.len() as f64)
    };
    let near = |(mean, variance): (f64, f64), expected: (f64, f64)| {
        assert!(
            (mean - expected.0).abs() < 0.1 && (variance - expected.1).abs() < 0.1 * expected.1,
            "{mean} {variance}"
        );
    };
    let uniform = vec![shape(), float("low", -1.0), float("high", 2.0)];
    near(moments(Model::new(13).node("RandomUniform", "", "y", uniform), &[]), (0.5, 0.75));
    let normal = vec![shape(), float("mean", 1.0), float("scale", 0.5), float("seed", 3.0)];
    near(moments(Model::new(13).node("RandomNormal", "", "y", normal), &[]), (1.0, 0.25));
    let p = TensorData::f32(&[2000], vec![0.25; 2000]);
    near(moments(Model::new(15).input("x", FLOAT, "n").node("Bernoulli", "x", "y", vec![]), &[p]), (0.25, 0.1875));
    let model = Model::new(13).input("x", FLOAT, "1 2").node("Multinomial", "x", "c", vec![int("sample_size", 2000)]);
    let logs = TensorData::f32(&[1, 2], vec![0.0, 3f32.ln()]);
    near(moments(model.node("Cast", "c", "y", vec![int("to", 1)]), &[logs]), (0.75, 0.1875));
}

#[test]
fn dropout_drops_in_training() {
    let model = Model::new(13)
        .input("x", FLOAT, "n")
        .input("training", BOOL, "")
        .floats("ratio", &[], &[0.5])
        .node("Dropout", "x ratio training", "y mask", vec![int("seed", 1)])
        .output("y")
        .output("mask");
    let x = TensorData::f32(&[200], (1..=200).map(|i| i as f32).collect());
    let run = |training: u8| {
        let flag = TensorData::from_vec(sparsec_graph::DType::Bool, &[], vec![training]);
        let y = model.run_all(&[x.clone(), flag]);
        (y[0].as_f32().expect("f32").into_owned(), y[1].as_i64().expect("truth values"))
    };
    let (y, mask) = run(1);
    let kept = mask.iter().sum::<i64>();
    assert!((70..130).contains(&kept), "{kept}");
    for (i, (y, mask)) in y.iter().zip(mask).enumerate() {
        assert_eq!(*y, if mask == 1 { 2.0 * (i + 1) as f32 } else { 0.0 });
    }
    let (y, mask) = run(0);
    assert_eq!((y.as_slice(), mask), (x.as_f32().expect("f32").as_ref(), vec![1; 200]));
}
