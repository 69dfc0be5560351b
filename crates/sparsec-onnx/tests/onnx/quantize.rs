//! Quantised operators, with values computed by hand.

use onnx_protobuf::TensorProto;
use sparsec_graph::{DType, TensorData};

use crate::model::{FLOAT, Model, int};

const UINT8: i32 = 2;
const INT8: i32 = 3;
const INT32: i32 = 6;
const UINT4: i32 = 21;
const INT4: i32 = 22;

fn tensor(name: &str, data_type: i32, dims: &[i64], values: &[i32]) -> TensorProto {
    let (name, dims, int32_data) = (name.into(), dims.to_vec(), values.to_vec());
    TensorProto { name, data_type, dims, int32_data, ..Default::default() }
}

#[test]
fn halves_go_to_even_and_the_rest_saturates() {
    let model = Model::new(19)
        .input("x", FLOAT, "6")
        .floats("scale", &[], &[2.0])
        .tensor(tensor("zero", INT8, &[], &[3]))
        .node("QuantizeLinear", "x scale zero", "y", vec![])
        .output("y");
    let x = TensorData::f32(&[6], vec![1.0, 3.0, -1.0, -3.0, 1000.0, -1000.0]);
    let y = model.run(&[x]);
    assert_eq!((y.dtype, y.as_i64().unwrap()), (DType::I8, vec![3, 5, 3, 1, 127, -128]));
}

#[test]
fn blocks_have_scales_and_the_last_may_be_shorter() {
    let model = Model::new(21)
        .input("x", UINT8, "5")
        .floats("scale", &[2], &[2.0, 10.0])
        .tensor(tensor("zero", UINT8, &[2], &[1, 5]))
        .node("DequantizeLinear", "x scale zero", "y", vec![int("axis", 0), int("block_size", 3)])
        .output("y");
    let x = TensorData::from_vec(DType::U8, &[5], vec![0u8, 1, 2, 3, 255]);
    assert_eq!(*model.run(&[x]).as_f32().unwrap(), [-2.0, 0.0, 2.0, -20.0, 2500.0]);
}

#[test]
fn four_bits_are_two_to_a_byte_in_the_file() {
    for (data_type, expected) in [(INT4, [1.0, -1.0, -8.0]), (UINT4, [1.0, 15.0, 8.0])] {
        let model = Model::new(21)
            .input("scale", FLOAT, "")
            .tensor(tensor("q", data_type, &[3], &[0xf1, 0x08]))
            .node("DequantizeLinear", "q scale", "y", vec![])
            .output("y");
        assert_eq!(*model.run(&[TensorData::f32(&[], vec![1.0])]).as_f32().unwrap(), expected);
    }
}

#[test]
fn products_count_from_the_zero_points() {
    let model = Model::new(13)
        .input("a", UINT8, "2 2")
        .tensor(tensor("b", INT8, &[2, 2], &[1, -128, 127, 0]))
        .tensor(tensor("za", UINT8, &[], &[100]))
        .tensor(tensor("zb", INT8, &[2], &[1, -1]))
        .node("MatMulInteger", "a b za zb", "y", vec![])
        .output("y");
    let a = TensorData::from_vec(DType::U8, &[2, 2], vec![100u8, 101, 0, 255]);
    // a - 100 = [0 1; -100 155], b - [1 -1] = [0 -127; 126 1].
    assert_eq!(model.run(&[a]).as_i64().unwrap(), [126, 1, 19530, 12855]);
}

#[test]
fn convolutions_pad_with_the_zero_point() {
    let model = Model::new(13)
        .input("x", UINT8, "1 1 3")
        .floats("sx", &[], &[0.5])
        .tensor(tensor("zx", UINT8, &[], &[10]))
        .tensor(tensor("w", INT8, &[2, 1, 3], &[1, 1, 1, 0, 2, 0]))
        .floats("sw", &[2], &[1.0, 0.25])
        .tensor(tensor("zw", INT8, &[2], &[0, 0]))
        .floats("sy", &[], &[1.0])
        .tensor(tensor("zy", UINT8, &[], &[7]))
        .tensor(tensor("bias", INT32, &[2], &[0, 8]))
        .node("QLinearConv", "x sx zx w sw zw sy zy bias", "y", vec![crate::model::ints("pads", &[1, 1])])
        .output("y");
    let x = TensorData::from_vec(DType::U8, &[1, 1, 3], vec![11u8, 12, 8]);
    // Sums: [3 1 0] and [2 + 8, 4 + 8, -4 + 8], times 0.5 and 0.125, halves to even.
    assert_eq!(model.run(&[x]).as_i64().unwrap(), [7 + 2, 7, 7, 7 + 1, 7 + 2, 7]);
}

#[test]
fn dynamic_ranges_hold_zero() {
    let model = Model::new(13)
        .input("x", FLOAT, "3")
        .node("DynamicQuantizeLinear", "x", "y s z", vec![])
        .node("DequantizeLinear", "y s z", "back", vec![])
        .output("back");
    let x = TensorData::f32(&[3], vec![25.5, 12.0, 3.0]);
    let back = model.run(&[x]);
    for (found, wanted) in back.as_f32().unwrap().iter().zip([25.5, 12.0, 3.0]) {
        assert!((found - wanted).abs() < 1e-5, "{found}");
    }
}

#[test]
fn sums_of_bytes_are_rounded_as_by_onnx_runtime() {
    let mut model = Model::new(17)
        .input("a", UINT8, "6")
        .input("b", UINT8, "6")
        .floats("sa", &[], &[0.25])
        .floats("sb", &[], &[0.3])
        .floats("sc", &[], &[0.1])
        .tensor(tensor("za", UINT8, &[], &[3]))
        .tensor(tensor("zb", UINT8, &[], &[128]))
        .tensor(tensor("zc", UINT8, &[], &[100]))
        .node("QLinearAdd", "a sa za b sb zb sc zc", "y", vec![])
        .output("y");
    model.graph().node[0].domain = "com.microsoft".into();
    let a = TensorData::from_vec(DType::U8, &[6], vec![0u8; 6]);
    let b = TensorData::from_vec(DType::U8, &[6], vec![99u8, 111, 121, 130, 132, 134]);
    // 0.25 (0 - 3) + 0.3 (b - 128) is half-way between two steps of 0.1 each time; these are ONNX Runtime's results.
    assert_eq!(model.run(&[a, b]).as_i64().unwrap(), [6, 42, 72, 98, 104, 110]);
}
