//! Refuses an output that shares memory with an input or with another output: kernels rely on it.
//!
//! A loop at run time. Spelled out, the comparisons of a model with 200 outputs keep the register allocator busy for minutes.

use inkwell::values::{FunctionValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::Status;

use super::Glue;
use super::function::{Fun, Seen};
use crate::error::Emit;

impl<'c> Glue<'_, 'c> {
    /// The check in a run, of tensors at these places and of so many bytes, which lie in memory.
    pub(super) fn emit_overlaps(
        &self,
        f: &mut Fun<'_, 'c>,
        (inputs, input_bytes): (&[PointerValue<'c>], PointerValue<'c>),
        (outputs, output_bytes): (&[PointerValue<'c>], PointerValue<'c>),
    ) -> Emit<()> {
        let cx = self.cx;
        if outputs.is_empty() {
            return Ok(());
        }
        let count = inputs.len() + outputs.len();
        let (starts, ends) = (f.stack(count)?, f.stack(count)?);
        let of =
            |data: &[PointerValue<'c>], bytes| data.iter().copied().zip(0..).map(move |(p, i)| (p, bytes, i)).collect();
        let tensors: [Vec<_>; 2] = [of(inputs, input_bytes), of(outputs, output_bytes)];
        for (at, (data, bytes, i)) in (0i64..).zip(tensors.into_iter().flatten()) {
            let start = cx.builder.build_ptr_to_int(data, cx.i64(), "")?;
            let end = cx.builder.build_int_add(start, f.load_i64(bytes, i * 8)?, "")?;
            f.store(start, starts, at * 8)?;
            f.store(end, ends, at * 8)?;
        }
        let (first, count) = (cx.int(inputs.len() as i64), cx.int(count as i64));
        let check = self.emit_check_overlaps()?;
        let status = f.call_int(check, &[starts.into(), ends.into(), first.into(), count.into()])?;
        f.require_ok(status)
    }

    /// `int32_t overlaps(const int64_t* starts, const int64_t* ends, int64_t first, int64_t count)`: whether a range from `first` on
    /// meets one before it.
    fn emit_check_overlaps(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let here = cx.builder.get_insert_block();
        let (p, i) = (cx.context.ptr_type(AddressSpace::default()), cx.i64());
        let mut f = Fun::status(cx, &self.name("overlaps"), Seen::Internal, &[p.into(), p.into(), i.into(), i.into()]);
        let (starts, ends, first, count) = (f.pointer(0)?, f.pointer(1)?, f.int(2)?, f.int(3)?);
        let at = |f: &Fun<'_, 'c>, of: PointerValue<'c>, index| {
            let offset = cx.builder.build_int_mul(index, cx.int(8), "")?;
            f.load_i64(cx.byte_address(of, offset)?, 0)
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
        let before = f.compare(IntPredicate::ULE, at(&f, ends, mine)?, at(&f, starts, theirs)?)?;
        let behind = f.compare(IntPredicate::ULE, at(&f, ends, theirs)?, at(&f, starts, mine)?)?;
        let good = cx.builder.build_or(before, behind, "")?;
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
