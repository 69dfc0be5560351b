//! Contractions: with a constant weight in a format, or of two activations.

use std::collections::BTreeMap;

use sparsec_graph::{ContractSpec, Dim, Node, NodeId, ValueId};
use sparsec_tir::Scalar;

use crate::context::scalar_of;
use crate::error::LowerError;
use crate::kernels::gemm::{Gemm, Matrices, gemm_kernel};
use crate::lowering::Lowering;
use crate::node::bytes::lower_bytes;
use crate::node::conv::launch_multiplication;
use crate::node::strides_of;
use crate::weight::{ByteMatrix, View, WeightMatrix, WeightProblem, Window};

/// An axis of the contraction: its extent, and its stride in each of `lhs, rhs, result, epilogue operands...`, 0 where
/// an operand does not have it.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    pub(super) extent: Dim,
    pub(super) strides: Vec<Dim>,
}

/// The operands of a contraction: which axes they have.
pub(super) struct Operands {
    pub(super) values: Vec<ValueId>,
    pub(super) elems: Vec<Scalar>,
    labels: BTreeMap<char, Axis>,
}

const LHS: usize = 0;
const RHS: usize = 1;
const OUT: usize = 2;

pub(super) fn lower_contract(l: &mut Lowering<'_>, id: NodeId, spec: &ContractSpec) -> Result<(), LowerError> {
    let node = l.graph.node(id);
    let operands = Operands::of(l, node, spec);
    let constant = l.graph.constant(node.operands[0]);
    let canonical = match spec.lhs[..] {
        [m, k] => spec.out.contains(&m) && !spec.rhs.contains(&m) && spec.rhs.contains(&k) && !spec.out.contains(&k),
        _ => false,
    };
    let bytes = constant.filter(|_| canonical && operands.elems[RHS] == Scalar::U8);
    if let Some(weight) = bytes.and_then(|c| ByteMatrix::new(&c.data, l.graph.pages())) {
        let problem = weight_problem(node, spec, &operands, (weight.outputs(), weight.cols()))?;
        return lower_bytes(l, node, problem, &weight, &operands.values[OUT + 1..]);
    }
    let weight = constant.filter(|_| canonical).and_then(|c| WeightMatrix::new(&c.data, c.data.shape[0], 1));
    let weight = weight.map(|w| w.with_pages(l.graph.pages()));
    let all_f32 = operands.elems[RHS] == Scalar::F32 && operands.elems[OUT] == Scalar::F32;
    match weight {
        Some(weight) if all_f32 => lower_weight(l, node, spec, &operands, &weight),
        _ if node.format.as_ref().is_some_and(|f| *f != sparsec_sparse::Format::Dense) => {
            Err(LowerError::unsupported(node, "a format needs an f32 weight `mk` on the left that is a constant"))
        }
        _ => lower_product(l, node, spec, operands),
    }
}

impl Operands {
    fn of(l: &Lowering<'_>, node: &Node, spec: &ContractSpec) -> Self {
        let own = node.epilogue.as_ref().map_or(node.operands.len(), |e| e.first_operand as usize);
        let mut values = vec![node.operands[0], node.operands[1], node.result()];
        values.extend_from_slice(&node.operands[own..]);
        let names = |i: usize| match i {
            LHS => &spec.lhs[..],
            RHS => &spec.rhs[..],
            _ => &spec.out[..],
        };
        Operands::labelled(l, values, names)
    }

    /// Operands whose axes have these labels, aligned at the last axis where an operand has fewer.
    pub(super) fn labelled<'s>(l: &Lowering<'_>, values: Vec<ValueId>, names: impl Fn(usize) -> &'s [char]) -> Self {
        let mut labels: BTreeMap<char, Axis> = BTreeMap::new();
        for (i, &value) in values.iter().enumerate() {
            let ty = l.graph.ty(value);
            let strides = strides_of(&ty.shape);
            let names = names(i);
            let names = &names[names.len() - ty.rank().min(names.len())..];
            for (axis, name) in names.iter().enumerate() {
                let extent = ty.shape[axis].clone();
                let entry = labels
                    .entry(*name)
                    .or_insert_with(|| Axis { extent: extent.clone(), strides: vec![Dim::default(); values.len()] });
                if !extent.is(1) {
                    entry.extent = extent;
                    entry.strides[i] = strides[axis].clone();
                }
            }
        }
        let elems = values.iter().map(|&v| scalar_of(l.graph.ty(v).dtype)).collect();
        Operands { values, elems, labels }
    }

    /// The axes of these labels in order, those of extent 1 dropped, neighbours merged where all operands allow it.
    pub(super) fn axes(&self, names: impl Iterator<Item = char>) -> Vec<Axis> {
        let mut axes: Vec<Axis> =
            names.filter_map(|n| self.labels.get(&n)).filter(|a| !a.extent.is(1)).cloned().collect();
        for i in (0..axes.len().saturating_sub(1)).rev() {
            let (outer, inner) = (&axes[i], &axes[i + 1]);
            let merges = outer.strides.iter().zip(&inner.strides).all(|(o, s)| *o == s.clone() * inner.extent.clone());
            if merges {
                let inner = axes.remove(i + 1);
                axes[i] = Axis { extent: axes[i].extent.clone() * inner.extent, strides: inner.strides };
            }
        }
        axes
    }

    /// An operand as a tensor over four axes; where it does not have one, its extent is 1.
    pub(super) fn view(&self, i: usize, axes: [&Axis; 4]) -> ([Dim; 4], [Dim; 4]) {
        let extent = |a: &Axis| if a.strides[i].is(0) { Dim::constant(1) } else { a.extent.clone() };
        (axes.map(extent), axes.map(|a| a.strides[i].clone()))
    }

    pub(super) fn unit(&self) -> Axis {
        Axis { extent: Dim::constant(1), strides: vec![Dim::default(); self.values.len()] }
    }
}

/// Takes the axis along which the result lies contiguously, else the last one, out of `axes`.
fn take_innermost(axes: &mut Vec<Axis>, operand: usize) -> Option<Axis> {
    let at = axes.iter().position(|a| a.strides[operand].is(1)).or(axes.len().checked_sub(1))?;
    Some(axes.remove(at))
}

fn lower_weight(
    l: &mut Lowering<'_>,
    node: &Node,
    spec: &ContractSpec,
    operands: &Operands,
    weight: &WeightMatrix,
) -> Result<(), LowerError> {
    let problem = weight_problem(node, spec, operands, (weight.outputs(), weight.cols()))?;
    let args = operands.values[OUT + 1..].to_vec();
    launch_multiplication(l, node, problem, weight, (node.operands[1], node.operands[0]), &args)
}

/// The problem of a weight of so many outputs and columns.
fn weight_problem(
    node: &Node,
    spec: &ContractSpec,
    operands: &Operands,
    (outputs, columns): (usize, usize),
) -> Result<WeightProblem, LowerError> {
    let (m, k) = (&operands.labels[&spec.lhs[0]], &operands.labels[&spec.lhs[1]]);
    let mut free = operands.axes(spec.out.iter().copied().filter(|c| spec.rhs.contains(c)));
    let cols = take_innermost(&mut free, OUT).unwrap_or_else(|| operands.unit());
    let rows = free.pop().unwrap_or_else(|| operands.unit());
    let batch = free.pop().unwrap_or_else(|| operands.unit());
    if !free.is_empty() {
        return Err(LowerError::unsupported(
            node,
            "the axes of the input that are not contracted lie in memory in more than three pieces",
        ));
    }
    let view = |i: usize, channels: &Axis| {
        let (shape, strides) = operands.view(i, [&batch, channels, &rows, &cols]);
        View { elem: operands.elems[i], shape, strides }
    };
    // Extents of the input and of the result are the contraction's even where they are 1.
    let whole = |mut v: View, channels: &Axis| {
        v.shape = [&batch, channels, &rows, &cols].map(|a| a.extent.clone());
        v
    };
    Ok(WeightProblem {
        name: node.name.clone(),
        m: outputs,
        channels: columns,
        rows: Window::POINT,
        cols: Window::POINT,
        x: whole(view(RHS, k), k),
        y: whole(view(OUT, m), m),
        args: (OUT + 1..operands.values.len()).map(|i| view(i, m)).collect(),
        epilogue: node.epilogue.as_ref().map(|e| e.expr.clone()),
        density: 1.0,
        tokens: None,
        schedule: None,
        in_place: None,
    })
}

fn lower_product(l: &mut Lowering<'_>, node: &Node, spec: &ContractSpec, operands: Operands) -> Result<(), LowerError> {
    let has = |labels: &[char], c: &char| labels.contains(c);
    let out = || spec.out.iter().copied();
    let mut batch = operands.axes(out().filter(|c| has(&spec.lhs, c) && has(&spec.rhs, c)));
    let mut of_lhs = operands.axes(out().filter(|c| !has(&spec.rhs, c)));
    let mut of_rhs = operands.axes(out().filter(|c| !has(&spec.lhs, c)));
    let mut summed = operands.axes(spec.summed().into_iter());
    // The result is contiguous along the columns: those of the operand that has that axis.
    let swap = of_lhs.iter().any(|a| a.strides[OUT].is(1));
    let (a, x) = if swap { (RHS, LHS) } else { (LHS, RHS) };
    let (rows, cols) = if swap { (&mut of_rhs, &mut of_lhs) } else { (&mut of_lhs, &mut of_rhs) };
    let n = take_innermost(cols, OUT).unwrap_or_else(|| operands.unit());
    let m = rows.pop().unwrap_or_else(|| operands.unit());
    // What is left of rows and columns is a batch in which one of the operands repeats.
    batch.append(rows);
    batch.append(cols);
    let k = summed.pop().unwrap_or_else(|| operands.unit());
    let inner = batch.pop().unwrap_or_else(|| operands.unit());
    let outer = batch.pop().unwrap_or_else(|| operands.unit());
    if !batch.is_empty() || !summed.is_empty() {
        return Err(LowerError::unsupported(
            node,
            format!("the axes of `{spec}` lie in memory in too many pieces; transpose an operand first"),
        ));
    }
    let matrices = |i: usize, row: &Axis, col: &Axis| {
        let (mut shape, strides) = operands.view(i, [&outer, &inner, row, col]);
        // Loops run over the whole extents; only epilogue operands are indexed by what they have.
        if i <= OUT {
            shape = [&outer, &inner, row, col].map(|a| a.extent.clone());
        }
        Matrices { elem: operands.elems[i], shape, strides }
    };
    let gemm = Gemm {
        a: matrices(a, &m, &k),
        x: matrices(x, &k, &n),
        y: matrices(OUT, &m, &n),
        args: (OUT + 1..operands.values.len()).map(|i| matrices(i, &m, &n)).collect(),
        epilogue: node.epilogue.as_ref().map(|e| e.expr.clone()),
    };
    let built = gemm_kernel(&gemm, &l.target);
    let mut places = vec![l.place(operands.values[a]), l.place(operands.values[x]), l.place(node.result())];
    places.extend(operands.values[OUT + 1..].iter().map(|&v| l.place(v)));
    l.launch(built, &node.name, places, &BTreeMap::new())
}
