//! A case on disk.
//!
//! `node`, `simple` and `pytorch-*` hold a folder a case: `model.onnx` and `test_data_set_N/{input,output}_N.pb`.
//! `light` holds networks whose weights are computed from constants: `NAME.onnx` and `NAME_output_N.pb`, and the inputs
//! are the numbers from 0 below 1 in equal steps.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use sparsec::graph::TensorData;
use sparsec_onnx::proto::tensor_shape_proto::dimension::Value as Extent;
use sparsec_onnx::proto::{self, ModelProto, ValueInfoProto, type_proto};

use super::Subject;

/// Folders of cases.
pub const FOLDERS: [&str; 5] = ["node", "simple", "light", "pytorch-operator", "pytorch-converted"];

/// A tensor, or the tensors of a sequence or an optional value.
#[derive(Clone, Debug)]
pub enum Value {
    /// A tensor.
    Tensor(TensorData),
    /// None or several.
    Items(Vec<TensorData>),
}

impl Value {
    /// The tensors.
    #[must_use]
    pub fn tensors(&self) -> &[TensorData] {
        match self {
            Value::Tensor(data) => std::slice::from_ref(data),
            Value::Items(items) => items,
        }
    }
}

/// Inputs and the outputs that they must give, in the order of the model.
#[derive(Clone, Debug)]
pub struct DataSet {
    /// The inputs.
    pub inputs: Vec<Value>,
    /// The tensors of all outputs.
    pub outputs: Vec<TensorData>,
}

/// A case in memory.
#[derive(Clone, Debug)]
pub struct Case {
    /// The model's bytes.
    pub model: Bytes,
    /// The folder of the model.
    pub folder: PathBuf,
    /// Names of the inputs that the data have values for.
    pub inputs: Vec<String>,
    /// The data.
    pub sets: Vec<DataSet>,
}

/// The operator of a case's model, where that has only one node; what it becomes is not known yet.
#[must_use]
pub fn subject(data: &Path, name: &str) -> Option<Subject> {
    let model = proto::decode(read_bytes(&data.join(name).join("model.onnx")).ok()?).ok()?;
    let [node] = model.graph.as_ref()?.node.as_slice() else { return None };
    let standard = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let domain = if standard(node.domain()) { "ai.onnx" } else { node.domain() };
    let same = |other: &str| other == node.domain() || (standard(other) && domain == "ai.onnx");
    let opset = model.opset_import.iter().find(|set| same(set.domain())).map_or(0, |set| set.version());
    Some(Subject { domain: domain.to_owned(), operator: node.op_type().to_owned(), opset, becomes: Vec::new() })
}

/// Why a case can't be read.
#[derive(Clone, Debug)]
pub enum Unreadable {
    /// It passes what no compiled model takes.
    Skipped(String),
    /// Its tensors can't be decoded.
    Failed(String),
}

/// Names of all cases below `data`, sorted within each folder.
///
/// # Errors
/// Where a folder can't be listed.
pub fn all(data: &Path) -> std::io::Result<Vec<String>> {
    let mut cases = Vec::new();
    for folder in FOLDERS {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(data.join(folder))? {
            let path = entry?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.join("model.onnx").is_file() || (folder == "light" && path.extension().is_some_and(|e| e == "onnx"))
            {
                names.push(format!("{folder}/{name}"));
            }
        }
        names.sort();
        cases.extend(names);
    }
    Ok(cases)
}

/// Reads a case.
///
/// # Errors
/// Where it can't be read, or holds what a compiled model can't take.
pub fn read(data: &Path, name: &str) -> Result<Case, Unreadable> {
    let is_light = name.starts_with("light/");
    let folder = if is_light { data.join("light") } else { data.join(name) };
    let file = if is_light { data.join(format!("{name}.onnx")) } else { folder.join("model.onnx") };
    let model = read_bytes(&file)?;
    let decoded = proto::decode(model.clone()).map_err(|e| Unreadable::Failed(e.to_string()))?;
    let inputs = free_inputs(&decoded);
    let outputs: Vec<&ValueInfoProto> = decoded.graph.iter().flat_map(|g| &g.output).collect();
    for port in inputs.iter().chain(&outputs) {
        kind(port)?;
    }
    let sets = if is_light {
        let inputs = inputs.iter().map(|input| ramp(input).map(Value::Tensor)).collect::<Result<_, _>>()?;
        let output = |i| tensor(&data.join(format!("{name}_output_{i}.pb")));
        vec![DataSet { inputs, outputs: (0..outputs.len()).map(output).collect::<Result<_, _>>()? }]
    } else {
        let mut sets = Vec::new();
        while let Some(set) = data_set(&folder.join(format!("test_data_set_{}", sets.len())), &inputs, &outputs)? {
            sets.push(set);
        }
        sets
    };
    if sets.is_empty() {
        return Err(Unreadable::Failed("no test data".to_owned()));
    }
    let inputs = inputs.iter().map(|input| input.name().to_owned()).collect();
    Ok(Case { model, folder, inputs, sets })
}

/// Inputs that are not weights with a declaration.
fn free_inputs(model: &ModelProto) -> Vec<&ValueInfoProto> {
    let Some(graph) = &model.graph else { return Vec::new() };
    let is_weight = |name: &str| graph.initializer.iter().any(|weight| weight.name() == name);
    graph.input.iter().filter(|input| !is_weight(input.name())).collect()
}

/// What a file holds.
#[derive(Clone, Copy)]
enum Kind {
    Tensor,
    Sequence,
    Optional,
}

fn kind(port: &ValueInfoProto) -> Result<Kind, Unreadable> {
    match port.r#type.as_ref().and_then(|t| t.value.as_ref()) {
        Some(type_proto::Value::TensorType(_)) | None => Ok(Kind::Tensor),
        Some(type_proto::Value::SequenceType(_)) => Ok(Kind::Sequence),
        Some(type_proto::Value::OptionalType(_)) => Ok(Kind::Optional),
        Some(_) => Err(Unreadable::Skipped("inputs or outputs of type map or sparse tensor".to_owned())),
    }
}

fn data_set(
    folder: &Path,
    inputs: &[&ValueInfoProto],
    outputs: &[&ValueInfoProto],
) -> Result<Option<DataSet>, Unreadable> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let file = |kind: &str, i: usize| folder.join(format!("{kind}_{i}.pb"));
    let count = (0..).take_while(|&i| file("input", i).is_file()).count();
    let inputs = inputs.iter().take(count).enumerate().map(|(i, port)| value(&file("input", i), kind(port)?));
    let outputs = outputs.iter().enumerate().map(|(i, port)| value(&file("output", i), kind(port)?));
    let inputs = inputs.collect::<Result<_, _>>()?;
    let outputs: Vec<Value> = outputs.collect::<Result<_, _>>()?;
    Ok(Some(DataSet { inputs, outputs: outputs.iter().flat_map(Value::tensors).cloned().collect() }))
}

fn read_bytes(file: &Path) -> Result<Bytes, Unreadable> {
    std::fs::read(file).map(Bytes::from).map_err(|e| Unreadable::Failed(format!("{}: {e}", file.display())))
}

fn tensor(file: &Path) -> Result<TensorData, Unreadable> {
    decoded(proto::decode_tensor(read_bytes(file)?)).map(|(_, data)| data)
}

fn value(file: &Path, kind: Kind) -> Result<Value, Unreadable> {
    match kind {
        Kind::Tensor => tensor(file).map(Value::Tensor),
        Kind::Sequence => decoded(proto::decode_sequence(read_bytes(file)?)).map(Value::Items),
        Kind::Optional => decoded(proto::decode_optional(read_bytes(file)?)).map(Value::Items),
    }
}

fn decoded<T>(result: Result<T, sparsec_onnx::OnnxError>) -> Result<T, Unreadable> {
    match result {
        Ok(value) => Ok(value),
        Err(sparsec_onnx::OnnxError::Invalid { problems }) => {
            let faults: Vec<String> = problems.iter().map(|p| p.fault.to_string()).collect();
            Err(Unreadable::Failed(faults.join("; ")))
        }
        Err(error) => Err(Unreadable::Failed(error.to_string())),
    }
}

/// The numbers `0/n`, `1/n`, ... below 1 in the shape of an input; an open extent is 1.
fn ramp(input: &ValueInfoProto) -> Result<TensorData, Unreadable> {
    let Some(type_proto::Value::TensorType(ty)) = input.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Err(Unreadable::Failed("an input without a type".to_owned()));
    };
    let extent = |value: &Option<Extent>| match value {
        Some(Extent::DimValue(n)) => usize::try_from(*n).unwrap_or(1),
        _ => 1,
    };
    let shape: Vec<usize> = ty.shape.iter().flat_map(|s| &s.dim).map(|d| extent(&d.value)).collect();
    let count: usize = shape.iter().product();
    Ok(TensorData::f32(&shape, (0..count).map(|i| (i as f64 / count as f64) as f32).collect()))
}
