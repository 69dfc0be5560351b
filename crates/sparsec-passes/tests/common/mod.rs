//! Graphs from text, random inputs, and the comparison that every pass must pass.

use std::collections::BTreeMap;

use sparsec_graph::{Bindings, Graph, Symbol, TensorData, interpret, random_data, verify};

/// Results may differ by this much of the output's largest magnitude.
const TOLERANCE: f64 = 1e-5;

/// Outputs whose largest magnitude is below this are what remains when values near 1 cancel: the rounding of those values
/// is then what counts.
const SMALLEST: f64 = 0.05;

/// Runs both graphs on the same random inputs (every symbol 4) and compares all outputs.
pub(crate) fn assert_equivalent(before: &Graph, after: &Graph, seed: u64) -> Result<(), String> {
    verify(after).map_err(|errors| format!("not well-formed: {errors:?}\n{after}"))?;
    let inputs = random_inputs(before, seed);
    let expected = interpret(before, &inputs).map_err(|e| e.to_string())?;
    let found = interpret(after, &inputs).map_err(|e| e.to_string())?;
    if expected.len() != found.len() {
        return Err(format!("{} outputs instead of {}", found.len(), expected.len()));
    }
    for ((name, _), (expected, found)) in before.outputs().iter().zip(expected.iter().zip(&found)) {
        if (expected.dtype, &expected.shape) != (found.dtype, &found.shape) {
            return Err(format!("output {name}: {} instead of {}", found.ty(), expected.ty()));
        }
        let (Some(e), Some(f)) = (expected.as_f32(), found.as_f32()) else {
            if expected.bytes != found.bytes {
                return Err(format!("output {name} differs"));
            }
            continue;
        };
        let largest = e.iter().map(|v| f64::from(v.abs())).fold(0.0, f64::max);
        for (i, (&e, &f)) in e.iter().zip(f.iter()).enumerate() {
            let error = (f64::from(e) - f64::from(f)).abs();
            if error > TOLERANCE * largest.max(SMALLEST) || e.is_nan() != f.is_nan() {
                return Err(format!("output {name}, element {i}: {f} instead of {e} (largest {largest})\n{after}"));
            }
        }
    }
    Ok(())
}

fn random_inputs(graph: &Graph, seed: u64) -> Vec<TensorData> {
    let mut symbols = std::collections::BTreeSet::<Symbol>::new();
    for &input in graph.inputs() {
        graph.ty(input).shape.iter().for_each(|d| d.collect_symbols(&mut symbols));
    }
    let bindings: Bindings = symbols.into_iter().map(|s| (s, 4)).collect::<BTreeMap<_, _>>();
    let extent = |d: &sparsec_graph::Dim| d.eval(&bindings).expect("every symbol has a value") as usize;
    let tensor = |(i, &input): (usize, &sparsec_graph::ValueId)| {
        let shape: Vec<usize> = graph.ty(input).shape.iter().map(extent).collect();
        random_data(graph.ty(input).dtype, &shape, seed.wrapping_add(i as u64), 1.0)
    };
    graph.inputs().iter().enumerate().map(tensor).collect()
}
