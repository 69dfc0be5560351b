//! From the file's types to the graph: weights, inputs, nodes in order, outputs.
//!
//! Each operator's handler (found in [`registry`]) appends what the operator means. A handler that fails does not stop
//! the import: its results are marked as broken, nodes that use them are passed over, and all faults are reported
//! together.

mod activation;
mod assumed;
mod attention;
mod build;
mod cast;
mod constant;
mod context;
mod control;
mod conv;
mod conv_transpose;
mod einsum;
mod elementwise;
mod fold;
mod found;
mod gradient;
mod index;
mod inputs;
mod integer;
mod loss;
mod matmul;
mod microsoft;
mod ml;
mod ngrams;
mod node;
mod normalize;
mod pad;
mod pool;
mod quantize;
mod quantize_microsoft;
mod random;
mod rearrange;
mod reconcile;
mod recurrent;
mod reduce;
mod registry;
mod reshape;
mod resize;
mod rotary;
mod running;
mod scatter;
mod sequence;
mod shape;
mod signal;
mod slice;
mod sort;
mod spectrum;
mod strings;
mod symbolic;
mod training;
mod trigonometry;
mod trip;
mod vision;
mod window;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sparsec_graph::Graph;

use crate::error::{Fault, OnnxError, Place, Problem, UnsupportedOp};
use crate::external::ExternalFiles;
use crate::functions;
use crate::mapped::{Mapping, Mappings};
use crate::proto::{self, GraphProto, ModelProto, NodeProto};
use crate::sparse::{self, Budget};
use crate::{Options, tensor};
use assumed::Assumed;
use context::{Context, Operand};
use node::Node;

pub use registry::supported_ops;

/// Versions of the standard operator set that are read.
pub(crate) const OPSETS: RangeInclusive<i64> = 1..=25;

/// Versions of the standard operator set that are read.
#[must_use]
pub fn operator_sets() -> RangeInclusive<i64> {
    OPSETS
}

/// The graph of a model. `pages` is the mapping that `bytes` belong to, where they do.
///
/// Networks that halve an image and double it again fit together only for extents that are multiples of some power of two, which
/// no model states. So where extents differ by a rounded quotient of symbols, those symbols are taken to be multiples. Symbols
/// that must be equal to another, or 1, for extents to agree are taken to be that. Where none of this helps, a run compares extents.
pub(crate) fn import_model(
    bytes: Bytes,
    pages: Option<Mapping>,
    base_dir: Option<&Path>,
    options: &Options,
) -> Result<Graph, OnnxError> {
    let import = |assumed: &Assumed| import_once(bytes.clone(), pages.clone(), base_dir, options, assumed);
    let mut assumed = Assumed::default();
    let first = match import(&assumed) {
        Ok(graph) => return Ok(graph),
        Err(fault) => fault,
    };
    let mut later = None;
    while assumed.equate(later.as_ref().unwrap_or(&first)) {
        match import(&assumed) {
            Ok(graph) => return Ok(graph),
            Err(fault) => later = Some(fault),
        }
    }
    let candidates = assumed::candidates(later.as_ref().unwrap_or(&first));
    for times in assumed::TIMES {
        let mut names = candidates.clone();
        while !names.is_empty() {
            let before = names.len();
            assumed.multiples = names.iter().map(|name| (name.clone(), times)).collect();
            match import(&assumed) {
                Ok(graph) => return Ok(graph),
                // Another symbol may have come to light: a node's first fault hides its second.
                Err(next) => names.extend(assumed::candidates(&next)),
            }
            if names.len() == before {
                break;
            }
        }
    }
    assumed.multiples.clear();
    assumed.reconciles = true;
    if let Ok(graph) = import(&assumed) {
        return Ok(graph);
    }
    // What is left is what the user has to see to.
    Err(later.unwrap_or(first))
}

fn import_once(
    bytes: Bytes,
    pages: Option<Mapping>,
    base_dir: Option<&Path>,
    options: &Options,
    assumed: &Assumed,
) -> Result<Graph, OnnxError> {
    let file_size = bytes.len() as u64;
    let mut model = proto::decode(bytes)?;
    let mut graph = model.graph.take().ok_or(OnnxError::NoGraph)?;
    functions::expand(&model, &mut graph, file_size)?;
    let opsets = Opsets::of(&model);
    let version = opsets.version("");
    let is_used = graph.node.iter().any(|n| plain_domain(n.domain()).is_empty());
    if !OPSETS.contains(&version) && (version != 0 || is_used) {
        return Err(OnnxError::Opset { version });
    }
    let mut ops = unknown_operators(&graph, &opsets);
    let mut cx = Context::new(graph.name(), ExternalFiles::new(base_dir), Budget::for_file(file_size));
    cx.reconciles = assumed.reconciles;
    let mut import = Import {
        cx,
        names: BTreeMap::new(),
        outer_names: Vec::new(),
        problems: Vec::new(),
        operands: BTreeMap::new(),
        nested_nodes: 0,
    };
    import.initializers(&mut graph);
    import.inputs(&graph, options, assumed)?;
    for proto in &graph.node {
        import.node(proto, &opsets);
    }
    import.outputs(&graph);
    let mappings: Vec<Mapping> = pages.into_iter().chain(import.cx.files.mappings()).collect();
    if !mappings.is_empty() {
        import.cx.graph.set_pages(Some(Arc::new(Mappings(mappings))));
    }
    let problems = import.problems;
    for op in &mut ops {
        op.operands = import.operands.remove(&op.node).unwrap_or_default();
    }
    match (ops.is_empty(), problems.is_empty()) {
        (true, true) => Ok(import.cx.graph),
        (true, false) => Err(OnnxError::Invalid { problems }),
        (false, _) => Err(OnnxError::Unsupported { ops, problems }),
    }
}

/// The operator sets that a model declares, by domain; the standard domain is the empty name.
struct Opsets(BTreeMap<String, i64>);

impl Opsets {
    fn of(model: &ModelProto) -> Self {
        Opsets(model.opset_import.iter().map(|o| (plain_domain(o.domain()).to_owned(), o.version())).collect())
    }

    fn version(&self, domain: &str) -> i64 {
        self.0.get(plain_domain(domain)).copied().unwrap_or(0)
    }
}

fn plain_domain(domain: &str) -> &str {
    if domain == "ai.onnx" { "" } else { domain }
}

/// The name of a node, or else that of its first result.
fn node_name(node: &NodeProto) -> String {
    let first = node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
    if node.name().is_empty() { first } else { node.name() }.to_owned()
}

/// Finds all operators that are not supported.
fn unknown_operators(graph: &GraphProto, opsets: &Opsets) -> Vec<UnsupportedOp> {
    let mut ops = Vec::new();
    for node in &graph.node {
        let domain = plain_domain(node.domain());
        if registry::is_control(domain, node.op_type()) {
            let nested = node.attribute.iter().filter_map(|a| a.g.as_ref());
            ops.extend(nested.flat_map(|graph| unknown_operators(graph, opsets)));
        } else if registry::handler(domain, node.op_type()).is_none() {
            ops.push(unsupported(node, opsets));
        }
    }
    ops
}

fn unsupported(node: &NodeProto, opsets: &Opsets) -> UnsupportedOp {
    let domain = plain_domain(node.domain());
    UnsupportedOp {
        node: node_name(node),
        op: node.op_type().to_owned(),
        domain: if domain.is_empty() { "ai.onnx" } else { domain }.to_owned(),
        opset: opsets.version(domain),
        operands: Vec::new(),
    }
}

/// The state of one import.
struct Import {
    cx: Context,
    /// What each name stands for; `None` where its definition failed.
    names: BTreeMap<String, Option<Operand>>,
    /// The names of the graphs around the one that is being read, the model's first.
    outer_names: Vec<BTreeMap<String, Option<Operand>>>,
    problems: Vec<Problem>,
    /// Types of the operands of nodes whose operators are not supported, by the node's name.
    operands: BTreeMap<String, Vec<String>>,
    /// How many nodes of graphs within graphs were read so far, as often as they were.
    nested_nodes: usize,
}

impl Import {
    fn report(&mut self, place: Place, fault: Fault) {
        self.problems.push(Problem { place, fault });
    }

    /// Binds a name; every name is defined once.
    fn define(&mut self, name: &str, operand: Option<Operand>) -> Result<(), Fault> {
        match self.names.entry(name.to_owned()) {
            Entry::Vacant(entry) => {
                entry.insert(operand);
                Ok(())
            }
            Entry::Occupied(_) => Err(Fault::Redefined(name.to_owned())),
        }
    }

    fn initializers(&mut self, graph: &mut GraphProto) {
        for proto in &mut graph.initializer {
            let name = proto.name().to_owned();
            let data = tensor::read(proto, &mut self.cx.files);
            self.initializer(name, data);
        }
        for proto in &mut graph.sparse_initializer {
            let name = proto.values.as_ref().map(|v| v.name().to_owned()).unwrap_or_default();
            let data = sparse::densify(proto, &mut self.cx.files, &mut self.cx.budget);
            self.initializer(name, data);
        }
    }

    fn initializer(&mut self, name: String, data: Result<sparsec_graph::TensorData, crate::TensorError>) {
        let operand = match data {
            Ok(data) => Ok(self.cx.add_data(&name, data)),
            Err(e) => Err(Fault::from(e)),
        };
        let defined = self.define(&name, operand.as_ref().ok().copied());
        if let Err(fault) = operand.and(defined) {
            self.report(Place::Initializer(name), fault);
        }
    }

    fn node(&mut self, proto: &NodeProto, opsets: &Opsets) {
        let mut operands = Vec::new();
        let since = self.cx.graph.value_count();
        let results = match self.resolve(proto) {
            Ok(Some(inputs)) => {
                operands.extend(inputs.iter().flatten().map(|&x| self.cx.ty(x).to_string()));
                let domain = plain_domain(proto.domain());
                // What is built into another domain follows the standard operators of the model's version.
                let node = Node { proto, inputs, opset: opsets.version("") };
                self.cx.node_name = node_name(proto);
                if registry::is_control(domain, proto.op_type()) {
                    self.control(&node, opsets)
                } else {
                    self.handle(domain, &node)
                }
            }
            // A fault further up is reported there.
            Ok(None) => Ok(Vec::new()),
            Err(fault) => Err(fault),
        };
        let UnsupportedOp { node, op, domain, opset, .. } = unsupported(proto, opsets);
        let plain = plain_domain(proto.domain());
        if registry::handler(plain, proto.op_type()).is_none() && !registry::is_control(plain, proto.op_type()) {
            self.operands.insert(node.clone(), operands.clone());
        }
        let place = || Place::Node {
            name: node.clone(),
            op: op.clone(),
            domain: domain.clone(),
            opset,
            operands: operands.clone(),
        };
        let results = results.unwrap_or_else(|fault| {
            self.report(place(), fault);
            Vec::new()
        });
        for (i, name) in proto.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            let operand = results.get(i).copied();
            if let Some(operand) = operand {
                self.cx.set_value_name(operand, name, since);
            }
            if let Err(fault) = self.define(name, operand) {
                self.report(place(), fault);
            }
        }
    }

    fn handle(&mut self, domain: &str, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
        let op = node.proto.op_type();
        let is_sequence = |x: &Operand| self.cx.sequence(*x).is_some();
        if !registry::takes_sequences(domain, op) && node.inputs.iter().flatten().any(is_sequence) {
            return Err(Fault::unsupported(format!("a sequence as an operand of {op}")));
        }
        if node.inputs.iter().flatten().any(|&x| self.cx.is_text(x)) && !registry::takes_anything(domain, op) {
            let known = registry::handler(domain, op);
            return match strings::handler(domain, op) {
                Some(handler) => handler(&mut self.cx, node),
                None if known.is_some() => Err(Fault::unsupported(format!("a text as an operand of {op}"))),
                None => Ok(Vec::new()),
            };
        }
        // Operators that are not supported are listed apart.
        registry::handler(domain, op).map_or_else(|| Ok(Vec::new()), |handler| handler(&mut self.cx, node))
    }

    /// What a name stands for, here or in the graphs around.
    fn find(&self, name: &str) -> Option<&Option<Operand>> {
        self.names.get(name).or_else(|| self.outer_names.iter().rev().find_map(|names| names.get(name)))
    }

    /// The operands of a node; `None` where one is broken.
    fn resolve(&self, proto: &NodeProto) -> Result<Option<Vec<Option<Operand>>>, Fault> {
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in &proto.input {
            inputs.push(match self.find(name) {
                _ if name.is_empty() => None,
                Some(Some(operand)) => Some(*operand),
                Some(None) => return Ok(None),
                None => return Err(Fault::Undefined(name.clone())),
            });
        }
        Ok(Some(inputs))
    }

    /// The outputs with what they are; tensor `i` of the sequence `y` is the output `y.i`.
    fn output_ports(&self, graph: &GraphProto) -> Vec<(String, Option<Option<Operand>>)> {
        let mut ports = Vec::new();
        for output in &graph.output {
            let name = output.name();
            let operand = self.names.get(name).copied();
            match operand.flatten().and_then(|x| self.cx.sequence(x)) {
                Some(items) => {
                    ports.extend(items.iter().enumerate().map(|(i, &x)| (format!("{name}.{i}"), Some(Some(x)))))
                }
                None => ports.push((name.to_owned(), operand)),
            }
        }
        ports
    }

    fn outputs(&mut self, graph: &GraphProto) {
        let mut known = BTreeSet::new();
        for (name, operand) in self.output_ports(graph) {
            let name = name.as_str();
            let value = match operand {
                _ if name.is_empty() => Err(Fault::Unnamed),
                Some(Some(operand)) => {
                    self.cx.node_name = name.to_owned();
                    self.cx.value(operand)
                }
                Some(None) => continue,
                None => Err(Fault::Undefined(name.to_owned())),
            };
            match value {
                Ok(_) if !known.insert(name.to_owned()) => {
                    self.report(Place::Output(name.to_owned()), Fault::Redefined(name.to_owned()))
                }
                Ok(value) => self.cx.graph.add_output(name, value),
                Err(fault) => self.report(Place::Output(name.to_owned()), fault),
            }
        }
        if graph.output.is_empty() {
            self.report(Place::Graph, Fault::invalid("the model has no outputs"));
        }
    }
}
