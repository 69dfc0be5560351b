//! Expressions over a model's symbols as text, for the header and the manifest.

use sparsec_tir::{BinaryOp, Expr};

/// `batch`, `2 * seq + 1`, ...
pub(crate) fn text(e: &Expr, symbols: &[String]) -> String {
    match e {
        Expr::Int(v, _) => v.to_string(),
        Expr::Param(p) => symbols.get(p.index()).cloned().unwrap_or_else(|| format!("?{}", p.0)),
        Expr::Binary(op, x, y) => {
            let (x, y) = (operand(x, symbols), operand(y, symbols));
            match op {
                BinaryOp::Add => format!("{x} + {y}"),
                BinaryOp::Sub => format!("{x} - {y}"),
                BinaryOp::Mul => format!("{x} * {y}"),
                BinaryOp::Div => format!("{x} / {y}"),
                BinaryOp::Rem => format!("{x} % {y}"),
                other => format!("{}({x}, {y})", other.name()),
            }
        }
        _ => "?".to_owned(),
    }
}

fn operand(e: &Expr, symbols: &[String]) -> String {
    match e {
        Expr::Binary(BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem, ..) => {
            format!("({})", text(e, symbols))
        }
        _ => text(e, symbols),
    }
}

/// `[batch, 1, 8, 8]`.
pub(crate) fn shape(shape: &[Expr], symbols: &[String]) -> Vec<String> {
    shape.iter().map(|e| text(e, symbols)).collect()
}
