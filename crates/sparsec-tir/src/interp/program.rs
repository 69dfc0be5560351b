//! Programs: the steps in order, kernels interpreted.

use super::{BufferData, InterpError, eval::eval_int, run_kernel};
use crate::{
    Argument, BufferKind, ConstantData, Constraint, Expr, FindStep, Launch, Location, LoopStep, Program, Scalar, Step,
    TripCount,
};

impl Program {
    /// The first constraint that these values of the symbols violate. One that is no expression over symbols is violated.
    #[must_use]
    pub fn violated_constraint(&self, symbols: &[i64]) -> Option<&Constraint> {
        self.constraints.iter().find(|c| eval_int(&c.expr, symbols).is_none_or(|value| value < 0))
    }
}

/// Runs a program. `inputs` are the model's inputs in order, `symbols` the values of its run-time dimensions; the
/// outputs are in the model's order, cut to the extents that were found out.
///
/// # Errors
/// When an argument doesn't fit, a constant can't be read, or a kernel fails.
pub fn run_program(
    program: &Program,
    constants: &dyn ConstantData,
    symbols: &[i64],
    inputs: &[BufferData],
) -> Result<Vec<BufferData>, InterpError> {
    let unsupported = |reason: String| InterpError::Unsupported { kernel: program.name.clone(), reason };
    let int = |e: &Expr| eval_int(e, symbols).ok_or_else(|| unsupported("a size is no expression over symbols".into()));
    if inputs.len() != program.inputs.len() || symbols.len() != program.symbols.len() {
        return Err(unsupported(format!(
            "{} inputs and {} symbols expected",
            program.inputs.len(),
            program.symbols.len()
        )));
    }
    if let Some(constraint) = program.violated_constraint(symbols) {
        return Err(unsupported(format!("the dimensions are out of range: {}", constraint.message)));
    }
    let elements = |shape: &[Expr]| -> Result<usize, InterpError> {
        shape.iter().try_fold(1_usize, |n, d| Ok(n.saturating_mul(int(d)?.max(0) as usize)))
    };
    for (port, data) in program.inputs.iter().zip(inputs) {
        let expected = elements(&port.shape)?;
        if data.elem != port.elem || data.len() != expected {
            return Err(InterpError::Buffer {
                kernel: program.name.clone(),
                buffer: port.name.clone(),
                expected: expected as i64,
                elem: port.elem,
                found: data.len(),
                found_elem: data.elem,
            });
        }
    }
    let mut memory = Memory {
        inputs: inputs.iter().map(|i| i.bytes.clone()).collect(),
        outputs: Vec::new(),
        constants: Vec::new(),
        arena: vec![0xCB; program.arena_bytes.as_ref().map_or(Ok(0), int)?.max(0) as usize],
    };
    for port in &program.outputs {
        memory.outputs.push(vec![0xCB; elements(&port.shape)? * port.elem.size()]);
    }
    for (i, info) in program.constants.iter().enumerate() {
        let mut bytes = Vec::new();
        let failed = |reason: String| InterpError::Constant { name: info.name.clone(), reason };
        constants.write(i, &mut bytes).map_err(|e| failed(e.to_string()))?;
        if bytes.len() as u64 != info.bytes {
            return Err(failed(format!("{} bytes expected, {} given", info.bytes, bytes.len())));
        }
        memory.constants.push(bytes);
    }
    let mut run = Run { program, memory, values: symbols.to_vec() };
    run.values.resize(symbols.len() + program.counters as usize + program.found.len(), 0);
    run.steps(&program.steps)?;
    for (output, shape) in program.result_shapes.iter().enumerate() {
        let elements = shape.iter().try_fold(1_usize, |n, d| Ok(n.saturating_mul(run.int(d)?.max(0) as usize)))?;
        if let (Some(bytes), Some(port)) = (run.memory.outputs.get_mut(output), program.outputs.get(output)) {
            bytes.truncate(elements.saturating_mul(port.elem.size()));
        }
    }
    let memory = run.memory;
    let elems = program.outputs.iter().map(|p| p.elem);
    Ok(memory
        .outputs
        .into_iter()
        .zip(elems)
        .map(|(bytes, elem): (Vec<u8>, Scalar)| BufferData { elem, bytes })
        .collect())
}

/// A run of a program.
struct Run<'p> {
    program: &'p Program,
    memory: Memory,
    /// Symbols, then counters, then extents that were found out.
    values: Vec<i64>,
}

impl Run<'_> {
    fn unsupported(&self, reason: impl Into<String>) -> InterpError {
        InterpError::Unsupported { kernel: self.program.name.clone(), reason: reason.into() }
    }

    fn int(&self, e: &Expr) -> Result<i64, InterpError> {
        eval_int(e, &self.values).ok_or_else(|| self.unsupported("a size is no expression over symbols"))
    }

    fn steps(&mut self, steps: &[Step]) -> Result<(), InterpError> {
        for step in steps {
            match step {
                Step::Launch(index) => {
                    let program = self.program;
                    match program.launches.get(*index as usize) {
                        Some(launch) => self.launch(launch)?,
                        None => return Err(self.unsupported(format!("there is no launch {index}"))),
                    }
                }
                Step::If { condition, then, otherwise } => {
                    let holds = self.truth(condition)?;
                    self.steps(if holds { then } else { otherwise })?;
                }
                Step::Loop(step) => self.looped(step)?,
                Step::Find(step) => self.find(step)?,
                Step::Require(constraint) => {
                    if self.int(&constraint.expr)? < 0 {
                        let message = &constraint.message;
                        return Err(self.unsupported(format!("the dimensions are out of range: {message}")));
                    }
                }
            }
        }
        Ok(())
    }

    fn find(&mut self, step: &FindStep) -> Result<(), InterpError> {
        let value = i64::from_le_bytes(self.read(&step.from)?);
        let at = self.program.symbols.len() + self.program.counters as usize + step.found as usize;
        match self.values.get_mut(at) {
            Some(slot) => *slot = value,
            None => return Err(self.unsupported(format!("there is no extent {}", step.found))),
        }
        for constraint in &step.constraints {
            if self.int(&constraint.expr)? < 0 {
                return Err(self.unsupported(format!("the dimensions are out of range: {}", constraint.message)));
            }
        }
        Ok(())
    }

    fn looped(&mut self, step: &LoopStep) -> Result<(), InterpError> {
        let trip = match &step.trip {
            TripCount::Expr(e) => self.int(e)?,
            TripCount::Load(from) => i64::from_le_bytes(self.read(from)?),
            TripCount::Unbounded => i64::MAX,
        };
        let mut goes_on = step.condition.as_ref().map_or(Ok(true), |(before, _)| self.truth(before))?;
        let counter = self.program.symbols.len() + step.counter as usize;
        let mut iteration = 0;
        while goes_on && iteration < trip {
            match self.values.get_mut(counter) {
                Some(value) => *value = iteration,
                None => return Err(self.unsupported(format!("there is no counter {}", step.counter))),
            }
            if let Some(index) = &step.index {
                self.access::<8>(index)?.copy_from_slice(&iteration.to_le_bytes());
            }
            self.steps(&step.body)?;
            if let Some((_, after)) = &step.condition {
                goes_on = self.truth(after)?;
            }
            iteration += 1;
        }
        Ok(())
    }

    fn truth(&mut self, location: &Location) -> Result<bool, InterpError> {
        Ok(self.read::<1>(location)? != [0])
    }

    fn read<const N: usize>(&mut self, location: &Location) -> Result<[u8; N], InterpError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.access::<N>(location)?);
        Ok(bytes)
    }

    /// `N` bytes of a buffer.
    fn access<const N: usize>(&mut self, (argument, offset): &Location) -> Result<&mut [u8], InterpError> {
        let start = self.base(*argument)?.saturating_add(self.int(offset)?);
        let missing = self.unsupported(format!("there is nothing at byte {start} of {argument:?}"));
        let bytes = usize::try_from(start).ok().zip(self.memory.bytes(*argument));
        bytes.and_then(|(start, bytes)| bytes.get_mut(start..start.saturating_add(N))).ok_or(missing)
    }

    /// Where an argument starts in its memory.
    fn base(&self, argument: Argument) -> Result<i64, InterpError> {
        let Argument::Arena(slot) = argument else { return Ok(0) };
        match self.program.arena.get(slot as usize) {
            Some(slot) => self.int(&slot.offset),
            None => Err(self.unsupported(format!("arena slot {slot} does not exist"))),
        }
    }

    fn launch(&mut self, launch: &Launch) -> Result<(), InterpError> {
        let Some(kernel) = self.program.kernels.get(launch.kernel as usize) else {
            return Err(self.unsupported(format!("launch `{}` of a kernel that doesn't exist", launch.label)));
        };
        let params: Vec<i64> = launch.params.iter().map(|e| self.int(e)).collect::<Result<_, _>>()?;
        let buffers: Vec<_> = kernel.buffers.iter().filter(|b| b.kind.is_given()).collect();
        let mut places = Vec::new();
        let mut data = Vec::new();
        for (buffer, (argument, offset)) in buffers.iter().zip(&launch.arguments) {
            let extent = |e: &Expr| eval_int(e, &params).map(|d| d.max(0));
            let count = buffer.shape.iter().try_fold(1_i64, |n, d| Some(n.saturating_mul(extent(d)?)));
            let Some(count) = count else {
                return Err(self.unsupported(format!("the shape of `{}` is no expression over params", buffer.name)));
            };
            let start = self.base(*argument)?.saturating_add(self.int(offset)?);
            let end = start.saturating_add(count.saturating_mul(buffer.elem.size() as i64));
            let missing = self.unsupported(format!("{argument:?} does not exist"));
            let bytes = self.memory.bytes(*argument).ok_or(missing)?;
            let place = usize::try_from(start).ok().zip(usize::try_from(end).ok());
            let Some((range, found)) = place.and_then(|(s, e)| bytes.get(s..e).map(|found| (s..e, found))) else {
                return Err(InterpError::Place {
                    launch: launch.label.clone(),
                    buffer: buffer.name.clone(),
                    start,
                    end,
                    size: bytes.len(),
                });
            };
            data.push(BufferData { elem: buffer.elem, bytes: found.to_vec() });
            places.push((*argument, range));
        }
        run_kernel(kernel, &params, &mut data)?;
        for ((buffer, (argument, range)), data) in buffers.iter().zip(places).zip(data) {
            if buffer.kind == BufferKind::Output
                && let Some(place) = self.memory.bytes(argument).and_then(|bytes| bytes.get_mut(range))
            {
                place.copy_from_slice(&data.bytes);
            }
        }
        Ok(())
    }
}

struct Memory {
    inputs: Vec<Vec<u8>>,
    outputs: Vec<Vec<u8>>,
    constants: Vec<Vec<u8>>,
    arena: Vec<u8>,
}

impl Memory {
    fn bytes(&mut self, argument: Argument) -> Option<&mut Vec<u8>> {
        match argument {
            Argument::Input(i) => self.inputs.get_mut(i as usize),
            Argument::Output(i) => self.outputs.get_mut(i as usize),
            Argument::Constant(i) => self.constants.get_mut(i as usize),
            Argument::Arena(_) => Some(&mut self.arena),
        }
    }
}
