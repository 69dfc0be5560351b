//! Checks of the tensors that a caller gives, before anything is computed.

use inkwell::values::{FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_abi::Status;
use sparsec_tir::{BinaryOp, Expr, ParamId, Port};

use super::Glue;
use super::function::{Fun, Seen};
use super::strided::{Strided, range};
use super::symbolic::Symbolic;
use crate::error::{Emit, invalid};

/// Byte offsets in `sparsec_tensor`, and its size: three pointers and two numbers of 32 bits.
pub(super) struct TensorLayout {
    pub(super) data: i64,
    pub(super) shape: i64,
    strides: i64,
    rank: i64,
    dtype: i64,
    pub(super) size: i64,
}

impl TensorLayout {
    /// The layout for pointers of so many bytes.
    pub(super) fn new(pointer: i64) -> Self {
        let numbers = 3 * pointer;
        TensorLayout {
            data: 0,
            shape: pointer,
            strides: 2 * pointer,
            rank: numbers,
            dtype: numbers + 4,
            size: numbers + 8,
        }
    }
}

/// The symbol that an extent defines, and how many times it is taken: `s` or `32 * s`.
pub(super) fn multiple_of(extent: &Expr) -> Option<(ParamId, i64)> {
    match extent {
        Expr::Param(s) => Some((*s, 1)),
        Expr::Binary(BinaryOp::Mul, x, y) => match (x.as_ref(), y.as_ref()) {
            (Expr::Int(times, _), Expr::Param(s)) | (Expr::Param(s), Expr::Int(times, _)) if *times > 0 => {
                Some((*s, *times))
            }
            _ => None,
        },
        _ => None,
    }
}

impl<'c> Glue<'_, 'c> {
    /// Where the fields of a tensor lie on this target.
    pub(super) fn tensor(&self) -> TensorLayout {
        TensorLayout::new(self.cx.pointer_bytes)
    }

    /// `int32_t infer(const sparsec_tensor* inputs, int64_t* dims, int64_t* ranges)`: checks the inputs, and tells the
    /// symbols' values and the range of each input. Exported without the ranges as `infer_dims`.
    pub(super) fn emit_infer(&self, constraints: Option<FunctionValue<'c>>) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let mut f = Fun::status(cx, &self.name("infer"), Seen::Internal, &[p.into(), p.into(), p.into()]);
        let (inputs, dims, ranges) = (f.pointer(0)?, f.pointer(1)?, f.pointer(2)?);
        if !self.program.inputs.is_empty() {
            f.require_pointer(inputs)?;
        }
        let mut symbols: Vec<Option<IntValue<'c>>> = vec![None; self.program.symbols.len()];
        let mut later: Vec<(&Expr, IntValue<'c>)> = Vec::new();
        for (i, port) in self.program.inputs.iter().enumerate() {
            let given = cx.byte_address(inputs, cx.int(i as i64 * self.tensor().size))?;
            let extents = self.load_extents(&mut f, given, port)?;
            for (e, extent) in port.shape.iter().zip(&extents) {
                match e {
                    Expr::Int(fixed, _) => {
                        let good = f.compare(IntPredicate::EQ, *extent, cx.int(*fixed))?;
                        f.require(good, Status::Extent)?;
                    }
                    other => {
                        let Some((s, times)) = multiple_of(other) else {
                            later.push((other, *extent));
                            continue;
                        };
                        let mut value = *extent;
                        if times > 1 {
                            let rest = cx.builder.build_int_unsigned_rem(value, cx.int(times), "")?;
                            let good = f.compare(IntPredicate::EQ, rest, cx.int(0))?;
                            f.require(good, Status::Extent)?;
                            value = cx.builder.build_int_unsigned_div(value, cx.int(times), "")?;
                        }
                        match symbols.get_mut(s.index()) {
                            Some(Some(known)) => {
                                let good = f.compare(IntPredicate::EQ, value, *known)?;
                                f.require(good, Status::Symbol)?;
                            }
                            Some(slot) => *slot = Some(value),
                            None => return invalid(format!("symbol {} does not exist", s.0)),
                        }
                    }
                }
            }
            let range = cx.byte_address(ranges, cx.int(i as i64 * range::BYTES))?;
            self.check_memory(&mut f, given, port, &extents, false, range)?;
        }
        let symbols: Vec<_> = symbols.into_iter().flatten().collect();
        for (e, extent) in later {
            let mut eval = Symbolic::new(cx, &symbols);
            let expected = eval.eval(e)?;
            let good = f.compare(IntPredicate::EQ, extent, expected)?;
            let good = cx.builder.build_and(good, eval.fits()?, "")?;
            f.require(good, Status::Symbol)?;
        }
        for (s, value) in symbols.iter().enumerate() {
            f.store(*value, dims, s as i64 * 8)?;
        }
        if let Some(constraints) = constraints {
            let status = f.call_int(constraints, &[dims.into()])?;
            f.require_ok(status)?;
        }
        let infer = f.finish_ok()?;

        let mut f = Fun::status(cx, &self.name("infer_dims"), self.seen, &[p.into(), p.into()]);
        if !self.program.symbols.is_empty() {
            f.require_pointer(f.pointer(1)?)?;
        }
        let ranges = f.stack(self.program.inputs.len() * range::WORDS)?;
        let status = f.call_int(infer, &[f.param(0)?, f.param(1)?, ranges.into()])?;
        f.finish(Some(status.into()))?;
        Ok(infer)
    }

    /// `int32_t constraints(const int64_t* dims)`: whether dimensions, which were checked to be such, are in the range that
    /// the launches were made for. `None` where all are.
    pub(super) fn emit_constraints(&self) -> Emit<Option<FunctionValue<'c>>> {
        let cx = self.cx;
        if self.program.constraints.is_empty() {
            return Ok(None);
        }
        let p = cx.context.ptr_type(AddressSpace::default());
        let mut f = Fun::status(cx, &self.name("constraints"), Seen::Internal, &[p.into()]);
        let dims = f.pointer(0)?;
        let mut symbols = Vec::new();
        for s in 0..self.program.symbols.len() as i64 {
            symbols.push(f.load_i64(dims, s * 8)?);
        }
        for constraint in &self.program.constraints {
            let mut eval = Symbolic::new(cx, &symbols);
            let value = eval.eval(&constraint.expr)?;
            f.require(eval.fits()?, Status::TooLarge)?;
            let good = f.compare(IntPredicate::SGE, value, cx.int(0))?;
            f.require(good, Status::OutOfRange)?;
        }
        f.finish_ok().map(Some)
    }

    /// `int32_t check_outputs(const sparsec_tensor* outputs, const int64_t* dims, int64_t* ranges)`.
    pub(super) fn emit_check_outputs(&self) -> Emit<FunctionValue<'c>> {
        let cx = self.cx;
        let p = cx.context.ptr_type(AddressSpace::default());
        let mut f = Fun::status(cx, &self.name("check_outputs"), Seen::Internal, &[p.into(), p.into(), p.into()]);
        let (outputs, dims, ranges) = (f.pointer(0)?, f.pointer(1)?, f.pointer(2)?);
        if !self.program.outputs.is_empty() {
            f.require_pointer(outputs)?;
        }
        let symbols = self.load_dims(&mut f, dims)?;
        for (i, port) in self.program.outputs.iter().enumerate() {
            let given = cx.byte_address(outputs, cx.int(i as i64 * self.tensor().size))?;
            let extents = self.load_extents(&mut f, given, port)?;
            let expected = self.extents(&mut f, port, &symbols)?;
            for (extent, expected) in extents.iter().zip(&expected) {
                let good = f.compare(IntPredicate::EQ, *extent, *expected)?;
                f.require(good, Status::OutputShape)?;
            }
            let range = cx.byte_address(ranges, cx.int(i as i64 * range::BYTES))?;
            self.check_memory(&mut f, given, port, &extents, true, range)?;
        }
        f.finish_ok()
    }

    /// Checks rank and element type, and loads the extents, each checked to be a dimension.
    fn load_extents(&self, f: &mut Fun<'_, 'c>, given: PointerValue<'c>, port: &Port) -> Emit<Vec<IntValue<'c>>> {
        let rank = f.load_i32(given, self.tensor().rank)?;
        let good = f.compare(IntPredicate::EQ, rank, f.i32(port.shape.len() as i64))?;
        f.require(good, Status::Rank)?;
        let dtype = f.load_i32(given, self.tensor().dtype)?;
        let good = f.compare(IntPredicate::EQ, dtype, f.i32(i64::from(Self::dtype(port)?)))?;
        f.require(good, Status::Dtype)?;
        let mut extents = Vec::new();
        if !port.shape.is_empty() {
            let shape = f.load_pointer(given, self.tensor().shape)?;
            f.require_pointer(shape)?;
            for d in 0..port.shape.len() {
                let extent = f.load_i64(shape, d as i64 * 8)?;
                self.require_dimension(f, extent)?;
                extents.push(extent);
            }
        }
        Ok(extents)
    }

    /// Checks strides and data pointer, and tells where the tensor lies. The elements of an output (`distinct`) share no memory.
    fn check_memory(
        &self,
        f: &mut Fun<'_, 'c>,
        given: PointerValue<'c>,
        port: &Port,
        extents: &[IntValue<'c>],
        distinct: bool,
        range: PointerValue<'c>,
    ) -> Emit<()> {
        let cx = self.cx;
        let mut eval = Symbolic::new(cx, &[]);
        let element = cx.int(port.elem.size() as i64);
        let mut elements = cx.int(1);
        for extent in extents {
            elements = eval.product(elements, *extent)?;
        }
        let size = eval.product(elements, element)?;
        f.require(eval.fits()?, Status::TooLarge)?;
        let data = f.load_pointer(given, self.tensor().data)?;
        let there = cx.builder.build_is_not_null(data, "")?;
        let empty = f.compare(IntPredicate::EQ, size, cx.int(0))?;
        let good = cx.builder.build_or(there, empty, "")?;
        f.require(good, Status::NullPointer)?;
        let aligned = f.aligned(data, port.elem.size() as u64)?;
        f.require(aligned, Status::Alignment)?;
        let start = cx.builder.build_ptr_to_int(data, cx.i64(), "")?;
        f.store(start, range, range::START)?;
        f.store(cx.builder.build_int_add(start, size, "")?, range, range::END)?;
        f.store(cx.int(0), range, range::COPY)?;
        if extents.is_empty() {
            return Ok(());
        }
        let Strided { layout, .. } = self.strided()?;
        let told = f.load_pointer(given, self.tensor().strides)?;
        let present = cx.builder.build_is_not_null(told, "")?;
        f.when(present, |f| {
            let rank = cx.int(extents.len() as i64);
            let distinct = cx.context.bool_type().const_int(u64::from(distinct), false);
            let arguments = [given.into(), rank.into(), element.into(), size.into(), distinct.into(), range.into()];
            let status = f.call_int(layout, &arguments)?;
            f.require_ok(status)
        })
    }
}
