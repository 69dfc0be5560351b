//! Cost of scalar expressions, fused or alone.

use sparsec_graph::{BinaryOp, ScalarExpr, TensorType, UnaryOp};

use super::CostModel;
use super::weight::bytes;
use super::work::{Term, Work};
use crate::lang::OpInfo;

/// Vector instructions that an expression takes for one vector of elements.
pub(crate) fn expression_cost(expr: &ScalarExpr) -> f64 {
    match expr {
        ScalarExpr::Acc | ScalarExpr::Arg(_) | ScalarExpr::Const(_) => 0.0,
        ScalarExpr::Unary(op, x) => unary_cost(*op) + expression_cost(x),
        ScalarExpr::Convert(_, x) => 1.0 + expression_cost(x),
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
        UnaryOp::Erf | UnaryOp::Gelu | UnaryOp::GeluTanh | UnaryOp::Sin | UnaryOp::Cos | UnaryOp::Atan => 28.0,
    }
}

pub(crate) fn binary_cost(op: BinaryOp) -> f64 {
    match op {
        BinaryOp::Div => 6.0,
        BinaryOp::Rem => 16.0,
        BinaryOp::Pow => 40.0,
        _ => 1.0,
    }
}

impl CostModel<'_> {
    /// Work of an epilogue on top of its anchor: arithmetic, and reading its operands.
    pub(super) fn epilogue_work(&self, work: &mut Work, info: &OpInfo, types: &[&TensorType], result: &TensorType) {
        let Some(epilogue) = &info.epilogue else { return };
        let args = types.get(epilogue.first_operand as usize..).unwrap_or_default();
        self.add_instructions(work, result, expression_cost(&epilogue.expr));
        for ty in args {
            // Biases and the like are broadcast: they stay in a register or in L1.
            work.add(Term::Operand, self.vectors(ty));
            bytes(work, self.machine, self.bytes(ty), self.bytes(ty));
        }
    }

    /// Instructions on each vector of a tensor.
    pub(super) fn add_instructions(&self, work: &mut Work, result: &TensorType, instructions: f64) {
        work.add(Term::Instruction, self.vectors(result) * instructions);
    }
}
