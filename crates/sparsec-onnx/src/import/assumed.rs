//! What is assumed of symbols because the model makes sense for nothing else: that two are equal, that one is 1, that one is a
//! multiple of a number. The compiled model refuses tensors of other extents.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::infer::InferError;
use sparsec_graph::{Atom, Dim, Symbol};

use crate::error::{Fault, OnnxError};

/// What stands for the symbols of a model's inputs.
#[derive(Clone, Default)]
pub(super) struct Assumed {
    /// Symbols that are equal to another, or 1.
    pub(super) equal: BTreeMap<Symbol, Dim>,
    /// By name of a dimension: what it is a multiple of.
    pub(super) multiples: BTreeMap<String, i64>,
    /// Whether extents that still differ are left to the run to compare.
    pub(super) reconciles: bool,
}

impl Assumed {
    /// Takes up what follows from extents that should be equal and are not. Returns whether that was anything.
    ///
    /// Exporters name the batch of each input anew, and trace models with one sample that take no more.
    pub(super) fn equate(&mut self, fault: &OnnxError) -> bool {
        let before = self.equal.len();
        for (left, right) in unequal(fault) {
            let (left, right) = (left.substitute(&self.equal), right.substitute(&self.equal));
            let Some((symbol, value)) = equation(&left, &right) else { continue };
            let one = BTreeMap::from([(symbol.clone(), value.clone())]);
            for known in self.equal.values_mut() {
                *known = known.substitute(&one);
            }
            self.equal.insert(symbol, value);
        }
        self.equal.len() > before
    }
}

/// A symbol and what it must be for two extents to be equal: another symbol, what the other extent is, or 1.
fn equation(left: &Dim, right: &Dim) -> Option<(Symbol, Dim)> {
    let mut symbols = BTreeSet::new();
    (left.clone() - right.clone()).collect_symbols(&mut symbols);
    let others = symbols.iter().flat_map(|a| symbols.range(..a).map(move |b| (a, Dim::sym(b.name()))));
    let ones = symbols.iter().map(|a| (a, Dim::constant(1)));
    // An axis with a name of its own: `total` of `past + seq`.
    let whole = |a: &Dim, b: &Dim| {
        let symbol = a.as_symbol()?.clone();
        let mut inside = BTreeSet::new();
        b.collect_symbols(&mut inside);
        (!inside.is_empty() && b.as_symbol().is_none() && b.is_polynomial() && !inside.contains(&symbol))
            .then(|| (symbol, b.clone()))
    };
    if let Some(found) = whole(left, right).or_else(|| whole(right, left)) {
        return Some(found);
    }
    // A quotient or a minimum says little about a symbol: `min(n, 2)` and 1 agree for `n = 1`, but the model may not mean that.
    if !left.is_polynomial() || !right.is_polynomial() {
        return None;
    }
    others.chain(ones).map(|(symbol, value)| (symbol.clone(), value)).find(|(symbol, value)| {
        let one = BTreeMap::from([(symbol.clone(), value.clone())]);
        left.substitute(&one) == right.substitute(&one)
    })
}

/// The pairs of extents that should be equal and aren't.
fn unequal(fault: &OnnxError) -> Vec<(&Dim, &Dim)> {
    let OnnxError::Invalid { problems } = fault else { return Vec::new() };
    let extents = problems.iter().filter_map(|problem| match &problem.fault {
        Fault::Infer(InferError::Extents { left, right, .. }) => Some((left, right)),
        _ => None,
    });
    extents.collect()
}

/// What is tried, in order.
pub(super) const TIMES: [i64; 7] = [2, 4, 8, 16, 32, 64, 128];

/// The names of symbols in rounded quotients of extents that should be equal and aren't.
pub(super) fn candidates(fault: &OnnxError) -> BTreeSet<String> {
    let mut symbols = BTreeSet::new();
    for (left, right) in unequal(fault) {
        quotients(&(left.clone() - right.clone()), &mut symbols);
    }
    symbols.iter().map(|s| s.name().to_owned()).collect()
}

fn quotients(dim: &Dim, into: &mut BTreeSet<Symbol>) {
    for atom in dim.terms().flat_map(|(atoms, _)| atoms) {
        match atom {
            Atom::Sym(_) => {}
            Atom::FloorDiv(a, _) => a.collect_symbols(into),
            Atom::Min(a, b) | Atom::Max(a, b) => {
                quotients(a, into);
                quotients(b, into);
            }
        }
    }
}
