//! `Gradient` (`ai.onnx.preview.training`): derivatives of a tensor, in reverse mode.
//!
//! The node names tensors of the graph around it, so it is read where names are known. What lies between is differentiated as the graph has
//! it, operator by operator: there are few, and those of ONNX are made of them.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::{BinaryOp, ContractSpec, DType, Dim, Op, ReduceKind, SliceAxis, UnaryOp, ValueId};

use super::Import;
use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Result<T> = std::result::Result<T, Fault>;

impl Import {
    /// Reads the node. What `xs` and `zs` name must be its operands: other values would be another computation.
    pub(super) fn gradient(&mut self, node: &Node<'_>) -> Result<Vec<Operand>> {
        let names = |name: &str| Ok::<_, Fault>(node.strings(name)?.unwrap_or_default());
        let (xs, zs) = (names("xs")?, names("zs")?);
        let y = node.string("y")?.ok_or_else(|| Fault::attribute("y", "is missing"))?;
        let operand = |name: &str| self.find(name).copied().flatten().ok_or_else(|| Fault::Undefined(name.to_owned()));
        let named = xs.iter().chain(&zs).map(|name| operand(name)).collect::<Result<Vec<_>>>()?;
        let y = operand(y)?;
        if named != node.all_inputs()? {
            return Err(Fault::unsupported("a gradient at other values than those that the graph computes"));
        }
        let xs = named.get(..xs.len()).unwrap_or_default().to_vec();
        gradients(&mut self.cx, &xs, y)
    }
}

/// The derivatives of the sum of `y` by each of `xs`.
fn gradients(cx: &mut Context, xs: &[Operand], y: Operand) -> Result<Vec<Operand>> {
    if xs.iter().chain([&y]).any(|&x| !cx.dtype(x).is_float()) {
        return Err(Fault::invalid("derivatives are of floating-point numbers"));
    }
    let leaves = xs.iter().map(|&x| cx.value(x)).collect::<Result<Vec<_>>>()?;
    let target = cx.value(y)?;
    // What depends on the leaves, in the order in which it was appended.
    let mut depends: BTreeSet<ValueId> = leaves.iter().copied().collect();
    let mut between = Vec::new();
    for (id, step) in cx.graph.nodes() {
        let is_leaf = step.results.iter().any(|r| leaves.contains(r));
        if !is_leaf && step.operands.iter().any(|v| depends.contains(v)) {
            depends.extend(&step.results);
            between.push(id);
        }
    }
    let one = cx.scalar(cx.dtype(y), 1.0);
    let ones = cx.append(Op::Expand(cx.shape(y)), &[one])?;
    let mut adjoints = BTreeMap::from([(target, ones)]);
    for id in between.into_iter().rev() {
        let step = cx.graph.node(id).clone();
        let [result] = step.results.as_slice() else {
            if step.results.iter().any(|r| adjoints.contains_key(r)) {
                return Err(unsupported(&step.op));
            }
            continue;
        };
        let Some(adjoint) = adjoints.get(result).copied() else { continue };
        let operands: Vec<Operand> = step.operands.iter().map(|&v| cx.operand_of(v)).collect();
        let result = cx.operand_of(*result);
        for (i, value) in step.operands.iter().enumerate() {
            if !depends.contains(value) || !cx.graph.ty(*value).dtype.is_float() {
                continue;
            }
            let part = pull(cx, &step.op, &operands, result, adjoint, i)?;
            let Some(part) = part else { continue };
            let sum = match adjoints.get(value) {
                Some(&before) => cx.binary(BinaryOp::Add, before, part)?,
                None => part,
            };
            adjoints.insert(*value, sum);
        }
    }
    let mut results = Vec::new();
    for (leaf, &x) in leaves.iter().zip(xs) {
        results.push(match adjoints.get(leaf) {
            Some(&adjoint) => adjoint,
            None => {
                let zero = cx.scalar(cx.dtype(x), 0.0);
                cx.append(Op::Expand(cx.shape(x)), &[zero])?
            }
        });
    }
    Ok(results)
}

fn unsupported(op: &Op) -> Fault {
    Fault::unsupported(format!("the derivative of `{}`", op.name()))
}

/// What the derivative `g` by a result adds to that by operand `i`; `None` where that is zero.
fn pull(cx: &mut Context, op: &Op, operands: &[Operand], y: Operand, g: Operand, i: usize) -> Result<Option<Operand>> {
    let x = *operands.get(i).ok_or(Fault::MissingInput(i))?;
    let of = |at: usize| operands.get(at).copied().ok_or(Fault::MissingInput(at));
    let part = match op {
        Op::Unary(op) => match unary(cx, *op, x, y, g)? {
            Some(part) => part,
            None => return Ok(None),
        },
        Op::Binary(op) => {
            let part = binary(cx, *op, [of(0)?, of(1)?], y, g, i)?;
            unbroadcast(cx, part, x)?
        }
        Op::Where => {
            let zero = cx.scalar(cx.dtype(g), 0.0);
            let part = if i == 1 { cx.select(of(0)?, g, zero)? } else { cx.select(of(0)?, zero, g)? };
            unbroadcast(cx, part, x)?
        }
        Op::Clip { lo, hi } => {
            let above = cx.with_number(BinaryOp::GreaterEqual, x, *lo)?;
            let below = cx.with_number(BinaryOp::LessEqual, x, *hi)?;
            let within = cx.binary(BinaryOp::And, above, below)?;
            cx.select_or(within, g, 0.0)?
        }
        Op::Cast(_) => cx.cast(g, cx.dtype(x))?,
        Op::Reshape(_) => cx.reshape(g, cx.shape(x))?,
        Op::Expand(_) => unbroadcast(cx, g, x)?,
        Op::Transpose(perm) => {
            let mut back = vec![0; perm.len()];
            perm.iter().enumerate().for_each(|(to, &from)| back[from] = to);
            cx.transpose(g, &back)?
        }
        Op::Concat { axis } => {
            let before = operands.iter().take(i).map(|&x| cx.shape(x)[*axis].clone());
            let start = before.fold(Dim::constant(0), |sum, d| sum + d);
            let len = cx.shape(x)[*axis].clone();
            cx.part(g, *axis, start, len, 1)?
        }
        Op::Slice(ranges) => padded(cx, ranges, x, g)?,
        Op::Contract(spec) => contraction(cx, spec, [of(0)?, of(1)?], g, i)?,
        Op::Reduce { kind, axes, .. } => reduction(cx, *kind, axes, x, y, g)?,
        Op::Softmax { axis } => {
            let product = cx.binary(BinaryOp::Mul, g, y)?;
            let sum = cx.reduce(ReduceKind::Sum, product, &[*axis])?;
            let less = cx.binary(BinaryOp::Sub, g, sum)?;
            cx.binary(BinaryOp::Mul, less, y)?
        }
        other => return Err(unsupported(other)),
    };
    Ok(Some(part))
}

/// `g` times the derivative of a function of one number.
fn unary(cx: &mut Context, op: UnaryOp, x: Operand, y: Operand, g: Operand) -> Result<Option<Operand>> {
    use BinaryOp::{Add, Div, Greater, Less, Mul, Sub};
    let one_less = |cx: &mut Context, v: Operand| {
        let one = cx.scalar(cx.dtype(v), 1.0);
        cx.binary(Sub, one, v)
    };
    let slope = match op {
        UnaryOp::Neg => return cx.unary(UnaryOp::Neg, g).map(Some),
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => return Ok(None),
        UnaryOp::Log => return cx.binary(Div, g, x).map(Some),
        UnaryOp::Relu => {
            let above = cx.with_number(Greater, x, 0.0)?;
            return cx.select_or(above, g, 0.0).map(Some);
        }
        UnaryOp::Abs => {
            let (above, below) = (cx.with_number(Greater, x, 0.0)?, cx.with_number(Less, x, 0.0)?);
            let negative = cx.unary(UnaryOp::Neg, g)?;
            let rest = cx.select_or(below, negative, 0.0)?;
            return cx.select(above, g, rest).map(Some);
        }
        UnaryOp::Exp => y,
        UnaryOp::Sqrt => {
            let half = cx.scalar(cx.dtype(y), 0.5);
            cx.binary(Div, half, y)?
        }
        UnaryOp::Reciprocal => {
            let square = cx.binary(Mul, y, y)?;
            cx.unary(UnaryOp::Neg, square)?
        }
        UnaryOp::Rsqrt => {
            let ratio = cx.binary(Div, y, x)?;
            cx.with_number(Mul, ratio, -0.5)?
        }
        UnaryOp::Erf => {
            let square = cx.binary(Mul, x, x)?;
            let square = cx.unary(UnaryOp::Neg, square)?;
            let bell = cx.unary(UnaryOp::Exp, square)?;
            cx.with_number(Mul, bell, std::f64::consts::FRAC_2_SQRT_PI)?
        }
        UnaryOp::Tanh => {
            let square = cx.binary(Mul, y, y)?;
            one_less(cx, square)?
        }
        UnaryOp::Sigmoid => {
            let rest = one_less(cx, y)?;
            cx.binary(Mul, y, rest)?
        }
        UnaryOp::Silu => {
            // s (1 + x (1 - s)), and x s = y.
            let sigmoid = cx.unary(UnaryOp::Sigmoid, x)?;
            let rest = one_less(cx, sigmoid)?;
            let bend = cx.binary(Mul, y, rest)?;
            cx.binary(Add, sigmoid, bend)?
        }
        UnaryOp::Sin => cx.unary(UnaryOp::Cos, x)?,
        UnaryOp::Cos => {
            let sine = cx.unary(UnaryOp::Sin, x)?;
            cx.unary(UnaryOp::Neg, sine)?
        }
        UnaryOp::Atan => {
            let square = cx.binary(Mul, x, x)?;
            let square = cx.with_number(Add, square, 1.0)?;
            cx.unary(UnaryOp::Reciprocal, square)?
        }
        other => return Err(unsupported(&Op::Unary(other))),
    };
    cx.binary(Mul, g, slope).map(Some)
}

/// The derivative by one operand of two, before broadcasting is taken back.
fn binary(cx: &mut Context, op: BinaryOp, [a, b]: [Operand; 2], y: Operand, g: Operand, i: usize) -> Result<Operand> {
    use BinaryOp::{Div, Greater, Less, Mul, Sub};
    match (op, i) {
        (BinaryOp::Add, _) | (Sub, 0) => Ok(g),
        (Sub, _) => cx.unary(UnaryOp::Neg, g),
        (Mul, 0) => cx.binary(Mul, g, b),
        (Mul, _) => cx.binary(Mul, g, a),
        (Div, 0) => cx.binary(Div, g, b),
        (Div, _) => {
            let ratio = cx.binary(Div, y, b)?;
            let product = cx.binary(Mul, g, ratio)?;
            cx.unary(UnaryOp::Neg, product)
        }
        (BinaryOp::Pow, 0) => {
            let less = cx.with_number(Sub, b, 1.0)?;
            let power = cx.binary(BinaryOp::Pow, a, less)?;
            let slope = cx.binary(Mul, b, power)?;
            cx.binary(Mul, g, slope)
        }
        (BinaryOp::Pow, _) => {
            let log = cx.unary(UnaryOp::Log, a)?;
            let slope = cx.binary(Mul, y, log)?;
            cx.binary(Mul, g, slope)
        }
        (BinaryOp::Min | BinaryOp::Max, _) => {
            let (mine, other) = if i == 0 { (a, b) } else { (b, a) };
            let wins = if op == BinaryOp::Max { Greater } else { Less };
            let wins = cx.binary(wins, mine, other)?;
            let equal = cx.binary(BinaryOp::Equal, mine, other)?;
            // Where both are the result, each has half.
            let half = cx.with_number(Mul, g, 0.5)?;
            let rest = cx.select_or(equal, half, 0.0)?;
            cx.select(wins, g, rest)
        }
        (other, _) => Err(unsupported(&Op::Binary(other))),
    }
}

/// Sums over the axes along which an operand was repeated.
fn unbroadcast(cx: &mut Context, g: Operand, x: Operand) -> Result<Operand> {
    let (from, to) = (cx.shape(g), cx.shape(x));
    let added = from.len().saturating_sub(to.len());
    let repeated = |axis: usize| axis < added || (to[axis - added].is(1) && !from[axis].is(1));
    let axes: Vec<usize> = (0..from.len()).filter(|&axis| repeated(axis)).collect();
    let sum = if axes.is_empty() { g } else { cx.reduce(ReduceKind::Sum, g, &axes)? };
    cx.reshape(sum, to)
}

/// The derivative by what a slice was taken of: zeros around it.
fn padded(cx: &mut Context, ranges: &[SliceAxis], x: Operand, g: Operand) -> Result<Operand> {
    let mut result = g;
    for (axis, (range, extent)) in ranges.iter().zip(cx.shape(x)).enumerate() {
        if range.step != 1 {
            return Err(Fault::unsupported("the derivative of a slice with a step"));
        }
        let behind = extent - range.start.clone() - range.len.clone();
        let mut parts = Vec::new();
        for (count, is_front) in [(range.start.clone(), true), (behind, false)] {
            if count.is(0) {
                continue;
            }
            let mut shape = cx.shape(result);
            shape[axis] = count;
            let zero = cx.scalar(cx.dtype(g), 0.0);
            parts.push((cx.append(Op::Expand(shape), &[zero])?, is_front));
        }
        for (zeros, is_front) in parts {
            let pair = if is_front { [zeros, result] } else { [result, zeros] };
            result = cx.append(Op::Concat { axis }, &pair)?;
        }
    }
    Ok(result)
}

/// A contraction of the derivative with the other operand.
fn contraction(cx: &mut Context, spec: &ContractSpec, [a, b]: [Operand; 2], g: Operand, i: usize) -> Result<Operand> {
    let (mine, other, labels) = if i == 0 { (a, b, [&spec.lhs, &spec.rhs]) } else { (b, a, [&spec.rhs, &spec.lhs]) };
    // Each label of an operand is one of the result or of the other operand, or else it would be summed by itself.
    let back = ContractSpec { lhs: spec.out.clone(), rhs: labels[1].clone(), out: labels[0].clone() };
    if !back.is_valid() {
        return Err(unsupported(&Op::Contract(spec.clone())));
    }
    let result = cx.append(Op::Contract(back), &[g, other])?;
    cx.reshape(result, cx.shape(mine))
}

/// Each element of what was reduced has its share of the derivative.
fn reduction(
    cx: &mut Context,
    kind: ReduceKind,
    axes: &[usize],
    x: Operand,
    y: Operand,
    g: Operand,
) -> Result<Operand> {
    let shape = cx.shape(x);
    let kept: Vec<Dim> =
        shape.iter().enumerate().map(|(i, d)| if axes.contains(&i) { Dim::constant(1) } else { d.clone() }).collect();
    let (g, y) = (cx.reshape(g, kept.clone())?, cx.reshape(y, kept)?);
    let slope = match kind {
        ReduceKind::Sum => g,
        ReduceKind::Mean => {
            let count = Dim::product(axes.iter().filter_map(|&axis| shape.get(axis)));
            let count = cx.int_vector(vec![count])?;
            let count = cx.cast(count, DType::F64)?;
            let count = cx.cast(count, cx.dtype(g))?;
            let count = cx.reshape(count, Vec::new())?;
            cx.binary(BinaryOp::Div, g, count)?
        }
        ReduceKind::SumSquare => {
            let twice = cx.with_number(BinaryOp::Mul, x, 2.0)?;
            return cx.binary(BinaryOp::Mul, g, twice);
        }
        ReduceKind::L2 => {
            let share = cx.binary(BinaryOp::Div, x, y)?;
            return cx.binary(BinaryOp::Mul, g, share);
        }
        other => return Err(Fault::unsupported(format!("the derivative of the reduction `{}`", other.name()))),
    };
    cx.append(Op::Expand(shape), &[slope])
}
