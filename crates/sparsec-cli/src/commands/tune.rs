//! `sparsec tune`.

use std::path::PathBuf;

use clap::Args;
use sparsec::ModelSource;

use crate::failure::Failure;
use crate::options::{ModelArguments, TuneArguments};
use crate::output;
use crate::progress::{DumpArguments, Progress};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// File for the result, which `--tuning` reads
    #[arg(short, long, value_name = "FILE", default_value = "tuning.json")]
    output: PathBuf,

    #[command(flatten)]
    how: TuneArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut options = arguments.model.library_options()?;
    options.tune = Some(arguments.how.options());
    let dumps = DumpArguments::default();
    let mut progress = Progress::new(&dumps)?;
    let source = ModelSource::File(arguments.model.model.clone());
    let result = sparsec::tune(&source, &options, &mut progress);
    let Some(tuning) = progress.finish(result)? else { return Ok(()) };
    tuning.write(&arguments.output).map_err(Failure::input)?;
    let mut rows = vec![["layer", "format", "schedule", "us", "untuned us", "timed"].map(str::to_owned).to_vec()];
    rows.extend(tuning.layers.iter().map(|layer| {
        let number = |us: Option<f64>| us.map_or(String::new(), |us| format!("{us:.1}"));
        vec![
            layer.node.clone(),
            layer.format.clone(),
            layer.schedule.clone().unwrap_or_default(),
            number(layer.us()),
            number(layer.timings.first().map(|t| t.us)),
            layer.timings.len().to_string(),
        ]
    }));
    output::print(&format!("{}{}\n", output::table(&rows), arguments.output.display()))
}
