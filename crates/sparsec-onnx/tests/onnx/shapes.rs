//! Dynamic dimensions: shape computations become expressions over symbols.

use insta::assert_snapshot;
use sparsec_graph::TensorData;
use sparsec_onnx::Options;

use crate::model::{FLOAT, INT64, Model, graph, int, ints, read};

/// Splits features into heads by a shape that is computed at run time, as exporters write it.
fn heads() -> Model {
    Model::new(13)
        .input("x", FLOAT, "batch seq 8")
        .ints("zero", &[0])
        .ints("two", &[2])
        .ints("minus", &[-1])
        .node("Shape", "x", "shape", vec![])
        .node("Slice", "shape zero two", "lead", vec![])
        .node("Concat", "lead two minus", "target", vec![int("axis", 0)])
        .node("Reshape", "x target", "split", vec![])
        .node("Transpose", "split", "y", vec![ints("perm", &[0, 2, 1, 3])])
        .output("y")
}

#[test]
fn reshape_by_computed_shape() {
    assert_snapshot!(heads().text());
}

#[test]
fn symbols_bound_to_numbers() {
    let options = Options { dims: [("batch".to_owned(), 1)].into(), ..Options::default() };
    let graph = read(heads().bytes(), &options).expect("the model is read");
    assert_snapshot!(graph.to_string());
}

#[test]
fn unknown_and_compound_dimensions() {
    let model = Model::new(13)
        .input("x", FLOAT, "? dim1 ?")
        .input("y", FLOAT, "past_+_1 2*n -7")
        .node("Shape", "y", "shape", vec![])
        .output("x")
        .output("shape");
    assert_snapshot!(model.text());
}

#[test]
fn shape_values_at_run_time() {
    let model = Model::new(15)
        .input("x", FLOAT, "n 3")
        .node("Shape", "x", "n", vec![int("end", 1)])
        .node("Size", "x", "size", vec![])
        .node("Add", "n size", "y", vec![])
        .output("y");
    let y = model.run(&[TensorData::f32(&[2, 3], vec![0.; 6])]);
    assert_eq!(y.as_i64(), Some(vec![8]));
}

#[test]
fn slices_of_dynamic_dimensions() {
    let model = Model::new(15)
        .input("x", FLOAT, "n 4")
        .weights("table", &[16, 4])
        .ints("zero", &[0])
        .ints("one", &[1])
        .ints("last", &[-1])
        .ints("far", &[i64::MAX])
        .node("Shape", "x", "n", vec![int("end", 1)])
        .node("Slice", "table zero n zero", "rows", vec![])
        .node("Slice", "x one far zero", "tail", vec![])
        .node("Slice", "x zero last zero", "head", vec![])
        .node("Add", "tail head", "pairs", vec![])
        .output("rows")
        .output("pairs");
    assert_snapshot!(model.text());
}

#[test]
fn expand_by_a_guarded_shape() {
    // `where(shape == -1, 1, shape)`, by which exporters spell `expand(-1, 4)`.
    let model = Model::new(13)
        .input("x", FLOAT, "n 1")
        .ints("four", &[4])
        .ints("one", &[1])
        .ints("ones", &[1, 1])
        .ints("minus", &[-1])
        .ints("zero", &[0])
        .node("Shape", "x", "shape", vec![])
        .node("Slice", "shape zero one", "n", vec![])
        .node("Concat", "n four", "wanted", vec![int("axis", 0)])
        .node("Equal", "wanted minus", "open", vec![])
        .node("Where", "open ones wanted", "target", vec![])
        .node("Expand", "x target", "y", vec![])
        .output("y");
    assert_snapshot!(model.text());
}

#[test]
fn arithmetic_on_extents() {
    let model = Model::new(13)
        .input("x", FLOAT, "n 6")
        .ints("zero", &[0])
        .ints("two", &[2])
        .ints("one", &[1])
        .node("Shape", "x", "shape", vec![])
        .node("Gather", "shape zero", "n", vec![])
        .node("Gather", "shape one", "k", vec![])
        .node("Mul", "n two", "rows", vec![])
        .node("Div", "k two", "columns", vec![])
        .node("Concat", "rows columns", "target", vec![int("axis", 0)])
        .node("Reshape", "x target", "y", vec![])
        .output("y");
    assert_snapshot!(model.text());
}

#[test]
fn unresolved_values_name_the_dimension() {
    let model = Model::new(13)
        .input("x", FLOAT, "n 6")
        .node("Shape", "x", "shape", vec![])
        .node("CenterCropPad", "x shape", "middle", vec![])
        .output("middle");
    assert_snapshot!(model.error(), @r"
    the model cannot be compiled:
      node `middle` (CenterCropPad of ai.onnx 13 on f32[n, 6], i64[2]): the new shape must be known when the model is compiled, but is computed from run-time data; fix the unknown dimensions that it depends on: --dim n=N
    ");
    let options = Options { dims: [("n".to_owned(), 3)].into(), ..Options::default() };
    assert_snapshot!(read(model.bytes(), &options).expect("the model is read").to_string());
}

#[test]
fn dimensions_that_are_not_there() {
    let bind = |name: &str, value| Options { dims: [(name.to_owned(), value)].into(), ..Options::default() };
    assert_snapshot!(read(heads().bytes(), &bind("tokens", 1)).expect_err("no such name"), @r"
    the model has no dimension named `tokens` to bind
    Its dimensions are: batch, seq.
    ");
    assert_snapshot!(read(heads().bytes(), &bind("seq", -1)).expect_err("negative"), @"dimension `seq` cannot be -1: bind it to a number that is not negative");
}

#[test]
fn gathered_tokens() {
    let model = Model::new(13)
        .input("ids", INT64, "batch seq")
        .weights("table", &[3, 2])
        .node("Gather", "table ids", "y", vec![])
        .output("y");
    let y = model.run(&[TensorData::i64(&[1, 2], vec![-1, 0])]);
    assert_eq!(y.shape, [1, 2, 2]);
    assert_eq!(y.as_f32().as_deref(), Some(&[0.5, -0.6, 0.1, -0.2][..]));
}

#[test]
fn inputs_bound_to_values() {
    let model =
        Model::new(13).input("x", FLOAT, "n 4").input("s", INT64, "r").node("Reshape", "x s", "y", vec![]).output("y");
    let bind = |name: &str, data| Options { bind: [(name.to_owned(), data)].into(), ..Options::default() };
    let error = read(model.bytes(), &Options::default()).expect_err("the shape must be known");
    assert!(error.to_string().contains("--bind s=FILE.npy"), "{error}");

    let graph = read(model.bytes(), &bind("s", TensorData::i64(&[2], vec![2, -1]))).expect("the shape is known");
    let inputs: Vec<&str> = graph.inputs().iter().map(|&v| graph.value(v).name.as_str()).collect();
    assert_eq!(inputs, ["x"]);
    assert_eq!(graph.ty(graph.outputs()[0].1).rank(), 2);

    // The extents of a value are those of the other inputs that have them by the same name.
    let same = Model::new(13).input("x", FLOAT, "n").input("y", FLOAT, "n").node("Add", "x y", "z", vec![]).output("z");
    let graph = read(same.bytes(), &bind("y", TensorData::f32(&[3], vec![1.; 3]))).expect("the types agree");
    assert_eq!(graph.ty(graph.inputs()[0]).const_shape(), Some(vec![3]));

    for data in [TensorData::f32(&[1], vec![1.]), TensorData::i64(&[1, 1], vec![1])] {
        let error = read(model.bytes(), &bind("s", data)).expect_err("the types differ");
        assert!(error.to_string().contains("the model takes i64[r]"), "{error}");
    }
    let error = read(model.bytes(), &bind("z", TensorData::i64(&[1], vec![1]))).expect_err("there is no `z`");
    assert!(error.to_string().contains("Its inputs are: x, s."), "{error}");
}

/// Each input's batch has a name of its own, but only equal ones can be joined; the shape holds for a batch of one.
#[test]
fn symbols_that_must_be_equal_or_one() {
    let model = Model::new(13)
        .input("x", FLOAT, "a n 3")
        .input("y", FLOAT, "b n 2")
        .ints("shape", &[-1, 5])
        .node("Concat", "x y", "joined", vec![int("axis", 2)])
        .node("Reshape", "joined shape", "rows", vec![])
        .output("rows");
    let graph = model.read().expect("the model is read");
    let shapes: Vec<String> = graph.inputs().iter().map(|&v| graph.value(v).ty.to_string()).collect();
    assert_eq!(shapes, ["f32[a, n, 3]", "f32[a, n, 2]"]);
    let model = Model::new(13)
        .input("x", FLOAT, "a n 5")
        .input("y", FLOAT, "n 5")
        .node("Shape", "y", "shape", vec![])
        .node("Reshape", "x shape", "rows", vec![])
        .output("rows");
    let graph = model.read().expect("the model is read");
    assert_eq!(graph.value(graph.inputs()[0]).ty.to_string(), "f32[1, n, 5]");
}

/// A cache with its mask: the mask's length has a name of its own.
#[test]
fn a_symbol_for_a_sum() {
    let model = Model::new(13)
        .input("past", FLOAT, "p 2")
        .input("new", FLOAT, "n 2")
        .input("mask", FLOAT, "total 2")
        .node("Concat", "past new", "all", vec![int("axis", 0)])
        .node("Mul", "all mask", "y", vec![])
        .output("y");
    let graph = model.read().expect("the model is read");
    assert_eq!(graph.value(graph.inputs()[2]).ty.to_string(), "f32[n + p, 2]");
    let rows = |n: usize, value: f32| TensorData::f32(&[n, 2], vec![value; 2 * n]);
    assert_eq!(model.run(&[rows(2, 3.0), rows(1, 5.0), rows(3, 2.0)]).as_f32().expect("f32")[3..], [6.0, 10.0, 10.0]);
}

/// What only some heights make equal is left to the run.
#[test]
fn extents_that_some_inputs_make_equal() {
    let model = Model::new(13)
        .input("x", FLOAT, "1 1 h 2")
        .input("y", FLOAT, "1 1 1 2")
        .node("MaxPool", "x", "low", vec![ints("kernel_shape", &[3, 1]), ints("strides", &[3, 1])])
        .node("Concat", "low y", "joined", vec![int("axis", 1)])
        .output("joined");
    let line = |h: usize| TensorData::f32(&[1, 1, h, 2], (0..2 * h).map(|i| i as f32).collect());
    assert_eq!(model.run(&[line(4), line(1)]).as_f32().expect("f32").to_vec(), [4.0, 5.0, 0.0, 1.0]);
}

/// An axis that PyTorch removes where its extent is 1: what follows takes one rank only.
#[test]
fn squeezing_what_the_input_decides() {
    let then = Model::new(13).ints("axes", &[2]).node("Squeeze", "low axes", "a", vec![]).output("a");
    let otherwise = Model::new(13).node("Identity", "low", "b", vec![]).output("b");
    let model = Model::new(13)
        .input("x", FLOAT, "n 1 h")
        .ints("last", &[2])
        .ints("one", &[1])
        .node("MaxPool", "x", "low", vec![ints("kernel_shape", &[3]), ints("strides", &[2])])
        .node("Shape", "low", "shape", vec![])
        .node("Gather", "shape last", "extent", vec![])
        .node("Equal", "extent one", "is_one", vec![])
        .node("If", "is_one", "y", vec![graph("then_branch", then), graph("else_branch", otherwise)])
        .output("y");
    let y = model.run(&[TensorData::f32(&[2, 1, 4], vec![1.0, 3.0, 2.0, 9.0, 0.0, -1.0, 5.0, 9.0])]);
    assert_eq!((y.shape.as_slice(), y.as_f32().expect("f32").to_vec()), (&[2, 1][..], vec![3.0, 5.0]));
}
