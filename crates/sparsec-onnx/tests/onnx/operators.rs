//! What operators mean: models are read and interpreted, results compared with values computed by hand.

use sparsec_graph::TensorData;

use crate::model::{BOOL, FLOAT, INT64, Model, float, int, ints, string};

#[track_caller]
fn check(model: &Model, inputs: &[TensorData], shape: &[usize], expected: &[f32]) {
    let result = model.run(inputs);
    assert_eq!(result.shape, shape);
    let values = result.as_f32().expect("an f32 result");
    for (i, (got, want)) in values.iter().zip(expected).enumerate() {
        assert!((got - want).abs() < 1e-5, "element {i}: {got} instead of {want} in {values:?}");
    }
}

fn row(values: &[f32]) -> TensorData {
    TensorData::f32(&[1, values.len()], values.to_vec())
}

#[test]
fn gemm_scales_and_transposes() {
    let model = Model::new(13)
        .input("x", FLOAT, "2 1")
        .floats("w", &[3, 2], &[1., 2., 3., 4., 5., 6.])
        .floats("c", &[3], &[10., 20., 30.])
        .node("Gemm", "x w c", "y", vec![int("transA", 1), int("transB", 1), float("alpha", 2.0), float("beta", 0.5)])
        .output("y");
    let x = TensorData::f32(&[2, 1], vec![1., -1.]);
    check(&model, &[x], &[1, 3], &[3., 8., 13.]);
}

#[test]
fn matmul_broadcasts_batches_of_one() {
    let model = Model::new(13)
        .input("x", FLOAT, "2 1 1 2")
        .input("y", FLOAT, "3 2 1")
        .node("MatMul", "x y", "z", vec![])
        .output("z");
    let x = TensorData::f32(&[2, 1, 1, 2], vec![1., 2., 3., 4.]);
    let y = TensorData::f32(&[3, 2, 1], vec![1., 0., 0., 1., 1., 1.]);
    check(&model, &[x, y], &[2, 3, 1, 1], &[1., 2., 3., 3., 4., 7.]);
}

#[test]
fn matmul_of_vectors() {
    let model = Model::new(13)
        .input("x", FLOAT, "2")
        .floats("w", &[2, 2], &[1., 2., 3., 4.])
        .node("MatMul", "x w", "xw", vec![])
        .node("MatMul", "xw x", "y", vec![])
        .output("y");
    // [1, -1] * [[1, 2], [3, 4]] = [-2, -2]; its product with [1, -1] is 0.
    check(&model, &[TensorData::f32(&[2], vec![1., -1.])], &[], &[0.]);
}

#[test]
fn einsum_sums_labels_of_one_operand() {
    let model = Model::new(13)
        .input("x", FLOAT, "2 2")
        .input("y", FLOAT, "2 2")
        .node("Einsum", "x y", "z", vec![string("equation", "ij, jk -> i")])
        .output("z");
    let x = TensorData::f32(&[2, 2], vec![1., 2., 3., 4.]);
    let y = TensorData::f32(&[2, 2], vec![1., 1., 2., 3.]);
    check(&model, &[x, y], &[2], &[12., 26.]);
}

#[test]
fn convolution_pads_as_auto_pad_says() {
    let model = |auto_pad: &str| {
        Model::new(13)
            .input("x", FLOAT, "1 1 1 3")
            .floats("w", &[1, 1, 1, 2], &[1., 10.])
            .node("Conv", "x w", "y", vec![string("auto_pad", auto_pad)])
            .output("y")
    };
    let x = || TensorData::f32(&[1, 1, 1, 3], vec![1., 2., 3.]);
    check(&model("SAME_UPPER"), &[x()], &[1, 1, 1, 3], &[21., 32., 3.]);
    check(&model("SAME_LOWER"), &[x()], &[1, 1, 1, 3], &[10., 21., 32.]);
    check(&model("VALID"), &[x()], &[1, 1, 1, 2], &[21., 32.]);
}

#[test]
fn clip_takes_bounds_from_inputs_or_attributes() {
    let new = Model::new(13)
        .input("x", FLOAT, "1 3")
        .floats("hi", &[], &[2.])
        .node("Clip", "x - hi", "y", vec![])
        .output("y");
    check(&new, &[row(&[-1., 1., 3.])], &[1, 3], &[-1., 1., 2.]);
    let old = Model::new(11)
        .input("x", FLOAT, "1 3")
        .node("Clip", "x", "y", vec![float("min", 0.), float("max", 2.)])
        .output("y");
    check(&old, &[row(&[-1., 1., 3.])], &[1, 3], &[0., 1., 2.]);
}

#[test]
fn old_softmax_flattens() {
    let model = |opset| {
        Model::new(opset).input("x", FLOAT, "1 2 2").node("Softmax", "x", "y", vec![int("axis", 1)]).output("y")
    };
    let x = || TensorData::f32(&[1, 2, 2], vec![0., 0., 0., 0.]);
    check(&model(11), &[x()], &[1, 2, 2], &[0.25; 4]);
    check(&model(13), &[x()], &[1, 2, 2], &[0.5; 4]);
}

#[test]
fn log_softmax_does_not_overflow() {
    let model = Model::new(13).input("x", FLOAT, "1 2").node("LogSoftmax", "x", "y", vec![]).output("y");
    check(&model, &[row(&[1000., 1000.])], &[1, 2], &[-std::f32::consts::LN_2; 2]);
}

#[test]
fn activations_are_composed() {
    let run = |op: &str, attributes, expected: &[f32]| {
        let model = Model::new(20).input("x", FLOAT, "1 3").node(op, "x", "y", attributes).output("y");
        check(&model, &[row(&[-2., 0., 2.])], &[1, 3], expected);
    };
    run("LeakyRelu", vec![float("alpha", 0.5)], &[-1., 0., 2.]);
    run("Elu", vec![], &[-0.864_664_7, 0., 2.]);
    run("HardSigmoid", vec![], &[0.1, 0.5, 0.9]);
    run("HardSwish", vec![], &[-1. / 3., 0., 5. / 3.]);
    run("Softplus", vec![], &[0.126_928, std::f32::consts::LN_2, 2.126_928]);
    run("Softsign", vec![], &[-2. / 3., 0., 2. / 3.]);
    run("Sign", vec![], &[-1., 0., 1.]);
    run("ThresholdedRelu", vec![], &[0., 0., 2.]);
    run("Gelu", vec![], &[-0.045_500_3, 0., 1.954_499_7]);
}

#[test]
fn reductions_take_axes_from_inputs_or_attributes() {
    let x = || TensorData::f32(&[2, 2], vec![1., 2., 3., 4.]);
    let old = Model::new(11)
        .input("x", FLOAT, "2 2")
        .node("ReduceSum", "x", "y", vec![ints("axes", &[-1]), int("keepdims", 0)])
        .output("y");
    check(&old, &[x()], &[2], &[3., 7.]);
    let new =
        Model::new(18).input("x", FLOAT, "2 2").ints("axes", &[0]).node("ReduceMax", "x axes", "y", vec![]).output("y");
    check(&new, &[x()], &[1, 2], &[3., 4.]);
    let all = Model::new(18).input("x", FLOAT, "2 2").node("ReduceL2", "x", "y", vec![int("keepdims", 0)]).output("y");
    check(&all, &[x()], &[], &[30f32.sqrt()]);
    let none = Model::new(18)
        .input("x", FLOAT, "2 2")
        .node("ReduceSum", "x", "y", vec![int("noop_with_empty_axes", 1)])
        .output("y");
    check(&none, &[x()], &[2, 2], &[1., 2., 3., 4.]);
}

#[test]
fn split_and_concat() {
    let model = Model::new(18)
        .input("x", FLOAT, "1 5")
        .node("Split", "x", "a b", vec![int("axis", 1), int("num_outputs", 2)])
        .node("Concat", "b a", "y", vec![int("axis", -1)])
        .output("y");
    check(&model, &[row(&[1., 2., 3., 4., 5.])], &[1, 5], &[4., 5., 1., 2., 3.]);
}

#[test]
fn slice_clamps_and_steps_back() {
    let model = Model::new(13)
        .input("x", FLOAT, "1 5")
        .ints("start", &[i64::MAX])
        .ints("end", &[i64::MIN])
        .ints("axes", &[-1])
        .ints("steps", &[-2])
        .node("Slice", "x start end axes steps", "y", vec![])
        .output("y");
    check(&model, &[row(&[1., 2., 3., 4., 5.])], &[1, 3], &[5., 3., 1.]);
}

#[test]
fn tile_and_depth_to_space() {
    let tile = Model::new(13).input("x", FLOAT, "1 2").ints("n", &[2, 2]).node("Tile", "x n", "y", vec![]).output("y");
    check(&tile, &[row(&[1., 2.])], &[2, 4], &[1., 2., 1., 2., 1., 2., 1., 2.]);
    let depth = Model::new(13)
        .input("x", FLOAT, "1 4 1 1")
        .node("DepthToSpace", "x", "y", vec![int("blocksize", 2)])
        .output("y");
    let x = TensorData::f32(&[1, 4, 1, 1], vec![1., 2., 3., 4.]);
    check(&depth, &[x], &[1, 1, 2, 2], &[1., 2., 3., 4.]);
}

#[test]
fn layer_normalization_expands_a_scalar_scale() {
    let model = Model::new(17)
        .input("x", FLOAT, "1 2")
        .floats("scale", &[1], &[3.])
        .node("LayerNormalization", "x scale", "y mean", vec![float("epsilon", 0.)])
        .output("y")
        .output("mean");
    check(&model, &[row(&[1., 3.])], &[1, 2], &[-3., 3.]);
    let graph = model.read().expect("the model is read");
    let results = sparsec_graph::interpret(&graph, &[row(&[1., 3.])]).expect("the graph runs");
    assert_eq!(results[1].as_f32().as_deref(), Some(&[2f32][..]));
}

#[test]
fn group_normalization_scales_groups_or_channels() {
    let model = |opset, count: i64| {
        Model::new(opset)
            .input("x", FLOAT, "1 4 1")
            .weights("scale", &[count])
            .floats("bias", &[count], &vec![1.; count as usize])
            .node("GroupNormalization", "x scale bias", "y", vec![int("num_groups", 2), float("epsilon", 0.)])
            .output("y")
    };
    let x = || TensorData::f32(&[1, 4, 1], vec![0., 2., 4., 8.]);
    check(&model(18, 2), &[x()], &[1, 4, 1], &[0.9, 1.1, 1.2, 0.8]);
    check(&model(21, 4), &[x()], &[1, 4, 1], &[0.9, 0.8, 0.7, 0.6]);
}

#[test]
fn integers_and_truth_values() {
    let model = Model::new(13)
        .input("x", INT64, "3")
        .input("c", BOOL, "3")
        .ints("one", &[1])
        .node("Add", "x one", "sum", vec![])
        .node("Where", "c x sum", "y", vec![])
        .output("y");
    let c = TensorData::from_vec(sparsec_graph::DType::Bool, &[3], vec![1u8, 0, 1]);
    let y = model.run(&[TensorData::i64(&[3], vec![1, 2, 3]), c]);
    assert_eq!(y.as_i64(), Some(vec![1, 3, 3]));
}

#[test]
fn microsoft_gelu() {
    let mut model = Model::new(17).input("x", FLOAT, "1 1").node("BiasGelu", "x x", "y", vec![]).output("y");
    model.graph().node[0].domain = "com.microsoft".into();
    check(&model, &[row(&[1.])], &[1, 1], &[1.954_499_7]);
}
