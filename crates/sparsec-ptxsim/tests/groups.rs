//! Matrix products of warp groups in every layout: entries are put where the PTX ISA has them ("Asynchronous Warpgroup Level
//! Matrix Multiply-Accumulate"), from the point of view of the entry.

mod common;

use std::collections::BTreeSet;

use half::{bf16, f16};
use sparsec_ptxas::{Ptxas, Tools};

/// Where a factor is.
#[derive(Clone, Copy, Debug)]
enum Place {
    Registers,
    /// In shared memory: width of the swizzle (0 for none), and whether entries along k are neighbours.
    Shared(usize, bool),
}

#[derive(Clone, Copy, Debug)]
struct Product {
    inputs: &'static str,
    n: usize,
    a: Place,
    b: (usize, bool),
    /// Number of the pair of lanes that have the metadata.
    selector: Option<usize>,
    /// Chunks of 16 bytes before the factors in lines that are wide enough.
    skip: usize,
}

impl Product {
    fn bytes(self) -> usize {
        if self.inputs == "tf32" { 4 } else { 2 }
    }

    fn k(self) -> usize {
        32 / self.bytes() * if self.selector.is_some() { 2 } else { 1 }
    }

    /// Columns of A that are stored.
    fn kept(self) -> usize {
        32 / self.bytes()
    }

    fn bits(self, x: f32) -> Vec<u8> {
        match self.inputs {
            "f16" => f16::from_f32(x).to_le_bytes().to_vec(),
            "bf16" => bf16::from_f32(x).to_le_bytes().to_vec(),
            _ => x.to_le_bytes().to_vec(),
        }
    }
}

/// All that differ in what they read where.
fn products() -> Vec<Product> {
    let mut all = Vec::new();
    let halves = Product { inputs: "f16", n: 16, a: Place::Registers, b: (0, true), selector: None, skip: 0 };
    for width in [0, 32, 64, 128] {
        for along in [true, false] {
            for selector in [None, Some(0), Some(1)] {
                // B of a sparse product is 64 bytes deep.
                let b = if selector.is_some() && width == 32 && along { (64, along) } else { (width, along) };
                all.push(Product { a: Place::Shared(width, along), b, selector, ..halves });
                all.push(Product { b, n: 40, selector, inputs: "bf16", ..halves });
            }
        }
        all.push(Product { inputs: "tf32", a: Place::Shared(width, true), b: (width, true), ..halves });
    }
    all.push(Product { inputs: "tf32", n: 8, ..halves });
    // Slices of wider lines.
    for (skip, width) in [(2, 64), (2, 128), (4, 128), (6, 128)] {
        all.push(Product { a: Place::Shared(width, true), b: (width, true), skip, ..halves });
    }
    all
}

/// An image of shared memory, and the descriptor's bits but for the address.
struct Image {
    bytes: Vec<u8>,
    descriptor: u64,
}

/// A matrix of `lines` rows of A (columns of B) and depth `k`.
fn image(
    p: Product,
    (width, along): (usize, bool),
    lines: usize,
    k: usize,
    value: impl Fn(usize, usize) -> f32,
) -> Image {
    // Entries of a chunk of 16 bytes, and how many lines of chunks there are.
    let wide = 16 / p.bytes();
    let outer = if along { lines } else { k };
    let (mut leading, mut stride);
    let place = |c: usize, line: usize| match width {
        // Blocks of eight lines, first those of one chunk.
        0 => 128 * (line / 8 + outer / 8 * c) + 16 * (line % 8),
        _ => {
            let (each, of) = (width / 16, 8 * width);
            let c = c + p.skip;
            let swizzled = (c % each) ^ (line % 8 * width / 128);
            of * (line / 8) + of * (outer / 8) * (c / each) + width * (line % 8) + 16 * swizzled
        }
    };
    let blocks = outer / 8;
    match (width, along) {
        (0, true) => (leading, stride) = (128 * blocks, 128),
        (0, false) => (leading, stride) = (128, 128 * blocks),
        (_, true) => (leading, stride) = (0, 8 * width),
        (_, false) => (leading, stride) = (8 * width * blocks, 8 * width),
    }
    if along && width != 0 {
        // Not looked at.
        leading = 16;
    }
    (leading, stride) = (leading >> 4, stride >> 4);
    let mut bytes = vec![0x7f; 8192];
    for line in 0..lines {
        for k in 0..k {
            let (c, i, at) = if along { (k / wide, k % wide, line) } else { (line / wide, line % wide, k) };
            let at = place(c, at) + i * p.bytes();
            bytes[at..at + p.bytes()].copy_from_slice(&p.bits(value(line, k)));
        }
    }
    let mode = match width {
        128 => 1,
        64 => 2,
        32 => 3,
        _ => 0,
    };
    let descriptor = p.skip as u64 | (leading as u64) << 16 | (stride as u64) << 32 | mode << 62;
    Image { bytes, descriptor }
}

/// Small integers that differ between rows and columns.
fn value(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 13 + row * column) % 9) as f32 - 4.0
}

/// Columns within a group of four that are kept.
fn kept(row: usize, group: usize) -> [usize; 2] {
    [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]][(row * 5 + group) % 6]
}

/// Images, then the registers of each thread, register by register: four of A, and the metadata.
fn input(p: Product) -> (Vec<u8>, [u64; 2]) {
    let mut words = vec![0_u32; 128 * 5];
    let a = match p.a {
        Place::Shared(width, along) => image(p, (width, along), 64, p.kept(), value),
        Place::Registers => {
            let per_word = 4 / p.bytes();
            for row in 0..64 {
                for column in 0..p.kept() {
                    // The thread of a warp, and its register.
                    let (t, block, i) = (column / per_word % 4, column / per_word / 4, column % per_word);
                    let thread = row / 16 * 32 + row % 8 * 4 + t;
                    let register = 2 * block + row % 16 / 8;
                    for (j, byte) in p.bits(value(row, column)).into_iter().enumerate() {
                        words[128 * register + thread] |= u32::from(byte) << (8 * (i * p.bytes() + j));
                    }
                }
            }
            Image { bytes: vec![0; 8192], descriptor: 0 }
        }
    };
    let b = image(p, p.b, p.n, p.k(), |column, k| value(k + 20, column));
    if let Some(selector) = p.selector {
        for row in 0..64 {
            for group in 0..8 {
                let thread = row / 16 * 32 + row % 8 * 4 + 2 * selector + group / 4;
                let [x, y] = kept(row, group);
                words[128 * 4 + thread] |= ((x | y << 2) as u32) << (group % 4 * 4 + row % 16 / 8 * 16);
            }
        }
    }
    let words = words.into_iter().flat_map(u32::to_le_bytes);
    (a.bytes.into_iter().chain(b.bytes).chain(words).collect(), [a.descriptor, b.descriptor])
}

fn list(prefix: &str, first: usize, n: usize) -> String {
    (first..first + n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", ")
}

const SHARED: &str = ".shared .align 1024 .b8 a[8192];\n.shared .align 1024 .b8 b[8192];";

/// The kernel: images go to shared memory, registers are loaded, and the sums begin as 1.
fn body(p: Product, descriptors: [u64; 2]) -> String {
    let mut text = "mul.wide.u32 %rd3, %r0, 16;\nadd.u64 %rd3, %rd0, %rd3;\nshl.b32 %r1, %r0, 4;\n".to_owned();
    for (i, name) in ["a", "b"].into_iter().enumerate() {
        text += &format!("mov.u32 %r2, {name};\nadd.u32 %r2, %r2, %r1;\n");
        for round in 0..4 {
            text += &format!(
                "ld.global.v4.u32 {{%r3, %r4, %r5, %r6}}, [%rd3+{}];\nst.shared.v4.b32 [%r2+{}], {{%r3, %r4, %r5, %r6}};\n",
                8192 * i + 2048 * round,
                2048 * round
            );
        }
        text += &format!(
            "mov.u32 %r2, {name};\nshr.u32 %r2, %r2, 4;\ncvt.u64.u32 %rd{0}, %r2;\nadd.u64 %rd{0}, %rd{0}, {1};\n",
            4 + i,
            descriptors[i] as i64
        );
    }
    text += "mul.wide.u32 %rd3, %r0, 4;\nadd.u64 %rd3, %rd0, %rd3;\n";
    for i in 0..5 {
        text += &format!("ld.global.u32 %r{}, [%rd3+{}];\n", 8 + i, 16384 + 512 * i);
    }
    for i in 0..p.n / 2 {
        text += &format!("mov.f32 %f{i}, 0f3F800000;\n");
    }
    let flags = match (p.a, p.inputs) {
        (_, "tf32") => String::new(),
        (Place::Registers, _) => format!(", {}", u32::from(!p.b.1)),
        (Place::Shared(_, along), _) => format!(", {}, {}", u32::from(!along), u32::from(!p.b.1)),
    };
    let (sparse, metadata) = match p.selector {
        Some(selector) => (".sp", format!(", %r12, {selector}")),
        None => ("", String::new()),
    };
    let a = if matches!(p.a, Place::Registers) { format!("{{{}}}", list("r", 8, 4)) } else { "%rd4".to_owned() };
    let Product { inputs, n, .. } = p;
    text += &format!(
        "setp.eq.u32 %p0, 0, 0;\nfence.proxy.async.shared::cta;\nbar.sync 0;\nwgmma.fence.sync.aligned;\n\
         wgmma.mma_async{sparse}.sync.aligned.m64n{n}k{}.f32.{inputs}.{inputs} {{{}}}, {a}, %rd5{metadata}, %p0, 1, 1{flags};\n\
         wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n",
        p.k(),
        list("f", 0, n / 2),
    );
    for i in 0..n / 2 {
        text += &format!("st.global.f32 [%rd2+{}], %f{i};\n", 512 * i);
    }
    text
}

fn run(p: Product) -> Vec<f32> {
    let (input, descriptors) = input(p);
    let module = common::verified(SHARED, &body(p, descriptors));
    let (out, counts) = common::run(&module, 128, &input, 256 * p.n).unwrap_or_else(|e| panic!("{p:?}: {e}"));
    assert_eq!(counts.matrix_products, 1);
    let sum = |row: usize, column: usize| {
        let thread = row / 16 * 32 + row % 8 * 4 + column % 8 / 2;
        let register = column / 8 * 4 + row % 16 / 8 * 2 + column % 2;
        let at = 4 * (128 * register + thread);
        f32::from_le_bytes([out[at], out[at + 1], out[at + 2], out[at + 3]])
    };
    (0..64).flat_map(|row| (0..p.n).map(move |column| (row, column))).map(|(r, c)| sum(r, c)).collect()
}

/// The plain product, of the A that the compressed one stands for.
fn expected(p: Product) -> Vec<f32> {
    let entry = |row: usize, column: usize| {
        let term = |stored: usize| {
            let k = match p.selector {
                Some(_) => 4 * (stored / 2) + kept(row, stored / 2)[stored % 2],
                None => stored,
            };
            value(row, stored) * value(k + 20, column)
        };
        1.0 + (0..p.kept()).map(term).sum::<f32>()
    };
    (0..64 * p.n).map(|i| entry(i / p.n, i % p.n)).collect()
}

#[test]
fn every_layout_is_the_plain_product() {
    for p in products() {
        assert_eq!(run(p), expected(p), "{p:?}");
    }
}

#[test]
fn factors_can_be_negated_and_sums_left_out() {
    let p = Product { inputs: "f16", n: 8, a: Place::Shared(128, true), b: (0, false), selector: None, skip: 0 };
    let (input, descriptors) = input(p);
    let run = |from: &str, to: &str| {
        let text = body(p, descriptors);
        assert!(text.contains(from), "{text}");
        let module = common::verified(SHARED, &text.replace(from, to));
        let (out, _) = common::run(&module, 128, &input, 2048).expect("runs");
        f32::from_le_bytes([out[0], out[1], out[2], out[3]])
    };
    let whole = expected(p)[0];
    assert_eq!(run("%p0, 1, 1", "%p0, -1, 1"), 2.0 - whole);
    assert_eq!(run("%p0, 1, 1", "%p0, 1, -1"), 2.0 - whole);
    assert_eq!(run("%p0, 1, 1", "%p0, -1, -1"), whole);
    assert_eq!(run("setp.eq.u32 %p0, 0, 0", "setp.ne.u32 %p0, 0, 0"), whole - 1.0);
}

#[test]
fn the_assembler_knows_every_product() {
    let Some(tools) = Tools::find() else { return };
    // Products that differ in their descriptors alone are the same to the assembler.
    let mut seen = BTreeSet::new();
    for p in products() {
        let text = sparsec_ptx::print_module(&common::verified(SHARED, &body(p, input(p).1)));
        if !seen.insert(text.lines().find(|l| l.contains("mma_async")).map(str::to_owned)) {
            continue;
        }
        for ptxas in Ptxas::ALL {
            let assembled = tools.assemble(ptxas, &text, "sm_90a").unwrap_or_else(|e| panic!("{ptxas}, {p:?}: {e}"));
            assert_eq!(assembled.warnings, Vec::<String>::new(), "{ptxas}, {p:?}");
            let names = tools.mnemonics(&assembled.cubin).unwrap_or_else(|e| panic!("{ptxas}, {p:?}: {e}"));
            let wanted = if p.selector.is_some() { "HGMMA.SP" } else { "HGMMA" };
            assert!(names.keys().any(|name| name.starts_with(wanted)), "{ptxas}, {p:?}: {names:?}");
        }
    }
}
