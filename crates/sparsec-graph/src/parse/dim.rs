//! Dimension expressions, and lists of numbers.

use super::lexer::Token;
use super::{Parsed, Parser};
use crate::Dim;

/// The deepest nesting of an expression.
const MAX_DEPTH: usize = 64;

/// An expression has at most this many terms once multiplied out.
const MAX_TERMS: usize = 4096;

impl Parser<'_> {
    /// `[batch, seq + 1]`.
    pub(super) fn dims(&mut self) -> Parsed<Vec<Dim>> {
        self.list('[', ']', Self::dim)
    }

    /// An expression.
    pub(super) fn dim(&mut self) -> Parsed<Dim> {
        self.dim_sum(0)
    }

    fn dim_sum(&mut self, depth: usize) -> Parsed<Dim> {
        if depth > MAX_DEPTH {
            return Err(self.lexer.error(format!("an expression nested deeper than {MAX_DEPTH}")));
        }
        let negative = self.lexer.eat(Token::Punct('-'))?;
        let mut sum = self.dim_product(depth, negative)?;
        loop {
            let negative = match self.lexer.peek() {
                Token::Punct('+') => false,
                Token::Punct('-') => true,
                _ => return Ok(sum),
            };
            self.lexer.next()?;
            sum = sum + self.dim_product(depth, negative)?;
        }
    }

    fn dim_product(&mut self, depth: usize, negative: bool) -> Parsed<Dim> {
        let mut product = self.dim_factor(depth, negative)?;
        while self.lexer.eat(Token::Punct('*'))? {
            let factor = self.dim_factor(depth, false)?;
            if product.terms().count() * factor.terms().count() > MAX_TERMS {
                return Err(self.lexer.error(format!("a product of more than {MAX_TERMS} terms")));
            }
            product = product * factor;
        }
        Ok(product)
    }

    fn dim_factor(&mut self, depth: usize, negative: bool) -> Parsed<Dim> {
        let factor = match self.lexer.next()? {
            // The sign belongs to the number: the smallest one has no positive counterpart.
            Token::Number(text) => {
                let value = self.number_in(text, negative, i64::MIN.into()..=i64::MAX.into())?;
                return Ok(Dim::constant(value as i64));
            }
            Token::String(name) => Dim::sym(&name),
            Token::Ident(function @ ("floordiv" | "min" | "max")) => {
                self.lexer.expect(Token::Punct('('))?;
                let a = self.dim_sum(depth + 1)?;
                self.lexer.expect(Token::Punct(','))?;
                let b = self.dim_sum(depth + 1)?;
                self.lexer.expect(Token::Punct(')'))?;
                match function {
                    "floordiv" => a.floor_div(&b),
                    "min" => a.minimum(&b),
                    _ => a.maximum(&b),
                }
            }
            Token::Ident(name) => Dim::sym(name),
            Token::Punct('(') => {
                let inner = self.dim_sum(depth + 1)?;
                self.lexer.expect(Token::Punct(')'))?;
                inner
            }
            other => return Err(self.lexer.error(format!("expected a dimension, found {other}"))),
        };
        Ok(if negative { factor * Dim::constant(-1) } else { factor })
    }

    /// A number of digits alone, with its sign, within a range.
    pub(super) fn number_in(
        &self,
        digits: &str,
        negative: bool,
        range: std::ops::RangeInclusive<i128>,
    ) -> Parsed<i128> {
        let value = digits.parse::<i128>().map_err(|_| self.lexer.error(format!("`{digits}` is no integer")))?;
        let value = if negative { -value } else { value };
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.lexer.error(format!("{value} is not between {} and {}", range.start(), range.end())))
    }

    fn integer_in(&mut self, range: std::ops::RangeInclusive<i128>) -> Parsed<i128> {
        let negative = self.lexer.eat(Token::Punct('-'))?;
        match self.lexer.next()? {
            Token::Number(text) => self.number_in(text, negative, range),
            other => Err(self.lexer.error(format!("expected an integer, found {other}"))),
        }
    }

    /// An integer with an optional sign.
    pub(super) fn int(&mut self) -> Parsed<i64> {
        self.integer_in(i64::MIN.into()..=i64::MAX.into()).map(|v| v as i64)
    }

    /// An axis, or a number of axes.
    pub(super) fn axis(&mut self) -> Parsed<usize> {
        self.integer_in(0..=u32::MAX.into()).map(|v| v as usize)
    }

    /// A 64-bit number without a sign.
    pub(super) fn unsigned(&mut self) -> Parsed<u64> {
        self.integer_in(0..=u64::MAX.into()).map(|v| v as u64)
    }

    /// `[1, 2]`.
    pub(super) fn ints(&mut self) -> Parsed<Vec<i64>> {
        self.list('[', ']', Self::int)
    }

    /// `[1, 2]`, of axes.
    pub(super) fn axes(&mut self) -> Parsed<Vec<usize>> {
        self.list('[', ']', Self::axis)
    }

    /// `[(1, 2), (0, 0)]`.
    pub(super) fn pairs(&mut self) -> Parsed<Vec<(i64, i64)>> {
        self.list('[', ']', |p| {
            p.lexer.expect(Token::Punct('('))?;
            let before = p.int()?;
            p.lexer.expect(Token::Punct(','))?;
            let after = p.int()?;
            p.lexer.expect(Token::Punct(')'))?;
            Ok((before, after))
        })
    }

    /// A decimal number with an optional sign, `inf` or `nan`.
    pub(super) fn float(&mut self) -> Parsed<f64> {
        let negative = self.lexer.eat(Token::Punct('-'))?;
        let value = match self.lexer.next()? {
            Token::Number(text) | Token::Ident(text @ ("inf" | "nan" | "NaN")) => text.parse::<f64>().ok(),
            _ => None,
        };
        let value = value.ok_or_else(|| self.lexer.error("expected a number"))?;
        Ok(if negative { -value } else { value })
    }
}
