//! One network: compiled, compared with the interpreter of its graph where that is small, timed.

use sparsec_graph::TensorData;
use sparsec_ptx::Target;
use sparsec_tir::Precision;

use crate::build::build;
use crate::cases::compute_name;
use crate::kernels::{Running, instructions, microseconds};
use crate::networks::Network;
use crate::place::Clock;
use crate::random::Random;
use crate::report;

/// Largest difference from the interpreter, relative to the largest magnitude.
fn tolerance(compute: Option<Precision>) -> f64 {
    match compute {
        None => 1e-4,
        Some(Precision::F16 | Precision::TF32) => 2e-3,
        Some(Precision::BF16) => 2e-2,
    }
}

/// Multiply-adds up to which the interpreter is asked.
const INTERPRETED: u64 = 20_000_000;

/// Runs a network and times it.
pub(crate) fn network<D: Clock>(case: &Network, device: D, gpu: Target) -> Result<report::Network, String> {
    let model = case.model()?;
    let built = build(&model, None, case.compute, gpu).map_err(|e| format!("{}: {e}", case.name))?;
    let (input, output) = (case.input.clone(), case.output.clone());
    let count = input.iter().product::<i64>() as usize;
    let inputs: Vec<Vec<f32>> = (0..4).map(|i| Random::new(7 + i).normal(1.0, count)).collect();
    let mut running = Running::new(&built, device, &inputs, &input, &output)?;
    running.run(0)?;
    let found = running.output(0)?;
    let macs = sparsec_passes::count_macs(&built.graph).dense;
    let error = match macs <= INTERPRETED {
        true => {
            let shape: Vec<usize> = input.iter().map(|&d| d as usize).collect();
            let expected = sparsec_graph::interpret(&built.graph, &[TensorData::f32(&shape, inputs[0].clone())])
                .map_err(|e| e.to_string())?;
            let expected = expected.first().and_then(TensorData::as_f32).ok_or("an output that is no f32")?;
            Some(difference(&found, &expected))
        }
        false => None,
    };
    let finite = found.iter().all(|v| v.is_finite());
    let cost = running.time()?;
    Ok(report::Network {
        name: case.name.clone(),
        pattern: case.pattern.clone(),
        compute: compute_name(case.compute),
        input,
        kernels: built.kernels.len(),
        launches: built.plan.launches.len(),
        predicted_us: built.report.operators.iter().map(|o| o.seconds * 1e6).sum(),
        microseconds: microseconds(cost),
        instructions: instructions(cost),
        error,
        passed: finite && error.is_none_or(|e| e <= tolerance(case.compute)),
    })
}

fn difference(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0f64, |m, v| m.max(f64::from(v.abs())));
    let worst = found.iter().zip(expected).fold(0f64, |m, (a, b)| {
        let d = (f64::from(*a) - f64::from(*b)).abs();
        if d.is_nan() { f64::INFINITY } else { m.max(d) }
    });
    if largest > 0.0 { worst / largest } else { worst }
}
