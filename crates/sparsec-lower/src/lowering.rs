//! The walk over the graph: where values lie, which kernels are launched in which order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use sparsec_graph::{Def, Dim, Graph, NodeId, Op, Pages, Symbol, ValueId};
use sparsec_tir::{
    ArenaSlot, Argument, ConstantData, ConstantInfo, Constraint, Expr, Kernel, Launch, Port, Program, expand_math,
    lower_to_flat,
};

use crate::constraint::{Condition, equal, is_never_negative, slice_stays_inside};
use crate::context::{BuiltKernel, program_expr, scalar_of};
use crate::coordinate::CoordinateDump;
use crate::error::LowerError;
use crate::node::lower_node;
use crate::plan::{Lifetime, plan};
use crate::target::TargetInfo;
use crate::weight::Table;

/// What lowering gives to the backends.
#[derive(Debug)]
pub struct Lowered {
    /// Kernels of Stage III, memory and launches.
    pub program: Program,
    /// The bytes of the program's constants.
    pub data: Constants,
    /// The kernels as they were in Stage II, in the program's order.
    pub dumps: Vec<KernelDump>,
}

/// A kernel before it was flattened.
#[derive(Debug)]
pub struct KernelDump {
    /// Stage II.
    pub position: Kernel,
    /// Labels of the launches that use it.
    pub labels: Vec<String>,
    /// Stage I of the first launch, for kernels of constant weights with `f32` results; only where
    /// [`LowerOptions::coordinates`] asks for it.
    pub coordinates: Option<Box<CoordinateDump>>,
}

/// What lowering does beside its work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// Keeps Stage I of the kernels of constant weights in [`KernelDump::coordinates`].
    pub coordinates: bool,
}

/// The bytes of a program's constants, made when they are written.
#[derive(Debug, Default)]
pub struct Constants {
    tables: Vec<Table>,
    /// What the tables borrow from; let go of after each.
    pages: Option<Arc<dyn Pages>>,
}

impl ConstantData for Constants {
    fn write(&self, index: usize, out: &mut dyn Write) -> io::Result<()> {
        let missing = || io::Error::new(io::ErrorKind::NotFound, format!("the program has no constant {index}"));
        let written = (self.tables.get(index).ok_or_else(missing)?.writer)(out);
        if let Some(pages) = &self.pages {
            pages.release();
        }
        written
    }
}

/// A place for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Input(u32),
    Output(u32),
    Constant(u32),
    /// Index into the lifetimes.
    Temporary(u32),
}

/// A launch before the memory plan is made.
struct PlannedLaunch {
    kernel: u32,
    label: String,
    params: Vec<Dim>,
    places: Vec<Place>,
}

/// State of the walk.
pub(crate) struct Lowering<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) target: TargetInfo,
    pub(crate) options: LowerOptions,
    places: BTreeMap<ValueId, Place>,
    tables: Vec<Table>,
    table_names: BTreeMap<String, u32>,
    temporaries: Vec<Dim>,
    kernels: Vec<KernelDump>,
    flat: Vec<Kernel>,
    known: BTreeMap<String, u32>,
    launches: Vec<PlannedLaunch>,
    conditions: Vec<Condition>,
}

/// Lowers a graph whose weights have formats.
///
/// # Errors
/// [`LowerError`] for a node that no kernel covers, and for a weight that does not fit its format.
pub fn lower(graph: &Graph, target: &TargetInfo) -> Result<Lowered, LowerError> {
    lower_with(graph, target, &LowerOptions::default())
}

/// [`lower`], with options.
///
/// # Errors
/// Those of [`lower`].
pub fn lower_with(graph: &Graph, target: &TargetInfo, options: &LowerOptions) -> Result<Lowered, LowerError> {
    let mut l = Lowering {
        graph,
        target: *target,
        options: *options,
        places: BTreeMap::new(),
        tables: Vec::new(),
        table_names: BTreeMap::new(),
        temporaries: Vec::new(),
        kernels: Vec::new(),
        flat: Vec::new(),
        known: BTreeMap::new(),
        launches: Vec::new(),
        conditions: Vec::new(),
    };
    l.place_outputs();
    for id in graph.topological_order() {
        l.require_extents(id);
        lower_node(&mut l, id)?;
        // Its weights were looked at, and are next needed when they are written.
        graph.release_pages();
    }
    l.copy_remaining_outputs()?;
    Ok(l.finish())
}

/// The value whose memory a value shares: a reshape is another view of its operand.
pub(crate) fn root(graph: &Graph, mut value: ValueId) -> ValueId {
    while let Some(node) = graph.producer(value) {
        match graph.node(node).op {
            Op::Reshape(_) => value = graph.node(node).operands[0],
            _ => break,
        }
    }
    value
}

impl Lowering<'_> {
    /// Demands what a node takes for granted of extents that are open.
    fn require_extents(&mut self, id: NodeId) {
        let node = self.graph.node(id);
        for &result in &node.results {
            for extent in &self.graph.ty(result).shape {
                let reason = format!("`{}` has the shape {}", node.name, self.graph.ty(result));
                self.require([Condition { at_least_zero: extent.clone(), reason }]);
            }
        }
        match &node.op {
            Op::Slice(axes) => {
                for (extent, slice) in self.graph.ty(node.operands[0]).shape.iter().zip(axes) {
                    self.require(slice_stays_inside(&node.name, extent, slice));
                }
            }
            Op::Reshape(_) => {
                let (from, to) = (self.graph.ty(node.operands[0]), self.graph.ty(node.result()));
                let reason = format!("`{}` reshapes {from} to {to}", node.name);
                self.require(equal(&reason, &from.elements(), &to.elements()));
            }
            _ => {}
        }
    }

    /// Keeps the conditions that don't hold by themselves, each once.
    fn require(&mut self, conditions: impl IntoIterator<Item = Condition>) {
        for condition in conditions {
            let known = |c: &Condition| c.at_least_zero == condition.at_least_zero;
            if !is_never_negative(&condition.at_least_zero) && !self.conditions.iter().any(known) {
                self.conditions.push(condition);
            }
        }
    }

    /// Results that are outputs are computed where the caller wants them.
    fn place_outputs(&mut self) {
        for (i, (_, value)) in self.graph.outputs().iter().enumerate() {
            let root = root(self.graph, *value);
            if matches!(self.graph.value(root).def, Def::Node(..)) {
                self.places.entry(root).or_insert(Place::Output(i as u32));
            }
        }
    }

    /// Outputs that are inputs, constants, or another output's value are copied.
    fn copy_remaining_outputs(&mut self) -> Result<(), LowerError> {
        for (i, (name, value)) in self.graph.outputs().iter().enumerate() {
            let root = root(self.graph, *value);
            let to = Place::Output(i as u32);
            if self.places.get(&root) != Some(&to) {
                let from = self.place(root);
                crate::node::copy_value(self, name, self.graph.ty(*value), from, to)?;
            }
        }
        Ok(())
    }

    /// Where a value lies.
    pub(crate) fn place(&mut self, value: ValueId) -> Place {
        let value = root(self.graph, value);
        if let Some(place) = self.places.get(&value) {
            return *place;
        }
        let ty = self.graph.ty(value);
        let place = match self.graph.value(value).def {
            Def::Input(i) => Place::Input(i),
            Def::Const(_) => {
                let constant = self.graph.constant(value);
                let bytes = constant.map(|c| c.data.bytes.clone()).unwrap_or_default();
                let elements = constant.map_or(0, |c| c.data.elements() as u64);
                let table = Table::lazy("data", scalar_of(ty.dtype), elements, move |out| out.write_all(&bytes));
                let name = constant.map_or(String::new(), |c| c.name.clone());
                self.add_table(&name, table)
            }
            Def::Node(..) => {
                let bytes = ty.elements() * Dim::constant(ty.dtype.size() as i64);
                self.temporary(bytes)
            }
        };
        self.places.insert(value, place);
        place
    }

    /// Memory for a value that is no value of the graph.
    pub(crate) fn temporary(&mut self, bytes: Dim) -> Place {
        self.temporaries.push(bytes);
        Place::Temporary(self.temporaries.len() as u32 - 1)
    }

    /// Adds constant data.
    pub(crate) fn add_table(&mut self, owner: &str, mut table: Table) -> Place {
        let count = self.table_names.entry(format!("{owner}.{}", table.name)).or_insert(0);
        table.full_name = match *count {
            0 => format!("{owner}.{}", table.name),
            n => format!("{owner}.{}.{n}", table.name),
        };
        *count += 1;
        self.tables.push(table);
        Place::Constant(self.tables.len() as u32 - 1)
    }

    /// Adds a launch. `symbols` gives values to parameters that are no symbols of the model (sizes of tables).
    pub(crate) fn launch(
        &mut self,
        built: BuiltKernel,
        label: &str,
        places: Vec<Place>,
        symbols: &BTreeMap<Symbol, Dim>,
    ) -> Result<(), LowerError> {
        let params = built.params.iter().map(|d| d.substitute(symbols)).collect();
        let key = format!("{:?}", built.kernel);
        let kernel = match self.known.get(&key) {
            Some(&k) => k,
            None => {
                let k = self.kernels.len() as u32;
                let mut position = built.kernel;
                position.name = format!("k{k}_{}", position.name);
                let invalid = |reason: String| LowerError::Invalid { kernel: position.name.clone(), reason };
                let mut flat = lower_to_flat(&position).map_err(|e| invalid(e.to_string()))?;
                expand_math(&mut flat).map_err(|e| invalid(e.to_string()))?;
                sparsec_tir::verify_machine(&flat).map_err(|e| invalid(e.to_string()))?;
                self.flat.push(flat);
                self.kernels.push(KernelDump { position, labels: Vec::new(), coordinates: None });
                self.known.insert(key, k);
                k
            }
        };
        self.kernels[kernel as usize].labels.push(label.to_owned());
        self.launches.push(PlannedLaunch { kernel, label: label.to_owned(), params, places });
        Ok(())
    }

    /// Keeps what `stage_one` makes of the launch that was added last, if it is the first of its kernel.
    pub(crate) fn keep_coordinates(
        &mut self,
        stage_one: impl FnOnce() -> Result<Option<CoordinateDump>, LowerError>,
    ) -> Result<(), LowerError> {
        let Some(id) = self.launches.last().map(|l| l.kernel) else { return Ok(()) };
        let Some(dump) = self.kernels.get_mut(id as usize).filter(|dump| dump.coordinates.is_none()) else {
            return Ok(());
        };
        if let Some(mut coordinates) = stage_one()? {
            coordinates.kernel.name = format!("k{id}_{}", coordinates.kernel.name);
            coordinates.decomposed.kernel.name = format!("{}_decomposed", coordinates.kernel.name);
            dump.coordinates = Some(Box::new(coordinates));
        }
        Ok(())
    }

    fn finish(self) -> Lowered {
        let symbols = self.symbols();
        let expr = |d: &Dim| program_expr(d, &symbols);
        let mut lifetimes: Vec<Lifetime> =
            self.temporaries.iter().map(|b| Lifetime { bytes: b.clone(), first: usize::MAX, last: 0 }).collect();
        for (i, launch) in self.launches.iter().enumerate() {
            for place in &launch.places {
                if let Place::Temporary(t) = place {
                    let life = &mut lifetimes[*t as usize];
                    life.first = life.first.min(i);
                    life.last = life.last.max(i);
                }
            }
        }
        let memory = plan(&lifetimes);
        let port = |name: &str, value: ValueId| {
            let ty = self.graph.ty(value);
            let shape = ty.shape.iter().map(expr).collect();
            Port { name: name.to_owned(), elem: scalar_of(ty.dtype), dtype: ty.dtype.name(), shape }
        };
        let argument = |place: &Place| {
            let argument = match place {
                Place::Input(i) => Argument::Input(*i),
                Place::Output(i) => Argument::Output(*i),
                Place::Constant(i) => Argument::Constant(*i),
                Place::Temporary(i) => Argument::Arena(*i),
            };
            (argument, Expr::int(0))
        };
        let program = Program {
            name: self.graph.name().to_owned(),
            symbols: symbols.iter().map(|s| s.name().to_owned()).collect(),
            inputs: self.graph.inputs().iter().map(|&v| port(&self.graph.value(v).name, v)).collect(),
            outputs: self.graph.outputs().iter().map(|(name, v)| port(name, *v)).collect(),
            constants: self
                .tables
                .iter()
                .map(|t| ConstantInfo { name: t.full_name.clone(), bytes: t.bytes(), align: 64 })
                .collect(),
            arena: lifetimes
                .iter()
                .zip(&memory.offsets)
                .map(|(l, offset)| ArenaSlot { offset: expr(offset), bytes: expr(&l.bytes) })
                .collect(),
            arena_bytes: Some(expr(&memory.total)),
            launches: self
                .launches
                .iter()
                .map(|l| Launch {
                    kernel: l.kernel,
                    label: l.label.clone(),
                    params: l.params.iter().map(expr).collect(),
                    arguments: l.places.iter().map(argument).collect(),
                })
                .collect(),
            kernels: self.flat,
            constraints: self
                .conditions
                .iter()
                .map(|c| Constraint {
                    expr: expr(&c.at_least_zero),
                    message: format!("{}, which needs {} >= 0", c.reason, c.at_least_zero),
                })
                .collect(),
        };
        Lowered {
            program,
            data: Constants { tables: self.tables, pages: self.graph.pages().cloned() },
            dumps: self.kernels,
        }
    }

    /// The symbols that the model's signature, its memory and its launches depend on, in order of name.
    fn symbols(&self) -> Vec<Symbol> {
        let mut symbols = BTreeSet::new();
        let outputs = self.graph.outputs().iter().map(|(_, v)| *v);
        for value in self.graph.inputs().iter().copied().chain(outputs) {
            self.graph.ty(value).shape.iter().for_each(|d| d.collect_symbols(&mut symbols));
        }
        let params = self.launches.iter().flat_map(|l| &l.params);
        let conditions = self.conditions.iter().map(|c| &c.at_least_zero);
        params.chain(&self.temporaries).chain(conditions).for_each(|d| d.collect_symbols(&mut symbols));
        symbols.into_iter().collect()
    }
}
