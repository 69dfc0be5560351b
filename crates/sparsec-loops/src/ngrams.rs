//! `TfIdfVectorizer`: how often n-grams occur.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, load};

use crate::{load_index, read};

/// The extents of a table of n-grams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ngrams {
    /// Number of n-grams.
    pub count: usize,
    /// Length of the longest.
    pub longest: usize,
    /// Number of columns of the result.
    pub columns: usize,
    /// Most items that are skipped between two of an n-gram.
    pub skips: i64,
}

/// How often each n-gram occurs in each row of `x` (rows x items, integers), `f32 [rows, columns]`: with no items
/// between those of the n-gram, and with one, and so on up to `skips`. One item counts once. Operands: `x`; the n-grams,
/// `i64 [count, longest]`; their lengths, `i64 [count]`; the column of each, `i64 [count]`, in range and no two the same.
/// (ONNX `TfIdfVectorizer` of mode `TF`.)
#[must_use]
pub fn count_ngrams(x: &TensorType, rows: &Dim, items: &Dim, table: Ngrams) -> LoopsSpec {
    let (count, longest) = (table.count as i64, table.longest as i64);
    let mut b = LoopsBuilder::new("count_ngrams");
    let input = b.input_as("x", x, &[rows.clone(), items.clone()]);
    let ngrams = b.input("ngrams", &TensorType::fixed(DType::I64, &[count, longest]));
    let lengths = b.input("lengths", &TensorType::fixed(DType::I64, &[count]));
    let columns = b.input("columns", &TensorType::fixed(DType::I64, &[count]));
    let extents = vec![rows.clone(), Dim::constant(table.columns as i64)];
    let y = b.output("counts", TensorType::new(DType::F32, extents));
    let (found, matches) = (b.variable("found", DType::I64), b.variable("matches", DType::Bool));
    let (rows, items) = (b.dim(rows), b.dim(items));
    b.parallel("row", rows, |c, row| {
        c.serial("i", Expr::int(0), Expr::int(table.columns as i64), 1, |c, i| {
            c.store(y, vec![row.clone(), i], Expr::f32(0.0));
        });
        c.serial("g", Expr::int(0), Expr::int(count), 1, |c, g| {
            let length = c.bind_index("length", load(lengths, vec![g.clone()]));
            c.set(found, vec![], Expr::int(0));
            let is_one = Expr::compare(CompareOp::Eq, length.clone(), Expr::int(1));
            let distances = Expr::select(is_one, Expr::int(1), Expr::int(table.skips + 1));
            let distances = c.bind_index("distances", distances);
            c.serial("d", Expr::int(0), distances, 1, |c, d| {
                let distance = c.bind_index("distance", d + Expr::int(1));
                let span = (length.clone() - Expr::int(1)) * distance.clone();
                let places = c.bind_index("places", (items - span).max(Expr::int(0)));
                c.serial("start", Expr::int(0), places, 1, |c, start| {
                    c.set(matches, vec![], Expr::Int(1, Scalar::Bool));
                    c.serial("k", Expr::int(0), length, 1, |c, k| {
                        let at = c.bind_index("at", start + k.clone() * distance);
                        let item = load_index(input, x.dtype, vec![row.clone(), at]);
                        let same = Expr::compare(CompareOp::Eq, item, load(ngrams, vec![g.clone(), k]));
                        c.set(matches, vec![], Expr::binary(BinaryOp::And, read(matches), same));
                    });
                    c.branch(read(matches), |c| c.set(found, vec![], read(found) + Expr::int(1)), |_| {});
                });
            });
            let column = c.bind_index("column", load(columns, vec![g]));
            c.store(y, vec![row, column], read(found).convert(Scalar::F32));
        });
    });
    b.finish()
}
