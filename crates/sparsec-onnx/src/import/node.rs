//! A node of the model as handlers see it: operands by position, attributes by name, checked.

use sparsec_graph::TensorData;

use super::context::{Context, Operand};
use crate::error::Fault;
use crate::proto::attribute_proto::AttributeType;
use crate::proto::{AttributeProto, GraphProto, NodeProto};
use crate::tensor;

/// A node with its operands resolved.
#[derive(Debug)]
pub(crate) struct Node<'a> {
    /// The node of the file.
    pub(crate) proto: &'a NodeProto,
    /// Operands; `None` where an optional one is left out.
    pub(crate) inputs: Vec<Option<Operand>>,
    /// The version of the operator set that its operator is of.
    pub(crate) opset: i64,
}

impl<'a> Node<'a> {
    /// A required operand.
    pub(crate) fn input(&self, index: usize) -> Result<Operand, Fault> {
        self.optional(index).ok_or(Fault::MissingInput(index))
    }

    /// An optional operand.
    pub(crate) fn optional(&self, index: usize) -> Option<Operand> {
        self.inputs.get(index).copied().flatten()
    }

    /// All operands, of which at least one must be there.
    pub(crate) fn all_inputs(&self) -> Result<Vec<Operand>, Fault> {
        if self.inputs.is_empty() {
            return Err(Fault::MissingInput(0));
        }
        (0..self.inputs.len()).map(|i| self.input(i)).collect()
    }

    /// Refuses operands beyond the first `count`.
    pub(crate) fn only_inputs(&self, count: usize) -> Result<(), Fault> {
        match self.inputs.len() > count {
            true => Err(Fault::invalid(format!("it takes {count} inputs, not {}", self.inputs.len()))),
            false => Ok(()),
        }
    }

    /// Whether result `index` is asked for.
    pub(crate) fn wants_output(&self, index: usize) -> bool {
        self.proto.output.get(index).is_some_and(|name| !name.is_empty())
    }

    /// Refuses results beyond the first `count`.
    pub(crate) fn only_outputs(&self, count: usize) -> Result<(), Fault> {
        match (count..self.proto.output.len()).find(|&i| self.wants_output(i)) {
            Some(i) => Err(Fault::unsupported(format!("result {i} of {}", self.proto.op_type()))),
            None => Ok(()),
        }
    }

    /// An attribute, where it is there and of one of these types.
    fn attribute(&self, name: &str, types: &[AttributeType]) -> Result<Option<&'a AttributeProto>, Fault> {
        let Some(attribute) = self.proto.attribute.iter().find(|a| a.name() == name) else { return Ok(None) };
        if !attribute.ref_attr_name().is_empty() {
            return Err(Fault::attribute(name, "refers to an attribute of a function"));
        }
        // Files of old IR versions may leave the type out.
        if attribute.r#type.is_some() && !types.contains(&attribute.r#type()) {
            return Err(Fault::attribute(name, format!("is of type {}", attribute.r#type().as_str_name())));
        }
        Ok(Some(attribute))
    }

    /// Whether an attribute is there.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.proto.attribute.iter().any(|a| a.name() == name)
    }

    /// An integer attribute.
    pub(crate) fn int(&self, name: &str) -> Result<Option<i64>, Fault> {
        Ok(self.attribute(name, &[AttributeType::Int])?.map(AttributeProto::i))
    }

    /// An integer attribute with its default.
    pub(crate) fn int_or(&self, name: &str, default: i64) -> Result<i64, Fault> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    /// A floating-point attribute.
    pub(crate) fn float(&self, name: &str) -> Result<Option<f32>, Fault> {
        Ok(self.attribute(name, &[AttributeType::Float])?.map(AttributeProto::f))
    }

    /// A floating-point attribute with its default.
    pub(crate) fn float_or(&self, name: &str, default: f32) -> Result<f64, Fault> {
        Ok(f64::from(self.float(name)?.unwrap_or(default)))
    }

    /// A list of integers.
    pub(crate) fn ints(&self, name: &str) -> Result<Option<&'a [i64]>, Fault> {
        Ok(self.attribute(name, &[AttributeType::Ints])?.map(|a| a.ints.as_slice()))
    }

    /// A list of floating-point numbers.
    pub(crate) fn floats(&self, name: &str) -> Result<Option<&'a [f32]>, Fault> {
        Ok(self.attribute(name, &[AttributeType::Floats])?.map(|a| a.floats.as_slice()))
    }

    /// A text.
    pub(crate) fn string(&self, name: &str) -> Result<Option<&'a str>, Fault> {
        let Some(attribute) = self.attribute(name, &[AttributeType::String])? else { return Ok(None) };
        let text = std::str::from_utf8(attribute.s()).map_err(|_| Fault::attribute(name, "is not UTF-8"))?;
        Ok(Some(text))
    }

    /// A list of texts.
    pub(crate) fn strings(&self, name: &str) -> Result<Option<Vec<&'a str>>, Fault> {
        let Some(attribute) = self.attribute(name, &[AttributeType::Strings])? else { return Ok(None) };
        let texts: Result<Vec<&str>, _> = attribute.strings.iter().map(|bytes| std::str::from_utf8(bytes)).collect();
        texts.map(Some).map_err(|_| Fault::attribute(name, "is not UTF-8"))
    }

    /// A graph.
    pub(crate) fn graph(&self, name: &str) -> Result<GraphProto, Fault> {
        let attribute = self.attribute(name, &[AttributeType::Graph])?;
        let graph = attribute.and_then(|a| a.g.as_ref()).ok_or_else(|| Fault::attribute(name, "is missing"))?;
        Ok(GraphProto::clone(graph))
    }

    /// A tensor.
    pub(crate) fn tensor(&self, name: &str, cx: &mut Context) -> Result<Option<TensorData>, Fault> {
        let Some(attribute) = self.attribute(name, &[AttributeType::Tensor])? else { return Ok(None) };
        let mut proto = attribute.t.clone().ok_or_else(|| Fault::attribute(name, "holds no tensor"))?;
        Ok(Some(tensor::read(&mut proto, &mut cx.files)?))
    }

    /// A sparse tensor, made dense.
    pub(crate) fn sparse_tensor(&self, name: &str, cx: &mut Context) -> Result<Option<TensorData>, Fault> {
        let Some(attribute) = self.attribute(name, &[AttributeType::SparseTensor])? else { return Ok(None) };
        let mut proto = attribute.sparse_tensor.clone().ok_or_else(|| Fault::attribute(name, "holds no tensor"))?;
        Ok(Some(crate::sparse::densify(&mut proto, &mut cx.files, &mut cx.budget)?))
    }

    /// A list of integers that newer operator sets pass as input `index` and older ones as an attribute.
    pub(crate) fn ints_input_or_attribute(
        &self,
        cx: &Context,
        index: usize,
        name: &str,
    ) -> Result<Option<Vec<i64>>, Fault> {
        match self.optional(index) {
            Some(x) => cx.const_ints(x, &format!("input {index} (`{name}`)")).map(Some),
            None => Ok(self.ints(name)?.map(<[i64]>::to_vec)),
        }
    }
}

/// An axis of a tensor of this rank, counted from the end where negative.
pub(crate) fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_start = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(from_start)
        .ok()
        .filter(|&a| a < rank)
        .ok_or_else(|| Fault::invalid(format!("axis {axis} is outside of a tensor of {rank} dimensions")))
}

/// Several axes, ascending, each at most once.
pub(crate) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, Fault> {
    let mut axes = list.iter().map(|&a| axis(a, rank)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    if axes.windows(2).any(|w| w[0] == w[1]) {
        return Err(Fault::invalid(format!("axes {list:?} name one axis twice")));
    }
    Ok(axes)
}
