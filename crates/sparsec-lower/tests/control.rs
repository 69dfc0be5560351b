//! Branches and loops against the graph interpreter, on every kind of target.

mod common;

use common::check;

const RECURRENT: &str = r#"graph @g {
  input %0 "x": f32[n, 1, 5]
  input %1 "h": f32[1, 6]
  const %2 "w" = f32[6, 5] random(seed=2, density=1.0)
  %3 = contract "hk,nbk->nbh" (%2, %0) format dense : f32[n, 1, 6]
  %4, %5, %6, %7, %8 = loop (%1, %1, %3, %3, %0) trip [n] carried 2 scanned [forward, reverse] stacked [forward, reverse, forward] body graph @b {
    input %0 "i": i64[]
    input %1 "h": f32[1, 6]
    input %2 "other": f32[1, 6]
    input %3 "p": f32[1, 6]
    input %4 "q": f32[1, 6]
    input %5 "whole": f32[n, 1, 5]
    const %6 "r" = f32[6, 6] random(seed=3, density=0.4)
    %7 = contract "hk,bk->bh" (%6, %1) epilogue tanh(add(acc, $0)) (%3) format csr : f32[1, 6]
    %8 = cast f32 (%0)
    %9 = add (%7, %8)
    %10 = reduce mean (%5) axes [0, 1, 2] keep false
    %11 = mul (%2, %10)
    output "h" = %7
    output "other" = %11
    output "a" = %9
    output "b" = %4
    output "c" = %2
  }
  %12 = add (%4, %5)
  output "h" = %12
  output "a" = %6
  output "b" = %7
  output "c" = %8
}"#;

#[test]
fn loops_of_steps() {
    check(RECURRENT, &[("n", 4)]);
    check(RECURRENT, &[("n", 0)]);
}

#[test]
fn states_change_places() {
    check(
        r#"graph @g {
  input %0 "a": f32[3]
  input %1 "b": f32[3]
  %2, %3, %4 = loop (%0, %1) trip [5] carried 2 scanned [] stacked [reverse] body graph @b {
    input %0 "i": i64[]
    input %1 "a": f32[3]
    input %2 "b": f32[3]
    output "a" = %2
    output "b" = %1
    output "all" = %1
  }
  output "a" = %2
  output "b" = %3
  output "all" = %4
}"#,
        &[],
    );
}

#[test]
fn branches_and_nested_loops() {
    check(
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
      %3 = mul (%1, %2)
      %4 = abs (%2)
      %5 = add (%3, %4)
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
        &[("n", 3)],
    );
}

/// What a branch demands of the dimensions is demanded where it is taken, and nowhere else.
#[test]
fn branches_make_their_own_demands() {
    let text = |holds: bool| {
        format!(
            r#"graph @g {{
  input %0 "x": f32[n]
  const %1 "c" = bool[] {{{holds}}}
  %2 = if (%1, %0) then graph @t {{
    input %0 "x": f32[n]
    %1 "eight" = slice (%0) ranges [(0, 8, 1)]
    %2 "rest" = slice (%0) ranges [(8, n - 8, 1)]
    %3 "sum" = reduce sum (%2) axes [0] keep false
    %4 = add (%1, %3)
    output "y" = %4
  }} else graph @e {{
    input %0 "x": f32[n]
    %1 = reduce max (%0) axes [0] keep true
    %2 = expand (%1) to [8]
    output "y" = %2
  }}
  output "y" = %2
}}"#
        )
    };
    check(&text(true), &[("n", 11)]);
    check(&text(false), &[("n", 3)]);
    let graph = sparsec_graph::parse(&text(true)).expect("the text is a graph");
    let lowered = sparsec_lower::lower(&graph, &sparsec_lower::TargetInfo::AVX2).expect("the graph lowers");
    let x = sparsec_tir::BufferData::from_f32(&[1.0, 2.0, 3.0]);
    let refused = sparsec_tir::run_program(&lowered.program, &lowered.data, &[3], &[x]).expect_err("too few");
    assert!(refused.to_string().contains("out of range: `eight` takes 8 elements"), "{refused}");
}
