//! From chosen e-nodes back to a graph.

use std::collections::BTreeMap;

use egg::Id;
use sparsec_graph::{Format, Graph, Node, NodeId, Op, TensorData, ValueId};

use crate::egraph::EGraph;
use crate::error::RewriteError;
use crate::extract::Selection;
use crate::lang::{ENode, Leaf, OpInfo, Relayout};
use crate::perm::{apply, inverse};
use crate::region::Region;
use crate::rules::weight_of;

/// The graph that is being written, region after region.
pub(crate) struct Emitter<'a> {
    source: &'a Graph,
    /// The new graph.
    pub(crate) graph: Graph,
    /// Where values of the source graph are in the new one.
    values: BTreeMap<ValueId, ValueId>,
    /// Constants that changed layout.
    relayouts: BTreeMap<String, ValueId>,
    /// New node -> class, for the report; of the last region.
    pub(crate) classes: BTreeMap<NodeId, Id>,
}

impl<'a> Emitter<'a> {
    /// A new graph with the inputs of `source`.
    pub(crate) fn new(source: &'a Graph) -> Self {
        let mut graph = Graph::new(source.name());
        graph.set_pages(source.pages().cloned());
        let mut values = BTreeMap::new();
        for &input in source.inputs() {
            let value = source.value(input);
            values.insert(input, graph.add_input(value.name.clone(), value.ty.clone()));
        }
        Emitter { source, graph, values, relayouts: BTreeMap::new(), classes: BTreeMap::new() }
    }

    /// Adds the chosen nodes of a region. Returns the new nodes in order.
    ///
    /// # Errors
    /// [`RewriteError::Infer`] where a node does not type-check, which no rule should cause.
    pub(crate) fn emit_region(
        &mut self,
        egraph: &EGraph,
        region: &Region,
        classes: &BTreeMap<ValueId, Id>,
        selection: &Selection,
    ) -> Result<Vec<NodeId>, RewriteError> {
        // Values of the source graph that a class holds exactly, not in another layout.
        let mut exact: BTreeMap<Id, ValueId> = BTreeMap::new();
        for &id in region.nodes.iter().rev() {
            let value = self.source.node(id).result();
            if let Some(&class) = classes.get(&value) {
                exact.insert(egraph.find(class), value);
            }
        }
        let mut done: BTreeMap<Id, ValueId> = BTreeMap::new();
        let mut nodes = Vec::new();
        self.classes.clear();
        for &class in &selection.order {
            let Some(node) = selection.nodes.get(&class) else { continue };
            let value = match node {
                ENode::Leaf(leaf) => self.leaf(egraph.analysis.leaf(*leaf)),
                ENode::Op(op, operands) => {
                    let info = egraph.analysis.op(*op);
                    let id = self.node(egraph, (class, exact.get(&class).copied()), info, operands, &done)?;
                    nodes.push(id);
                    self.classes.insert(id, class);
                    self.graph.node(id).result()
                }
            };
            done.insert(class, value);
        }
        for root in &region.roots {
            let class = classes.get(root).map(|&class| egraph.find(class));
            if let Some(&value) = class.and_then(|class| done.get(&class)) {
                self.values.insert(*root, value);
            }
        }
        Ok(nodes)
    }

    /// Takes a node over as it is, but for its operator.
    ///
    /// # Errors
    /// [`RewriteError::Infer`] where it does not type-check.
    pub(crate) fn copy_node(&mut self, id: NodeId, op: Op) -> Result<(), RewriteError> {
        let source = self.source.node(id);
        let operands = source.operands.iter().map(|&x| self.value(x)).collect();
        let node = Node { op, operands, ..source.clone() };
        let name = node.name.clone();
        let copy =
            self.graph.append_node(node).map_err(|error| RewriteError::Infer { node: name, error: Box::new(error) })?;
        for (i, &old) in source.results.iter().enumerate() {
            let new = self.graph.node(copy).results[i];
            self.graph.value_mut(new).name.clone_from(&self.source.value(old).name);
            self.values.insert(old, new);
        }
        Ok(())
    }

    /// The finished graph.
    pub(crate) fn finish(mut self) -> Graph {
        for (name, value) in self.source.outputs() {
            let value = self.value(*value);
            self.graph.add_output(name.clone(), value);
        }
        self.graph
    }

    fn node(
        &mut self,
        egraph: &EGraph,
        (class, exact): (Id, Option<ValueId>),
        info: &OpInfo,
        operands: &[Id],
        done: &BTreeMap<Id, ValueId>,
    ) -> Result<NodeId, RewriteError> {
        let inputs = operands.iter().filter_map(|&x| done.get(&egraph.find(x)).copied()).collect();
        let name = self.node_name(egraph, class, info);
        let mut node = Node::new(info.op.clone(), inputs, name);
        node.epilogue = info.epilogue.clone();
        // A search that was cut short may not have offered formats.
        let plain = weight_of(egraph, info, operands).map(|_| Format::Dense);
        node.format = info.format.clone().or(plain);
        let name = node.name.clone();
        let id =
            self.graph.append_node(node).map_err(|error| RewriteError::Infer { node: name, error: Box::new(error) })?;
        if let Some(value) = exact {
            let result = self.graph.node(id).result();
            self.graph.value_mut(result).name.clone_from(&self.source.value(value).name);
        }
        Ok(id)
    }

    fn node_name(&self, egraph: &EGraph, class: Id, info: &OpInfo) -> String {
        if let Some(anchor) = info.anchor {
            return self.source.node(anchor).name.clone();
        }
        let origin = egraph[class].data.origin;
        let name = origin.map(|value| match self.source.producer(value) {
            Some(node) => self.source.node(node).name.clone(),
            None => self.source.value(value).name.clone(),
        });
        match (name, &info.op) {
            (Some(name), Op::Transpose(_)) if !name.is_empty() => format!("{name}.transpose"),
            (name, _) => name.unwrap_or_default(),
        }
    }

    /// A value of the source graph in the new one; constants are added when first asked for.
    fn value(&mut self, value: ValueId) -> ValueId {
        if let Some(&known) = self.values.get(&value) {
            return known;
        }
        let added = match self.source.constant(value) {
            Some(constant) => self.graph.add_constant(constant.name.clone(), constant.data.clone()),
            // Inputs are there from the start, and regions come in order.
            None => value,
        };
        self.values.insert(value, added);
        added
    }

    fn leaf(&mut self, leaf: &Leaf) -> ValueId {
        let Some(constant) = self.source.constant(leaf.value).filter(|_| !leaf.steps.is_empty()) else {
            return self.value(leaf.value);
        };
        let key = format!("{} {:?}", leaf.value, leaf.steps);
        if let Some(&known) = self.relayouts.get(&key) {
            return known;
        }
        let data = leaf.steps.iter().fold(constant.data.clone(), |data, step| relayout(&data, step));
        let shape: Vec<String> = data.shape.iter().map(ToString::to_string).collect();
        let value = self.graph.add_constant(format!("{}.{}", constant.name, shape.join("x")), data);
        self.relayouts.insert(key, value);
        value
    }
}

/// A constant after one step.
fn relayout(data: &TensorData, step: &Relayout) -> TensorData {
    match step {
        Relayout::Reshape(shape) => TensorData { dtype: data.dtype, shape: shape.clone(), bytes: data.bytes.clone() },
        Relayout::Transpose(perm) => transpose(data, perm),
    }
}

/// Transposes by walking the source in order and scattering: whatever the element type, only bytes move.
fn transpose(data: &TensorData, perm: &[usize]) -> TensorData {
    let shape = apply(perm, &data.shape);
    let size = data.dtype.size();
    let mut strides = vec![size; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    // The stride in the result of each axis of the source.
    let strides = apply(&inverse(perm), &strides);
    let mut bytes = vec![0u8; data.bytes.len()];
    let mut index = vec![0usize; data.shape.len()];
    let mut to = 0;
    for element in data.bytes.chunks_exact(size) {
        bytes[to..to + size].copy_from_slice(element);
        for axis in (0..index.len()).rev() {
            index[axis] += 1;
            to += strides[axis];
            if index[axis] < data.shape[axis] {
                break;
            }
            to -= index[axis] * strides[axis];
            index[axis] = 0;
        }
    }
    TensorData { dtype: data.dtype, shape, bytes: bytes.into() }
}

#[cfg(test)]
mod tests {
    use super::transpose;
    use sparsec_graph::TensorData;

    #[test]
    fn constants_are_transposed() {
        let data = TensorData::f32(&[2, 1, 3], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let turned = transpose(&data, &[2, 0, 1]);
        assert_eq!(turned.shape, [3, 2, 1]);
        assert_eq!(turned.as_f32().as_deref(), Some([1.0, 4.0, 2.0, 5.0, 3.0, 6.0].as_slice()));
    }
}
