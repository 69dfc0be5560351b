//! Fourier transforms, as contractions with a table of cosines and sines.
//!
//! Complex numbers are a last axis of two: the real and the imaginary part. A transform sums over that axis, too: the table holds for each
//! pair of points and each pair of parts what the one contributes to the other.

use sparsec_graph::{BinaryOp, DType, Dim, Op};

use super::context::{Context, Operand};
use super::node::{Node, axis};
use super::scatter::widen;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// What is transformed into what.
#[derive(Clone, Copy)]
struct Transform {
    axis: usize,
    /// Points of the full signal.
    length: i64,
    inverse: bool,
    /// Of the spectrum there is only the first half, which tells the other where the signal is real.
    onesided: bool,
}

/// `DFT`.
pub(super) fn dft(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    let along = match (node.opset >= 20, node.optional(2)) {
        (true, Some(along)) => number(cx, along, "the axis")?,
        (true, None) => -2,
        (false, _) => node.int_or("axis", 1)?,
    };
    let along = axis(along, rank)?;
    if along + 1 == rank {
        return Err(Fault::invalid(format!("axis {along} is that of the parts of complex numbers")));
    }
    let (inverse, onesided) = (node.int_or("inverse", 0)? != 0, node.int_or("onesided", 0)? != 0);
    let length = match node.optional(1) {
        Some(length) => number(cx, length, "the length")?,
        None if inverse && onesided => 2 * (cx.const_extent(x, along)? - 1),
        None => cx.const_extent(x, along)?,
    };
    Ok(vec![transform(cx, x, Transform { axis: along, length, inverse, onesided })?])
}

/// `STFT`: the transforms of frames of the signal, which overlap.
pub(super) fn stft(cx: &mut Context, node: &Node<'_>) -> Results {
    let (mut signal, window) = (node.input(0)?, node.optional(2));
    let step = number(cx, node.input(1)?, "the step")?;
    if cx.rank(signal) == 2 {
        signal = cx.insert_axes(signal, &[2])?;
    }
    let [batch, _, parts] = cx.shape(signal).try_into().map_err(|_| Fault::invalid("a signal has 3 dimensions"))?;
    let points = cx.shape(signal)[1].clone();
    let length = match (node.optional(3), window) {
        (Some(length), _) => number(cx, length, "the length of frames")?,
        (None, Some(window)) => cx.const_extent(window, 0)?,
        (None, None) => cx.const_extent(signal, 1)?,
    };
    if step < 1 || length < 1 || points.as_const().is_some_and(|points| length > points) {
        return Err(Fault::invalid(format!("frames of {length} points of {points}, at distances of {step}")));
    }
    let frames = (points - Dim::constant(length)).floor_div(&Dim::constant(step)) + Dim::constant(1);
    let starts = cx.iota(DType::I64, &frames, 2, 0)?;
    let starts = cx.with_number(BinaryOp::Mul, starts, step as f64)?;
    let places = cx.iota(DType::I64, &Dim::constant(length), 2, 1)?;
    let indices = cx.binary(BinaryOp::Add, starts, places)?;
    let indices = cx.reshape(indices, vec![frames.clone() * Dim::constant(length)])?;
    let framed = cx.append(Op::Gather { axis: 1 }, &[signal, indices])?;
    let mut framed = cx.reshape(framed, vec![batch, frames, length.into(), parts])?;
    if let Some(window) = window {
        let window = cx.reshape(window, vec![length.into(), Dim::constant(1)])?;
        framed = cx.binary(BinaryOp::Mul, framed, window)?;
    }
    let onesided = node.int_or("onesided", 1)? != 0;
    Ok(vec![transform(cx, framed, Transform { axis: 2, length, inverse: false, onesided })?])
}

/// The transform along an axis, which is cut, or filled up with zeros, to its length.
fn transform(cx: &mut Context, x: Operand, t: Transform) -> Result<Operand, Fault> {
    let dtype = cx.dtype(x);
    let parts = cx.const_extent(x, cx.rank(x) - 1)?;
    if !(1..=2).contains(&parts) || !dtype.is_float() || !(1..1 << 24).contains(&t.length) {
        return Err(Fault::invalid(format!("a transform of {} points of {}", t.length, cx.ty(x))));
    }
    let half = t.length / 2 + 1;
    let (points, bins) = match (t.onesided, t.inverse) {
        (true, true) => (half, t.length),
        (true, false) => (t.length, half),
        (false, _) => (t.length, t.length),
    };
    let used = cx.const_extent(x, t.axis)?.min(points);
    let mut x = widen(cx, x)?;
    if cx.const_extent(x, t.axis)? > used {
        x = cx.part(x, t.axis, Dim::constant(0), used.into(), 1)?;
    }
    let results = if t.inverse && t.onesided { 1 } else { 2 };
    let table = table(cx, t, [used, parts, bins, results])?;
    let table = cx.cast(table, cx.dtype(x))?;
    let mut shape = cx.shape(x);
    let outer = Dim::product(&shape[..t.axis]);
    let inner = Dim::product(&shape[t.axis + 1..shape.len() - 1]);
    // A matrix product of lines with the table: the parts of a number belong beside its point.
    let lines = cx.reshape(x, vec![outer.clone(), used.into(), inner.clone(), parts.into()])?;
    let lines = cx.transpose(lines, &[0, 2, 1, 3])?;
    let lines = cx.reshape(lines, vec![outer.clone() * inner.clone(), Dim::constant(used * parts)])?;
    let y = cx.contract("mk,kn->mn", lines, table)?;
    let y = cx.reshape(y, vec![outer, inner, bins.into(), results.into()])?;
    let y = cx.transpose(y, &[0, 2, 1, 3])?;
    shape[t.axis] = bins.into();
    if let Some(last) = shape.last_mut() {
        *last = results.into();
    }
    let y = cx.reshape(y, shape)?;
    cx.cast(y, dtype)
}

/// What part `c` of point `n` contributes to part `d` of bin `k`: a matrix of `n, c` by `k, d`.
fn table(cx: &mut Context, t: Transform, extents: [i64; 4]) -> Result<Operand, Fault> {
    let [points, parts, bins, results] = extents;
    let shape = [points * parts, bins * results].map(|n| usize::try_from(n).unwrap_or(0));
    cx.table(DType::F64, &shape, |at| {
        let at = at as i64;
        let (d, k) = (at % results, at / results % bins);
        let (c, n) = (at / (results * bins) % parts, at / (results * bins * parts));
        let angle = std::f64::consts::TAU * (n * k % t.length) as f64 / t.length as f64;
        let (sin, cos) = if t.inverse { angle.sin_cos() } else { (-angle).sin_cos() };
        let value = match (c, d) {
            (0, 0) | (1, 1) => cos,
            (0, 1) => sin,
            _ => -sin,
        };
        // All bins of half a spectrum count twice, but those that are their own mirror images.
        let is_twice = t.inverse && t.onesided && n != 0 && 2 * n != t.length;
        let scale = if t.inverse { 1.0 / t.length as f64 } else { 1.0 };
        if is_twice { 2.0 * value * scale } else { value * scale }
    })
}

fn number(cx: &Context, x: Operand, what: &str) -> Result<i64, Fault> {
    match cx.const_ints(x, what)?.as_slice() {
        &[number] => Ok(number),
        _ => Err(Fault::invalid(format!("{what} is not one number"))),
    }
}
