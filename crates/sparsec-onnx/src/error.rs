//! What can be wrong with a model.
//!
//! A model is read to its end before anything is reported, so that one error lists everything that has to change.

use std::fmt;
use std::path::PathBuf;

use sparsec_graph::InferError;
use thiserror::Error;

/// Why a model can't be read.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// A file can't be read or written.
    #[error("cannot access `{}`: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are no protocol buffer of an ONNX model.
    #[error("not an ONNX model: {source}\nThe file may be truncated, or may be of another format.")]
    Decode {
        /// What the decoder said.
        source: prost::DecodeError,
    },
    /// The model has no graph.
    #[error("the model has no graph\nThe file may be empty or truncated.")]
    NoGraph,
    /// The model uses a version of the standard operator set that is not supported.
    #[error(
        "operator set {version} of the model is not supported: supported are {} to {}\n\
         Convert the model, for example with `onnx.version_converter`.",
        crate::import::OPSETS.start(), crate::import::OPSETS.end()
    )]
    Opset {
        /// The version that the model declares; 0 where it declares none.
        version: i64,
    },
    /// A dimension was bound that the model's inputs do not have.
    #[error("the model has no dimension named `{name}` to bind\n{}", known_dims(known))]
    UnknownDim {
        /// The name that was bound.
        name: String,
        /// The names that the model has.
        known: Vec<String>,
    },
    /// A value was given for an input that the model does not have.
    #[error("the model has no input named `{name}` to bind\nIts inputs are: {}.", known.join(", "))]
    UnknownInput {
        /// The name that was bound.
        name: String,
        /// The names that the model has.
        known: Vec<String>,
    },
    /// A dimension was bound to a negative number.
    #[error("dimension `{name}` cannot be {value}: bind it to a number that is not negative")]
    NegativeDim {
        /// The name that was bound.
        name: String,
        /// The number.
        value: i64,
    },
    /// Operators of the model are not supported; all of them are listed, and what else is wrong.
    #[error("{}", unsupported_text(ops, problems))]
    Unsupported {
        /// One entry a node.
        ops: Vec<UnsupportedOp>,
        /// Other problems of the model. What follows from an operator that is not supported is not among them.
        problems: Vec<Problem>,
    },
    /// Nodes, weights, inputs or outputs of the model are malformed or can't be compiled.
    #[error("{}", problems_text(problems))]
    Invalid {
        /// One entry a place.
        problems: Vec<Problem>,
    },
}

/// A node whose operator is not supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOp {
    /// Name of the node, or of its first output.
    pub node: String,
    /// The operator.
    pub op: String,
    /// Its domain; `ai.onnx` for the standard one.
    pub domain: String,
    /// The version of the operator set that the model uses; 0 where the model declares none.
    pub opset: i64,
    /// Types of its operands, as far as they are known.
    pub operands: Vec<String>,
}

impl fmt::Display for UnsupportedOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node `{}`: operator {} of {} {}", self.node, self.op, self.domain, self.opset)?;
        let operands = self.operands.join(", ");
        if operands.is_empty() { Ok(()) } else { write!(f, " on {operands}") }
    }
}

/// One thing that is wrong, and where.
#[derive(Debug)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault)
    }
}

/// A place in a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A node by name (or its first output's name) and operator.
    Node {
        /// Its name.
        name: String,
        /// Its operator.
        op: String,
        /// The operator's domain; `ai.onnx` for the standard one.
        domain: String,
        /// The version of the operator set; 0 where the model declares none.
        opset: i64,
        /// Types of the operands, as far as they are known.
        operands: Vec<String>,
    },
    /// A weight by name.
    Initializer(String),
    /// A graph input by name.
    Input(String),
    /// A graph output by name.
    Output(String),
    /// The graph as a whole.
    Graph,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Node { name, op, domain, opset, operands } => {
                write!(f, "node `{name}` ({op} of {domain} {opset}")?;
                let operands = operands.join(", ");
                if operands.is_empty() { f.write_str(")") } else { write!(f, " on {operands})") }
            }
            Place::Initializer(name) => write!(f, "initializer `{name}`"),
            Place::Input(name) => write!(f, "input `{name}`"),
            Place::Output(name) => write!(f, "output `{name}`"),
            Place::Graph => f.write_str("graph"),
        }
    }
}

/// What is wrong at one place.
#[derive(Debug, Error)]
pub enum Fault {
    /// A tensor's data are malformed.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// Operand types do not fit the operator.
    #[error(transparent)]
    Infer(#[from] InferError),
    /// A required input is missing.
    #[error("input {0} is missing")]
    MissingInput(usize),
    /// An input or output of the model has no name.
    #[error("it has no name")]
    Unnamed,
    /// A name is used that nothing before defines.
    #[error("`{0}` is used but nothing before it defines it")]
    Undefined(String),
    /// A name is defined twice.
    #[error("`{0}` is defined twice")]
    Redefined(String),
    /// An attribute is missing, of the wrong type or out of range.
    #[error("attribute `{name}` {message}")]
    Attribute {
        /// The attribute.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A value must be known when the model is compiled, and is not.
    #[error(
        "{what} must be known when the model is compiled, but is computed from run-time data{}",
        hint(dims, inputs)
    )]
    Unresolved {
        /// The value.
        what: String,
        /// Names of unknown dimensions that may be to blame.
        dims: Vec<String>,
        /// Names of the model's inputs that it is computed from.
        inputs: Vec<String>,
    },
    /// An input is a sequence or an optional value, and nothing says what is in it.
    #[error(
        "how many tensors it holds must be known when the model is compiled: give `--items {0}=N` (0 or 1 for an optional \
         value), or their shapes, `--items {0}=[2,3][4,3]`"
    )]
    Items(String),
    /// A form of the operator that is not supported.
    #[error("{0} is not supported")]
    UnsupportedForm(String),
    /// The operands are not as the operator demands.
    #[error("{0}")]
    Invalid(String),
}

impl Fault {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Fault::Invalid(message.into())
    }

    pub(crate) fn unsupported(form: impl Into<String>) -> Self {
        Fault::UnsupportedForm(form.into())
    }

    pub(crate) fn attribute(name: &str, message: impl Into<String>) -> Self {
        Fault::Attribute { name: name.to_owned(), message: message.into() }
    }
}

/// What is wrong with the data of a tensor.
#[derive(Debug, Error)]
pub enum TensorError {
    /// A negative extent, too many dimensions, or more elements than can be addressed.
    #[error("shape {0:?} is not a valid tensor shape")]
    Shape(Vec<i64>),
    /// Another number of elements or bytes than the shape demands.
    #[error("shape {shape:?} of {dtype} takes {expected} {unit}, but {found} are stored")]
    Length {
        /// The extents.
        shape: Vec<i64>,
        /// The element type.
        dtype: &'static str,
        /// What the shape demands.
        expected: usize,
        /// What there is.
        found: usize,
        /// Elements or bytes.
        unit: &'static str,
    },
    /// An element type that is not supported.
    #[error("element type {0} is not supported")]
    DataType(String),
    /// An index of a sparse tensor that is outside or out of order.
    #[error("sparse index {0}")]
    SparseIndex(String),
    /// More memory than the size of the file justifies.
    #[error("{needed} bytes are needed, which the size of the file does not justify ({left} bytes are allowed)")]
    TooLarge {
        /// Bytes that are needed.
        needed: u64,
        /// Bytes that are left of the allowance.
        left: u64,
    },
    /// External data that may not or can't be read.
    #[error("external data: {0}")]
    External(String),
    /// A form of tensor that is not supported.
    #[error("{0}")]
    Form(&'static str),
}

fn known_dims(known: &[String]) -> String {
    match known {
        [] => "All dimensions of its inputs are constants.".to_owned(),
        _ => format!("Its dimensions are: {}.", known.join(", ")),
    }
}

fn hint(dims: &[String], inputs: &[String]) -> String {
    let mut text = String::new();
    if !dims.is_empty() {
        let options: Vec<String> = dims.iter().map(|d| format!("--dim {d}=N")).collect();
        text.push_str(&format!("; fix the unknown dimensions that it depends on: {}", options.join(" ")));
    }
    if !inputs.is_empty() {
        let options: Vec<String> = inputs.iter().map(|i| format!("--bind {i}=FILE.npy")).collect();
        text.push_str(&format!("; give the inputs that it depends on a constant value: {}", options.join(" ")));
    }
    text
}

fn unsupported_text(ops: &[UnsupportedOp], problems: &[Problem]) -> String {
    let mut kinds: Vec<&str> = ops.iter().map(|o| o.op.as_str()).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut text = format!("{} of the model's nodes are not supported:", ops.len());
    for op in ops {
        text.push_str(&format!("\n  {op}"));
    }
    text.push_str(&format!("\nExport the model without {}, or replace them by supported operators.", kinds.join(", ")));
    if !problems.is_empty() {
        text.push_str("\nBesides, ");
        text.push_str(&problems_text(problems));
    }
    text
}

fn problems_text(problems: &[Problem]) -> String {
    let mut text = match problems.len() {
        1 => "the model cannot be compiled:".to_owned(),
        n => format!("the model cannot be compiled, for {n} reasons:"),
    };
    for problem in problems {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.iter().any(|problem| matches!(problem.fault, Fault::Infer(_))) {
        text.push_str(
            "\nTypes and shapes follow from the model's inputs and weights. `onnx.checker.check_model` with `full_check` \
             tells whether the file is at fault, or its exporter; if it finds nothing, this is a defect of sparsec.",
        );
    }
    text
}
