//! Inference and the interpreter agree: a random graph's results have the inferred types, under any bindings.

mod common;

use common::random_graph;
use proptest::prelude::*;
use sparsec_graph::{InferError, InterpError, bind_symbols, interpret, random_data};

/// Errors that only the values of the run decide.
fn depends_on_values(error: &InterpError) -> bool {
    match error {
        InterpError::Node { error, .. } => depends_on_values(error),
        InterpError::DivisionByZero | InterpError::Index { .. } => true,
        // A window that is larger than what a symbol turns out to be.
        InterpError::Infer(InferError::Attribute { op: "pool", .. }) => true,
        _ => false,
    }
}

proptest! {
    #[test]
    fn results_have_the_inferred_types(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        sizes in prop::collection::vec(1usize..4, 3),
    ) {
        let graph = random_graph(&bytes);
        let values = [("batch", sizes[0]), ("past + 1", sizes[1]), ("seq", sizes[2])];
        let bindings = values.map(|(s, v)| (sparsec_graph::Symbol::new(s), v as i64)).into_iter().collect();
        let inputs: Vec<_> = graph.inputs().iter().enumerate().map(|(i, &input)| {
            let ty = graph.ty(input);
            let shape: Vec<usize> =
                ty.shape.iter().map(|d| d.eval(&bindings).map_or(0, |v| v as usize)).collect();
            random_data(ty.dtype, &shape, i as u64, 0.7)
        }).collect();
        let shapes: Vec<_> = inputs.iter().map(|t| t.shape.clone()).collect();
        prop_assert_eq!(bind_symbols(&graph, &shapes), Ok(bindings.clone()));
        match interpret(&graph, &inputs) {
            Ok(results) => {
                for ((_, value), result) in graph.outputs().iter().zip(&results) {
                    let ty = graph.ty(*value);
                    let expected: Vec<usize> =
                        ty.shape.iter().map(|d| d.eval(&bindings).map_or(usize::MAX, |v| v as usize)).collect();
                    prop_assert_eq!((result.dtype, &result.shape), (ty.dtype, &expected));
                    prop_assert_eq!(result.bytes.len(), result.elements() * result.dtype.size());
                }
            }
            Err(error) => prop_assert!(depends_on_values(&error), "{}\n{}", error, graph),
        }
    }
}
