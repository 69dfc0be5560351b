//! Between which numbers an extent lies, whatever its symbols are.

use super::{Atom, Dim};

impl Dim {
    /// Whether this is not negative, whatever the symbols are, each of which is at least 0. `false` where nothing proves it.
    #[must_use]
    pub fn is_never_negative(&self) -> bool {
        let (mut least, mut scale) = (self.clone(), 1);
        for _ in 0..QUOTIENTS {
            // This is an integer, so above -1 is enough.
            if range(&least).0.is_some_and(|low| low > -scale) {
                return true;
            }
            let Some((next, times)) = without_quotient(&least) else { return false };
            (least, scale) = (next, scale.saturating_mul(times));
        }
        false
    }
}

/// Quotients of one expression that are looked into.
const QUOTIENTS: usize = 8;
/// Divisors and factors above this are left alone, so that products of them are exact.
const LARGE: u64 = 1 << 20;

/// Not more than a multiple of `dim`, and which: a rounded quotient `c * floor(a / b)` gives way to `c * a / b`, or to `c * (a - b + 1) / b`
/// where that is less, and everything is multiplied by `b`. So quotients of the same symbol meet, which ranges keep apart.
fn without_quotient(dim: &Dim) -> Option<(Dim, i64)> {
    let (factor, a, b) = dim.terms().find_map(|(atoms, factor)| match atoms {
        [Atom::FloorDiv(a, b)] => Some((factor, a, b.as_const().filter(|b| (1..=LARGE as i64).contains(b))?)),
        _ => None,
    })?;
    if dim.terms().any(|(_, c)| c.unsigned_abs() > LARGE) || a.terms().any(|(_, c)| c.unsigned_abs() > LARGE) {
        return None;
    }
    let quotient = a.floor_div(&Dim::constant(b));
    let low = if factor > 0 { Dim::constant(b - 1) } else { Dim::constant(0) };
    let factor = Dim::constant(factor);
    let rest = dim.clone() - factor.clone() * quotient;
    Some((rest * Dim::constant(b) + factor * (a.as_ref().clone() - low), b))
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
        _ if a == (Some(1), Some(1)) => b,
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
            _ if a.is_never_negative() && b.is_never_negative() => (Some(0), None),
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
    use crate::parse_dim;

    #[test]
    fn what_is_never_negative() {
        let proved = |text: &str| parse_dim(text).expect("a dimension").is_never_negative();
        for text in [
            "0",
            "n",
            "3*n*m + 1",
            "min(n, 4)",
            "max(n - 9, 0)",
            "512 - min(n, 512)",
            "floordiv(n, 2)",
            "floordiv(n - 1, 2) + 1",
            "2*floordiv(n, 3) - floordiv(2*n + 2, 3) + 2",
            "n - 2*floordiv(n, 2)",
            "3 + 4*floordiv(n, 4) - n",
            "floordiv(n, 2) - floordiv(n, 4)",
        ] {
            assert!(proved(text), "{text}");
        }
        for text in [
            "n - 1",
            "512 - n",
            "min(n, m - 1)",
            "n - m",
            "floordiv(n - 3, 2) + 1",
            "max(n - 9, m - 1)",
            "2*floordiv(n, 3) - floordiv(2*n + 2, 3) + 1",
            "2 + 4*floordiv(n, 4) - n",
            "floordiv(n, 4) - floordiv(n, 2)",
        ] {
            assert!(!proved(text), "{text}");
        }
    }
}
