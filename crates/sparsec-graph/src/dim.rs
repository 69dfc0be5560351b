//! Extents of dimensions: constants, symbols, and expressions over them.
//!
//! A [`Dim`] is a polynomial with integer coefficients over *atoms*: symbols such as `batch`, and the operations that a
//! polynomial can't hold (floor division, minimum, maximum). It is kept in a canonical form, so two expressions that
//! are equal as polynomials compare equal: `2*(seq + 1)` is `2*seq + 2`. Coefficients saturate rather than overflow;
//! what saturates is far beyond any extent that inference admits.

mod bounds;
mod range;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::{Add, Mul, Sub};
use std::sync::Arc;

use crate::text::{DIM_FUNCTIONS, Name, Quoted};

/// A named extent that is known only at run time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(Arc<str>);

impl Symbol {
    /// The symbol of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Symbol(name.into())
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    /// The name, in quotes where it would not read back as a symbol (models call dimensions `past + 1`).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if DIM_FUNCTIONS.contains(&self.name()) { Quoted(&self.0).fmt(f) } else { Name(&self.0).fmt(f) }
    }
}

/// A factor of a monomial.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Atom {
    /// A symbol.
    Sym(Symbol),
    /// `floor(a / b)`.
    FloorDiv(Box<Dim>, Box<Dim>),
    /// The smaller of two.
    Min(Box<Dim>, Box<Dim>),
    /// The larger of two.
    Max(Box<Dim>, Box<Dim>),
}

/// An extent (or an offset): a polynomial over [`Atom`]s, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Dim {
    /// Sorted atoms of a monomial -> its coefficient, never zero. The empty monomial is the constant.
    terms: BTreeMap<Vec<Atom>, i64>,
}

/// Values of symbols.
pub type Bindings = BTreeMap<Symbol, i64>;

impl Dim {
    /// A constant.
    #[must_use]
    pub fn constant(value: i64) -> Self {
        Self::monomial(Vec::new(), value)
    }

    /// A symbol by name.
    #[must_use]
    pub fn sym(name: &str) -> Self {
        Self::atom(Atom::Sym(Symbol::new(name)))
    }

    fn atom(atom: Atom) -> Self {
        Self::monomial(vec![atom], 1)
    }

    fn monomial(atoms: Vec<Atom>, coefficient: i64) -> Self {
        let mut terms = BTreeMap::new();
        if coefficient != 0 {
            terms.insert(atoms, coefficient);
        }
        Dim { terms }
    }

    fn add_term(&mut self, atoms: Vec<Atom>, coefficient: i64) {
        match self.terms.entry(atoms) {
            Entry::Vacant(entry) if coefficient != 0 => {
                entry.insert(coefficient);
            }
            Entry::Vacant(_) => {}
            Entry::Occupied(mut entry) => {
                let sum = entry.get().saturating_add(coefficient);
                if sum == 0 {
                    entry.remove();
                } else {
                    entry.insert(sum);
                }
            }
        }
    }

    /// The terms: atoms of each monomial with its coefficient. The empty monomial is the constant term.
    pub fn terms(&self) -> impl Iterator<Item = (&[Atom], i64)> {
        self.terms.iter().map(|(atoms, c)| (atoms.as_slice(), *c))
    }

    /// The value, where no symbol is involved.
    #[must_use]
    pub fn as_const(&self) -> Option<i64> {
        match self.terms.len() {
            0 => Some(0),
            1 => self.terms.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// The symbol, where this is nothing but one.
    #[must_use]
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match self.terms.first_key_value() {
            Some((atoms, 1)) if self.terms.len() == 1 => match atoms.as_slice() {
                [Atom::Sym(symbol)] => Some(symbol),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether this is a polynomial over symbols alone, without quotients, minima and maxima. Two polynomials are equal
    /// for all values of the symbols exactly where they compare equal.
    #[must_use]
    pub fn is_polynomial(&self) -> bool {
        self.terms.keys().flatten().all(|atom| matches!(atom, Atom::Sym(_)))
    }

    /// Whether this is the constant `value`.
    #[must_use]
    pub fn is(&self, value: i64) -> bool {
        self.as_const() == Some(value)
    }

    /// `floor(self / by)`. Exact division of a polynomial by a constant or by a monomial is folded.
    #[must_use]
    pub fn floor_div(&self, by: &Dim) -> Dim {
        if let (Some(a), Some(b)) = (self.as_const(), by.as_const())
            && b != 0
        {
            let quotient = a.saturating_div(b);
            return Dim::constant(quotient - i64::from((a < 0) != (b < 0) && a.wrapping_rem(b) != 0));
        }
        if let Some(exact) = self.exact_div(by) {
            return exact;
        }
        // floor((a*d + r) / d) = a + floor(r / d): terms that are multiples of a constant divisor come out whole.
        if let Some(d) = by.as_const().filter(|d| *d > 0) {
            let (whole, rest): (BTreeMap<_, _>, BTreeMap<_, _>) =
                self.terms.clone().into_iter().partition(|(atoms, c)| !atoms.is_empty() && c % d == 0);
            if !whole.is_empty() {
                let whole = Dim { terms: whole.into_iter().map(|(atoms, c)| (atoms, c / d)).collect() };
                return whole + Dim { terms: rest }.floor_div(by);
            }
        }
        Dim::atom(Atom::FloorDiv(Box::new(self.clone()), Box::new(by.clone())))
    }

    /// `ceil(self / by)` for a positive `by`.
    #[must_use]
    pub fn ceil_div(&self, by: &Dim) -> Dim {
        (self.clone() + by.clone() - Dim::constant(1)).floor_div(by)
    }

    /// `self / by` where every term of `self` is a multiple of `by`, which is one monomial.
    #[must_use]
    pub fn exact_div(&self, by: &Dim) -> Option<Dim> {
        if by.terms.len() != 1 {
            return (self == by && !by.terms.is_empty()).then(|| Dim::constant(1));
        }
        let (divisor, &coefficient) = by.terms.iter().next()?;
        let mut terms = BTreeMap::new();
        for (atoms, &c) in &self.terms {
            if c.checked_rem(coefficient)? != 0 {
                return None;
            }
            let mut rest = atoms.clone();
            for atom in divisor {
                let at = rest.iter().position(|a| a == atom)?;
                rest.remove(at);
            }
            terms.insert(rest, c / coefficient);
        }
        Some(Dim { terms })
    }

    /// The smaller of two extents. (Not [`Ord::min`], whose order of expressions means nothing.)
    #[must_use]
    pub fn minimum(&self, other: &Dim) -> Dim {
        match (self.clone() - other.clone()).as_const() {
            Some(d) if d <= 0 => self.clone(),
            Some(_) => other.clone(),
            None => {
                let (a, b) = if self <= other { (self, other) } else { (other, self) };
                Dim::atom(Atom::Min(Box::new(a.clone()), Box::new(b.clone())))
            }
        }
    }

    /// The larger of two extents. (Not [`Ord::max`].)
    #[must_use]
    pub fn maximum(&self, other: &Dim) -> Dim {
        match (self.clone() - other.clone()).as_const() {
            Some(d) if d >= 0 => self.clone(),
            Some(_) => other.clone(),
            None => {
                let (a, b) = if self <= other { (self, other) } else { (other, self) };
                Dim::atom(Atom::Max(Box::new(a.clone()), Box::new(b.clone())))
            }
        }
    }

    /// The value under `bindings`; `None` where a symbol is unbound, a divisor is zero or the value overflows.
    #[must_use]
    pub fn eval(&self, bindings: &Bindings) -> Option<i64> {
        let mut sum = 0i64;
        for (atoms, &c) in &self.terms {
            let mut product = c;
            for atom in atoms {
                let value = match atom {
                    Atom::Sym(s) => *bindings.get(s)?,
                    Atom::FloorDiv(a, b) => {
                        let (a, b) = (a.eval(bindings)?, b.eval(bindings)?);
                        a.checked_div(b)? - i64::from(a.wrapping_rem(b) != 0 && ((a < 0) != (b < 0)))
                    }
                    Atom::Min(a, b) => a.eval(bindings)?.min(b.eval(bindings)?),
                    Atom::Max(a, b) => a.eval(bindings)?.max(b.eval(bindings)?),
                };
                product = product.checked_mul(value)?;
            }
            sum = sum.checked_add(product)?;
        }
        Some(sum)
    }

    /// The expression with the symbols of `values` replaced.
    #[must_use]
    pub fn substitute(&self, values: &BTreeMap<Symbol, Dim>) -> Dim {
        let mut sum = Dim::default();
        for (atoms, &c) in &self.terms {
            let mut product = Dim::constant(c);
            for atom in atoms {
                let factor = match atom {
                    Atom::Sym(s) => values.get(s).cloned().unwrap_or_else(|| Dim::atom(atom.clone())),
                    Atom::FloorDiv(a, b) => a.substitute(values).floor_div(&b.substitute(values)),
                    Atom::Min(a, b) => a.substitute(values).minimum(&b.substitute(values)),
                    Atom::Max(a, b) => a.substitute(values).maximum(&b.substitute(values)),
                };
                product = product * factor;
            }
            sum = sum + product;
        }
        sum
    }

    /// Adds the symbols that occur to `into`.
    pub fn collect_symbols(&self, into: &mut BTreeSet<Symbol>) {
        for atom in self.terms.keys().flatten() {
            match atom {
                Atom::Sym(s) => {
                    into.insert(s.clone());
                }
                Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => {
                    a.collect_symbols(into);
                    b.collect_symbols(into);
                }
            }
        }
    }

    /// The product of `dims`; 1 for none.
    #[must_use]
    pub fn product<'a>(dims: impl IntoIterator<Item = &'a Dim>) -> Dim {
        dims.into_iter().fold(Dim::constant(1), |acc, d| acc * d.clone())
    }
}

impl From<i64> for Dim {
    fn from(value: i64) -> Self {
        Dim::constant(value)
    }
}

impl Add for Dim {
    type Output = Dim;

    fn add(mut self, other: Dim) -> Dim {
        for (atoms, c) in other.terms {
            self.add_term(atoms, c);
        }
        self
    }
}

impl Sub for Dim {
    type Output = Dim;

    fn sub(self, other: Dim) -> Dim {
        self + other * Dim::constant(-1)
    }
}

impl Mul for Dim {
    type Output = Dim;

    fn mul(self, other: Dim) -> Dim {
        let mut product = Dim::default();
        for (a, ca) in &self.terms {
            for (b, cb) in &other.terms {
                let mut atoms = [a.as_slice(), b.as_slice()].concat();
                atoms.sort();
                product.add_term(atoms, ca.saturating_mul(*cb));
            }
        }
        product
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Atom::Sym(s) => write!(f, "{s}"),
            Atom::FloorDiv(a, b) => write!(f, "floordiv({a}, {b})"),
            Atom::Min(a, b) => write!(f, "min({a}, {b})"),
            Atom::Max(a, b) => write!(f, "max({a}, {b})"),
        }
    }
}

impl fmt::Display for Dim {
    /// Terms of the highest degree first, the constant last: `batch*seq + 2*seq - 1`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return f.write_str("0");
        }
        let mut terms: Vec<_> = self.terms.iter().collect();
        terms.sort_by_key(|(atoms, _)| std::cmp::Reverse(atoms.len()));
        for (i, (atoms, &c)) in terms.into_iter().enumerate() {
            match (i, c < 0) {
                (0, true) => f.write_str("-")?,
                (0, false) => {}
                (_, true) => f.write_str(" - ")?,
                (_, false) => f.write_str(" + ")?,
            }
            let magnitude = c.unsigned_abs();
            if magnitude != 1 || atoms.is_empty() {
                write!(f, "{magnitude}{}", if atoms.is_empty() { "" } else { "*" })?;
            }
            for (j, atom) in atoms.iter().enumerate() {
                write!(f, "{}{atom}", if j == 0 { "" } else { "*" })?;
            }
        }
        Ok(())
    }
}
