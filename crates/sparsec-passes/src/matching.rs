//! What the passes share to find patterns and to replace them.
//!
//! Patterns match plain nodes only: one with an epilogue or a chosen format is a finished kernel and is left alone.

use sparsec_graph::{BinaryOp, Graph, Node, NodeId, Op, TensorType, UnaryOp, ValueId};

use crate::PassError;
use crate::tensor::to_f64;

/// The node that computes a value, unless it has an epilogue or a format.
pub(crate) fn plain(graph: &Graph, value: ValueId) -> Option<&Node> {
    let node = graph.node(graph.producer(value)?);
    is_plain(node).then_some(node)
}

/// Whether a node is its operator and nothing else.
pub(crate) fn is_plain(node: &Node) -> bool {
    node.epilogue.is_none() && node.format.is_none() && node.results.len() == 1
}

/// Whether a value is used once: as one operand of one node, and not as an output.
pub(crate) fn is_single_use(graph: &Graph, value: ValueId) -> bool {
    match graph.users(value).as_slice() {
        [user] => {
            !graph.is_output(value)
                && graph.node(*user).operands.iter().filter(|&&operand| operand == value).count() == 1
        }
        _ => false,
    }
}

/// The value of a floating-point constant of one element.
pub(crate) fn scalar(graph: &Graph, value: ValueId) -> Option<f64> {
    let data = &graph.constant(value)?.data;
    if data.elements() != 1 { None } else { to_f64(data)?.first().copied() }
}

/// `x` of `op(x)`.
pub(crate) fn unary_operand(graph: &Graph, value: ValueId, op: UnaryOp) -> Option<ValueId> {
    let node = plain(graph, value)?;
    if node.op == Op::Unary(op) { node.operands.first().copied() } else { None }
}

/// `x, y` of `op(x, y)`.
pub(crate) fn binary_operands(graph: &Graph, value: ValueId, op: BinaryOp) -> Option<(ValueId, ValueId)> {
    let node = plain(graph, value)?;
    match node.operands.as_slice() {
        [x, y] if node.op == Op::Binary(op) => Some((*x, *y)),
        _ => None,
    }
}

/// `x, c` of `op(x, c)` or, for a commutative operator, `op(c, x)` where `c` is a scalar constant and the result is as
/// large as `x`.
pub(crate) fn with_scalar(graph: &Graph, value: ValueId, op: BinaryOp) -> Option<(ValueId, f64)> {
    let (x, y) = binary_operands(graph, value, op)?;
    let keeps_shape = |x: ValueId| graph.ty(x) == graph.ty(value);
    if let Some(c) = scalar(graph, y).filter(|_| keeps_shape(x)) {
        return Some((x, c));
    }
    let commutes = matches!(op, BinaryOp::Add | BinaryOp::Mul | BinaryOp::Min | BinaryOp::Max);
    scalar(graph, x).filter(|_| commutes && keeps_shape(y)).map(|c| (y, c))
}

/// Whether two numbers agree as well as a constant that went through `f32` and a few roundings does.
pub(crate) fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-5 * b.abs()
}

/// The constant extent of an axis.
pub(crate) fn extent(ty: &TensorType, axis: usize) -> Option<usize> {
    usize::try_from(ty.shape.get(axis)?.as_const()?).ok()
}

/// Puts a new node in the place of another: all users of its result use the new node's. Nodes that nothing uses any more
/// are removed. Returns the new result.
pub(crate) fn replace_node(graph: &mut Graph, old: NodeId, op: Op, operands: &[ValueId]) -> Result<ValueId, PassError> {
    let name = graph.node(old).name.clone();
    replace_node_named(graph, old, op, operands, &name)
}

/// As [`replace_node`], with another name for the new node.
pub(crate) fn replace_node_named(
    graph: &mut Graph,
    old: NodeId,
    op: Op,
    operands: &[ValueId],
    name: &str,
) -> Result<ValueId, PassError> {
    let result = graph.append(op, operands, name)?;
    replace_value(graph, old, result);
    Ok(result)
}

/// Makes all users of a node's only result use `by`, and removes what nothing uses any more.
pub(crate) fn replace_value(graph: &mut Graph, old: NodeId, by: ValueId) {
    let result = graph.node(old).result();
    debug_assert_eq!(graph.ty(result), graph.ty(by), "a replacement has the type of what it replaces");
    graph.replace_uses(result, by);
    retire(graph, old);
}

/// Removes a node that nothing uses, and the nodes that were there for it alone.
fn retire(graph: &mut Graph, id: NodeId) {
    let mut work = vec![id];
    while let Some(id) = work.pop() {
        let unused = |value: &ValueId| graph.users(*value).is_empty() && !graph.is_output(*value);
        // Whether an extent that it finds out is used, `remove_dead` knows.
        let finds_extents = |id| matches!(&graph.node(id).op, Op::Loops(spec) if !spec.counts.is_empty());
        if graph.contains(id) && graph.node(id).results.iter().all(unused) && !finds_extents(id) {
            let operands = graph.node(id).operands.clone();
            graph.remove_node(id);
            for operand in operands {
                release_constant(graph, operand);
                work.extend(graph.producer(operand));
            }
        }
    }
}

/// A constant of fewer bytes may stay until [`crate::drop_unused_constants`] runs: finding out whether it is used takes
/// longer than it is worth.
const LARGE_BYTES: usize = 1 << 16;

/// Lets go of the bytes of a large constant that nothing uses any more, so that weights are not in memory twice while a
/// pass replaces them. Called after each replacement of a weight: what the new one was made from is no longer looked at.
pub(crate) fn release_constant(graph: &mut Graph, value: ValueId) {
    if graph.constant(value).is_none_or(|c| c.data.bytes.len() < LARGE_BYTES) {
        return;
    }
    if graph.users(value).is_empty() && !graph.is_output(value) {
        graph.remove_constant(value);
    }
    graph.release_pages();
}
