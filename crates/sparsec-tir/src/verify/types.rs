//! Types of expressions.

use crate::{
    Access, BinaryOp, BufferId, Expr, Kernel, ParamId, RegisterId, Scalar, Type, UnaryOp, VarId,
    print::{access_text, expr_text},
};

/// Largest number of lanes of a vector.
pub const MAX_LANES: u16 = 256;

/// Why an expression has no type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TypeError {
    /// A variable that the kernel doesn't declare.
    #[error("variable {} does not exist", .0.0)]
    UnknownVar(VarId),
    /// A param that the kernel doesn't declare.
    #[error("param {} does not exist", .0.0)]
    UnknownParam(ParamId),
    /// A buffer that the kernel doesn't declare.
    #[error("buffer {} does not exist", .0.0)]
    UnknownBuffer(BufferId),
    /// A register that the kernel doesn't declare.
    #[error("register {} does not exist", .0.0)]
    UnknownRegister(RegisterId),
    /// Operands of different types.
    #[error("operands of `{expr}` differ: {left} and {right}")]
    Mismatch {
        /// The expression.
        expr: String,
        /// Type of the first operand.
        left: Type,
        /// Type of another operand.
        right: Type,
    },
    /// An operand of a type that the operation doesn't take.
    #[error("`{expr}` takes {expected}, not {found}")]
    Operand {
        /// The expression.
        expr: String,
        /// What is taken.
        expected: &'static str,
        /// What is there.
        found: Type,
    },
    /// Another number of indices than there are dimensions.
    #[error("`{expr}` has {found} indices, {expected} expected")]
    Rank {
        /// The expression.
        expr: String,
        /// Number of dimensions.
        expected: usize,
        /// Number of indices.
        found: usize,
    },
    /// A constant that its type doesn't hold.
    #[error("constant {value} is no {ty}")]
    Constant {
        /// The constant.
        value: String,
        /// Its type.
        ty: Scalar,
    },
    /// A number of lanes, or a lane, that can't be.
    #[error("`{expr}`: lane or number of lanes {lanes} is out of range")]
    Lanes {
        /// The expression.
        expr: String,
        /// The number.
        lanes: usize,
    },
}

/// The type of an expression outside of `vector` loops (so: of every expression of Stage III).
///
/// Where one operand of an operation is a vector and another a scalar of the same scalar type, the type is the
/// vector's. That Stage III has no such mixture is checked by [`verify_flat`](crate::verify_flat).
///
/// # Errors
/// When a name doesn't exist or an operand has the wrong type.
pub fn type_of(kernel: &Kernel, expr: &Expr) -> Result<Type, TypeError> {
    type_in(kernel, expr, None)
}

/// The type of an expression inside a `vector` loop of `lanes` iterations: of one lane, so that registers of as many
/// lanes have the type of one.
///
/// # Errors
/// When a name doesn't exist or an operand has the wrong type.
pub fn type_in_vector(kernel: &Kernel, expr: &Expr, lanes: u16) -> Result<Type, TypeError> {
    type_in(kernel, expr, Some(lanes))
}

pub(crate) fn type_in(kernel: &Kernel, expr: &Expr, vector: Option<u16>) -> Result<Type, TypeError> {
    let recur = |e: &Expr| type_in(kernel, e, vector);
    let operand =
        |expected: &'static str, found: Type| TypeError::Operand { expr: expr_text(kernel, expr), expected, found };
    let lanes_error = |lanes: usize| TypeError::Lanes { expr: expr_text(kernel, expr), lanes };
    match expr {
        Expr::Int(value, scalar) => match int_fits(*value, *scalar) {
            true => Ok(Type::scalar(*scalar)),
            false => Err(TypeError::Constant { value: value.to_string(), ty: *scalar }),
        },
        Expr::Float(value, scalar) => match scalar.is_float() {
            true => Ok(Type::scalar(*scalar)),
            false => Err(TypeError::Constant { value: value.to_string(), ty: *scalar }),
        },
        Expr::Var(v) => kernel.vars.get(v.index()).map(|v| v.ty).ok_or(TypeError::UnknownVar(*v)),
        Expr::Param(p) => match kernel.params.get(p.index()) {
            Some(_) => Ok(Type::INDEX),
            None => Err(TypeError::UnknownParam(*p)),
        },
        Expr::Reg(r, index) => {
            let register = kernel.registers.get(r.index()).ok_or(TypeError::UnknownRegister(*r))?;
            check_index(kernel, index, register.dims.len(), vector, || expr_text(kernel, expr))?;
            Ok(lane_type(register.ty, vector))
        }
        Expr::Load(access) => type_of_access(kernel, access, vector),
        Expr::Gather(b, index) => {
            let buffer = kernel.buffers.get(b.index()).ok_or(TypeError::UnknownBuffer(*b))?;
            let index = recur(index)?;
            match index.scalar == Scalar::I64 {
                true => Ok(Type::vector(buffer.elem, index.lanes)),
                false => Err(operand("i64 indices", index)),
            }
        }
        Expr::Unary(op, x) => {
            let x = recur(x)?;
            let (fits, expected) = match op {
                UnaryOp::Neg | UnaryOp::Abs => (x.scalar != Scalar::Bool, "numbers"),
                UnaryOp::Not => (!x.scalar.is_float(), "bool or integers"),
                _ => (x.scalar.is_float(), "floating-point numbers"),
            };
            if fits { Ok(x) } else { Err(operand(expected, x)) }
        }
        Expr::Binary(op, x, y) => {
            let ty = join(kernel, expr, recur(x)?, recur(y)?)?;
            let s = ty.scalar;
            let integer = !s.is_float() && s != Scalar::Bool;
            let (fits, expected) = match op {
                BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Min | BinaryOp::Max => {
                    (s != Scalar::Bool, "numbers")
                }
                BinaryOp::Rem | BinaryOp::FloorDiv | BinaryOp::Shl | BinaryOp::Shr => (integer, "integers"),
                BinaryOp::And | BinaryOp::Or | BinaryOp::Xor => (!s.is_float(), "bool or integers"),
                BinaryOp::Pow => (s.is_float(), "floating-point numbers"),
            };
            if fits { Ok(ty) } else { Err(operand(expected, ty)) }
        }
        Expr::Compare(_, x, y) => {
            let ty = join(kernel, expr, recur(x)?, recur(y)?)?;
            Ok(Type::vector(Scalar::Bool, ty.lanes))
        }
        Expr::Select(c, x, y) => {
            let c = recur(c)?;
            if c.scalar != Scalar::Bool {
                return Err(operand("a bool condition", c));
            }
            let ty = join(kernel, expr, recur(x)?, recur(y)?)?;
            join(kernel, expr, ty, Type { scalar: ty.scalar, lanes: c.lanes })
        }
        Expr::Fma(x, y, z) => {
            let xy = join(kernel, expr, recur(x)?, recur(y)?)?;
            let ty = join(kernel, expr, xy, recur(z)?)?;
            if ty.scalar.is_float() { Ok(ty) } else { Err(operand("floating-point numbers", ty)) }
        }
        Expr::Dot4 { acc, a, b } => {
            let (acc, a, b) = (recur(acc)?, recur(a)?, recur(b)?);
            if acc.scalar != Scalar::I32 {
                return Err(operand("a sum of i32", acc));
            }
            for words in [a, b] {
                if !matches!(words.scalar, Scalar::I32 | Scalar::U32) {
                    return Err(operand("words of four bytes, i32 or u32", words));
                }
            }
            let words = |ty: Type| Type { scalar: Scalar::I32, ..ty };
            join(kernel, expr, join(kernel, expr, acc, words(a))?, words(b))
        }
        Expr::Convert(to, x) => Ok(Type { scalar: *to, ..recur(x)? }),
        Expr::Bitcast(to, x) => {
            let x = recur(x)?;
            if !lanes_ok(to.lanes) {
                return Err(lanes_error(to.lanes.into()));
            }
            let size = |t: Type| t.scalar.size() * usize::from(t.lanes);
            let bool_free = to.scalar != Scalar::Bool && x.scalar != Scalar::Bool;
            if bool_free && size(*to) == size(x) { Ok(*to) } else { Err(operand("a type of the same size", x)) }
        }
        Expr::Splat(x, lanes) => {
            let x = recur(x)?;
            match (x.is_vector(), lanes_ok(*lanes)) {
                (false, true) => Ok(Type::vector(x.scalar, *lanes)),
                (true, _) => Err(operand("a scalar", x)),
                _ => Err(lanes_error((*lanes).into())),
            }
        }
        Expr::Ramp { base, lanes, .. } => {
            let base = recur(base)?;
            if base.is_vector() || base.scalar.is_float() || base.scalar == Scalar::Bool {
                return Err(operand("an integer", base));
            }
            if lanes_ok(*lanes) { Ok(Type::vector(base.scalar, *lanes)) } else { Err(lanes_error((*lanes).into())) }
        }
        Expr::Shuffle(x, lanes) => {
            let x = recur(x)?;
            if let Some(&l) = lanes.iter().find(|&&l| u16::from(l) >= x.lanes) {
                return Err(lanes_error(l.into()));
            }
            match u16::try_from(lanes.len()) {
                Ok(n) if lanes_ok(n) => Ok(Type::vector(x.scalar, n)),
                _ => Err(lanes_error(lanes.len())),
            }
        }
        Expr::Extract(x, lane) => {
            let x = recur(x)?;
            match u16::from(*lane) < x.lanes {
                true => Ok(Type::scalar(x.scalar)),
                false => Err(lanes_error((*lane).into())),
            }
        }
        Expr::Reduce(_, x) => {
            let x = recur(x)?;
            if x.scalar == Scalar::Bool { Err(operand("numbers", x)) } else { Ok(Type::scalar(x.scalar)) }
        }
    }
}

/// The type that a load of an access has and a store to it takes.
pub(crate) fn type_of_access(kernel: &Kernel, access: &Access, vector: Option<u16>) -> Result<Type, TypeError> {
    let buffer = kernel.buffers.get(access.buffer.index()).ok_or(TypeError::UnknownBuffer(access.buffer))?;
    check_index(kernel, &access.index, buffer.shape.len(), vector, || access_text(kernel, access))?;
    if let Some(active) = &access.active {
        let ty = type_in(kernel, active, vector)?;
        if ty != Type::INDEX {
            let expr = access_text(kernel, access);
            return Err(TypeError::Operand { expr, expected: "an i64 count of active lanes", found: ty });
        }
    }
    match lanes_ok(access.lanes) {
        true => Ok(Type::vector(buffer.elem, access.lanes)),
        false => Err(TypeError::Lanes { expr: access_text(kernel, access), lanes: access.lanes.into() }),
    }
}

/// The type of a register's use where the innermost vector loop has `vector` lanes.
pub(crate) fn lane_type(ty: Type, vector: Option<u16>) -> Type {
    if vector == Some(ty.lanes) { Type::scalar(ty.scalar) } else { ty }
}

pub(crate) fn check_index(
    kernel: &Kernel,
    index: &[Expr],
    rank: usize,
    vector: Option<u16>,
    text: impl Fn() -> String,
) -> Result<(), TypeError> {
    if index.len() != rank {
        return Err(TypeError::Rank { expr: text(), expected: rank, found: index.len() });
    }
    for i in index {
        let ty = type_in(kernel, i, vector)?;
        if ty != Type::INDEX {
            return Err(TypeError::Operand { expr: text(), expected: "i64 indices", found: ty });
        }
    }
    Ok(())
}

/// Whether vectors may have this many lanes: a power of two up to [`MAX_LANES`].
pub(crate) fn lanes_ok(lanes: u16) -> bool {
    lanes.is_power_of_two() && lanes <= MAX_LANES
}

/// Whether an integer type holds a value. `u64` constants are given by their bits.
pub(crate) fn int_fits(value: i64, scalar: Scalar) -> bool {
    match scalar {
        Scalar::Bool => (0..=1).contains(&value),
        Scalar::I8 => i8::try_from(value).is_ok(),
        Scalar::I16 => i16::try_from(value).is_ok(),
        Scalar::I32 => i32::try_from(value).is_ok(),
        Scalar::U8 => u8::try_from(value).is_ok(),
        Scalar::U16 => u16::try_from(value).is_ok(),
        Scalar::U32 => u32::try_from(value).is_ok(),
        Scalar::I64 | Scalar::U64 => true,
        Scalar::F16 | Scalar::BF16 | Scalar::F32 | Scalar::F64 => false,
    }
}

/// The common type of two operands, one of which may be a scalar that is splatted.
fn join(kernel: &Kernel, expr: &Expr, left: Type, right: Type) -> Result<Type, TypeError> {
    match left.scalar == right.scalar && (left.lanes == right.lanes || left.lanes == 1 || right.lanes == 1) {
        true => Ok(Type::vector(left.scalar, left.lanes.max(right.lanes))),
        false => Err(TypeError::Mismatch { expr: expr_text(kernel, expr), left, right }),
    }
}
