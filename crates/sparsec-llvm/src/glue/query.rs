//! What a library tells about itself: names, types, shapes.

use inkwell::module::Linkage;
use inkwell::types::BasicType;
use inkwell::values::{BasicValue, BasicValueEnum, GlobalValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::{ABI_VERSION, EXTENT_EXPRESSION, Status, symbol_extent};
use sparsec_tir::{Expr, Port};

use super::Glue;
use super::function::Fun;
use super::symbolic::Symbolic;
use crate::error::Emit;

impl<'c> Glue<'_, 'c> {
    pub(super) fn emit_queries(&self) -> Emit<()> {
        let cx = self.cx;
        let program = self.program;
        let i32_type = cx.context.i32_type();
        self.emit_number("abi_version", i32_type.const_int(u64::from(ABI_VERSION), false))?;
        self.emit_number("context_bytes", cx.size_type().const_int(self.context_bytes() as u64, false))?;

        let mut messages: Vec<_> = Status::ALL.iter().map(|s| self.text(s.message())).collect();
        messages.push(self.text("unknown status"));
        let unknown = i32_type.const_int(Status::ALL.len() as u64, false);
        let table = self.pointers(&messages);
        let f = Fun::new(cx, &self.name("status_message"), self.seen, &[i32_type.into()], Some(pointer(cx)));
        let code = f.int(0)?;
        let known = f.compare(IntPredicate::ULT, code, unknown)?;
        let code = cx.builder.build_select(known, code, unknown, "")?.into_int_value();
        let code = cx.builder.build_int_z_extend(code, cx.i64(), "")?;
        let slot = cx.element_address(pointer(cx), table, code)?;
        let message = cx.builder.build_load(pointer(cx), slot, "")?;
        f.finish(Some(message))?;

        self.emit_number("symbol_count", i32_type.const_int(program.symbols.len() as u64, false))?;
        let names: Vec<_> = program.symbols.iter().map(|s| self.text(s)).collect();
        self.emit_pointer_table("symbol_name", &names)?;
        self.emit_ports("input", &program.inputs)?;
        self.emit_ports("output", &program.outputs)?;
        self.emit_result_shape()
    }

    /// `int32_t NAME_result_shape(const NAME_context* context, int32_t index, int64_t* shape)`.
    fn emit_result_shape(&self) -> Emit<()> {
        let cx = self.cx;
        let i32_type = cx.context.i32_type();
        let params = [pointer(cx).into(), i32_type.into(), pointer(cx).into()];
        let mut f = Fun::status(cx, &self.name("result_shape"), self.seen, &params);
        let (context, index, shape) = (f.pointer(0)?, f.int(1)?, f.pointer(2)?);
        f.require_pointer(context)?;
        let known = f.compare(IntPredicate::ULT, index, f.i32(self.program.outputs.len() as i64))?;
        f.require(known, Status::Index)?;
        f.require_pointer(shape)?;
        for (i, port) in self.program.outputs.iter().enumerate() {
            let this = f.compare(IntPredicate::EQ, index, f.i32(i as i64))?;
            f.when(this, |f| {
                for d in 0..port.shape.len() as i64 {
                    let extent = f.load_i64(context, self.result_shape(i) + d * 8)?;
                    f.store(extent, shape, d * 8)?;
                }
                Ok(())
            })?;
        }
        f.finish_ok()?;
        Ok(())
    }

    fn emit_ports(&self, kind: &str, ports: &[Port]) -> Emit<()> {
        let cx = self.cx;
        let i32_type = cx.context.i32_type();
        self.emit_number(&format!("{kind}_count"), i32_type.const_int(ports.len() as u64, false))?;
        let names: Vec<_> = ports.iter().map(|p| self.text(&p.name)).collect();
        self.emit_pointer_table(&format!("{kind}_name"), &names)?;
        let mut dtypes = Vec::new();
        for port in ports {
            dtypes.push(i32_type.const_int(Self::dtype(port)? as u64, false));
        }
        self.emit_number_table(&format!("{kind}_dtype"), &dtypes, i32_type.const_zero())?;
        let ranks: Vec<_> = ports.iter().map(|p| i32_type.const_int(p.shape.len() as u64, false)).collect();
        self.emit_number_table(&format!("{kind}_rank"), &ranks, i32_type.const_all_ones())?;
        let extents: Vec<_> = ports
            .iter()
            .map(|p| {
                let all: Vec<_> = p.shape.iter().map(|e| cx.int(static_extent(e))).collect();
                // An empty array would have no address of its own.
                let all = if all.is_empty() { vec![cx.int(0)] } else { all };
                self.constant(&cx.i64().const_array(&all))
            })
            .collect();
        self.emit_pointer_table(&format!("{kind}_extents"), &extents)?;
        self.emit_shape(&format!("{kind}_shape"), ports)
    }

    /// `int32_t NAME_output_shape(const int64_t* dims, int32_t index, int64_t* shape)`.
    fn emit_shape(&self, name: &str, ports: &[Port]) -> Emit<()> {
        let cx = self.cx;
        let i32_type = cx.context.i32_type();
        let params = [pointer(cx).into(), i32_type.into(), pointer(cx).into()];
        let mut f = Fun::status(cx, &self.name(name), self.seen, &params);
        let (dims, index, shape) = (f.pointer(0)?, f.int(1)?, f.pointer(2)?);
        let count = i32_type.const_int(ports.len() as u64, false);
        let known = f.compare(IntPredicate::ULT, index, count)?;
        f.require(known, Status::Index)?;
        f.require_pointer(shape)?;
        let symbols = self.load_dims(&mut f, dims)?;
        for (i, port) in ports.iter().enumerate() {
            let this = f.compare(IntPredicate::EQ, index, i32_type.const_int(i as u64, false))?;
            f.when(this, |f| {
                let extents = self.extents(f, port, &symbols)?;
                for (d, extent) in extents.into_iter().enumerate() {
                    f.store(extent, shape, d as i64 * 8)?;
                }
                Ok(())
            })?;
        }
        f.finish_ok()?;
        Ok(())
    }

    /// Loads and checks the values of the symbols.
    pub(super) fn load_dims(&self, f: &mut Fun<'_, 'c>, dims: PointerValue<'c>) -> Emit<Vec<IntValue<'c>>> {
        if self.program.symbols.is_empty() {
            return Ok(Vec::new());
        }
        f.require_pointer(dims)?;
        let mut all = Vec::new();
        for s in 0..self.program.symbols.len() {
            let value = f.load_i64(dims, s as i64 * 8)?;
            self.require_dimension(f, value)?;
            all.push(value);
        }
        Ok(all)
    }

    /// The extents of a port, checked to be dimensions.
    pub(super) fn extents(
        &self,
        f: &mut Fun<'_, 'c>,
        port: &Port,
        symbols: &[IntValue<'c>],
    ) -> Emit<Vec<IntValue<'c>>> {
        let mut eval = Symbolic::new(self.cx, symbols);
        let mut all = Vec::new();
        for e in &port.shape {
            all.push(eval.eval(e)?);
        }
        f.require(eval.fits()?, Status::TooLarge)?;
        for (e, extent) in port.shape.iter().zip(&all) {
            if e.as_int().is_none() {
                self.require_dimension(f, *extent)?;
            }
        }
        Ok(all)
    }

    /// `0 <= extent <= MAX_EXTENT`.
    pub(super) fn require_dimension(&self, f: &mut Fun<'_, 'c>, extent: IntValue<'c>) -> Emit<()> {
        let good = f.compare(IntPredicate::ULE, extent, self.cx.int(sparsec_abi::MAX_EXTENT))?;
        f.require(good, Status::Dimension)
    }

    fn emit_number(&self, name: &str, value: IntValue<'c>) -> Emit<()> {
        let f = Fun::new(self.cx, &self.name(name), self.seen, &[], Some(value.get_type().into()));
        f.finish(Some(value.into()))?;
        Ok(())
    }

    fn emit_number_table(&self, name: &str, values: &[IntValue<'c>], other: IntValue<'c>) -> Emit<()> {
        let table = self.constant(&other.get_type().const_array(values));
        self.emit_lookup(name, table, values.len(), other.into())
    }

    fn emit_pointer_table(&self, name: &str, values: &[PointerValue<'c>]) -> Emit<()> {
        let table = self.pointers(values);
        self.emit_lookup(name, table, values.len(), pointer(self.cx).const_zero())
    }

    /// `T NAME_x(int32_t index)`: the element of a table, or `other` out of range.
    fn emit_lookup(&self, name: &str, table: PointerValue<'c>, count: usize, other: BasicValueEnum<'c>) -> Emit<()> {
        let cx = self.cx;
        let i32_type = cx.context.i32_type();
        let ty = other.get_type();
        let f = Fun::new(cx, &self.name(name), self.seen, &[i32_type.into()], Some(ty));
        let index = f.int(0)?;
        let known = f.compare(IntPredicate::ULT, index, i32_type.const_int(count as u64, false))?;
        let (yes, no) = (f.block("known"), f.block("unknown"));
        cx.builder.build_conditional_branch(known, yes, no)?;
        cx.builder.position_at_end(yes);
        let wide = cx.builder.build_int_z_extend(index, cx.i64(), "")?;
        let slot = cx.element_address(ty, table, wide)?;
        let value = cx.builder.build_load(ty, slot, "")?;
        cx.builder.build_return(Some(&value))?;
        cx.builder.position_at_end(no);
        f.finish(Some(other))?;
        Ok(())
    }

    pub(super) fn text(&self, text: &str) -> PointerValue<'c> {
        // A null byte inside a name would end it early for every reader in C.
        let clean: Vec<u8> = text.bytes().map(|b| if b == 0 { b'?' } else { b }).collect();
        self.constant(&self.cx.context.const_string(&clean, true))
    }

    fn pointers(&self, values: &[PointerValue<'c>]) -> PointerValue<'c> {
        self.constant(&self.cx.context.ptr_type(AddressSpace::default()).const_array(values))
    }

    fn constant(&self, value: &dyn BasicValue<'c>) -> PointerValue<'c> {
        let raw = value.as_basic_value_enum();
        let global: GlobalValue<'c> = self.cx.module.add_global(raw.get_type(), None, "");
        global.set_initializer(value);
        global.set_constant(true);
        global.set_linkage(Linkage::Private);
        global.set_unnamed_addr(true);
        global.as_pointer_value()
    }
}

pub(super) fn pointer<'c>(cx: &crate::value::Cx<'c>) -> inkwell::types::BasicTypeEnum<'c> {
    cx.context.ptr_type(AddressSpace::default()).as_basic_type_enum()
}

/// An extent as the `extents` functions tell it.
fn static_extent(e: &Expr) -> i64 {
    match e {
        Expr::Int(v, _) => *v,
        Expr::Param(p) => symbol_extent(p.0),
        _ => EXTENT_EXPRESSION,
    }
}
