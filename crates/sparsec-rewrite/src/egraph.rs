//! The e-graph with its analysis, and how rules add to it.

use std::collections::BTreeSet;

use egg::{Analysis, DidMerge, Id};
use sparsec_graph::{Dim, Op, TensorType, ValueId, infer_node_types};

use crate::lang::{ENode, Leaf, LeafId, OpId, OpInfo, Relayout, Tables};
use crate::perm::{is_identity, moves_units};

/// The e-graph of one region.
pub(crate) type EGraph = egg::EGraph<ENode, Tables>;

/// What is known of a class of equal values.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// The type; `None` only where inference failed, which [`add_op`] keeps out.
    pub(crate) ty: Option<TensorType>,
    /// How often the source graph uses the value of which this is a layout (the largest number where several are
    /// equal). A value with several uses is never fused into one of them: the others would have to compute it again.
    pub(crate) uses: u32,
    /// A value of the source graph that this is, or is a layout of.
    pub(crate) origin: Option<ValueId>,
    /// The constant that this is.
    pub(crate) constant: Option<LeafId>,
}

impl Analysis<ENode> for Tables {
    type Data = Facts;

    fn make(egraph: &mut EGraph, enode: &ENode, _id: Id) -> Facts {
        match enode {
            ENode::Leaf(id) => {
                let leaf = egraph.analysis.leaf(*id);
                Facts {
                    ty: Some(leaf.ty.clone()),
                    uses: leaf.uses,
                    origin: Some(leaf.value),
                    constant: leaf.constant.then_some(*id),
                }
            }
            ENode::Op(op, operands) => {
                let info = egraph.analysis.op(*op);
                let (mut uses, mut origin) = (0, None);
                // A view or a copy of a value stands for that value: its users are users of the original.
                if let (Op::Transpose(_) | Op::Reshape(_), [x]) = (&info.op, operands.as_slice()) {
                    uses = egraph[*x].data.uses;
                    if matches!(info.op, Op::Transpose(_)) {
                        origin = egraph[*x].data.origin;
                    }
                }
                Facts { ty: infer(egraph, info, operands), uses, origin, constant: None }
            }
        }
    }

    fn merge(&mut self, a: &mut Facts, b: Facts) -> DidMerge {
        let merged = Facts {
            ty: a.ty.clone().or_else(|| b.ty.clone()),
            uses: a.uses.max(b.uses),
            origin: smaller(a.origin, b.origin),
            constant: smaller(a.constant, b.constant),
        };
        let did = DidMerge(*a != merged, b != merged);
        *a = merged;
        did
    }
}

fn smaller<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn infer(egraph: &EGraph, info: &OpInfo, operands: &[Id]) -> Option<TensorType> {
    let types: Vec<&TensorType> = operands.iter().map(|&x| egraph[x].data.ty.as_ref()).collect::<Option<_>>()?;
    infer_node_types(&info.op, info.epilogue.as_ref(), &types).ok()?.into_iter().next()
}

/// The shape of a class; empty where it has no type.
pub(crate) fn shape(egraph: &EGraph, class: Id) -> &[Dim] {
    egraph[class].data.ty.as_ref().map_or(&[], |ty| &ty.shape)
}

/// Number of dimensions of a class.
pub(crate) fn rank(egraph: &EGraph, class: Id) -> usize {
    shape(egraph, class).len()
}

/// Adds an operator; `None` where its operands don't suit it, in which case the rule does not apply.
pub(crate) fn add_op(egraph: &mut EGraph, info: OpInfo, operands: &[Id]) -> Option<Id> {
    infer(egraph, &info, operands)?;
    let op = egraph.analysis.intern(info);
    Some(egraph.add(ENode::Op(op, operands.to_vec())))
}

/// The transpose of a class; the class itself where nothing moves.
pub(crate) fn add_transpose(egraph: &mut EGraph, x: Id, perm: &[usize]) -> Option<Id> {
    if is_identity(perm) {
        return Some(x);
    }
    add_op(egraph, OpInfo::plain(Op::Transpose(perm.to_vec())), &[x])
}

/// The class in another shape; the class itself where it has that shape.
pub(crate) fn add_reshape(egraph: &mut EGraph, x: Id, to: &[Dim]) -> Option<Id> {
    if shape(egraph, x) == to {
        return Some(x);
    }
    add_op(egraph, OpInfo::plain(Op::Reshape(to.to_vec())), &[x])
}

/// Adds a constant after one more step of relayout.
pub(crate) fn add_relayout(egraph: &mut EGraph, constant: LeafId, step: Relayout, ty: TensorType) -> Id {
    let mut leaf: Leaf = egraph.analysis.leaf(constant).clone();
    leaf.ty = ty;
    leaf.steps.push(step);
    let leaf = egraph.analysis.intern_leaf(leaf);
    egraph.add(ENode::Leaf(leaf))
}

/// The operators of a class with their operands, in the e-graph's order.
pub(crate) fn ops_of(egraph: &EGraph, class: Id) -> impl Iterator<Item = (OpId, &OpInfo, &[Id])> {
    egraph[class].nodes.iter().filter_map(|node| match node {
        ENode::Op(op, operands) => Some((*op, egraph.analysis.op(*op), operands.as_slice())),
        ENode::Leaf(_) => None,
    })
}

/// The e-nodes of a class, each once. While rules are applied, unions leave copies that only a rebuild removes; without
/// this, rules would multiply them.
pub(crate) fn distinct_ops(egraph: &EGraph, class: Id, pick: impl Fn(&OpInfo) -> bool) -> Vec<(OpId, Vec<Id>)> {
    // Most are operators of one operand or two, and most are copies: those cost no memory.
    let (mut small, mut large) = (BTreeSet::new(), BTreeSet::new());
    let mut distinct = Vec::new();
    for (op, _, operands) in ops_of(egraph, class).filter(|(_, info, _)| pick(info)) {
        let find = |i: usize| operands.get(i).map(|&x| egraph.find(x));
        let canonical = || operands.iter().map(|&x| egraph.find(x)).collect::<Vec<Id>>();
        let is_new = match operands.len() {
            0..=2 => small.insert((op, find(0), find(1))),
            _ => large.insert((op, canonical())),
        };
        if is_new {
            distinct.push((op, canonical()));
        }
    }
    distinct
}

/// The bare operators of a class that `pick` takes, copied so that the e-graph may change.
pub(crate) fn find_ops(egraph: &EGraph, class: Id, pick: impl Fn(&Op) -> bool) -> Vec<(OpInfo, Vec<Id>)> {
    let found = distinct_ops(egraph, class, |info| info.is_bare() && pick(&info.op));
    found.into_iter().map(|(op, operands)| (egraph.analysis.op(op).clone(), operands)).collect()
}

/// The transposes that a class is: `(x, perm)` for every `transpose(x, perm)` in it.
pub(crate) fn transposes_of(egraph: &EGraph, class: Id) -> Vec<(Id, Vec<usize>)> {
    let found = distinct_ops(egraph, class, |info| matches!(info.op, Op::Transpose(_)));
    let found =
        found.into_iter().filter_map(|(op, operands)| match (&egraph.analysis.op(op).op, operands.as_slice()) {
            (Op::Transpose(perm), &[x]) => Some((x, perm.clone())),
            _ => None,
        });
    found.collect()
}

/// Whether some e-node of the class computes it other than by moving axes.
pub(crate) fn is_native(egraph: &EGraph, class: Id) -> bool {
    egraph[class].nodes.iter().any(|node| match node {
        ENode::Leaf(_) => true,
        ENode::Op(op, operands) => match (&egraph.analysis.op(*op).op, operands.as_slice()) {
            (Op::Transpose(_), _) => false,
            (Op::Reshape(to), &[x]) => !moves_units(shape(egraph, x), to),
            _ => true,
        },
    })
}
