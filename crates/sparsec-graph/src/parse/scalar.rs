//! Scalar expressions: `relu(add(acc, $0))`.

use super::lexer::Token;
use super::{Parsed, Parser};
use crate::infer::MAX_SCALAR_DEPTH;
use crate::{BinaryOp, DType, ScalarExpr, UnaryOp};

impl Parser<'_> {
    pub(super) fn scalar(&mut self) -> Parsed<ScalarExpr> {
        self.scalar_at(0)
    }

    fn scalar_at(&mut self, depth: usize) -> Parsed<ScalarExpr> {
        if depth > MAX_SCALAR_DEPTH {
            return Err(self.lexer.error(format!("an expression nested deeper than {MAX_SCALAR_DEPTH}")));
        }
        let name = match *self.lexer.peek() {
            Token::Arg(i) => {
                self.lexer.next()?;
                return Ok(ScalarExpr::Arg(i));
            }
            Token::Ident("inf" | "nan" | "NaN") | Token::Number(_) | Token::Punct('-') => {
                return self.float().map(ScalarExpr::Const);
            }
            Token::Ident(name) => name,
            _ => return Err(self.lexer.unexpected("a scalar expression")),
        };
        self.lexer.next()?;
        if name == "acc" {
            return Ok(ScalarExpr::Acc);
        }
        let expr = if let Ok(to) = name.parse::<DType>() {
            self.lexer.expect(Token::Punct('('))?;
            ScalarExpr::Convert(to, Box::new(self.scalar_at(depth + 1)?))
        } else if let Some(op) = UnaryOp::from_name(name) {
            self.lexer.expect(Token::Punct('('))?;
            ScalarExpr::unary(op, self.scalar_at(depth + 1)?)
        } else if let Some(op) = BinaryOp::from_name(name) {
            self.lexer.expect(Token::Punct('('))?;
            let x = self.scalar_at(depth + 1)?;
            self.lexer.expect(Token::Punct(','))?;
            ScalarExpr::binary(op, x, self.scalar_at(depth + 1)?)
        } else if name == "select" {
            self.lexer.expect(Token::Punct('('))?;
            let c = self.scalar_at(depth + 1)?;
            self.lexer.expect(Token::Punct(','))?;
            let x = self.scalar_at(depth + 1)?;
            self.lexer.expect(Token::Punct(','))?;
            ScalarExpr::Select(Box::new(c), Box::new(x), Box::new(self.scalar_at(depth + 1)?))
        } else {
            return Err(self.lexer.error(format!("`{name}` is no scalar operation")));
        };
        self.lexer.expect(Token::Punct(')'))?;
        Ok(expr)
    }
}
