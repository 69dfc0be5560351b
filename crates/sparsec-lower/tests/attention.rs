//! Attention under constant masks: keys that no query of a tile has are left out, and the result is that of all keys.

mod common;

use common::check;

/// A mask of `queries` for each of `keys`, in that order of axes, as text.
fn mask((keys, queries): (i64, i64), kept: impl Fn(i64, i64) -> bool, (yes, no): (&str, &str)) -> String {
    let at = |i: i64| if kept(i / queries, i % queries) { yes } else { no };
    (0..keys * queries).map(at).collect::<Vec<_>>().join(", ")
}

/// The names of the kernels of an attention of three heads with a constant operand.
fn attention((keys, queries): (i64, i64), constant: &str, expr: &str) -> Vec<String> {
    let text = format!(
        "graph @g {{\n input %0 \"q\": f32[2, 3, 5, {queries}]\n input %1 \"k\": f32[2, 3, {keys}, 5]\n \
         input %2 \"v\": f32[2, 3, 7, {keys}]\n const %3 \"mask\" = {constant}\n \
         %4 = attention \"bhdq,bhkd->bhkq\" \"bhkq,bhfk->bhfq\" keys \"k\" scores {expr} (%0, %1, %2, %3)\n output \"y\" = %4\n}}"
    );
    check(&text, &[])
}

fn is_sampled(names: &[String]) -> bool {
    names.iter().all(|name| name.contains("attention_sampled"))
}

#[test]
fn masks_that_are_added() {
    for masked in ["-inf", "-3.4028235e38", "-1e30"] {
        for (keys, queries) in [(300, 300), (161, 97)] {
            let band = mask((keys, queries), |k, q| (k - q).abs() <= 9, ("0.0", masked));
            let names =
                attention((keys, queries), &format!("f32[{keys}, {queries}] {{{band}}}"), "add(mul(acc, 0.5), $0)");
            assert!(is_sampled(&names), "{names:?}");
        }
    }
}

#[test]
fn patterns_of_each_head() {
    let (keys, queries) = (150, 140);
    let heads = [
        mask((keys, queries), |k, q| k / 16 == q / 16, ("0.0", "-inf")),
        mask((keys, queries), |k, q| (k * 7 + q / 64) % 20 == 0, ("1.5", "-inf")),
        // One key for all queries, as a token that stands for the sentence.
        mask((keys, queries), |k, _| k == 77, ("-2.0", "-inf")),
    ];
    let constant = format!("f32[3, {keys}, {queries}] {{{}}}", heads.join(", "));
    assert!(is_sampled(&attention((keys, queries), &constant, "add(acc, $0)")));
}

#[test]
fn conditions() {
    let (keys, queries) = (130, 130);
    let near = mask((keys, queries), |k, q| q - k >= 0 && q - k < 6, ("true", "false"));
    let constant = format!("bool[1, 1, {keys}, {queries}] {{{near}}}");
    assert!(is_sampled(&attention((keys, queries), &constant, "select($0, mul(acc, 4.0), -3.4028235e38)")));
}

/// A query without any key weighs all of them alike, so its tile has all.
#[test]
fn queries_without_keys() {
    let (keys, queries) = (128, 256);
    let kept = mask((keys, queries), |k, q| q != 3 && (k - q / 2).abs() < 2, ("0.0", "-3.4028235e38"));
    let names = attention((keys, queries), &format!("f32[{keys}, {queries}] {{{kept}}}"), "add(acc, $0)");
    assert!(names.iter().any(|name| name.contains("attention_sampled")), "{names:?}");
    let none = mask((keys, queries), |_, _| false, ("0.0", "-3.4028235e38"));
    let names = attention((keys, queries), &format!("f32[{keys}, {queries}] {{{none}}}"), "add(acc, $0)");
    assert!(!names.iter().any(|name| name.contains("attention_sampled")), "{names:?}");
}

/// Where most is kept, where a mask only lowers scores, and where it is known at run time only.
#[test]
fn what_is_computed_in_full() {
    let (keys, queries) = (64, 64);
    for (constant, expr) in [
        (mask((keys, queries), |k, q| (k + q) % 8 != 0, ("0.0", "-inf")), "add(acc, $0)"),
        (mask((keys, queries), |k, q| (k - q).abs() < 2, ("0.0", "-100.0")), "add(acc, $0)"),
        (mask((keys, queries), |k, q| (k - q).abs() < 2, ("1.0", "0.0")), "mul(acc, $0)"),
    ] {
        let names = attention((keys, queries), &format!("f32[{keys}, {queries}] {{{constant}}}"), expr);
        assert!(!names.iter().any(|name| name.contains("attention_sampled")), "{names:?}");
    }
    let one = attention((1, 1), "f32[1] {0.0}", "add(acc, $0)");
    assert!(!is_sampled(&one), "{one:?}");
}
