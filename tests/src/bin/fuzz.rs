//! Feeds damaged models to the `sparsec` command: `cargo xtask fuzz --count 2000`.
//!
//! Each must end with exit code 1, or 0 where the damage is harmless, within the limits of [`sparsec_tests::limited`].
//! Files that do otherwise are kept.
#![allow(clippy::print_stdout, reason = "this is a command")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::Parser;
use sparsec_onnx::proto::ModelProto;
use sparsec_tests::limited::{self, Ending};
use sparsec_tests::mutate::{Damage, mutate};
use sparsec_tests::{models, playground};

/// Damaged models.
#[derive(Debug, Parser)]
struct Arguments {
    /// The `sparsec` binary
    #[arg(long)]
    sparsec: PathBuf,

    /// Number of files
    #[arg(long, default_value_t = 2000)]
    count: u64,

    /// Number of the first file
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Folder for files that fail
    #[arg(long, default_value = "target/fuzz")]
    keep: PathBuf,
}

/// Refused, accepted and failed files of one kind of damage.
#[derive(Clone, Copy, Debug, Default)]
struct Counts([u64; 3]);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> std::io::Result<u64> {
    let victims: Vec<ModelProto> = models::all().into_iter().map(|(_, model)| model).collect();
    let next = AtomicU64::new(0);
    let counts: Mutex<BTreeMap<Damage, Counts>> = Mutex::new(BTreeMap::new());
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
    let results: Vec<std::io::Result<()>> = std::thread::scope(|scope| {
        let work = || -> std::io::Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= arguments.count {
                    return Ok(());
                }
                let (damage, column) = one(arguments, arguments.seed + number, &victims)?;
                if let Ok(mut counts) = counts.lock() {
                    counts.entry(damage).or_default().0[column] += 1;
                }
            }
        };
        let handles: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|_| Err(std::io::Error::other("a worker panicked"))))
            .collect()
    });
    results.into_iter().collect::<std::io::Result<()>>()?;
    let counts = counts.into_inner().unwrap_or_default();
    println!("{:15} {:>8} {:>8} {:>8}", "damage", "refused", "accepted", "failed");
    let mut sum = [0; 3];
    for (damage, Counts(row)) in &counts {
        println!("{:15} {:>8} {:>8} {:>8}", damage.to_string(), row[0], row[1], row[2]);
        sum.iter_mut().zip(row).for_each(|(sum, n)| *sum += n);
    }
    println!("{:15} {:>8} {:>8} {:>8}", "all", sum[0], sum[1], sum[2]);
    Ok(sum[2])
}

/// Runs one file; returns its damage and the column that it counts in.
fn one(arguments: &Arguments, seed: u64, victims: &[ModelProto]) -> std::io::Result<(Damage, usize)> {
    let (damage, bytes) = mutate(seed, victims);
    let folder = tempfile::TempDir::with_prefix("sparsec-fuzz-")?;
    let model = playground(folder.path(), &bytes)?;
    let output = folder.path().join("out");
    let command = ["compile".as_ref(), model.as_os_str(), "--output".as_ref(), output.as_os_str()];
    let outcome = limited::run(&arguments.sparsec, &command)?;
    let column = match outcome.ending {
        Ending::Code(1) => 0,
        Ending::Code(0) => 1,
        _ => {
            let kept = keep(&arguments.keep, seed, damage, &bytes)?;
            let first = outcome.errors.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
            println!("FAIL {damage} {seed}: {:?}: {} {}", outcome.ending, kept.display(), first.trim());
            2
        }
    };
    Ok((damage, column))
}

fn keep(folder: &Path, seed: u64, damage: Damage, bytes: &[u8]) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let file = folder.join(format!("{damage}-{seed}.onnx"));
    std::fs::write(&file, bytes)?;
    Ok(file)
}
