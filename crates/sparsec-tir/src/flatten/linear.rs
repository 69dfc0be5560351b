//! Integer expressions as sums of products, so that equal terms meet and the part that varies with a loop can be split
//! off. `i64` arithmetic wraps, so it is a ring and every step here is exact.

use crate::{BinaryOp, Expr, Scalar, VarId};

/// Products that would expand to more terms than this stay as they are.
const MAX_TERMS: usize = 24;

/// A sum of products of atoms. An atom is an expression that isn't a sum, difference, product or constant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Linear {
    /// Sorted atoms of each product, and its coefficient, which isn't 0. No atoms: the constant.
    pub(crate) terms: Vec<(Vec<Expr>, i64)>,
}

impl Linear {
    pub(crate) fn constant(value: i64) -> Self {
        let mut out = Linear::default();
        out.add_term(Vec::new(), value);
        out
    }

    pub(crate) fn atom(expr: Expr) -> Self {
        Linear { terms: vec![(vec![expr], 1)] }
    }

    /// The expression as a sum of products. `inline` gives the values of variables that are to be looked through.
    pub(crate) fn from_expr(expr: &Expr, inline: &dyn Fn(VarId) -> Option<Expr>) -> Self {
        match expr {
            Expr::Int(v, Scalar::I64) => Linear::constant(*v),
            Expr::Var(v) => match inline(*v) {
                Some(value) => Linear::from_expr(&value, inline),
                None => Linear::atom(expr.clone()),
            },
            Expr::Binary(BinaryOp::Add, x, y) => Linear::from_expr(x, inline).plus(&Linear::from_expr(y, inline), 1),
            Expr::Binary(BinaryOp::Sub, x, y) => Linear::from_expr(x, inline).plus(&Linear::from_expr(y, inline), -1),
            Expr::Binary(BinaryOp::Mul, x, y) => {
                let (x, y) = (Linear::from_expr(x, inline), Linear::from_expr(y, inline));
                match x.terms.len() * y.terms.len() <= MAX_TERMS {
                    true => x.times(&y),
                    false => Linear::atom(Expr::binary(BinaryOp::Mul, x.to_expr(), y.to_expr())),
                }
            }
            _ => Linear::atom(expr.clone()),
        }
    }

    /// `self + factor * other`.
    pub(crate) fn plus(mut self, other: &Linear, factor: i64) -> Self {
        for (atoms, c) in &other.terms {
            self.add_term(atoms.clone(), c.wrapping_mul(factor));
        }
        self
    }

    /// The product, expanded.
    pub(crate) fn times(&self, other: &Linear) -> Self {
        let mut out = Linear::default();
        for (a, c) in &self.terms {
            for (b, d) in &other.terms {
                let mut atoms: Vec<Expr> = a.iter().chain(b).cloned().collect();
                atoms.sort_by_cached_key(key);
                out.add_term(atoms, c.wrapping_mul(*d));
            }
        }
        out
    }

    fn add_term(&mut self, atoms: Vec<Expr>, coefficient: i64) {
        match self.terms.iter().position(|(a, _)| *a == atoms) {
            Some(i) => {
                self.terms[i].1 = self.terms[i].1.wrapping_add(coefficient);
                if self.terms[i].1 == 0 {
                    self.terms.remove(i);
                }
            }
            None if coefficient != 0 => self.terms.push((atoms, coefficient)),
            None => {}
        }
    }

    /// The value, where there is nothing but a constant.
    pub(crate) fn as_constant(&self) -> Option<i64> {
        match self.terms.as_slice() {
            [] => Some(0),
            [(atoms, c)] if atoms.is_empty() => Some(*c),
            _ => None,
        }
    }

    /// The expression: terms of outer variables first, so that what a loop doesn't change is a subexpression; the
    /// constant last, where it becomes the displacement of an address.
    pub(crate) fn to_expr(&self) -> Expr {
        let mut terms = self.terms.clone();
        terms.sort_by_cached_key(|(atoms, c)| {
            let rank = atoms.iter().map(|a| key(a).0).max().unwrap_or(0);
            let text: Vec<String> = atoms.iter().map(|a| key(a).1).collect();
            (atoms.is_empty(), rank, *c < 0, text)
        });
        let mut sum: Option<Expr> = None;
        for (atoms, c) in terms {
            let product = atoms.into_iter().reduce(|x, y| x * y);
            sum = Some(match (sum, product) {
                (None, None) => Expr::int(c),
                (None, Some(p)) => p * Expr::int(c),
                (Some(s), None) if c < 0 && c != i64::MIN => s - Expr::int(-c),
                (Some(s), None) => s + Expr::int(c),
                (Some(s), Some(p)) if c < 0 && c != i64::MIN => s - p * Expr::int(-c),
                (Some(s), Some(p)) => s + p * Expr::int(c),
            });
        }
        sum.unwrap_or(Expr::int(0))
    }
}

/// An order of atoms: params, then variables from the outermost in (numbered in that order), then by text.
fn key(expr: &Expr) -> (u32, String) {
    let mut rank = 0;
    expr.walk(&mut |e| {
        if let Expr::Var(v) = e {
            rank = rank.max(v.0.saturating_add(1));
        }
    });
    (rank, format!("{expr:?}"))
}
