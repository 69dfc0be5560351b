//! Errors as people see them, and the exit codes.

use std::error::Error;
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

/// Exit code for what is wrong with the input.
const INPUT: u8 = 1;
/// Exit code for wrong usage.
const USAGE: u8 = 2;
/// Exit code for a defect of sparsec (`EX_SOFTWARE` of sysexits.h).
pub(crate) const BUG: u8 = 70;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    message: String,
    help: Option<String>,
}

impl Failure {
    /// Something is wrong with the input. Lines after the first say what to do.
    pub(crate) fn input(message: impl fmt::Display) -> Self {
        Self::new(INPUT, &message.to_string())
    }

    /// Something is wrong with the input, said about a file.
    pub(crate) fn in_file(path: &Path, message: impl fmt::Display) -> Self {
        Self::input(format!("{}: {message}", path.display()))
    }

    /// The command was given arguments that do not make sense.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self::new(USAGE, &message.to_string())
    }

    /// Something that must not happen.
    pub(crate) fn bug(message: impl fmt::Display) -> Self {
        Failure { code: BUG, message: message.to_string(), help: Some(REQUEST.to_owned()) }
    }

    fn new(code: u8, message: &str) -> Self {
        // One sentence and a hint, or a list that is best left together.
        let (message, help) = match message.split_once('\n') {
            Some((first, rest)) if !rest.contains('\n') => (first.to_owned(), Some(rest.trim().to_owned())),
            _ => (message.trim_end().to_owned(), None),
        };
        Failure { code, message, help }
    }

    /// Prints the error; returns the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let theme = match std::io::stderr().is_terminal() {
            true => GraphicalTheme::unicode(),
            false => GraphicalTheme::none(),
        };
        let handler = GraphicalReportHandler::new_themed(theme).with_wrap_lines(false).with_width(10_000);
        let mut text = String::new();
        if handler.render_report(&mut text, &self).is_err() {
            text.clone_from(&self.message);
        }
        eprintln!("{}", text.trim_matches('\n').trim_end());
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }
}

const REQUEST: &str = "This is a bug in sparsec. Please report it, with the command and, if you can, the model.";

/// A panic is a defect: says where it happened and asks for a report.
pub(crate) fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let payload = panic.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let message = text.unwrap_or("no message");
        let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        eprintln!("  x internal error{place}: {message}\n  help: {REQUEST}");
    }));
}
