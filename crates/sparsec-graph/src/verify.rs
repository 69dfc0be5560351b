//! The verifier: what holds for every well-formed graph.
//!
//! 1. Every operand is a value of the graph: an input, a constant, or the result of a node that is still there.
//! 2. No node depends on its own result.
//! 3. A node's operands suit its operator and its epilogue, in number, element type and shape: inference succeeds. So
//!    contraction labels are valid, windows fit, epilogue arguments are in range and broadcast to the result.
//! 4. The types stored with a node's results are the inferred ones, and every result points back to its node.
//! 5. A format stands only at a contraction whose lhs, or a convolution whose weight, is a constant.
//! 6. A constant that is used is there; its bytes are as many as its shape and element type say, `bool` bytes are 0 or 1, and the value that holds
//!    it has its type.
//! 7. Inputs have names, no two the same, and no absurd shapes; so have outputs, which are values of the graph.
//! 8. Every symbol in a type or an attribute is bound once: it occurs in the shape of an input, or one node finds it out.
//! 9. The kernel of `loops` is a valid one of Stage II.
//! 10. All of this holds for the graphs within control flow, too. They know the symbols of the graph around them, and those
//!     that their own nodes find out.
//!
//! All violations are reported, not the first one only.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{Def, Dim, Graph, InferError, Node, NodeId, Op, Symbol, TensorType, Trip, ValueId, infer};

/// A violated invariant. Nodes are named as in the text form, with their number in this graph.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// Invariant 1.
    #[error("{node}: operand {value} is not defined")]
    UndefinedOperand {
        /// The node.
        node: String,
        /// Its operand.
        value: ValueId,
    },
    /// Invariant 2.
    #[error("{node}: depends on its own result")]
    Cycle {
        /// A node that is on a cycle, or behind one.
        node: String,
    },
    /// Invariant 3.
    #[error("{node}: {error}")]
    Infer {
        /// The node.
        node: String,
        /// What is wrong.
        error: InferError,
    },
    /// Invariant 4: types.
    #[error("{node}: result {result} is stored as {stored}, but is {inferred}")]
    ResultType {
        /// The node.
        node: String,
        /// Position of the result.
        result: usize,
        /// The stored type.
        stored: TensorType,
        /// The inferred type.
        inferred: TensorType,
    },
    /// Invariant 4: number and definition of the results.
    #[error("{node}: {reason}")]
    Results {
        /// The node.
        node: String,
        /// What is wrong.
        reason: String,
    },
    /// Invariant 9.
    #[error("{node}: {reason}")]
    Kernel {
        /// The node.
        node: String,
        /// What is wrong with its kernel.
        reason: String,
    },
    /// Invariant 5.
    #[error("{node}: format `{format}` without a constant weight")]
    Format {
        /// The node.
        node: String,
        /// The format.
        format: String,
    },
    /// Invariant 6.
    #[error("constant `{name}`: {reason}")]
    Constant {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Invariant 7.
    #[error("{reason}")]
    Interface {
        /// What is wrong.
        reason: String,
    },
    /// Invariant 8.
    #[error("{place}: no input's shape binds the symbol `{symbol}`")]
    UnboundSymbol {
        /// Where it occurs.
        place: String,
        /// The symbol.
        symbol: Symbol,
    },
    /// Invariant 10.
    #[error("{node}, within: {error}")]
    Nested {
        /// The node that holds the graph.
        node: String,
        /// What is wrong in it.
        error: Box<VerifyError>,
    },
}

/// Checks every invariant.
///
/// # Errors
/// All violations, nodes in ascending order of id.
pub fn verify(graph: &Graph) -> Result<(), Vec<VerifyError>> {
    let mut bound = BTreeSet::new();
    for &input in graph.inputs() {
        graph.ty(input).shape.iter().for_each(|extent| extent.collect_symbols(&mut bound));
    }
    let errors = violations(graph, bound);
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn violations(graph: &Graph, bound: BTreeSet<Symbol>) -> Vec<VerifyError> {
    let mut verifier = Verifier { graph, errors: Vec::new(), bound };
    verifier.inputs();
    verifier.counts();
    verifier.constants();
    verifier.nodes();
    verifier.outputs();
    verifier.errors
}

struct Verifier<'a> {
    graph: &'a Graph,
    errors: Vec<VerifyError>,
    bound: BTreeSet<Symbol>,
}

impl Verifier<'_> {
    fn interface(&mut self, reason: String) {
        self.errors.push(VerifyError::Interface { reason });
    }

    fn inputs(&mut self) {
        let mut names = BTreeSet::new();
        for &input in self.graph.inputs() {
            let value = self.graph.value(input);
            if value.name.is_empty() {
                self.interface(format!("input {input} has no name"));
            } else if !names.insert(value.name.as_str()) {
                self.interface(format!("two inputs are called `{}`", value.name));
            }
            // Casting to the same type is defined for every type that is not absurd.
            if let Err(error) = infer::infer_types(&Op::Cast(value.ty.dtype), &[&value.ty]) {
                let reason = error.to_string().replace("`cast`: ", "");
                self.interface(format!("input `{}`: {reason}", value.name));
            }
            let place = format!("input `{}`", value.name);
            value.ty.shape.iter().for_each(|extent| self.symbols(extent, &place));
        }
    }

    fn constants(&mut self) {
        let used = self.graph.use_counts();
        for index in 0..self.graph.value_count() {
            let id = ValueId::from_u32(index as u32);
            let value = self.graph.value(id);
            let Def::Const(_) = value.def else { continue };
            let reason = match self.graph.constant(id) {
                None if !used.contains_key(&id) => continue,
                None => "is used, but not in the store".to_owned(),
                Some(constant) => {
                    let data = &constant.data;
                    let expected = data.shape.iter().try_fold(data.dtype.size(), |n, &d| n.checked_mul(d));
                    if expected != Some(data.bytes.len()) {
                        format!("{} bytes for {}", data.bytes.len(), data.ty())
                    } else if data.dtype == crate::DType::Bool && data.bytes.iter().any(|&b| b > 1) {
                        "a bool that is neither 0 nor 1".to_owned()
                    } else if data.ty() != value.ty {
                        format!("is {}, but its value {id} is stored as {}", data.ty(), value.ty)
                    } else {
                        continue;
                    }
                }
            };
            self.errors.push(VerifyError::Constant { name: value.name.clone(), reason });
        }
    }

    /// Extents that nodes find out.
    fn counts(&mut self) {
        for (id, node) in self.graph.nodes() {
            let Op::Loops(spec) = &node.op else { continue };
            for count in &spec.counts {
                if !self.bound.insert(count.symbol.clone()) {
                    let reason = format!("finds out `{}`, which is bound already", count.symbol);
                    self.errors.push(VerifyError::Results { node: describe(id, node), reason });
                }
            }
        }
    }

    fn nodes(&mut self) {
        let ordered: BTreeSet<NodeId> = self.graph.topological_order().into_iter().collect();
        for (id, node) in self.graph.nodes() {
            let name = describe(id, node);
            if !ordered.contains(&id) {
                self.errors.push(VerifyError::Cycle { node: name.clone() });
            }
            let undefined: Vec<ValueId> = node.operands.iter().copied().filter(|&v| !self.is_defined(v)).collect();
            self.results(id, node, &name, undefined.is_empty());
            for value in undefined {
                self.errors.push(VerifyError::UndefinedOperand { node: name.clone(), value });
            }
            self.format(node, &name);
            if let Op::Loops(spec) = &node.op
                && let Err(errors) = sparsec_tir::verify_position(&spec.kernel)
            {
                self.errors.push(VerifyError::Kernel { node: name.clone(), reason: errors.to_string() });
            }
            for dim in attribute_dims(&node.op) {
                self.symbols(dim, &name);
            }
            for nested in node.op.graphs() {
                let errors = violations(nested, self.bound.clone()).into_iter();
                self.errors.extend(errors.map(|e| VerifyError::Nested { node: name.clone(), error: Box::new(e) }));
            }
        }
    }

    fn is_defined(&self, value: ValueId) -> bool {
        match self.graph.get_value(value).map(|v| v.def) {
            None => false,
            Some(Def::Node(node, i)) => {
                self.graph.contains(node) && self.graph.node(node).results.get(i as usize) == Some(&value)
            }
            Some(Def::Input(_) | Def::Const(_)) => true,
        }
    }

    fn results(&mut self, id: NodeId, node: &Node, name: &str, operands_defined: bool) {
        for (i, &result) in node.results.iter().enumerate() {
            match self.graph.get_value(result) {
                Some(value) if value.def == Def::Node(id, i as u32) => {
                    for dim in &value.ty.shape {
                        self.symbols(dim, name);
                    }
                }
                _ => self.errors.push(VerifyError::Results {
                    node: name.to_owned(),
                    reason: format!("result {result} does not point back to it"),
                }),
            }
        }
        if !operands_defined {
            return;
        }
        let inferred = match self.graph.infer_node(node) {
            Ok(types) => types,
            Err(error) => {
                self.errors.push(VerifyError::Infer { node: name.to_owned(), error });
                return;
            }
        };
        if inferred.len() != node.results.len() {
            self.errors.push(VerifyError::Results {
                node: name.to_owned(),
                reason: format!("{} results instead of {}", node.results.len(), inferred.len()),
            });
        }
        for (result, (&value, inferred)) in node.results.iter().zip(inferred).enumerate() {
            if let Some(value) = self.graph.get_value(value)
                && value.ty != inferred
            {
                let stored = value.ty.clone();
                self.errors.push(VerifyError::ResultType { node: name.to_owned(), result, stored, inferred });
            }
        }
    }

    fn format(&mut self, node: &Node, name: &str) {
        let Some(format) = &node.format else { return };
        let weight = match node.op {
            Op::Contract(_) => node.operands.first(),
            Op::Conv(_) => node.operands.get(1),
            _ => None,
        };
        let is_constant =
            |&v: &ValueId| self.graph.get_value(v).is_some_and(|value| matches!(value.def, Def::Const(_)));
        if !weight.is_some_and(is_constant) {
            self.errors.push(VerifyError::Format { node: name.to_owned(), format: format.to_string() });
        }
    }

    fn symbols(&mut self, dim: &Dim, place: &str) {
        let mut used = BTreeSet::new();
        dim.collect_symbols(&mut used);
        for symbol in used.difference(&self.bound) {
            let error = VerifyError::UnboundSymbol { place: place.to_owned(), symbol: symbol.clone() };
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
        }
    }

    fn outputs(&mut self) {
        let mut names = BTreeSet::new();
        for (name, value) in self.graph.outputs() {
            if name.is_empty() {
                self.interface("an output has no name".to_owned());
            } else if !names.insert(name) {
                self.interface(format!("two outputs are called `{name}`"));
            }
            if !self.is_defined(*value) {
                self.interface(format!("output `{name}`: {value} is not defined"));
            }
        }
    }
}

fn describe(id: NodeId, node: &Node) -> String {
    if node.name.is_empty() {
        format!("{id} {}", node.op.name())
    } else {
        format!("{id} {} `{}`", node.op.name(), node.name)
    }
}

/// The dimension expressions among an operator's attributes.
fn attribute_dims(op: &Op) -> Vec<&Dim> {
    match op {
        Op::Reshape(shape) | Op::Expand(shape) | Op::ShapeOf(shape) => shape.iter().collect(),
        Op::Slice(axes) => axes.iter().flat_map(|a| [&a.start, &a.len]).collect(),
        Op::Loop(spec) => match &spec.trip {
            Trip::Known(trip) => vec![trip],
            Trip::Operand | Trip::Unbounded => Vec::new(),
        },
        _ => Vec::new(),
    }
}
