//! A small builder for functions that check one thing after the other and return a status at the first that fails.

use inkwell::attributes::AttributeLoc;
use inkwell::basic_block::BasicBlock;
use inkwell::module::Linkage;
use inkwell::types::{BasicMetadataTypeEnum, BasicType, BasicTypeEnum};
use inkwell::values::{BasicValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::Status;

use crate::error::{Emit, EmitError};
use crate::value::Cx;

/// Who may call a function.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The user of the library.
    Exported,
    /// The rest of the glue.
    Internal,
}

/// A function being built.
pub(super) struct Fun<'a, 'c> {
    pub(super) cx: &'a Cx<'c>,
    pub(super) function: FunctionValue<'c>,
    fail: BasicBlock<'c>,
    failures: Vec<(IntValue<'c>, BasicBlock<'c>)>,
}

impl<'a, 'c> Fun<'a, 'c> {
    /// Starts a function; `result` is `None` for `void`.
    pub(super) fn new(
        cx: &'a Cx<'c>,
        name: &str,
        seen: Seen,
        params: &[BasicMetadataTypeEnum<'c>],
        result: Option<BasicTypeEnum<'c>>,
    ) -> Self {
        let ty = match result {
            Some(t) => t.fn_type(params, false),
            None => cx.context.void_type().fn_type(params, false),
        };
        let linkage = if seen == Seen::Exported { Linkage::External } else { Linkage::Internal };
        let function = cx.module.add_function(name, ty, Some(linkage));
        function.add_attribute(AttributeLoc::Function, crate::kernel::attribute(cx, "nounwind"));
        let entry = cx.context.append_basic_block(function, "entry");
        let fail = cx.context.append_basic_block(function, "fail");
        cx.builder.position_at_end(entry);
        Fun { cx, function, fail, failures: Vec::new() }
    }

    /// A function that returns a status.
    pub(super) fn status(cx: &'a Cx<'c>, name: &str, seen: Seen, params: &[BasicMetadataTypeEnum<'c>]) -> Self {
        Fun::new(cx, name, seen, params, Some(cx.context.i32_type().into()))
    }

    pub(super) fn param(&self, i: u32) -> Emit<BasicValueEnum<'c>> {
        self.function.get_nth_param(i).ok_or_else(|| EmitError::Llvm("a parameter is missing".to_owned()))
    }

    pub(super) fn pointer(&self, i: u32) -> Emit<PointerValue<'c>> {
        Ok(self.param(i)?.into_pointer_value())
    }

    pub(super) fn int(&self, i: u32) -> Emit<IntValue<'c>> {
        Ok(self.param(i)?.into_int_value())
    }

    /// A new block of this function.
    pub(super) fn block(&self, name: &str) -> BasicBlock<'c> {
        self.cx.context.append_basic_block(self.function, name)
    }

    fn here(&self) -> Emit<BasicBlock<'c>> {
        self.cx.builder.get_insert_block().ok_or_else(|| EmitError::Llvm("no block".to_owned()))
    }

    /// Returns `status` unless the condition holds.
    pub(super) fn require(&mut self, condition: IntValue<'c>, status: Status) -> Emit<()> {
        let code = self.cx.context.i32_type().const_int(status.code() as u64, false);
        self.failures.push((code, self.here()?));
        let next = self.block("");
        self.cx.builder.build_conditional_branch(condition, next, self.fail)?;
        self.cx.builder.position_at_end(next);
        Ok(())
    }

    /// Returns this status unless it is success.
    pub(super) fn require_ok(&mut self, status: IntValue<'c>) -> Emit<()> {
        self.failures.push((status, self.here()?));
        let zero = self.cx.context.i32_type().const_zero();
        let good = self.cx.builder.build_int_compare(IntPredicate::EQ, status, zero, "")?;
        let next = self.block("");
        self.cx.builder.build_conditional_branch(good, next, self.fail)?;
        self.cx.builder.position_at_end(next);
        Ok(())
    }

    pub(super) fn require_pointer(&mut self, p: PointerValue<'c>) -> Emit<()> {
        let good = self.cx.builder.build_is_not_null(p, "")?;
        self.require(good, Status::NullPointer)
    }

    /// Runs `body` only where the condition holds.
    pub(super) fn when(&mut self, condition: IntValue<'c>, body: impl FnOnce(&mut Self) -> Emit<()>) -> Emit<()> {
        let (then, after) = (self.block("then"), self.block("after"));
        self.cx.builder.build_conditional_branch(condition, then, after)?;
        self.cx.builder.position_at_end(then);
        body(self)?;
        self.cx.builder.build_unconditional_branch(after)?;
        self.cx.builder.position_at_end(after);
        Ok(())
    }

    /// Returns success, and ends the function.
    pub(super) fn finish_ok(self) -> Emit<FunctionValue<'c>> {
        let zero = self.cx.context.i32_type().const_zero();
        self.finish(Some(zero.into()))
    }

    /// Returns a value, and ends the function.
    pub(super) fn finish(self, value: Option<BasicValueEnum<'c>>) -> Emit<FunctionValue<'c>> {
        let b = &self.cx.builder;
        match &value {
            Some(v) => b.build_return(Some(v))?,
            None => b.build_return(None)?,
        };
        b.position_at_end(self.fail);
        if self.failures.is_empty() {
            b.build_unreachable()?;
        } else {
            let status = b.build_phi(self.cx.context.i32_type(), "status")?;
            for (code, block) in &self.failures {
                status.add_incoming(&[(code, *block)]);
            }
            b.build_return(Some(&status.as_basic_value()))?;
        }
        Ok(self.function)
    }

    /// Calls a function of this module; `void` gives `None`.
    pub(super) fn call(
        &self,
        f: FunctionValue<'c>,
        arguments: &[BasicValueEnum<'c>],
    ) -> Emit<Option<BasicValueEnum<'c>>> {
        let arguments: Vec<_> = arguments.iter().map(|a| (*a).into()).collect();
        Ok(self.cx.builder.build_call(f, &arguments, "")?.try_as_basic_value().basic())
    }

    /// Calls a function that returns an integer.
    pub(super) fn call_int(&self, f: FunctionValue<'c>, arguments: &[BasicValueEnum<'c>]) -> Emit<IntValue<'c>> {
        match self.call(f, arguments)? {
            Some(BasicValueEnum::IntValue(v)) => Ok(v),
            _ => Err(EmitError::Llvm("a call without an integer result".to_owned())),
        }
    }

    pub(super) fn load(&self, ty: impl BasicType<'c>, base: PointerValue<'c>, offset: i64) -> Emit<BasicValueEnum<'c>> {
        let address = self.cx.byte_address(base, self.cx.int(offset))?;
        Ok(self.cx.builder.build_load(ty, address, "")?)
    }

    pub(super) fn load_pointer(&self, base: PointerValue<'c>, offset: i64) -> Emit<PointerValue<'c>> {
        let pointer = self.cx.context.ptr_type(AddressSpace::default());
        Ok(self.load(pointer, base, offset)?.into_pointer_value())
    }

    pub(super) fn load_i64(&self, base: PointerValue<'c>, offset: i64) -> Emit<IntValue<'c>> {
        Ok(self.load(self.cx.i64(), base, offset)?.into_int_value())
    }

    pub(super) fn load_i32(&self, base: PointerValue<'c>, offset: i64) -> Emit<IntValue<'c>> {
        Ok(self.load(self.cx.context.i32_type(), base, offset)?.into_int_value())
    }

    pub(super) fn store(&self, value: impl Into<BasicValueEnum<'c>>, base: PointerValue<'c>, offset: i64) -> Emit<()> {
        let address = self.cx.byte_address(base, self.cx.int(offset))?;
        self.cx.builder.build_store(address, value.into())?;
        Ok(())
    }

    /// Room for `count` values of 8 bytes on the stack; at least one.
    pub(super) fn stack(&self, count: usize) -> Emit<PointerValue<'c>> {
        let ty = self.cx.i64().array_type(count.max(1) as u32);
        Ok(self.cx.builder.build_alloca(ty, "")?)
    }

    pub(super) fn compare(&self, p: IntPredicate, x: IntValue<'c>, y: IntValue<'c>) -> Emit<IntValue<'c>> {
        Ok(self.cx.builder.build_int_compare(p, x, y, "")?)
    }

    pub(super) fn i32(&self, value: i64) -> IntValue<'c> {
        self.cx.context.i32_type().const_int(value as u64, true)
    }

    pub(super) fn null(&self) -> PointerValue<'c> {
        self.cx.context.ptr_type(AddressSpace::default()).const_null()
    }

    /// Whether an address is a multiple of a power of two.
    pub(super) fn aligned(&self, p: PointerValue<'c>, align: u64) -> Emit<IntValue<'c>> {
        let b = &self.cx.builder;
        let address = b.build_ptr_to_int(p, self.cx.i64(), "")?;
        let rest = b.build_and(address, self.cx.int(align as i64 - 1), "")?;
        self.compare(IntPredicate::EQ, rest, self.cx.int(0))
    }
}
