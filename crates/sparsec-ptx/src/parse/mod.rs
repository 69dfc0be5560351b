//! Reads what [`crate::print_module`] writes: one statement a line, and only the instructions of this crate.
//!
//! It is no parser for PTX at large: it knows neither expressions nor several statements on a line. What it reads is as
//! well-formed as the types demand; [`crate::verify_module`] tells the rest.

mod hopper;
mod instruction;
mod operand;

use crate::{ConstArray, Function, Label, Module, Param, RegClass, SharedArray, Statement, Target, Type};

/// Why a text was not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct ParseError {
    /// From 1.
    pub line: usize,
    /// What is wrong there.
    pub message: String,
}

type Parse<T> = Result<T, String>;

/// Reads a module.
///
/// # Errors
/// At the first line that is none of a module as this crate prints it.
pub fn parse_module(text: &str) -> Result<Module, ParseError> {
    let mut reader = Reader { lines: text.lines().enumerate().collect(), at: 0 };
    module(&mut reader).map_err(|message| ParseError { line: reader.line(), message })
}

/// The lines of a text, one after the other.
struct Reader<'t> {
    lines: Vec<(usize, &'t str)>,
    at: usize,
}

impl<'t> Reader<'t> {
    /// The number of the line that was read last, from 1.
    fn line(&self) -> usize {
        self.at.max(1)
    }

    /// The next line that is not empty, without its indentation.
    fn next(&mut self) -> Option<&'t str> {
        while let Some((_, line)) = self.lines.get(self.at) {
            self.at += 1;
            if !line.trim().is_empty() {
                return Some(line.trim_start());
            }
        }
        None
    }

    fn expect(&mut self, what: &str) -> Parse<&'t str> {
        self.next().ok_or_else(|| format!("the text ends where {what} should follow"))
    }
}

fn comment(line: &str) -> Option<String> {
    line.strip_prefix("//").map(|rest| rest.strip_prefix(' ').unwrap_or(rest).to_owned())
}

fn module(reader: &mut Reader<'_>) -> Parse<Module> {
    let mut out = Module::new(Target::Sm80);
    let mut line = reader.expect("a version")?;
    while let Some(text) = comment(line) {
        out.comments.push(text);
        line = reader.expect("a version")?;
    }
    let version = line.trim_end().strip_prefix(".version ").and_then(|v| v.split_once('.'));
    let version = version.and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    out.version = version.ok_or("a line `.version MAJOR.MINOR` should stand here")?;
    let target = reader.expect("a target")?.trim_end().strip_prefix(".target ").and_then(Target::from_name);
    out.target = target.ok_or("a line `.target` with sm_80 or sm_90a should stand here")?;
    if reader.expect("the size of addresses")?.trim_end() != ".address_size 64" {
        return Err("a line `.address_size 64` should stand here".to_owned());
    }
    let mut comments = Vec::new();
    while let Some(line) = reader.next() {
        if let Some(text) = comment(line) {
            comments.push(text);
        } else if let Some(rest) = line.strip_prefix(".visible .entry ") {
            let mut f = Function::new(rest.trim_end().trim_end_matches(')').trim_end_matches('('));
            f.comments = std::mem::take(&mut comments);
            let closed = rest.trim_end().ends_with(')');
            function(reader, &mut f, &out, closed)?;
            out.functions.push(f);
        } else if let Some(rest) = line.strip_prefix(".shared ") {
            let (align, name, bytes, _) = array(rest)?;
            let bytes = Some(bytes.ok_or("a shared array needs a size, or `.extern`")?);
            out.shared.push(SharedArray { name, align, bytes });
        } else if let Some(rest) = line.strip_prefix(".extern .shared ") {
            let (align, name, bytes, _) = array(rest)?;
            if bytes.is_some() {
                return Err("an `.extern` array has no size".to_owned());
            }
            out.shared.push(SharedArray { name, align, bytes: None });
        } else if let Some(rest) = line.strip_prefix(".const ") {
            let (align, name, count, bytes) = array(rest)?;
            if count != u32::try_from(bytes.len()).ok() {
                return Err(format!("the array `{name}` has another size than its contents"));
            }
            out.constants.push(ConstArray { name, align, bytes });
        } else {
            return Err(format!("`{}` is no declaration", line.trim_end()));
        }
    }
    if !comments.is_empty() {
        return Err("comments without a function below them".to_owned());
    }
    Ok(out)
}

/// `.align 16 .b8 name[12] = {1, 2};`
fn array(text: &str) -> Parse<(u32, String, Option<u32>, Vec<u8>)> {
    let read = || {
        let text = text.trim_end().strip_suffix(';')?;
        let (text, contents) = text.split_once(" = ").unwrap_or((text, "{}"));
        let (align, rest) = text.strip_prefix(".align ")?.split_once(" .b8 ")?;
        let (name, size) = rest.strip_suffix(']')?.split_once('[')?;
        let size = if size.is_empty() { None } else { Some(size.parse().ok()?) };
        let contents = contents.strip_prefix('{')?.strip_suffix('}')?;
        let bytes = contents.split(',').map(str::trim).filter(|b| !b.is_empty()).map(|b| b.parse::<u8>().ok());
        Some((align.parse().ok()?, name.to_owned(), size, bytes.collect::<Option<Vec<u8>>>()?))
    };
    read().ok_or_else(|| format!("`{}` is no declaration of an array of `.b8`", text.trim_end()))
}

fn function(reader: &mut Reader<'_>, f: &mut Function, module: &Module, closed: bool) -> Parse<()> {
    let mut closed = closed;
    while !closed {
        let line = reader.expect("a parameter")?.trim_end();
        let (line, last) = match line.strip_suffix(')') {
            Some(line) => (line, true),
            None => (line.strip_suffix(',').ok_or("a `,` or `)` should follow a parameter")?, false),
        };
        let param = line.strip_prefix(".param .").and_then(|p| p.split_once(' '));
        let param = param.and_then(|(ty, name)| Some(Param { name: name.to_owned(), ty: Type::from_name(ty)? }));
        f.params.push(param.ok_or_else(|| format!("`{line}` is no parameter"))?);
        closed = last;
    }
    loop {
        let line = reader.expect("`{`")?.trim_end();
        let number = |n: &str| n.parse().map_err(|_| format!("`{n}` is no number"));
        if line == "{" {
            break;
        } else if let Some(n) = line.strip_prefix(".maxntid ").and_then(|n| n.strip_suffix(", 1, 1")) {
            f.max_threads = Some(number(n)?);
        } else if let Some(n) = line.strip_prefix(".minnctapersm ") {
            f.min_blocks = Some(number(n)?);
        } else {
            return Err(format!("`{line}` is no directive of a function"));
        }
    }
    loop {
        let line = reader.expect("`}`")?;
        if let Some(text) = comment(line) {
            f.body.push(Statement::Comment(text));
            continue;
        }
        let line = line.trim_end();
        if line == "}" {
            return Ok(());
        }
        if let Some(label) = line.strip_suffix(':') {
            f.body.push(Statement::Label(parse_label(label)?));
            continue;
        }
        let Some(line) = line.strip_suffix(';') else {
            return Err(format!("`{line}` has no `;` at its end"));
        };
        if let Some(rest) = line.strip_prefix(".reg .") {
            registers(f, rest).ok_or_else(|| format!("`{line}` declares no registers"))?;
        } else {
            let statement = instruction::statement(line, module, f)?;
            f.body.push(statement);
        }
    }
}

/// `f32 %f<12>`
fn registers(f: &mut Function, text: &str) -> Option<()> {
    let (class, rest) = text.split_once(" %")?;
    let class = RegClass::from_name(class)?;
    let count = rest.strip_prefix(class.prefix())?.strip_prefix('<')?.strip_suffix('>')?;
    *f.registers.get_mut(class) = count.parse().ok()?;
    Some(())
}

fn parse_label(text: &str) -> Parse<Label> {
    let number = text.strip_prefix("$L").and_then(|n| n.parse().ok());
    number.map(Label).ok_or_else(|| format!("`{text}` is no label"))
}
