//! Kernels of a few lines, run by the simulator.
#![allow(dead_code, reason = "each test program uses a part of this")]

use sparsec_ptx::{Module, parse_module, verify_module};
use sparsec_ptxsim::{Argument, Counts, Device, DeviceError, Launch};

/// A module with one kernel `test` over pointers `in` (in `%rd0`) and `out` (in `%rd1`); `%r0` is the thread, and `%rd2`
/// points to its four bytes of `out`. Ten more registers of each class are there.
pub(crate) fn module(shared: &str, body: &str) -> Module {
    let text = format!(
        ".version 8.5\n.target sm_90a\n.address_size 64\n{shared}\n\
         .visible .entry test(\n    .param .u64 in,\n    .param .u64 out)\n{{\n\
         .reg .pred %p<10>;\n.reg .b16 %h<10>;\n.reg .b32 %r<20>;\n.reg .b64 %rd<10>;\n.reg .f32 %f<20>;\n.reg .f64 %fd<10>;\n\
         ld.param.u64 %rd0, [in];\nld.param.u64 %rd1, [out];\nmov.u32 %r0, %tid.x;\n\
         mul.wide.u32 %rd2, %r0, 4;\nadd.u64 %rd2, %rd1, %rd2;\n{body}\nret;\n}}\n"
    );
    parse_module(&text).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// The same, verified.
pub(crate) fn verified(shared: &str, body: &str) -> Module {
    let module = module(shared, body);
    verify_module(&module).unwrap_or_else(|e| panic!("{e}\n{body}"));
    module
}

/// Runs one block on the bytes of `input`; the bytes of `out`, which is filled with zeros before.
pub(crate) fn run(
    module: &Module,
    threads: u32,
    input: &[u8],
    out_bytes: usize,
) -> Result<(Vec<u8>, Counts), DeviceError> {
    let mut device = Device::new().with_instruction_limit(100_000);
    let input = device.upload("in", input);
    let out = device.upload("out", &vec![0; out_bytes]);
    let arguments = [Argument::Pointer(input), Argument::Pointer(out)];
    let counts = device.launch(module, "test", Launch::linear(1, threads), &arguments)?;
    Ok((device.read(out, out_bytes)?, counts))
}

/// The words that 32 threads leave.
pub(crate) fn words(shared: &str, body: &str, input: &[u8]) -> Vec<u32> {
    let module = verified(shared, body);
    let (out, _) = run(&module, 32, input, 128).unwrap_or_else(|e| panic!("{e}\n{body}"));
    out.chunks(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect()
}

/// What the instructions leave in `%r1` of each lane; `%r0` is its number.
pub(crate) fn lanes(body: &str) -> Vec<u32> {
    words("", &format!("{body}\nst.global.u32 [%rd2], %r1;"), &[])
}

/// The fault of a block of so many threads, and the text around it.
pub(crate) fn fault(shared: &str, threads: u32, body: &str) -> String {
    let error = run(&module(shared, body), threads, &[7; 256], 4096).expect_err(body);
    error.to_string()
}
