//! Several neighbouring elements as the bits of one wider scalar: the words of four bytes that `dp4a` takes.
//!
//! A warp holds the lanes of a vector in different lanes, and a scalar in all of them. So a word that is read from memory is not
//! a vector that is turned into one: each lane loads all of it, at once where its address is known to be a multiple of its
//! size, else piece by piece.

use sparsec_tir::{Access, BinaryOp as IrBinary, Expr, Scalar, Type as IrType};

use super::body::Body;
use super::code::Code;
use super::error::{Emit, invalid};
use super::value::{Value, class_of};
use crate::{BinaryOp, Operand, RegClass, Type};

/// The unsigned integer of a size.
fn unsigned(bytes: usize) -> Option<Scalar> {
    match bytes {
        1 => Some(Scalar::U8),
        2 => Some(Scalar::U16),
        4 => Some(Scalar::U32),
        8 => Some(Scalar::U64),
        _ => None,
    }
}

impl Body<'_> {
    /// The bits of a value as another type.
    pub(super) fn bitcast(&mut self, to: IrType, x: &Expr) -> Emit<Value> {
        if let Expr::Load(access) = x
            && !to.is_vector()
            && access.lanes > 1
            && access.active.is_none()
        {
            return self.load_word(to, access);
        }
        let x = self.expr(x)?;
        if to.is_vector() || !x.ty.is_vector() {
            return self.code.bitcast(to, &x);
        }
        let Some(piece) = unsigned(x.ty.scalar.size()) else { return invalid(format!("the bits of {}", x.ty)) };
        let x = self.code.bitcast(IrType { scalar: piece, ..x.ty }, &x)?;
        let mut pieces = Vec::new();
        for lane in 0..x.ty.lanes {
            pieces.push(self.code.extract(&x, lane as u8)?);
        }
        self.code.join(to, &pieces)
    }

    fn load_word(&mut self, to: IrType, access: &Access) -> Emit<Value> {
        let narrow = self.element(access.buffer)?.size();
        let (Some(word), Some(piece)) = (unsigned(to.scalar.size()), unsigned(narrow)) else {
            return invalid(format!("elements of {narrow} bytes as {to}"));
        };
        let first = Access { lanes: 1, ..access.clone() };
        let (address, space) = self.address(&first)?;
        // Memory that the caller lends need not be aligned; that of the kernel is.
        let is_own = self.kernel.buffers.get(access.buffer.index()).is_some_and(|b| !b.kind.is_given());
        let elements = i64::from(access.lanes);
        if is_own && access.index.iter().all(|index| self.is_multiple(index, elements)) {
            let value = self.load_part(access.buffer, word, space, address, None);
            return self.code.bitcast(to, &Value::scalar(word, value));
        }
        let mut pieces = Vec::new();
        for i in 0..i32::from(access.lanes) {
            let at = crate::Address { offset: address.offset + i * narrow as i32, ..address };
            pieces.push(Value::scalar(piece, self.load_part(access.buffer, piece, space, at, None)));
        }
        self.code.join(to, &pieces)
    }

    /// A number that an expression is a multiple of; what names hold is known here.
    pub(super) fn divisor(&self, e: &Expr) -> i64 {
        match (self.constant(e), e) {
            // Zero is a multiple of all; so large a power of two serves as well.
            (Some(0), _) => 1 << 20,
            (Some(v), _) => v.checked_abs().unwrap_or(1),
            (_, Expr::Var(v)) => self.divisors.get(v).copied().unwrap_or(1),
            (_, Expr::Binary(IrBinary::Add | IrBinary::Sub, x, y)) => gcd(self.divisor(x), self.divisor(y)),
            (_, Expr::Binary(IrBinary::Mul, x, y)) => self.divisor(x).checked_mul(self.divisor(y)).unwrap_or(1),
            _ => 1,
        }
    }

    /// Whether an index is known to be a multiple of `n`.
    pub(super) fn is_multiple(&self, e: &Expr, n: i64) -> bool {
        match (self.constant(e), e) {
            (Some(v), _) => v % n == 0,
            (_, Expr::Binary(IrBinary::Add | IrBinary::Sub, x, y)) => self.is_multiple(x, n) && self.is_multiple(y, n),
            (_, Expr::Binary(IrBinary::Mul, x, y)) => self.is_multiple(x, n) || self.is_multiple(y, n),
            _ => false,
        }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Code {
    /// Unsigned scalars of one size, the first lowest, as the bits of a scalar.
    fn join(&mut self, to: IrType, pieces: &[Value]) -> Emit<Value> {
        let (Some(word), Some(first)) = (unsigned(to.scalar.size()), pieces.first()) else {
            return invalid(format!("pieces of {to}"));
        };
        let bits = 8 * first.ty.scalar.size() as i64;
        if pieces.len() * first.ty.scalar.size() != to.scalar.size() {
            return invalid(format!("{} pieces of {} as {to}", pieces.len(), first.ty));
        }
        let class = class_of(word);
        let ty = if class == RegClass::B64 { Type::B64 } else { Type::B32 };
        let mut all: Option<Operand> = None;
        for (i, piece) in (0..).zip(pieces) {
            let piece = self.convert(word, piece)?.first();
            let piece = match i {
                0 => piece,
                _ => {
                    let piece = Operand::Reg(self.in_register(class, piece));
                    self.binary(BinaryOp::Shl, ty, piece, Operand::Int(i * bits))
                }
            };
            all = Some(match all {
                None => piece,
                Some(lower) => {
                    let lower = Operand::Reg(self.in_register(class, lower));
                    self.binary(BinaryOp::Or, ty, lower, piece)
                }
            });
        }
        let Some(all) = all else { return invalid("a word of nothing") };
        self.bitcast(to, &Value::scalar(word, all))
    }
}
