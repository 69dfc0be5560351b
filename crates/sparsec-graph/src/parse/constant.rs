//! Data of constants: written out, elided, or pseudo-random.

use bytes::Bytes;

use super::lexer::Token;
use super::{ElidedConstant, Parsed, Parser};
use crate::text::{int_range, parse_float_bits};
use crate::{DType, TensorData, data_hash, random_data};

/// The most elements that `random` makes (the text does not justify more memory).
const MAX_RANDOM: usize = 1 << 28;

impl Parser<'_> {
    /// The type and the data of the constant of this name.
    pub(super) fn constant_data(&mut self, name: &str) -> Parsed<TensorData> {
        let place = self.lexer.place();
        let ty = self.ty()?;
        let shape: Option<Vec<usize>> =
            ty.shape.iter().map(|d| d.as_const().and_then(|v| usize::try_from(v).ok())).collect();
        let elements = shape.as_ref().and_then(|s| s.iter().try_fold(1usize, |n, &d| n.checked_mul(d)));
        let (Some(shape), Some(elements)) = (shape, elements) else {
            return Err(self.lexer.error_at(place, format!("{ty} is no type of a constant")));
        };
        let place = self.lexer.place();
        if self.lexer.eat(Token::Ident("random"))? {
            if elements > MAX_RANDOM {
                return Err(self.lexer.error_at(place, format!("more than {MAX_RANDOM} random elements")));
            }
            self.lexer.expect(Token::Punct('('))?;
            self.lexer.keyword("seed")?;
            self.lexer.expect(Token::Punct('='))?;
            let seed = self.unsigned()?;
            self.lexer.expect(Token::Punct(','))?;
            self.lexer.keyword("density")?;
            self.lexer.expect(Token::Punct('='))?;
            let density = self.float()?;
            self.lexer.expect(Token::Punct(')'))?;
            return Ok(random_data(ty.dtype, &shape, seed, density));
        }
        if self.lexer.eat(Token::Ident("elided"))? {
            let hash = match self.lexer.next()? {
                Token::Hex(hash) => hash,
                other => return Err(self.lexer.error(format!("expected a hash such as `0x12`, found {other}"))),
            };
            let elided = ElidedConstant { name: name.to_owned(), ty, hash };
            let Some(data) = (self.resolver)(&elided) else {
                return Err(self.lexer.error_at(place, format!("the elements of `{name}` are elided and not found")));
            };
            if data.dtype != elided.ty.dtype || data.shape != shape || data_hash(&data.bytes) != hash {
                let message = format!("the data found for `{name}` ({}) is not what was elided", data.ty());
                return Err(self.lexer.error_at(place, message));
            }
            return Ok(data);
        }
        self.elements(ty.dtype, shape, elements)
    }

    fn elements(&mut self, dtype: DType, shape: Vec<usize>, elements: usize) -> Parsed<TensorData> {
        let mut bytes = Vec::new();
        let mut count = 0usize;
        let place = self.lexer.place();
        self.list('{', '}', |p| {
            count += 1;
            let bits = p.element(dtype)?;
            bytes.extend_from_slice(&bits.to_le_bytes()[..dtype.size()]);
            Ok(())
        })?;
        if count != elements {
            return Err(self.lexer.error_at(place, format!("{count} elements instead of {elements}")));
        }
        Ok(TensorData { dtype, shape, bytes: Bytes::from(bytes) })
    }

    /// The bits of one element.
    fn element(&mut self, dtype: DType) -> Parsed<u64> {
        let negative = self.lexer.eat(Token::Punct('-'))?;
        let sign = if negative { "-" } else { "" };
        let bits = match self.lexer.next()? {
            Token::Hex(bits) if !negative && (dtype.size() == 8 || bits >> (8 * dtype.size()) == 0) => Some(bits),
            Token::Ident("nan") if negative => None,
            Token::Ident(text @ ("nan" | "inf")) | Token::Number(text)
                if dtype.is_float() || dtype.small_float().is_some() =>
            {
                parse_float_bits(dtype, &format!("{sign}{text}"))
            }
            Token::Ident(text @ ("true" | "false")) if dtype == DType::Bool && !negative => {
                Some(u64::from(text == "true"))
            }
            Token::Number(text) => Some(self.number_in(text, negative, int_range(dtype))? as u64),
            _ => None,
        };
        bits.ok_or_else(|| self.lexer.error(format!("expected an element of type {dtype}")))
    }
}
