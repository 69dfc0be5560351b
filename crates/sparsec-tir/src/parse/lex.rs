//! Tokens, and the parser's way through them.

use super::ParseError;

/// A piece of text.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Word(String),
    /// A number with its suffix, as written.
    Number(String),
    Symbol(&'static str),
    Quoted(String),
    Comment(String),
    End,
}

const SYMBOLS: [&str; 24] = [
    "..", "==", "!=", "<=", ">=", "+=", "+", "-", "*", "/", "%", "<", ">", "=", "(", ")", "[", "]", "{", "}", ",", ":",
    ";", "?",
];

/// Deepest nesting of expressions and statements.
const MAX_DEPTH: usize = 200;

pub(super) struct Parser {
    tokens: Vec<(Token, usize, usize)>,
    at: usize,
    depth: usize,
}

impl Parser {
    pub(super) fn new(text: &str) -> Result<Self, ParseError> {
        let mut tokens = Vec::new();
        let (mut line, mut line_start) = (1, 0);
        let chars: Vec<char> = text.chars().collect();
        let mut i = 0;
        let get = |i: usize| chars.get(i).copied().unwrap_or('\n');
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        while i < chars.len() {
            let (c, column) = (get(i), i - line_start + 1);
            let start = i;
            let token = if c == '\n' {
                i += 1;
                (line, line_start) = (line + 1, i);
                continue;
            } else if c.is_whitespace() {
                i += 1;
                continue;
            } else if c == '/' && get(i + 1) == '/' {
                while i < chars.len() && get(i) != '\n' {
                    i += 1;
                }
                let comment: String = chars[start + 2..i].iter().collect();
                Token::Comment(comment.strip_prefix(' ').map_or(comment.clone(), str::to_owned))
            } else if c.is_ascii_digit() {
                while word(get(i)) {
                    i += 1;
                }
                if get(i) == '.' && get(i + 1).is_ascii_digit() {
                    i += 1;
                    while word(get(i)) {
                        i += 1;
                    }
                }
                if matches!(get(i - 1), 'e' | 'E') && get(i) == '-' {
                    i += 1;
                    while word(get(i)) {
                        i += 1;
                    }
                }
                Token::Number(chars[start..i].iter().collect())
            } else if word(c) {
                while word(get(i)) || (get(i) == '.' && word(get(i + 1))) {
                    i += 1;
                }
                Token::Word(chars[start..i].iter().collect())
            } else if c == '"' {
                i += 1;
                while i < chars.len() && get(i) != '"' && get(i) != '\n' {
                    i += 1;
                }
                let quoted = chars[start + 1..i].iter().collect();
                i += 1;
                Token::Quoted(quoted)
            } else {
                let matches = |s: &&&str| s.chars().enumerate().all(|(k, s)| get(i + k) == s);
                let Some(symbol) = SYMBOLS.iter().find(matches) else {
                    let message = format!("unexpected character `{}`", c.escape_default());
                    return Err(ParseError { line, column, message });
                };
                i += symbol.len();
                Token::Symbol(symbol)
            };
            tokens.push((token, line, column));
        }
        tokens.push((Token::End, line, chars.len().saturating_sub(line_start) + 1));
        Ok(Parser { tokens, at: 0, depth: 0 })
    }

    pub(super) fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    pub(super) fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).map_or(&Token::End, |t| &t.0)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at = (self.at + 1).min(self.tokens.len());
        token
    }

    /// An error at the next token.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        let last = self.tokens.len().saturating_sub(1);
        let (line, column) = self.tokens.get(self.at.min(last)).map_or((1, 1), |t| (t.1, t.2));
        ParseError { line, column, message: message.into() }
    }

    pub(super) fn expected(&self, what: &str) -> ParseError {
        let found = match self.peek() {
            Token::Word(t) | Token::Number(t) => format!("`{t}`"),
            Token::Symbol(s) => format!("`{s}`"),
            Token::Quoted(t) => format!("\"{t}\""),
            Token::Comment(_) => "a comment".to_owned(),
            Token::End => "the end".to_owned(),
        };
        self.error(format!("{what} expected, {found} found"))
    }

    pub(super) fn end(&self) -> Result<(), ParseError> {
        if *self.peek() == Token::End { Ok(()) } else { Err(self.expected("the end")) }
    }

    /// Whether the next token is this symbol.
    pub(super) fn at_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), Token::Symbol(s) if *s == symbol)
    }

    /// Takes a symbol if it is next.
    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = self.at_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<(), ParseError> {
        if self.eat(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Whether the next token is this word.
    pub(super) fn at_word(&self, word: &str) -> bool {
        matches!(self.peek(), Token::Word(w) if w == word)
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = self.at_word(word);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), ParseError> {
        if self.eat_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    /// A word that names something.
    pub(super) fn name(&mut self) -> Result<String, ParseError> {
        match self.peek() {
            Token::Word(w) if crate::is_identifier(w) => {
                let name = w.clone();
                self.at += 1;
                Ok(name)
            }
            _ => Err(self.expected("a name")),
        }
    }

    /// A number without sign or suffix.
    pub(super) fn unsigned(&mut self) -> Result<u64, ParseError> {
        let value = match self.peek() {
            Token::Number(n) => n.parse().ok(),
            _ => None,
        };
        let value = value.ok_or_else(|| self.expected("a whole number"))?;
        self.at += 1;
        Ok(value)
    }

    /// A number that fits a type.
    pub(super) fn small<T: TryFrom<u64>>(&mut self) -> Result<T, ParseError> {
        let error = self.error("the number is too large");
        T::try_from(self.unsigned()?).map_err(|_| error)
    }

    /// Runs `f` one level deeper.
    pub(super) fn nested<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T, ParseError>) -> Result<T, ParseError> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(format!("nested deeper than {MAX_DEPTH}")));
        }
        self.depth += 1;
        let result = f(self);
        self.depth -= 1;
        result
    }

    /// Items with commas between them, up to a closing symbol.
    pub(super) fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Result<T, ParseError>,
    ) -> Result<Vec<T>, ParseError> {
        let mut out = Vec::new();
        while !self.eat(close) {
            if !out.is_empty() {
                self.expect(",")?;
            }
            out.push(item(self)?);
        }
        Ok(out)
    }
}
