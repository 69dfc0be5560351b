//! Element-wise operators, all through scalar expressions, a chunk of elements at a time.

use bytes::Bytes;

use super::element::Acc;
use super::lanes::{Lanes, Loaded, wrap};
use super::strided::broadcast;
use super::{InterpError, Tensor, math};
use crate::infer::{TypedKind, TypedScalar, type_scalar};
use crate::text::int_range;
use crate::{BinaryOp, DType, Op, ScalarExpr, UnaryOp};

/// Elements per chunk: intermediate results of an expression stay in cache.
const CHUNK: usize = 2048;

/// The expression that an element-wise operator stands for.
pub(super) fn as_expression(op: &Op) -> ScalarExpr {
    let arg = |i| Box::new(ScalarExpr::Arg(i));
    match op {
        Op::Unary(op) => ScalarExpr::Unary(*op, arg(0)),
        Op::Binary(op) => ScalarExpr::Binary(*op, arg(0), arg(1)),
        Op::Where => ScalarExpr::Select(arg(0), arg(1), arg(2)),
        Op::Map(expr) => expr.clone(),
        _ => ScalarExpr::Arg(0),
    }
}

/// Evaluates an expression at every index of `shape`, with operands broadcast to it.
pub(super) fn scalar(
    expr: &ScalarExpr,
    acc: Option<&Tensor>,
    operands: &[&Tensor],
    shape: &[usize],
) -> Result<Tensor, InterpError> {
    let dtypes: Vec<DType> = operands.iter().map(|t| t.dtype).collect();
    let typed = type_scalar(expr, acc.map(|t| t.dtype), &dtypes)?;
    let mut args = Vec::with_capacity(operands.len());
    for tensor in operands {
        args.push((Loaded::new(tensor)?, broadcast(&tensor.shape, shape)));
    }
    let acc = match acc {
        Some(tensor) => Some((Loaded::new(tensor)?, broadcast(&tensor.shape, shape))),
        None => None,
    };
    let elements: usize = shape.iter().product();
    let mut bytes = Vec::with_capacity(elements * typed.dtype.size());
    for start in (0..elements).step_by(CHUNK) {
        let chunk = Chunk { shape, acc: acc.as_ref(), args: &args, start, len: CHUNK.min(elements - start) };
        chunk.eval(&typed)?.store(typed.dtype, &mut bytes);
    }
    Ok(Tensor { dtype: typed.dtype, shape: shape.to_vec(), bytes: Bytes::from(bytes) })
}

type Source<'a> = (Loaded<'a>, Vec<usize>);

struct Chunk<'a> {
    shape: &'a [usize],
    acc: Option<&'a Source<'a>>,
    args: &'a [Source<'a>],
    start: usize,
    len: usize,
}

impl Chunk<'_> {
    fn eval(&self, expr: &TypedScalar) -> Result<Lanes, InterpError> {
        let missing = || InterpError::Malformed { reason: "a scalar expression names a missing operand".into() };
        let read =
            |source: Option<&Source<'_>>| source.map(|(v, strides)| v.lanes(self.shape, strides, self.start, self.len));
        Ok(match &expr.kind {
            TypedKind::Acc => read(self.acc).ok_or_else(missing)?,
            TypedKind::Arg(i) => read(self.args.get(*i as usize)).ok_or_else(missing)?,
            TypedKind::Const(v) => Lanes::splat(expr.dtype, *v, self.len),
            TypedKind::Unary(op, x) => unary(*op, self.eval(x)?, expr.dtype),
            TypedKind::Convert(x) => self.eval(x)?.cast(expr.dtype),
            TypedKind::Binary(op, x, y) => binary(*op, self.eval(x)?, self.eval(y)?, expr.dtype)?,
            TypedKind::Select(c, x, y) => select(&self.eval(c)?, self.eval(x)?, &self.eval(y)?),
        })
    }
}

fn unary(op: UnaryOp, x: Lanes, dtype: DType) -> Lanes {
    match x {
        Lanes::Float(mut v) => {
            v.iter_mut().for_each(|x| *x = math::unary(op, *x));
            Lanes::Float(v)
        }
        Lanes::Int(mut v) => {
            v.iter_mut().for_each(|x| {
                *x = match op {
                    UnaryOp::Neg => wrap(-*x, dtype),
                    UnaryOp::Abs => wrap(x.abs(), dtype),
                    UnaryOp::Relu => (*x).max(0),
                    UnaryOp::Not => wrap(!*x, dtype),
                    _ => *x,
                }
            });
            Lanes::Int(v)
        }
        Lanes::Bool(v) => Lanes::Bool(v.into_iter().map(|x| !x).collect()),
    }
}

fn binary(op: BinaryOp, x: Lanes, y: Lanes, dtype: DType) -> Result<Lanes, InterpError> {
    Ok(match (x, y) {
        (Lanes::Float(x), Lanes::Float(y)) if op.is_comparison() => Lanes::Bool(compare(op, &x, &y)),
        (Lanes::Int(x), Lanes::Int(y)) if op.is_comparison() => Lanes::Bool(compare(op, &x, &y)),
        (Lanes::Bool(x), Lanes::Bool(y)) => Lanes::Bool(match op {
            BinaryOp::And => x.into_iter().zip(y).map(|(x, y)| x && y).collect(),
            BinaryOp::Or => x.into_iter().zip(y).map(|(x, y)| x || y).collect(),
            _ => compare(op, &x, &y),
        }),
        (Lanes::Float(mut x), Lanes::Float(y)) => {
            x.iter_mut().zip(&y).for_each(|(x, y)| *x = math::binary(op, *x, *y));
            Lanes::Float(x)
        }
        (Lanes::Int(mut x), Lanes::Int(y)) => {
            for (x, y) in x.iter_mut().zip(&y) {
                *x =
                    wrap(math::integer(op, *x, *y, 8 * dtype.size() as u32).ok_or(InterpError::DivisionByZero)?, dtype);
            }
            Lanes::Int(x)
        }
        _ => return Err(InterpError::Malformed { reason: format!("`{op}` of two types") }),
    })
}

fn compare<T: PartialOrd>(op: BinaryOp, x: &[T], y: &[T]) -> Vec<bool> {
    x.iter().zip(y).map(|(x, y)| math::compare(op, x, y)).collect()
}

fn select(condition: &Lanes, mut x: Lanes, y: &Lanes) -> Lanes {
    fn pick<T: Copy>(condition: &Lanes, x: &mut [T], y: &[T]) {
        if let Lanes::Bool(condition) = condition {
            for ((c, x), y) in condition.iter().zip(x).zip(y) {
                if !c {
                    *x = *y;
                }
            }
        }
    }
    match (&mut x, y) {
        (Lanes::Float(x), Lanes::Float(y)) => pick(condition, x, y),
        (Lanes::Int(x), Lanes::Int(y)) => pick(condition, x, y),
        (Lanes::Bool(x), Lanes::Bool(y)) => pick(condition, x, y),
        _ => {}
    }
    x
}

/// Applies `f` to all elements, chunk by chunk.
fn each_chunk(x: &Tensor, to: DType, f: impl Fn(Lanes) -> Lanes) -> Result<Tensor, InterpError> {
    let loaded = Loaded::new(x)?;
    let elements = x.elements();
    let mut bytes = Vec::with_capacity(elements * to.size());
    for start in (0..elements).step_by(CHUNK) {
        let len = CHUNK.min(elements - start);
        f(loaded.lanes(&[elements], &[1], start, len)).store(to, &mut bytes);
    }
    Ok(Tensor { dtype: to, shape: x.shape.clone(), bytes: Bytes::from(bytes) })
}

pub(super) fn cast(x: &Tensor, to: DType) -> Result<Tensor, InterpError> {
    each_chunk(x, to, |lanes| lanes.cast(to))
}

pub(super) fn clip(x: &Tensor, lo: f64, hi: f64) -> Result<Tensor, InterpError> {
    each_chunk(x, x.dtype, |lanes| match lanes {
        Lanes::Float(v) => Lanes::Float(v.into_iter().map(|x| x.larger(lo).smaller(hi)).collect()),
        // A bound between two integers admits those on its inner side.
        Lanes::Int(v) => {
            let range = int_range(x.dtype);
            let bound = |b: f64| (b as i128).clamp(*range.start(), *range.end());
            let (lo, hi) = (bound(lo.ceil()), bound(hi.floor()));
            Lanes::Int(v.into_iter().map(|x| x.max(lo).min(hi)).collect())
        }
        bools => bools,
    })
}
