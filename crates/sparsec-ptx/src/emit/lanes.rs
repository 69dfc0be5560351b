//! Operations across lanes: `shfl.sync` of the whole warp.
//!
//! Code runs in all lanes or in none (branches are on scalars, which are equal in all), so all of them take part.

use sparsec_tir::{BinaryOp as IrBinary, ReduceOp, Scalar, Type as IrType};

use super::code::Code;
use super::error::{Emit, invalid};
use super::value::{Value, parts_of};
use crate::{BinaryOp, CompareOp, Instruction, Operand, RegClass, ShflMode, Type};

impl Code {
    /// A reduction over the lanes: halves are combined, lower with upper, until one lane is left.
    pub(super) fn reduce(&mut self, op: ReduceOp, x: &Value) -> Emit<Value> {
        let (op, commutes) = match op {
            ReduceOp::Add => (IrBinary::Add, true),
            ReduceOp::Mul => (IrBinary::Mul, true),
            ReduceOp::Max => (IrBinary::Max, false),
            ReduceOp::Min => (IrBinary::Min, false),
        };
        let lanes = x.ty.lanes;
        if !lanes.is_power_of_two() {
            return invalid(format!("a reduction over {lanes} lanes: the number must be a power of two"));
        }
        let mut x = x.clone();
        let scalar = x.ty.scalar;
        let part =
            |lanes: u16, parts: &[Operand]| Value { ty: IrType { scalar, lanes }, parts: parts.to_vec(), range: None };
        if x.range.is_some() {
            x = self.widen(&x);
        }
        // Halves in different registers.
        while x.parts.len() > 1 {
            let half = x.parts.len() / 2;
            let (lower, upper) = x.parts.split_at(half);
            let lanes = x.ty.lanes / 2;
            let (lower, upper) = (part(lanes, lower), part(lanes, upper));
            x = self.ir_binary(op, &lower, &upper)?;
        }
        if !x.ty.is_vector() {
            return Ok(x);
        }
        let width = x.ty.lanes;
        let ty = x.ty;
        let mut distance = width / 2;
        while distance > 0 {
            let other = self.shfl(ShflMode::Bfly, x.first(), Operand::Int(distance.into()));
            let other = Value::new(ty, vec![other]);
            x = self.ir_binary(op, &x, &other)?;
            distance /= 2;
        }
        let mut result = x.first();
        if width < 32 || !commutes || x.ty.scalar.is_float() && x.ty.scalar.size() == 2 {
            // Lane 0 alone combined everything in order.
            result = self.shfl(ShflMode::Idx, result, Operand::Int(0));
        }
        Ok(Value::scalar(ty.scalar, result))
    }

    /// Lane `i` of the result is lane `lanes[i]` of the operand.
    pub(super) fn shuffle(&mut self, x: &Value, lanes: &[u8]) -> Emit<Value> {
        if lanes.is_empty() || lanes.iter().any(|l| u16::from(*l) >= x.ty.lanes) {
            return invalid(format!("lane out of range of {}", x.ty));
        }
        let ty = IrType { scalar: x.ty.scalar, lanes: lanes.len() as u16 };
        if !x.ty.is_vector() {
            return self.splat(x, ty.lanes);
        }
        let mut parts = Vec::new();
        for chunk in lanes.chunks(32) {
            parts.push(self.gather_lanes(x, chunk)?);
        }
        debug_assert_eq!(parts.len(), parts_of(ty.lanes));
        Ok(Value { ty, parts, range: x.range })
    }

    /// One lane, as a scalar.
    pub(super) fn extract(&mut self, x: &Value, lane: u8) -> Emit<Value> {
        if u16::from(lane) >= x.ty.lanes {
            return invalid(format!("lane out of range of {}", x.ty));
        }
        let Some(part) = x.parts.get(usize::from(lane) / 32) else { return invalid("a lane without a register") };
        let one =
            if x.ty.is_vector() { self.shfl(ShflMode::Idx, *part, Operand::Int(i64::from(lane % 32))) } else { *part };
        Ok(Value { ty: IrType::scalar(x.ty.scalar), parts: vec![one], range: x.range })
    }

    /// At most 32 lanes out of all.
    fn gather_lanes(&mut self, x: &Value, lanes: &[u8]) -> Emit<Operand> {
        let mut sources: Vec<u8> = lanes.iter().map(|l| l / 32).collect();
        sources.dedup();
        sources.sort_unstable();
        sources.dedup();
        let within: Vec<u8> = lanes.iter().map(|l| l % 32).collect();
        let mut result: Option<Operand> = None;
        for source in sources {
            let Some(part) = x.parts.get(usize::from(source)) else { return invalid("a lane without a register") };
            let moved = self.permute(*part, &within);
            result = Some(match result {
                None => moved,
                Some(others) => {
                    let mine: u32 = (0..).zip(lanes).filter(|(_, l)| **l / 32 == source).map(|(i, _)| 1_u32 << i).sum();
                    let lane = self.lane();
                    let bit = self.bit_of_mask(mine, lane);
                    let is_mine = self.setp(CompareOp::Ne, Type::B32, bit, Operand::Int(0));
                    let ty = IrType::vector(x.ty.scalar, 32);
                    let one = |v: Operand| Value { ty, parts: vec![v], range: x.range };
                    let condition = Value::new(IrType::vector(Scalar::Bool, 32), vec![is_mine]);
                    self.ir_select(&condition, &one(moved), &one(others))?.first()
                }
            });
        }
        result.ok_or_else(|| "a shuffle to no lanes".to_owned())
    }

    /// Lane `i` gets what lane `from[i]` has.
    fn permute(&mut self, x: Operand, from: &[u8]) -> Operand {
        let first = from.first().copied().unwrap_or(0);
        let all = |f: &dyn Fn(usize, u8) -> bool| from.iter().enumerate().all(|(i, l)| f(i, *l));
        if all(&|i, l| usize::from(l) == i) {
            x
        } else if all(&|_, l| l == first) {
            self.shfl(ShflMode::Idx, x, Operand::Int(first.into()))
        } else if all(&|i, l| usize::from(l) == i + usize::from(first)) {
            self.shfl(ShflMode::Down, x, Operand::Int(first.into()))
        } else if all(&|i, l| usize::from(l) == i ^ usize::from(first)) {
            self.shfl(ShflMode::Bfly, x, Operand::Int(first.into()))
        } else {
            let index = self.lane_table(from);
            self.shfl(ShflMode::Idx, x, index)
        }
    }

    /// A number below 32 for each lane. Bit `b` of all numbers together is a constant of 32 bits, of which each lane takes
    /// its own bit.
    fn lane_table(&mut self, numbers: &[u8]) -> Operand {
        let lane = self.lane();
        let mut result = Operand::Int(0);
        for b in (0..5).rev() {
            let mask: u32 = (0..).zip(numbers).map(|(i, n)| u32::from(n >> b & 1) << i).sum();
            let bit = match mask {
                0 => Operand::Int(0),
                _ => self.bit_of_mask(mask, lane),
            };
            result = match (result, bit) {
                (Operand::Int(0), bit) => bit,
                (high, Operand::Int(0)) => self.binary(BinaryOp::Shl, Type::B32, high, Operand::Int(1)),
                (high, bit) => {
                    let high = self.binary(BinaryOp::Shl, Type::B32, high, Operand::Int(1));
                    self.binary(BinaryOp::Or, Type::B32, high, bit)
                }
            };
        }
        result
    }

    fn bit_of_mask(&mut self, mask: u32, lane: Operand) -> Operand {
        let mask = Operand::Reg(self.in_register(RegClass::B32, Operand::Int(i64::from(mask as i32))));
        let len = Operand::Int(1);
        self.pure(RegClass::B32, |dst| Instruction::Bfe { ty: Type::U32, dst, a: mask, start: lane, len })
    }
}
