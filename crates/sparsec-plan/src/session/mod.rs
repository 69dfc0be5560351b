//! A model on a device: weights uploaded once, one arena, runs.

mod follow;
mod memory;
mod prepare;

use std::io::Read;

use sparsec_abi::Status;

use crate::bind::{check_type, tensor_bytes};
use crate::plan::Plan;
use crate::{Data, Device, DeviceError, FunctionShape, Given, RunError, Tensor};
use memory::Block;
use prepare::Prepared;

/// How much of the weights is in the host's memory at a time.
const CHUNK: usize = 16 << 20;

/// What pointers to memory of the device are aligned to.
const ALIGN: u64 = 16;

/// A model that is loaded on a device.
///
/// Runs whose tensors and dimensions are those of the run before are prepared once; where the plan is a straight line, a
/// device that can record launches replays them from the second such run on.
#[derive(Debug)]
pub struct Session<D: Device> {
    plan: Plan,
    device: D,
    weights: Block,
    arena: Block,
    scratch: Block,
    /// Where inputs and outputs on the host are copied to and from.
    inputs: Vec<Block>,
    outputs: Vec<Block>,
    prepared: Vec<Prepared>,
}

/// What a run works on.
struct Frame {
    /// Symbols, then iterations of loops, then extents that were found out.
    values: Vec<i64>,
    /// Where inputs and outputs start, and their sizes.
    inputs: Vec<(u64, u64)>,
    outputs: Vec<(u64, u64)>,
    arena_bytes: u64,
}

pub(crate) fn on_device(place: impl Into<String>) -> impl FnOnce(DeviceError) -> RunError {
    let place = place.into();
    move |source| RunError::Device { place, source }
}

impl<D: Device> Session<D> {
    /// Loads a model: its PTX, and its weights, which are read in pieces.
    ///
    /// # Errors
    /// Where the plan is malformed, the weights are not its own, or the device refuses.
    pub fn new(plan: Plan, ptx: &str, weights: &mut dyn Read, mut device: D) -> Result<Self, RunError> {
        plan.check()?;
        let functions: Vec<FunctionShape> = plan
            .kernels
            .iter()
            .map(|k| FunctionShape {
                name: k.function.clone(),
                arguments: k.params as usize + k.buffers.len() + usize::from(k.scratch_bytes > 0),
                threads: k.threads,
                shared_bytes: k.shared_bytes,
            })
            .collect();
        device.load(ptx, &functions).map_err(on_device(plan.name.clone()))?;
        let count = (plan.inputs.len(), plan.outputs.len());
        let mut session = Session {
            plan,
            device,
            weights: Block::default(),
            arena: Block::default(),
            scratch: Block::default(),
            inputs: vec![Block::default(); count.0],
            outputs: vec![Block::default(); count.1],
            prepared: Vec::new(),
        };
        session.upload(weights)?;
        Ok(session)
    }

    fn upload(&mut self, weights: &mut dyn Read) -> Result<(), RunError> {
        let expected = self.plan.weight_bytes;
        self.weights.grow(&mut self.device, expected, "weights")?;
        let mut chunk = vec![0; CHUNK.min(usize::try_from(expected).unwrap_or(CHUNK).saturating_add(1))];
        let mut found = 0u64;
        loop {
            let count = match weights.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(RunError::Read(e)),
            };
            let at = found;
            found += count as u64;
            if found <= expected {
                let piece = chunk.get(..count).unwrap_or_default();
                self.device.write(self.weights.address + at, piece).map_err(on_device("weights"))?;
            }
        }
        if found == expected { Ok(()) } else { Err(RunError::Weights { expected, found }) }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device, to change its settings between runs.
    pub fn device_mut(&mut self) -> &mut D {
        &mut self.device
    }

    /// Values of the symbols that these inputs mean, in the order of [`Plan::symbols`].
    ///
    /// # Errors
    /// As [`Plan::infer_dims`].
    pub fn infer_dims(&self, inputs: &[Given<'_>]) -> Result<Vec<i64>, RunError> {
        self.plan.infer_dims(inputs)
    }

    /// Extents of an output for these values of the symbols: the largest, where they are found out.
    ///
    /// # Errors
    /// Where the dimensions are out of range, or there is no such output.
    pub fn output_shape(&self, dims: &[i64], index: usize) -> Result<Vec<i64>, RunError> {
        self.plan.check_dims(dims)?;
        let count = self.plan.outputs.len();
        let port =
            self.plan.outputs.get(index).ok_or(RunError::Count { what: "outputs", expected: count, found: index })?;
        self.plan.shape_of("output", port, dims)
    }

    /// Makes room for tensors up to these dimensions, so that a run need not.
    ///
    /// # Errors
    /// Where the dimensions are out of range, or the device has not as much memory.
    pub fn reserve(&mut self, dims: &[i64]) -> Result<(), RunError> {
        self.plan.check_dims(dims)?;
        let bytes = self.arena_bytes(dims)?;
        self.arena.grow(&mut self.device, bytes, "memory for intermediate results")
    }

    /// Runs the model on tensors of the host or the device; returns the outputs on the host.
    ///
    /// # Errors
    /// Where the inputs do not fit the model, and where the device fails.
    pub fn run(&mut self, inputs: &[Given<'_>]) -> Result<Vec<Tensor>, RunError> {
        let dims = self.plan.infer_dims(inputs)?;
        let mut outputs = Vec::new();
        for port in &self.plan.outputs {
            let shape = self.plan.shape_of("output", port, &dims)?;
            let bytes = tensor_bytes(&format!("output `{}`", port.name), &port.dtype, &shape)?;
            let room = usize::try_from(bytes).unwrap_or(usize::MAX);
            outputs.push(Tensor { dtype: port.dtype.clone(), shape, bytes: vec![0; room] });
        }
        let given =
            outputs.iter_mut().map(|t| Given { dtype: &t.dtype, shape: &t.shape, data: Data::HostMut(&mut t.bytes) });
        let shapes = self.run_into(inputs, &mut given.collect::<Vec<_>>())?;
        for (output, shape) in outputs.iter_mut().zip(shapes) {
            let bytes = tensor_bytes("output", &output.dtype, &shape)?;
            output.bytes.truncate(usize::try_from(bytes).unwrap_or(usize::MAX));
            output.shape = shape;
        }
        Ok(outputs)
    }

    /// Runs the model into tensors of the right shape, on the host or the device; returns the extents that the outputs
    /// got. They differ from those given where they depend on what the inputs hold; the elements then stand at the front.
    ///
    /// What was launched is done when this returns, unless all outputs are on the device: then
    /// [`Device::synchronise`] waits.
    ///
    /// # Errors
    /// Where the tensors do not fit the model, and where the device fails.
    pub fn run_into(&mut self, inputs: &[Given<'_>], outputs: &mut [Given<'_>]) -> Result<Vec<Vec<i64>>, RunError> {
        let dims = self.plan.infer_dims(inputs)?;
        let (expected, found) = (self.plan.outputs.len(), outputs.len());
        if expected != found {
            return Err(RunError::Count { what: "outputs", expected, found });
        }
        for (port, given) in self.plan.outputs.iter().zip(outputs.iter()) {
            check_type("output", port, given)?;
            let shape = self.plan.shape_of("output", port, &dims)?;
            if shape != given.shape {
                let detail = format!(": it is {:?}, and must be {shape:?}", given.shape);
                let place = format!("output `{}`", port.name);
                return Err(RunError::Refused { status: Status::OutputShape, place, detail });
            }
        }
        let mut frame = Frame { values: dims, inputs: Vec::new(), outputs: Vec::new(), arena_bytes: 0 };
        frame.arena_bytes = self.arena_bytes(&frame.values)?;
        self.arena.grow(&mut self.device, frame.arena_bytes, "memory for intermediate results")?;
        frame.values.resize(self.plan.values(), 0);
        self.place_inputs(inputs, &mut frame)?;
        self.place_outputs(outputs, &mut frame)?;
        check_overlaps(&self.plan, &frame)?;
        if self.plan.is_straight() {
            self.run_prepared(&frame)?;
        } else {
            // The plan is read while the session changes.
            let steps = std::mem::take(&mut self.plan.steps);
            let outcome = self.follow(&steps, &mut frame);
            self.plan.steps = steps;
            outcome?;
        }
        let shapes = self.result_shapes(&frame)?;
        for ((port, given), (&(address, _), shape)) in
            self.plan.outputs.iter().zip(outputs.iter_mut()).zip(frame.outputs.iter().zip(&shapes))
        {
            let Data::HostMut(host) = &mut given.data else { continue };
            let place = format!("output `{}`", port.name);
            let bytes = usize::try_from(tensor_bytes(&place, &port.dtype, shape)?).unwrap_or(usize::MAX);
            let found = host.len();
            let Some(front) = host.get_mut(..bytes) else {
                return Err(RunError::Bytes { place, expected: bytes as u64, found: found as u64 });
            };
            if !front.is_empty() {
                self.device.read(address, front).map_err(on_device(place))?;
            }
        }
        Ok(shapes)
    }

    fn arena_bytes(&self, symbols: &[i64]) -> Result<u64, RunError> {
        let place = "memory for intermediate results";
        let refused = |detail| RunError::Refused { status: Status::TooLarge, place: place.into(), detail };
        let bytes = self.plan.arena_bytes.eval(symbols).map_err(|e| refused(format!(": {e}")))?;
        u64::try_from(bytes).map_err(|_| refused(format!(": {bytes} bytes")))
    }

    fn place_inputs(&mut self, inputs: &[Given<'_>], frame: &mut Frame) -> Result<(), RunError> {
        for ((port, given), block) in self.plan.inputs.iter().zip(inputs).zip(&mut self.inputs) {
            let place = format!("input `{}`", port.name);
            let bytes = tensor_bytes(&place, &port.dtype, given.shape)?;
            let host: &[u8] = match &given.data {
                Data::Host(host) => host,
                Data::HostMut(host) => host,
                Data::Device(address) => {
                    frame.inputs.push((check_pointer(&place, *address, bytes)?, bytes));
                    continue;
                }
            };
            if host.len() as u64 != bytes {
                return Err(RunError::Bytes { place, expected: bytes, found: host.len() as u64 });
            }
            block.grow(&mut self.device, bytes, &place)?;
            if !host.is_empty() {
                self.device.write(block.address, host).map_err(on_device(place))?;
            }
            frame.inputs.push((block.address, bytes));
        }
        Ok(())
    }

    fn place_outputs(&mut self, outputs: &[Given<'_>], frame: &mut Frame) -> Result<(), RunError> {
        for ((port, given), block) in self.plan.outputs.iter().zip(outputs).zip(&mut self.outputs) {
            let place = format!("output `{}`", port.name);
            let bytes = tensor_bytes(&place, &port.dtype, given.shape)?;
            let address = match &given.data {
                Data::Device(address) => check_pointer(&place, *address, bytes)?,
                Data::Host(_) => return Err(RunError::ReadOnly { place }),
                Data::HostMut(host) => {
                    if host.len() as u64 != bytes {
                        return Err(RunError::Bytes { place, expected: bytes, found: host.len() as u64 });
                    }
                    block.grow(&mut self.device, bytes, &place)?;
                    block.address
                }
            };
            frame.outputs.push((address, bytes));
        }
        Ok(())
    }

    fn result_shapes(&self, frame: &Frame) -> Result<Vec<Vec<i64>>, RunError> {
        let mut shapes = Vec::new();
        for port in &self.plan.outputs {
            let mut shape = Vec::new();
            for e in port.result.as_ref().unwrap_or(&port.shape) {
                let place = || format!("output `{}`", port.name);
                shape.push(e.eval(&frame.values).map_err(|source| RunError::Expression { place: place(), source })?);
            }
            shapes.push(shape);
        }
        Ok(shapes)
    }
}

impl<D: Device> Drop for Session<D> {
    fn drop(&mut self) {
        for prepared in self.prepared.drain(..) {
            // There is nobody to tell, and the device goes next.
            let _ = prepared.recording.map(|id| self.device.forget(id));
        }
        let blocks = [&mut self.weights, &mut self.arena, &mut self.scratch];
        for block in blocks.into_iter().chain(&mut self.inputs).chain(&mut self.outputs) {
            block.release(&mut self.device);
        }
    }
}

fn check_pointer(place: &str, address: u64, bytes: u64) -> Result<u64, RunError> {
    let refused = |status| RunError::Refused { status, place: place.to_owned(), detail: String::new() };
    if address == 0 && bytes > 0 {
        return Err(refused(Status::NullPointer));
    }
    if !address.is_multiple_of(ALIGN) {
        return Err(refused(Status::Alignment));
    }
    Ok(address)
}

/// Refuses an output that shares memory with an input or with another output: kernels rely on it.
fn check_overlaps(plan: &Plan, frame: &Frame) -> Result<(), RunError> {
    let apart = |(a, bytes): (u64, u64), (b, others): (u64, u64)| {
        a.saturating_add(bytes) <= b || b.saturating_add(others) <= a || bytes == 0 || others == 0
    };
    for (i, (port, &own)) in plan.outputs.iter().zip(&frame.outputs).enumerate() {
        if frame.inputs.iter().chain(frame.outputs.iter().take(i)).any(|&other| !apart(own, other)) {
            let place = format!("output `{}`", port.name);
            return Err(RunError::Refused { status: Status::Overlap, place, detail: String::new() });
        }
    }
    Ok(())
}
