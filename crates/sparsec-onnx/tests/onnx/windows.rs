//! Resampling, transposed convolution, pooling and sampling, with values computed by hand.

use onnx_protobuf::AttributeProto;
use sparsec_graph::{TensorData, interpret};

use crate::model::{FLOAT, INT64, Model, float, int, ints, string};

fn data(shape: &[usize], values: &[f32]) -> TensorData {
    TensorData::f32(shape, values.to_vec())
}

#[track_caller]
fn assert_close(found: &TensorData, shape: &[usize], expected: &[f32]) {
    assert_eq!(found.shape, shape);
    let found = found.as_f32().unwrap();
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-6 * b.abs().max(1.0);
    assert!(found.iter().zip(expected).all(near), "{found:?} instead of {expected:?}");
    assert_eq!(found.len(), expected.len());
}

/// A line of `values`, resized by a scale.
fn resized(values: &[f32], scale: f32, attributes: Vec<AttributeProto>) -> TensorData {
    let model = Model::new(19)
        .input("x", FLOAT, &format!("{}", values.len()))
        .floats("scales", &[1], &[scale])
        .node("Resize", "x - scales", "y", attributes)
        .output("y");
    model.run(&[data(&[values.len()], values)])
}

#[test]
fn nearest_elements_by_each_rounding() {
    // Coordinates 0, 2/3, 4/3, 2.
    for (mode, expected) in [
        ("floor", [1.0, 1.0, 2.0, 3.0]),
        ("ceil", [1.0, 2.0, 3.0, 3.0]),
        ("round_prefer_floor", [1.0, 2.0, 2.0, 3.0]),
        ("round_prefer_ceil", [1.0, 2.0, 2.0, 3.0]),
    ] {
        let attributes = vec![
            string("mode", "nearest"),
            string("nearest_mode", mode),
            string("coordinate_transformation_mode", "align_corners"),
        ];
        let model = Model::new(19)
            .input("x", FLOAT, "3")
            .ints("sizes", &[4])
            .node("Resize", "x - - sizes", "y", attributes)
            .output("y");
        assert_close(&model.run(&[data(&[3], &[1.0, 2.0, 3.0])]), &[4], &expected);
    }
    // Halves: coordinates 0, 0.5, 1, 1.5.
    for (mode, expected) in [("round_prefer_floor", [1.0, 1.0, 2.0, 2.0]), ("round_prefer_ceil", [1.0, 2.0, 2.0, 2.0])]
    {
        let attributes = vec![string("nearest_mode", mode), string("coordinate_transformation_mode", "asymmetric")];
        assert_close(&resized(&[1.0, 2.0], 2.0, attributes), &[4], &expected);
    }
}

#[test]
fn interpolation_between_elements() {
    let line = [1.0, 2.0, 3.0, 4.0];
    assert_close(&resized(&[1.0, 2.0], 2.0, vec![string("mode", "linear")]), &[4], &[1.0, 1.25, 1.75, 2.0]);
    let cubic = || {
        vec![
            string("mode", "cubic"),
            float("cubic_coeff_a", -0.5),
            string("coordinate_transformation_mode", "asymmetric"),
        ]
    };
    let found = resized(&line, 2.0, cubic());
    assert_close(&found, &[8], &[1.0, 1.4375, 2.0, 2.5, 3.0, 3.5625, 4.0, 4.0625]);
    // At 3.5 the elements 2 and 3 count -0.0625 and 0.5625, which are scaled to a sum of 1.
    let found = resized(&line, 2.0, [cubic(), vec![int("exclude_outside", 1)]].concat());
    assert!((found.as_f32().unwrap()[7] - (4.0 * 0.5625 - 3.0 * 0.0625) / 0.5).abs() < 1e-6);
    // A triangle of twice the width: 1/8, 3/8, 3/8, 1/8.
    let found = resized(&line, 0.5, vec![string("mode", "linear"), int("antialias", 1)]);
    assert_close(&found, &[2], &[1.625, 3.375]);
}

#[test]
fn a_region_and_what_lies_outside() {
    let attributes = vec![
        string("mode", "linear"),
        string("coordinate_transformation_mode", "tf_crop_and_resize"),
        float("extrapolation_value", 9.0),
    ];
    let model = Model::new(13)
        .input("x", FLOAT, "3")
        .floats("roi", &[2], &[0.25, 1.25])
        .ints("sizes", &[3])
        .node("Resize", "x roi - sizes", "y", attributes)
        .output("y");
    // Coordinates 0.5, 1.5, 2.5.
    assert_close(&model.run(&[data(&[3], &[1.0, 2.0, 4.0])]), &[3], &[1.5, 3.0, 9.0]);
}

#[test]
fn dynamic_extents_are_scaled_and_sizes_keep_the_aspect_ratio() {
    let model = Model::new(11)
        .input("x", FLOAT, "1 w")
        .floats("scales", &[2], &[2.0, 1.5])
        .node("Resize", "x - scales", "y", vec![string("coordinate_transformation_mode", "asymmetric")])
        .output("y");
    assert!(model.text().contains("f32[2, floordiv(3*w, 2)]"), "{}", model.text());
    let found = model.run(&[data(&[1, 3], &[1.0, 2.0, 3.0])]);
    assert_close(&found, &[2, 4], &[1.0, 2.0, 2.0, 3.0, 1.0, 2.0, 2.0, 3.0]);
    for (policy, shape) in [("not_larger", [3, 6]), ("not_smaller", [4, 8])] {
        let model = Model::new(18)
            .input("x", FLOAT, "2 4")
            .ints("sizes", &[4, 6])
            .node("Resize", "x - - sizes", "y", vec![string("keep_aspect_ratio_policy", policy)])
            .output("y");
        assert_eq!(model.run(&[data(&[2, 4], &[0.0; 8])]).shape, shape, "{policy}");
    }
}

#[test]
fn transposed_convolutions_spread_what_they_read() {
    let run = |attributes: Vec<AttributeProto>| {
        let model = Model::new(11)
            .input("x", FLOAT, "1 1 2")
            .floats("w", &[1, 1, 3], &[1.0, 10.0, 100.0])
            .floats("b", &[1], &[0.5])
            .node("ConvTranspose", "x w b", "y", attributes)
            .output("y");
        model.run(&[data(&[1, 1, 2], &[1.0, 2.0])])
    };
    assert_close(&run(vec![]), &[1, 1, 4], &[1.5, 12.5, 120.5, 200.5]);
    let stride = || ints("strides", &[2]);
    assert_close(&run(vec![stride()]), &[1, 1, 5], &[1.5, 10.5, 102.5, 20.5, 200.5]);
    assert_close(&run(vec![stride(), ints("pads", &[1, 1])]), &[1, 1, 3], &[10.5, 102.5, 20.5]);
    let padded = run(vec![stride(), ints("output_padding", &[1])]);
    assert_close(&padded, &[1, 1, 6], &[1.5, 10.5, 102.5, 20.5, 200.5, 0.5]);
    let dilated = run(vec![ints("dilations", &[2])]);
    assert_close(&dilated, &[1, 1, 6], &[1.5, 2.5, 10.5, 20.5, 100.5, 200.5]);
    let shaped = run(vec![stride(), ints("output_shape", &[4]), string("auto_pad", "SAME_UPPER")]);
    assert_close(&shaped, &[1, 1, 4], &[1.5, 10.5, 102.5, 20.5]);
    let far = run(vec![ints("pads", &[3, 0])]);
    assert_close(&far, &[1, 1, 1], &[200.5]);
}

#[test]
fn groups_of_a_transposed_convolution_keep_their_channels() {
    let model = Model::new(11)
        .input("x", FLOAT, "1 2 h 1")
        .floats("w", &[2, 2, 2, 1], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
        .node("ConvTranspose", "x w", "y", vec![int("group", 2), ints("strides", &[2, 1])])
        .output("y");
    assert!(model.text().contains("f32[1, 4, 2*h, 1]"), "{}", model.text());
    assert_close(
        &model.run(&[data(&[1, 2, 1, 1], &[1.0, 10.0])]),
        &[1, 4, 2, 1],
        &[1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 80.0],
    );
}

#[test]
fn maxima_and_their_places_there_and_back() {
    let pool = |storage: i64| {
        Model::new(12)
            .input("x", FLOAT, "1 1 2 4")
            .node(
                "MaxPool",
                "x",
                "y places",
                vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), int("storage_order", storage)],
            )
            .node("MaxUnpool", "y places", "z", vec![ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2])])
            .output("y")
            .output("places")
            .output("z")
    };
    let x = data(&[1, 1, 2, 4], &[1.0, 2.0, 7.0, 7.0, 3.0, 0.0, 5.0, 6.0]);
    for (storage, places) in [(0, vec![4, 2]), (1, vec![1, 4])] {
        let results = interpret(&pool(storage).read().unwrap(), std::slice::from_ref(&x)).unwrap();
        assert_close(&results[0], &[1, 1, 1, 2], &[3.0, 7.0]);
        assert_eq!(results[1].as_i64(), Some(places.clone()));
        let mut unpooled = [0.0; 8];
        unpooled[places[0] as usize] = 3.0;
        unpooled[places[1] as usize] = 7.0;
        assert_close(&results[2], &[1, 1, 2, 4], &unpooled);
    }
}

#[test]
fn pools_of_three_axes_and_of_powers() {
    let x: Vec<f32> = (1..=8).map(|i| i as f32).collect();
    for (op, expected) in [("MaxPool", 8.0), ("AveragePool", 4.5)] {
        let model = Model::new(12)
            .input("x", FLOAT, "1 1 2 2 2")
            .node(op, "x", "y", vec![ints("kernel_shape", &[2, 2, 2])])
            .output("y");
        assert_close(&model.run(&[data(&[1, 1, 2, 2, 2], &x)]), &[1, 1, 1, 1, 1], &[expected]);
    }
    let model = Model::new(18)
        .input("x", FLOAT, "1 1 3")
        .node("LpPool", "x", "y", vec![ints("kernel_shape", &[2]), ints("pads", &[1, 0])])
        .output("y");
    assert_close(&model.run(&[data(&[1, 1, 3], &[3.0, -4.0, 0.0])]), &[1, 1, 3], &[3.0, 5.0, 4.0]);
}

#[test]
fn grids_are_sampled_between_elements_and_outside() {
    let run = |mode: &str, outside: &str, place: [f32; 2]| {
        let model = Model::new(20)
            .input("x", FLOAT, "1 1 2 2")
            .input("grid", FLOAT, "1 1 1 2")
            .node(
                "GridSample",
                "x grid",
                "y",
                vec![string("mode", mode), string("padding_mode", outside), int("align_corners", 1)],
            )
            .output("y");
        let x = data(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
        model.run(&[x, data(&[1, 1, 1, 2], &place)]).as_f32().unwrap()[0]
    };
    assert!((run("linear", "zeros", [0.0, 0.0]) - 2.5).abs() < 1e-6);
    assert!((run("nearest", "zeros", [1.0, -1.0]) - 2.0).abs() < 1e-6);
    // Half a pixel beyond the second column.
    assert!((run("linear", "zeros", [2.0, -1.0]) - 1.0).abs() < 1e-6);
    assert!((run("linear", "border", [2.0, -1.0]) - 2.0).abs() < 1e-6);
    assert!((run("linear", "reflection", [2.0, -1.0]) - 1.5).abs() < 1e-6);
}

#[test]
fn regions_have_means_and_windows_move() {
    let model = Model::new(16)
        .input("x", FLOAT, "1 1 2 2")
        .input("rois", FLOAT, "1 4")
        .input("images", INT64, "1")
        .node("RoiAlign", "x rois images", "y", vec![int("sampling_ratio", 1)])
        .output("y");
    let x = || data(&[1, 1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let images = TensorData::from_vec(sparsec_graph::DType::I64, &[1], vec![0i64]);
    // The centre of the image is the corner of four pixels.
    assert_close(&model.run(&[x(), data(&[1, 4], &[0.0, 0.0, 2.0, 2.0]), images]), &[1, 1, 1, 1], &[2.5]);

    let model = Model::new(19)
        .input("x", FLOAT, "1 1 2 2")
        .input("offset", FLOAT, "1 2 2 2")
        .floats("w", &[1, 1, 1, 1], &[10.0])
        .node("DeformConv", "x w offset", "y", vec![])
        .output("y");
    // Down by half a pixel for the first row, right by one for the second.
    let offset = [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0];
    assert_close(&model.run(&[x(), data(&[1, 2, 2, 2], &offset)]), &[1, 1, 2, 2], &[20.0, 30.0, 40.0, 0.0]);
}

#[test]
fn columns_add_up_to_an_image() {
    let model = Model::new(18)
        .input("x", FLOAT, "1 2 2")
        .ints("image", &[3])
        .ints("block", &[2])
        .node("Col2Im", "x image block", "y", vec![])
        .output("y");
    assert_close(&model.run(&[data(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])]), &[1, 1, 3], &[1.0, 5.0, 4.0]);
}

#[test]
fn extents_that_must_be_even_are_made_so() {
    let model = Model::new(11)
        .input("x", FLOAT, "1 1 h")
        .node("MaxPool", "x", "p", vec![ints("kernel_shape", &[2]), ints("strides", &[2])])
        .floats("scales", &[3], &[1.0, 1.0, 2.0])
        .node("Resize", "p - scales", "u", vec![string("coordinate_transformation_mode", "asymmetric")])
        .node("Add", "x u", "y", vec![])
        .output("y");
    assert!(model.text().contains("\"x\": f32[1, 1, 2*h_per_2]"), "{}", model.text());
    let graph = model.read().unwrap();
    let result = interpret(&graph, &[data(&[1, 1, 4], &[1.0, 2.0, 4.0, 3.0])]).unwrap();
    assert_close(&result[0], &[1, 1, 4], &[3.0, 4.0, 8.0, 7.0]);
    assert!(interpret(&graph, &[data(&[1, 1, 3], &[1.0, 2.0, 3.0])]).is_err());
}

/// `SAME` over a free extent pads as over one that is known.
#[test]
fn padding_that_the_extent_decides() {
    let model = |operator: &str, kernel: i64, stride: i64, mode: &str, extent: &str| {
        let attributes = vec![string("auto_pad", mode), ints("strides", &[stride])];
        let model = Model::new(13).input("x", FLOAT, &format!("1 1 {extent}"));
        let (model, inputs) = match operator {
            "Conv" => (model.weights("w", &[1, 1, kernel]), "x w"),
            _ => (model, "x"),
        };
        let kernel = (operator != "Conv").then(|| ints("kernel_shape", &[kernel]));
        model.node(operator, inputs, "y", attributes.into_iter().chain(kernel).collect()).output("y")
    };
    for (operator, kernel, stride) in
        [("MaxPool", 2, 2), ("MaxPool", 3, 2), ("Conv", 3, 2), ("Conv", 5, 3), ("Conv", 3, 3)]
    {
        for mode in ["SAME_UPPER", "SAME_LOWER"] {
            for extent in 1..8 {
                let line: Vec<f32> = (0..extent).map(|i| -1.0 - ((i * 5) % 7) as f32).collect();
                let x = data(&[1, 1, extent], &line);
                let free = model(operator, kernel, stride, mode, "n").run(std::slice::from_ref(&x));
                let known = model(operator, kernel, stride, mode, &extent.to_string()).run(&[x]);
                assert_close(&free, &known.shape, &known.as_f32().unwrap());
            }
        }
    }
}
