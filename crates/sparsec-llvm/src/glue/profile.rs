//! Times of launches, for libraries that are built to be looked into.
//!
//! `run` reads the clock between launches, so each time has the call through the pool in it, and the clock's own cost of
//! some tens of nanoseconds. What a loop launches again and again is added up. The times lie behind the fields of the context; `NAME_profile` tells where.

use inkwell::AddressSpace;
use inkwell::module::Linkage;
use inkwell::values::{IntValue, PointerValue};

use super::function::{Fun, Seen};
use super::{Glue, field};
use crate::error::Emit;

/// `CLOCK_MONOTONIC` of Linux, on every architecture.
const MONOTONIC: i64 = 1;

/// The clock while launches are emitted.
pub(super) struct Clock<'c> {
    /// `struct timespec` on the stack.
    spec: PointerValue<'c>,
    /// When the last launch ended, in nanoseconds, on the stack.
    last: PointerValue<'c>,
}

impl<'c> Glue<'_, 'c> {
    /// `int32_t NAME_profile(NAME_context* context, const uint64_t** ns, size_t* count)`.
    pub(super) fn emit_profile(&self) -> Emit<()> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let name = self.name(sparsec_abi::PROFILE_FUNCTION);
        let mut f = Fun::status(cx, &name, Seen::Exported, &[p.into(), p.into(), p.into()]);
        let (context, ns, count) = (f.pointer(0)?, f.pointer(1)?, f.pointer(2)?);
        for pointer in [context, ns, count] {
            f.require_pointer(pointer)?;
        }
        f.store(cx.byte_address(context, cx.int(field::TIMES))?, ns, 0)?;
        f.store(cx.int(self.program.launches.len() as i64), count, 0)?;
        f.finish_ok()?;
        Ok(())
    }

    /// Forgets the times of the last run, and reads the clock before the first launch.
    pub(super) fn start_clock(&self, f: &Fun<'_, 'c>, context: PointerValue<'c>) -> Emit<Clock<'c>> {
        for launch in 0..self.program.launches.len() as i64 {
            f.store(self.cx.int(0), context, field::TIMES + launch * 8)?;
        }
        let (spec, last) = (f.stack(2)?, f.stack(1)?);
        f.store(self.read_clock(f, spec)?, last, 0)?;
        Ok(Clock { spec, last })
    }

    /// Adds what a launch took that has just returned: in a loop it is launched many times.
    pub(super) fn add_time(
        &self,
        f: &Fun<'_, 'c>,
        clock: &Clock<'c>,
        context: PointerValue<'c>,
        launch: usize,
    ) -> Emit<()> {
        let now = self.read_clock(f, clock.spec)?;
        let took = self.cx.builder.build_int_sub(now, f.load_i64(clock.last, 0)?, "")?;
        f.store(now, clock.last, 0)?;
        let at = field::TIMES + launch as i64 * 8;
        let sum = self.cx.builder.build_int_add(f.load_i64(context, at)?, took, "")?;
        f.store(sum, context, at)
    }

    fn read_clock(&self, f: &Fun<'_, 'c>, spec: PointerValue<'c>) -> Emit<IntValue<'c>> {
        let cx = self.cx;
        let clock_gettime = cx.module.get_function("clock_gettime").unwrap_or_else(|| {
            let (int, p) = (cx.context.i32_type(), cx.context.ptr_type(AddressSpace::default()));
            cx.module.add_function(
                "clock_gettime",
                int.fn_type(&[int.into(), p.into()], false),
                Some(Linkage::External),
            )
        });
        f.call(clock_gettime, &[f.i32(MONOTONIC).into(), spec.into()])?;
        let seconds = cx.builder.build_int_mul(f.load_i64(spec, 0)?, cx.int(1_000_000_000), "")?;
        Ok(cx.builder.build_int_add(seconds, f.load_i64(spec, 8)?, "")?)
    }
}
