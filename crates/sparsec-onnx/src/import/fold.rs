//! Values that nodes compute from constants alone, found out where the reader has to know them.
//!
//! The graph keeps these nodes; constant folding removes them later.

use sparsec_graph::{Bindings, DType, Graph, TensorData, ValueId, interp};

use super::context::{Context, Operand};

/// Most nodes that are computed for one value.
const MAX_NODES: usize = 256;

/// Most elements of a tensor on the way.
const MAX_ELEMENTS: usize = 4096;

impl Context {
    /// The elements of an operand that follows from constants; `None` where it does not, or is large.
    pub(super) fn folded(&self, x: Operand) -> Option<TensorData> {
        let (graph, value) = self.graph_value(x)?;
        fold(graph, value, &mut 0)
    }

    /// The elements of an integer operand that follows from constants.
    pub(super) fn folded_ints(&self, x: Operand) -> Option<Vec<i64>> {
        if !(self.dtype(x).is_int() || self.dtype(x) == DType::Bool) {
            return None;
        }
        self.folded(x)?.as_i64()
    }
}

fn fold(graph: &Graph, value: ValueId, nodes: &mut usize) -> Option<TensorData> {
    let elements = graph.ty(value).elements().as_const()?;
    if usize::try_from(elements).ok()? > MAX_ELEMENTS {
        return None;
    }
    if let Some(constant) = graph.constant(value) {
        return Some(constant.data.clone());
    }
    let node = graph.node(graph.producer(value)?);
    *nodes += 1;
    // A node of several results is a kernel, and none that shapes are computed with.
    if *nodes > MAX_NODES || node.results.len() != 1 || node.epilogue.is_some() {
        return None;
    }
    let operands = node.operands.iter().map(|&v| fold(graph, v, nodes)).collect::<Option<Vec<_>>>()?;
    let operands: Vec<&TensorData> = operands.iter().collect();
    interp::evaluate(&node.op, None, &operands, &Bindings::new()).ok()?.into_iter().next()
}
