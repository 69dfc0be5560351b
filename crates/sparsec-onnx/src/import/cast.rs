//! Conversions of the element type.

use sparsec_graph::{DType, Op, Specials, TensorType};
use sparsec_loops::{parse_numbers, powers_of_ten};

use super::context::{Context, Operand};
use super::node::Node;
use super::symbolic;
use crate::error::Fault;
use crate::proto::tensor_proto::DataType;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// `Cast`.
pub(super) fn cast(cx: &mut Context, node: &Node<'_>) -> Results {
    let to = if node.opset < 6 && node.has("to") && node.int("to").is_err() {
        // Operator sets before 6 had the type by name.
        let name = node.string("to")?.unwrap_or_default();
        DataType::from_str_name(name).ok_or_else(|| Fault::attribute("to", format!("is `{name}`")))? as i64
    } else {
        node.int("to")?.ok_or_else(|| Fault::attribute("to", "is missing"))?
    };
    let to = tensor::dtype(i32::try_from(to).unwrap_or(-1))?;
    convert(cx, node, to)
}

/// `CastLike`: the type of another operand.
pub(super) fn cast_like(cx: &mut Context, node: &Node<'_>) -> Results {
    let to = cx.dtype(node.input(1)?);
    convert(cx, node, to)
}

fn convert(cx: &mut Context, node: &Node<'_>, to: DType) -> Results {
    let x = node.input(0)?;
    if cx.is_text(x) {
        return Ok(vec![number_of_text(cx, x, to)?]);
    }
    if to == DType::String {
        return Err(Fault::unsupported("writing numbers as text"));
    }
    if let Some(mode) = node.string("round_mode")?
        && mode != "up"
        && to == DType::F8E8M0
    {
        return Err(Fault::unsupported(format!("rounding `{mode}` to {to}")));
    }
    let x = if node.int_or("saturate", 1)? != 0 { saturated(cx, x, to)? } else { x };
    Ok(vec![cast_to(cx, x, to)?])
}

/// The numbers that texts are; text stays as it is.
fn number_of_text(cx: &mut Context, x: Operand, to: DType) -> Result<Operand, Fault> {
    if to == DType::String {
        return Ok(x);
    }
    if !to.is_number() {
        return Err(Fault::unsupported(format!("reading {to} out of texts")));
    }
    let name = cx.node_name.clone();
    let powers = cx.add_data(&name, powers_of_ten());
    let results = cx.append_loops(parse_numbers(cx.ty(x)), &[x, powers])?;
    let number = results.get(usize::from(!to.is_float())).copied().ok_or(Fault::MissingInput(0))?;
    cx.cast(number, to)
}

/// The numbers limited to the range of a small float, where the conversion would give infinity or NaN.
pub(super) fn saturated(cx: &mut Context, x: Operand, to: DType) -> Result<Operand, Fault> {
    let Some(format) = to.small_float() else { return Ok(x) };
    // The other formats saturate by themselves.
    if cx.dtype(x) == to || matches!(format.specials, Specials::Nothing | Specials::Exponent) {
        return Ok(x);
    }
    let from = cx.dtype(x);
    let float = match from {
        _ if from.is_float() => from,
        _ if from.is_int() && from.size() > 2 => DType::F64,
        _ => DType::F32,
    };
    let x = cast_to(cx, x, float)?;
    cx.append(Op::Clip { lo: -format.max(), hi: format.max() }, &[x])
}

/// An operand as another element type.
pub(super) fn cast_to(cx: &mut Context, x: Operand, to: DType) -> Result<Operand, Fault> {
    if cx.dtype(x) == to {
        return Ok(x);
    }
    if let Some(ints) = cx.ints(x)
        && matches!(to, DType::I32 | DType::I64)
        && ints.iter().all(symbolic::is_tame)
    {
        return cx.add_ints(TensorType::new(to, cx.shape(x)), ints.to_vec());
    }
    cx.append(Op::Cast(to), &[x])
}
