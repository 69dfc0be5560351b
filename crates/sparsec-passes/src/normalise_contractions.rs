//! Constant weights of contractions to the left, as matrices of (outputs, inputs).
//!
//! ```text
//! contract "bk,kn->bn" (x, w)        becomes   contract "nk,bk->bn" (w', x)      with w' = transpose(w)
//! contract "bsk,bkn->bsn" (x, w)     becomes   contract "nk,bsk->bsn" (w', x)    where the weight has batch extent 1
//! ```
//!
//! A transposed weight is a copy of it, so this runs after [`crate::propagate_sparsity`]: what is removed need not be
//! copied, and large weights are copied once.

use sparsec_graph::{ContractSpec, Graph, NodeId, Op, TensorData, ValueId};

use crate::matching::{is_plain, replace_node};
use crate::tensor::transpose;
use crate::{PassError, PassStats};

/// Makes the constant operand of every contraction its lhs, drops its batch axes of extent 1, and transposes a matrix of
/// (inputs, outputs). A weight that is right already is not copied.
///
/// # Errors
/// None on a verified graph.
pub fn normalise_contractions(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        let node = graph.node(id);
        if let (Op::Contract(spec), &[x, y], true) = (&node.op, node.operands.as_slice(), is_plain(node)) {
            let spec = spec.clone();
            stats.changed += usize::from(normalise(graph, id, &spec, x, y)?);
        }
    }
    Ok(stats)
}

/// Brings a constant weight to the left, without batch axes of extent 1, and a matrix to (outputs, inputs).
fn normalise(graph: &mut Graph, id: NodeId, spec: &ContractSpec, x: ValueId, y: ValueId) -> Result<bool, PassError> {
    let (weight, data, own, other) = match (graph.constant(x), graph.constant(y)) {
        (Some(_), None) => (x, y, &spec.lhs, &spec.rhs),
        (None, Some(_)) => (y, x, &spec.rhs, &spec.lhs),
        _ => return Ok(false),
    };
    let Some(constant) = graph.constant(weight) else { return Ok(false) };
    let shape = &constant.data.shape;
    let is_unit_batch = |axis: usize| shape[axis] == 1 && other.contains(&own[axis]) && spec.out.contains(&own[axis]);
    let axes: Vec<usize> = (0..own.len()).filter(|&axis| !is_unit_batch(axis)).collect();
    let labels: Vec<char> = axes.iter().map(|&axis| own[axis]).collect();
    let perm: Vec<usize> = match labels.as_slice() {
        [k, m] if other.contains(k) && !spec.out.contains(k) && !other.contains(m) => vec![1, 0],
        _ => (0..labels.len()).collect(),
    };
    let lhs: Vec<char> = perm.iter().map(|&axis| labels[axis]).collect();
    if weight == x && lhs == spec.lhs {
        return Ok(false);
    }
    let spec = ContractSpec { lhs, rhs: other.clone(), out: spec.out.clone() };
    if !spec.is_valid() {
        return Ok(false);
    }
    let weight = if spec.lhs == *own {
        weight
    } else {
        let squeezed = TensorData {
            dtype: constant.data.dtype,
            shape: axes.iter().map(|&axis| shape[axis]).collect(),
            bytes: constant.data.bytes.clone(),
        };
        let name = constant.name.clone();
        let transposed = transpose(&squeezed, &perm, graph.pages().map(AsRef::as_ref));
        graph.add_constant(name, transposed)
    };
    replace_node(graph, id, Op::Contract(spec), &[weight, data]).map(|_| true)
}
