//! Whether a plan fits together: what a reader may rely on, so that a run can't reach for what is not there.
//!
//! - Names of functions are identifiers of PTX, and every number names something that exists.
//! - Ports have element types that are known; every symbol is the extent, or a factor of it, of an input's dimension.
//! - Constants lie inside the file of weights, aligned to 256.
//! - A launch gives its kernel as many params and buffers as it takes; constants and inputs are not written.
//! - Threads are whole warps, at most 1024. Each launch stands in one step; loops count once.
//!
//! Whether buffers lie inside their memory depends on the symbols and is checked when a launch is made.

use std::collections::BTreeSet;

use crate::plan::{Constraint, Location, LoopStep, Memory, Plan, Port, Step, Trip};
use crate::{Expression, PlanError, dtype_size};

/// How deep branches and loops may be nested.
const DEPTH: usize = 64;

impl Plan {
    /// Checks what this module's documentation lists.
    ///
    /// # Errors
    /// The first fault, with its place.
    pub fn check(&self) -> Result<(), PlanError> {
        let symbols = self.symbols.len();
        self.check_ports(symbols)?;
        self.expressions("arena_bytes", [&self.arena_bytes], symbols)?;
        for (i, slot) in self.arena.iter().enumerate() {
            self.expressions(&format!("arena slot {i}"), [&slot.offset, &slot.bytes], symbols)?;
        }
        for (i, constraint) in self.constraints.iter().enumerate() {
            self.expressions(&format!("constraint {i}"), [&constraint.value], symbols)?;
        }
        for constant in &self.constants {
            let place = || format!("constant `{}`", constant.name);
            require(constant.offset.is_multiple_of(256), place, || {
                format!("{} is no multiple of 256", constant.offset)
            })?;
            let end = constant.offset.checked_add(constant.bytes);
            require(end.is_some_and(|end| end <= self.weight_bytes), place, || {
                format!("it lies outside the weights, which have {} bytes", self.weight_bytes)
            })?;
        }
        self.check_kernels()?;
        self.check_launches()?;
        let mut seen = Seen::default();
        self.check_steps(&self.steps, &mut seen, 0)?;
        require(seen.launches.len() == self.launches.len(), || "steps".into(), || "a launch stands in none".into())
    }

    fn check_ports(&self, symbols: usize) -> Result<(), PlanError> {
        let mut defined = BTreeSet::new();
        let inputs = self.inputs.iter().enumerate().map(|(i, port)| (format!("input {i} (`{}`)", port.name), port));
        let outputs = self.outputs.iter().enumerate().map(|(i, port)| (format!("output {i} (`{}`)", port.name), port));
        for (place, port) in inputs.clone().chain(outputs) {
            let Port { dtype, shape, result, .. } = port;
            require(dtype_size(dtype).is_some(), || place.clone(), || format!("`{dtype}` is no element type"))?;
            self.expressions(&place, shape, symbols)?;
            if let Some(result) = result {
                require(result.len() == shape.len(), || place.clone(), || "its result has another rank".into())?;
                self.expressions(&place, result, self.values())?;
            }
        }
        for (place, port) in inputs {
            require(port.result.is_none(), || place, || "an input has no result".into())?;
            defined.extend(port.shape.iter().filter_map(|e| e.as_multiple().map(|(symbol, _)| symbol)));
        }
        for (s, name) in self.symbols.iter().enumerate() {
            let place = || format!("symbol `{name}`");
            require(defined.contains(&(s as u32)), place, || "no input's extent tells its value".into())?;
        }
        Ok(())
    }

    fn check_kernels(&self) -> Result<(), PlanError> {
        for kernel in &self.kernels {
            let place = || format!("kernel `{}`", kernel.function);
            require(is_identifier(&kernel.function), place, || "its name is no identifier".into())?;
            let threads = kernel.threads;
            let whole = threads > 0 && threads.is_multiple_of(32) && threads <= 1024;
            require(whole, place, || format!("{threads} threads are no block of whole warps up to 1024"))?;
            let params = kernel.params as usize;
            self.expressions(&place(), kernel.buffers.iter().map(|b| &b.bytes).chain([&kernel.blocks]), params)?;
        }
        Ok(())
    }

    fn check_launches(&self) -> Result<(), PlanError> {
        for (i, launch) in self.launches.iter().enumerate() {
            let place = || format!("launch {i} ({})", launch.label);
            let Some(kernel) = self.kernels.get(launch.kernel as usize) else {
                return Err(malformed(place(), format!("there is no kernel {}", launch.kernel)));
            };
            let (params, buffers) = (kernel.params as usize, kernel.buffers.len());
            let fits = launch.params.len() == params && launch.buffers.len() == buffers;
            require(fits, place, || format!("`{}` takes {params} params and {buffers} buffers", kernel.function))?;
            self.expressions(&place(), &launch.params, self.values())?;
            for (location, buffer) in launch.buffers.iter().zip(&kernel.buffers) {
                self.check_location(&place, location)?;
                let writable = !matches!(location.memory, Memory::Input(_) | Memory::Constant(_));
                require(writable || !buffer.written, place, || format!("`{}` would be written", buffer.name))?;
            }
        }
        Ok(())
    }

    fn check_steps(&self, steps: &[Step], seen: &mut Seen, depth: usize) -> Result<(), PlanError> {
        require(depth <= DEPTH, || "steps".into(), || format!("they are nested more than {DEPTH} deep"))?;
        for step in steps {
            match step {
                Step::Launch(index) => {
                    let place = || format!("step of launch {index}");
                    require((*index as usize) < self.launches.len(), place, || "there is no such launch".into())?;
                    require(seen.launches.insert(*index), place, || "it stands in two steps".into())?;
                }
                Step::If { condition, then, otherwise } => {
                    self.check_location(&|| "branch".into(), condition)?;
                    self.check_steps(then, seen, depth + 1)?;
                    self.check_steps(otherwise, seen, depth + 1)?;
                }
                Step::Loop(step) => self.check_loop(step, seen, depth)?,
                Step::Find { found, from, constraints } => {
                    let place = || format!("extent {found}");
                    require((*found as usize) < self.found.len(), place, || "there is no such extent".into())?;
                    self.check_location(&place, from)?;
                    constraints.iter().try_for_each(|c| self.check_constraint(&place(), c))?;
                }
                Step::Require(constraint) => self.check_constraint("requirement", constraint)?,
            }
        }
        Ok(())
    }

    fn check_loop(&self, step: &LoopStep, seen: &mut Seen, depth: usize) -> Result<(), PlanError> {
        let place = || format!("loop {}", step.counter);
        require(step.counter < self.loops, place, || "there is no such loop".into())?;
        require(seen.loops.insert(step.counter), place, || "it stands in two steps".into())?;
        match &step.trip {
            Trip::Count(e) => self.expressions(&place(), [e], self.values())?,
            Trip::Load(from) => self.check_location(&place, from)?,
            Trip::Unbounded => require(step.condition.is_some(), place, || "nothing ends it".into())?,
        }
        if let Some((before, after)) = &step.condition {
            self.check_location(&place, before)?;
            self.check_location(&place, after)?;
        }
        if let Some(index) = &step.index {
            self.check_location(&place, index)?;
            let writable = !matches!(index.memory, Memory::Input(_) | Memory::Constant(_));
            require(writable, place, || "its iteration would be written where nothing may be".into())?;
        }
        self.check_steps(&step.body, seen, depth + 1)
    }

    fn check_constraint(&self, place: &str, constraint: &Constraint) -> Result<(), PlanError> {
        self.expressions(place, [&constraint.value], self.values())
    }

    fn check_location(&self, place: &dyn Fn() -> String, location: &Location) -> Result<(), PlanError> {
        let (what, index, count) = match location.memory {
            Memory::Input(i) => ("input", i, self.inputs.len()),
            Memory::Output(i) => ("output", i, self.outputs.len()),
            Memory::Constant(i) => ("constant", i, self.constants.len()),
            Memory::Arena(i) => ("arena slot", i, self.arena.len()),
        };
        require((index as usize) < count, place, || format!("there is no {what} {index}"))?;
        self.expressions(&place(), [&location.offset], self.values())
    }

    fn expressions<'e>(
        &self,
        place: &str,
        all: impl IntoIterator<Item = &'e Expression>,
        count: usize,
    ) -> Result<(), PlanError> {
        match all.into_iter().find_map(|e| e.value_beyond(count).map(|value| (e, value))) {
            Some((e, value)) => Err(malformed(place.to_owned(), format!("there is no value ${value} for `{e}`"))),
            None => Ok(()),
        }
    }
}

/// What steps have named.
#[derive(Default)]
struct Seen {
    launches: BTreeSet<u32>,
    loops: BTreeSet<u32>,
}

fn malformed(place: String, reason: String) -> PlanError {
    PlanError::Malformed { place, reason }
}

fn require(holds: bool, place: impl FnOnce() -> String, reason: impl FnOnce() -> String) -> Result<(), PlanError> {
    if holds { Ok(()) } else { Err(malformed(place(), reason())) }
}

/// `[a-zA-Z][a-zA-Z0-9_$]*`, or `_`, `$`, `%` and at least one of the latter.
fn is_identifier(name: &str) -> bool {
    let follows = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$';
    let mut chars = name.chars();
    match chars.next() {
        Some(c) if c.is_ascii_alphabetic() => chars.all(follows),
        Some('_' | '$' | '%') => name.len() > 1 && chars.all(follows),
        _ => false,
    }
}
