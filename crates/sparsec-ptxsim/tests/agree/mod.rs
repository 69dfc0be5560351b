//! Whole programs of kernels, in the simulator and in the interpreter of the tensor IR.
#![allow(dead_code, reason = "each test program uses a part of this")]

#[path = "../../../sparsec-tir/tests/generate/payloads.rs"]
mod payloads;

pub(crate) use payloads::without_payloads;
use sparsec_lower::{LowerOptions, TargetInfo, lower_with};
use sparsec_ptx::{Target, emit_program, print_module};
use sparsec_ptxsim::{Argument, Counts, Device, DevicePtr, Launch};
use sparsec_tir::{
    Argument as Place, BinaryOp, BufferData, ConstantData, Expr, Program, Scalar, Step, print_kernel, run_program,
};

/// What ran.
pub(crate) struct Ran {
    /// Names of the kernels.
    pub(crate) kernels: Vec<String>,
    /// What the simulator counted.
    pub(crate) counts: Counts,
}

/// An expression of integers over these values.
fn eval(e: &Expr, values: &[i64]) -> i64 {
    match e {
        Expr::Int(v, _) => *v,
        Expr::Param(p) => values[p.index()],
        Expr::Binary(op, x, y) => {
            let (x, y) = (eval(x, values), eval(y, values));
            match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div => x / y,
                BinaryOp::Rem => x % y,
                BinaryOp::FloorDiv => x.div_euclid(y),
                BinaryOp::Min => x.min(y),
                BinaryOp::Max => x.max(y),
                other => panic!("{} in an extent", other.name()),
            }
        }
        other => panic!("{other:?} in an extent"),
    }
}

/// Runs launches one after the other, each with the addresses of its buffers.
pub(crate) fn run_launches(
    gpu: Target,
    program: &Program,
    device: &mut Device,
    symbols: &[i64],
    mut place: impl FnMut(Place) -> DevicePtr,
) -> Counts {
    let mut total = Counts::default();
    let emitted = emit_program(program, gpu).unwrap_or_else(|e| panic!("{e}"));
    let sequence: Vec<u32> = program
        .steps
        .iter()
        .map(|s| match s {
            Step::Launch(l) => *l,
            other => panic!("{other:?} is no launch"),
        })
        .collect();
    for index in sequence {
        let launch = &program.launches[index as usize];
        let (kernel, info) = (&program.kernels[launch.kernel as usize], &emitted.kernels[launch.kernel as usize]);
        let params: Vec<i64> = launch.params.iter().map(|p| eval(p, symbols)).collect();
        let count = kernel.parallel_loop().map_or(1, |l| eval(&l.end, &params) - eval(&l.start, &params));
        let blocks = (count.max(0) as u32).div_ceil(info.iterations);
        if blocks == 0 {
            continue;
        }
        let mut arguments: Vec<Argument> = params.iter().map(|p| Argument::Bits64(*p as u64)).collect();
        for (at, offset) in &launch.arguments {
            arguments.push(Argument::Pointer(place(*at).offset(eval(offset, symbols) as u64)));
        }
        if info.scratch_bytes > 0 {
            // Kernels may read what they have not written, where they do not use it.
            let scratch = device.upload("scratch", &vec![0xCB; info.scratch_bytes as usize * blocks as usize]);
            arguments.push(Argument::Pointer(scratch));
        }
        match device.launch(
            &emitted.module,
            &info.name,
            Launch { shared_bytes: info.shared_bytes, ..Launch::linear(blocks, info.threads) },
            &arguments,
        ) {
            Ok(counts) => total.add(&counts),
            Err(e) => panic!("{e}\n{}\n{}", print_kernel(kernel), print_module(&emitted.module)),
        }
    }
    total
}

/// Lowers a graph for a warp, runs it in the simulator and in the interpreter, and compares the outputs.
pub(crate) fn check(text: &str, symbols: &[i64]) -> Ran {
    check_on(&TargetInfo::WARP, text, symbols)
}

/// The same for a target.
pub(crate) fn check_on(target: &TargetInfo, text: &str, symbols: &[i64]) -> Ran {
    check_with((target, &LowerOptions::default()), text, symbols)
}

/// The same with options.
pub(crate) fn check_with((target, options): (&TargetInfo, &LowerOptions), text: &str, symbols: &[i64]) -> Ran {
    let graph = sparsec_graph::parse(text).expect("the text is a graph");
    let lowered = lower_with(&graph, target, options).expect("the graph lowers");
    let program = &lowered.program;
    let elements = |shape: &[Expr]| shape.iter().map(|d| eval(d, symbols) as usize).product::<usize>();
    let mut seed = 5_u64;
    let mut number = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let inputs: Vec<BufferData> = program
        .inputs
        .iter()
        .map(|port| {
            let n = elements(&port.shape);
            match port.elem {
                Scalar::F32 => {
                    let values: Vec<f32> = (0..n).map(|_| number() as f32 / (1_u64 << 30) as f32 - 1.0).collect();
                    BufferData::from_f32(&values)
                }
                elem => {
                    let values: Vec<i64> = (0..n).map(|_| number() as i64 % 4).collect();
                    BufferData::from_ints(elem, &values)
                }
            }
        })
        .collect();
    let expected = run_program(program, &lowered.data, symbols, &inputs).expect("the interpreter runs it");
    let mut device = Device::new();
    let at_inputs: Vec<DevicePtr> = inputs.iter().map(|d| device.upload("input", &d.bytes)).collect();
    let at_outputs: Vec<DevicePtr> = expected.iter().map(|d| device.allocate("output", d.bytes.len())).collect();
    let mut constants = Vec::new();
    for (i, info) in program.constants.iter().enumerate() {
        let mut bytes = Vec::new();
        lowered.data.write(i, &mut bytes).expect("constants are made");
        constants.push(device.upload(info.name.clone(), &bytes));
    }
    let arena_bytes = program.arena_bytes.as_ref().map_or(0, |e| eval(e, symbols));
    let arena = device.allocate("arena", arena_bytes as usize);
    let gpu = if target.capability == 90 { Target::Sm90a } else { Target::Sm80 };
    let counts = run_launches(gpu, program, &mut device, symbols, |at| match at {
        Place::Input(i) => at_inputs[i as usize],
        Place::Output(i) => at_outputs[i as usize],
        Place::Constant(i) => constants[i as usize],
        Place::Arena(i) => arena.offset(eval(&program.arena[i as usize].offset, symbols) as u64),
    });
    for (i, (e, at)) in expected.iter().zip(at_outputs).enumerate() {
        let got = device.read(at, e.bytes.len()).unwrap_or_else(|error| panic!("output {i}: {error}"));
        assert!(
            without_payloads(&got, e.elem) == without_payloads(&e.bytes, e.elem),
            "output {i}: {:?}\nexpected {:?}\n{text}",
            BufferData { elem: e.elem, bytes: got }.to_f64(),
            e.to_f64(),
        );
    }
    Ran { kernels: program.kernels.iter().map(|k| k.name.clone()).collect(), counts }
}
