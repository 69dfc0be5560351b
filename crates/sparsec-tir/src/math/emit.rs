//! Emits `let`s before a statement.

use std::collections::BTreeSet;

use crate::{BinaryOp, Expr, Scalar, Stmt, Type, Var, VarId};

/// The place that expansions write to.
pub(super) struct Emit<'a> {
    vars: &'a mut Vec<Var>,
    names: &'a mut BTreeSet<String>,
    out: &'a mut Vec<Stmt>,
    lanes: u16,
}

impl<'a> Emit<'a> {
    pub(super) fn new(
        vars: &'a mut Vec<Var>,
        names: &'a mut BTreeSet<String>,
        out: &'a mut Vec<Stmt>,
        lanes: u16,
    ) -> Self {
        Emit { vars, names, out, lanes }
    }

    /// Names a value of a scalar type (in all lanes).
    pub(super) fn bind(&mut self, name: &str, scalar: Scalar, value: Expr) -> Expr {
        if matches!(value, Expr::Var(_)) {
            return value;
        }
        let mut candidate = name.to_owned();
        let mut i = 1;
        while !self.names.insert(candidate.clone()) {
            candidate = format!("{name}{i}");
            i += 1;
        }
        self.vars.push(Var { name: candidate, ty: Type::vector(scalar, self.lanes) });
        let var = VarId(self.vars.len() as u32 - 1);
        self.out.push(Stmt::Let(var, value));
        Expr::Var(var)
    }

    /// Names an operand, 16-bit floats as `f32`.
    pub(super) fn bind_widened(&mut self, name: &str, x: &Expr, scalar: Scalar) -> Expr {
        match scalar {
            Scalar::F16 | Scalar::BF16 => self.bind(name, Scalar::F32, x.clone().convert(Scalar::F32)),
            _ => self.bind(name, scalar, x.clone()),
        }
    }

    /// A floating-point constant in all lanes.
    pub(super) fn float(&self, value: f64, s: Scalar) -> Expr {
        self.splat(Expr::Float(value, s))
    }

    /// An integer constant in all lanes, of the type that is as wide as `s`.
    pub(super) fn int(&self, value: i64, s: Scalar) -> Expr {
        self.splat(Expr::Int(value, int_of(s)))
    }

    /// The bits of a float as an integer.
    pub(super) fn bits(&self, x: Expr, s: Scalar) -> Expr {
        Expr::Bitcast(Type::vector(int_of(s), self.lanes), Box::new(x))
    }

    /// The float of these bits.
    pub(super) fn float_of_bits(&self, x: Expr, s: Scalar) -> Expr {
        Expr::Bitcast(Type::vector(s, self.lanes), Box::new(x))
    }

    /// `c[0] + x (c[1] + x (c[2] + ...))`.
    pub(super) fn polynomial(&self, s: Scalar, x: &Expr, c: &[f64]) -> Expr {
        let mut sum = self.float(c.last().copied().unwrap_or(0.0), s);
        for c in c.iter().rev().skip(1) {
            sum = Expr::fma(sum, x.clone(), self.float(*c, s));
        }
        sum
    }

    fn splat(&self, e: Expr) -> Expr {
        if self.lanes > 1 { Expr::Splat(Box::new(e), self.lanes) } else { e }
    }
}

/// The signed integer as wide as a float.
pub(super) fn int_of(s: Scalar) -> Scalar {
    if s == Scalar::F64 { Scalar::I64 } else { Scalar::I32 }
}

/// An operation without folding: these are exact sequences.
pub(super) fn op(op: BinaryOp, x: Expr, y: Expr) -> Expr {
    Expr::Binary(op, Box::new(x), Box::new(y))
}

/// Bits of the mantissa; the exponent's bias; `1.5 * 2^mantissa`, whose sum with a small number holds that number,
/// rounded to an integer, in its lowest bits.
pub(super) struct Format {
    pub(super) mantissa: i64,
    pub(super) bias: i64,
    pub(super) magic: f64,
    pub(super) magic_bits: i64,
    pub(super) sign: i64,
}

pub(super) fn format(s: Scalar) -> Format {
    let f32_format =
        Format { mantissa: 23, bias: 127, magic: 12_582_912.0, magic_bits: 0x4B40_0000, sign: i32::MIN as i64 };
    let f64_format = Format {
        mantissa: 52,
        bias: 1023,
        magic: 6_755_399_441_055_744.0,
        magic_bits: 0x4338_0000_0000_0000,
        sign: i64::MIN,
    };
    if s == Scalar::F64 { f64_format } else { f32_format }
}
