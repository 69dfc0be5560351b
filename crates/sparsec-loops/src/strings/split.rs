//! Texts into parts.

use sparsec_graph::{DType, Dim, KernelContext, LoopsBuilder, LoopsSpec, Symbol, TensorType};
use sparsec_tir::{BinaryOp, BufferId, CompareOp, Expr, RegisterId, Scalar, UnaryOp, load};

use super::{Texts, byte, measure};
use crate::{read, where_all};

/// What stands between the parts of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// A text of so many bytes, at least 1: the second operand, `string [bytes]`. Parts may be empty.
    Text(usize),
    /// White space of ASCII, as much as there is; none at either end makes a part. No second operand.
    WhiteSpace,
}

/// The parts of each text of `x`, `string [s, w]`, between separators, of which the first `limit` count: `string [s, m, w]`, `m`,
/// which `count` becomes, being the number of parts of the text that has most of them, and the others empty at the end; and
/// how many there are of each text, `i64 [s]`. The last result is `m`. (ONNX `StringSplit`.)
#[must_use]
pub fn split_strings(x: &TensorType, separator: Separator, limit: Option<i64>, count: &Symbol) -> LoopsSpec {
    let texts = Texts::of(x);
    let most = match separator {
        Separator::Text(bytes) => texts.width.floor_div(&Dim::constant(bytes.max(1) as i64)) + Dim::constant(1),
        Separator::WhiteSpace => texts.width.ceil_div(&Dim::constant(2)),
    };
    let limit = limit.unwrap_or(i64::MAX - 1).max(0);
    let most = if limit < 1 << 32 { most.minimum(&Dim::constant(limit + 1)) } else { most };
    let mut b = LoopsBuilder::new("split_strings");
    b.describe("texts into parts");
    b.count(count.clone(), most);
    let input = b.input_as("x", x, &texts.extents());
    let delimiter = match separator {
        Separator::Text(bytes) => {
            Some((b.input("separator", &TensorType::fixed(DType::String, &[bytes as i64])), bytes as i64))
        }
        Separator::WhiteSpace => None,
    };
    let mut shape = texts.shape.clone();
    shape.extend([Dim::sym(count.name()), texts.width.clone()]);
    let output = b.output_up_to("parts", TensorType::new(DType::String, shape));
    let often = b.output_as("often", texts.each(DType::I64), std::slice::from_ref(&texts.rows));
    let totals = b.count_results();
    let [rows, width] = texts.extents().map(|d| b.dim(&d));
    let [length, parts, column, next, longest] =
        ["length", "parts", "column", "next", "longest"].map(|name| b.variable(name, DType::I64));
    let (inside, same) = (b.variable("inside", DType::Bool), b.variable("same", DType::Bool));
    let walk = Walk { input, delimiter, width: width.clone(), limit, length, parts, column, next, inside, same };
    b.set(longest, vec![], Expr::int(0));
    b.serial("row", Expr::int(0), rows.clone(), 1, |c, row| {
        walk.each(c, &row, &mut |_, _| {});
        c.store(often, vec![row], read(parts));
        c.set(longest, vec![], read(longest).max(read(parts)));
    });
    let longest = b.bind_index("most", read(longest));
    for total in totals {
        b.store(total, vec![], longest.clone());
    }
    let size = b.bind_index("size", rows.clone() * longest.clone() * width.clone());
    b.serial("i", Expr::int(0), size, 1, |c, i| c.store(output, vec![i], byte(0)));
    b.serial("row", Expr::int(0), rows, 1, |c, row| {
        walk.each(c, &row, &mut |c, value| {
            let part = row.clone() * longest.clone() + read(parts) - Expr::int(1);
            let at = c.bind_index("at", part * width.clone() + read(column));
            c.store(output, vec![at], value);
        });
    });
    b.finish()
}

/// A walk over the bytes of a text.
struct Walk {
    input: BufferId,
    /// The separator and its length; `None` for white space.
    delimiter: Option<(BufferId, i64)>,
    width: Expr,
    limit: i64,
    length: RegisterId,
    /// How many parts have begun.
    parts: RegisterId,
    /// How many bytes of the last part are behind.
    column: RegisterId,
    /// Where the walk goes on behind a separator.
    next: RegisterId,
    /// Whether the last part has not ended yet.
    inside: RegisterId,
    same: RegisterId,
}

impl Walk {
    /// Counts the parts of a text; `f` gets each byte of them.
    fn each(&self, c: &mut KernelContext, row: &Expr, f: &mut dyn FnMut(&mut KernelContext, Expr)) {
        measure(c, self.length, self.input, row, self.width.clone());
        c.set(self.column, vec![], Expr::int(0));
        let length = c.bind_index("bytes", read(self.length));
        match self.delimiter {
            Some(delimiter) => self.between(c, row, &length, delimiter, f),
            None => self.words(c, row, &length, f),
        }
    }

    fn may_split(&self) -> Expr {
        Expr::compare(CompareOp::Le, read(self.parts), Expr::int(self.limit))
    }

    fn keep(&self, c: &mut KernelContext, value: Expr, f: &mut dyn FnMut(&mut KernelContext, Expr)) {
        f(c, value);
        c.set(self.column, vec![], read(self.column) + Expr::int(1));
    }

    fn between(
        &self,
        c: &mut KernelContext,
        row: &Expr,
        length: &Expr,
        (delimiter, bytes): (BufferId, i64),
        f: &mut dyn FnMut(&mut KernelContext, Expr),
    ) {
        c.set(self.parts, vec![], Expr::int(1));
        c.set(self.next, vec![], Expr::int(0));
        c.serial("i", Expr::int(0), length.clone(), 1, |c, i| {
            let ahead = Expr::compare(CompareOp::Ge, i.clone(), read(self.next));
            where_all(c, vec![ahead], |c| {
                let fits = Expr::compare(CompareOp::Le, i.clone() + Expr::int(bytes), length.clone());
                let possible =
                    c.bind_index("possible", Expr::binary(BinaryOp::And, fits, self.may_split()).convert(Scalar::I64));
                let possible = Expr::compare(CompareOp::Ne, possible, Expr::int(0));
                c.set(self.same, vec![], possible.clone());
                where_all(c, vec![possible], |c| {
                    c.serial("k", Expr::int(0), Expr::int(bytes), 1, |c, k| {
                        let at = c.bind_index("at", i.clone() + k.clone());
                        let value = load(self.input, vec![row.clone(), at]);
                        let equal = Expr::compare(CompareOp::Eq, value, load(delimiter, vec![k]));
                        c.set(self.same, vec![], Expr::binary(BinaryOp::And, read(self.same), equal));
                    });
                });
                c.branch(
                    read(self.same),
                    |c| {
                        c.set(self.parts, vec![], read(self.parts) + Expr::int(1));
                        c.set(self.column, vec![], Expr::int(0));
                        c.set(self.next, vec![], i.clone() + Expr::int(bytes));
                    },
                    |c| self.keep(c, load(self.input, vec![row.clone(), i.clone()]), f),
                );
            });
        });
    }

    fn words(&self, c: &mut KernelContext, row: &Expr, length: &Expr, f: &mut dyn FnMut(&mut KernelContext, Expr)) {
        let truth = |value| Expr::Int(value, Scalar::Bool);
        c.set(self.parts, vec![], Expr::int(0));
        c.set(self.inside, vec![], truth(0));
        c.serial("i", Expr::int(0), length.clone(), 1, |c, i| {
            let value = load(self.input, vec![row.clone(), i]);
            let code = c.bind_index("code", value.clone().convert(Scalar::I64));
            let within = |from, to| {
                let above = Expr::compare(CompareOp::Ge, code.clone(), Expr::int(from));
                Expr::binary(BinaryOp::And, above, Expr::compare(CompareOp::Le, code.clone(), Expr::int(to)))
            };
            let space = Expr::binary(BinaryOp::Or, within(9, 13), within(28, 32));
            let both = |x, y| Expr::binary(BinaryOp::And, x, y);
            let not = |x| Expr::unary(UnaryOp::Not, x);
            let begins = both(not(read(self.inside)), not(space.clone()));
            where_all(c, vec![begins], |c| {
                c.set(self.parts, vec![], read(self.parts) + Expr::int(1));
                c.set(self.column, vec![], Expr::int(0));
                c.set(self.inside, vec![], truth(1));
            });
            where_all(c, vec![both(space, self.may_split())], |c| c.set(self.inside, vec![], truth(0)));
            where_all(c, vec![read(self.inside)], |c| self.keep(c, value, f));
        });
    }
}
