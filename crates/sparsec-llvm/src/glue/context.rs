//! Contexts: an arena, a thread pool of the caller, and a flag that says whether a call is in progress.

use inkwell::module::Linkage;
use inkwell::values::{BasicValue, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, AtomicOrdering, IntPredicate};
use sparsec_abi::{ABI_VERSION, MAX_THREADS, MEMORY_ALIGN, Status};

use super::function::{Fun, Seen};
use super::levels::Chosen;
use super::symbolic::Symbolic;
use super::{Glue, field};
use crate::error::{Emit, EmitError};

impl<'c> Glue<'_, 'c> {
    /// `int32_t need(const int64_t* dims, int32_t threads, int64_t* bytes)`: how large the arena must be.
    pub(super) fn emit_need(&self, constraints: Option<FunctionValue<'c>>) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let i32_type = cx.context.i32_type();
        let mut f = Fun::status(cx, &self.name("need"), Seen::Internal, &[p.into(), i32_type.into(), p.into()]);
        let (dims, threads, out) = (f.pointer(0)?, f.int(1)?, f.pointer(2)?);
        let less = cx.builder.build_int_sub(threads, i32_type.const_int(1, false), "")?;
        let good = f.compare(IntPredicate::ULT, less, i32_type.const_int(MAX_THREADS as u64, false))?;
        f.require(good, Status::Threads)?;
        let symbols = self.load_dims(&mut f, dims)?;
        if let Some(constraints) = constraints {
            let status = f.call_int(constraints, &[dims.into()])?;
            f.require_ok(status)?;
        }
        let mut eval = Symbolic::new(cx, &symbols);
        let arena = match &self.program.arena_bytes {
            Some(e) => eval.eval(e)?,
            None => cx.int(0),
        };
        let threads = cx.builder.build_int_s_extend(threads, cx.i64(), "")?;
        let scratch = eval.product(threads, cx.int(self.scratch_stride()))?;
        let rounded = eval.sum(arena, cx.int(MEMORY_ALIGN as i64 - 1))?;
        let rounded = cx.builder.build_and(rounded, cx.int(-(MEMORY_ALIGN as i64)), "")?;
        let total = eval.sum(rounded, scratch)?;
        f.require(eval.fits()?, Status::TooLarge)?;
        let good = f.compare(IntPredicate::ULE, total, cx.int(self.largest_arena()))?;
        f.require(good, Status::TooLarge)?;
        f.store(total, out, 0)?;
        f.finish_ok()
    }

    /// Bytes of scratch per worker.
    pub(super) fn scratch_stride(&self) -> i64 {
        i64::try_from(self.program.scratch_bytes()).unwrap_or(i64::MAX)
    }

    pub(super) fn emit_contexts(&self, need: FunctionValue<'c>, plan: FunctionValue<'c>) -> Emit<()> {
        let destroy = self.emit_destroy()?;
        if self.cx.heap {
            let reserve = match self.versions {
                Some(_) => self.emit_forward("reserve", field::RESERVE, 1)?,
                None => self.emit_reserve(need)?,
            };
            match self.versions {
                Some(_) => self.emit_forward("reserve_for", field::RESERVE_FOR, 2)?,
                None => self.emit_reserve_for(plan)?,
            };
            self.emit_create(reserve, destroy)?;
        }
        self.emit_create_in()?;
        self.emit_set_parallel()?;
        self.emit_set_arena()?;
        self.emit_arena_bytes(need)?;
        self.emit_arena_bytes_for(plan)
    }

    fn emit_create(&self, reserve: FunctionValue<'c>, destroy: FunctionValue<'c>) -> Emit<()> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let i32_type = cx.context.i32_type();
        let mut f = Fun::status(cx, &self.name("create"), self.seen, &[p.into(), i32_type.into()]);
        let (out, version) = (f.pointer(0)?, f.int(1)?);
        f.require_pointer(out)?;
        f.store(f.null(), out, 0)?;
        self.require_version(&mut f, version)?;
        let chosen = self.choose(&mut f)?;
        let context = self.malloc(&f, cx.int(self.context_bytes()))?;
        let good = cx.builder.build_is_not_null(context, "")?;
        f.require(good, Status::Memory)?;
        self.initialise(&f, context, 1, chosen)?;
        if self.program.symbols.is_empty() {
            // Nothing is left to say about sizes: the context is ready at once.
            let status = f.call_int(reserve, &[context.into(), f.null().into()])?;
            let bad = f.compare(IntPredicate::NE, status, i32_type.const_zero())?;
            f.when(bad, |f| f.call(destroy, &[context.into()]).map(|_| ()))?;
            f.require_ok(status)?;
        }
        f.store(context, out, 0)?;
        f.finish_ok()?;
        Ok(())
    }

    fn emit_create_in(&self) -> Emit<()> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let i32_type = cx.context.i32_type();
        let params = [p.into(), cx.size_type().into(), p.into(), i32_type.into()];
        let mut f = Fun::status(cx, &self.name("create_in"), self.seen, &params);
        let (memory, bytes, out, version) = (f.pointer(0)?, f.int(1)?, f.pointer(2)?, f.int(3)?);
        let bytes = cx.builder.build_int_z_extend_or_bit_cast(bytes, cx.i64(), "")?;
        f.require_pointer(out)?;
        f.store(f.null(), out, 0)?;
        self.require_version(&mut f, version)?;
        f.require_pointer(memory)?;
        let aligned = f.aligned(memory, 8)?;
        f.require(aligned, Status::Alignment)?;
        let enough = f.compare(IntPredicate::UGE, bytes, cx.int(self.context_bytes()))?;
        f.require(enough, Status::Arena)?;
        let chosen = self.choose(&mut f)?;
        self.initialise(&f, memory, 0, chosen)?;
        f.store(memory, out, 0)?;
        f.finish_ok()?;
        Ok(())
    }

    fn emit_destroy(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let mut f = Fun::new(cx, &self.name("destroy"), self.seen, &[p.into()], None);
        let context = f.pointer(0)?;
        let given = cx.builder.build_is_not_null(context, "")?;
        f.when(given, |f| {
            if !cx.heap {
                return Ok(());
            }
            self.free(f, f.load_pointer(context, field::ARENA_RAW)?)?;
            let owned = f.load_i32(context, field::OWNED)?;
            let owned = f.compare(IntPredicate::NE, owned, f.i32(0))?;
            f.when(owned, |f| self.free(f, context))
        })?;
        f.finish(None)
    }

    fn emit_set_parallel(&self) -> Emit<()> {
        let p = self.cx.context.ptr_type(AddressSpace::default());
        let inner = {
            let mut f = Fun::status(self.cx, &self.name("set_parallel_held"), Seen::Internal, &[p.into(), p.into()]);
            let (context, pool) = (f.pointer(0)?, f.pointer(1)?);
            let none = self.cx.builder.build_is_null(pool, "")?;
            let (reset, set) = (f.block("reset"), f.block("set"));
            self.cx.builder.build_conditional_branch(none, reset, set)?;
            self.cx.builder.position_at_end(reset);
            f.store(f.null(), context, field::PARALLEL_FOR)?;
            f.store(f.i32(1), context, field::THREADS)?;
            self.cx.builder.build_return(Some(&f.i32(0)))?;
            self.cx.builder.position_at_end(set);
            let (this, threads, parallel_for) = {
                let pointer = self.cx.pointer_bytes;
                (f.load_pointer(pool, 0)?, f.load_i32(pool, pointer)?, f.load_pointer(pool, 2 * pointer)?)
            };
            f.require_pointer(parallel_for)?;
            let less = self.cx.builder.build_int_sub(threads, f.i32(1), "")?;
            let good = f.compare(IntPredicate::ULT, less, f.i32(i64::from(MAX_THREADS)))?;
            f.require(good, Status::Threads)?;
            f.store(this, context, field::POOL)?;
            f.store(parallel_for, context, field::PARALLEL_FOR)?;
            f.store(threads, context, field::THREADS)?;
            f.finish_ok()?
        };
        self.emit_held("set_parallel", inner)
    }

    fn emit_set_arena(&self) -> Emit<()> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let params = [p.into(), p.into(), cx.size_type().into()];
        let inner = {
            let mut f = Fun::status(cx, &self.name("set_arena_held"), Seen::Internal, &params);
            let (context, memory, bytes) = (f.pointer(0)?, f.pointer(1)?, f.int(2)?);
            let bytes = cx.builder.build_int_z_extend_or_bit_cast(bytes, cx.i64(), "")?;
            let aligned = f.aligned(memory, MEMORY_ALIGN)?;
            f.require(aligned, Status::Alignment)?;
            if cx.heap {
                self.free(&f, f.load_pointer(context, field::ARENA_RAW)?)?;
            }
            f.store(f.null(), context, field::ARENA_RAW)?;
            f.store(memory, context, field::ARENA)?;
            let none = cx.builder.build_is_null(memory, "")?;
            let bytes = cx.builder.build_select(none, cx.int(0), bytes, "")?;
            f.store(bytes, context, field::ARENA_BYTES)?;
            f.finish_ok()?
        };
        self.emit_held("set_arena", inner)
    }

    pub(super) fn emit_reserve(&self, need: FunctionValue<'c>) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let inner = {
            let mut f = Fun::status(cx, &self.name("reserve_held"), Seen::Internal, &[p.into(), p.into()]);
            let (context, dims) = (f.pointer(0)?, f.pointer(1)?);
            let out = f.stack(1)?;
            let threads = f.load_i32(context, field::THREADS)?;
            let status = f.call_int(need, &[dims.into(), threads.into(), out.into()])?;
            f.require_ok(status)?;
            let bytes = f.load_i64(out, 0)?;
            self.grow(f, context, bytes)?
        };
        self.emit_held("reserve", inner)?;
        cx.module.get_function(&self.name("reserve")).ok_or_else(|| EmitError::Llvm("a function is missing".to_owned()))
    }

    /// Allocates an arena of so many bytes where the context has a smaller one, and ends the function.
    pub(super) fn grow(
        &self,
        mut f: Fun<'_, 'c>,
        context: PointerValue<'c>,
        bytes: IntValue<'c>,
    ) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let held = f.load_i64(context, field::ARENA_BYTES)?;
        let (grow, enough) = (f.block("grow"), f.block("enough"));
        let more = f.compare(IntPredicate::UGT, bytes, held)?;
        cx.builder.build_conditional_branch(more, grow, enough)?;
        cx.builder.position_at_end(enough);
        cx.builder.build_return(Some(&f.i32(0)))?;
        cx.builder.position_at_end(grow);
        let padded = cx.builder.build_int_add(bytes, cx.int(MEMORY_ALIGN as i64), "")?;
        let raw = self.malloc(&f, padded)?;
        let good = cx.builder.build_is_not_null(raw, "")?;
        f.require(good, Status::Memory)?;
        self.free(&f, f.load_pointer(context, field::ARENA_RAW)?)?;
        let address = cx.builder.build_ptr_to_int(raw, cx.i64(), "")?;
        let negated = cx.builder.build_int_neg(address, "")?;
        let skip = cx.builder.build_and(negated, cx.int(MEMORY_ALIGN as i64 - 1), "")?;
        f.store(raw, context, field::ARENA_RAW)?;
        f.store(cx.byte_address(raw, skip)?, context, field::ARENA)?;
        f.store(bytes, context, field::ARENA_BYTES)?;
        f.finish_ok()
    }

    fn emit_arena_bytes(&self, need: FunctionValue<'c>) -> Emit<()> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let params = [p.into(), cx.context.i32_type().into()];
        let f = Fun::new(cx, &self.name("arena_bytes"), self.seen, &params, Some(cx.size_type().into()));
        let out = f.stack(1)?;
        f.store(cx.int(-1), out, 0)?;
        f.call_int(need, &[f.param(0)?, f.param(1)?, out.into()])?;
        let bytes = cx.builder.build_int_truncate_or_bit_cast(f.load_i64(out, 0)?, cx.size_type(), "")?;
        f.finish(Some(bytes.into()))?;
        Ok(())
    }

    /// Exports `name(context, ...)`: takes the context, calls `inner` with the same arguments, and lets the context go.
    pub(super) fn emit_held(&self, name: &str, inner: FunctionValue<'c>) -> Emit<()> {
        let cx = self.cx;
        let params: Vec<_> = inner.get_type().get_param_types();
        let mut f = Fun::status(cx, &self.name(name), self.seen, &params);
        let context = f.pointer(0)?;
        f.require_pointer(context)?;
        let busy = cx.byte_address(context, cx.int(field::BUSY))?;
        let (acquire, relaxed) = (AtomicOrdering::Acquire, AtomicOrdering::Monotonic);
        let pair = cx.builder.build_cmpxchg(busy, f.i32(0), f.i32(1), acquire, relaxed)?;
        let taken = cx.builder.build_extract_value(pair, 1, "")?.into_int_value();
        f.require(taken, Status::Busy)?;
        let mut arguments = Vec::new();
        for i in 0..params.len() as u32 {
            arguments.push(f.param(i)?);
        }
        let status = f.call_int(inner, &arguments)?;
        let release = cx.builder.build_store(busy, f.i32(0))?;
        release.set_alignment(4).map_err(|e| EmitError::Llvm(e.to_string()))?;
        release.set_atomic_ordering(AtomicOrdering::Release).map_err(|e| EmitError::Llvm(e.to_string()))?;
        f.finish(Some(status.as_basic_value_enum()))?;
        Ok(())
    }

    fn initialise(
        &self,
        f: &Fun<'_, 'c>,
        context: PointerValue<'c>,
        owned: i64,
        chosen: Option<Chosen<'c>>,
    ) -> Emit<()> {
        for word in 0..self.context_bytes() / 8 {
            f.store(self.cx.int(0), context, word * 8)?;
        }
        if let Some(Chosen { run, reserve, reserve_for, cpu }) = chosen {
            f.store(run, context, field::RUN)?;
            f.store(reserve, context, field::RESERVE)?;
            f.store(reserve_for, context, field::RESERVE_FOR)?;
            f.store(cpu, context, field::CPU)?;
        }
        f.store(f.i32(owned), context, field::OWNED)?;
        f.store(f.i32(1), context, field::THREADS)
    }

    fn require_version(&self, f: &mut Fun<'_, 'c>, version: IntValue<'c>) -> Emit<()> {
        let good = f.compare(IntPredicate::EQ, version, f.i32(i64::from(ABI_VERSION)))?;
        f.require(good, Status::AbiVersion)
    }

    fn malloc(&self, f: &Fun<'_, 'c>, bytes: IntValue<'c>) -> Emit<PointerValue<'c>> {
        let p = self.cx.context.ptr_type(AddressSpace::default());
        let malloc = self.cx.module.get_function("malloc").unwrap_or_else(|| {
            let ty = p.fn_type(&[self.cx.i64().into()], false);
            self.cx.module.add_function("malloc", ty, Some(Linkage::External))
        });
        match f.call(malloc, &[bytes.into()])? {
            Some(v) => Ok(v.into_pointer_value()),
            None => Err(EmitError::Llvm("malloc gives nothing".to_owned())),
        }
    }

    fn free(&self, f: &Fun<'_, 'c>, memory: PointerValue<'c>) -> Emit<()> {
        let p = self.cx.context.ptr_type(AddressSpace::default());
        let free = self.cx.module.get_function("free").unwrap_or_else(|| {
            let ty = self.cx.context.void_type().fn_type(&[p.into()], false);
            self.cx.module.add_function("free", ty, Some(Linkage::External))
        });
        f.call(free, &[memory.into()]).map(|_| ())
    }
}
