//! Operators on texts; values by hand.

use sparsec_graph::TensorData;

use crate::model::{INT64, Model, STRING, int, ints, string, strings};

fn texts(shape: &[usize], texts: &[&str]) -> TensorData {
    TensorData::strings(shape, &texts.iter().map(|t| t.as_bytes()).collect::<Vec<_>>())
}

/// Shape and elements of a tensor of texts.
#[track_caller]
fn words(data: &TensorData) -> (Vec<usize>, Vec<&str>) {
    let (_, shape) = data.shape.split_last().expect("the bytes are an axis");
    let texts = data.as_strings().expect("texts");
    (shape.to_vec(), texts.into_iter().map(|t| std::str::from_utf8(t).expect("UTF-8")).collect())
}

#[test]
fn operators_that_move_take_texts() {
    let x = texts(&[2, 2], &["a", "bb", "ccc", ""]);
    let one = |op: &str, attributes| {
        let model = Model::new(13).input("x", STRING, "2 n").ints("i", &[1, 0]).node(op, "x i", "y", attributes);
        model.output("y").run(std::slice::from_ref(&x))
    };
    assert_eq!(words(&one("Gather", vec![int("axis", -1)])), (vec![2, 2], vec!["bb", "a", "", "ccc"]));
    let model = Model::new(13).input("x", STRING, "2 n").node("Transpose", "x", "y", vec![ints("perm", &[1, 0])]);
    let y = model.node("Shape", "x", "s", vec![]).output("y").output("s").run_all(std::slice::from_ref(&x));
    assert_eq!(words(&y[0]), (vec![2, 2], vec!["a", "ccc", "bb", ""]));
    assert_eq!(y[1].as_i64(), Some(vec![2, 2]));
    let model = Model::new(13)
        .input("x", STRING, "2 2")
        .input("z", STRING, "2 1")
        .node("Concat", "x z", "c", vec![int("axis", 1)])
        .node("Equal", "x z", "e", vec![])
        .node("Where", "e x z", "w", vec![])
        .output("c")
        .output("w");
    let z = texts(&[2, 1], &["bb", "long text"]);
    let y = model.run_all(&[x.clone(), z]);
    assert_eq!(words(&y[0]), (vec![2, 3], vec!["a", "bb", "bb", "ccc", "", "long text"]));
    assert_eq!(words(&y[1]), (vec![2, 2], vec!["bb", "bb", "long text", "long text"]));
    let model = Model::new(13).input("x", STRING, "2 2").node("Unique", "x", "y first which often", vec![]);
    let again = texts(&[2, 2], &["b", "ab", "b", "a"]);
    let y = model.output("y").output("which").run_all(&[again]);
    assert_eq!((words(&y[0]).1, y[1].as_i64()), (vec!["a", "ab", "b"], Some(vec![2, 1, 2, 0])));
}

#[test]
fn labels_and_words_have_numbers() {
    let ml = |model: Model| {
        let mut model = model;
        for node in &mut model.graph().node {
            node.domain = "ai.onnx.ml".into();
        }
        let version =
            onnx_protobuf::OperatorSetIdProto { domain: "ai.onnx.ml".into(), version: 4, ..Default::default() };
        model.proto.opset_import.push(version);
        model
    };
    let keys = vec![ints("keys_int64s", &[5, 7]), strings("values_strings", &["five", "seven"])];
    let model = ml(Model::new(13).input("x", INT64, "3").node("LabelEncoder", "x", "y", keys).output("y"));
    let y = model.run(&[TensorData::i64(&[3], vec![7, 6, 5])]);
    assert_eq!(words(&y), (vec![3], vec!["seven", "_Unused", "five"]));
    let grams = vec![
        strings("pool_strings", &["a", "b", "b", "a"]),
        ints("ngram_counts", &[0, 2]),
        ints("ngram_indexes", &[0, 1, 2]),
        int("min_gram_length", 1),
        int("max_gram_length", 2),
        int("max_skip_count", 0),
        string("mode", "TF"),
    ];
    let model = Model::new(13).input("x", STRING, "n").node("TfIdfVectorizer", "x", "y", grams).output("y");
    let y = model.run(&[texts(&[4], &["a", "b", "a", "c"])]);
    assert_eq!(y.as_f32().as_deref(), Some([2.0, 1.0, 1.0].as_slice()));
}

#[test]
fn texts_become_numbers() {
    let cast = |to, words: &[&str]| {
        let model = Model::new(20).input("x", STRING, "n").node("Cast", "x", "y", vec![int("to", to)]).output("y");
        model.run(&[texts(&[words.len()], words)])
    };
    assert_eq!(cast(1, &["0.1", "-2e3"]).as_f32().as_deref(), Some([0.1, -2000.0].as_slice()));
    assert_eq!(cast(6, &["12", "-7"]).as_i64(), Some(vec![12, -7]));
}

#[test]
fn what_texts_cannot_do_is_an_error() {
    let error = |op: &str, attributes| {
        Model::new(20).input("x", STRING, "2").node(op, "x", "y", attributes).output("y").error()
    };
    assert!(error("Relu", vec![]).contains("a text as an operand of Relu is not supported"));
    assert!(error("RegexFullMatch", vec![string("pattern", "(")]).contains("attribute `pattern`"));
    let turkish = vec![string("case_change_action", "UPPER"), string("locale", "tr_TR")];
    assert!(error("StringNormalizer", turkish).contains("the cases of the locale `tr_TR`"));
    let cast = Model::new(20).input("x", INT64, "2").node("Cast", "x", "y", vec![int("to", 8)]).output("y");
    assert!(cast.error().contains("writing numbers as text is not supported"));
}
