//! The text form: what it looks like, that it reads back, and what errors say.

mod common;

use common::{random_graph, show};
use proptest::prelude::*;
use sparsec_graph::{
    DType, Dim, Graph, PrintOptions, TensorData, data_hash, parse, parse_dim, parse_with, print, random_data, verify,
};

const MLP: &str = r#"
// A layer whose bias and activation are fused, and one that is not.
graph @mlp {
  input %7 "x": f32[batch, 4]
  const %1 "w" = f32[2, 4] {1.0, 0, 0, -1.5, 0, 0, 2e-3, 0}
  const %2 "b" = f32[2] {nan, -inf}
  const %3 "w2": f32[3, 2] random(seed=1, density=0.5)
  %10 "fc" = contract "mk,bk->bm" (%1, %7) epilogue relu(add(acc, $0)) (%2) format bsr<2,1>
  %11 = contract "mk,bk->bm" (%3, %10) format csr
  %12 "act" = map mul($0, sigmoid($0)) (%11)
  %13 = reduce mean (%12) axes [1] keep false
  %14 = reshape (%13) to [floordiv(2*batch, 2), 1]
  %15 = shape_of () of [batch, 3]
  output "y" = %14
  output "shape" = %15
}
"#;

#[test]
fn prints_a_graph() {
    let graph = parse(MLP).expect("parses");
    assert_eq!(verify(&graph), Ok(()));
    insta::assert_snapshot!("mlp", graph);
}

#[test]
fn prints_every_operator() {
    let text = r#"graph @"all operators" {
  input %0 "x": f32[n, 2, 6, 6]
  input %1 "t": f32[batch, "past + 1", 8]
  input %2 "i": i64[seq]
  const %3 "w" = f32[4, 1, 3, 3] random(seed=2, density=0.3)
  const %4 "v" = f32[8] {1, 2, 3, 4, 5, 6, 7, 8}
  const %5 "p" = f32[4] {1, 1, 1, 1}
  %10 = conv (%0, %3, %5) strides [2, 1] pads [(1, 1), (0, 0)] dilations [1, 2] groups 2 epilogue gelu(acc) ()
  %11 = pool average_with_pad (%0) kernel [2, 2] strides [2, 2] pads [(0, 1), (0, 1)] dilations [1, 1] ceil true
  %12 = layer_norm (%1, %4, %4) axis 2 axes 1 epsilon 1e-5
  %13 = batch_norm (%10, %5, %5, %5, %5) epsilon 0.001
  %14 = softmax (%1) axis 1
  %15 = transpose (%1) perm [2, 0, 1]
  %16 = slice (%1) ranges [(0, batch, 1), ("past + 1" - 1, "past + 1", -1), (1, 4, 2)]
  %17 = concat (%16, %16) axis 2
  %18 = gather (%4, %2) axis 0
  %19 = pad (%4) amounts [(1, -2)] value -inf
  %20 = expand (%4) to [seq, 8]
  %21 = clip (%4) lo -inf hi 6
  %22 = cast i8 (%21)
  %23 = gt (%4, %21)
  %24 = where (%23, %4, %21)
  %25 = neg (%24)
  %26, %27 = loops (%4) params [8] gives [f32[8], i64[]] {
    // Twice, and how many. {
    kernel twice position (n) {
      input x: f32[n]
      output y: f32[n]
      output count: i64[]
      for i in 0..n {
        y[i] = x[i] * 2.0
      }
      count[] = n
    }
  }
  output "y" = %25
}"#;
    let graph = parse(text).expect("parses");
    assert_eq!(verify(&graph), Ok(()));
    insta::assert_snapshot!("every_operator", graph);
    assert_eq!(parse_printed(&graph).to_string(), graph.to_string());
}

fn parse_printed(graph: &Graph) -> Graph {
    parse(&print(graph, &PrintOptions { max_inline_elements: usize::MAX })).expect("what was printed parses")
}

#[test]
fn elided_constants_are_resolved_and_checked() {
    let mut graph = Graph::new("g");
    let data = random_data(DType::F32, &[100], 7, 0.5);
    let w = graph.add_constant("w", data.clone());
    graph.add_output("y", w);
    let text = graph.to_string();
    insta::assert_snapshot!("elided", text);
    assert_eq!(parse(&text).map(|_| ()).unwrap_err().to_string(), "2:26: the elements of `w` are elided and not found");
    let again = parse_with(&text, &|c| (c.name == "w" && c.hash == data_hash(&data.bytes)).then(|| data.clone()));
    assert_eq!(again.expect("resolves").to_string(), text);
    let wrong = parse_with(&text, &|_| Some(random_data(DType::F32, &[100], 8, 0.5)));
    assert!(wrong.is_err_and(|e| e.message.contains("is not what was elided")));
}

/// Text of a broken graph, and where and what the error is.
#[test]
fn errors_name_the_place() {
    let mut report = String::new();
    let statements = [
        "input 0",
        "input %0 \"x\": f33[2]",
        "input %0 \"x\": f32[2",
        "input %0 \"x\": f32[-]",
        "input %0 \"x\": f32[99999999999999999999]",
        "input %0 \"x: f32[2]",
        "const %0 \"c\" = f32[2] {1.0}",
        "const %0 \"c\" = i8[1] {128}",
        "const %0 \"c\" = bool[1] {2.5}",
        "const %0 \"c\" = f32[n] {1}",
        "const %0 \"c\" = u8[1] {0x100}",
        "const %0 \"c\" = f32[9223372036854775807, 2] random(seed=1, density=1)",
        "const %0 \"c\" = f32[1] {1} const %0 \"c\" = f32[1] {1}",
        "%1 = relu (%0)",
        "%1 = relu ()",
        "%1 = flub ()",
        "%1 = map foo($0) ()",
        "%1 = map add($0 ()",
        "%1 = contract \"mk,kk->m\" ()",
        "%1 = reduce sum () axes [-1] keep true",
        "%1 = reduce sum () axes [0] keep maybe",
        "%1 = shape_of () of [1] format zebra<1>",
        "%1, %2 = shape_of () of [1]",
        "output \"y\" = %3",
        "output \"\\q\" = %3",
        "§",
    ];
    for statement in statements {
        let error = parse(&format!("graph @g {{\n  {statement}\n}}")).expect_err(statement);
        report += &format!("{statement}\n    {error}\n");
    }
    insta::assert_snapshot!("parse_errors", report);
}

#[test]
fn nesting_is_limited() {
    let deep = |open: &str, n: usize, close: &str| format!("{}1{}", open.repeat(n), close.repeat(n));
    assert!(parse_dim(&deep("(", 60, ")")).is_ok());
    assert!(parse_dim(&deep("(", 100_000, ")")).is_err_and(|e| e.message.contains("nested deeper")));
    let map = |n| format!("graph @g {{ const %0 \"c\" = f32[1] {{1}} %1 = map {} (%0) }}", deep("neg(", n, ")"));
    assert!(parse(&map(150)).is_ok());
    assert!(parse(&map(100_000)).is_err_and(|e| e.message.contains("nested deeper")));
    let wide = format!("({})", (0..100).map(|i| format!("a{i}")).collect::<Vec<_>>().join(" + "));
    let product = vec![wide; 10].join("*");
    assert!(parse_dim(&product).is_err_and(|e| e.message.contains("terms")));
}

#[test]
fn dims_print_in_canonical_form() {
    for (text, canonical) in [
        ("2*(seq + 1)", "2*seq + 2"),
        ("b*a - a*b", "0"),
        ("-a + 3*b*a", "3*a*b - a"),
        ("floordiv(4*n, 2)", "2*n"),
        ("floordiv(n + 1, 2)*2", "2*floordiv(n + 1, 2)"),
        ("floordiv(-7, 2)", "-4"),
        ("min(n, n + 1)", "n"),
        ("max(b, a)", "max(a, b)"),
        ("\"past + 1\" + \"min\"", "\"min\" + \"past + 1\""),
        ("-9223372036854775808*n", "-9223372036854775808*n"),
        ("floordiv(-9223372036854775808, -1)", "9223372036854775807"),
    ] {
        assert_eq!(parse_dim(text).map(|d| d.to_string()).as_deref(), Ok(canonical), "{text}");
    }
}

fn any_dim() -> impl Strategy<Value = Dim> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(Dim::constant),
        (-3i64..10).prop_map(Dim::constant),
        "[a-z]{1,3}|min|past [+] 1".prop_map(|s| Dim::sym(&s)),
    ];
    leaf.prop_recursive(4, 24, 2, |inner| {
        (inner.clone(), inner, 0..5).prop_map(|(a, b, op)| match op {
            0 => a + b,
            1 => a * b,
            2 => a.floor_div(&b),
            3 => a.minimum(&b),
            _ => a.maximum(&b),
        })
    })
}

/// Bits of every element type, specials included.
fn any_data() -> impl Strategy<Value = TensorData> {
    (0..DType::ALL.len(), prop::collection::vec(any::<u64>(), 0..6), any::<u8>()).prop_map(|(dtype, words, special)| {
        let dtype = DType::ALL[dtype];
        let mut bytes = Vec::new();
        for word in &words {
            // Sometimes all exponent bits, for NaNs and infinities of every payload.
            let word = if special & 1 == 1 && dtype.is_float() { word | 0x7ff0_7f80_7c00_7f80 } else { *word };
            bytes.extend_from_slice(&word.to_le_bytes()[..dtype.size()]);
        }
        TensorData { dtype, shape: vec![words.len()], bytes: bytes.into() }
    })
}

proptest! {
    #[test]
    fn graphs_read_back(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let graph = random_graph(&bytes);
        prop_assert_eq!(verify(&graph), Ok(()));
        let text = print(&graph, &PrintOptions { max_inline_elements: usize::MAX });
        let again = parse(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
        prop_assert_eq!(verify(&again), Ok(()));
        prop_assert_eq!(print(&again, &PrintOptions { max_inline_elements: usize::MAX }), text);
        prop_assert_eq!(again.node_count(), graph.node_count());
    }

    #[test]
    fn dims_read_back(dim in any_dim()) {
        prop_assert_eq!(parse_dim(&dim.to_string()).map_err(|e| TestCaseError::fail(format!("{e}: {dim}")))?, dim);
    }

    #[test]
    fn elements_read_back(data in any_data()) {
        let mut graph = Graph::new("g");
        let c = graph.add_constant("c", data.clone());
        graph.add_output("y", c);
        let again = parse(&graph.to_string()).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let (_, constant) = again.constants().next().ok_or_else(|| TestCaseError::fail("no constant"))?;
        prop_assert_eq!(show(&constant.data), show(&data));
        prop_assert_eq!(&constant.data, &data);
    }

    /// Mutated text gives a graph or an error.
    #[test]
    fn mutations_do_not_panic(at in 0..MLP.len(), len in 0usize..20, with in "[ -~%\"{}()\n]{0,6}") {
        let mut text: Vec<u8> = MLP.bytes().collect();
        let end = (at + len).min(text.len());
        text.splice(at..end, with.bytes());
        if let Ok(graph) = parse(&String::from_utf8_lossy(&text)) {
            let _ = verify(&graph);
            let _ = graph.to_string();
        }
    }
}

#[test]
fn attention_reads_back() {
    let text = r#"graph @g {
  input %0 "q": f32[2, s]
  input %1 "k": f32[t, 2]
  input %2 "mask": f32[t, 1]
  %3 "a" = attention "dq,kd->kq" "kq,kf->fq" keys "k" scores add(mul(acc, 0.5), $0) (%0, %1, %1, %2) : f32[2, s]
  output "y" = %3
}
"#;
    assert_eq!(parse(text).expect("a graph").to_string(), text);
}
