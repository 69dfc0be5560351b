//! Tensors that are not row-major: rows with a pitch, channels of a larger tensor, transposed ones.
//!
//! Kernels read and write row-major memory. A run therefore copies other inputs into the arena before the first kernel, and
//! other outputs out of it after the last; what that takes lies behind everything else in the arena. The arithmetic on
//! strides is in `runtime/strided.ll`, and is not reached where all tensors are row-major.

use inkwell::memory_buffer::MemoryBuffer;
use inkwell::module::Linkage;
use inkwell::types::BasicMetadataTypeEnum;
use inkwell::values::{FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::{MEMORY_ALIGN, Status};

use super::function::{Fun, Seen};
use super::symbolic::Symbolic;
use super::{Glue, field};
use crate::error::{Emit, EmitError};

const LIBRARY: &str = include_str!("../runtime/strided.ll");

/// Words of 8 bytes that describe where a tensor lies: its begin, its end, the bytes of its copy.
pub(super) mod range {
    pub(in super::super) const START: i64 = 0;
    pub(in super::super) const END: i64 = 8;
    pub(in super::super) const COPY: i64 = 16;
    pub(in super::super) const BYTES: i64 = 24;
    pub(in super::super) const WORDS: usize = 3;
}

/// What a run needs of the arena: words of 8 bytes.
pub(super) mod room {
    /// All together.
    pub(in super::super) const TOTAL: i64 = 0;
    /// Where the copies begin.
    pub(in super::super) const COPIES_AT: i64 = 8;
    /// How many bytes they take; 0 where all tensors are row-major.
    pub(in super::super) const COPIES: i64 = 16;
    pub(in super::super) const WORDS: usize = 3;
}

/// The functions of the library.
#[derive(Clone, Copy)]
pub(super) struct Strided<'c> {
    pub(super) layout: FunctionValue<'c>,
    pub(super) copy: FunctionValue<'c>,
}

/// Where `plan` is to write what it finds.
pub(super) struct Work<'c> {
    pub(super) dims: PointerValue<'c>,
    /// The ranges of the inputs and then of the outputs.
    pub(super) ranges: PointerValue<'c>,
    pub(super) room: PointerValue<'c>,
    /// Where a copy counts, a number for each axis.
    index: PointerValue<'c>,
}

impl<'c> Glue<'_, 'c> {
    /// The library's functions, which a module gets once.
    pub(super) fn strided(&self) -> Emit<Strided<'c>> {
        const NAMES: [&str; 5] = ["layout", "copy", "distance", "steps", "row"];
        let cx = self.cx;
        let own = |name: &str| format!("{}_strided_{name}", self.program.name);
        if cx.module.get_function(&own("copy")).is_none() {
            let failed = |e: inkwell::support::LLVMString| EmitError::Llvm(e.to_string());
            let text = MemoryBuffer::create_from_memory_range_copy(LIBRARY.as_bytes(), "strided");
            let library = cx.context.create_module_from_ir(text).map_err(failed)?;
            library.set_triple(&cx.module.get_triple());
            library.set_data_layout(&cx.module.get_data_layout());
            for name in NAMES {
                if let Some(f) = library.get_function(&format!("strided_{name}")) {
                    f.as_global_value().set_name(&own(name));
                }
            }
            cx.module.link_in_module(library).map_err(failed)?;
        }
        let get = |name: &str| {
            let function = cx.module.get_function(&own(name));
            function.ok_or_else(|| EmitError::Llvm(format!("the function strided_{name} is missing")))
        };
        for name in NAMES {
            get(name)?.set_linkage(Linkage::Internal);
        }
        Ok(Strided { layout: get("layout")?, copy: get("copy")? })
    }

    /// Room for what `plan` writes.
    pub(super) fn work(&self, f: &Fun<'_, 'c>) -> Emit<Work<'c>> {
        Ok(Work {
            dims: f.stack(self.program.symbols.len())?,
            ranges: f.stack((self.program.inputs.len() + self.program.outputs.len()) * range::WORDS)?,
            room: f.stack(room::WORDS)?,
            index: f.stack(self.most_axes())?,
        })
    }

    /// Calls `plan`, and returns its status.
    pub(super) fn call_plan(
        &self,
        f: &Fun<'_, 'c>,
        plan: FunctionValue<'c>,
        tensors: [PointerValue<'c>; 2],
        threads: IntValue<'c>,
        work: &Work<'c>,
    ) -> Emit<IntValue<'c>> {
        let [inputs, outputs] = tensors;
        let Work { dims, ranges, room, .. } = *work;
        f.call_int(plan, &[inputs.into(), outputs.into(), threads.into(), dims.into(), ranges.into(), room.into()])
    }

    /// `int32_t plan(const sparsec_tensor* inputs, const sparsec_tensor* outputs, int32_t threads, int64_t* dims,
    /// int64_t* ranges, int64_t* room)`: checks all tensors, and tells where they lie and what a run with them takes.
    pub(super) fn emit_plan(
        &self,
        need: FunctionValue<'c>,
        infer: FunctionValue<'c>,
        check_outputs: FunctionValue<'c>,
    ) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p: BasicMetadataTypeEnum<'c> = cx.context.ptr_type(AddressSpace::default()).into();
        let params = [p, p, cx.context.i32_type().into(), p, p, p];
        let mut f = Fun::status(cx, &self.name("plan"), Seen::Internal, &params);
        let (dims, ranges, room) = (f.pointer(3)?, f.pointer(4)?, f.pointer(5)?);
        let (inputs, outputs) = (self.program.inputs.len() as i64, self.program.outputs.len() as i64);
        let of_outputs = cx.byte_address(ranges, cx.int(inputs * range::BYTES))?;
        let status = f.call_int(infer, &[f.param(0)?, dims.into(), ranges.into()])?;
        f.require_ok(status)?;
        let status = f.call_int(check_outputs, &[f.param(1)?, dims.into(), of_outputs.into()])?;
        f.require_ok(status)?;
        let status = f.call_int(need, &[dims.into(), f.param(2)?, room.into()])?;
        f.require_ok(status)?;
        let mut eval = Symbolic::new(cx, &[]);
        let mut copies = cx.int(0);
        for i in 0..inputs + outputs {
            copies = eval.sum(copies, f.load_i64(ranges, i * range::BYTES + range::COPY)?)?;
        }
        f.require(eval.fits()?, Status::TooLarge)?;
        f.store(copies, room, room::COPIES)?;
        let none = f.compare(IntPredicate::EQ, copies, cx.int(0))?;
        let (some, done) = (f.block("copies"), f.block("done"));
        cx.builder.build_conditional_branch(none, done, some)?;
        cx.builder.position_at_end(some);
        let mut eval = Symbolic::new(cx, &[]);
        let total = f.load_i64(room, room::TOTAL)?;
        let at = cx.builder.build_int_add(total, cx.int(MEMORY_ALIGN as i64 - 1), "")?;
        let at = cx.builder.build_and(at, cx.int(-(MEMORY_ALIGN as i64)), "")?;
        let total = eval.sum(at, copies)?;
        let fits = f.compare(IntPredicate::ULE, total, cx.int(self.largest_arena()))?;
        let fits = cx.builder.build_and(fits, eval.fits()?, "")?;
        f.require(fits, Status::TooLarge)?;
        f.store(at, room, room::COPIES_AT)?;
        f.store(total, room, room::TOTAL)?;
        cx.builder.build_unconditional_branch(done)?;
        cx.builder.position_at_end(done);
        f.finish_ok()
    }

    /// `int32_t NAME_reserve_for(NAME_context*, const sparsec_tensor* inputs, const sparsec_tensor* outputs)`.
    pub(super) fn emit_reserve_for(&self, plan: FunctionValue<'c>) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p: BasicMetadataTypeEnum<'c> = cx.context.ptr_type(AddressSpace::default()).into();
        let mut f = Fun::status(cx, &self.name("reserve_for_held"), Seen::Internal, &[p, p, p]);
        let context = f.pointer(0)?;
        let work = self.work(&f)?;
        let threads = f.load_i32(context, field::THREADS)?;
        let status = self.call_plan(&f, plan, [f.pointer(1)?, f.pointer(2)?], threads, &work)?;
        f.require_ok(status)?;
        let bytes = f.load_i64(work.room, room::TOTAL)?;
        let inner = self.grow(f, context, bytes)?;
        self.emit_held("reserve_for", inner)?;
        let made = cx.module.get_function(&self.name("reserve_for"));
        made.ok_or_else(|| EmitError::Llvm("a function is missing".to_owned()))
    }

    /// `size_t NAME_arena_bytes_for(const sparsec_tensor* inputs, const sparsec_tensor* outputs, int32_t threads)`.
    pub(super) fn emit_arena_bytes_for(&self, plan: FunctionValue<'c>) -> Emit<()> {
        let cx = self.cx;
        let p: BasicMetadataTypeEnum<'c> = cx.context.ptr_type(AddressSpace::default()).into();
        let params = [p, p, cx.context.i32_type().into()];
        let name = self.name("arena_bytes_for");
        let f = Fun::new(cx, &name, self.seen, &params, Some(cx.size_type().into()));
        let work = self.work(&f)?;
        let status = self.call_plan(&f, plan, [f.pointer(0)?, f.pointer(1)?], f.int(2)?, &work)?;
        let good = f.compare(IntPredicate::EQ, status, f.i32(0))?;
        let bytes = f.load_i64(work.room, room::TOTAL)?;
        let bytes = cx.builder.build_select(good, bytes, cx.int(-1), "")?.into_int_value();
        let bytes = cx.builder.build_int_truncate_or_bit_cast(bytes, cx.size_type(), "")?;
        f.finish(Some(bytes.into()))?;
        Ok(())
    }

    /// The largest arena: there must be room for the alignment of what malloc returns, below the largest positive size.
    pub(super) fn largest_arena(&self) -> i64 {
        (if self.cx.pointer_bytes == 4 { i64::from(i32::MAX) } else { i64::MAX }) - 4096
    }

    /// Where kernels find each tensor, inputs first, on the stack: at the caller's, or in the arena where it is not row-major.
    /// Such inputs are copied there.
    pub(super) fn emit_data(
        &self,
        f: &mut Fun<'_, 'c>,
        tensors: [PointerValue<'c>; 2],
        work: &Work<'c>,
        arena: PointerValue<'c>,
    ) -> Emit<PointerValue<'c>> {
        let cx = self.cx;
        let places = self.tensors(tensors)?;
        let data = f.stack(places.len())?;
        for (slot, (tensor, _)) in places.iter().enumerate() {
            f.store(f.load_pointer(*tensor, self.tensor().data)?, data, slot as i64 * cx.pointer_bytes)?;
        }
        let at = f.stack(1)?;
        f.store(f.load_i64(work.room, room::COPIES_AT)?, at, 0)?;
        self.each_copy(f, work, |f, slot, bytes| {
            let start = f.load_i64(at, 0)?;
            f.store(cx.builder.build_int_add(start, bytes, "")?, at, 0)?;
            let here = cx.byte_address(arena, start)?;
            f.store(here, data, slot as i64 * cx.pointer_bytes)?;
            match places.get(slot) {
                Some((tensor, size)) if slot < self.program.inputs.len() => {
                    let shape = f.load_pointer(*tensor, self.tensor().shape)?;
                    self.call_copy(f, (*tensor, shape, *size), here, work.index, false)
                }
                _ => Ok(()),
            }
        })?;
        Ok(data)
    }

    /// Copies the outputs that are not row-major out of the arena, in the shapes that the run has found.
    pub(super) fn copy_out(
        &self,
        f: &mut Fun<'_, 'c>,
        context: PointerValue<'c>,
        tensors: [PointerValue<'c>; 2],
        work: &Work<'c>,
        data: PointerValue<'c>,
    ) -> Emit<()> {
        let cx = self.cx;
        let places = self.tensors(tensors)?;
        self.each_copy(f, work, |f, slot, _| match (places.get(slot), slot.checked_sub(self.program.inputs.len())) {
            (Some((tensor, size)), Some(output)) => {
                let shape = cx.byte_address(context, cx.int(self.result_shape(output)))?;
                let dense = f.load_pointer(data, slot as i64 * cx.pointer_bytes)?;
                self.call_copy(f, (*tensor, shape, *size), dense, work.index, true)
            }
            _ => Ok(()),
        })
    }

    /// All tensors with the size of an element, inputs first.
    fn tensors(&self, given: [PointerValue<'c>; 2]) -> Emit<Vec<(PointerValue<'c>, IntValue<'c>)>> {
        let cx = self.cx;
        let mut all = Vec::new();
        for (tensors, ports) in given.into_iter().zip([&self.program.inputs, &self.program.outputs]) {
            for (i, port) in (0..).zip(ports) {
                let tensor = cx.byte_address(tensors, cx.int(i * self.tensor().size))?;
                all.push((tensor, cx.int(port.elem.size() as i64)));
            }
        }
        Ok(all)
    }

    /// What is done for each tensor that is not row-major, with its number and the bytes of its copy.
    fn each_copy(
        &self,
        f: &mut Fun<'_, 'c>,
        work: &Work<'c>,
        mut body: impl FnMut(&mut Fun<'_, 'c>, usize, IntValue<'c>) -> Emit<()>,
    ) -> Emit<()> {
        let none = self.cx.int(0);
        let copies = f.load_i64(work.room, room::COPIES)?;
        let some = f.compare(IntPredicate::NE, copies, none)?;
        f.when(some, |f| {
            for slot in 0..self.program.inputs.len() + self.program.outputs.len() {
                let bytes = f.load_i64(work.ranges, slot as i64 * range::BYTES + range::COPY)?;
                let strided = f.compare(IntPredicate::NE, bytes, none)?;
                f.when(strided, |f| body(f, slot, bytes))?;
            }
            Ok(())
        })
    }

    fn call_copy(
        &self,
        f: &mut Fun<'_, 'c>,
        (tensor, shape, size): (PointerValue<'c>, PointerValue<'c>, IntValue<'c>),
        dense: PointerValue<'c>,
        index: PointerValue<'c>,
        out: bool,
    ) -> Emit<()> {
        let out = self.cx.context.bool_type().const_int(u64::from(out), false);
        let arguments = [tensor.into(), shape.into(), dense.into(), size.into(), out.into(), index.into()];
        f.call(self.strided()?.copy, &arguments).map(|_| ())
    }

    fn most_axes(&self) -> usize {
        let ports = self.program.inputs.iter().chain(&self.program.outputs);
        ports.map(|port| port.shape.len()).max().unwrap_or(0)
    }
}
