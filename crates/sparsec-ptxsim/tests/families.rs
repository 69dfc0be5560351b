//! Every kind of kernel, in every format and precision that it has: what runs on the simulator has the bits of the interpreter of the
//! tensor IR. Sizes divide nothing, rows and blocks are empty, and there may be one token.
//!
//! The tests say which kinds of kernels they ran, so that a kind that is no longer chosen is noticed.

mod agree;

use std::collections::{BTreeMap, BTreeSet};

use agree::{Ran, check_on, check_with};
use sparsec_graph::Symbol;
use sparsec_lower::{LowerOptions, TargetInfo};
use sparsec_tir::Precision;

/// `f32` and those of tensor cores.
const PRECISIONS: [Option<Precision>; 4] = [None, Some(Precision::F16), Some(Precision::BF16), Some(Precision::TF32)];

const FORMATS: [&str; 13] = [
    "dense",
    "csr",
    "bsr<1,4>",
    "bsr<4,1>",
    "bsr<8,8>",
    "bsr<16,16>",
    "bsr<32,4>",
    "nm<2,4>",
    "nm<1,4>",
    "hyb<64,4,2>",
    "hyb<8,1,4>",
    "pruned<dense>",
    "pruned<csr>",
];

/// The element of a weight: blocks of 16 x 16 of which a third are empty, all of the second row of blocks; row 2 and column 4 are
/// zero, and N:M formats keep their share.
fn element(format: &str, row: usize, col: usize) -> f32 {
    let kept = match format {
        "nm<2,4>" => (col + row) % 4 < 2,
        "nm<1,4>" => (col + row).is_multiple_of(4),
        _ => (row * 5 + col * 3) % 7 < 4,
    };
    let empty = row / 16 == 1 || (row / 16 * 5 + col / 16 * 2).is_multiple_of(3) || row == 2 || col == 4;
    if kept && !empty { ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.125 } else { 0.0 }
}

/// A layer with a bias and a limit at zero: `x` is (inputs, tokens), or (tokens, inputs).
fn linear(format: &str, (m, k): (usize, usize), n: &str, by_token: bool) -> String {
    linear_of(&|row, col| element(format, row, col), format, (m, k), n, by_token)
}

/// The same of other elements.
fn linear_of(
    element: &dyn Fn(usize, usize) -> f32,
    format: &str,
    (m, k): (usize, usize),
    n: &str,
    by_token: bool,
) -> String {
    let weight: Vec<String> = (0..m * k).map(|i| format!("{:?}", element(i / k, i % k))).collect();
    let (x, y, spec, bias) = match by_token {
        true => (format!("{n}, {k}"), format!("{n}, {m}"), "mk,nk->nm", format!("{m}")),
        false => (format!("{k}, {n}"), format!("{m}, {n}"), "mk,kn->mn", format!("{m}, 1")),
    };
    format!(
        "graph @g {{\n input %0 \"x\": f32[{x}]\n const %1 \"w\" = f32[{m}, {k}] {{{}}}\n \
         const %2 \"b\": f32[{bias}] random(seed=3, density=1.0)\n \
         %3 \"fc\" = contract \"{spec}\" (%1, %0) epilogue max(add(acc, $0), 0.0) (%2) format {format} : f32[{y}]\n \
         output \"y\" = %3\n}}",
        weight.join(", ")
    )
}

/// Adds what ran: kinds by format and precision.
fn note(ran: &Ran, kinds: &mut BTreeMap<String, BTreeSet<String>>, what: &str) {
    for name in &ran.kernels {
        kinds.entry(name.clone()).or_default().insert(what.to_owned());
    }
}

fn table(kinds: &BTreeMap<String, BTreeSet<String>>) -> String {
    let line = |(kind, what): (&String, &BTreeSet<String>)| {
        format!("{kind}: {}", what.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
    };
    kinds.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn weights_in_every_format_and_precision() {
    let mut kinds = BTreeMap::new();
    for precision in PRECISIONS {
        let target = TargetInfo::WARP.with_precision(precision);
        let name = precision.map_or("f32", Precision::name);
        for format in FORMATS {
            for n in [1, 5, 37] {
                for by_token in [true, false] {
                    let text = linear(format, (53, 75), &n.to_string(), by_token);
                    note(&check_on(&target, &text, &[]), &mut kinds, &format!("{format} {name}"));
                }
            }
            // Rows of whole blocks, one token.
            let text = linear(format, (48, 75), "1", true);
            note(&check_on(&target, &text, &[]), &mut kinds, &format!("{format} {name}"));
        }
    }
    insta::assert_snapshot!(table(&kinds));
}

/// Scores at a constant pattern: of heads with patterns of their own, where one query has no key and takes all.
#[test]
fn sampled_attention() {
    let mut kinds = BTreeMap::new();
    for (keys, queries) in [(160i64, 150i64), (96, 5), (40, 1)] {
        let kept = |head: i64, key: i64, query: i64| match head {
            0 => key % 32 == query % 3 && query != 2,
            _ => key == 7 || key % 16 == head,
        };
        let mask: Vec<&str> = (0..3 * keys * queries)
            .map(|i| (i / (keys * queries), i / queries % keys, i % queries))
            .map(|(head, key, query)| if kept(head, key, query) { "0.25" } else { "-3.4028235e38" })
            .collect();
        let text = format!(
            "graph @g {{\n input %0 \"q\": f32[2, 3, {queries}, 9]\n input %1 \"k\": f32[2, 3, {keys}, 9]\n const %2 \"mask\" = f32[3, \
             {keys}, {queries}] {{{}}}\n %3 = attention \"bhqd,bhkd->bhkq\" \"bhkq,bhkf->bhfq\" keys \"k\" scores add(mul(acc, 4.0), $0) \
             (%0, %1, %1, %2)\n output \"y\" = %3\n}}",
            mask.join(", ")
        );
        let ran = check_on(&TargetInfo::WARP, &text, &[]);
        note(&ran, &mut kinds, "sampled attention");
    }
    assert!(kinds.keys().all(|kind| kind.contains("attention_sampled")), "{kinds:?}");
}

/// Steps of a weight that are not all zero: 16 rows by the columns of one product.
fn steps(format: &str, extents: (usize, usize), depth: usize) -> u64 {
    steps_of(&|row, col| element(format, row, col), extents, (16, depth))
}

/// The same of other elements, in steps of other heights.
fn steps_of(element: &dyn Fn(usize, usize) -> f32, (m, k): (usize, usize), (height, depth): (usize, usize)) -> u64 {
    let is_zero = |row: usize, col: usize| {
        let mut elements = (row..(row + height).min(m)).flat_map(|r| (col..(col + depth).min(k)).map(move |c| (r, c)));
        elements.all(|(r, c)| element(r, c) == 0.0)
    };
    let all = (0..m).step_by(height).flat_map(|row| (0..k).step_by(depth).map(move |col| (row, col)));
    all.filter(|&(row, col)| !is_zero(row, col)).count() as u64
}

/// Empty blocks are not multiplied: neither those of an empty row of blocks nor others, in tasks of one, two and four blocks of rows.
/// How many a task has depends on the tokens that are expected, not on those that come.
#[test]
fn empty_blocks_have_no_iterations() {
    let (m, k, n) = (53, 139, 35_u64);
    for precision in Precision::ALL {
        let target = TargetInfo::WARP.with_precision(Some(precision));
        let wide = if precision == Precision::TF32 { 8 } else { 16 };
        for (format, depth) in [("dense", wide), ("bsr<16,16>", wide), ("nm<2,4>", 32)] {
            if (format, precision) == ("nm<2,4>", Precision::TF32) {
                continue;
            }
            let entries = steps(format, (m, k), depth);
            let all = (m.div_ceil(16) * k.div_ceil(depth)) as u64;
            assert!(entries < all, "{entries} of {all}");
            for by_token in [true, false] {
                let mut instructions = Vec::new();
                for expected in [64, 1056 * 16, 1056 * 32] {
                    let options =
                        LowerOptions { nominal: [(Symbol::new("n"), expected)].into(), ..LowerOptions::default() };
                    let text = linear(format, (m, k), "n", by_token);
                    let ran = check_with((&target, &options), &text, &[n as i64]);
                    // Four products of 8 tokens each, for each 32 tokens.
                    assert_eq!(ran.counts.matrix_products, entries * 4 * n.div_ceil(32), "{format} {expected}");
                    instructions.push(ran.counts.instructions);
                }
                // Higher tasks pack X less often.
                assert!(instructions.is_sorted_by(|a, b| a > b), "{instructions:?}");
            }
        }
    }
}

/// Bitmaps: sizes that divide nothing with tiles and rows of tiles that are empty, or tiles that all have a nonzero; one and two blocks of
/// rows, four and eight warps; and a weight of zeros.
#[test]
fn bitmaps() {
    let mut kinds = BTreeMap::new();
    let full = |row: usize, col: usize| {
        if (row * 7 + col * 5) % 10 < 4 { ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.13 } else { 0.0 }
    };
    let sparse = |row: usize, col: usize| element("bitmap", row, col);
    let dense = |row: usize, col: usize| (row * 3 + col) as f32 * 0.01 - 0.4;
    for precision in [Precision::F16, Precision::BF16] {
        let target = TargetInfo::WARP.with_precision(Some(precision));
        for by_token in [true, false] {
            for (n, pixels) in [(1, 8), (5, 8), (13, 16), (37, 32)] {
                let text = linear("bitmap", (53, 75), &n.to_string(), by_token);
                let ran = check_on(&target, &text, &[]);
                note(&ran, &mut kinds, &format!("tiles left out {}", precision.name()));
                let expected = steps("bitmap", (53, 75), 16) * pixels / 8 * u64::div_ceil(n, pixels);
                assert_eq!(ran.counts.matrix_products, expected, "{n}");
            }
            for (m, k, n, expected) in [(64, 96, 9, 9), (64, 96, 9, 2112), (32, 544, 3, 3), (16, 512, 40, 40)] {
                let options =
                    LowerOptions { nominal: [(Symbol::new("n"), expected)].into(), ..LowerOptions::default() };
                for (name, element) in
                    [("full", &full as &dyn Fn(usize, usize) -> f32), ("dense", &dense), ("", &sparse)]
                {
                    let ran =
                        check_with((&target, &options), &linear_of(element, "bitmap", (m, k), "n", by_token), &[n]);
                    note(&ran, &mut kinds, &format!("{m} x {k} {name} {}", precision.name()));
                }
            }
            let ran = check_on(&target, &linear_of(&|_, _| 0.0, "bitmap", (20, 36), "5", by_token), &[]);
            assert_eq!(ran.counts.matrix_products, 0);
        }
    }
    insta::assert_snapshot!(table(&kinds));
}

/// Teams of four warps: sizes that divide nothing, with empty rows of blocks, or none; whether all steps have entries or not. They are chosen for the
/// tokens that are expected.
#[test]
fn teams() {
    let mut kinds = BTreeMap::new();
    let full = |row: usize, col: usize| {
        if (row + col) % 4 < 2 { ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.13 } else { 0.0 }
    };
    for precision in Precision::ALL {
        let target = TargetInfo::WARP.with_precision(Some(precision));
        let wide = if precision == Precision::TF32 { 8 } else { 16 };
        for (format, depth) in [("dense", wide), ("bsr<16,16>", wide), ("nm<2,4>", 32)] {
            if (format, precision) == ("nm<2,4>", Precision::TF32) {
                continue;
            }
            let options = LowerOptions { nominal: [(Symbol::new("n"), 64 * 132)].into(), ..LowerOptions::default() };
            for by_token in [true, false] {
                for (m, k, n) in [(150, 139, 70), (65, 20, 3)] {
                    let ran = check_with((&target, &options), &linear(format, (m, k), "n", by_token), &[n]);
                    let expected = steps(format, (m, k), depth) * 8 * (n as u64).div_ceil(64);
                    assert_eq!(ran.counts.matrix_products, expected, "{format} {m} x {k}");
                    note(&ran, &mut kinds, &format!("{format} {}", precision.name()));
                }
                // 128 rows and whole parts, of which no step is empty.
                let text = linear_of(&full, format, (128, 192), "n", by_token);
                let ran = check_with((&target, &options), &text, &[70]);
                assert_eq!(ran.counts.matrix_products, (8 * 192 / depth * 16) as u64);
                note(&ran, &mut kinds, &format!("{format} {}, full", precision.name()));
            }
        }
    }
    insta::assert_snapshot!(table(&kinds));
}

/// The element of a weight of blocks of 64 x 16, of which some are empty, all of the second row of blocks.
fn tall(format: &str, row: usize, col: usize) -> f32 {
    let empty = row / 64 == 1 || (row / 64 * 5 + col / 16 * 2).is_multiple_of(5) || row == 2 || col == 4;
    let kept = if format == "nm<2,4>" { (col + row) % 4 < 2 } else { (row * 5 + col * 3) % 7 < 4 };
    if kept && !empty { ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.13 } else { 0.0 }
}

/// Groups of four warps that multiply together, on GPUs of compute capability 9.0: as `teams`, with steps of 64 rows.
#[test]
fn groups() {
    let mut kinds = BTreeMap::new();
    let full = |row: usize, col: usize| {
        if (row + col) % 4 < 2 { ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.13 } else { 0.0 }
    };
    for precision in [Precision::F16, Precision::BF16] {
        let target = TargetInfo::WARP.with_capability(90).with_precision(Some(precision));
        for (format, depth) in [("dense", 16), ("pruned<dense>", 16), ("bsr<64,16>", 16)] {
            let options = LowerOptions { nominal: [(Symbol::new("n"), 64 * 132)].into(), ..LowerOptions::default() };
            for by_token in [true, false] {
                for (m, k, n) in [(150, 139, 70), (65, 20, 3), (199, 90, 64)] {
                    let text = linear_of(&|row, col| tall(format, row, col), format, (m, k), "n", by_token);
                    let ran = check_with((&target, &options), &text, &[n]);
                    let expected = steps_of(&|row, col| tall(format, row, col), (m, k), (64, depth));
                    assert_eq!(ran.counts.matrix_products, expected * (n as u64).div_ceil(64), "{format} {m} x {k}");
                    note(&ran, &mut kinds, &format!("{format} {}", precision.name()));
                }
                // 128 rows and whole parts, of which no step is empty.
                let text = linear_of(&full, format, (128, 192), "n", by_token);
                let ran = check_with((&target, &options), &text, &[70]);
                assert_eq!(ran.counts.matrix_products, (2 * 192 / depth * 2) as u64);
                note(&ran, &mut kinds, &format!("{format} {}, full", precision.name()));
            }
        }
    }
    insta::assert_snapshot!(table(&kinds));
}

/// Where most steps of 64 rows would be zeros, warps multiply for themselves; so they do in `tf32`, and on other GPUs.
#[test]
fn groups_where_they_pay() {
    let one_in_four = |row: usize, _: usize| if row / 16 % 4 == 1 { 0.75 } else { 0.0 };
    let options = LowerOptions { nominal: [(Symbol::new("n"), 64 * 132)].into(), ..LowerOptions::default() };
    let run = |capability: u32, precision: Precision, element: &dyn Fn(usize, usize) -> f32| {
        let target = TargetInfo::WARP.with_capability(capability).with_precision(Some(precision));
        check_with((&target, &options), &linear_of(element, "bsr<16,16>", (128, 32), "n", true), &[9]).kernels
    };
    let half = |row: usize, _: usize| if row % 64 < 32 { 0.0 } else { 0.75 };
    assert_eq!(run(90, Precision::F16, &|_, _| 0.75), ["k0_gemm_group"]);
    assert_eq!(run(90, Precision::F16, &one_in_four), ["k0_gemm_team"]);
    assert_eq!(run(90, Precision::F16, &half), ["k0_gemm_team"]);
    assert_eq!(run(90, Precision::TF32, &|_, _| 0.75), ["k0_gemm_team"]);
    assert_eq!(run(80, Precision::F16, &|_, _| 0.75), ["k0_gemm_team"]);
    assert_eq!(run(100, Precision::F16, &|_, _| 0.75), ["k0_gemm_team"]);
}

/// Batches of images in lines, and a weight of zeros.
#[test]
fn teams_of_images_and_zeros() {
    let target = TargetInfo::WARP.with_precision(Some(Precision::F16));
    let options = LowerOptions { nominal: [(Symbol::new("n"), 132)].into(), ..LowerOptions::default() };
    let ran = check_with((&target, &options), &conv("dense", "80, 40, 1, 1", "n, 40, 9, 11", POINT), &[2]);
    assert_eq!(ran.kernels, ["k0_gemm_team"]);
    let hopper = target.with_capability(90);
    let ran = check_with((&hopper, &options), &conv("dense", "80, 40, 1, 1", "n, 40, 9, 11", POINT), &[2]);
    assert_eq!(ran.kernels, ["k0_gemm_group"]);
    let options = LowerOptions { nominal: [(Symbol::new("n"), 64 * 132)].into(), ..LowerOptions::default() };
    for format in ["bsr<16,16>", "nm<2,4>"] {
        let ran = check_with((&target, &options), &linear_of(&|_, _| 0.0, format, (80, 40), "n", true), &[5]);
        assert_eq!(ran.counts.matrix_products, 0);
        let ran = check_with((&hopper, &options), &linear_of(&|_, _| 0.0, format, (80, 40), "n", true), &[5]);
        assert_eq!(ran.counts.matrix_products, 0);
    }
}

/// A weight without an entry is a loop of bounds that are equal.
#[test]
fn a_weight_of_zeros() {
    for precision in PRECISIONS {
        let target = TargetInfo::WARP.with_precision(precision);
        for format in ["csr", "bsr<16,16>", "nm<2,4>", "hyb<64,4,2>"] {
            for n in [1, 33] {
                let zeros = vec!["0.0"; 20 * 36].join(", ");
                let text = format!(
                    "graph @g {{\n input %0 \"x\": f32[{n}, 36]\n const %1 \"w\" = f32[20, 36] {{{zeros}}}\n \
                     const %2 \"b\": f32[20] random(seed=3, density=1.0)\n \
                     %3 = contract \"mk,nk->nm\" (%1, %0) epilogue add(acc, $0) (%2) format {format}\n \
                     output \"y\" = %3\n}}"
                );
                assert_eq!(check_on(&target, &text, &[]).counts.matrix_products, 0, "{format}");
            }
        }
    }
}

/// A convolution over images of 2 x C x H x W.
fn conv(format: &str, weight: &str, x: &str, attrs: &str) -> String {
    let format = if format.is_empty() { String::new() } else { format!(" format {format}") };
    format!(
        "graph @g {{\n input %0 \"x\": f32[{x}]\n const %1 \"w\": f32[{weight}] random(seed=5, density=0.4)\n \
         %2 \"c\" = conv (%0, %1) {attrs} epilogue relu(acc) (){format}\n output \"y\" = %2\n}}"
    )
}

const SAME: &str = "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1";
const POINT: &str = "strides [1, 1] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1";

#[test]
fn convolutions_in_every_format_and_precision() {
    let mut kinds = BTreeMap::new();
    for precision in PRECISIONS {
        let target = TargetInfo::WARP.with_precision(precision);
        let name = precision.map_or("f32", Precision::name);
        let mut ran =
            |what: &str, text: &str| note(&check_on(&target, text, &[]), &mut kinds, &format!("{what} {name}"));
        for format in FORMATS.into_iter().filter(|f| !f.starts_with("nm")) {
            ran(&format!("{format} 1x1"), &conv(format, "19, 13, 1, 1", "2, 13, 7, 5", POINT));
            ran(&format!("{format} 3x3"), &conv(format, "19, 5, 3, 3", "2, 5, 7, 9", SAME));
            let strided = "strides [2, 1] pads [(1, 0), (2, 1)] dilations [1, 2] groups 1";
            ran(&format!("{format} 3x2 strided"), &conv(format, "19, 5, 3, 2", "1, 5, 9, 11", strided));
        }
        ran("winograd", &conv("dense", "33, 34, 3, 3", "1, 34, 23, 19", SAME));
        let high = "strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1] groups 1";
        ran("7x7", &conv("dense", "17, 3, 7, 7", "1, 3, 41, 61", high));
        let each = "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 6";
        ran("depthwise", &conv("dense", "6, 1, 3, 3", "2, 6, 9, 35", each));
        let groups = "strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 3";
        ran("groups", &conv("dense", "9, 4, 3, 3", "1, 12, 9, 7", groups));
    }
    insta::assert_snapshot!(table(&kinds));
}

/// Windows of many kinds on tensor cores, by a warp, by teams and by groups: strides, dilations, padding on one side, channels that are a multiple of
/// nothing, of 4, of 16 and of 32, and images of which a row is shorter or longer than a tile.
#[test]
fn windows() {
    let strided = "strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1";
    let dilated = "strides [1, 1] pads [(2, 2), (2, 2)] dilations [2, 2] groups 1";
    let uneven = "strides [2, 1] pads [(1, 0), (2, 1)] dilations [1, 2] groups 1";
    let cases = [
        ([70, 32, 3, 3], "9, 11", SAME),
        ([65, 5, 3, 3], "13, 7", SAME),
        ([80, 16, 3, 3], "15, 9", strided),
        ([72, 12, 3, 3], "8, 17", dilated),
        ([66, 8, 3, 2], "9, 11", uneven),
        ([67, 3, 7, 7], "23, 17", "strides [2, 2] pads [(3, 3), (3, 3)] dilations [1, 1] groups 1"),
        ([90, 20, 1, 1], "9, 14", "strides [2, 2] pads [(0, 0), (0, 0)] dilations [1, 1] groups 1"),
        ([68, 16, 1, 1], "5, 8", "strides [1, 1] pads [(1, 0), (0, 2)] dilations [1, 1] groups 1"),
    ];
    for precision in Precision::ALL {
        let check = |capability: u32, images: i64, text: &str| {
            let target = TargetInfo::WARP.with_precision(Some(precision)).with_capability(capability);
            let options = LowerOptions { nominal: [(Symbol::new("n"), images)].into(), ..LowerOptions::default() };
            let ran = check_with((&target, &options), text, &[2]);
            assert!(ran.counts.matrix_products > 0);
            ran.kernels
        };
        let group = if precision == Precision::TF32 { "k0_conv_team" } else { "k0_conv_group" };
        for ([m, c, kh, kw], x, attrs) in cases {
            for (format, kernels) in [
                ("dense", ["k0_conv_tensor", "k0_conv_team"]),
                ("bsr<16,16>", ["k0_conv_tensor", "k0_conv_team"]),
                ("nm<2,4>", ["k0_conv_tensor_2_4", "k0_conv_team_2_4"]),
            ] {
                if (format, precision) == ("nm<2,4>", Precision::TF32) {
                    continue;
                }
                let value = |i: usize| {
                    element(format, i / (c * kh * kw), i / (kh * kw) % c + i % (kh * kw) * c.next_multiple_of(4))
                };
                let text = conv_of(&value, format, [m, c, kh, kw], &format!("n, {c}, {x}"), attrs);
                for (images, kernel) in [1, 1000].into_iter().zip(kernels) {
                    assert_eq!(check(80, images, &text), [kernel], "{m} x {c}, {kh} x {kw}");
                }
            }
            // Without zeros, of which steps of a group would hold too many.
            let full = |i: usize| (i % 11) as f32 * 0.25 - 1.125;
            let text = conv_of(&full, "dense", [m, c, kh, kw], &format!("n, {c}, {x}"), attrs);
            assert_eq!(check(90, 1000, &text), [group], "{m} x {c}, {kh} x {kw}");
        }
    }
}

/// A convolution whose weight has these elements.
fn conv_of(value: &dyn Fn(usize) -> f32, format: &str, [m, c, kh, kw]: [usize; 4], x: &str, attrs: &str) -> String {
    let weight: Vec<String> = (0..m * c * kh * kw).map(|i| format!("{:?}", value(i))).collect();
    format!(
        "graph @g {{\n input %0 \"x\": f32[{x}]\n const %1 \"w\" = f32[{m}, {c}, {kh}, {kw}] {{{}}}\n \
         %2 \"c\" = conv (%0, %1) {attrs} epilogue relu(acc) () format {format}\n output \"y\" = %2\n}}",
        weight.join(", ")
    )
}

/// Steps of zeros are left out in the order of columns that has more of them: that of pruned channels, or that of blocks.
#[test]
fn windows_have_no_iterations_for_steps_of_zeros() {
    let target = TargetInfo::WARP.with_precision(Some(Precision::F16));
    // By channel, kernel element, of 32 channels: the upper half is gone; or three of every nine blocks of 16 columns are there.
    let channels = |channel: usize, _: usize| channel < 16;
    let blocks = |channel: usize, element: usize| (channel * 9 + element) / 16 % 3 == 1;
    for (kept, steps) in [(&channels as &dyn Fn(usize, usize) -> bool, 9), (&blocks, 6)] {
        let value = |i: usize| if kept(i / 9 % 32, i % 9) { (i % 7) as f32 * 0.25 + 0.125 } else { 0.0 };
        let text = conv_of(&value, "bsr<16,16>", [80, 32, 3, 3], "n, 32, 7, 5", SAME);
        // Five blocks of rows; 35 pixels are two tiles of 32, or one of 64, of 4 or 8 products.
        for (images, kernel) in [(1, "k0_conv_tensor"), (1000, "k0_conv_team")] {
            let options = LowerOptions { nominal: [(Symbol::new("n"), images)].into(), ..LowerOptions::default() };
            let ran = check_with((&target, &options), &text, &[1]);
            assert_eq!((ran.kernels[0].as_str(), ran.counts.matrix_products), (kernel, steps * 5 * 8));
        }
    }
}

/// Kernels without a constant weight stay in `f32`, whatever the precision.
#[test]
fn kernels_without_a_weight() {
    let mut kinds = BTreeMap::new();
    let types = "input %0 \"a\": f32[2, 3, 5, 9]\n input %1 \"q\": f32[2, 3, 1, 9]\n input %2 \"v\": f32[2, 3, 1, 5]\n \
                 input %3 \"x\": f32[2, 3, 11, 37]\n input %4 \"i\": i64[3]\n input %5 \"w\": f32[6, 3, 3, 3]\n \
                 input %6 \"b\": f32[2, 3, 33, 9]\n const %7 \"s\": f32[37] random(seed=1, density=1.0)";
    let cases = [
        ("product", "contract \"bhqd,bhkd->bhqk\" (%0, %6) epilogue mul(acc, 0.5) ()"),
        ("one row, depth", "contract \"bhqd,bhkd->bhqk\" (%1, %0)"),
        ("one row, columns", "contract \"bhqk,bhkd->bhqd\" (%2, %0)"),
        ("attention", "attention \"bhqd,bhkd->bhkq\" \"bhkq,bhkf->bhfq\" keys \"k\" scores mul(acc, 4.0) (%0, %6, %6)"),
        ("convolution", "conv (%3, %5) strides [2, 1] pads [(1, 0), (2, 1)] dilations [1, 2] groups 1"),
        ("softmax, innermost", "softmax (%3) axis 3"),
        ("softmax, outer", "softmax (%3) axis 1"),
        ("layer norm", "layer_norm (%3, %7, %7) axis 3 axes 1 epsilon 1e-5"),
        ("sum", "reduce sum (%3) axes [3] keep false"),
        ("max", "reduce max (%3) axes [1, 2] keep true"),
        ("max pool", "pool max (%3) kernel [3, 3] strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] ceil false"),
        (
            "average pool",
            "pool average (%3) kernel [2, 2] strides [1, 1] pads [(0, 0), (0, 0)] dilations [2, 3] ceil false",
        ),
        ("gather", "gather (%3, %4) axis 2"),
        ("map", "map max(sub(abs($0), $1), 0.25) (%3, %7)"),
        ("transpose", "transpose (%3) perm [3, 0, 2, 1]"),
        ("slice", "slice (%3) ranges [(0, 2, 1), (0, 2, 2), (10, 4, -3), (1, 9, 4)]"),
        ("concat", "concat (%3, %3) axis 2"),
        ("pad", "pad (%3) amounts [(0, 0), (1, 2), (-1, 3), (0, 5)] value 2.5"),
    ];
    for (what, op) in cases {
        let text = format!("graph @g {{\n {types}\n %8 \"c\" = {op}\n output \"y\" = %8\n}}");
        for precision in [None, Some(Precision::F16)] {
            let ran = check_on(&TargetInfo::WARP.with_precision(precision), &text, &[]);
            assert_eq!(ran.counts.matrix_products, 0);
            note(&ran, &mut kinds, what);
        }
    }
    insta::assert_snapshot!(table(&kinds));
}
