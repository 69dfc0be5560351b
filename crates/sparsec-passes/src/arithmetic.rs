//! In which numbers the products of a graph are computed: what `sparsec inspect` shows, so that nothing is computed otherwise
//! than a user thinks.

use std::fmt;

use sparsec_graph::{DType, Graph, Node, Op};

use crate::quantised_products::interval;

/// The numbers that a contraction or convolution multiplies and adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arithmetic {
    /// Bytes, added up in `i32`.
    Bytes,
    /// Integers as `f32`, whose sums are exact.
    ExactFloats,
    /// Numbers of this type.
    Of(DType),
}

impl fmt::Display for Arithmetic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Arithmetic::Bytes => f.write_str("i8 x u8 -> i32"),
            Arithmetic::ExactFloats => f.write_str("integers in f32, exact"),
            Arithmetic::Of(dtype) => write!(f, "{dtype}"),
        }
    }
}

/// The arithmetic of each contraction and convolution, with the node's name, those of nested graphs included.
#[must_use]
pub fn product_arithmetic(graph: &Graph) -> Vec<(String, Arithmetic)> {
    let mut found = Vec::new();
    for (_, node) in graph.nodes() {
        node.op.graphs().into_iter().for_each(|nested| found.extend(product_arithmetic(nested)));
        if let Some(arithmetic) = of_node(graph, node) {
            found.push((node.name.clone(), arithmetic));
        }
    }
    graph.release_pages();
    found
}

fn of_node(graph: &Graph, node: &Node) -> Option<Arithmetic> {
    let (Op::Contract(_) | Op::Conv(_), &[x, y, ..]) = (&node.op, node.operands.as_slice()) else { return None };
    let dtype = |v| graph.ty(v).dtype;
    Some(match (dtype(x), dtype(y)) {
        (DType::I8, DType::U8) | (DType::U8, DType::I8 | DType::I16) => Arithmetic::Bytes,
        (DType::F32, _) if interval(graph, x).is_some() && interval(graph, y).is_some() => Arithmetic::ExactFloats,
        (own, _) => Arithmetic::Of(own),
    })
}
