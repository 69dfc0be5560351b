//! Attention, as the two contractions and the softmax that it is: later stages make one kernel of them.

use sparsec_graph::{BinaryOp, DType, Dim, Op, UnaryOp};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// What is done to the scores `[batch, heads, queries, keys]`.
#[derive(Default)]
struct Scores {
    scale: f64,
    /// Truth values or numbers to add, broadcast to the scores.
    mask: Option<Operand>,
    /// Keys that came before the first query; `None` where all keys are seen.
    past: Option<Dim>,
    /// Number of keys that count, per image of the batch.
    lengths: Option<Operand>,
    /// `c tanh(scores / c)`.
    cap: f64,
    /// The type that softmax is computed in.
    precision: Option<DType>,
}

/// Which scores the fourth result has.
struct Stages {
    products: Operand,
    biased: Operand,
    capped: Operand,
    weights: Operand,
}

/// `Attention`: operands of 4 dimensions, or of 3 whose last one holds the heads.
pub(super) fn attention(cx: &mut Context, node: &Node<'_>) -> Results {
    let query = node.input(0)?;
    let flat = cx.rank(query) == 3;
    let (q_heads, kv_heads) = (node.int("q_num_heads")?, node.int("kv_num_heads")?);
    let q = heads(cx, query, q_heads, "q_num_heads")?;
    let mut k = heads(cx, node.input(1)?, kv_heads, "kv_num_heads")?;
    let mut v = heads(cx, node.input(2)?, kv_heads, "kv_num_heads")?;
    let mut past = Dim::constant(0);
    if let Some(past_key) = node.optional(4) {
        past = cx.shape(past_key).get(2).cloned().ok_or_else(|| Fault::invalid("the past has no keys"))?;
        k = cx.append(Op::Concat { axis: 2 }, &[past_key, k])?;
    }
    if let Some(past_value) = node.optional(5) {
        v = cx.append(Op::Concat { axis: 2 }, &[past_value, v])?;
    }
    let head = cx.const_extent(q, 3)?;
    let precision = match node.int("softmax_precision")? {
        Some(number) => Some(tensor::dtype(i32::try_from(number).unwrap_or(-1))?),
        None => None,
    };
    let scores = Scores {
        scale: node.float("scale")?.map_or_else(|| 1.0 / (head as f64).sqrt(), f64::from),
        mask: node.optional(3).map(|mask| reaching(cx, mask, k)).transpose()?,
        past: (node.int_or("is_causal", 0)? != 0).then_some(past),
        lengths: node.optional(6),
        cap: node.float_or("softcap", 0.0)?,
        precision,
    };
    let (result, stages) = attend(cx, [q, k, v], &scores)?;
    let result = if flat { joined_heads(cx, result)? } else { result };
    let stage = match node.int_or("qk_matmul_output_mode", 0)? {
        0 => stages.products,
        1 => stages.biased,
        2 => stages.capped,
        3 => stages.weights,
        mode => return Err(Fault::attribute("qk_matmul_output_mode", format!("is {mode}"))),
    };
    Ok(vec![result, k, v, stage])
}

/// `[batch, length, heads * size]` as `[batch, heads, length, size]`.
pub(super) fn heads(cx: &mut Context, x: Operand, count: Option<i64>, name: &str) -> Result<Operand, Fault> {
    let shape = cx.shape(x);
    match (shape.as_slice(), count) {
        ([_, _, _, _], _) => Ok(x),
        ([batch, length, hidden], Some(count)) if count > 0 => {
            let size = hidden.exact_div(&Dim::constant(count));
            let size = size.ok_or_else(|| Fault::attribute(name, format!("{count} does not divide {hidden}")))?;
            let apart = vec![batch.clone(), length.clone(), Dim::constant(count), size];
            let apart = cx.reshape(x, apart)?;
            cx.transpose(apart, &[0, 2, 1, 3])
        }
        ([_, _, _], _) => Err(Fault::attribute(name, "is missing or not positive")),
        _ => Err(Fault::invalid("operands must have 3 or 4 dimensions")),
    }
}

/// `[batch, heads, length, size]` as `[batch, length, heads * size]`.
pub(super) fn joined_heads(cx: &mut Context, x: Operand) -> Result<Operand, Fault> {
    let moved = cx.transpose(x, &[0, 2, 1, 3])?;
    let shape = cx.shape(moved);
    let [batch, length, heads, size] = shape.as_slice() else { return Ok(moved) };
    cx.reshape(moved, vec![batch.clone(), length.clone(), heads.clone() * size.clone()])
}

/// A mask that ends before the last keys, continued: those are not seen.
fn reaching(cx: &mut Context, mask: Operand, k: Operand) -> Result<Operand, Fault> {
    let rank = cx.rank(mask);
    let (Some(given), Some(keys)) = (cx.shape(mask).last().cloned(), cx.shape(k).get(2).cloned()) else {
        return Ok(mask);
    };
    let missing = match (given.as_const(), keys.as_const()) {
        (Some(given), Some(keys)) if given < keys => keys - given,
        _ => return Ok(mask),
    };
    let value = if cx.dtype(mask) == DType::Bool { 0.0 } else { f64::NEG_INFINITY };
    let mut amounts = vec![(0, 0); rank];
    amounts[rank - 1] = (0, missing);
    cx.append(Op::Pad { amounts, value }, &[mask])
}

/// `softmax(f(q k)) v`, where several heads of queries may share one of keys and values.
fn attend(cx: &mut Context, [q, k, v]: [Operand; 3], how: &Scores) -> Result<(Operand, Stages), Fault> {
    let (qs, ks) = (cx.shape(q), cx.shape(k));
    let ([batch, heads, queries, size], [_, groups, keys, _]) = (qs.as_slice(), ks.as_slice()) else {
        return Err(Fault::invalid("operands must have 4 dimensions"));
    };
    let each = heads.exact_div(groups).ok_or_else(|| Fault::invalid("heads of keys do not divide those of queries"))?;
    // Queries of heads that share their keys follow each other: they are queries of one head.
    let rows = if heads == groups { queries.clone() } else { each * queries.clone() };
    let grouped = cx.reshape(q, vec![batch.clone(), groups.clone(), rows.clone(), size.clone()])?;
    let raw = cx.contract("abqd,abkd->abqk", grouped, k)?;
    let raw = cx.reshape(raw, vec![batch.clone(), heads.clone(), queries.clone(), keys.clone()])?;
    let products = cx.with_number(BinaryOp::Mul, raw, how.scale)?;
    let biased = masked(cx, products, queries, keys, how)?;
    let mut capped = biased;
    if how.cap > 0.0 {
        let ratio = cx.with_number(BinaryOp::Div, capped, how.cap)?;
        let bounded = cx.unary(UnaryOp::Tanh, ratio)?;
        capped = cx.with_number(BinaryOp::Mul, bounded, how.cap)?;
    }
    let dtype = cx.dtype(capped);
    let precise = cx.cast(capped, how.precision.unwrap_or(dtype))?;
    let weights = cx.append(Op::Softmax { axis: 3 }, &[precise])?;
    let weights = cx.cast(weights, dtype)?;
    let grouped = cx.reshape(weights, vec![batch.clone(), groups.clone(), rows, keys.clone()])?;
    let result = cx.contract("abqk,abkv->abqv", grouped, v)?;
    let width = cx.shape(result).last().cloned().unwrap_or_default();
    let result = cx.reshape(result, vec![batch.clone(), heads.clone(), queries.clone(), width])?;
    Ok((result, Stages { products, biased, capped, weights }))
}

/// The scores with what is not seen at negative infinity.
fn masked(cx: &mut Context, products: Operand, queries: &Dim, keys: &Dim, how: &Scores) -> Result<Operand, Fault> {
    let mut scores = products;
    if let Some(mask) = how.mask {
        scores = match cx.dtype(mask) {
            DType::Bool => cx.select_or(mask, scores, f64::NEG_INFINITY)?,
            _ => cx.binary(BinaryOp::Add, scores, mask)?,
        };
    }
    if let Some(past) = &how.past {
        let place = super::index::diagonals(cx, queries, keys)?;
        let past = cx.int_vector(vec![past.clone()])?;
        let seen = cx.binary(BinaryOp::LessEqual, place, past)?;
        scores = cx.select_or(seen, scores, f64::NEG_INFINITY)?;
    }
    if let Some(lengths) = how.lengths {
        let lengths = cx.cast(lengths, DType::I64)?;
        let batch = cx.shape(lengths).first().cloned().unwrap_or_default();
        let one = || Dim::constant(1);
        let lengths = cx.reshape(lengths, vec![batch, one(), one(), one()])?;
        let places = cx.iota(DType::I64, keys, 4, 3)?;
        let seen = cx.binary(BinaryOp::Less, places, lengths)?;
        scores = cx.select_or(seen, scores, f64::NEG_INFINITY)?;
    }
    Ok(scores)
}

/// `com.microsoft.MultiHeadAttention` of queries, keys and values with 3 dimensions each (keys and values may have 4).
pub(super) fn multi_head_attention(cx: &mut Context, node: &Node<'_>) -> Results {
    let count = node.int("num_heads")?.ok_or_else(|| Fault::attribute("num_heads", "is missing"))?;
    let mut parts = [node.input(0)?, node.input(1)?, node.input(2)?];
    if let Some(bias) = node.optional(3) {
        let mut start = Dim::constant(0);
        for part in &mut parts {
            let width = cx.shape(*part).last().cloned().unwrap_or_default();
            if cx.rank(*part) == 3 {
                let own = cx.part(bias, 0, start.clone(), width.clone(), 1)?;
                *part = cx.binary(BinaryOp::Add, *part, own)?;
            }
            start = start + width;
        }
    }
    let [q, mut k, mut v] = [
        heads(cx, parts[0], Some(count), "num_heads")?,
        heads(cx, parts[1], Some(count), "num_heads")?,
        heads(cx, parts[2], Some(count), "num_heads")?,
    ];
    let mut past = Dim::constant(0);
    if let (Some(past_key), Some(past_value)) = (node.optional(6), node.optional(7)) {
        past = cx.shape(past_key).get(2).cloned().unwrap_or_default();
        k = cx.append(Op::Concat { axis: 2 }, &[past_key, k])?;
        v = cx.append(Op::Concat { axis: 2 }, &[past_value, v])?;
    }
    let mask = match (node.optional(4), node.optional(5)) {
        (Some(padding), None) => Some(key_padding(cx, padding)?),
        (None, bias) => bias,
        (Some(_), Some(_)) => return Err(Fault::unsupported("a padding mask beside an attention bias")),
    };
    let size = cx.const_extent(q, 3)?;
    let default = 1.0 / (size as f64).sqrt();
    let scale = node.float("scale")?.filter(|s| *s != 0.0).map_or(default, f64::from);
    let causal = node.int_or("unidirectional", 0)? != 0;
    let scores = Scores { scale, mask, past: causal.then_some(past), ..Scores::default() };
    let (result, _) = attend(cx, [q, k, v], &scores)?;
    Ok(vec![joined_heads(cx, result)?, k, v])
}

/// A mask `[batch, keys]` of what is seen, for the scores.
fn key_padding(cx: &mut Context, mask: Operand) -> Result<Operand, Fault> {
    if cx.rank(mask) != 2 {
        return Err(Fault::unsupported("a padding mask that is not of batch and keys"));
    }
    let seen = cx.with_number(BinaryOp::Greater, mask, 0.0)?;
    cx.insert_axes(seen, &[1, 1])
}
