//! The last step: weights, constants and attributes lose what was not pinned.

use std::collections::BTreeMap;

use sparsec_graph::{BinaryOp, Dim, Graph, Node, NodeId, Op, TensorData, ValueId};

use super::analyse::Analysis;
use super::demand::Fold;
use super::fold::fold_columns;
use crate::PassError;
use crate::matching::release_constant;
use crate::tensor::{channel_shape, from_f64, keep_along};

/// How much was done.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Rows of weights removed.
    pub(super) removed: usize,
    /// Columns of weights that became bias, part of another column, or nothing.
    pub(super) folded: usize,
    /// Biases added after contractions.
    pub(super) biases: usize,
}

/// Which channels of a value stay.
struct Kept {
    axis: usize,
    mask: Vec<bool>,
}

impl Kept {
    fn count(&self) -> usize {
        self.mask.iter().filter(|&&k| k).count()
    }

    fn count_before(&self, index: usize) -> usize {
        self.mask.iter().take(index).filter(|&&k| k).count()
    }
}

/// Rewrites every node whose operands or results lose channels, and every weight with folded columns.
pub(super) fn rewrite(
    graph: &mut Graph,
    analysis: &mut Analysis,
    folds: &BTreeMap<NodeId, Fold>,
) -> Result<Outcome, PassError> {
    let mut kept = BTreeMap::new();
    for (&value, channels) in &analysis.channels {
        let mask: Vec<bool> = channels.classes.iter().map(|&class| analysis.classes.is_pinned(class)).collect();
        if mask.contains(&false) {
            kept.insert(value, Kept { axis: channels.axis, mask });
        }
    }
    let mut rewriter = Rewriter { graph, kept, outcome: Outcome::default(), biases: Vec::new() };
    for id in rewriter.graph.topological_order() {
        rewriter.node(id, folds.get(&id))?;
    }
    rewriter.add_biases()?;
    Ok(rewriter.outcome)
}

struct Rewriter<'a> {
    graph: &'a mut Graph,
    kept: BTreeMap<ValueId, Kept>,
    outcome: Outcome,
    /// Biases of contractions, added once all types are right.
    biases: Vec<(NodeId, Vec<f64>, usize)>,
}

impl Rewriter<'_> {
    fn node(&mut self, id: NodeId, fold: Option<&Fold>) -> Result<(), PassError> {
        let node = self.graph.node(id).clone();
        let touched = node.operands.iter().chain(&node.results).any(|v| self.kept.contains_key(v));
        if !touched && fold.is_none() {
            return Ok(());
        }
        match &node.op {
            Op::Conv(_) | Op::Contract(_) => self.linear(id, &node, fold),
            Op::Reshape(shape) => self.set_extent(id, &node, shape, &Op::Reshape),
            Op::Expand(shape) => self.set_extent(id, &node, shape, &Op::Expand),
            Op::Slice(axes) => {
                if let Some(source) = node.operands.first().and_then(|x| self.kept.get(x))
                    && let Some(range) = axes.get(source.axis)
                    && let (Some(start), Some(len)) = (range.start.as_const(), range.len.as_const())
                {
                    let first = source.count_before(start as usize);
                    let end = source.count_before((start + len) as usize);
                    let mut axes = axes.clone();
                    axes[source.axis].start = Dim::constant(first as i64);
                    axes[source.axis].len = Dim::constant((end - first) as i64);
                    *self.graph.node_attrs_mut(id).0 = Op::Slice(axes);
                }
            }
            Op::BatchNorm { .. } => self.slice_parameters(id, &node),
            Op::Concat { axis } => self.slice_concat(id, &node, *axis),
            op if op.is_elementwise() => self.slice_constants(id, &node),
            _ => {}
        }
        let types = self.graph.infer_node(self.graph.node(id))?;
        for (&result, ty) in node.results.iter().zip(types) {
            self.graph.value_mut(result).ty = ty;
        }
        Ok(())
    }

    /// The extent of a shape attribute along the result's channel axis.
    fn set_extent(&mut self, id: NodeId, node: &Node, shape: &[Dim], op: &dyn Fn(Vec<Dim>) -> Op) {
        if let Some(kept) = self.kept.get(&node.result()) {
            let mut shape = shape.to_vec();
            shape[kept.axis] = Dim::constant(kept.count() as i64);
            *self.graph.node_attrs_mut(id).0 = op(shape);
        }
    }

    fn linear(&mut self, id: NodeId, node: &Node, fold: Option<&Fold>) {
        let rows = self.kept.get(&node.result()).map(|kept| kept.mask.clone());
        // Weight, its axes of rows and columns, and the operand that holds the columns' channels.
        let Some((operand, row_axis, column_axis, data)) = weight_of(self.graph, node) else { return };
        let Some(constant) = self.graph.constant(node.operands[operand]) else { return };
        let name = constant.name.clone();
        let mut weight = constant.data.clone();
        let mut operands = node.operands.clone();
        let mut bias: Option<Vec<f64>> = None;
        if let Some(folded) = fold.and_then(|fold| fold_columns(self.graph, &weight, fold)) {
            weight = folded.weight;
            bias = folded.bias;
            self.outcome.folded += fold.map_or(0, |fold| fold.zeroed.len());
        }
        if let Some(rows) = &rows {
            self.outcome.removed += rows.iter().filter(|&&keep| !keep).count();
            weight = keep_along(&weight, row_axis, rows);
            bias = bias.map(|b| b.into_iter().zip(rows).filter(|(_, keep)| **keep).map(|(v, _)| v).collect());
        }
        let columns = self.kept.get(&data).map(|kept| (kept.mask.clone(), kept.count()));
        match (&node.op, columns) {
            (Op::Conv(attrs), Some((mask, count))) if attrs.groups != 1 => {
                let mut attrs = attrs.clone();
                attrs.groups = attrs.groups * count as i64 / mask.len().max(1) as i64;
                *self.graph.node_attrs_mut(id).0 = Op::Conv(attrs);
            }
            (_, Some((mask, _))) => weight = keep_along(&weight, column_axis, &mask),
            (_, None) => {}
        }
        operands[operand] = self.graph.add_constant(name.clone(), weight);
        if let Op::Conv(_) = node.op {
            self.conv_bias(&mut operands, rows.as_deref(), bias, &name);
        } else if let (Some(bias), Op::Contract(spec)) = (bias, &node.op) {
            let own = if operand == 0 { &spec.lhs } else { &spec.rhs };
            if let Some(axis) = spec.out.iter().position(|label| *label == own[row_axis]) {
                self.biases.push((id, bias, axis));
            }
        }
        self.graph.set_operands(id, operands);
        release_constant(self.graph, node.operands[operand]);
    }

    /// Slices a convolution's bias, adds to it, or makes one. `extra` has an entry per row that stays.
    fn conv_bias(&mut self, operands: &mut Vec<ValueId>, rows: Option<&[bool]>, extra: Option<Vec<f64>>, name: &str) {
        let old = operands.get(2).and_then(|&b| self.graph.constant(b)).map(|c| (c.name.clone(), c.data.clone()));
        let (name, data) = match (old, extra) {
            (None, None) => return,
            (None, Some(extra)) => (format!("{name}.bias"), floats(extra)),
            (Some((name, data)), extra) => {
                let sliced = rows.map_or(data.clone(), |rows| keep_along(&data, 0, rows));
                let sum = extra.and_then(|extra| {
                    let values = sliced.as_f32()?;
                    Some(floats(values.iter().zip(extra).map(|(&b, e)| f64::from(b) + e).collect()))
                });
                (name, sum.unwrap_or(sliced))
            }
        };
        operands.truncate(2);
        operands.push(self.graph.add_constant(name, data));
    }

    fn slice_parameters(&mut self, id: NodeId, node: &Node) {
        let Some(mask) = self.kept.get(&node.result()).map(|kept| kept.mask.clone()) else { return };
        let mut operands = node.operands.clone();
        for operand in operands.iter_mut().skip(1) {
            *operand = self.sliced(*operand, 0, &mask);
        }
        self.graph.set_operands(id, operands);
    }

    /// Slices the constants of an element-wise operator that have an entry per channel.
    fn slice_constants(&mut self, id: NodeId, node: &Node) {
        let Some(kept) = self.kept.get(&node.result()) else { return };
        let (axis, mask) = (kept.axis, kept.mask.clone());
        // The result's type is still the old one.
        let rank = self.graph.ty(node.result()).rank();
        let mut operands = node.operands.clone();
        for operand in &mut operands {
            let own = (axis + self.graph.ty(*operand).rank()).checked_sub(rank);
            let per_channel = own.filter(|&own| {
                self.graph.constant(*operand).is_some_and(|c| c.data.shape[own] == mask.len() && mask.len() > 1)
            });
            if let Some(own) = per_channel {
                *operand = self.sliced(*operand, own, &mask);
            }
        }
        self.graph.set_operands(id, operands);
    }

    /// Slices the constants that are joined with channels.
    fn slice_concat(&mut self, id: NodeId, node: &Node, axis: usize) {
        let Some(kept) = self.kept.get(&node.result()).filter(|kept| kept.axis == axis) else { return };
        let mask = kept.mask.clone();
        let mut operands = node.operands.clone();
        let mut start = 0;
        for operand in &mut operands {
            if let Some(constant) = self.graph.constant(*operand) {
                let count = constant.data.shape[axis];
                let part = mask.get(start..start + count).unwrap_or_default().to_vec();
                *operand = self.sliced(*operand, axis, &part);
                start += count;
            } else {
                start += self.extent_before(*operand, axis);
            }
        }
        operands.retain(|&v| !self.graph.ty(v).shape[axis].is(0));
        self.graph.set_operands(id, operands);
    }

    /// The extent that a value had before it lost channels.
    fn extent_before(&self, value: ValueId, axis: usize) -> usize {
        match self.kept.get(&value) {
            Some(kept) => kept.mask.len(),
            None => crate::matching::extent(self.graph.ty(value), axis).unwrap_or(0),
        }
    }

    fn sliced(&mut self, value: ValueId, axis: usize, mask: &[bool]) -> ValueId {
        match self.graph.constant(value) {
            Some(constant) if mask.contains(&false) => {
                let (name, data) = (constant.name.clone(), keep_along(&constant.data, axis, mask));
                self.graph.add_constant(name, data)
            }
            _ => value,
        }
    }

    fn add_biases(&mut self) -> Result<(), PassError> {
        for (id, bias, axis) in std::mem::take(&mut self.biases) {
            let product = self.graph.node(id).result();
            let shape = channel_shape(self.graph.ty(product).rank(), axis, bias.len());
            let Some(data) = from_f64(self.graph.ty(product).dtype, &shape, bias) else { continue };
            let name = format!("{}.bias", self.graph.node(id).name);
            let bias = self.graph.add_constant(name, data);
            let sum = self.graph.append(Op::Binary(BinaryOp::Add), &[product, bias], "")?;
            self.graph.replace_uses(product, sum);
            if let Some(add) = self.graph.producer(sum) {
                self.graph.set_operands(add, vec![product, bias]);
            }
            self.outcome.biases += 1;
        }
        Ok(())
    }
}

fn floats(values: Vec<f64>) -> TensorData {
    TensorData::f32(&[values.len()], values.into_iter().map(|v| v as f32).collect())
}

/// The operand that is the constant weight, its axes of rows and of columns, and the operand that it multiplies.
fn weight_of(graph: &Graph, node: &Node) -> Option<(usize, usize, usize, ValueId)> {
    match (&node.op, node.operands.as_slice()) {
        (Op::Conv(_), &[x, ..]) => Some((1, 0, 1, x)),
        (Op::Contract(spec), &[x, y]) => {
            let operand = usize::from(graph.constant(x).is_none());
            let (own, other, data) = if operand == 0 { (&spec.lhs, &spec.rhs, y) } else { (&spec.rhs, &spec.lhs, x) };
            let rows = own.iter().position(|label| !other.contains(label))?;
            Some((operand, rows, own.len().checked_sub(rows + 1)?, data))
        }
        _ => None,
    }
}
