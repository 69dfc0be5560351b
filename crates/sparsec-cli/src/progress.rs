//! Shows how a compilation goes on, and prints IR where it is asked for.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sparsec::{CompileError, Observer};

use crate::failure::Failure;
use crate::output;

/// Looking into the compiler.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct DumpArguments {
    /// Print the IR after this stage or pass (repeatable): read, a pass, rewrite, lower, emit
    #[arg(long, value_name = "PASS")]
    pub(crate) print_after: Vec<String>,

    /// Print the IR after this stage or pass, and end there
    #[arg(long, value_name = "PASS")]
    pub(crate) stop_after: Option<String>,

    /// Print how long each stage took
    #[arg(long)]
    pub(crate) timings: bool,
}

/// A progress bar on a terminal; none in a pipe.
pub(crate) struct Progress<'a> {
    bar: ProgressBar,
    dumps: &'a DumpArguments,
    times: Vec<(String, Duration)>,
    failure: Option<Failure>,
}

impl<'a> Progress<'a> {
    /// Watches a compilation of so many stages.
    pub(crate) fn new(dumps: &'a DumpArguments) -> Result<Self, Failure> {
        let known = sparsec::stage_names();
        for name in dumps.print_after.iter().chain(&dumps.stop_after) {
            if !known.contains(&name.as_str()) {
                let mut listed = BTreeSet::new();
                let known: Vec<&str> = known.into_iter().filter(|name| listed.insert(*name)).collect();
                return Err(Failure::usage(format!("there is no stage `{name}`; the stages are {}", known.join(", "))));
            }
        }
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(Some(known.len() as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{elapsed:>4} [{bar:24}] {msg}") {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Ok(Progress { bar, dumps, times: Vec::new(), failure: None })
    }

    /// What came of the compilation; `None` where it was told to stop early.
    pub(crate) fn finish<T>(mut self, result: Result<T, CompileError>) -> Result<Option<T>, Failure> {
        self.bar.finish_and_clear();
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        if self.dumps.timings {
            for (stage, time) in &self.times {
                eprintln!("{:>10.3} ms  {stage}", time.as_secs_f64() * 1e3);
            }
        }
        match result {
            Ok(made) => Ok(Some(made)),
            Err(CompileError::Stopped { .. }) => Ok(None),
            Err(error) if error.is_bug() => Err(Failure::bug(error)),
            Err(error) => Err(Failure::input(error)),
        }
    }
}

impl Observer for Progress<'_> {
    fn started(&mut self, stage: &str) {
        self.bar.set_message(stage.to_owned());
    }

    fn progress(&mut self, part: usize, parts: usize, what: &str) {
        self.bar.set_message(format!("tune {} of {parts}: {what}", part + 1));
    }

    fn warn(&mut self, message: &str) {
        self.bar.suspend(|| eprintln!("warning: {message}"));
    }

    fn finished(&mut self, stage: &str, time: Duration, ir: &dyn Display) -> ControlFlow<()> {
        self.bar.inc(1);
        self.times.push((stage.to_owned(), time));
        let stop = self.dumps.stop_after.as_deref() == Some(stage);
        if stop || self.dumps.print_after.iter().any(|name| name == stage) {
            let text = match stop {
                true => ir.to_string(),
                false => format!("// after {stage}\n{ir}"),
            };
            let printed = self.bar.suspend(|| output::print(&text));
            self.failure = printed.err();
        }
        if stop || self.failure.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
