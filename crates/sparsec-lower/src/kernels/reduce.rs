//! Reductions over neighbouring axes.

use sparsec_graph::ReduceKind;
use sparsec_tir::{BinaryOp, BufferKind, Expr, ReduceOp, Scalar, UnaryOp, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::line::{AxisView, Line, declare, guarded};
use crate::scalar::constant;
use crate::target::TargetInfo;

/// The value that changes nothing, of a type.
pub(crate) fn neutral(op: ReduceOp, s: Scalar) -> Expr {
    let bits = s.size() as u32 * 8;
    let (low, high) = match s.is_signed() {
        true => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        false => (0, if bits == 64 { -1 } else { (1i64 << bits) - 1 }),
    };
    let infinity = |sign: f64, int: i64| match s.is_float() {
        true => Expr::Float(f64::INFINITY * sign, s),
        false => Expr::Int(int, s),
    };
    match op {
        ReduceOp::Add => constant(0.0, s).0,
        ReduceOp::Mul => constant(1.0, s).0,
        ReduceOp::Max => infinity(-1.0, low),
        ReduceOp::Min => infinity(1.0, high),
    }
}

/// The reduction of an `outer x len x inner` tensor to `outer x inner`.
pub(crate) fn reduce_kernel(kind: ReduceKind, elem: Scalar, view: &AxisView, target: &TargetInfo) -> BuiltKernel {
    let op = match kind {
        ReduceKind::Max => ReduceOp::Max,
        ReduceKind::Min => ReduceOp::Min,
        ReduceKind::Prod => ReduceOp::Mul,
        _ => ReduceOp::Add,
    };
    let combine = match op {
        ReduceOp::Add => BinaryOp::Add,
        ReduceOp::Mul => BinaryOp::Mul,
        ReduceOp::Max => BinaryOp::Max,
        ReduceOp::Min => BinaryOp::Min,
    };
    let mut c = Context::new(&format!("reduce_{kind}"));
    let x = declare(&mut c, "x", elem, BufferKind::Input, view);
    let shape = c.dims(&[view.outer.clone(), view.inner.clone()]);
    let y = c.buffer("y", elem, BufferKind::Output, shape, vec![]);
    let count = c.dim(&view.len);
    Line::for_each(&mut c, view, target, |c, line| {
        let acc = line.register(c, "acc", elem);
        line.fill(c, acc, neutral(op, elem));
        line.walk(c, |c, index, _, inside| {
            let x = load(x, index);
            let x = match kind {
                ReduceKind::L1 => Expr::unary(UnaryOp::Abs, x),
                ReduceKind::L2 | ReduceKind::SumSquare => x.clone() * x,
                _ => x,
            };
            let x = guarded(inside, x, neutral(op, elem));
            c.set(acc, vec![], Expr::Binary(combine, Box::new(Expr::Reg(acc, vec![])), Box::new(x)));
        });
        let total = line.total(c, acc, op, elem);
        let value = line.derive(c, elem, |_| match kind {
            ReduceKind::Mean => Expr::binary(BinaryOp::Div, total, count.convert(elem)),
            ReduceKind::L2 => Expr::unary(UnaryOp::Sqrt, total),
            _ => total,
        });
        line.store(c, y, value);
    });
    c.finish()
}
