//! The graph: values, nodes, constants.
//!
//! Values are graph inputs, constants, or node results. Nodes keep their operands in order; petgraph holds the topology
//! (one edge per operand that another node computes) and answers questions of order and reach. Its indices do not leave
//! this file.

mod order;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use sparsec_sparse::Format;

use crate::{Dim, Op, Pages, ScalarExpr, Symbol, TensorData, TensorType};

macro_rules! entity {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// The id of this number.
            #[must_use]
            pub fn from_u32(index: u32) -> Self {
                $name(index)
            }

            /// Its number.
            #[must_use]
            pub fn as_u32(self) -> u32 {
                self.0
            }

            /// Its number as an index.
            #[must_use]
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

entity!(
    /// A tensor value: `%3`.
    ValueId,
    "%"
);
entity!(
    /// A node: `n3`.
    NodeId,
    "n"
);
entity!(
    /// A constant of the store: `@c3`.
    ConstId,
    "@c"
);

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Def {
    /// The graph input of this position.
    Input(u32),
    /// A constant.
    Const(ConstId),
    /// Result `1` of node `0`.
    Node(NodeId, u32),
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Element type and shape.
    pub ty: TensorType,
    /// Where it comes from.
    pub def: Def,
    /// The name in the source model; empty where there is none.
    pub name: String,
}

/// A node. Operands are in the order that [`Op`] documents, followed by those of the epilogue.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// Operands in order.
    pub operands: Vec<ValueId>,
    /// Results in order.
    pub results: Vec<ValueId>,
    /// The name of the node in the source model, for messages and reports.
    pub name: String,
    /// What is applied to each result element before it is stored.
    pub epilogue: Option<Epilogue>,
    /// How the constant weight (operand `lhs` of a contraction, `w` of a convolution) is stored.
    pub format: Option<Format>,
}

/// A fused element-wise chain at the end of a kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Epilogue {
    /// How many of the node's operands belong to the operator itself; the others are `$0, $1, ...` of `expr`.
    pub first_operand: u32,
    /// What is stored.
    pub expr: ScalarExpr,
}

impl Node {
    /// A node before it is put into a graph.
    #[must_use]
    pub fn new(op: Op, operands: Vec<ValueId>, name: impl Into<String>) -> Self {
        Node { op, operands, results: Vec::new(), name: name.into(), epilogue: None, format: None }
    }

    /// The only result.
    #[must_use]
    pub fn result(&self) -> ValueId {
        self.results[0]
    }
}

/// A named constant of the store.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// The name in the source model.
    pub name: String,
    /// Type and bytes.
    pub data: TensorData,
}

/// A graph of tensor operators.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    name: String,
    topology: StableDiGraph<Node, ()>,
    values: Vec<Value>,
    inputs: Vec<ValueId>,
    outputs: Vec<(String, ValueId)>,
    /// By id; `None` where a constant was removed.
    constants: Vec<Option<Constant>>,
    /// What constants borrow their bytes from.
    pages: Option<Arc<dyn Pages>>,
}

impl Graph {
    /// An empty graph.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// The graph's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds a graph input.
    pub fn add_input(&mut self, name: impl Into<String>, ty: TensorType) -> ValueId {
        let value = self.add_value(Value { ty, def: Def::Input(self.inputs.len() as u32), name: name.into() });
        self.inputs.push(value);
        value
    }

    /// Adds a constant and the value that holds it.
    pub fn add_constant(&mut self, name: impl Into<String>, data: TensorData) -> ValueId {
        let (name, id) = (name.into(), ConstId(self.constants.len() as u32));
        let ty = data.ty();
        self.constants.push(Some(Constant { name: name.clone(), data }));
        self.add_value(Value { ty, def: Def::Const(id), name })
    }

    /// Adds a node with results of these types. The builder (`builder.rs`) infers the types first.
    pub fn add_node(&mut self, mut node: Node, types: Vec<TensorType>) -> NodeId {
        node.results.clear();
        let name = node.name.clone();
        let operands = node.operands.clone();
        let id = NodeId(self.topology.add_node(node).index() as u32);
        for (i, ty) in types.into_iter().enumerate() {
            let name = if i == 0 { name.clone() } else { format!("{name}.{i}") };
            let value = self.add_value(Value { ty, def: Def::Node(id, i as u32), name });
            self.topology[index(id)].results.push(value);
        }
        for operand in operands {
            self.connect(operand, id);
        }
        id
    }

    fn add_value(&mut self, value: Value) -> ValueId {
        self.values.push(value);
        ValueId(self.values.len() as u32 - 1)
    }

    fn connect(&mut self, operand: ValueId, user: NodeId) {
        if let Some(Value { def: Def::Node(source, _), .. }) = self.values.get(operand.index())
            && self.contains(*source)
        {
            self.topology.add_edge(index(*source), index(user), ());
        }
    }

    /// Declares an output.
    pub fn add_output(&mut self, name: impl Into<String>, value: ValueId) {
        self.outputs.push((name.into(), value));
    }

    /// Graph inputs in order.
    #[must_use]
    pub fn inputs(&self) -> &[ValueId] {
        &self.inputs
    }

    /// Graph outputs in order, with their names.
    #[must_use]
    pub fn outputs(&self) -> &[(String, ValueId)] {
        &self.outputs
    }

    /// A value.
    #[must_use]
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    /// A value, or `None` where the id is of no value of this graph.
    #[must_use]
    pub fn get_value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.index())
    }

    /// A value, to change its name or type.
    pub fn value_mut(&mut self, id: ValueId) -> &mut Value {
        &mut self.values[id.index()]
    }

    /// The type of a value.
    #[must_use]
    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.values[id.index()].ty
    }

    /// Number of values ever added; ids are below it.
    #[must_use]
    pub fn value_count(&self) -> usize {
        self.values.len()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.topology[index(id)]
    }

    /// A node's epilogue, to change it; its operands are changed with [`Graph::set_operands`].
    pub fn node_attrs_mut(&mut self, id: NodeId) -> (&mut Op, &mut Option<Epilogue>, &mut Option<Format>) {
        let node = &mut self.topology[index(id)];
        (&mut node.op, &mut node.epilogue, &mut node.format)
    }

    /// Whether a node is still there.
    #[must_use]
    pub fn contains(&self, id: NodeId) -> bool {
        self.topology.contains_node(index(id))
    }

    /// The nodes that hold graphs, ascending.
    #[must_use]
    pub fn control_nodes(&self) -> Vec<NodeId> {
        self.nodes().filter(|(_, node)| node.op.is_control()).map(|(id, _)| id).collect()
    }

    /// The nodes in ascending order of id.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.topology.node_indices().map(|i| (NodeId(i.index() as u32), &self.topology[i]))
    }

    /// Number of nodes.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.topology.node_count()
    }

    /// The node that computes a value.
    #[must_use]
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        match self.value(value).def {
            Def::Node(node, _) => Some(node),
            Def::Input(_) | Def::Const(_) => None,
        }
    }

    /// The constant that a value holds; `None` for other values, and for a constant that was removed.
    #[must_use]
    pub fn constant(&self, value: ValueId) -> Option<&Constant> {
        match self.value(value).def {
            Def::Const(id) => self.constants.get(id.index())?.as_ref(),
            Def::Input(_) | Def::Node(..) => None,
        }
    }

    /// The constants in order of id.
    pub fn constants(&self) -> impl Iterator<Item = (ConstId, &Constant)> {
        self.constants.iter().enumerate().filter_map(|(i, c)| Some((ConstId(i as u32), c.as_ref()?)))
    }

    /// Removes the constant that a value holds, and with it its bytes. The value must have no uses left.
    pub fn remove_constant(&mut self, value: ValueId) {
        if let Def::Const(id) = self.value(value).def
            && let Some(constant) = self.constants.get_mut(id.index())
        {
            *constant = None;
        }
    }

    /// Removes all constants. What is left has nodes, types and names, for reports; it can't be lowered or interpreted.
    pub fn strip_constants(&mut self) {
        self.constants.fill(None);
        self.pages = None;
        for node in self.topology.node_weights_mut() {
            node.op.graphs_mut().into_iter().for_each(Graph::strip_constants);
        }
    }

    /// Says what constants borrow their bytes from.
    pub fn set_pages(&mut self, pages: Option<Arc<dyn Pages>>) {
        self.pages = pages;
    }

    /// What constants borrow their bytes from, where that can let go of memory.
    #[must_use]
    pub fn pages(&self) -> Option<&Arc<dyn Pages>> {
        self.pages.as_ref()
    }

    /// The elements of a constant of this graph, as [`TensorData::values`] gives them; where they are copied, they are not
    /// in memory twice.
    #[must_use]
    pub fn values<'a, T: bytemuck::AnyBitPattern + bytemuck::NoUninit>(
        &self,
        data: &'a TensorData,
    ) -> Option<Cow<'a, [T]>> {
        if size_of::<T>() != data.dtype.size() {
            return None;
        }
        match bytemuck::try_cast_slice(&data.bytes) {
            Ok(slice) => Some(Cow::Borrowed(slice)),
            Err(_) => data.copy_values(self.pages.as_deref()).map(Cow::Owned),
        }
    }

    /// Lets go of the memory behind borrowed constants, which stay valid: see [`Pages`].
    pub fn release_pages(&self) {
        if let Some(pages) = &self.pages {
            pages.release();
        }
    }

    /// The nodes that use a value, ascending, each once. (Outputs are not nodes: see [`Graph::is_output`].)
    #[must_use]
    pub fn users(&self, value: ValueId) -> Vec<NodeId> {
        let mut users: Vec<NodeId> = match self.value(value).def {
            Def::Node(node, _) => self
                .topology
                .neighbors_directed(index(node), Direction::Outgoing)
                .map(|i| NodeId(i.index() as u32))
                .collect(),
            Def::Input(_) | Def::Const(_) => self.nodes().map(|(id, _)| id).collect(),
        };
        users.sort_unstable();
        users.dedup();
        users.retain(|&u| self.node(u).operands.contains(&value));
        users
    }

    /// Whether a value is a graph output.
    #[must_use]
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.iter().any(|(_, v)| *v == value)
    }

    /// How often each value is used: as an operand (counted with multiplicity) or as an output.
    #[must_use]
    pub fn use_counts(&self) -> BTreeMap<ValueId, usize> {
        let mut counts = BTreeMap::new();
        let operands = self.nodes().flat_map(|(_, n)| n.operands.iter().copied());
        for value in operands.chain(self.outputs.iter().map(|(_, v)| *v)) {
            *counts.entry(value).or_insert(0) += 1;
        }
        counts
    }

    /// Replaces a node's operands.
    pub fn set_operands(&mut self, id: NodeId, operands: Vec<ValueId>) {
        let incoming: Vec<_> = self.topology.edges_directed(index(id), Direction::Incoming).map(|e| e.id()).collect();
        for edge in incoming {
            self.topology.remove_edge(edge);
        }
        for &operand in &operands {
            self.connect(operand, id);
        }
        self.topology[index(id)].operands = operands;
    }

    /// Makes every user of `from`, and every output, use `to` instead.
    pub fn replace_uses(&mut self, from: ValueId, to: ValueId) {
        for user in self.users(from) {
            let operands = self.node(user).operands.iter().map(|&v| if v == from { to } else { v }).collect();
            self.set_operands(user, operands);
        }
        for (_, value) in &mut self.outputs {
            if *value == from {
                *value = to;
            }
        }
    }

    /// Replaces symbols in all types and attributes, as `--dim batch=1` does. Types stay what inference says.
    pub fn substitute_symbols(&mut self, values: &BTreeMap<Symbol, Dim>) {
        for value in &mut self.values {
            for extent in &mut value.ty.shape {
                *extent = extent.substitute(values);
            }
        }
        for node in self.topology.node_weights_mut() {
            let Ok(op) = node.op.try_map_dims(|dim| Ok::<_, std::convert::Infallible>(dim.substitute(values)));
            node.op = op;
        }
    }

    /// The graph with every dimension expression replaced, in types and in attributes.
    pub(crate) fn map_dims<E>(&self, value: &mut dyn FnMut(&Dim) -> Result<Dim, E>) -> Result<Graph, E> {
        let mut graph = self.clone();
        for held in &mut graph.values {
            for extent in &mut held.ty.shape {
                *extent = value(extent)?;
            }
        }
        for node in graph.topology.node_weights_mut() {
            node.op = node.op.map_dims(value)?;
        }
        Ok(graph)
    }

    /// Removes a node. Its results must have no uses left. A node that is added later may get its id.
    pub fn remove_node(&mut self, id: NodeId) {
        self.topology.remove_node(index(id));
    }
}

/// Equal ids for equal things.
impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
            && self.values == other.values
            && self.inputs == other.inputs
            && self.outputs == other.outputs
            && self.constants == other.constants
            && self.nodes().eq(other.nodes())
    }
}

fn index(id: NodeId) -> NodeIndex {
    NodeIndex::new(id.index())
}
