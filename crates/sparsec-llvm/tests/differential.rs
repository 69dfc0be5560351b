//! Random kernels: what is compiled computes what the interpreter computes, bit for bit.

mod common;
#[path = "../../sparsec-tir/tests/generate/mod.rs"]
mod generate;
#[path = "../../sparsec-tir/tests/generate/payloads.rs"]
mod payloads;

use payloads::without_payloads;
use proptest::prelude::*;
use sparsec_llvm::Target;
use sparsec_runtime::{DType, Model, Tensor};
use sparsec_tir::{BufferKind, Expr, Kernel, Scalar, expand_math, lower_to_flat, print_kernel, run_kernel};

fn interpret(kernel: &Kernel, n: i64) -> Vec<Vec<u8>> {
    let mut buffers = generate::arguments();
    run_kernel(kernel, &[n], &mut buffers).unwrap_or_else(|e| panic!("{e}\n{}", print_kernel(kernel)));
    let given = kernel.buffers.iter().filter(|b| b.kind != BufferKind::Scratch);
    given.zip(buffers).filter(|(b, _)| b.kind == BufferKind::Output).map(|(_, data)| data.bytes).collect()
}

fn run_compiled(kernel: &Kernel, n: i64, target: &Target) -> Vec<Vec<u8>> {
    let data = generate::arguments();
    let mut program = common::program(kernel.clone(), &[n]);
    // Buffers of a program's kernel have shapes over its params; ports have shapes over the model's symbols.
    let mut sizes = data.iter().map(|d| vec![Expr::int(d.len() as i64)]);
    for port in program.inputs.iter_mut().chain(&mut program.outputs) {
        port.shape = sizes.next().expect("as many arguments as ports");
    }
    let (mut model, _dir): (Model, _) = common::open_for(&program, target);
    let tensor = |d: &sparsec_tir::BufferData| {
        let dtype = DType::from_name(d.elem.name()).expect("a type of the ABI");
        Tensor::from_bytes(dtype, &[d.len() as i64], &d.bytes).expect("fits")
    };
    let tensors: Vec<Tensor> = data.iter().map(tensor).collect();
    let (inputs, outputs) = tensors.split_at(program.inputs.len());
    let mut outputs = outputs.to_vec();
    model.run_into(inputs, &mut outputs).expect("runs");
    outputs.iter().map(|t| t.bytes().to_vec()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn compiled_agrees_with_interpreted(bytes in prop::collection::vec(any::<u8>(), 0..120), n in 0_i64..=24) {
        let mut flat = lower_to_flat(&generate::kernel(&bytes)).expect("lowers");
        expand_math(&mut flat).expect("expands");
        let host = Target::host().expect("this machine");
        prop_assume!(host.has_fma());
        let elems: Vec<Scalar> =
            flat.buffers.iter().filter(|b| b.kind == BufferKind::Output).map(|b| b.elem).collect();
        let (expected, got) = (interpret(&flat, n), run_compiled(&flat, n, &host));
        for ((expected, got), elem) in expected.iter().zip(&got).zip(elems) {
            prop_assert!(
                without_payloads(expected, elem) == without_payloads(got, elem),
                "n = {n}\n{}",
                print_kernel(&flat)
            );
        }
    }
}
