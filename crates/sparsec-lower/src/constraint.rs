//! What a model takes for granted of its open dimensions, as conditions that are checked before a run.
//!
//! `Slice(table, 0:seq)` of a table of 512 rows is fine as long as `seq` is at most 512, and nothing in the types says so.
//! Where interval arithmetic over the symbols can't prove such a condition, it goes into the program.

use sparsec_graph::{Dim, SliceAxis, Symbol};
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

#[cfg(test)]
mod tests {
    use sparsec_graph::parse_dim;

    use super::*;

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
