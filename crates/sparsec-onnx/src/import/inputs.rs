//! Graph inputs and the names of their dimensions.
//!
//! A dimension is a number, a name, or unknown. A name becomes a symbol, an expression over names (`past + 1`) an
//! expression over symbols, and an unknown dimension a symbol of its own: `dim0`, `dim1`, ... Names that are no
//! identifiers are made into such.

use std::collections::{BTreeMap, BTreeSet};

use sparsec_graph::{DType, Dim, Symbol, TensorType};

use super::Import;
use super::multiples::Multiples;
use crate::error::{Fault, OnnxError, Place};
use crate::proto::tensor_shape_proto::dimension::Value;
use crate::proto::{GraphProto, ValueInfoProto, type_proto};
use crate::{Options, tensor};

impl Import {
    /// Adds the graph inputs that are not initializers: those of old files are constants with a declaration.
    pub(super) fn inputs(
        &mut self,
        graph: &GraphProto,
        options: &Options,
        multiples: &Multiples,
    ) -> Result<(), OnnxError> {
        if let Some((name, &value)) = options.dims.iter().find(|(_, v)| **v < 0) {
            return Err(OnnxError::NegativeDim { name: name.clone(), value });
        }
        let mut symbols = Symbols::new(graph, options, multiples);
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
            let operand = input_type(input, &mut symbols).and_then(|ty| self.cx.add_input(name, ty));
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
    let shape = tensor.shape.as_ref().ok_or_else(|| Fault::invalid("no shape is declared, not even its rank"))?;
    let mut dims: Vec<Dim> = shape.dim.iter().map(|d| symbols.dim(d.value.as_ref())).collect();
    let dtype = tensor::dtype(tensor.elem_type())?;
    if dtype == DType::String {
        dims.push(symbols.named(&format!("{}_bytes", identifier(input.name()))));
    }
    Ok(TensorType::new(dtype, dims))
}

/// Names of dimensions.
struct Symbols {
    bound: BTreeMap<String, i64>,
    /// What stands for names that are multiples.
    multiples: BTreeMap<Symbol, Dim>,
    /// Names that unknown dimensions must not take.
    taken: BTreeSet<String>,
    /// Names that may be bound.
    met: BTreeSet<String>,
    fresh: usize,
}

impl Symbols {
    fn new(graph: &GraphProto, options: &Options, multiples: &Multiples) -> Self {
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
            multiples: multiples
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
        dim.substitute(&bound).substitute(&self.multiples)
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
