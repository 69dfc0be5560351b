//! What inference reports.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::{DType, Dim, ValueId};

/// Why an operator can't be applied to operands. Every variant names the operator; the caller adds the node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InferError {
    /// The number of operands is wrong.
    #[error("`{op}` takes {expected} operands, found {found}")]
    Arity {
        /// The operator.
        op: &'static str,
        /// How many it takes.
        expected: String,
        /// How many there are.
        found: usize,
    },
    /// An operand has an element type that the operator is not defined for.
    #[error("`{op}`: operand {operand} must have {expected}, found {found}")]
    DType {
        /// The operator.
        op: &'static str,
        /// Position of the operand.
        operand: usize,
        /// What it takes.
        expected: &'static str,
        /// What there is.
        found: DType,
    },
    /// Two operands should have one element type.
    #[error("`{op}`: element types {left} and {right} differ")]
    DTypeMismatch {
        /// The operator.
        op: &'static str,
        /// One type.
        left: DType,
        /// The other.
        right: DType,
    },
    /// An operand has the wrong number of dimensions.
    #[error("`{op}`: operand {operand} must have {expected} dimensions, found {found}")]
    Rank {
        /// The operator.
        op: &'static str,
        /// Position of the operand.
        operand: usize,
        /// What it takes.
        expected: String,
        /// What there is.
        found: usize,
    },
    /// Two extents that must agree do not, or not provably.
    #[error("`{op}`: {what} has extents `{left}` and `{right}`, which differ{hint}")]
    Extents {
        /// The operator.
        op: &'static str,
        /// Which extents.
        what: String,
        /// One extent.
        left: Dim,
        /// The other.
        right: Dim,
        /// A proposal, where a symbol is involved.
        hint: String,
    },
    /// An attribute is out of range.
    #[error("`{op}`: {reason}")]
    Attribute {
        /// The operator.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A shape is absurd.
    #[error("`{op}`: {reason}")]
    Shape {
        /// The operator.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// A scalar expression is ill-formed.
    #[error("scalar expression: {reason}")]
    Scalar {
        /// What is wrong.
        reason: String,
    },
    /// An epilogue doesn't suit its operator.
    #[error("epilogue of `{op}`: {reason}")]
    Epilogue {
        /// The operator.
        op: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// An operand names no value of the graph.
    #[error("`{op}`: operand {value} is not defined")]
    Undefined {
        /// The operator.
        op: &'static str,
        /// The operand.
        value: ValueId,
    },
}

impl InferError {
    /// Two extents differ; proposes `--dim` for a symbol that occurs in them.
    pub(crate) fn extents(op: &'static str, what: &str, left: &Dim, right: &Dim) -> Self {
        let mut symbols = BTreeSet::new();
        left.collect_symbols(&mut symbols);
        right.collect_symbols(&mut symbols);
        let value_of = |symbol: &Dim, other: &Dim| match (symbol.as_symbol(), other.as_const()) {
            (Some(s), Some(v)) => Some(format!("{}={v}", s.name())),
            _ => None,
        };
        let proposal = value_of(left, right)
            .or_else(|| value_of(right, left))
            .or_else(|| symbols.first().map(|s| format!("{}=VALUE", s.name())));
        let hint = proposal.map_or_else(String::new, |p| format!("; fix the symbol with `--dim {p}`"));
        InferError::Extents { op, what: what.to_owned(), left: left.clone(), right: right.clone(), hint }
    }
}
