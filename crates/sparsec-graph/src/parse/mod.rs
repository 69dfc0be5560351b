//! Reads the text form that [`crate::print()`] writes, and that tests and `sparsec opt` are written in.
//!
//! ```text
//! graph   = "graph" "@" name "{" statement* "}"
//! input   = "input" value string ":" type
//! const   = "const" value string ("=" | ":") type ("{" element,* "}" | "elided" hash
//!           | "random" "(" "seed" "=" integer "," "density" "=" number ")")
//! node    = value,* string? "=" operator attributes ("epilogue" scalar "(" value,* ")")? ("format" format)? (":" type,*)?
//! output  = "output" string "=" value
//! type    = dtype "[" dim,* "]"
//! ```
//!
//! `//` starts a comment. A node without types gets the inferred ones; types that are written are taken as they are, so
//! that wrong ones can be written for tests of the verifier. A value is defined before it is used.

mod constant;
mod dim;
mod lexer;
mod operator;
mod scalar;

use std::collections::BTreeMap;

use thiserror::Error;

use crate::{Epilogue, Format, Graph, Node, TensorData, TensorType, ValueId};
use lexer::{Lexer, Token};

/// Text that is no graph.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
}

/// A constant whose elements the text leaves out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElidedConstant {
    /// The constant's name.
    pub name: String,
    /// Its type; all extents are constants.
    pub ty: TensorType,
    /// The [`crate::data_hash`] of its bytes.
    pub hash: u64,
}

/// Finds the data of elided constants.
pub type Resolver<'a> = dyn Fn(&ElidedConstant) -> Option<TensorData> + 'a;

/// Reads a graph whose constants are all written out.
///
/// # Errors
/// The first place where the text is not in the grammar, or names something that is not there.
pub fn parse(text: &str) -> Result<Graph, ParseError> {
    parse_with(text, &|_| None)
}

/// Reads a graph, asking `resolver` for elided constants. What it returns must have the type and the hash of the text.
///
/// # Errors
/// As [`parse`]; and where the resolver has no data, or other data.
pub fn parse_with(text: &str, resolver: &Resolver<'_>) -> Result<Graph, ParseError> {
    let mut parser = Parser { lexer: Lexer::new(text)?, values: BTreeMap::new(), depth: 0, resolver };
    let graph = parser.graph()?;
    match parser.lexer.peek() {
        Token::End => Ok(graph),
        _ => Err(parser.lexer.unexpected("the end of the text")),
    }
}

/// Reads a dimension expression such as `2*batch*seq + floordiv(n, 2) - 1`.
///
/// # Errors
/// The place where the text is not in the grammar.
pub fn parse_dim(text: &str) -> Result<crate::Dim, ParseError> {
    let mut parser = Parser { lexer: Lexer::new(text)?, values: BTreeMap::new(), depth: 0, resolver: &|_| None };
    let dim = parser.dim()?;
    match parser.lexer.peek() {
        Token::End => Ok(dim),
        _ => Err(parser.lexer.unexpected("the end of the expression")),
    }
}

/// Graphs nest no deeper than this.
const MAX_DEPTH: usize = 16;

type Parsed<T> = Result<T, ParseError>;

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// Number in the text -> value.
    values: BTreeMap<u32, ValueId>,
    /// How many graphs are around this one.
    depth: usize,
    resolver: &'a Resolver<'a>,
}

impl Parser<'_> {
    fn graph(&mut self) -> Parsed<Graph> {
        self.lexer.keyword("graph")?;
        self.lexer.expect(Token::Punct('@'))?;
        let name = match self.lexer.next()? {
            Token::Ident(name) => name.to_owned(),
            Token::String(name) => name,
            other => return Err(self.lexer.error(format!("expected a name, found {other}"))),
        };
        let mut graph = Graph::new(name);
        self.lexer.expect(Token::Punct('{'))?;
        loop {
            match self.lexer.peek() {
                Token::Punct('}') => {
                    self.lexer.next()?;
                    return Ok(graph);
                }
                Token::Ident("input") => self.input(&mut graph)?,
                Token::Ident("const") => self.constant(&mut graph)?,
                Token::Ident("output") => self.output(&mut graph)?,
                Token::Value(_) => self.node(&mut graph)?,
                _ => return Err(self.lexer.unexpected("`input`, `const`, `output`, a value or `}`")),
            }
        }
    }

    /// A graph within a node, whose values have numbers of their own.
    fn nested_graph(&mut self) -> Parsed<Box<Graph>> {
        if self.depth == MAX_DEPTH {
            return Err(self.lexer.error(format!("graphs nest more than {MAX_DEPTH} deep")));
        }
        let around = std::mem::take(&mut self.values);
        self.depth += 1;
        let graph = self.graph()?;
        self.depth -= 1;
        self.values = around;
        Ok(Box::new(graph))
    }

    fn input(&mut self, graph: &mut Graph) -> Parsed<()> {
        self.lexer.keyword("input")?;
        let number = self.new_number()?;
        let name = self.lexer.string()?;
        self.lexer.expect(Token::Punct(':'))?;
        let ty = self.ty()?;
        let value = graph.add_input(name, ty);
        self.define(number, value);
        Ok(())
    }

    fn constant(&mut self, graph: &mut Graph) -> Parsed<()> {
        self.lexer.keyword("const")?;
        let number = self.new_number()?;
        let name = self.lexer.string()?;
        if !self.lexer.eat(Token::Punct(':'))? {
            self.lexer.expect(Token::Punct('='))?;
        }
        let data = self.constant_data(&name)?;
        let value = graph.add_constant(name, data);
        self.define(number, value);
        Ok(())
    }

    fn output(&mut self, graph: &mut Graph) -> Parsed<()> {
        self.lexer.keyword("output")?;
        let name = self.lexer.string()?;
        self.lexer.expect(Token::Punct('='))?;
        let value = self.value()?;
        graph.add_output(name, value);
        Ok(())
    }

    fn node(&mut self, graph: &mut Graph) -> Parsed<()> {
        let place = self.lexer.place();
        let mut numbers = vec![self.new_number()?];
        while self.lexer.eat(Token::Punct(','))? {
            numbers.push(self.new_number()?);
        }
        let name = if matches!(self.lexer.peek(), Token::String(_)) { self.lexer.string()? } else { String::new() };
        self.lexer.expect(Token::Punct('='))?;
        let (op, operands) = self.operator()?;
        let mut node = Node::new(op, operands, name);
        if self.lexer.eat(Token::Ident("epilogue"))? {
            let first_operand = node.operands.len() as u32;
            let expr = self.scalar()?;
            node.operands.extend(self.value_list()?);
            node.epilogue = Some(Epilogue { first_operand, expr });
        }
        if self.lexer.eat(Token::Ident("format"))? {
            node.format = Some(self.format()?);
        }
        let types = if self.lexer.eat(Token::Punct(':'))? {
            let mut types = vec![self.ty()?];
            while self.lexer.eat(Token::Punct(','))? {
                types.push(self.ty()?);
            }
            types
        } else {
            graph.infer_node(&node).map_err(|e| self.lexer.error_at(place, e.to_string()))?
        };
        if types.len() != numbers.len() {
            let message = format!("{} results of {} types", numbers.len(), types.len());
            return Err(self.lexer.error_at(place, message));
        }
        let id = graph.add_node(node, types);
        let results = graph.node(id).results.clone();
        for (number, value) in numbers.into_iter().zip(results) {
            if self.values.contains_key(&number) {
                return Err(self.lexer.error_at(place, format!("`%{number}` is defined twice")));
            }
            self.define(number, value);
        }
        Ok(())
    }

    fn format(&mut self) -> Parsed<Format> {
        let place = self.lexer.place();
        let text = self.lexer.format_text()?;
        text.parse::<Format>().map_err(|e| self.lexer.error_at(place, e.to_string()))
    }

    fn ty(&mut self) -> Parsed<TensorType> {
        let name = self.lexer.ident()?;
        let dtype = name.parse().map_err(|e: String| self.lexer.error(e))?;
        Ok(TensorType::new(dtype, self.dims()?))
    }

    fn define(&mut self, number: u32, value: ValueId) {
        self.values.insert(number, value);
    }

    /// The number of a value that this statement defines.
    fn new_number(&mut self) -> Parsed<u32> {
        match self.lexer.next()? {
            Token::Value(n) if self.values.contains_key(&n) => {
                Err(self.lexer.error(format!("`%{n}` is defined twice")))
            }
            Token::Value(n) => Ok(n),
            other => Err(self.lexer.error(format!("expected a value such as `%0`, found {other}"))),
        }
    }

    /// A use of a value.
    fn value(&mut self) -> Parsed<ValueId> {
        match self.lexer.next()? {
            Token::Value(n) => match self.values.get(&n) {
                Some(value) => Ok(*value),
                None => Err(self.lexer.error(format!("`%{n}` is not defined above"))),
            },
            other => Err(self.lexer.error(format!("expected a value such as `%0`, found {other}"))),
        }
    }

    /// `(%1, %2)`.
    fn value_list(&mut self) -> Parsed<Vec<ValueId>> {
        self.list('(', ')', Self::value)
    }

    /// Items between brackets, separated by commas.
    fn list<T>(&mut self, open: char, close: char, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        self.lexer.expect(Token::Punct(open))?;
        let mut items = Vec::new();
        if self.lexer.eat(Token::Punct(close))? {
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            if self.lexer.eat(Token::Punct(close))? {
                return Ok(items);
            }
            self.lexer.expect(Token::Punct(','))?;
        }
    }
}
