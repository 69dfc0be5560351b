//! Layer normalisation along neighbouring axes: mean, then variance about it, then the result.

use sparsec_tir::{BinaryOp, BufferKind, Expr, ReduceOp, Scalar, UnaryOp, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::line::{AxisView, Line, declare, guarded};
use crate::scalar::constant;
use crate::target::TargetInfo;

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias`; scale and bias have an element for each place on the line.
pub(crate) fn layer_norm_kernel(elem: Scalar, epsilon: f64, view: &AxisView, target: &TargetInfo) -> BuiltKernel {
    let mut c = Context::new("layer_norm");
    let x = declare(&mut c, "x", elem, BufferKind::Input, view);
    let len = c.dim(&view.len);
    let scale = c.buffer("scale", elem, BufferKind::Input, vec![len.clone()], vec![]);
    let bias = c.buffer("bias", elem, BufferKind::Input, vec![len.clone()], vec![]);
    let y = declare(&mut c, "y", elem, BufferKind::Output, view);
    let count = len.convert(elem);
    let zero = || constant(0.0, elem).0;
    Line::for_each(&mut c, view, target, |c, line| {
        let sum = line.register(c, "sum", elem);
        line.fill(c, sum, zero());
        line.walk_first(c, (x, elem.size()), |c, index, _, inside| {
            c.set(sum, vec![], Expr::Reg(sum, vec![]) + guarded(inside, load(x, index), zero()));
        });
        let total = line.total(c, sum, ReduceOp::Add, elem);
        let mean = line.derive(c, elem, |_| Expr::binary(BinaryOp::Div, total, count.clone()));
        let squares = line.register(c, "squares", elem);
        line.fill(c, squares, zero());
        line.walk(c, |c, index, _, inside| {
            let d = guarded(inside, load(x, index) - mean.clone(), zero());
            let d = c.bind("d", sparsec_tir::Type::scalar(elem), d);
            c.set(squares, vec![], Expr::fma(d.clone(), d, Expr::Reg(squares, vec![])));
        });
        let total = line.total(c, squares, ReduceOp::Add, elem);
        let factor = line.derive(c, elem, |_| {
            let variance = Expr::binary(BinaryOp::Div, total, count);
            let root = Expr::unary(UnaryOp::Sqrt, variance + Expr::Float(epsilon, elem));
            Expr::binary(BinaryOp::Div, constant(1.0, elem).0, root)
        });
        line.walk(c, |c, index, place, _| {
            let normal = (load(x, index.clone()) - mean) * factor;
            c.store(y, index, Expr::fma(normal, load(scale, vec![place.clone()]), load(bias, vec![place])));
        });
    });
    c.finish()
}
