//! Symbols that are known to be multiples of a number.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::infer::InferError;
use sparsec_graph::{Atom, Dim};

use crate::error::{Fault, OnnxError};

/// By name of a dimension: what it is a multiple of.
pub(super) type Multiples = BTreeMap<String, i64>;

/// What is tried, in order.
pub(super) const TIMES: [i64; 7] = [2, 4, 8, 16, 32, 64, 128];

/// The names of symbols in rounded quotients of extents that should be equal and aren't.
pub(super) fn candidates(fault: &OnnxError) -> BTreeSet<String> {
    let mut symbols = BTreeSet::new();
    let OnnxError::Invalid { problems } = fault else { return BTreeSet::new() };
    for problem in problems {
        if let Fault::Infer(InferError::Extents { left, right, .. }) = &problem.fault {
            quotients(&(left.clone() - right.clone()), &mut symbols);
        }
    }
    symbols.iter().map(|s| s.name().to_owned()).collect()
}

fn quotients(dim: &Dim, into: &mut BTreeSet<sparsec_graph::Symbol>) {
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
