//! The interpreter, operator by operator, with values computed by hand.

mod common;

use common::{eval, show};
use sparsec_graph::{DType, Tensor, bind_symbols, interpret, parse, random_data};

#[test]
fn unary() {
    let x = "f32[5] {-2, -0.5, 0, 0.5, 2}";
    for (op, expected) in [
        ("neg", "{2.0, 0.5, -0.0, -0.5, -2.0}"),
        ("abs", "{2.0, 0.5, 0.0, 0.5, 2.0}"),
        ("exp", "{0.13533528, 0.60653067, 1.0, 1.6487212, 7.389056}"),
        ("log", "{nan, nan, -inf, -0.6931472, 0.6931472}"),
        ("erf", "{-0.9953223, -0.5204999, 0.0, 0.5204999, 0.9953223}"),
        ("tanh", "{-0.9640276, -0.46211717, 0.0, 0.46211717, 0.9640276}"),
        ("sigmoid", "{0.11920292, 0.37754068, 0.5, 0.62245935, 0.8807971}"),
        ("gelu", "{-0.045500264, -0.15426877, 0.0, 0.34573123, 1.9544997}"),
        ("gelu_tanh", "{-0.045402307, -0.154286, 0.0, 0.345714, 1.9545977}"),
        ("silu", "{-0.23840584, -0.18877034, 0.0, 0.31122968, 1.7615942}"),
        ("floor", "{-2.0, -1.0, 0.0, 0.0, 2.0}"),
        ("ceil", "{-2.0, -0.0, 0.0, 1.0, 2.0}"),
        ("round", "{-2.0, -0.0, 0.0, 0.0, 2.0}"),
        ("reciprocal", "{-0.5, -2.0, inf, 2.0, 0.5}"),
        ("rsqrt", "{nan, nan, inf, 1.4142135, 0.70710677}"),
        ("sin", "{-0.9092974, -0.47942555, 0.0, 0.47942555, 0.9092974}"),
        ("cos", "{-0.41614684, 0.87758255, 1.0, 0.87758255, -0.41614684}"),
        ("atan", "{-1.1071488, -0.4636476, 0.0, 0.4636476, 1.1071488}"),
    ] {
        // NaNs of arithmetic have either sign; the text distinguishes them.
        let result = eval(&format!("{op} (%0)"), &[x]).replace("0xffc00000", "nan");
        assert_eq!(result, format!("f32[5] {expected}"), "{op}");
    }
    assert_eq!(eval("relu (%0)", &["f32[3] {nan, -1, 1}"]), "f32[3] {nan, 0.0, 1.0}");
    assert_eq!(eval("sqrt (%0)", &["f64[2] {2, 4}"]), "f64[2] {1.4142135623730951, 2.0}");
    assert_eq!(eval("neg (%0)", &["i8[2] {-128, 5}"]), "i8[2] {-128, -5}");
    assert_eq!(eval("not (%0)", &["bool[2] {true, false}"]), "bool[2] {false, true}");
    assert_eq!(eval("not (%0)", &["u8[2] {0, 5}"]), "u8[2] {255, 250}");
}

#[test]
fn binary() {
    let xy = ["f32[4] {1, -2, nan, 4}", "f32[4] {2, -2, 1, 0.5}"];
    for (op, expected) in [
        ("add", "f32[4] {3.0, -4.0, nan, 4.5}"),
        ("sub", "f32[4] {-1.0, 0.0, nan, 3.5}"),
        ("mul", "f32[4] {2.0, 4.0, nan, 2.0}"),
        ("div", "f32[4] {0.5, 1.0, nan, 8.0}"),
        ("pow", "f32[4] {1.0, 0.25, nan, 2.0}"),
        ("min", "f32[4] {1.0, -2.0, nan, 0.5}"),
        ("max", "f32[4] {2.0, -2.0, nan, 4.0}"),
        ("eq", "bool[4] {false, true, false, false}"),
        ("lt", "bool[4] {true, false, false, false}"),
        ("le", "bool[4] {true, true, false, false}"),
        ("gt", "bool[4] {false, false, false, true}"),
        ("ge", "bool[4] {false, true, false, true}"),
    ] {
        assert_eq!(eval(&format!("{op} (%0, %1)"), &xy), expected, "{op}");
    }
    let ints = ["i32[4] {7, -7, 2147483647, 2}", "i32[4] {2, 2, 1, -1}"];
    for (op, expected) in [
        ("add", "{9, -5, -2147483648, 1}"),
        ("div", "{3, -3, 2147483647, -2}"),
        ("pow", "{49, 49, 2147483647, 0}"),
        ("max", "{7, 2, 2147483647, 2}"),
    ] {
        assert_eq!(eval(&format!("{op} (%0, %1)"), &ints), format!("i32[4] {expected}"), "{op}");
    }
    assert_eq!(eval("div (%0, %1)", &["i32[1] {1}", "i32[1] {0}"]), "n0 div: an integer is divided by zero");
    assert_eq!(eval("gt (%0, %1)", &["u64[1] {18446744073709551615}", "u64[1] {1}"]), "bool[1] {true}");
    assert_eq!(
        eval("and (%0, %1)", &["bool[2, 1] {true, false}", "bool[2] {true, false}"]),
        "bool[2, 2] {true, false, false, false}"
    );
    // 7 is 0b0111, 3 is 0b0011, -7 is 0b1001 and -3 is 0b1101 after ones.
    let bits = ["i8[4] {7, -7, 7, -7}", "i8[4] {3, 3, -3, -3}"];
    assert_eq!(eval("rem (%0, %1)", &bits), "i8[4] {1, -1, 1, -1}");
    assert_eq!(eval("and (%0, %1)", &bits), "i8[4] {3, 1, 5, -7}");
    assert_eq!(eval("or (%0, %1)", &bits), "i8[4] {7, -5, -1, -3}");
    assert_eq!(eval("xor (%0, %1)", &bits), "i8[4] {4, -6, -6, 4}");
    let shifted = ["u8[3] {3, 255, 255}", "u8[3] {1, 4, 8}"];
    assert_eq!(eval("shl (%0, %1)", &shifted), "u8[3] {6, 240, 0}");
    assert_eq!(eval("shr (%0, %1)", &shifted), "u8[3] {1, 15, 0}");
    assert_eq!(eval("shr (%0, %1)", &["i8[2] {-8, -8}", "i8[2] {1, 100}"]), "i8[2] {-4, -1}");
    assert_eq!(eval("rem (%0, %1)", &["f32[3] {5.5, -5.5, 1}", "f32[3] {2, 2, inf}"]), "f32[3] {1.5, -1.5, 1.0}");
    assert_eq!(eval("or (%0, %1)", &["bool[2] {true, false}", "bool[] {false}"]), "bool[2] {true, false}");
}

#[test]
fn select_clip_cast() {
    assert_eq!(
        eval("where (%0, %1, %2)", &["bool[2, 1] {true, false}", "f32[2] {1, 2}", "f32[] {9}"]),
        "f32[2, 2] {1.0, 2.0, 9.0, 9.0}"
    );
    assert_eq!(eval("clip (%0) lo -1 hi 6", &["f32[4] {-3, nan, 2, 7}"]), "f32[4] {-1.0, nan, 2.0, 6.0}");
    assert_eq!(
        eval("clip (%0) lo 0.5 hi inf", &["i64[2] {0, 9223372036854775807}"]),
        "i64[2] {1, 9223372036854775807}"
    );
    assert_eq!(eval("cast i32 (%0)", &["f32[4] {-2.9, 2.9, 1e20, nan}"]), "i32[4] {-2, 2, 2147483647, 0}");
    assert_eq!(eval("cast u8 (%0)", &["i32[2] {257, -1}"]), "u8[2] {1, 255}");
    assert_eq!(eval("cast bool (%0)", &["f32[3] {0, -0.5, nan}"]), "bool[3] {false, true, true}");
    assert_eq!(eval("cast bf16 (%0)", &["f32[2] {1.00390625, 3.14159}"]), "bf16[2] {1.0, 3.140625}");
    assert_eq!(eval("cast f16 (%0)", &["i32[2] {70000, 2049}"]), "f16[2] {inf, 2048.0}");
}

#[test]
fn maps_and_epilogues() {
    assert_eq!(
        eval("map mul(add($0, $1), 2.0) (%0, %1)", &["f32[2, 1] {1, 2}", "f32[2] {10, 20}"]),
        "f32[2, 2] {22.0, 42.0, 24.0, 44.0}"
    );
    // The constant is compared in the type of its sibling: 0.1 as f32.
    assert_eq!(eval("map eq($0, 0.1) (%0)", &["f32[1] {0.1}"]), "bool[1] {true}");
    assert_eq!(eval("map div($0, 2.9) (%0)", &["i32[1] {7}"]), "i32[1] {3}");
    assert_eq!(
        eval(
            "contract \"mk,bk->bm\" (%0, %1) epilogue relu(add(acc, $0)) (%2) format csr",
            &["f32[2, 2] {1, 2, 0, -1}", "f32[2, 2] {1, 1, 3, 4}", "f32[2] {0.5, 2}"]
        ),
        "f32[2, 2] {3.5, 1.0, 11.5, 0.0}"
    );
}

#[test]
fn contractions() {
    let (a, b) = ("f32[2, 3] {1, 2, 3, 4, 5, 6}", "f32[3, 2] {1, 0, 0, 1, 1, 1}");
    assert_eq!(eval("contract \"ik,kj->ij\" (%0, %1)", &[a, b]), "f32[2, 2] {4.0, 5.0, 10.0, 11.0}");
    assert_eq!(eval("contract \"ik,kj->ji\" (%0, %1)", &[a, b]), "f32[2, 2] {4.0, 10.0, 5.0, 11.0}");
    assert_eq!(eval("contract \"i,j->ij\" (%0, %1)", &["i32[2] {1, 2}", "i32[2] {3, 4}"]), "i32[2, 2] {3, 4, 6, 8}");
    assert_eq!(eval("contract \"i,i->\" (%0, %1)", &["f32[2] {1, 2}", "f32[2] {3, 4}"]), "f32[] {11.0}");
    assert_eq!(eval("contract \"i,i->i\" (%0, %1)", &["f32[2] {1, 2}", "f32[2] {3, 4}"]), "f32[2] {3.0, 8.0}");
    assert_eq!(eval("contract \"i,i->\" (%0, %1)", &["f32[0] {}", "f32[0] {}"]), "f32[] {0.0}");
    // 2^24 + 1 is lost in f32 but not in f64.
    assert_eq!(
        eval("contract \"i,i->\" (%0, %1)", &["f32[3] {16777216, 1, -16777216}", "f32[3] {1, 1, 1}"]),
        "f32[] {1.0}"
    );
    // Batched, with the batch axis last in one operand: b=2, [1,2] x [2,1].
    assert_eq!(
        eval("contract \"bk,kb->b\" (%0, %1)", &["f32[2, 2] {1, 2, 3, 4}", "f32[2, 2] {1, 10, 2, 20}"]),
        "f32[2] {5.0, 110.0}"
    );
}

/// Convolutions and contractions against the definition, on shapes that take several panels and both threads.
#[test]
fn large_products_match_the_definition() {
    let w = random_data(DType::F32, &[70, 300], 1, 0.3);
    let x = random_data(DType::F32, &[300, 700], 2, 1.0);
    let text = "graph @g { input %0 \"w\": f32[m, k] input %1 \"x\": f32[k, n] %2 = contract \"mk,kn->mn\" (%0, %1) \
                output \"y\" = %2 }";
    let y = &interpret(&parse(text).expect("parses"), &[w.clone(), x.clone()]).expect("runs")[0];
    let (w, x, y) = (w.as_f32().unwrap(), x.as_f32().unwrap(), y.as_f32().unwrap());
    for (i, j) in [(0, 0), (34, 511), (35, 512), (69, 699), (13, 345)] {
        let sum: f64 = (0..300).map(|k| f64::from(w[i * 300 + k]) * f64::from(x[k * 700 + j])).sum();
        assert!((f64::from(y[i * 700 + j]) - sum).abs() < 1e-6, "{i} {j}");
    }
}

#[test]
fn large_convolutions_match_the_definition() {
    let w = random_data(DType::F32, &[70, 8, 3, 3], 1, 0.4);
    let x = random_data(DType::F32, &[1, 8, 40, 40], 2, 1.0);
    let text = "graph @g { input %0 \"w\": f32[70, 8, 3, 3] input %1 \"x\": f32[1, 8, 40, 40] \
                %2 = conv (%1, %0) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 output \"y\" = %2 }";
    let y = &interpret(&parse(text).expect("parses"), &[w.clone(), x.clone()]).expect("runs")[0];
    let (w, x, y) = (w.as_f32().unwrap(), x.as_f32().unwrap(), y.as_f32().unwrap());
    for (m, row, col) in [(0, 0, 0), (69, 39, 39), (34, 12, 31), (35, 12, 32), (50, 0, 39), (1, 25, 24)] {
        let mut sum = 0.0;
        for (c, i, j) in (0..72).map(|k| (k / 9, k / 3 % 3, k % 3)) {
            let (r, s) = (row + i, col + j);
            if (1..=40).contains(&r) && (1..=40).contains(&s) {
                let weight = f64::from(w[((m * 8 + c) * 3 + i) * 3 + j]);
                sum += weight * f64::from(x[(c * 40 + r - 1) * 40 + s - 1]);
            }
        }
        assert!((f64::from(y[(m * 40 + row) * 40 + col]) - sum).abs() < 1e-6, "{m} {row} {col}");
    }
}

#[test]
fn convolutions() {
    let x = "f32[1, 1, 3, 3] {1, 2, 3, 4, 5, 6, 7, 8, 9}";
    let attrs = |pads: &str| format!("strides [1, 1] pads {pads} dilations [1, 1] groups 1");
    assert_eq!(
        eval(&format!("conv (%0, %1) {}", attrs("[(0, 0), (0, 0)]")), &[x, "f32[1, 1, 2, 2] {1, 0, 0, 1}"]),
        "f32[1, 1, 2, 2] {6.0, 8.0, 12.0, 14.0}"
    );
    assert_eq!(
        eval(
            &format!("conv (%0, %1, %2) {}", attrs("[(1, 0), (0, 1)]")),
            &[x, "f32[1, 1, 2, 2] {0, 0, 1, 1}", "f32[1] {100}"]
        ),
        "f32[1, 1, 3, 3] {103.0, 105.0, 103.0, 109.0, 111.0, 106.0, 115.0, 117.0, 109.0}"
    );
    // Two groups, stride 2, dilation 2.
    assert_eq!(
        eval(
            "conv (%0, %1) strides [2] pads [(0, 0)] dilations [2] groups 2",
            &["f32[1, 2, 5] {1, 2, 3, 4, 5, 10, 20, 30, 40, 50}", "f32[2, 1, 2] {1, 1, 1, -1}"]
        ),
        "f32[1, 2, 2] {4.0, 8.0, -20.0, -20.0}"
    );
    // Two images, two input channels, two outputs, 1x1.
    assert_eq!(
        eval(
            &format!("conv (%0, %1) {}", attrs("[(0, 0), (0, 0)]")),
            &["f32[2, 2, 1, 1] {1, 2, 3, 4}", "f32[2, 2, 1, 1] {1, 10, 0, 1}"]
        ),
        "f32[2, 2, 1, 1] {21.0, 2.0, 43.0, 4.0}"
    );
}

#[test]
fn pools() {
    let x = "f32[1, 1, 5] {1, -2, 3, 4, 5}";
    for (kind, rest, expected) in [
        ("max", "kernel [2] strides [2] pads [(0, 0)] dilations [1] ceil false", "f32[1, 1, 2] {1.0, 4.0}"),
        ("max", "kernel [2] strides [2] pads [(0, 0)] dilations [1] ceil true", "f32[1, 1, 3] {1.0, 4.0, 5.0}"),
        ("max", "kernel [2] strides [1] pads [(0, 0)] dilations [3] ceil false", "f32[1, 1, 2] {4.0, 5.0}"),
        (
            "average",
            "kernel [3] strides [2] pads [(1, 1)] dilations [1] ceil false",
            "f32[1, 1, 3] {-0.5, 1.6666666, 4.5}",
        ),
        (
            "average_with_pad",
            "kernel [3] strides [2] pads [(1, 1)] dilations [1] ceil false",
            "f32[1, 1, 3] {-0.33333334, 1.6666666, 3.0}",
        ),
        (
            "average_with_pad",
            "kernel [2] strides [2] pads [(0, 0)] dilations [1] ceil true",
            "f32[1, 1, 3] {-0.5, 3.5, 5.0}",
        ),
    ] {
        assert_eq!(eval(&format!("pool {kind} (%0) {rest}"), &[x]), expected, "{kind} {rest}");
    }
    assert_eq!(
        eval(
            "pool max (%0) kernel [2] strides [2] pads [(1, 0)] dilations [1] ceil false",
            &["i8[1, 1, 3] {-5, -7, -9}"]
        ),
        "i8[1, 1, 2] {-5, -7}"
    );
}

#[test]
fn reductions() {
    let x = "f32[2, 3] {1, -2, 3, 4, 5, -6}";
    for (kind, expected) in [
        ("sum", "{2.0, 3.0}"),
        ("mean", "{0.6666667, 1.0}"),
        ("max", "{3.0, 5.0}"),
        ("min", "{-2.0, -6.0}"),
        ("prod", "{-6.0, -120.0}"),
        ("sum_square", "{14.0, 77.0}"),
        ("l2", "{3.7416575, 8.774964}"),
        ("l1", "{6.0, 15.0}"),
    ] {
        assert_eq!(eval(&format!("reduce {kind} (%0) axes [1] keep false"), &[x]), format!("f32[2] {expected}"));
    }
    assert_eq!(eval("reduce sum (%0) axes [0] keep true", &[x]), "f32[1, 3] {5.0, 3.0, -3.0}");
    assert_eq!(eval("reduce sum (%0) axes [0, 1] keep false", &[x]), "f32[] {5.0}");
    assert_eq!(eval("reduce max (%0) axes [0] keep false", &["f32[2] {nan, 1}"]), "f32[] {nan}");
    assert_eq!(
        eval("reduce max (%0) axes [0] keep false", &["u64[2] {18446744073709551615, 1}"]),
        "u64[] {18446744073709551615}"
    );
    assert_eq!(eval("reduce sum (%0) axes [0] keep false", &["i8[2] {127, 1}"]), "i8[] {-128}");
}

#[test]
fn normalisations() {
    assert_eq!(eval("softmax (%0) axis 0", &["f32[2] {1000, 1000}"]), "f32[2] {0.5, 0.5}");
    assert_eq!(eval("softmax (%0) axis 0", &["f32[2, 2] {0, 0, 0, -inf}"]), "f32[2, 2] {0.5, 1.0, 0.5, 0.0}");
    assert_eq!(
        eval(
            "layer_norm (%0, %1, %2) axis 1 axes 1 epsilon 0.0",
            &["f32[1, 2] {1, 3}", "f32[2] {1, 2}", "f32[2] {0, 10}"]
        ),
        "f32[1, 2] {-1.0, 12.0}"
    );
    // Features first: the normalised axis is not the last one.
    assert_eq!(
        eval(
            "layer_norm (%0, %1, %2) axis 0 axes 1 epsilon 0.0",
            &["f32[2, 1] {1, 3}", "f32[2] {1, 2}", "f32[2] {0, 10}"]
        ),
        "f32[2, 1] {-1.0, 12.0}"
    );
    assert_eq!(
        eval(
            "batch_norm (%0, %1, %2, %3, %4) epsilon 0.0",
            &["f32[1, 2, 2] {1, 2, 3, 4}", "f32[2] {2, 1}", "f32[2] {0, 1}", "f32[2] {1, 3}", "f32[2] {4, 1}"]
        ),
        "f32[1, 2, 2] {0.0, 1.0, 1.0, 2.0}"
    );
}

#[test]
fn movement() {
    let x = "i32[2, 3] {1, 2, 3, 4, 5, 6}";
    assert_eq!(eval("reshape (%0) to [3, 2]", &[x]), "i32[3, 2] {1, 2, 3, 4, 5, 6}");
    assert_eq!(eval("transpose (%0) perm [1, 0]", &[x]), "i32[3, 2] {1, 4, 2, 5, 3, 6}");
    assert_eq!(eval("expand (%0) to [2, 2, 1]", &["i8[2, 1] {1, 2}"]), "i8[2, 2, 1] {1, 2, 1, 2}");
    assert_eq!(eval("slice (%0) ranges [(1, 1, 1), (2, 2, -2)]", &[x]), "i32[1, 2] {6, 4}");
    assert_eq!(eval("slice (%0) ranges [(0, 0, 1), (0, 3, 1)]", &[x]), "i32[0, 3] {}");
    assert_eq!(eval("concat (%0, %1) axis 1", &[x, "i32[2, 1] {7, 8}"]), "i32[2, 4] {1, 2, 3, 7, 4, 5, 6, 8}");
    assert_eq!(eval("gather (%0, %1) axis 1", &[x, "i64[2] {-1, 0}"]), "i32[2, 2] {3, 1, 6, 4}");
    assert_eq!(eval("gather (%0, %1) axis 0", &["f16[2] {1, 2}", "i8[] {1}"]), "f16[] {2.0}");
    assert_eq!(
        eval("gather (%0, %1) axis 1", &[x, "i64[1] {3}"]),
        "n0 gather: index 3 is outside of an axis of extent 3"
    );
    assert_eq!(eval("pad (%0) amounts [(1, 0), (-1, 1)] value 9", &[x]), "i32[3, 3] {9, 9, 9, 2, 3, 9, 5, 6, 9}");
    assert_eq!(eval("pad (%0) amounts [(-1, 0), (0, -2)] value 9", &[x]), "i32[1, 1] {4}");
    assert_eq!(eval("shape_of () of [2, 3*4]", &[]), "i64[2] {2, 12}");
}

const DYNAMIC: &str = r#"graph @g {
  input %0 "x": f32[batch, seq]
  input %1 "past": f32[batch, 2*past + 1]
  %2 = concat (%0, %1) axis 1
  %3 = reduce sum (%2) axes [1] keep true
  %4 = shape_of () of [batch, seq, past]
  output "sum" = %3
  output "shape" = %4
  output "x again" = %0
}"#;

#[test]
fn symbols_are_bound_by_input_shapes() {
    let graph = parse(DYNAMIC).expect("parses");
    let ones = |shape: &[usize]| Tensor::f32(shape, vec![1.0; shape.iter().product()]);
    let results = interpret(&graph, &[ones(&[2, 3]), ones(&[2, 5])]).expect("runs");
    let shown: Vec<String> = results.iter().map(show).collect();
    assert_eq!(shown, ["f32[2, 1] {8.0, 8.0}", "i64[3] {2, 3, 2}", "f32[2, 3] {1.0, 1.0, 1.0, 1.0, 1.0, 1.0}"]);
    let bindings = bind_symbols(&graph, &[vec![2, 3], vec![2, 5]]).expect("binds");
    assert_eq!(bindings.into_values().collect::<Vec<_>>(), [2, 2, 3]);
}

#[test]
fn inputs_are_checked() {
    let graph = parse(DYNAMIC).expect("parses");
    let error = |shapes: &[&[usize]]| {
        let inputs: Vec<Tensor> = shapes.iter().map(|s| Tensor::f32(s, vec![1.0; s.iter().product()])).collect();
        interpret(&graph, &inputs).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(error(&[&[2, 3]]), "the graph has 2 inputs, 1 were given");
    assert_eq!(error(&[&[2, 3], &[2]]), "input `past` has 2 dimensions, 1 were given");
    assert_eq!(error(&[&[2, 3], &[1, 5]]), "input `past`, axis 0: the extent must be 2 (`batch`), found 1");
    assert_eq!(error(&[&[2, 3], &[2, 4]]), "input `past`, axis 1: the extent must be `2*past + 1`, found 4");
    let wrong = [Tensor::i64(&[1, 1], vec![1]), Tensor::f32(&[1, 1], vec![1.0])];
    assert_eq!(
        interpret(&graph, &wrong).map(|_| ()).unwrap_err().to_string(),
        "`x` has elements of type i64 instead of f32"
    );
    let short = Tensor { dtype: DType::F32, shape: vec![1, 1], bytes: vec![0; 3].into() };
    assert!(interpret(&graph, &[short, Tensor::f32(&[1, 1], vec![1.0])]).is_err());
    let open = parse("graph @g { input %0 \"x\": f32[a*b] output \"y\" = %0 }").expect("parses");
    assert_eq!(
        interpret(&open, &[Tensor::f32(&[4], vec![0.0; 4])]).map(|_| ()).unwrap_err().to_string(),
        "input `x`, axis 0: the extent `a*b` does not determine its symbols"
    );
}

#[test]
fn memory_is_bounded() {
    assert_eq!(
        eval("expand (%0) to [1048576, 524288]", &["f32[] {1}"]),
        "n0 expand: a tensor of type f32[1048576, 524288] is too large to interpret"
    );
}

#[test]
fn attention() {
    // Two queries, three keys of which the last is hidden, values of one feature.
    let (q, k) = ("f32[2, 1] {0.0, 1.0}", "f32[3, 1] {0.0, 0.6931472, 5.0}");
    let (v, mask) = ("f32[3, 1] {3.0, 6.0, 1000.0}", "f32[3] {0.0, 0.0, -10000.0}");
    // Weights 1/2, 1/2 and 1/3, 2/3.
    let op = "attention \"qd,kd->qk\" \"qk,kf->qf\" keys \"k\" scores add(acc, $0) (%0, %1, %2, %3)";
    assert_eq!(eval(op, &[q, k, v, mask]), "f32[2, 1] {4.5, 5.0}");
    // The same, queries last everywhere.
    let op = "attention \"dq,kd->kq\" \"kq,kf->fq\" keys \"k\" scores add(acc, $0) (%0, %1, %2, %3)";
    let (q, mask) = ("f32[1, 2] {0.0, 1.0}", "f32[3, 1] {0.0, 0.0, -10000.0}");
    assert_eq!(eval(op, &[q, k, v, mask]), "f32[1, 2] {4.5, 5.0}");
}

const COUNTER: &str = r#"graph @g {
  input %0 "n": i64[]
  input %1 "goes on": bool[]
  input %2 "limit": i64[]
  const %3 "start" = i64[] {100}
  %4 = loop (%0, %1, %3, %2) counted conditional carried 1 scanned [] stacked [] body graph @body {
    input %0 "i": i64[]
    input %1 "sum": i64[]
    input %2 "limit": i64[]
    %3 = add (%1, %0)
    %4 = lt (%3, %2)
    output "goes on" = %4
    output "sum" = %3
  }
  output "y" = %4
}"#;

#[test]
fn loops_count_and_end() {
    let graph = parse(COUNTER).expect("parses");
    assert_eq!(sparsec_graph::verify(&graph), Ok(()));
    let goes_on = |b: u8| Tensor::from_vec(DType::Bool, &[], vec![b]);
    // 100 + 0 + 1 + 2 + ..., until the trip count or the limit.
    for (trip, starts, limit, expected) in [(4, 1, 1000, 106), (9, 1, 103, 103), (-1, 1, 1000, 100), (4, 0, 1000, 100)]
    {
        let inputs = [Tensor::i64(&[], vec![trip]), goes_on(starts), Tensor::i64(&[], vec![limit])];
        let result = interpret(&graph, &inputs).expect("runs");
        assert_eq!(show(&result[0]), format!("i64[] {{{expected}}}"), "{trip} {starts} {limit}");
    }
}

#[test]
fn loops_take_and_give_slices() {
    let text = r#"graph @g {
  input %0 "x": f32[n, 2]
  const %1 "zero" = f32[2] {0, 0}
  %2, %3, %4 = loop (%1, %0, %0) trip [n] carried 1 scanned [forward, reverse] stacked [forward, reverse] body graph @b {
    input %0 "i": i64[]
    input %1 "sum": f32[2]
    input %2 "a": f32[2]
    input %3 "b": f32[2]
    %4 = add (%1, %2)
    output "sum" = %4
    output "first" = %4
    output "second" = %3
  }
  output "sum" = %2
  output "sums" = %3
  output "same" = %4
}"#;
    let graph = parse(text).expect("parses");
    assert_eq!(sparsec_graph::verify(&graph), Ok(()));
    let x = Tensor::f32(&[3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let results: Vec<String> = interpret(&graph, &[x]).expect("runs").iter().map(show).collect();
    assert_eq!(
        results,
        ["f32[2] {9.0, 12.0}", "f32[3, 2] {1.0, 2.0, 4.0, 6.0, 9.0, 12.0}", "f32[3, 2] {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}"]
    );
    let results: Vec<String> =
        interpret(&graph, &[Tensor::f32(&[0, 2], vec![])]).expect("runs").iter().map(show).collect();
    assert_eq!(results, ["f32[2] {0.0, 0.0}", "f32[0, 2] {}", "f32[0, 2] {}"]);
}

#[test]
fn branches() {
    let text = r#"graph @g {
  input %0 "c": bool[]
  input %1 "x": f32[n]
  %2, %3 = if (%0, %1) then graph @yes {
    input %0 "x": f32[n]
    %1 = neg (%0)
    output "a" = %1
    output "b" = %0
  } else graph @no {
    input %0 "x": f32[n]
    %1 = abs (%0)
    output "a" = %0
    output "b" = %1
  }
  output "a" = %2
  output "b" = %3
}"#;
    let graph = parse(text).expect("parses");
    assert_eq!(sparsec_graph::verify(&graph), Ok(()));
    for (holds, expected) in [(1, ["{-1.0, 2.0}", "{1.0, -2.0}"]), (0, ["{1.0, -2.0}", "{1.0, 2.0}"])] {
        let inputs = [Tensor::from_vec(DType::Bool, &[], vec![holds as u8]), Tensor::f32(&[2], vec![1.0, -2.0])];
        let results: Vec<String> = interpret(&graph, &inputs).expect("runs").iter().map(show).collect();
        assert_eq!(results, expected.map(|e| format!("f32[2] {e}")));
    }
}
