//! Texts of other widths, and texts behind each other.

use sparsec_graph::{DType, Dim, LoopsBuilder, LoopsSpec, TensorType};
use sparsec_tir::{Expr, load};

use super::{Texts, byte, measure};
use crate::read;

/// The texts of `x`, `string [.., w]`, with `width` bytes each: padded, or cut.
#[must_use]
pub fn resize_strings(x: &TensorType, width: &Dim) -> LoopsSpec {
    let texts = Texts::of(x);
    let mut b = LoopsBuilder::new("resize_strings");
    b.describe("texts of another width");
    let input = b.input_as("x", x, &texts.extents());
    let ty = texts.with_width(width.clone());
    let output = b.output_as("y", ty, &[texts.rows.clone(), width.clone()]);
    let [rows, kept, width] = [&texts.rows, &texts.width.minimum(width), width].map(|d| b.dim(d));
    b.parallel("row", rows, |c, row| {
        c.serial("i", Expr::int(0), width, 1, |c, i| c.store(output, vec![row.clone(), i], byte(0)));
        c.serial("i", Expr::int(0), kept, 1, |c, i| {
            let value = load(input, vec![row.clone(), i.clone()]);
            c.store(output, vec![row, i], value);
        });
    });
    b.finish()
}

/// Each text of `x`, `string [s, v]`, and behind it that of `y`, `string [s, w]`: `string [s, v + w]`. (ONNX `StringConcat`.)
#[must_use]
pub fn concat_strings(x: &TensorType, y: &TensorType) -> LoopsSpec {
    let (front, back) = (Texts::of(x), Texts::of(y));
    let width = front.width.clone() + back.width.clone();
    let mut b = LoopsBuilder::new("concat_strings");
    b.describe("texts behind each other");
    let left = b.input_as("x", x, &front.extents());
    let right = b.input_as("y", y, &back.extents());
    let output = b.output_as("z", front.with_width(width.clone()), &[front.rows.clone(), width.clone()]);
    let length = b.variable("length", DType::I64);
    let [rows, first, second, width] = [&front.rows, &front.width, &back.width, &width].map(|d| b.dim(d));
    b.parallel("row", rows, |c, row| {
        c.serial("i", Expr::int(0), width, 1, |c, i| c.store(output, vec![row.clone(), i], byte(0)));
        measure(c, length, left, &row, first.clone());
        c.serial("i", Expr::int(0), first, 1, |c, i| {
            let value = load(left, vec![row.clone(), i.clone()]);
            c.store(output, vec![row.clone(), i], value);
        });
        c.serial("i", Expr::int(0), second, 1, |c, i| {
            let value = load(right, vec![row.clone(), i.clone()]);
            let at = c.bind_index("at", read(length) + i);
            c.store(output, vec![row, at], value);
        });
    });
    b.finish()
}
