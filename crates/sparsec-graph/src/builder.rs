//! Building graphs: nodes whose result types are inferred.

use crate::infer::{InferError, infer_node_types};
use crate::{
    BinaryOp, ContractSpec, DType, Graph, Node, NodeId, Op, ScalarExpr, TensorData, TensorType, UnaryOp, ValueId,
};

impl Graph {
    /// Adds a node of this operator and returns its result.
    ///
    /// # Errors
    /// When the operands don't suit the operator, or one is not a value of this graph; the graph is then unchanged.
    pub fn append(&mut self, op: Op, operands: &[ValueId], name: &str) -> Result<ValueId, InferError> {
        let id = self.append_node(Node::new(op, operands.to_vec(), name))?;
        Ok(self.node(id).result())
    }

    /// Adds a node with its epilogue and format; its results are set.
    ///
    /// # Errors
    /// As [`Graph::append`].
    pub fn append_node(&mut self, node: Node) -> Result<NodeId, InferError> {
        let types = self.infer_node(&node)?;
        Ok(self.add_node(node, types))
    }

    /// The result types of a node, inferred from the types of its operands in this graph.
    ///
    /// # Errors
    /// As [`Graph::append`].
    pub fn infer_node(&self, node: &Node) -> Result<Vec<TensorType>, InferError> {
        let mut operands = Vec::with_capacity(node.operands.len());
        for &operand in &node.operands {
            let Some(value) = self.get_value(operand) else {
                return Err(InferError::Undefined { op: node.op.name(), value: operand });
            };
            operands.push(&value.ty);
        }
        infer_node_types(&node.op, node.epilogue.as_ref(), &operands)
    }

    /// Adds an `f32` input.
    pub fn input_f32(&mut self, name: &str, shape: &[i64]) -> ValueId {
        self.add_input(name, TensorType::fixed(DType::F32, shape))
    }

    /// Adds an `f32` constant.
    pub fn constant_f32(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> ValueId {
        self.add_constant(name, TensorData::f32(shape, values))
    }

    /// Adds a unary operator, unnamed.
    ///
    /// # Errors
    /// As [`Graph::append`].
    pub fn unary(&mut self, op: UnaryOp, x: ValueId) -> Result<ValueId, InferError> {
        self.append(Op::Unary(op), &[x], "")
    }

    /// Adds a binary operator, unnamed.
    ///
    /// # Errors
    /// As [`Graph::append`].
    pub fn binary(&mut self, op: BinaryOp, x: ValueId, y: ValueId) -> Result<ValueId, InferError> {
        self.append(Op::Binary(op), &[x, y], "")
    }

    /// Adds an element-wise chain, unnamed.
    ///
    /// # Errors
    /// As [`Graph::append`].
    pub fn map(&mut self, expr: ScalarExpr, operands: &[ValueId]) -> Result<ValueId, InferError> {
        self.append(Op::Map(expr), operands, "")
    }

    /// Adds a contraction such as `mk,bk->bm`, unnamed.
    ///
    /// # Errors
    /// As [`Graph::append`]; also where the labels are not a valid [`ContractSpec`].
    pub fn contract(&mut self, spec: &str, lhs: ValueId, rhs: ValueId) -> Result<ValueId, InferError> {
        let parsed = ContractSpec::parse(spec).ok_or_else(|| InferError::Attribute {
            op: "contract",
            reason: format!("`{spec}` is no valid contraction"),
        })?;
        self.append(Op::Contract(parsed), &[lhs, rhs], "")
    }
}
