//! Attention: which axis is which.

use std::collections::BTreeMap;

use sparsec_graph::{AttentionSpec, Dim, NodeId, Symbol};
use sparsec_tir::Scalar;

use crate::error::LowerError;
use crate::kernels::attention::sampled::Mask;
use crate::kernels::attention::{Attention, attention_kernel};
use crate::kernels::gemm::Matrices;
use crate::lowering::Lowering;
use crate::node::contract::{Axis, Operands};

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const OUT: usize = 3;

pub(super) fn lower_attention(l: &mut Lowering<'_>, id: NodeId, spec: &AttentionSpec) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let mut values = node.operands[..=VALUE].to_vec();
    values.push(node.result());
    values.extend_from_slice(&node.operands[OUT..]);
    let operands = Operands::labelled(l, values, |i| match i {
        QUERY => &spec.scores.lhs,
        KEY => &spec.scores.rhs,
        VALUE => &spec.values.rhs,
        OUT => &spec.values.out,
        _ => &spec.scores.out,
    });
    let refuse = |reason: &str| Err(LowerError::unsupported(node, format!("an attention {reason}")));
    if operands.elems[..=OUT].iter().any(|&e| e != Scalar::F32) {
        return refuse("of other elements than f32");
    }
    let scores = || spec.scores.out.iter().copied().filter(|c| *c != spec.keys);
    let of_queries = |c: &char| !spec.scores.rhs.contains(c) && spec.values.out.contains(c);
    let mut queries = operands.axes(scores().filter(of_queries));
    let mut batch = operands.axes(scores().filter(|c| !of_queries(c)));
    let keys = operands.axes([spec.keys].into_iter());
    let depth = operands.axes(spec.scores.summed().into_iter());
    let features = operands.axes(spec.values.out.iter().copied().filter(|c| !spec.scores.out.contains(c)));
    let one = |axes: &[Axis]| match axes {
        [] => Some(operands.unit()),
        [axis] => Some(axis.clone()),
        _ => None,
    };
    let query = queries.pop().unwrap_or_else(|| operands.unit());
    batch.append(&mut queries);
    let (Some(key), Some(depth), Some(feature)) = (one(&keys), one(&depth), one(&features)) else {
        return refuse("whose keys, depth or features lie in memory in several pieces");
    };
    let inner = batch.pop().unwrap_or_else(|| operands.unit());
    let outer = batch.pop().unwrap_or_else(|| operands.unit());
    let (Some(depths), Some(count)) = (depth.extent.as_const(), feature.extent.as_const()) else {
        return refuse("of unknown depth");
    };
    if !batch.is_empty() {
        return refuse("whose batches lie in memory in more than two pieces");
    }
    let matrices = |i: usize, row: &Axis, col: &Axis| {
        let axes = [&outer, &inner, row, col];
        let (mut shape, strides) = operands.view(i, axes);
        // Loops run over the whole extents; only operands of the expression are indexed by what they have.
        if i <= OUT {
            shape = axes.map(|a| a.extent.clone());
        }
        Matrices { elem: operands.elems[i], shape, strides }
    };
    let args = OUT + 1..operands.values.len();
    let mask = |i: usize| {
        let constant = l.graph.constant(operands.values[i])?;
        Mask::of(&constant.data, &matrices(i, &key, &query))
    };
    let masks = args.clone().map(mask).collect();
    let attention = Attention {
        q: matrices(QUERY, &depth, &query),
        k: matrices(KEY, &key, &depth),
        v: matrices(VALUE, &feature, &key),
        y: matrices(OUT, &feature, &query),
        args: args.map(|i| matrices(i, &key, &query)).collect(),
        expr: spec.expr.clone(),
        depth: depths,
        features: count,
        masks,
    };
    let (built, tables) = attention_kernel(&attention, &l.target);
    let mut places: Vec<_> = operands.values.iter().map(|&v| l.place(v)).collect();
    let mut symbols = BTreeMap::new();
    for table in tables {
        symbols.insert(Symbol::new(&format!("table_{}", table.name)), Dim::constant(table.elements as i64));
        places.push(l.add_table(&node.name, table));
    }
    l.launch(built, &node.name, places, &symbols)
}
