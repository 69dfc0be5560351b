//! Integer expressions over the values that a run knows: symbols, iterations of loops, extents that were found out.
//!
//! In a plan an expression is a number, or text. `$3` is value 3: values are numbered symbols first, then loops, then found
//! extents (a kernel's own expressions number its params).

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An operation of two integers of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// `x + y`.
    Add,
    /// `x - y`.
    Sub,
    /// `x * y`.
    Mul,
    /// `x / y`, truncated toward zero; 0 where `y` is.
    Div,
    /// `x % y`, with the sign of `x`; 0 where `y` is.
    Rem,
    /// `floor(x / y)`; 0 where `y` is.
    FloorDiv,
    /// The smaller.
    Min,
    /// The larger.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// 1 where `x = y`, else 0.
    Eq,
    /// 1 where `x` is not `y`, else 0.
    Ne,
    /// 1 where `x < y`, else 0.
    Lt,
    /// 1 where `x <= y`, else 0.
    Le,
    /// 1 where `x > y`, else 0.
    Gt,
    /// 1 where `x >= y`, else 0.
    Ge,
}

impl Operator {
    /// Every operator that is written as a function.
    pub(crate) const FUNCTIONS: [(&'static str, Operator); 11] = [
        ("floor_div", Operator::FloorDiv),
        ("min", Operator::Min),
        ("max", Operator::Max),
        ("and", Operator::And),
        ("or", Operator::Or),
        ("eq", Operator::Eq),
        ("ne", Operator::Ne),
        ("lt", Operator::Lt),
        ("le", Operator::Le),
        ("gt", Operator::Gt),
        ("ge", Operator::Ge),
    ];

    /// The sign, and how tightly it binds, of an operator that is written between its operands.
    pub(crate) fn infix(self) -> Option<(char, u8)> {
        match self {
            Operator::Add => Some(('+', 1)),
            Operator::Sub => Some(('-', 1)),
            Operator::Mul => Some(('*', 2)),
            Operator::Div => Some(('/', 2)),
            Operator::Rem => Some(('%', 2)),
            _ => None,
        }
    }

    fn apply(self, x: i64, y: i64) -> Option<i64> {
        Some(match self {
            Operator::Add => x.checked_add(y)?,
            Operator::Sub => x.checked_sub(y)?,
            Operator::Mul => x.checked_mul(y)?,
            Operator::Div | Operator::Rem | Operator::FloorDiv if y == 0 => 0,
            Operator::Div => x.checked_div(y)?,
            Operator::Rem => x.checked_rem(y)?,
            Operator::FloorDiv => {
                let quotient = x.checked_div(y)?;
                if x % y != 0 && (x < 0) != (y < 0) { quotient - 1 } else { quotient }
            }
            Operator::Min => x.min(y),
            Operator::Max => x.max(y),
            Operator::And => x & y,
            Operator::Or => x | y,
            Operator::Eq => (x == y).into(),
            Operator::Ne => (x != y).into(),
            Operator::Lt => (x < y).into(),
            Operator::Le => (x <= y).into(),
            Operator::Gt => (x > y).into(),
            Operator::Ge => (x >= y).into(),
        })
    }
}

/// An integer expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    /// A number.
    Int(i64),
    /// A value by its number.
    Value(u32),
    /// An operation.
    Binary(Operator, Box<Expression>, Box<Expression>),
    /// The second where the first is not 0, else the third.
    Select(Box<Expression>, Box<Expression>, Box<Expression>),
}

/// Why an expression has no value, or a text is no expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpressionError {
    /// A result does not fit in 64 bits.
    #[error("`{0}` does not fit in 64 bits")]
    Overflow(String),
    /// A value that does not exist.
    #[error("`${value}` does not exist: there are {count} values")]
    NoValue {
        /// Its number.
        value: u32,
        /// How many there are.
        count: usize,
    },
    /// The text is no expression.
    #[error("`{text}` is no expression: {reason} at byte {at}")]
    Syntax {
        /// The text.
        text: String,
        /// Where it is not.
        at: usize,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Expression {
    /// An operation, computed where both operands are numbers, and left out where it adds or takes away 0.
    #[must_use]
    pub fn binary(op: Operator, x: Expression, y: Expression) -> Expression {
        if matches!(op, Operator::Add | Operator::Sub) && y == Expression::Int(0) {
            return x;
        }
        if let (Expression::Int(a), Expression::Int(b)) = (&x, &y)
            && let Some(value) = op.apply(*a, *b)
        {
            return Expression::Int(value);
        }
        Expression::Binary(op, Box::new(x), Box::new(y))
    }

    /// The number, where it is one.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Expression::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The value and the factor of `$s`, `$s * k` and `k * $s` for a positive `k`: what an extent may define.
    pub(crate) fn as_multiple(&self) -> Option<(u32, i64)> {
        match self {
            Expression::Value(s) => Some((*s, 1)),
            Expression::Binary(Operator::Mul, x, y) => match (x.as_ref(), y.as_ref()) {
                (Expression::Int(k), Expression::Value(s)) | (Expression::Value(s), Expression::Int(k)) if *k > 0 => {
                    Some((*s, *k))
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// What it is for these values.
    ///
    /// # Errors
    /// Where a sum, difference, product or quotient does not fit in 64 bits, and where a value does not exist.
    pub fn eval(&self, values: &[i64]) -> Result<i64, ExpressionError> {
        match self {
            Expression::Int(value) => Ok(*value),
            Expression::Value(value) => {
                let missing = ExpressionError::NoValue { value: *value, count: values.len() };
                values.get(*value as usize).copied().ok_or(missing)
            }
            Expression::Binary(op, x, y) => {
                let (x, y) = (x.eval(values)?, y.eval(values)?);
                op.apply(x, y).ok_or_else(|| ExpressionError::Overflow(self.to_string()))
            }
            Expression::Select(condition, x, y) => match condition.eval(values)? {
                0 => y.eval(values),
                _ => x.eval(values),
            },
        }
    }

    /// The first value that is not below `count`.
    pub(crate) fn value_beyond(&self, count: usize) -> Option<u32> {
        match self {
            Expression::Int(_) => None,
            Expression::Value(value) => (*value as usize >= count).then_some(*value),
            Expression::Binary(_, x, y) => x.value_beyond(count).or_else(|| y.value_beyond(count)),
            Expression::Select(c, x, y) => {
                c.value_beyond(count).or_else(|| x.value_beyond(count)).or_else(|| y.value_beyond(count))
            }
        }
    }

    /// Writes it as an operand of something that binds so tightly.
    fn write(&self, f: &mut fmt::Formatter<'_>, tightness: u8) -> fmt::Result {
        match self {
            // A negative number would read as a difference behind an operator.
            Expression::Int(value) if *value < 0 && tightness > 0 => write!(f, "({value})"),
            Expression::Int(value) => write!(f, "{value}"),
            Expression::Value(value) => write!(f, "${value}"),
            Expression::Binary(op, x, y) => match op.infix() {
                Some((sign, own)) => {
                    let inside = own < tightness;
                    if inside {
                        f.write_str("(")?;
                    }
                    x.write(f, own)?;
                    write!(f, " {sign} ")?;
                    y.write(f, own + 1)?;
                    if inside { f.write_str(")") } else { Ok(()) }
                }
                None => {
                    let name = Operator::FUNCTIONS.iter().find(|(_, o)| o == op).map_or("", |(name, _)| name);
                    write!(f, "{name}({x}, {y})")
                }
            },
            Expression::Select(c, x, y) => write!(f, "select({c}, {x}, {y})"),
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl From<i64> for Expression {
    fn from(value: i64) -> Self {
        Expression::Int(value)
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Expression::Int(value) => serializer.serialize_i64(*value),
            other => serializer.collect_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Expression;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or an expression such as \"$0 * 4\"")
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Expression, E> {
                Ok(Expression::Int(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Expression, E> {
                i64::try_from(value).map(Expression::Int).map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expression, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_expression() -> impl Strategy<Value = Expression> {
        let leaf = prop_oneof![any::<i64>().prop_map(Expression::Int), (0..4u32).prop_map(Expression::Value)];
        leaf.prop_recursive(5, 40, 3, |inner| {
            let ops = (0..16usize).prop_map(|i| {
                let infix = [Operator::Add, Operator::Sub, Operator::Mul, Operator::Div, Operator::Rem];
                infix.get(i).copied().unwrap_or_else(|| Operator::FUNCTIONS[i - 5].1)
            });
            prop_oneof![
                (ops, inner.clone(), inner.clone()).prop_map(|(op, x, y)| Expression::Binary(
                    op,
                    Box::new(x),
                    Box::new(y)
                )),
                (inner.clone(), inner.clone(), inner).prop_map(|(c, x, y)| Expression::Select(
                    Box::new(c),
                    Box::new(x),
                    Box::new(y)
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn expressions_read_back(e in any_expression()) {
            prop_assert_eq!(e.to_string().parse::<Expression>(), Ok(e.clone()));
            let json = serde_json::to_string(&e).expect("writes");
            prop_assert_eq!(serde_json::from_str::<Expression>(&json).expect("reads"), e);
        }

        #[test]
        fn text_never_panics(text in "[$0-9a-z_(), +*/%-]{0,24}") {
            if let Ok(e) = text.parse::<Expression>() {
                let _ = e.eval(&[i64::MIN, -1, 0, i64::MAX]);
            }
        }
    }

    #[test]
    fn values_by_hand() {
        let eval = |text: &str| text.parse::<Expression>().expect(text).eval(&[7, -7, i64::MAX]);
        assert_eq!(eval("$0 * 4 + 2"), Ok(30));
        assert_eq!(eval("$0 - 2 - 3"), Ok(2));
        assert_eq!(eval("$0 - (2 - 3)"), Ok(8));
        assert_eq!(eval("$1 / 2"), Ok(-3));
        assert_eq!(eval("$1 % 2"), Ok(-1));
        assert_eq!(eval("floor_div($1, 2)"), Ok(-4));
        assert_eq!(eval("floor_div($0, 0)"), Ok(0));
        assert_eq!(eval("select(lt($0, 8), min($0, 3), max($0, 9))"), Ok(3));
        assert_eq!(eval("-3 + $0"), Ok(4));
        assert_eq!(eval("$2 + 1"), Err(ExpressionError::Overflow("$2 + 1".into())));
        let smallest = "(-9223372036854775808) / (-1)";
        assert_eq!(eval(smallest), Err(ExpressionError::Overflow(smallest.into())));
        assert_eq!(eval("$3"), Err(ExpressionError::NoValue { value: 3, count: 3 }));
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| text.parse::<Expression>().expect_err(text).to_string();
        assert_eq!(error("$0 +"), "`$0 +` is no expression: an operand is missing at byte 4");
        assert_eq!(error("$0 1"), "`$0 1` is no expression: an operator is missing at byte 3");
        assert_eq!(error("min($0)"), "`min($0)` is no expression: `,` is missing at byte 6");
        assert_eq!(error("pow($0, 2)"), "`pow($0, 2)` is no expression: an unknown function at byte 0");
        assert_eq!(error(&"(".repeat(4000))[..2], *"`(");
    }
}
