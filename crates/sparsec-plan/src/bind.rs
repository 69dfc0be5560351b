//! What the tensors that a caller gives say about the symbols, checked as `NAME_infer_dims` of a CPU library does.

use sparsec_abi::{MAX_EXTENT, Status};

use crate::plan::{Plan, Port};
use crate::{Given, RunError, dtype_size};

fn refused(status: Status, place: String, detail: String) -> RunError {
    RunError::Refused { status, place, detail }
}

impl Plan {
    /// Checks inputs; returns the symbols' values.
    ///
    /// # Errors
    /// Where their number, element types, ranks or extents do not fit the model, where extents disagree about a symbol, and
    /// where a constraint does not hold. The statuses are those of the C interface.
    pub fn infer_dims(&self, inputs: &[Given<'_>]) -> Result<Vec<i64>, RunError> {
        let (expected, found) = (self.inputs.len(), inputs.len());
        if expected != found {
            return Err(RunError::Count { what: "inputs", expected, found });
        }
        let mut symbols: Vec<Option<i64>> = vec![None; self.symbols.len()];
        let mut later = Vec::new();
        for (port, given) in self.inputs.iter().zip(inputs) {
            check_type("input", port, given)?;
            for (axis, (e, &extent)) in port.shape.iter().zip(given.shape).enumerate() {
                let place = || format!("input `{}`, axis {axis}", port.name);
                check_dimension(place, extent)?;
                if let Some(fixed) = e.as_int() {
                    if fixed != extent {
                        let detail = format!(": it is {extent}, and must be {fixed}");
                        return Err(refused(Status::Extent, place(), detail));
                    }
                    continue;
                }
                let Some((symbol, times)) = e.as_multiple() else {
                    later.push((place(), e, extent));
                    continue;
                };
                if extent % times != 0 {
                    let detail = format!(": it is {extent}, and must be a multiple of {times}");
                    return Err(refused(Status::Extent, place(), detail));
                }
                let value = extent / times;
                match symbols.get_mut(symbol as usize) {
                    Some(Some(known)) if *known != value => {
                        let name = self.symbols.get(symbol as usize).map_or("", String::as_str);
                        let detail = format!(": `{name}` is {value} here and {known} before");
                        return Err(refused(Status::Symbol, place(), detail));
                    }
                    Some(slot) => *slot = Some(value),
                    None => {}
                }
            }
        }
        let symbols: Vec<i64> = symbols.into_iter().map(|s| s.unwrap_or(0)).collect();
        for (place, e, extent) in later {
            let expected = e.eval(&symbols);
            if expected != Ok(extent) {
                let expected = expected.map_or_else(|e| e.to_string(), |n| n.to_string());
                let detail = format!(": it is {extent}, and the other extents lead to {expected}");
                return Err(refused(Status::Symbol, place, detail));
            }
        }
        self.check_constraints(&symbols)?;
        Ok(symbols)
    }

    /// Checks the values of symbols.
    ///
    /// # Errors
    /// Where one is no dimension, or a constraint does not hold.
    pub fn check_dims(&self, symbols: &[i64]) -> Result<(), RunError> {
        let (expected, found) = (self.symbols.len(), symbols.len());
        if expected != found {
            return Err(RunError::Count { what: "symbolic dimensions", expected, found });
        }
        for (name, &value) in self.symbols.iter().zip(symbols) {
            check_dimension(|| format!("`{name}`"), value)?;
        }
        self.check_constraints(symbols)
    }

    fn check_constraints(&self, symbols: &[i64]) -> Result<(), RunError> {
        for constraint in &self.constraints {
            self.require(constraint, symbols)?;
        }
        Ok(())
    }

    /// Checks a constraint.
    pub(crate) fn require(&self, constraint: &crate::Constraint, values: &[i64]) -> Result<(), RunError> {
        let value = constraint.value.eval(values);
        if value.as_ref().is_ok_and(|&v| v >= 0) {
            return Ok(());
        }
        let names = self.symbols.iter().zip(values).map(|(name, value)| format!("{name} = {value}"));
        let place = names.collect::<Vec<_>>().join(", ");
        let place = if place.is_empty() { self.name.clone() } else { place };
        let status = if value.is_ok() { Status::OutOfRange } else { Status::TooLarge };
        Err(refused(status, place, format!(": {}", constraint.message)))
    }

    /// The shape of an input or output for these values of the symbols, which were checked.
    ///
    /// # Errors
    /// Where an extent is no dimension.
    pub(crate) fn shape_of(&self, kind: &str, port: &Port, symbols: &[i64]) -> Result<Vec<i64>, RunError> {
        let mut shape = Vec::new();
        for (axis, e) in port.shape.iter().enumerate() {
            let place = || format!("{kind} `{}`, axis {axis}", port.name);
            let value = e.eval(symbols).map_err(|e| refused(Status::TooLarge, place(), format!(": {e}")))?;
            if e.as_int().is_none() {
                check_dimension(place, value)?;
            }
            shape.push(value);
        }
        Ok(shape)
    }
}

/// Checks element type and rank.
pub(crate) fn check_type(kind: &str, port: &Port, given: &Given<'_>) -> Result<(), RunError> {
    let place = || format!("{kind} `{}`", port.name);
    if given.shape.len() != port.shape.len() {
        let detail = format!(": it has {}, and must have {}", given.shape.len(), port.shape.len());
        return Err(refused(Status::Rank, place(), detail));
    }
    if given.dtype != port.dtype {
        let detail = format!(": it is {}, and must be {}", given.dtype, port.dtype);
        return Err(refused(Status::Dtype, place(), detail));
    }
    Ok(())
}

fn check_dimension(place: impl FnOnce() -> String, extent: i64) -> Result<(), RunError> {
    if (0..=MAX_EXTENT).contains(&extent) {
        return Ok(());
    }
    Err(refused(Status::Dimension, place(), format!(": it is {extent}")))
}

/// Bytes of a tensor of this type and shape.
pub(crate) fn tensor_bytes(place: &str, dtype: &str, shape: &[i64]) -> Result<u64, RunError> {
    let size = dtype_size(dtype).unwrap_or(0);
    let bytes = shape.iter().try_fold(size, |n, &d| n.checked_mul(u64::try_from(d).ok()?));
    bytes
        .filter(|&n| n <= i64::MAX as u64)
        .ok_or_else(|| refused(Status::TooLarge, place.to_owned(), format!(": its shape is {shape:?}")))
}
