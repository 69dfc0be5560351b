//! Which texts are equal.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, Symbol, TensorType, scalar_of};
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, RegisterId, Scalar, load};

use super::{Texts, byte};
use crate::read;

/// Two tensors of texts with what they have in common.
struct Pair {
    buffers: [BufferId; 2],
    /// Bytes that both have.
    common: Expr,
    /// Bytes that only one has.
    more: [Expr; 2],
    same: RegisterId,
}

impl Pair {
    /// The first operands of a kernel.
    fn inputs(b: &mut LoopsBuilder, [(x, xs), (y, ys)]: [(&TensorType, &Texts); 2]) -> Self {
        let buffers = [b.input_as("x", x, &xs.extents()), b.input_as("y", y, &ys.extents())];
        let common = xs.width.minimum(&ys.width);
        let more = [xs, ys].map(|t| b.dim(&(t.width.clone() - common.clone())));
        let common = b.dim(&common);
        let same = b.variable("same", DType::Bool);
        Pair { buffers, common, more, same }
    }

    /// Sets `same` to whether two texts are equal.
    fn compare(&self, c: &mut KernelContext, rows: [&Expr; 2]) {
        c.set(self.same, vec![], Expr::Int(1, Scalar::Bool));
        let and = |c: &mut KernelContext, holds: Expr| {
            c.set(self.same, vec![], Expr::binary(BinaryOp::And, read(self.same), holds));
        };
        c.serial("i", Expr::int(0), self.common.clone(), 1, |c, i| {
            let bytes = [0, 1].map(|k| load(self.buffers[k], vec![rows[k].clone(), i.clone()]));
            let [left, right] = bytes;
            and(c, Expr::compare(CompareOp::Eq, left, right));
        });
        for k in [0, 1] {
            c.serial("i", Expr::int(0), self.more[k].clone(), 1, |c, i| {
                let at = c.bind_index("at", self.common.clone() + i);
                let value = load(self.buffers[k], vec![rows[k].clone(), at]);
                and(c, Expr::compare(CompareOp::Eq, value, byte(0)));
            });
        }
    }
}

/// Whether the texts of `x`, `string [s, v]`, are those of `y`, `string [s, w]`: `bool [s]`.
#[must_use]
pub fn equal_strings(x: &TensorType, y: &TensorType) -> LoopsSpec {
    let (left, right) = (Texts::of(x), Texts::of(y));
    let mut b = LoopsBuilder::new("equal_strings");
    b.describe("which texts are equal");
    let pair = Pair::inputs(&mut b, [(x, &left), (y, &right)]);
    let result = b.output_as("z", left.each(DType::Bool), std::slice::from_ref(&left.rows));
    let rows = b.dim(&left.rows);
    b.parallel("row", rows, |c, row| {
        pair.compare(c, [&row, &row]);
        c.store(result, vec![row], read(pair.same));
    });
    b.finish()
}

/// For each text of `x`, `string [s, v]`, the first of the `k` texts of `keys`, `string [k, w]`, that equals it, or `k`: `i64 [s]`.
#[must_use]
pub fn find_strings(x: &TensorType, keys: &TensorType) -> LoopsSpec {
    let (texts, table) = (Texts::of(x), Texts::of(keys));
    let mut b = LoopsBuilder::new("find_strings");
    b.describe("texts by their place among others");
    let pair = Pair::inputs(&mut b, [(x, &texts), (keys, &table)]);
    let result = b.output_as("place", texts.each(DType::I64), std::slice::from_ref(&texts.rows));
    let place = b.variable("found", DType::I64);
    let [rows, count] = [&texts.rows, &table.rows].map(|d| b.dim(d));
    b.parallel("row", rows, |c, row| {
        c.set(place, vec![], count.clone());
        c.serial("key", Expr::int(0), count.clone(), 1, |c, key| {
            let open = Expr::compare(CompareOp::Eq, read(place), count);
            c.branch(
                open,
                |c| {
                    pair.compare(c, [&row, &key]);
                    c.branch(read(pair.same), |c| c.set(place, vec![], key), |_| {});
                },
                |_| {},
            );
        });
        c.store(result, vec![row], read(place));
    });
    b.finish()
}

/// As [`find_strings`] with numbers, or truth values, of one type; NaN is found where a key is NaN.
#[must_use]
pub fn find_numbers(x: &TensorType, keys: &TensorType) -> LoopsSpec {
    let (elements, count) = (x.elements(), keys.elements());
    let mut b = LoopsBuilder::new("find_numbers");
    b.describe("numbers by their place among others");
    let input = b.input_as("x", x, std::slice::from_ref(&elements));
    let table = b.input_as("keys", keys, std::slice::from_ref(&count));
    let ty = TensorType::new(DType::I64, x.shape.clone());
    let result = b.output_as("place", ty, std::slice::from_ref(&elements));
    let place = b.variable("found", DType::I64);
    let [elements, count] = [&elements, &count].map(|d| b.dim(d));
    b.parallel("i", elements, |c, i| {
        c.set(place, vec![], count.clone());
        c.serial("key", Expr::int(0), count.clone(), 1, |c, key| {
            let (value, other) = (load(input, vec![i.clone()]), load(table, vec![key.clone()]));
            let mut same = Expr::compare(CompareOp::Eq, value.clone(), other.clone());
            if scalar_of(x.dtype).is_float() {
                let nan = |x: Expr| Expr::compare(CompareOp::Ne, x.clone(), x);
                same = Expr::binary(BinaryOp::Or, same, Expr::binary(BinaryOp::And, nan(value), nan(other)));
            }
            let open = Expr::compare(CompareOp::Eq, read(place), count);
            let first = Expr::binary(BinaryOp::And, same, open);
            c.set(place, vec![], Expr::select(first, key, read(place)));
        });
        c.store(result, vec![i], read(place));
    });
    b.finish()
}

/// The texts of `x`, `string [n, w]`, whose `places`, `i64 [n]`, are `kept`; one empty text where there is none. `count` becomes
/// their number, which the last result is. (The end of ONNX `StringNormalizer`.)
#[must_use]
pub fn keep_strings(x: &TensorType, kept: i64, count: &Symbol) -> LoopsSpec {
    let texts = Texts::of(x);
    let mut b = LoopsBuilder::new("keep_strings");
    b.describe("the texts that are kept, or one that is empty");
    b.count(count.clone(), texts.rows.maximum(&Dim::constant(1)));
    let input = b.input_as("x", x, &texts.extents());
    let places = b.input("places", &TensorType::new(DType::I64, vec![texts.rows.clone()]));
    let shape = vec![Dim::sym(count.name()), texts.width.clone()];
    let output = b.output_up_to("y", TensorType::new(DType::String, shape));
    let totals = b.count_results();
    let (found, at) = (b.variable("found", DType::I64), b.variable("at", DType::I64));
    let [rows, width] = texts.extents().map(|d| b.dim(&d));
    b.set(found, vec![], Expr::int(0));
    b.set(at, vec![], Expr::int(0));
    b.serial("row", Expr::int(0), rows, 1, |b, row| {
        let stays = Expr::compare(CompareOp::Eq, load(places, vec![row.clone()]), Expr::int(kept));
        b.branch(
            stays,
            |b| {
                b.set(found, vec![], read(found) + Expr::int(1));
                b.serial("i", Expr::int(0), width.clone(), 1, |b, i| {
                    let value = load(input, vec![row, i]);
                    b.store(output, vec![read(at)], value);
                    b.set(at, vec![], read(at) + Expr::int(1));
                });
            },
            |_| {},
        );
    });
    let none = Expr::compare(CompareOp::Eq, read(found), Expr::int(0));
    b.branch(
        none,
        |b| {
            b.set(found, vec![], Expr::int(1));
            b.serial("i", Expr::int(0), width, 1, |b, i| b.store(output, vec![i], byte(0)));
        },
        |_| {},
    );
    for total in totals {
        b.store(total, vec![], read(found));
    }
    b.finish()
}
