//! `sparsec calibrate`.

use std::path::PathBuf;

use clap::Args;
use sparsec::{Target, calibrate};

use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// File for the result, which `--machine` reads
    #[arg(short, long, value_name = "FILE", default_value = "machine.json")]
    output: PathBuf,

    /// The CPU that code is made for: native, x86-64-v3, ... It must be able to run here
    #[arg(long, default_value = "native")]
    cpu: String,

    /// Print each kernel that was timed, beside what the result predicts for it
    #[arg(long)]
    samples: bool,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let target = Target::new(None, &arguments.cpu).map_err(Failure::usage)?;
    let bar = indicatif::ProgressBar::new(0);
    let measured = calibrate::calibrate(&target, &mut |number, count, name| {
        bar.set_length(count as u64);
        bar.set_position(number as u64);
        bar.set_message(name.to_owned());
    });
    bar.finish_and_clear();
    let (file, samples) = measured.map_err(Failure::bug)?;
    file.write(&arguments.output).map_err(Failure::input)?;
    let mut text = String::new();
    if arguments.samples {
        let mut rows = vec![["kernel", "us", "predicted us", "ratio"].map(str::to_owned).to_vec()];
        rows.extend(samples.iter().map(|sample| {
            let (measured, predicted) = (sample.seconds * 1e6, file.machine.seconds(&sample.work) * 1e6);
            let ratio = format!("{:.2}", predicted / measured);
            vec![sample.label.clone(), format!("{measured:.1}"), format!("{predicted:.1}"), ratio]
        }));
        text = output::table(&rows) + "\n";
    }
    output::print(&format!(
        "{text}{}, {}\n{} kernels timed, median error of a prediction {:.1} %\n{}\n",
        file.cpu,
        calibrate::describe(&file.machine),
        samples.len(),
        100.0 * file.median_error,
        arguments.output.display(),
    ))
}
