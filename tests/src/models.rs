//! Small models that between them use most of what the reader, the passes and the kernels do.

use std::path::{Path, PathBuf};

use sparsec_demo::{Attribute, Extent, ModelBuilder, Random};
use sparsec_onnx::proto::{ModelProto, SparseTensorProto, TensorProto, tensor_proto};

/// The root of the project.
#[must_use]
pub fn project_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder of the digits networks and images.
#[must_use]
pub fn digits() -> PathBuf {
    project_root().join("examples/digits")
}

/// A convolutional network with every kind of layer that one is made of; fixed shapes.
#[must_use]
pub fn convolutional() -> ModelProto {
    let mut random = Random::new(11);
    let mut m = ModelBuilder::new("convolutional");
    let x = m.input("x", &[1, 4, 8, 6].map(Extent::Fixed));
    let mut conv = |m: &mut ModelBuilder, x: &str, inputs: i64, outputs: i64, stride: i64, groups: i64| {
        let mut weights = random.normal(0.3, (outputs * inputs / groups * 9) as usize);
        weights.iter_mut().filter(|w| w.abs() < 0.3).for_each(|w| *w = 0.0);
        let weight = m.weight(&[outputs, inputs / groups, 3, 3], &weights);
        let attributes = [
            ("kernel_shape", Attribute::Ints(&[3, 3])),
            ("strides", Attribute::Ints(&[stride; 2])),
            ("pads", Attribute::Ints(&[1; 4])),
            ("group", Attribute::Int(groups)),
        ];
        let y = m.node("Conv", &[x, &weight], &attributes);
        let statistics = [(0.8, 1.2), (-0.2, 0.2), (-0.1, 0.1), (0.8, 1.2)]
            .map(|(low, high)| m.weight(&[outputs], &random.uniform(low, high, outputs as usize)));
        let [gamma, beta, mean, variance] = &statistics;
        m.node("BatchNormalization", &[&y, gamma, beta, mean, variance], &[("epsilon", Attribute::Float(1e-5))])
    };
    let a = conv(&mut m, &x, 4, 8, 1, 1);
    let a = m.node("Relu", &[&a], &[]);
    let b = conv(&mut m, &a, 8, 8, 1, 8);
    let (low, high) = (m.weight(&[], &[0.0]), m.weight(&[], &[6.0]));
    let b = m.node("Clip", &[&b, &low, &high], &[]);
    let sum = m.node("Add", &[&a, &b], &[]);
    let pooled = m.node(
        "MaxPool",
        &[&sum],
        &[("kernel_shape", Attribute::Ints(&[2, 2])), ("strides", Attribute::Ints(&[2, 2]))],
    );
    let c = conv(&mut m, &pooled, 8, 12, 2, 1);
    let c = m.node("Sigmoid", &[&c], &[]);
    let g = m.node("GlobalAveragePool", &[&c], &[]);
    let g = m.node("Flatten", &[&g], &[]);
    let weight = m.weight(&[5, 12], &random.normal(0.3, 60));
    let bias = m.weight(&[5], &random.normal(0.3, 5));
    m.node_named("Gemm", &[&g, &weight, &bias], &[("transB", Attribute::Int(1))], "y");
    m.output("y", &[1, 5].map(Extent::Fixed));
    m.finish()
}

/// A block of a transformer over `batch` x `seq` tokens that are known at run time only: projections, normalisation by
/// hand, GELU by hand, softmax.
#[must_use]
pub fn transformer() -> ModelProto {
    const WIDTH: i64 = 16;
    let mut random = Random::new(12);
    let mut m = ModelBuilder::new("transformer");
    let shape = [Extent::Symbol("batch"), Extent::Symbol("seq"), Extent::Fixed(WIDTH)];
    let x = m.input("x", &shape);
    let mut dense = |m: &mut ModelBuilder, x: &str, inputs: i64, outputs: i64| {
        let mut weights = random.normal(0.2, (inputs * outputs) as usize);
        weights.iter_mut().filter(|w| w.abs() < 0.25).for_each(|w| *w = 0.0);
        let weight = m.weight(&[inputs, outputs], &weights);
        let bias = m.weight(&[outputs], &random.normal(0.1, outputs as usize));
        let y = m.node("MatMul", &[x, &weight], &[]);
        m.node("Add", &[&y, &bias], &[])
    };
    let (q, k, v) = (dense(&mut m, &x, WIDTH, WIDTH), dense(&mut m, &x, WIDTH, WIDTH), dense(&mut m, &x, WIDTH, WIDTH));
    let k = m.node("Transpose", &[&k], &[("perm", Attribute::Ints(&[0, 2, 1]))]);
    let scores = m.node("MatMul", &[&q, &k], &[]);
    let scale = m.weight(&[], &[4.0]);
    let scores = m.node("Div", &[&scores, &scale], &[]);
    let scores = m.node("Softmax", &[&scores], &[("axis", Attribute::Int(-1))]);
    let attended = m.node("MatMul", &[&scores, &v], &[]);
    let x = m.node("Add", &[&attended, &x], &[]);

    let last = [("axes", Attribute::Ints(&[-1]))];
    let mean = m.node("ReduceMean", &[&x], &last);
    let centred = m.node("Sub", &[&x, &mean], &[]);
    let two = m.weight(&[], &[2.0]);
    let squares = m.node("Pow", &[&centred, &two], &[]);
    let variance = m.node("ReduceMean", &[&squares], &last);
    let epsilon = m.weight(&[], &[1e-5]);
    let shifted = m.node("Add", &[&variance, &epsilon], &[]);
    let deviation = m.node("Sqrt", &[&shifted], &[]);
    let x = m.node("Div", &[&centred, &deviation], &[]);

    let h = dense(&mut m, &x, WIDTH, 4 * WIDTH);
    let root = m.weight(&[], &[std::f32::consts::SQRT_2]);
    let (one, half) = (m.weight(&[], &[1.0]), m.weight(&[], &[0.5]));
    let e = m.node("Div", &[&h, &root], &[]);
    let e = m.node("Erf", &[&e], &[]);
    let e = m.node("Add", &[&e, &one], &[]);
    let h = m.node("Mul", &[&h, &e], &[]);
    let h = m.node("Mul", &[&h, &half], &[]);
    let h = dense(&mut m, &h, 4 * WIDTH, WIDTH);
    m.node_named("Add", &[&h, &x], &[], "y");
    m.output("y", &shape);
    m.finish()
}

/// A fully connected network with a `sparse_initializer`, typed data fields, and a reshape by a constant.
#[must_use]
pub fn perceptron() -> ModelProto {
    let mut random = Random::new(13);
    let mut m = ModelBuilder::new("perceptron");
    let x = m.input("x", &[Extent::Symbol("batch"), Extent::Fixed(4), Extent::Fixed(6)]);
    let shape = m.integers(&[2], &[-1, 24]);
    let x = m.node("Reshape", &[&x, &shape], &[]);
    let y = m.node("MatMul", &[&x, "sparse"], &[]);
    let y = m.node("Tanh", &[&y], &[]);
    let bias = m.weight(&[10], &random.normal(0.1, 10));
    m.node_named("Add", &[&y, &bias], &[], "y");
    m.output("y", &[Extent::Symbol("batch"), Extent::Fixed(10)]);
    let mut model = m.finish();
    let indices: Vec<i64> = (0..24).map(|i| i * 10 + i * 7 % 10).collect();
    let values = TensorProto {
        name: Some("sparse".into()),
        dims: vec![24],
        data_type: Some(tensor_proto::DataType::Float.into()),
        float_data: random.normal(0.5, 24),
        ..TensorProto::default()
    };
    let indices = TensorProto {
        dims: vec![24],
        data_type: Some(tensor_proto::DataType::Int64.into()),
        int64_data: indices,
        ..TensorProto::default()
    };
    let sparse = SparseTensorProto { values: Some(values), indices: Some(indices), dims: vec![24, 10] };
    model.graph.get_or_insert_default().sparse_initializer.push(sparse);
    model
}

/// A detector in miniature: rows whose first element is positive are kept, and classified. How many there are depends on
/// what the input holds. Outputs: scores `[kept, 3]`, and the number of rows kept.
#[must_use]
pub fn detector() -> ModelProto {
    let mut random = Random::new(17);
    let mut m = ModelBuilder::new("detector");
    let x = m.input("x", &[Extent::Symbol("rows"), Extent::Fixed(5)]);
    let (start, end, axis) = (m.integers(&[1], &[0]), m.integers(&[1], &[1]), m.integers(&[1], &[1]));
    let first = m.node("Slice", &[&x, &start, &end, &axis], &[]);
    let first = m.node("Squeeze", &[&first, &axis], &[]);
    let first = m.node("Relu", &[&first], &[]);
    let places = m.node("NonZero", &[&first], &[]);
    let zero = m.integers(&[1], &[0]);
    let places = m.node("Squeeze", &[&places, &zero], &[]);
    let kept = m.node("Gather", &[&x, &places], &[]);
    let w = m.weight(&[5, 3], &random.normal(0.5, 15));
    m.node_named("MatMul", &[&kept, &w], &[], "scores");
    m.node_named("Shape", &[&kept], &[], "shape");
    m.output("scores", &[Extent::Symbol("kept"), Extent::Fixed(3)]);
    m.finish()
}

/// A text detector in small: halved twice and doubled again, so that only multiples of 4 fit; depthwise convolutions,
/// hard swish, squeeze and excitation, resampling, and transposed convolutions back to the size of the image.
#[must_use]
pub fn text_detector() -> ModelProto {
    let mut random = Random::new(14);
    let mut m = ModelBuilder::new("text_detector");
    let (high, wide) = (Extent::Symbol("height"), Extent::Symbol("width"));
    let x = m.input("x", &[Extent::Fixed(1), Extent::Fixed(3), high, wide]);
    let mut weights = |m: &mut ModelBuilder, shape: &[i64]| {
        let mut values = random.normal(0.3, shape.iter().product::<i64>() as usize);
        values.iter_mut().filter(|w| w.abs() < 0.2).for_each(|w| *w = 0.0);
        m.weight(shape, &values)
    };
    let mut conv = |m: &mut ModelBuilder, x: &str, shape: [i64; 4], stride: i64, groups: i64| {
        let (weight, bias) = (weights(m, &shape), weights(m, &shape[..1]));
        let pad = shape[2] / 2;
        let attributes = [
            ("strides", Attribute::Ints(&[stride; 2])),
            ("pads", Attribute::Ints(&[pad; 4])),
            ("group", Attribute::Int(groups)),
        ];
        m.node("Conv", &[x, &weight, &bias], &attributes)
    };
    let halved = conv(&mut m, &x, [8, 3, 3, 3], 2, 1);
    let halved = m.node("HardSwish", &[&halved], &[]);
    let deep = conv(&mut m, &halved, [8, 1, 5, 5], 2, 8);
    let squeezed = m.node("GlobalAveragePool", &[&deep], &[]);
    let squeezed = conv(&mut m, &squeezed, [4, 8, 1, 1], 1, 1);
    let squeezed = m.node("Relu", &[&squeezed], &[]);
    let excited = conv(&mut m, &squeezed, [8, 4, 1, 1], 1, 1);
    let excited = m.node("HardSigmoid", &[&excited], &[]);
    let deep = m.node("Mul", &[&deep, &excited], &[]);
    let (region, scales) = (m.weight(&[0], &[]), m.weight(&[4], &[1.0, 1.0, 2.0, 2.0]));
    let doubled = m.node("Resize", &[&deep, &region, &scales], &[]);
    let sum = m.node("Add", &[&doubled, &halved], &[]);
    let fused = conv(&mut m, &sum, [6, 8, 3, 3], 1, 1);
    let weight = m.weight(&[6, 2, 2, 2], &Random::new(15).normal(0.3, 48));
    let bias = m.weight(&[2], &[0.1, -0.1]);
    let y = m.node("ConvTranspose", &[&fused, &weight, &bias], &[("strides", Attribute::Ints(&[2, 2]))]);
    m.node_named("Sigmoid", &[&y], &[], "y");
    m.output("y", &[Extent::Fixed(1), Extent::Fixed(2), high, wide]);
    m.finish()
}

/// All of them, with names.
#[must_use]
pub fn all() -> Vec<(&'static str, ModelProto)> {
    vec![
        ("convolutional", convolutional()),
        ("transformer", transformer()),
        ("perceptron", perceptron()),
        ("text_detector", text_detector()),
    ]
}
