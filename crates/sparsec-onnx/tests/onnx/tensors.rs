//! Weights in each of their spellings.

use onnx_protobuf::tensor_proto::DataType;
use onnx_protobuf::{SparseTensorProto, TensorProto};
use sparsec_graph::{DType, Graph};

use crate::model::{FLOAT, INT64, Model, tensor};

fn weight(data_type: DataType, dims: &[i64]) -> TensorProto {
    TensorProto { name: "w".into(), dims: dims.to_vec(), data_type: data_type as i32, ..Default::default() }
}

fn only_constant(graph: &Graph) -> &sparsec_graph::TensorData {
    &graph.constants().next().expect("a constant").1.data
}

fn bytes_of(proto: TensorProto) -> (DType, Vec<u8>) {
    let graph = Model::new(13).tensor(proto).output("w").read().unwrap_or_else(|e| panic!("{e}"));
    let data = only_constant(&graph);
    (data.dtype, data.bytes.to_vec())
}

#[test]
fn narrow_types_are_stored_as_int32() {
    let ints = |data_type, values: &[i32]| {
        let proto = TensorProto { int32_data: values.to_vec(), ..weight(data_type, &[values.len() as i64]) };
        bytes_of(proto)
    };
    assert_eq!(ints(DataType::INT8, &[-1, 2]), (DType::I8, vec![255, 2]));
    assert_eq!(ints(DataType::UINT8, &[255]), (DType::U8, vec![255]));
    assert_eq!(ints(DataType::INT16, &[-2]), (DType::I16, vec![254, 255]));
    assert_eq!(ints(DataType::UINT16, &[0x0102]), (DType::U16, vec![2, 1]));
    assert_eq!(ints(DataType::BOOL, &[0, 7]), (DType::Bool, vec![0, 1]));
    assert_eq!(ints(DataType::FLOAT16, &[0x3c00]), (DType::F16, vec![0, 0x3c]));
    assert_eq!(ints(DataType::BFLOAT16, &[0x3f80]), (DType::BF16, vec![0x80, 0x3f]));
    assert_eq!(ints(DataType::INT32, &[1]), (DType::I32, vec![1, 0, 0, 0]));
}

#[test]
fn wide_types_have_their_own_fields() {
    let doubles = TensorProto { double_data: vec![1.5], ..weight(DataType::DOUBLE, &[]) };
    assert_eq!(bytes_of(doubles), (DType::F64, 1.5f64.to_le_bytes().to_vec()));
    let unsigned = TensorProto { uint64_data: vec![7], ..weight(DataType::UINT64, &[1]) };
    assert_eq!(bytes_of(unsigned), (DType::U64, 7u64.to_le_bytes().to_vec()));
    let narrow = TensorProto { uint64_data: vec![7], ..weight(DataType::UINT32, &[1]) };
    assert_eq!(bytes_of(narrow), (DType::U32, 7u32.to_le_bytes().to_vec()));
}

#[test]
fn raw_data_are_slices_of_the_input() {
    let raw: Vec<u8> = (0..64).collect();
    let model = Model::new(13).tensor(TensorProto { raw_data: raw, ..weight(DataType::FLOAT, &[4, 4]) }).output("w");
    let bytes = bytes::Bytes::from(model.bytes());
    let range = bytes.as_ptr_range();
    let graph = sparsec_onnx::read_bytes(bytes.clone(), None, &Default::default()).expect("the model is read");
    let weight = only_constant(&graph).bytes.as_ptr_range();
    assert!(range.start <= weight.start && weight.end <= range.end);
}

#[test]
fn raw_truth_values_are_0_or_1() {
    let raw = TensorProto { raw_data: vec![0, 1, 200], ..weight(DataType::BOOL, &[3]) };
    assert_eq!(bytes_of(raw), (DType::Bool, vec![0, 1, 1]));
}

#[test]
fn initializers_that_are_inputs_too_are_constants() {
    let model = Model::new(13)
        .input("x", FLOAT, "2")
        .input("w", FLOAT, "2")
        .floats("w", &[2], &[1., 2.])
        .node("Add", "x w", "y", vec![])
        .output("y");
    assert_eq!(model.read().expect("the model is read").inputs().len(), 1);
}

/// A sparse weight of shape 2 x 3 with two values.
fn sparse(indices: &[i64], index_dims: &[i64], dims: &[i64]) -> Model {
    let values = TensorProto { float_data: vec![5., 7.], ..weight(DataType::FLOAT, &[2]) };
    let places =
        TensorProto { int64_data: indices.to_vec(), data_type: INT64, dims: index_dims.to_vec(), ..Default::default() };
    let sparse = SparseTensorProto {
        values: Some(values).into(),
        indices: Some(places).into(),
        dims: dims.to_vec(),
        ..Default::default()
    };
    let mut model = Model::new(13).output("w");
    model.graph().sparse_initializer.push(sparse);
    model
}

#[test]
fn sparse_initializers_become_dense() {
    for model in [sparse(&[1, 5], &[2], &[2, 3]), sparse(&[0, 1, 1, 2], &[2, 2], &[2, 3])] {
        let graph = model.read().unwrap_or_else(|e| panic!("{e}"));
        let data = only_constant(&graph);
        assert_eq!(data.shape, [2, 3]);
        assert_eq!(data.as_f32().as_deref(), Some(&[0., 5., 0., 0., 0., 7.][..]));
    }
}

#[test]
fn sparse_indices_are_checked() {
    let error = |model: Model| model.error().lines().nth(1).unwrap_or_default().trim().to_owned();
    assert_eq!(error(sparse(&[5, 1], &[2], &[2, 3])), "initializer `w`: sparse index 1 is not in ascending order");
    assert_eq!(error(sparse(&[1, 1], &[2], &[2, 3])), "initializer `w`: sparse index 1 is not in ascending order");
    assert_eq!(error(sparse(&[1, 6], &[2], &[2, 3])), "initializer `w`: sparse index 6 is outside of the tensor");
    assert_eq!(error(sparse(&[-1, 1], &[2], &[2, 3])), "initializer `w`: sparse index -1 is outside of the tensor");
    assert_eq!(
        error(sparse(&[0, 3, 1, 0], &[2, 2], &[2, 3])),
        "initializer `w`: sparse index [0, 3] is outside of the tensor"
    );
    assert!(error(sparse(&[1], &[1], &[2, 3])).contains("does not fit 2 values"));
}

#[test]
fn sparse_tensors_do_not_inflate() {
    assert!(sparse(&[1, 5], &[2], &[1 << 20, 1 << 10]).error().contains("does not justify"));
    assert!(sparse(&[1, 5], &[2], &[1 << 40, 1 << 40]).error().contains("is not a valid tensor shape"));
}

#[test]
fn shapes_must_match_the_data() {
    let short = TensorProto { raw_data: vec![0; 7], ..weight(DataType::FLOAT, &[2]) };
    assert!(Model::new(13).tensor(short).output("w").error().contains("[2] of f32 takes 8 bytes, but 7 are stored"));
    let huge = weight(DataType::FLOAT, &[1 << 40]);
    assert!(Model::new(13).tensor(huge).output("w").error().contains("but 0 are stored"));
    let overflow = weight(DataType::FLOAT, &[0, 1 << 62, 1 << 62]);
    assert!(Model::new(13).tensor(overflow).output("w").error().contains("is not a valid tensor shape"));
    let negative = weight(DataType::FLOAT, &[-1]);
    assert!(Model::new(13).tensor(negative).output("w").error().contains("is not a valid tensor shape"));
    let text = weight(DataType::STRING, &[1]);
    assert!(
        Model::new(13).tensor(text).output("w").error().contains("[1] of string takes 1 elements, but 0 are stored")
    );
    let mut texts = vec![Vec::new(); 1 << 16];
    texts[0] = vec![b'a'; 1 << 16];
    let uneven = TensorProto { string_data: texts, ..weight(DataType::STRING, &[1 << 16]) };
    assert!(Model::new(13).tensor(uneven).output("w").error().contains("texts of so different lengths"));
    let bytes = TensorProto { string_data: vec![vec![0xff]], ..weight(DataType::STRING, &[1]) };
    assert!(Model::new(13).tensor(bytes).output("w").error().contains("not UTF-8"));
    let unknown = TensorProto { data_type: 99, ..weight(DataType::FLOAT, &[1]) };
    assert!(Model::new(13).tensor(unknown).output("w").error().contains("element type 99 is not supported"));
}

#[test]
fn constants_as_nodes() {
    let value = TensorProto { float_data: vec![1., 2.], ..weight(DataType::FLOAT, &[2]) };
    let model = Model::new(13).node("Constant", "", "c", vec![tensor("value", value)]).output("c");
    let graph = model.read().expect("the model is read");
    assert_eq!(only_constant(&graph).as_f32().as_deref(), Some(&[1., 2.][..]));
}
