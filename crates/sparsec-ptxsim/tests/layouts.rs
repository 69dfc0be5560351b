//! Matrix products of every shape and type, dense and sparse: entries are put into the registers where the PTX ISA has them
//! ("Warp Level Matrix Multiply-Accumulate"), from the point of view of the entry: which lane, which register, which half.

mod common;

use half::{bf16, f16};
use sparsec_ptxas::{Ptxas, Tools};

#[derive(Clone, Copy, Debug)]
struct Product {
    k: usize,
    inputs: &'static str,
    accumulate: &'static str,
    /// Number of the metadata's lane, or pair of lanes.
    selector: Option<usize>,
}

const fn product(k: usize, inputs: &'static str, accumulate: &'static str, selector: Option<usize>) -> Product {
    Product { k, inputs, accumulate, selector }
}

const PRODUCTS: &[Product] = &[
    product(8, "f16", "f32", None),
    product(8, "bf16", "f32", None),
    product(16, "f16", "f32", None),
    product(16, "f16", "f16", None),
    product(16, "bf16", "f32", None),
    product(4, "tf32", "f32", None),
    product(8, "tf32", "f32", None),
    product(16, "f16", "f32", Some(0)),
    product(16, "f16", "f16", Some(3)),
    product(16, "bf16", "f32", Some(2)),
    product(32, "f16", "f32", Some(0)),
    product(32, "bf16", "f32", Some(1)),
    product(8, "tf32", "f32", Some(1)),
    product(16, "tf32", "f32", Some(0)),
    product(16, "tf32", "f32", Some(1)),
];

impl Product {
    fn is_half(self) -> bool {
        self.inputs != "tf32"
    }

    fn bits(self, x: f32) -> u32 {
        match self.inputs {
            "f16" => f16::from_f32(x).to_bits().into(),
            "bf16" => bf16::from_f32(x).to_bits().into(),
            _ => x.to_bits(),
        }
    }

    /// Columns of A that are stored.
    fn kept(self) -> usize {
        if self.selector.is_some() { self.k / 2 } else { self.k }
    }

    /// The part of lane and register that an index along the depth decides: (lane % 4, block of registers, half).
    fn along(self, depth: usize) -> (usize, usize, usize) {
        if self.is_half() { (depth % 8 / 2, depth / 8, depth % 2) } else { (depth % 4, depth / 4, 0) }
    }

    fn registers(self) -> (usize, usize) {
        let wide = if self.is_half() { 8 } else { 4 };
        (2 * self.kept() / wide, self.k / wide)
    }

    /// The kernel: registers are loaded from `in`, one after the other, each 32 words; C is 1 everywhere.
    fn body(self) -> String {
        let (a, b) = self.registers();
        let f32_sums = self.accumulate == "f32";
        let list = |prefix: &str, first: usize, n: usize| {
            (first..first + n).map(|i| format!("%{prefix}{i}")).collect::<Vec<_>>().join(", ")
        };
        let mut text = "mul.wide.u32 %rd3, %r0, 4;\nadd.u64 %rd3, %rd0, %rd3;\n".to_owned();
        for i in 0..=a + b {
            text += &format!("ld.global.u32 %r{}, [%rd3+{}];\n", i + 1, 128 * i);
        }
        let d = if f32_sums { list("f", 0, 4) } else { list("r", 16, 2) };
        let registers = if f32_sums { 4 } else { 2 };
        for i in 0..registers {
            // 1 and 1 as f16.
            text += &if f32_sums {
                format!("mov.f32 %f{i}, 0f3F800000;\n")
            } else {
                format!("mov.u32 %r{}, 1006648320;\n", 16 + i)
            };
        }
        let (sparse, operands) = match self.selector {
            Some(selector) => (".sp::ordered_metadata", format!(", %r{}, {selector}", a + b + 1)),
            None => ("", String::new()),
        };
        let Product { k, inputs, accumulate, .. } = self;
        text += &format!(
            "mma{sparse}.sync.aligned.m16n8k{k}.row.col.{accumulate}.{inputs}.{inputs}.{accumulate} \
             {{{d}}}, {{{}}}, {{{}}}, {{{d}}}{operands};\n",
            list("r", 1, a),
            list("r", a + 1, b)
        );
        for i in 0..registers {
            text += &match f32_sums {
                true => format!("st.global.f32 [%rd2+{}], %f{i};\n", 128 * i),
                false => format!("st.global.u32 [%rd2+{}], %r{};\n", 128 * i, 16 + i),
            };
        }
        text
    }
}

/// Small integers that differ between rows and columns.
fn value(row: usize, column: usize) -> f32 {
    ((row * 7 + column * 13 + row * column) % 9) as f32 - 4.0
}

/// The column within its group that an entry of the compressed A comes from, and the four bits of the group.
fn pattern(p: Product, row: usize, group: usize) -> (Vec<usize>, u32) {
    const PAIRS: [(usize, usize); 6] = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)];
    if p.is_half() {
        let (x, y) = PAIRS[(row * 5 + group) % 6];
        (vec![x, y], (x | y << 2) as u32)
    } else {
        let odd = (row + group * 3) % 2;
        (vec![odd], if odd == 1 { 0b1110 } else { 0b0100 })
    }
}

fn run(p: Product) -> Vec<f32> {
    let (a_registers, b_registers) = p.registers();
    let mut words = vec![0_u32; 32 * (a_registers + b_registers + 1)];
    for row in 0..16 {
        for column in 0..p.kept() {
            let (t, block, half) = p.along(column);
            let register = 2 * block + row / 8;
            words[32 * register + row % 8 * 4 + t] |= p.bits(value(row, column)) << (16 * half);
        }
    }
    for depth in 0..p.k {
        for column in 0..8 {
            let (t, block, half) = p.along(depth);
            words[32 * (a_registers + block) + column * 4 + t] |= p.bits(value(depth + 20, column)) << (16 * half);
        }
    }
    if let Some(selector) = p.selector {
        let size = if p.is_half() { 4 } else { 2 };
        for row in 0..16 {
            for group in 0..p.k / size {
                let of_four = if p.k / size == 4 { selector } else { 2 * selector + group / 4 };
                let bit = group % 4 * 4 + if row < 8 { 0 } else { 16 };
                words[32 * (a_registers + b_registers) + row % 8 * 4 + of_four] |= pattern(p, row, group).1 << bit;
            }
        }
    }
    let input: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    let module = common::verified("", &p.body());
    let (out, counts) = common::run(&module, 32, &input, 512).unwrap_or_else(|e| panic!("{p:?}: {e}"));
    assert_eq!(counts.matrix_products, 1);
    let word = |i: usize| u32::from_le_bytes([out[4 * i], out[4 * i + 1], out[4 * i + 2], out[4 * i + 3]]);
    let mut d = vec![0.0; 128];
    for row in 0..16 {
        for column in 0..8 {
            let (lane, high) = (row % 8 * 4 + column / 2, row / 8);
            d[8 * row + column] = if p.accumulate == "f32" {
                f32::from_bits(word(32 * (2 * high + column % 2) + lane))
            } else {
                f16::from_bits((word(32 * high + lane) >> (16 * (column % 2))) as u16).to_f32()
            };
        }
    }
    d
}

/// The plain product, of the A that the compressed one stands for.
fn expected(p: Product) -> Vec<f32> {
    let mut d = vec![1.0; 128];
    for row in 0..16 {
        for column in 0..8 {
            for stored in 0..p.kept() {
                let (kept, of) = if p.is_half() { (2, 4) } else { (1, 2) };
                let depth = match p.selector {
                    Some(_) => of * (stored / kept) + pattern(p, row, stored / kept).0[stored % kept],
                    None => stored,
                };
                d[8 * row + column] += value(row, stored) * value(depth + 20, column);
            }
        }
    }
    d
}

#[test]
fn every_product_is_the_plain_one() {
    for p in PRODUCTS {
        assert_eq!(run(*p), expected(*p), "{p:?}");
    }
}

#[test]
fn the_assembler_knows_every_product() {
    let Some(tools) = Tools::find() else { return };
    for p in PRODUCTS {
        let text = sparsec_ptx::print_module(&common::verified("", &p.body()));
        for ptxas in Ptxas::ALL {
            let assembled = tools.assemble(ptxas, &text, "sm_90a").unwrap_or_else(|e| panic!("{ptxas}, {p:?}: {e}"));
            let names = tools.mnemonics(&assembled.cubin).unwrap_or_else(|e| panic!("{ptxas}, {p:?}: {e}"));
            let wanted = if p.selector.is_some() { "HMMA.SP" } else { "HMMA" };
            assert!(names.keys().any(|name| name.starts_with(wanted)), "{ptxas}, {p:?}: {names:?}");
        }
    }
}
