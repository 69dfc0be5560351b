//! The language of the e-graph: tensor operators over leaves.
//!
//! An e-node has to be small and hashable, and [`Op`] is neither (it holds floats and vectors). So operators with all
//! their attributes are interned in a table, and an e-node is an index into it plus its operands.

use std::collections::BTreeMap;

use egg::{Id, Language};
use sparsec_graph::{Epilogue, Format, NodeId, Op, TensorType, ValueId};

/// Index into [`Tables::ops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpId(u32);

/// Index into [`Tables::leaves`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LeafId(u32);

/// An e-node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ENode {
    /// A value from outside the region: an input, a constant, a result of an earlier region.
    Leaf(LeafId),
    /// An operator and its operands.
    Op(OpId, Vec<Id>),
}

/// What the head of an e-node is; two e-nodes of one head may still have different operands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Head {
    Leaf(LeafId),
    Op(OpId),
}

impl Language for ENode {
    type Discriminant = Head;

    fn discriminant(&self) -> Head {
        match self {
            ENode::Leaf(leaf) => Head::Leaf(*leaf),
            ENode::Op(op, _) => Head::Op(*op),
        }
    }

    fn matches(&self, other: &Self) -> bool {
        self.discriminant() == other.discriminant() && self.len() == other.len()
    }

    fn children(&self) -> &[Id] {
        match self {
            ENode::Leaf(_) => &[],
            ENode::Op(_, operands) => operands,
        }
    }

    fn children_mut(&mut self) -> &mut [Id] {
        match self {
            ENode::Leaf(_) => &mut [],
            ENode::Op(_, operands) => operands,
        }
    }
}

/// An operator with everything that belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpInfo {
    /// The operator.
    pub(crate) op: Op,
    /// What is fused to its end.
    pub(crate) epilogue: Option<Epilogue>,
    /// How its weight is stored.
    pub(crate) format: Option<Format>,
    /// For contractions and convolutions: the node of the source graph that this computes. It keeps the name through
    /// all rewrites, and keeps the decisions about two equal layers apart.
    pub(crate) anchor: Option<NodeId>,
}

impl OpInfo {
    /// An operator alone.
    pub(crate) fn plain(op: Op) -> Self {
        OpInfo { op, epilogue: None, format: None, anchor: None }
    }

    /// Whether nothing is fused and no format is chosen yet; layout rules look at such operators only, since fusion
    /// follows for every layout.
    pub(crate) fn is_bare(&self) -> bool {
        self.epilogue.is_none() && self.format.is_none()
    }
}

/// One step that a constant goes through while compiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Relayout {
    /// Another shape of the same elements.
    Reshape(Vec<usize>),
    /// Axes permuted as in [`Op::Transpose`].
    Transpose(Vec<usize>),
}

/// A value from outside the region, and for a constant what is done to it at compile time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leaf {
    /// The value in the source graph.
    pub(crate) value: ValueId,
    /// Steps in order; empty except for constants.
    pub(crate) steps: Vec<Relayout>,
    /// The type after the steps.
    pub(crate) ty: TensorType,
    /// Whether it is a constant.
    pub(crate) constant: bool,
    /// The value of a floating-point constant of one element.
    pub(crate) scalar: Option<f64>,
    /// How often the source graph uses the value.
    pub(crate) uses: u32,
}

/// The interned operators and leaves.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    ops: Vec<OpInfo>,
    op_ids: BTreeMap<String, OpId>,
    leaves: Vec<Leaf>,
    leaf_ids: BTreeMap<String, LeafId>,
}

impl Tables {
    /// The id of an operator.
    pub(crate) fn intern(&mut self, info: OpInfo) -> OpId {
        // The debug text shows every attribute and tells -0.0 from 0.0, which `==` on floats would not. That of extents
        // is long; their display is as exact.
        let key = match &info.op {
            Op::Reshape(to) | Op::Expand(to) => {
                let extents: Vec<String> = to.iter().map(ToString::to_string).collect();
                format!("{} {}", info.op.name(), extents.join(", "))
            }
            _ => format!("{info:?}"),
        };
        let next = OpId(self.ops.len() as u32);
        let id = *self.op_ids.entry(key).or_insert(next);
        if id == next {
            self.ops.push(info);
        }
        id
    }

    /// The id of a leaf.
    pub(crate) fn intern_leaf(&mut self, leaf: Leaf) -> LeafId {
        let next = LeafId(self.leaves.len() as u32);
        let id = *self.leaf_ids.entry(format!("{} {:?}", leaf.value, leaf.steps)).or_insert(next);
        if id == next {
            self.leaves.push(leaf);
        }
        id
    }

    /// An operator.
    pub(crate) fn op(&self, id: OpId) -> &OpInfo {
        &self.ops[id.0 as usize]
    }

    /// A leaf.
    pub(crate) fn leaf(&self, id: LeafId) -> &Leaf {
        &self.leaves[id.0 as usize]
    }
}
