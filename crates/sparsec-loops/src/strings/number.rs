//! Numbers that are written as texts.

use sparsec_graph::{DType, LoopsBuilder, LoopsSpec, TensorData, TensorType};
use sparsec_tir::{BinaryOp, CompareOp, Expr, Scalar, load};

use super::{Texts, measure};
use crate::{read, where_all};

/// Powers of ten that a binary64 can hold.
const POWERS: usize = 309;

/// A number is not read on behind a mantissa as large as this.
const ENOUGH: i64 = (i64::MAX - 9) / 10;

/// The second operand of [`parse_numbers`]: powers of ten.
#[must_use]
pub fn powers_of_ten() -> TensorData {
    let powers: Vec<f64> = (0..POWERS).map(|e| format!("1e{e}").parse().unwrap_or(f64::INFINITY)).collect();
    TensorData::from_vec(DType::F64, &[POWERS], powers)
}

/// The numbers that the texts of `x`, `string [s, w]`, are in decimal, with or without fraction and exponent: `f64 [s]`, and the same
/// without fraction, `i64 [s]`, exact up to 18 digits. `inf` and `nan` (in any case, whatever follows) are numbers; what is none
/// becomes NaN and 0. Operands: `x`, [`powers_of_ten`]. (ONNX `Cast` from strings.)
#[must_use]
pub fn parse_numbers(x: &TensorType) -> LoopsSpec {
    let texts = Texts::of(x);
    let mut b = LoopsBuilder::new("parse_numbers");
    b.describe("numbers out of texts");
    let input = b.input_as("x", x, &texts.extents());
    let powers = b.input("powers", &TensorType::fixed(DType::F64, &[POWERS as i64]));
    let rows = std::slice::from_ref(&texts.rows);
    let numbers = b.output_as("number", texts.each(DType::F64), rows);
    let wholes = b.output_as("whole", texts.each(DType::I64), rows);
    let [length, mantissa, digits, scale, exponent, phase, sign, exponent_sign, special, before] =
        ["length", "mantissa", "digits", "scale", "exponent", "phase", "sign", "exponent_sign", "special", "before"]
            .map(|name| b.variable(name, DType::I64));
    let [rows, width] = texts.extents().map(|d| b.dim(&d));
    let int = Expr::int;
    let is = |op, x: Expr, y: i64| Expr::compare(op, x, Expr::int(y));
    let equal = |x: &Expr, y: char| Expr::compare(CompareOp::Eq, x.clone(), Expr::int(i64::from(u32::from(y))));
    let and = |x, y| Expr::binary(BinaryOp::And, x, y);
    let or = |x, y| Expr::binary(BinaryOp::Or, x, y);
    b.parallel("row", rows, |c, row| {
        measure(c, length, input, &row, width);
        for variable in [mantissa, digits, scale, exponent, phase, special, before] {
            c.set(variable, vec![], int(0));
        }
        c.set(sign, vec![], int(1));
        c.set(exponent_sign, vec![], int(1));
        let bytes = c.bind_index("bytes", read(length));
        c.serial("i", int(0), bytes, 1, |c, i| {
            let code = c.bind_index("code", load(input, vec![row.clone(), i]).convert(Scalar::I64));
            // 0: a digit, 1: a point, 2: an exponent, 3: a sign, 4: infinity, 5: anything else.
            let kind = Expr::select(or(equal(&code, 'i'), equal(&code, 'I')), int(4), int(5));
            let kind = Expr::select(or(equal(&code, '+'), equal(&code, '-')), int(3), kind);
            let kind = Expr::select(or(equal(&code, 'e'), equal(&code, 'E')), int(2), kind);
            let kind = Expr::select(equal(&code, '.'), int(1), kind);
            let is_digit = and(is(CompareOp::Ge, code.clone(), 48), is(CompareOp::Le, code.clone(), 57));
            let kind = c.bind_index("kind", Expr::select(is_digit, int(0), kind));
            let value = c.bind_index("value", code.clone() - int(48));
            let open = is(CompareOp::Eq, read(special), 0);
            let at = |phases: CompareOp, n| is(phases, read(phase), n);
            let of = |k: i64| and(open.clone(), is(CompareOp::Eq, kind.clone(), k));
            where_all(c, vec![and(of(0), at(CompareOp::Lt, 2))], |c| {
                let room = is(CompareOp::Le, read(mantissa), ENOUGH);
                let step = Expr::select(room.clone(), int(0) - read(phase), int(1) - read(phase));
                c.set(scale, vec![], read(scale) + step);
                c.set(mantissa, vec![], Expr::select(room, read(mantissa) * int(10) + value.clone(), read(mantissa)));
                c.set(digits, vec![], read(digits) + int(1));
            });
            where_all(c, vec![and(of(0), at(CompareOp::Eq, 2))], |c| {
                c.set(exponent, vec![], (read(exponent) * int(10) + value).min(int(9999)));
            });
            let first = is(CompareOp::Eq, read(before), 0);
            let behind_exponent = is(CompareOp::Eq, read(before), i64::from(u32::from('e')));
            let bad = or(
                or(
                    and(of(1), at(CompareOp::Ne, 0)),
                    and(of(2), or(at(CompareOp::Eq, 2), is(CompareOp::Eq, read(digits), 0))),
                ),
                or(
                    of(5),
                    and(
                        of(3),
                        and(
                            is(CompareOp::Ne, read(before), 0),
                            is(CompareOp::Ne, read(before), i64::from(u32::from('e'))),
                        ),
                    ),
                ),
            );
            let late = and(of(4), is(CompareOp::Gt, read(digits), 0));
            let bad = c.bind_index("bad", or(bad, late).convert(Scalar::I64));
            let negative = equal(&code, '-');
            where_all(c, vec![and(of(3), and(first, negative.clone()))], |c| c.set(sign, vec![], int(-1)));
            where_all(c, vec![and(of(3), and(behind_exponent, negative))], |c| c.set(exponent_sign, vec![], int(-1)));
            where_all(c, vec![of(1)], |c| c.set(phase, vec![], int(1)));
            where_all(c, vec![of(2)], |c| c.set(phase, vec![], int(2)));
            where_all(c, vec![of(4)], |c| c.set(special, vec![], int(1)));
            where_all(c, vec![is(CompareOp::Ne, bad, 0)], |c| c.set(special, vec![], int(2)));
            let lower = Expr::select(is(CompareOp::Eq, kind, 2), int(i64::from(u32::from('e'))), int(1));
            c.set(before, vec![], lower);
        });
        let power = c.bind_index("power", read(scale) + read(exponent) * read(exponent_sign));
        let near = c.bind_index("near", power.clone().max(int(-308)).min(int(308)));
        let far = c.bind_index("far", (power.clone() - near.clone()).max(int(-308)).min(int(308)));
        let mut number = c.bind(
            "number",
            sparsec_tir::Type::scalar(Scalar::F64),
            (read(mantissa) * read(sign)).convert(Scalar::F64),
        );
        for step in [near, far] {
            let size = c.bind_index("size", step.clone().max(int(0) - step.clone()));
            let factor = c.bind("factor", sparsec_tir::Type::scalar(Scalar::F64), load(powers, vec![size]));
            let up = Expr::binary(BinaryOp::Mul, number.clone(), factor.clone());
            let down = Expr::binary(BinaryOp::Div, number, factor);
            let scaled = Expr::select(is(CompareOp::Ge, step, 0), up, down);
            number = c.bind("number", sparsec_tir::Type::scalar(Scalar::F64), scaled);
        }
        let float = |value: f64| Expr::Float(value, Scalar::F64);
        let none = and(is(CompareOp::Eq, read(digits), 0), is(CompareOp::Eq, read(special), 0));
        let none = or(none, is(CompareOp::Eq, read(special), 2));
        let infinity = Expr::select(is(CompareOp::Lt, read(sign), 0), float(f64::NEG_INFINITY), float(f64::INFINITY));
        let number = Expr::select(is(CompareOp::Eq, read(special), 1), infinity, number);
        let number = c.bind(
            "number",
            sparsec_tir::Type::scalar(Scalar::F64),
            Expr::select(none.clone(), float(f64::NAN), number),
        );
        c.store(numbers, vec![row.clone()], number.clone());
        let exact = and(is(CompareOp::Eq, power, 0), is(CompareOp::Eq, read(special), 0));
        let whole = Expr::select(exact, read(mantissa) * read(sign), number.convert(Scalar::I64));
        c.store(wholes, vec![row], Expr::select(none, int(0), whole));
    });
    b.finish()
}
