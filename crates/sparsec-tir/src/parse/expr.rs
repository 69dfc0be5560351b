//! Expressions and accesses.

use std::collections::BTreeMap;

use super::{
    ParseError,
    lex::{Parser, Token},
};
use crate::{
    Access, BinaryOp, BufferId, CompareOp, Expr, ParamId, ReduceOp, RegisterId, Scalar, Type, UnaryOp, VarId,
    print::compare_symbol,
};

/// What a name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entity {
    Param(ParamId),
    Buffer(BufferId, Scalar),
    Register(RegisterId),
    Var(VarId),
}

/// The names of a kernel.
pub(super) type Scope = BTreeMap<String, Entity>;

impl Parser {
    pub(super) fn expr(&mut self, scope: &Scope) -> Result<Expr, ParseError> {
        self.nested(|p| {
            let left = p.sum(scope)?;
            let op = CompareOp::ALL.iter().copied().find(|op| p.at_symbol(compare_symbol(*op)));
            let Some(op) = op else { return Ok(left) };
            p.next();
            Ok(Expr::compare(op, left, p.sum(scope)?))
        })
    }

    fn sum(&mut self, scope: &Scope) -> Result<Expr, ParseError> {
        let mut left = self.product(scope)?;
        for _ in 0..MAX_CHAIN {
            let op = match () {
                () if self.eat("+") => BinaryOp::Add,
                () if self.eat("-") => BinaryOp::Sub,
                () => return Ok(left),
            };
            left = Expr::Binary(op, Box::new(left), Box::new(self.product(scope)?));
        }
        Err(self.error(format!("more than {MAX_CHAIN} terms")))
    }

    fn product(&mut self, scope: &Scope) -> Result<Expr, ParseError> {
        let mut left = self.primary(scope)?;
        for _ in 0..MAX_CHAIN {
            let op = match () {
                () if self.eat("*") => BinaryOp::Mul,
                () if self.eat("/") => BinaryOp::Div,
                () if self.eat("%") => BinaryOp::Rem,
                () => return Ok(left),
            };
            left = Expr::Binary(op, Box::new(left), Box::new(self.primary(scope)?));
        }
        Err(self.error(format!("more than {MAX_CHAIN} factors")))
    }

    fn primary(&mut self, scope: &Scope) -> Result<Expr, ParseError> {
        if self.eat("(") {
            let e = self.expr(scope)?;
            self.expect(")")?;
            return Ok(e);
        }
        match self.peek().clone() {
            Token::Symbol("-") => {
                let negative = match self.peek_at(1) {
                    Token::Number(n) => number(&format!("-{n}")),
                    Token::Word(w) => special(w).map(|(v, s)| Expr::Float(-v, s)),
                    _ => None,
                };
                let Some(e) = negative else { return Err(self.expected("an expression")) };
                self.next();
                self.next();
                Ok(e)
            }
            Token::Number(n) => match number(&n) {
                Some(e) => {
                    self.next();
                    Ok(e)
                }
                None => Err(self.error(format!("`{n}` is no number"))),
            },
            Token::Word(w) => self.word(scope, &w),
            _ => Err(self.expected("an expression")),
        }
    }

    fn word(&mut self, scope: &Scope, word: &str) -> Result<Expr, ParseError> {
        if let Some((v, s)) = special(word) {
            self.next();
            return Ok(Expr::Float(v, s));
        }
        if word == "true" || word == "false" {
            self.next();
            return Ok(Expr::Int((word == "true").into(), Scalar::Bool));
        }
        if word.starts_with("load.") {
            return Ok(Expr::Load(self.access(scope, "load")?));
        }
        if matches!(self.peek_at(1), Token::Symbol("(")) {
            return self.call(scope, word);
        }
        match scope.get(word) {
            Some(Entity::Param(p)) => {
                self.next();
                Ok(Expr::Param(*p))
            }
            Some(Entity::Var(v)) => {
                self.next();
                Ok(Expr::Var(*v))
            }
            Some(Entity::Register(r)) => {
                self.next();
                Ok(Expr::Reg(*r, self.register_index(scope)?))
            }
            Some(Entity::Buffer(..)) => Ok(Expr::Load(self.access(scope, "load")?)),
            None => Err(self.error(format!("`{word}` is not defined"))),
        }
    }

    /// The index of a register array, or nothing.
    pub(super) fn register_index(&mut self, scope: &Scope) -> Result<Vec<Expr>, ParseError> {
        if self.eat("[") { self.list("]", |p| p.expr(scope)) } else { Ok(Vec::new()) }
    }

    fn call(&mut self, scope: &Scope, word: &str) -> Result<Expr, ParseError> {
        let (name, suffix) = word.split_once('.').map_or((word, None), |(n, s)| (n, Some(s)));
        let ty = suffix.and_then(type_from);
        let lanes: Option<u16> = suffix.and_then(|s| s.parse().ok());
        let unknown = self.error(format!("no function is called `{word}`"));
        let boxed = |e: Expr| Box::new(e);
        let unary = UnaryOp::from_name(word);
        let binary = BinaryOp::from_name(word).filter(|op| !infix(*op));
        let reduce = ReduceOp::from_name(word);
        self.next();
        self.expect("(")?;
        let e = if let Some(op) = unary {
            Expr::unary(op, self.expr(scope)?)
        } else if let Some(op) = binary {
            let x = self.expr(scope)?;
            Expr::Binary(op, boxed(x), boxed(self.operand(scope)?))
        } else if let Some(op) = reduce {
            Expr::Reduce(op, boxed(self.expr(scope)?))
        } else {
            match (name, ty, lanes) {
                ("select", ..) if suffix.is_none() => {
                    let c = self.expr(scope)?;
                    let x = self.operand(scope)?;
                    Expr::select(c, x, self.operand(scope)?)
                }
                ("fma", ..) if suffix.is_none() => {
                    let x = self.expr(scope)?;
                    let y = self.operand(scope)?;
                    Expr::fma(x, y, self.operand(scope)?)
                }
                ("dot4", ..) if suffix.is_none() => {
                    let acc = self.expr(scope)?;
                    let a = self.operand(scope)?;
                    Expr::dot4(acc, a, self.operand(scope)?)
                }
                ("convert", Some(Type { scalar, lanes: 1 }), _) => self.expr(scope)?.convert(scalar),
                ("bitcast", Some(ty), _) => Expr::Bitcast(ty, boxed(self.expr(scope)?)),
                ("splat", _, Some(lanes)) => Expr::Splat(boxed(self.expr(scope)?), lanes),
                ("ramp", _, Some(lanes)) => {
                    let base = boxed(self.expr(scope)?);
                    let step = match self.operand(scope)? {
                        Expr::Int(step, Scalar::I64) => step,
                        _ => return Err(self.error("the step of a ramp is no constant")),
                    };
                    Expr::Ramp { base, step, lanes }
                }
                ("gather", ..) if suffix.is_none() => {
                    let buffer = self.buffer(scope)?.0;
                    Expr::Gather(buffer, boxed(self.operand(scope)?))
                }
                ("shuffle", ..) if suffix.is_none() => {
                    let x = boxed(self.expr(scope)?);
                    self.expect(",")?;
                    self.expect("[")?;
                    Expr::Shuffle(x, self.list("]", Parser::small)?)
                }
                ("extract", ..) if suffix.is_none() => {
                    let x = boxed(self.expr(scope)?);
                    self.expect(",")?;
                    Expr::Extract(x, self.small()?)
                }
                _ => return Err(unknown),
            }
        };
        self.expect(")")?;
        Ok(e)
    }

    fn operand(&mut self, scope: &Scope) -> Result<Expr, ParseError> {
        self.expect(",")?;
        self.expr(scope)
    }

    fn buffer(&mut self, scope: &Scope) -> Result<(BufferId, Scalar), ParseError> {
        let error = self.expected("a buffer");
        match scope.get(&self.name()?) {
            Some(Entity::Buffer(b, elem)) => Ok((*b, *elem)),
            _ => Err(error),
        }
    }

    /// `buf[i, j]` or `keyword.f32x8 buf[i] active n padded`.
    pub(super) fn access(&mut self, scope: &Scope, keyword: &str) -> Result<Access, ParseError> {
        let mut declared = None;
        if let Token::Word(w) = self.peek()
            && let Some(("load" | "store" | "prefetch", ty)) = w.split_once('.').filter(|(k, _)| *k == keyword)
        {
            declared = type_from(ty);
            if declared.is_none() {
                return Err(self.error(format!("`{ty}` is no type")));
            }
            self.next();
        }
        let place = self.error("the buffer has another element type");
        let (buffer, elem) = self.buffer(scope)?;
        if declared.is_some_and(|t| t.scalar != elem) {
            return Err(place);
        }
        self.expect("[")?;
        let index = self.list("]", |p| p.expr(scope))?;
        let active = if self.eat_word("active") { Some(Box::new(self.nested(|p| p.primary(scope))?)) } else { None };
        let padded = self.eat_word("padded");
        Ok(Access { buffer, index, lanes: declared.map_or(1, |t| t.lanes), active, padded })
    }

    pub(super) fn scalar(&mut self) -> Result<Scalar, ParseError> {
        let ty = self.type_name()?;
        if ty.lanes == 1 { Ok(ty.scalar) } else { Err(self.error("the element type is a vector")) }
    }

    pub(super) fn type_name(&mut self) -> Result<Type, ParseError> {
        let ty = match self.peek() {
            Token::Word(w) => type_from(w),
            _ => None,
        };
        let ty = ty.ok_or_else(|| self.expected("a type"))?;
        self.next();
        Ok(ty)
    }
}

/// Longest chain of operators of one strength: the tree is as deep.
const MAX_CHAIN: usize = 200;

/// `f32` or `f32x8`.
fn type_from(text: &str) -> Option<Type> {
    match text.split_once('x') {
        Some((scalar, lanes)) => {
            let lanes = lanes.parse().ok().filter(|l| *l > 1)?;
            Some(Type::vector(Scalar::from_name(scalar)?, lanes))
        }
        None => Some(Type::scalar(Scalar::from_name(text)?)),
    }
}

fn number(text: &str) -> Option<Expr> {
    let digits = text.find(|c: char| c.is_ascii_alphabetic() && !matches!(c, 'e' | 'E')).unwrap_or(text.len());
    let (value, suffix) = text.split_at(digits);
    let float = value.contains(['.', 'e', 'E']);
    match (Scalar::from_name(suffix), suffix.is_empty(), float) {
        (None, true, true) => Some(Expr::Float(value.parse().ok()?, Scalar::F32)),
        (None, true, false) => Some(Expr::int(value.parse().ok()?)),
        (Some(s), _, _) if s.is_float() => Some(Expr::Float(value.parse().ok()?, s)),
        (Some(s), _, false) => Some(Expr::Int(value.parse().ok()?, s)),
        _ => None,
    }
}

/// `inf`, `nan_f64` and the like.
fn special(word: &str) -> Option<(f64, Scalar)> {
    let (value, suffix) = word.split_once('_').unwrap_or((word, "f32"));
    let scalar = Scalar::from_name(suffix).filter(|s| s.is_float())?;
    match value {
        "inf" => Some((f64::INFINITY, scalar)),
        "nan" => Some((f64::NAN, scalar)),
        _ => None,
    }
}

fn infix(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem)
}
