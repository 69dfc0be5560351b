//! Graph inputs and the names of their dimensions.
//!
//! A dimension is a number, a name, or unknown. A name becomes a symbol, an expression over names (`past + 1`) an
//! expression over symbols, and an unknown dimension a symbol of its own: `dim0`, `dim1`, ... Names that are no
//! identifiers are made into such.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::{DType, Dim, Symbol, TensorType};

use super::Import;
use super::assumed::Assumed;
use super::context::Operand;
use crate::error::{Fault, OnnxError, Place};
use crate::proto::tensor_shape_proto::Dimension;
use crate::proto::tensor_shape_proto::dimension::Value;
use crate::proto::{GraphProto, TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use crate::{Options, tensor};

impl Import {
    /// Adds the graph inputs that are not initializers: those of old files are constants with a declaration.
    pub(super) fn inputs(&mut self, graph: &GraphProto, options: &Options, assumed: &Assumed) -> Result<(), OnnxError> {
        if let Some((name, &value)) = options.dims.iter().find(|(_, v)| **v < 0) {
            return Err(OnnxError::NegativeDim { name: name.clone(), value });
        }
        let mut symbols = Symbols::new(graph, options, assumed);
        self.known_items(graph, options, &mut symbols)?;
        self.bound_inputs(graph, options, &mut symbols)?;
        for input in &graph.input {
            let name = input.name();
            if self.names.contains_key(name)
                && self.cx.graph.inputs().iter().all(|&v| self.cx.graph.value(v).name != name)
            {
                continue;
            }
            if name.is_empty() {
                self.report(Place::Input(String::new()), Fault::Unnamed);
                continue;
            }
            let operand = match items_type(input) {
                Some(items) => self.items(name, &items, options, &mut symbols),
                None => input_type(input, &mut symbols).and_then(|ty| self.cx.add_input(name, ty)),
            };
            let defined = self.define(name, operand.as_ref().ok().copied());
            if let Err(fault) = operand.and(defined) {
                self.report(Place::Input(name.to_owned()), fault);
            }
        }
        let unknown = options.dims.keys().find(|name| !symbols.met.contains(&identifier(name)));
        match unknown {
            // Where an input could not be read, its names are not known either.
            Some(name) if self.problems.is_empty() => {
                Err(OnnxError::UnknownDim { name: name.clone(), known: symbols.met.into_iter().collect() })
            }
            _ => Ok(()),
        }
    }

    /// Binds names of extents on which the tensors of a sequence agree.
    fn known_items(&mut self, graph: &GraphProto, options: &Options, symbols: &mut Symbols) -> Result<(), OnnxError> {
        for (name, items) in &options.items {
            let found = |input: &&ValueInfoProto| input.name() == name && items_type(input).is_some();
            let Some(input) = graph.input.iter().find(found) else {
                let known = graph.input.iter().filter(|i| items_type(i).is_some()).map(|i| i.name().to_owned());
                return Err(OnnxError::UnknownInput { name: name.clone(), known: known.collect() });
            };
            let declared = items_type(input).and_then(|items| items.tensor.shape.as_ref());
            let extents: Option<Vec<&Vec<i64>>> = items.iter().map(Option::as_ref).collect();
            let (Some(declared), Some(extents)) = (declared, extents) else { continue };
            for (axis, dim) in declared.dim.iter().enumerate() {
                let Some(Value::DimParam(name)) = &dim.value else { continue };
                let mut all = extents.iter().map(|shape| shape.get(axis).copied());
                let first = all.next().flatten();
                if let Some(value) = first.filter(|_| all.all(|other| other == first) && is_identifier(name.trim())) {
                    symbols.met.insert(identifier(name));
                    symbols.bound.entry(identifier(name)).or_insert(value);
                }
            }
        }
        Ok(())
    }

    /// The tensors of an input that is a sequence or an optional value.
    fn items(
        &mut self,
        name: &str,
        ty: &ItemsType<'_>,
        options: &Options,
        symbols: &mut Symbols,
    ) -> Result<Operand, Fault> {
        let items = options.items.get(name).ok_or_else(|| Fault::Items(name.to_owned()))?;
        if !ty.is_sequence && items.len() > 1 {
            return Err(Fault::invalid(format!("{} tensors for an optional one", items.len())));
        }
        let mut operands = Vec::new();
        for (i, item) in items.iter().enumerate() {
            let port = if ty.is_sequence { format!("{name}.{i}") } else { name.to_owned() };
            let ty = match item {
                None => tensor_type(&port, ty.tensor, symbols)?,
                Some(extents) => {
                    let fits = |shape: &TensorShapeProto| {
                        let fixed = |d: &Dimension| match d.value {
                            Some(Value::DimValue(n)) => Some(n),
                            _ => None,
                        };
                        let agrees = |(d, n): (_, &i64)| fixed(d).is_none_or(|fixed| fixed == *n);
                        shape.dim.len() == extents.len() && shape.dim.iter().zip(extents).all(agrees)
                    };
                    // Exporters write no extents at all where nothing is known.
                    let declared = ty.tensor.shape.as_ref().filter(|shape| !shape.dim.is_empty());
                    if !declared.is_none_or(fits) || extents.iter().any(|&n| n < 0) {
                        return Err(Fault::invalid(format!(
                            "tensor {i} has the shape {extents:?}, which the model does not take"
                        )));
                    }
                    let dims = extents.iter().map(|&n| Dim::constant(n)).collect();
                    with_bytes(&port, tensor::dtype(ty.tensor.elem_type())?, dims, symbols)
                }
            };
            operands.push(self.cx.add_input(&port, ty)?);
        }
        match operands.as_slice() {
            [only] if !ty.is_sequence => Ok(*only),
            _ => Ok(self.cx.add_sequence(operands)),
        }
    }

    /// Makes constants of the inputs that have a value, which must be of the declared type.
    fn bound_inputs(&mut self, graph: &GraphProto, options: &Options, symbols: &mut Symbols) -> Result<(), OnnxError> {
        for (name, data) in &options.bind {
            let is_free = |input: &&ValueInfoProto| !self.names.contains_key(input.name());
            let Some(input) = graph.input.iter().filter(is_free).find(|input| input.name() == name) else {
                let known = graph.input.iter().filter(is_free).map(|input| input.name().to_owned()).collect();
                return Err(OnnxError::UnknownInput { name: name.clone(), known });
            };
            let ty = input_type(input, symbols).and_then(|ty| symbols.unify(&ty, &data.ty()));
            let operand = ty.map(|()| self.cx.add_data(name, data.clone()));
            let defined = self.define(name, operand.as_ref().ok().copied());
            if let Err(fault) = operand.and(defined) {
                self.report(Place::Input(name.clone()), fault);
            }
        }
        Ok(())
    }
}

fn input_type(input: &ValueInfoProto, symbols: &mut Symbols) -> Result<TensorType, Fault> {
    let value = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let tensor = match value {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        Some(_) => return Err(Fault::unsupported("a type other than a dense tensor")),
        None => return Err(Fault::invalid("no type is declared")),
    };
    tensor_type(input.name(), tensor, symbols)
}

/// What a sequence or an optional value holds.
struct ItemsType<'a> {
    tensor: &'a type_proto::Tensor,
    is_sequence: bool,
}

/// The type of the tensors of an input that is a sequence or an optional value; `None` for all others.
fn items_type(input: &ValueInfoProto) -> Option<ItemsType<'_>> {
    fn within(ty: &TypeProto, is_sequence: bool) -> Option<ItemsType<'_>> {
        match ty.value.as_ref()? {
            type_proto::Value::TensorType(tensor) => Some(ItemsType { tensor, is_sequence }),
            type_proto::Value::SequenceType(sequence) if !is_sequence => within(sequence.elem_type.as_deref()?, true),
            _ => None,
        }
    }
    match input.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::SequenceType(sequence) => within(sequence.elem_type.as_deref()?, true),
        type_proto::Value::OptionalType(optional) => within(optional.elem_type.as_deref()?, false),
        _ => None,
    }
}

fn tensor_type(name: &str, tensor: &type_proto::Tensor, symbols: &mut Symbols) -> Result<TensorType, Fault> {
    let shape = tensor.shape.as_ref().ok_or_else(|| Fault::invalid("no shape is declared, not even its rank"))?;
    let dims: Vec<Dim> = shape.dim.iter().map(|d| symbols.dim(d.value.as_ref())).collect();
    Ok(with_bytes(name, tensor::dtype(tensor.elem_type())?, dims, symbols))
}

/// A type with the axis that the bytes of texts take.
fn with_bytes(name: &str, dtype: DType, mut dims: Vec<Dim>, symbols: &mut Symbols) -> TensorType {
    if dtype == DType::String {
        dims.push(symbols.named(&format!("{}_bytes", identifier(name))));
    }
    TensorType::new(dtype, dims)
}

/// Names of dimensions.
struct Symbols {
    bound: BTreeMap<String, i64>,
    /// What stands for names that are equal to others.
    equal: BTreeMap<Symbol, Dim>,
    /// What stands for names that are multiples.
    multiples: BTreeMap<Symbol, Dim>,
    /// Names that unknown dimensions must not take.
    taken: BTreeSet<String>,
    /// Names that may be bound.
    met: BTreeSet<String>,
    fresh: usize,
}

impl Symbols {
    fn new(graph: &GraphProto, options: &Options, assumed: &Assumed) -> Self {
        let mut taken = BTreeSet::new();
        for input in &graph.input {
            let Some(type_proto::Value::TensorType(tensor)) = input.r#type.as_ref().and_then(|t| t.value.as_ref())
            else {
                continue;
            };
            for dim in tensor.shape.iter().flat_map(|s| &s.dim) {
                if let Some(Value::DimParam(name)) = &dim.value {
                    parse(name).collect_symbols(&mut taken);
                }
            }
        }
        let taken = taken.iter().map(|s| s.name().to_owned()).collect();
        Symbols {
            bound: options.dims.iter().map(|(name, &v)| (identifier(name), v)).collect(),
            equal: assumed.equal.clone(),
            multiples: assumed
                .multiples
                .iter()
                .map(|(name, &times)| {
                    let part = Dim::sym(&free(&taken, &format!("{name}_per_{times}")));
                    (Symbol::new(name), part * Dim::constant(times))
                })
                .collect(),
            taken,
            met: BTreeSet::new(),
            fresh: 0,
        }
    }

    /// A symbol that the model does not name, such as the bytes of a text.
    fn named(&mut self, name: &str) -> Dim {
        let name = free(&self.taken, name);
        self.taken.insert(name.clone());
        self.bound_or(Dim::sym(&name))
    }

    fn dim(&mut self, value: Option<&Value>) -> Dim {
        let dim = match value {
            Some(Value::DimValue(n)) if *n >= 0 => return Dim::constant(*n),
            // `?` stands for an extent that nobody named: two of them need not be equal.
            Some(Value::DimParam(name)) if !matches!(name.trim(), "" | "?") => parse(name),
            _ => self.fresh(),
        };
        self.bound_or(dim)
    }

    /// An extent with what is known of its names.
    fn bound_or(&mut self, dim: Dim) -> Dim {
        let mut symbols = BTreeSet::new();
        dim.collect_symbols(&mut symbols);
        self.met.extend(symbols.iter().map(|s| s.name().to_owned()));
        let bound: BTreeMap<Symbol, Dim> =
            self.bound.iter().map(|(n, &v)| (Symbol::new(n), Dim::constant(v))).collect();
        dim.substitute(&bound).substitute(&self.equal).substitute(&self.multiples)
    }

    /// Binds the names in a declared type to the extents of a value of it.
    fn unify(&mut self, declared: &TensorType, found: &TensorType) -> Result<(), Fault> {
        let misfit = || Fault::invalid(format!("the value to bind is {found}, the model takes {declared}"));
        if declared.dtype != found.dtype || declared.rank() != found.rank() {
            return Err(misfit());
        }
        for (dim, extent) in declared.shape.iter().zip(&found.shape) {
            let bound = |s: &Symbol| self.bound.get(s.name()).map(|&v| (s.clone(), Dim::constant(v)));
            let mut names = BTreeSet::new();
            dim.collect_symbols(&mut names);
            let dim = dim.substitute(&names.iter().filter_map(bound).collect());
            match (dim.as_const(), extent.as_const()) {
                (Some(a), Some(b)) if a != b => return Err(misfit()),
                (None, Some(value)) => {
                    if let Some(name) = names.iter().find(|s| dim == Dim::sym(s.name())) {
                        self.bound.insert(name.name().to_owned(), value);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn fresh(&mut self) -> Dim {
        loop {
            let name = format!("dim{}", self.fresh);
            self.fresh += 1;
            if !self.taken.contains(&name) {
                return Dim::sym(&name);
            }
        }
    }
}

/// A name that is not taken.
fn free(taken: &BTreeSet<String>, name: &str) -> String {
    let mut name = name.to_owned();
    while taken.contains(&name) {
        name.push('_');
    }
    name
}

/// A sum or difference of names and numbers (`past + 1`), or else one symbol.
fn parse(name: &str) -> Dim {
    sum(name).unwrap_or_else(|| Dim::sym(&identifier(name)))
}

fn sum(name: &str) -> Option<Dim> {
    if name.len() > 64 {
        return None;
    }
    let mut total = Dim::constant(0);
    for (i, positive) in name.split('+').enumerate() {
        // A minus sign without spaces around it is part of a name, as in `batch-size`.
        for (j, term) in positive.split(" - ").map(str::trim).enumerate() {
            let value = match term.parse::<u32>() {
                Ok(n) => Dim::constant(i64::from(n)),
                Err(_) if is_identifier(term) => Dim::sym(&identifier(term)),
                Err(_) => return None,
            };
            // `2` alone is no name: a number is only part of a sum.
            if i == 0 && j == 0 && value.as_const().is_some() && !name.contains('+') {
                return None;
            }
            total = if j == 0 { total + value } else { total - value };
        }
    }
    Some(total)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A name that the text form can hold: letters, digits and underscores, and no word that it gives another meaning.
fn identifier(name: &str) -> String {
    let name = name.trim();
    let mut text: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).take(64).collect();
    if !is_identifier(&text) || matches!(text.as_str(), "floordiv" | "min" | "max") {
        text.insert(0, '_');
    }
    text
}
