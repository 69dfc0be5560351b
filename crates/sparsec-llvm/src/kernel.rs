//! A kernel of Stage III as a function of LLVM.
//!
//! Two functions are made. `NAME_kernel` has the one signature that all kernels share, so that a thread pool can call any
//! of them; it takes the arrays of arguments apart and calls `NAME_body`, whose buffers are `noalias` arguments of their
//! own. LLVM then knows that a store to one buffer changes no other, and moves loads of tables and activations
//! across stores.
//!
//! `unroll` loops are expanded here, register arrays become one stack slot per element (which the optimiser turns into
//! values), and serial loops are emitted bottom-tested behind one check of the range. The schedule has decided what to
//! unroll and to vectorise: no pass of LLVM does either.

use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::module::Linkage;
use inkwell::types::BasicMetadataTypeEnum;
use inkwell::values::{BasicMetadataValueEnum, BasicValueEnum, FunctionValue, IntValue, PointerValue};
use inkwell::{AddressSpace, IntPredicate};
use sparsec_tir::{Access, BufferId, BufferKind, Expr, For, Kernel, LoopKind, RegisterId, Stage, Stmt, Type, VarId};

use crate::error::{Emit, EmitError, invalid};
use crate::memory::Active;
use crate::value::{Cx, Value};

/// Emits a kernel and returns its function of the shared signature
/// `void(const int64_t* params, void* const* buffers, char* scratch, int64_t begin, int64_t end)`.
pub(crate) fn emit_kernel<'c>(cx: &Cx<'c>, prefix: &str, kernel: &Kernel) -> Emit<FunctionValue<'c>> {
    emit_body(cx, prefix, kernel)
        .and_then(|body| emit_entry(cx, prefix, kernel, body))
        .map_err(|e| e.in_kernel(&kernel.name))
}

/// An attribute without a value, by LLVM's name.
pub(crate) fn attribute(cx: &Cx<'_>, name: &str) -> Attribute {
    cx.context.create_enum_attribute(Attribute::get_named_enum_kind_id(name), 0)
}

fn emit_body<'c>(cx: &Cx<'c>, prefix: &str, kernel: &Kernel) -> Emit<FunctionValue<'c>> {
    if kernel.stage != Stage::Flat {
        return invalid("is in position space; lower_to_flat comes first");
    }
    let pointer = cx.context.ptr_type(AddressSpace::default());
    let i64_type = cx.i64();
    let mut types: Vec<BasicMetadataTypeEnum<'c>> = vec![pointer.into(); kernel.buffers.len()];
    types.extend(vec![BasicMetadataTypeEnum::from(i64_type); kernel.params.len() + 2]);
    let function = cx.module.add_function(
        &format!("{prefix}_{}_body", kernel.name),
        cx.context.void_type().fn_type(&types, false),
        Some(Linkage::Internal),
    );
    for name in ["nounwind", "noinline"] {
        function.add_attribute(AttributeLoc::Function, attribute(cx, name));
    }
    for (i, buffer) in kernel.buffers.iter().enumerate() {
        let at = AttributeLoc::Param(i as u32);
        function.add_attribute(at, attribute(cx, "noalias"));
        function.add_attribute(at, attribute(cx, "nocapture"));
        if buffer.kind == BufferKind::Input {
            function.add_attribute(at, attribute(cx, "readonly"));
        }
    }
    let argument =
        |i: usize| function.get_nth_param(i as u32).ok_or_else(|| EmitError::Llvm("a parameter is missing".to_owned()));
    let mut buffers = Vec::new();
    for (i, buffer) in kernel.buffers.iter().enumerate() {
        let p = argument(i)?.into_pointer_value();
        p.set_name(&buffer.name);
        buffers.push(p);
    }
    let mut params = Vec::new();
    for (i, name) in kernel.params.iter().enumerate() {
        let p = argument(buffers.len() + i)?.into_int_value();
        p.set_name(name);
        params.push(p);
    }
    let first = buffers.len() + params.len();
    let (begin, end) = (argument(first)?.into_int_value(), argument(first + 1)?.into_int_value());
    begin.set_name("begin");
    end.set_name("end");

    let entry = cx.context.append_basic_block(function, "entry");
    cx.builder.position_at_end(entry);
    let mut body = Body {
        cx,
        kernel,
        function,
        buffers,
        params,
        vars: vec![None; kernel.vars.len()],
        registers: Vec::new(),
        begin,
        end,
    };
    for register in &kernel.registers {
        let count: u32 = register.dims.iter().product();
        let mut slots = Vec::new();
        for _ in 0..count {
            slots.push(cx.builder.build_alloca(cx.type_of(register.ty), &register.name)?);
        }
        body.registers.push(slots);
    }
    body.block(&kernel.body)?;
    cx.builder.build_return(None)?;
    Ok(function)
}

fn emit_entry<'c>(cx: &Cx<'c>, prefix: &str, kernel: &Kernel, body: FunctionValue<'c>) -> Emit<FunctionValue<'c>> {
    let pointer = cx.context.ptr_type(AddressSpace::default());
    let i64_type = cx.i64();
    let function = cx.module.add_function(
        &format!("{prefix}_{}_kernel", kernel.name),
        crate::glue::kernel_type(cx),
        Some(Linkage::Internal),
    );
    function.add_attribute(AttributeLoc::Function, attribute(cx, "nounwind"));
    let argument =
        |i: u32| function.get_nth_param(i).ok_or_else(|| EmitError::Llvm("a parameter is missing".to_owned()));
    let (params, buffers) = (argument(0)?.into_pointer_value(), argument(1)?.into_pointer_value());
    let scratch = argument(2)?.into_pointer_value();
    cx.builder.position_at_end(cx.context.append_basic_block(function, "entry"));

    let mut arguments: Vec<BasicMetadataValueEnum<'c>> = Vec::new();
    let (mut given, mut offset) = (0, 0);
    for buffer in &kernel.buffers {
        if buffer.kind == BufferKind::Scratch {
            arguments.push(cx.byte_address(scratch, cx.int(offset))?.into());
            offset += scratch_bytes(buffer)?;
        } else {
            let slot = cx.element_address(pointer, buffers, cx.int(given))?;
            arguments.push(cx.builder.build_load(pointer, slot, "")?.into());
            given += 1;
        }
    }
    for i in 0..kernel.params.len() as i64 {
        let slot = cx.element_address(i64_type, params, cx.int(i))?;
        arguments.push(cx.builder.build_load(i64_type, slot, "")?.into());
    }
    arguments.push(argument(3)?.into());
    arguments.push(argument(4)?.into());
    cx.builder.build_call(body, &arguments, "")?;
    cx.builder.build_return(None)?;
    Ok(function)
}

/// Bytes of a scratch buffer, as [`sparsec_tir::kernel_scratch_bytes`] counts them.
fn scratch_bytes(buffer: &sparsec_tir::Buffer) -> Emit<i64> {
    let mut elements: i64 = 1;
    for extent in &buffer.shape {
        let Some(e) = extent.as_int() else {
            return invalid(format!("scratch buffer `{}` has no constant size", buffer.name));
        };
        elements = elements.saturating_mul(e.max(0));
    }
    let bytes = elements.saturating_mul(buffer.elem.size() as i64);
    Ok(bytes.saturating_add(63) / 64 * 64)
}

/// The function being emitted.
struct Body<'a, 'c> {
    cx: &'a Cx<'c>,
    kernel: &'a Kernel,
    function: FunctionValue<'c>,
    buffers: Vec<PointerValue<'c>>,
    params: Vec<IntValue<'c>>,
    vars: Vec<Option<Value<'c>>>,
    registers: Vec<Vec<PointerValue<'c>>>,
    begin: IntValue<'c>,
    end: IntValue<'c>,
}

impl<'c> Body<'_, 'c> {
    fn block(&mut self, statements: &[Stmt]) -> Emit<()> {
        statements.iter().try_for_each(|s| self.statement(s))
    }

    fn statement(&mut self, statement: &Stmt) -> Emit<()> {
        match statement {
            Stmt::Comment(_) => Ok(()),
            Stmt::For(l) => self.for_loop(l),
            Stmt::Let(var, value) => {
                let value = self.expr(value)?;
                self.bind(*var, value)
            }
            Stmt::Set(register, index, value) => {
                let (slot, ty) = self.register(*register, index)?;
                let value = self.expr(value)?;
                if value.ty.scalar != ty.scalar {
                    return invalid(format!("a register of {ty} is set to {}", value.ty));
                }
                let value = self.cx.splat(value, ty.lanes)?;
                self.cx.builder.build_store(slot, value.raw)?;
                Ok(())
            }
            Stmt::Store(access, value) => {
                let value = self.expr(value)?;
                let value = self.cx.splat(value, access.lanes)?;
                let (scalar, base, index) = self.place(access)?;
                if value.ty.scalar != scalar {
                    return invalid(format!("{} is stored to a buffer of {scalar}", value.ty));
                }
                let active = self.active(access)?;
                self.cx.store(value, base, index, active)
            }
            Stmt::Barrier
            | Stmt::CopyAsync(..)
            | Stmt::CommitCopies
            | Stmt::AwaitCopies(_)
            | Stmt::Spread(..)
            | Stmt::CommitProducts
            | Stmt::AwaitProducts(_) => invalid("a statement of a team of warps, on a CPU"),
            Stmt::Product(_) | Stmt::SaveTile(..) => invalid("a matrix product of a warp, on a CPU"),
            Stmt::Prefetch(access) => {
                let (scalar, base, index) = self.place(access)?;
                self.cx.prefetch(scalar, base, index)
            }
            Stmt::If(condition, then, otherwise) => {
                let condition = self.expr(condition)?;
                if condition.ty != Type::scalar(sparsec_tir::Scalar::Bool) {
                    return invalid(format!("a branch on {}", condition.ty));
                }
                match condition.as_const() {
                    Some(0) => self.block(otherwise),
                    Some(_) => self.block(then),
                    None => self.branch(condition.int()?, then, otherwise),
                }
            }
        }
    }

    fn branch(&mut self, condition: IntValue<'c>, then: &[Stmt], otherwise: &[Stmt]) -> Emit<()> {
        let new_block = |name| self.cx.context.append_basic_block(self.function, name);
        let (yes, no, after) = (new_block("then"), new_block("else"), new_block("after"));
        self.cx.builder.build_conditional_branch(condition, yes, no)?;
        for (block, statements) in [(yes, then), (no, otherwise)] {
            self.cx.builder.position_at_end(block);
            self.block(statements)?;
            self.cx.builder.build_unconditional_branch(after)?;
        }
        self.cx.builder.position_at_end(after);
        Ok(())
    }

    fn for_loop(&mut self, l: &For) -> Emit<()> {
        let start = self.expr(&l.start)?;
        match l.kind {
            LoopKind::Vector => invalid("a vector loop in flat code"),
            LoopKind::Warps => invalid("a team of warps, on a CPU"),
            LoopKind::Parallel => {
                let start = start.i64()?;
                let from = self.cx.builder.build_int_nsw_add(start, self.begin, "")?;
                let to = self.cx.builder.build_int_nsw_add(start, self.end, "")?;
                self.serial_loop(l, from, to)
            }
            LoopKind::Serial => {
                let end = self.expr(&l.end)?;
                self.serial_loop(l, start.i64()?, end.i64()?)
            }
            LoopKind::Unroll => {
                let end = self.expr(&l.end)?;
                let (Some(start), Some(end)) = (start.as_const(), end.as_const()) else {
                    return invalid(format!("bounds of the unrolled loop `{}` are not constant", self.var_name(l.var)));
                };
                let mut i = start;
                while i < end {
                    self.bind(l.var, Value::index(self.cx.int(i)))?;
                    self.block(&l.body)?;
                    i += l.step.max(1);
                }
                Ok(())
            }
        }
    }

    fn serial_loop(&mut self, l: &For, start: IntValue<'c>, end: IntValue<'c>) -> Emit<()> {
        let b = &self.cx.builder;
        if l.step <= 0 {
            return invalid(format!("the loop `{}` does not count up", self.var_name(l.var)));
        }
        let nonempty = b.build_int_compare(IntPredicate::SLT, start, end, "")?;
        if Value::new(nonempty, Type::INDEX).as_const() == Some(0) {
            return Ok(());
        }
        let before = b.get_insert_block().ok_or_else(|| EmitError::Llvm("no block".to_owned()))?;
        let body = self.cx.context.append_basic_block(self.function, &format!("for.{}", self.var_name(l.var)));
        let after = self.cx.context.append_basic_block(self.function, "after");
        b.build_conditional_branch(nonempty, body, after)?;
        b.position_at_end(body);
        let var = b.build_phi(self.cx.i64(), &self.var_name(l.var))?;
        let current = var.as_basic_value().into_int_value();
        self.bind(l.var, Value::index(current))?;
        // A group of iterations is run as one, as far as it lies in the range of this call.
        let together =
            l.until.map(|until| Ok::<_, EmitError>((until, self.group_end(l, current, end)?))).transpose()?;
        if let Some((until, group_end)) = together {
            self.bind(until, Value::index(group_end))?;
        }
        self.block(&l.body)?;

        let b = &self.cx.builder;
        let next = match together {
            Some((_, group_end)) => group_end,
            None => b.build_int_nsw_add(current, self.cx.int(l.step), "")?,
        };
        let again = b.build_int_compare(IntPredicate::SLT, next, end, "")?;
        let latch = b.get_insert_block().ok_or_else(|| EmitError::Llvm("no block".to_owned()))?;
        var.add_incoming(&[(&start, before), (&next, latch)]);
        b.build_conditional_branch(again, body, after)?;
        b.position_at_end(after);
        Ok(())
    }

    /// Where the group of iteration `current` ends, `end` at most.
    fn group_end(&mut self, l: &For, current: IntValue<'c>, end: IntValue<'c>) -> Emit<IntValue<'c>> {
        let start = self.expr(&l.start)?.i64()?;
        let (b, step) = (&self.cx.builder, self.cx.int(l.step));
        let passed = b.build_int_nsw_sub(current, start, "")?;
        let of_group = b.build_int_unsigned_rem(passed, step, "")?;
        let first = b.build_int_nsw_sub(current, of_group, "")?;
        let next = b.build_int_nsw_add(first, step, "")?;
        let is_less = b.build_int_compare(IntPredicate::SLT, next, end, "")?;
        Ok(b.build_select(is_less, next, end, "")?.into_int_value())
    }

    fn var_name(&self, var: VarId) -> String {
        self.kernel.vars.get(var.index()).map_or_else(|| format!("v{}", var.0), |v| v.name.clone())
    }

    fn bind(&mut self, var: VarId, value: Value<'c>) -> Emit<()> {
        match self.vars.get_mut(var.index()) {
            Some(slot) => {
                *slot = Some(value);
                Ok(())
            }
            None => invalid(format!("variable {} does not exist", var.0)),
        }
    }

    /// The slot of a register, whose index must have become a constant.
    fn register(&mut self, register: RegisterId, index: &[Expr]) -> Emit<(PointerValue<'c>, Type)> {
        let Some(declared) = self.kernel.registers.get(register.index()) else {
            return invalid(format!("register {} does not exist", register.0));
        };
        let mut flat = 0usize;
        if index.len() != declared.dims.len() {
            return invalid(format!("register `{}` takes {} indices", declared.name, declared.dims.len()));
        }
        for (e, extent) in index.iter().zip(&declared.dims) {
            match self.expr(e)?.as_const() {
                Some(i) if (0..i64::from(*extent)).contains(&i) => flat = flat * *extent as usize + i as usize,
                Some(i) => return invalid(format!("register `{}` has no element {i}", declared.name)),
                None => return invalid(format!("an index of register `{}` is not constant", declared.name)),
            }
        }
        match self.registers.get(register.index()).and_then(|slots| slots.get(flat)) {
            Some(slot) => Ok((*slot, declared.ty)),
            None => invalid(format!("register `{}` has no element {flat}", declared.name)),
        }
    }

    fn buffer(&self, buffer: BufferId) -> Emit<(sparsec_tir::Scalar, PointerValue<'c>)> {
        match (self.kernel.buffers.get(buffer.index()), self.buffers.get(buffer.index())) {
            (Some(declared), Some(pointer)) => Ok((declared.elem, *pointer)),
            _ => invalid(format!("buffer {} does not exist", buffer.0)),
        }
    }

    fn place(&mut self, access: &Access) -> Emit<(sparsec_tir::Scalar, PointerValue<'c>, IntValue<'c>)> {
        let (scalar, base) = self.buffer(access.buffer)?;
        let [index] = access.index.as_slice() else {
            return invalid("an access of flat code has one index");
        };
        Ok((scalar, base, self.expr(index)?.i64()?))
    }

    fn type_of(&self, e: &Expr) -> Emit<Type> {
        sparsec_tir::type_of(self.kernel, e).or_else(|error| invalid(error.to_string()))
    }

    /// One lane of an integer vector as an expression of its own, where that takes no vector operation.
    fn lane_of(&self, e: &Expr, lane: u16) -> Option<Expr> {
        if self.type_of(e).is_ok_and(|ty| ty.lanes == 1) {
            return Some(e.clone());
        }
        match e {
            Expr::Load(access) if access.active.is_none() => {
                let index = access.index.iter().map(|i| i.clone() + Expr::int(lane.into())).collect();
                Some(Expr::Load(Access { index, lanes: 1, ..access.clone() }))
            }
            Expr::Gather(buffer, indices) => {
                Some(Expr::Load(Access::element(*buffer, vec![self.lane_of(indices, lane)?])))
            }
            Expr::Convert(to, x) => Some(self.lane_of(x, lane)?.convert(*to)),
            Expr::Binary(op, x, y) => Some(Expr::binary(*op, self.lane_of(x, lane)?, self.lane_of(y, lane)?)),
            Expr::Splat(x, _) => Some((**x).clone()),
            Expr::Ramp { base, step, .. } => Some((**base).clone() + Expr::int(step * i64::from(lane))),
            _ => None,
        }
    }

    fn active(&mut self, access: &Access) -> Emit<Active<'c>> {
        let Some(count) = &access.active else { return Ok(Active::All) };
        let count = self.expr(count)?;
        Ok(match count.as_const() {
            Some(n) if n >= i64::from(access.lanes) => Active::All,
            Some(n) if n <= 0 => Active::None,
            _ => Active::Below(count.i64()?),
        })
    }

    fn expr(&mut self, e: &Expr) -> Emit<Value<'c>> {
        let cx = self.cx;
        match e {
            Expr::Int(v, scalar) => cx.constant_int(*v, *scalar),
            Expr::Float(v, scalar) => cx.constant_float(*v, *scalar),
            Expr::Var(v) => match self.vars.get(v.index()) {
                Some(Some(value)) => Ok(*value),
                _ => invalid(format!("variable `{}` is used before it has a value", self.var_name(*v))),
            },
            Expr::Param(p) => match self.params.get(p.index()) {
                Some(value) => Ok(Value::index(*value)),
                None => invalid(format!("parameter {} does not exist", p.0)),
            },
            Expr::Reg(r, index) => {
                let (slot, ty) = self.register(*r, index)?;
                Ok(Value::new(cx.builder.build_load(cx.type_of(ty), slot, "")?, ty))
            }
            Expr::Load(access) => {
                let (scalar, base, index) = self.place(access)?;
                let active = self.active(access)?;
                cx.load(scalar, base, index, access.lanes, active)
            }
            Expr::Gather(buffer, indices) => {
                let (scalar, base) = self.buffer(*buffer)?;
                let lanes = self.type_of(indices)?.lanes;
                // Indices that are loaded or computed lane by lane never go through a vector register.
                let scalars: Option<Vec<Expr>> = (0..lanes).map(|lane| self.lane_of(indices, lane)).collect();
                let indices: Vec<IntValue<'c>> = match scalars {
                    Some(scalars) => scalars.iter().map(|e| self.expr(e)?.i64()).collect::<Emit<_>>()?,
                    None => {
                        let vector = self.expr(indices)?;
                        cx.extract_lanes(vector)?
                    }
                };
                cx.gather(scalar, base, &indices)
            }
            Expr::Unary(op, x) => {
                let x = self.expr(x)?;
                cx.unary(*op, x)
            }
            Expr::Binary(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                cx.binary(*op, x, y)
            }
            Expr::Compare(op, x, y) => {
                let (x, y) = (self.expr(x)?, self.expr(y)?);
                cx.compare(*op, x, y)
            }
            Expr::Select(c, x, y) => {
                let (c, x, y) = (self.expr(c)?, self.expr(x)?, self.expr(y)?);
                cx.select(c, x, y)
            }
            Expr::Fma(a, b, c) => {
                let (a, b, c) = (self.expr(a)?, self.expr(b)?, self.expr(c)?);
                cx.fma(a, b, c)
            }
            Expr::Dot4 { acc, a, b } => {
                let (acc, a, b) = (self.expr(acc)?, self.expr(a)?, self.expr(b)?);
                cx.dot4(acc, a, b)
            }
            Expr::Convert(to, x) => {
                let x = self.expr(x)?;
                cx.convert(*to, x)
            }
            Expr::Bitcast(to, x) => {
                let x = self.expr(x)?;
                cx.bitcast(*to, x)
            }
            Expr::Splat(x, lanes) => {
                let x = self.expr(x)?;
                cx.splat(x, *lanes)
            }
            Expr::Ramp { base, step, lanes } => {
                let base = self.expr(base)?;
                let BasicValueEnum::IntValue(first) = base.raw else {
                    return invalid(format!("a ramp from {}", base.ty));
                };
                if *lanes == 1 {
                    return Ok(base);
                }
                let ty = Type { scalar: base.ty.scalar, lanes: *lanes };
                let steps = Value::new(cx.iota(first.get_type(), *lanes, *step), ty);
                cx.binary(sparsec_tir::BinaryOp::Add, base, steps)
            }
            Expr::Shuffle(x, lanes) => {
                let x = self.expr(x)?;
                let lanes: Vec<u32> = lanes.iter().map(|l| u32::from(*l)).collect();
                cx.shuffle(x, &lanes)
            }
            Expr::Extract(x, lane) => {
                let x = self.expr(x)?;
                cx.shuffle(x, &[u32::from(*lane)])
            }
            Expr::Reduce(op, x) => {
                let x = self.expr(x)?;
                cx.reduce(*op, x)
            }
        }
    }
}
