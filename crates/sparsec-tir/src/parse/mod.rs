//! Reads the text form that [`print_kernel`](crate::print_kernel) and [`print_coordinate`](crate::print_coordinate)
//! write; its grammar stands there.
//!
//! ```
//! use sparsec_tir::{parse_kernel, print_kernel};
//!
//! let text = "\
//! kernel double position (n) {
//!   input x: f32[n]
//!   output y: f32[n]
//!   for i in 0..n {
//!     y[i] = x[i] * 2.0
//!   }
//! }
//! ";
//! assert_eq!(print_kernel(&parse_kernel(text).unwrap()), text);
//! assert_eq!(parse_kernel("kernel 3").unwrap_err().to_string(), "1:8: a name expected, `3` found");
//! ```
//!
//! The parser checks names and syntax; the verifier checks the rest. White space and line breaks mean nothing, but that
//! a comment ends with its line.

mod coordinate;
mod expr;
mod kernel;
mod lex;

use crate::{CoordinateKernel, Kernel};
use lex::{Parser, Token};

/// Where and why a text is no kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

/// A kernel of any stage.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyKernel {
    /// Stage I.
    Coordinate(CoordinateKernel),
    /// Stage II or III.
    Kernel(Kernel),
}

/// Reads a kernel of Stage II or III.
///
/// # Errors
/// When the text is not exactly one such kernel.
pub fn parse_kernel(text: &str) -> Result<Kernel, ParseError> {
    let mut p = Parser::new(text)?;
    let kernel = p.any_kernel()?;
    p.end()?;
    match kernel {
        AnyKernel::Kernel(k) => Ok(k),
        AnyKernel::Coordinate(_) => Err(p.error("a kernel of stage `position` or `flat` expected")),
    }
}

/// Reads a kernel of Stage I.
///
/// # Errors
/// When the text is not exactly one such kernel.
pub fn parse_coordinate(text: &str) -> Result<CoordinateKernel, ParseError> {
    let mut p = Parser::new(text)?;
    let kernel = p.any_kernel()?;
    p.end()?;
    match kernel {
        AnyKernel::Coordinate(k) => Ok(k),
        AnyKernel::Kernel(_) => Err(p.error("a kernel of stage `coordinate` expected")),
    }
}

/// Reads any number of kernels of any stages.
///
/// # Errors
/// When the text is something else.
pub fn parse_kernels(text: &str) -> Result<Vec<AnyKernel>, ParseError> {
    let mut p = Parser::new(text)?;
    let mut out = Vec::new();
    while *p.peek() != Token::End {
        out.push(p.any_kernel()?);
    }
    Ok(out)
}
