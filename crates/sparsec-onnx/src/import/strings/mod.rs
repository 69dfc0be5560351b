//! Operators on texts.
//!
//! A tensor of texts has one axis more here than in the model, for the bytes ([`DType::String`]), so handlers of other operators, which
//! count axes, don't take it. Those that only move elements are run on the elements' positions instead ([`moves`]); the
//! others are kernels of their own.

mod labels;
mod moves;
mod pattern;
mod texts;

pub(super) use labels::label_encoder;

use sparsec_graph::{BinaryOp, DType, Dim, LoopsSpec, Op, TensorData, TensorType};
use sparsec_loops::{find_strings, resize_strings};

use super::context::{Context, Operand};
use super::node::Node;
use super::registry::Handler;
use super::{cast, elementwise, ngrams};
use crate::error::Fault;

/// What reads an operator one of whose operands holds texts.
pub(super) fn handler(domain: &str, op: &str) -> Option<Handler> {
    let table = match domain {
        "" => STANDARD,
        "ai.onnx.ml" => ML,
        _ => return None,
    };
    let found = table.iter().find(|(name, _)| *name == op).map(|(_, handler)| *handler);
    found.or_else(|| (domain.is_empty() && moves::MOVES.contains(&op)).then_some(moves::moved as Handler))
}

const ML: &[(&str, Handler)] = &[("LabelEncoder", labels::label_encoder)];

const STANDARD: &[(&str, Handler)] = &[
    ("Cast", cast::cast),
    ("Equal", texts::equal),
    ("Identity", elementwise::identity),
    ("RegexFullMatch", pattern::regex_full_match),
    ("Shape", moves::measured),
    ("Size", moves::measured),
    ("StringConcat", texts::concat),
    ("StringNormalizer", texts::normalizer),
    ("StringSplit", texts::split),
    ("TfIdfVectorizer", ngrams::tf_idf_vectorizer),
    ("Unique", texts::unique),
];

/// Operators of texts alone, which need none of their operands to be some to be known.
pub(super) const NAMES: &[&str] = &["RegexFullMatch", "StringConcat", "StringNormalizer", "StringSplit"];

/// For operators of texts whose operands are none.
pub(super) fn no_texts(_: &mut Context, node: &Node<'_>) -> Result<Vec<Operand>, Fault> {
    Err(Fault::invalid(format!("the operands of {} are texts", node.proto.op_type())))
}

impl Context {
    /// Whether an operand holds texts.
    pub(super) fn is_text(&self, x: Operand) -> bool {
        self.dtype(x) == DType::String
    }

    /// The shape of texts as the model has it.
    fn text_shape(&self, x: Operand) -> Vec<Dim> {
        let mut shape = self.shape(x);
        shape.pop();
        shape
    }

    /// How many bytes a text may have.
    fn text_width(&self, x: Operand) -> Dim {
        self.ty(x).shape.last().cloned().unwrap_or_else(|| Dim::constant(1))
    }

    /// The texts with other axes in front of the bytes.
    fn text_reshape(&mut self, x: Operand, mut shape: Vec<Dim>) -> Result<Operand, Fault> {
        shape.push(self.text_width(x));
        self.reshape(x, shape)
    }

    /// The texts one after the other.
    fn text_rows(&mut self, x: Operand) -> Result<Operand, Fault> {
        let count = Dim::product(&self.text_shape(x));
        self.text_reshape(x, vec![count])
    }

    /// The texts with room for so many bytes.
    fn text_widened(&mut self, x: Operand, width: &Dim) -> Result<Operand, Fault> {
        if self.text_width(x) == *width {
            return Ok(x);
        }
        let spec = resize_strings(self.ty(x), width);
        self.only(spec, &[x])
    }

    /// Texts in one shape, to which they broadcast.
    fn text_broadcast(&mut self, x: Operand, y: Operand) -> Result<[Operand; 2], Fault> {
        let shapes = [x, y].map(|x| TensorType::new(DType::I64, self.text_shape(x)));
        let ty = sparsec_graph::infer::infer_types(&Op::Binary(BinaryOp::Add), &[&shapes[0], &shapes[1]])?;
        let shape = ty.first().map(|ty| ty.shape.clone()).unwrap_or_default();
        let mut expand = |x: Operand| {
            if self.text_shape(x) == shape {
                return Ok(x);
            }
            let mut to = shape.clone();
            to.push(self.text_width(x));
            let mut from = vec![Dim::constant(1); to.len().saturating_sub(self.rank(x))];
            from.extend(self.shape(x));
            let x = self.reshape(x, from)?;
            self.append(Op::Expand(to), &[x])
        };
        Ok([expand(x)?, expand(y)?])
    }

    /// For each text its place among texts that are known, or their number; the shape is that of the texts.
    pub(super) fn text_places(&mut self, x: Operand, keys: &[&[u8]]) -> Result<Operand, Fault> {
        let keys = self.add_texts(&[keys.len()], keys)?;
        let spec = find_strings(self.ty(x), self.ty(keys));
        self.only(spec, &[x, keys])
    }

    /// Texts that are known.
    fn add_texts(&mut self, shape: &[usize], texts: &[&[u8]]) -> Result<Operand, Fault> {
        let width = texts.iter().map(|t| t.len()).max().unwrap_or(0).max(1);
        self.budget.take((width as u64).saturating_mul(texts.len() as u64))?;
        let name = self.node_name.clone();
        Ok(self.add_data(&name, TensorData::strings(shape, texts)))
    }

    /// The first result of an operator written as loops.
    pub(super) fn only(&mut self, spec: LoopsSpec, operands: &[Operand]) -> Result<Operand, Fault> {
        self.append_loops(spec, operands)?.first().copied().ok_or(Fault::MissingInput(0))
    }
}
