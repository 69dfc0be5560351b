//! Shape inference: rules with symbols, and errors that help.

mod common;

use sparsec_graph::{DType, Dim, InferError, Op, PoolAttrs, PoolKind, TensorType, infer_types, parse, parse_dim};

/// The inferred type of one operator, written in the text form over operands of these types; or the error.
fn infer(op: &str, operands: &[&str]) -> String {
    let mut text = String::from("graph @g {\n");
    for (i, ty) in operands.iter().enumerate() {
        text += &format!("input %{i} \"x{i}\": {ty}\n");
    }
    text += &format!("%99 = {op}\noutput \"y\" = %99\n}}");
    match parse(&text) {
        Ok(graph) => graph.ty(graph.outputs()[0].1).to_string(),
        Err(error) => error.message,
    }
}

#[test]
fn elementwise_operators_broadcast_symbols() {
    assert_eq!(infer("add (%0, %1)", &["f32[batch, 1, 3]", "f32[seq, 1]"]), "f32[batch, seq, 3]");
    assert_eq!(infer("eq (%0, %1)", &["i64[n]", "i64[]"]), "bool[n]");
    assert_eq!(infer("where (%0, %1, %2)", &["bool[n, 1]", "f16[2]", "f16[]"]), "f16[n, 2]");
    assert_eq!(infer("map select(lt($0, 1.0), $1, 0.0) (%0, %1)", &["i8[2]", "f32[n, 1]"]), "f32[n, 2]");
    assert_eq!(infer("map and(lt($0, 1.0), not($1)) (%0, %1)", &["i8[2]", "bool[]"]), "bool[2]");
}

#[test]
fn a_symbol_against_another_extent_is_an_error_with_a_way_out() {
    assert_eq!(
        infer("add (%0, %1)", &["f32[batch]", "f32[4]"]),
        "`add`: axis 0 of the broadcast shape has extents `batch` and `4`, which differ; fix the symbol with `--dim batch=4`"
    );
    assert_eq!(
        infer("mul (%0, %1)", &["f32[\"past + 1\"]", "f32[seq]"]),
        "`mul`: axis 0 of the broadcast shape has extents `\"past + 1\"` and `seq`, which differ; fix the symbol with \
         `--dim past + 1=VALUE`"
    );
    assert_eq!(
        infer("contract \"mk,bk->bm\" (%0, %1)", &["f32[2, 8]", "f32[b, k]"]),
        "`contract`: label `k` of `mk,bk->bm` has extents `8` and `k`, which differ; fix the symbol with `--dim k=8`"
    );
}

#[test]
fn contractions_and_windows() {
    assert_eq!(infer("contract \"mk,bsk->bsm\" (%0, %1)", &["f32[9, 8]", "f32[b, s, 8]"]), "f32[b, s, 9]");
    assert_eq!(infer("contract \"bhqd,bhkd->bhqk\" (%0, %1)", &["f32[b,2,s,4]", "f32[b,2,t,4]"]), "f32[b, 2, s, t]");
    let conv = "conv (%0, %1) strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1] groups 1";
    assert_eq!(infer(conv, &["f32[n, 3, 224, w]", "f32[64, 3, 7, 7]"]), "f32[n, 64, 112, floordiv(w - 1, 2) + 1]");
    let depthwise = "conv (%0, %1) strides [1] pads [(1, 1)] dilations [1] groups 4";
    assert_eq!(infer(depthwise, &["f32[1, 4, n]", "f32[4, 1, 3]"]), "f32[1, 4, n]");
    let pool = "pool max (%0) kernel [3] strides [2] pads [(1, 1)] dilations [1] ceil true";
    assert_eq!(infer(pool, &["f32[1, 4, 6]"]), "f32[1, 4, 4]");
}

#[test]
fn movement() {
    assert_eq!(infer("reshape (%0) to [batch*seq, 12]", &["f32[batch, seq, 3, 4]"]), "f32[batch*seq, 12]");
    assert_eq!(infer("reshape (%0) to [2, floordiv(n, 2)]", &["f32[n]"]), "f32[2, floordiv(n, 2)]");
    assert_eq!(infer("concat (%0, %1) axis 1", &["f32[b, past]", "f32[b, 1]"]), "f32[b, past + 1]");
    assert_eq!(infer("gather (%0, %1) axis 1", &["f32[2, v, 5]", "i32[b, s]"]), "f32[2, b, s, 5]");
    assert_eq!(infer("reduce max (%0) axes [0, 2] keep true", &["f32[a, b, c]"]), "f32[1, b, 1]");
    assert_eq!(infer("reduce max (%0) axes [0, 2] keep false", &["f32[a, b, c]"]), "f32[b]");
}

/// Operators on operands that don't suit them.
#[test]
fn errors() {
    let cases: &[(&str, &[&str])] = &[
        ("exp (%0)", &["i32[2]"]),
        ("not (%0)", &["f32[2]"]),
        ("add (%0, %1)", &["f32[2]", "f64[2]"]),
        ("and (%0, %1)", &["f32[2]", "f32[2]"]),
        ("map add($0, $2) (%0, %1)", &["f32[2]", "f32[2]"]),
        ("map add($0, acc) (%0)", &["f32[2]"]),
        ("map erf($0) (%0)", &["i32[2]"]),
        ("map 1.0 ()", &[]),
        ("clip (%0) lo nan hi 1", &["f32[2]"]),
        ("contract \"mk,bk->bm\" (%0, %1)", &["f32[2, 3, 4]", "f32[2, 3]"]),
        ("conv (%0, %1) strides [1] pads [(0, 0)] dilations [1] groups 2", &["f32[1, 4, 5]", "f32[3, 2, 3]"]),
        ("conv (%0, %1) strides [1] pads [(0, 0)] dilations [1] groups 0", &["f32[1, 4, 5]", "f32[3, 2, 3]"]),
        ("conv (%0, %1) strides [0] pads [(0, 0)] dilations [1] groups 1", &["f32[1, 4, 5]", "f32[3, 4, 3]"]),
        ("conv (%0, %1) strides [1] pads [(-1, 0)] dilations [1] groups 1", &["f32[1, 4, 5]", "f32[3, 4, 3]"]),
        ("conv (%0, %1) strides [1] pads [(0, 0)] dilations [9] groups 1", &["f32[1, 4, 5]", "f32[3, 4, 3]"]),
        ("conv (%0, %1) strides [1, 1] pads [(0, 0)] dilations [1] groups 1", &["f32[1, 4, 5]", "f32[3, 4, 3]"]),
        ("pool max (%0) kernel [2] strides [1] pads [(2, 0)] dilations [1] ceil false", &["f32[1, 1, 5]"]),
        ("pool average (%0) kernel [2] strides [1] pads [(0, 0)] dilations [1] ceil false", &["i32[1, 1, 5]"]),
        ("reduce sum (%0) axes [1, 0] keep true", &["f32[2, 2]"]),
        ("reduce sum (%0) axes [2] keep true", &["f32[2, 2]"]),
        ("reduce max (%0) axes [0] keep true", &["f32[0]"]),
        ("softmax (%0) axis 1", &["f32[2]"]),
        ("layer_norm (%0, %1, %1) axis 0 axes 2 epsilon 1e-5", &["f32[2, 2, 2]", "f32[2, 2]"]),
        ("layer_norm (%0, %1, %1) axis 1 axes 1 epsilon -1", &["f32[2, 2]", "f32[2]"]),
        ("batch_norm (%0, %1, %1, %1, %1) epsilon 0.1", &["f32[2, 3]", "f32[2]"]),
        ("reshape (%0) to [5]", &["f32[2, 3]"]),
        ("reshape (%0) to [4, 4]", &["f32[n]"]),
        ("reshape (%0) to [-2, -3]", &["f32[2, 3]"]),
        ("transpose (%0) perm [0, 0]", &["f32[2, 3]"]),
        ("expand (%0) to [2, 4]", &["f32[3]"]),
        ("slice (%0) ranges [(0, 3, 1)]", &["f32[2]"]),
        ("slice (%0) ranges [(1, 3, -1)]", &["f32[2]"]),
        ("slice (%0) ranges [(0, 2, 0)]", &["f32[2]"]),
        ("slice (%0) ranges [(0, 9223372036854775807, 9223372036854775807)]", &["f32[2]"]),
        ("concat () axis 0", &[]),
        ("concat (%0, %1) axis 0", &["f32[2, 3]", "f32[2, 4]"]),
        ("gather (%0, %1) axis 0", &["f32[2]", "f32[2]"]),
        ("pad (%0) amounts [(-3, 0)] value 0", &["f32[2]"]),
        ("expand (%0) to [1048576, 1048577]", &["f32[]"]),
        ("expand (%0) to [9223372036854775807, 9223372036854775807]", &["f32[]"]),
        ("relu (%0) epilogue add(acc, $0) (%0, %1)", &["f32[2]", "f32[3]"]),
        ("relu (%0) epilogue $1 (%0)", &["f32[2]"]),
    ];
    let mut report = String::new();
    for (op, operands) in cases {
        report += &format!("{op} : {}\n    {}\n", operands.join(", "), infer(op, operands));
    }
    insta::assert_snapshot!("infer_errors", report);
}

#[test]
fn epilogues_keep_the_type_or_make_it_bool() {
    assert_eq!(infer("softmax (%0) axis 0 epilogue mul(acc, $0) (%0)", &["f32[n]"]), "f32[n]");
    assert_eq!(infer("softmax (%0) axis 0 epilogue gt(acc, 0.5) ()", &["f32[n]"]), "bool[n]");
}

/// Extreme attributes neither panic nor overflow.
#[test]
fn extremes() {
    let extremes = [i64::MIN, -1, 0, 1, 1 << 31, i64::MAX];
    let x = TensorType::new(DType::F32, [Dim::sym("n"), 1.into(), i64::MAX.into()]);
    for a in extremes {
        for b in extremes {
            for c in extremes {
                let attrs = PoolAttrs {
                    kind: PoolKind::Max,
                    kernel: vec![a],
                    strides: vec![b],
                    pads: vec![(c, a)],
                    dilations: vec![c],
                    ceil: a > b,
                };
                let x = TensorType::new(DType::F32, [Dim::sym("n"), 1.into(), b.into()]);
                if let Ok(types) = infer_types(&Op::Pool(attrs), &[&x]) {
                    assert!(types[0].shape[2].as_const().is_some_and(|e| e >= 0));
                }
                let amounts = vec![(0, 0), (a, b), (c, a)];
                let _ = infer_types(&Op::Pad { amounts, value: 0.0 }, &[&x]);
            }
        }
    }
    assert!(matches!(infer_types(&Op::Softmax { axis: usize::MAX }, &[&x]), Err(InferError::Shape { .. })));
    let norm = Op::LayerNorm { axis: usize::MAX, axes: usize::MAX, epsilon: 0.0 };
    let small = TensorType::fixed(DType::F32, &[2]);
    assert!(matches!(infer_types(&norm, &[&small, &small, &small]), Err(InferError::Attribute { .. })));
}

#[test]
fn dims_evaluate_like_mathematics() {
    let bindings = [("a", -7), ("b", 2)].map(|(s, v)| (sparsec_graph::Symbol::new(s), v)).into_iter().collect();
    for (text, value) in [
        ("floordiv(a, b)", Some(-4)),
        ("floordiv(a, -b)", Some(3)),
        ("floordiv(b, a + 7)", None),
        ("min(a, b)*max(a, b)", Some(-14)),
        ("a*a*b - 1", Some(97)),
        ("9223372036854775807*b", None),
        ("c", None),
    ] {
        assert_eq!(parse_dim(text).expect(text).eval(&bindings), value, "{text}");
    }
}

#[test]
fn attention() {
    let op = |keys: &str, expr: &str, operands: &str| {
        format!("attention \"bhqd,bhkd->bhqk\" \"bhqk,bhkf->bqhf\" keys \"{keys}\" scores {expr} ({operands})")
    };
    let types = ["f32[n, 3, s, 8]", "f32[n, 3, t, 8]", "f32[n, 3, t, 5]", "f32[n, 1, 1, t]"];
    assert_eq!(infer(&op("k", "add(acc, $0)", "%0, %1, %2, %3"), &types), "f32[n, s, 3, 5]");
    assert_eq!(infer(&op("k", "acc", "%0, %1, %2"), &types[..3]), "f32[n, s, 3, 5]");
    for (op, types) in [
        (op("f", "acc", "%0, %1, %2"), &types[..3]),
        (op("kq", "acc", "%0, %1, %2"), &types[..3]),
        (op("k", "acc", "%0, %1"), &types[..2]),
        (op("k", "add(acc, $1)", "%0, %1, %2, %3"), &types[..]),
        (op("k", "lt(acc, $0)", "%0, %1, %2, %3"), &types[..]),
        // The mask is as long as the queries.
        (
            op("k", "add(acc, $0)", "%0, %1, %2, %3"),
            &["f32[1, 3, s, 8]", "f32[1, 3, t, 8]", types[2], "f32[1, 1, 1, s]"],
        ),
        // The second contraction takes other scores.
        (op("k", "acc", "%0, %1, %2").replace("bhqk,bhkf", "bhkq,bhkf"), &types[..3]),
    ] {
        let message = infer(&op, types);
        assert!(message.contains("attention") || message.contains("label"), "{op}: {message}");
    }
}
