//! The file of a plan: what it looks like, and what is wrong with files that are none.

mod common;

use proptest::prelude::*;
use serde_json::{Value, json};
use sparsec_plan::{Plan, PlanError};

const LINEAR: &str = r#"graph @g {
  input %0 "x": f32[n, 40]
  const %1 "w" = f32[24, 40] random(seed=2, density=0.2)
  %2 = contract "ok,nk->no" (%1, %0) epilogue max(acc, 0) () format csr : f32[n, 24]
  %3 = softmax (%2) axis 1
  output "y" = %3
}"#;

fn plan() -> Plan {
    let graph = sparsec_graph::parse(LINEAR).expect("a graph");
    let (program, _) = common::lowered(&graph);
    Plan::new(&program, "sm_80", &common::facts(&program)).expect("a plan")
}

#[test]
fn plan_of_a_linear_layer() {
    insta::assert_snapshot!(plan().to_json().expect("writes"));
}

#[test]
fn plans_read_back() {
    let plan = plan();
    assert_eq!(Plan::from_json(&plan.to_json().expect("writes")), Ok(plan));
}

/// The error of a plan in which the value at a JSON pointer is another.
fn error_with(pointer: &str, value: Value) -> String {
    let mut json = serde_json::to_value(plan()).expect("writes");
    *json.pointer_mut(pointer).expect(pointer) = value;
    Plan::from_json(&json.to_string()).expect_err(pointer).to_string()
}

#[test]
fn malformed_plans_say_what_is_wrong() {
    assert_eq!(error_with("/format", json!("zip")), "this is a `zip` and no `sparsec-plan`");
    assert_eq!(
        error_with("/version", json!(99)),
        "the plan has version 99; this program reads version 1: compile the model again"
    );
    let malformed = |pointer, value| {
        let text = error_with(pointer, value);
        text.strip_prefix("the plan is malformed: ").map(str::to_owned).unwrap_or(text)
    };
    assert_eq!(malformed("/inputs/0/dtype", json!("f31")), "input 0 (`x`): `f31` is no element type");
    assert_eq!(malformed("/inputs/0/shape/0", json!(5)), "symbol `n`: no input's extent tells its value");
    assert_eq!(malformed("/inputs/0/shape/0", json!("$1")), "input 0 (`x`): there is no value $1 for `$1`");
    assert_eq!(malformed("/arena_bytes", json!("$7 * 4")), "arena_bytes: there is no value $7 for `$7 * 4`");
    assert_eq!(
        malformed("/constants/0/offset", json!(100)),
        format!("constant `{}`: 100 is no multiple of 256", plan().constants[0].name)
    );
    let bytes = plan().weight_bytes;
    assert_eq!(
        malformed("/constants/0/bytes", json!(1u64 << 40)),
        format!("constant `{}`: it lies outside the weights, which have {bytes} bytes", plan().constants[0].name)
    );
    assert_eq!(malformed("/kernels/0/function", json!("a b")), "kernel `a b`: its name is no identifier");
    assert_eq!(
        malformed("/kernels/0/threads", json!(33)),
        "kernel `k0`: 33 threads are no block of whole warps up to 1024"
    );
    let label = plan().launches[0].label.clone();
    assert_eq!(malformed("/launches/0/kernel", json!(9)), format!("launch 0 ({label}): there is no kernel 9"));
    assert!(malformed("/launches/0/buffers", json!([])).contains("params and"));
    assert_eq!(
        malformed("/launches/0/buffers/0/memory", json!({ "arena": 77 })),
        format!("launch 0 ({label}): there is no arena slot 77")
    );
    assert_eq!(malformed("/steps/0", json!({ "launch": 1 })), "step of launch 1: it stands in two steps");
    assert_eq!(malformed("/steps", json!([{ "launch": 0 }])), "steps: a launch stands in none");
    let mut nested = json!([{ "launch": 0 }, { "launch": 1 }]);
    for _ in 0..200 {
        nested = json!([{ "if": { "condition": { "memory": { "input": 0 } }, "then": nested, "otherwise": [] } }]);
    }
    assert!(!malformed("/steps", nested).is_empty());
    assert!(error_with("/arena_bytes", json!("$0 +")).contains("`$0 +` is no expression"));
    assert!(error_with("/arena_bytes", json!(null)).starts_with("this is no launch plan"));
    assert!(matches!(Plan::from_json("PK\u{3}"), Err(PlanError::Json(_))));
}

#[test]
fn outputs_must_not_be_inputs_of_a_kernel_that_writes() {
    let plan = plan();
    let at = plan.kernels[0].buffers.iter().position(|b| b.written).expect("an output");
    let error = error_with(&format!("/launches/0/buffers/{at}/memory"), json!({ "constant": 0 }));
    assert!(error.contains("would be written"), "{error}");
}

#[test]
fn memory_beyond_the_end_is_never_launched_on() {
    let graph = sparsec_graph::parse(LINEAR).expect("a graph");
    let (program, data) = common::lowered(&graph);
    let mut plan = plan();
    let weights = common::weights(&plan, &data);
    let at = plan.launches[0].buffers.iter().position(|b| b.memory == sparsec_plan::Memory::Input(0)).expect("x");
    plan.launches[0].buffers[at].offset = 4.into();
    let device = common::Interpreted::new(&program);
    let mut session = sparsec_plan::Session::new(plan, "", &mut weights.as_slice(), device).expect("loads");
    let x = common::tensor(&common::ramp(&[2, 40]));
    let error = session.run(&[x.given()]).expect_err("refuses").to_string();
    assert!(error.contains("would reach from byte 4 to byte 324 of input 0, which has 320"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever stands in the file: an error, or a plan that a session takes or refuses without a panic.
    #[test]
    fn damaged_plans_do_not_panic(
        at in any::<prop::sample::Index>(),
        with in prop_oneof![
            Just("9"), Just("-1"), Just("null"), Just("\"$0\""), Just("[]"), Just("{}"), Just("18446744073709551615"),
            Just("\"$0 * 4611686018427387904\""), Just("9223372036854775807"),
        ],
    ) {
        let graph = sparsec_graph::parse(LINEAR).expect("a graph");
        let (program, _) = common::lowered(&graph);
        let text = plan().to_json().expect("writes");
        // A value of the file, replaced.
        let starts: Vec<usize> = text.match_indices(": ").map(|(i, _)| i + 2).collect();
        let start = starts[at.index(starts.len())];
        let end = start + text[start..].find(['\n', ',']).expect("a line's end");
        let damaged = format!("{}{with}{}", &text[..start], &text[end..]);
        if let Ok(plan) = Plan::from_json(&damaged)
            && plan.weight_bytes < 1 << 20
        {
            let weights = vec![0; plan.weight_bytes as usize];
            let device = common::Interpreted::new(&program);
            if plan.kernels.len() == program.kernels.len()
                && let Ok(mut session) = sparsec_plan::Session::new(plan, "", &mut weights.as_slice(), device)
            {
                session.device_mut().records = true;
                let _ = session.run(&[common::tensor(&common::ramp(&[2, 40])).given()]);
            }
        }
    }
}
