//! The text of expressions.
//!
//! ```text
//! sum     = product (("+" | "-") product)*
//! product = operand (("*" | "/" | "%") operand)*
//! operand = "-"? digits | "$" digits | "(" sum ")" | name "(" sum ("," sum)* ")"
//! ```

use std::str::FromStr;

use crate::expression::{Expression, ExpressionError, Operator};

/// How deep parentheses and functions may be nested.
const DEPTH: u32 = 100;
/// How many operators may stand between operands: expressions are walked recursively.
const OPERATORS: u32 = 1000;

impl FromStr for Expression {
    type Err = ExpressionError;

    fn from_str(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser { text, at: 0, depth: 0, operators: 0 };
        let e = parser.infix(1)?;
        parser.skip_spaces();
        if parser.at < text.len() {
            return Err(parser.error("an operator is missing"));
        }
        Ok(e)
    }
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    depth: u32,
    operators: u32,
}

impl Parser<'_> {
    fn error(&self, reason: &'static str) -> ExpressionError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, at: usize, reason: &'static str) -> ExpressionError {
        let text: String = self.text.chars().take(200).collect();
        ExpressionError::Syntax { text, at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        self.skip_spaces();
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn require(&mut self, byte: u8, reason: &'static str) -> Result<(), ExpressionError> {
        if self.take(byte) { Ok(()) } else { Err(self.error(reason)) }
    }

    /// Operators that bind at least so tightly, from left to right.
    fn infix(&mut self, tightness: u8) -> Result<Expression, ExpressionError> {
        if tightness > 2 {
            return self.operand();
        }
        let mut left = self.infix(tightness + 1)?;
        loop {
            self.skip_spaces();
            let all = [Operator::Add, Operator::Sub, Operator::Mul, Operator::Div, Operator::Rem];
            let next = self.peek().map(char::from);
            let sign = |op: &Operator| op.infix().is_some_and(|(s, own)| Some(s) == next && own == tightness);
            let Some(op) = all.into_iter().find(sign) else { return Ok(left) };
            self.at += 1;
            self.operators += 1;
            if self.operators > OPERATORS {
                return Err(self.error("there are too many operators"));
            }
            let right = self.infix(tightness + 1)?;
            left = Expression::Binary(op, Box::new(left), Box::new(right));
        }
    }

    fn operand(&mut self) -> Result<Expression, ExpressionError> {
        self.skip_spaces();
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(self.error("nesting is too deep"));
        }
        let start = self.at;
        let e = match self.peek() {
            Some(b'(') => {
                self.at += 1;
                let e = self.infix(1)?;
                self.require(b')', "`)` is missing")?;
                e
            }
            Some(b'$') => {
                self.at += 1;
                Expression::Value(self.number(self.at)?)
            }
            Some(b'-' | b'0'..=b'9') => {
                self.at += usize::from(self.peek() == Some(b'-'));
                Expression::Int(self.number(start)?)
            }
            Some(b'a'..=b'z' | b'_') => self.function()?,
            _ => return Err(self.error("an operand is missing")),
        };
        self.depth -= 1;
        Ok(e)
    }

    /// Digits from here on, read as a number from `start` on.
    fn number<T: FromStr>(&mut self, start: usize) -> Result<T, ExpressionError> {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        let digits = self.text.get(start..self.at).unwrap_or_default();
        digits.parse().map_err(|_| self.error_at(start, "a number is missing or too large"))
    }

    fn function(&mut self) -> Result<Expression, ExpressionError> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_lowercase() || b == b'_') {
            self.at += 1;
        }
        let name = self.text.get(start..self.at).unwrap_or_default();
        let op = Operator::FUNCTIONS.iter().find(|(own, _)| *own == name).map(|(_, op)| *op);
        if op.is_none() && name != "select" {
            return Err(self.error_at(start, "an unknown function"));
        }
        self.require(b'(', "`(` is missing")?;
        let first = Box::new(self.infix(1)?);
        self.require(b',', "`,` is missing")?;
        let second = Box::new(self.infix(1)?);
        let e = match op {
            Some(op) => Expression::Binary(op, first, second),
            None => {
                self.require(b',', "`,` is missing")?;
                Expression::Select(first, second, Box::new(self.infix(1)?))
            }
        };
        self.require(b')', "`)` is missing")?;
        Ok(e)
    }
}
