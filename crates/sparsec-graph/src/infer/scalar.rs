//! Types of scalar expressions.
//!
//! Every operation has operands of one element type, as tensor operators do. A constant has no type of its own: it takes
//! the one of its sibling, so `lt($0, 0.5)` compares in `$0`'s type.

use super::InferError;
use crate::{BinaryOp, DType, ScalarExpr, UnaryOp};

/// The deepest nesting of a scalar expression.
pub(crate) const MAX_DEPTH: usize = 200;

/// A scalar expression with the element type of every part.
#[derive(Clone, Debug)]
pub(crate) struct TypedScalar {
    pub(crate) dtype: DType,
    pub(crate) kind: TypedKind,
}

/// As [`ScalarExpr`].
#[derive(Clone, Debug)]
pub(crate) enum TypedKind {
    Acc,
    Arg(u32),
    Const(f64),
    Unary(UnaryOp, Box<TypedScalar>),
    Convert(Box<TypedScalar>),
    Binary(BinaryOp, Box<TypedScalar>, Box<TypedScalar>),
    Select(Box<TypedScalar>, Box<TypedScalar>, Box<TypedScalar>),
}

/// Types an expression. See [`super::infer_scalar_type`].
pub(crate) fn type_scalar(expr: &ScalarExpr, acc: Option<DType>, args: &[DType]) -> Result<TypedScalar, InferError> {
    let cx = Scalars { acc, args };
    let natural = cx.natural(expr, 0)?;
    let dtype =
        natural.or(acc).or(args.first().copied()).ok_or_else(|| error("constants alone have no element type"))?;
    cx.fill(expr, dtype)
}

fn error(reason: impl Into<String>) -> InferError {
    InferError::Scalar { reason: reason.into() }
}

struct Scalars<'a> {
    acc: Option<DType>,
    args: &'a [DType],
}

impl Scalars<'_> {
    /// The type that an expression has from within; `None` for constants alone.
    fn natural(&self, expr: &ScalarExpr, depth: usize) -> Result<Option<DType>, InferError> {
        if depth > MAX_DEPTH {
            return Err(error(format!("nested deeper than {MAX_DEPTH}")));
        }
        match expr {
            ScalarExpr::Acc => {
                self.acc.map(Some).ok_or_else(|| error("`acc` stands for an anchor's result, and there is no anchor"))
            }
            ScalarExpr::Arg(i) => match self.args.get(*i as usize) {
                Some(dtype) => Ok(Some(*dtype)),
                None => Err(error(format!("`${i}` is not among the {} operands", self.args.len()))),
            },
            ScalarExpr::Const(_) => Ok(None),
            ScalarExpr::Unary(op, x) => {
                let dtype = self.natural(x, depth + 1)?;
                match dtype {
                    Some(t) if !accepts_unary(*op, t) => Err(error(format!("`{op}` of {t}"))),
                    None if *op == UnaryOp::Not => Ok(Some(DType::Bool)),
                    _ => Ok(dtype),
                }
            }
            ScalarExpr::Convert(to, x) => {
                let from = self.natural(x, depth + 1)?.unwrap_or(*to);
                if !converts(from) || !converts(*to) {
                    return Err(error(format!("`{to}` of {from}")));
                }
                Ok(Some(*to))
            }
            ScalarExpr::Binary(op, x, y) => {
                let dtype = unify(op.name(), self.natural(x, depth + 1)?, self.natural(y, depth + 1)?)?;
                match dtype {
                    Some(t) if !accepts_binary(*op, t) => Err(error(format!("`{op}` of {t}"))),
                    _ if op.is_comparison() => Ok(Some(DType::Bool)),
                    None if matches!(op, BinaryOp::And | BinaryOp::Or) => Ok(Some(DType::Bool)),
                    _ => Ok(dtype),
                }
            }
            ScalarExpr::Select(c, x, y) => {
                if self.natural(c, depth + 1)?.is_some_and(|t| t != DType::Bool) {
                    return Err(error("the condition of `select` must be bool"));
                }
                unify("select", self.natural(x, depth + 1)?, self.natural(y, depth + 1)?)
            }
        }
    }

    /// The typed tree, where constants of no other type get `dtype`.
    fn fill(&self, expr: &ScalarExpr, dtype: DType) -> Result<TypedScalar, InferError> {
        // Constants that an operation is not defined for (`erf` in an integer context) surface here.
        let dtype = self.natural(expr, 0)?.unwrap_or(dtype);
        let kind = match expr {
            ScalarExpr::Acc => TypedKind::Acc,
            ScalarExpr::Arg(i) => TypedKind::Arg(*i),
            ScalarExpr::Const(v) => TypedKind::Const(*v),
            ScalarExpr::Unary(op, x) => {
                if !accepts_unary(*op, dtype) {
                    return Err(error(format!("`{op}` of {dtype}")));
                }
                TypedKind::Unary(*op, Box::new(self.fill(x, dtype)?))
            }
            ScalarExpr::Convert(_, x) => TypedKind::Convert(Box::new(self.fill(x, dtype)?)),
            ScalarExpr::Binary(op, x, y) => {
                let inner = match unify(op.name(), self.natural(x, 0)?, self.natural(y, 0)?)? {
                    Some(inner) => inner,
                    // Two constants are compared as doubles.
                    None if op.is_comparison() => DType::F64,
                    None => dtype,
                };
                if !accepts_binary(*op, inner) {
                    return Err(error(format!("`{op}` of {inner}")));
                }
                TypedKind::Binary(*op, Box::new(self.fill(x, inner)?), Box::new(self.fill(y, inner)?))
            }
            ScalarExpr::Select(c, x, y) => TypedKind::Select(
                Box::new(self.fill(c, DType::Bool)?),
                Box::new(self.fill(x, dtype)?),
                Box::new(self.fill(y, dtype)?),
            ),
        };
        Ok(TypedScalar { dtype, kind })
    }
}

fn unify(op: &str, a: Option<DType>, b: Option<DType>) -> Result<Option<DType>, InferError> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err(error(format!("`{op}` of {a} and {b}"))),
        (a, b) => Ok(a.or(b)),
    }
}

/// Whether scalar expressions convert from and to an element type: numbers whose elements are whole bytes.
pub(super) fn converts(dtype: DType) -> bool {
    dtype.is_number() && !dtype.is_narrow() && dtype.small_float().is_none()
}

/// Whether a unary operation is defined for an element type.
pub(super) fn accepts_unary(op: UnaryOp, dtype: DType) -> bool {
    match op {
        UnaryOp::Not => dtype == DType::Bool || dtype.is_int(),
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu => dtype.is_number(),
        _ => dtype.is_float(),
    }
}

/// Whether a binary operation is defined for an element type.
pub(super) fn accepts_binary(op: BinaryOp, dtype: DType) -> bool {
    match op {
        BinaryOp::And | BinaryOp::Or => dtype == DType::Bool || dtype.is_int(),
        BinaryOp::Xor | BinaryOp::ShiftLeft | BinaryOp::ShiftRight => dtype.is_int(),
        BinaryOp::Equal => !dtype.is_narrow(),
        _ => dtype.is_number(),
    }
}
