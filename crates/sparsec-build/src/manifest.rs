//! What of `NAME.json` the generated module needs.

use serde::Deserialize;

/// A compiled model.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) symbols: Vec<String>,
    pub(crate) inputs: Vec<Port>,
    pub(crate) outputs: Vec<Port>,
}

/// An input or output.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) dtype: String,
    /// Extents: a number, a symbol, or an expression over symbols.
    pub(crate) shape: Vec<String>,
}
