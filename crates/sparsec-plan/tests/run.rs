//! Plans that are followed on a device which interprets kernels, against the interpreter of the graph.

mod common;

use common::{check, ramp, session, tensor};
use sparsec_graph::TensorData;
use sparsec_plan::{Data, Device, Given, RunError, Tensor};

const MLP: &str = r#"graph @g {
  input %0 "x": f32[n, 40]
  const %1 "w" = f32[24, 40] random(seed=2, density=0.2)
  const %2 "v" = f32[10, 24] random(seed=3, density=1.0)
  %3 = contract "ok,nk->no" (%1, %0) epilogue max(acc, 0) () format csr : f32[n, 24]
  %4 = contract "ok,nk->no" (%2, %3) format dense : f32[n, 10]
  %5 = softmax (%4) axis 1
  output "y" = %5
}"#;

#[test]
fn straight_lines_at_several_sizes() {
    let (graph, mut session) = session(MLP);
    for n in [1, 5, 33, 0, 5] {
        check(&graph, &mut session, &[ramp(&[n, 40])]);
    }
}

#[test]
fn branches_and_loops() {
    let (graph, mut session) = session(
        r#"graph @g {
  input %0 "x": f32[n, 4]
  input %1 "limit": f32[]
  const %2 "trip" = i64[] {6}
  const %3 "true" = bool[] {true}
  const %4 "zero" = f32[4] {0, 0, 0, 0}
  %5 = loop (%2, %3, %4, %0, %1) counted conditional carried 1 scanned [] stacked [] body graph @outer {
    input %0 "i": i64[]
    input %1 "state": f32[4]
    input %2 "x": f32[n, 4]
    input %3 "limit": f32[]
    %4 = loop (%1, %2) trip [n] carried 1 scanned [reverse] stacked [] body graph @inner {
      input %0 "i": i64[]
      input %1 "state": f32[4]
      input %2 "row": f32[4]
      %3 = cast f32 (%0)
      %4 = add (%2, %3)
      %5 = add (%1, %4)
      output "state" = %5
    }
    %5 = reduce max (%4) axes [0] keep false
    %6 = gt (%5, %3)
    %7 = if (%6, %4) then graph @t {
      input %0 "state": f32[4]
      %1 = neg (%0)
      output "state" = %1
    } else graph @e {
      input %0 "state": f32[4]
      const %1 "two" = f32[] {2}
      %2 = add (%0, %1)
      output "state" = %2
    }
    %8 = lt (%5, %3)
    output "goes on" = %8
    output "state" = %7
  }
  output "y" = %5
}"#,
    );
    for (n, limit) in [(3, 0.5), (1, -9.0), (2, 1e9), (0, 1.0)] {
        check(&graph, &mut session, &[ramp(&[n, 4]), TensorData::f32(&[], vec![limit])]);
    }
}

#[test]
fn the_same_run_is_prepared_once_and_replayed() {
    let (graph, mut session) = session(MLP);
    session.device_mut().records = true;
    let run = |session: &mut sparsec_plan::Session<common::Interpreted>, n: usize| -> Vec<String> {
        session.device_mut().log.clear();
        session.run(&[tensor(&ramp(&[n, 40])).given()]).expect("runs");
        session.device().log.clone()
    };
    let launches = session.plan().launches.len();
    assert_eq!(run(&mut session, 64).len(), launches);
    let second = run(&mut session, 64);
    assert_eq!(second[..2], ["record", "replay"]);
    assert_eq!(run(&mut session, 64)[0], "replay");
    // Smaller dimensions fit the same memory, and are prepared beside the others; the oldest goes in the end.
    for n in [1, 2, 3] {
        assert_eq!(run(&mut session, n).len(), launches);
    }
    assert_eq!(run(&mut session, 64)[0], "replay");
    for n in [4, 5, 6, 7] {
        run(&mut session, n);
    }
    check(&graph, &mut session, &[ramp(&[64, 40])]);
}

#[test]
fn tensors_on_the_device() {
    let (_, mut session) = session(MLP);
    let x = tensor(&ramp(&[3, 40]));
    let expected = session.run(&[x.given()]).expect("runs");
    let device = session.device_mut();
    let (from, to) = (device.alloc(480).expect("memory"), device.alloc(120).expect("memory"));
    device.write(from, &x.bytes).expect("writes");
    let given = |data, shape| Given { dtype: "f32", shape, data };
    let shapes = session
        .run_into(&[given(Data::Device(from), &[3, 40])], &mut [given(Data::Device(to), &[3, 10])])
        .expect("runs");
    assert_eq!(shapes, [[3, 10]]);
    let mut bytes = vec![0; 120];
    session.device_mut().read(to, &mut bytes).expect("reads");
    assert_eq!(bytes, expected[0].bytes);

    let mut refused = |input: u64, output: u64| {
        let inputs = [given(Data::Device(input), &[3, 40])];
        session.run_into(&inputs, &mut [given(Data::Device(output), &[3, 10])]).expect_err("refuses").to_string()
    };
    assert_eq!(refused(0, to), "input `x`: a required pointer is null");
    assert_eq!(refused(from + 4, to), "input `x`: a pointer is not aligned as it must be");
    assert_eq!(refused(from, from + 96), "output `y`: the memory of an output overlaps that of another tensor");
}

#[test]
fn what_does_not_fit_is_refused_as_by_a_library() {
    let (_, mut session) = session(
        r#"graph @g {
  input %0 "a": f32[n, 4]
  input %1 "b": f32[n, m]
  %2 = concat (%0, %1) axis 1
  output "y" = %2
}"#,
    );
    let mut refused = |tensors: &[Tensor]| {
        let given: Vec<_> = tensors.iter().map(Tensor::given).collect();
        session.run(&given).expect_err("refuses").to_string()
    };
    let zeros = |shape: &[i64]| Tensor {
        dtype: "f32".into(),
        shape: shape.to_vec(),
        bytes: vec![0; shape.iter().product::<i64>().max(0) as usize * 4],
    };
    let good = zeros(&[2, 4]);
    assert_eq!(refused(std::slice::from_ref(&good)), "the model takes 2 inputs, 1 were given");
    assert_eq!(
        refused(&[good.clone(), zeros(&[2])]),
        "input `b`: a tensor has another rank than the model asks for: it has 1, and must have 2"
    );
    assert_eq!(
        refused(&[zeros(&[2, 5]), zeros(&[2, 1])]),
        "input `a`, axis 1: an extent of an input is not the one that the model fixes: it is 5, and must be 4"
    );
    assert_eq!(
        refused(&[good.clone(), zeros(&[3, 1])]),
        "input `b`, axis 0: extents of the inputs disagree about a symbolic dimension: `n` is 3 here and 2 before"
    );
    assert_eq!(
        refused(&[Tensor { dtype: "i64".into(), ..good.clone() }, zeros(&[2, 1])]),
        "input `a`: a tensor has another element type than the model asks for: it is i64, and must be f32"
    );
    assert_eq!(
        refused(&[good.clone(), zeros(&[2, -1])]),
        "input `b`, axis 1: a dimension is negative or larger than 2147483648: it is -1"
    );
    assert_eq!(
        refused(&[good.clone(), Tensor { bytes: vec![0; 3], ..zeros(&[2, 1]) }]),
        "input `b`: its shape has 8 bytes, 3 were given"
    );
    let huge = session.output_shape(&[1 << 31, 1 << 31], 0).expect_err("refuses").to_string();
    assert!(huge.starts_with("output `y`, axis 1: a dimension is negative"), "{huge}");
}

#[test]
fn memory_runs_out_with_a_message_and_is_given_back() {
    let (_, mut session) = session(MLP);
    session.device_mut().limit = 64 << 10;
    let x = tensor(&ramp(&[4096, 40]));
    let error = session.run(&[x.given()]).expect_err("too large").to_string();
    assert!(error.contains("out of memory: ") && error.contains(" are free"), "{error}");
    // A smaller run still works.
    session.run(&[tensor(&ramp(&[2, 40])).given()]).expect("runs");
}

#[test]
fn weights_of_another_compilation_are_refused() {
    let graph = sparsec_graph::parse(MLP).expect("a graph");
    let (program, data) = common::lowered(&graph);
    let plan = sparsec_plan::Plan::new(&program, "sm_80", &common::facts(&program)).expect("a plan");
    let weights = common::weights(&plan, &data);
    for wrong in [&weights[..weights.len() - 1], &[weights.clone(), vec![0]].concat()] {
        let device = common::Interpreted::new(&program);
        let error = sparsec_plan::Session::new(plan.clone(), "", &mut &wrong[..], device).expect_err("refuses");
        assert!(matches!(error, RunError::Weights { .. }), "{error}");
    }
}
