//! Upper and lower case.

use sparsec_graph::{DType, LoopsBuilder, LoopsSpec, TensorData, TensorType};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, load};

use super::Texts;
use crate::{read, where_all};

/// Code points that one or two bytes hold.
const SHORT: u32 = 0x800;

/// The code points of three bytes that have two cases and stand together: Latin Extended Additional and Greek Extended.
const LONG: std::ops::Range<u32> = 0x1e00..0x2000;

/// Pairs of letters: all code points below U+0800 (Latin, Greek, Cyrillic, Armenian) and from U+1E00 to U+1FFF, each with the
/// one that it becomes. A letter whose counterpart takes another number of bytes, or more than one letter, stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseTable {
    /// To upper case.
    Upper,
    /// To lower case.
    Lower,
}

impl CaseTable {
    /// What a character becomes.
    #[must_use]
    pub fn apply(self, c: char) -> char {
        let same_bytes = |other: &char| {
            let kind = |c: char| (c.len_utf8(), LONG.contains(&u32::from(c)));
            kind(*other) == kind(c)
        };
        let in_table = u32::from(c) < SHORT || LONG.contains(&u32::from(c));
        let only = |mut letters: Box<dyn Iterator<Item = char>>| letters.next().filter(|_| letters.next().is_none());
        let other = match self {
            CaseTable::Upper => only(Box::new(c.to_uppercase())),
            CaseTable::Lower => only(Box::new(c.to_lowercase())),
        };
        other.filter(same_bytes).filter(|_| in_table).unwrap_or(c)
    }

    /// The second operand of [`change_case`]: code points, of two ranges behind each other.
    #[must_use]
    pub fn data(self) -> TensorData {
        let codes: Vec<i64> = (0..SHORT)
            .chain(LONG)
            .map(|code| i64::from(char::from_u32(code).map_or(code, |c| u32::from(self.apply(c)))))
            .collect();
        TensorData::i64(&[codes.len()], codes)
    }
}

/// The texts of `x`, `string [.., w]`, letter by letter as the table has it ([`CaseTable::data`]), in the same type.
#[must_use]
pub fn change_case(x: &TensorType) -> LoopsSpec {
    let texts = Texts::of(x);
    let mut b = LoopsBuilder::new("change_case");
    b.describe("texts in another case");
    let input = b.input_as("x", x, &texts.extents());
    let size = i64::from(SHORT + LONG.end - LONG.start);
    let table = b.input("table", &TensorType::fixed(DType::I64, &[size]));
    let output = b.output_as("y", x.clone(), &texts.extents());
    let next = b.variable("next", DType::I64);
    let [rows, width] = texts.extents().map(|d| b.dim(&d));
    b.parallel("row", rows, |c, row| {
        c.set(next, vec![], Expr::int(0));
        c.serial("i", Expr::int(0), width.clone(), 1, |c, i| {
            let int = Expr::int;
            let is = |op, x: &Expr, y: i64| Expr::compare(op, x.clone(), Expr::int(y));
            let both = |x, y| Expr::binary(BinaryOp::And, x, y);
            // The byte `ahead` of this one; the last one where there is none.
            let peek = |ahead: i64| {
                let at = (i.clone() + int(ahead)).min(width.clone() - int(1));
                load(input, vec![row.clone(), at]).convert(Scalar::I64)
            };
            let room = |bytes: i64| Expr::compare(CompareOp::Le, i.clone() + int(bytes), width.clone());
            let low = |x: Expr| Expr::binary(BinaryOp::And, x, Expr::int(63));
            where_all(c, vec![Expr::compare(CompareOp::Ge, i.clone(), read(next))], |c| {
                let first = c.bind_index("first", peek(0));
                let second = c.bind_index("second", peek(1));
                let third = c.bind_index("third", peek(2));
                let tail = |x: &Expr| both(is(CompareOp::Ge, x, 0x80), is(CompareOp::Lt, x, 0xc0));
                let is_two = both(both(is(CompareOp::Ge, &first, 0xc2), is(CompareOp::Lt, &first, 0xe0)), room(2));
                let is_two = both(is_two, tail(&second));
                let is_three = both(both(is(CompareOp::Eq, &first, 0xe1), is(CompareOp::Ge, &second, 0xb8)), room(3));
                let is_three = both(both(is_three, tail(&second)), tail(&third));
                let store = |c: &mut sparsec_graph::KernelContext, ahead: i64, value: Expr| {
                    let at = c.bind_index("at", i.clone() + Expr::int(ahead));
                    c.store(output, vec![row.clone(), at], value.convert(Scalar::U8));
                };
                c.branch(
                    is_two,
                    |c| {
                        let code = (first.clone() - int(0xc0)) * int(64) + low(second.clone());
                        let code = c.bind_index("code", code);
                        let code = c.bind_index("to", load(table, vec![code]));
                        store(c, 0, code.clone().floor_div(int(64)) + int(0xc0));
                        store(c, 1, low(code) + int(0x80));
                        c.set(next, vec![], i.clone() + int(2));
                    },
                    |c| {
                        c.branch(
                            is_three,
                            |c| {
                                let place = (second.clone() - int(0xb8)) * int(64) + low(third.clone());
                                let place = c.bind_index("place", place + int(i64::from(SHORT)));
                                let code = c.bind_index("to", load(table, vec![place]));
                                store(c, 0, int(0xe1));
                                store(c, 1, low(code.clone().floor_div(int(64))) + int(0x80));
                                store(c, 2, low(code) + int(0x80));
                                c.set(next, vec![], i.clone() + int(3));
                            },
                            |c| {
                                let place = c.bind_index("place", first.clone().min(int(127)));
                                let is_ascii = is(CompareOp::Lt, &first, 0x80);
                                let value = Expr::select(is_ascii, load(table, vec![place]), first.clone());
                                store(c, 0, value);
                                c.set(next, vec![], i.clone() + int(1));
                            },
                        );
                    },
                );
            });
        });
    });
    b.finish()
}
