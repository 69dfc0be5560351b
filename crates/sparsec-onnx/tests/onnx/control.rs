//! Control flow, recurrent operators and sequences: results compared with values computed by hand.

use onnx_protobuf::AttributeProto;
use sparsec_graph::{DType, TensorData};

use crate::model::{BOOL, FLOAT, INT64, Model, graph, int, ints, string};

#[track_caller]
fn check(model: &Model, inputs: &[TensorData], expected: &[(&[usize], &[f32])]) {
    let results = model.run_all(inputs);
    assert_eq!(results.len(), expected.len());
    for (result, (shape, values)) in results.iter().zip(expected) {
        assert_eq!(result.shape, *shape);
        let found = result.as_f32().expect("an f32 result");
        for (i, (got, want)) in found.iter().zip(*values).enumerate() {
            assert!((got - want).abs() < 1e-5, "element {i}: {got} instead of {want} in {found:?}");
        }
    }
}

fn truth(holds: bool) -> TensorData {
    TensorData::from_vec(DType::Bool, &[], vec![u8::from(holds)])
}

fn vector(values: &[f32]) -> TensorData {
    TensorData::f32(&[values.len()], values.to_vec())
}

/// `sum = sum + x`, as the body of a loop; `x` is of the graph around.
fn summing() -> Model {
    Model::new(16)
        .input("i", INT64, "")
        .input("go", BOOL, "")
        .input("sum", FLOAT, "2")
        .node("Add", "sum x", "next", vec![])
        .node("Identity", "go", "on", vec![])
        .node("Identity", "next", "slice", vec![])
        .output("on")
        .output("next")
        .output("slice")
}

#[test]
fn branches_read_what_is_around_them() {
    let branch = |op: &str, result: &str| Model::new(16).node(op, "x", result, vec![]).output(result);
    let model = Model::new(16)
        .input("c", BOOL, "1")
        .input("v", FLOAT, "2")
        .node("Neg", "v", "x", vec![])
        .node("If", "c", "y", vec![graph("then_branch", branch("Exp", "a")), graph("else_branch", branch("Abs", "a"))])
        .output("y");
    let c = |holds: u8| TensorData::from_vec(DType::Bool, &[1], vec![holds]);
    check(&model, &[c(1), vector(&[0., 1.])], &[(&[2], &[1., 0.367_879_4])]);
    check(&model, &[c(0), vector(&[2., -3.])], &[(&[2], &[2., 3.])]);
}

#[test]
fn a_branch_that_is_known_is_read_alone() {
    let then = Model::new(16).node("Neg", "x", "a", vec![]).output("a");
    let otherwise = Model::new(16).node("Shape", "x", "b", vec![]).output("b");
    let model = Model::new(16)
        .input("x", FLOAT, "2")
        .node("Shape", "x", "shape", vec![])
        .ints("two", &[2])
        .node("Equal", "shape two", "same", vec![])
        .node("If", "same", "y", vec![graph("then_branch", then), graph("else_branch", otherwise)])
        .output("y");
    check(&model, &[vector(&[1., 2.])], &[(&[2], &[-1., -2.])]);
    assert!(!model.text().contains("if"));
}

#[test]
fn loops_carry_and_stack() {
    let model = Model::new(16)
        .input("x", FLOAT, "2")
        .input("s", FLOAT, "2")
        .ints("trip", &[3])
        .node("Loop", "trip - s", "last all", vec![graph("body", summing())])
        .output("last")
        .output("all");
    let expected: [(&[usize], &[f32]); 2] = [(&[2], &[13., 26.]), (&[3, 2], &[11., 22., 12., 24., 13., 26.])];
    check(&model, &[vector(&[1., 2.]), vector(&[10., 20.])], &expected);
    assert!(model.text().contains("trip [3] carried 1 scanned [] stacked [forward]"), "{}", model.text());
}

#[test]
fn loops_end_when_their_condition_fails() {
    let body = Model::new(16)
        .input("i", INT64, "")
        .input("go", BOOL, "")
        .input("v", FLOAT, "1")
        .node("Add", "v v", "twice", vec![])
        .node("Less", "twice limit", "below", vec![])
        .output("below")
        .output("twice");
    let model = Model::new(16)
        .input("trip", INT64, "")
        .input("go", BOOL, "")
        .input("limit", FLOAT, "1")
        .floats("one", &[1], &[1.])
        .node("Loop", "trip go one", "y", vec![graph("body", body)])
        .output("y");
    for (trip, go, limit, expected) in [(9, true, 10., 16.), (2, true, 10., 4.), (9, false, 10., 1.)] {
        check(&model, &[TensorData::i64(&[], vec![trip]), truth(go), vector(&[limit])], &[(&[1], &[expected])]);
    }
}

/// A `while` of a framework: `n` steps, the number of the step, the weight and the limit carried, the condition `step + 1 < n` in `f32`.
fn counting(limit: &str) -> Model {
    let body = Model::new(16)
        .input("i", INT64, "")
        .input("go", BOOL, "")
        .input("step", INT64, "")
        .input("sum", FLOAT, "2")
        .input("n", INT64, "")
        .input("w", FLOAT, "2 2")
        .ints("ones", &[1])
        .node("Squeeze", "ones", "one", vec![])
        .node("Gather", "x step", "row", vec![int("axis", 0)])
        .node("MatMul", "row w", "product", vec![])
        .node("Add", "sum product", "next", vec![])
        .node("Add", "step one", "later", vec![])
        .node("Cast", "later", "later_f", vec![int("to", i64::from(FLOAT))])
        .node("Cast", "n", "n_f", vec![int("to", i64::from(FLOAT))])
        .node("Less", "later_f n_f", "below", vec![])
        .node("Less", "i n", "within", vec![])
        .node("And", "below within", "on", vec![])
        .node("Identity", "n", "n_out", vec![])
        .node("Identity", "next", "slice", vec![]);
    let body = ["on", "later", "next", "n_out", "w", "slice"].iter().fold(body, |body, name| body.output(name));
    Model::new(16)
        .input("x", FLOAT, "T 2")
        .input("s", FLOAT, "2")
        .floats("weight", &[2, 2], &[1., 0., 0., 2.])
        .node("Shape", "x", "shape", vec![int("end", 1)])
        .node("Squeeze", "shape", "rows", vec![])
        .ints("zeros", &[0])
        .node("Squeeze", "zeros", "zero", vec![])
        .node("Less", "zero rows", "starts", vec![])
        .node(
            "Loop",
            &format!("{limit} starts zero s rows weight"),
            "steps last n_last w_last all",
            vec![graph("body", body)],
        )
        .output("last")
        .output("all")
}

#[test]
fn conditions_that_count_are_left_out() {
    for limit in ["rows", "-"] {
        let model = counting(limit);
        let text = model.text();
        assert!(text.contains("trip [T] carried 2 scanned [] stacked [forward]"), "{text}");
        let x = TensorData::f32(&[3, 2], vec![1., 2., 3., 4., 5., 6.]);
        let expected: [(&[usize], &[f32]); 2] = [(&[2], &[19., 44.]), (&[3, 2], &[11., 24., 14., 32., 19., 44.])];
        check(&model, &[x, vector(&[10., 20.])], &expected);
        let none: [(&[usize], &[f32]); 2] = [(&[2], &[10., 20.]), (&[0, 2], &[])];
        check(&model, &[TensorData::f32(&[0, 2], vec![]), vector(&[10., 20.])], &none);
    }
}

#[test]
fn loops_that_grow_are_written_out() {
    let body = Model::new(16)
        .input("i", INT64, "")
        .input("go", BOOL, "")
        .input("list", FLOAT, "?")
        .node("Concat", "list x", "longer", vec![int("axis", 0)])
        .node("Identity", "go", "on", vec![])
        .output("on")
        .output("longer");
    let model = |trip: &[i64]| {
        let model = Model::new(16).input("x", FLOAT, "2");
        let model = if trip.is_empty() { model.input("trip", INT64, "1") } else { model.ints("trip", trip) };
        model.node("Loop", "trip - x", "y", vec![graph("body", body.clone())]).output("y")
    };
    check(&model(&[2]), &[vector(&[1., 2.])], &[(&[6], &[1., 2., 1., 2., 1., 2.])]);
    let error = model(&[]).error();
    assert!(error.contains("carried value 0 changes its type from f32[2] to f32[4]"), "{error}");
    assert!(error.contains("--bind trip=FILE.npy"), "{error}");
}

#[test]
fn scans_from_both_ends() {
    let body = Model::new(16)
        .input("sum", FLOAT, "2")
        .input("slice", FLOAT, "2")
        .node("Add", "sum slice", "next", vec![])
        .node("Identity", "next", "out", vec![])
        .output("next")
        .output("out");
    let scan = |attributes: Vec<AttributeProto>| {
        let attributes = [vec![graph("body", body.clone()), int("num_scan_inputs", 1)], attributes].concat();
        Model::new(16)
            .input("s", FLOAT, "2")
            .input("x", FLOAT, "2 2")
            .node("Scan", "s x", "last all", attributes)
            .output("last")
            .output("all")
    };
    let x = TensorData::f32(&[2, 2], vec![1., 2., 3., 4.]);
    let zeros = vector(&[0., 0.]);
    let forward = scan(vec![]);
    check(&forward, &[zeros.clone(), x.clone()], &[(&[2], &[4., 6.]), (&[2, 2], &[1., 2., 4., 6.])]);
    let backward = scan(vec![ints("scan_input_directions", &[1]), ints("scan_output_axes", &[1])]);
    check(&backward, &[zeros.clone(), x.clone()], &[(&[2], &[4., 6.]), (&[2, 2], &[3., 4., 4., 6.])]);
    let columns = scan(vec![ints("scan_input_axes", &[-1]), ints("scan_output_directions", &[1])]);
    check(&columns, &[zeros, x], &[(&[2], &[3., 7.]), (&[2, 2], &[3., 7., 1., 3.])]);
}

fn sigmoid(x: f32) -> f32 {
    1. / (1. + (-x).exp())
}

#[test]
fn an_lstm_of_one_unit() {
    let (w, r) = ([0.1f32, 0.2, 0.3, 0.4], [0.5f32, -0.6, 0.7, -0.8]);
    let b = [0.1f32, 0.1, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2];
    let p = [0.3f32, -0.2, 0.1];
    let model = Model::new(16)
        .input("x", FLOAT, "steps 1 1")
        .input("h", FLOAT, "1 1 1")
        .input("c", FLOAT, "1 1 1")
        .floats("w", &[1, 4, 1], &w)
        .floats("r", &[1, 4, 1], &r)
        .floats("b", &[1, 8], &b)
        .floats("p", &[1, 3], &p)
        .node("LSTM", "x w r b - h c p", "y yh yc", vec![int("hidden_size", 1)])
        .output("y")
        .output("yh")
        .output("yc");
    let xs = [1.0f32, -2.0, 0.5];
    let (mut h, mut c) = (0.25f32, -0.5f32);
    let mut all = Vec::new();
    for x in xs {
        let gate = |g: usize| w[g] * x + r[g] * h + 0.3;
        let (i, f) = (sigmoid(gate(0) + p[0] * c), sigmoid(gate(2) + p[2] * c));
        let new = f * c + i * gate(3).tanh();
        h = sigmoid(gate(1) + p[1] * new) * new.tanh();
        c = new;
        all.push(h);
    }
    let one = |v: f32| TensorData::f32(&[1, 1, 1], vec![v]);
    let x = TensorData::f32(&[3, 1, 1], xs.to_vec());
    check(&model, &[x, one(0.25), one(-0.5)], &[(&[3, 1, 1, 1], &all), (&[1, 1, 1], &[h]), (&[1, 1, 1], &[c])]);
}

#[test]
fn a_gru_in_both_directions() {
    let (w, r) = ([0.1f32, 0.2, 0.3, -0.1, -0.2, -0.3], [0.5f32, -0.6, 0.7, 0.1, 0.2, 0.3]);
    let b: Vec<f32> = (0..12).map(|i| i as f32 * 0.05).collect();
    for late in [0, 1] {
        let model = Model::new(16)
            .input("x", FLOAT, "3 1 1")
            .floats("w", &[2, 3, 1], &w)
            .floats("r", &[2, 3, 1], &r)
            .floats("b", &[2, 6], &b)
            .node(
                "GRU",
                "x w r b",
                "y yh",
                vec![int("hidden_size", 1), int("linear_before_reset", late), string("direction", "bidirectional")],
            )
            .output("y")
            .output("yh");
        let xs = [1.0f32, -2.0, 0.5];
        let mut all = [0.; 6];
        let mut last = Vec::new();
        for d in 0..2 {
            let mut h = 0.0f32;
            for t in if d == 0 { [0, 1, 2] } else { [2, 1, 0] } {
                let (w, r, b) = (&w[3 * d..], &r[3 * d..], &b[6 * d..]);
                let gate = |g: usize| sigmoid(w[g] * xs[t] + r[g] * h + b[g] + b[g + 3]);
                let (z, reset) = (gate(0), gate(1));
                let new = match late {
                    0 => (w[2] * xs[t] + r[2] * (reset * h) + b[5] + b[2]).tanh(),
                    _ => (w[2] * xs[t] + reset * (r[2] * h + b[5]) + b[2]).tanh(),
                };
                h = (1. - z) * new + z * h;
                all[2 * t + d] = h;
            }
            last.push(h);
        }
        let x = TensorData::f32(&[3, 1, 1], xs.to_vec());
        check(&model, &[x], &[(&[3, 2, 1, 1], &all), (&[2, 1, 1], &last)]);
    }
}

#[test]
fn sequences_are_followed() {
    let model = Model::new(16)
        .input("x", FLOAT, "5")
        .ints("sizes", &[2, 3])
        .ints("last", &[-1])
        .node("SplitToSequence", "x sizes", "parts", vec![int("axis", 0)])
        .node("SequenceAt", "parts last", "long", vec![])
        .node("SequenceErase", "parts last", "rest", vec![])
        .node("SequenceInsert", "rest long", "both", vec![])
        .node("SequenceInsert", "both x last", "three", vec![])
        .node("ConcatFromSequence", "three", "y", vec![int("axis", 0)])
        .output("y");
    let expected: [(&[usize], &[f32]); 1] = [(&[10], &[1., 2., 1., 2., 3., 4., 5., 3., 4., 5.])];
    check(&model, &[vector(&[1., 2., 3., 4., 5.])], &expected);
    let misused = Model::new(16)
        .input("x", FLOAT, "5")
        .node("SequenceConstruct", "x x", "s", vec![])
        .node("Neg", "s", "y", vec![])
        .output("y");
    assert!(misused.error().contains("a sequence as an operand of Neg"), "{}", misused.error());
}
