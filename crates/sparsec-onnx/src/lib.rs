//! ONNX reader: bytes to graph IR, zero copy.
//!
//! [`read_file`] maps a model into memory and decodes it such that weights stay slices of the mapping; [`import`]
//! then decomposes each ONNX operator into the few operators of [`sparsec_graph`]. Integers that the model computes from
//! shapes are followed symbolically, so a model with dynamic dimensions comes out with shapes over named symbols and
//! without shape arithmetic at run time.
//!
//! Models are untrusted input: nothing here panics on them, and nothing allocates more than the size of the file
//! justifies. Everything that is wrong with a model is reported in one [`OnnxError`].
//!
//! [`mod@proto`] has the file format's own types, for tools that rewrite models; [`prune()`] is one.

mod error;
mod external;
mod functions;
mod import;
mod mapped;
pub mod proto;
pub mod prune;
mod sparse;
mod tensor;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use sparsec_graph::{Graph, TensorData};

pub use error::{Fault, OnnxError, Place, Problem, TensorError, UnsupportedOp};
pub use import::{operator_sets, supported_ops};
pub use prune::{PatternError, PruneError, PrunePattern, PruneReport, PrunedTensor, prune};

/// How a model is read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Values for named dimensions of the inputs: `batch` -> 1 makes every `batch` the constant 1.
    pub dims: BTreeMap<String, i64>,
    /// Values for inputs: the model has these inputs no more, and where it reads them, constants. A name that the shape
    /// of such an input has for an extent is bound to what the value has there.
    pub bind: BTreeMap<String, TensorData>,
    /// For inputs that are sequences or optional values, what is in them: an extent list for each tensor, `None` for what the model
    /// declares. Tensor `i` of the sequence `x` becomes the input `x.i`, the tensor of an optional value the input of that name. An
    /// optional value that is absent has none.
    pub items: BTreeMap<String, Vec<Option<Vec<i64>>>>,
}

/// Reads a model from a file, which stays mapped for as long as the graph has weights in it; the
/// graph's [`Pages`](sparsec_graph::Pages) let go of its memory.
///
/// # Errors
///
/// See [`OnnxError`]: the file can't be read, is no ONNX model, or has operators or forms that are not supported.
pub fn read_file(path: impl AsRef<Path>, options: &Options) -> Result<Graph, OnnxError> {
    let path = path.as_ref();
    let base_dir = path.parent().unwrap_or(Path::new("."));
    let mapped::MappedFile { bytes, pages } = mapped::map_file(path)?;
    import::import_model(bytes, pages, Some(base_dir), options)
}

/// Reads a model from bytes. External data is looked for below `base_dir` and refused where there is none.
///
/// # Errors
///
/// As [`read_file`].
pub fn read_bytes(bytes: Bytes, base_dir: Option<&Path>, options: &Options) -> Result<Graph, OnnxError> {
    import::import_model(bytes, None, base_dir, options)
}
