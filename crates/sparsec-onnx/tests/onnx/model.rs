//! Builds models.

use bytes::Bytes;
use onnx_protobuf::attribute_proto::AttributeType;
use onnx_protobuf::tensor_shape_proto::Dimension;
use onnx_protobuf::{
    AttributeProto, GraphProto, Message, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto,
};
use sparsec_graph::{Graph, TensorData, interpret, verify};
use sparsec_onnx::{OnnxError, Options, read_bytes};

pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT64: i32 = 7;
pub(crate) const STRING: i32 = 8;
pub(crate) const BOOL: i32 = 9;

/// A model under construction.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) proto: ModelProto,
}

impl Model {
    /// An empty model of this version of the standard operators.
    pub(crate) fn new(opset: i64) -> Self {
        let mut proto = ModelProto::new();
        proto.ir_version = 8;
        proto.opset_import.push(OperatorSetIdProto { version: opset, ..Default::default() });
        proto.graph = Some(GraphProto { name: "test".into(), ..Default::default() }).into();
        Model { proto }
    }

    pub(crate) fn graph(&mut self) -> &mut GraphProto {
        self.proto.graph.mut_or_insert_default()
    }

    /// A graph input; extents are numbers, names, or `?`, separated by spaces.
    pub(crate) fn input(mut self, name: &str, elem_type: i32, shape: &str) -> Self {
        let mut info = ValueInfoProto { name: name.into(), ..Default::default() };
        let tensor = info.type_.mut_or_insert_default().mut_tensor_type();
        tensor.elem_type = elem_type;
        let dims = &mut tensor.shape.mut_or_insert_default().dim;
        for extent in shape.split_whitespace() {
            let mut dim = Dimension::new();
            match extent.parse() {
                Ok(number) => dim.set_dim_value(number),
                Err(_) if extent == "?" => {}
                Err(_) => dim.set_dim_param(extent.replace('_', " ")),
            }
            dims.push(dim);
        }
        self.graph().input.push(info);
        self
    }

    /// A graph output.
    pub(crate) fn output(mut self, name: &str) -> Self {
        self.graph().output.push(ValueInfoProto { name: name.into(), ..Default::default() });
        self
    }

    /// Floating-point weights.
    pub(crate) fn floats(mut self, name: &str, dims: &[i64], values: &[f32]) -> Self {
        let tensor = TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: FLOAT,
            float_data: values.to_vec(),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
        self
    }

    /// Floating-point weights 0.1, -0.2, 0.3, ... of this shape.
    pub(crate) fn weights(self, name: &str, dims: &[i64]) -> Self {
        let count = dims.iter().product::<i64>();
        let values: Vec<f32> = (1..=count).map(|i| if i % 2 == 0 { -0.1 } else { 0.1 } * i as f32).collect();
        self.floats(name, dims, &values)
    }

    /// A vector of integers.
    pub(crate) fn ints(mut self, name: &str, values: &[i64]) -> Self {
        let tensor = TensorProto {
            name: name.into(),
            dims: vec![values.len() as i64],
            data_type: INT64,
            int64_data: values.to_vec(),
            ..Default::default()
        };
        self.graph().initializer.push(tensor);
        self
    }

    /// A tensor as it is.
    pub(crate) fn tensor(mut self, tensor: TensorProto) -> Self {
        self.graph().initializer.push(tensor);
        self
    }

    /// A node; operands and results are separated by spaces, `-` is a missing one.
    pub(crate) fn node(mut self, op: &str, inputs: &str, outputs: &str, attributes: Vec<AttributeProto>) -> Self {
        let names = |text: &str| text.split_whitespace().map(|n| n.replace('-', "")).collect();
        let node = NodeProto {
            op_type: op.into(),
            input: names(inputs),
            output: names(outputs),
            attribute: attributes,
            ..Default::default()
        };
        self.graph().node.push(node);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.proto.write_to_bytes().expect("the model is encoded")
    }

    pub(crate) fn read(&self) -> Result<Graph, OnnxError> {
        read(self.bytes(), &Options::default())
    }

    /// The text of the graph, which must be well-formed.
    pub(crate) fn text(&self) -> String {
        let graph = self.read().unwrap_or_else(|e| panic!("{e}"));
        verify(&graph).expect("the graph is well-formed");
        graph.to_string()
    }

    /// The message of the error.
    pub(crate) fn error(&self) -> String {
        self.read().expect_err("the model is refused").to_string()
    }

    /// The first result.
    pub(crate) fn run(&self, inputs: &[TensorData]) -> TensorData {
        self.run_all(inputs).swap_remove(0)
    }

    /// All outputs on these inputs.
    pub(crate) fn run_all(&self, inputs: &[TensorData]) -> Vec<TensorData> {
        let graph = self.read().unwrap_or_else(|e| panic!("{e}"));
        verify(&graph).expect("the graph is well-formed");
        interpret(&graph, inputs).unwrap_or_else(|e| panic!("{e}"))
    }
}

pub(crate) fn read(bytes: Vec<u8>, options: &Options) -> Result<Graph, OnnxError> {
    read_bytes(Bytes::from(bytes), None, options)
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.into(), type_: kind.into(), ..Default::default() }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::INT) }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::INTS) }
}

pub(crate) fn float(name: &str, f: f32) -> AttributeProto {
    AttributeProto { f, ..attribute(name, AttributeType::FLOAT) }
}

pub(crate) fn string(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: s.into(), ..attribute(name, AttributeType::STRING) }
}

pub(crate) fn strings(name: &str, texts: &[&str]) -> AttributeProto {
    let strings = texts.iter().map(|t| t.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::STRINGS) }
}

pub(crate) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t).into(), ..attribute(name, AttributeType::TENSOR) }
}

/// The graph of a model, as a body or branch.
pub(crate) fn graph(name: &str, model: Model) -> AttributeProto {
    AttributeProto { g: model.proto.graph, ..attribute(name, AttributeType::GRAPH) }
}
