//! Cost of scalar expressions, fused or alone.

use sparsec_graph::{BinaryOp, ScalarExpr, TensorType, UnaryOp};

use super::CostModel;
use crate::lang::OpInfo;

/// Vector instructions that an expression takes for one vector of elements.
pub(crate) fn expression_cost(expr: &ScalarExpr) -> f64 {
    match expr {
        ScalarExpr::Acc | ScalarExpr::Arg(_) | ScalarExpr::Const(_) => 0.0,
        ScalarExpr::Unary(op, x) => unary_cost(*op) + expression_cost(x),
        ScalarExpr::Binary(op, x, y) => binary_cost(*op) + expression_cost(x) + expression_cost(y),
        ScalarExpr::Select(a, b, c) => 1.0 + expression_cost(a) + expression_cost(b) + expression_cost(c),
    }
}

/// Instructions of a unary operation: polynomials of the vector math for the transcendental ones.
pub(crate) fn unary_cost(op: UnaryOp) -> f64 {
    match op {
        UnaryOp::Neg | UnaryOp::Abs | UnaryOp::Relu | UnaryOp::Not => 1.0,
        UnaryOp::Floor | UnaryOp::Ceil | UnaryOp::Round => 2.0,
        UnaryOp::Sqrt | UnaryOp::Reciprocal | UnaryOp::Rsqrt => 8.0,
        UnaryOp::Exp | UnaryOp::Log => 16.0,
        UnaryOp::Tanh | UnaryOp::Sigmoid | UnaryOp::Silu => 24.0,
        UnaryOp::Erf | UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Sin | UnaryOp::Cos => 28.0,
    }
}

pub(crate) fn binary_cost(op: BinaryOp) -> f64 {
    match op {
        BinaryOp::Div => 6.0,
        BinaryOp::Pow => 40.0,
        _ => 1.0,
    }
}

impl CostModel<'_> {
    /// Seconds for `instructions` on each vector of `elements` elements, two a cycle.
    pub(super) fn vector_work(&self, elements: f64, instructions: f64) -> f64 {
        let vectors = elements / f64::from(self.machine.vector_lanes);
        vectors * instructions / (2.0 * self.machine.ghz * 1e9)
    }

    /// Seconds that an epilogue adds to its anchor: arithmetic, and reading its operands.
    pub(super) fn epilogue_seconds(&self, info: &OpInfo, types: &[&TensorType], result: &TensorType) -> f64 {
        let Some(epilogue) = &info.epilogue else { return 0.0 };
        let args = types.get(epilogue.first_operand as usize..).unwrap_or_default();
        let bytes: f64 = args.iter().map(|ty| self.bytes(ty)).sum();
        self.vector_work(self.elements(result), expression_cost(&epilogue.expr))
            + self.machine.seconds_for_bytes(bytes, bytes)
    }
}
