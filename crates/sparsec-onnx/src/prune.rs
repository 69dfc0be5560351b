//! Pruning by magnitude: writes zeros into the weights of a model, tensor by tensor, without training it again.
//!
//! Weights are seen as matrices (outputs x inputs); those of convolutions as outputs x (kernel positions x input
//! channels), channels fastest, so that N:M patterns and blocks lie along input channels. Pruned are the weights of
//! `Conv` (of one group, all but the model's first), `Gemm`, `MatMul`, `RNN`, `GRU` and `LSTM` that are `f32`, hold 1,024 elements or more,
//! and whose extents fit the pattern.

mod pattern;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sparsec_graph::{DType, TensorData};
use thiserror::Error;

use crate::TensorError;
use crate::external::ExternalFiles;
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::tensor;
pub use pattern::{PatternError, PrunePattern};

/// Fewest elements of a weight that is pruned.
const MIN_ELEMENTS: usize = 1024;

/// What was pruned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PruneReport {
    /// The pruned tensors in the order of the nodes that use them.
    pub tensors: Vec<PrunedTensor>,
}

/// A tensor that was pruned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrunedTensor {
    /// Its name.
    pub name: String,
    /// Number of its elements.
    pub elements: usize,
    /// Number of those that are not zero now.
    pub nonzeros: usize,
}

impl PruneReport {
    /// The fraction of zeros in all pruned tensors together; 0 where none was pruned.
    #[must_use]
    pub fn sparsity(&self) -> f64 {
        let elements: usize = self.tensors.iter().map(|t| t.elements).sum();
        let nonzeros: usize = self.tensors.iter().map(|t| t.nonzeros).sum();
        1.0 - nonzeros as f64 / elements.max(1) as f64
    }
}

/// Why a model can't be pruned.
#[derive(Debug, Error)]
pub enum PruneError {
    /// The model has no graph.
    #[error("the model has no graph")]
    NoGraph,
    /// A weight can't be read.
    #[error("initializer `{name}`: {source}")]
    Tensor {
        /// The weight.
        name: String,
        /// What is wrong with it.
        source: TensorError,
    },
}

/// Prunes a model in place. Weights in files beside it are looked for below `base_dir`; all of them, pruned or not, are
/// taken into the model, so that it may be written anywhere.
///
/// # Errors
///
/// [`PruneError`] where the model has no graph or a weight is malformed.
pub fn prune(
    model: &mut ModelProto,
    base_dir: Option<&Path>,
    pattern: &PrunePattern,
) -> Result<PruneReport, PruneError> {
    let graph = model.graph.as_mut().ok_or(PruneError::NoGraph)?;
    let mut report = PruneReport::default();
    prune_graph(graph, base_dir, pattern, &mut true, &mut report)?;
    Ok(report)
}

/// Prunes the weights of a graph and of the graphs within it.
fn prune_graph(
    graph: &mut GraphProto,
    base_dir: Option<&Path>,
    pattern: &PrunePattern,
    first_conv: &mut bool,
    report: &mut PruneReport,
) -> Result<(), PruneError> {
    constants_to_initializers(graph);
    inline_external_data(graph, base_dir)?;
    let GraphProto { node: nodes, initializer, .. } = graph;
    let places: BTreeMap<String, usize> =
        initializer.iter().enumerate().map(|(i, t)| (t.name().to_owned(), i)).collect();
    let mut done = BTreeSet::new();
    let mut users = Vec::new();
    weight_users(nodes, &mut users);
    for (node, input) in users {
        let Some(&place) = node.input.get(input).and_then(|name| places.get(name)) else { continue };
        if done.contains(&place) {
            continue;
        }
        if node.op_type() == "Conv" {
            let grouped = node.attribute.iter().any(|a| a.name() == "group" && a.i() != 1);
            if *first_conv || grouped {
                *first_conv = false;
                continue;
            }
        }
        let Some(proto) = initializer.get_mut(place) else { continue };
        if let Some(pruned) = prune_tensor(proto, node, pattern)? {
            report.tensors.push(pruned);
            done.insert(place);
        }
    }
    for graph in nodes.iter_mut().flat_map(|node| &mut node.attribute).filter_map(|a| a.g.as_mut()) {
        prune_graph(graph, base_dir, pattern, first_conv, report)?;
    }
    Ok(())
}

/// Makes initializers of the matrices that `Constant` nodes hold: some exporters write all weights so.
fn constants_to_initializers(graph: &mut GraphProto) {
    let GraphProto { node: nodes, initializer, .. } = graph;
    nodes.retain_mut(|node| {
        let [output] = node.output.as_slice() else { return true };
        let value = node.attribute.iter_mut().find(|a| a.name() == "value").and_then(|a| a.t.as_mut());
        let Some(value) = value.filter(|t| node.op_type.as_deref() == Some("Constant") && t.dims.len() > 1) else {
            return true;
        };
        let mut tensor = std::mem::take(value);
        tensor.name = Some(output.clone());
        initializer.push(tensor);
        false
    });
}

/// The nodes that multiply by a weight, with the number of the input that it is; graphs within nodes see the weights around.
fn weight_users<'a>(nodes: &'a [NodeProto], users: &mut Vec<(&'a NodeProto, usize)>) {
    for node in nodes {
        match node.op_type() {
            "Conv" | "Gemm" | "MatMul" => users.push((node, 1)),
            op if is_recurrent(op) => users.extend([(node, 1), (node, 2)]),
            _ => {}
        }
        node.attribute.iter().filter_map(|a| a.g.as_ref()).for_each(|graph| weight_users(&graph.node, users));
    }
}

/// Whether weights are matrices of (gates and hidden units, inputs), one for each direction.
fn is_recurrent(op: &str) -> bool {
    matches!(op, "RNN" | "GRU" | "LSTM")
}

fn inline_external_data(graph: &mut GraphProto, base_dir: Option<&Path>) -> Result<(), PruneError> {
    use crate::proto::tensor_proto::DataLocation;
    let mut files = ExternalFiles::new(base_dir);
    for tensor in graph.initializer.iter_mut().filter(|t| t.data_location() == DataLocation::External) {
        let bytes = files.read(&tensor.external_data);
        let name = || tensor.name().to_owned();
        tensor.raw_data = Some(bytes.map_err(|source| PruneError::Tensor { name: name(), source })?);
        tensor.external_data.clear();
        tensor.data_location = None;
    }
    Ok(())
}

/// Prunes one weight; `None` where it is left as it is.
fn prune_tensor(
    proto: &mut TensorProto,
    node: &NodeProto,
    pattern: &PrunePattern,
) -> Result<Option<PrunedTensor>, PruneError> {
    let rank = proto.dims.len();
    let wanted = match node.op_type() {
        "Conv" => rank >= 2,
        op if is_recurrent(op) => rank == 3,
        _ => rank == 2,
    };
    if !wanted || tensor::dtype(proto.data_type()).ok() != Some(DType::F32) {
        return Ok(None);
    }
    let name = proto.name().to_owned();
    let data = tensor::read(&mut proto.clone(), &mut ExternalFiles::default())
        .map_err(|source| PruneError::Tensor { name: name.clone(), source })?;
    let Some(values) = data.as_f32().filter(|v| v.len() >= MIN_ELEMENTS) else { return Ok(None) };
    let view = View::of(&data.shape, node);
    let matrix: Vec<f32> = (0..values.len()).map(|i| values[view.place(i)]).collect();
    let Some(keep) = pattern.keep(&matrix, view.rows, view.columns) else { return Ok(None) };
    let mut pruned = values.into_owned();
    for (i, keep) in keep.into_iter().enumerate() {
        if !keep {
            pruned[view.place(i)] = 0.0;
        }
    }
    let nonzeros = pruned.iter().filter(|v| **v != 0.0).count();
    let elements = pruned.len();
    proto.float_data.clear();
    proto.raw_data = Some(TensorData::f32(&data.shape, pruned).bytes);
    Ok(Some(PrunedTensor { name, elements, nonzeros }))
}

/// A weight seen as a matrix (outputs x inputs).
struct View {
    rows: usize,
    columns: usize,
    /// The weight's elements are ordered (rows, channels, positions), or (columns, rows) where transposed.
    channels: usize,
    transposed: bool,
}

impl View {
    fn of(shape: &[usize], node: &NodeProto) -> Self {
        let first = shape.first().copied().unwrap_or(1);
        let rest: usize = shape.iter().skip(1).product();
        if let ([_, _, columns], true) = (shape, is_recurrent(node.op_type())) {
            let rows = shape.iter().take(2).product();
            return View { rows, columns: *columns, channels: *columns, transposed: false };
        }
        let upright = match node.op_type() {
            "Conv" => true,
            "Gemm" => node.attribute.iter().any(|a| a.name() == "transB" && a.i() != 0),
            _ => false,
        };
        match upright {
            true => {
                let channels = shape.get(1).copied().unwrap_or(1);
                View { rows: first, columns: rest, channels, transposed: false }
            }
            false => View { rows: rest, columns: first, channels: first, transposed: true },
        }
    }

    /// Where element `i` of the matrix (row-major) is in the weight.
    fn place(&self, i: usize) -> usize {
        let (row, column) = (i / self.columns, i % self.columns);
        if self.transposed {
            return column * self.rows + row;
        }
        let (position, channel) = (column / self.channels, column % self.channels);
        row * self.columns + channel * (self.columns / self.channels) + position
    }
}
