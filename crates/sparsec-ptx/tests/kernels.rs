//! Kernels of every family, lowered for a warp: what is emitted verifies, reads back as it prints, and assembles for both
//! targets, without spilling.

#[path = "../../sparsec-tir/tests/generate/mod.rs"]
#[allow(dead_code, reason = "arguments are for tests that run kernels")]
mod generate;

use proptest::prelude::*;
use sparsec_graph::Symbol;
use sparsec_lower::{LowerOptions, TargetInfo, lower, lower_with};
use sparsec_ptx::{Emitted, Target, emit_program, parse_module, print_module};
use sparsec_ptxas::{Ptxas, Tools};
use sparsec_tir::{Kernel, Precision, Program, expand_math, lower_to_flat};

/// A linear layer whose weight has a zero now and then, and a row and a column without an entry.
fn linear(format: &str, (m, k): (usize, usize), n: &str, epilogue: &str) -> String {
    let value = |row: usize, col: usize| match (row, col % 4) {
        (2, _) | (_, 1 | 3) => "0.0".to_owned(),
        _ if col == 4 => "0.0".to_owned(),
        _ => format!("{:?}", ((row * 7 + col * 3) % 11) as f32 * 0.25 - 1.125),
    };
    let weight: Vec<String> = (0..m * k).map(|i| value(i / k, i % k)).collect();
    format!(
        "graph @linear {{\n input %0 \"x\": f32[{k}, {n}]\n const %1 \"w\" = f32[{m}, {k}] {{{}}}\n \
         %2 \"fc\" = contract \"mk,kn->mn\" (%1, %0) epilogue {epilogue} () format {format} : f32[{m}, {n}]\n \
         output \"y\" = %2\n}}",
        weight.join(", ")
    )
}

fn compile(text: &str, target: Target) -> Emitted {
    let graph = sparsec_graph::parse(text).expect("the text is a graph");
    let lowered = lower(&graph, &TargetInfo::WARP).expect("the graph lowers");
    emit_program(&lowered.program, target).unwrap_or_else(|e| panic!("{e}"))
}

/// Emits for both targets, reads back, and assembles where the assembler is there.
fn check(text: &str) {
    let tools = Tools::find();
    for target in Target::ALL {
        let module = compile(text, *target).module;
        let ptx = print_module(&module);
        assert_eq!(parse_module(&ptx).as_ref(), Ok(&module), "{ptx}");
        let Some(tools) = &tools else { continue };
        for ptxas in Ptxas::ALL {
            let assembled =
                tools.assemble(ptxas, &ptx, target.name()).unwrap_or_else(|e| panic!("{ptxas}: {e}\n{ptx}"));
            assert_eq!(assembled.warnings, Vec::<String>::new());
            for (name, usage) in &assembled.usage {
                assert_eq!((usage.spill_stores, usage.spill_loads), (0, 0), "{name}: {usage:?}\n{ptx}");
            }
        }
    }
}

#[test]
fn weights_in_every_format() {
    for format in ["dense", "csr", "bsr<4,1>", "bsr<8,8>", "nm<2,4>", "hyb<64,4,2>", "pruned<csr>"] {
        check(&linear(format, (16, 24), "70", "gelu(acc)"));
        check(&linear(format, (16, 24), "1", "relu(acc)"));
    }
}

/// A linear layer at a precision: 2:4 entries in blocks of 16 x 32, of which some are empty.
fn blocked(format: &str, (m, k): (usize, usize), by_token: bool) -> String {
    of_height(16, format, (m, k), by_token)
}

/// The same in blocks of so many rows; none is empty where there are none.
fn of_height(height: usize, format: &str, (m, k): (usize, usize), by_token: bool) -> String {
    let value = |row: usize, col: usize| match row.checked_div(height).map_or(1, |block| (block + col / 32) % 3) {
        0 => "0.0".to_owned(),
        _ if format.starts_with("nm") && (col + row) % 4 > 1 => "0.0".to_owned(),
        _ => format!("{:?}", ((row * 7 + col * 3) % 11) as f32 * 0.25 - 1.125),
    };
    let weight: Vec<String> = (0..m * k).map(|i| value(i / k, i % k)).collect();
    let (x, y, spec) = match by_token {
        true => (format!("n, {k}"), format!("n, {m}"), "mk,nk->nm"),
        false => (format!("{k}, n"), format!("{m}, n"), "mk,kn->mn"),
    };
    format!(
        "graph @linear {{\n input %0 \"x\": f32[{x}]\n const %1 \"w\" = f32[{m}, {k}] {{{}}}\n \
         %2 \"fc\" = contract \"{spec}\" (%1, %0) epilogue gelu(acc) () format {format} : f32[{y}]\n \
         output \"y\" = %2\n}}",
        weight.join(", ")
    )
}

/// By token or by channel, for which target, and how many tokens are expected: with so many, teams of warps share the work.
const CASES: [(bool, Target, Option<i64>); 6] = [
    (true, Target::Sm80, None),
    (false, Target::Sm90a, None),
    (true, Target::Sm80, Some(64 * 132)),
    (false, Target::Sm80, Some(64 * 132)),
    (true, Target::Sm90a, Some(64 * 132)),
    (false, Target::Sm90a, Some(64 * 132)),
];

/// Registers that a kernel takes, none of which is spilled; it has the matrix instructions of its kind alone.
fn registers_of(text: &str, format: &str, precision: Precision, target: Target, tokens: Option<i64>) -> Vec<String> {
    let graph = sparsec_graph::parse(text).expect("the text is a graph");
    let options = LowerOptions {
        nominal: tokens.map(|n| (Symbol::new("n"), n)).into_iter().collect(),
        ..LowerOptions::default()
    };
    let warp = TargetInfo::WARP.with_capability(target.capability()).with_precision(Some(precision));
    let lowered = lower_with(&graph, &warp, &options).expect("the graph lowers");
    let group = lowered.program.kernels.iter().any(Kernel::has_group_products);
    let what = match tokens {
        Some(_) if group => "group",
        Some(_) => "team",
        None => "warp",
    };
    let module = emit_program(&lowered.program, target).unwrap_or_else(|e| panic!("{e}")).module;
    let ptx = print_module(&module);
    assert_eq!(parse_module(&ptx).as_ref(), Ok(&module), "{ptx}");
    let (instruction, wanted) = match (group, format) {
        (false, "nm<2,4>") => ("mma.sp::ordered_metadata", "HMMA.SP"),
        (false, _) => ("mma.sync", "HMMA"),
        (true, "nm<2,4>") => ("wgmma.mma_async.sp.sync", "HGMMA.SP"),
        (true, _) => ("wgmma.mma_async.sync", "HGMMA"),
    };
    assert!(ptx.contains(instruction), "{ptx}");
    let Some(tools) = Tools::find() else { return Vec::new() };
    let mut registers = Vec::new();
    for ptxas in Ptxas::ALL {
        let assembled = tools.assemble(ptxas, &ptx, target.name()).unwrap_or_else(|e| panic!("{ptxas}: {e}\n{ptx}"));
        assert_eq!(assembled.warnings, Vec::<String>::new(), "{ptx}");
        let found = tools.mnemonics(&assembled.cubin).expect("is read back");
        let mut matrix = found.keys().filter(|m| m.contains("MMA"));
        assert!(matrix.clone().count() > 0 && matrix.all(|m| m.starts_with(wanted)), "{found:?}");
        for (name, usage) in &assembled.usage {
            assert_eq!((usage.spill_stores, usage.spill_loads), (0, 0), "{name}: {usage:?}");
            let (precision, target) = (precision.name(), target.name());
            registers.push(format!("{precision} {format} {what} {target} {ptxas}: {} registers", usage.registers));
        }
    }
    registers
}

/// Tensor cores: which machine instructions there are, how many registers they take, and that none is spilled.
#[test]
fn tensor_cores() {
    let mut registers = Vec::new();
    for precision in Precision::ALL {
        for format in ["dense", "bsr<16,16>", "nm<2,4>", "bitmap"] {
            if precision == Precision::TF32 && ["nm<2,4>", "bitmap"].contains(&format) {
                continue;
            }
            for (by_token, target, tokens) in CASES {
                let text = blocked(format, (100, 136), by_token);
                registers.extend(registers_of(&text, format, precision, target, tokens));
            }
        }
    }
    if !registers.is_empty() {
        insta::assert_snapshot!(registers.join("\n"));
    }
}

/// The same of warps that multiply together, where steps of 64 rows have no more zeros than those of 16.
#[test]
fn groups_of_warps() {
    let mut registers = Vec::new();
    for precision in [Precision::F16, Precision::BF16] {
        for (format, height) in [("dense", 0), ("bsr<64,16>", 64)] {
            for by_token in [true, false] {
                let text = of_height(height, format, (256, 160), by_token);
                registers.extend(registers_of(&text, format, precision, Target::Sm90a, Some(64 * 132)));
            }
        }
    }
    if !registers.is_empty() {
        assert!(registers.iter().all(|r| r.contains(" group ")), "{registers:?}");
        insta::assert_snapshot!(registers.join("\n"));
    }
}

/// Windows on tensor cores: 32 channels, whose columns share their place, and 5, which don't; a warp, and a team. None is spilled.
#[test]
fn windows_on_tensor_cores() {
    let tools = Tools::find();
    let mut registers = Vec::new();
    for precision in Precision::ALL {
        let warp = TargetInfo::WARP.with_precision(Some(precision));
        for (channels, format) in [(32, "dense"), (5, "dense"), (32, "nm<2,4>")] {
            if (precision, format) == (Precision::TF32, "nm<2,4>") {
                continue;
            }
            let value = |i: usize| if i / 9 % 4 < 2 { ((i * 7) % 11) as f32 * 0.25 - 1.125 } else { 0.0 };
            let weight: Vec<String> = (0..100 * channels * 9).map(|i| format!("{:?}", value(i))).collect();
            let text = format!(
                "graph @g {{\n input %0 \"x\": f32[n, {channels}, 28, 28]\n const %1 \"w\" = f32[100, {channels}, 3, 3] {{{}}}\n \
                 %2 \"c\" = conv (%0, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 epilogue relu(acc) () \
                 format {format}\n output \"y\" = %2\n}}",
                weight.join(", ")
            );
            let graph = sparsec_graph::parse(&text).expect("the text is a graph");
            for (target, images) in [(Target::Sm80, 1), (Target::Sm90a, 1), (Target::Sm80, 16), (Target::Sm90a, 16)] {
                let warp = warp.with_capability(target.capability());
                let options = LowerOptions { nominal: [(Symbol::new("n"), images)].into(), ..LowerOptions::default() };
                let lowered = lower_with(&graph, &warp, &options).expect("the graph lowers");
                let module = emit_program(&lowered.program, target).unwrap_or_else(|e| panic!("{e}")).module;
                let ptx = print_module(&module);
                assert_eq!(parse_module(&ptx).as_ref(), Ok(&module), "{ptx}");
                let Some(tools) = &tools else { continue };
                for ptxas in Ptxas::ALL {
                    let assembled =
                        tools.assemble(ptxas, &ptx, target.name()).unwrap_or_else(|e| panic!("{ptxas}: {e}\n{ptx}"));
                    assert_eq!(assembled.warnings, Vec::<String>::new());
                    let found = tools.mnemonics(&assembled.cubin).expect("is read back");
                    assert!(found.keys().any(|m| m.starts_with("HMMA") || m.starts_with("HGMMA")), "{found:?}");
                    for (name, usage) in &assembled.usage {
                        assert_eq!((usage.spill_stores, usage.spill_loads), (0, 0), "{name}: {usage:?}");
                        registers.push(format!(
                            "{} {format} {channels} channels {name} {} {ptxas}: {} registers",
                            precision.name(),
                            target.name(),
                            usage.registers
                        ));
                    }
                }
            }
        }
    }
    if tools.is_some() {
        insta::assert_snapshot!(registers.join("\n"));
    }
}

#[test]
fn weights_of_bytes() {
    for format in ["dense", "bsr<1,4>"] {
        for n in ["1", "n"] {
            check(&format!(
                r#"graph @g {{
  input %0 "x": u8[{n}, 36]
  const %1 "w": i8[40, 36] random(seed=5, density=0.3)
  %2 = contract "mk,nk->nm" (%1, %0) format {format}
  output "y" = %2
}}"#
            ));
        }
    }
}

#[test]
fn sizes_known_at_run_time() {
    check(&linear("hyb<8,1,4>", (9, 20), "n", "relu(acc)"));
    check(&linear("dense", (9, 20), "n", "acc"));
}

#[test]
fn element_wise_and_bits() {
    check(
        r#"graph @g {
  input %0 "x": f32[batch, 5, 7]
  const %1 "b": f32[7] random(seed=1, density=1.0)
  const %2 "c": f32[5, 1] random(seed=2, density=1.0)
  const %3 "three": i32[] {3}
  const %4 "wide": i32[] {40}
  %5 = add (%0, %1)
  %6 = map max(sub(abs($0), $1), div($0, 0.25)) (%5, %1)
  %7 = clip (%6) lo -inf hi 0.5
  %8 = gt (%7, %0)
  %9 = where (%8, %7, %5)
  %10 = cast i32 (%9)
  %11 = rem (%10, %3)
  %12 = xor (%10, %11)
  %13 = shl (%12, %3)
  %14 = shr (%13, %4)
  %15 = cast i64 (%8)
  %16 = rem (%5, %2)
  %17 = cast u8 (%6)
  %18 = cast f16 (%6)
  %19 = cast bf16 (%6)
  %20 = cast f64 (%6)
  output "a" = %9
  output "b" = %14
  output "c" = %15
  output "d" = %16
  output "e" = %17
  output "f" = %18
  output "g" = %19
  output "h" = %20
}"#,
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
  output "a" = %2
  output "b" = %3
  output "c" = %4
  output "d" = %5
  output "e" = %6
}"#,
    );
}

#[test]
fn lines() {
    for axis in 0..3 {
        check(&format!(
            r#"graph @g {{
  input %0 "x": f32[batch, 6, 37]
  const %1 "s": f32[37] random(seed=1, density=1.0)
  %2 = softmax (%0) axis {axis}
  %3 = reduce max (%0) axes [{axis}] keep false
  %4 = reduce sum (%0) axes [1, 2] keep false
  %5 = layer_norm (%0, %1, %1) axis 2 axes 1 epsilon 1e-5
  output "a" = %2
  output "b" = %3
  output "c" = %4
  output "d" = %5
}}"#
        ));
    }
}

#[test]
fn products_pooling_attention() {
    check(
        r#"graph @g {
  input %0 "a": f32[2, 3, seq, 9]
  input %1 "b": f32[2, 3, seq, 9]
  input %2 "x": f32[n, 3, 9, 23]
  %3 = contract "bhqd,bhkd->bhqk" (%0, %1) epilogue mul(acc, 0.5) ()
  %4 = pool max (%2) kernel [3, 3] strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] ceil false
  %5 = pool average (%2) kernel [2, 2] strides [1, 1] pads [(0, 0), (0, 0)] dilations [2, 3] ceil false
  output "a" = %3
  output "b" = %4
  output "c" = %5
}"#,
    );
    check(
        r#"graph @g {
  input %0 "q": f32[3, 8, batch, seq]
  input %1 "k": f32[batch, 3, 8, seq]
  input %2 "v": f32[3, 5, batch, seq]
  input %3 "mask": f32[batch, 1, seq, 1]
  %4 = attention "hdbq,bhdk->bhkq" "bhkq,hfbk->hfbq" keys "k" scores add(mul(acc, 4.0), $0) (%0, %1, %2, %3)
  output "y" = %4
}"#,
    );
}

/// Scores at a constant pattern only: each query has the sixteen keys around it.
#[test]
fn sampled_attention() {
    let kept = |i: i64| if (i / 256 - i % 256).abs() <= 8 { "0.0" } else { "-inf" };
    let mask: Vec<&str> = (0..512 * 256).map(kept).collect();
    let text = format!(
        r#"graph @g {{
  input %0 "q": f32[batch, 64, 256]
  input %1 "k": f32[batch, 512, 64]
  input %2 "v": f32[batch, 64, 512]
  const %3 "mask" = f32[512, 256] {{{}}}
  %4 = attention "bdq,bkd->bkq" "bkq,bfk->bfq" keys "k" scores add(mul(acc, 0.125), $0) (%0, %1, %2, %3)
  output "y" = %4
}}"#,
        mask.join(", ")
    );
    let module = compile(&text, Target::ALL[0]).module;
    assert!(print_module(&module).contains("attention_sampled"));
    check(&text);
}

#[test]
fn convolutions() {
    for (format, density) in [("dense", "1.0"), ("hyb<64,4,2>", "0.3")] {
        check(&format!(
            r#"graph @g {{
  input %0 "x": f32[1, 8, 14, 14]
  const %1 "w" = f32[16, 8, 3, 3] random(seed=5, density={density})
  %2 = conv (%0, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 epilogue relu(acc) () format {format}
  output "y" = %2
}}"#
        ).replace("const %1 \"w\" =", "const %1 \"w\":"));
    }
    for dtype in ["f64", "i32"] {
        check(&format!(
            r#"graph @g {{
  input %0 "x": {dtype}[batch, 4, 9, 19]
  input %1 "w": {dtype}[6, 2, 3, 3]
  %2 = conv (%0, %1) strides [2, 1] pads [(1, 0), (2, 1)] dilations [1, 2] groups 2
  output "y" = %2
}}"#
        ));
    }
}

#[test]
fn the_text_of_a_kernel() {
    let graph = r#"graph @example {
  input %0 "x": f32[4, 40]
  const %1 "b": f32[40] random(seed=1, density=1.0)
  %2 = map max(add($0, $1), 0.0) (%0, %1)
  %3 = reduce sum (%2) axes [1] keep false
  output "y" = %3
}"#;
    insta::assert_snapshot!(print_module(&compile(graph, Target::Sm80).module));
}

fn random_program(bytes: &[u8]) -> Program {
    let mut flat: Kernel = lower_to_flat(&generate::kernel(bytes)).expect("lowers");
    expand_math(&mut flat).expect("expands");
    Program { name: "m".to_owned(), kernels: vec![flat], ..Program::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn random_kernels_read_back(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let emitted = emit_program(&random_program(&bytes), Target::Sm80).unwrap_or_else(|e| panic!("{e}"));
        let ptx = print_module(&emitted.module);
        prop_assert_eq!(parse_module(&ptx), Ok(emitted.module));
    }
}
