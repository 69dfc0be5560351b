//! The walk over the graph: where values lie, which kernels are launched in which order.

mod assemble;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::sync::Arc;

use sparsec_graph::{Bindings, Count, Def, Dim, Graph, Node, NodeId, Op, Pages, Symbol, ValueId};
use sparsec_tir::{ConstantData, Kernel, Program, expand_math, lower_to_flat};

use crate::blocks::{Blocks, PlannedStep};
use crate::constraint::{Condition, equal, slice_stays_inside};
use crate::context::{BuiltKernel, scalar_of};
use crate::coordinate::CoordinateDump;
use crate::error::LowerError;
use crate::node::lower_node;
use crate::schedule::Schedule;
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
    /// For each node with a constant weight whose kernel can be cut in several ways, by name: the schedule that it has,
    /// then others, those that are predicted to be faster first.
    pub schedules: BTreeMap<String, Vec<Schedule>>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LowerOptions {
    /// Keeps Stage I of the kernels of constant weights in [`KernelDump::coordinates`].
    pub coordinates: bool,
    /// Extents that open dimensions are expected to have. Kernels are right for all; these they are made for.
    pub nominal: Bindings,
    /// Schedules for nodes with a constant weight, by name. One that is not possible has no effect, which
    /// [`Lowered::schedules`] shows.
    pub schedules: BTreeMap<String, Schedule>,
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
    /// Index into the views: a part of another place.
    View(u32),
}

/// A launch before the memory plan is made.
struct PlannedLaunch {
    kernel: u32,
    label: String,
    params: Vec<Dim>,
    places: Vec<Place>,
    /// The loop that it stands in.
    region: usize,
}

/// Memory for a value that is neither given nor asked for.
struct Temporary {
    bytes: Dim,
    /// The loop whose iterations make it anew.
    region: usize,
}

/// State of the walk.
pub(crate) struct Lowering<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) target: TargetInfo,
    pub(crate) options: LowerOptions,
    places: BTreeMap<ValueId, Place>,
    tables: Vec<Table>,
    table_names: BTreeMap<String, u32>,
    /// Constants that are read as they are, by where their bytes lie: graphs within the graph share them.
    shared: BTreeMap<(usize, usize), Place>,
    temporaries: Vec<Temporary>,
    /// Parts of places: which, and the byte where they start.
    views: Vec<(Place, Dim)>,
    pub(crate) blocks: Blocks,
    kernels: Vec<KernelDump>,
    flat: Vec<Kernel>,
    known: BTreeMap<String, u32>,
    launches: Vec<PlannedLaunch>,
    conditions: Vec<Condition>,
    /// The extents that kernels find out, in order, with the largest values over the symbols of inputs.
    found: Vec<(Symbol, Dim)>,
    schedules: BTreeMap<String, Vec<Schedule>>,
    /// The nodes of the graph that are lowered.
    lowered: BTreeSet<NodeId>,
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
        options: options.clone(),
        places: BTreeMap::new(),
        tables: Vec::new(),
        table_names: BTreeMap::new(),
        shared: BTreeMap::new(),
        temporaries: Vec::new(),
        views: Vec::new(),
        blocks: Blocks::default(),
        kernels: Vec::new(),
        flat: Vec::new(),
        known: BTreeMap::new(),
        launches: Vec::new(),
        conditions: Vec::new(),
        found: Vec::new(),
        schedules: BTreeMap::new(),
        lowered: BTreeSet::new(),
    };
    l.place_outputs();
    l.lower_nodes()?;
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

impl<'g> Lowering<'g> {
    /// Lowers the nodes of the graph in order.
    fn lower_nodes(&mut self) -> Result<(), LowerError> {
        let graph = self.graph;
        for id in graph.topological_order() {
            self.require_extents(id)?;
            lower_node(self, id)?;
            self.lowered.insert(id);
            // Its weights were looked at, and are next needed when they are written.
            graph.release_pages();
        }
        Ok(())
    }

    /// Lowers a graph within the graph, whose inputs are at `inputs`. `targets` says where outputs are to be computed, where
    /// that is possible; returns where they are.
    pub(crate) fn lower_nested(
        &mut self,
        graph: &'g Graph,
        inputs: &[Place],
        targets: &[Option<Place>],
    ) -> Result<Vec<Place>, LowerError> {
        let around = (self.graph, std::mem::take(&mut self.places), std::mem::take(&mut self.lowered));
        self.graph = graph;
        self.places = graph.inputs().iter().copied().zip(inputs.iter().copied()).collect();
        for ((_, value), target) in graph.outputs().iter().zip(targets) {
            let root = root(graph, *value);
            if let (Some(target), Def::Node(..)) = (target, graph.value(root).def) {
                self.places.entry(root).or_insert(*target);
            }
        }
        self.lower_nodes()?;
        let outputs = graph.outputs().iter().map(|(_, value)| self.place(*value)).collect();
        (self.graph, self.places, self.lowered) = around;
        Ok(outputs)
    }

    /// Takes the capacities of extents down that a node will find out; before its results get their memory.
    pub(crate) fn declare_found(&mut self, node: &Node, counts: &[Count]) -> Result<(), LowerError> {
        for count in counts {
            let most =
                self.most(&count.capacity).ok_or_else(|| LowerError::unsupported(node, "its extent has no bound"))?;
            self.found.push((count.symbol.clone(), most));
        }
        Ok(())
    }

    /// Says that the launch before has left an extent at `from`.
    pub(crate) fn find(&mut self, symbol: &Symbol, from: Place) {
        self.touch_after(from);
        self.blocks.push(PlannedStep::Find { symbol: symbol.clone(), from });
    }

    /// The largest value of an extent, as far as it depends on what kernels find out.
    fn most(&self, dim: &Dim) -> Option<Dim> {
        if self.found.is_empty() {
            return Some(dim.clone());
        }
        dim.upper_bound(&self.found.iter().cloned().collect())
    }

    /// Demands what a node takes for granted of extents that are open.
    fn require_extents(&mut self, id: NodeId) -> Result<(), LowerError> {
        let node = self.graph.node(id);
        for &result in &node.results {
            for extent in &self.graph.ty(result).shape {
                if self.most(extent).is_none() {
                    let reason = format!("nothing bounds the extent {extent}, which is found out at run time");
                    return Err(LowerError::unsupported(node, reason));
                }
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
        Ok(())
    }

    /// Keeps the conditions that don't hold by themselves, each once.
    fn require(&mut self, conditions: impl IntoIterator<Item = Condition>) {
        for condition in conditions {
            let known = |c: &Condition| c.at_least_zero == condition.at_least_zero;
            if condition.at_least_zero.is_never_negative() || self.conditions.iter().any(known) {
                continue;
            }
            // What a branch takes for granted is demanded where it is taken.
            match self.blocks.is_optional() {
                true => self.blocks.push(PlannedStep::Require(condition)),
                false => self.conditions.push(condition),
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
                let key = (bytes.as_ptr() as usize, bytes.len());
                if let Some(&place) = self.shared.get(&key).filter(|_| !bytes.is_empty()) {
                    self.places.insert(value, place);
                    return place;
                }
                let elements = constant.map_or(0, |c| c.data.elements() as u64);
                let table = Table::lazy("data", scalar_of(ty.dtype), elements, move |out| out.write_all(&bytes));
                let name = constant.map_or(String::new(), |c| c.name.clone());
                let place = self.add_table(&name, table);
                self.shared.insert(key, place);
                place
            }
            Def::Node(..) => {
                let bytes = ty.elements() * Dim::constant(ty.dtype.size() as i64);
                self.temporary(bytes)
            }
        };
        self.places.insert(value, place);
        place
    }

    /// Gives the memory of `value`, an operand of `node`, to the node's result, where nobody else needs the one or knows the other.
    /// The node's kernel must read each element of the operand just before it writes the same element of the result.
    pub(crate) fn take_over(&mut self, node: &Node, value: ValueId) -> bool {
        let (graph, value) = (self.graph, root(self.graph, value));
        let Some(place @ Place::Temporary(_)) = self.places.get(&value).copied() else { return false };
        let nested = self.blocks.region() != 0 || self.blocks.is_optional();
        let viewed = self.views.iter().any(|(of, _)| *of == place);
        let once = node.operands.iter().filter(|&&v| root(graph, v) == value).count() == 1;
        let placed = self.places.contains_key(&node.result());
        if nested || viewed || !once || placed || !self.is_last_use(node, value) {
            return false;
        }
        self.places.insert(node.result(), place);
        true
    }

    /// Whether all that is left to do with a value and its reshaped views is what `node` does.
    fn is_last_use(&self, node: &Node, value: ValueId) -> bool {
        let graph = self.graph;
        !graph.is_output(value)
            && graph.users(value).into_iter().all(|user| match &graph.node(user).op {
                Op::Reshape(_) => self.is_last_use(node, graph.node(user).result()),
                _ => self.lowered.contains(&user) || graph.node(user).result() == node.result(),
            })
    }

    /// Memory for a value that is no value of the graph.
    pub(crate) fn temporary(&mut self, bytes: Dim) -> Place {
        // `require_extents` has refused extents without bound. In a branch that is not taken an extent may be anything.
        let bytes = self.most(&bytes).unwrap_or(bytes);
        let bytes = if self.blocks.is_optional() { bytes.maximum(&Dim::default()) } else { bytes };
        self.temporaries.push(Temporary { bytes, region: self.blocks.region() });
        Place::Temporary(self.temporaries.len() as u32 - 1)
    }

    /// A part of a place, from this byte on.
    pub(crate) fn view(&mut self, of: Place, offset: Dim) -> Place {
        let (of, offset) = match of {
            Place::View(v) => {
                let (base, start) = &self.views[v as usize];
                (*base, start.clone() + offset)
            }
            _ => (of, offset),
        };
        self.views.push((of, offset));
        Place::View(self.views.len() as u32 - 1)
    }

    /// Says that a step other than a launch reads or writes a place before the next launch.
    pub(crate) fn touch(&mut self, place: Place) {
        let at = self.launches.len();
        self.touched(place, at);
    }

    /// Says that a step other than a launch reads a place after the last launch.
    pub(crate) fn touch_after(&mut self, place: Place) {
        let at = self.launches.len().saturating_sub(1);
        self.touched(place, at);
    }

    fn touched(&mut self, place: Place, at: usize) {
        if let Place::Temporary(t) = self.base(place).0 {
            self.blocks.touch(t, at);
        }
    }

    /// The number of launches so far.
    pub(crate) fn launch_count(&self) -> usize {
        self.launches.len()
    }

    fn base(&self, place: Place) -> (Place, Dim) {
        match place {
            Place::View(v) => self.views[v as usize].clone(),
            _ => (place, Dim::default()),
        }
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

    /// Keeps the schedules of a node: its own, then others.
    pub(crate) fn keep_schedules(&mut self, node: &str, schedules: Vec<Schedule>) {
        if !schedules.is_empty() {
            self.schedules.insert(node.to_owned(), schedules);
        }
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
        let region = self.blocks.region();
        self.blocks.launch(self.launches.len() as u32);
        self.launches.push(PlannedLaunch { kernel, label: label.to_owned(), params, places, region });
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
}
