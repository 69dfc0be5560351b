//! What a model takes for granted of its open dimensions, as conditions that are checked before a run.
//!
//! `Slice(table, 0:seq)` of a table of 512 rows is fine as long as `seq` is at most 512, and nothing in the types says so.
//! Where interval arithmetic over the symbols can't prove such a condition, it goes into the program.

use sparsec_graph::{Atom, Dim, SliceAxis, Symbol};
use sparsec_tir::Constraint;

use crate::context::program_expr;

/// A condition: `at_least_zero >= 0`.
pub(crate) struct Condition {
    pub(crate) at_least_zero: Dim,
    /// What it is for, as part of a sentence.
    pub(crate) reason: String,
}

impl Condition {
    /// As the program says it, over these symbols.
    pub(crate) fn constraint(&self, symbols: &[Symbol]) -> Constraint {
        Constraint {
            expr: program_expr(&self.at_least_zero, symbols),
            message: format!("{}, which needs {} >= 0", self.reason, self.at_least_zero),
        }
    }
}

/// The conditions under which a slice of an axis of `extent` stays inside it. An empty slice does, wherever it starts.
pub(crate) fn slice_stays_inside(node: &str, extent: &Dim, slice: &SliceAxis) -> [Condition; 2] {
    let one = Dim::constant(1);
    let last = slice.start.clone() + (slice.len.clone() - one.clone()) * Dim::constant(slice.step);
    let (low, high) = if slice.step < 0 { (last, slice.start.clone()) } else { (slice.start.clone(), last) };
    let reason = format!(
        "`{node}` takes {} elements from {} on in steps of {}, of an axis of {extent}",
        slice.len, slice.start, slice.step
    );
    let below = Condition { at_least_zero: low, reason: reason.clone() };
    [below, Condition { at_least_zero: extent.clone() - one - high, reason }]
}

/// The conditions under which two numbers are equal.
pub(crate) fn equal(reason: &str, a: &Dim, b: &Dim) -> [Condition; 2] {
    [(a, b), (b, a)].map(|(a, b)| Condition { at_least_zero: a.clone() - b.clone(), reason: reason.to_owned() })
}

/// Whether the number is not negative, whatever the symbols are.
pub(crate) fn is_never_negative(dim: &Dim) -> bool {
    range(dim).0.is_some_and(|low| low >= 0)
}

/// The least and the largest value; `None` where there is no bound, or none that was found.
type Range = (Option<i64>, Option<i64>);

fn range(dim: &Dim) -> Range {
    dim.terms().fold((Some(0), Some(0)), |(low, high), (atoms, coefficient)| {
        let product = atoms.iter().fold((Some(1), Some(1)), |all, atom| multiply(all, atom_range(atom)));
        let (l, h) = if coefficient < 0 { (product.1, product.0) } else { product };
        let scaled = |bound: Option<i64>| bound?.checked_mul(coefficient);
        let sum = |a: Option<i64>, b: Option<i64>| a?.checked_add(b?);
        (sum(low, scaled(l)), sum(high, scaled(h)))
    })
}

/// The product of two ranges; of numbers that may be negative nothing is said.
fn multiply(a: Range, b: Range) -> Range {
    match (a.0, b.0) {
        (Some(x), Some(y)) if x >= 0 && y >= 0 => {
            let high = a.1.zip(b.1).and_then(|(x, y)| x.checked_mul(y));
            (x.checked_mul(y), high)
        }
        _ => (None, None),
    }
}

fn atom_range(atom: &Atom) -> Range {
    match atom {
        Atom::Sym(_) => (Some(0), None),
        Atom::FloorDiv(a, b) => match b.as_const() {
            Some(b) if b > 0 => {
                let (low, high) = range(a);
                (low.map(|v| v.div_euclid(b)), high.map(|v| v.div_euclid(b)))
            }
            // By what is not known to be positive: at least the sign is.
            _ if is_never_negative(a) && is_never_negative(b) => (Some(0), None),
            _ => (None, None),
        },
        Atom::Min(a, b) => {
            let ((al, ah), (bl, bh)) = (range(a), range(b));
            (al.zip(bl).map(|(a, b)| a.min(b)), smaller(ah, bh))
        }
        Atom::Max(a, b) => {
            let ((al, ah), (bl, bh)) = (range(a), range(b));
            (larger(al, bl), ah.zip(bh).map(|(a, b)| a.max(b)))
        }
    }
}

/// The smaller bound, or the one that there is.
fn smaller(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.zip(b).map(|(a, b)| a.min(b)).or(a).or(b)
}

fn larger(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    a.zip(b).map(|(a, b)| a.max(b)).or(a).or(b)
}

#[cfg(test)]
mod tests {
    use sparsec_graph::parse_dim;

    use super::*;

    #[test]
    fn what_is_never_negative() {
        let proved = |text: &str| is_never_negative(&parse_dim(text).expect("a dimension"));
        for text in ["0", "n", "3*n*m + 1", "min(n, 4)", "max(n - 9, 0)", "512 - min(n, 512)", "floordiv(n, 2)"] {
            assert!(proved(text), "{text}");
        }
        for text in ["n - 1", "512 - n", "min(n, m - 1)", "n - m", "floordiv(n - 3, 2) + 1", "max(n - 9, m - 1)"] {
            assert!(!proved(text), "{text}");
        }
    }

    #[test]
    fn slices_in_both_directions() {
        let slice = |start: i64, len: &str, step: i64| SliceAxis {
            start: Dim::constant(start),
            len: parse_dim(len).expect("a dimension"),
            step,
        };
        let conditions =
            |s: &SliceAxis| slice_stays_inside("s", &Dim::constant(10), s).map(|c| c.at_least_zero.to_string());
        assert_eq!(
            conditions(&slice(2, "n", 1)),
            ["2", "8 - n"].map(|t| parse_dim(t).expect("a dimension").to_string())
        );
        assert_eq!(conditions(&slice(9, "n", -3)), ["12 - 3*n", "0"].map(|t| parse_dim(t).expect("").to_string()));
    }
}
