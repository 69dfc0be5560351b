//! ONNX's operator tests: `cargo xtask node-tests`. See [`sparsec_tests::conformance`].
#![allow(clippy::print_stdout, reason = "this is a command")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use sparsec_tests::conformance::list::{self, List, Standing};
use sparsec_tests::conformance::pool::{self, Options};
use sparsec_tests::conformance::summary::{Summary, failures};
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

    /// Write the list of cases that do not pass instead of checking it
    #[arg(long)]
    update: bool,

    /// The list of cases that do not pass
    #[arg(long, default_value = "tests/onnx_node_tests.toml")]
    list: PathBuf,

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
        true => worker::serve(&arguments.data, arguments.interpret).map(|()| true),
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

fn run(arguments: &Arguments) -> Result<bool, String> {
    let start = Instant::now();
    let all = case::all(&arguments.data).map_err(|e| format!("{}: {e}", arguments.data.display()))?;
    let wanted = |case: &String| arguments.filter.is_empty() || arguments.filter.iter().any(|f| case.contains(f));
    let mut cases: Vec<String> = all.iter().filter(|case| wanted(case)).cloned().collect();
    // The networks take longest.
    cases.sort_by_key(|case| !case.starts_with("light/"));
    let options =
        Options { data: arguments.data.clone(), interpret_only: arguments.interpret, workers: arguments.workers };
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
    let text = std::fs::read_to_string(&arguments.list).map_err(|e| format!("{}: {e}", arguments.list.display()))?;
    let list = List::parse(&text).map_err(|e| format!("{}: {e}", arguments.list.display()))?;
    let right = check(&list, &all, &reports);
    if !arguments.filter.is_empty() || arguments.interpret {
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
    std::fs::write(&arguments.list, list::print(&reports)).map_err(|e| format!("{}: {e}", arguments.list.display()))?;
    let text = document::print(&reports);
    std::fs::write(&arguments.docs, text).map_err(|e| format!("{}: {e}", arguments.docs.display()))?;
    println!("wrote {} and {}", arguments.list.display(), arguments.docs.display());
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
