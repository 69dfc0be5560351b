//! Runs resolved kernels.

use super::{
    BufferData, InterpError,
    coordinate::Entries,
    lane,
    node::{Code, Compiled, Kind, Memory, Node, Place},
};
use crate::{BufferKind, Expr, Kernel, Scalar, Stage};

/// The state of a kernel that runs.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    code: &'a Compiled,
    params: &'a [i64],
    pub(super) buffers: Vec<Bound>,
    pub(super) registers: Vec<u64>,
    pub(super) vars: Vec<u64>,
    stack: Vec<u64>,
    /// The current lane of a vector loop, and the number of active lanes.
    lane: usize,
    active: i64,
    /// Stage I: where entries of sparse buffers lie.
    pub(super) entries: Option<Entries<'a>>,
}

/// A buffer with its extents.
pub(super) struct Bound {
    pub(super) data: BufferData,
    shape: Vec<i64>,
    strides: Vec<i64>,
    elements: i64,
}

type Result<T> = std::result::Result<T, InterpError>;

impl<'a> Machine<'a> {
    /// Takes the contents of `given` until [`Machine::give_back`].
    pub(super) fn new(
        kernel: &'a Kernel,
        code: &'a Compiled,
        params: &'a [i64],
        given: &mut [BufferData],
    ) -> Result<Self> {
        let mut bounds = Vec::new();
        let mut given_so_far = given.iter();
        for b in &kernel.buffers {
            let value = |e: &Expr| {
                eval_int(e, params).ok_or_else(|| unsupported(kernel, "a shape is no expression over params"))
            };
            let shape: Vec<i64> = b.shape.iter().map(value).collect::<Result<_>>()?;
            let mut strides: Vec<i64> = b.strides.iter().map(value).collect::<Result<_>>()?;
            if strides.is_empty() {
                strides = vec![1; shape.len()];
                for d in (0..shape.len().saturating_sub(1)).rev() {
                    strides[d] = strides[d + 1].saturating_mul(shape[d + 1]);
                }
            }
            if strides.len() != shape.len() {
                return Err(unsupported(kernel, &format!("buffer `{}` has other strides than dimensions", b.name)));
            }
            let reach = |n: i64, (d, s): (&i64, &i64)| n.saturating_add((d - 1).saturating_mul(*s));
            let elements = if shape.iter().any(|d| *d <= 0) { 0 } else { shape.iter().zip(&strides).fold(1, reach) };
            if b.kind.is_given()
                && let Some(data) = given_so_far.next()
                && (data.elem != b.elem || (data.len() as i64) < elements)
            {
                return Err(InterpError::Buffer {
                    kernel: kernel.name.clone(),
                    buffer: b.name.clone(),
                    expected: elements,
                    elem: b.elem,
                    found: data.len(),
                    found_elem: data.elem,
                });
            }
            bounds.push((shape, strides, elements));
        }
        let mut given = given.iter_mut();
        let buffers = kernel.buffers.iter().zip(bounds).map(|(b, (shape, strides, elements))| {
            let data = match b.kind {
                BufferKind::Scratch | BufferKind::Team => BufferData::poisoned(b.elem, elements.max(0) as usize),
                _ => given
                    .next()
                    .map_or(BufferData::zeros(b.elem, 0), |g| std::mem::replace(g, BufferData::zeros(b.elem, 0))),
            };
            Bound { data, shape, strides, elements }
        });
        let mut machine = Machine {
            kernel,
            code,
            params,
            buffers: buffers.collect(),
            registers: vec![0; code.registers.iter().map(|r| r.len).sum()],
            vars: vec![0; code.vars * code.var_slots],
            stack: Vec::new(),
            lane: 0,
            active: i64::MAX,
            entries: None,
        };
        machine.poison_registers();
        Ok(machine)
    }

    /// Returns the contents of the caller's buffers.
    pub(super) fn give_back(self, given: &mut [BufferData]) {
        let mut given = given.iter_mut();
        for (b, bound) in self.kernel.buffers.iter().zip(self.buffers) {
            if b.kind.is_given()
                && let Some(g) = given.next()
            {
                *g = bound.data;
            }
        }
    }

    fn poison_registers(&mut self) {
        for r in &self.code.registers {
            self.registers[r.offset..r.offset + r.len].fill(lane::poison(r.scalar));
        }
    }

    pub(super) fn run(&mut self, body: &[Code]) -> Result<()> {
        body.iter().try_for_each(|c| self.step(c))
    }

    fn step(&mut self, code: &Code) -> Result<()> {
        match code {
            Code::For { var, start, end, step, poison, body } => {
                let (mut i, end) = (self.int(start)?, self.int(end)?);
                while i < end {
                    if *poison {
                        self.poison();
                    }
                    self.vars[*var] = i as u64;
                    self.run(body)?;
                    i = match i.checked_add(*step) {
                        Some(next) => next,
                        None => break,
                    };
                }
            }
            Code::Groups { var, until, start, end, size, poison, body } => {
                let (start, end) = (self.int(start)?, self.int(end)?);
                let mut i = start;
                while i < end {
                    // Both ways of running a group must do: every other one is run iteration by iteration.
                    let group = (i - start) / size;
                    let next = start.saturating_add((group + 1).saturating_mul(*size)).min(end);
                    let next = if group % 2 == 0 { next } else { i + 1 };
                    if *poison {
                        self.poison();
                    }
                    (self.vars[*var], self.vars[*until]) = (i as u64, next as u64);
                    self.run(body)?;
                    i = next;
                }
            }
            Code::Vector { lanes, active, body } => {
                self.active = active.as_ref().map_or(Ok(i64::MAX), |a| self.int(a))?;
                let result = body.iter().try_for_each(|c| self.lockstep(c, *lanes));
                self.active = i64::MAX;
                self.lane = 0;
                result?;
            }
            Code::Let(slot, node, _) => {
                let at = self.stack.len();
                self.eval(node)?;
                self.vars[*slot..*slot + (self.stack.len() - at)].copy_from_slice(&self.stack[at..]);
                self.stack.truncate(at);
            }
            Code::Set(place, node) => {
                let at = self.stack.len();
                self.eval(node)?;
                let to = self.register(place)?;
                self.registers[to..to + (self.stack.len() - at)].copy_from_slice(&self.stack[at..]);
                self.stack.truncate(at);
            }
            Code::Store(memory, node) => {
                let at = self.stack.len();
                self.eval(node)?;
                if let Some((start, active)) = self.address(memory)? {
                    for l in 0..active {
                        let value = self.stack[at + l];
                        self.buffers[memory.buffer].data.set(start + l, value);
                    }
                }
                self.stack.truncate(at);
            }
            Code::Product(p) => self.product(p)?,
            Code::SaveTile(to, sums) => self.save(to, sums)?,
            Code::Warps { var, count, body } => self.team(*var, *count, body)?,
            Code::Together(_) | Code::Barrier => return Err(unsupported(self.kernel, "a barrier outside of a team")),
            Code::Copy(to, from) => self.copy(to, from)?,
            Code::Spread(to, node, piece, distance) => {
                let at = self.stack.len();
                self.eval(node)?;
                let start = self.start(to, 1)? as i64;
                for (j, l) in (0..to.lanes).step_by(*piece).enumerate() {
                    let first = start.saturating_add((j as i64).saturating_mul(*distance));
                    let first = self.flat(to.buffer, first, *piece)?;
                    for i in 0..*piece {
                        let value = self.stack[at + l + i];
                        self.buffers[to.buffer].data.set(first + i, value);
                    }
                }
                self.stack.truncate(at);
            }
            Code::If(c, yes, no) => {
                let branch = if self.scalar(c)? != 0 { yes } else { no };
                self.run(branch)?;
            }
        }
        Ok(())
    }

    /// What an iteration of a parallel loop finds in registers and scratch memory.
    fn poison(&mut self) {
        self.poison_registers();
        for (b, bound) in self.kernel.buffers.iter().zip(&mut self.buffers) {
            if !b.kind.is_given() {
                bound.data.poison();
            }
        }
    }

    /// A statement of a vector loop, for all lanes.
    fn lockstep(&mut self, code: &Code, lanes: usize) -> Result<()> {
        match code {
            Code::For { var, start, end, step, body, .. } => {
                let (mut i, end) = (self.int(start)?, self.int(end)?);
                while i < end {
                    self.vars[*var] = i as u64;
                    body.iter().try_for_each(|c| self.lockstep(c, lanes))?;
                    i = i.saturating_add(*step);
                }
            }
            Code::If(c, yes, no) => {
                let branch = if self.scalar(c)? != 0 { yes } else { no };
                branch.iter().try_for_each(|c| self.lockstep(c, lanes))?;
            }
            Code::Let(slot, node, true) => {
                for l in 0..lanes {
                    self.lane = l;
                    self.vars[slot + l] = self.scalar(node)?;
                }
            }
            Code::Set(place, node) if place.lane => {
                let at = self.stack.len();
                for l in 0..lanes {
                    self.lane = l;
                    let value = self.scalar(node)?;
                    self.stack.push(value);
                }
                self.lane = 0;
                let to = self.register(place)?;
                self.registers[to..to + lanes].copy_from_slice(&self.stack[at..]);
                self.stack.truncate(at);
            }
            Code::Store(memory, node) if memory.varies => {
                let at = self.stack.len();
                for l in 0..lanes.min(self.active.max(0) as usize) {
                    self.lane = l;
                    let value = self.scalar(node)?;
                    if let Some((to, _)) = self.address(memory)? {
                        self.stack.push(to as u64);
                        self.stack.push(value);
                    }
                }
                for pair in self.stack[at..].chunks_exact(2) {
                    self.buffers[memory.buffer].data.set(pair[0] as usize, pair[1]);
                }
                self.stack.truncate(at);
            }
            // What doesn't vary with the lane is done once.
            other => {
                self.lane = 0;
                self.step(other)?;
            }
        }
        Ok(())
    }

    /// Pushes the lanes of a value.
    pub(super) fn eval(&mut self, node: &Node) -> Result<()> {
        let lanes = usize::from(node.ty.lanes);
        let at = self.stack.len();
        match &node.kind {
            Kind::Var(slot) if lanes > 1 => self.stack.extend_from_slice(&self.vars[*slot..*slot + lanes]),
            Kind::Reg(place) if lanes > 1 => {
                let from = self.register(place)?;
                self.stack.extend_from_slice(&self.registers[from..from + lanes]);
            }
            Kind::Load(memory) if lanes > 1 => {
                let place = self.address(memory)?;
                let (start, active) = place.unwrap_or((0, 0));
                let data = &self.buffers[memory.buffer].data;
                self.stack.extend((0..lanes).map(|l| if l < active { data.get(start + l).unwrap_or(0) } else { 0 }));
            }
            Kind::Gather(buffer, index) => {
                self.eval(index)?;
                for l in at..self.stack.len() {
                    let i = self.flat(*buffer, self.stack[l] as i64, 1)?;
                    self.stack[l] = self.buffers[*buffer].data.get(i).unwrap_or(0);
                }
            }
            Kind::Unary(op, x) => {
                self.eval(x)?;
                self.stack[at..].iter_mut().for_each(|a| *a = lane::unary(*op, x.ty.scalar, *a));
            }
            Kind::Convert(x) => {
                self.eval(x)?;
                self.stack[at..].iter_mut().for_each(|a| *a = lane::convert(x.ty.scalar, node.ty.scalar, *a));
            }
            Kind::Binary(op, x, y) if lanes > 1 => {
                self.pair(x, y, lanes)?;
                for l in at..at + lanes {
                    self.stack[l] = lane::binary(*op, x.ty.scalar, self.stack[l], self.stack[l + lanes]);
                }
                self.stack.truncate(at + lanes);
            }
            Kind::Compare(op, x, y) if lanes > 1 => {
                self.pair(x, y, lanes)?;
                for l in at..at + lanes {
                    self.stack[l] = lane::compare(*op, x.ty.scalar, self.stack[l], self.stack[l + lanes]).into();
                }
                self.stack.truncate(at + lanes);
            }
            Kind::Select(c, x, y) if lanes > 1 => {
                self.pair(c, x, lanes)?;
                self.spread(y, lanes)?;
                for l in at..at + lanes {
                    let from = if self.stack[l] != 0 { l + lanes } else { l + 2 * lanes };
                    self.stack[l] = self.stack[from];
                }
                self.stack.truncate(at + lanes);
            }
            Kind::Fma(x, y, z) if lanes > 1 => {
                self.pair(x, y, lanes)?;
                self.spread(z, lanes)?;
                for l in at..at + lanes {
                    let (a, b, c) = (self.stack[l], self.stack[l + lanes], self.stack[l + 2 * lanes]);
                    self.stack[l] = lane::fma(node.ty.scalar, a, b, c);
                }
                self.stack.truncate(at + lanes);
            }
            Kind::Dot4(acc, a, b) if lanes > 1 => {
                self.pair(acc, a, lanes)?;
                self.spread(b, lanes)?;
                for l in at..at + lanes {
                    let (c, x, y) = (self.stack[l], self.stack[l + lanes], self.stack[l + 2 * lanes]);
                    self.stack[l] = lane::dot4(c, (x, a.ty.scalar), (y, b.ty.scalar));
                }
                self.stack.truncate(at + lanes);
            }
            Kind::Bitcast(x) => {
                self.eval(x)?;
                let (from, to) = (x.ty.scalar, node.ty.scalar);
                let mut bytes = vec![0; from.size() * usize::from(x.ty.lanes)];
                for (b, l) in bytes.chunks_exact_mut(from.size()).zip(&self.stack[at..]) {
                    lane::write(b, from, *l);
                }
                self.stack.truncate(at);
                self.stack.extend(bytes.chunks_exact(to.size()).map(|b| lane::read(b, to)));
            }
            Kind::Splat(x) => self.spread(x, lanes)?,
            Kind::Ramp(base, step) => {
                let base = self.scalar(base)? as i64;
                let value = |l: usize| base.wrapping_add(step.wrapping_mul(l as i64));
                self.stack.extend((0..lanes).map(|l| lane::int_bits(value(l), node.ty.scalar)));
            }
            Kind::Shuffle(x, order) => {
                self.eval(x)?;
                let picked: Vec<u64> = order.iter().map(|l| self.stack[at + usize::from(*l)]).collect();
                self.stack.truncate(at);
                self.stack.extend(picked);
            }
            _ => {
                let value = self.scalar(node)?;
                self.stack.push(value);
            }
        }
        Ok(())
    }

    /// The value of a node of one lane.
    pub(super) fn scalar(&mut self, node: &Node) -> Result<u64> {
        Ok(match &node.kind {
            Kind::Const(bits) => *bits,
            Kind::Param(p) => self.params[*p] as u64,
            Kind::Var(slot) => self.vars[*slot],
            Kind::LaneVar(slot) => self.vars[slot + self.lane],
            Kind::Lane => self.lane as u64,
            Kind::Reg(place) => {
                let from = self.register(place)?;
                self.registers[from + if place.lane { self.lane } else { 0 }]
            }
            Kind::Load(memory) => {
                if memory.varies && self.lane as i64 >= self.active {
                    return Ok(0);
                }
                match self.address(memory)? {
                    Some((start, active)) if active > 0 => self.buffers[memory.buffer].data.get(start).unwrap_or(0),
                    _ => 0,
                }
            }
            Kind::Entry(buffer, index) => {
                let index = index.iter().map(|i| self.int(i)).collect::<Result<Vec<i64>>>()?;
                let Some(entries) = &self.entries else { return Ok(0) };
                match entries.find(*buffer, &index)? {
                    Some(position) => {
                        let position = self.flat(*buffer, position as i64, 1)?;
                        self.buffers[*buffer].data.get(position).unwrap_or(0)
                    }
                    None => 0,
                }
            }
            Kind::Binary(op, x, y) => {
                let (a, b) = (self.scalar(x)?, self.scalar(y)?);
                lane::binary(*op, x.ty.scalar, a, b)
            }
            Kind::Compare(op, x, y) => {
                let (a, b) = (self.scalar(x)?, self.scalar(y)?);
                lane::compare(*op, x.ty.scalar, a, b).into()
            }
            Kind::Select(c, x, y) => {
                let (c, a, b) = (self.scalar(c)?, self.scalar(x)?, self.scalar(y)?);
                if c != 0 { a } else { b }
            }
            Kind::Fma(x, y, z) => {
                let (a, b, c) = (self.scalar(x)?, self.scalar(y)?, self.scalar(z)?);
                lane::fma(node.ty.scalar, a, b, c)
            }
            Kind::Dot4(acc, a, b) => {
                let (c, x, y) = (self.scalar(acc)?, self.scalar(a)?, self.scalar(b)?);
                lane::dot4(c, (x, a.ty.scalar), (y, b.ty.scalar))
            }
            Kind::Unary(op, x) => {
                let a = self.scalar(x)?;
                lane::unary(*op, x.ty.scalar, a)
            }
            Kind::Convert(x) => {
                let a = self.scalar(x)?;
                lane::convert(x.ty.scalar, node.ty.scalar, a)
            }
            Kind::Extract(x, l) => {
                let at = self.stack.len();
                self.eval(x)?;
                let value = self.stack[at + l];
                self.stack.truncate(at);
                value
            }
            Kind::Reduce(op, x) => {
                let at = self.stack.len();
                self.eval(x)?;
                let value = lane::reduce(*op, x.ty.scalar, &mut self.stack[at..]);
                self.stack.truncate(at);
                value
            }
            // Vector operations of one lane.
            Kind::Gather(..) | Kind::Bitcast(_) | Kind::Splat(_) | Kind::Ramp(..) | Kind::Shuffle(..) => {
                let at = self.stack.len();
                if let Kind::Splat(x) = &node.kind {
                    return self.scalar(x);
                }
                self.eval(node)?;
                let value = self.stack[at];
                self.stack.truncate(at);
                value
            }
        })
    }

    pub(super) fn int(&mut self, node: &Node) -> Result<i64> {
        self.scalar(node).map(|v| v as i64)
    }

    fn pair(&mut self, x: &Node, y: &Node, lanes: usize) -> Result<()> {
        self.spread(x, lanes)?;
        self.spread(y, lanes)
    }

    /// Pushes `lanes` lanes of a vector, or of a scalar.
    fn spread(&mut self, x: &Node, lanes: usize) -> Result<()> {
        if x.ty.lanes == 1 {
            let value = self.scalar(x)?;
            self.stack.resize(self.stack.len() + lanes, value);
            return Ok(());
        }
        self.eval(x)
    }

    /// The slot of a register's first lane.
    pub(super) fn register(&mut self, place: &Place) -> Result<usize> {
        let r = &self.code.registers[place.register];
        let mut i = 0;
        for (dim, (index, extent)) in place.index.iter().zip(&r.dims).enumerate() {
            let index = self.int(index)?;
            if index < 0 || index >= i64::from(*extent) {
                return Err(self.out_of_bounds(r.name.clone(), dim, index, (*extent).into()));
            }
            i = i * *extent as usize + index as usize;
        }
        Ok(r.offset + i * r.lanes)
    }

    /// The first element of an access, and how many lanes touch memory. None for padding.
    pub(super) fn address(&mut self, memory: &Memory) -> Result<Option<(usize, usize)>> {
        let active = match &memory.active {
            Some(a) => self.int(a)?.clamp(0, memory.lanes as i64) as usize,
            None => memory.lanes,
        };
        if active == 0 {
            return Ok(Some((0, 0)));
        }
        let position = self.kernel.stage == Stage::Position;
        let mut flat = 0_i64;
        for (dim, index) in memory.index.iter().enumerate() {
            let i = self.int(index)?;
            let bound = &self.buffers[memory.buffer];
            if position && (i < 0 || i >= bound.shape[dim]) {
                if memory.padded {
                    return Ok(None);
                }
                let name = self.kernel.buffers[memory.buffer].name.clone();
                return Err(self.out_of_bounds(name, dim, i, bound.shape[dim]));
            }
            flat = flat.saturating_add(i.saturating_mul(bound.strides[dim]));
        }
        self.flat(memory.buffer, flat, active).map(|start| Some((start, active)))
    }

    /// The first of so many elements of an access, whatever is active.
    pub(super) fn start(&mut self, memory: &Memory, elements: usize) -> Result<usize> {
        let mut flat = 0_i64;
        for (dim, index) in memory.index.iter().enumerate() {
            let i = self.int(index)?;
            flat = flat.saturating_add(i.saturating_mul(self.buffers[memory.buffer].strides[dim]));
        }
        self.flat(memory.buffer, flat, elements)
    }

    /// Checks that elements from `start` on lie in a buffer.
    pub(super) fn flat(&self, buffer: usize, start: i64, lanes: usize) -> Result<usize> {
        let elements = self.buffers[buffer].elements;
        let last = start.saturating_add(lanes as i64 - 1);
        if start < 0 || last >= elements {
            let name = self.kernel.buffers[buffer].name.clone();
            return Err(self.out_of_bounds(name, 0, if start < 0 { start } else { last }, elements));
        }
        Ok(start as usize)
    }

    fn out_of_bounds(&self, name: String, dim: usize, index: i64, extent: i64) -> InterpError {
        InterpError::OutOfBounds { kernel: self.kernel.name.clone(), name, dim, index, extent }
    }

    /// Reads one element.
    pub(super) fn load(&mut self, memory: &Memory) -> Result<u64> {
        let place = self.address(memory)?;
        Ok(place.and_then(|(start, _)| self.buffers[memory.buffer].data.get(start)).unwrap_or(0))
    }

    /// Writes one element.
    pub(super) fn store(&mut self, memory: &Memory, value: u64) -> Result<()> {
        if let Some((start, _)) = self.address(memory)? {
            self.buffers[memory.buffer].data.set(start, value);
        }
        Ok(())
    }
}

/// The value of an integer expression over params; none for other expressions, and on a missing param.
pub(super) fn eval_int(e: &Expr, params: &[i64]) -> Option<i64> {
    Some(match e {
        Expr::Int(v, _) => *v,
        Expr::Param(p) => *params.get(p.index())?,
        Expr::Binary(op, x, y) => {
            lane::binary(*op, Scalar::I64, eval_int(x, params)? as u64, eval_int(y, params)? as u64) as i64
        }
        Expr::Compare(op, x, y) => {
            lane::compare(*op, Scalar::I64, eval_int(x, params)? as u64, eval_int(y, params)? as u64).into()
        }
        Expr::Select(c, x, y) => match eval_int(c, params)? {
            0 => eval_int(y, params)?,
            _ => eval_int(x, params)?,
        },
        _ => return None,
    })
}

pub(super) fn unsupported(kernel: &Kernel, reason: &str) -> InterpError {
    InterpError::Unsupported { kernel: kernel.name.clone(), reason: reason.to_owned() }
}
