//! `LabelEncoder`: values by keys, either of which may be texts.

use sparsec_graph::{DType, Op, TensorData};
use sparsec_loops::find_numbers;

use super::super::context::{Context, Operand};
use super::super::node::Node;
use crate::error::Fault;
use crate::tensor;

type Results = Result<Vec<Operand>, Fault>;

/// A list that attributes hold.
#[derive(Clone)]
enum List {
    Texts(Vec<Vec<u8>>),
    Numbers(TensorData),
}

impl List {
    /// The list under `prefix`, in whichever of the attributes it is.
    fn read(cx: &mut Context, node: &Node<'_>, prefix: &str) -> Result<Option<Self>, Fault> {
        let owned = |texts: Vec<&str>| List::Texts(texts.into_iter().map(|t| t.as_bytes().to_vec()).collect());
        if let Some(texts) = node.strings(&format!("{prefix}_strings"))? {
            return Ok(Some(owned(texts)));
        }
        if let Some(ints) = node.ints(&format!("{prefix}_int64s"))? {
            return Ok(Some(List::Numbers(TensorData::i64(&[ints.len()], ints.to_vec()))));
        }
        if let Some(floats) = node.floats(&format!("{prefix}_floats"))? {
            return Ok(Some(List::Numbers(TensorData::f32(&[floats.len()], floats.to_vec()))));
        }
        Ok(node.tensor(&format!("{prefix}_tensor"), cx)?.map(List::of))
    }

    fn of(data: TensorData) -> Self {
        if data.dtype != DType::String {
            return List::Numbers(TensorData { shape: vec![data.elements()], ..data });
        }
        List::Texts(data.as_strings().unwrap_or_default().into_iter().map(<[u8]>::to_vec).collect())
    }

    fn len(&self) -> usize {
        match self {
            List::Texts(texts) => texts.len(),
            List::Numbers(data) => data.elements(),
        }
    }

    fn dtype(&self) -> DType {
        match self {
            List::Texts(_) => DType::String,
            List::Numbers(data) => data.dtype,
        }
    }
}

/// `LabelEncoder`. Up to operator set 1 of its domain, texts and their places in a list are each other's values.
pub(in super::super) fn label_encoder(cx: &mut Context, node: &Node<'_>) -> Results {
    let x = node.input(0)?;
    let (keys, values) = match node.strings("classes_strings")? {
        Some(classes) => {
            let places = List::Numbers(TensorData::i64(&[classes.len()], (0..classes.len() as i64).collect()));
            let texts = List::Texts(classes.iter().map(|c| c.as_bytes().to_vec()).collect());
            if cx.is_text(x) { (texts, places) } else { (places, texts) }
        }
        None => {
            let missing = |name: &'static str| move || Fault::attribute(name, "are missing, in every spelling");
            let keys = List::read(cx, node, "keys")?.ok_or_else(missing("keys_*"))?;
            (keys, List::read(cx, node, "values")?.ok_or_else(missing("values_*"))?)
        }
    };
    if keys.len() != values.len() {
        return Err(Fault::invalid(format!("{} keys for {} values", keys.len(), values.len())));
    }
    if keys.dtype() != cx.dtype(x) {
        return Err(Fault::invalid(format!("keys of type {} for {}", keys.dtype(), cx.ty(x))));
    }
    let places = match &keys {
        List::Texts(texts) => cx.text_places(x, &texts.iter().map(Vec::as_slice).collect::<Vec<_>>())?,
        List::Numbers(data) => {
            let name = cx.node_name.clone();
            let keys = cx.add_data(&name, data.clone());
            let spec = find_numbers(cx.ty(x), cx.ty(keys));
            cx.only(spec, &[x, keys])?
        }
    };
    let table = table(cx, node, values)?;
    Ok(vec![cx.append(Op::Gather { axis: 0 }, &[table, places])?])
}

/// The values and, behind them, what stands for all other keys.
fn table(cx: &mut Context, node: &Node<'_>, values: List) -> Result<Operand, Fault> {
    let given = node.tensor("default_tensor", cx)?.map(List::of);
    let count = values.len();
    match values {
        List::Texts(texts) => {
            let default = match given {
                Some(List::Texts(given)) => given.into_iter().next().unwrap_or_default(),
                Some(List::Numbers(_)) => return Err(Fault::attribute("default_tensor", "is no text")),
                None => node.string("default_string")?.unwrap_or("_Unused").as_bytes().to_vec(),
            };
            let all: Vec<&[u8]> = texts.iter().chain([&default]).map(Vec::as_slice).collect();
            cx.add_texts(&[count + 1], &all)
        }
        List::Numbers(data) => {
            let dtype = data.dtype;
            let default = match given {
                Some(List::Numbers(given)) if given.dtype == dtype && given.elements() == 1 => given,
                Some(_) => return Err(Fault::attribute("default_tensor", format!("is not one {dtype}"))),
                None if dtype.is_float() => tensor::scalar(dtype, node.float_or("default_float", -0.0)?),
                None => tensor::scalar(dtype, node.int_or("default_int64", -1)? as f64),
            };
            let bytes = [data.bytes.as_ref(), default.bytes.as_ref()].concat();
            cx.budget.take(bytes.len() as u64)?;
            let name = cx.node_name.clone();
            Ok(cx.add_data(&name, TensorData { dtype, shape: vec![count + 1], bytes: bytes.into() }))
        }
    }
}
