//! Writing ONNX models, node by node.

use bytes::Bytes;
use sparsec_onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

/// The operator set that the models use.
const OPSET: i64 = 17;

/// An attribute's value.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'a> {
    /// An integer.
    Int(i64),
    /// Integers.
    Ints(&'a [i64]),
    /// A number.
    Float(f32),
}

/// An extent of an input or output.
#[derive(Clone, Copy, Debug)]
pub enum Extent<'a> {
    /// Known.
    Fixed(i64),
    /// A name for what is known at run time only.
    Symbol(&'a str),
}

/// Builds a model; values and weights are known by name.
#[derive(Debug, Default)]
pub struct ModelBuilder {
    graph: GraphProto,
    next: usize,
}

impl ModelBuilder {
    /// An empty model.
    #[must_use]
    pub fn new(name: &str) -> Self {
        ModelBuilder { graph: GraphProto { name: Some(name.into()), ..GraphProto::default() }, next: 0 }
    }

    fn fresh(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Declares an `f32` input.
    pub fn input(&mut self, name: &str, shape: &[Extent<'_>]) -> String {
        self.graph.input.push(port(name, shape));
        name.to_owned()
    }

    /// Declares an `f32` output.
    pub fn output(&mut self, value: &str, shape: &[Extent<'_>]) {
        self.graph.output.push(port(value, shape));
    }

    /// Adds an `f32` weight; returns its name.
    pub fn weight(&mut self, shape: &[i64], values: &[f32]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        self.initializer(shape, DataType::Float, raw)
    }

    /// Adds an `i64` weight; returns its name.
    pub fn integers(&mut self, shape: &[i64], values: &[i64]) -> String {
        let raw = values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        self.initializer(shape, DataType::Int64, raw)
    }

    fn initializer(&mut self, shape: &[i64], data_type: DataType, raw: Vec<u8>) -> String {
        let name = self.fresh("w");
        self.graph.initializer.push(TensorProto {
            name: Some(name.clone()),
            dims: shape.to_vec(),
            data_type: Some(data_type.into()),
            raw_data: Some(Bytes::from(raw)),
            ..TensorProto::default()
        });
        name
    }

    /// Adds a node with one output; returns the output's name.
    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)]) -> String {
        let output = self.fresh("v");
        self.node_named(op, inputs, attributes, &output);
        output
    }

    /// Adds a node whose output has this name.
    pub fn node_named(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attribute<'_>)], output: &str) {
        self.graph.node.push(NodeProto {
            op_type: Some(op.into()),
            name: Some(format!("{op}_{output}")),
            input: inputs.iter().map(|&i| i.to_owned()).collect(),
            output: vec![output.to_owned()],
            attribute: attributes.iter().map(|(name, value)| attribute(name, *value)).collect(),
            ..NodeProto::default()
        });
    }

    /// The model.
    #[must_use]
    pub fn finish(self) -> ModelProto {
        ModelProto {
            ir_version: Some(8),
            producer_name: Some("sparsec-demo".into()),
            graph: Some(self.graph),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
            ..ModelProto::default()
        }
    }
}

fn attribute(name: &str, value: Attribute<'_>) -> AttributeProto {
    let mut attribute = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(i) => {
            attribute.i = Some(i);
            AttributeType::Int
        }
        Attribute::Ints(ints) => {
            attribute.ints = ints.to_vec();
            AttributeType::Ints
        }
        Attribute::Float(f) => {
            attribute.f = Some(f);
            AttributeType::Float
        }
    };
    attribute.r#type = Some(kind.into());
    attribute
}

fn port(name: &str, shape: &[Extent<'_>]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = shape.iter().map(|extent| Dimension {
        value: Some(match extent {
            Extent::Fixed(n) => Value::DimValue(*n),
            Extent::Symbol(s) => Value::DimParam((*s).to_owned()),
        }),
        ..Dimension::default()
    });
    let tensor = type_proto::Tensor {
        elem_type: Some(DataType::Float.into()),
        shape: Some(TensorShapeProto { dim: dim.collect() }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
