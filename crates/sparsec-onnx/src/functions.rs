//! Functions that a model defines: each call is replaced by the nodes of the function.
//!
//! Names inside a function are its own: they get the name of the call before them (`call::name`). Attributes that refer
//! to one of the function have the value that the call gives, or else the function's default. A function may call others,
//! but not itself; what an expansion takes is limited by the size of the file, like all that is not in it.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;

use crate::error::{Fault, OnnxError, Place, Problem};
use crate::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, ValueInfoProto};
use crate::sparse::Budget;

/// Calls within calls.
const MAX_DEPTH: usize = 64;

/// Domain, name and overload.
type Key = (String, String, String);

/// Replaces all calls of the model's functions in `graph`.
///
/// # Errors
/// [`OnnxError::Invalid`] where functions call each other without end, or take more memory than the file justifies.
pub(crate) fn expand(model: &ModelProto, graph: &mut GraphProto, file_size: u64) -> Result<(), OnnxError> {
    if model.functions.is_empty() {
        return Ok(());
    }
    let key = |f: &FunctionProto| key_of(f.domain(), f.name(), f.overload());
    let functions = model.functions.iter().map(|f| (key(f), f)).collect();
    let mut expansion = Expansion { functions, budget: Budget::for_file(file_size), prefixes: BTreeSet::new() };
    expansion.graph(graph, 0).map_err(|problem| OnnxError::Invalid { problems: vec![*problem] })
}

fn key_of(domain: &str, name: &str, overload: &str) -> Key {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    (domain.to_owned(), name.to_owned(), overload.to_owned())
}

struct Expansion<'a> {
    functions: BTreeMap<Key, &'a FunctionProto>,
    budget: Budget,
    /// Prefixes that calls have.
    prefixes: BTreeSet<String>,
}

impl Expansion<'_> {
    fn graph(&mut self, graph: &mut GraphProto, depth: usize) -> Result<(), Box<Problem>> {
        graph.node = self.nodes(std::mem::take(&mut graph.node), depth)?;
        Ok(())
    }

    fn nodes(&mut self, nodes: Vec<NodeProto>, depth: usize) -> Result<Vec<NodeProto>, Box<Problem>> {
        let mut expanded = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            for attribute in &mut node.attribute {
                for graph in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                    self.graph(graph, depth)?;
                }
            }
            let called = self.functions.get(&key_of(node.domain(), node.op_type(), node.overload())).copied();
            let Some(function) = called else {
                expanded.push(node);
                continue;
            };
            let body = self.call(function, &node, depth).map_err(|fault| problem(&node, fault))?;
            expanded.extend(self.nodes(body, depth + 1)?);
        }
        Ok(expanded)
    }

    /// The nodes of one call.
    fn call(&mut self, function: &FunctionProto, node: &NodeProto, depth: usize) -> Result<Vec<NodeProto>, Fault> {
        if depth >= MAX_DEPTH {
            return Err(Fault::invalid(format!("functions of the model call each other more than {MAX_DEPTH} deep")));
        }
        let bytes: usize = function.node.iter().map(|n| n.encoded_len() + 256).sum();
        self.budget.take(bytes as u64)?;
        let call = Call { prefix: self.prefix(node), names: names(function, node), function, node };
        let mut body: Vec<NodeProto> = function.node.iter().map(|inner| call.instance(inner)).collect();
        // A result that is an operand takes a node to have its own name.
        for (inner, outer) in function.output.iter().zip(&node.output) {
            if function.input.contains(inner) && !outer.is_empty() {
                body.push(NodeProto {
                    op_type: Some("Identity".to_owned()),
                    input: vec![call.name(inner)],
                    output: vec![outer.clone()],
                    ..NodeProto::default()
                });
            }
        }
        Ok(body)
    }

    /// What stands before the names of a call; no two calls have the same.
    fn prefix(&mut self, node: &NodeProto) -> String {
        let first = node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
        let base = if node.name().is_empty() { first } else { node.name() };
        let mut prefix = base.to_owned();
        let mut number = 1;
        while !self.prefixes.insert(prefix.clone()) {
            number += 1;
            prefix = format!("{base}.{number}");
        }
        prefix
    }
}

fn problem(node: &NodeProto, fault: Fault) -> Box<Problem> {
    let first = node.output.iter().find(|o| !o.is_empty()).map_or("", String::as_str);
    let name = if node.name().is_empty() { first } else { node.name() }.to_owned();
    let (op, domain) = (node.op_type().to_owned(), node.domain().to_owned());
    Box::new(Problem { place: Place::Node { name, op, domain, opset: 0, operands: Vec::new() }, fault })
}

/// What the caller calls the operands and results of a function; operands that are left out have no name.
fn names(function: &FunctionProto, node: &NodeProto) -> BTreeMap<String, String> {
    let operands = function.input.iter().enumerate();
    let operands = operands.map(|(i, name)| (name.clone(), node.input.get(i).cloned().unwrap_or_default()));
    let results = function.output.iter().zip(&node.output).filter(|(inner, outer)| {
        // A result that nobody asks for keeps a name of the function.
        !outer.is_empty() && !function.input.contains(inner)
    });
    operands.chain(results.map(|(inner, outer)| (inner.clone(), outer.clone()))).collect()
}

struct Call<'a> {
    prefix: String,
    names: BTreeMap<String, String>,
    function: &'a FunctionProto,
    node: &'a NodeProto,
}

impl Call<'_> {
    fn name(&self, inner: &str) -> String {
        match self.names.get(inner) {
            _ if inner.is_empty() => String::new(),
            Some(outer) => outer.clone(),
            None => format!("{}::{inner}", self.prefix),
        }
    }

    /// A node of the function as it stands in the caller.
    fn instance(&self, inner: &NodeProto) -> NodeProto {
        NodeProto {
            input: inner.input.iter().map(|name| self.name(name)).collect(),
            output: inner.output.iter().map(|name| self.name(name)).collect(),
            name: inner.name.as_ref().filter(|n| !n.is_empty()).map(|name| format!("{}::{name}", self.prefix)),
            attribute: inner.attribute.iter().filter_map(|attribute| self.attribute(attribute)).collect(),
            ..inner.clone()
        }
    }

    /// An attribute with its value; `None` where it refers to one that the call leaves out and that has no default.
    fn attribute(&self, inner: &AttributeProto) -> Option<AttributeProto> {
        let mut attribute = match inner.ref_attr_name() {
            "" => inner.clone(),
            referred => {
                let given = self.node.attribute.iter().chain(&self.function.attribute_proto);
                let given = given.into_iter().find(|a| a.name() == referred)?;
                AttributeProto { name: inner.name.clone(), ..given.clone() }
            }
        };
        if inner.ref_attr_name().is_empty() {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(|graph| self.graph(graph));
        }
        Some(attribute)
    }

    /// A graph inside the function, whose names are the function's, too.
    fn graph(&self, graph: &mut GraphProto) {
        let rename = |port: &mut ValueInfoProto| port.name = Some(self.name(port.name()));
        graph.input.iter_mut().for_each(rename);
        graph.output.iter_mut().for_each(rename);
        for weight in &mut graph.initializer {
            weight.name = Some(self.name(weight.name()));
        }
        for weight in graph.sparse_initializer.iter_mut().filter_map(|w| w.values.as_mut()) {
            weight.name = Some(self.name(weight.name()));
        }
        for node in &mut graph.node {
            *node = self.instance(node);
        }
    }
}
