//! Text to tokens. One token is looked ahead.

use std::fmt;

use super::{ParseError, Parsed};

/// A token. Numbers carry their text and have no sign: `-` is punctuation.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A word.
    Ident(&'a str),
    /// A decimal number.
    Number(&'a str),
    /// `0x...`.
    Hex(u64),
    /// A string, unescaped.
    String(String),
    /// `%3`.
    Value(u32),
    /// `$3`.
    Arg(u32),
    /// Any other character.
    Punct(char),
    /// The end of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Ident(text) | Token::Number(text) => write!(f, "`{text}`"),
            Token::Hex(value) => write!(f, "`{value:#x}`"),
            Token::String(text) => write!(f, "the string {}", crate::text::Quoted(text)),
            Token::Value(n) => write!(f, "`%{n}`"),
            Token::Arg(n) => write!(f, "`${n}`"),
            Token::Punct(c) => write!(f, "`{}`", c.escape_debug()),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the text after `ahead` starts.
    offset: usize,
    ahead: Token<'a>,
    /// Where `ahead` starts.
    ahead_at: usize,
    /// Where the token that was taken last starts.
    last_at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Parsed<Self> {
        let mut lexer = Lexer { text, offset: 0, ahead: Token::End, ahead_at: 0, last_at: 0 };
        lexer.next()?;
        Ok(lexer)
    }

    pub(super) fn peek(&self) -> &Token<'a> {
        &self.ahead
    }

    /// Takes the next token.
    pub(super) fn next(&mut self) -> Parsed<Token<'a>> {
        self.skip_blanks();
        let start = self.offset;
        let token = self.scan(start)?;
        self.last_at = std::mem::replace(&mut self.ahead_at, start);
        Ok(std::mem::replace(&mut self.ahead, token))
    }

    /// Takes the next token where it is this one.
    pub(super) fn eat(&mut self, token: Token<'_>) -> Parsed<bool> {
        let found = self.ahead == token;
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, token: Token<'_>) -> Parsed<()> {
        if self.eat(token.clone())? { Ok(()) } else { Err(self.unexpected(&token.to_string())) }
    }

    pub(super) fn keyword(&mut self, word: &str) -> Parsed<()> {
        self.expect(Token::Ident(word))
    }

    pub(super) fn ident(&mut self) -> Parsed<&'a str> {
        match self.ahead {
            Token::Ident(text) => {
                self.next()?;
                Ok(text)
            }
            _ => Err(self.unexpected("a word")),
        }
    }

    pub(super) fn string(&mut self) -> Parsed<String> {
        match &self.ahead {
            Token::String(text) => {
                let text = text.clone();
                self.next()?;
                Ok(text)
            }
            _ => Err(self.unexpected("a string")),
        }
    }

    /// A format such as `csr` or `bsr<4,1>`: a word, and what follows it between angle brackets.
    pub(super) fn format_text(&mut self) -> Parsed<String> {
        let mut text = self.ident()?.to_owned();
        let mut depth = 0;
        loop {
            match &self.ahead {
                Token::Punct('<') => depth += 1,
                Token::Punct('>') if depth > 0 => depth -= 1,
                _ if depth == 0 => return Ok(text),
                Token::Ident(_) | Token::Number(_) | Token::Punct(',') => {}
                _ => return Err(self.unexpected("the rest of a format")),
            }
            let token = self.next()?;
            match token {
                Token::Ident(part) | Token::Number(part) => text.push_str(part),
                Token::Punct(c) => text.push(c),
                _ => {}
            }
            if depth == 0 {
                return Ok(text);
            }
        }
    }

    /// The text between the brace that is next and the one that closes it. It is in another language than the graph's, of
    /// which only braces and line comments are looked at.
    pub(super) fn braces(&mut self) -> Parsed<&'a str> {
        let start = self.ahead_at;
        if self.ahead != Token::Punct('{') {
            return Err(self.unexpected("`{`"));
        }
        let text = &self.text[start..];
        let (mut depth, mut at) = (0usize, 0);
        for line in text.split_inclusive('\n') {
            let code = line.find("//").map_or(line, |comment| &line[..comment]);
            for (i, c) in code.char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' if depth <= 1 => {
                        let end = at + i + 1;
                        self.offset = start + end;
                        self.next()?;
                        return Ok(&text[1..end - 1]);
                    }
                    '}' => depth -= 1,
                    _ => {}
                }
            }
            at += line.len();
        }
        Err(self.error_at(start, "a brace without its end"))
    }

    /// Where the next token starts.
    pub(super) fn place(&self) -> usize {
        self.ahead_at
    }

    /// An error at the token that was taken last.
    pub(super) fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.last_at, message)
    }

    /// An error at the next token.
    pub(super) fn unexpected(&self, expected: &str) -> ParseError {
        self.error_at(self.ahead_at, format!("expected {expected}, found {}", self.ahead))
    }

    pub(super) fn error_at(&self, place: usize, message: impl Into<String>) -> ParseError {
        let before = self.text.get(..place).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        ParseError {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            message: message.into(),
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.offset..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start();
            self.offset += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.offset += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    /// Takes the longest prefix of such bytes, all of them ASCII.
    fn take(&mut self, accept: impl Fn(u8) -> bool) -> &'a str {
        let rest = self.rest();
        let len = rest.bytes().take_while(|&b| accept(b)).count();
        self.offset += len;
        &rest[..len]
    }

    fn scan(&mut self, start: usize) -> Parsed<Token<'a>> {
        let Some(c) = self.rest().chars().next() else {
            return Ok(Token::End);
        };
        match c {
            'a'..='z' | 'A'..='Z' | '_' => Ok(Token::Ident(self.take(|b| b.is_ascii_alphanumeric() || b == b'_'))),
            '0'..='9' => self.scan_number(start),
            '%' | '$' => {
                self.offset += 1;
                let digits = self.take(|b| b.is_ascii_digit());
                let number =
                    digits.parse().map_err(|_| self.error_at(start, format!("expected a number after `{c}`")))?;
                Ok(if c == '%' { Token::Value(number) } else { Token::Arg(number) })
            }
            '"' => self.scan_string(start),
            c => {
                self.offset += c.len_utf8();
                Ok(Token::Punct(c))
            }
        }
    }

    fn scan_number(&mut self, start: usize) -> Parsed<Token<'a>> {
        if let Some(digits) = self.rest().strip_prefix("0x") {
            self.offset += 2;
            let len = self.take(|b| b.is_ascii_hexdigit()).len();
            return u64::from_str_radix(&digits[..len], 16)
                .map(Token::Hex)
                .map_err(|_| self.error_at(start, "expected a number of at most 64 bits after `0x`"));
        }
        self.take(|b| b.is_ascii_digit());
        if self.rest().starts_with('.') {
            self.offset += 1;
            self.take(|b| b.is_ascii_digit());
        }
        let mark = self.offset;
        if self.rest().starts_with(['e', 'E']) {
            self.offset += 1;
            if self.rest().starts_with(['+', '-']) {
                self.offset += 1;
            }
            if self.take(|b| b.is_ascii_digit()).is_empty() {
                self.offset = mark;
            }
        }
        Ok(Token::Number(&self.text[start..self.offset]))
    }

    fn scan_string(&mut self, start: usize) -> Parsed<Token<'a>> {
        let mut string = String::new();
        let mut chars = self.text[start + 1..].char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.offset = start + 1 + i + 1;
                    return Ok(Token::String(string));
                }
                '\\' => {
                    let escaped = match chars.next().map(|(_, c)| c) {
                        Some('n') => Some('\n'),
                        Some('t') => Some('\t'),
                        Some(c @ ('"' | '\\')) => Some(c),
                        Some('u') => {
                            let code: String = chars
                                .by_ref()
                                .map(|(_, c)| c)
                                .skip_while(|&c| c == '{')
                                .take_while(|&c| c != '}')
                                .take(9)
                                .collect();
                            u32::from_str_radix(&code, 16).ok().and_then(char::from_u32)
                        }
                        _ => None,
                    };
                    let place = start + 1 + i;
                    string.push(escaped.ok_or_else(|| self.error_at(place, "unknown escape in a string"))?);
                }
                c => string.push(c),
            }
        }
        Err(self.error_at(start, "a string without its end"))
    }
}
