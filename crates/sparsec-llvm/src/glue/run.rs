//! `run`: checks, then the steps in order.

use inkwell::attributes::AttributeLoc;
use inkwell::module::Linkage;
use inkwell::types::FunctionType;
use inkwell::values::{FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, GlobalVisibility, IntPredicate};
use sparsec_abi::Status;
use sparsec_tir::{Argument, Expr, FindStep, Location, LoopStep, Step, TripCount};

use super::function::{Fun, Seen};
use super::profile::Clock;
use super::strided::room;
use super::symbolic::Symbolic;
use super::{Glue, field, kernel_type};
use crate::error::{Emit, invalid};

/// Byte offsets of what a worker is told.
mod job {
    pub(super) const KERNEL: i64 = 0;
    pub(super) const PARAMS: i64 = 8;
    pub(super) const BUFFERS: i64 = 16;
    pub(super) const SCRATCH: i64 = 24;
    /// Size in words of 8 bytes.
    pub(super) const WORDS: usize = 4;
}

/// Where things lie while the launches of a run are emitted.
struct Places<'c> {
    /// The symbols, then the iterations of the loops, then the extents that were found out.
    symbols: Vec<IntValue<'c>>,
    context: PointerValue<'c>,
    scratch: PointerValue<'c>,
    dispatch: FunctionValue<'c>,
    clock: Option<Clock<'c>>,
    /// The iteration of each loop, on the stack.
    counters: PointerValue<'c>,
    /// Whether each loop goes on, on the stack.
    conditions: PointerValue<'c>,
    /// The address of each input and output, on the stack.
    data: PointerValue<'c>,
    arena: PointerValue<'c>,
    /// Arguments of the next launch, on the stack.
    params: PointerValue<'c>,
    buffers: PointerValue<'c>,
}

impl<'c> Glue<'_, 'c> {
    pub(super) fn emit_run(&self, kernels: &[FunctionValue<'c>], plan: FunctionValue<'c>) -> Emit<()> {
        let cx = self.cx;
        let program = self.program;
        let p = cx.context.ptr_type(AddressSpace::default());
        let dispatch = self.emit_dispatch()?;
        let mut f = Fun::status(cx, &self.name("run_held"), Seen::Internal, &[p.into(), p.into(), p.into()]);
        let (context, inputs, outputs) = (f.pointer(0)?, f.pointer(1)?, f.pointer(2)?);
        let work = self.work(&f)?;
        let most = |g: fn(&sparsec_tir::Launch) -> usize| program.launches.iter().map(g).max().unwrap_or(0);
        let params = f.stack(most(|l| l.params.len()))?;
        let buffers = f.stack(most(|l| l.arguments.len()))?;

        let threads = f.load_i32(context, field::THREADS)?;
        let status = self.call_plan(&f, plan, [inputs, outputs], threads, &work)?;
        f.require_ok(status)?;
        let (have, bytes) = (f.load_i64(context, field::ARENA_BYTES)?, f.load_i64(work.room, room::TOTAL)?);
        let good = f.compare(IntPredicate::ULE, bytes, have)?;
        f.require(good, Status::Arena)?;

        self.emit_overlaps(&mut f, work.ranges)?;
        let mut symbols = Vec::new();
        for s in 0..program.symbols.len() as i64 {
            symbols.push(f.load_i64(work.dims, s * 8)?);
        }
        let counters = f.stack(program.counters as usize)?;
        let conditions = f.stack(program.counters as usize)?;
        // Scratch memory lies behind the arena's slots.
        let mut eval = Symbolic::new(cx, &symbols);
        let arena_bytes = match &program.arena_bytes {
            Some(e) => eval.eval(e)?,
            None => cx.int(0),
        };
        let arena = f.load_pointer(context, field::ARENA)?;
        let rounded = cx.builder.build_int_add(arena_bytes, cx.int(63), "")?;
        let rounded = cx.builder.build_and(rounded, cx.int(-64), "")?;
        let scratch = cx.byte_address(arena, rounded)?;
        let data = self.emit_data(&mut f, [inputs, outputs], &work, arena)?;
        symbols.resize(program.symbols.len() + program.counters as usize + program.found.len(), cx.int(0));
        let mut places = Places {
            symbols,
            context,
            scratch,
            dispatch,
            clock: None,
            counters,
            conditions,
            data,
            arena,
            params,
            buffers,
        };
        if self.profile {
            places.clock = Some(self.start_clock(&f, context)?);
        }
        self.emit_steps(&mut f, &program.steps, kernels, &mut places)?;
        self.emit_result_shapes(&f, &places)?;
        self.copy_out(&mut f, context, [inputs, outputs], &work, data)?;
        let inner = f.finish_ok()?;
        self.emit_held("run", inner)
    }

    fn emit_steps(
        &self,
        f: &mut Fun<'_, 'c>,
        steps: &[Step],
        kernels: &[FunctionValue<'c>],
        places: &mut Places<'c>,
    ) -> Emit<()> {
        for step in steps {
            match step {
                Step::Launch(index) => {
                    let Some(launch) = self.program.launches.get(*index as usize) else {
                        return invalid(format!("there is no launch {index}"));
                    };
                    self.emit_launch(f, launch, kernels, places)?;
                    if let Some(clock) = &places.clock {
                        self.add_time(f, clock, places.context, *index as usize)?;
                    }
                }
                Step::If { condition, then, otherwise } => {
                    let holds = self.load_truth(f, condition, places)?;
                    let (yes, no, after) = (f.block("then"), f.block("else"), f.block("after"));
                    self.cx.builder.build_conditional_branch(holds, yes, no)?;
                    for (block, steps) in [(yes, then), (no, otherwise)] {
                        self.cx.builder.position_at_end(block);
                        self.emit_steps(f, steps, kernels, places)?;
                        self.cx.builder.build_unconditional_branch(after)?;
                    }
                    self.cx.builder.position_at_end(after);
                }
                Step::Loop(step) => self.emit_loop(f, step, kernels, places)?,
                Step::Find(step) => self.emit_find(f, step, places)?,
                Step::Require(constraint) => {
                    let mut eval = Symbolic::new(self.cx, &places.symbols);
                    let value = eval.eval(&constraint.expr)?;
                    f.require(eval.fits()?, Status::TooLarge)?;
                    let good = f.compare(IntPredicate::SGE, value, self.cx.int(0))?;
                    f.require(good, Status::OutOfRange)?;
                }
            }
        }
        Ok(())
    }

    /// Reads an extent that a kernel has found out, and checks what depends on it.
    fn emit_find(&self, f: &mut Fun<'_, 'c>, step: &FindStep, places: &mut Places<'c>) -> Emit<()> {
        let at = self.program.symbols.len() + self.program.counters as usize + step.found as usize;
        let value = f.load_i64(self.address(f, &step.from, places)?, 0)?;
        match places.symbols.get_mut(at) {
            Some(slot) => *slot = value,
            None => return invalid(format!("there is no extent {}", step.found)),
        }
        for constraint in &step.constraints {
            let mut eval = Symbolic::new(self.cx, &places.symbols);
            let value = eval.eval(&constraint.expr)?;
            let good = f.compare(IntPredicate::SGE, value, self.cx.int(0))?;
            let good = self.cx.builder.build_and(good, eval.fits()?, "")?;
            f.require(good, Status::OutOfRange)?;
        }
        Ok(())
    }

    /// Keeps the extents of the outputs in the context, for `result_shape`.
    fn emit_result_shapes(&self, f: &Fun<'_, 'c>, places: &Places<'c>) -> Emit<()> {
        for (i, port) in self.program.outputs.iter().enumerate() {
            let shape = self.program.result_shapes.get(i).unwrap_or(&port.shape);
            for (d, extent) in shape.iter().enumerate() {
                let value = Symbolic::new(self.cx, &places.symbols).eval(extent)?;
                f.store(value, places.context, self.result_shape(i) + d as i64 * 8)?;
            }
        }
        Ok(())
    }

    fn emit_loop(
        &self,
        f: &mut Fun<'_, 'c>,
        step: &LoopStep,
        kernels: &[FunctionValue<'c>],
        places: &mut Places<'c>,
    ) -> Emit<()> {
        let cx = self.cx;
        let at = i64::from(step.counter) * 8;
        let number = self.program.symbols.len() + step.counter as usize;
        if number >= self.program.symbols.len() + self.program.counters as usize {
            return invalid(format!("there is no counter {}", step.counter));
        }
        let trip = match &step.trip {
            TripCount::Expr(e) => Symbolic::new(cx, &places.symbols).eval(e)?,
            TripCount::Load(from) => f.load_i64(self.address(f, from, places)?, 0)?,
            TripCount::Unbounded => cx.int(i64::MAX),
        };
        let keep_condition = |f: &Fun<'_, 'c>, from: &Location, places: &Places<'c>| -> Emit<()> {
            let holds = self.load_truth(f, from, places)?;
            let wide = cx.builder.build_int_z_extend(holds, cx.i64(), "")?;
            f.store(wide, places.conditions, at)
        };
        if let Some((before, _)) = &step.condition {
            keep_condition(f, before, places)?;
        }
        f.store(cx.int(0), places.counters, at)?;
        let (check, body, after) = (f.block("check"), f.block("body"), f.block("after"));
        cx.builder.build_unconditional_branch(check)?;
        cx.builder.position_at_end(check);
        let iteration = f.load_i64(places.counters, at)?;
        let mut more = f.compare(IntPredicate::SLT, iteration, trip)?;
        if step.condition.is_some() {
            let holds = f.load_i64(places.conditions, at)?;
            let holds = f.compare(IntPredicate::NE, holds, cx.int(0))?;
            more = cx.builder.build_and(more, holds, "")?;
        }
        cx.builder.build_conditional_branch(more, body, after)?;
        cx.builder.position_at_end(body);
        places.symbols[number] = iteration;
        if let Some(index) = &step.index {
            f.store(iteration, self.address(f, index, places)?, 0)?;
        }
        self.emit_steps(f, &step.body, kernels, places)?;
        if let Some((_, last)) = &step.condition {
            keep_condition(f, last, places)?;
        }
        let next = cx.builder.build_int_add(iteration, cx.int(1), "")?;
        f.store(next, places.counters, at)?;
        cx.builder.build_unconditional_branch(check)?;
        cx.builder.position_at_end(after);
        Ok(())
    }

    /// Whether a `bool` in memory is not 0.
    fn load_truth(&self, f: &Fun<'_, 'c>, from: &Location, places: &Places<'c>) -> Emit<IntValue<'c>> {
        let byte = self.cx.context.i8_type();
        let value = f.load(byte, self.address(f, from, places)?, 0)?.into_int_value();
        f.compare(IntPredicate::NE, value, byte.const_zero())
    }

    /// Where a buffer argument lies.
    fn address(&self, f: &Fun<'_, 'c>, (argument, offset): &Location, places: &Places<'c>) -> Emit<PointerValue<'c>> {
        let cx = self.cx;
        let eval = |e: &Expr| Symbolic::new(cx, &places.symbols).eval(e);
        let tensor = |slot: usize| f.load_pointer(places.data, slot as i64 * cx.pointer_bytes);
        let base = match argument {
            Argument::Input(k) if (*k as usize) < self.program.inputs.len() => Some(tensor(*k as usize)?),
            Argument::Output(k) if (*k as usize) < self.program.outputs.len() => {
                Some(tensor(self.program.inputs.len() + *k as usize)?)
            }
            Argument::Input(_) | Argument::Output(_) => None,
            Argument::Constant(k) => self.constant_address(*k as usize),
            Argument::Arena(k) => match self.program.arena.get(*k as usize) {
                Some(slot) => Some(cx.byte_address(places.arena, eval(&slot.offset)?)?),
                None => None,
            },
        };
        match base {
            Some(base) => cx.byte_address(base, eval(offset)?),
            None => invalid(format!("{argument:?} does not exist")),
        }
    }

    fn emit_launch(
        &self,
        f: &Fun<'_, 'c>,
        launch: &sparsec_tir::Launch,
        kernels: &[FunctionValue<'c>],
        places: &Places<'c>,
    ) -> Emit<()> {
        let cx = self.cx;
        let Places { context, scratch, dispatch, .. } = *places;
        let index = launch.kernel as usize;
        let (Some(kernel), Some(function)) = (self.program.kernels.get(index), kernels.get(index)) else {
            return invalid(format!("launch `{}` has no kernel", launch.label));
        };
        let eval = |e: &Expr| Symbolic::new(cx, &places.symbols).eval(e);
        let mut values = Vec::new();
        for (i, e) in launch.params.iter().enumerate() {
            let value = eval(e)?;
            f.store(value, places.params, i as i64 * 8)?;
            values.push(value);
        }
        for (i, location) in launch.arguments.iter().enumerate() {
            f.store(self.address(f, location, places)?, places.buffers, i as i64 * cx.pointer_bytes)?;
        }
        let function = function.as_global_value().as_pointer_value();
        match kernel.parallel_loop() {
            Some(l) => {
                let mut of_params = Symbolic::new(cx, &values);
                let (start, end) = (of_params.eval(&l.start)?, of_params.eval(&l.end)?);
                let extent = cx.builder.build_int_sub(end, start, "")?;
                let arguments = [
                    context.into(),
                    function.into(),
                    places.params.into(),
                    places.buffers.into(),
                    scratch.into(),
                    extent.into(),
                ];
                f.call(dispatch, &arguments)?;
            }
            None => {
                let arguments =
                    [places.params.into(), places.buffers.into(), scratch.into(), cx.int(0).into(), cx.int(1).into()];
                cx.builder.build_indirect_call(kernel_type(cx), function, &arguments, "")?;
            }
        }
        Ok(())
    }

    /// `void dispatch(context, kernel, params, buffers, scratch, extent)`: through the caller's pool where there is one.
    fn emit_dispatch(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let worker = self.emit_worker()?;
        let params = [p.into(), p.into(), p.into(), p.into(), p.into(), cx.i64().into()];
        let f = Fun::new(cx, &self.name("dispatch"), Seen::Internal, &params, None);
        f.function.add_attribute(AttributeLoc::Function, crate::kernel::attribute(cx, "noinline"));
        let (context, kernel) = (f.pointer(0)?, f.pointer(1)?);
        let (params, buffers, scratch, extent) = (f.pointer(2)?, f.pointer(3)?, f.pointer(4)?, f.int(5)?);
        let told = f.stack(job::WORDS)?;
        let parallel_for = f.load_pointer(context, field::PARALLEL_FOR)?;
        let present = cx.builder.build_is_not_null(parallel_for, "")?;
        let several = f.compare(IntPredicate::SGT, extent, cx.int(1))?;
        let shared = cx.builder.build_and(present, several, "")?;
        let (pool, alone) = (f.block("pool"), f.block("alone"));
        cx.builder.build_conditional_branch(shared, pool, alone)?;
        cx.builder.position_at_end(pool);
        f.store(kernel, told, job::KERNEL)?;
        f.store(params, told, job::PARAMS)?;
        f.store(buffers, told, job::BUFFERS)?;
        f.store(scratch, told, job::SCRATCH)?;
        let this = f.load_pointer(context, field::POOL)?;
        let worker = worker.as_global_value().as_pointer_value();
        let arguments = [this.into(), extent.into(), worker.into(), told.into()];
        let ty: FunctionType<'c> =
            cx.context.void_type().fn_type(&[p.into(), cx.i64().into(), p.into(), p.into()], false);
        cx.builder.build_indirect_call(ty, parallel_for, &arguments, "")?;
        cx.builder.build_return(None)?;
        cx.builder.position_at_end(alone);
        let arguments = [params.into(), buffers.into(), scratch.into(), cx.int(0).into(), extent.into()];
        cx.builder.build_indirect_call(kernel_type(cx), kernel, &arguments, "")?;
        f.finish(None)
    }

    /// `void worker(void* job, int64_t begin, int64_t end, int32_t worker)`: what the caller's pool calls.
    fn emit_worker(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let i = cx.i64();
        let params = [p.into(), i.into(), i.into(), cx.context.i32_type().into()];
        let f = Fun::new(cx, &self.name("worker"), Seen::Internal, &params, None);
        let told = f.pointer(0)?;
        let worker = cx.builder.build_int_z_extend(f.int(3)?, i, "")?;
        let offset = cx.builder.build_int_mul(worker, cx.int(self.scratch_stride()), "")?;
        let scratch = cx.byte_address(f.load_pointer(told, job::SCRATCH)?, offset)?;
        let kernel = f.load_pointer(told, job::KERNEL)?;
        let arguments = [
            f.load_pointer(told, job::PARAMS)?.into(),
            f.load_pointer(told, job::BUFFERS)?.into(),
            scratch.into(),
            f.int(1)?.into(),
            f.int(2)?.into(),
        ];
        cx.builder.build_indirect_call(kernel_type(cx), kernel, &arguments, "")?;
        f.finish(None)
    }

    /// The constant's symbol: defined by the weights object, hidden, so that it is reached relative to the code.
    fn constant_address(&self, index: usize) -> Option<PointerValue<'c>> {
        self.program.constants.get(index)?;
        let name = sparsec_abi::constant_symbol(&self.program.name, index);
        let global = self.cx.module.get_global(&name).unwrap_or_else(|| {
            let global = self.cx.module.add_global(self.cx.context.i8_type().array_type(0), None, &name);
            global.set_constant(true);
            global.set_linkage(Linkage::External);
            global.set_visibility(GlobalVisibility::Hidden);
            global
        });
        Some(global.as_pointer_value())
    }
}
