//! Expressions: pure, typed, trees.
//!
//! Operands of an arithmetic operation have one type; nothing converts by itself, with one exception: where one
//! operand of an operation is a vector and the other a scalar of the same scalar type, the scalar is splatted.
//! Floating-point operations are those of IEEE 754 in the order written; no reassociation.

use crate::{BufferId, ParamId, RegisterId, Scalar, Type, VarId};

/// An operation on one value, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnaryOp {
    /// `-x`.
    Neg,
    /// `|x|`.
    Abs,
    /// Square root.
    Sqrt,
    /// Largest integer not above.
    Floor,
    /// Smallest integer not below.
    Ceil,
    /// Nearest integer, halves to even.
    Round,
    /// Logical (bool) or bitwise (integer) complement.
    Not,
    /// `e^x`. This and the operations below are expanded by `expand_math` before a backend sees them.
    Exp,
    /// Natural logarithm.
    Log,
    /// Error function.
    Erf,
    /// Hyperbolic tangent.
    Tanh,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
}

/// An operation on two values of one type, lane by lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BinaryOp {
    /// Sum; integers wrap.
    Add,
    /// Difference; integers wrap.
    Sub,
    /// Product; integers wrap.
    Mul,
    /// Quotient; integers truncate toward zero, and a zero divisor gives zero.
    Div,
    /// Remainder of the truncating division of integers; a zero divisor gives zero.
    Rem,
    /// `floor(x / y)` for integers.
    FloorDiv,
    /// The smaller: the second where either is NaN (as the x86 instruction does).
    Min,
    /// The larger: the second where either is NaN.
    Max,
    /// Logical or bitwise and.
    And,
    /// Logical or bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// Shift left. The amount is below the width.
    Shl,
    /// Shift right: arithmetic for signed types. The amount is below the width.
    Shr,
    /// `x^y`, expanded by `expand_math`.
    Pow,
}

/// A comparison, lane by lane; the result is `bool`. All are false where an operand is NaN, but `Ne`, which is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CompareOp {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
}

/// A reduction over the lanes of a vector, as a balanced tree: the upper half is combined with the lower half until one
/// lane is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReduceOp {
    /// Sum.
    Add,
    /// Product.
    Mul,
    /// Largest.
    Max,
    /// Smallest.
    Min,
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
    };
}

named!(UnaryOp {
    Neg = "neg", Abs = "abs", Sqrt = "sqrt", Floor = "floor", Ceil = "ceil", Round = "round", Not = "not", Exp = "exp",
    Log = "log", Erf = "erf", Tanh = "tanh", Sin = "sin", Cos = "cos",
});
named!(BinaryOp {
    Add = "add", Sub = "sub", Mul = "mul", Div = "div", Rem = "rem", FloorDiv = "floordiv", Min = "min", Max = "max",
    And = "and", Or = "or", Xor = "xor", Shl = "shl", Shr = "shr", Pow = "pow",
});
named!(CompareOp { Eq = "eq", Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge", });
named!(ReduceOp { Add = "reduce_add", Mul = "reduce_mul", Max = "reduce_max", Min = "reduce_min", });

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// An integer or `bool` constant.
    Int(i64, Scalar),
    /// A floating-point constant.
    Float(f64, Scalar),
    /// A loop variable or the value of a `let`.
    Var(VarId),
    /// An `i64` argument of the kernel.
    Param(ParamId),
    /// An element of a register array.
    Reg(RegisterId, Vec<Expr>),
    /// What a buffer holds.
    Load(Access),
    /// A vector of the elements of a flat buffer at the `i64` indices of a vector (Stage III).
    Gather(BufferId, Box<Expr>),
    /// A unary operation.
    Unary(UnaryOp, Box<Expr>),
    /// A binary operation.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// A comparison.
    Compare(CompareOp, Box<Expr>, Box<Expr>),
    /// The second where the first (`bool`) holds, else the third.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a * b + c`, rounded once.
    Fma(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `acc + a0 b0 + a1 b1 + a2 b2 + a3 b3`, an `i32` that wraps: `a` and `b` are words of four bytes, the first in the
    /// lowest bits. The bytes of a `u32` are unsigned, those of an `i32` signed.
    Dot4 {
        /// What is added to, an `i32`.
        acc: Box<Expr>,
        /// Four bytes, `u32` or `i32`.
        a: Box<Expr>,
        /// Four bytes, `u32` or `i32`.
        b: Box<Expr>,
    },
    /// Conversion of the value to another scalar type. Floats to integers truncate and saturate, NaN gives 0.
    Convert(Scalar, Box<Expr>),
    /// The same bits as another type of the same total size.
    Bitcast(Type, Box<Expr>),
    /// A vector of equal lanes.
    Splat(Box<Expr>, u16),
    /// `base, base + step, base + 2 step, ...` as a vector of `lanes` lanes of the base's integer type.
    Ramp {
        /// First lane.
        base: Box<Expr>,
        /// Difference of neighbours.
        step: i64,
        /// Number of lanes.
        lanes: u16,
    },
    /// Lane `i` of the result is lane `lanes[i]` of the operand.
    Shuffle(Box<Expr>, Vec<u8>),
    /// One lane.
    Extract(Box<Expr>, u8),
    /// A reduction over the lanes.
    Reduce(ReduceOp, Box<Expr>),
}

/// A place in a buffer, and how many elements are touched from there on.
#[derive(Clone, Debug, PartialEq)]
pub struct Access {
    /// The buffer.
    pub buffer: BufferId,
    /// One index per dimension of the buffer; exactly one, flat, in Stage III.
    pub index: Vec<Expr>,
    /// Number of consecutive elements. 1 in Stage I, and in Stage II wherever the index varies with a vector loop.
    pub lanes: u16,
    /// Only lanes below this `i64` count touch memory; a load gives 0 in the others. All lanes where absent.
    pub active: Option<Box<Expr>>,
    /// Stage I only: indices outside the buffer read 0 (the padding of a convolution).
    pub padded: bool,
}

impl Access {
    /// One element.
    #[must_use]
    pub fn element(buffer: BufferId, index: Vec<Expr>) -> Self {
        Access { buffer, index, lanes: 1, active: None, padded: false }
    }
}

impl Expr {
    /// An `i64` constant.
    #[must_use]
    pub fn int(value: i64) -> Self {
        Expr::Int(value, Scalar::I64)
    }

    /// An `f32` constant.
    #[must_use]
    pub fn f32(value: f64) -> Self {
        Expr::Float(value, Scalar::F32)
    }

    /// The value of an `i64` constant.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Expr::Int(v, _) => Some(*v),
            _ => None,
        }
    }

    /// `op(x)`.
    #[must_use]
    pub fn unary(op: UnaryOp, x: Expr) -> Self {
        Expr::Unary(op, Box::new(x))
    }

    /// `op(x, y)`, with `i64` constants folded and neutral elements dropped.
    #[must_use]
    pub fn binary(op: BinaryOp, x: Expr, y: Expr) -> Self {
        if let (Expr::Int(a, Scalar::I64), Expr::Int(b, Scalar::I64)) = (&x, &y)
            && let Some(v) = fold(op, *a, *b)
        {
            return Expr::int(v);
        }
        match (op, &x, &y) {
            (BinaryOp::Add, Expr::Int(0, _), _) => y,
            (BinaryOp::Add | BinaryOp::Sub, _, Expr::Int(0, _)) => x,
            (BinaryOp::Mul, Expr::Int(1, _), _) => y,
            (BinaryOp::Mul | BinaryOp::Div | BinaryOp::FloorDiv, _, Expr::Int(1, _)) => x,
            (BinaryOp::Mul, Expr::Int(0, s), _) | (BinaryOp::Mul, _, Expr::Int(0, s)) => Expr::Int(0, *s),
            _ => Expr::Binary(op, Box::new(x), Box::new(y)),
        }
    }

    /// `a < b` and the like.
    #[must_use]
    pub fn compare(op: CompareOp, x: Expr, y: Expr) -> Self {
        Expr::Compare(op, Box::new(x), Box::new(y))
    }

    /// `if c { x } else { y }`.
    #[must_use]
    pub fn select(c: Expr, x: Expr, y: Expr) -> Self {
        Expr::Select(Box::new(c), Box::new(x), Box::new(y))
    }

    /// `a * b + c`, rounded once.
    #[must_use]
    pub fn fma(a: Expr, b: Expr, c: Expr) -> Self {
        Expr::Fma(Box::new(a), Box::new(b), Box::new(c))
    }

    /// `acc` and the four products of the bytes of `a` and `b`.
    #[must_use]
    pub fn dot4(acc: Expr, a: Expr, b: Expr) -> Self {
        Expr::Dot4 { acc: Box::new(acc), a: Box::new(a), b: Box::new(b) }
    }

    /// The smaller.
    #[must_use]
    pub fn min(self, other: Expr) -> Self {
        Expr::binary(BinaryOp::Min, self, other)
    }

    /// The larger.
    #[must_use]
    pub fn max(self, other: Expr) -> Self {
        Expr::binary(BinaryOp::Max, self, other)
    }

    /// `floor(self / other)` of integers.
    #[must_use]
    pub fn floor_div(self, other: Expr) -> Self {
        Expr::binary(BinaryOp::FloorDiv, self, other)
    }

    /// `ceil(self / other)` of integers, `other` positive.
    #[must_use]
    pub fn ceil_div(self, other: Expr) -> Self {
        (self + other.clone() - Expr::int(1)).floor_div(other)
    }

    /// Remainder of integers.
    #[must_use]
    #[allow(
        clippy::should_implement_trait,
        reason = "a method like its neighbours; `%` of expressions reads as Rust's"
    )]
    pub fn rem(self, other: Expr) -> Self {
        Expr::binary(BinaryOp::Rem, self, other)
    }

    /// Converted to another scalar type.
    #[must_use]
    pub fn convert(self, to: Scalar) -> Self {
        Expr::Convert(to, Box::new(self))
    }

    /// Calls `f` on this expression and everything in it, outermost first.
    pub fn walk(&self, f: &mut dyn FnMut(&Expr)) {
        f(self);
        match self {
            Expr::Int(..) | Expr::Float(..) | Expr::Var(_) | Expr::Param(_) => {}
            Expr::Reg(_, index) => index.iter().for_each(|e| e.walk(f)),
            Expr::Load(access) => access.walk(f),
            Expr::Gather(_, x)
            | Expr::Unary(_, x)
            | Expr::Convert(_, x)
            | Expr::Bitcast(_, x)
            | Expr::Splat(x, _)
            | Expr::Ramp { base: x, .. }
            | Expr::Shuffle(x, _)
            | Expr::Extract(x, _)
            | Expr::Reduce(_, x) => x.walk(f),
            Expr::Binary(_, x, y) | Expr::Compare(_, x, y) => {
                x.walk(f);
                y.walk(f);
            }
            Expr::Select(x, y, z) | Expr::Fma(x, y, z) | Expr::Dot4 { acc: x, a: y, b: z } => {
                x.walk(f);
                y.walk(f);
                z.walk(f);
            }
        }
    }

    /// The expression with its direct parts replaced by what `f` makes of them.
    #[must_use]
    pub fn map_children(&self, f: &mut dyn FnMut(&Expr) -> Expr) -> Expr {
        match self {
            Expr::Int(..) | Expr::Float(..) | Expr::Var(_) | Expr::Param(_) => self.clone(),
            Expr::Reg(r, index) => Expr::Reg(*r, index.iter().map(&mut *f).collect()),
            Expr::Load(access) => Expr::Load(access.map_children(f)),
            Expr::Gather(b, x) => Expr::Gather(*b, Box::new(f(x))),
            Expr::Unary(op, x) => Expr::Unary(*op, Box::new(f(x))),
            Expr::Binary(op, x, y) => Expr::binary(*op, f(x), f(y)),
            Expr::Compare(op, x, y) => Expr::compare(*op, f(x), f(y)),
            Expr::Select(x, y, z) => Expr::select(f(x), f(y), f(z)),
            Expr::Fma(x, y, z) => Expr::fma(f(x), f(y), f(z)),
            Expr::Dot4 { acc, a, b } => Expr::dot4(f(acc), f(a), f(b)),
            Expr::Convert(to, x) => Expr::Convert(*to, Box::new(f(x))),
            Expr::Bitcast(to, x) => Expr::Bitcast(*to, Box::new(f(x))),
            Expr::Splat(x, lanes) => Expr::Splat(Box::new(f(x)), *lanes),
            Expr::Ramp { base, step, lanes } => Expr::Ramp { base: Box::new(f(base)), step: *step, lanes: *lanes },
            Expr::Shuffle(x, lanes) => Expr::Shuffle(Box::new(f(x)), lanes.clone()),
            Expr::Extract(x, lane) => Expr::Extract(Box::new(f(x)), *lane),
            Expr::Reduce(op, x) => Expr::Reduce(*op, Box::new(f(x))),
        }
    }

    /// The expression with a variable replaced.
    #[must_use]
    pub fn replace_var(&self, var: VarId, by: &Expr) -> Expr {
        match self {
            Expr::Var(v) if *v == var => by.clone(),
            _ => self.map_children(&mut |e| e.replace_var(var, by)),
        }
    }
}

impl Access {
    fn walk(&self, f: &mut dyn FnMut(&Expr)) {
        self.index.iter().for_each(|e| e.walk(f));
        if let Some(active) = &self.active {
            active.walk(f);
        }
    }

    /// The access with its indices and its count of active lanes replaced by what `f` makes of them.
    #[must_use]
    pub fn map_children(&self, f: &mut dyn FnMut(&Expr) -> Expr) -> Access {
        Access {
            index: self.index.iter().map(&mut *f).collect(),
            active: self.active.as_ref().map(|e| Box::new(f(e))),
            ..self.clone()
        }
    }
}

fn fold(op: BinaryOp, a: i64, b: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => a.checked_add(b),
        BinaryOp::Sub => a.checked_sub(b),
        BinaryOp::Mul => a.checked_mul(b),
        BinaryOp::Div if b != 0 => a.checked_div(b),
        BinaryOp::Rem if b != 0 => a.checked_rem(b),
        BinaryOp::FloorDiv if b > 0 => Some(a.div_euclid(b)),
        BinaryOp::Min => Some(a.min(b)),
        BinaryOp::Max => Some(a.max(b)),
        _ => None,
    }
}

impl std::ops::Add for Expr {
    type Output = Expr;

    fn add(self, other: Expr) -> Expr {
        Expr::binary(BinaryOp::Add, self, other)
    }
}

impl std::ops::Sub for Expr {
    type Output = Expr;

    fn sub(self, other: Expr) -> Expr {
        Expr::binary(BinaryOp::Sub, self, other)
    }
}

impl std::ops::Mul for Expr {
    type Output = Expr;

    fn mul(self, other: Expr) -> Expr {
        Expr::binary(BinaryOp::Mul, self, other)
    }
}

impl From<VarId> for Expr {
    fn from(var: VarId) -> Expr {
        Expr::Var(var)
    }
}

impl From<ParamId> for Expr {
    fn from(param: ParamId) -> Expr {
        Expr::Param(param)
    }
}

impl From<i64> for Expr {
    fn from(value: i64) -> Expr {
        Expr::int(value)
    }
}
