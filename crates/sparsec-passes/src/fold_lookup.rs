//! Functions of what is looked up in a constant table are computed on the table.
//!
//! ```text
//! gelu (add (gather (table, index), bias))  =  gather (gelu (add (table, bias)), index)
//! ```

use sparsec_graph::{Graph, NodeId, Op, TensorData, ValueId};

use crate::evaluate::evaluate;
use crate::matching::{is_plain, is_single_use, plain, release_constant, replace_node};
use crate::{PassError, PassStats};

/// A table of at most so many bytes may be there twice, for others that use it as it was.
const SMALL_BYTES: usize = 1 << 16;

/// Moves element-wise operators whose other operands are constant along the indices from behind a lookup into its table.
///
/// # Errors
/// Where the interpreter refuses a node.
pub fn fold_lookup(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    loop {
        let before = stats.changed;
        for id in graph.topological_order() {
            if graph.contains(id) && fold(graph, id)? {
                stats.changed += 1;
            }
        }
        if stats.changed == before {
            return Ok(stats);
        }
    }
}

fn fold(graph: &mut Graph, id: NodeId) -> Result<bool, PassError> {
    let node = graph.node(id);
    let movable = matches!(node.op, Op::Unary(_) | Op::Binary(_) | Op::Clip { .. });
    if !movable || !is_plain(node) {
        return Ok(false);
    }
    let found = (0..node.operands.len()).find_map(|i| table_of(graph, node.operands[i]).map(|found| (i, found)));
    let Some((place, (table, index))) = found else { return Ok(false) };
    let looked_up = node.operands[place];
    if graph.ty(node.result()) != graph.ty(looked_up) {
        return Ok(false);
    }
    let Some(constant) = graph.constant(table) else { return Ok(false) };
    let row_rank = constant.data.shape.len() - 1;
    let operand =
        |i: usize| if i == place { Some(constant.data.clone()) } else { row(graph, node.operands[i], row_rank) };
    let Some(operands) = (0..node.operands.len()).map(operand).collect::<Option<Vec<TensorData>>>() else {
        return Ok(false);
    };
    let data = evaluate(&node.op, &operands.iter().collect::<Vec<_>>(), &node.name)?;
    if data.shape != constant.data.shape || data.dtype != constant.data.dtype {
        return Ok(false);
    }
    let name = constant.name.clone();
    let own = graph.add_constant(name, data);
    replace_node(graph, id, Op::Gather { axis: 0 }, &[own, index])?;
    release_constant(graph, table);
    Ok(true)
}

/// The table and the index of a lookup that nothing else uses, if the table may be replaced.
fn table_of(graph: &Graph, value: ValueId) -> Option<(ValueId, ValueId)> {
    let node = plain(graph, value)?;
    let (Op::Gather { axis: 0 }, &[table, index]) = (&node.op, node.operands.as_slice()) else { return None };
    let data = &graph.constant(table)?.data;
    let own = graph.users(table).len() == 1 && !graph.is_output(table);
    (is_single_use(graph, value) && (own || data.bytes.len() <= SMALL_BYTES)).then_some((table, index))
}

/// A constant that is the same for all rows of a table, without the axes of the indices.
fn row(graph: &Graph, value: ValueId, rank: usize) -> Option<TensorData> {
    let data = &graph.constant(value)?.data;
    let lead = data.shape.len().saturating_sub(rank);
    let (outer, own) = data.shape.split_at(lead);
    outer.iter().all(|&n| n == 1).then(|| TensorData { shape: own.to_vec(), ..data.clone() })
}
