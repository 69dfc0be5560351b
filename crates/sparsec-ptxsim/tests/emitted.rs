//! What `sparsec-ptx` makes of kernels computes, in the simulator, what the interpreter of the tensor IR computes, bit for bit.

#[path = "../../sparsec-tir/tests/generate/mod.rs"]
mod generate;

mod agree;

use agree::{check, check_on, run_launches, without_payloads};
use proptest::prelude::*;
use sparsec_lower::TargetInfo;
use sparsec_ptx::Target;
use sparsec_ptxsim::{Device, DevicePtr};
use sparsec_tir::{
    Argument as Place, BufferKind, Expr, Kernel, Precision, Program, Step, expand_math, lower_to_flat, print_kernel,
    run_kernel,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn random_kernels(bytes in prop::collection::vec(any::<u8>(), 0..120), n in 0_i64..=24) {
        let mut flat: Kernel = lower_to_flat(&generate::kernel(&bytes)).expect("lowers");
        expand_math(&mut flat).expect("expands");
        let mut expected = generate::arguments();
        run_kernel(&flat, &[n], &mut expected).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(&flat)));
        let mut device = Device::new();
        let given = generate::arguments();
        let places: Vec<DevicePtr> = given.iter().map(|d| device.upload("buffer", &d.bytes)).collect();
        let arguments = (0..given.len() as u32).map(|i| (Place::Input(i), Expr::int(0))).collect();
        let launch =
            sparsec_tir::Launch { kernel: 0, label: String::new(), params: vec![Expr::int(n)], arguments };
        let kernels = vec![flat.clone()];
        let launches = vec![launch];
        let program = Program { name: "m".to_owned(), kernels, launches, steps: Step::sequence(1), ..Program::default() };
        run_launches(Target::Sm80, &program, &mut device, &[], |at| match at {
            Place::Input(i) => places[i as usize],
            other => panic!("{other:?}"),
        });
        let buffers: Vec<_> = flat.buffers.iter().filter(|b| b.kind != BufferKind::Scratch).collect();
        for (i, buffer) in buffers.iter().enumerate() {
            let got = device.read(places[i], given[i].bytes.len()).expect("was uploaded");
            prop_assert!(
                without_payloads(&got, buffer.elem) == without_payloads(&expected[i].bytes, buffer.elem),
                "`{}`, n = {n}\n{}", buffer.name, print_kernel(&flat)
            );
        }
    }
}

/// A linear layer whose weight has a row and a column without an entry.
fn linear(format: &str, (m, k): (usize, usize), epilogue: &str) -> String {
    let value = |row: usize, col: usize| match (row, col % 4) {
        (2, _) | (_, 1 | 3) => "0.0".to_owned(),
        _ if col == 4 => "0.0".to_owned(),
        _ => format!("{:?}", ((row * 7 + col * 3) % 11) as f32 * 0.25 - 1.125),
    };
    let weight: Vec<String> = (0..m * k).map(|i| value(i / k, i % k)).collect();
    format!(
        "graph @linear {{\n input %0 \"x\": f32[{k}, n]\n const %1 \"w\" = f32[{m}, {k}] {{{}}}\n \
         %2 \"fc\" = contract \"mk,kn->mn\" (%1, %0) epilogue {epilogue} () format {format} : f32[{m}, n]\n \
         output \"y\" = %2\n}}",
        weight.join(", ")
    )
}

#[test]
fn weights_in_every_format() {
    for format in ["dense", "csr", "bsr<4,1>", "bsr<8,8>", "nm<2,4>", "hyb<64,4,2>", "hyb<8,1,4>", "pruned<csr>"] {
        for n in [1, 31, 70] {
            check(&linear(format, (16, 24), "gelu(acc)"), &[n]);
        }
    }
}

#[test]
fn lines_products_and_movement() {
    for axis in 0..3 {
        check(
            &format!(
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
            ),
            &[5],
        );
    }
    check(
        r#"graph @g {
  input %0 "a": f32[2, 3, seq, 9]
  input %1 "b": f32[2, 3, seq, 9]
  input %2 "x": f32[2, 3, 9, 23]
  %3 = contract "bhqd,bhkd->bhqk" (%0, %1) epilogue mul(acc, 0.5) ()
  %4 = pool max (%2) kernel [3, 3] strides [2, 2] pads [(1, 1), (1, 1)] dilations [1, 1] ceil false
  %5 = pool average (%2) kernel [2, 2] strides [1, 1] pads [(0, 0), (0, 0)] dilations [2, 3] ceil false
  output "a" = %3
  output "b" = %4
  output "c" = %5
}"#,
        &[21],
    );
    check(
        r#"graph @g {
  input %0 "q": f32[3, 8, 2, seq]
  input %1 "k": f32[2, 3, 8, seq]
  input %2 "v": f32[3, 5, 2, seq]
  input %3 "mask": f32[2, 1, seq, 1]
  %4 = attention "hdbq,bhdk->bhkq" "bhkq,hfbk->hfbq" keys "k" scores add(mul(acc, 4.0), $0) (%0, %1, %2, %3)
  output "y" = %4
}"#,
        &[17],
    );
    check(
        r#"graph @g {
  input %0 "x": f32[batch, 5, 7]
  input %1 "i": i64[3]
  %2 = transpose (%0) perm [2, 0, 1]
  %3 = slice (%0) ranges [(0, batch, 1), (4, 5, -1), (1, 3, 2)]
  %4 = concat (%0, %0) axis 1
  %5 = pad (%0) amounts [(0, 0), (1, 2), (-1, 3)] value 2.5
  %6 = gather (%0, %1) axis 1
  %7 = cast i32 (%4)
  %8 = cast u8 (%4)
  %9 = cast f16 (%4)
  %10 = cast bf16 (%4)
  %11 = cast f64 (%4)
  %12 = rem (%7, %7)
  output "a" = %2
  output "b" = %3
  output "c" = %5
  output "d" = %6
  output "e" = %8
  output "f" = %9
  output "g" = %10
  output "h" = %11
  output "i" = %12
}"#,
        &[2],
    );
}

#[test]
fn convolutions() {
    for format in ["dense", "hyb<64,4,2>"] {
        check(
            &format!(
                r#"graph @g {{
  input %0 "x": f32[1, 8, 14, 14]
  const %1 "w": f32[16, 8, 3, 3] random(seed=5, density=0.4)
  %2 = conv (%0, %1) strides [1, 1] pads [(1, 1), (1, 1)] dilations [1, 1] groups 1 epilogue relu(acc) () format {format}
  output "y" = %2
}}"#
            ),
            &[],
        );
    }
}

/// Products of bytes: `dp4a` on words that are read whole from the kernel's own memory, and byte by byte from the caller's.
#[test]
fn weights_of_bytes() {
    for (m, k) in [(13, 150), (40, 36)] {
        for format in ["dense", "bsr<1,4>", "csr"] {
            for n in [1, 19] {
                check(
                    &format!(
                        r#"graph @g {{
  input %0 "x": u8[n, {k}]
  const %1 "w": i8[{m}, {k}] random(seed=5, density=0.3)
  %2 = contract "mk,nk->nm" (%1, %0) format {format}
  output "y" = %2
}}"#
                    ),
                    &[n],
                );
            }
        }
    }
}

/// A linear layer of 2:4 entries in blocks of 16 x 32 (of which some are empty, and all of two rows of blocks), with a bias for
/// each output: `x` is (inputs, tokens), or (tokens, inputs).
fn blocked(format: &str, (m, k): (usize, usize), by_token: bool) -> String {
    let value = |row: usize, col: usize| {
        let block = row / 16 * 5 + col / 32 * 3;
        let empty = block.is_multiple_of(3) || row / 16 == 1 || (row / 16 == 5 && format != "dense");
        match (col + row) % 4 {
            _ if empty && format != "dense" => "0.0".to_owned(),
            1 | 2 if format.starts_with("nm") => "0.0".to_owned(),
            _ => format!("{:?}", ((row * 7 + col * 3) % 11) as f32 * 0.26 - 1.125),
        }
    };
    let weight: Vec<String> = (0..m * k).map(|i| value(i / k, i % k)).collect();
    let (x, y, spec, bias) = match by_token {
        true => (format!("n, {k}"), format!("n, {m}"), "mk,nk->nm", format!("{m}")),
        false => (format!("{k}, n"), format!("{m}, n"), "mk,kn->mn", format!("{m}, 1")),
    };
    format!(
        "graph @linear {{\n input %0 \"x\": f32[{x}]\n const %1 \"w\" = f32[{m}, {k}] {{{}}}\n \
         const %2 \"b\": f32[{bias}] random(seed=3, density=1.0)\n \
         %3 \"fc\" = contract \"{spec}\" (%1, %0, %2) epilogue max(add(acc, $0), 0.0) (%2) format {format} : f32[{y}]\n \
         output \"y\" = %3\n}}",
        weight.join(", ")
    )
    .replace("(%1, %0, %2)", "(%1, %0)")
}

#[test]
fn tensor_cores() {
    for precision in Precision::ALL {
        let target = TargetInfo::WARP.with_precision(Some(precision));
        for format in ["dense", "bsr<16,16>", "nm<2,4>", "pruned<dense>"] {
            for (by_token, n) in [(false, 70), (true, 33), (false, 5)] {
                check_on(&target, &blocked(format, (100, 136), by_token), &[n]);
            }
        }
    }
    let target = TargetInfo::WARP.with_precision(Some(Precision::F16));
    check_on(&target, &blocked("bsr<16,16>", (16, 16), true), &[1]);
    check_on(&target, &blocked("nm<2,4>", (17, 32), false), &[1]);
    check_on(&target, &blocked("nm<2,4>", (17, 32), false), &[2]);
}
