//! Softmax along an axis, in three passes: maximum, exponentials and their sum, scaling.

use sparsec_tir::{BinaryOp, BufferKind, Expr, ReduceOp, Scalar, UnaryOp, load};

use crate::context::{BuiltKernel, Context};
use crate::kernels::line::{AxisView, Line, declare, guarded};
use crate::scalar::constant;
use crate::target::TargetInfo;

/// `exp(x - max) / sum(exp(x - max))` along the view's axis.
pub(crate) fn softmax_kernel(elem: Scalar, view: &AxisView, target: &TargetInfo) -> BuiltKernel {
    let mut c = Context::new("softmax");
    let x = declare(&mut c, "x", elem, BufferKind::Input, view);
    let y = declare(&mut c, "y", elem, BufferKind::Output, view);
    let lowest = Expr::Float(f64::NEG_INFINITY, elem);
    Line::for_each(&mut c, view, target, |c, line| {
        let (largest, sum) = (line.register(c, "largest", elem), line.register(c, "sum", elem));
        line.fill(c, largest, lowest.clone());
        line.walk(c, |c, index, _, inside| {
            let x = guarded(inside, load(x, index), lowest.clone());
            c.set(largest, vec![], Expr::Reg(largest, vec![]).max(x));
        });
        let max = line.total(c, largest, ReduceOp::Max, elem);
        line.fill(c, sum, constant(0.0, elem).0);
        line.walk(c, |c, index, _, inside| {
            let e = Expr::unary(UnaryOp::Exp, load(x, index.clone()) - max.clone());
            let e = c.bind("e", sparsec_tir::Type::scalar(elem), e);
            c.store(y, index, e.clone());
            c.set(sum, vec![], Expr::Reg(sum, vec![]) + guarded(inside, e, constant(0.0, elem).0));
        });
        let total = line.total(c, sum, ReduceOp::Add, elem);
        let scale = line.derive(c, elem, |_| Expr::binary(BinaryOp::Div, constant(1.0, elem).0, total));
        line.walk(c, |c, index, _, _| c.store(y, index.clone(), load(y, index) * scale));
    });
    c.finish()
}
