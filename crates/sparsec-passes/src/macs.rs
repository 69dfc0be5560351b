//! Counts multiply-adds.

use sparsec_graph::{Bindings, DType, Dim, Graph, Node, Op, TensorData, Trip, ValueId};

/// Multiply-adds of the convolutions and contractions of a graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Macs {
    /// With every weight counted.
    pub dense: u64,
    /// Without those by zero weights.
    pub nonzero: u64,
}

/// Counts multiply-adds, for one unit of every symbolic extent (one image, one token). Padding counts as data. Products of
/// two computed tensors count as dense. A loop counts as often as it runs where that is known, and else once.
#[must_use]
pub fn count_macs(graph: &Graph) -> Macs {
    let mut sum = Macs::default();
    for (_, node) in graph.nodes() {
        let inner = match &node.op {
            // The branch that takes longer.
            Op::If { then, otherwise } => {
                let (a, b) = (count_macs(then), count_macs(otherwise));
                if a.nonzero >= b.nonzero { a } else { b }
            }
            Op::Loop(spec) => {
                let trip = if let Trip::Known(trip) = &spec.trip { extent(trip).unwrap_or(1) } else { 1 };
                let each = count_macs(&spec.body);
                Macs { dense: each.dense.saturating_mul(trip), nonzero: each.nonzero.saturating_mul(trip) }
            }
            _ => Macs::default(),
        };
        sum.dense += inner.dense;
        sum.nonzero += inner.nonzero;
        if let Some(macs) = node_macs(graph, node) {
            sum.dense += macs.dense;
            sum.nonzero += macs.nonzero;
            graph.release_pages();
        }
    }
    sum
}

fn node_macs(graph: &Graph, node: &Node) -> Option<Macs> {
    let ty = |v: ValueId| graph.ty(v);
    let weight = |v: ValueId| graph.constant(v).map(|c| &c.data);
    let result = ty(*node.results.first()?);
    match (&node.op, node.operands.as_slice()) {
        (Op::Conv(_), &[_, w, ..]) => {
            let positions = extent(&result.elements())? / extent(&ty(w).shape[0])?.max(1);
            Some(macs(positions, extent(&ty(w).elements())?, weight(w)))
        }
        (Op::Contract(spec), &[x, y, ..]) => {
            let (w, own, other, other_labels) =
                if weight(x).is_some() { (x, &spec.lhs, y, &spec.rhs) } else { (y, &spec.rhs, x, &spec.lhs) };
            let free = other_labels.iter().zip(&ty(other).shape).filter(|(label, _)| !own.contains(label));
            let repeats = extent(&Dim::product(free.map(|(_, d)| d)))?;
            Some(macs(repeats, extent(&ty(w).elements())?, weight(w)))
        }
        _ => None,
    }
}

fn macs(repeats: u64, elements: u64, weight: Option<&TensorData>) -> Macs {
    let nonzero = weight.map_or(elements, nonzeros);
    Macs { dense: repeats.saturating_mul(elements), nonzero: repeats.saturating_mul(nonzero) }
}

fn extent(dim: &Dim) -> Option<u64> {
    let mut symbols = std::collections::BTreeSet::new();
    dim.collect_symbols(&mut symbols);
    let ones: Bindings = symbols.into_iter().map(|s| (s, 1)).collect();
    u64::try_from(dim.eval(&ones)?).ok()
}

fn nonzeros(data: &TensorData) -> u64 {
    let size = data.dtype.size();
    let count = match data.dtype {
        // All bits but the sign, of bytes that may lie anywhere.
        DType::F32 => data.bytes.as_chunks().0.iter().filter(|&&v| u32::from_le_bytes(v) << 1 != 0).count(),
        _ => data.bytes.chunks_exact(size).filter(|element| element.iter().any(|&b| b != 0)).count(),
    };
    count as u64
}
