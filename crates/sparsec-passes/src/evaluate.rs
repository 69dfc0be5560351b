//! Computes single operators on constants, with the reference interpreter.

use sparsec_graph::{Bindings, Op, TensorData, interp};

use crate::PassError;

/// The result of an operator on constants. `name` is for the message.
pub(crate) fn evaluate(op: &Op, operands: &[&TensorData], name: &str) -> Result<TensorData, PassError> {
    interp::evaluate(op, None, operands, &Bindings::new())
        .map_err(|source| PassError::Interpret { node: name.to_owned(), source: Box::new(source) })
}
