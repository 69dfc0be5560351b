//! Operators with their attributes and operands.

use sparsec_tir::parse_kernel;

use super::lexer::Token;
use super::{Parsed, Parser};
use crate::{
    AttentionSpec, BinaryOp, ContractSpec, ConvAttrs, Count, Direction, LoopSpec, LoopsSpec, Op, PoolAttrs, PoolKind,
    ReduceKind, SliceAxis, Trip, UnaryOp, ValueId,
};

impl Parser<'_> {
    /// An operator and its own operands (without the epilogue's).
    pub(super) fn operator(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let name = self.lexer.ident()?;
        // What stands before the operands.
        let prefix = match name {
            "cast" => {
                let dtype = self.lexer.ident()?.parse().map_err(|e: String| self.lexer.error(e))?;
                Some(Op::Cast(dtype))
            }
            "map" => Some(Op::Map(self.scalar()?)),
            "contract" => Some(Op::Contract(self.contraction()?)),
            "attention" => Some(Op::Attention(Box::new(self.attention()?))),
            "where" => Some(Op::Where),
            _ => None,
        };
        if let Some(op) = prefix {
            return Ok((op, self.value_list()?));
        }
        match name {
            "pool" => return self.pool(),
            "reduce" => return self.reduce(),
            "loops" => return self.loops(),
            "if" => return self.conditional(),
            "loop" => return self.looped(),
            _ => {}
        }
        let elementwise = UnaryOp::from_name(name).map(Op::Unary).or(BinaryOp::from_name(name).map(Op::Binary));
        if let Some(op) = elementwise {
            return Ok((op, self.value_list()?));
        }
        let known = [
            "clip",
            "conv",
            "softmax",
            "layer_norm",
            "batch_norm",
            "reshape",
            "transpose",
            "expand",
            "slice",
            "concat",
            "gather",
            "pad",
            "shape_of",
        ];
        if !known.contains(&name) {
            return Err(self.lexer.error(format!("`{name}` is no operator")));
        }
        let operands = self.value_list()?;
        Ok((self.attributes(name)?, operands))
    }

    /// The attributes of the operators that have them behind their operands.
    fn attributes(&mut self, name: &str) -> Parsed<Op> {
        Ok(match name {
            "clip" => Op::Clip { lo: self.named("lo", Self::float)?, hi: self.named("hi", Self::float)? },
            "conv" => Op::Conv(ConvAttrs {
                strides: self.named("strides", Self::ints)?,
                pads: self.named("pads", Self::pairs)?,
                dilations: self.named("dilations", Self::ints)?,
                groups: self.named("groups", Self::int)?,
            }),
            "softmax" => Op::Softmax { axis: self.named("axis", Self::axis)? },
            "layer_norm" => Op::LayerNorm {
                axis: self.named("axis", Self::axis)?,
                axes: self.named("axes", Self::axis)?,
                epsilon: self.named("epsilon", Self::float)?,
            },
            "batch_norm" => Op::BatchNorm { epsilon: self.named("epsilon", Self::float)? },
            "reshape" => Op::Reshape(self.named("to", Self::dims)?),
            "expand" => Op::Expand(self.named("to", Self::dims)?),
            "transpose" => Op::Transpose(self.named("perm", Self::axes)?),
            "slice" => Op::Slice(self.named("ranges", Self::ranges)?),
            "concat" => Op::Concat { axis: self.named("axis", Self::axis)? },
            "gather" => Op::Gather { axis: self.named("axis", Self::axis)? },
            "pad" => Op::Pad { amounts: self.named("amounts", Self::pairs)?, value: self.named("value", Self::float)? },
            _ => Op::ShapeOf(self.named("of", Self::dims)?),
        })
    }

    /// `"mk,bk->bm"`.
    fn contraction(&mut self) -> Parsed<ContractSpec> {
        let text = self.lexer.string()?;
        ContractSpec::parse(&text).ok_or_else(|| self.lexer.error("expected labels such as `mk,bk->bm`"))
    }

    /// `"hqd,hkd->hqk" "hqk,hkd->hqd" keys "k" scores mul(acc, 0.125)`.
    fn attention(&mut self) -> Parsed<AttentionSpec> {
        let (scores, values) = (self.contraction()?, self.contraction()?);
        let keys = self.named("keys", |p| p.lexer.string())?;
        let mut letters = keys.chars();
        let (Some(keys), None) = (letters.next(), letters.next()) else {
            return Err(self.lexer.error("expected one label"));
        };
        Ok(AttentionSpec { scores, values, keys, expr: self.named("scores", Self::scalar)? })
    }

    /// `name value`.
    fn named<T>(&mut self, name: &str, value: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.lexer.keyword(name)?;
        value(self)
    }

    fn bool(&mut self) -> Parsed<bool> {
        match self.lexer.ident()? {
            "true" => Ok(true),
            "false" => Ok(false),
            other => Err(self.lexer.error(format!("expected `true` or `false`, found `{other}`"))),
        }
    }

    fn pool(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let kind = PoolKind::from_name(self.lexer.ident()?);
        let kind = kind.ok_or_else(|| self.lexer.error("expected what the window computes"))?;
        let operands = self.value_list()?;
        let attrs = PoolAttrs {
            kind,
            kernel: self.named("kernel", Self::ints)?,
            strides: self.named("strides", Self::ints)?,
            pads: self.named("pads", Self::pairs)?,
            dilations: self.named("dilations", Self::ints)?,
            ceil: self.named("ceil", Self::bool)?,
        };
        Ok((Op::Pool(attrs), operands))
    }

    fn reduce(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let kind = ReduceKind::from_name(self.lexer.ident()?);
        let kind = kind.ok_or_else(|| self.lexer.error("expected what the reduction computes"))?;
        let operands = self.value_list()?;
        let axes = self.named("axes", Self::axes)?;
        let keep = self.named("keep", Self::bool)?;
        Ok((Op::Reduce { kind, axes, keep }, operands))
    }

    /// `(%1) params [n] gives [f32[k], i64[]] counts [(k, n)] { kernel name position (...) { ... } }`.
    fn loops(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let operands = self.value_list()?;
        let params = self.named("params", Self::dims)?;
        let results = self.named("gives", |p| p.list('[', ']', Self::ty))?;
        let counts = match self.lexer.eat(Token::Ident("counts"))? {
            true => self.list('[', ']', Self::count)?,
            false => Vec::new(),
        };
        let place = self.lexer.place();
        let kernel = parse_kernel(self.lexer.braces()?).map_err(|e| self.lexer.error_at(place, e.to_string()))?;
        Ok((Op::Loops(Box::new(LoopsSpec { kernel, params, results, counts })), operands))
    }

    /// `(symbol, capacity)`.
    fn count(&mut self) -> Parsed<Count> {
        self.lexer.expect(Token::Punct('('))?;
        let symbol = self.dim()?;
        let Some(symbol) = symbol.as_symbol().cloned() else { return Err(self.lexer.error("expected a symbol")) };
        self.lexer.expect(Token::Punct(','))?;
        let capacity = self.dim()?;
        self.lexer.expect(Token::Punct(')'))?;
        Ok(Count { symbol, capacity })
    }

    /// `(%0, %1) then graph @t { ... } else graph @e { ... }`.
    fn conditional(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let operands = self.value_list()?;
        let then = self.named("then", Self::nested_graph)?;
        let otherwise = self.named("else", Self::nested_graph)?;
        Ok((Op::If { then, otherwise }, operands))
    }

    /// `(%0, %1) trip [n] conditional carried 1 scanned [forward] stacked [reverse] body graph @b { ... }`.
    fn looped(&mut self) -> Parsed<(Op, Vec<ValueId>)> {
        let operands = self.value_list()?;
        let trip = if self.lexer.eat(Token::Ident("counted"))? {
            Trip::Operand
        } else if self.lexer.eat(Token::Ident("trip"))? {
            match self.dims()?.as_slice() {
                [trip] => Trip::Known(trip.clone()),
                _ => return Err(self.lexer.error("expected one extent")),
            }
        } else {
            Trip::Unbounded
        };
        let conditional = self.lexer.eat(Token::Ident("conditional"))?;
        let carried = self.named("carried", Self::axis)?;
        let scanned = self.named("scanned", Self::directions)?;
        let stacked = self.named("stacked", Self::directions)?;
        let body = *self.named("body", Self::nested_graph)?;
        Ok((Op::Loop(Box::new(LoopSpec { trip, conditional, carried, scanned, stacked, body })), operands))
    }

    /// `[forward, reverse]`.
    fn directions(&mut self) -> Parsed<Vec<Direction>> {
        self.list('[', ']', |p| {
            let direction = Direction::from_name(p.lexer.ident()?);
            direction.ok_or_else(|| p.lexer.error("expected `forward` or `reverse`"))
        })
    }

    /// `[(start, len, step), ...]`.
    fn ranges(&mut self) -> Parsed<Vec<SliceAxis>> {
        self.list('[', ']', |p| {
            p.lexer.expect(Token::Punct('('))?;
            let start = p.dim()?;
            p.lexer.expect(Token::Punct(','))?;
            let len = p.dim()?;
            p.lexer.expect(Token::Punct(','))?;
            let step = p.int()?;
            p.lexer.expect(Token::Punct(')'))?;
            Ok(SliceAxis { start, len, step })
        })
    }
}
