//! Operators that are composed of several of the graph's; values by hand.

use sparsec_graph::{DType, TensorData};

use crate::model::{BOOL, FLOAT, INT64, Model, float, int, string};

#[track_caller]
fn close(found: &TensorData, shape: &[usize], expected: &[f32]) {
    assert_eq!(found.shape, shape);
    let values = found.as_f32().expect("an f32 result");
    for (got, want) in values.iter().zip(expected) {
        assert!((got - want).abs() < 1e-5, "{values:?} instead of {expected:?}");
    }
}

fn f32s(shape: &[usize], values: &[f32]) -> TensorData {
    TensorData::f32(shape, values.to_vec())
}

fn i64s(shape: &[usize], values: &[i64]) -> TensorData {
    TensorData::i64(shape, values.to_vec())
}

#[test]
fn losses_weigh_and_ignore_classes() {
    let logs = f32s(&[3, 2], &[-1., -2., -3., -4., -5., -6.]);
    let classes = i64s(&[3], &[0, 1, 1]);
    let run = |attributes| {
        let model = Model::new(13)
            .input("x", FLOAT, "3 2")
            .input("t", INT64, "3")
            .floats("w", &[2], &[1.0, 3.0])
            .node("NegativeLogLikelihoodLoss", "x t w", "y", attributes)
            .output("y");
        model.run(&[logs.clone(), classes.clone()])
    };
    close(&run(vec![string("reduction", "none")]), &[3], &[1., 12., 18.]);
    close(&run(vec![string("reduction", "sum")]), &[], &[31.]);
    close(&run(vec![]), &[], &[31. / 7.]);
    close(&run(vec![int("ignore_index", 0)]), &[], &[30. / 6.]);
    let model = Model::new(13)
        .input("x", FLOAT, "1 2")
        .input("t", INT64, "1")
        .node("SoftmaxCrossEntropyLoss", "x t", "y logs", vec![])
        .output("y")
        .output("logs");
    let ln2 = std::f32::consts::LN_2;
    let results = model.run_all(&[f32s(&[1, 2], &[5., 5.]), i64s(&[1], &[1])]);
    close(&results[0], &[], &[ln2]);
    close(&results[1], &[1, 2], &[-ln2, -ln2]);
}

#[test]
fn triangles_and_diagonals() {
    let x = || f32s(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
    let model = |k: &[i64], upper| {
        Model::new(14)
            .input("x", FLOAT, "2 n")
            .ints("k", k)
            .node("Trilu", "x k", "y", vec![int("upper", upper)])
            .output("y")
    };
    close(&model(&[0], 1).run(&[x()]), &[2, 3], &[1., 2., 3., 0., 5., 6.]);
    close(&model(&[1], 1).run(&[x()]), &[2, 3], &[0., 2., 3., 0., 0., 6.]);
    close(&model(&[-1], 0).run(&[x()]), &[2, 3], &[0., 0., 0., 4., 0., 0.]);
    let eye = Model::new(9).input("x", FLOAT, "2 3").node("EyeLike", "x", "y", vec![int("k", 1)]).output("y");
    close(&eye.run(&[x()]), &[2, 3], &[0., 1., 0., 0., 0., 1.]);
}

#[test]
fn hot_ones() {
    let model = Model::new(11)
        .input("i", INT64, "2")
        .ints("depth", &[3])
        .floats("values", &[2], &[-1.0, 2.0])
        .node("OneHot", "i depth values", "y", vec![int("axis", 0)])
        .output("y");
    close(&model.run(&[i64s(&[2], &[0, -1])]), &[3, 2], &[2., -1., -1., -1., -1., 2.]);
    let model = Model::new(13).input("x", FLOAT, "2 3").node("Hardmax", "x", "y", vec![]).output("y");
    close(&model.run(&[f32s(&[2, 3], &[1., 3., 3., 2., 1., 0.])]), &[2, 3], &[0., 1., 0., 1., 0., 0.]);
}

#[test]
fn normalisations() {
    let run = |op: &str, shape: &str, attributes, x: TensorData| {
        Model::new(13).input("x", FLOAT, shape).node(op, "x", "y", attributes).output("y").run(&[x])
    };
    let x = || f32s(&[1, 2], &[3., -4.]);
    close(&run("LpNormalization", "1 2", vec![], x()), &[1, 2], &[0.6, -0.8]);
    close(&run("LpNormalization", "1 2", vec![int("p", 1)], x()), &[1, 2], &[3. / 7., -4. / 7.]);
    let image = f32s(&[1, 1, 1, 2], &[1., 3.]);
    close(&run("MeanVarianceNormalization", "1 1 1 2", vec![], image), &[1, 1, 1, 2], &[-1., 1.]);
    // Squares 1, 4, 9: sums of neighbours 5, 14, 13, a third of which is added to 1.
    let channels = f32s(&[1, 3, 1], &[1., 2., 3.]);
    let attributes = vec![int("size", 3), float("alpha", 1.0), float("beta", 1.0)];
    close(&run("LRN", "1 3 1", attributes, channels), &[1, 3, 1], &[3. / 8., 6. / 17., 9. / 16.]);
}

#[test]
fn steps_of_optimisers() {
    let model = |op: &str, tensors: &str, outputs: &str, attributes| {
        let mut model = Model::new(17).floats("r", &[], &[0.5]).input("t", INT64, "");
        for name in tensors.split_whitespace() {
            model = model.input(name, FLOAT, "1");
        }
        for name in outputs.split_whitespace() {
            model = model.output(name);
        }
        let mut model = model.node(op, &format!("r t {tensors}"), outputs, attributes);
        model.graph().node[0].domain = "ai.onnx.preview.training".into();
        model
    };
    let one = |v: f32| f32s(&[1], &[v]);
    let t = TensorData::i64(&[], vec![3]);
    // The moment is 0.5 * 4 + 1 * 2, and half of it is taken off.
    let attributes = vec![float("alpha", 0.5), float("beta", 1.0), float("norm_coefficient", 0.0)];
    let standard = [attributes.clone(), vec![string("mode", "standard")]].concat();
    let inputs = [t.clone(), one(10.0), one(2.0), one(4.0)];
    let results = model("Momentum", "x g v", "y w", standard).run_all(&inputs);
    close(&results[0], &[1], &[8.0]);
    close(&results[1], &[1], &[4.0]);
    // Ahead of it: 2 + 0.5 * 4.
    let nesterov = [attributes, vec![string("mode", "nesterov")]].concat();
    close(&model("Momentum", "x g v", "y w", nesterov).run(&inputs), &[1], &[8.0]);
    // The squares are 5 + 4, the rate 0.5 / (1 + 3 / 3).
    let inputs = [t.clone(), one(10.0), one(2.0), one(5.0)];
    let results = model("Adagrad", "x g h", "y w", vec![float("decay_factor", 1.0 / 3.0)]).run_all(&inputs);
    close(&results[0], &[1], &[10.0 - 0.25 * 2.0 / 3.0]);
    close(&results[1], &[1], &[9.0]);
    // Averages 0.5 * 4 + 0.5 * 2 and 0.5 * 14 + 0.5 * 4; the missing parts are 7/8 of both.
    let inputs = [t, one(10.0), one(2.0), one(4.0), one(14.0)];
    let results = model("Adam", "x g v h", "y v2 h2", vec![float("alpha", 0.5), float("beta", 0.5)]).run_all(&inputs);
    close(&results[0], &[1], &[10.0 - 0.5 * (8f32 / 7.0).sqrt() * 3.0 / 3.0]);
    close(&results[1], &[1], &[3.0]);
    close(&results[2], &[1], &[9.0]);
}

#[test]
fn reductions_of_truth_values_and_of_nothing() {
    let model = |op: &str, kind, shape: &str| {
        Model::new(20).input("x", kind, shape).ints("axes", &[1]).node(op, "x axes", "y", vec![]).output("y")
    };
    let truth = TensorData::from_vec(DType::Bool, &[2, 2], vec![1u8, 0, 0, 0]);
    assert_eq!(model("ReduceMax", BOOL, "2 2").run(std::slice::from_ref(&truth)).as_i64(), Some(vec![1, 0]));
    assert_eq!(model("ReduceMin", BOOL, "2 2").run(&[truth]).as_i64(), Some(vec![0, 0]));
    let nothing = f32s(&[1, 0], &[]);
    let run = |op: &str| model(op, FLOAT, "1 0").run(std::slice::from_ref(&nothing)).as_f32().expect("f32").to_vec();
    assert_eq!(run("ReduceMax"), [f32::NEG_INFINITY]);
    assert_eq!(run("ReduceMin"), [f32::INFINITY]);
    assert_eq!(run("ReduceLogSumExp"), [f32::NEG_INFINITY]);
}

/// Floating-point arithmetic on constants, as exporters write it before a range.
#[test]
fn values_that_follow_from_constants_are_known() {
    let model = Model::new(17)
        .floats("a", &[], &[2.5])
        .floats("zero", &[], &[0.0])
        .floats("one", &[], &[1.0])
        .node("Mul", "a a", "square", vec![])
        .node("Floor", "square", "count", vec![])
        .node("Range", "zero count one", "y", vec![])
        .output("y");
    close(&model.run(&[]), &[6], &[0., 1., 2., 3., 4., 5.]);
}

#[test]
fn tables() {
    let window = |op: &str, periodic| {
        Model::new(17).ints("n", &[4]).node(op, "n", "y", vec![int("periodic", periodic)]).output("y").run(&[])
    };
    close(&window("HannWindow", 1), &[4], &[0., 0.5, 1., 0.5]);
    close(&window("HannWindow", 0), &[4], &[0., 0.75, 0.75, 0.]);
    close(&window("BlackmanWindow", 1), &[4], &[0., 0.34, 1., 0.34]);
    let low = 25. / 46. - 21. / 46.;
    close(&window("HammingWindow", 1), &[4], &[low, 25. / 46., 1., 25. / 46.]);
    let grid = Model::new(20)
        .input("theta", FLOAT, "1 2 3")
        .ints("size", &[1, 1, 1, 2])
        .node("AffineGrid", "theta size", "y", vec![])
        .output("y");
    // x is doubled, y is 7.
    let theta = f32s(&[1, 2, 3], &[2., 0., 0., 0., 1., 7.]);
    close(&grid.run(&[theta]), &[1, 1, 2, 2], &[-1., 7., 1., 7.]);
}

#[test]
fn ranges_of_open_extents() {
    let model = Model::new(13)
        .input("x", FLOAT, "n")
        .ints("zero", &[0])
        .ints("two", &[2])
        .node("Size", "x", "n", vec![])
        .node("Range", "zero n two", "y", vec![])
        .output("y");
    assert_eq!(model.run(&[f32s(&[5], &[0.; 5])]).as_i64(), Some(vec![0, 2, 4]));
}

/// One query beside two keys of one feature: the weights follow from the difference of the products.
#[test]
fn attention_weighs_values() {
    let weight = |difference: f32| 1.0 / (1.0 + (-difference).exp());
    let (q, k, v) = (f32s(&[1, 1, 1, 1], &[2.]), f32s(&[1, 1, 2, 1], &[1., 0.]), f32s(&[1, 1, 2, 1], &[10., 0.]));
    let run = |attributes| {
        Model::new(23)
            .input("q", FLOAT, "1 1 1 1")
            .input("k", FLOAT, "1 1 2 1")
            .input("v", FLOAT, "1 1 2 1")
            .node("Attention", "q k v", "y", attributes)
            .output("y")
            .run(&[q.clone(), k.clone(), v.clone()])
    };
    close(&run(vec![]), &[1, 1, 1, 1], &[10. * weight(2.)]);
    close(&run(vec![float("scale", 0.5)]), &[1, 1, 1, 1], &[10. * weight(1.)]);
    close(&run(vec![float("softcap", 1.0)]), &[1, 1, 1, 1], &[10. * weight(2f32.tanh())]);
    close(&run(vec![int("is_causal", 1)]), &[1, 1, 1, 1], &[10.]);
}

#[test]
fn attention_with_a_past_shares_keys_among_heads() {
    let model = Model::new(23)
        .input("q", FLOAT, "1 1 2")
        .input("k", FLOAT, "1 1 1")
        .input("v", FLOAT, "1 1 1")
        .input("pk", FLOAT, "1 1 1 1")
        .input("pv", FLOAT, "1 1 1 1")
        .node("Attention", "q k v - pk pv", "y key value", vec![int("q_num_heads", 2), int("kv_num_heads", 1)])
        .output("y")
        .output("key");
    let (past_key, past_value) = (f32s(&[1, 1, 1, 1], &[0.]), f32s(&[1, 1, 1, 1], &[4.]));
    let inputs = [f32s(&[1, 1, 2], &[0., 50.]), f32s(&[1, 1, 1], &[1.]), f32s(&[1, 1, 1], &[8.]), past_key, past_value];
    let results = model.run_all(&inputs);
    // The first head sees both alike, the second the new key alone.
    close(&results[0], &[1, 1, 2], &[6., 8.]);
    close(&results[1], &[1, 1, 2, 1], &[0., 1.]);
}

#[test]
fn rotary_embedding_turns_pairs() {
    let run = |interleaved| {
        Model::new(23)
            .input("x", FLOAT, "1 1 1 4")
            .floats("cos", &[2, 2], &[1., 1., 0., 1.])
            .floats("sin", &[2, 2], &[0., 0., 1., 0.])
            .ints("at", &[1])
            .node("Unsqueeze", "at zero", "position", vec![])
            .ints("zero", &[0])
            .node("RotaryEmbedding", "x cos sin position", "y", vec![int("interleaved", interleaved)])
            .output("y")
            .run(&[f32s(&[1, 1, 1, 4], &[1., 2., 3., 4.])])
    };
    // At position 1 the first pair turns by a right angle, the second not at all.
    close(&run(0), &[1, 1, 1, 4], &[-3., 2., 1., 4.]);
    close(&run(1), &[1, 1, 1, 4], &[-2., 1., 3., 4.]);
}

#[test]
fn fused_operators_of_transformers() {
    let microsoft = |mut model: Model| {
        for node in &mut model.graph().node {
            node.domain = "com.microsoft".into();
        }
        model
    };
    let model = Model::new(17)
        .input("x", FLOAT, "1 2")
        .input("skip", FLOAT, "1 2")
        .floats("scale", &[2], &[1., 2.])
        .floats("shift", &[2], &[0., 1.])
        .node("SkipLayerNormalization", "x skip scale shift", "y - - sum", vec![])
        .output("y")
        .output("sum");
    let results = microsoft(model).run_all(&[f32s(&[1, 2], &[1., 2.]), f32s(&[1, 2], &[0., 1.])]);
    close(&results[0], &[1, 2], &[-1., 3.]);
    close(&results[1], &[1, 2], &[1., 3.]);
    let model = Model::new(17)
        .input("x", FLOAT, "2 1")
        .input("y", FLOAT, "1 2")
        .node("FusedMatMul", "x y", "z", vec![int("transA", 1), int("transB", 1), float("alpha", 0.5)])
        .output("z");
    let results = microsoft(model).run_all(&[f32s(&[2, 1], &[1., 2.]), f32s(&[1, 2], &[3., 4.])]);
    close(&results[0], &[1, 1], &[5.5]);
    let model = Model::new(17)
        .input("words", INT64, "1 2")
        .floats("table", &[3, 2], &[0., 0., 1., 3., 2., 6.])
        .floats("places", &[2, 2], &[0., 0., 0., 2.])
        .floats("one", &[2], &[1., 1.])
        .node("EmbedLayerNormalization", "words - table places - one -", "y", vec![float("epsilon", 1e-12)])
        .output("y");
    let results = microsoft(model).run_all(&[i64s(&[1, 2], &[1, 2])]);
    close(&results[0], &[1, 2, 2], &[-1., 1., -1., 1.]);
}
