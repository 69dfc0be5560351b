//! ONNX's operator tests: `cargo xtask node-tests`. See [`sparsec_tests::conformance`].
#![allow(clippy::print_stdout, reason = "this is a command")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sparsec_tests::conformance::list::{self, List, Standing};
use sparsec_tests::conformance::pool::{self, Options};
use sparsec_tests::conformance::summary::{Summary, failures};
use sparsec_tests::conformance::worker::Way;
use sparsec_tests::conformance::{Report, case, document, worker};

/// Runs ONNX's operator tests.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder that holds `node`, `simple`, ...
    #[arg(long)]
    data: PathBuf,

    /// Only cases whose name holds one of these; says of each why it fails
    #[arg(long)]
    filter: Vec<String>,

    /// In the graph interpreter alone
    #[arg(long)]
    interpret: bool,

    /// Compiled for a GPU, and run on a simulated one: all cases but the networks of `light`, which take too long
    #[arg(long, conflicts_with = "interpret")]
    simulate: bool,

    /// Write the list of cases that do not pass instead of checking it
    #[arg(long)]
    update: bool,

    /// The list of cases that do not pass [default: tests/onnx_node_tests.toml; of a simulated GPU,
    /// tests/onnx_node_tests_cuda.toml]
    #[arg(long)]
    list: Option<PathBuf>,

    /// The table of operators
    #[arg(long, default_value = "docs/operators.md")]
    docs: PathBuf,

    /// Write the failures with their messages here, by reason
    #[arg(long)]
    failures: Option<PathBuf>,

    /// Number of processes
    #[arg(long, default_value_t = 2)]
    workers: usize,

    /// Take cases from standard input
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.worker {
        true => worker::serve(&arguments.data, arguments.way()).map(|()| true),
        false => run(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("node-tests: {message}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn way(&self) -> Way {
        match (self.interpret, self.simulate) {
            (true, _) => Way::Interpreted,
            (_, true) => Way::Simulated,
            _ => Way::Native,
        }
    }

    fn list(&self) -> PathBuf {
        let usual = if self.simulate { "tests/onnx_node_tests_cuda.toml" } else { "tests/onnx_node_tests.toml" };
        self.list.clone().unwrap_or_else(|| usual.into())
    }
}

fn run(arguments: &Arguments) -> Result<bool, String> {
    let start = Instant::now();
    let mut all = case::all(&arguments.data).map_err(|e| format!("{}: {e}", arguments.data.display()))?;
    if arguments.simulate {
        all.retain(|case| !case.starts_with("light/"));
    }
    let wanted = |case: &String| arguments.filter.is_empty() || arguments.filter.iter().any(|f| case.contains(f));
    let mut cases: Vec<String> = all.iter().filter(|case| wanted(case)).cloned().collect();
    // The networks take longest.
    cases.sort_by_key(|case| !case.starts_with("light/"));
    let options = Options { data: arguments.data.clone(), way: arguments.way(), workers: arguments.workers };
    let reports = pool::run(&cases, &options, &|_| ())?;
    let failures = failures(&reports);
    if !arguments.filter.is_empty() {
        print!("{failures}");
    }
    if let Some(file) = &arguments.failures {
        std::fs::write(file, &failures).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    print!("{}", Summary::of(&reports));
    println!("{} cases in {:.0} s", reports.len(), start.elapsed().as_secs_f64());
    if arguments.update {
        return update(arguments, reports);
    }
    let file = arguments.list();
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let list = List::parse(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let right = check(&list, &all, &reports);
    if !arguments.filter.is_empty() || arguments.interpret || arguments.simulate {
        return Ok(right);
    }
    let found = std::fs::read_to_string(&arguments.docs).map_err(|e| format!("{}: {e}", arguments.docs.display()))?;
    if found != document::print(&reports) {
        println!("CHANGED {}: `cargo xtask node-tests --update` writes it anew", arguments.docs.display());
        return Ok(false);
    }
    Ok(right)
}

/// Writes the list.
fn update(arguments: &Arguments, mut reports: Vec<Report>) -> Result<bool, String> {
    if !arguments.filter.is_empty() || arguments.interpret {
        return Err("`--update` takes a run of all cases in both ways".to_owned());
    }
    reports.sort_by(|a, b| a.case.cmp(&b.case));
    let file = arguments.list();
    let text = list::print(&reports, if arguments.simulate { list::HEAD_SIMULATED } else { list::HEAD });
    std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
    if arguments.simulate {
        println!("wrote {}", file.display());
        return Ok(true);
    }
    let text = document::print(&reports);
    std::fs::write(&arguments.docs, text).map_err(|e| format!("{}: {e}", arguments.docs.display()))?;
    println!("wrote {} and {}", file.display(), arguments.docs.display());
    Ok(true)
}

/// Whether all cases do as the list has it; says which do not.
fn check(list: &List, all: &[String], reports: &[Report]) -> bool {
    let mut right = true;
    for case in list.unknown(all) {
        println!("LISTED {case}: there is no such case");
        right = false;
    }
    for report in reports {
        let known = list.standing(&report.case);
        let found = Standing::of(report, known);
        if found != known {
            let why = report.native.as_ref().filter(|n| !n.passed()).unwrap_or(&report.interpreted).group();
            println!("CHANGED {}: {} (listed: {}) {why}", report.case, found.text(), known.text());
            right = false;
        }
    }
    if !right {
        println!("`cargo xtask node-tests --update` writes the list anew; `--filter NAME` says why a case fails");
    }
    right
}
