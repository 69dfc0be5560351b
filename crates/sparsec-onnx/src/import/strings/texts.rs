//! Operators that compare and make texts.

use sparsec_graph::Dim;
use sparsec_loops::{
    CaseTable, Separator, change_case, concat_strings, equal_strings, keep_strings, split_strings,
    unique as unique_loops,
};

use super::super::context::{Context, Operand};
use super::super::node::Node;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Languages whose letters have other counterparts than elsewhere.
const OWN_CASES: [&str; 3] = ["az", "lt", "tr"];

fn both(cx: &mut Context, node: &Node<'_>) -> Result<[Operand; 2], Fault> {
    let (x, y) = (node.input(0)?, node.input(1)?);
    if !cx.is_text(x) || !cx.is_text(y) {
        return Err(Fault::invalid(format!("one of {} and {} is no text", cx.ty(x), cx.ty(y))));
    }
    cx.text_broadcast(x, y)
}

/// `Equal`.
pub(super) fn equal(cx: &mut Context, node: &Node<'_>) -> Results {
    let [x, y] = both(cx, node)?;
    let spec = equal_strings(cx.ty(x), cx.ty(y));
    Ok(vec![cx.only(spec, &[x, y])?])
}

/// `StringConcat`.
pub(super) fn concat(cx: &mut Context, node: &Node<'_>) -> Results {
    let [x, y] = both(cx, node)?;
    let spec = concat_strings(cx.ty(x), cx.ty(y));
    Ok(vec![cx.only(spec, &[x, y])?])
}

/// `StringSplit`.
pub(super) fn split(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let delimiter = node.string("delimiter")?.unwrap_or_default();
    let count = cx.fresh_symbol("parts");
    let separator = match delimiter.len() {
        0 => Separator::WhiteSpace,
        bytes => Separator::Text(bytes),
    };
    let limit = node.int("maxsplit")?.filter(|&limit| limit >= 0);
    let spec = split_strings(cx.ty(x), separator, limit, &count);
    let mut operands = vec![x];
    if !delimiter.is_empty() {
        operands.push(cx.add_texts(&[], &[delimiter.as_bytes()])?);
    }
    let mut results = cx.append_loops(spec, &operands)?;
    results.truncate(2);
    Ok(results)
}

/// `Unique`: as of rows of bytes, which are in the order of the texts.
pub(super) fn unique(cx: &mut Context, node: &Node<'_>) -> Results {
    if node.has("axis") && cx.rank(node.input(0)?) != 2 {
        return Err(Fault::unsupported("slices of texts that differ"));
    }
    let x = node.input(0)?;
    let x = cx.text_rows(x)?;
    let count = cx.fresh_symbol("count");
    let spec = unique_loops(cx.ty(x), Some(0), node.int_or("sorted", 1)? != 0, &count);
    match cx.append_loops(spec, &[x])?.as_slice() {
        [texts, first, often, which, ..] => Ok(vec![*texts, *first, *which, *often]),
        _ => Err(Fault::invalid("results are missing")),
    }
}

/// `StringNormalizer`: without some words, in one case.
pub(super) fn normalizer(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let shape = cx.text_shape(x);
    if !matches!(shape.as_slice(), [_]) && !matches!(shape.as_slice(), [one, _] if one.is(1)) {
        return Err(Fault::invalid(format!("texts of shape {}, neither [c] nor [1, c]", cx.ty(x))));
    }
    let locale = node.string("locale")?.unwrap_or_default();
    let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default().to_ascii_lowercase();
    let to = match node.string("case_change_action")?.unwrap_or("NONE") {
        "NONE" => None,
        "UPPER" => Some(CaseTable::Upper),
        "LOWER" => Some(CaseTable::Lower),
        other => return Err(Fault::attribute("case_change_action", format!("is `{other}`"))),
    };
    let exact = node.int_or("is_case_sensitive", 0)? != 0;
    if OWN_CASES.contains(&language.as_str()) && (to.is_some() || !exact) {
        return Err(Fault::unsupported(format!("the cases of the locale `{locale}`")));
    }
    let words = node.strings("stopwords")?.unwrap_or_default();
    let rows = cx.text_rows(x)?;
    let mut result = rows;
    if !words.is_empty() {
        let lower = |word: &&str| word.chars().map(|c| CaseTable::Lower.apply(c)).collect::<String>();
        let words: Vec<String> =
            if exact { words.iter().map(|&w| w.to_owned()).collect() } else { words.iter().map(lower).collect() };
        let words: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
        let compared = if exact { rows } else { in_case(cx, rows, CaseTable::Lower)? };
        let places = cx.text_places(compared, &words)?;
        let count = cx.fresh_symbol("count");
        let spec = keep_strings(cx.ty(rows), words.len() as i64, &count);
        result = cx.only(spec, &[rows, places])?;
    } else if shape.last().is_none_or(|count| count.as_const().is_none_or(|n| n <= 0)) {
        // Where there is nothing, there is one empty text.
        let places = cx.text_places(rows, &[])?;
        let count = cx.fresh_symbol("count");
        let spec = keep_strings(cx.ty(rows), 0, &count);
        result = cx.only(spec, &[rows, places])?;
    }
    if let Some(to) = to {
        result = in_case(cx, result, to)?;
    }
    if shape.len() == 2 {
        let mut shape = cx.text_shape(result);
        shape.insert(0, Dim::constant(1));
        result = cx.text_reshape(result, shape)?;
    }
    Ok(vec![result])
}

fn in_case(cx: &mut Context, x: Operand, case: CaseTable) -> Result<Operand, Fault> {
    let name = cx.node_name.clone();
    let table = cx.add_data(&name, case.data());
    let spec = change_case(cx.ty(x));
    cx.only(spec, &[x, table])
}
