//! Dot products of bytes: the same sums on every target, and the instructions that each target has for them.

mod common;

use common::{open_for, program, tensor};
use sparsec_llvm::{EmitOptions, Target, emit};
use sparsec_tir::{AnyKernel, Kernel, parse_kernels};

/// `y = dot4(acc, a, b)`, vector by vector.
fn kernel(lanes: usize, a: &str, b: &str) -> Kernel {
    let vector = |ty: &str| if lanes == 1 { ty.to_owned() } else { format!("{ty}x{lanes}") };
    let (sum, left, right) = (vector("i32"), vector(a), vector(b));
    let text = format!(
        "kernel dots flat () {{
           input acc: i32[64] input a: {a}[64] input b: {b}[64] output y: i32[64]
           for i in 0..64 step {lanes} {{
             store.{sum} y[i] = dot4(load.{sum} acc[i], load.{left} a[i], load.{right} b[i])
           }}
         }}"
    );
    let text = if lanes == 1 {
        text.replace("store.i32 ", "").replace("load.i32 ", "").replace("load.u32 ", "")
    } else {
        text
    };
    match parse_kernels(&text).unwrap_or_else(|e| panic!("{e}\n{text}")).remove(0) {
        AnyKernel::Kernel(kernel) => kernel,
        AnyKernel::Coordinate(_) => panic!("a flat kernel"),
    }
}

/// Words of the largest, the smallest and other bytes.
fn words(seed: u32) -> Vec<u32> {
    let other = |i: u32| (i + 1).wrapping_mul(seed).rotate_left(i % 31);
    (0..64)
        .map(|i| [0xffff_ffff, 0x8080_8080, 0x7f7f_7f7f, 0x80ff_7f00, other(i)][(i as usize + seed as usize) % 5])
        .collect()
}

fn expected(acc: i32, (a, a_signed): (u32, bool), (b, b_signed): (u32, bool)) -> i32 {
    let byte = |word: u32, signed: bool, i: usize| {
        let byte = word.to_le_bytes()[i];
        if signed { i32::from(byte as i8) } else { i32::from(byte) }
    };
    (0..4).fold(acc, |sum, i| sum.wrapping_add(byte(a, a_signed, i) * byte(b, b_signed, i)))
}

#[test]
fn sums_are_exact_on_every_target() {
    let mut targets = vec![Target::host().expect("this machine")];
    if cfg!(target_arch = "x86_64") {
        targets.push(Target::new(None, "x86-64-v2").expect("known"));
        if targets[0].vector_bits() >= 256 {
            targets.push(Target::new(None, "x86-64-v3").expect("known"));
        }
        if targets[0].vector_bits() >= 512 {
            targets.push(Target::new(None, "x86-64-v4").expect("known"));
        }
    }
    let (a, b) = (words(0x9e37_79b1), words(0x85eb_ca6b));
    let acc: Vec<i32> = (0..64).map(|i| if i % 7 == 0 { i32::MAX - i } else { i * 1000 - 30_000 }).collect();
    let signed = |words: &[u32]| words.iter().map(|&w| w as i32).collect::<Vec<i32>>();
    for target in &targets {
        for lanes in [1, 2, 4, 8, 16, 32] {
            for (a_type, b_type) in [("u32", "i32"), ("i32", "u32"), ("i32", "i32"), ("u32", "u32")] {
                let program = program(kernel(lanes, a_type, b_type), &[]);
                let (mut model, _dir) = open_for(&program, target);
                let input = |ty: &str, words: &[u32]| if ty == "i32" { tensor(&signed(words)) } else { tensor(words) };
                let outputs = model.run(&[tensor(&acc), input(a_type, &a), input(b_type, &b)]).expect("runs");
                let wanted: Vec<i32> =
                    (0..64).map(|i| expected(acc[i], (a[i], a_type == "i32"), (b[i], b_type == "i32"))).collect();
                let got = outputs[0].as_slice::<i32>().expect("i32");
                assert_eq!(got, wanted, "{a_type} {b_type}, {lanes} lanes, {}", target.cpu());
            }
        }
    }
}

#[test]
fn targets_use_their_instructions() {
    let x86 = |cpu| Target::new(Some("x86_64-unknown-linux-gnu"), cpu).expect("known");
    let arm = |cpu| Target::new(Some("aarch64-unknown-linux-gnu"), cpu).expect("known");
    for (target, lanes, signs, instruction, count) in [
        (x86("znver4"), 16, ("u32", "i32"), "vpdpbusd", 1),
        (x86("cascadelake"), 8, ("i32", "u32"), "vpdpbusd", 1),
        (x86("alderlake"), 8, ("u32", "i32"), "vpdpbusd", 1),
        (x86("x86-64-v4"), 16, ("u32", "i32"), "vpmaddwd", 2),
        (x86("x86-64-v3"), 8, ("u32", "i32"), "vpmaddwd", 2),
        (x86("x86-64-v2"), 4, ("i32", "i32"), "pmaddwd", 2),
        (arm("neoverse-n1"), 4, ("i32", "i32"), "sdot", 1),
        (arm("neoverse-n1"), 4, ("u32", "u32"), "udot", 1),
        (arm("neoverse-v2"), 4, ("u32", "i32"), "usdot", 1),
    ] {
        let program = program(kernel(lanes, signs.0, signs.1), &[]);
        let options = EmitOptions { assembly: true, ..EmitOptions::default() };
        let assembly = emit(&program, &target, options).expect("compiles").assembly.expect("asked for");
        let lines: Vec<&str> = assembly.lines().map(str::trim).collect();
        // The loop runs 64 / lanes times, and may be unrolled whole.
        let found = lines.iter().filter(|l| l.split_whitespace().any(|word| word == instruction)).count();
        assert!(found > 0 && found % count == 0, "{found} {instruction} on {}:\n{assembly}", target.cpu());
        let saturating = lines.iter().filter(|l| l.contains("maddubs")).count();
        assert_eq!(saturating, 0, "{}", target.cpu());
    }
}
