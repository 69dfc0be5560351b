//! Computes single operators on constants, with the reference interpreter.

use sparsec_graph::{Bindings, InterpError, Op, TensorData, interp};

use crate::PassError;

/// The first result of an operator on constants. `name` is for the message.
pub(crate) fn evaluate(op: &Op, operands: &[&TensorData], name: &str) -> Result<TensorData, PassError> {
    let interpret = |source| PassError::Interpret { node: name.to_owned(), source: Box::new(source) };
    let results = interp::evaluate(op, None, operands, &Bindings::new()).map_err(interpret)?;
    let missing = || interpret(InterpError::Malformed { reason: "an operator without result".into() });
    results.into_iter().next().ok_or_else(missing)
}
