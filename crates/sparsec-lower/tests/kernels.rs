//! Every operator's kernels against the graph interpreter, on every kind of target.

mod common;

use common::check;

#[test]
fn elementwise() {
    check(
        r#"graph @g {
  input %0 "x": f32[batch, 5, 7]
  const %1 "b": f32[7] random(seed=1, density=1.0)
  const %2 "c": f32[5, 1] random(seed=2, density=1.0)
  %3 = add (%0, %1)
  %4 = mul (%3, %2)
  %5 = map max(sub(abs($0), $1), 0.25) (%4, %1)
  %6 = clip (%5) lo -inf hi 0.5
  %7 = gt (%6, %0)
  %8 = where (%7, %6, %3)
  %9 = cast i64 (%7)
  %10 = cast f32 (%9)
  output "y" = %8
  output "z" = %10
}"#,
        &[("batch", 3)],
    );
}

#[test]
fn remainders_and_bits() {
    check(
        r#"graph @g {
  input %0 "x": f32[batch, 37]
  const %1 "b": f32[37] random(seed=1, density=1.0)
  const %2 "three": i32[] {3}
  const %3 "wide": i32[] {40}
  const %4 "hundred": f32[] {100.0}
  %5 = mul (%0, %4)
  %6 = rem (%5, %1)
  %7 = atan (%5)
  %8 = cast i32 (%5)
  %9 = rem (%8, %2)
  %10 = and (%8, %9)
  %11 = xor (%8, %2)
  %12 = or (%10, %11)
  %13 = not (%12)
  %14 = shl (%13, %2)
  %15 = shr (%14, %9)
  %16 = shr (%14, %3)
  %17 = shl (%14, %3)
  output "a" = %6
  output "b" = %7
  output "c" = %15
  output "d" = %16
  output "e" = %17
}"#,
        &[("batch", 3)],
    );
}

#[test]
fn movement() {
    check(
        r#"graph @g {
  input %0 "x": f32[batch, 5, 7]
  input %1 "i": i64[3]
  %2 = transpose (%0) perm [2, 0, 1]
  %3 = slice (%0) ranges [(0, batch, 1), (4, 5, -1), (1, 3, 2)]
  %4 = concat (%0, %0) axis 1
  %5 = pad (%0) amounts [(0, 0), (1, 2), (-1, 3)] value 2.5
  %6 = gather (%0, %1) axis 1
  %7 = reshape (%2) to [7, 5*batch]
  const %8 "e": f32[5, 1] random(seed=2, density=1.0)
  %9 = expand (%8) to [batch, 5, 9]
  output "a" = %7
  output "b" = %3
  output "c" = %4
  output "d" = %5
  output "e" = %6
  output "f" = %9
  output "again" = %0
}"#,
        &[("batch", 2)],
    );
}

#[test]
fn loops() {
    check(
        r#"graph @g {
  input %0 "x": f32[rows, 5]
  %1, %2 "largest" = loops (%0) params [rows] gives [f32[rows], i64[rows]] {
    // The largest of each row, and where it is. {
    kernel largest position (n) {
      input x: f32[n, 5]
      output value: f32[n]
      output place: i64[n]
      reg best: f32
      reg at: i64
      parallel i in 0..n {
        best = x[i, 0]
        at = 0
        for j in 1..5 {
          if x[i, j] > best {
            best = x[i, j]
            at = j
          }
        }
        value[i] = best
        place[i] = at
      }
    }
  }
  %3 = neg (%1)
  output "a" = %3
  output "b" = %2
}"#,
        &[("rows", 7)],
    );
}

#[test]
fn extents_that_are_found_out() {
    check(
        r#"graph @g {
  input %0 "x": f32[rows, 5]
  const %1 "w" = f32[3, 5] random(seed=1, density=0.6)
  %2, %3 = loops (%0) params [rows] gives [f32[kept, 5], i64[]] counts [(kept, rows)] {
    // The rows whose first element is positive.
    kernel keep position (n) {
      input x: f32[n, 5]
      output y: f32[n, 5]
      output count: i64[]
      reg at: i64
      at = 0
      for i in 0..n {
        if x[i, 0] > 0.0 {
          for j in 0..5 {
            y[at, j] = x[i, j]
          }
          at = at + 1
        }
      }
      count[] = at
    }
  }
  %4 = contract "mk,bk->bm" (%1, %2)
  %5 = transpose (%4) perm [1, 0]
  %6 = slice (%2) ranges [(0, kept, 1), (4, 5, -1)]
  %7 = shape_of () of [kept, rows - kept, 2*kept + 1]
  %8 = reshape (%2) to [5*kept]
  %9 = reduce sum (%8) axes [0] keep false
  output "y" = %4
  output "yt" = %5
  output "shape" = %7
  output "sum" = %9
  output "all" = %8
  output "turned" = %6
}"#,
        &[("rows", 23)],
    );
}

#[test]
fn lines() {
    for axis in 0..3 {
        check(
            &format!(
                r#"graph @g {{
  input %0 "x": f32[batch, 6, 37]
  %1 = softmax (%0) axis {axis}
  %2 = reduce mean (%0) axes [{axis}] keep true
  %3 = reduce max (%0) axes [{axis}] keep false
  %4 = reduce l2 (%0) axes [0, 2] keep false
  %5 = reduce sum (%0) axes [1, 2] keep false
  output "a" = %1
  output "b" = %2
  output "c" = %3
  output "d" = %4
  output "e" = %5
}}"#
            ),
            &[("batch", 5)],
        );
    }
    check(
        r#"graph @g {
  input %0 "x": f32[6, 37]
  const %1 "s": f32[37] random(seed=1, density=1.0)
  const %2 "b": f32[37] random(seed=2, density=1.0)
  const %3 "s0": f32[6] random(seed=3, density=1.0)
  %4 = layer_norm (%0, %1, %2) axis 1 axes 1 epsilon 1e-5
  %5 = layer_norm (%0, %3, %3) axis 0 axes 1 epsilon 1e-5
  output "a" = %4
  output "b" = %5
}"#,
        &[],
    );
}

#[test]
fn pooling() {
    for kind in ["max", "average", "average_with_pad"] {
        for attrs in [
            "kernel [3, 3] strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] ceil false",
            "kernel [2, 3] strides [1, 2] pads [(0, 1), (1, 0)] dilations [1, 1] ceil true",
            "kernel [2, 2] strides [1, 1] pads [(0, 0), (0, 0)] dilations [2, 3] ceil false",
            "kernel [9, 9] strides [3, 4] pads [(4, 4), (4, 4)] dilations [1, 1] ceil false",
        ] {
            check(
                &format!(
                    "graph @g {{\n input %0 \"x\": f32[n, 3, 9, w]\n %1 = pool {kind} (%0) {attrs}\n output \"y\" = %1\n}}"
                ),
                &[("n", 1), ("w", 150)],
            );
            check(
                &format!(
                    "graph @g {{\n input %0 \"x\": f32[n, 3, 9, 23]\n %1 = pool {kind} (%0) {attrs}\n output \"y\" = %1\n}}"
                ),
                &[("n", 2)],
            );
        }
    }
}

#[test]
fn products_of_activations() {
    for (spec, a, b) in [
        ("bmk,bkn->bmn", "3, 7, 150", "3, 150, 33"),
        ("bhqd,bhkd->bhqk", "2, 3, seq, 9", "2, 3, seq, 9"),
        ("bhqk,bhkd->bqhd", "2, 3, seq, seq", "2, 3, seq, 9"),
        ("mk,kn->nm", "5, 6", "6, 40"),
        ("m,n->mn", "5", "40"),
        ("k,k->", "19", "19"),
        ("hdbi,hdbj->bhij", "2, 9, 2, seq", "2, 9, 2, seq"),
    ] {
        check(
            &format!(
                "graph @g {{\n input %0 \"a\": f32[{a}]\n input %1 \"b\": f32[{b}]\n %2 = contract \"{spec}\" (%0, %1) \
                 epilogue mul(acc, 0.5) ()\n output \"y\" = %2\n}}"
            ),
            &[("seq", 21)],
        );
    }
}

/// One row: a query and its row of probabilities, against keys and values of several lengths.
#[test]
fn products_of_one_row() {
    for seq in [1, 17, 513] {
        for (spec, a, b) in [
            ("bhqd,bhkd->bhqk", "2, 3, 1, 9", "2, 3, seq, 9"),
            ("bhqd,bhkd->bhqk", "1, 2, 1, 64", "1, 2, seq, 64"),
            ("bhqk,bhkd->bqhd", "2, 3, 1, seq", "2, 3, seq, 9"),
            ("bhqk,bhkd->bqhd", "1, 2, 1, seq", "1, 2, seq, 64"),
            ("bqk,bkd->bqd", "1, 1, seq", "1, seq, 200"),
            ("bqk,bdk->bqd", "1, 1, 3", "1, seq, 3"),
        ] {
            check(
                &format!(
                    "graph @g {{\n input %0 \"a\": f32[{a}]\n input %1 \"b\": f32[{b}]\n const %2 \"c\": f32[1] \
                     random(seed=1, density=1.0)\n %3 = contract \"{spec}\" (%0, %1) epilogue add(mul(acc, 0.5), $0) (%2)\n \
                     output \"y\" = %3\n}}"
                ),
                &[("seq", seq)],
            );
        }
    }
}

/// Attention over one and several chunks of keys, with batches, masks and lengths that tiles don't divide.
#[test]
fn attention() {
    let check_one = |shapes: [&str; 4], specs: [&str; 2], expr: &str, seq: i64| {
        let [q, k, v, mask] = shapes;
        let [scores, values] = specs;
        check(
            &format!(
                "graph @g {{\n input %0 \"q\": f32[{q}]\n input %1 \"k\": f32[{k}]\n input %2 \"v\": f32[{v}]\n input %3 \
                 \"mask\": f32[{mask}]\n %4 = attention \"{scores}\" \"{values}\" keys \"k\" scores {expr} (%0, %1, %2, %3)\n \
                 output \"y\" = %4\n}}"
            ),
            &[("batch", 2), ("seq", seq)],
        );
    };
    for seq in [1, 17, 513] {
        let specs = ["hdbq,bhdk->bhkq", "bhkq,hfbk->hfbq"];
        let shapes = ["3, 8, batch, seq", "batch, 3, 8, seq", "3, 5, batch, seq", "batch, 1, seq, 1"];
        check_one(shapes, specs, "add(mul(acc, 4.0), $0)", seq);
        // A mask for each pair, and fewer queries than keys.
        let shapes = ["2, 4, 1, 20", "1, 2, 4, seq", "2, 7, 1, seq", "1, 1, seq, 20"];
        check_one(shapes, specs, "add(mul(acc, 40.0), $0)", seq);
    }
    for length in [16, 64, 128, 129, 200] {
        let specs = ["dq,kd->kq", "kq,kf->fq"];
        let (q, k, v) = (format!("6, {length}"), format!("{length}, 6"), format!("{length}, 9"));
        check_one([&q, &k, &v, "1"], specs, "sub(acc, $0)", 1);
    }
}

/// Weights that are activations, integers, other floats, and three spatial axes.
#[test]
fn plain_convolutions() {
    for (dtype, bias) in [("f32", ""), ("f64", ", %2"), ("i32", ", %2"), ("i64", "")] {
        check(
            &format!(
                r#"graph @g {{
  input %0 "x": {dtype}[batch, 4, 9, 19]
  input %1 "w": {dtype}[6, 2, 3, 3]
  const %2 "b": {dtype}[6] random(seed=4, density=1.0)
  %3 = conv (%0, %1{bias}) strides [2, 1] pads [(1, 0), (2, 1)] dilations [1, 2] groups 2
  output "y" = %3
}}"#
            ),
            &[("batch", 2)],
        );
    }
    check(
        r#"graph @g {
  input %0 "x": f32[1, 2, 4, 5, 18]
  input %1 "z": f32[1, 2, 20]
  const %2 "w": f32[3, 2, 2, 3, 3] random(seed=5, density=1.0)
  input %3 "u": f32[3, 2, 3]
  %4 = conv (%0, %2) strides [1, 1, 1] pads [(1, 1), (0, 0), (1, 1)] dilations [1, 1, 1] groups 1
  %5 = conv (%1, %3) strides [1] pads [(1, 1)] dilations [1] groups 1
  output "y" = %4
  output "z" = %5
}"#,
        &[],
    );
}

#[test]
fn products_of_integers() {
    for dtype in ["i32", "i64", "f64"] {
        check(
            &format!(
                r#"graph @g {{
  input %0 "x": {dtype}[batch, 7, 150]
  input %1 "y": {dtype}[batch, 150, 21]
  const %2 "w": {dtype}[5, 150] random(seed=5, density=0.5)
  %3 = contract "bmk,bkn->bmn" (%0, %1)
  %4 = contract "mk,bnk->bnm" (%2, %0)
  output "y" = %3
  output "z" = %4
}}"#
            ),
            &[("batch", 2)],
        );
    }
}

/// What ONNX Runtime 1.32 gives with fused multiply-add, bit by bit: a last bit decides what a quantisation behind it rounds to.
#[test]
fn sigmoid_has_the_bits_of_the_reference() {
    let cases = [
        (0.01_f32, 0x3f00_a3d7_u32, 0x3ba4_a8c1_u32),
        (-0.3, 0x3ed9_e2ac, 0xbe02_bb34),
        (0.777, 0x3f2f_5e56, 0x3f08_42e6),
        (1.5, 0x3f51_4c8f, 0x3f9c_f96b),
        (-2.25, 0x3dc3_4690, 0xbe5b_af62),
        (4.0, 0x3f7b_6541, 0x407b_6541),
        (-7.5, 0x3a10_e800, 0xbb87_d980),
        (9.5, 0x3f7f_fb18, 0x4117_fd16),
    ];
    let graph = sparsec_graph::parse(
        r#"graph @g {
  input %0 "x": f32[8]
  %1 = sigmoid (%0)
  %2 = silu (%0)
  output "y" = %1
  output "z" = %2
}"#,
    )
    .unwrap();
    let target = sparsec_lower::TargetInfo::AVX2;
    let lowered = sparsec_lower::lower_with(&graph, &target, &sparsec_lower::LowerOptions::default()).unwrap();
    let x = sparsec_tir::BufferData::from_f32(&cases.map(|(x, ..)| x));
    let found = sparsec_tir::run_program(&lowered.program, &lowered.data, &[], &[x]).unwrap();
    let bits = |i: usize| found[i].to_f32().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(0), cases.map(|(_, bits, _)| bits));
    assert_eq!(bits(1), cases.map(|(.., bits)| bits));
}
