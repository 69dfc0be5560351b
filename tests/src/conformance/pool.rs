//! Worker processes. Each gets one case at a time, so what a process dies of is known; another takes its place.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use super::worker::Way;
use super::{Report, case, reason};

/// Bytes of address space that a worker may take.
const BYTES: u64 = 6 << 30;

/// Time that a case may take. The longest, VGG-19 in an interpreter without optimisation, takes a good part of it.
const LIMIT: Duration = Duration::from_secs(180);

/// How cases are run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The folder of the folders of cases.
    pub data: PathBuf,
    /// What they are compiled for.
    pub way: Way,
    /// Number of processes.
    pub workers: usize,
}

/// Runs cases; reports come back in their order. `progress` is told each as it is done.
///
/// # Errors
/// Where a worker can't be started.
pub fn run(cases: &[String], options: &Options, progress: &(dyn Fn(&Report) + Sync)) -> Result<Vec<Report>, String> {
    let queue = Mutex::new(cases.iter().enumerate());
    let done: Mutex<Vec<(usize, Report)>> = Mutex::new(Vec::new());
    let work = || -> Result<(), String> {
        let mut worker: Option<Worker> = None;
        loop {
            let next = queue.lock().map_err(|_| "a thread panicked")?.next();
            let Some((index, case)) = next else { return Ok(()) };
            let mut current = match worker.take() {
                Some(worker) => worker,
                None => Worker::start(options)?,
            };
            let report = match current.run(case) {
                Ok(report) => {
                    worker = Some(current);
                    report
                }
                Err(what) => lost(case, &current.end(what), options)?,
            };
            progress(&report);
            done.lock().map_err(|_| "a thread panicked")?.push((index, report));
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..options.workers.max(1)).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| Err("a thread panicked".to_owned())))
    })?;
    let mut done = done.into_inner().map_err(|_| "a thread panicked")?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, report)| report).collect())
}

/// The report of a case that its process was lost with: what the interpreter makes of it is found out by another.
fn lost(name: &str, how: &str, options: &Options) -> Result<Report, String> {
    let outcome = reason::failed(how, "the process was lost");
    if options.way == Way::Interpreted {
        let subject = case::subject(&options.data, name);
        return Ok(Report { case: name.to_owned(), native: None, interpreted: outcome, subject });
    }
    let interpret = Options { way: Way::Interpreted, ..options.clone() };
    let mut worker = Worker::start(&interpret)?;
    let report = match worker.run(name) {
        Ok(report) => report,
        Err(what) => lost(name, &worker.end(what), &interpret)?,
    };
    Ok(Report { native: Some(outcome), ..report })
}

/// A running process.
struct Worker {
    child: Child,
    names: ChildStdin,
    reports: Receiver<String>,
}

/// How a worker was lost.
enum Lost {
    Hung,
    Gone,
}

impl Worker {
    fn start(options: &Options) -> Result<Worker, String> {
        Worker::spawn(options).map_err(|e| format!("cannot start a worker: {e}"))
    }

    fn spawn(options: &Options) -> std::io::Result<Worker> {
        let mut command = Command::new("prlimit");
        command.arg(format!("--as={BYTES}")).arg("--core=0").arg(std::env::current_exe()?);
        command.arg("--worker").arg("--data").arg(Path::new(&options.data));
        match options.way {
            Way::Interpreted => drop(command.arg("--interpret")),
            Way::Simulated => drop(command.arg("--simulate")),
            Way::Native => {}
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let missing = || std::io::Error::other("no pipe");
        let names = child.stdin.take().ok_or_else(missing)?;
        let output = child.stdout.take().ok_or_else(missing)?;
        let (sender, reports) = channel();
        std::thread::spawn(move || {
            // Ends when the process does, or when nobody listens any more.
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Ok(Worker { child, names, reports })
    }

    fn run(&mut self, case: &str) -> Result<Report, Lost> {
        writeln!(self.names, "{case}").and_then(|()| self.names.flush()).map_err(|_| Lost::Gone)?;
        match self.reports.recv_timeout(LIMIT) {
            Ok(line) => serde_json::from_str(&line).map_err(|_| Lost::Gone),
            Err(RecvTimeoutError::Timeout) => Err(Lost::Hung),
            Err(RecvTimeoutError::Disconnected) => Err(Lost::Gone),
        }
    }

    /// Ends the process; says how it ended.
    fn end(mut self, what: Lost) -> String {
        if matches!(what, Lost::Hung) {
            // It may have ended by itself meanwhile.
            let _ = self.child.kill();
        }
        drop(self.names);
        match (self.child.wait(), what) {
            (_, Lost::Hung) => format!("timeout: more than {} s", LIMIT.as_secs()),
            (Ok(status), Lost::Gone) => format!("crash: {status}"),
            (Err(error), Lost::Gone) => format!("crash: {error}"),
        }
    }
}
