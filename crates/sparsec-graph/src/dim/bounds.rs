//! How large an extent can get.

use std::collections::{BTreeMap, BTreeSet};

use super::{Atom, Dim, Symbol};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Lower,
    Upper,
}

impl Side {
    fn other(self) -> Side {
        match self {
            Side::Lower => Side::Upper,
            Side::Upper => Side::Lower,
        }
    }
}

impl Dim {
    /// Not less than any value that this has while each symbol of `most` is anywhere from 0 to its expression. All other
    /// symbols, and the quotients, minima and maxima, are taken to be at least 0, as extents are. `None` where a divisor
    /// depends on a symbol of `most`.
    #[must_use]
    pub fn upper_bound(&self, most: &BTreeMap<Symbol, Dim>) -> Option<Dim> {
        self.bound(most, Side::Upper)
    }

    fn bound(&self, most: &BTreeMap<Symbol, Dim>, side: Side) -> Option<Dim> {
        let mut sum = Dim::default();
        for (atoms, coefficient) in self.terms() {
            let side = if coefficient < 0 { side.other() } else { side };
            let mut product = Dim::constant(coefficient);
            for atom in atoms {
                product = product * atom.bound(most, side)?;
            }
            sum = sum + product;
        }
        Some(sum)
    }
}

impl Atom {
    fn bound(&self, most: &BTreeMap<Symbol, Dim>, side: Side) -> Option<Dim> {
        Some(match (self, side) {
            (Atom::Sym(symbol), Side::Upper) => most.get(symbol).cloned().unwrap_or_else(|| Dim::sym(symbol.name())),
            (Atom::Sym(symbol), Side::Lower) if most.contains_key(symbol) => Dim::default(),
            (Atom::Sym(symbol), Side::Lower) => Dim::sym(symbol.name()),
            (Atom::FloorDiv(a, b), side) => {
                let mut symbols = BTreeSet::new();
                b.collect_symbols(&mut symbols);
                if symbols.iter().any(|s| most.contains_key(s)) {
                    return None;
                }
                a.bound(most, side)?.floor_div(b)
            }
            (Atom::Min(a, b), side) => a.bound(most, side)?.minimum(&b.bound(most, side)?),
            (Atom::Max(a, b), side) => a.bound(most, side)?.maximum(&b.bound(most, side)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_above_the_bound() {
        let (k, n) = (Dim::sym("k"), Dim::sym("n"));
        let c = Dim::constant;
        let most = BTreeMap::from([(Symbol::new("k"), n.clone())]);
        for (dim, bound) in [
            (k.clone() * c(3) + c(1), n.clone() * c(3) + c(1)),
            (c(10) - k.clone(), c(10)),
            (n.clone() - k.clone() * c(2), n.clone()),
            (k.clone() * k.clone(), n.clone() * n.clone()),
            ((k.clone() + c(1)).floor_div(&c(2)), (n.clone() + c(1)).floor_div(&c(2))),
            (k.minimum(&c(7)), n.minimum(&c(7))),
            (n.clone(), n.clone()),
        ] {
            assert_eq!(dim.upper_bound(&most), Some(bound), "{dim}");
        }
        assert_eq!(n.floor_div(&k).upper_bound(&most), None);
    }
}
