//! Operators that move texts without looking at them.
//!
//! Elements that are moved may be anything, so the operator moves numbers: the positions of all texts of its operands. Then the
//! texts are gathered by the positions that came out. So attributes, axes and shapes mean what they do for numbers.

use sparsec_graph::{BinaryOp, DType, Dim, Op};

use super::super::context::{Context, Operand};
use super::super::node::Node;
use super::super::registry;
use crate::error::Fault;

type Results = Result<Vec<Operand>, Fault>;

/// Operators of the standard domain whose results are elements of those operands that are texts.
pub(super) const MOVES: &[&str] = &[
    "Compress",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "OneHot",
    "Pad",
    "Reshape",
    "ReverseSequence",
    "ScatterElements",
    "ScatterND",
    "Slice",
    "SpaceToDepth",
    "Split",
    "SplitToSequence",
    "Squeeze",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Reads an operator of [`MOVES`].
pub(super) fn moved(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = node.proto.op_type();
    if op == "Pad" && node.optional(2).is_none() && node.string("mode")?.is_none_or(|mode| mode == "constant") {
        return Err(Fault::unsupported("padding of texts with no text"));
    }
    if op.starts_with("Scatter") && node.string("reduction")?.is_some_and(|reduction| reduction != "none") {
        return Err(Fault::invalid("texts are not reduced"));
    }
    let widths = node.inputs.iter().flatten().filter(|&&x| cx.is_text(x)).map(|&x| cx.text_width(x));
    let width = widths.reduce(|a, b| a.maximum(&b)).unwrap_or_else(|| Dim::constant(1));
    let (mut inputs, mut rows, mut before) = (node.inputs.clone(), Vec::new(), Dim::constant(0));
    for input in inputs.iter_mut().flatten() {
        if !cx.is_text(*input) {
            continue;
        }
        let texts = cx.text_rows(*input)?;
        rows.push(cx.text_widened(texts, &width)?);
        let shape = cx.text_shape(*input);
        let count = Dim::product(&shape);
        let mut positions = cx.iota(DType::I64, &count, 1, 0)?;
        if !before.is(0) {
            let start = cx.int_vector(vec![before.clone()])?;
            positions = cx.binary(BinaryOp::Add, positions, start)?;
        }
        *input = cx.reshape(positions, shape)?;
        before = before + count;
    }
    let all = match rows.as_slice() {
        [only] => *only,
        rows => cx.append(Op::Concat { axis: 0 }, rows)?,
    };
    let handler = registry::handler("", op).ok_or_else(|| Fault::unsupported(op))?;
    let results = handler(cx, &Node { proto: node.proto, inputs, opset: node.opset })?;
    let gather = |cx: &mut Context, positions| cx.append(Op::Gather { axis: 0 }, &[all, positions]);
    let mut texts = Vec::new();
    for result in results {
        texts.push(match cx.sequence(result).map(<[Operand]>::to_vec) {
            None => gather(cx, result)?,
            Some(items) => {
                let items = items.into_iter().map(|item| gather(cx, item)).collect::<Result<_, _>>()?;
                cx.add_sequence(items)
            }
        });
    }
    Ok(texts)
}

/// `Shape` and `Size`: as of numbers.
pub(super) fn measured(cx: &mut Context, node: &Node<'_>) -> Results {
    let op = node.proto.op_type();
    let shape = cx.text_shape(node.input(0)?);
    let stand_in = cx.scalar(DType::I64, 0.0);
    let stand_in = cx.append(Op::Expand(shape), &[stand_in])?;
    let handler = registry::handler("", op).ok_or_else(|| Fault::unsupported(op))?;
    handler(cx, &Node { proto: node.proto, inputs: vec![Some(stand_in)], opset: node.opset })
}
