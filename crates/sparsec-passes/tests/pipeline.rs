//! The pipeline as a whole: its order, stopping, errors, determinism.

mod common;

use std::ops::ControlFlow;

use sparsec_graph::{Graph, parse};
use sparsec_passes::{Event, PASSES, PIPELINE, PassError, find_pass, run_passes, run_pipeline};

/// A layer of a transformer as exporters write it, half of whose hidden features are pruned.
const LAYER: &str = r#"
graph @layer {
  input %0 "x": f32[batch, seq, 4]
  const %1 "wq": f32[4, 4] random(seed=1, density=0.8)
  const %2 "bq": f32[4] random(seed=2, density=1.0)
  const %3 "wk": f32[4, 4] random(seed=3, density=0.8)
  const %4 "root" = f32[] {1.5}
  const %5 "up" = f32[4, 2] {1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0, 0.0}
  const %6 "bu" = f32[2] {0.5, 0.25}
  const %7 "down": f32[2, 4] random(seed=4, density=1.0)
  const %8 "sqrt2" = f32[] {1.4142135}
  const %9 "one" = f32[] {1.0}
  const %10 "half" = f32[] {0.5}
  const %11 "eps" = f32[] {1e-5}
  const %12 "two" = f32[] {2.0}
  %13 "q" = contract "bsk,km->bsm" (%0, %1)
  %14 = add (%2, %13)
  %15 "k" = contract "bsk,km->bsm" (%0, %3)
  %16 = reshape (%14) to [batch, seq, 2, 2]
  %17 = transpose (%16) perm [0, 2, 1, 3]
  %18 = reshape (%15) to [batch, seq, 2, 2]
  %19 = transpose (%18) perm [0, 2, 1, 3]
  %20 "scores" = contract "bhsd,bhtd->bhst" (%17, %19)
  %21 = div (%20, %4)
  %22 = reduce max (%21) axes [3] keep true
  %23 = sub (%21, %22)
  %24 = exp (%23)
  %25 = reduce sum (%24) axes [3] keep true
  %26 = div (%24, %25)
  %27 = contract "bhst,bhtd->bhsd" (%26, %19)
  %28 = transpose (%27) perm [0, 2, 1, 3]
  %29 = reshape (%28) to [batch, seq, 4]
  %30 = add (%29, %0)
  %31 = reduce mean (%30) axes [2] keep true
  %32 = sub (%30, %31)
  %33 = pow (%32, %12)
  %34 = reduce mean (%33) axes [2] keep true
  %35 = add (%34, %11)
  %36 = sqrt (%35)
  %37 = div (%32, %36)
  %38 "up" = contract "bsk,km->bsm" (%37, %5)
  %39 = add (%38, %6)
  %40 = div (%39, %8)
  %41 = erf (%40)
  %42 = add (%41, %9)
  %43 = mul (%39, %42)
  %44 = mul (%43, %10)
  %45 "down" = contract "bsk,km->bsm" (%44, %7)
  output "y" = %45
}
"#;

fn layer() -> Graph {
    parse(LAYER).unwrap()
}

#[test]
fn a_transformer_layer() {
    let (before, mut after) = (layer(), layer());
    run_pipeline(&mut after, &mut |_| ControlFlow::Continue(())).unwrap();
    insta::assert_snapshot!("transformer_layer", after);
    common::assert_equivalent(&before, &after, 3).unwrap();
    let mut again = layer();
    run_pipeline(&mut again, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(again.to_string(), after.to_string());
}

#[test]
fn the_observer_sees_every_pass_and_can_stop() {
    let mut seen = Vec::new();
    run_pipeline(&mut layer(), &mut |event| {
        match event {
            Event::Before { pass, .. } => seen.push((pass.name, "before")),
            Event::After { pass, .. } => seen.push((pass.name, "after")),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    let expected: Vec<_> = PIPELINE.iter().flat_map(|p| [(p.name, "before"), (p.name, "after")]).collect();
    assert_eq!(seen, expected);

    let mut graph = layer();
    let mut count = 0;
    run_pipeline(&mut graph, &mut |event| match event {
        Event::After { pass, .. } if pass.name == "recognise_gelu" => ControlFlow::Break(()),
        Event::After { .. } => {
            count += 1;
            ControlFlow::Continue(())
        }
        Event::Before { .. } => ControlFlow::Continue(()),
    })
    .unwrap();
    let text = graph.to_string();
    assert!(text.contains("gelu") && !text.contains("softmax"), "stopped after {count} passes\n{text}");
}

#[test]
fn names_are_unique_and_found() {
    for pass in PASSES {
        assert_eq!(PASSES.iter().filter(|other| other.name == pass.name).count(), 1);
        assert_eq!(find_pass(pass.name).unwrap().doc, pass.doc);
        assert!(PIPELINE.iter().any(|other| other.name == pass.name), "{} never runs", pass.name);
    }
    let error = find_pass("fold_everything").unwrap_err().to_string();
    assert!(error.contains("fold_everything") && error.contains("fold_constants, canonicalise"), "{error}");
}

#[test]
fn a_failing_pass_is_named() {
    let text = r#"
graph @g {
  input %0 "x": f32[2]
  const %1 "a" = i32[1] {1}
  const %2 "zero" = i32[1] {0}
  %3 "quotient" = div (%1, %2)
  output "y" = %3
}
"#;
    let passes = [find_pass("fold_constants").unwrap()];
    let error = run_passes(&mut parse(text).unwrap(), &passes, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, PassError::Pass { pass: "fold_constants", .. }));
    assert!(error.to_string().contains("`quotient`"), "{error}");
}
