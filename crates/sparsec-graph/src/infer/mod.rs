//! Shape and type inference: the meaning of each operator, as far as types can tell it.
//!
//! Inference is total: any operator with any operands gives types or an [`InferError`], never a panic, since models are
//! untrusted. Extents may be symbolic. Two extents are taken as equal only where they are the same expression; a symbol
//! against another extent is an error that proposes to fix the symbol with `--dim`.

mod control;
mod elementwise;
mod error;
mod linear;
mod movement;
mod normalise;
mod scalar;
mod window;

pub use error::InferError;
pub(crate) use linear::{convolves_bytes, sums_bytes};
pub(crate) use scalar::{MAX_DEPTH as MAX_SCALAR_DEPTH, TypedKind, TypedScalar, type_scalar};

use crate::{DType, Dim, Epilogue, Op, ScalarExpr, TensorType};

/// A tensor holds at most this many elements (2^40).
pub const MAX_ELEMENTS: i64 = 1 << 40;

/// The largest number of dimensions of a tensor.
pub const MAX_RANK: usize = 64;

/// The result types of an operator, without an epilogue.
///
/// # Errors
/// When the number, the element types or the shapes of the operands don't suit the operator, when its attributes are out
/// of range, or when a result would be absurd (a negative extent, more than [`MAX_ELEMENTS`] elements).
pub fn infer_types(op: &Op, operands: &[&TensorType]) -> Result<Vec<TensorType>, InferError> {
    let cx = Cx { op: op.name(), operands };
    for ty in operands {
        cx.check_size(ty)?;
    }
    let ty = match op {
        Op::Loops(spec) => {
            spec.results.iter().try_for_each(|ty| cx.check_size(ty))?;
            spec.check(operands).map_err(|reason| cx.attribute(reason))?;
            return Ok(spec.results.clone());
        }
        Op::If { then, otherwise } => return control::conditional(&cx, then, otherwise),
        Op::Loop(spec) => return control::looped(&cx, spec),
        Op::Unary(unary) => elementwise::unary(&cx, *unary),
        Op::Binary(binary) => elementwise::binary(&cx, *binary),
        Op::Where => elementwise::select(&cx),
        Op::Clip { lo, hi } => elementwise::clip(&cx, *lo, *hi),
        Op::Cast(to) => elementwise::cast(&cx, *to),
        Op::Map(expr) => elementwise::map(&cx, expr),
        Op::Contract(spec) => linear::contract(&cx, spec),
        Op::Attention(spec) => linear::attention(&cx, spec),
        Op::Conv(attrs) => linear::conv(&cx, attrs),
        Op::Pool(attrs) => window::pool(&cx, attrs),
        Op::Reduce { kind, axes, keep } => normalise::reduce(&cx, *kind, axes, *keep),
        Op::Softmax { axis } => normalise::softmax(&cx, *axis),
        Op::LayerNorm { axis, axes, epsilon } => normalise::layer_norm(&cx, *axis, *axes, *epsilon),
        Op::BatchNorm { epsilon } => normalise::batch_norm(&cx, *epsilon),
        Op::Reshape(shape) => movement::reshape(&cx, shape),
        Op::Transpose(perm) => movement::transpose(&cx, perm),
        Op::Expand(shape) => movement::expand(&cx, shape),
        Op::Slice(axes) => movement::slice(&cx, axes),
        Op::Concat { axis } => movement::concat(&cx, *axis),
        Op::Gather { axis } => movement::gather(&cx, *axis),
        Op::Pad { amounts, .. } => movement::pad(&cx, amounts),
        Op::ShapeOf(shape) => movement::shape_of(&cx, shape),
    }?;
    cx.check_size(&ty)?;
    Ok(vec![ty])
}

/// The result types of a node: those of its operator, then of its epilogue. `operands` are all of the node's.
///
/// # Errors
/// As [`infer_types`]; and where the epilogue names an operand that is not there, or one that doesn't broadcast to the
/// operator's result without enlarging it.
pub fn infer_node_types(
    op: &Op,
    epilogue: Option<&Epilogue>,
    operands: &[&TensorType],
) -> Result<Vec<TensorType>, InferError> {
    let Some(epilogue) = epilogue else {
        return infer_types(op, operands);
    };
    if op.is_control() {
        return Err(InferError::Epilogue { op: op.name(), reason: "it can't have one".to_owned() });
    }
    let first = epilogue.first_operand as usize;
    let (Some(own), Some(args)) = (operands.get(..first), operands.get(first..)) else {
        return Err(InferError::Arity {
            op: op.name(),
            expected: format!("at least {first} (its epilogue's start)"),
            found: operands.len(),
        });
    };
    let mut types = infer_types(op, own)?;
    let Some(anchor) = types.first_mut() else { return Ok(types) };
    let cx = Cx { op: op.name(), operands: args };
    for arg in args {
        let shape = elementwise::broadcast(&cx, &[&anchor.shape, &arg.shape])?;
        if shape != anchor.shape {
            return Err(InferError::Epilogue {
                op: op.name(),
                reason: format!("an operand of type {arg} doesn't broadcast to the result {anchor}"),
            });
        }
    }
    anchor.dtype =
        infer_scalar_type(&epilogue.expr, Some(anchor.dtype), &args.iter().map(|t| t.dtype).collect::<Vec<_>>())
            .map_err(|e| InferError::Epilogue { op: op.name(), reason: e.to_string() })?;
    Ok(types)
}

/// The element type of a scalar expression. Constants take the type of what they are combined with; an expression of
/// constants alone has the type of `acc`, or else of the first argument.
///
/// # Errors
/// When the expression names an argument that is not there (or `acc` where there is none), nests too deeply, or
/// combines element types that don't go together.
pub fn infer_scalar_type(expr: &ScalarExpr, acc: Option<DType>, args: &[DType]) -> Result<DType, InferError> {
    type_scalar(expr, acc, args).map(|typed| typed.dtype)
}

/// The shape of several operands after broadcasting them together (numpy rules, aligned at the last dimension).
/// `op` is named in the error.
///
/// # Errors
/// When two extents are neither the same nor 1.
pub fn broadcast_shapes(op: &'static str, shapes: &[&[Dim]]) -> Result<Vec<Dim>, InferError> {
    elementwise::broadcast(&Cx { op, operands: &[] }, shapes)
}

/// The type of a pooling's result, as a node's would be inferred.
///
/// # Errors
/// As for a node.
pub fn infer_pool(attrs: &crate::PoolAttrs, x: &TensorType) -> Result<TensorType, InferError> {
    window::pool(&Cx { op: "pool", operands: &[x] }, attrs)
}

/// What every rule needs: the operator's name for messages, and the operand types.
struct Cx<'a> {
    op: &'static str,
    operands: &'a [&'a TensorType],
}

impl<'a> Cx<'a> {
    /// The operands, where there are exactly `N`.
    fn exactly<const N: usize>(&self) -> Result<[&'a TensorType; N], InferError> {
        self.operands.try_into().map_err(|_| self.arity(&N.to_string()))
    }

    fn arity(&self, expected: &str) -> InferError {
        InferError::Arity { op: self.op, expected: expected.to_owned(), found: self.operands.len() }
    }

    fn attribute(&self, reason: impl Into<String>) -> InferError {
        InferError::Attribute { op: self.op, reason: reason.into() }
    }

    fn want(&self, operand: usize, ty: &TensorType, expected: &'static str, ok: bool) -> Result<(), InferError> {
        if ok { Ok(()) } else { Err(InferError::DType { op: self.op, operand, expected, found: ty.dtype }) }
    }

    fn float(&self, operand: usize, ty: &TensorType) -> Result<(), InferError> {
        self.want(operand, ty, "a floating-point type", ty.dtype.is_float())
    }

    fn numeric(&self, operand: usize, ty: &TensorType) -> Result<(), InferError> {
        self.want(operand, ty, "a number type", ty.dtype.is_number())
    }

    /// Fails unless both have one element type.
    fn same_dtype(&self, a: &TensorType, b: &TensorType) -> Result<(), InferError> {
        if a.dtype == b.dtype {
            return Ok(());
        }
        Err(InferError::DTypeMismatch { op: self.op, left: a.dtype, right: b.dtype })
    }

    /// Fails unless two extents are the same expression. `what` says what they are, for the message.
    fn same_extent(&self, what: &str, a: &Dim, b: &Dim) -> Result<(), InferError> {
        if a == b { Ok(()) } else { Err(InferError::extents(self.op, what, a, b)) }
    }

    fn axis(&self, axis: usize, ty: &TensorType) -> Result<Dim, InferError> {
        let extent = ty.shape.get(axis).cloned();
        extent.ok_or_else(|| self.attribute(format!("axis {axis} of an operand of type {ty}")))
    }

    /// Refuses negative constant extents and absurd sizes. Symbolic extents are checked when they are bound.
    fn check_size(&self, ty: &TensorType) -> Result<(), InferError> {
        if ty.rank() > MAX_RANK {
            return Err(InferError::Shape { op: self.op, reason: format!("more than {MAX_RANK} dimensions") });
        }
        let mut elements = 1i64;
        let constants = || ty.shape.iter().filter_map(Dim::as_const);
        if let Some(extent) = constants().find(|&e| e < 0) {
            return Err(InferError::Shape { op: self.op, reason: format!("a negative extent {extent} in {ty}") });
        }
        if constants().any(|e| e == 0) {
            return Ok(());
        }
        for extent in constants() {
            elements = elements.checked_mul(extent).filter(|&n| n <= MAX_ELEMENTS).ok_or_else(|| {
                InferError::Shape { op: self.op, reason: format!("{ty} has more than 2^40 elements") }
            })?;
        }
        Ok(())
    }
}
