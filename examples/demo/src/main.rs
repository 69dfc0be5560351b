//! `cargo xtask demo`: compiles the digits networks and a pruned ResNet-50, runs them, and says what that gained.
#![allow(clippy::print_stdout, reason = "this is a command")]

mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sparsec_demo::{
    DemoError, Digits, Measured, Network, Random, accuracy, measure, pictures, report, resnet50, weight_rows,
};
use sparsec_onnx::{PrunePattern, proto};
use sparsec_runtime::Tensor;

/// The demo.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the digits networks and images
    #[arg(long)]
    digits: PathBuf,

    /// Folder for the libraries and the report
    #[arg(long)]
    output: PathBuf,
}

/// How long each comparison is timed.
const LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), DemoError> {
    let output = &arguments.output;
    std::fs::create_dir_all(output).map_err(|e| DemoError::new(output.display(), e))?;
    let mut results = vec![RESULTS.map(str::to_owned).to_vec()];

    println!("Handwritten digits, 8x8 pixels, one image at a time, one thread");
    let files = ["digits_dense", "digits_pruned"].map(|name| arguments.digits.join(format!("{name}.onnx")));
    let mut dense = Network::compile("digits_dense", &files[0], &output.join("digits_dense"), &[("batch", 1)])?;
    let mut pruned = Network::compile("digits_pruned", &files[1], &output.join("digits_pruned"), &[("batch", 1)])?;
    let digits = Digits::read(&arguments.digits)?;
    let accuracies = [accuracy(&mut dense, &digits)?, accuracy(&mut pruned, &digits)?];
    let times = measure(&mut [&mut dense, &mut pruned], &digits.images, LIMIT)?;
    for ((network, accuracy), time) in [&dense, &pruned].into_iter().zip(accuracies).zip(&times) {
        let accuracy = format!("{:.2} % of {}", accuracy * 100.0, digits.images.len());
        results.push(row(network, &accuracy, time, times[0].median_ms));
    }
    for network in [&dense, &pruned] {
        println!("\n{}", network.name);
        text::print_table(&weight_rows(&network.inspection));
    }

    println!("\nResNet-50, random weights, one image of 224x224 pixels, one thread");
    let files = write_resnets(output)?;
    let mut large_dense = Network::compile("resnet50_dense", &files[0], &output.join("resnet50_dense"), &[])?;
    let mut large_pruned = Network::compile("resnet50_pruned", &files[1], &output.join("resnet50_pruned"), &[])?;
    let image = Tensor::from_slice(&[1, 3, 224, 224], &Random::new(1).normal(1.0, 3 * 224 * 224));
    let times = measure(&mut [&mut large_dense, &mut large_pruned], &[image], LIMIT)?;
    for (network, time) in [&large_dense, &large_pruned].into_iter().zip(&times) {
        results.push(row(network, "-", time, times[0].median_ms));
    }
    text::print_table(&text::format_counts(&large_pruned.inspection));

    println!();
    text::print_table(&results);
    let [dense_pictures, pruned_pictures] =
        ["digits_dense", "digits_pruned"].map(|name| pictures(&arguments.digits.join(format!("{name}.onnx"))));
    let (dense_pictures, pruned_pictures) = (dense_pictures?, pruned_pictures?);
    let large_pictures: Vec<_> = pictures(&files[1])?.into_iter().step_by(8).collect();
    let networks = [
        (dense.name.as_str(), &dense.inspection, dense_pictures.as_slice()),
        (pruned.name.as_str(), &pruned.inspection, pruned_pictures.as_slice()),
        (large_pruned.name.as_str(), &large_pruned.inspection, large_pictures.as_slice()),
    ];
    let file = output.join("report.html");
    std::fs::write(&file, report(&results, &networks)).map_err(|e| DemoError::new(file.display(), e))?;
    println!("\nreport: {}", file.display());
    Ok(())
}

const RESULTS: [&str; 8] =
    ["network", "accuracy", "ms (median)", "ms (best)", "gain", "library (.so)", "library (.a)", "compiled in"];

fn row(network: &Network, accuracy: &str, time: &Measured, reference_ms: f64) -> Vec<String> {
    let [shared, archive] = network.library_bytes.map(|bytes| format!("{:.1} kB", bytes as f64 / 1e3));
    vec![
        network.name.clone(),
        accuracy.to_owned(),
        format!("{:.4}", time.median_ms),
        format!("{:.4}", time.min_ms),
        format!("{:.2}x", reference_ms / time.median_ms),
        shared,
        archive,
        format!("{:.1} s", network.compile_time.as_secs_f64()),
    ]
}

/// The network, dense and with 90 % of its weights pruned away.
fn write_resnets(folder: &Path) -> Result<[PathBuf; 2], DemoError> {
    let files = ["resnet50_dense.onnx", "resnet50_pruned.onnx"].map(|name| folder.join(name));
    let mut model = resnet50();
    proto::write(&model, &files[0]).map_err(|e| DemoError::new("resnet50", e))?;
    let pattern = PrunePattern::Unstructured { sparsity: 0.9 };
    sparsec_onnx::prune(&mut model, None, &pattern).map_err(|e| DemoError::new("resnet50", e))?;
    proto::write(&model, &files[1]).map_err(|e| DemoError::new("resnet50", e))?;
    Ok(files)
}
