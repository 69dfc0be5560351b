//! From launches of a plan to launches of a device: expressions are evaluated, addresses checked.

use super::{Frame, Session, on_device};
use crate::plan::{Kernel, Launch, Location, Memory, Plan};
use crate::{Device, Expression, Invocation, RunError};

/// How many runs with different tensors or dimensions are kept prepared.
const KEPT: usize = 4;

/// Most blocks of a grid.
const MAX_BLOCKS: i64 = i32::MAX as i64;

/// A run of a plan that is a straight line.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Symbols, and where everything lies.
    key: (Vec<i64>, Vec<u64>),
    invocations: Vec<Invocation>,
    pub(super) recording: Option<u64>,
    /// Whether the device was asked to record it.
    asked: bool,
}

impl<D: Device> Session<D> {
    /// Launches everything, from what was prepared where the same was run before.
    pub(super) fn run_prepared(&mut self, frame: &Frame) -> Result<(), RunError> {
        let mut scratch = 0;
        for launch in &self.plan.launches {
            if let Some((kernel, params)) = self.call(launch, frame)? {
                scratch = scratch.max(scratch_bytes(&self.plan, launch, kernel, &params)?);
            }
        }
        if scratch > 0 {
            self.scratch.grow(&mut self.device, scratch, "memory of kernels")?;
        }
        let addresses = frame.inputs.iter().chain(&frame.outputs).map(|(address, _)| *address);
        let own = [self.arena.address, self.scratch.address];
        let key = (frame.values.clone(), addresses.chain(own).collect::<Vec<_>>());
        if let Some(at) = self.prepared.iter().position(|p| p.key == key) {
            // The last one is the latest.
            let mut prepared = self.prepared.remove(at);
            let name = self.plan.name.clone();
            if !prepared.asked {
                prepared.recording = self.device.record(&prepared.invocations).map_err(on_device(name.clone()))?;
                prepared.asked = true;
            }
            let outcome = match prepared.recording {
                Some(id) => self.device.replay(id).map_err(on_device(name)),
                None => self.launch_all(&prepared.invocations),
            };
            self.prepared.push(prepared);
            return outcome;
        }
        let mut invocations = Vec::new();
        for index in self.order() {
            if let Some(launch) = self.plan.launches.get(index) {
                invocations.extend(self.invocation(launch, frame)?);
            }
        }
        self.launch_all(&invocations)?;
        if self.prepared.len() >= KEPT {
            let oldest = self.prepared.remove(0);
            if let Some(id) = oldest.recording {
                self.device.forget(id).map_err(on_device(self.plan.name.clone()))?;
            }
        }
        self.prepared.push(Prepared { key, invocations, recording: None, asked: false });
        Ok(())
    }

    fn order(&self) -> Vec<usize> {
        let launch = |step: &crate::Step| match step {
            crate::Step::Launch(index) => Some(*index as usize),
            _ => None,
        };
        self.plan.steps.iter().filter_map(launch).collect()
    }

    fn launch_all(&mut self, invocations: &[Invocation]) -> Result<(), RunError> {
        for invocation in invocations {
            self.device.launch(invocation).map_err(on_device(invocation.label.clone()))?;
        }
        Ok(())
    }

    /// Launches one call of a plan with control flow.
    pub(super) fn launch(&mut self, index: u32, frame: &Frame) -> Result<(), RunError> {
        let Some(launch) = self.plan.launches.get(index as usize) else { return Ok(()) };
        if let Some((kernel, params)) = self.call(launch, frame)? {
            let bytes = scratch_bytes(&self.plan, launch, kernel, &params)?;
            if bytes > 0 {
                self.scratch.grow(&mut self.device, bytes, "memory of kernels")?;
            }
        }
        match self.invocation(launch, frame)? {
            Some(invocation) => self.device.launch(&invocation).map_err(on_device(invocation.label.clone())),
            None => Ok(()),
        }
    }

    /// A launch's kernel, and its params.
    fn call(&self, launch: &Launch, frame: &Frame) -> Result<Option<(&Kernel, Vec<i64>)>, RunError> {
        let Some(kernel) = self.plan.kernels.get(launch.kernel as usize) else { return Ok(None) };
        let values: Result<Vec<_>, _> = launch.params.iter().map(|e| eval(&launch.label, e, &frame.values)).collect();
        Ok(Some((kernel, values?)))
    }

    /// A launch as the device takes it; `None` where its grid is empty.
    fn invocation(&self, launch: &Launch, frame: &Frame) -> Result<Option<Invocation>, RunError> {
        let Some((kernel, params)) = self.call(launch, frame)? else { return Ok(None) };
        let blocks = grid(launch, kernel, &params)?;
        if blocks == 0 {
            return Ok(None);
        }
        let mut arguments: Vec<u64> = params.iter().map(|&p| p as u64).collect();
        for (location, buffer) in launch.buffers.iter().zip(&kernel.buffers) {
            let bytes = eval(&launch.label, &buffer.bytes, &params)?;
            arguments.push(self.place(&launch.label, &buffer.name, location, i128::from(bytes.max(0)), frame)?);
        }
        if kernel.scratch_bytes > 0 {
            arguments.push(self.scratch.address);
        }
        let function = launch.kernel as usize;
        Ok(Some(Invocation { function, blocks, arguments, label: launch.label.clone() }))
    }

    /// The address of a location, from which so many bytes belong to its memory.
    pub(super) fn place(
        &self,
        label: &str,
        buffer: &str,
        location: &Location,
        bytes: i128,
        frame: &Frame,
    ) -> Result<u64, RunError> {
        let plan = &self.plan;
        // Start and size of the memory, and where the location starts within it.
        let (address, size, mut start) = match location.memory {
            Memory::Input(i) => frame.inputs.get(i as usize).map_or((0, 0, 0), |&(a, n)| (a, n, 0)),
            Memory::Output(i) => frame.outputs.get(i as usize).map_or((0, 0, 0), |&(a, n)| (a, n, 0)),
            Memory::Constant(i) => {
                plan.constants.get(i as usize).map_or((0, 0, 0), |c| (self.weights.address + c.offset, c.bytes, 0))
            }
            Memory::Arena(i) => match plan.arena.get(i as usize) {
                Some(slot) => {
                    let offset = eval("arena", &slot.offset, &frame.values)?;
                    (self.arena.address, frame.arena_bytes, i128::from(offset))
                }
                None => (0, 0, 0),
            },
        };
        start += i128::from(eval(label, &location.offset, &frame.values)?);
        let end = start + bytes;
        if start < 0 || end > i128::from(size) {
            let (launch, buffer, memory) = (label.to_owned(), buffer.to_owned(), describe(plan, location.memory));
            return Err(RunError::OutOfBounds { launch, buffer, start, end, memory, bytes: size });
        }
        Ok(address + u64::try_from(start).unwrap_or(0))
    }
}

fn eval(place: &str, e: &Expression, values: &[i64]) -> Result<i64, RunError> {
    e.eval(values).map_err(|source| RunError::Expression { place: place.to_owned(), source })
}

fn grid(launch: &Launch, kernel: &Kernel, params: &[i64]) -> Result<u32, RunError> {
    let blocks = eval(&launch.label, &kernel.blocks, params)?.max(0);
    if blocks > MAX_BLOCKS {
        return Err(RunError::Grid { launch: launch.label.clone(), blocks });
    }
    Ok(u32::try_from(blocks).unwrap_or(0))
}

/// Scratch memory of all blocks of a launch.
fn scratch_bytes(plan: &Plan, launch: &Launch, kernel: &Kernel, params: &[i64]) -> Result<u64, RunError> {
    let blocks = u64::from(grid(launch, kernel, params)?);
    let bytes = kernel.scratch_bytes.checked_mul(blocks).filter(|&n| n <= i64::MAX as u64);
    bytes.ok_or_else(|| RunError::Refused {
        status: sparsec_abi::Status::TooLarge,
        place: plan.name.clone(),
        detail: format!(": memory of `{}`", kernel.function),
    })
}

fn describe(plan: &Plan, memory: Memory) -> String {
    match memory {
        Memory::Input(i) => format!("input {i}"),
        Memory::Output(i) => format!("output {i}"),
        Memory::Constant(i) => {
            format!("constant {i} (`{}`)", plan.constants.get(i as usize).map_or("", |c| c.name.as_str()))
        }
        Memory::Arena(i) => format!("the arena (slot {i})"),
    }
}
