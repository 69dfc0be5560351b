//! Values of symbols from the shapes of inputs.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{Bindings, Dim, Graph, Symbol};

/// Shapes that don't fit the declared inputs.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BindError {
    /// The number of inputs is wrong.
    #[error("the graph has {expected} inputs, {found} were given")]
    Count {
        /// Declared inputs.
        expected: usize,
        /// Given ones.
        found: usize,
    },
    /// An input has the wrong number of dimensions.
    #[error("input `{input}` has {expected} dimensions, {found} were given")]
    Rank {
        /// The input.
        input: String,
        /// Declared dimensions.
        expected: usize,
        /// Given ones.
        found: usize,
    },
    /// An extent is not the declared one.
    #[error("input `{input}`, axis {axis}: the extent must be {expected}, found {found}")]
    Extent {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// What is declared, with its value.
        expected: String,
        /// What was given.
        found: usize,
    },
    /// The shapes don't determine a symbol that a declared extent contains.
    #[error("input `{input}`, axis {axis}: the extent `{extent}` does not determine its symbols")]
    Undetermined {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// The declared extent.
        extent: Dim,
    },
}

/// The values of the symbols in the declared input shapes, given actual shapes in the order of [`Graph::inputs`].
///
/// A symbol is determined by an extent that is the symbol itself, or that is linear in it once other symbols are known
/// (`2*seq + 1`).
///
/// # Errors
/// When shapes contradict the declared ones or each other, or leave a symbol open.
pub fn bind_symbols(graph: &Graph, shapes: &[Vec<usize>]) -> Result<Bindings, BindError> {
    let inputs = graph.inputs();
    if shapes.len() != inputs.len() {
        return Err(BindError::Count { expected: inputs.len(), found: shapes.len() });
    }
    let mut open = Vec::new();
    for (&input, shape) in inputs.iter().zip(shapes) {
        let value = graph.value(input);
        if value.ty.rank() != shape.len() {
            let (expected, found) = (value.ty.rank(), shape.len());
            return Err(BindError::Rank { input: value.name.clone(), expected, found });
        }
        let axes = value.ty.shape.iter().zip(shape).enumerate();
        open.extend(axes.map(|(axis, (dim, &extent))| (value.name.as_str(), axis, dim, extent)));
    }
    let mut bindings = Bindings::new();
    // Each round binds what is determined so far; constants and known expressions are checked at once.
    loop {
        let before = open.len();
        let mut later = Vec::new();
        for (input, axis, dim, extent) in open {
            let found = i64::try_from(extent).unwrap_or(i64::MAX);
            let error = |expected: String| BindError::Extent { input: input.to_owned(), axis, expected, found: extent };
            match dim.eval(&bindings) {
                Some(value) if value == found => {}
                Some(value) if dim.as_const().is_some() => return Err(error(value.to_string())),
                Some(value) => return Err(error(format!("{value} (`{dim}`)"))),
                None => match solve(dim, found, &bindings) {
                    Solution::Value(symbol, value) if value >= 0 => {
                        bindings.insert(symbol, value);
                    }
                    Solution::Value(..) | Solution::Impossible => return Err(error(format!("`{dim}`"))),
                    Solution::Open => later.push((input, axis, dim, extent)),
                },
            }
        }
        match later.first() {
            None => return Ok(bindings),
            Some(&(input, axis, dim, _)) if later.len() == before => {
                return Err(BindError::Undetermined { input: input.to_owned(), axis, extent: dim.clone() });
            }
            Some(_) => open = later,
        }
    }
}

enum Solution {
    Value(Symbol, i64),
    Impossible,
    Open,
}

/// Solves `dim == extent` where `dim` is a polynomial of first degree in the one symbol that is not bound.
fn solve(dim: &Dim, extent: i64, bindings: &Bindings) -> Solution {
    let mut symbols = BTreeSet::new();
    dim.collect_symbols(&mut symbols);
    let unbound: Vec<Symbol> = symbols.into_iter().filter(|s| !bindings.contains_key(s)).collect();
    let [symbol] = unbound.as_slice() else { return Solution::Open };
    let at = |value: i64| {
        let mut trial = bindings.clone();
        trial.insert(symbol.clone(), value);
        dim.eval(&trial)
    };
    let occurs_once = dim.is_polynomial()
        && dim
            .terms()
            .all(|(atoms, _)| atoms.iter().filter(|a| matches!(a, crate::Atom::Sym(s) if s == symbol)).count() <= 1);
    let (true, Some(zero), Some(one)) = (occurs_once, at(0), at(1)) else { return Solution::Open };
    let (Some(slope), Some(rise)) = (one.checked_sub(zero), extent.checked_sub(zero)) else { return Solution::Open };
    if slope == 0 {
        return if rise == 0 { Solution::Open } else { Solution::Impossible };
    }
    match (rise.checked_rem(slope), rise.checked_div(slope)) {
        (Some(0), Some(value)) => Solution::Value(symbol.clone(), value),
        _ => Solution::Impossible,
    }
}
