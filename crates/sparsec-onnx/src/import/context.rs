//! The graph under construction, as handlers of operators see it.
//!
//! What a name of the model stands for is an [`Operand`]. It becomes a value of the graph only when a node needs it
//! there: weights that only name a shape, and integers that are computed from shapes, never do. Such integers are kept
//! as expressions over the symbols ([`Context::ints`]), which is how `Shape -> Gather -> Concat -> Reshape` turns into
//! one `reshape` with an attribute.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use sparsec_graph::{DType, Dim, Graph, LoopsSpec, Node, Op, Symbol, TensorData, TensorType, ValueId};

use crate::error::Fault;
use crate::external::ExternalFiles;
use crate::sparse::Budget;
use crate::tensor::{self, MAX_RANK};

/// Most integers of one tensor that are followed through shape computations.
const MAX_INTS: usize = 1024;

/// Most symbols, with multiplicity, in one extent: shape arithmetic may not grow without bound.
const MAX_WEIGHT: usize = 256;

/// A tensor that handlers work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Operand(usize);

#[derive(Debug)]
struct Slot {
    ty: TensorType,
    source: Source,
    /// The elements, where they are known integers.
    ints: Option<Rc<[Dim]>>,
}

#[derive(Debug)]
enum Source {
    /// A value of the graph of this level: 0 is the model's, the next is the one within it.
    Value(usize, ValueId),
    /// A constant by name that no node has needed yet.
    Data(String, TensorData),
    /// Known integers that no node has needed yet as a tensor.
    Ints,
    /// Tensors in a row; none for an optional tensor that is not there.
    Sequence(Vec<Operand>),
}

/// A graph around the one that is under construction.
#[derive(Debug)]
struct Outer {
    graph: Graph,
    values: BTreeMap<Operand, ValueId>,
    captured: Vec<Operand>,
}

/// A graph within the graph, and what it reads from outside, for which it has inputs behind its own.
#[derive(Debug)]
pub(crate) struct Nested {
    pub(crate) graph: Graph,
    pub(crate) captured: Vec<Operand>,
}

/// The graph under construction.
#[derive(Debug)]
pub(crate) struct Context {
    /// The graph.
    pub(crate) graph: Graph,
    /// Memory that may still be taken for constants that are not in the file.
    pub(crate) budget: Budget,
    /// Files beside the model.
    pub(crate) files: ExternalFiles,
    /// Name of the model's node that is being imported: what is appended carries it.
    pub(crate) node_name: String,
    /// Whether extents that differ are left to the run to compare.
    pub(super) reconciles: bool,
    slots: Vec<Slot>,
    /// Names of symbols that were made here.
    found: BTreeSet<String>,
    /// The graphs around the one under construction, the model's first.
    outer: Vec<Outer>,
    /// What entered the graph under construction when a node needed it there.
    values: BTreeMap<Operand, ValueId>,
    /// Values of the graphs around that the one under construction has inputs for.
    captured: Vec<Operand>,
}

impl Context {
    /// A context with an empty graph.
    pub(crate) fn new(name: &str, files: ExternalFiles, budget: Budget) -> Self {
        Context {
            graph: Graph::new(name),
            budget,
            files,
            node_name: String::new(),
            reconciles: false,
            slots: Vec::new(),
            found: BTreeSet::new(),
            outer: Vec::new(),
            values: BTreeMap::new(),
            captured: Vec::new(),
        }
    }

    /// Begins a graph within the graph: what is appended goes there until [`Context::end_nested`].
    pub(crate) fn begin_nested(&mut self, name: &str) {
        self.outer.push(Outer {
            graph: std::mem::replace(&mut self.graph, Graph::new(name)),
            values: std::mem::take(&mut self.values),
            captured: std::mem::take(&mut self.captured),
        });
    }

    /// An input of the graph within the graph; those of captured values must come later.
    pub(crate) fn nested_input(&mut self, name: &str, ty: TensorType) -> Result<Operand, Fault> {
        check_type(&ty)?;
        let value = self.graph.add_input(name, ty.clone());
        Ok(self.push(ty, Source::Value(self.outer.len(), value), None))
    }

    /// Has an input for an operand of a graph around, used or not.
    pub(crate) fn capture(&mut self, x: Operand) -> ValueId {
        let (ty, name) = (self.ty(x).clone(), format!("captured.{}", self.captured.len()));
        let value = self.graph.add_input(name, ty);
        self.captured.push(x);
        self.values.insert(x, value);
        value
    }

    /// What an input of the graph under construction stands for, where that is a value of the graphs around.
    pub(super) fn captured_as(&self, input: ValueId) -> Option<Operand> {
        self.captured.iter().copied().find(|x| self.values.get(x) == Some(&input))
    }

    /// Ends the graph within the graph, whose outputs are these.
    ///
    /// # Errors
    /// Where an output can't be a value; the graph has ended then, too.
    pub(crate) fn end_nested(&mut self, outputs: &[Operand]) -> Result<Nested, Fault> {
        let values: Result<Vec<ValueId>, Fault> = outputs.iter().map(|&x| self.value(x)).collect();
        let nested = self.abandon_nested();
        let mut nested = nested.ok_or_else(|| Fault::invalid("a graph ends that has not begun"))?;
        for (i, value) in values?.into_iter().enumerate() {
            nested.graph.add_output(format!("output.{i}"), value);
        }
        Ok(nested)
    }

    /// Ends the graph within the graph as it is.
    pub(crate) fn abandon_nested(&mut self) -> Option<Nested> {
        let outer = self.outer.pop()?;
        self.values = outer.values;
        let captured = std::mem::replace(&mut self.captured, outer.captured);
        Some(Nested { graph: std::mem::replace(&mut self.graph, outer.graph), captured })
    }

    /// How many graphs are around the one under construction.
    pub(crate) fn level(&self) -> usize {
        self.outer.len()
    }

    /// The graph of a level.
    fn graph_of(&self, level: usize) -> &Graph {
        self.outer.get(level).map_or(&self.graph, |outer| &outer.graph)
    }

    /// Tensors in a row.
    pub(crate) fn add_sequence(&mut self, items: Vec<Operand>) -> Operand {
        self.push(TensorType::fixed(DType::F32, &[0]), Source::Sequence(items), None)
    }

    /// The tensors of an operand that is a sequence.
    pub(crate) fn sequence(&self, x: Operand) -> Option<&[Operand]> {
        match &self.slots[x.0].source {
            Source::Sequence(items) => Some(items),
            _ => None,
        }
    }

    /// The type of an operand.
    pub(crate) fn ty(&self, x: Operand) -> &TensorType {
        &self.slots[x.0].ty
    }

    /// The extents of an operand.
    pub(crate) fn shape(&self, x: Operand) -> Vec<Dim> {
        self.ty(x).shape.clone()
    }

    /// The number of dimensions of an operand.
    pub(crate) fn rank(&self, x: Operand) -> usize {
        self.ty(x).rank()
    }

    /// The element type of an operand.
    pub(crate) fn dtype(&self, x: Operand) -> DType {
        self.ty(x).dtype
    }

    /// The data of an operand that is a constant of the file.
    pub(crate) fn constant(&self, x: Operand) -> Option<&TensorData> {
        match &self.slots[x.0].source {
            Source::Value(level, value) => self.graph_of(*level).constant(*value).map(|c| &c.data),
            Source::Data(_, data) => Some(data),
            Source::Ints | Source::Sequence(_) => None,
        }
    }

    /// The value that an operand is, where it is one by now, and the graph that has it.
    pub(super) fn graph_value(&self, x: Operand) -> Option<(&Graph, ValueId)> {
        match &self.slots[x.0].source {
            Source::Value(level, value) => Some((self.graph_of(*level), *value)),
            _ => None,
        }
    }

    /// The only element of a constant operand.
    pub(crate) fn number(&self, x: Operand) -> Option<f64> {
        match self.constant(x) {
            Some(data) => tensor::scalar_value(data),
            None => match self.ints(x).as_deref() {
                Some([only]) => only.as_const().map(|v| v as f64),
                Some(_) => None,
                None => tensor::scalar_value(&self.folded(x)?),
            },
        }
    }

    /// The elements of an operand, where they are known integers (or truth values, as 0 and 1).
    pub(crate) fn ints(&self, x: Operand) -> Option<Rc<[Dim]>> {
        let slot = &self.slots[x.0];
        if slot.ints.is_some() {
            return slot.ints.clone();
        }
        let data = self.constant(x)?;
        if data.elements() > MAX_INTS || data.dtype.is_float() {
            return None;
        }
        Some(data.as_i64()?.into_iter().map(Dim::constant).collect())
    }

    /// Known integers that must be expressions over the symbols at most.
    pub(crate) fn dims(&self, x: Operand, what: &str) -> Result<Vec<Dim>, Fault> {
        match self.ints(x) {
            Some(ints) => Ok(ints.to_vec()),
            None => match self.folded_ints(x) {
                Some(ints) => Ok(ints.into_iter().map(Dim::constant).collect()),
                None => Err(self.unresolved(x, what)),
            },
        }
    }

    /// Known integers that must be numbers.
    pub(crate) fn const_ints(&self, x: Operand, what: &str) -> Result<Vec<i64>, Fault> {
        let ints = self.ints(x).and_then(|ints| ints.iter().map(Dim::as_const).collect());
        ints.or_else(|| self.folded_ints(x)).ok_or_else(|| self.unresolved(x, what))
    }

    /// The error that an operand is not known, with the dimensions and the inputs that are to blame.
    pub(crate) fn unresolved(&self, x: Operand, what: &str) -> Fault {
        let (mut symbols, mut inputs) = (BTreeSet::new(), BTreeSet::new());
        match (self.ints(x), &self.slots[x.0].source) {
            (Some(ints), _) => ints.iter().for_each(|d| d.collect_symbols(&mut symbols)),
            (None, &Source::Value(level, value)) => self.collect_origins((level, value), &mut symbols, &mut inputs),
            (None, _) => {}
        }
        let dims = symbols.iter().map(|s| s.name().to_owned()).collect();
        Fault::Unresolved { what: what.to_owned(), dims, inputs: inputs.into_iter().collect() }
    }

    /// The symbols of all extents, and the inputs of the model, that the computation of a value reads.
    fn collect_origins(
        &self,
        (level, value): (usize, ValueId),
        symbols: &mut BTreeSet<sparsec_graph::Symbol>,
        inputs: &mut BTreeSet<String>,
    ) {
        let graph = self.graph_of(level);
        let (mut stack, mut seen) = (vec![value], BTreeSet::from([value]));
        while let Some(value) = stack.pop() {
            // A hint is not worth more time than this.
            if seen.len() > 1000 {
                return;
            }
            if level == 0 && graph.inputs().contains(&value) {
                inputs.insert(graph.value(value).name.clone());
            }
            let Some(node) = graph.producer(value).map(|n| graph.node(n)) else { continue };
            if let Op::ShapeOf(dims) = &node.op {
                dims.iter().for_each(|d| d.collect_symbols(symbols));
            }
            stack.extend(node.operands.iter().filter(|&&v| seen.insert(v)));
        }
    }

    /// The graph value of an operand; constants, known integers and values of the graphs around enter the graph here.
    pub(crate) fn value(&mut self, x: Operand) -> Result<ValueId, Fault> {
        if let Some(&value) = self.values.get(&x) {
            return Ok(value);
        }
        let ty = self.slots[x.0].ty.clone();
        let value = match &self.slots[x.0].source {
            Source::Value(level, value) if *level == self.outer.len() => return Ok(*value),
            Source::Value(level, _) if *level > self.outer.len() => {
                return Err(Fault::invalid("a value is used outside of the graph that it is in"));
            }
            Source::Value(level, value) => match self.graph_of(*level).constant(*value).cloned() {
                Some(constant) => self.graph.add_constant(constant.name, constant.data),
                None => self.capture(x),
            },
            Source::Data(name, data) => self.graph.add_constant(name.clone(), data.clone()),
            Source::Ints => {
                let ints = self.ints(x).ok_or_else(|| Fault::invalid("integers are known"))?;
                let fixed = ints.iter().map(Dim::as_const).collect::<Option<Vec<i64>>>();
                match fixed.and_then(|v| tensor::from_ints(ty.dtype, &extents(&ty)?, &v)) {
                    Some(data) => self.graph.add_constant(self.node_name.clone(), data),
                    None => self.shape_value(&ints, &ty)?,
                }
            }
            Source::Sequence(_) => return Err(Fault::unsupported("a sequence where a tensor is expected")),
        };
        self.values.insert(x, value);
        Ok(value)
    }

    fn shape_value(&mut self, ints: &[Dim], ty: &TensorType) -> Result<ValueId, Fault> {
        let name = self.node_name.clone();
        let mut value = self.graph.append(Op::ShapeOf(ints.to_vec()), &[], &name)?;
        if ty.rank() != 1 {
            value = self.graph.append(Op::Reshape(ty.shape.clone()), &[value], &name)?;
        }
        if ty.dtype != DType::I64 {
            value = self.graph.append(Op::Cast(ty.dtype), &[value], &name)?;
        }
        Ok(value)
    }

    /// A graph input.
    pub(crate) fn add_input(&mut self, name: &str, ty: TensorType) -> Result<Operand, Fault> {
        check_type(&ty)?;
        let value = self.graph.add_input(name, ty.clone());
        Ok(self.push(ty, Source::Value(self.outer.len(), value), None))
    }

    /// A constant of the model by name.
    pub(crate) fn add_data(&mut self, name: &str, data: TensorData) -> Operand {
        self.push(data.ty(), Source::Data(name.to_owned(), data), None)
    }

    /// A scalar constant.
    pub(crate) fn scalar(&mut self, dtype: DType, value: f64) -> Operand {
        let name = self.node_name.clone();
        self.add_data(&name, tensor::scalar(dtype, value))
    }

    /// Known integers as a tensor of this type.
    pub(crate) fn add_ints(&mut self, ty: TensorType, ints: Vec<Dim>) -> Result<Operand, Fault> {
        check_type(&ty)?;
        if ints.len() > MAX_INTS || ints.iter().any(|d| weight(d) > MAX_WEIGHT) {
            return Err(Fault::invalid("the computation of shapes is too large"));
        }
        Ok(self.push(ty, Source::Ints, Some(ints.into())))
    }

    /// A symbol for an extent that the node finds out at run time. Inputs, which name symbols too, are there before nodes.
    pub(crate) fn fresh_symbol(&mut self, what: &str) -> Symbol {
        let mut taken = BTreeSet::new();
        let model = self.graph_of(0);
        for &input in model.inputs() {
            model.ty(input).shape.iter().for_each(|d| d.collect_symbols(&mut taken));
        }
        let base = format!("{}.{what}", self.node_name);
        let free = |name: &String| !taken.contains(&Symbol::new(name)) && !self.found.contains(name);
        let name = (0u32..).map(|i| if i == 0 { base.clone() } else { format!("{base}.{i}") }).find(free);
        let name = name.unwrap_or(base);
        self.found.insert(name.clone());
        Symbol::new(&name)
    }

    /// A vector of known integers, as `Shape` gives.
    pub(crate) fn int_vector(&mut self, ints: Vec<Dim>) -> Result<Operand, Fault> {
        self.add_ints(TensorType::fixed(DType::I64, &[ints.len() as i64]), ints)
    }

    /// Appends a node of the graph.
    pub(crate) fn append(&mut self, op: Op, operands: &[Operand]) -> Result<Operand, Fault> {
        let values = operands.iter().map(|&x| self.value(x)).collect::<Result<Vec<_>, _>>()?;
        if let Op::Reshape(shape) | Op::Expand(shape) | Op::ShapeOf(shape) = &op {
            check_type(&TensorType::new(DType::I64, shape.clone()))?;
        }
        let value = self.append_reconciled(op, &values)?;
        let ty = self.graph.ty(value).clone();
        check_type(&ty)?;
        Ok(self.push(ty, Source::Value(self.outer.len(), value), None))
    }

    /// Appends an operator written as loops; one operand for each of its results.
    pub(crate) fn append_loops(&mut self, spec: LoopsSpec, operands: &[Operand]) -> Result<Vec<Operand>, Fault> {
        let values = operands.iter().map(|&x| self.value(x)).collect::<Result<Vec<_>, _>>()?;
        spec.results.iter().try_for_each(check_type)?;
        self.append_values(Op::Loops(Box::new(spec)), values)
    }

    /// Appends a node of several results.
    pub(crate) fn append_all(&mut self, op: Op, operands: &[Operand]) -> Result<Vec<Operand>, Fault> {
        let values = operands.iter().map(|&x| self.value(x)).collect::<Result<Vec<_>, _>>()?;
        self.append_values(op, values)
    }

    fn append_values(&mut self, op: Op, values: Vec<ValueId>) -> Result<Vec<Operand>, Fault> {
        let node = Node::new(op, values, self.node_name.clone());
        let id = self.graph.append_node(node)?;
        let results = self.graph.node(id).results.clone();
        let level = self.outer.len();
        for &value in &results {
            check_type(self.graph.ty(value))?;
        }
        Ok(results
            .into_iter()
            .map(|value| self.push(self.graph.ty(value).clone(), Source::Value(level, value), None))
            .collect())
    }

    /// Gives a value of the graph the model's name for it, where the value is a node's and number `since` or later:
    /// what is merely passed through keeps the name that it has.
    pub(crate) fn set_value_name(&mut self, x: Operand, name: &str, since: usize) {
        if let Source::Value(level, value) = self.slots[x.0].source
            && level == self.outer.len()
            && value.index() >= since
            && self.graph.producer(value).is_some()
        {
            self.graph.value_mut(value).name = name.to_owned();
        }
    }

    /// A value of the graph under construction as an operand.
    pub(crate) fn operand_of(&mut self, value: ValueId) -> Operand {
        self.push(self.graph.ty(value).clone(), Source::Value(self.outer.len(), value), None)
    }

    fn push(&mut self, ty: TensorType, source: Source, ints: Option<Rc<[Dim]>>) -> Operand {
        self.slots.push(Slot { ty, source, ints });
        Operand(self.slots.len() - 1)
    }
}

fn extents(ty: &TensorType) -> Option<Vec<usize>> {
    ty.const_shape()?.into_iter().map(|d| usize::try_from(d).ok()).collect()
}

/// Number of atoms and terms in an expression, nested ones included.
pub(crate) fn weight(dim: &Dim) -> usize {
    use sparsec_graph::Atom;
    dim.terms()
        .map(|(atoms, _)| {
            let nested = atoms.iter().map(|a| match a {
                Atom::Sym(_) => 1,
                Atom::FloorDiv(a, b) | Atom::Min(a, b) | Atom::Max(a, b) => 1 + weight(a) + weight(b),
            });
            1 + nested.sum::<usize>()
        })
        .sum()
}

/// Refuses types whose extents or sizes nothing could hold, so that arithmetic on them can't overflow or explode.
pub(crate) fn check_type(ty: &TensorType) -> Result<(), Fault> {
    let absurd = || Fault::invalid("the shape is too large or has a negative extent");
    if ty.rank() > MAX_RANK {
        return Err(Fault::invalid(format!("{} dimensions are too many: {MAX_RANK} are supported", ty.rank())));
    }
    let (mut size, mut terms) = (1u64, 1usize);
    for dim in &ty.shape {
        if weight(dim) > MAX_WEIGHT || dim.as_const().is_some_and(|d| d < 0) {
            return Err(absurd());
        }
        let magnitude =
            dim.terms().try_fold(0u64, |sum, (_, c)| sum.checked_add(c.unsigned_abs())).ok_or_else(absurd)?;
        size = size.checked_mul(magnitude.max(1)).filter(|&s| s < 1 << 60).ok_or_else(absurd)?;
        terms = terms.checked_mul(dim.terms().count().max(1)).filter(|&t| t <= 4096).ok_or_else(absurd)?;
    }
    Ok(())
}
