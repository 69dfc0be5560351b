//! Recognises products with one-hot vectors: each is a row of the weight.
//!
//! ```text
//! contract "bsv,vd->bsd" (cast f32 (eq (index, [0, 1, ... n-1])), weight)
//!   = gather (weight with a row of zeros behind it) at (index, or n where that is none of 0 ... n-1)
//! ```
//!
//! Exporters of JAX and TensorFlow write embeddings so, for hardware that multiplies faster than it gathers. One factor of each sum is 1
//! and the others are 0, so that the sums are the rows, bit by bit, as long as the weight is finite.

use sparsec_graph::{BinaryOp, ContractSpec, DType, Dim, Graph, NodeId, Op, TensorData, ValueId};

use crate::matching::{binary_operands, is_plain, plain, release_constant, replace_value, scalar};
use crate::tensor::{to_f64, transpose};
use crate::{PassError, PassStats};

/// Replaces products of one-hot vectors with a constant weight by lookups.
///
/// # Errors
/// None on a verified graph.
pub fn recognise_lookup(graph: &mut Graph) -> Result<PassStats, PassError> {
    let mut stats = PassStats::default();
    for id in graph.topological_order() {
        if !graph.contains(id) {
            continue;
        }
        if let Some(lookup) = Lookup::of(graph, id) {
            lookup.replace(graph, id)?;
            stats.changed += 1;
        }
    }
    Ok(stats)
}

/// A product with one-hot vectors.
struct Lookup {
    /// What is one where it equals a number: `[.., 1]`.
    index: ValueId,
    /// The numbers for which row 0 is looked up; the rows behind belong to those that follow.
    firsts: Vec<i64>,
    weight: ValueId,
    /// Whether the weight is (features, rows).
    turned: bool,
    /// Axes of the result in the order of the index's, the features last.
    perm: Vec<usize>,
}

impl Lookup {
    fn of(graph: &Graph, id: NodeId) -> Option<Self> {
        let node = graph.node(id);
        let Op::Contract(ContractSpec { lhs, rhs, out }) = &node.op else { return None };
        let &[x, y] = node.operands.as_slice() else { return None };
        if !is_plain(node) {
            return None;
        }
        [(x, lhs, y, rhs), (y, rhs, x, lhs)].into_iter().find_map(|(hot, own, weight, labels)| {
            let data = &graph.constant(weight)?.data;
            let (&row, places) = own.split_last()?;
            let (turned, feature) = match *labels.as_slice() {
                [first, second] if first == row => (false, second),
                [first, second] if second == row => (true, first),
                _ => return None,
            };
            if out.contains(&row) || own.contains(&feature) {
                return None;
            }
            let found: Vec<char> = places.iter().copied().chain([feature]).collect();
            let perm = out.iter().map(|label| found.iter().position(|l| l == label)).collect::<Option<Vec<_>>>()?;
            let (index, firsts) = one_hot(graph, hot)?;
            let finite = || to_f64(data).is_some_and(|values| values.iter().all(|v| v.is_finite()));
            (perm.len() == found.len() && finite()).then_some(Lookup { index, firsts, weight, turned, perm })
        })
    }

    fn replace(self, graph: &mut Graph, id: NodeId) -> Result<(), PassError> {
        let name = graph.node(id).name.clone();
        let Some(constant) = graph.constant(self.weight) else { return Ok(()) };
        let (source, data) = (constant.name.clone(), constant.data.clone());
        let data = if self.turned { transpose(&data, &[1, 0], None) } else { data };
        let rows = data.shape[0];
        let table = graph.add_constant(source, with_row_of_zeros(&data));
        let row = self.rows(graph, rows as i64, &name)?;
        let mut result = graph.append(Op::Gather { axis: 0 }, &[table, row], &name)?;
        if !self.perm.is_sorted() {
            result = graph.append(Op::Transpose(self.perm), &[result], &name)?;
        }
        replace_value(graph, id, result);
        release_constant(graph, self.weight);
        Ok(())
    }

    /// The row for each index: `rows` where it is none of them.
    fn rows(&self, graph: &mut Graph, rows: i64, name: &str) -> Result<ValueId, PassError> {
        let places: Vec<Dim> = graph.ty(self.index).shape.split_last().map_or_else(Vec::new, |(_, p)| p.to_vec());
        let index = graph.append(Op::Cast(DType::I64), &[self.index], name)?;
        let index = graph.append(Op::Reshape(places), &[index], name)?;
        let number = |graph: &mut Graph, v: i64| graph.add_constant("", TensorData::i64(&[], vec![v]));
        let mut row = number(graph, rows);
        for &first in &self.firsts {
            let (lo, hi) = (number(graph, first), number(graph, first + rows - 1));
            let above = graph.append(Op::Binary(BinaryOp::GreaterEqual), &[index, lo], name)?;
            let below = graph.append(Op::Binary(BinaryOp::LessEqual), &[index, hi], name)?;
            let inside = graph.append(Op::Binary(BinaryOp::And), &[above, below], name)?;
            let place = if first == 0 { index } else { graph.append(Op::Binary(BinaryOp::Sub), &[index, lo], name)? };
            row = graph.append(Op::Where, &[inside, place, row], name)?;
        }
        Ok(row)
    }
}

/// A matrix with one more row, of zeros.
fn with_row_of_zeros(data: &TensorData) -> TensorData {
    let (rows, cols) = (data.shape[0], data.shape[1]);
    let mut bytes = data.bytes.to_vec();
    bytes.resize((rows + 1) * cols * data.dtype.size(), 0);
    TensorData { dtype: data.dtype, shape: vec![rows + 1, cols], bytes: bytes.into() }
}

/// The index and the numbers of one-hot vectors along the last axis of a value: 1 where they are equal, 0 elsewhere.
fn one_hot(graph: &Graph, value: ValueId) -> Option<(ValueId, Vec<i64>)> {
    let node = plain(graph, value)?;
    let condition = match (&node.op, node.operands.as_slice()) {
        (Op::Cast(dtype), &[condition]) if dtype.is_float() && graph.ty(condition).dtype == DType::Bool => condition,
        (Op::Where, &[condition, on, off]) if scalar(graph, on) == Some(1.0) && scalar(graph, off) == Some(0.0) => {
            condition
        }
        _ => return None,
    };
    let (index, firsts) = equal_to_numbers(graph, condition)?;
    let (hot, own) = (&graph.ty(value).shape, &graph.ty(index).shape);
    let ((_, hot), (last, own)) = (hot.split_last()?, own.split_last()?);
    (last.is(1) && hot == own).then_some((index, firsts))
}

/// `index` and the first numbers, where a condition is `index == [first, first + 1, ..]` for one of them.
fn equal_to_numbers(graph: &Graph, condition: ValueId) -> Option<(ValueId, Vec<i64>)> {
    if let Some((x, y)) = binary_operands(graph, condition, BinaryOp::Or) {
        // `OneHot` counts negative indices from the end.
        let ((index, mut firsts), (other, more)) = (equal_to_numbers(graph, x)?, equal_to_numbers(graph, y)?);
        firsts.extend(more);
        return (index == other && firsts.len() == 2).then_some((index, firsts));
    }
    let (x, y) = binary_operands(graph, condition, BinaryOp::Equal)?;
    let extent = graph.ty(condition).shape.last()?.as_const()?;
    [(x, y), (y, x)].into_iter().find_map(|(index, numbers)| {
        let data = &graph.constant(numbers)?.data;
        let values = data.as_i64()?;
        let &first = values.first()?;
        let along_last = data.shape.last().is_some_and(|&n| n == values.len() && n as i64 == extent);
        let counts = values.iter().zip(first..).all(|(&value, wanted)| value == wanted);
        (along_last && counts && graph.constant(index).is_none()).then(|| (index, vec![first]))
    })
}
