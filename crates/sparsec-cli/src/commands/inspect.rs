//! `sparsec inspect`.

use clap::Args;
use sparsec::inspect::{Inspection, WeightReport};
use sparsec::{Backend, ModelSource};

use crate::failure::Failure;
use crate::options::ModelArguments;
use crate::output;
use crate::progress::{DumpArguments, Progress};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    model: ModelArguments,

    /// Print everything as JSON
    #[arg(long)]
    json: bool,

    /// Print the candidates of each weight
    #[arg(long)]
    candidates: bool,

    #[command(flatten)]
    dumps: DumpArguments,
}

pub(crate) fn run(arguments: Arguments) -> Result<(), Failure> {
    let options = arguments.model.options()?;
    let mut progress = Progress::new(&arguments.dumps)?;
    let source = ModelSource::File(arguments.model.model.clone());
    let outcome = sparsec::inspect(&source, &options, &mut progress);
    let Some(inspection) = progress.finish(outcome)? else {
        return Ok(());
    };
    if arguments.json {
        let text = serde_json::to_string_pretty(&inspection).map_err(Failure::bug)?;
        return output::print(&(text + "\n"));
    }
    let place = match &options.target {
        Backend::Cuda(gpu) => format!("a GPU of {gpu}, by its data sheet"),
        _ => "one thread".to_owned(),
    };
    output::print(&render(&inspection, &place, arguments.candidates))
}

/// `place` is what times are predicted for.
fn render(inspection: &Inspection, place: &str, candidates: bool) -> String {
    let header = [
        "tensor",
        "outputs",
        "inputs",
        "N",
        "pattern",
        "density",
        "arithmetic",
        "format",
        "bytes",
        "ms",
        "measured",
        "why",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for weight in &inspection.weights {
        rows.push(weight_row(weight));
        if candidates {
            rows.extend(weight.candidates.iter().map(|c| {
                let mut row = vec![String::new(); header.len()];
                row[7] = format!("  {}", c.format);
                row[8] = output::bytes(c.bytes);
                row[9] = format!("{:.4}", c.predicted_ms);
                row[10] = measured(c.measured_ms);
                row[11].clone_from(&c.why);
                row
            }));
            if let Some(schedule) = &weight.schedule {
                let mut row = vec![String::new(); header.len()];
                row[11] = format!("kernel: {schedule}");
                rows.push(row);
            }
        }
    }
    output::table(&rows) + &summary(inspection, place)
}

fn weight_row(weight: &WeightReport) -> Vec<String> {
    vec![
        weight.tensor.clone(),
        weight.shape.0.to_string(),
        weight.shape.1.to_string(),
        format!("{:.0}", weight.columns),
        weight.pattern.clone(),
        format!("{:.3}", weight.density),
        weight.arithmetic.clone(),
        weight.chosen.clone(),
        output::bytes(weight.bytes),
        format!("{:.4}", weight.predicted_ms),
        measured(weight.measured_ms),
        weight.reason.clone(),
    ]
}

fn measured(ms: Option<f64>) -> String {
    ms.map_or(String::new(), |ms| format!("{ms:.4}"))
}

fn summary(i: &Inspection, place: &str) -> String {
    let mega = |n: u64| n as f64 / 1e6;
    let share = |n: u64| 100.0 * n as f64 / i.read_macs.max(1) as f64;
    let dims: Vec<String> = i.dims.iter().map(|(name, n)| format!("{name}={n}")).collect();
    let dims = if dims.is_empty() { String::new() } else { format!(", at {}", dims.join(", ")) };
    let arithmetic: Vec<String> = i.arithmetic.iter().map(|(kind, count)| format!("{count} in {kind}")).collect();
    let arithmetic = if arithmetic.is_empty() { "none".to_owned() } else { arithmetic.join("; ") };
    let arena = i.arena_bytes.map_or("depends on the open dimensions".to_owned(), output::bytes);
    let levels: String = i
        .levels
        .iter()
        .map(|level| {
            let same = i.levels.first().is_some_and(|lowest| lowest.formats == level.formats);
            let formats = if same { "the formats above" } else { "other formats: --json names them" };
            format!("{:13} {:.3} ms on one thread, {formats}\n", level.cpu, level.predicted_ms)
        })
        .collect();
    format!(
        "\npredicted     {:.3} ms on {place}{dims}\n\
         multiply-adds {:.1} M in the model, {:.1} M ({:.1} %) without removed channels, {:.1} M ({:.1} %) not by zero\n\
         products      {arithmetic}\n\
         weights       {} in {} tensors\n\
         kernels       {}, launched {} times; {} operators fused, {} transposes ({} before)\n\
         memory        {}\n",
        i.predicted_ms,
        mega(i.read_macs),
        mega(i.dense_macs),
        share(i.dense_macs),
        mega(i.kept_macs),
        share(i.kept_macs),
        output::bytes(i.constant_bytes),
        i.weights.len(),
        i.kernels,
        i.launches,
        i.fused,
        i.transposes.1,
        i.transposes.0,
        arena,
    ) + &levels
}
