//! Extents that only some inputs make equal, in expressions that no assumption about symbols turns into each other.
//!
//! A network that squeezes its input's height down to 1 says so nowhere but in a `Concat` with something of height 1. The operand
//! whose extent is the more complicated expression is then seen in the other's shape. A run compares the numbers of elements before
//! it begins, and refuses inputs for which they differ.

use sparsec_graph::infer::InferError;
use sparsec_graph::{Dim, Op, ValueId};

use super::context::Context;
use crate::error::Fault;

impl Context {
    /// Appends an operator; where extents of its operands differ and it may be so, after making them agree.
    pub(super) fn append_reconciled(&mut self, op: Op, values: &[ValueId]) -> Result<ValueId, Fault> {
        let apart = match op {
            _ if !self.reconciles => None,
            Op::Concat { axis } => Some(Some(axis)),
            Op::Binary(_) | Op::Where => Some(None),
            _ => None,
        };
        let Some(apart) = apart else { return Ok(self.graph.append(op, values, &self.node_name)?) };
        match self.graph.append(op.clone(), values, &self.node_name) {
            Err(InferError::Extents { .. }) => {
                let values = self.reconcile(values, apart)?;
                Ok(self.graph.append(op, &values, &self.node_name)?)
            }
            result => Ok(result?),
        }
    }

    /// The values, aligned at the last axis, with equal extents along all axes but `apart`, and those where an extent is 1 and no
    /// axis is `apart`, so that they broadcast.
    fn reconcile(&mut self, values: &[ValueId], apart: Option<usize>) -> Result<Vec<ValueId>, Fault> {
        let shapes: Vec<Vec<Dim>> = values.iter().map(|&v| self.graph.ty(v).shape.to_vec()).collect();
        let rank = shapes.iter().map(Vec::len).max().unwrap_or(0);
        let wanted: Vec<Option<Dim>> = (0..rank)
            .map(|axis| {
                let extents = shapes.iter().filter_map(|s| s.get((axis + s.len()).checked_sub(rank)?));
                let extents: Vec<&Dim> = extents.filter(|d| apart.is_some() || !d.is(1)).collect();
                let known = extents.iter().find(|d| d.as_const().is_some()).or(extents.first());
                known.filter(|_| apart != Some(axis)).map(|d| (*d).clone())
            })
            .collect();
        let one = |(&value, shape): (&ValueId, &Vec<Dim>)| {
            let wanted = &wanted[rank - shape.len()..];
            let target: Vec<Dim> = shape
                .iter()
                .zip(wanted)
                .map(|(own, wanted)| wanted.as_ref().filter(|_| own.as_const().is_none()).unwrap_or(own).clone())
                .collect();
            if target == *shape {
                return Ok(value);
            }
            Ok(self.graph.append(Op::Reshape(target), &[value], &self.node_name)?)
        };
        values.iter().zip(&shapes).map(one).collect()
    }
}
