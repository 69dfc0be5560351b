//! Element-wise kernels, and every operator that only moves elements (transpose, slice, concat, expand, pad's inside).
//!
//! ```text
//! parallel i0 in 0..n0 {
//!   for i1 in 0..n1 {
//!     for j in 0..n2 step L {
//!       vector l in 0..L active n2 - j { y[i0, i1, j + l] = f(x0[i0, i1, j + l], x1[i1], ...) }
//! ```
//!
//! Loops are merged first where every operand allows it, so that the innermost one is long.
//!
//! Where an operand is read across its rows, each vector takes an element of as many cache lines as it has lanes. The loop that walks
//! along those lines is cut into blocks, and a block goes inside, so that all of a line is used before it is replaced:
//!
//! ```text
//! parallel block in 0..n0 step 16 {
//!   for j in 0..n1 step L {
//!     for i in block..block + 16 {
//!       vector l in 0..L active n1 - j { y[i, j + l] = x[j + l, i] }
//! ```

use sparsec_graph::Dim;
use sparsec_tir::{BufferKind, Expr, Scalar, load};

use crate::context::{BuiltKernel, Context};
use crate::operand::{Operand, collapse};
use crate::scalar::Typed;
use crate::target::TargetInfo;

/// Elements that one task of a one-dimensional kernel takes.
const CHUNK: i64 = 4096;

/// Steps of the loop along cache lines of an operand that is read across them, as many as `f32` fill a line of 64 bytes.
const BLOCK: i64 = 16;

/// What is computed from the operands' elements.
pub(crate) type Body<'a> = &'a mut dyn FnMut(&mut Context, &mut dyn FnMut(&mut Context, u32) -> Typed) -> Typed;

/// A kernel that computes `output` (operand 0 of the loops) from `inputs`.
pub(crate) fn map_kernel(
    name: &str,
    extents: &[Dim],
    output: &Operand,
    inputs: &[Operand],
    target: &TargetInfo,
    body: Body<'_>,
) -> BuiltKernel {
    let mut extents = extents.to_vec();
    let mut operands: Vec<Operand> = std::iter::once(output).chain(inputs).cloned().collect();
    collapse(&mut extents, &mut operands);
    if extents.is_empty() {
        extents.push(Dim::constant(1));
    }
    let mut c = Context::new(name);
    let inputs: Vec<_> = operands[1..]
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let shape = c.dims(&o.shape);
            c.buffer(&format!("x{i}"), o.elem, BufferKind::Input, shape, vec![])
        })
        .collect();
    let shape = c.dims(&operands[0].shape);
    let output = c.buffer("y", operands[0].elem, BufferKind::Output, shape, vec![]);
    let counts = c.dims(&extents);
    let inner = counts[counts.len() - 1].clone();

    let lanes = i64::from(target.lanes);
    let mut vector = |c: &mut Context, outer: &[Expr], j: Expr, rest: Expr| {
        c.vector(target.lanes, Some(rest), |c, l| {
            let mut loops = outer.to_vec();
            loops.push(j + l);
            let mut loads = |c: &mut Context, i: u32| {
                let operand = &operands[1 + i as usize];
                let index = operand.index(c, &loops);
                (load(inputs[i as usize], index), operand.elem)
            };
            let (value, scalar) = body(c, &mut loads);
            let value = if scalar == operands[0].elem { value } else { value.convert(operands[0].elem) };
            let index = operands[0].index(c, &loops);
            c.store(output, index, value);
        });
    };
    if counts.len() == 1 {
        let tasks = c.dim(&extents[0].ceil_div(&Dim::constant(CHUNK)));
        c.parallel("task", tasks, |c, task| {
            let from = c.bind_index("from", task * Expr::int(CHUNK));
            let to = c.bind_index("to", (from.clone() + Expr::int(CHUNK)).min(inner));
            c.serial("j", from, to.clone(), lanes, |c, j| vector(c, &[], j.clone(), to - j));
        });
    } else if let Some(across) = read_across(&operands, target) {
        let blocks = c.dim(&extents[across].ceil_div(&Dim::constant(BLOCK)));
        let count = counts[across].clone();
        let mut bounds = counts[..counts.len() - 1].to_vec();
        bounds[across] = blocks;
        c.parallel("i0", bounds[0].clone(), |c, i0| {
            c.nest(&bounds[1..], vec![i0], &mut |c, outer| {
                let from = c.bind_index("from", outer[across].clone() * Expr::int(BLOCK));
                let to = c.bind_index("to", (from.clone() + Expr::int(BLOCK)).min(count.clone()));
                c.serial("j", Expr::int(0), inner.clone(), lanes, |c, j| {
                    c.serial("i", from, to, 1, |c, i| {
                        let mut outer = outer.to_vec();
                        outer[across] = i;
                        vector(c, &outer, j.clone(), inner.clone() - j);
                    });
                });
            });
        });
    } else {
        c.parallel("i0", counts[0].clone(), |c, i0| {
            c.nest(&counts[1..counts.len() - 1], vec![i0], &mut |c, outer| {
                c.serial("j", Expr::int(0), inner.clone(), lanes, |c, j| {
                    vector(c, outer, j.clone(), inner.clone() - j)
                });
            });
        });
    }
    c.finish()
}

/// The loop along the rows of an input that the innermost loop walks across. None for GPUs, whose caches are shared by so many warps
/// that they order nothing.
fn read_across(operands: &[Operand], target: &TargetInfo) -> Option<usize> {
    let (output, inputs) = operands.split_first()?;
    let last = output.axes.iter().filter_map(|axis| axis.from).max()?;
    let across = |input: &Operand| {
        let along = input.axes.last()?.from?;
        let crosses = input.axes.iter().any(|axis| axis.from == Some(last));
        (along != last && crosses).then_some(along)
    };
    if target.lanes == TargetInfo::WARP.lanes { None } else { inputs.iter().find_map(across) }
}

/// A type check that a value is of the element type; converts where it is not.
pub(crate) fn converted(value: Typed, to: Scalar) -> Expr {
    if value.1 == to { value.0 } else { value.0.convert(to) }
}
