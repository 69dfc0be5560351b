//! The plan of a program.

use sparsec_tir::{Argument, BinaryOp, BufferKind, CompareOp, Expr, Launch, Location, Program, Step, TripCount};

use crate::plan::{self, FORMAT, Memory, Plan, VERSION};
use crate::{Expression, Operator, PlanError};

/// What the backend made of a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionFacts {
    /// The function's name in the PTX.
    pub name: String,
    /// Threads of a block.
    pub threads: u32,
    /// Iterations of the kernel's parallel loop that a block runs; a kernel without one is one block.
    pub iterations: u32,
    /// Shared memory of a block that a launch has to ask for, in bytes.
    pub shared_bytes: u32,
    /// Global memory for each block, in bytes; none where 0.
    pub scratch_bytes: u64,
}

/// Constants lie so in the file of weights.
const ALIGN: u64 = 256;

/// Where each constant of a program lies in the file of weights, and the file's size.
///
/// # Errors
/// Where the constants are larger than files can be, or one wants an alignment that the layout doesn't give.
pub fn weights_layout(program: &Program) -> Result<(Vec<u64>, u64), PlanError> {
    let fault = |reason: String| PlanError::Program { model: program.name.clone(), reason };
    let (mut offsets, mut end) = (Vec::new(), 0u64);
    for info in &program.constants {
        if u64::from(info.align) > ALIGN {
            return Err(fault(format!("constant `{}` wants an alignment of {}", info.name, info.align)));
        }
        let offset = end.checked_next_multiple_of(ALIGN);
        let last = offset.and_then(|offset| offset.checked_add(info.bytes));
        let (Some(offset), Some(last)) = (offset, last) else {
            return Err(fault("the weights are too large".into()));
        };
        offsets.push(offset);
        end = last;
    }
    Ok((offsets, end))
}

impl Plan {
    /// The plan of a program for a GPU architecture; `functions` are what the backend made of the program's kernels, in
    /// their order.
    ///
    /// # Errors
    /// Where the program holds an expression that is no integer arithmetic over its symbols, or is inconsistent.
    pub fn new(program: &Program, gpu: &str, functions: &[FunctionFacts]) -> Result<Plan, PlanError> {
        Maker { program }.plan(gpu, functions)
    }
}

struct Maker<'p> {
    program: &'p Program,
}

impl Maker<'_> {
    fn fault(&self, reason: impl Into<String>) -> PlanError {
        PlanError::Program { model: self.program.name.clone(), reason: reason.into() }
    }

    fn plan(&self, gpu: &str, functions: &[FunctionFacts]) -> Result<Plan, PlanError> {
        let program = self.program;
        if functions.len() != program.kernels.len() {
            let (kernels, functions) = (program.kernels.len(), functions.len());
            return Err(self.fault(format!("{functions} functions for {kernels} kernels")));
        }
        let (offsets, weight_bytes) = weights_layout(program)?;
        let constant = |(info, offset): (&sparsec_tir::ConstantInfo, u64)| plan::Constant {
            name: info.name.clone(),
            offset,
            bytes: info.bytes,
        };
        let constants = program.constants.iter().zip(offsets).map(constant).collect();
        let mut kernels = Vec::new();
        for (kernel, facts) in program.kernels.iter().zip(functions) {
            kernels.push(self.kernel(kernel, facts)?);
        }
        let arena_bytes = match &program.arena_bytes {
            Some(e) => self.expression(e)?,
            None => Expression::Int(0),
        };
        let slot = |s: &sparsec_tir::ArenaSlot| {
            Ok(plan::Slot { offset: self.expression(&s.offset)?, bytes: self.expression(&s.bytes)? })
        };
        let made = Plan {
            format: FORMAT.to_owned(),
            version: VERSION,
            name: program.name.clone(),
            compiler_version: env!("CARGO_PKG_VERSION").to_owned(),
            gpu: gpu.to_owned(),
            symbols: program.symbols.clone(),
            loops: program.counters,
            found: program.found.clone(),
            inputs: program.inputs.iter().map(|port| self.port(port, None)).collect::<Result<_, _>>()?,
            outputs: program
                .outputs
                .iter()
                .enumerate()
                .map(|(i, port)| self.port(port, program.result_shapes.get(i)))
                .collect::<Result<_, _>>()?,
            constraints: self.constraints(&program.constraints)?,
            weight_bytes,
            constants,
            arena_bytes,
            arena: program.arena.iter().map(slot).collect::<Result<_, _>>()?,
            kernels,
            launches: program.launches.iter().map(|launch| self.launch(launch)).collect::<Result<_, _>>()?,
            steps: self.steps(&program.steps)?,
        };
        made.check()?;
        Ok(made)
    }

    fn port(&self, port: &sparsec_tir::Port, result: Option<&Vec<Expr>>) -> Result<plan::Port, PlanError> {
        let shape = self.all(&port.shape)?;
        let result = result.map(|shape| self.all(shape)).transpose()?.filter(|result| *result != shape);
        Ok(plan::Port { name: port.name.clone(), dtype: port.dtype.to_owned(), shape, result })
    }

    fn kernel(&self, kernel: &sparsec_tir::Kernel, facts: &FunctionFacts) -> Result<plan::Kernel, PlanError> {
        let mut buffers = Vec::new();
        for buffer in kernel.buffers.iter().filter(|b| b.kind.is_given()) {
            let mut bytes = Expression::Int(buffer.elem.size() as i64);
            for extent in &buffer.shape {
                let extent = Expression::binary(Operator::Max, self.expression(extent)?, Expression::Int(0));
                bytes = Expression::binary(Operator::Mul, bytes, extent);
            }
            let written = buffer.kind == BufferKind::Output;
            buffers.push(plan::Buffer { name: buffer.name.clone(), bytes, written });
        }
        let blocks = match kernel.parallel_loop() {
            Some(l) => {
                let count = Expression::binary(Operator::Sub, self.expression(&l.end)?, self.expression(&l.start)?);
                match i64::from(facts.iterations) {
                    1 => count,
                    0 => return Err(self.fault(format!("`{}` runs no iterations", facts.name))),
                    n => {
                        let up = Expression::binary(Operator::Add, count, Expression::Int(n - 1));
                        Expression::binary(Operator::FloorDiv, up, Expression::Int(n))
                    }
                }
            }
            None => Expression::Int(1),
        };
        Ok(plan::Kernel {
            function: facts.name.clone(),
            params: kernel.params.len() as u32,
            buffers,
            blocks,
            threads: facts.threads,
            shared_bytes: facts.shared_bytes,
            scratch_bytes: facts.scratch_bytes,
        })
    }

    fn launch(&self, launch: &Launch) -> Result<plan::Launch, PlanError> {
        Ok(plan::Launch {
            kernel: launch.kernel,
            label: launch.label.clone(),
            params: self.all(&launch.params)?,
            buffers: launch.arguments.iter().map(|location| self.location(location)).collect::<Result<_, _>>()?,
        })
    }

    fn steps(&self, steps: &[Step]) -> Result<Vec<plan::Step>, PlanError> {
        steps.iter().map(|step| self.step(step)).collect()
    }

    fn step(&self, step: &Step) -> Result<plan::Step, PlanError> {
        Ok(match step {
            Step::Launch(index) => plan::Step::Launch(*index),
            Step::If { condition, then, otherwise } => plan::Step::If {
                condition: self.location(condition)?,
                then: self.steps(then)?,
                otherwise: self.steps(otherwise)?,
            },
            Step::Loop(step) => plan::Step::Loop(Box::new(plan::LoopStep {
                counter: step.counter,
                trip: match &step.trip {
                    TripCount::Expr(e) => plan::Trip::Count(self.expression(e)?),
                    TripCount::Load(from) => plan::Trip::Load(self.location(from)?),
                    TripCount::Unbounded => plan::Trip::Unbounded,
                },
                condition: match &step.condition {
                    Some((before, after)) => Some((self.location(before)?, self.location(after)?)),
                    None => None,
                },
                index: step.index.as_ref().map(|at| self.location(at)).transpose()?,
                body: self.steps(&step.body)?,
            })),
            Step::Find(step) => plan::Step::Find {
                found: step.found,
                from: self.location(&step.from)?,
                constraints: self.constraints(&step.constraints)?,
            },
            Step::Require(constraint) => plan::Step::Require(self.constraint(constraint)?),
        })
    }

    fn constraints(&self, all: &[sparsec_tir::Constraint]) -> Result<Vec<plan::Constraint>, PlanError> {
        all.iter().map(|c| self.constraint(c)).collect()
    }

    fn constraint(&self, c: &sparsec_tir::Constraint) -> Result<plan::Constraint, PlanError> {
        Ok(plan::Constraint { value: self.expression(&c.expr)?, message: c.message.clone() })
    }

    fn location(&self, (argument, offset): &Location) -> Result<plan::Location, PlanError> {
        let memory = match *argument {
            Argument::Input(i) => Memory::Input(i),
            Argument::Output(i) => Memory::Output(i),
            Argument::Constant(i) => Memory::Constant(i),
            Argument::Arena(i) => Memory::Arena(i),
        };
        Ok(plan::Location { memory, offset: self.expression(offset)? })
    }

    fn all(&self, all: &[Expr]) -> Result<Vec<Expression>, PlanError> {
        all.iter().map(|e| self.expression(e)).collect()
    }

    fn expression(&self, e: &Expr) -> Result<Expression, PlanError> {
        let pair = |op, x: &Expr, y: &Expr| Ok(Expression::binary(op, self.expression(x)?, self.expression(y)?));
        match e {
            Expr::Int(value, _) => Ok(Expression::Int(*value)),
            Expr::Param(p) => Ok(Expression::Value(p.0)),
            Expr::Binary(op, x, y) => match arithmetic(*op) {
                Some(op) => pair(op, x, y),
                None => Err(self.fault(format!("an extent has the operation `{}`", op.name()))),
            },
            Expr::Compare(op, x, y) => pair(comparison(*op), x, y),
            Expr::Select(c, x, y) => {
                let (c, x, y) = (self.expression(c)?, self.expression(x)?, self.expression(y)?);
                Ok(Expression::Select(Box::new(c), Box::new(x), Box::new(y)))
            }
            _ => Err(self.fault("an extent is more than integer arithmetic over symbols")),
        }
    }
}

fn arithmetic(op: BinaryOp) -> Option<Operator> {
    Some(match op {
        BinaryOp::Add => Operator::Add,
        BinaryOp::Sub => Operator::Sub,
        BinaryOp::Mul => Operator::Mul,
        BinaryOp::Div => Operator::Div,
        BinaryOp::Rem => Operator::Rem,
        BinaryOp::FloorDiv => Operator::FloorDiv,
        BinaryOp::Min => Operator::Min,
        BinaryOp::Max => Operator::Max,
        BinaryOp::And => Operator::And,
        BinaryOp::Or => Operator::Or,
        BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr | BinaryOp::Pow => return None,
    })
}

fn comparison(op: CompareOp) -> Operator {
    match op {
        CompareOp::Eq => Operator::Eq,
        CompareOp::Ne => Operator::Ne,
        CompareOp::Lt => Operator::Lt,
        CompareOp::Le => Operator::Le,
        CompareOp::Gt => Operator::Gt,
        CompareOp::Ge => Operator::Ge,
    }
}
