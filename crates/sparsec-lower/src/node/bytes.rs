//! Contractions with a constant weight of 8 bits.

use sparsec_graph::Node;
use sparsec_sparse::Format;

use crate::error::LowerError;
use crate::lowering::{Lowering, Place};
use crate::node::conv::launch_tables;
use crate::weight::{ByteMatrix, WeightProblem, multiply_bytes};

/// Adds the launch of the product of a weight of bytes, operand 0 of the node, with operand 1.
pub(super) fn lower_bytes(
    l: &mut Lowering<'_>,
    node: &Node,
    problem: WeightProblem,
    weight: &ByteMatrix,
    args: &[sparsec_graph::ValueId],
) -> Result<(), LowerError> {
    let format = node.format.clone().unwrap_or(Format::Dense);
    let tensor = l.graph.value(node.operands[0]).name.clone();
    let name = problem.name.clone();
    let product = multiply_bytes(problem, weight, &format, &l.target);
    let mut places: Vec<Place> = vec![l.place(node.operands[1]), l.place(node.result())];
    places.extend(args.iter().map(|&v| l.place(v)));
    launch_tables(l, (product.kernel, product.tables), (&name, &tensor), places)
}
