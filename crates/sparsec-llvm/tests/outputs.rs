//! Models with many outputs, which is what a model is given to look at what lies between its layers.

use object::{Object, ObjectSymbol};
use sparsec_graph::Graph;
use sparsec_llvm::{EmitOptions, Target, emit};
use sparsec_lower::{TargetInfo, lower};

/// Bytes of the function that runs a model of so many outputs, each of one kernel.
fn run_size(outputs: usize) -> u64 {
    let mut text = "graph @g {\n  input %0 \"x\": f32[n]\n".to_owned();
    for i in 1..=outputs {
        // Alternating, so that no two of them are fused.
        text += &format!("  %{i} = softmax (%{}) axis 0\n", i - 1);
    }
    for i in 1..=outputs {
        text += &format!("  output \"y{i}\" = %{i}\n");
    }
    text += "}";
    let graph: Graph = sparsec_graph::parse(&text).expect("a graph");
    let program = lower(&graph, &TargetInfo::AVX2).expect("lowers").program;
    let target = Target::new(Some("x86_64-unknown-linux-gnu"), "x86-64-v3").expect("known");
    let object = emit(&program, &target, EmitOptions::default()).expect("compiles").object;
    let file = object::File::parse(object.as_slice()).expect("an object");
    let size = |name: &str| file.symbols().find(|s| s.name() == Ok(name)).map_or(0, |s| s.size());
    let run = size("g_run_held");
    assert!(run > 0, "the function has another name");
    run
}

/// Each output must not overlap any other tensor; a run compares them in a loop.
#[test]
fn the_code_of_a_run_grows_with_its_outputs_and_not_with_their_pairs() {
    let (few, many) = (run_size(16), run_size(128));
    assert!(many < 10 * few, "{few} bytes for 16 outputs, {many} for 128");
}
