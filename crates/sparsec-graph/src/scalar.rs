//! Scalar operations: what element-wise operators, fused chains and kernel epilogues compute per element.

use std::fmt;

use crate::DType;

/// An operation on one element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnaryOp {
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// `e^x`.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// `1 / x`.
    Reciprocal,
    /// `1 / sqrt(x)`.
    Rsqrt,
    /// The error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
    /// `max(x, 0)`; NaN stays NaN.
    Relu,
    /// `x/2 (1 + erf(x / sqrt 2))`.
    Gelu,
    /// `x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))`.
    GeluTanh,
    /// `x * sigmoid(x)`.
    Silu,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// Inverse tangent.
    Atan,
    /// Logical negation of a `bool`, complement of the bits of an integer.
    Not,
}

/// An operation on two elements of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BinaryOp {
    /// Sum.
    Add,
    /// Difference.
    Sub,
    /// Product.
    Mul,
    /// Quotient; integers truncate toward zero.
    Div,
    /// Remainder of the quotient truncated toward zero: it has the sign of `x`.
    Rem,
    /// `x^y`.
    Pow,
    /// The smaller; NaN where either is NaN.
    Min,
    /// The larger; NaN where either is NaN.
    Max,
    /// Logical and of `bool`s, bitwise of integers.
    And,
    /// Logical or of `bool`s, bitwise of integers.
    Or,
    /// Exclusive or of the bits of integers.
    Xor,
    /// The bits of an integer shifted toward the higher ones; 0 where `y` is not below the number of bits.
    ShiftLeft,
    /// The bits of an integer shifted toward the lower ones, the sign kept; where `y` is not below the number of bits,
    /// what remains is the sign.
    ShiftRight,
    /// `x == y`, a `bool`.
    Equal,
    /// `x < y`, a `bool`.
    Less,
    /// `x <= y`, a `bool`.
    LessEqual,
    /// `x > y`, a `bool`.
    Greater,
    /// `x >= y`, a `bool`.
    GreaterEqual,
}

macro_rules! named {
    ($type:ty { $($variant:ident = $name:literal,)* }) => {
        impl $type {
            /// Every operation, in declaration order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name in the text form.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The operation of this name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
pub(crate) use named;

named!(UnaryOp {
    Neg = "neg", Abs = "abs", Exp = "exp", Log = "log", Sqrt = "sqrt", Reciprocal = "reciprocal", Rsqrt = "rsqrt",
    Erf = "erf", Tanh = "tanh", Sigmoid = "sigmoid", Relu = "relu", Gelu = "gelu", GeluTanh = "gelu_tanh",
    Silu = "silu", Floor = "floor", Ceil = "ceil", Round = "round", Sin = "sin", Cos = "cos", Atan = "atan",
    Not = "not",
});

named!(BinaryOp {
    Add = "add", Sub = "sub", Mul = "mul", Div = "div", Rem = "rem", Pow = "pow", Min = "min", Max = "max", And = "and",
    Or = "or", Xor = "xor", ShiftLeft = "shl", ShiftRight = "shr",
    Equal = "eq", Less = "lt", LessEqual = "le", Greater = "gt", GreaterEqual = "ge",
});

impl BinaryOp {
    /// Whether the result is a `bool` whatever the operands are.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        matches!(self, Self::Equal | Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual)
    }
}

/// A scalar expression over the elements of several operands: the body of a fused chain or of an epilogue.
///
/// Operands broadcast to the result's shape as in ONNX (numpy rules, aligned at the last dimension).
#[derive(Clone, Debug, PartialEq)]
pub enum ScalarExpr {
    /// The result of the anchor (contraction, convolution, ...) whose epilogue this is.
    Acc,
    /// The element of operand `i` of the node: for an epilogue counted from the first operand after the anchor's own.
    Arg(u32),
    /// A constant, converted to the result's element type.
    Const(f64),
    /// A unary operation.
    Unary(UnaryOp, Box<ScalarExpr>),
    /// A binary operation.
    Binary(BinaryOp, Box<ScalarExpr>, Box<ScalarExpr>),
    /// A conversion of the element type, as [`Op::Cast`](crate::Op::Cast) does it, between numbers of 8 bits and more.
    Convert(DType, Box<ScalarExpr>),
    /// `if a { b } else { c }`.
    Select(Box<ScalarExpr>, Box<ScalarExpr>, Box<ScalarExpr>),
}

impl ScalarExpr {
    /// `op(x)`.
    #[must_use]
    pub fn unary(op: UnaryOp, x: ScalarExpr) -> Self {
        Self::Unary(op, Box::new(x))
    }

    /// `op(x, y)`.
    #[must_use]
    pub fn binary(op: BinaryOp, x: ScalarExpr, y: ScalarExpr) -> Self {
        Self::Binary(op, Box::new(x), Box::new(y))
    }

    /// The number of operations, for cost estimates.
    #[must_use]
    pub fn operations(&self) -> usize {
        match self {
            Self::Acc | Self::Arg(_) | Self::Const(_) => 0,
            Self::Unary(_, x) | Self::Convert(_, x) => 1 + x.operations(),
            Self::Binary(_, x, y) => 1 + x.operations() + y.operations(),
            Self::Select(a, b, c) => 1 + a.operations() + b.operations() + c.operations(),
        }
    }

    /// The expression with [`ScalarExpr::Acc`] replaced by `acc` and every `Arg(i)` by `arg(i)`.
    #[must_use]
    pub fn substitute(&self, acc: &ScalarExpr, arg: &mut dyn FnMut(u32) -> ScalarExpr) -> ScalarExpr {
        match self {
            Self::Acc => acc.clone(),
            Self::Arg(i) => arg(*i),
            Self::Const(v) => Self::Const(*v),
            Self::Unary(op, x) => Self::unary(*op, x.substitute(acc, arg)),
            Self::Convert(to, x) => Self::Convert(*to, Box::new(x.substitute(acc, arg))),
            Self::Binary(op, x, y) => Self::binary(*op, x.substitute(acc, arg), y.substitute(acc, arg)),
            Self::Select(a, b, c) => Self::Select(
                Box::new(a.substitute(acc, arg)),
                Box::new(b.substitute(acc, arg)),
                Box::new(c.substitute(acc, arg)),
            ),
        }
    }
}

impl fmt::Display for ScalarExpr {
    /// Prefix form: `relu(add(f32(acc), $0))`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acc => f.write_str("acc"),
            Self::Arg(i) => write!(f, "${i}"),
            Self::Const(v) => write!(f, "{v:?}"),
            Self::Unary(op, x) => write!(f, "{op}({x})"),
            Self::Convert(to, x) => write!(f, "{to}({x})"),
            Self::Binary(op, x, y) => write!(f, "{op}({x}, {y})"),
            Self::Select(a, b, c) => write!(f, "select({a}, {b}, {c})"),
        }
    }
}
