//! Watching a compilation: progress, timings, IR between the stages.

use std::fmt::Display;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::CompileError;

/// Is told about each stage. Both functions do nothing by default.
pub trait Observer {
    /// A stage begins. Stages have the names `read`, those of the graph passes, `tune`, `rewrite`, `lower`, `weights`,
    /// `emit`, `package`.
    fn started(&mut self, stage: &str) {
        let _ = stage;
    }

    /// Something goes on within a stage: which of how many parts begins, in words.
    fn progress(&mut self, part: usize, parts: usize, what: &str) {
        let _ = (part, parts, what);
    }

    /// Something that the user should know, and that is no error.
    fn warn(&mut self, message: &str) {
        let _ = message;
    }

    /// A stage is done. `ir` is the text of what it made, printed only where it is formatted. On a break the compilation
    /// ends with [`CompileError::Stopped`].
    fn finished(&mut self, stage: &str, time: Duration, ir: &dyn Display) -> ControlFlow<()> {
        let _ = (stage, time, ir);
        ControlFlow::Continue(())
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Runs a stage between two calls of the observer.
pub(crate) fn stage<T>(
    observer: &mut dyn Observer,
    name: &'static str,
    run: impl FnOnce() -> Result<T, CompileError>,
    ir: impl Fn(&T) -> String,
) -> Result<T, CompileError> {
    observer.started(name);
    let start = Instant::now();
    let made = run()?;
    let time = start.elapsed();
    match observer.finished(name, time, &Lazy(|| ir(&made))) {
        ControlFlow::Continue(()) => Ok(made),
        ControlFlow::Break(()) => Err(CompileError::Stopped { stage: name.to_owned() }),
    }
}

/// Text that is made when it is formatted.
struct Lazy<F>(F);

impl<F: Fn() -> String> Display for Lazy<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&(self.0)())
    }
}
