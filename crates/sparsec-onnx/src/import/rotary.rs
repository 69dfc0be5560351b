//! Rotary position embedding: pairs of features are turned by an angle that grows with the position.

use sparsec_graph::{BinaryOp, DType, Dim, Op};

use super::attention::{heads, joined_heads};
use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `RotaryEmbedding` of the standard: x, cosines, sines, and optionally positions.
pub(super) fn rotary_embedding(cx: &mut Context, node: &Node<'_>) -> Results {
    embed(cx, node, node.input(0)?, [node.input(1)?, node.input(2)?], node.optional(3))
}

/// `com.microsoft.RotaryEmbedding`: x, positions, cosines, sines. A single position is that of the first token.
pub(super) fn rotary_embedding_of_microsoft(cx: &mut Context, node: &Node<'_>) -> Results {
    let (x, mut positions) = (node.input(0)?, node.input(1)?);
    if cx.rank(positions) == 1 {
        let length = cx.shape(x).get(if cx.rank(x) == 4 { 2 } else { 1 }).cloned().unwrap_or_default();
        let numbers = cx.iota(cx.dtype(positions), &length, 2, 1)?;
        positions = cx.binary(BinaryOp::Add, numbers, positions)?;
    }
    embed(cx, node, x, [node.input(2)?, node.input(3)?], Some(positions))
}

fn embed(cx: &mut Context, node: &Node<'_>, x: Operand, tables: [Operand; 2], positions: Option<Operand>) -> Results {
    let flat = cx.rank(x) == 3;
    let count = node.int("num_heads")?.filter(|n| *n > 0);
    // Where the number of heads is not said, the tables tell how wide one is.
    let count = match count {
        None if flat => {
            let width = 2 * cx.const_extent(tables[0], cx.rank(tables[0]).saturating_sub(1))?;
            (width > 0).then(|| cx.const_extent(x, 2).map(|hidden| hidden / width)).transpose()?
        }
        other => other,
    };
    let split = heads(cx, x, count, "num_heads")?;
    let size = cx.const_extent(split, 3)?;
    let turned = match node.int_or("rotary_embedding_dim", 0)? {
        0 => size,
        n if (0..=size).contains(&n) && n % 2 == 0 => n,
        n => return Err(Fault::attribute("rotary_embedding_dim", format!("is {n}, and a head has {size}"))),
    };
    let half = turned / 2;
    let part = |cx: &mut Context, start: i64, len: i64, step: i64| {
        cx.part(split, 3, Dim::constant(start), Dim::constant(len), step)
    };
    let interleaved = node.int_or("interleaved", 0)? != 0;
    let (a, b) = match interleaved {
        true => (part(cx, 0, half, 2)?, part(cx, 1, half, 2)?),
        false => (part(cx, 0, half, 1)?, part(cx, half, half, 1)?),
    };
    let [cosine, sine] = [angles(cx, tables[0], positions)?, angles(cx, tables[1], positions)?];
    let real = difference(cx, BinaryOp::Sub, (cosine, a), (sine, b))?;
    let imaginary = difference(cx, BinaryOp::Add, (sine, a), (cosine, b))?;
    let mut parts = if interleaved {
        let pair = [cx.insert_axes(real, &[4])?, cx.insert_axes(imaginary, &[4])?];
        let pairs = cx.append(Op::Concat { axis: 4 }, &pair)?;
        let mut shape = cx.shape(split);
        shape[3] = Dim::constant(turned);
        vec![cx.reshape(pairs, shape)?]
    } else {
        vec![real, imaginary]
    };
    if turned < size {
        parts.push(part(cx, turned, size - turned, 1)?);
    }
    let result = if parts.len() == 1 { parts[0] } else { cx.append(Op::Concat { axis: 3 }, &parts)? };
    Ok(vec![if flat { joined_heads(cx, result)? } else { result }])
}

/// `a b` and `c d`, combined.
fn difference(
    cx: &mut Context,
    op: BinaryOp,
    (a, b): (Operand, Operand),
    (c, d): (Operand, Operand),
) -> Result<Operand, Fault> {
    let (ab, cd) = (cx.binary(BinaryOp::Mul, a, b)?, cx.binary(BinaryOp::Mul, c, d)?);
    cx.binary(op, ab, cd)
}

/// A table by position, `[batch, 1, length, half]`.
fn angles(cx: &mut Context, table: Operand, positions: Option<Operand>) -> Result<Operand, Fault> {
    let rows = match positions {
        Some(positions) => {
            let positions = cx.cast(positions, DType::I64)?;
            cx.append(Op::Gather { axis: 0 }, &[table, positions])?
        }
        None => table,
    };
    if cx.rank(rows) != 3 {
        return Err(Fault::invalid("cosines and sines must be of batch, length and half a head"));
    }
    cx.insert_axes(rows, &[1])
}
