//! Constant folding: what can be computed from the model alone is computed now.

use sparsec_graph::{DType, Graph, Node, NodeId, Op, TensorData};

use crate::evaluate::evaluate;
use crate::matching::{is_plain, replace_node, replace_value};
use crate::tensor::transpose;
use crate::{PassError, PassStats, simplify};

/// A result of more bytes than this is not folded where it is also [`GROWTH`] times as large as the operands: a constant
/// that is broadcast to full size would cost more to read than to compute.
const FREE_BYTES: usize = 1 << 20;

/// See [`FREE_BYTES`].
const GROWTH: usize = 4;

/// Computes nodes whose operands are constants; removes those that do nothing (`x + 0`, `x * 1`, a reshape to the shape
/// that is there, a transpose that moves nothing); merges reshapes of reshapes, transposes of transposes and clips of
/// clips.
///
/// # Errors
/// Where the interpreter refuses a node.
pub fn fold_constants(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    loop {
        let before = stats.changed;
        for id in graph.topological_order() {
            if graph.contains(id) && is_plain(graph.node(id)) && fold_node(graph, id)? {
                stats.changed += 1;
            }
        }
        if stats.changed == before {
            return Ok(stats);
        }
    }
}

fn fold_node(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    if let Some(same) = simplify::identity(graph, node) {
        replace_value(graph, id, same);
        return Ok(true);
    }
    if let Some((op, x)) = simplify::merge(graph, node) {
        // Extents that are equal only in fact, not as expressions, may need the step between.
        let merged = graph.infer_node(&Node::new(op.clone(), vec![x], ""));
        if merged.is_ok_and(|types| types.first() == Some(graph.ty(node.result()))) {
            replace_node(graph, id, op, &[x])?;
            return Ok(true);
        }
    }
    if relabel_users(graph, id)? {
        return Ok(true);
    }
    let Some(data) = compute(graph, id)? else { return Ok(false) };
    let name = graph.node(id).name.clone();
    let constant = graph.add_constant(name, data);
    replace_value(graph, id, constant);
    Ok(true)
}

/// A transposed constant that only contractions use goes into their labels: no copy of, say, an embedding that is the last
/// layer's weight too.
fn relabel_users(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    let (Op::Transpose(perm), &[x]) = (&node.op, node.operands.as_slice()) else { return Ok(false) };
    let (perm, result) = (perm.clone(), node.result());
    let users = graph.users(result);
    let is_contraction = |&user: &NodeId| {
        let user = graph.node(user);
        matches!(user.op, Op::Contract(_)) && is_plain(user)
    };
    if graph.constant(x).is_none() || graph.is_output(result) || users.is_empty() || !users.iter().all(is_contraction) {
        return Ok(false);
    }
    let untransposed = |labels: &[char]| {
        let mut own = labels.to_vec();
        for (&axis, &label) in perm.iter().zip(labels) {
            own[axis] = label;
        }
        own
    };
    for user in users {
        let Op::Contract(mut spec) = graph.node(user).op.clone() else { continue };
        let mut operands = graph.node(user).operands.clone();
        for (operand, labels) in operands.iter_mut().zip([&mut spec.lhs, &mut spec.rhs]) {
            if *operand == result {
                *labels = untransposed(labels);
                *operand = x;
            }
        }
        replace_node(graph, user, Op::Contract(spec), &operands)?;
    }
    Ok(true)
}

/// The result of a node that depends on constants only, unless it is too large.
fn compute(graph: &Graph, id: NodeId) -> Result<Option<TensorData>, PassError> {
    let node = graph.node(id);
    if node.op.is_control() {
        return Ok(None);
    }
    let Some(operands) = node.operands.iter().map(|&v| graph.constant(v).map(|c| &c.data)).collect::<Option<Vec<_>>>()
    else {
        return Ok(None);
    };
    if let Op::ShapeOf(dims) = &node.op {
        let extents = dims.iter().map(sparsec_graph::Dim::as_const).collect::<Option<Vec<i64>>>();
        return Ok(extents.map(|e| TensorData::i64(&[e.len()], e)));
    }
    let Some(shape) = result_shape(graph, node) else { return Ok(None) };
    match (&node.op, operands.as_slice()) {
        (Op::Reshape(_), [x]) => {
            return Ok(Some(TensorData { dtype: x.dtype, shape, bytes: x.bytes.clone() }));
        }
        (Op::Transpose(perm), [x]) => return Ok(Some(transpose(x, perm, graph.pages().map(AsRef::as_ref)))),
        _ => {}
    }
    let bytes = shape.iter().product::<usize>() * dtype(graph, node).size();
    let available: usize = operands.iter().map(|data| data.bytes.len()).sum();
    if bytes > FREE_BYTES && bytes > GROWTH * available {
        return Ok(None);
    }
    evaluate(&node.op, &operands, &node.name).map(Some)
}

fn dtype(graph: &Graph, node: &Node) -> DType {
    graph.ty(node.result()).dtype
}

fn result_shape(graph: &Graph, node: &Node) -> Option<Vec<usize>> {
    graph.ty(node.result()).const_shape()?.into_iter().map(|d| usize::try_from(d).ok()).collect()
}
