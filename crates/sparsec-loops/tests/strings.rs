//! Kernels on texts, against values by hand.

mod common;

use common::run;
use sparsec_graph::{DType, Symbol, TensorData};
use sparsec_loops::{
    CaseTable, Separator, change_case, concat_strings, equal_strings, find_numbers, find_strings, keep_strings,
    parse_numbers, powers_of_ten, resize_strings, split_strings,
};

fn texts(texts: &[&str]) -> TensorData {
    TensorData::strings(&[texts.len()], &texts.iter().map(|t| t.as_bytes()).collect::<Vec<_>>())
}

/// The texts of a tensor.
#[track_caller]
fn words(data: &TensorData) -> Vec<String> {
    let texts = data.as_strings().expect("texts");
    texts.into_iter().map(|t| String::from_utf8(t.to_vec()).expect("UTF-8")).collect()
}

#[test]
fn widths_do_not_matter() {
    let (x, y) = (texts(&["a", "b", "", "abc"]), texts(&["a", "bcde", "", "ab"]));
    assert_eq!(run(equal_strings(&x.ty(), &y.ty()), &[x.clone(), y.clone()])[0].bytes.as_ref(), [1, 0, 1, 0]);
    assert_eq!(run(equal_strings(&y.ty(), &x.ty()), &[y.clone(), x.clone()])[0].bytes.as_ref(), [1, 0, 1, 0]);
    assert_eq!(run(find_strings(&x.ty(), &y.ty()), &[x.clone(), y.clone()])[0].as_i64(), Some(vec![0, 4, 2, 4]));
    assert_eq!(words(&run(concat_strings(&x.ty(), &y.ty()), &[x.clone(), y])[0]), ["aa", "bbcde", "", "abcab"]);
    let wide = &run(resize_strings(&x.ty(), &sparsec_graph::Dim::constant(5)), std::slice::from_ref(&x))[0];
    assert_eq!((wide.shape.as_slice(), words(wide)), ([4, 5].as_slice(), words(&x)));
    let narrow = &run(resize_strings(&x.ty(), &sparsec_graph::Dim::constant(2)), &[x])[0];
    assert_eq!(words(narrow), ["a", "b", "", "ab"]);
}

#[test]
fn numbers_are_found_by_value() {
    let (x, keys) =
        (TensorData::f32(&[4], vec![f32::NAN, -0.0, 2.0, 3.0]), TensorData::f32(&[3], vec![0.0, 3.0, f32::NAN]));
    assert_eq!(run(find_numbers(&x.ty(), &keys.ty()), &[x, keys])[0].as_i64(), Some(vec![2, 0, 3, 1]));
}

#[test]
fn parts_between_separators() {
    let split = |x: &[&str], by: &str, limit| {
        let x = texts(x);
        let separator = if by.is_empty() { Separator::WhiteSpace } else { Separator::Text(by.len()) };
        let spec = split_strings(&x.ty(), separator, limit, &Symbol::new("m"));
        let mut operands = vec![x];
        if !by.is_empty() {
            operands.push(TensorData::strings(&[], &[by.as_bytes()]));
        }
        let results = run(spec, &operands);
        (results[0].shape[1], words(&results[0]), results[1].as_i64().expect("integers"))
    };
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    assert_eq!(split(&["a--b", "-c"], "-", None), (3, owned(&["a", "", "b", "", "c", ""]), vec![3, 2]));
    assert_eq!(split(&["aaaa", "aab"], "aa", None), (3, owned(&["", "", "", "", "b", ""]), vec![3, 2]));
    assert_eq!(split(&["a-b-c", ""], "-", Some(1)), (2, owned(&["a", "b-c", "", ""]), vec![2, 1]));
    assert_eq!(split(&[" a  b ", "", "c"], "", None), (2, owned(&["a", "b", "", "", "c", ""]), vec![2, 0, 1]));
    assert_eq!(split(&[" a\t b c "], "", Some(1)), (2, owned(&["a", "b c "]), vec![2]));
    assert_eq!(split(&[" ", ""], "", None), (0, vec![], vec![0, 0]));
}

#[test]
fn letters_change_where_their_length_stays() {
    let x = texts(&["aZ9\u{e9}\u{3b1}\u{448}\u{1ea1}", "\u{df}\u{131}\u{ff}", "\u{4e2d}\u{1f600}"]);
    let upper = run(change_case(&x.ty()), &[x.clone(), CaseTable::Upper.data()]);
    assert_eq!(words(&upper[0]), ["AZ9\u{c9}\u{391}\u{428}\u{1ea0}", "\u{df}\u{131}\u{178}", "\u{4e2d}\u{1f600}"]);
    let lower = run(change_case(&x.ty()), &[upper[0].clone(), CaseTable::Lower.data()]);
    assert_eq!(words(&lower[0]), ["az9\u{e9}\u{3b1}\u{448}\u{1ea1}", "\u{df}\u{131}\u{ff}", "\u{4e2d}\u{1f600}"]);
    // Bytes that are no UTF-8, at the end of the room that there is, stay.
    let cut = TensorData { dtype: DType::String, shape: vec![2, 2], bytes: b"a\xc3\xe1\xba"[..].into() };
    assert_eq!(run(change_case(&cut.ty()), &[cut, CaseTable::Upper.data()])[0].bytes.as_ref(), b"A\xc3\xe1\xba");
}

#[test]
fn what_is_left_is_never_nothing() {
    let x = texts(&["a", "bc", "d"]);
    let keep = |places: [i64; 3]| {
        let spec = keep_strings(&x.ty(), 1, &Symbol::new("n"));
        words(&run(spec, &[x.clone(), TensorData::i64(&[3], places.to_vec())])[0])
    };
    assert_eq!(keep([1, 0, 1]), ["a", "d"]);
    assert_eq!(keep([0, 0, 0]), [""]);
}

#[test]
fn decimal_numbers_are_read() {
    let written = [
        "0",
        "-0.5",
        "+12",
        "3.25",
        "1e3",
        "-2.5E-2",
        ".5",
        "7.",
        "123456789012345678",
        "1e308",
        "4e-320",
        "0.1",
        "1e400",
        "inf",
        "-INF",
    ];
    let x = texts(&written);
    let results = run(parse_numbers(&x.ty()), &[x, powers_of_ten()]);
    let found = results[0].values::<f64>().expect("f64").into_owned();
    for (text, found) in written.iter().zip(found) {
        let expected: f64 = text.parse().expect("a number");
        let close = found == expected
            || (found - expected).abs() <= 1e-15 * expected.abs()
            || (found - expected).abs() < 1e-322;
        assert!(close, "{text} is {found}");
    }
    assert_eq!(
        results[1].as_i64().map(|v| [v[1], v[2], v[3], v[4], v[8]]),
        Some([0, 12, 3, 1000, 123_456_789_012_345_678])
    );
    let none = texts(&["", "-", ".", "e5", "1.2.3", "1-2", "1e2e3", "12x", "nan", "5inf"]);
    let results = run(parse_numbers(&none.ty()), &[none, powers_of_ten()]);
    assert!(results[0].values::<f64>().expect("f64").iter().all(|v| v.is_nan()), "{:?}", results[0].values::<f64>());
    assert_eq!(results[1].as_i64(), Some(vec![0; 10]));
}
