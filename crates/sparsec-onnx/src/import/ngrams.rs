//! `TfIdfVectorizer`: a text becomes counts of n-grams. Its words are numbers, or become such by their place among those that
//! n-grams have.

use std::collections::BTreeSet;

use sparsec_graph::{BinaryOp, DType, Dim, TensorData};
use sparsec_loops::{Ngrams, count_ngrams};

use super::context::{Context, Operand};
use super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// `TfIdfVectorizer`.
pub(super) fn tf_idf_vectorizer(cx: &mut Context, node: &Node<'_>) -> Results {
    let mut x = node.input(0)?;
    let words = node.strings("pool_strings")?;
    let pool: Vec<i64> = match &words {
        Some(words) if cx.is_text(x) => {
            let known: BTreeSet<&[u8]> = words.iter().map(|w| w.as_bytes()).collect();
            let known: Vec<&[u8]> = known.into_iter().collect();
            x = cx.text_places(x, &known)?;
            words.iter().filter_map(|w| known.binary_search(&w.as_bytes()).ok()).map(|place| place as i64).collect()
        }
        Some(_) => return Err(Fault::invalid(format!("n-grams of words for {}", cx.ty(x)))),
        None => node.ints("pool_int64s")?.ok_or_else(|| Fault::attribute("pool_int64s", "is missing"))?.to_vec(),
    };
    if !cx.dtype(x).is_int() || cx.rank(x) > 2 {
        return Err(Fault::unsupported(format!("n-grams of {}", cx.ty(x))));
    }
    let indexes = node.ints("ngram_indexes")?.unwrap_or_default();
    let width = indexes.iter().max().map_or(0, |&last| last.saturating_add(1));
    let width = usize::try_from(width).ok().filter(|&w| w > 0 && w < 1 << 28 && indexes.iter().all(|&i| i >= 0));
    let width = width.ok_or_else(|| Fault::attribute("ngram_indexes", "names no columns"))?;
    let grams = ngrams(node, &pool, indexes)?;
    let longest = grams.iter().map(|(gram, _)| gram.len()).max().unwrap_or(1);
    let shape = cx.shape(x);
    let (rows, items) = match shape.as_slice() {
        [] => (Dim::constant(1), Dim::constant(1)),
        [items] => (Dim::constant(1), items.clone()),
        [rows, rest @ ..] => (rows.clone(), Dim::product(rest)),
    };
    let table: Vec<i64> = grams
        .iter()
        .flat_map(|(gram, _)| gram.iter().copied().chain(std::iter::repeat_n(0, longest - gram.len())))
        .collect();
    cx.budget.take(table.len() as u64 * 8)?;
    let skips = node.int_or("max_skip_count", 0)?;
    if !(0..1 << 32).contains(&skips) {
        return Err(Fault::attribute("max_skip_count", format!("is {skips}")));
    }
    let spec = Ngrams { count: grams.len(), longest, columns: width, skips };
    let spec = count_ngrams(cx.ty(x), &rows, &items, spec);
    let name = cx.node_name.clone();
    let operands = [
        x,
        cx.add_data(&name, TensorData::i64(&[grams.len(), longest], table)),
        cx.add_data(&name, TensorData::i64(&[grams.len()], grams.iter().map(|(g, _)| g.len() as i64).collect())),
        cx.add_data(&name, TensorData::i64(&[grams.len()], grams.iter().map(|&(_, column)| column).collect())),
    ];
    let counts = cx.append_loops(spec, &operands)?.first().copied().ok_or(Fault::MissingInput(0))?;
    let y = weighted(cx, node, counts, width)?;
    Ok(vec![if shape.len() < 2 { cx.reshape(y, vec![Dim::constant(width as i64)])? } else { y }])
}

/// The n-grams that count, with their columns.
fn ngrams<'a>(node: &Node<'_>, pool: &'a [i64], indexes: &[i64]) -> Result<Vec<(&'a [i64], i64)>, Fault> {
    let starts = node.ints("ngram_counts")?.ok_or_else(|| Fault::attribute("ngram_counts", "is missing"))?;
    let required = |name: &str| node.int(name)?.ok_or_else(|| Fault::attribute(name, "is missing"));
    let lengths = required("min_gram_length")?..=required("max_gram_length")?;
    let (mut grams, mut columns) = (Vec::new(), indexes.iter());
    for (i, &start) in starts.iter().enumerate() {
        let end = starts.get(i + 1).copied().unwrap_or(pool.len() as i64);
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok()).and_then(|(s, e)| pool.get(s..e));
        let part = part.ok_or_else(|| Fault::attribute("ngram_counts", "is not ascending, or ends past the pool"))?;
        for gram in part.chunks_exact(i + 1) {
            let column = columns.next().ok_or_else(|| Fault::attribute("ngram_indexes", "is too short"))?;
            if lengths.contains(&(i as i64 + 1)) {
                grams.push((gram, *column));
            }
        }
    }
    let mut taken: Vec<i64> = grams.iter().map(|&(_, column)| column).collect();
    taken.sort_unstable();
    if taken.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Fault::attribute("ngram_indexes", "names a column twice"));
    }
    Ok(grams)
}

/// Counts, or whether there are any, times the weight of each column.
fn weighted(cx: &mut Context, node: &Node<'_>, counts: Operand, width: usize) -> Result<Operand, Fault> {
    let mode = node.string("mode")?.unwrap_or_default();
    let counts = match mode {
        "TF" => return Ok(counts),
        "TFIDF" => counts,
        "IDF" => cx.with_number(BinaryOp::Min, counts, 1.0)?,
        other => return Err(Fault::attribute("mode", format!("is `{other}`"))),
    };
    let Some(weights) = node.floats("weights")?.filter(|weights| !weights.is_empty()) else { return Ok(counts) };
    if weights.len() != width {
        return Err(Fault::attribute("weights", format!("holds {} numbers, not {width}", weights.len())));
    }
    let name = cx.node_name.clone();
    let weights = cx.add_data(&name, TensorData::from_vec(DType::F32, &[width], weights.to_vec()));
    cx.binary(BinaryOp::Mul, counts, weights)
}
