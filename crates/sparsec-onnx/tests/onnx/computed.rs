//! Amounts, bounds and frames that extents of the inputs decide, with values computed by hand.

use sparsec_graph::TensorData;

use crate::model::{FLOAT, Model, int, string};

fn line(values: &[f32]) -> TensorData {
    TensorData::f32(&[values.len()], values.to_vec())
}

fn values(y: &TensorData) -> Vec<f32> {
    y.as_f32().expect("f32").to_vec()
}

/// A line of `n` numbers with `4 - n` more, before them or after: fewer where that is negative.
fn filled(mode: &str, is_before: bool) -> Model {
    let mut model = Model::new(18).input("x", FLOAT, "n").ints("four", &[4]).ints("none", &[0]);
    model = model.node("Shape", "x", "n", vec![]).node("Sub", "four n", "missing", vec![]);
    let pads = if is_before { "missing none" } else { "none missing" };
    model
        .node("Concat", pads, "pads", vec![int("axis", 0)])
        .node("Pad", "x pads", "y", vec![string("mode", mode)])
        .output("y")
}

#[test]
fn padding_up_to_a_length() {
    let three = line(&[1.0, 2.0, 3.0]);
    for (mode, before, after) in [("constant", 0.0, 0.0), ("edge", 1.0, 3.0), ("reflect", 2.0, 2.0), ("wrap", 3.0, 1.0)]
    {
        assert_eq!(values(&filled(mode, true).run(std::slice::from_ref(&three))), [before, 1.0, 2.0, 3.0], "{mode}");
        assert_eq!(values(&filled(mode, false).run(std::slice::from_ref(&three))), [1.0, 2.0, 3.0, after], "{mode}");
    }
    let six = line(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    for mode in ["constant", "edge", "reflect", "wrap"] {
        assert_eq!(values(&filled(mode, true).run(std::slice::from_ref(&six))), [3.0, 4.0, 5.0, 6.0], "{mode}");
        assert_eq!(values(&filled(mode, false).run(std::slice::from_ref(&six))), [1.0, 2.0, 3.0, 4.0], "{mode}");
    }
}

/// Both sides of both axes of an image, up to multiples of its windows: `(4 - n % 4) % 4`.
#[test]
fn padding_to_whole_windows() {
    let model = Model::new(18)
        .input("x", FLOAT, "h w")
        .ints("four", &[4])
        .ints("none", &[0])
        .node("Shape", "x", "h", vec![int("end", 1)])
        .node("Shape", "x", "w", vec![int("start", 1)])
        .node("Mod", "h four", "h1", vec![])
        .node("Sub", "four h1", "h2", vec![])
        .node("Mod", "h2 four", "below", vec![])
        .node("Sub", "none w", "w1", vec![])
        .node("Mod", "w1 four", "right", vec![])
        .node("Concat", "none right below none", "pads", vec![int("axis", 0)])
        .node("Pad", "x pads", "y", vec![])
        .output("y");
    let y = model.run(&[TensorData::f32(&[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0])]);
    assert_eq!(y.shape, [4, 4]);
    let expected = [[0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 3.0, 4.0], [0.0, 0.0, 5.0, 6.0], [0.0; 4]];
    assert_eq!(values(&y), expected.as_flattened());
    let whole = TensorData::f32(&[4, 4], (0..16u8).map(f32::from).collect());
    assert_eq!(values(&model.run(std::slice::from_ref(&whole))), values(&whole));
}

#[test]
fn parts_of_an_open_axis_backwards() {
    let numbers = |n: u8| line(&(0..n).map(f32::from).collect::<Vec<_>>());
    for (start, end, step, of_six, of_two) in [
        (-1, i64::MIN, -1, vec![5.0, 4.0, 3.0, 2.0, 1.0, 0.0], vec![1.0, 0.0]),
        (3, i64::MIN, -1, vec![3.0, 2.0, 1.0, 0.0], vec![1.0, 0.0]),
        (3, 0, -1, vec![3.0, 2.0, 1.0], vec![1.0]),
        (-2, -5, -1, vec![4.0, 3.0, 2.0], vec![0.0]),
        (i64::MAX, 0, -2, vec![5.0, 3.0, 1.0], vec![1.0]),
        (-3, i64::MIN, -3, vec![3.0, 0.0], vec![]),
    ] {
        let model = Model::new(18)
            .input("x", FLOAT, "n")
            .ints("start", &[start])
            .ints("end", &[end])
            .ints("step", &[step])
            .ints("axis", &[0])
            .node("Slice", "x start end axis step", "y", vec![])
            .output("y");
        assert_eq!(values(&model.run(&[numbers(6)])), of_six, "{start}:{end}:{step}");
        assert_eq!(values(&model.run(&[numbers(2)])), of_two, "{start}:{end}:{step}");
    }
}

/// Frames of two points at distances of three: the sum of each and the difference.
#[test]
fn frames_of_an_open_sound() {
    let model = Model::new(18)
        .input("x", FLOAT, "1 n 1")
        .ints("step", &[3])
        .floats("window", &[2], &[1.0, 2.0])
        .node("STFT", "x step window", "y", vec![])
        .output("y");
    let y = model.run(&[TensorData::f32(&[1, 6, 1], vec![1.0, 10.0, 9.0, 2.0, 20.0, 9.0])]);
    assert_eq!(y.shape, [1, 2, 2, 2]);
    let expected = [21.0, 0.0, -19.0, 0.0, 42.0, 0.0, -38.0, 0.0];
    assert!(values(&y).iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{:?}", values(&y));
}

/// Two extents of which one is rounded agree for one element, too, but that is not what the model is for.
#[test]
fn a_rounded_extent_is_not_taken_to_be_one() {
    let model = Model::new(18)
        .input("x", FLOAT, "n")
        .ints("zero", &[0])
        .ints("one", &[1])
        .ints("two", &[2])
        .ints("three", &[3])
        .node("Shape", "x", "n", vec![])
        .node("Div", "n two", "half", vec![])
        .node("Add", "n one", "more", vec![])
        .node("Div", "more three", "third", vec![])
        .node("Slice", "x zero half zero", "a", vec![])
        .node("Slice", "x zero third zero", "b", vec![])
        .node("Add", "a b", "y", vec![])
        .output("y");
    assert_eq!(values(&model.run(&[line(&[1.0, 2.0, 3.0, 4.0, 5.0])])), [2.0, 4.0]);
}
