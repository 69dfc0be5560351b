//! What a model takes for granted of its open dimensions is checked before it runs.

use sparsec_graph::parse;
use sparsec_lower::{Lowered, TargetInfo, lower};
use sparsec_tir::{BufferData, run_program};

fn lowered(text: &str) -> Lowered {
    lower(&parse(text).expect("the text is a graph"), &TargetInfo::AVX2).expect("the graph lowers")
}

fn messages(lowered: &Lowered) -> Vec<&str> {
    lowered.program.constraints.iter().map(|c| c.message.as_str()).collect()
}

#[test]
fn the_first_rows_of_a_table() {
    let l = lowered(
        r#"graph @g {
  input %0 "x": f32[seq, 3]
  const %1 "table": f32[8, 3] random(seed=1, density=1.0)
  %2 "positions" = slice (%1) ranges [(0, seq, 1), (0, 3, 1)]
  %3 = add (%0, %2)
  output "y" = %3
}"#,
    );
    let expected = "`positions` takes seq elements from 0 on in steps of 1, of an axis of 8, which needs -seq + 8 >= 0";
    assert_eq!(messages(&l), [expected]);
    let run = |seq: usize| {
        let x = BufferData::from_f32(&vec![0.0; 3 * seq]);
        run_program(&l.program, &l.data, &[seq as i64], &[x])
    };
    assert!(run(8).is_ok() && run(0).is_ok());
    let error = run(9).expect_err("row 8 does not exist").to_string();
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn extents_are_not_negative() {
    let l = lowered(
        r#"graph @g {
  input %0 "x": f32[n, 3]
  %1 "rest" = slice (%0) ranges [(2, n - 2, 1), (0, 3, 1)]
  output "y" = %1
}"#,
    );
    assert_eq!(messages(&l), ["`rest` has the shape f32[n - 2, 3], which needs n - 2 >= 0"]);
    assert!(l.program.violated_constraint(&[1]).is_some());
    assert!(l.program.violated_constraint(&[2]).is_none());
}

#[test]
fn what_always_holds_is_not_checked() {
    let l = lowered(
        r#"graph @g {
  input %0 "x": f32[n, 6]
  %1 = slice (%0) ranges [(0, n, 1), (4, 3, -2)]
  %2 = reshape (%1) to [3*n]
  output "y" = %2
}"#,
    );
    assert_eq!(messages(&l), [""; 0]);
}
