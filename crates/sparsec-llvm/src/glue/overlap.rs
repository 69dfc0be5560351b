//! Refuses an output that shares memory with an input or with another output: kernels rely on it.
//!
//! A loop at run time. Spelled out, the comparisons of a model with 200 outputs keep the register allocator busy for minutes.

use inkwell::values::{FunctionValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::Status;

use super::Glue;
use super::function::{Fun, Seen};
use super::strided::range;
use crate::error::Emit;

impl<'c> Glue<'_, 'c> {
    /// The check in a run, of tensors that lie in these ranges, inputs first.
    pub(super) fn emit_overlaps(&self, f: &mut Fun<'_, 'c>, ranges: PointerValue<'c>) -> Emit<()> {
        let (inputs, outputs) = (self.program.inputs.len(), self.program.outputs.len());
        if outputs == 0 {
            return Ok(());
        }
        let (first, count) = (self.cx.int(inputs as i64), self.cx.int((inputs + outputs) as i64));
        let check = self.emit_check_overlaps()?;
        let status = f.call_int(check, &[ranges.into(), first.into(), count.into()])?;
        f.require_ok(status)
    }

    /// `int32_t overlaps(const int64_t* ranges, int64_t first, int64_t count)`: whether a range from `first` on meets one before it.
    fn emit_check_overlaps(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let here = cx.builder.get_insert_block();
        let (p, i) = (cx.context.ptr_type(AddressSpace::default()), cx.i64());
        let mut f = Fun::status(cx, &self.name("overlaps"), Seen::Internal, &[p.into(), i.into(), i.into()]);
        let (ranges, first, count) = (f.pointer(0)?, f.int(1)?, f.int(2)?);
        let at = |f: &Fun<'_, 'c>, index, word: i64| {
            let offset = cx.builder.build_int_mul(index, cx.int(range::BYTES), "")?;
            f.load_i64(cx.byte_address(ranges, offset)?, word)
        };
        let (own, other) = (f.stack(1)?, f.stack(1)?);
        f.store(first, own, 0)?;
        f.store(cx.int(0), other, 0)?;
        let (outer, inner, compare, next, done) =
            (f.block("outer"), f.block("inner"), f.block("compare"), f.block("next"), f.block("done"));
        cx.builder.build_unconditional_branch(outer)?;
        cx.builder.position_at_end(outer);
        let mine = f.load_i64(own, 0)?;
        let more = f.compare(IntPredicate::SLT, mine, count)?;
        cx.builder.build_conditional_branch(more, inner, done)?;
        cx.builder.position_at_end(inner);
        let theirs = f.load_i64(other, 0)?;
        let more = f.compare(IntPredicate::SLT, theirs, mine)?;
        cx.builder.build_conditional_branch(more, compare, next)?;
        cx.builder.position_at_end(compare);
        let before = f.compare(IntPredicate::ULE, at(&f, mine, range::END)?, at(&f, theirs, range::START)?)?;
        let behind = f.compare(IntPredicate::ULE, at(&f, theirs, range::END)?, at(&f, mine, range::START)?)?;
        let apart = cx.builder.build_or(before, behind, "")?;
        // No kernel reaches either of two tensors that are copied, and columns of one matrix may lie between one another.
        let copied = |f: &Fun<'_, 'c>, index| f.compare(IntPredicate::NE, at(f, index, range::COPY)?, cx.int(0));
        let both = cx.builder.build_and(copied(&f, mine)?, copied(&f, theirs)?, "")?;
        let good = cx.builder.build_or(apart, both, "")?;
        f.require(good, Status::Overlap)?;
        f.store(cx.builder.build_int_add(theirs, cx.int(1), "")?, other, 0)?;
        cx.builder.build_unconditional_branch(inner)?;
        cx.builder.position_at_end(next);
        f.store(cx.builder.build_int_add(mine, cx.int(1), "")?, own, 0)?;
        f.store(cx.int(0), other, 0)?;
        cx.builder.build_unconditional_branch(outer)?;
        cx.builder.position_at_end(done);
        let function = f.finish_ok()?;
        if let Some(block) = here {
            cx.builder.position_at_end(block);
        }
        Ok(function)
    }
}
